"""An entry in words for people: what, by whom, why. One line each, whatever the record holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from golive_redis.audit.opening import Opened
from golive_redis.records.approval import Answer, Execution, short_id
from golive_redis.records.directive import (
    Grant,
    GrantKind,
    Label,
    Restriction,
    RestrictionKind,
    Revocation,
)
from golive_redis.records.ledger import Note
from golive_redis.records.refusal import Refusal
from golive_redis.records.report import Outcome, Report
from golive_redis.records.rotation import Rotation


class Line(msgspec.Struct, frozen=True):
    """What an entry says, for a table.

    Attributes:
        what: Happened.
        by: Who signed it.
        why: In their words.
    """

    what: str
    by: str
    why: str


def line(found: Opened) -> Line:
    """Return an entry in words. Whether its signatures were checked says `found.judged`."""
    record = found.record
    match record:
        case Grant():
            what, why = _grant(record), _reason(record.reason, record.ticket)
        case Restriction():
            what, why = _restriction(record), _reason(record.reason, record.ticket)
        case Revocation():
            what = f"revoke: every term up to {record.epoch}"
            if isinstance(record.until_ms, int):
                what = f"stop card: terms up to {record.epoch} begun before {utc(record.until_ms)[:16]}"
            why = _reason(record.reason, record.ticket)
        case Report():
            what, why = _report(record)
        case Note():
            what, why = record.topic, record.text
        case Answer():
            what, why = f"{record.answer}: proposal {short_id(record.proposal)}", record.reason
        case Execution():
            what, why = f"execute: proposal {short_id(record.directive)}", ""
        case Rotation():
            what, why = f"keyset {record.number} follows keyset {record.keyset_version}", ""
        case Refusal():
            what = f"refused: {record.attempt}"
            why = record.text
        case _:
            what, why = record.KIND, ""
    return Line(what, ", ".join(found.signers) or f"{record.by} (not verified)", why)


def name(found: Opened) -> str:
    """Name an entry within a sentence: kind, number, who, and when it was signed."""
    record = found.record
    epoch = getattr(record, "epoch", None)
    kind = getattr(record, "kind", record.KIND)
    number = f" {epoch}" if epoch is not None else ""
    return f"{kind}{number} by {record.by}, {utc(record.issued_at_ms)}"


def utc(unix_ms: int) -> str:
    """Return an instant in UTC, to the ms: `2026-11-26 13:38:01.550`."""
    at = _day(unix_ms, "%Y-%m-%d %H:%M:%S.")
    return at + f"{unix_ms % 1000:03d}" if at else f"{unix_ms} ms"


def _day(unix_ms: int, form: str) -> str:
    """Return an instant in that form; "" for one after the year 9999, which anybody may write."""
    try:
        return datetime.fromtimestamp(unix_ms // 1000, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return ""


def _grant(record: Grant) -> str:
    until = _day(record.not_after_ms, "%Y-%m-%d %H:%M") or f"{record.not_after_ms} ms"
    lets_go = _let_go(record)
    if record.kind in {GrantKind.RESUME, GrantKind.RESTORE}:
        return f"{record.kind}: term {record.term}{lets_go}"
    return f"{record.kind}: term {record.term}, {record.profile}, until {until}{lets_go}"


def _let_go(record: Grant) -> str:
    """Say what a grant lets go: all of its term so far, for it repeats what those before it named."""
    in_term = record.drops_up_to > record.term  # before it there is nothing of this term
    more = f"others up to {record.drops_up_to}" if in_term else ""
    named = str(len(record.drops)) if record.drops else ""
    said = " and ".join(part for part in (named, more) if part)
    return f", lifted so far: {said}" if said else ""


def _restriction(record: Restriction) -> str:
    if record.kind is RestrictionKind.DEMOTE:
        return f"demote: to {record.profile}"
    return f"{record.kind}: {_labels(record.labels)}"


def _labels(labels: Mapping[Label, str]) -> str:
    return " ".join(f"{label}={value}" for label, value in labels.items()) or "all orders"


def _report(record: Report) -> tuple[str, str]:
    bad = [item.check for item in record.findings if item.outcome is not Outcome.PASS]
    good = len(record.findings) - len(bad)
    return f"preflight: {good} of {len(record.findings)} passed", ", ".join(bad)


def _reason(reason: str, ticket: str) -> str:
    return f"{reason} ({ticket})" if ticket else reason
