"""When a directive was answered: from the receipts at hand, or the note that heartbeats made of them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from golive_redis.records.directive import Restriction, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.records.ledger import Note
from golive_redis.records.receipt import Receipt, Stage


class Times(msgspec.Struct, frozen=True):
    """Durations since somebody stopped, in ms, by the clocks of those who answered.

    Attributes:
        source: `ledger`, `receipts`, or "" where nobody says.
        answers: How many processes have closed, or applied a restriction; None where nobody says.
        first_ms: Until the first receipt: of a stop, the first latch.
        last_ms: Until the last receipt: of a stop, the last that drained.
    """

    source: str = ""
    answers: int | None = None
    first_ms: int | None = None
    last_ms: int | None = None


def answer_times(
    receipts: Sequence[Verified[Receipt]],
    note: Note | None,
    record: Restriction | Revocation,
    since_ms: int,
) -> Times:
    """Return how long it took until a directive was answered.

    Args:
        receipts: Verified ones, for this directive.
        note: On them, or None.
        record: The directive.
        since_ms: When somebody stopped, Unix ms.

    The note is in the ledger, and so it is believed before the receipts, which are beside it.
    """
    stage = Stage.APPLIED if isinstance(record, Restriction) else Stage.LATCHED
    from_note = _noted(note, stage, since_ms) if note is not None else None
    if from_note is not None:
        return from_note
    if not receipts:
        return Times()
    at = [item.record.at_ms - since_ms for item in receipts]
    closed = {item.record.instance for item in receipts if item.record.stage is stage}
    return Times("receipts", len(closed), min(at), max(at))


def _noted(note: Note, stage: Stage, since_ms: int) -> Times | None:
    """Read a note on receipts; None where it has not these facts, e.g. because nobody has answered."""
    facts = note.facts
    try:
        first_ms, last_ms = int(facts["first_ms"]), int(facts["last_ms"])
        answers = int(facts.get(str(stage), "0"))
    except (KeyError, ValueError):
        return None
    return Times("ledger", answers, first_ms - since_ms, last_ms - since_ms)
