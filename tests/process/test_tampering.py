"""Somebody, or a crash, changes the keys behind our back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from golive_redis.errors import RecordError
from golive_redis.records.keyset import Role
from golive_redis.testing.server import EmbeddedServer

# Reads a minute apart: what closes a guard sooner was pushed. All inequalities hold.
SELDOM_READ = {
    "beat_every_ms": 100,
    "read_every_ms": 60_000,
    "timeout_ms": 100,
    "rho": 0.10,
    "lease_ms": 225_000,
    "beat_ms": 150_000,
    "failover_ms": 2_000,
    "ttl_ms": 210_000,
    "drain_ms": 1_000,
}
REMOVALS = {
    "FLUSHALL": ["FLUSHALL"],
    "DEL": ["DEL", "golive:active"],
    "RENAME": ["RENAME", "golive:active", "golive:stolen"],
    "EXPIRE": ["PEXPIRE", "golive:active", "1"],
}


def arm_by_pushes(live: Any, wait_for: Callable[..., None]) -> None:
    """Each write to a tracked key orders a read, so nobody waits for the slow ones."""

    def nudged() -> bool:
        live.raw.hset("golive:active", "nudge", "")
        time.sleep(0.1)
        return all(worker.allowed for worker in live.workers.values())

    wait_for(nudged, what="armed by pushes")


def assert_stays_off(live: Any, ms: float) -> None:
    """Nothing brings the key back, and nobody trades."""
    time.sleep(ms / 1000)
    assert not live.raw.exists("golive:active")
    assert not any(worker.allowed for worker in live.workers.values())


def test_a_key_that_goes_away_closes_the_fleet_by_push_long_before_the_next_read(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 23."""
    live = fleet(own_server, timing=SELDOM_READ)
    live.start_heartbeat("hb-1")
    live.start_workers("pod-1", "pod-2")
    for name, command in REMOVALS.items():
        live.activate(reason=name, wait_s=0)
        arm_by_pushes(live, wait_for)
        time.sleep(0.1)  # reads that the last nudges ordered
        removed = live.timed(lambda c=command: live.raw.execute_command(*c))
        for worker in live.workers.values():
            worker.wait_denied(after_ns=removed.began_ns, within_ms=30_000)
        live.heartbeats["hb-1"].wait_said("removed without a stop")
        assert_stays_off(live, 3 * live.timers.beat_every_ms)


def test_swapped_databases_close_the_fleet_at_its_next_read(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 23."""
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2")
    swapped = live.timed(lambda: live.raw.execute_command("SWAPDB", "0", "1"))
    for worker in live.workers.values():
        worker.closed_within(live.timers.lease_ms, swapped)
    assert_stays_off(live, live.timers.beat_ms)
    live.raw.execute_command("SWAPDB", "0", "1")
    time.sleep(live.timers.beat_ms / 1000)
    assert not any(worker.allowed for worker in live.workers.values()), "the term is over"


def test_a_bare_del_is_off_for_good_and_the_ledger_says_so(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 24."""
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2", "pod-3", heartbeats=("hb-1", "hb-2"))
    deleted = live.timed(lambda: live.raw.delete("golive:active"))
    for worker in live.workers.values():
        worker.closed_within(live.timers.lease_ms, deleted)
    wait_for(lambda: out_of_band(live), what="a note in the ledger")
    assert "term 1 was removed without a stop" in out_of_band(live)[0].text
    assert_stays_off(live, live.timers.beat_ms)
    again = live.activate()
    assert again.grant.record.term > 1
    live.wait_all_armed()


def out_of_band(live: Any) -> list[Any]:
    """The verified notes about it in the ledger."""
    trust, found = live.config.trust(), []
    for _, fields in live.raw.xrange("golive:audit"):
        try:
            note = trust.note(fields[b"r"], Role.HEARTBEAT).record
        except RecordError:
            continue
        if note.topic == "out-of-band":
            found.append(note)
    return found


def test_a_key_that_was_made_to_live_too_long_is_refused_with_an_alarm(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 26."""
    live = fleet(own_server)
    live.go_live("pod-1")
    worker = live.workers["pod-1"]
    for command in ("PERSIST golive:active", "PEXPIRE golive:active 86400000"):
        alarms = worker.health()["security_events"]
        changed = live.timed(lambda c=command: live.raw.execute_command(*c.split()))
        denied = worker.closed_within(live.timers.lease_ms, changed)
        assert denied["reason"] == "ttl-invalid"
        assert worker.health()["security_events"] > alarms
        time.sleep(3 * live.timers.beat_every_ms / 1000)
        assert not worker.allowed, "no beat repairs it"
        live.raw.pexpire("golive:active", live.timers.ttl_ms)
        worker.wait_allowed(after_ns=denied["at_ns"])
    worker.wait_logged("[SECURITY] the active key has no valid lifetime: its PTTL is -1 ms")


def test_a_server_that_comes_back_empty_leaves_the_fleet_cold(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 6."""
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2")
    killed = live.timed(own_server.kill)
    for worker in live.workers.values():
        worker.closed_within(live.timers.lease_ms, killed)
    own_server.restart(empty=True)
    for worker in live.workers.values():
        wait_for(lambda w=worker: w.check()["reason"] == "not-activated", what="it reads again")
        assert worker.health()["phase"] == "cold"
    live.heartbeats["hb-1"].wait_said("removed without a stop")
    assert_stays_off(live, live.timers.beat_ms)
    again = live.activate()
    assert again.grant.record.term == 2, "the operator's host remembers what the server forgot"
    live.wait_all_armed()


def test_a_server_that_comes_back_with_its_data_goes_on_with_the_term(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 6, the other way round: a restart with a disk is an outage, not a stop."""
    live = fleet(own_server)
    live.go_live("pod-1")
    killed = live.timed(own_server.kill)
    denied = live.workers["pod-1"].closed_within(live.timers.lease_ms, killed)
    own_server.restart()
    live.workers["pod-1"].wait_allowed(after_ns=denied["at_ns"])


def test_a_presence_that_was_lost_comes_back_whole(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 65: with its labels and version, which preflight and halts are held against."""
    live = fleet(own_server)
    live.go_live("pod-1")

    def presence() -> dict[bytes, bytes]:
        found = [live.raw.hgetall(key) for key in live.raw.keys("golive:worker:*")]
        return found[0] if found else {}

    before = presence()
    assert {b"labels", b"version", b"policy"} <= set(before)
    for command in (["DEL", *live.raw.keys("golive:worker:*")], ["FLUSHALL"]):
        live.raw.execute_command(*command)
        wait_for(lambda: set(before) <= set(presence()), what="a whole presence")
