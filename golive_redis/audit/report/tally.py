"""Counting: entries in their order go in, facts come out; `reported` makes the figures of them.

An entry counts from when the server took it, and what takes away from when it was issued, where that is
earlier: it may have come late, from a spool. What is kept grows with directives and days, not with
entries.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import msgspec

from golive_redis.audit.opening import Opened
from golive_redis.audit.report.spans import Change, gone_term
from golive_redis.records.directive import Grant, GrantKind, Restriction, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.records.ledger import Entry, Note
from golive_redis.records.record import Record
from golive_redis.records.refusal import Refusal
from golive_redis.records.report import Outcome, Report

DAY_MS = 86_400_000
BEFORE_MS = 3_600_000  # of an incident: what was told in the hour before it
AFTER_MS = 86_400_000
MOST_TOLD = 5_000

Directive = Grant | Restriction | Revocation


class Stopped(msgspec.Struct, frozen=True):
    """A revocation or a restriction, and where it stands; `at_ms` is from when it counts."""

    index: int
    entered_ms: int
    at_ms: int
    late: bool
    opened: Opened
    record: Restriction | Revocation


class Confirmed(msgspec.Struct, frozen=True):
    """What a note says that a stop came to; `at_ms` by the clock of its signer."""

    at_ms: int
    result: str
    by: str


class Told(msgspec.Struct, frozen=True):
    """An entry as an incident tells it."""

    index: int
    at_ms: int
    opened: Opened


class Tally:
    """Takes every entry of a ledger, and keeps what a report asks of it.

    Args:
        from_ms: When the period begins, Unix ms; None begins at the first entry.
        to_ms: When it is over.
        incident: Epoch of the directive that is told minute by minute; None for none.
    """

    def __init__(self, from_ms: int | None, to_ms: int, incident: int | None = None) -> None:
        self.from_ms = from_ms
        self.to_ms = to_ms
        self.count = 0
        self.last_ms = 0
        self.days: Counter[tuple[int, str]] = Counter()
        self.changes: list[Change] = []
        self.stops: list[Stopped] = []
        self.confirmed: dict[str, list[Confirmed]] = {}
        self.people: dict[str, Counter[str]] = {}
        self.refused: Counter[tuple[str, str, str]] = Counter()
        self.checks: Counter[tuple[str, Outcome]] = Counter()
        self.triggers: list[tuple[int, int, Note]] = []
        self.receipts: dict[str, Note] = {}
        self.keysets: list[tuple[int, int]] = []
        self.told: deque[Told] = deque()
        self.left_out = 0
        self.incident: Stopped | None = None
        self._epoch = 0
        self._index = 0
        self._incident = incident

    def within(self, at_ms: int) -> bool:
        """Tell whether an instant is in the period."""
        return (self.from_ms or 0) <= at_ms < self.to_ms

    def take(self, index: int, entry: Entry, opened: Opened) -> None:
        """Count the next entry, which the judge has found good."""
        self._index, self.last_ms = index, entry.at_ms
        self.count += 1
        record, at_ms = opened.record, entry.at_ms
        self.from_ms = at_ms if self.from_ms is None else self.from_ms
        if isinstance(record, Grant | Restriction | Revocation):
            at_ms = self._directive(entry, opened, record)
        elif isinstance(record, Note):
            self._note(entry.at_ms, record)
        if not self.keysets or record.keyset_version > self.keysets[-1][1]:
            self.keysets.append((at_ms, record.keyset_version))
        if self._incident is not None:
            self._tell(Told(index, at_ms, opened))
        if self.within(at_ms):
            self._count(at_ms, opened)

    # -- what is counted -----------------------------------------------------------------------------

    def _count(self, at_ms: int, opened: Opened) -> None:
        record, day = opened.record, at_ms // DAY_MS
        self.days[day, "entries"] += 1
        for name in opened.signers:
            self.people.setdefault(name, Counter())[act(record)] += 1
        match record:
            case Grant(kind=GrantKind.ACTIVATE):
                self.days[day, "activations"] += 1
            case Revocation():
                self.days[day, "stops"] += 1
            case Restriction():
                self.days[day, "restrictions"] += 1
            case Refusal():
                self.days[day, "refusals"] += 1
                self.refused[record.why, record.attempt, record.check or ""] += 1
            case Report():
                self.days[day, "preflights"] += 1
                self.days[day, "preflights_failed"] += not record.passed
                for item in record.findings:
                    self.checks[item.check, item.outcome] += 1
            case Note(topic="trigger"):
                self.days[day, "triggers"] += 1
                self.triggers.append((self._index, at_ms, record))
            case _:
                pass

    # -- what is kept ----------------------------------------------------------------------------------

    def _directive(self, entry: Entry, opened: Opened, record: Directive) -> int:
        """Keep a directive; return from when it counts."""
        late = record.epoch <= self._epoch
        self._epoch = max(self._epoch, record.epoch)
        item: Verified[Any] = Verified(
            record, opened.identity, entry.envelope, frozenset(opened.signers)
        )
        if isinstance(record, Grant):
            self.changes.append(Change(entry.at_ms, self._index, item))
            return entry.at_ms
        at_ms = min(entry.at_ms, called_ms(record, entry.at_ms))
        why = f"{record.KIND} {record.epoch} by {', '.join(opened.signers) or record.by}"
        self.changes.append(Change(at_ms, self._index, item, why=why))
        stopped = Stopped(self._index, entry.at_ms, at_ms, late, opened, record)
        self.stops.append(stopped)
        if self.within(at_ms):
            self.days[at_ms // DAY_MS, "late"] += late
        if record.epoch == self._incident:
            self.incident = stopped
        return at_ms

    def _note(self, at_ms: int, note: Note) -> None:
        facts = note.facts
        if note.topic == "stop-confirmed":
            said = Confirmed(note.issued_at_ms, facts.get("result", ""), facts.get("by", ""))
            self.confirmed.setdefault(facts.get("directive", ""), []).append(said)
        elif note.topic == "receipts":
            self.receipts.setdefault(facts.get("directive", ""), note)
        elif note.topic in {"out-of-band", "window"} and (term := gone_term(note.text)):
            why = f"{note.by} says: {note.text}"
            self.changes.append(Change(at_ms, self._index, None, term, why))

    def _tell(self, told: Told) -> None:
        """Keep the hour before the incident, and the day after it."""
        if self.incident is None:
            while self.told and self.told[0].at_ms < told.at_ms - BEFORE_MS:
                self.told.popleft()
        elif told.at_ms > self.incident.at_ms + AFTER_MS:
            return
        if len(self.told) < MOST_TOLD:
            self.told.append(told)
        elif self.incident is None:
            self.told.popleft()
            self.told.append(told)
        else:
            self.left_out += 1


def called_ms(record: Restriction | Revocation, entered_ms: int) -> int:
    """Return when somebody stopped: at the issue, or for a stop card, signed long before, its entry."""
    is_card = isinstance(record, Revocation) and record.is_card
    return entered_ms if is_card else record.issued_at_ms


def act(record: Record) -> str:
    """Return what somebody did: a directive by its kind, a note by its topic, else what it is."""
    if isinstance(record, Note):
        return f"note {record.topic}"
    return str(getattr(record, "kind", record.KIND))
