"""No production runs as the Redis user `default`, and no stop is refused for it (row 45)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from golive_cli.main import main
from golive_redis.config.policy import is_production
from golive_redis.errors import StoreUnavailableError
from golive_redis.operator.session import Operator
from golive_redis.store import acl
from golive_redis.store.keyspace import Keyspace
from golive_redis.testing.server import EmbeddedServer

REFUSED = "logged in as the Redis user 'default'"


@pytest.mark.parametrize(
    ("environment", "said", "refused"),
    [
        ("production", None, True),
        ("Prod-eu", None, True),
        ("live.desk7", None, True),
        ("demo", None, False),
        ("testnet-live", None, False),
        ("productions", None, False),
        ("production", True, False),
        ("demo", False, True),
    ],
)
def test_who_may_run_as_the_default_user(
    fleet: Callable[..., Any],
    any_server: EmbeddedServer,
    environment: str,
    said: bool | None,
    refused: bool,
) -> None:
    store = {"url": any_server.url, "allow_default_user": said}
    live = fleet(any_server, environment=environment, store=store)
    assert is_production(environment) is (environment in {"production", "Prod-eu", "live.desk7"})
    if not refused:
        with Operator(live.config) as operator:
            assert operator.store.snapshot().grant is None
        return
    with pytest.raises(StoreUnavailableError, match=REFUSED) as error, Operator(live.config):
        pass
    assert "golive acl --role ROLE" in error.value.hint
    with Operator(live.config, takes_away=True) as operator:
        assert operator.store.snapshot().grant is None


def test_a_production_that_turns_to_the_default_user_is_off_and_can_be_stopped(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wait_for: Callable[..., None],
) -> None:
    """Its workers close, its heartbeats are silent; a halt and a stop go through."""
    settings = {"environment": "production", "required_preflight": []}
    live = fleet(own_server, store={"url": own_server.url}, **settings)

    def of(role: str) -> dict[str, Any]:
        user = acl.user_of(acl.Role(role), Keyspace("golive"), more=(f">{role}",))
        live.raw.execute_command("ACL", "SETUSER", user.user, *user.rules)
        variable = f"PASSWORD_OF_{role.upper()}"
        monkeypatch.setenv(variable, role)
        login = {"username": user.user, "password_env": variable}
        return {"store": {"url": own_server.url, **login}}

    live.start_heartbeat("hb-1", config=of("heartbeat"))
    worker = live.start_worker("pod-1", config=of("worker"))
    stranger = live.start_worker("pod-2", wait=False)
    silent = live.start_heartbeat("hb-2", wait=False)
    with pytest.raises(StoreUnavailableError, match=REFUSED):
        live.activate()
    path = live.write_config("operator.yaml", **of("operator"))
    capsys.readouterr()
    assert main(["activate", "--reason", "x", "--yes", "--config", str(path)]) == 0
    worker.wait_permit()
    wait_for(lambda: REFUSED in stranger.health()["last_error"], what="it is refused")
    assert not stranger.check()["permit"]
    assert silent is not None

    # Whoever has nothing but the default user can still take away.
    for words in (["halt", "--reason", "x"], ["revoke", "--reason", "x", "--wait", "0"]):
        capsys.readouterr()
        main([*words, "--config", str(live.path)])
        assert REFUSED not in "".join(capsys.readouterr())
    assert live.raw.exists("golive:active") == 0
    assert live.raw.exists("golive:revoked") == 1
    assert main(["status", "--config", str(live.path)]) == 4
    assert REFUSED in capsys.readouterr().err
