"""Freshness is observed, not claimed (S5): how long a worker may go on after what it has seen.

All instants in here are milliseconds on the caller's own steady clock, except those called `wall`.
Waiting is all that time does: no function here ever moves a deadline because time has passed.
"""

from __future__ import annotations

import msgspec


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
        return Progress(self.n, None, 0.0, self.fresh_from)


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
        return Progress(n, n, sent_at, None)
    if n < progress.n:
        return None
    if progress.shown_n is None or n == progress.shown_n:
        return Progress(n, n, sent_at, progress.fresh_from)
    anchor = progress.shown_at
    if progress.fresh_from is not None:
        anchor = max(anchor, progress.fresh_from)
    return Progress(n, n, sent_at, anchor)


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
    safe = 1.0 - rho
    return min(
        sent_at + safe * lease_ms,
        sent_at + safe * pttl_ms,
        fresh_from + safe * beat_ms,
        sent_at + (not_after_ms - wall_sent_ms),
    )
