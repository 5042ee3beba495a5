"""`store.scripts: function`: a fleet whose workers have no EVAL."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from golive_cli.main import main
from golive_redis import config as configuration
from golive_redis.store import acl, scripts
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import StoreRefusedError
from golive_redis.testing.server import EmbeddedServer


@pytest.fixture
def of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], dict[str, Any]]:
    """Makes the user of a role on a fleet's server; returns the settings that log in as it."""

    def made(live: Any, role: str) -> dict[str, Any]:
        user = acl.user_of(acl.Role(role), Keyspace("golive"), functions=True, more=(f">{role}",))
        live.raw.execute_command("ACL", "SETUSER", user.user, *user.rules)
        variable = f"PASSWORD_OF_{role.upper()}"
        monkeypatch.setenv(variable, role)
        login = {"username": user.user, "password_env": variable}
        return {"store": {**live.settings["store"], **login}}

    return made


def test_a_term_without_eval_from_its_activation_to_a_stop_that_is_complete(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    of: Callable[..., dict[str, Any]],
    wait_for: Callable[..., None],
) -> None:
    live = fleet(own_server, store={"url": own_server.url, "scripts": "function"})
    assert main(["store", "install", "--config", str(live.path)]) == 0
    live.start_heartbeat("hb-1", config=of(live, "heartbeat"))
    worker = live.start_worker("pod-1", config=of(live, "worker"))
    # The preflight asks for `default` to be off, whom this test looks with.
    operator = live.write_config(**of(live, "operator"))
    live.raw.execute_command("ACL", "SETUSER", "eye", "on", ">x", "~*", "&*", "+@all")
    done = configuration.load(operator)
    live.raw.connection_pool.reset()
    live.raw.connection_pool.connection_kwargs.update(username="eye", password="x")
    live.raw.execute_command("ACL", "SETUSER", "default", "off")
    live.activate(config=done)
    worker.wait_permit()
    assert worker.health()["pushed"]
    stats = live.raw.info("commandstats")
    assert stats["cmdstat_fcall"]["calls"] > 5
    assert not {"cmdstat_eval", "cmdstat_evalsha"} & stats.keys()
    report = live.revoke(config=done)
    assert report.outcome.result == "COMPLETE", report.problems
    assert not {"cmdstat_eval", "cmdstat_evalsha"} & live.raw.info("commandstats").keys()


def test_where_the_library_is_missing_everybody_is_closed_and_a_stop_goes_through(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Somebody flushes the functions of the server in the midst of a term."""
    live = fleet(own_server, store={"url": own_server.url, "scripts": "function"})
    assert main(["store", "install", "--config", str(live.path)]) == 0
    live.go_live("pod-1")
    live.raw.execute_command("FUNCTION", "FLUSH")
    worker = live.workers["pod-1"]
    worker.wait_denied()
    wait_for(lambda: scripts.library() in str(worker.health()["last_error"]), what="it says why")
    with pytest.raises(StoreRefusedError) as refused:
        live.halt()
    assert "golive store install" in refused.value.hint
    live.revoke()
    assert live.raw.exists("golive:active") == 0
    assert live.raw.exists("golive:revoked") == 1
    presence = f"golive:worker:pod-1:{worker.instance}"
    live.raw.delete(presence)
    assert main(["store", "install", "--config", str(live.path)]) == 0
    wait_for(lambda: live.raw.exists(presence), what="it reads again")


def test_the_command_installs_once_says_what_is_there_and_deletes_only_when_asked(
    fleet: Callable[..., Any], own_server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    live = fleet(own_server, store={"url": own_server.url, "scripts": "function"})

    def run(*words: str, code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        assert main(["store", *words, "--json", "--config", str(live.path)]) == code
        said: dict[str, Any] = json.loads(capsys.readouterr().out)
        return said

    own, other = scripts.library(), "golive_0123456789ab"
    live.raw.function_load(scripts.code().replace(own, other))
    missing = run("status", code=1)
    assert (missing["state"], missing["others"], missing["library"]) == ("missing", [other], own)
    assert run("install")["installed"] is True
    assert run("install") == {
        "environment": "test",
        "namespace": "golive",
        "library": own,
        "installed": False,
        "removed": [],
    }
    assert run("status")["state"] == "installed"
    live.raw.function_load(scripts.code().replace("XADD", "XDEL"), replace=True)
    assert run("status", code=1)["state"] == "differs"
    assert run("install", "--prune")["removed"] == [other]
    assert (run("status")["state"], run("status")["others"]) == ("installed", [])
    assert main(["store", "status", "--config", str(live.path)]) == 0
    assert f"INSTALLED {own} in test (golive)" in capsys.readouterr().out
    live.raw.execute_command("ACL", "SETUSER", "default", "-function")
    assert main(["store", "install", "--config", str(live.path)]) == 4
    live.raw.execute_command("ACL", "SETUSER", "default", "+@all")


def test_what_each_user_may_is_proved_for_functions_too(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    of: Callable[..., dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live = fleet(own_server, store={"url": own_server.url, "scripts": "function"})
    for role in acl.Role:
        of(live, role)
        monkeypatch.setenv(f"GOLIVE_REDIS_PASSWORD_{role.upper()}", role)
    path = live.write_config()
    capsys.readouterr()
    assert main(["acl", "check", "--config", str(path)]) == 0, capsys.readouterr().out
    assert main(["acl", "--role", "worker", "--config", str(path)]) == 0
    live.raw.execute_command("ACL", "SETUSER", "golive-worker", "+eval")
    capsys.readouterr()
    assert main(["acl", "check", "--role", "worker", "--config", str(path)]) == 1
    assert "DIFFERS golive-worker" in capsys.readouterr().out
