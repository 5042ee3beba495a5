"""What a stop waits for, while it waits: one live line on a terminal, now and then a line elsewhere.

A stop that is silent for seconds looks as if it hung, and is run again or interrupted. So from its first
second on it says who has not answered and how long it will go on.
"""

from __future__ import annotations

import contextlib
import os
import sys

from golive_cli.output import Output, write
from golive_redis.core.barrier import Outcome
from golive_redis.core.timing import bound_in_words
from golive_redis.masking import printable
from golive_redis.stop.progress import Waiting

BEGINS_MS = 1_000.0
AGAIN_MS = 5_000.0
MOST_NAMED = 3
WIDTH = 80


class WaitingLine:
    """Tells it; a context manager, which takes the live line away again.

    Args:
        out: Where the command prints; this is progress and goes to stderr.
    """

    def __init__(self, out: Output) -> None:
        self._out = out
        self._live = (
            sys.stderr is not None
            and sys.stderr.isatty()
            and os.environ.get("TERM", "dumb") != "dumb"
        )
        self._drawn = ""
        self._told: tuple[str, float] | None = None

    def __enter__(self) -> WaitingLine:
        return self

    def __exit__(self, *_: object) -> None:
        self._draw("")

    def note(self, text: str) -> None:
        """Print a line of its own, above the live one."""
        drawn = self._drawn
        self._draw("")
        self._out.note(text)
        self._draw(drawn)

    def tell(self, waiting: Waiting) -> None:
        """Say what the stop waits for now."""
        if waiting.now - waiting.called_at < BEGINS_MS:
            return
        # How long first: on a narrow terminal the names are shortened.
        how_long = f"waiting for {bound_in_words(waiting.left_ms)} more{_over(waiting)}; "
        if self._live:
            self._draw(how_long + missing(waiting, _columns() - 1 - len(how_long)))
            return
        whom = missing(waiting)
        if self._due(whom, waiting.now):
            self._out.note(how_long + whom)

    def _due(self, whom: str, now: float) -> bool:
        if self._told is not None:
            before, at = self._told
            if now - at < (AGAIN_MS if whom == before else BEGINS_MS):
                return False
        self._told = whom, now
        return True

    def _draw(self, text: str) -> None:
        if not self._live or (not text and not self._drawn):
            return
        self._drawn = printable(text)
        # A stop is not ended by a terminal that cannot be written to.
        with contextlib.suppress(OSError):
            write(sys.stderr, f"\r{self._drawn[: max(1, _columns() - 1)]}\x1b[K")


def missing(waiting: Waiting, room: int | None = None) -> str:
    """Say what a stop waits for.

    Args:
        waiting: What it is.
        room: In characters. As many names are left out, those of workers first, as it takes to fit.
    """
    if not waiting.in_redis:
        return "Redis has not taken the stop yet; trying each second"
    outcome = waiting.outcome
    if all(row.answered for row in outcome.heartbeats) and not _silent(outcome):
        if outcome.off_by is not None and outcome.off_by > waiting.now:
            # Redis has failed over or was restarted: its roster may lack somebody.
            return "all that are known have answered"
        return "all have answered; waiting until Redis shows the stop"
    text = ""
    for heartbeats, workers in _SHORTER:
        text = printable(_unanswered(outcome, heartbeats, workers))
        if room is None or len(text) <= room:
            break
    return text


_SHORTER = (
    *((MOST_NAMED, workers) for workers in range(MOST_NAMED, -1, -1)),
    *((heartbeats, 0) for heartbeats in range(MOST_NAMED - 1, -1, -1)),
)


def _unanswered(outcome: Outcome, heartbeats: int, workers: int) -> str:
    """Say who has not answered, with at most so many names of each kind."""
    who = []
    if beats := [row.name for row in outcome.heartbeats if not row.answered]:
        plain = f"{len(beats)} heartbeat{'s' if len(beats) > 1 else ''}"
        who.append(f"heartbeat {_named(beats, heartbeats)}" if heartbeats else plain)
    if silent := _silent(outcome):
        names = f" ({_named(silent, workers)})" if workers else ""
        who.append(f"{len(silent)} of {len(outcome.workers)} workers{names}")
    return f"no answer yet from {', '.join(who)}"


def _over(waiting: Waiting) -> str:
    """Say when everybody is off whatever they answer, where that is known."""
    outcome = waiting.outcome
    known = (row.off_by for row in outcome.workers if row.off_by is not None)
    off_by = next(known, outcome.off_by)
    if off_by is None or off_by <= waiting.now:
        return ""
    return f"; every permission is over in {bound_in_words(off_by - waiting.now)}"


def _silent(outcome: Outcome) -> list[str]:
    """Return the worker id of each process that has not drained, and has not left either (A4)."""
    rows = [row for row in outcome.workers if row.drained_ms is None and row.goodbye_ms is None]
    return [row.pod.worker for row in rows if not row.attested_dead]


def _named(names: list[str], most: int) -> str:
    """Name some; an id once, however many processes share it."""
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _columns() -> int:
    with contextlib.suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or WIDTH
    return WIDTH
