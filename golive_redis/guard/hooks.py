"""The `on_stop` hooks of a guard: the worker's own code, called when it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue

from golive_redis.logs import Log
from golive_redis.threads import Backoff, Loop

Hook = Callable[[], int | None]

IDLE_S = 5.0
PAUSE_S = 0.1

logger = Log("golive_redis.guard")


class _Runner:
    """One hook and its thread, which is there before a stop needs it (A15) and outlives each run.

    So a hook that hangs keeps this one thread and nobody else's time, and no later stop adds another.

    Attributes:
        loop: Its thread.
        busy: True from the moment it is asked to run until it has ended.
    """

    def __init__(self, hook: Hook) -> None:
        self.busy = False
        self._label = getattr(hook, "__qualname__", repr(hook))
        self._hook = hook
        self._left: int | None = None
        self._ran_for: int | None = None
        self._asked: SimpleQueue[bool] = SimpleQueue()
        pauses = Backoff(PAUSE_S, PAUSE_S)
        self.loop = Loop(f"hook-{self._label}", self._turn, failed=_defect, backoff=pauses)

    def begin(self, term: int) -> None:
        """Have it run, once for a term; one that still hangs from an earlier stop is not begun again.

        Two people may stop a term, and what flattens may not run twice.
        """
        if not self.busy and self._ran_for != term:
            self.busy, self._left, self._ran_for = True, None, term
            self._asked.put(True)

    def end(self) -> None:
        """Let the thread end once it has nothing to do."""
        self.loop.closing.set()
        self._asked.put(False)

    def _turn(self) -> None:
        try:
            wanted = self._asked.get(timeout=IDLE_S)
        except Empty:
            return
        self.loop.check()
        if not wanted:
            return
        try:
            self._left = max(0, int(self._hook() or 0))
        except BaseException:  # the worker's own code, which may also call sys.exit
            logger.exception("on_stop hook %s failed", self._label)
        finally:
            self.busy = False

    def left(self) -> int:
        """Return what it says is left; one that did not finish says nothing, which counts as 1."""
        if self.busy or self._left is None:
            logger.error("on_stop hook %s did not finish; counted as 1 left", self._label)
            return 1
        return self._left


class Hooks:
    """All hooks of one guard, each with a thread of its own."""

    def __init__(self) -> None:
        self._runners: list[_Runner] = []

    def add(self, hook: Hook) -> None:
        """Take a hook in and start its thread."""
        runner = _Runner(hook)
        self._runners.append(runner)
        runner.loop.start()

    def loops(self) -> list[Loop]:
        """Return their threads."""
        return [runner.loop for runner in self._runners]

    def begin(self, term: int) -> None:
        """Have each run that has not run for that term, side by side."""
        for runner in self._runners:
            runner.begin(term)

    def calling(self) -> bool:
        """Tell whether it is a hook that asks: then there is one that still runs."""
        return any(runner.loop.is_current() for runner in self._runners)

    def busy(self) -> bool:
        """Tell whether one still runs."""
        return any(runner.busy for runner in self._runners)

    def left(self) -> int:
        """Return how many orders they say are left, and 1 for each that did not finish."""
        return sum(runner.left() for runner in self._runners)

    def end(self) -> None:
        """Let their threads end."""
        for runner in self._runners:
            runner.end()


def _defect(error: Exception) -> None:
    logger.error("a defect in golive-redis around an on_stop hook", exc_info=error)
