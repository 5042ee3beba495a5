"""Logging from our threads: handed to a thread of its own, which alone runs the user's handlers.

A handler may raise, and it may block for good: a pipe that nobody reads, a collector that is away. On
the thread that keeps a guard armed, or carries out a stop, either would be the end of it. So our threads
only leave a line here and go on; a handler that hangs holds up later lines and nothing else.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

from golive_redis.masking import printable

MOST_WAITING = 1_000
AT_EXIT_S = 1.0


class Aside:
    """A thread that takes steps nobody may wait for: each may raise, and each may hang.

    Args:
        name: Of the thread, without `golive-`.
        most: Steps that wait at most; what comes then is dropped and counted.

    Attributes:
        lost: How many were dropped since the last that could wait.
    """

    def __init__(self, name: str, most: int = MOST_WAITING) -> None:
        self.lost = 0
        self._name = f"golive-{name}"
        self._most = most
        # SimpleQueue: its put neither blocks nor takes a lock of Python's, so a signal handler may call.
        self._waiting: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> bool:
        """Start the thread if it does not run; False where the system has no more threads now."""
        if self._thread is not None and self._thread.is_alive():
            return True
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:
            self._thread = None  # what waits is kept, and the next step tries again
            return False
        return True

    def do(self, step: Callable[[], object]) -> bool:
        """Have a step taken soon; returns at once and never raises. False when it was dropped."""
        if self._waiting.qsize() >= self._most:
            self.lost += 1
            return False
        self._waiting.put(step)
        self.start()
        return True

    def flush(self, within_s: float) -> bool:
        """Wait until what was asked for before is done; False when that takes longer."""
        if self._waiting.empty() and self._thread is None:
            return True
        done = threading.Event()
        self._waiting.put(done.set)
        return self.start() and done.wait(within_s)

    def forked(self) -> None:
        """In a forked child: what waits is the parent's to do, and the thread does not run here."""
        self._waiting, self._thread, self.lost = SimpleQueue(), None, 0

    def _run(self) -> None:
        while True:
            step = self._waiting.get()
            try:
                step()
            except BaseException:  # noqa: BLE001, S112  (somebody's handler; there is nobody left to tell)
                continue


ASIDE = Aside("log")
"""The thread that writes the log lines of this process."""

atexit.register(ASIDE.flush, AT_EXIT_S)
os.register_at_fork(after_in_child=ASIDE.forked)


class Log:
    """A logger for our threads: no call of it waits or raises, whatever the user's handlers do.

    Args:
        name: Of the logger behind it.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def info(self, text: str, *args: object) -> None:
        """Log what an operator may want to know."""
        self._leave(logging.INFO, text, args)

    def warning(self, text: str, *args: object) -> None:
        """Log what an operator should know."""
        self._leave(logging.WARNING, text, args)

    def error(self, text: str, *args: object, exc_info: BaseException | None = None) -> None:
        """Log what went wrong."""
        self._leave(logging.ERROR, text, args, exc_info)

    def critical(self, text: str, *args: object, exc_info: BaseException | None = None) -> None:
        """Log what somebody has to act on."""
        self._leave(logging.CRITICAL, text, args, exc_info)

    def exception(self, text: str, *args: object) -> None:
        """Log what went wrong with the exception that is being handled."""
        self._leave(logging.ERROR, text, args, sys.exc_info()[1])

    def _leave(
        self,
        level: int,
        text: str,
        args: tuple[object, ...],
        error: BaseException | None = None,
    ) -> None:
        thread = threading.current_thread()
        born = {"created": time.time_ns() / 1e9, "thread": thread.ident, "threadName": thread.name}
        ASIDE.do(partial(_write, self._name, level, text, args, error, born))


def _write(
    name: str,
    level: int,
    text: str,
    args: tuple[object, ...],
    error: BaseException | None,
    born: dict[str, Any],
) -> None:
    # All of logging is asked here and nothing of it on our threads: also levels, filters and factories
    # are the user's, and its cache of levels has a lock.
    logger = logging.getLogger(name)
    if not logger.isEnabledFor(level):
        return
    lost, ASIDE.lost = ASIDE.lost, 0
    if lost:
        logger.warning("%d log lines were dropped: the handlers did not take them in time", lost)
    told = (type(error), error, error.__traceback__) if error is not None else None
    shown = tuple(arg if isinstance(arg, (int, float)) else printable(str(arg)) for arg in args)
    record = logger.makeRecord(name, level, "(golive-redis)", 0, printable(text), shown, told)
    if error is not None:
        # Set in, for what an exception says may hold a line feed too; a formatter takes what is there.
        lines = "".join(traceback.format_exception(error)).rstrip("\n").split("\n")
        record.exc_text = "\n".join(f"  {printable(line)}" for line in lines)
    born["msecs"] = (
        born["created"] % 1 * 1000
    )  # when and where it was said, not when it was written
    record.__dict__.update(born)
    logger.handle(record)


def aside(say: Callable[[str], object]) -> Callable[[str], None]:
    """Return a function that has `say` called with its text on the thread for log lines."""

    def leave(text: str) -> None:
        ASIDE.do(partial(say, text))

    return leave
