"""Freshness is observed, not claimed (S5): how long a worker may go on after what it has seen.

All instants in here are milliseconds on the caller's own steady clock, except those called `wall`.
Waiting is all that time does: no function here ever moves a deadline because time has passed.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from golive_redis.core.knowledge import Knowledge
from golive_redis.core.state import State
from golive_redis.errors import RecordError
from golive_redis.records.beat import ISSUED_TOLERANCE_MS, Beat


class Progress(msgspec.Struct, frozen=True):
    """What one worker has seen of one heartbeat in one term (S5).

    Attributes:
        n: Highest count seen, over all connections.
        shown_n: Newest count that the current connection has shown; None right after a reconnect.
        shown_at: Instant at which the last request was sent whose answer showed `shown_n` or less.
        fresh_from: `p`: instant before which the newest advance cannot have been made; None until a
            beat was SEEN to advance.
    """

    n: int
    shown_n: int | None
    shown_at: float
    fresh_from: float | None

    def reconnected(self) -> Progress:
        """Return the progress on a new connection: `p` stays, the older/newer pair starts anew."""
        return Progress(self.n, None, 0.0, self.fresh_from)  # S5


def observe(progress: Progress | None, n: int, sent_at: float) -> Progress | None:
    """Return the progress after an answer that showed beat `n`.

    The first answer on a connection that shows beat n was executed after one that showed an older
    beat, so n is younger than that earlier request: that request's send instant is the anchor.

    Args:
        progress: What was known; None when this heartbeat was not seen in this term.
        n: Count of the verified beat.
        sent_at: Instant at which the request of this answer was sent.

    Returns:
        The new progress, or None when `n` is below the highest seen: such a beat is invalid (S6).
    """
    if progress is None:
        return Progress(n, n, sent_at, None)  # S5: not seen to advance
    if n < progress.n:
        return None  # S6
    if progress.shown_n is None or n == progress.shown_n:
        return Progress(n, n, sent_at, progress.fresh_from)
    anchor = progress.shown_at  # S5
    if progress.fresh_from is not None:
        anchor = max(anchor, progress.fresh_from)
    return Progress(n, n, sent_at, anchor)


class Observed:
    """What one worker has seen of all heartbeats of a term (S4, S5, S6).

    Args:
        known: Verifies beats.
    """

    def __init__(self, known: Knowledge) -> None:
        self._known = known
        self._progress: dict[str, Progress] = {}
        self._term = 0

    def enter(self, term: int) -> None:
        """Begin with a term. Only a new one forgets the counts: within one a lower n is a replay."""
        if term != self._term:
            self._progress, self._term = {}, term

    def forget(self) -> None:
        """Forget everything: the term was revoked."""
        self._progress = {}

    def unsee(self) -> None:
        """Beats have to be seen to advance anew, but their highest n stays known (S6)."""
        self._progress = {  # S6, S7
            name: Progress(seen.n, None, 0.0, None) for name, seen in self._progress.items()
        }

    def reconnected(self) -> None:
        """Begin the older/newer pairs anew: another connection may lead to another server (S5)."""
        self._progress = {name: seen.reconnected() for name, seen in self._progress.items()}

    @property
    def anchor(self) -> float | None:
        """`p`, the best over heartbeats; None until a beat was seen to advance (S5)."""
        anchors = [p.fresh_from for p in self._progress.values() if p.fresh_from is not None]
        return max(anchors, default=None)

    def take(
        self, beats: Mapping[str, bytes], stored: State, *, sent_at: float, wall_sent_ms: float
    ) -> tuple[str | None, list[str]]:
        """Observe the beats of an answer.

        Args:
            beats: Envelope by heartbeat.
            stored: The state in the same answer.
            sent_at: When its question was sent, on this host's steady clock.
            wall_sent_ms: The same instant, Unix ms.

        Returns:
            What the answer lacks of what the beats vouch for (S4), or None; and a sentence for each
            beat that is refused: such a beat is none.
        """
        refused: list[str] = []
        behind = None
        for name, raw in sorted(beats.items()):
            try:
                beat = self._known.beat(name, raw)
            except RecordError as error:
                refused.append(f"beat of {name!r} refused: {error}")
                continue
            if beat.term != stored.term:
                continue
            if abs(beat.issued_at_ms - wall_sent_ms) > ISSUED_TOLERANCE_MS:  # S6
                refused.append(f"beat of {name!r} is over 30 s off this host's clock")
                continue
            # Also by a heartbeat that the grant does not name: it may be on a newer grant that was lost.
            behind = _lacks(beat, stored) or behind
            if name not in stored.grant.record.heartbeats:  # A1
                refused.append(f"beat of {name!r} refused: the grant does not name this heartbeat")
                continue
            seen = observe(self._progress.get(name), beat.n, sent_at)
            if seen is None:
                refused.append(f"beat of {name!r} went back to n={beat.n}: a replay")
                continue
            self._progress[name] = seen
        return behind, refused


def _lacks(beat: Beat, stored: State) -> str | None:
    """Tell what a state lacks of what a beat vouches for, or None (S4)."""
    if beat.epoch > stored.epoch:  # S4
        return f"{beat.heartbeat} has verified epoch {beat.epoch}, the store shows {stored.epoch}"
    if beat.epoch < stored.grant.record.epoch:
        return None  # the grant came after it
    if beat.set != stored.up_to(beat.epoch).digest:  # S4
        return f"{beat.heartbeat} beats for another set of directives at epoch {beat.epoch}"
    return None


def deadline(
    *,
    sent_at: float,
    wall_sent_ms: float,
    fresh_from: float,
    pttl_ms: int,
    not_after_ms: int,
    lease_ms: int,
    beat_ms: int,
    rho: float,
) -> float:
    """Return the instant up to which an answer permits (S5), in ms on the caller's steady clock.

    Args:
        sent_at: When the request left, so that a slow network shortens the lease.
        wall_sent_ms: Unix ms at the same moment, for the window only.
        fresh_from: `p`, the best over heartbeats.
        pttl_ms: Remaining life of the key in the answer.
        not_after_ms: End of the grant's window, Unix ms.
        lease_ms: Longest permission after one answer.
        beat_ms: Longest permission after one beat.
        rho: Most by which this clock may run slow.

    Source: Gray & Cheriton, "Leases" (1989), section 2, for counting from the send instant.
    """
    safe = 1.0 - rho  # a clock that runs slow by rho still ends in time
    return min(  # S5
        sent_at + safe * lease_ms,
        sent_at + safe * pttl_ms,
        fresh_from + safe * beat_ms,
        sent_at + (not_after_ms - wall_sent_ms),  # S5
    )
