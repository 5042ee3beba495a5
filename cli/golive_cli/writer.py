"""A daemon's lines, written by a thread of their own.

A terminal stopped with Ctrl-S, or a log reader that hangs, blocks the thread that writes to it. The loop
that beats must not be that thread: a fleet would stop because its log is not read.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from golive_redis import clock

MAX_WAITING = 1_000


class Writer:
    """Takes lines without ever blocking or raising.

    Args:
        write: Prints one line, given its wall time in ms and its text.

    Attributes:
        last: The newest text.
    """

    def __init__(self, write: Callable[[int, str], None]) -> None:
        self.last = ""
        self._write = write
        self._lost = 0
        self._waiting: queue.Queue[tuple[int, str] | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="golive-writer", daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        """Print the text soon; lines over the limit are counted instead of kept."""
        self.last = text
        try:
            self._waiting.put_nowait((clock.wall_ms(), text))
        except queue.Full:
            self._lost += 1

    def close(self, within_s: float = 1.0) -> None:
        """Wait until everything is written, but no longer than that."""
        until = time.monotonic() + within_s
        try:
            self._waiting.put(None, timeout=within_s)
        except queue.Full:
            return
        self._thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            lost, self._lost = self._lost, 0
            try:
                if lost:
                    self._write(item[0], f"{lost} lines lost: they were not read in time")
                self._write(*item)
            except OSError:  # a full disk under the log: the next line may fit
                pass
