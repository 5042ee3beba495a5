"""Logins and certificates that Redis, or we, refuse in the middle of the day.

A guard that is connected notices when it is cut, and everything here cuts it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from golive_redis.store import acl
from golive_redis.store.keyspace import Keyspace
from golive_redis.testing.server import EmbeddedServer
from kit.processes import Proxy

from ..contract.certificates import DAY, Pair, issue
from .judged import JudgedFleet

StartFleet = Callable[..., AbstractContextManager[JudgedFleet]]
USER = "golive-worker"
LOGINS = {
    "wrong-password": [f"ACL SETUSER {USER} resetpass >other", f"CLIENT KILL USER {USER}"],
    "missing-user": [f"ACL DELUSER {USER}"],  # which cuts the connections of that user
}


@pytest.fixture
def behind_acl(
    make_server: Callable[..., EmbeddedServer], monkeypatch: pytest.MonkeyPatch
) -> EmbeddedServer:
    """A server on which the documented user of the workers has the password `secret`."""
    server = make_server()
    line = acl.user_of(acl.Role.WORKER, Keyspace("golive")).line
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", *line.split()[1:], ">secret")
    monkeypatch.setenv("WORKERS_PASSWORD", "secret")
    return server


def _login(server: EmbeddedServer) -> dict[str, object]:
    return {
        "store": {"url": server.url, "username": USER, "password_env": "WORKERS_PASSWORD"},
    }


@pytest.mark.parametrize("login", LOGINS)
def test_login_refused(start_fleet: StartFleet, behind_acl: EmbeddedServer, login: str) -> None:
    """Row 45."""
    with start_fleet(behind_acl, workers_config=_login(behind_acl)) as live:
        live.strike(lambda: _change(live, *LOGINS[login]), off_ms=live.timers.lease_ms)
        live.revoke("STOPPED")


def _change(live: JudgedFleet, *commands: str) -> None:
    for command in commands:
        live.raw.execute_command(*command.split())


def test_permission_taken(start_fleet: StartFleet, behind_acl: EmbeddedServer) -> None:
    """Row 46: NOPERM for the guard's question."""
    with start_fleet(behind_acl, workers_config=_login(behind_acl)) as live:
        command = ["ACL", "SETUSER", USER, "-eval", "-evalsha"]
        live.strike(lambda: live.raw.execute_command(*command), off_ms=live.timers.lease_ms)
        live.revoke("COMPLETE")


def _bad(authority: Pair, what: str) -> Pair:
    match what:
        case "wrong-authority":
            return issue("redis", issue("somebody else", None), hosts=("127.0.0.1",))
        case "expired":
            yesterday = dt.datetime.now(dt.UTC) - DAY
            return issue("redis", authority, hosts=("127.0.0.1",), valid_until=yesterday)
        case _:
            return issue("redis", authority, hosts=("redis.example",))


@pytest.mark.parametrize("what", ["wrong-authority", "expired", "wrong-host"])
def test_certificate(
    start_fleet: StartFleet,
    make_server: Callable[..., EmbeddedServer],
    proxy: Callable[..., Proxy],
    tmp_path: Path,
    what: str,
) -> None:
    """Row 47. TLS ends in front of the server: the Valkey of the wheel has none of its own."""
    server, authority = make_server(), issue("the fleet's authority", None)
    ca, _ = authority.write(tmp_path, "ca")
    good = issue("redis", authority, hosts=("127.0.0.1",)).write(tmp_path, "good")
    network = proxy(server, *good)
    with start_fleet(
        server, workers_config={"store": {"url": network.url, "tls": {"ca": ca}}}
    ) as live:
        bad = _bad(authority, what).write(tmp_path, "bad")
        live.strike(lambda: _replace(network, bad), off_ms=live.timers.lease_ms)
        live.revoke("STOPPED")
        for worker in live.workers.values():
            assert "ertificate" in worker.health()["last_error"]


def _replace(network: Proxy, certificate: tuple[str, str]) -> None:
    network.certify(*certificate)
    network.set("cut")
    network.set("pass")
