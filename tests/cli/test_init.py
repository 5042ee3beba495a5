"""`golive init` makes a setup that works, overwrites nothing, and leaves no half of one behind."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from golive_cli.commands.init import CHECKS, config_text, login_name
from golive_cli.demo.setup import enable
from golive_redis import config as configuration
from golive_redis.checks.conditions import Conditions
from golive_redis.guard.guard import Guard
from golive_redis.records.keyset import Role
from golive_redis.testing.server import EmbeddedServer

ROOT = Path(__file__).resolve().parents[2]


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def test_each_setup_is_a_fleet_of_its_own(golive):
    """Row 54: two that chose the same names do not take each other's records."""
    made = []
    for name in ("one", "other"):
        assert golive("init", "--operator", "alice", "--dir", name).returncode == 0
        path = golive.folder / name / "config" / "go_live.yaml"
        made.append(configuration.load(path, environ={}).keyset().fleet)
    assert made[0] != made[1]
    assert all(len(fleet) == 32 and int(fleet, 16) for fleet in made)


def test_what_it_makes_loads_with_activation_disabled_and_the_smallest_profile(golive):
    done = golive("init", "--operator", "alice")
    assert done.returncode == 0, done.stderr
    setup = configuration.load(golive.folder / "config" / "go_live.yaml", environ={})
    assert setup.policy.activation_enabled is False
    assert setup.policy.allowed_profiles == ["micro"]
    assert set(setup.policy.profiles) == {"micro", "small", "medium", "large"}
    assert setup.state_dir == golive.folder / "state"
    keyset = setup.keyset()
    assert keyset.principals(Role.APPROVER) == ["alice"]
    assert keyset.principals(Role.HEARTBEAT) == ["hb-1"]
    assert keyset.principals(Role.WORKER) == ["workers"]
    assert setup.signer("operator", keyset).principal == "alice"
    assert setup.signer("heartbeat", keyset, name="hb-1").principal == "hb-1"
    assert setup.signer("worker", keyset).principal == "workers"


def required_and_examples(path: Path) -> tuple[list[str], Conditions]:
    """The required checks of a setup, and its examples as if somebody had filled them in."""
    required = configuration.load(path, environ={}).policy.required_preflight
    head, mark, examples = path.read_text().partition("# checks:\n")
    block, _, rest = examples.partition("\n\n")
    filled = "".join(line.removeprefix("# ") for line in (mark + block).splitlines(keepends=True))
    path.write_text(f"{head}{filled}\n\n{rest}")
    return required, Conditions.of(configuration.load(path, environ={}))


def test_the_examples_of_all_six_checks_can_be_filled_in(golive):
    assert golive("init").returncode == 0
    required, filled = required_and_examples(golive.folder / "config" / "go_live.yaml")
    assert required == ["check_database_redis"]
    assert list(filled.checks) == list(CHECKS)
    names = "\n".join(f"  # - {name}" for name in CHECKS if name not in required)
    text = (golive.folder / "config" / "go_live.yaml").read_text()
    assert set(names.splitlines()) <= set(text.splitlines())  # each waits beside the one in use


def test_in_production_each_of_the_six_that_is_not_filled_in_refuses_the_activation(
    golive, server: EmbeddedServer
):
    environ = {"GOLIVE_REDIS_URL": server.url}
    assert golive("init", "--environment", "production", "--operator", "alice").returncode == 0
    path = golive.folder / "config" / "go_live.yaml"
    enable(path)
    path.write_text(
        path.read_text().replace("  # allow_default_user: true", "  allow_default_user: true")
    )
    heartbeat = golive.start("heartbeat", "--name", "hb-1", **environ)
    assert heartbeat.stdout
    assert any("nothing is active" in line for line in heartbeat.stdout)
    done = golive("activate", "--reason", "r", "--yes", **environ)
    heartbeat.kill()
    heartbeat.communicate()
    assert done.returncode == 1
    for name in set(CHECKS) - {"check_database_redis"}:
        assert re.search(rf"UNKNOWN {name} .*: no check of that name is configured", done.stdout)
    required, filled = required_and_examples(path)
    assert required == list(CHECKS) == list(filled.checks)


def test_what_it_makes_opens_a_guard_which_is_closed(made, shared_server: EmbeddedServer):
    environ = {"GOLIVE_REDIS_URL": shared_server.url}
    setup = configuration.load(made.folder / "config" / "go_live.yaml", environ=environ)
    with Guard.open(setup, worker="pod-1") as guard:
        assert guard.allows() is False


def test_private_keys_are_readable_by_their_owner_only_and_ignored_by_git(made):
    keys = made.folder / "config" / "keys"
    assert {path.name for path in keys.glob("*.pem")} == {"alice.pem", "hb-1.pem", "workers.pem"}
    for path in keys.glob("*.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert "*" in (keys / ".gitignore").read_text().splitlines()


def test_it_prints_the_next_steps_and_with_json_what_it_made(golive, tmp_path):
    done = golive("init", "--dir", "first", "--operator", "alice")
    for step in ("cd first", "golive heartbeat --name hb-1", "activation_enabled: true"):
        assert step in done.stdout
    made = golive.json("init", "--operator", "alice")
    assert made["config"] == "config/go_live.yaml"
    assert [key["principal"] for key in made["keys"]] == ["alice", "hb-1", "workers"]
    for key in made["keys"]:
        shown = golive.json("keys", "show", key["file"])
        assert (shown["principal"], shown["roles"]) == (key["principal"], key["roles"])


def test_names_environment_and_url_are_the_ones_given(golive):
    names = ("--operator", "no", "--heartbeat", "1e3", "--worker", "null")
    done = golive("init", *names, "--environment", "123", "--redis-url", "unix:///run/a b.sock")
    assert done.returncode == 0, done.stderr
    setup = configuration.load(golive.folder / "config" / "go_live.yaml", environ={})
    assert (setup.policy.environment, setup.url) == ("123", "unix:///run/a b.sock")
    keyset = setup.keyset()
    assert setup.signer("operator", keyset).principal == "no"
    assert setup.signer("heartbeat", keyset, name="1e3").principal == "1e3"
    assert setup.signer("worker", keyset).principal == "null"


@pytest.mark.parametrize(
    ("variable", "option", "written", "warned"),
    [
        ("", None, "redis://127.0.0.1:6379/0", ""),
        ("redis://r.example:6380/2", None, "redis://r.example:6380/2", ""),
        ("redis://r.example/0", "redis://r.example/0", "redis://r.example/0", ""),
        ("redis://r.example/0", "redis://s.example/0", "redis://s.example/0", "overrides"),
        ("rediss://:secret@r.example/0", None, "rediss://r.example/0", "holds a password"),
        (
            "redis+sentinel://al:secret@a:1,b:2/fleet/0",
            None,
            "redis+sentinel://a:1,b:2/fleet/0",
            "holds a password",
        ),
    ],
)
def test_the_url_of_the_shell_is_written_without_its_password_and_an_override_is_told(
    golive, variable, option, written, warned
):
    words = ("--redis-url", option) if option else ()
    done = golive("init", *words, GOLIVE_REDIS_URL=variable)
    assert done.returncode == 0, done.stderr
    setup = configuration.load(golive.folder / "config" / "go_live.yaml", environ={})
    assert setup.url == written
    assert f"on {setup.address().shown}, and keys:" in done.stdout
    assert (warned in done.stderr) if warned else (done.stderr == "")
    text = (golive.folder / "config" / "go_live.yaml").read_text()
    assert "secret" not in done.stdout + done.stderr + text


def test_in_a_cluster_the_keys_of_the_switch_stay_together(golive):
    assert golive("init", "--redis-url", "redis+cluster://a:6379,b:6379").returncode == 0
    setup = configuration.load(golive.folder / "config" / "go_live.yaml", environ={})
    assert setup.policy.namespace == "{golive}"
    assert setup.address().namespace == "{golive}"


def test_a_passphrase_from_the_environment_locks_the_keys(golive):
    golive("init", "--operator", "alice", GOLIVE_KEY_PASSPHRASE="correct horse")
    assert golive("keys", "show", "config/keys/alice.pem").returncode == 6
    done = golive("keys", "show", "config/keys/alice.pem", GOLIVE_KEY_PASSPHRASE="correct horse")
    assert "principal  alice" in done.stdout


def test_a_second_time_it_is_refused_and_nothing_has_changed(made):
    before = tree(made.folder)
    done = made("init", "--operator", "alice")
    assert done.returncode == 1
    assert "config/go_live.yaml exists; nothing was written" in done.stderr
    assert tree(made.folder) == before


@pytest.mark.parametrize("there", ["config/keyset.yaml", "config/keys/hb-1.pem"])
def test_one_file_that_exists_is_enough_to_write_nothing(golive, there):
    path = golive.folder / there
    path.parent.mkdir(parents=True)
    path.symlink_to("nowhere")
    done = golive("init", "--operator", "alice")
    assert done.returncode == 1
    assert f"{there} exists" in done.stderr
    assert [p for p in golive.folder.rglob("*") if not p.is_dir()] == [path]


@pytest.mark.parametrize("blocked", ["config", "config/keys"])
def test_what_cannot_be_finished_is_taken_back(golive, blocked):
    path = golive.folder / blocked
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way")
    before = tree(golive.folder)
    done = golive("init", "--operator", "alice")
    assert done.returncode == 6, done.stderr
    assert "Traceback" not in done.stderr
    assert tree(golive.folder) == before


@pytest.mark.parametrize(
    "words",
    [
        ("--operator", "hb-1"),
        ("--operator", "../alice"),
        ("--heartbeat", ""),
        ("--environment", "my env"),
        ("--redis-url", "redis://alice:secret@127.0.0.1/0"),
    ],
    ids=" ".join,
)
def test_what_cannot_work_is_a_usage_error_and_writes_nothing(golive, words):
    done = golive("init", *words)
    assert done.returncode == 2, done.stderr
    assert "secret" not in done.stderr
    assert list(golive.folder.iterdir()) == []


def test_a_url_of_another_kind_is_refused(golive):
    done = golive("init", "--redis-url", "http://127.0.0.1")
    assert done.returncode == 6
    assert "rediss://" in done.stderr
    assert list(golive.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("login", "name"),
    [
        ("alice", "alice"),
        ("DOMAIN\\alice b", "DOMAIN-alice-b"),
        (".hidden", "hidden"),
        ("jürgen", "j-rgen"),
        ("имя", "operator"),
        ("", "operator"),
        ("x" * 100, "x" * 64),
    ],
)
def test_the_default_operator_is_the_login_name_as_a_name(monkeypatch, login, name):
    monkeypatch.setattr("getpass.getuser", lambda: login)
    assert login_name() == name


def test_without_a_login_name_the_operator_is_called_operator(monkeypatch):
    def unknown():
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", unknown)
    assert login_name() == "operator"


# -- the examples ----------------------------------------------------------------------------------


def test_the_example_configuration_loads_and_is_off():
    setup = configuration.load(ROOT / "config" / "go_live.yaml", environ={})
    assert setup.policy.environment == "production"
    assert setup.policy.activation_enabled is False


def test_the_example_keyset_asks_for_two_approvers_and_has_no_private_keys():
    setup = configuration.load(ROOT / "config" / "go_live.yaml", environ={})
    keyset = setup.keyset()
    assert keyset.threshold(Role.APPROVER) == 2
    assert {role for key in keyset.keys.values() for role in key.roles} == set(Role) - {Role.ROOT}
    assert list((ROOT / "config").rglob("*.pem")) == []


def test_the_example_configuration_is_the_one_that_init_writes_and_the_evidence():
    text = (ROOT / "config" / "go_live.yaml").read_text()
    assert text.startswith("# An example, for reading.")
    written = config_text("production", "redis://127.0.0.1:6379/0", "alice", "workers")
    own = written.partition("\n# -- Checks")[0].splitlines()
    differ = {line for line in own if line not in text.splitlines()}
    assert differ == {
        "  # revoker: keys/revoker.pem               # a key that can only stop, for `golive revoke`",
    }
