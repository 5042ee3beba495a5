"""A worker for which time stands still, or jumps, or whose threads die.

The server has no part in these: they run on one kind.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from golive_redis.testing.server import EmbeddedServer


@pytest.fixture
def live(fleet: Callable[..., Any], any_server: EmbeddedServer) -> Any:
    """A fleet with `pod-1` and `pod-2`, armed."""
    out = fleet(any_server)
    out.go_live("pod-1", "pod-2")
    return out


class Acceptor:
    """A gateway that checks what a permit carries, as the protocol asks of one."""

    def __init__(self) -> None:
        self.fence = 0

    def accepts(self, permit: dict[str, Any]) -> bool:
        if permit["fence"] < self.fence or time.time() * 1000 > permit["until_ms"]:
            return False
        self.fence = permit["fence"]
        return True


def test_a_worker_frozen_between_check_and_send_is_denied_when_it_wakes(
    live: Any, wait_for: Callable[..., None]
) -> None:
    """Row 30. It sleeps 8 s at standard timers, so 1.6 s here, through a stop and a restart."""
    worker, gateway = live.workers["pod-1"], Acceptor()
    frozen = worker.begin("freeze")
    wait_for(lambda: worker.stopped, what="it froze after its check")
    report = live.revoke()
    assert (report.outcome.result, report.outcome.by) == ("STOPPED", "time")
    assert report.outcome.drain_unknown == ["pod-1"], "it may still send what it holds"
    time.sleep(max(0.0, 1.6 - live.timers.all_off_ms / 1000))
    worker.resume()
    told = worker.reply(frozen)
    assert told["before"]["permit"]
    assert not told["valid"] and not told["after"]["permit"]
    live.activate()
    live.wait_all_armed()
    fresh = live.workers["pod-2"].wait_permit()
    assert gateway.accepts(fresh)
    assert fresh["fence"] > told["before"]["fence"]
    assert not gateway.accepts(told["before"])


def test_a_worker_that_slept_longer_than_its_lease_is_denied_without_any_stop(
    live: Any, wait_for: Callable[..., None]
) -> None:
    """Row 30. The deadline is compared at the call: no thread has to run first."""
    worker = live.workers["pod-1"]
    frozen = worker.begin("freeze")
    wait_for(lambda: worker.stopped, what="it froze after its check")
    time.sleep(1.6)
    worker.resume()
    told = worker.reply(frozen)
    assert told["before"]["permit"]
    assert not told["valid"] and told["after"]["reason"] == "lapsed"
    assert not Acceptor().accepts(told["before"]), "its until_ms is over, too"
    worker.wait_allowed(after_ns=worker.states()[-1]["at_ns"])


def test_a_permit_is_no_longer_valid_after_a_stall_or_a_stop(
    live: Any, wait_for: Callable[..., None]
) -> None:
    """Row 31. The stall keeps every thread of the process from running, as a GC pause does."""
    worker = live.workers["pod-1"]
    told = worker.ask("stall", ms=live.timers.lease_ms)
    assert told["before"]["permit"] and not told["valid"]
    assert told["after"]["reason"] == "lapsed"
    live.wait_all_armed()
    for symbol in ("BTC", "ETH"):
        worker.wait_permit(keep=symbol, symbol=symbol)
    live.halt(symbol="BTC")
    assert not worker.ask("valid", keep="BTC")["valid"]
    wait_for(lambda: worker.ask("valid", keep="ETH")["valid"], what="ETH goes on")
    live.revoke()
    assert not worker.ask("valid", keep="ETH")["valid"]
    live.activate()
    live.wait_all_armed()
    worker.wait_permit(symbol="ETH")
    assert not worker.ask("valid", keep="ETH")["valid"], "a permit does not outlive its term"


def test_a_step_of_the_wall_clock_makes_the_guard_cold_until_all_is_seen_anew(live: Any) -> None:
    """Row 28."""
    worker = live.workers["pod-1"]
    for step_ms in (5_000, 0):  # forth, and back to where it was
        stepped = live.timed(lambda ms=step_ms: worker.ask("step", ms=ms))
        denied = worker.closed_within(live.timers.lease_ms, stepped)
        assert denied["reason"] in {"clock-anomaly", "not-armed"}, "it starts anew at once"
        assert "wall clock stepped by" in worker.health()["last_error"]
        worker.wait_allowed(after_ns=denied["at_ns"])
    stepped = live.timed(lambda: worker.ask("step", ms=3_600_000))
    worker.closed_within(live.timers.lease_ms, stepped)
    time.sleep(live.timers.beat_ms / 1000)
    assert not worker.allowed, "with a clock an hour ahead no beat is fresh"


def test_a_wall_clock_that_steps_back_does_not_lengthen_the_lease(
    live: Any, any_server: EmbeddedServer, proxy: Callable[..., Any]
) -> None:
    """Row 28."""
    network = proxy(any_server)
    worker = live.start_worker("pod-3", config={"url": network.url})
    live.wait_all_armed()
    cut = live.timed(lambda: network.set("blackhole"))
    worker.ask("step", ms=-3_600_000)
    worker.closed_within(live.timers.lease_ms, cut)


@pytest.mark.parametrize("thread", ["attend", "push", "outbox", "stop"])
def test_a_guard_that_lost_a_thread_closes_and_says_so(
    live: Any, wait_for: Callable[..., None], thread: str
) -> None:
    """Row 33."""
    worker = live.workers["pod-1"]
    began_ns = live.timed(lambda: worker.ask("lame", thread=thread)).began_ns
    wait_for(lambda: not worker.health()["threads"][thread], what="the thread is dead")
    dead = live.timed(lambda: None)._replace(began_ns=began_ns)
    worker.closed_within(live.timers.lease_ms, dead)
    health = worker.health()
    assert health["threads"] == {
        name: name != thread for name in ("attend", "push", "outbox", "stop")
    }
    assert not health["armed"] and health["reason"] == "lapsed"
    time.sleep(live.timers.lease_ms / 1000)
    assert not worker.allowed
    live.workers["pod-2"].wait_permit()


def test_a_killed_worker_is_nobody_elses_concern(live: Any) -> None:
    """Row 33, the whole process: the stop is known by time, and names who did not answer."""
    live.workers["pod-1"].kill()
    report = live.revoke()
    assert (report.outcome.result, report.outcome.by) == ("STOPPED", "time")
    silent = {row.pod.worker: row.latched_ms is None for row in report.outcome.workers}
    assert silent == {"pod-1": True, "pod-2": False}
