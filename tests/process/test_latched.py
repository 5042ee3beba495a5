"""What is over stays over, and what is somebody else's never begins.

But for replicas the server has no part in these: they run on one kind.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from golive_redis import clock
from golive_redis import config as configuration
from golive_redis.errors import RefusedError
from golive_redis.testing.server import EmbeddedServer


@pytest.fixture
def another_server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


def test_a_latched_worker_stays_latched_whatever_happens_to_the_store(
    fleet: Callable[..., Any],
    any_server: EmbeddedServer,
    proxy: Callable[..., Any],
    forge_beats: Callable[..., Any],
) -> None:
    """Row 58: a reconnect, a clock that steps, and a store that has lost the tombstone.

    `pod-2` never saw the stop. It arms, so everything that could arm `pod-1` was there.
    """
    live, network = fleet(any_server), proxy(any_server)
    worker = live.start_worker("pod-1", wait=False, config={"url": network.url})
    live.go_live()
    active = live.raw.dump("golive:active")
    revoked = live.timed_revoke()
    worker.closed_within(live.timers.lease_ms, revoked)
    live.heartbeats["hb-1"].kill()
    live.raw.flushall()
    live.raw.restore("golive:active", live.timers.ttl_ms, active)
    with forge_beats(live, "hb-1"):
        live.start_worker("pod-2").wait_allowed()
        for fault in (lambda: network.set("cut"), lambda: worker.ask("step", ms=2_000)):
            fault()
            time.sleep(live.timers.lease_ms / 1000)
            network.set("pass")
            time.sleep(live.timers.lease_ms / 1000)
            live.workers["pod-2"].wait_permit()
            assert worker.check()["reason"] == "revoked"
        health = worker.health()
        assert health["phase"] == "latched"
        assert not any(s["allowed"] for s in worker.states() if s["at_ns"] > revoked.done_ns)


def test_an_activation_during_a_drain_arms_only_after_it_and_keeps_its_own_orders(
    fleet: Callable[..., Any], any_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 59."""
    live = fleet(any_server)
    live.go_live("pod-1", "pod-2", left=0)
    worker, quick = live.workers["pod-1"], live.workers["pod-2"]
    worker.ask("hold", ms=900)
    wait_for(lambda: worker.health()["in_flight"], what="an order is in flight")
    report = live.revoke(wait_ms=200)
    assert report.outcome.result == "NOT CONFIRMED"
    began_ns = clock.now_ns()
    live.activate(over_unconfirmed=True, wait_s=0)
    quick.wait_allowed(after_ns=began_ns)
    held = worker.wait_event(lambda e: e["event"] == "held", what="the order's end")
    allowed = worker.wait_allowed(after_ns=began_ns)
    assert allowed["at_ns"] >= held["until_ns"], "armed while the old stop was still draining"
    receipts = stored_receipts(live, worker.instance)
    assert receipts["latched"].in_flight == 1
    assert (receipts["drained"].in_flight, receipts["drained"].left) == (1, 0)
    stops = worker.ask("status")["stops"]
    worker.ask("hold", ms=300)
    wait_for(
        lambda: sum(e["event"] == "held" for e in list(worker.events)) == 2, what="its own end"
    )
    assert worker.ask("status")["stops"] == stops and len(stops) == 1, "the hook ran for one stop"
    live.wait_all_armed()


def stored_receipts(live: Any, instance: str) -> dict[str, Any]:
    """The verified receipts in the store of one worker, by stage."""
    trust = live.config.trust()
    found = [
        trust.receipt(raw).record
        for key in live.raw.scan_iter("golive:receipt:*")
        for raw in live.raw.hvals(key)
    ]
    return {receipt.stage.value: receipt for receipt in found if receipt.instance == instance}


def test_a_guard_is_not_served_by_a_replica_however_fresh_it_looks(
    fleet: Callable[..., Any],
    primary_and_replica: tuple[EmbeddedServer, EmbeddedServer],
    proxy: Callable[..., Any],
    wait_for: Callable[..., None],
) -> None:
    """Row 57: from the start, and when its connections are led there later."""
    primary, replica = primary_and_replica
    live, network = fleet(primary), proxy(primary)
    led = live.start_worker("pod-1", wait=False, config={"url": network.url})
    lost = live.start_worker("pod-2", wait=False, config={"url": replica.url})
    live.start_heartbeat()
    live.activate(wait_s=0)
    led.wait_allowed()
    with replica.client() as client:
        wait_for(lambda: client.hgetall("golive:beat"), what="the replica shows it all")
    moved = live.timed(lambda: network.lead_to(replica))
    led.closed_within(live.timers.lease_ms, moved)
    time.sleep(live.timers.beat_ms / 1000)
    for worker in (led, lost):
        assert not worker.check()["permit"]
        assert "READONLY" in worker.health()["last_error"]
    assert not any(state["allowed"] for state in lost.states())
    back = live.timed(lambda: network.lead_to(primary))
    led.wait_allowed(after_ns=back.began_ns)


def test_a_process_of_another_environment_or_keyset_is_refused(
    fleet: Callable[..., Any], any_server: EmbeddedServer
) -> None:
    """Row 54: `test` is live on this server, and nobody else gets anything out of it."""
    live = fleet(any_server)
    others = fleet(any_server)  # the same names and environment, other keys
    stranger = others.start_worker("pod-3", wait=False)
    live.start_workers("pod-1")
    live.start_heartbeat("hb-1")
    live.activate(wait_s=0)
    # Not before: an activation is refused while somebody is there who runs on another policy.
    production = live.start_worker("pod-2", wait=False, config={"environment": "paper"})
    beating = live.start_heartbeat("hb-2", config={"environment": "paper"})
    live.workers["pod-1"].wait_allowed()
    beating.wait_said("refused")
    time.sleep(live.timers.beat_ms / 1000)
    for worker in (production, stranger):
        assert worker.check()["reason"] == "record-refused"
        assert worker.health()["security_events"] > 0
        assert not any(state["allowed"] for state in worker.states())
    assert live.raw.hkeys("golive:beat") == [b"hb-1"]
    with pytest.raises(RefusedError, match="the active record is refused"):
        others.activate()


def test_the_store_of_another_fleet_is_refused_and_said_whose_it_is(
    fleet: Callable[..., Any], any_server: EmbeddedServer
) -> None:
    """Row 54: the same names and keys, another fleet id; as after a second `golive init`."""
    live, others = fleet(any_server), fleet(any_server)
    live.go_live("pod-1")
    live.revoke()
    others.fleet_id, others.principals = "e" * 32, live.principals
    for name in live.principals:
        (others.folder / f"{name}.pem").write_bytes((live.folder / f"{name}.pem").read_bytes())
    others.write_keyset()
    says = "this store belongs to fleet f1ee7000..., and this keyset to fleet eeeeeeee..."
    with pytest.raises(RefusedError, match=re.escape(says)) as refused:
        others.activate()
    assert "delete the key golive:fleet-id" in refused.value.hint
    assert says in " ".join(others.status().refused)
    live.activate()
    live.workers["pod-1"].wait_permit()


def test_records_of_another_environment_neither_stop_nor_start_anybody_here(
    fleet: Callable[..., Any],
    any_server: EmbeddedServer,
    another_server: EmbeddedServer,
    wait_for: Callable[..., None],
) -> None:
    """Row 54: signed by the very same keys, carried from one server to the other."""
    live, there = fleet(any_server), another_server
    changes = {"environment": "paper", "url": there.url, "state_dir": "state-there"}
    production = configuration.load(live.write_config(**changes), environ={})
    live.go_live("pod-1")
    worker, beating = live.workers["pod-1"], live.heartbeats["hb-1"]
    live.start_heartbeat("hb-2", config=changes)
    live.activate(config=production, wait_s=0)
    with there.client() as client:
        active = client.dump("golive:active")
        live.revoke(config=production, wait_ms=0)
        stop = client.hget("golive:revoked", "record")
    alarms, armed_ns = worker.health()["security_events"], clock.now_ns()

    def told() -> bool:
        live.raw.publish("golive:events", stop)  # again, for who was reconnecting when it came
        alarmed = worker.health()["security_events"] > alarms
        return alarmed and "pushed directive refused" in "".join(beating.said())

    wait_for(told, what="the alarm of both")
    time.sleep(live.timers.beat_ms / 1000)
    worker.wait_permit()
    reasons = {state["reason"] for state in worker.states() if state["at_ns"] > armed_ns}
    assert "revoked" not in reasons
    put = live.timed(
        lambda: live.raw.restore("golive:active", live.timers.ttl_ms, active, replace=True)
    )
    worker.closed_within(live.timers.lease_ms, put)
    assert worker.check()["reason"] == "record-refused"
