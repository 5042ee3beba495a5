"""How a heartbeat is, as its probes and its watchdog judge it.

Two questions that must not be confused. Whether it *lives*: its loop turns, whatever Redis does; where
not, a restart helps. Whether it is *ready*: it beats, or would for the next activation; where not, a
restart hardly ever helps, and would cost a term that still runs.
"""

from __future__ import annotations

from golive_redis.core.pulse import NOTHING_ACTIVE
from golive_redis.core.timing import in_words
from golive_redis.records.receipt import Durable
from golive_redis.records.record import Strict

# Two turns may go by while Redis is slow to answer, which is no defect of the process.
MISSED_TURNS = 3


class Health(Strict, frozen=True, kw_only=True):
    """How one heartbeat is at one moment.

    Attributes:
        turn_age_ms: How long ago its loop began a turn.
        beat_every_ms: How often it should.
        term: For which it beats, or None.
        waiting_for: Why it does not beat, or what is wrong while it does; "" for nothing.
        lacks: Commands that its login may not give; "" for none.
        durable: Whether a stop would survive a restart.
        stopping: True once it was asked to stop.
    """

    turn_age_ms: float
    beat_every_ms: float
    term: int | None
    waiting_for: str
    lacks: str
    durable: Durable
    stopping: bool

    def turns(self, patience_ms: float = 0.0) -> bool:
        """Tell whether its loop has turned lately.

        Args:
            patience_ms: How long it may have been; three periods at the least.
        """
        return self.turn_age_ms <= max(patience_ms, MISSED_TURNS * self.beat_every_ms)

    def live(self) -> tuple[bool, str]:
        """Return whether it lives, and that in words; Redis has no part in it."""
        last = f"its last turn began {in_words(self.turn_age_ms)} ago"
        if self.turns():
            return True, f"live: {last}"
        return False, f"hung: {last}, one is due every {in_words(self.beat_every_ms)}"

    def ready(self) -> tuple[bool, str]:
        """Return whether it beats, or would for the next activation, and that in words.

        Fails closed: what it does not know yet is "not ready".
        """
        lives, how = self.live()
        problems = (
            "it is stopping" if self.stopping else "",
            "" if lives else how,
            "" if self._waits_well() else self.waiting_for or "it does not beat",
            "its state file cannot be written" if self.durable is Durable.FAILED else "",
            f"its login may not: {self.lacks}" if self.lacks else "",
        )
        if problem := next(filter(None, problems), ""):
            return False, f"not ready: {problem}"
        return True, f"ready: {f'beating for term {self.term}' if self.term else NOTHING_ACTIVE}"

    def _waits_well(self) -> bool:
        """Tell whether it beats, or has nothing to beat for."""
        return self.waiting_for == ("" if self.term else NOTHING_ACTIVE)
