"""A stop in the Redis of another fleet: what trades there ends, and what is theirs stays theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from golive_redis.delivery.spool import Spool
from golive_redis.operator.session import Operator, send_spool
from golive_redis.stop.revoke import Revoke
from golive_redis.testing.server import EmbeddedServer

OTHERS = "e" * 32
SAYS = "this store belongs to fleet f1ee7000..., and this keyset to fleet eeeeeeee..."


@pytest.fixture
def one_server() -> Iterator[EmbeddedServer]:
    """For what no server has a part in."""
    with EmbeddedServer() as server:
        yield server


def two_fleets(fleet: Callable[..., Any], server: EmbeddedServer) -> tuple[Any, Any]:
    """The fleet at home there, and one whose configuration names that Redis by mistake."""
    live, others = fleet(server), fleet(server)
    others.fleet_id = OTHERS
    others.write_keyset()
    live.go_live("pod-1")
    return live, others


def test_a_confirmed_stop_stays_confirmed_when_another_fleet_stops_there(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """Row 54: it is said whose Redis it is, and nothing of it is written or replaced."""
    live, others = two_fleets(fleet, one_server)
    assert live.revoke(config=live.patient).outcome.result == "COMPLETE"
    names = ["golive:revoked", "golive:audit", "golive:epoch", "golive:last", "golive:head"]
    before = [live.raw.dump(name) for name in names]
    report = others.revoke(wait_ms=300)
    assert report.outcome.result == "NOT CONFIRMED"
    assert report.another_fleet == SAYS and SAYS in report.problems
    assert (
        "the stop is not recorded: another stop stands there already, and stays" in report.problems
    )
    assert [live.raw.dump(name) for name in names] == before
    assert report.ledger == "spooled" and len(others.spooled()) == 1
    said = live.status()
    assert not said.refused and said.revoked.result == "COMPLETE"
    again = live.revoke(config=live.patient)
    assert again.outcome.result == "COMPLETE" and not again.another_fleet


def test_what_trades_there_is_off_all_the_same_and_its_ledger_has_no_word_of_it(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """Row 54: no stop waits for a name."""
    live, others = two_fleets(fleet, one_server)
    entries, last = live.raw.xlen("golive:audit"), live.raw.get("golive:last")
    stopped = live.timed(lambda: others.revoke(wait_ms=1_500))  # long enough to be repeated
    assert stopped.result.in_redis_ms is not None
    assert not live.raw.exists("golive:active")
    live.workers["pod-1"].closed_within(live.timers.lease_ms, stopped)
    assert live.raw.get("golive:last") == last, "what is signed next follows an entry that is there"
    assert live.raw.xlen("golive:audit") == entries
    report = live.revoke(config=live.patient)
    assert report.outcome.result == "COMPLETE", report
    assert live.records("revocation") == [live.raw.hget("golive:revoked", "id").decode()]
    live.activate()
    live.wait_all_armed()


def test_what_is_kept_on_a_host_is_not_sent_to_another_fleet(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    live, others = two_fleets(fleet, one_server)
    others.revoke(wait_ms=0)
    (kept,) = others.spooled()
    live.revoke()
    stone, entries = live.raw.dump("golive:revoked"), live.raw.xlen("golive:audit")
    said: list[str] = []
    with Operator(others.config) as operator:
        send_spool(operator, said.append)
        Spool(others.state_dir).send(operator.store, operator.trust, said.append)
    assert f"what is kept on this host is not sent: {SAYS}" in said
    assert others.spooled() == [kept]
    assert (live.raw.dump("golive:revoked"), live.raw.xlen("golive:audit")) == (stone, entries)
    live.raw.flushall()  # at home: a Redis that is nobody's yet
    Revoke(others.config, reason="test", wait_ms=0).run()
    assert not others.spooled()
