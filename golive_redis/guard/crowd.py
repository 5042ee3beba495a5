"""How many guards this host has, and how long one that has closed leaves the processors to the others.

All guards of a host are pushed a revocation at once, and all of them have to close before the first
does what comes after: verifying, persisting, receipts. 100 guards on two cores take some 15 ms to
close; the last of them took 90 ms when the first went on after 1 ms. One guard alone does not wait.

Guards are counted by locks on a file in shared memory: each process locks as many bytes of it as it has
guards. The kernel lets go of the locks of a process that dies, so nothing in here can be stale, and
nothing has to be cleaned up. What cannot be counted waits the longest. Only speed rests on the count,
never whether a guard closes: it has closed before it asks.

Source: fcntl(2), advisory record locking; struct flock of 64-bit Linux.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from golive_redis import clock

LONGEST_MS = 30.0
EACH_MS = 1.0
COUNT_EVERY_MS = 5_000.0
ENOUGH = (
    int(LONGEST_MS / EACH_MS) + 1
)  # with so many the wait is the longest, however many more there are

_FLOCK = struct.Struct("@hhqqi4x")
_SPAN = 4_096  # bytes of one process: so many guards are told apart
_MAX_PIDS = 1 << 22


class Crowd:
    """Counts the guards of this process and of this user's others on this host.

    Args:
        path: The shared file; None takes the place that all processes of this user agree on.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._handle = -1
        self._file = (0, 0)
        self._own = 0
        self._total: int | None = None
        self._counted_ms = 0.0

    def join(self) -> None:
        """Count one more guard in this process; never raises."""
        with self._lock:
            self._own += 1
            self._hold()
            self._count()

    def leave(self) -> None:
        """Count one less; never raises."""
        with self._lock:
            self._own = max(0, self._own - 1)
            self._hold()
            self._count()

    def look(self) -> None:
        """Count again, when that was not done for five seconds; never raises."""
        if clock.now_ms() - self._counted_ms >= COUNT_EVERY_MS:
            with self._lock:
                self._count()

    @property
    def total(self) -> int | None:
        """How many guards there were at the last count, 31 at most; None when that is unknown."""
        return self._total

    def wait_ms(self) -> float:
        """Return how long a guard that has just closed leaves the processors to the others."""
        total = self._total  # once: another thread counts meanwhile
        if total is None:
            return LONGEST_MS
        return min(LONGEST_MS, EACH_MS * max(0, total - 1))

    def forked(self) -> None:
        """In a forked child, which has no guards yet: the parent's locks stay the parent's."""
        self._lock = threading.Lock()  # the parent's may be locked for ever in here
        self._own, self._total, self._handle = 0, None, -1

    def _hold(self) -> None:
        """Lock one byte for each guard of this process."""
        try:
            if not self._holds():
                self._handle, self._file = _opened(self._path or _place())
            start = os.getpid() * _SPAN
            fcntl.lockf(self._handle, fcntl.LOCK_UN, _SPAN, start)
            if self._own:
                length = min(self._own, _SPAN)
                fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
        except OSError:
            self._forget()

    def _count(self) -> None:
        self._counted_ms = clock.now_ms()
        known = sys.platform == "linux" and struct.calcsize("P") == 8  # noqa: PLR2004
        if not known or not self._holds():
            self._total = None
            return
        try:
            self._total = self._own + self._others(ENOUGH - self._own)
        except OSError:
            self._forget()

    def _others(self, enough: int) -> int:
        """Return how many bytes other processes have locked; it stops looking when that is enough.

        The kernel names any one lock within a range, not the first: what is left and right of it is
        asked about by itself. A process does not see its own locks.
        """
        found, ranges = 0, [(0, _SPAN * _MAX_PIDS)]
        while ranges and found < enough:
            begin, end = ranges.pop()
            ask = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, begin, end - begin, 0)
            kind, _, start, length, _ = _FLOCK.unpack(fcntl.fcntl(self._handle, fcntl.F_GETLK, ask))
            if kind == fcntl.F_UNLCK:
                continue
            if length <= 0:  # to the end of the file, and so not one of ours
                return enough
            found += length
            if begin < start:
                ranges.append((begin, start))
            if start + length < end:
                ranges.append((start + length, end))
        return found

    def _holds(self) -> bool:
        """Tell whether the descriptor is still ours: a bot that daemonises closes all of them."""
        try:
            return self._handle >= 0 and _identity(self._handle) == self._file
        except OSError:
            return False

    def _forget(self) -> None:
        ours, handle = self._holds(), self._handle
        self._handle, self._total = -1, None
        if ours:  # never a descriptor that is used for something else by now
            with suppress(OSError):
                os.close(handle)


def _place() -> Path:
    memory = Path("/dev/shm")  # noqa: S108  (the name below is this user's, and the file's owner is checked)
    folder = memory if memory.is_dir() else Path(tempfile.gettempdir())
    return folder / f"golive-guards-{os.getuid()}"


def _identity(handle: int) -> tuple[int, int]:
    found = os.fstat(handle)
    return found.st_dev, found.st_ino


def _opened(path: Path) -> tuple[int, tuple[int, int]]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if os.fstat(handle).st_uid != os.getuid():
        os.close(handle)
        raise PermissionError(path)
    return handle, _identity(handle)


crowd = Crowd()
"""The guards of this host, as this process sees them."""


class Turns:
    """One guard of this process after the other, where all of them have the same to do at once.

    A thread that waits for Python's interpreter wakes every 5 ms to ask for it, and one that waits for
    a lock sleeps. Fifty guards of a process that verify and sign a stop side by side keep two cores
    busy with nothing but that; one after the other they are done in a tenth of the time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def forked(self) -> None:
        """In a forked child: the parent's may be locked for ever in here."""
        self._lock = threading.Lock()


turns = Turns()

os.register_at_fork(after_in_child=crowd.forked)
os.register_at_fork(after_in_child=turns.forked)
