"""The demo as anybody runs it: one command, ten processes, one object, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GOLIVE = [sys.executable, "-P", "-m", "golive_cli.main"]
# The same demo at half the time: every inequality of the timers still holds.
FASTER = """
import functools, sys
from golive_cli.demo import plan
timing = dict(beat_every_ms=500, read_every_ms=250, timeout_ms=125, rho=0.1, lease_ms=1250,
              beat_ms=2750, failover_ms=5000, ttl_ms=12000, drain_ms=2500)
plan.Plan = functools.partial(plan.Plan, timing=timing, trade_ms=700, after_ms=400)
from golive_cli.main import main
sys.exit(main(sys.argv[1:]))
"""
# For what takes half a minute on a free core.
PATIENCE_S = 600
REVOKE = [
    "name",
    "complete",
    "by",
    "workers",
    "receipts",
    "slowest_latch_ms",
    "accepted_before",
    "attempts_after",
    "control_accepted_after",
    "accepted_after_complete",
    "last_accept_after_revoke_ms",
]
OUTAGE = [
    "name",
    "bound_ms",
    "all_off_ms",
    "accepted_before",
    "attempts_after",
    "control_accepted_after",
    "accepted_after_bound",
]


class Shell:
    """Runs demos whose temporary files all go to one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {**os.environ, "TMPDIR": str(folder), "NO_COLOR": "1"}

    def run(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*GOLIVE, "demo"],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def processes(self) -> dict[int, str]:
        """Command lines, by process id, of everything that runs and names our folder there."""
        listed = subprocess.run(
            ["ps", "-ww", "-eo", "pid=,stat=,args="], capture_output=True, text=True, check=True
        ).stdout
        rows = [line.split(None, 2) for line in listed.splitlines() if str(self.folder) in line]
        return {int(pid): args for pid, stat, args in rows if not stat.startswith("Z")}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def wait_for_line(process: subprocess.Popen[str], words: str) -> str:
    assert process.stdout is not None
    told = []
    for line in process.stdout:
        told.append(line)
        if words in line:
            return line
    pytest.fail(f"no line {words!r} in {told}, {process.stderr and process.stderr.read()}")


@pytest.mark.session
def test_the_demo_proves_three_stops_in_time_and_leaves_nothing(shell: Shell) -> None:
    # Somebody's real settings are in this shell; a demo that used them would trade with them.
    done = shell.run(
        *GOLIVE,
        "demo",
        "--json",
        GOLIVE_REDIS_URL="redis://127.0.0.1:1",
        GOLIVE_CONFIG="/nowhere/go_live.yaml",
        GOLIVE_KEY="no key",
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.count("\n") == 1
    result = json.loads(done.stdout)
    assert list(result) == ["acts", "ok"]
    assert result["ok"] is True
    revoke, killed, frozen = result["acts"]
    assert [list(revoke), list(killed), list(frozen)] == [REVOKE, OUTAGE, OUTAGE]
    assert [act["name"] for act in result["acts"]] == [
        "revoke",
        "heartbeat-killed",
        "server-frozen",
    ]
    assert (revoke["complete"], revoke["by"]) == (True, "receipts")
    assert revoke["workers"] == revoke["receipts"] == 6
    assert revoke["slowest_latch_ms"] > 0
    assert revoke["last_accept_after_revoke_ms"] >= 0
    assert (killed["bound_ms"], frozen["bound_ms"]) == (5_500, 2_500)
    for act in (killed, frozen):
        assert 0 < act["all_off_ms"] <= act["bound_ms"]
    _assert_proved(revoke, "accepted_after_complete")
    _assert_proved(killed, "accepted_after_bound")
    _assert_proved(frozen, "accepted_after_bound")
    assert shell.processes() == {}
    assert list(shell.folder.iterdir()) == []


def _assert_proved(act: dict[str, Any], late: str) -> None:
    assert act["accepted_before"] >= 100
    assert act["attempts_after"] >= 60
    assert act["control_accepted_after"] > 0
    assert act[late] == 0


@pytest.mark.session
def test_a_worker_that_ignores_its_guard_makes_the_demo_fail(shell: Shell) -> None:
    done = shell.run(sys.executable, "-P", "-c", FASTER, "demo", "--json", "--sabotage")
    assert done.returncode == 1, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["ok"] is False
    revoke, killed, frozen = result["acts"]
    # Its guard has answered the stop; that the orders went on is the venue's word alone.
    assert revoke["complete"] is True
    assert revoke["accepted_after_complete"] > 0
    for act in (killed, frozen):
        assert act["accepted_after_bound"] > 0
        assert act["all_off_ms"] > act["bound_ms"]
    assert done.stderr.count("pod-4 was not denied") == 3
    assert "pod-1" not in done.stderr
    assert shell.processes() == {}


@pytest.mark.session
def test_an_interrupted_demo_leaves_nothing(shell: Shell) -> None:
    """By Ctrl-C; that SIGTERM and SIGHUP do the same, cli/test_demo_interrupts.py sees to."""
    with shell.start() as process:
        wait_for_line(process, "+ activation_enabled")
        assert len(shell.processes()) >= 9
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert errors == "error: interrupted; every process is stopped, every file removed\n"
    assert shell.processes() == {}
    assert list(shell.folder.iterdir()) == []


@pytest.mark.session
@pytest.mark.skipif(sys.platform != "linux", reason="nothing binds a child to its parent")
def test_a_killed_demo_takes_its_processes_with_it(
    shell: Shell, wait_for: Callable[..., None]
) -> None:
    with shell.start() as process:
        wait_for_line(process, "default off")
        process.kill()
    wait_for(lambda: not shell.processes(), what="all processes are gone")


@pytest.mark.session
def test_a_process_that_dies_is_named_with_the_end_of_its_log(shell: Shell) -> None:
    with shell.start() as process:
        wait_for_line(process, "pods armed after")
        (pid,) = [pid for pid, args in shell.processes().items() if "--name=pod-3" in args]
        os.kill(pid, signal.SIGKILL)
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "error: pod-3 ended unexpectedly, code -9\n" in errors
    assert "log: WARNING [ORDER_SKIPPED] " in errors
    assert "verdict" not in output
    assert list(shell.folder.iterdir()) == []


def test_a_server_that_does_not_start_is_told_with_its_log(shell: Shell) -> None:
    false_server = shell.folder / "server"
    false_server.write_text("#!/bin/sh\necho no licence for today\nexit 3\n")
    false_server.chmod(0o755)
    done = shell.run(*GOLIVE, "demo", "--server", str(false_server))
    assert (done.returncode, done.stdout) == (1, "")
    assert "log: no licence for today\n" in done.stderr
    assert "error: server ended at once with code 3\n" in done.stderr
    assert list(shell.folder.iterdir()) == [false_server]
