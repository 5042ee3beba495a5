"""`golive doctor` on real servers: it sees what is there, and what it says mends it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from golive_cli.main import main
from golive_redis import config as configuration
from golive_redis.operator import doctor
from golive_redis.operator.doctor import Facts
from golive_redis.operator.findings import FINDINGS, diagnose
from golive_redis.operator.session import Operator
from golive_redis.store import acl
from golive_redis.store.keyspace import Keyspace
from golive_redis.testing.server import EmbeddedServer


@pytest.fixture
def examined(
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, dict[str, dict[str, str]]]]:
    """Runs the command; returns its exit code and the findings by name."""

    def run(path: Any) -> tuple[int, dict[str, dict[str, str]]]:
        capsys.readouterr()
        code = main(["doctor", "--json", "--config", str(path)])
        said = json.loads(capsys.readouterr().out)
        assert said["passed"] is (code == 0)
        assert [item["name"] for item in said["diagnoses"]] == list(FINDINGS)
        return code, {item["name"]: item for item in said["diagnoses"]}

    return run


def everything(live: Any) -> dict[bytes, bytes]:
    return {
        key: live.raw.dump(key)
        for key in live.raw.keys("*")
        if not key.startswith((b"golive:worker:", b"golive:heartbeat:", b"golive:beat"))
    }


def test_a_fleet_in_good_order_has_no_red_finding_and_is_left_as_it_is(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    examined: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    live = fleet(own_server)
    live.go_live("pod-1")
    before = everything(live)
    code, found = examined(live.path)
    assert code == 0, found
    after = everything(live)
    assert after.pop(b"golive:preflight", b"") is not None, (
        "the check of the server writes it, for 1 s"
    )
    before.pop(b"golive:preflight", None)
    assert after == before
    assert {item["level"] for item in found.values()} <= {"ok", "warning"}
    assert found["clock-heartbeats"]["level"] == "ok"
    assert "1 heartbeats agree" in found["clock-heartbeats"]["seen"]
    assert found["acl-user"]["seen"] == "logged in as `default`"
    assert int(found["ledger"]["seen"].split()[0]) >= 2
    assert main(["doctor", "--config", str(live.path)]) == 0
    shown = capsys.readouterr().out
    assert "why:  a worker that is taken over may then do everything in Redis" in shown
    assert "FINDINGS in test (golive): " in shown


@pytest.mark.parametrize(
    ("setting", "value", "name"),
    [
        ("appendonly", "no", "durability"),
        ("maxmemory-policy", "allkeys-lru", "eviction"),
        ("min-replicas-to-write", "3", "min-replicas"),
    ],
)
def test_a_server_that_is_set_up_wrongly_is_red_until_the_command_has_mended_it(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    examined: Callable[..., Any],
    setting: str,
    value: str,
    name: str,
) -> None:
    live = fleet(own_server)
    live.start_heartbeat("hb-1")
    live.raw.config_set(setting, value)
    code, found = examined(live.path)
    assert (code, found[name]["level"]) == (1, "red")
    command = found[name]["mend"].partition("redis-cli ")[2].partition(",")[0]
    live.raw.execute_command(*shlex.split(command))
    code, found = examined(live.path)
    assert (code, found[name]["level"]) == (0, "ok"), found


def test_what_a_login_may_not_ask_is_unknown_and_not_good(
    fleet: Callable[..., Any], own_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = fleet(own_server)
    user = acl.user_of(acl.Role.OPERATOR, Keyspace("golive"), more=(">x",))
    live.raw.execute_command("ACL", "SETUSER", user.user, *user.rules)
    monkeypatch.setenv("OPERATORS", "x")
    login = {"url": own_server.url, "username": user.user, "password_env": "OPERATORS"}
    path = live.write_config(store=login)
    found = {item.name: item for item in diagnose(facts(configuration.load(path)))}
    unknown = {name for name, item in found.items() if item.level == "unknown"}
    assert unknown == {"output-buffers", "min-replicas", "protected-mode"}
    assert found["acl-user"].seen == "logged in as golive-operator, with every right of an operator"
    assert found["ledger"].level == "ok"


def test_files_that_others_can_use_and_what_waits_on_this_host_are_seen(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    live = fleet(own_server)
    (live.folder / "alice.pem").chmod(0o644)
    live.path.chmod(0o666)
    (live.state_dir / "spool").mkdir(parents=True)
    (live.state_dir / "spool" / "0.dsse.json").write_text("{}")
    found = {item.name: item for item in diagnose(facts(live.config))}
    assert found["file-modes"].level == "red"
    assert "alice.pem is 0644" in found["file-modes"].seen
    assert f"{live.path} is 0666" in found["file-modes"].seen
    assert found["spool"].seen == "1 records wait on this host"


def test_a_pin_that_others_can_read_is_seen_as_a_key_is(
    fleet: Callable[..., Any], own_server: EmbeddedServer, tmp_path: Path
) -> None:
    pin = tmp_path / "pin of alice"
    pin.write_text("1234")
    pin.chmod(0o644)
    source = str(pin).replace(" ", "%20")
    live = fleet(own_server)
    setting = f"pkcs11:token=golive?module-path=/usr/lib/x.so&pin-source=file:{source}"
    path = live.write_config(keys={"keyset": "keyset.yaml", "operator": setting})
    found = {item.name: item for item in diagnose(facts(configuration.load(path)))}
    assert f"{pin} is 0644, wanted: mode 0600" in found["file-modes"].seen


def test_a_replica_that_is_not_online_is_seen(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    make_server: Callable[..., EmbeddedServer],
    wait_for: Callable[..., None],
) -> None:
    live, replica = fleet(own_server), make_server()
    with replica.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", str(own_server.port))
    wait_for(lambda: list(facts(live.config).behind.values()) == [0], what="the replica is there")
    assert facts(live.config).info.count("connected_slaves") == 1


def facts(config: Any) -> Facts:
    with Operator(config, takes_away=True) as operator:
        return doctor.examine(operator)
