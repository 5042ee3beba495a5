"""One stop, minute by minute, and what the ledger proves of the instants that DORA counts from.

Regulation (EU) 2022/2554 (DORA), Art. 19, with Delegated Regulation (EU) 2025/301, Art. 5. The ledger
knows when people acted. It does not know when the firm classified an incident as major, nor when it
reported.
"""

from __future__ import annotations

from collections.abc import Sequence

from golive_redis.audit import words
from golive_redis.audit.report.figures import ReportDeadline, ReportIncident, ReportMoment
from golive_redis.audit.report.tally import AFTER_MS, BEFORE_MS, Stopped, Tally, Told, called_ms
from golive_redis.records.directive import Grant, GrantKind, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.records.ledger import Note
from golive_redis.records.receipt import Receipt, Stage

HOUR_MS = 3_600_000
MOST_RECEIPTS = 500
_STAGES = {
    Stage.LATCHED: "latched: closed",
    Stage.APPLIED: "applied: restricted",
    Stage.DRAINED: "drained",
    Stage.LEFT: "left",
}
_EARLY = frozenset({"trigger", "early-warning", "local-kill", "lapse"})


def incident(tally: Tally, stop: Stopped, receipts: Sequence[Verified[Receipt]]) -> ReportIncident:
    """Return what was told from an hour before a stop to the next start, or for a day."""
    issued_ms = called_ms(stop.record, stop.entered_ms)
    since_ms, until_ms = stop.at_ms - BEFORE_MS, _until(tally, stop)
    told = [item for item in tally.told if since_ms <= item.at_ms <= until_ms]
    moments = [_entry(item, issued_ms) for item in told]
    answers = sorted(receipts, key=lambda item: item.record.at_ms)
    shown = [item for item in answers if item.record.at_ms <= until_ms][:MOST_RECEIPTS]
    moments += [_receipt(item, issued_ms) for item in shown]
    return ReportIncident(
        epoch=stop.record.epoch,
        what=words.name(stop.opened),
        issued_ms=issued_ms,
        since_ms=since_ms,
        until_ms=until_ms,
        left_out=tally.left_out + len(answers) - len(shown),
        moments=sorted(moments, key=lambda item: (item.at_ms, item.entry or 0)),
        deadlines=_deadlines(stop, told),
    )


def _until(tally: Tally, stop: Stopped) -> int:
    """Return when the incident is told to its end: the next activation, or a day later."""
    starts = [
        item.at_ms
        for item in tally.told
        if item.index > stop.index
        and isinstance(item.opened.record, Grant)
        and item.opened.record.kind is GrantKind.ACTIVATE
    ]
    return min([*starts, stop.at_ms + AFTER_MS])


def _entry(told: Told, issued_ms: int) -> ReportMoment:
    line = words.line(told.opened)
    return ReportMoment(
        told.at_ms, told.at_ms - issued_ms, told.index, line.what, line.by, line.why
    )


def _receipt(item: Verified[Receipt], issued_ms: int) -> ReportMoment:
    record = item.record
    pod = record.worker or record.heartbeat or record.by
    left = f", {record.left} orders left" if record.left else ""
    flight = f", {record.in_flight} orders in flight" if record.in_flight else ""
    return ReportMoment(
        record.at_ms,
        record.at_ms - issued_ms,
        None,
        f"receipt of {pod}: {_STAGES[record.stage]}{left or flight}",
        ", ".join(sorted(item.signers)),
        "",
    )


def _deadlines(stop: Stopped, told: Sequence[Told]) -> list[ReportDeadline]:
    issued_ms = called_ms(stop.record, stop.entered_ms)
    by = ", ".join(stop.opened.signers)
    first = next((item for item in told if _is_early(item)), None)
    earlier = ""
    if first is not None and first.at_ms < issued_ms:
        line = words.line(first.opened)
        earlier = (
            f" The first sign of it in the hour before is entry {first.index} at "
            f"{words.utc(first.at_ms)} UTC ({line.what} by {line.by}): whether a person saw it then, "
            "the ledger does not say."
        )
    how = f"{by} signed the stop, by their clock"
    if isinstance(stop.record, Revocation) and stop.record.is_card:
        how = f"a stop card of {by} was played, by the clock of Redis"
    return [
        ReportDeadline(
            "initial notification",
            "24 h",
            "the moment at which the firm became aware of the incident",
            f"It was aware at the latest at {words.utc(issued_ms)} UTC, when {how}.{earlier}",
            issued_ms + 24 * HOUR_MS,
        ),
        ReportDeadline(
            "initial notification",
            "4 h",
            "the classification of the incident as major",
            "Nothing: the classification is the firm's and is not in the ledger. At the shown time, if "
            "it was classified when the stop was signed.",
            issued_ms + 4 * HOUR_MS,
        ),
        ReportDeadline(
            "intermediate report",
            "72 h",
            "the submission of the initial notification",
            "Nothing: what the firm submits is not in the ledger.",
            None,
        ),
        ReportDeadline(
            "final report",
            "1 month",
            "the submission of the latest intermediate report",
            "Nothing: what the firm submits is not in the ledger.",
            None,
        ),
    ]


def _is_early(told: Told) -> bool:
    record = told.opened.record
    return isinstance(record, Note) and record.topic in _EARLY
