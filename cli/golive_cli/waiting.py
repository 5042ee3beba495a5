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
        whom = missing(waiting)
        text = f"{whom}{_over(waiting)}; waiting for {bound_in_words(waiting.left_ms)} more"
        if self._live:
            self._draw(text)
        elif self._due(whom, waiting.now):
            self._out.note(text)

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
        width = WIDTH
        with contextlib.suppress(OSError, ValueError):
            width = os.get_terminal_size(sys.stderr.fileno()).columns
        # A stop is not ended by a terminal that cannot be written to.
        with contextlib.suppress(OSError):
            write(sys.stderr, f"\r{self._drawn[: max(1, width - 1)]}\x1b[K")


def missing(waiting: Waiting) -> str:
    """Say what a stop waits for."""
    if not waiting.in_redis:
        return "Redis has not taken the stop yet; trying each second"
    outcome = waiting.outcome
    who = [f"heartbeat {row.name}" for row in outcome.heartbeats if not row.answered]
    silent = _silent(outcome)
    if silent:
        who.append(f"{len(silent)} of {len(outcome.workers)} workers ({_named(silent)})")
    if not who and outcome.off_by is not None and outcome.off_by > waiting.now:
        # Redis has failed over or was restarted: its roster may lack somebody.
        return "all that are known have answered"
    if not who:
        return "all have answered; waiting until Redis shows the stop"
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
    rows = [row for row in outcome.workers if row.drained_ms is None and not row.attested_dead]
    return [row.pod.worker for row in rows]


def _named(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
