"""A worker whose way to Redis is bad: it stops by itself, on time, and heals by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from golive_redis.testing.server import EmbeddedServer


@pytest.fixture
def behind_proxies(
    fleet: Callable[..., Any], own_server: EmbeddedServer, proxy: Callable[..., Any]
) -> Callable[..., Any]:
    """Builds a live fleet in which each of `pod-1`, `pod-2` ... has a proxy of its own."""

    def build(*modes: str, direct: tuple[str, ...] = ()) -> tuple[Any, list[tuple[Any, Any]]]:
        live, pairs = fleet(own_server), []
        for number, mode in enumerate(modes, 1):
            network = proxy(own_server)
            network.set(mode)
            name = f"pod-{number}"
            worker = live.start_worker(name, wait=False, config={"url": network.url})
            pairs.append((worker, network))
        live.go_live(*direct)
        return live, pairs

    return build


def test_workers_that_get_no_push_are_closed_by_their_next_read(
    behind_proxies: Callable[..., Any],
) -> None:
    """Rows 2 and 3: one misses the messages unawares, the other cannot subscribe or track."""
    live, [(unaware, mute), (unsubscribed, no_push)] = behind_proxies(
        "mute", "no-push", direct=("pod-3",)
    )
    assert unaware.health()["pushed"] and not unsubscribed.health()["pushed"]
    revoked = live.timed_revoke(config=live.patient)
    for worker in (unaware, unsubscribed):
        assert worker.closed_within(live.timers.lease_ms, revoked)["reason"] == "revoked"
    assert mute.counts()["swallowed"] and no_push.counts()["refused"]
    outcome = revoked.result.outcome
    assert (outcome.result, outcome.by) == ("COMPLETE", "receipts") and len(outcome.workers) == 3


def test_workers_cut_off_from_redis_close_within_the_lease_and_heal(
    behind_proxies: Callable[..., Any],
) -> None:
    """Row 4. That nothing escaped into the order path is checked as the fleet ends, too."""
    live, pairs = behind_proxies("pass", "pass", direct=("pod-3",))
    faults = ["blackhole", "cut"]
    for (worker, network), fault in zip(pairs, faults, strict=True):
        # Every good read was sent before the fault was switched on.
        worker.closed_within(live.timers.lease_ms, live.timed(lambda n=network, f=fault: n.set(f)))
        assert worker.check()["reason"] in {"lapsed", "store-unreachable"}
        assert worker.check("cancel")["permit"]
    assert all(live.workers["pod-3"].health()["threads"].values())
    for worker, network in pairs:
        healed = live.timed(lambda n=network: n.set("pass"))
        worker.wait_allowed(after_ns=healed.began_ns)


def test_a_frozen_server_closes_the_fleet_and_its_silence_is_noticed(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 5."""
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2")
    frozen = live.timed(own_server.pause)
    for worker in live.workers.values():
        worker.closed_within(live.timers.lease_ms, frozen)
        wait_for(lambda w=worker: not w.health()["pushed"], what="the PONG was missed")
    own_server.resume()
    for worker in live.workers.values():
        worker.wait_allowed(after_ns=frozen.done_ns)  # the term outlives an outage below ttl_ms


def test_a_subscription_that_fell_silent_is_noticed_while_the_reads_go_on(
    behind_proxies: Callable[..., Any], wait_for: Callable[..., None]
) -> None:
    """Row 5, half of it: only the connection that nobody asks anything is half-open."""
    _, [(worker, network)] = behind_proxies("pass")
    network.set("deaf")
    wait_for(lambda: network.counts().get("swallowed", 0) > 2, what="no PONG comes through")
    wait_for(lambda: "fell silent" in str(worker.health()["last_error"]), what="it is noticed")
    network.set("pass")
    wait_for(lambda: worker.health()["pushed"], what="subscribed anew")


def test_an_answer_later_than_the_timeout_permits_nothing(
    behind_proxies: Callable[..., Any],
) -> None:
    """Row 7. In pieces of 50 ms no read of the socket times out, and yet the answer is late."""
    live, pairs = behind_proxies("pass", "pass")
    faults: list[tuple[str, float]] = [("pass", 130), ("dribble", 50)]
    closed = []
    for (worker, network), (mode, delay_ms) in zip(pairs, faults, strict=True):
        late = live.timed(lambda n=network, m=mode, d=delay_ms: n.set(m, delay_ms=d))
        closed.append(worker.closed_within(live.timers.lease_ms, late)["at_ns"])
    for (worker, _), since_ns in zip(pairs, closed, strict=True):
        with pytest.raises(pytest.fail.Exception):  # every answer says active, and none counts
            worker.wait_allowed(after_ns=since_ns, within_ms=live.timers.lease_ms)
    for (worker, network), since_ns in zip(pairs, closed, strict=True):
        network.set("pass")
        worker.wait_allowed(after_ns=since_ns)


def test_a_reply_to_another_question_closes_at_once_and_costs_the_connection(
    behind_proxies: Callable[..., Any],
) -> None:
    """Row 8."""
    live, [(worker, network)] = behind_proxies("pass")
    before = network.counts()
    denied = worker.closed_within(live.timers.lease_ms, live.timed(network.shift))
    assert denied["reason"] == "answer-mismatch"
    worker.wait_allowed(after_ns=denied["at_ns"])
    after = network.counts()
    assert after["shifted"] == 1 and after["accepted"] > before["accepted"]
    assert worker.health()["security_events"] == 0, "a slip of the line is no attack"
