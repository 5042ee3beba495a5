"""SIGSTOP, seen to have taken effect: `kill(2)` returns before the process stands still."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_S = 60.0
LOOK_EVERY_S = 0.001


def freeze(pid: int) -> None:
    """Stop a process as a paused container or a debugger would, and return once it stands still.

    The signal is only delivered when the process next runs, and then to one thread after another: one
    that serves a request may still answer after `os.kill` has returned.

    Args:
        pid: A process of this user.

    Raises:
        ProcessLookupError: There is no such process.
        TimeoutError: It has not stopped within 60 s.
    """
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + PATIENCE_S
    while not frozen(pid):
        if time.monotonic() >= deadline:
            raise TimeoutError(f"process {pid} does not stop")
        time.sleep(LOOK_EVERY_S)


def frozen(pid: int) -> bool:
    """Tell whether every thread of the process is stopped, or it has ended.

    Raises:
        ProcessLookupError: There is no such process.
    """
    if sys.platform != "linux":
        ps = ["ps", "-o", "stat=", "-p", str(pid)]
        asked = subprocess.run(ps, capture_output=True, text=True, check=False)  # noqa: S603 (our own words, no shell)
        state = asked.stdout.strip()
        if not state:
            raise ProcessLookupError(pid)
        return state[0] in "TZ"
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    return all(_state(thread / "stat") in "TXZ" for thread in threads)


def _state(stat: Path) -> str:
    """Return the state of a thread: T is stopped, Z and X have ended (proc(5))."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
