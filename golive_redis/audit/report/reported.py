"""Facts become figures: `report.json`, of which the page is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from golive_redis.audit.opening import Keysets
from golive_redis.audit.report.figures import (
    FORMAT,
    AuditReport,
    ReportCheck,
    ReportDay,
    ReportKeyset,
    ReportPerson,
    ReportPrincipal,
    ReportRefused,
    ReportStop,
    ReportTerm,
    ReportTotals,
    ReportTriggered,
    ReportVerdict,
)
from golive_redis.audit.report.incident import incident
from golive_redis.audit.report.regulation import rules
from golive_redis.audit.report.spans import Term, terms
from golive_redis.audit.report.tally import DAY_MS, Stopped, Tally, called_ms
from golive_redis.audit.report.times import answer_times
from golive_redis.audit.verifying import Verdict
from golive_redis.core.barrier import Result
from golive_redis.records.directive import Mode, Restriction, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.records.keyset import Keyset
from golive_redis.records.receipt import Receipt
from golive_redis.records.report import Outcome
from golive_redis.version import VERSION

_COUNTED = (
    "activations",
    "stops",
    "restrictions",
    "refusals",
    "preflights_failed",
    "triggers",
)


class Made(msgspec.Struct, frozen=True):
    """What a report is about.

    Attributes:
        at_ms: When it is made, Unix ms.
        fleet: Of the keysets.
        source: Where the ledger was read.
    """

    at_ms: int
    fleet: str
    source: str


def word(verdict: Verdict) -> str:
    """Return the verdict in a word, as `golive audit verify` prints it."""
    if verdict.broken is not None:
        return "NOT VERIFIED"
    return "VERIFIED" if verdict.verified else "CONSISTENT"


def reported(
    tally: Tally,
    verdict: Verdict,
    keysets: Keysets,
    made: Made,
    receipts: Mapping[str, Sequence[Verified[Receipt]]],
) -> AuditReport:
    """Return the figures of a ledger.

    Args:
        tally: After its last entry.
        verdict: On it.
        keysets: Those at hand.
        made: What the report is about.
        receipts: Verified ones, by the directive that they answer.
    """
    from_ms = tally.from_ms if tally.from_ms is not None else tally.to_ms
    end_ms = min(tally.to_ms, made.at_ms)
    if verdict.broken is not None:  # of what came after its last good entry nothing is known
        end_ms = min(end_ms, tally.last_ms + 1)
    end_ms = max(from_ms, end_ms)
    found = terms(tally.changes, end_ms)
    days = _days(tally, found, from_ms, end_ms)
    ended = {item.ended_at: item.grant.record.term for item in found}
    stops = [
        _stop(item, tally, ended, receipts) for item in tally.stops if tally.within(item.at_ms)
    ]
    revocations = [item for item in stops if item.kind == Revocation.KIND]
    totals = _totals(tally, days)
    told = tally.incident
    return AuditReport(
        format=FORMAT,
        version=VERSION,
        made_at_ms=made.at_ms,
        environment=keysets.environment,
        namespace=keysets.namespace,
        fleet=made.fleet,
        source=made.source,
        from_ms=from_ms,
        to_ms=tally.to_ms,
        verdict=_verdict(verdict, tally),
        totals=totals,
        days=days,
        terms=[_term(item) for item in found if _overlaps(item, from_ms, end_ms)],
        stops=revocations,
        restrictions=[item for item in stops if item.kind != Revocation.KIND],
        people=[
            ReportPerson(name, dict(sorted(n.items()))) for name, n in sorted(tally.people.items())
        ],
        refusals=_refusals(tally),
        checks=_checks(tally),
        triggers=[
            ReportTriggered(index, at_ms, note.by, note.text)
            for index, at_ms, note in tally.triggers
        ],
        keysets=_keysets(tally, keysets, from_ms, end_ms),
        rules=rules(totals, revocations, keysets, made.at_ms),
        incident=None
        if told is None
        else incident(tally, told, receipts.get(told.opened.identity, ())),
    )


def _verdict(verdict: Verdict, tally: Tally) -> ReportVerdict:
    broken = verdict.broken
    return ReportVerdict(
        result=word(verdict),
        entries=verdict.entries,
        good=verdict.good,
        counted=tally.count,
        anchored=verdict.anchored,
        remembered_by=verdict.by,
        head=verdict.head,
        broken=None if broken is None else broken.index,
        rule="" if broken is None else broken.rule,
        why="" if broken is None else broken.why,
    )


# -- days --------------------------------------------------------------------------------------------


def _days(tally: Tally, found: Sequence[Term], from_ms: int, end_ms: int) -> list[ReportDay]:
    if end_ms <= from_ms:
        return []
    first, last = from_ms // DAY_MS, (end_ms - 1) // DAY_MS
    lived: Counter[tuple[int, Mode]] = Counter()
    for item in found:
        for span in item.spans:
            begin, end = max(span.begin_ms, from_ms), min(span.end_ms, end_ms)
            while begin < end:
                cut = min(end, (begin // DAY_MS + 1) * DAY_MS)
                lived[begin // DAY_MS, span.mode] += cut - begin
                begin = cut
    out, version, changes = [], None, list(tally.keysets)
    for day in range(first, last + 1):
        while changes and changes[0][0] < (day + 1) * DAY_MS:
            version = changes.pop(0)[1]
        by_mode = [lived[day, mode] for mode in Mode]
        counts = {name: tally.days[day, name] for name in _COUNTED}
        out.append(
            ReportDay(
                day=day_name(day),
                live_ms=sum(by_mode),
                reduced_ms=lived[day, Mode.REDUCE_ONLY],
                halted_ms=lived[day, Mode.HALTED],
                keyset=version,
                **counts,
            )
        )
    return out


def day_name(day: int) -> str:
    """Return a day since 1970 as ISO 8601 writes it."""
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")


def _totals(tally: Tally, days: Sequence[ReportDay]) -> ReportTotals:
    def of(name: str) -> int:
        return sum(count for (_, what), count in tally.days.items() if what == name)

    return ReportTotals(
        entries=of("entries"),
        late=of("late"),
        live_ms=sum(item.live_ms for item in days),
        reduced_ms=sum(item.reduced_ms for item in days),
        halted_ms=sum(item.halted_ms for item in days),
        preflights=of("preflights"),
        **{name: of(name) for name in _COUNTED},
    )


# -- terms and stops -----------------------------------------------------------------------------------


def _overlaps(term: Term, from_ms: int, end_ms: int) -> bool:
    return term.began_ms < end_ms and (term.ended_ms is None or term.ended_ms > from_ms)


def _term(item: Term) -> ReportTerm:
    record = item.grant.record
    return ReportTerm(
        term=record.term,
        entry=item.index,
        began_ms=item.began_ms,
        ended_ms=item.ended_ms,
        ended_by=item.ended_by,
        signers=sorted(item.grant.signers),
        profile=record.profile,
        reason=record.reason,
        ticket=record.ticket,
    )


def _stop(
    item: Stopped,
    tally: Tally,
    ended: Mapping[int | None, int],
    receipts: Mapping[str, Sequence[Verified[Receipt]]],
) -> ReportStop:
    record, identity = item.record, item.opened.identity
    since_ms = called_ms(record, item.entered_ms)
    note = tally.receipts.get(identity)
    times = answer_times(receipts.get(identity, ()), note, record, since_ms)
    said = tally.confirmed.get(identity, [])
    complete = next((one for one in said if one.result == Result.COMPLETE), None)
    last = complete or (said[-1] if said else None)
    return ReportStop(
        epoch=record.epoch,
        entry=item.index,
        identity=identity,
        kind=record.kind if isinstance(record, Restriction) else record.KIND,
        labels={str(k): v for k, v in record.labels.items()}
        if isinstance(record, Restriction)
        else {},
        issued_ms=record.issued_at_ms,
        entered_ms=item.entered_ms,
        card=isinstance(record, Revocation) and record.is_card,
        late=item.late,
        term=record.term if isinstance(record, Restriction) else ended.get(item.index),
        signers=list(item.opened.signers),
        reason=record.reason,
        ticket=record.ticket,
        times_from=times.source,
        answers=times.answers,
        first_ms=times.first_ms,
        last_ms=times.last_ms,
        result=last.result if last else "",
        confirmed_by=last.by if last else "",
        confirmed_ms=complete.at_ms - since_ms if complete else None,
    )


# -- what else -----------------------------------------------------------------------------------------


def _refusals(tally: Tally) -> list[ReportRefused]:
    reasons: dict[str, tuple[Counter[str], Counter[str]]] = {}
    for (why, attempt, check), count in tally.refused.items():
        attempts, checks = reasons.setdefault(why, (Counter(), Counter()))
        attempts[attempt] += count
        if check:
            checks[check] += count
    found = [
        ReportRefused(
            why,
            sum(attempts.values()),
            dict(sorted(attempts.items())),
            dict(sorted(checks.items())),
        )
        for why, (attempts, checks) in reasons.items()
    ]
    return sorted(found, key=lambda item: (-item.count, item.why))


def _checks(tally: Tally) -> list[ReportCheck]:
    names = sorted({name for name, _ in tally.checks})
    found = [
        ReportCheck(
            name,
            passed=tally.checks[name, Outcome.PASS],
            failed=tally.checks[name, Outcome.FAIL],
            unknown=tally.checks[name, Outcome.UNKNOWN],
        )
        for name in names
    ]
    return sorted(found, key=lambda item: (-item.failed - item.unknown, item.check))


def _keysets(tally: Tally, keysets: Keysets, from_ms: int, end_ms: int) -> list[ReportKeyset]:
    out = []
    for at, (since_ms, version) in enumerate(tally.keysets):
        until_ms = tally.keysets[at + 1][0] if at + 1 < len(tally.keysets) else end_ms
        begin, end = max(since_ms, from_ms), min(until_ms, end_ms)
        if begin >= end:
            continue
        keyset = keysets.by_version.get(version)
        needed = {} if keyset is None else {str(k): n for k, n in keyset.thresholds.items()}
        out.append(
            ReportKeyset(
                version=version,
                first_day=day_name(begin // DAY_MS),
                last_day=day_name((end - 1) // DAY_MS),
                thresholds=needed,
                principals=None if keyset is None else _principals(keyset),
            )
        )
    return out


def _principals(keyset: Keyset) -> list[ReportPrincipal]:
    by_name: dict[str, list[str]] = {}
    for keyid, key in keyset.keys.items():
        by_name.setdefault(key.principal, []).append(keyid)
    out = []
    for name, keyids in sorted(by_name.items()):
        keys = [keyset.keys[keyid] for keyid in keyids]
        out.append(
            ReportPrincipal(
                name=name,
                roles=sorted({str(role) for key in keys for role in key.roles}),
                authority=next((str(key.authority) for key in keys if key.authority), None),
                shared=any(key.shared for key in keys),
                keys=len(keys),
                expires=min((key.expires for key in keys if key.expires), default=None),
            )
        )
    return out
