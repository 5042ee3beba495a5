"""An operator whose login lacks a right: what is said to people is what is in force (A7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from golive_redis import config
from golive_redis.checks.builtin import check_database_redis
from golive_redis.errors import RefusedError
from golive_redis.operator import restrictions
from golive_redis.operator.activation import Activation
from golive_redis.operator.session import Operator
from golive_redis.records.directive import RestrictionKind
from golive_redis.stop.revoke import Revoke
from golive_redis.store import acl
from golive_redis.store.keyspace import Keyspace
from golive_redis.testing.server import EmbeddedServer
from kit.logins import without

PUSH = ("PUBLISH", "golive:events")
TOMBSTONE = ("HSET", "golive:revoked")


def limited(live: Any) -> Any:
    """The configuration of an operator who logs in as `limited`."""
    store = {"url": live.server.url, "username": "limited", "password_env": "PASSWORD"}
    return config.load(live.write_config(store=store), environ={"PASSWORD": "x"})


def take(live: Any, *right: str) -> None:
    """Take that right away from `limited`, or give all back."""
    rules = without(*right) if right else ["reset", "on", ">x", "~*", "&*", "+@all"]
    live.raw.execute_command("ACL", "SETUSER", "limited", *rules)


def test_an_activation_and_a_halt_that_could_not_be_pushed_are_told_as_in_force(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 78: "refused", and live, it once was."""
    live = fleet(own_server, required_preflight=[])
    live.start_heartbeat()
    worker = live.start_worker("pod-1")
    take(live)
    said: list[str] = []
    with Operator(limited(live)) as operator:
        activation = Activation(operator, reason="test", say=said.append)
        reading = activation.prepare()
        take(live, *PUSH)
        grant = activation.commit(reading)
        assert live.raw.hget("golive:active", "grant") == grant.raw
        assert [text for text in said if "in force, but not pushed: Redis refused" in text]
        worker.wait_permit()
        said.clear()
        restrictions.restrict(operator, RestrictionKind.HALT, reason="test", say=said.append)
        assert [text for text in said if "in force, but not pushed: Redis refused" in text]
    assert worker.check()["reason"] == "halted"
    assert live.records("restriction")


def test_a_stop_that_could_not_be_recorded_is_told_as_off_and_not_confirmed(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 78: the key is gone, and an old copy of it would find no tombstone."""
    live = fleet(own_server)
    live.go_live("pod-1")
    take(live, *TOMBSTONE)
    live.heartbeats["hb-1"].pause()  # it would put the tombstone up by its own login
    report = Revoke(limited(live), reason="test", wait_ms=1_500).run()
    assert not live.raw.exists("golive:active", "golive:revoked")
    assert report.in_redis_ms is not None
    assert report.outcome.result == "NOT CONFIRMED"
    assert [text for text in report.problems if text.startswith("the stop is not recorded: ")]
    assert not [text for text in report.problems if "did not run" in text]
    take(live)
    live.heartbeats["hb-1"].resume()
    report = Revoke(limited(live), reason="test", wait_ms=1_500).run()
    assert not report.problems
    assert live.raw.exists("golive:revoked")


def test_an_activation_is_told_as_in_force_whatever_fails_after_it(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 78: neither a full disk nor a server that goes away makes it a failure."""
    live = fleet(own_server, required_preflight=[])
    live.start_heartbeat()
    take(live)
    said: list[str] = []
    with Operator(limited(live)) as operator:
        activation = Activation(operator, reason="test", say=said.append)
        reading = activation.prepare()
        (live.state_dir / "operator.0.tmp").symlink_to("/dev/full")  # each write to it fails
        grant = activation.commit(reading)
        assert live.raw.hget("golive:active", "grant") == grant.raw
        assert [text for text in said if "in force, and not remembered on this host" in text]
        take(live, "ZRANGE", "")
        activated = activation.wait_armed(grant, 0.5)
        assert activated.grant is grant
        assert [text for text in said if "in force, and who is armed is not known" in text]


def test_a_heartbeat_that_cannot_renew_the_key_says_so_before_all_is_off(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 78: its beats are recorded, and workers count on them, until the key runs out."""
    live = fleet(own_server)
    live.go_live("pod-1")
    pods = "(~golive:heartbeat:* ~golive:worker:* +pexpire)"
    live.raw.execute_command("ACL", "SETUSER", "default", "-pexpire", pods)
    live.heartbeats["hb-1"].wait_said("beating, but ")
    left_ms = live.raw.pttl("golive:active")
    count = live.raw.hget("golive:beat", "hb-1")
    while live.raw.hget("golive:beat", "hb-1") == count:
        live.workers["pod-1"].wait_permit()
    assert 0 < live.raw.pttl("golive:active") < left_ms


ANSWERS = "(~golive:receipt:* +hset +pexpire)"
TELLS = "(&golive:receipts +publish)"


@pytest.mark.parametrize(
    ("role", "user", "without", "lacks"),
    [
        ("worker pod-1", "golive-worker", ANSWERS, "HSET golive:receipt:*"),
        ("worker pod-1", "golive-worker", TELLS, "PUBLISH golive:receipts"),
        ("worker pod-1", "golive-worker", "+multi", "try its rights (Redis refused: "),
        ("worker pod-1", "golive-worker", "+discard", "try its rights (Redis refused: "),
        ("heartbeat hb-1", "golive-heartbeat", "(~golive:audit +xadd)", "XADD golive:audit"),
        ("heartbeat hb-1", "golive-heartbeat", "+wait", "WAIT"),
        ("heartbeat hb-1", "golive-heartbeat", "+time", "TIME"),
    ],
)
def test_what_the_login_of_a_pod_may_not_do_fails_the_preflight_and_not_the_next_stop(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    wait_for: Callable[..., None],
    role: str,
    user: str,
    without: str,
    lacks: str,
) -> None:
    """Row 80: each pod tries its own login, for nobody else has its password."""
    live = fleet(own_server)
    line = acl.user_of(acl.Role(user.removeprefix("golive-")), Keyspace("golive")).line
    assert without in line
    line = line.replace(f" {without}", "")
    live.raw.execute_command("ACL", "SETUSER", *line.split()[1:], ">x")
    monkeypatch.setenv("PODS_PASSWORD", "x")
    own = {"store": {"url": own_server.url, "username": user, "password_env": "PODS_PASSWORD"}}
    live.start_worker("pod-1", config=own if role.startswith("worker") else None)
    live.start_heartbeat("hb-1", config=own if role.startswith("heartbeat") else None)
    address, said = live.config.address(), f"the login of {role} may not: {lacks}"

    def explained() -> str:
        return check_database_redis(address, Keyspace("golive")).explain

    if lacks:
        process = {**live.workers, **live.heartbeats}[role.split()[1]]
        process.wait_logged(f"this login may not: {lacks}")
        wait_for(lambda: said in explained(), what="the preflight knows")
        assert [text for text in live.status().problems if text.startswith(said)]
        with pytest.raises(RefusedError, match="check_database_redis"):
            live.activate()
    else:
        live.activate()
        live.workers["pod-1"].wait_permit()
        assert "may not" not in explained()


def test_status_and_health_say_what_is_pushed(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 3: without tracking, directives are heard all the same; without a subscription, nothing."""
    live = fleet(own_server)
    live.go_live("pod-1")

    def become(what: str) -> None:
        live.raw.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        wait_for(lambda: live.workers["pod-1"].health()["push"] == what, what=what)
        found = live.status
        wait_for(lambda: {pod.push for pod in found().workers + found().heartbeats} == {what})

    become("tracking")
    live.raw.execute_command("ACL", "SETUSER", "default", "-client|tracking")
    become("pubsub")
    live.raw.execute_command("ACL", "SETUSER", "default", "-subscribe")
    become("none")
