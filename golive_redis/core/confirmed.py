"""What a revoker has signed that a stop came to: the note beside its tombstone."""

from __future__ import annotations

from golive_redis.core.barrier import Result
from golive_redis.errors import RecordError
from golive_redis.records.keyset import Role
from golive_redis.records.trust import Trust


def confirmed_as(trust: Trust, note: bytes | None, directive: str) -> Result | None:
    """Return what a revoker has signed that the stop by this revocation came to; None for nothing.

    Args:
        trust: Verifies the note.
        note: What stands beside the tombstone, or None.
        directive: Identity of the revocation.

    Fails closed: a note of another stop, or with a result that is none, confirms nothing.
    """
    if note is None:
        return None
    try:
        record = trust.note(note, Role.REVOKER).record
    except RecordError:
        return None
    if record.topic != "stop-confirmed" or record.facts.get("directive") != directive:
        return None
    said = record.facts.get("result")
    return next((r for r in (Result.COMPLETE, Result.STOPPED) if r == said), None)
