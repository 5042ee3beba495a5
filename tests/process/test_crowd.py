"""Guards of one host are counted over processes, and those of a process that was killed are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from golive_redis.guard.crowd import ENOUGH, LONGEST_MS, Crowd

OTHER = """
import sys
from pathlib import Path
from golive_redis.guard.crowd import Crowd
crowd = Crowd(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    crowd.join()
print("joined", flush=True)
sys.stdin.read()
"""

Other = Callable[[int], "subprocess.Popen[str]"]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Other]:
    """Starts a process with so many guards on the same file."""
    started: list[subprocess.Popen[str]] = []

    def start(guards: int) -> subprocess.Popen[str]:
        words = [sys.executable, "-P", "-c", OTHER, str(tmp_path / "guards"), str(guards)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen(words, text=True, **pipes)  # type: ignore[call-overload]
        started.append(process)
        assert process.stdout.readline() == "joined\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_one_guard_alone_waits_for_nobody(tmp_path: Path) -> None:
    crowd = Crowd(tmp_path / "guards")
    crowd.join()
    assert crowd.total == 1
    assert crowd.wait_ms() == 0


def test_guards_are_counted_over_processes_until_they_leave_or_are_killed(
    tmp_path: Path, other: Other
) -> None:
    crowd = Crowd(tmp_path / "guards")
    crowd.join()
    crowd.join()
    killed, ended = other(3), other(4)
    crowd.leave()
    assert crowd.total == 1 + 3 + 4
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    crowd.join()
    assert crowd.total == 2 + 4
    ended.communicate()
    crowd.leave()
    assert crowd.total == 1


def test_the_wait_grows_with_the_crowd_and_has_an_end(tmp_path: Path, other: Other) -> None:
    crowd = Crowd(tmp_path / "guards")
    waits = []
    for _ in range(4):
        other(12)
        crowd.join()
        waits.append(crowd.wait_ms())
    assert sorted(waits) == waits
    assert waits[0] < waits[1] < LONGEST_MS
    assert waits[-1] == LONGEST_MS
    assert crowd.total is not None
    assert crowd.total >= ENOUGH


def test_a_crowd_that_cannot_be_counted_waits_the_longest(tmp_path: Path) -> None:
    (tmp_path / "guards").symlink_to(tmp_path / "elsewhere")
    crowd = Crowd(tmp_path / "guards")
    crowd.join()
    assert crowd.total is None
    assert crowd.wait_ms() == LONGEST_MS


def test_a_forked_child_has_no_guards_and_leaves_its_parents_counted(
    tmp_path: Path, other: Other
) -> None:
    crowd = Crowd(tmp_path / "guards")
    crowd.join()
    other(2)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        crowd.forked()
        crowd.join()
        os.write(writer, bytes([crowd.total or 0]))
        os._exit(0)
    assert os.read(reader, 1) == bytes([1 + 1 + 2])
    os.waitpid(pid, 0)
    crowd.join()
    assert crowd.total == 2 + 2


def test_a_descriptor_that_the_bot_has_closed_is_no_error_and_no_other_file_is_touched(
    tmp_path: Path,
) -> None:
    """A process that becomes a daemon closes every descriptor, and gives the numbers to others."""
    crowd = Crowd(tmp_path / "guards")
    crowd.join()
    taken = crowd._handle
    os.close(taken)
    other = os.open(tmp_path / "orders", os.O_RDWR | os.O_CREAT)
    if other != taken:
        os.dup2(other, taken)
        os.close(other)
    crowd.join()
    os.fstat(taken)  # raises if it was closed
    crowd.leave()
    os.fstat(taken)
    os.close(taken)
    crowd.leave()
    crowd._counted_ms = 0.0
    crowd.look()
    assert 0.0 <= crowd.wait_ms() <= LONGEST_MS
