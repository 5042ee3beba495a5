"""Orders counted exactly; skipped ones logged at a bounded rate, and never on the caller's thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count
from threading import get_ident

from golive_redis import clock
from golive_redis.guard.children import Children
from golive_redis.logs import Log

MAX_LINES = 20  # of one reason, and of reasons, in a minute
EVERY_MS = 60_000.0

logger = Log("golive_redis.guard")


class Tally:
    """Exact counts without a lock: each thread adds to its own cell.

    A cell is keyed by thread ident; idents are reused after a thread's death, so cells are bounded by
    the most threads that ever lived at once.
    """

    def __init__(self) -> None:
        self._cells: dict[tuple[int, str], int] = {}

    def add(self, what: str) -> None:
        """Count one."""
        cell = (get_ident(), what)
        self._cells[cell] = self._cells.get(cell, 0) + 1

    def total(self) -> dict[str, int]:
        """Return the counts by name."""
        out: dict[str, int] = {}
        for (_, what), number in list(self._cells.items()):
            out[what] = out.get(what, 0) + number
        return out


class Count:
    """One exact count without a lock.

    Attributes:
        counter: `next(counter)` counts one: a call of C, which no other thread and no signal handler
            divides, and which costs a tenth of a `Tally`.
    """

    def __init__(self) -> None:
        self.counter = count()

    def total(self) -> int:
        """Return the count."""
        # `count(7)`: the one way to read a counter that does not count.
        return int(repr(self.counter)[len("count(") : -1])


class SkipLog:
    """Collects `[ORDER_SKIPPED]` lines; the attending thread hands them to the log.

    The order path appends to a bounded deque and returns: logging handlers take locks and do I/O. A
    closed worker that asks a hundred times a second goes on for days, so of each reason and epoch a
    minute has at most twenty lines, and one that says how many orders had none. Of each epoch: after a
    directive the last line of a log must not be of an order that was sent.

    Args:
        clock_ms: Steady clock.

    Attributes:
        counts: Of skipped orders by reason.
        children: Forked processes that asked this guard.
    """

    def __init__(self, clock_ms: Callable[[], float] = clock.now_ms) -> None:
        self.counts = Tally()
        self._lines: deque[tuple[str, str, int]] = deque(maxlen=MAX_LINES)
        self._clock_ms = clock_ms
        self._since_ms = clock_ms()
        self._shown: dict[tuple[str, int], int] = {}
        self._written = 0
        self._closed = ""
        self.children = Children()

    def closed(self, told: str) -> None:
        """Say that with the next skipped order, once: nobody writes lines any more (a forked child)."""
        self._closed = told

    def skipped(self, what: str, reason: str, explain: str, epoch: int = 0) -> None:
        """Note one skipped order.

        Args:
            what: The order, as its caller says.
            reason: Stable word, for the count.
            explain: The sentence of its line.
            epoch: Of the newest directive that the guard knew.
        """
        if self._closed:
            told, self._closed = self._closed, ""
            self.children.asked()
            logger.error("%s", told)
        self.counts.add(reason)
        self._lines.append((what, explain, epoch))

    def flush(self, *, last: bool = False) -> None:
        """Write the newest lines, and once a minute how many more orders there were.

        Args:
            last: Say so now: nothing is written after this.
        """
        while self._lines:
            what, explain, epoch = self._lines.popleft()
            shown = self._shown.get((explain, epoch), 0)
            if shown < MAX_LINES and len(self._shown) <= MAX_LINES:
                self._shown[explain, epoch] = shown + 1
                self._written += 1
                logger.warning("[ORDER_SKIPPED] %s - %s", what, explain)
        now_ms = self._clock_ms()
        if not last and now_ms - self._since_ms < EVERY_MS:
            return
        self._since_ms, self._shown = now_ms, {}
        total = sum(self.counts.total().values())
        if total > self._written:
            more, self._written = total - self._written, total
            logger.warning("[ORDER_SKIPPED] %d more orders since the last of these lines", more)
