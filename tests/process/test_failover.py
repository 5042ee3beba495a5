"""Sentinel changes the primary: during activation, while live, and when the stop is lost by it.

All on a real set of processes (sentinels.py). A failover takes some seconds, so the term is given
ten to survive one; the bounds of a stop are those of the fifth. What takes Sentinel longer than ten
seconds is a session.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from golive_redis import clock
from golive_redis.errors import StoreError
from golive_redis.operator.activation import Activation
from golive_redis.operator.session import Operator
from golive_redis.store.link import FOLLOW_S
from kit.sentinels import SentinelSet, sentinel_set

SHORT_TTL = {"failover_ms": 2_000, "ttl_ms": 4_800}


@pytest.fixture
def servers(server_binary: str | None) -> Iterator[SentinelSet]:
    with sentinel_set(server_binary) as made:
        yield made


@pytest.fixture
def live(servers: SentinelSet, fleet: Callable[..., Any]) -> Any:
    """A fleet on the set, with a keyset of one heartbeat; nothing of it runs yet.

    On another primary than the activation's, every heartbeat of the keyset has to answer a stop.
    """
    made = fleet(servers)
    made.write_keyset(without=("hb-2", "hb-3"))
    return made


def lost(servers: SentinelSet, act: Callable[[], Any]) -> Any:
    """Do something that the primary acknowledges and its successor has never heard of."""
    servers.wait_in_sync()
    servers.part()
    result = act()
    servers.lose_primary()
    return result


def permits_since(live: Any, instant_ns: int) -> list[str]:
    """Names of the workers that permitted an order after that."""
    return [w.name for w in live.workers.values() if w.last_permit_ns() > instant_ns]


# -- while live ------------------------------------------------------------------------------------


def test_a_lost_primary_closes_the_fleet_in_time_and_the_term_heals_at_the_next(
    live: Any, servers: SentinelSet
) -> None:
    """Row 6's other end: nothing is open in between, and nobody has to activate again."""
    live.write_keyset(without=("hb-3",))
    live.go_live("pod-1", "pod-2", heartbeats=("hb-1", "hb-2"))
    servers.wait_in_sync()
    span = live.timed(servers.primary.kill)
    for worker in live.workers.values():
        worker.closed_within(live.timers.lease_ms, span)
    servers.wait_primary(servers.replica)
    for worker in live.workers.values():
        worker.wait_allowed(after_ns=span.done_ns)
    live.wait_all_armed()
    assert live.raw.hget("golive:active", "term") == b"1"
    report = live.revoke()
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "time"), "another primary"
    assert report.ledger == "written"
    assert len(live.records("grant")) == len(live.records("revocation")) == 1


@pytest.mark.session
def test_a_planned_change_of_roles_is_followed_by_reads_and_pushes(
    live: Any, servers: SentinelSet, wait_for: Callable[..., None]
) -> None:
    """Row 57: the old primary goes on answering, as a replica that nobody believes."""
    live.go_live("pod-1")
    worker = live.workers["pod-1"]
    servers.wait_in_sync()
    before = servers.primary
    servers.fail_over()
    wait_for(lambda: role(before) == "slave", what="its new role")
    wait_for(lambda: live.raw.keys("golive:worker:pod-1:*"), what="presence")
    live.wait_all_armed()
    wait_for(lambda: worker.health()["pushed"], what="a subscription to the new primary")
    span = live.timed_revoke()
    worker.closed_within(live.timers.lease_ms, span)
    assert span.result.outcome.result == "COMPLETE"


def test_a_stop_right_after_a_planned_change_of_roles_reaches_the_fleet(
    live: Any, servers: SentinelSet
) -> None:
    """The old primary is alive and is told late: who is connected to it has to leave by itself."""
    live.go_live("pod-1")
    servers.wait_in_sync()
    servers.fail_over()
    span = live.timed_revoke()
    follow_ms = FOLLOW_S * 1000 + 2 * live.timers.read_every_ms
    live.workers["pod-1"].closed_within(live.timers.lease_ms + follow_ms, span)
    live.heartbeats["hb-1"].wait_said("revoked by alice")
    assert live.revoke().outcome.result == "COMPLETE"


def test_an_outage_longer_than_the_ttl_ends_the_term(
    fleet: Callable[..., Any], servers: SentinelSet, wait_for: Callable[..., None]
) -> None:
    """It lapses, and only a new activation starts it again."""
    live = fleet(servers, timing=SHORT_TTL)  # shorter than Sentinel needs here
    live.go_live("pod-1")
    servers.wait_in_sync()
    primary, replica = servers.primary, servers.replica
    replica.pause()  # and not the Sentinels: for 30 s after such a stop they do nothing
    span = live.timed(primary.kill)
    live.heartbeats["hb-1"].wait_said("no beat for term 1 succeeded")
    replica.resume()
    servers.wait_primary(replica)
    wait_for(lambda: not live.raw.exists("golive:active"), what="its end")
    wait_for(lambda: live.raw.keys("golive:heartbeat:hb-1:*"), what="the heartbeat is back")
    assert not permits_since(live, span.done_ns + live.timers.lease_ms * clock.NS_PER_MS)
    live.activate()
    live.wait_all_armed()


def test_a_worker_behind_a_cut_network_is_closed_over_the_failover_and_after_it(
    live: Any, servers: SentinelSet, proxy: Callable[..., Any]
) -> None:
    """Row 4: its way to Redis is a proxy, which is led to the new primary later than the others."""
    network = proxy(servers.primary)
    live.start_heartbeat()
    behind = live.start_worker("pod-1", config={"url": network.url})
    live.start_worker("pod-2")
    live.activate()
    live.wait_all_armed()
    servers.wait_in_sync()
    span = live.timed(lambda: network.set("blackhole"))
    behind.closed_within(live.timers.lease_ms, span)
    heir = servers.replica
    servers.lose_primary()
    live.workers["pod-2"].wait_allowed(after_ns=span.done_ns)
    assert behind.last_permit_ns() < span.done_ns + live.timers.lease_ms * clock.NS_PER_MS
    network.lead_to(heir)
    network.set("pass")
    behind.wait_allowed(after_ns=span.done_ns)


# -- during activation -----------------------------------------------------------------------------


def test_an_activation_that_a_failover_loses_arms_nobody_for_good(
    live: Any, servers: SentinelSet, wait_for: Callable[..., None]
) -> None:
    """Acknowledged and gone: the fleet closes, says so, and the next term has a higher number."""
    live.start_heartbeat()
    worker = live.start_worker("pod-1")
    lost(servers, live.activate)
    gone_ns = clock.now_ns()
    live.heartbeats["hb-1"].wait_said("term 1 was removed without a stop")
    wait_for(lambda: worker.check()["reason"] == "not-activated", what="closed")
    assert not live.raw.exists("golive:active")
    assert not permits_since(live, gone_ns)
    servers.wait(lambda: live.raw.keys("golive:worker:pod-1:*"), "presence")
    assert live.activate().grant.record.epoch == 2
    live.wait_all_armed()


@pytest.mark.session
def test_an_activation_that_hangs_in_a_frozen_primary_is_nobodys(
    live: Any, servers: SentinelSet
) -> None:
    """It is executed after the failover, by a server that is about to forget it."""
    live.start_heartbeat()
    worker = live.start_worker("pod-1")
    servers.wait_in_sync()
    frozen, heir = servers.primary, servers.replica
    with Operator(live.config) as operator:
        activation = Activation(operator, reason="at the wrong moment")
        reading = activation.prepare()
        frozen.pause()
        with pytest.raises(StoreError):
            activation.commit(reading)
    servers.wait_primary(heir)
    frozen.resume()
    servers.wait(lambda: role(frozen) == "slave", "the old primary's new role")
    servers.wait_in_sync()
    for node in servers.nodes:
        with node.client() as client:
            assert not client.exists("golive:active")
    assert worker.last_permit_ns() == 0
    live.activate()
    live.wait_all_armed()


# -- the stop is lost ------------------------------------------------------------------------------


def test_a_stop_that_a_failover_loses_is_never_complete_without_every_heartbeat(
    live: Any, servers: SentinelSet, wait_for: Callable[..., None]
) -> None:
    """Row 20: latched stays latched, and the tombstone stands on the new primary."""
    live.write_keyset(without=("hb-3",))
    live.go_live("pod-1", "pod-2", heartbeats=("hb-1", "hb-2"))
    live.heartbeats["hb-2"].pause()
    report = lost(
        servers,
        lambda: live.revoke_until(lambda r: r.outcome.heartbeats[0].answered, wait_ms=2_000),
    )
    stopped_ns = clock.now_ns()
    assert report.outcome.result == "NOT CONFIRMED"
    assert [row.name for row in report.outcome.heartbeats if not row.answered] == ["hb-2"]
    heartbeat = live.heartbeats["hb-1"]
    heartbeat.wait_said("the store lost revocation 2; re-asserted")
    wait_for(lambda: live.raw.hget("golive:revoked", "epoch") == b"2", what="the tombstone")
    assert not live.raw.exists("golive:active")
    assert {w.check()["reason"] for w in live.workers.values()} == {"revoked"}
    again = live.revoke(wait_ms=2_000)
    assert again.outcome.result == "NOT CONFIRMED", "hb-2 may still hold a beat in its hand"
    live.heartbeats["hb-2"].resume()
    live.heartbeats["hb-2"].wait_said("revoked by alice")
    last = live.revoke()
    assert (last.outcome.result, last.outcome.by, last.epoch) == ("COMPLETE", "time", 2)
    assert len(live.records("revocation")) == 1, "the lost entry is back, once"
    assert not permits_since(live, stopped_ns)


def test_a_restarted_fleet_stays_closed_on_a_primary_that_lost_the_stop(
    live: Any, servers: SentinelSet, wait_for: Callable[..., None]
) -> None:
    """Row 20: while the new primary shows the old term as active, and nobody re-asserts yet."""
    live.go_live("pod-1")
    servers.wait_in_sync()
    servers.part()
    assert live.revoke().outcome.result == "COMPLETE"
    live.heartbeats["hb-1"].kill()
    live.workers["pod-1"].kill()
    servers.lose_primary()
    assert live.raw.hget("golive:active", "term") == b"1", "it is back, and the tombstone is not"
    again, new = live.start_workers("pod-1", "pod-2")
    wait_for(lambda: again.check()["reason"] == "revoked", what="its remembered latch")
    wait_for(lambda: new.check()["reason"] == "not-armed", what="it waits for a beat to advance")
    heartbeat = live.start_heartbeat()
    heartbeat.wait_said("the store lost revocation 2; re-asserted")
    wait_for(lambda: live.raw.hget("golive:revoked", "epoch") == b"2", what="the tombstone")
    assert not live.raw.exists("golive:active")
    assert again.last_permit_ns() == new.last_permit_ns() == 0


@pytest.mark.session
def test_an_old_primary_that_comes_back_with_the_old_term_is_stopped_each_time(
    live: Any, servers: SentinelSet, tmp_path: Path, wait_for: Callable[..., None]
) -> None:
    """Row 21: its rejoining erases the tombstone; it is re-asserted until it stays."""
    live.go_live("pod-1")
    servers.wait_in_sync()
    old = servers.lose_primary()
    live.workers["pod-1"].wait_allowed(after_ns=clock.now_ns() - 10**9)
    live.wait_all_armed()
    shutil.copytree(old.dir / "appendonlydir", tmp_path / "backup")
    assert live.revoke().outcome.result == "COMPLETE"
    stopped_ns = clock.now_ns()
    for _ in range(2):
        old.kill()
        shutil.rmtree(old.dir / "appendonlydir")
        shutil.copytree(tmp_path / "backup", old.dir / "appendonlydir")
        old.restart()
        servers.fail_back(old)
        servers.wait(lambda: stands(old), "the tombstone on the old primary")
    servers.wait_in_sync()
    for node in servers.nodes:
        assert stands(node)
        with node.client() as client:
            assert not client.exists("golive:active")
    said = [text for text in live.heartbeats["hb-1"].said() if "re-asserted" in text]
    assert len(said) >= 2, "the backup had none, both times"
    assert live.workers["pod-1"].check()["reason"] == "revoked"
    assert not permits_since(live, stopped_ns)
    assert live.revoke().outcome.result == "COMPLETE"


def test_a_halt_that_a_failover_loses_holds_and_comes_back(
    live: Any, servers: SentinelSet, wait_for: Callable[..., None]
) -> None:
    """Row 56: guards refuse the store that lost it, the heartbeat puts it back."""
    live.start_heartbeat()
    halted = live.start_worker("pod-1", order_labels={"symbol": "BTC"})
    other = live.start_worker("pod-2", order_labels={"symbol": "ETH"})
    live.activate()
    live.wait_all_armed()

    def halt() -> int:
        live.halt(symbol="BTC")
        halted.wait_denied(after_ns=clock.now_ns() - 10**9)
        return clock.now_ns()

    halted_ns = lost(servers, halt)
    lost_ns = clock.now_ns()
    live.heartbeats["hb-1"].wait_said("the store lost halt 2; re-asserted")
    wait_for(lambda: live.raw.hexists("golive:active", "r:2"), what="the halt")
    other.wait_allowed(after_ns=lost_ns - 5 * 10**9)
    wait_for(lambda: halted.check(symbol="BTC")["reason"] == "halted", what="fresh, and halted")
    assert halted.last_permit_ns() < halted_ns
    live.resume(symbol="BTC")
    halted.wait_allowed(after_ns=halted_ns)


def role(server: Any) -> str:
    with server.client() as client:
        try:
            return str(client.info("replication")["role"])
        except redis.ConnectionError:
            return "changing"  # a server that changes its role cuts its clients


def stands(server: Any) -> bool:
    with server.client() as client:
        return bool(client.hexists("golive:revoked", "record"))
