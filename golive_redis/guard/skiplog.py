"""Skipped orders: counted exactly, logged at a bounded rate, and never on the caller's thread."""

from __future__ import annotations

import logging
from collections import deque
from threading import get_ident

MAX_LINES_PER_FLUSH = 20

logger = logging.getLogger("golive_redis.guard")


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
        for (_, what), count in list(self._cells.items()):
            out[what] = out.get(what, 0) + count
        return out


class SkipLog:
    """Collects `[ORDER_SKIPPED]` lines; the attending thread writes them out.

    The order path appends to a bounded deque and returns: logging handlers take locks and do I/O.
    """

    def __init__(self) -> None:
        self.counts = Tally()
        self._lines: deque[tuple[str, str]] = deque(maxlen=MAX_LINES_PER_FLUSH)
        self._written = 0

    def skipped(self, what: str, reason: str, explain: str) -> None:
        """Note one skipped order."""
        self.counts.add(reason)
        self._lines.append((what, explain))

    def flush(self) -> None:
        """Write the newest lines, and how many more there were."""
        lines: list[tuple[str, str]] = []
        while self._lines and len(lines) < MAX_LINES_PER_FLUSH:
            lines.append(self._lines.popleft())
        for what, explain in lines:
            logger.warning("[ORDER_SKIPPED] %s - %s", what, explain)
        total = sum(self.counts.total().values())
        unlogged = total - self._written - len(lines)
        if lines and unlogged > 0:
            logger.warning("[ORDER_SKIPPED] %d more orders since the last of these lines", unlogged)
        if lines:
            self._written = total
