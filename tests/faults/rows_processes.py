"""Heartbeats, workers and operators die, sleep, or are two."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from golive_redis import config as configuration
from golive_redis.stop.progress import StopReport
from golive_redis.stop.revoke import Revoke

from .judged import PATIENCE_MS, JudgedFleet

StartFleet = Callable[..., AbstractContextManager[JudgedFleet]]


def test_heartbeat_killed(start_fleet: StartFleet) -> None:
    """Row 9. The stop is complete once the operator swears that it is dead."""
    with start_fleet() as live:
        killed = live.strike(live.heartbeats["hb-1"].kill, off_ms=live.timers.beat_ms)
        live.lapses_within(live.timers.beat_ms, killed)
        live.revoke("NOT CONFIRMED", wait_ms=1_000)
        live.revoke("COMPLETE", dead=frozenset({"hb-1"}))


def test_only_a_sick_heartbeat_left(start_fleet: StartFleet, wait_for: Callable[..., None]) -> None:
    """Row 10: its clock is 31 s off, so its beats keep nobody armed."""
    with start_fleet(sick=("hb-2",)) as live:
        wait_for(lambda: live.raw.hlen("golive:beat") == 2, what="it beats, too")
        killed = live.strike(live.heartbeats["hb-1"].kill, off_ms=live.timers.beat_ms)
        live.lapses_within(live.timers.beat_ms, killed)
        live.revoke("NOT CONFIRMED", wait_ms=1_000)


def test_heartbeat_asleep_beyond_ttl(
    start_fleet: StartFleet, wait_for: Callable[..., None]
) -> None:
    """Row 11."""
    with start_fleet() as live:
        heartbeat = live.heartbeats["hb-1"]
        asleep = live.strike(heartbeat.pause, off_ms=live.timers.beat_ms)
        wait_for(lambda: not live.raw.exists("golive:active"), what="the end")
        time.sleep(max(0, asleep.done_ns / 1e9 + live.timers.ttl_ms / 1000 - _now_s()))
        heartbeat.resume()
        # Whichever it notices first: that the key is gone, or that no beat succeeded for so long.
        wait_for(lambda: heartbeat.ask("status")["term"] is None, what="it gives the term up")
        assert not live.raw.exists("golive:active")
        live.revoke("COMPLETE")


def _now_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def test_heartbeat_frozen_during_the_stop(start_fleet: StartFleet) -> None:
    """Row 66."""
    with start_fleet() as live:
        live.strike(live.heartbeats["hb-1"].pause)
        live.revoke("NOT CONFIRMED", wait_ms=2_000)
        live.heartbeats["hb-1"].resume()
        live.revoke("COMPLETE")


def test_worker_frozen_during_the_stop(start_fleet: StartFleet) -> None:
    """Row 30."""
    with start_fleet() as live:
        live.frozen = {"pod-1"}
        live.strike(live.workers["pod-1"].pause)
        assert live.revoke("STOPPED").outcome.drain_unknown == ["pod-1"]
        live.workers["pod-1"].resume()


def test_worker_restarted_during_the_stop(
    start_fleet: StartFleet, wait_for: Callable[..., None]
) -> None:
    """Row 34. It is killed once it has latched; its state file is all that knows of the stop."""
    with start_fleet() as live:
        active = live.raw.dump("golive:active")
        live.revoke("COMPLETE")
        live.strike(live.workers["pod-1"].kill)
        live.heartbeats["hb-1"].pause()  # which would put the tombstone back
        live.raw.delete("golive:revoked")
        again = live.start_worker("pod-1")

        def denied_by_memory() -> bool:
            live.raw.restore("golive:active", live.timers.ttl_ms, active, replace=True)
            return bool(again.check()["reason"] == "revoked")

        wait_for(denied_by_memory, what="all is there that could arm it, but for its memory")


def test_worker_killed(start_fleet: StartFleet) -> None:
    """Row 34: killed at the call, so that it never hears of the stop."""
    with start_fleet() as live:
        live.strike(live.workers["pod-1"].kill)
        assert live.revoke("STOPPED").outcome.drain_unknown == ["pod-1"]
        live.revoke("COMPLETE", dead_workers=frozenset({"pod-1"}))
        live.start_worker("pod-1")


def test_worker_registers_during_the_stop(start_fleet: StartFleet) -> None:
    """Row 68."""
    with start_fleet() as live:
        live.strike(lambda: live.start_worker("pod-3", wait=False))
        live.revoke("COMPLETE")
        live.workers["pod-3"].wait_ready()


def test_one_name_twice(start_fleet: StartFleet) -> None:
    """Row 61."""
    with start_fleet(workers=("pod-1", "pod-1")) as live:
        report = live.revoke("COMPLETE")
        assert len(report.outcome.workers) == 2


def test_two_operators(start_fleet: StartFleet) -> None:
    """Row 51, for stops: from two hosts at the same time."""
    with start_fleet() as live:
        other = configuration.load(live.write_config(state_dir="elsewhere"), environ={})
        reports: list[StopReport] = []
        second = threading.Thread(
            target=lambda: reports.append(
                Revoke(other, reason="the other", wait_ms=PATIENCE_MS).run()
            )
        )
        live.strike(second.start)
        live.revoke("COMPLETE")
        second.join(30)
        live.heard(reports[0], "COMPLETE")
