"""Forks, and several processes under one worker id.

The server has no part in these: they run on one kind.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from golive_redis.testing.server import EmbeddedServer

from .test_green import PATCHES


def test_a_forked_child_is_closed_for_life_and_its_parent_does_not_notice(
    fleet: Callable[..., Any], any_server: EmbeddedServer
) -> None:
    """Row 32."""
    live = fleet(any_server)
    live.go_live("pod-1")
    worker = live.workers["pod-1"]
    child = worker.ask("fork")["child"]
    assert child["pid"] != worker.pid
    assert not child["answer"]["permit"] and child["answer"]["reason"] == "forked"
    assert child["sockets"] == [], "it has none of the parent's connections"
    assert child["health"]["threads"] and not any(child["health"]["threads"].values())
    time.sleep(live.timers.beat_ms / 1000)  # longer than anything from before the fork is good for
    live.wait_all_armed()
    assert all(worker.health()["threads"].values())
    outcome = live.revoke(config=live.patient).outcome
    assert [row.pod.instance for row in outcome.workers] == [worker.instance], "no goodbye for it"
    assert outcome.by == "receipts"


def test_a_forked_child_may_open_a_guard_of_its_own(
    fleet: Callable[..., Any], any_server: EmbeddedServer
) -> None:
    """Rows 32 and 61."""
    live = fleet(any_server)
    live.go_live("pod-1")
    worker = live.workers["pod-1"]
    child = worker.ask("fork", open_own=True)["child"]
    assert child["answer"]["reason"] == "forked", "the inherited one stays closed"
    assert child["armed"] and child["instance"] != worker.instance
    live.wait_all_armed()


def test_processes_that_share_a_worker_id_answer_a_stop_each_for_itself(
    fleet: Callable[..., Any], any_server: EmbeddedServer
) -> None:
    """Row 61: two processes and a fork of one, one id."""
    live = fleet(any_server)
    first = live.start_worker("pod-1", wait=False)
    live.go_live("pod-1")
    second = live.workers["pod-1"]
    second.ask("spawn")
    child = second.wait_event(lambda e: e["event"] == "child", what="child")
    assert child["armed"]
    live.wait_all_armed()
    instances = {first.instance, second.instance, child["instance"]}
    assert len(instances) == 3
    roster = {member.decode() for member in live.raw.zrange("golive:fleet", 0, -1)}
    assert roster == {f"pod-1:{instance}" for instance in instances}
    report = live.revoke(config=live.patient)
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")
    rows = report.outcome.workers
    assert {(row.pod.worker, row.pod.instance) for row in rows} == {
        ("pod-1", instance) for instance in instances
    }
    assert all(row.durable == "yes" and row.left == 0 for row in rows)
    slots = sorted(path.name for path in live.state_dir.glob("worker-pod-1.*.json"))
    assert slots == [f"worker-pod-1.{slot}.json" for slot in range(3)], "a state file each"


def test_of_two_processes_with_one_id_each_keeps_its_own_state(
    fleet: Callable[..., Any], any_server: EmbeddedServer
) -> None:
    """Row 61: a local stop of one is not the other's."""
    live = fleet(any_server)
    first = live.start_worker("pod-1", wait=False)
    live.go_live("pod-1")
    second = live.workers["pod-1"]
    stopped = live.timed(lambda: first.ask("kill"))
    assert first.closed_within(live.timers.lease_ms, stopped)["reason"] == "killed"
    time.sleep(live.timers.lease_ms / 1000)
    assert not first.allowed
    second.check()
    second.wait_permit()


# Any greenlet of the program may fork, also when a stop has just come. The child is late: what was
# queued is carried out there, if it is, after another stop.
FORKS_IN_A_STOP = """
import os, pathlib, sys, time
from golive_redis import Guard

folder, parent = pathlib.Path(sys.argv[1]), os.getpid()
guard = Guard.open(worker="pod-1")
stopping = guard._attending.stopping
carry_out, forked = stopping.stop, []

@guard.on_stop
def hook():
    (folder / ("hook" if os.getpid() == parent else "hook of the child")).touch()
    return 0

def stop(*args):
    carry_out(*args)
    if not forked:
        forked.append(True)
        if os.fork() == 0:
            while not (folder / "two").exists():
                {original}(0.01)  # the whole process, as one that gets no turn

stopping.stop = stop
until = time.monotonic() + 90
while time.monotonic() < until and not (folder / "end").exists():
    time.sleep(0.02)
    if os.getpid() != parent and (folder / "two").exists():
        time.sleep(2)
        (folder / "child").touch()
        os._exit(0)
os._exit(0)
"""
ORIGINALS = {
    "gevent": "monkey.get_original('time', 'sleep')",
    "eventlet": "eventlet.patcher.original('time').sleep",
}


@pytest.mark.parametrize("name", PATCHES)
def test_a_forked_child_carries_out_no_stop_of_its_parent(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
    tmp_path: Path,
    name: str,
) -> None:
    """S9, row 118. A greenlet goes on there: the newer latch stays on disk, and no hook runs twice."""
    live = fleet(own_server)
    live.start_heartbeat("hb-1")
    folder = tmp_path / "seen"
    folder.mkdir()
    program = folder / "bot.py"
    program.write_text(PATCHES[name] + FORKS_IN_A_STOP.format(original=ORIGINALS[name]))
    with (folder / "log").open("wb") as log:
        bot = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(program), str(folder)],
            env={**os.environ, "GOLIVE_CONFIG": str(live.path)},
            stderr=log,
        )
    try:
        wait_for(lambda: live.raw.zcard("golive:fleet") == 1, what="it runs")
        reports = []
        for _ in range(2):
            live.activate()
            reports.append(live.revoke(config=live.patient))
        assert [row.durable for report in reports for row in report.outcome.workers] == ["yes"] * 2
        (folder / "two").touch()
        wait_for((folder / "child").exists, what="the child has had its turns")
    finally:
        (folder / "end").touch()
        bot.kill()
        bot.wait(60)
    assert (folder / "hook").exists() and not (folder / "hook of the child").exists()
    kept = json.loads((live.state_dir / "worker-pod-1.0.json").read_bytes())
    assert kept["latch"]["epoch"] == reports[-1].epoch
