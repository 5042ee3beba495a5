"""What a heartbeat remembers over a restart."""

from __future__ import annotations

from golive_redis.core.answer import Latch
from golive_redis.records.record import Epoch, Strict, decodable


@decodable
class HeartbeatState(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a heartbeat remembers.

    Attributes:
        latch: No term it covers gets another beat.
        term: Term for which it may go on beating after a restart (S13), or None.
        revocation: The revocation it re-asserts where a store has lost it.
        grant: The newest of `term` that it has verified, or None: it beats on none that is older.
        restrictions: Those in force beside it, which it re-asserts likewise.
        beat_on: Run ids of the servers on which it may have beaten for `term`; None when unknown.
    """

    latch: Latch = Latch()
    term: Epoch | None = None
    revocation: str | None = None
    grant: str | None = None
    restrictions: list[str] = []
    beat_on: list[str] | None = None
