"""When a directive was answered: from the receipts at hand, or the note that heartbeats made of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from golive_redis.records.directive import Restriction, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.records.ledger import Note
from golive_redis.records.receipt import Receipt, Stage


class Times(msgspec.Struct, frozen=True):
    """Durations from the issue of a directive, in ms, by the clocks of those who answered.

    Attributes:
        source: `ledger`, `receipts`, or "" where nobody says.
        answers: How many processes have latched or applied it; None where nobody says.
        first_ms: Until the first has.
        slowest_ms: Until the last has.
    """

    source: str = ""
    answers: int | None = None
    first_ms: int | None = None
    slowest_ms: int | None = None


def answer_times(
    receipts: Sequence[Verified[Receipt]], note: Note | None, record: Restriction | Revocation
) -> Times:
    """Return how long it took until a directive was answered.

    The note is in the ledger, and so it is believed before the receipts, which are beside it.
    """
    from_note = _noted(note, record.issued_at_ms) if note is not None else None
    if from_note is not None:
        return from_note
    stage = Stage.APPLIED if isinstance(record, Restriction) else Stage.LATCHED
    at = sorted(_first_of_each(item.record for item in receipts if item.record.stage is stage))
    if not at:
        return Times()
    issued_ms = record.issued_at_ms
    return Times("receipts", len(at), at[0] - issued_ms, at[-1] - issued_ms)


def _first_of_each(receipts: Iterable[Receipt]) -> list[int]:
    """Return when each process answered first: one answers again when a stop is repeated."""
    first: dict[str, int] = {}
    for item in receipts:
        first[item.instance] = min(item.at_ms, first.get(item.instance, item.at_ms))
    return list(first.values())


def _noted(note: Note, issued_ms: int) -> Times | None:
    """Read a note on receipts; None where it has not these facts, of another version perhaps."""
    try:
        facts = note.facts
        first_ms, last_ms = int(facts["first_ms"]), int(facts["last_ms"])
        return Times("ledger", int(facts["answers"]), first_ms - issued_ms, last_ms - issued_ms)
    except (KeyError, ValueError):
        return None
