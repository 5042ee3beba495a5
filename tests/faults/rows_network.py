"""The way to Redis is cut, slow, crowded, or leads to the wrong server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from itertools import pairwise

import pytest

from golive_redis.core.answer import Ask
from golive_redis.errors import StoreError
from golive_redis.store.connect import Address
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.push import Push
from golive_redis.store.replies import Caller
from golive_redis.store.store import Store
from golive_redis.testing.server import EmbeddedServer
from kit.processes import Proxy

from .judged import JudgedFleet

StartFleet = Callable[..., AbstractContextManager[JudgedFleet]]
Pair = tuple[EmbeddedServer, EmbeddedServer]
STORM = 1_000


@pytest.mark.parametrize("loss", ["mute", "no-push"])
def test_push_lost(start_fleet: StartFleet, loss: str) -> None:
    """Rows 2 and 3: one worker gets no message, or can neither subscribe nor track."""
    with start_fleet(behind=("pod-1",)) as live:
        live.strike(lambda: live.networks["pod-1"].set(loss))
        if loss == "no-push":
            live.networks["pod-1"].set("cut")
            live.networks["pod-1"].set(loss)
        live.revoke("COMPLETE")


@pytest.mark.parametrize("cut", ["blackhole", "cut"])
def test_cut_off(start_fleet: StartFleet, cut: str) -> None:
    """Row 4."""
    with start_fleet(behind=("pod-1",)) as live:
        network = live.networks["pod-1"]
        live.strike(lambda: network.set(cut), off_ms=live.timers.lease_ms, only="pod-1")
        live.revoke("STOPPED")


def test_packets_lost(start_fleet: StartFleet) -> None:
    """Row 67, scaled: each tenth reply is later than the timeout, and the guard does not flap.

    A machine too busy for these timers shows it at the worker whose network is good.
    """
    with start_fleet(behind=("pod-1",)) as live:
        network = live.networks["pod-1"]
        live.strike(lambda: network.set("lossy", delay_ms=300))
        time.sleep(12)
        assert network.counts()["lost"] > 2
        assert _closings(live, "pod-1") <= _closings(live, "pod-2")
        live.revoke("COMPLETE")


def _closings(live: JudgedFleet, name: str) -> int:
    allowed = [state["allowed"] for state in live.workers[name].states()]
    return sum(before and not after for before, after in pairwise(allowed))


def test_slow_subscriber_kicked(start_fleet: StartFleet, wait_for: Callable[..., None]) -> None:
    """Row 43. It does not read for a moment, and the server ends its subscription."""
    with start_fleet() as live:
        live.raw.config_set("client-output-buffer-limit", "pubsub 65536 0 0")
        worker = live.workers["pod-1"]
        listening = live.raw.publish("golive:events", b"x")
        worker.pause()

        def one_fewer() -> bool:  # what it may hold for a frozen reader depends on the kernel, too
            return live.raw.publish("golive:events", b"x" * 1_000_000) < listening

        live.strike(lambda: wait_for(one_fewer, what="the server ends the subscription"))
        worker.resume()
        wait_for(lambda: worker.health()["push_gaps"], what="the gap is counted")
        for each in live.workers.values():
            wait_for(lambda w=each: w.health()["pushed"], what="subscribed again")
        live.revoke("COMPLETE")


def test_reconnects_at_once(start_fleet: StartFleet, wait_for: Callable[..., None]) -> None:
    """Row 44. Besides the fleet a thousand more come, each with the first steps of a guard."""
    with start_fleet() as live:
        done: list[bool] = []
        threads = [threading.Thread(target=_come_and_go, args=(live, done)) for _ in range(STORM)]
        live.strike(lambda: _everybody_out(live))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(done) > STORM * 0.9, f"the server served {len(done)} of {STORM}"
        assert live.raw.ping()
        live.revoke("COMPLETE")


def _everybody_out(live: JudgedFleet) -> None:
    for kind in ("normal", "pubsub"):
        live.raw.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def _come_and_go(live: JudgedFleet, done: list[bool]) -> None:
    """Subscribe, track, attend twice, and say goodbye."""
    keyspace, name = Keyspace("golive"), f"{threading.get_ident():032x}"
    address = Address(live.server.url)
    link = address.link(timeout_ms=20_000)
    push = Push(lambda: address.link(timeout_ms=20_000), keyspace, lambda: 0.0, 500)
    with suppress(StoreError):
        push.open()
        store, caller = Store(link, keyspace), Caller("worker", "storm", name)
        for fields in ({"state": "cold"}, {}):
            store.attend(Ask("nonce", "", ""), caller, fields)
        store.strike([caller.member])
        done.append(True)
    push.close()
    link.close()


# -- another server than it was --------------------------------------------------------------------


def test_lagging_replica(start_fleet: StartFleet, primary_and_replica: Pair) -> None:
    """Row 57."""
    primary, replica = primary_and_replica
    with start_fleet(primary, behind=("pod-1",)) as live:
        network = live.networks["pod-1"]
        live.strike(lambda: network.lead_to(replica), off_ms=live.timers.lease_ms, only="pod-1")
        live.revoke("STOPPED")


def test_failover_loses_the_stop(
    start_fleet: StartFleet,
    primary_and_replica: Pair,
    proxy: Callable[..., Proxy],
    wait_for: Callable[..., None],
) -> None:
    """Row 20."""
    primary, replica = primary_and_replica
    network = proxy(primary)
    with start_fleet(primary, store={"url": network.url}) as live, replica.client() as after:
        after.execute_command("REPLICAOF", "NO", "ONE")  # what is written from now on is lost
        live.revoke("COMPLETE")
        live.strike(lambda: network.lead_to(replica))
        wait_for(lambda: after.exists("golive:revoked"), what="the tombstone")


def test_old_primary_is_back(
    start_fleet: StartFleet,
    primary_and_replica: Pair,
    proxy: Callable[..., Proxy],
    wait_for: Callable[..., None],
) -> None:
    """Row 21: the stop was made on the new primary, and the old one comes back as the primary."""
    old, new = primary_and_replica
    network = proxy(old)
    with start_fleet(old, store={"url": network.url}) as live, new.client() as after:
        after.execute_command("REPLICAOF", "NO", "ONE")
        network.lead_to(new)
        time.sleep(1)
        live.revoke("COMPLETE")
        assert after.exists("golive:revoked") and not live.raw.exists("golive:revoked")
        after.execute_command("REPLICAOF", "127.0.0.1", old.port)
        live.strike(lambda: network.lead_to(old))
        wait_for(lambda: live.raw.exists("golive:revoked"), what="the tombstone")
        assert not live.raw.exists("golive:active")


def test_failover_loses_a_halt(
    start_fleet: StartFleet, primary_and_replica: Pair, proxy: Callable[..., Proxy]
) -> None:
    """Row 56. The halt is the stop; the revoke at the end only ends the row."""
    primary, replica = primary_and_replica
    network = proxy(primary)
    with start_fleet(primary, store={"url": network.url}) as live, replica.client() as after:
        after.execute_command("REPLICAOF", "NO", "ONE")
        live.strike(live.halt, off_ms=live.timers.lease_ms)
        assert live.raw.hexists("golive:active", "r:2") and not after.hexists(
            "golive:active", "r:2"
        )
        network.lead_to(replica)
        time.sleep(live.timers.lease_ms / 1000)
        live.revoke("COMPLETE")


def test_failover_and_no_memory(
    start_fleet: StartFleet, primary_and_replica: Pair, proxy: Callable[..., Proxy]
) -> None:
    """Row 62."""
    primary, replica = primary_and_replica
    network = proxy(primary)
    with start_fleet(primary, store={"url": network.url}) as live, replica.client() as after:
        after.execute_command("REPLICAOF", "NO", "ONE")
        live.revoke("COMPLETE")
        live.heartbeats["hb-1"].kill()
        for path in live.state_dir.glob("heartbeat-*"):
            path.unlink()
        live.strike(lambda: network.lead_to(replica))
        assert after.hget("golive:active", "term") == b"1"
        live.start_heartbeat("hb-1", wait=False)
        time.sleep(live.timers.lease_ms / 1000)
        assert after.exists("golive:active"), "all this while it stood there"
        live.revoke("COMPLETE")
