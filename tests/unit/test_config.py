"""The configuration: found, read strictly, and refused with the line of what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from golive_redis import Guard
from golive_redis.config import keyfile, yamlfile
from golive_redis.config.config import load
from golive_redis.config.yamlfile import MAX_FILE_BYTES
from golive_redis.core.timing import TIMINGS
from golive_redis.errors import ConfigError
from golive_redis.records.keyset import key_id, raw_of
from golive_redis.testing import FLEET, Signers

SIGNERS = Signers()
GOOD = """\
environment: test
activation_enabled: true
store:
  url: redis://127.0.0.1:6380/1
keys:
  operator: keys/alice.pem
state_dir: state
profiles:
  micro:
    currency: USD
    max_order_notional: "25"
    max_position_notional: "100"
    max_daily_loss: "50"
    max_orders_per_minute: 600
"""
LOADERS = [getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader]


@pytest.fixture(params=LOADERS, ids=lambda loader: loader.__name__)
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A good configuration, read by the C parser and by the Python one."""
    monkeypatch.setattr(yamlfile, "_Loader", request.param)
    file = tmp_path / "go_live.yaml"
    file.write_text(GOOD)
    (tmp_path / "keyset.yaml").write_text(yaml.safe_dump(SIGNERS.keyset_file))
    keyfile.write(tmp_path / "keys" / "alice.pem", SIGNERS.signers["alice"]._private)
    return file


def refusal(path: Path, text: str | bytes) -> ConfigError:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        load(path, environ={})
    assert caught.value.message.startswith(str(path))
    return caught.value


def test_in_a_folder_that_was_deleted_a_missing_file_is_still_a_configuration_error(
    tmp_path, monkeypatch
):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match=r"^config/go_live.yaml: No such file"):
        load(environ={})


def test_a_program_that_finds_none_is_told_what_a_program_can_do(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GOLIVE_CONFIG", raising=False)
    with pytest.raises(ConfigError) as caught:
        Guard.open(worker="pod-1")
    for way in ("the folder that holds config/", "Guard.open(", "$GOLIVE_CONFIG"):
        assert way in caught.value.hint
    assert "--config" not in caught.value.hint and "golive init" not in caught.value.hint


def test_a_good_file_is_read_and_its_paths_are_relative_to_it(path: Path) -> None:
    found = load(path, environ={})
    assert found.policy.activation_enabled
    assert found.url == "redis://127.0.0.1:6380/1"
    assert found.state_dir == path.parent.resolve() / "state"
    trust = found.trust()
    assert (trust.namespace, trust.environment) == ("golive", "test")
    assert found.signer("operator", trust.keyset).principal == "alice"


def test_option_then_variable_then_the_default_place(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(GOOD.replace("test", "other", 1))
    environ = {"GOLIVE_CONFIG": str(other)}
    assert load(path, environ=environ).policy.environment == "test"
    assert load(environ=environ).policy.environment == "other"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "go_live.yaml").write_text(GOOD.replace("test", "third", 1))
    assert load(environ={}).policy.environment == "third"


def test_variables_override_url_and_key(path: Path) -> None:
    rita = SIGNERS.signers["rita"]._private
    environ = {
        "GOLIVE_REDIS_URL": "redis://elsewhere:1/0",
        "GOLIVE_KEY": keyfile.to_pem(rita, "secret").decode(),
        "GOLIVE_KEY_PASSPHRASE": "secret",
    }
    found = load(path, environ=environ)
    assert found.url == "redis://elsewhere:1/0"
    assert found.signer("operator", found.keyset()).principal == "rita"


def test_a_url_that_cannot_be_used_is_named_by_where_it_is_written(path: Path) -> None:
    override = load(path, environ={"GOLIVE_REDIS_URL": "http://elsewhere:1/0"})
    with pytest.raises(ConfigError, match=r"^\$GOLIVE_REDIS_URL 'http://elsewhere:1/0': "):
        override.address()
    path.write_text(path.read_text().replace("redis://", "http://"))
    with pytest.raises(ConfigError, match=r"^store\.url 'http://"):
        load(path, environ={}).address()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ": empty"),
        ("# nothing\n", ": empty"),
        ("null\n", ":1:"),
        ("environment: [test\n", ":2: not YAML"),
        (GOOD[: GOOD.index('"100') + 3], "not YAML"),
        (GOOD[: GOOD.index("profiles")], "missing required field `profiles`"),
        ("\t- x\n", ":1: not YAML"),
        ("a: 1\n---\nb: 2\n", "not YAML"),
        ("environment: !!python/object/apply:os.system [id]\n", ":1: not YAML"),
        (b"\x00\x01\x02\xff" * 64, "not YAML"),
        (b"\x7fELF\x02\x01\x01\x00", "not YAML"),
        (b"environment: \xff\n", "not YAML"),
        ('environment: !!int ""\n', "not YAML"),
        ("environment: !!bool maybe\n", "not YAML"),
        ("environment: !!timestamp soon\n", "not YAML"),
        ("environment: 2026-13-45\n", "not YAML"),
        ("&a [*a]\n", "not YAML"),
        ("[" * 5000, "not YAML"),
        (b"#" * (MAX_FILE_BYTES + 1), f"over {MAX_FILE_BYTES} bytes"),
    ],
    ids=lambda value: repr(value[:24]),
)
def test_a_file_that_is_no_configuration_is_refused(
    path: Path, text: str | bytes, says: str
) -> None:
    """Row 48: empty, truncated, binary YAML."""
    assert says in refusal(path, text).message


def test_aliases_that_unfold_without_end_are_refused_at_once(path: Path) -> None:
    """Row 48: a few hundred bytes that stand for 2^60 values."""
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    assert "values" in refusal(path, "\n".join(lines)).message


def test_an_unreadable_file_is_refused(path: Path, tmp_path: Path) -> None:
    """Row 48: unreadable; row 35's errors: missing, a folder, ENOTDIR, ELOOP."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for bad in (tmp_path / "absent.yaml", tmp_path, path / "below.yaml", loop):
        with pytest.raises(ConfigError, match=str(bad)):
            load(bad, environ={})


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        (
            "environment: test",
            "environment: test\nenvironment: live",
            2,
            "environment is given twice",
        ),
        ("  url:", "  url: a\n  url:", 5, "store.url is given twice"),
        ("environment", "enviroment", 1, "unknown key 'enviroment'"),
        ("activation_enabled", "activation_enable", 2, "unknown key 'activation_enable'"),
        ("  url:", "  ur1:", 4, "unknown key 'ur1'"),
        ("    max_daily_loss:", "    max_dayly_loss:", 13, "unknown key 'max_dayly_loss'"),
        ("activation_enabled: true", "activation_enabled: .nan", 2, "activation_enabled: Expected"),
        ("max_orders_per_minute: 600", "max_orders_per_minute: -1", 14, "max_orders_per_minute"),
        ("max_orders_per_minute: 600", "max_orders_per_minute: .inf", 14, "max_orders_per_minute"),
        ('max_daily_loss: "50"', "max_daily_loss: 50", 13, "max_daily_loss"),
        ('max_daily_loss: "50"', 'max_daily_loss: "-50"', 13, "max_daily_loss"),
        ("state_dir: state", "timing: {lease_ms: 1}", 7, "timing"),
        ("state_dir: state", "timing: loose", 7, "timing is one of standard, tight"),
        ("state_dir: state", "allowed_profiles:\n  - micro\n  - huge", 9, "allowed_profiles[1]"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(
    path: Path, old: str, new: str, line: int, says: str
) -> None:
    """Row 48: unknown key, duplicate key, NaN, negative numbers."""
    assert GOOD.count(old) == 1
    message = refusal(path, GOOD.replace(old, new)).message
    assert says in message
    assert message.startswith(f"{path}:{line}: ")


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [("enviroment", "environment"), ("stroe", "store"), ("timeing", "timing"), ("xyzzy", "")],
)
def test_an_unknown_key_comes_with_the_nearest_known_name(
    path: Path, wrong: str, nearest: str
) -> None:
    """Row 48: what to write instead."""
    hint = refusal(path, f"{wrong}: 1\n{GOOD}").hint
    assert hint == (f"did you mean {nearest}?" if nearest else "remove it")


def test_timers_written_out_are_validated_together(path: Path) -> None:
    """Row 48: the inequality in the message, the line of the section."""
    standard: dict[str, Any] = {
        name: getattr(TIMINGS["standard"], name) for name in TIMINGS["standard"].__struct_fields__
    }
    path.write_text(f"{GOOD}timing: {standard}\n")
    assert load(path, environ={}).policy.timers == TIMINGS["standard"]
    error = refusal(path, f"{GOOD}timing: { ({**standard, 'lease_ms': 1000}) }\n")
    assert "(1-rho)*lease_ms >= (m+1)*read_every_ms*1.1 + timeout_ms is broken" in error.message
    assert error.message.startswith(f"{path}:15: ")


def test_a_password_variable_that_is_not_set_is_an_error_and_not_an_empty_password(
    path: Path,
) -> None:
    path.write_text(GOOD.replace("  url:", "  password_env: GOLIVE_PW\n  url:"))
    assert load(path, environ={"GOLIVE_PW": "x"}).password == "x"
    with pytest.raises(ConfigError, match="GOLIVE_PW, which is not set"):
        _ = load(path, environ={}).password


def test_the_sentinels_have_a_password_variable_of_their_own(path: Path) -> None:
    sentinel = "  sentinel: {username: scout, password_env: WATCH, tls: true}\n  url:"
    path.write_text(GOOD.replace("  url:", sentinel))
    address = load(path, environ={"WATCH": "x"}).address()
    assert (address.password, address.sentinel_password) == (None, "x")
    assert (address.sentinel_username, address.sentinel_tls) == ("scout", True)
    with pytest.raises(ConfigError, match=r"store\.sentinel\.password_env names WATCH"):
        load(path, environ={}).address()


def test_a_password_in_the_file_is_refused_and_one_in_the_environment_is_not(path: Path) -> None:
    url = "redis://:hunter2@127.0.0.1:6380/1"
    path.write_text(GOOD.replace("redis://127.0.0.1:6380/1", url))
    with pytest.raises(ConfigError, match="holds a password") as caught:
        load(path, environ={}).address()
    assert "hunter2" not in caught.value.message
    assert "store.password_env" in caught.value.hint
    path.write_text(GOOD)
    assert load(path, environ={"GOLIVE_REDIS_URL": url}).address().place().password == "hunter2"


def test_a_whole_login_in_the_variable_takes_the_place_of_the_settings_and_half_of_one_does_not(
    path: Path,
) -> None:
    login = "  username: golive-operator\n  password_env: GOLIVE_PW\n  url:"
    path.write_text(GOOD.replace("  url:", login))
    url = "redis://admin:hunter2@127.0.0.1:6380/1"
    address = load(path, environ={"GOLIVE_REDIS_URL": url}).address()
    assert (address.username, address.password) == ("admin", None)  # who is asked for by name
    assert address.place().password == "hunter2"
    assert address.logged_in_as(None, None).url == "redis://127.0.0.1:6380/1"
    other = address.logged_in_as("golive-worker", "w").place()
    assert (other.username, other.password) == (None, None)
    for half in ("redis://admin@h", "redis://:hunter2@h"):
        with pytest.raises(ConfigError, match="its login is not that of"):
            load(path, environ={"GOLIVE_REDIS_URL": half, "GOLIVE_PW": "x"}).address()
    path.write_text(path.read_text().replace("redis://127", "redis://admin@127"))
    with pytest.raises(ConfigError, match="its login is not that of"):
        load(path, environ={"GOLIVE_PW": "x"}).address()


@pytest.mark.parametrize(
    ("written", "override"),
    [
        ("rediss://h", "redis://h"),
        ("redis+sentinel://h/s?ssl=true", "redis+sentinel://h/s"),
        ("redis+cluster://h?ssl=true", "redis://h"),
    ],
)
def test_a_variable_does_not_take_tls_away(path: Path, written: str, override: str) -> None:
    """Row 90: nothing in the environment switches a protection off that the file asks for."""
    path.write_text(GOOD.replace("redis://127.0.0.1:6380/1", written) + 'namespace: "{golive}"\n')
    with pytest.raises(ConfigError, match="without TLS"):
        load(path, environ={"GOLIVE_REDIS_URL": override}).address()
    for good in (written, "rediss://elsewhere", "unix:///run/redis.sock"):
        assert load(path, environ={"GOLIVE_REDIS_URL": good}).address().url == good


def test_a_cluster_without_braces_in_the_namespace_is_refused(path: Path) -> None:
    cluster = {"GOLIVE_REDIS_URL": "redis+cluster://a:6379,b:6379"}
    with pytest.raises(ConfigError, match="would spread the keys of 'golive'") as caught:
        load(path, environ=cluster).address()
    assert 'namespace: "{golive}"' in caught.value.hint


def test_a_role_without_a_key_is_refused_with_where_to_name_one(path: Path) -> None:
    found = load(path, environ={})
    with pytest.raises(ConfigError, match=r"keys\.heartbeat is not set") as caught:
        found.signer("heartbeat", found.keyset())
    assert "GOLIVE_KEY" in caught.value.hint


def test_a_pod_finds_its_own_key_by_its_name_and_no_other_file(path: Path) -> None:
    path.write_text(GOOD.replace("alice.pem", "{name}.pem"))
    found = load(path, environ={})
    keyset = found.keyset()
    assert found.signer("operator", keyset, name="alice").principal == "alice"
    for name in (None, "", "../alice", "a/b", ".alice", "alice\n", "a" * 65):
        with pytest.raises(ConfigError, match="cannot stand for"):
            found.signer("operator", keyset, name=name)


def test_a_key_that_the_keyset_does_not_list_is_refused(path: Path) -> None:
    """Row 54: the key of another environment."""
    stranger = keyfile.generate()
    environ = {"GOLIVE_KEY": keyfile.to_pem(stranger).decode()}
    found = load(path, environ=environ)
    with pytest.raises(ConfigError, match="does not list this key") as caught:
        found.signer("operator", found.keyset())
    assert key_id(raw_of(stranger.public_key()))[:12] in caught.value.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("version: 1\nversion: 2\nprincipals: {}\n", ":2: version is given twice"),
        (f"version: 1\nfleet: {FLEET}\nprincipals:\n  bob: {{roles: [boss], keys: [x]}}\n", "boss"),
        (
            f"version: 1\nfleet: {FLEET}\nprincipals:\n  bob:\n    roles: [approver]\n    keys: [x]\n",
            "not an Ed25519",
        ),
        (
            "version: 1\nprincipals:\n  bob:\n    roles: [approver]\n    keys: [x]\n",
            "the id of the fleet is missing",
        ),
        (f"version: one\nfleet: {FLEET}\nprincipals: {{}}\n", ":1: keyset"),
    ],
    ids=["empty", "duplicate", "role", "key", "fleet", "version"],
)
def test_a_keyset_that_cannot_be_used_is_refused_with_its_file(
    path: Path, text: str, says: str
) -> None:
    """Row 38, 48: no keyset, no trust."""
    file = path.parent / "keyset.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, environ={}).trust()
    assert caught.value.message.startswith(str(file.resolve()))
    assert says in caught.value.message


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o622, 0o666])
def test_a_keyset_that_others_may_write_is_refused_with_the_line_to_type(
    path: Path, mode: int
) -> None:
    """Row 115: who can write it decides whose keys count."""
    file = path.parent / "keyset.yaml"
    file.chmod(mode)
    with pytest.raises(ConfigError, match=f"others may write it .mode {mode:04o}.") as caught:
        load(path, environ={}).trust()
    assert caught.value.message.startswith(str(file))
    assert caught.value.hint.endswith(f"chmod go-w {file}")
    file.chmod(0o644)
    load(path, environ={}).trust()


def mounted(folder: Path, content: dict[str, str | bytes], version: str) -> None:
    """Write files as Kubernetes mounts them, or replace them: links, and `..data` that is swapped."""
    new = folder / f"..{version}"
    for name, text in content.items():
        file = new / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        file.chmod(0o600 if name.endswith(".pem") else 0o644)
        top = folder / Path(name).parts[0]
        if not top.is_symlink():
            top.symlink_to(Path("..data") / top.name)
    data, swap = folder / "..data", folder / "..data_tmp"
    old = data.resolve() if data.is_symlink() else None
    swap.symlink_to(new.name)
    swap.replace(data)
    if old is not None:
        shutil.rmtree(old)


def test_paths_work_in_a_mount_of_kubernetes_and_follow_its_updates(tmp_path: Path) -> None:
    """The real folder of a linked file has neither what is mounted beside it, nor a future."""
    config, secret = tmp_path / "config", tmp_path / "config" / "own"
    keyset, pem = (
        yaml.safe_dump(SIGNERS.keyset_file),
        keyfile.to_pem(SIGNERS.signers["alice"]._private),
    )
    own = "keys:\n  operator: keys/alice.pem\n  worker: own/pod.pem\nstate_dir: ../state\n"
    content: dict[str, str | bytes] = {
        "go_live.yaml": GOOD.partition("keys:")[0]
        + own
        + "profiles:"
        + GOOD.partition("profiles:")[2],
        "keyset.yaml": keyset,
        "keys/alice.pem": pem,
    }
    mounted(config, content, "2026_11_26")
    mounted(secret, {"pod.pem": keyfile.to_pem(SIGNERS.signers["pod-1"]._private)}, "2026_11_26")
    found = load(config / "go_live.yaml", environ={})
    assert found.state_dir == tmp_path / "state"
    for version in ("2026_11_27", "2026_11_28"):
        trusted = found.keyset()
        assert found.signer("operator", trusted).principal == "alice"
        assert found.signer("worker", trusted).principal == "pod-1"
        changed = {
            **content,
            "keyset.yaml": keyset.replace("version: 1", f"version: {version[-2:]}"),
        }
        mounted(config, changed, version)
        assert found.keyset().version == int(version[-2:])


def test_a_path_with_dots_leads_where_the_system_says(tmp_path: Path, path: Path) -> None:
    """`..` behind a link is the parent of where the link leads."""
    real = tmp_path / "far" / "below"
    real.mkdir(parents=True)
    (tmp_path / "link").symlink_to(real)
    found = load(path, environ={})
    assert found.resolve("link/../state") == tmp_path.resolve() / "far" / "state"
    assert found.resolve("link/state") == path.parent / "link" / "state"


def test_a_tilde_without_a_home_is_a_configuration_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container may run as a number: no HOME, and nobody in /etc/passwd."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 54321)
    found = load(path, environ={})
    assert found.resolve("state") == path.parent / "state"
    with pytest.raises(ConfigError, match="a home folder, and there is none") as caught:
        found.resolve("~/state")
    assert "without ~" in caught.value.hint
