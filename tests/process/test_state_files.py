"""The state folder of a worker or a heartbeat: restarts, and disks that fail.

The server has no part in these: they run on one kind. Permissions do not bind root, so the disk
fails in ways that do: a full device, a loop of links, a folder where the file should be.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from golive_redis.testing.server import EmbeddedServer

FULL = Path("/dev/full")  # every write to it fails with ENOSPC


@pytest.fixture
def live(fleet: Callable[..., Any], any_server: EmbeddedServer) -> Any:
    """A fleet that is configured, not started; on an empty server."""
    return fleet(any_server)


def fill_the_disk(folder: Path, stem: str) -> None:
    """Make every further write of that state file fail."""
    folder.mkdir(exist_ok=True)
    temporary = folder / f"{stem}.0.tmp"
    temporary.unlink(missing_ok=True)  # what the next write would have taken
    temporary.symlink_to(FULL)


def broken_folder(root: Path, how: str, name: str) -> Path:
    """A state folder that cannot be used, in one of six ways."""
    folder = root / f"state-{name}"
    match how:
        case "ENOTDIR":
            folder.write_text("a file")
            return folder / "below"
        case "ELOOP":
            folder.symlink_to(folder)
        case "EISDIR":
            (folder / f"worker-{name}.0.json").mkdir(parents=True)
        case "ENOSPC":
            fill_the_disk(folder, f"worker-{name}")
        case "corrupt":
            folder.mkdir()
            (folder / f"worker-{name}.0.json").write_text('{"latch": {"epoch": 7')
        case "writable":
            folder.mkdir()
            (folder / f"worker-{name}.0.json").write_text("{}")
            (folder / f"worker-{name}.0.json").chmod(0o602)
    return folder


def test_a_worker_whose_state_file_cannot_be_used_does_not_arm_and_does_not_count(
    live: Any,
) -> None:
    """Rows 34 and 35. It answers the stop, says `failed`, and the stop completes by time only."""
    ways = ["ENOTDIR", "ELOOP", "EISDIR", "ENOSPC", "corrupt", "writable"]
    live.start_workers("pod-1")
    for way in ways:
        folder = broken_folder(live.folder, way, way)
        live.start_worker(way, wait=False, config={"state_dir": str(folder)})
    live.start_heartbeat()
    for way in ways:
        live.workers[way].wait_ready()
    live.activate(wait_s=0)
    live.workers["pod-1"].wait_allowed()
    for way in ways:
        worker = live.workers[way]
        assert worker.check()["reason"] == "state-file", way
        assert worker.check("cancel")["permit"]
        assert worker.health()["durable"] == "failed"
        worker.wait_logged(f"CRITICAL {live.folder}/state-{way}")
    report = live.revoke()
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "time")
    durable = {row.pod.worker: row.durable for row in report.outcome.workers}
    assert durable == {"pod-1": "yes"} | dict.fromkeys(ways, "failed")


def test_a_disk_that_fills_up_before_the_stop_closes_the_worker_for_life(live: Any) -> None:
    """Row 35."""
    live.go_live("pod-1", "pod-2")
    worker = live.workers["pod-1"]
    fill_the_disk(live.state_dir, "worker-pod-1")
    revoked = live.timed_revoke()
    worker.closed_within(live.timers.lease_ms, revoked)
    assert revoked.result.outcome.by == "time"
    durable = {row.pod.worker: row.durable for row in revoked.result.outcome.workers}
    assert durable == {"pod-1": "failed", "pod-2": "yes"}
    (live.state_dir / "worker-pod-1.0.tmp").unlink()
    live.activate(wait_s=0)
    again = live.workers["pod-2"].wait_allowed(after_ns=revoked.done_ns)
    time.sleep(live.timers.beat_ms / 1000)
    assert worker.check()["reason"] == "state-file", "not even with a disk that works again"
    worker.kill()
    live.start_worker("pod-1").wait_allowed(after_ns=again["at_ns"])


def test_a_heartbeat_that_cannot_remember_does_not_beat(
    live: Any, wait_for: Callable[..., None]
) -> None:
    """Row 35."""
    fill_the_disk(live.state_dir, "heartbeat-hb-1")
    live.start_workers("pod-1")
    live.start_heartbeat("hb-1").wait_said("No space left")
    live.activate(wait_s=1)
    wait_for(
        lambda: live.workers["pod-1"].check()["reason"] == "not-armed", what="it knows of the term"
    )
    assert not live.raw.exists("golive:beat")


def test_a_heartbeat_that_cannot_remember_the_stop_does_not_count_until_it_can(live: Any) -> None:
    """Row 35."""
    live.go_live("pod-1")
    fill_the_disk(live.state_dir, "heartbeat-hb-1")
    first = live.revoke_until(
        lambda r: r.outcome.heartbeats[0].durable == "failed", wait_ms=2 * live.timers.beat_ms
    )
    assert first.outcome.result == "NOT CONFIRMED"
    assert [row.durable for row in first.outcome.heartbeats] == ["failed"]
    assert not live.workers["pod-1"].allowed, "off it is, all the same"
    (live.state_dir / "heartbeat-hb-1.0.tmp").unlink()
    live.heartbeats["hb-1"].wait_said(f"the stop of epoch {first.epoch} is on disk by now")
    second = live.revoke()
    assert second.outcome.result == "COMPLETE" and second.epoch == first.epoch
    assert [row.durable for row in second.outcome.heartbeats] == ["yes"]


def test_a_heartbeat_that_restarts_while_a_halt_is_lost_beats_on_nothing_less_and_puts_it_back(
    live: Any, wait_for: Callable[..., None]
) -> None:
    """Row 56: it had verified the halt, and the store forgot it while the heartbeat was away."""
    live.go_live("pod-1")
    live.halt(symbol="BTC")
    kept = live.state_dir / "heartbeat-hb-1.0.json"
    wait_for(lambda: json.loads(kept.read_text())["restrictions"], what="the halt on disk")
    live.heartbeats["hb-1"].kill()
    grant = live.config.trust().grant(live.raw.hget("golive:active", "grant"))
    live.raw.hdel("golive:active", "r:2")
    live.raw.hset("golive:active", mapping={"epoch": 1, "last": grant.identity, "set": "0"})
    live.start_heartbeat("hb-1").wait_said("the store lost halt 2; re-asserted")
    wait_for(lambda: live.raw.hexists("golive:active", "r:2"), what="the halt")


def test_a_worker_that_restarts_during_a_stop_is_cold_and_latches(
    live: Any, wait_for: Callable[..., None]
) -> None:
    """Row 34."""
    live.go_live("pod-1", "pod-2")
    live.workers["pod-1"].kill()
    first = live.revoke(wait_ms=0)
    assert first.outcome.result == "NOT CONFIRMED"
    worker = live.start_worker("pod-1")
    wait_for(lambda: worker.check()["reason"] == "revoked", what="it has seen the tombstone")
    second = live.revoke()
    assert second.epoch == first.epoch, "run again it finishes the same stop"
    assert second.outcome.result == "STOPPED", "the one that was killed has not drained"
    (dead,) = second.outcome.drain_unknown
    third = live.revoke(dead_workers=frozenset({dead}))
    assert (third.outcome.result, third.epoch) == ("COMPLETE", first.epoch)
    assert not any(state["allowed"] for state in worker.states())
    rows = {row.pod.instance: row.durable for row in second.outcome.workers}
    assert rows[worker.instance] == "yes"
    assert worker.health()["phase"] == "latched"
    kept = json.loads((live.state_dir / "worker-pod-1.0.json").read_text())
    assert kept["latch"]["epoch"] == first.epoch


def test_a_restarted_worker_reads_its_latch_and_never_arms_for_the_old_term(
    live: Any, forge_beats: Callable[..., Any]
) -> None:
    """Rows 34 and 58. The control, a worker that never saw the stop, does arm: all is there."""
    live.go_live("pod-1")
    active = live.raw.dump("golive:active")
    live.revoke()
    live.workers["pod-1"].kill()
    live.heartbeats["hb-1"].kill()
    live.raw.flushall()  # the tombstone is lost, and yesterday comes back
    live.raw.restore("golive:active", live.timers.ttl_ms, active)
    with forge_beats(live, "hb-1"):
        latched, control = live.start_worker("pod-1"), live.start_worker("pod-3")
        control.wait_allowed()
        time.sleep(live.timers.beat_ms / 1000)
        control.wait_permit()
        assert latched.check()["reason"] == "revoked"
        assert not any(state["allowed"] for state in latched.states())
        latched.wait_logged("was revoked and is back")
