"""Processes that have no file descriptor left when a stop comes (A15)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from golive_redis.testing.server import EmbeddedServer
from kit.program import Wait

NONE_LEFT = "a stop could not be kept: "


def test_a_worker_without_descriptors_closes_keeps_answers_and_runs_its_hooks(
    fleet: Callable[..., Any], any_server: EmbeddedServer, wait_for: Wait
) -> None:
    """Row 85. And does not arm again before it could do so once more."""
    live = fleet(any_server)
    live.go_live("w-1", left=0)
    worker = live.workers["w-1"]
    (state,) = live.state_dir.glob("worker-w-1.*.json")
    worker.ask("use_up")
    for term in (1, 2):
        report = live.revoke(config=live.patient)
        assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts"), report
        assert [row.durable for row in report.outcome.workers] == ["yes"]
        assert len(worker.ask("status")["stops"]) == term, "its hook ran"
        assert json.loads(state.read_text())["latch"]["epoch"] == report.epoch
        if term == 1:
            live.activate(wait_s=0)
            wait_for(
                lambda: str(worker.health()["last_error"]).startswith(NONE_LEFT),
                what="it says what it lacks",
            )
            assert worker.health()["last_error"].endswith("Too many open files")
            time.sleep(live.timers.beat_ms / 1000)
            assert not worker.allowed
            worker.ask("let_go")
            live.wait_all_armed()
            worker.ask("use_up")
    assert worker.health()["durable"] == "yes"
    assert f"no order is permitted: {NONE_LEFT}" in worker.stderr()


def test_a_heartbeat_without_descriptors_keeps_the_stop_and_beats_for_no_other_term(
    fleet: Callable[..., Any], any_server: EmbeddedServer, wait_for: Wait
) -> None:
    """Row 85."""
    live = fleet(any_server)
    live.go_live("w-1")
    heartbeat = live.heartbeats["hb-1"]
    state = live.state_dir / "heartbeat-hb-1.0.json"
    heartbeat.ask("use_up")
    report = live.revoke(config=live.patient)
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts"), report
    assert [row.durable for row in report.outcome.heartbeats] == ["yes"]
    assert json.loads(state.read_text())["latch"]["epoch"] == report.epoch
    live.activate(wait_s=0)
    wait_for(
        lambda: "Too many open files" in heartbeat.ask("status")["waiting_for"],
        what="it says what it lacks",
    )
    assert not live.raw.hexists("golive:beat", "hb-1")
    assert not live.workers["w-1"].allowed
    heartbeat.ask("let_go")
    live.wait_all_armed()
