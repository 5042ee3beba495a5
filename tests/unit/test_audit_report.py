"""The figures of a report are what the ledger says, counted a second time from its bytes alone."""

from __future__ import annotations

import base64
import json
from collections import Counter, defaultdict
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from golive_redis.audit.opening import Keysets
from golive_redis.audit.report.figures import AuditReport
from golive_redis.audit.report.reported import Made, reported
from golive_redis.audit.report.tally import Tally
from golive_redis.audit.verifying import Anchor, Judge, judged
from golive_redis.records.envelope import Verified
from golive_redis.records.ledger import Entry
from golive_redis.records.receipt import Receipt
from golive_redis.testing import Signers
from golive_redis.testing.signers import identity
from kit.ledgers import Book, chained
from kit.years import BEGIN_MS, CREW, DAY_MS, HOUR_MS, busy_days, confirmed, preflight, refusal

SIGNERS = Signers(CREW, environment="production")
KEYSETS = Keysets.of([SIGNERS.keyset], "golive", "production")
SECOND_MS = 1_000
DAYS = 45
END_MS = BEGIN_MS + DAYS * DAY_MS


def report(
    book: Book | list[Entry],
    *,
    from_ms: int | None = BEGIN_MS,
    to_ms: int = END_MS,
    made_ms: int = END_MS,
    incident: int | None = None,
    keysets: Keysets = KEYSETS,
    receipts: dict[str, list[Verified[Receipt]]] | None = None,
    anchors: tuple[Anchor, ...] = (),
) -> AuditReport:
    entries = book if isinstance(book, list) else book.entries
    tally = Tally(from_ms, to_ms, incident)
    judge = Judge(keysets, taken=tally.take, anchors=anchors)
    verdict = judged(judge, [entries[:7], entries[7:]], keysets)
    made = Made(made_ms, SIGNERS.keyset.fleet, "Redis")
    return reported(tally, verdict, keysets, made, receipts or {})


@cache
def busy() -> Book:
    return busy_days(DAYS)


# -- the second count, by nothing of golive's -------------------------------------------------------


def opened(book: Book) -> list[tuple[int, str, dict[str, Any]]]:
    """When each entry counts, its kind and its payload."""
    out = []
    for entry in book.entries:
        envelope = json.loads(entry.envelope)
        kind = envelope["payloadType"].split(".")[2]
        payload = json.loads(base64.b64decode(envelope["payload"]))
        at_ms = int(entry.id.split("-")[0])
        if kind in {"restriction", "revocation"}:
            at_ms = min(at_ms, payload["issued_at_ms"])
        out.append((at_ms, kind, payload))
    return out


def lived(book: Book, end_ms: int) -> dict[tuple[str, str], int]:
    """Hours in force by day and mode: the state second by second of each term, from the payloads."""
    found: dict[tuple[str, str], int] = defaultdict(int)
    entries = opened(book)
    starts = [
        n for n, (_, kind, p) in enumerate(entries) if kind == "grant" and p["term"] == p["epoch"]
    ]
    for at, first in enumerate(starts):
        stop = starts[at + 1] if at + 1 < len(starts) else len(entries)
        marks = [(entries[first][0], "live")]
        over_ms, held = entries[first][2]["not_after_ms"], {}
        for n in range(first + 1, stop):
            at_ms, kind, payload = entries[n]
            gone = kind == "note" and payload["topic"] == "out-of-band"
            if at_ms >= over_ms:
                break
            if kind == "revocation" or gone:
                over_ms = at_ms
            elif kind == "restriction" and not payload["labels"]:
                held[payload["epoch"]] = {"halt": "halted", "reduce": "reduced"}[payload["kind"]]
            elif kind == "grant":
                over_ms = payload["not_after_ms"]
                held = {e: mode for e, mode in held.items() if e > payload["drops_up_to"]}
            modes = set(held.values())
            marks.append((at_ms, "halted" if "halted" in modes else "reduced" if modes else "live"))
        if stop < len(entries):
            over_ms = min(over_ms, entries[stop][0])
        marks.append((min(over_ms, end_ms), "over"))
        for (since, mode), (end, _) in pairwise(marks):
            begin = since
            while begin < min(end, over_ms):
                cut = min(end, over_ms, (begin // DAY_MS + 1) * DAY_MS)
                found[day(begin), mode] += cut - begin
                begin = cut
    return found


def day(at_ms: int) -> str:
    days = at_ms // DAY_MS - BEGIN_MS // DAY_MS
    months = [31, 28, 31]
    month = 0
    while days >= months[month]:
        days -= months[month]
        month += 1
    return f"2026-{month + 1:02d}-{days + 1:02d}"


def test_each_number_of_each_day_is_that_of_a_second_count() -> None:
    found, entries = report(busy()), opened(busy())
    counts: Counter[tuple[str, str]] = Counter()
    for at_ms, kind, payload in entries:
        name = {
            "revocation": "stops",
            "restriction": "restrictions",
            "refusal": "refusals",
        }.get(kind, "")
        if kind == "grant" and payload["kind"] == "activate":
            name = "activations"
        elif kind == "note" and payload["topic"] == "trigger":
            name = "triggers"
        elif kind == "report" and any(f["outcome"] != "pass" for f in payload["findings"]):
            name = "preflights_failed"
        if name:
            counts[day(at_ms), name] += 1
    hours = lived(busy(), END_MS)
    assert [item.day for item in found.days] == [day(BEGIN_MS + n * DAY_MS) for n in range(DAYS)]
    for item in found.days:
        shown = msgspec.to_builtins(item)
        for name in (
            "stops",
            "restrictions",
            "refusals",
            "activations",
            "triggers",
            "preflights_failed",
        ):
            assert shown[name] == counts[item.day, name], (item.day, name)
        of_day = {mode: hours.get((item.day, mode), 0) for mode in ("live", "reduced", "halted")}
        assert item.live_ms == sum(of_day.values()), item.day
        assert (item.reduced_ms, item.halted_ms) == (of_day["reduced"], of_day["halted"]), item.day
    for name in ("stops", "restrictions", "refusals", "activations", "triggers"):
        assert getattr(found.totals, name) == sum(
            n for (_, what), n in counts.items() if what == name
        )
    assert found.totals.live_ms == sum(hours.values())
    assert found.totals.entries == len(entries)
    assert min(found.totals.reduced_ms, found.totals.halted_ms, found.totals.triggers) > 0


def test_refusals_people_and_checks_are_those_of_a_second_count() -> None:
    found, entries = report(busy()), opened(busy())
    refused = [payload for _, kind, payload in entries if kind == "refusal"]
    assert {item.why: item.count for item in found.refusals} == Counter(p["why"] for p in refused)
    for item in found.refusals:
        own = [p for p in refused if p["why"] == item.why]
        assert item.attempts == Counter(p["attempt"] for p in own)
        assert item.checks == Counter(p["check"] for p in own if p["check"])
    acts: Counter[tuple[str, str]] = Counter()
    for _, kind, payload in entries:
        what = f"note {payload['topic']}" if kind == "note" else payload.get("kind", kind)
        acts[payload["by"], what] += 1
    assert {(p.name, act): n for p in found.people for act, n in p.acts.items()} == acts
    outcomes = Counter(
        (f["check"], f["outcome"])
        for _, kind, payload in entries
        if kind == "report"
        for f in payload["findings"]
    )
    for check in found.checks:
        told = (check.passed, check.failed, check.unknown)
        assert told == tuple(outcomes[check.check, word] for word in ("pass", "fail", "unknown"))
    assert len(found.triggers) == found.totals.triggers


def test_a_stop_has_its_term_its_result_and_how_long_it_took() -> None:
    found, entries = report(busy()), opened(busy())
    said: dict[str, tuple[int, str]] = {}
    for _, kind, payload in entries:
        if kind == "note" and payload["topic"] == "stop-confirmed":
            said[payload["facts"]["directive"]] = (
                payload["issued_at_ms"],
                payload["facts"]["result"],
            )
    assert len(found.stops) == found.totals.stops
    for stop in found.stops:
        at_ms, result = said[stop.identity]
        assert stop.result == result
        assert stop.confirmed_ms == (at_ms - stop.issued_ms if result == "COMPLETE" else None)
        assert (stop.answers, stop.first_ms, stop.last_ms, stop.times_from) == (
            None,
            None,
            None,
            "",
        )
    ended = {item.term for item in found.terms if item.ended_by.startswith("revocation")}
    assert {stop.term for stop in found.stops if stop.term is not None} == ended


def test_a_period_counts_what_is_in_it_and_the_parts_make_the_whole() -> None:
    middle = BEGIN_MS + 20 * DAY_MS + 8 * HOUR_MS
    whole = report(busy()).totals
    parts = [
        report(busy(), to_ms=middle).totals,
        report(busy(), from_ms=middle).totals,
    ]
    for name in whole.__struct_fields__:
        assert sum(getattr(part, name) for part in parts) == getattr(whole, name), name


# -- terms ------------------------------------------------------------------------------------------


def book() -> Book:
    return Book(SIGNERS, BEGIN_MS + 8 * HOUR_MS)


def only(found: AuditReport) -> tuple[int, str]:
    """How long the one term was in force, and what ended it."""
    (term,) = found.terms
    return found.totals.live_ms, term.ended_by


def test_a_term_ends_with_its_window_and_an_extension_moves_that() -> None:
    one = book()
    one.activate(not_after_ms=one.at_ms + HOUR_MS)
    began_ms = one.entries[-1].at_ms
    live_ms, why = only(report(one))
    assert (live_ms, why) == (BEGIN_MS + 9 * HOUR_MS - began_ms, "its window was over")
    one.at_ms += 1_000
    one.resume(kind="extend", not_after_ms=BEGIN_MS + 11 * HOUR_MS, drops_up_to=0)
    assert only(report(one))[0] == BEGIN_MS + 11 * HOUR_MS - began_ms


def test_a_term_that_runs_counts_until_the_report_is_made_and_has_no_end() -> None:
    one = book()
    one.activate(not_after_ms=one.at_ms + 9 * HOUR_MS)
    made_ms = BEGIN_MS + 10 * HOUR_MS
    found = report(one, made_ms=made_ms)
    assert found.totals.live_ms == made_ms - one.entries[-1].at_ms
    assert found.terms[0].ended_ms is None
    assert found.days[-1].day == "2026-01-01"  # the rest of the period has not come yet


@pytest.mark.parametrize("text", [
    "term 1 was removed without a stop",
    "term 1 has expired, or was removed without a stop",
    "every trading window is closed: no more beats for term 1",
])  # fmt: skip
def test_a_term_ends_when_a_heartbeat_says_that_it_is_gone(text: str) -> None:
    one = book()
    one.activate(not_after_ms=one.at_ms + 9 * HOUR_MS)
    one.at_ms += HOUR_MS
    one.note("window" if "window" in text else "out-of-band", text=text)
    live_ms, why = only(report(one))
    assert live_ms == one.entries[-1].at_ms - one.entries[-2].at_ms
    assert why == f"hb-1 says: {text}"


def test_what_is_said_of_another_term_ends_none() -> None:
    one = book()
    one.activate(not_after_ms=one.at_ms + HOUR_MS)
    one.note("out-of-band", text="term 11 was removed without a stop")
    assert only(report(one))[1] == "its window was over"


def test_a_stop_that_was_entered_late_has_ended_the_term_when_it_was_issued() -> None:
    one = book()
    one.activate(not_after_ms=one.at_ms + 9 * HOUR_MS)
    began_ms, issued_ms = one.entries[-1].at_ms, one.at_ms + HOUR_MS
    spooled = SIGNERS.revocation(2, issued_at_ms=issued_ms)
    one.epoch += 2
    one.add(SIGNERS.revocation(3, issued_at_ms=issued_ms + 60_000), at_ms=issued_ms + 60_005)
    one.add(spooled, at_ms=issued_ms + 2 * HOUR_MS)
    found = report(one)
    assert only(found) == (issued_ms - began_ms, "revocation 2 by rita")
    assert [(stop.epoch, stop.late, stop.term) for stop in found.stops] == [
        (3, False, None),
        (2, True, 1),
    ]
    assert found.totals.late == 1


def test_a_stop_card_has_stopped_when_it_was_played_and_not_when_it_was_signed() -> None:
    one = book()
    signed_ms = one.at_ms - 30 * DAY_MS
    one.activate(not_after_ms=one.at_ms + 9 * HOUR_MS)
    began_ms, played_ms = one.entries[-1].at_ms, one.at_ms + HOUR_MS
    card = SIGNERS.revocation(20, issued_at_ms=signed_ms, until_ms=signed_ms + 90 * DAY_MS)
    one.add(card, at_ms=played_ms)
    one.prev = identity(card)
    confirmed(one, "COMPLETE")
    complete_ms = one.entries[-1].at_ms - 5
    receipts = answered(card, ("pod-1", "latched", played_ms + 40 - BEGIN_MS))
    found = report(one, receipts=receipts, incident=20)
    assert only(found) == (played_ms - began_ms, "revocation 20 by rita")
    (stop,) = found.stops
    assert (stop.card, stop.issued_ms, stop.entered_ms) == (True, signed_ms, played_ms)
    assert (stop.first_ms, stop.confirmed_ms) == (40, complete_ms - played_ms)
    assert found.incident is not None
    assert found.incident.deadlines[0].latest_ms == played_ms + 24 * HOUR_MS
    assert "a stop card of rita was played" in found.incident.deadlines[0].proved


def test_a_clock_that_is_slow_ends_no_term_before_it_began() -> None:
    one = book()
    one.activate(not_after_ms=one.at_ms + 9 * HOUR_MS)
    one.add(SIGNERS.revocation(2, issued_at_ms=one.at_ms - 30_000))
    live_ms, why = only(report(one))
    assert (live_ms, why) == (0, "revocation 2 by rita")


def test_halts_of_all_orders_are_halted_hours_and_those_of_some_are_not() -> None:
    one = book()
    one.activate(not_after_ms=one.at_ms + 9 * HOUR_MS)
    one.halt(labels={"symbol": "BTCUSDT"})
    one.at_ms += HOUR_MS
    one.halt(kind="reduce")
    reduced_ms = one.entries[-1].at_ms - 5
    one.at_ms += HOUR_MS
    one.halt()
    halted_ms = one.entries[-1].at_ms - 5
    one.at_ms += HOUR_MS
    one.resume(not_after_ms=BEGIN_MS + 17 * HOUR_MS, drops_up_to=4)  # both for all orders
    resumed_ms = one.entries[-1].at_ms
    totals = report(one).totals
    assert totals.reduced_ms == halted_ms - reduced_ms
    assert totals.halted_ms == resumed_ms - halted_ms
    assert totals.live_ms == BEGIN_MS + 17 * HOUR_MS - one.entries[1].at_ms


# -- answers -----------------------------------------------------------------------------------------


def answered(directive: bytes, *told: tuple[str, str, int]) -> dict[str, list[Verified[Receipt]]]:
    """Receipts by pod, stage and ms after the start of the book."""
    raws = [
        SIGNERS.receipt(
            directive, stage, instance=f"{n % 2:032x}", at_ms=BEGIN_MS + after_ms, worker=pod
        )
        for n, (pod, stage, after_ms) in enumerate(told)
    ]
    return {identity(directive): [SIGNERS.trust.receipt(raw) for raw in raws]}


def stopped() -> tuple[Book, bytes]:
    one = Book(SIGNERS, BEGIN_MS)
    one.activate()
    stop = one.revoke(issued_at_ms=BEGIN_MS + 5_000)
    return one, stop


def test_the_times_of_answers_come_from_receipts_where_the_ledger_has_no_note_on_them() -> None:
    one, stop = stopped()
    receipts = answered(
        stop, ("pod-1", "latched", 5_040), ("pod-1", "latched", 5_700), ("pod-1", "drained", 5_900)
    )
    (found,) = report(one, receipts=receipts).stops
    assert (found.times_from, found.answers, found.first_ms, found.last_ms) == (
        "receipts",
        2,
        40,
        900,
    )
    facts = {"directive": identity(stop), "latched": "7", "drained": "6"}
    facts |= {"first_ms": str(BEGIN_MS + 5_020), "last_ms": str(BEGIN_MS + 6_100)}
    one.note("receipts", facts=facts)
    (found,) = report(one, receipts=receipts).stops
    assert (found.times_from, found.answers, found.first_ms, found.last_ms) == (
        "ledger",
        7,
        20,
        1_100,
    )


def test_what_nobody_tells_is_null_and_never_zero() -> None:
    one, stop = stopped()
    facts = {"directive": identity(stop), "count": "0"}  # heartbeats that have seen no receipt
    one.note("receipts", facts=facts)
    (found,) = report(one).stops
    assert (found.times_from, found.answers, found.first_ms, found.confirmed_ms) == (
        "",
        None,
        None,
        None,
    )
    assert found.result == ""


def test_a_stop_that_was_confirmed_twice_counts_to_its_first_complete() -> None:
    one, _ = stopped()
    confirmed(one, "STOPPED")
    confirmed(one, "COMPLETE", by="time")
    complete_ms = one.entries[-1].at_ms - 5
    confirmed(one, "COMPLETE")
    (found,) = report(one).stops
    assert (found.result, found.confirmed_by) == ("COMPLETE", "time")
    assert found.confirmed_ms == complete_ms - found.issued_ms


# -- verdict, keysets, incident ----------------------------------------------------------------------


def test_of_a_ledger_that_is_not_good_only_what_is_good_is_counted() -> None:
    entries = list(busy().entries)
    bad = len(entries) // 2
    entries[bad] = Entry(entries[bad].envelope[:-1], entries[bad].head, entries[bad].id)
    found = report(entries)
    assert (found.verdict.result, found.verdict.broken, found.verdict.rule) == (
        "NOT VERIFIED",
        bad,
        "V2",
    )
    assert found.verdict.counted == bad == found.totals.entries
    last_ms = entries[bad - 1].at_ms
    good = report(list(busy().entries[:bad]), made_ms=last_ms + 1)
    assert found.days == good.days  # and none of the days after it, also where a term ran then
    assert (found.stops, found.terms) == (good.stops, good.terms)
    assert found.verdict.good == bad
    after = report(entries, from_ms=last_ms + DAY_MS)
    assert (after.days, after.totals.live_ms) == ([], 0)


def test_the_verdict_is_that_of_verify() -> None:
    entries = list(busy().entries)
    assert report(entries).verdict.result == "CONSISTENT"
    end = Anchor(entries[-1].head, len(entries), "the auditor")
    found = report(entries, anchors=(end,)).verdict
    assert (found.result, found.anchored, found.remembered_by) == (
        "VERIFIED", len(entries), "the auditor",
    )  # fmt: skip
    cut = report(chained(entries[:-1]), anchors=(end,)).verdict
    assert (cut.result, cut.rule, cut.counted) == ("NOT VERIFIED", "V14", len(entries) - 1)


def test_who_may_do_what_follows_the_keysets_that_were_in_use() -> None:
    without = {name: roles for name, roles in CREW.items() if name != "bob"}
    later = Signers(
        {**without, "dora": ("approver", "revoker")}, version=2, environment="production"
    )
    one = Book(SIGNERS, BEGIN_MS + 8 * HOUR_MS)
    one.activate()
    one.revoke()
    one.at_ms += 2 * DAY_MS
    one.signers = later
    one.activate(by="dora")
    both = Keysets.of([SIGNERS.keyset, later.keyset], "golive", "production")
    found = report(one, keysets=both, to_ms=BEGIN_MS + 4 * DAY_MS)
    assert [day.keyset for day in found.days] == [1, 1, 2, 2]
    first, second = found.keysets
    assert (first.version, first.first_day, first.last_day) == (1, "2026-01-01", "2026-01-03")
    assert (second.version, second.first_day, second.last_day) == (2, "2026-01-03", "2026-01-04")
    assert first.principals is not None
    assert second.principals is not None
    assert {item.name: item.roles for item in first.principals} == {
        n: list(r) for n, r in CREW.items()
    }
    assert "bob" not in {item.name for item in second.principals}
    assert next(i for i in second.principals if i.name == "dora").roles == ["approver", "revoker"]


def test_an_incident_is_told_from_an_hour_before_to_the_next_start() -> None:
    one = book()
    one.note("goodbye")  # two hours before
    one.at_ms += 2 * HOUR_MS
    one.activate(not_after_ms=one.at_ms + 9 * HOUR_MS)
    one.note("trigger", text="daily-loss fired (halt): loss 51 > 50")
    trigger = len(one.entries) - 1
    stop = one.revoke(reason="latency")
    issued_ms = one.entries[-1].at_ms - 5
    confirmed(one, "COMPLETE")
    one.at_ms += 5 * HOUR_MS
    one.activate()
    one.note("goodbye")
    receipts = answered(stop, ("pod-1", "latched", issued_ms + 40 - BEGIN_MS))
    found = report(one, incident=2, receipts=receipts).incident
    assert found is not None
    assert (found.epoch, found.issued_ms) == (2, issued_ms)
    assert [item.entry for item in found.moments] == [1, 2, 3, 4, None, 5, 6, 7]
    told = {item.entry: item for item in found.moments}
    assert told[None].after_ms == 40
    assert "receipt of pod-1: latched" in told[None].what
    assert told[4].why == "latency"
    assert told[7].what.startswith("activate")
    aware, classified, *others = found.deadlines
    assert aware.latest_ms == issued_ms + 24 * HOUR_MS
    assert f"entry {trigger}" in aware.proved
    assert classified.latest_ms == issued_ms + 4 * HOUR_MS
    assert [item.latest_ms for item in others] == [
        None,
        None,
    ]  # the ledger has not what they count from
    assert report(one, incident=99).incident is None


def test_an_incident_keeps_a_bounded_number_of_entries_and_says_what_it_left_out() -> None:
    one = book()
    one.activate(not_after_ms=one.at_ms + 9 * HOUR_MS)
    one.revoke()
    for _ in range(5_100):
        one.at_ms -= 999
        one.note("goodbye")
    found = report(one, incident=2).incident
    assert found is not None
    assert len(found.moments) == 5_000
    assert found.left_out == len(one.entries) - 5_000


def test_an_empty_ledger_has_a_report_of_nothing() -> None:
    found = report([], from_ms=None)
    assert found.totals.entries == 0
    assert (found.terms, found.stops, found.keysets) == ([], [], [])
    assert len(found.rules) == 21


def test_the_rules_have_the_figures_of_the_report_in_them() -> None:
    one = book()
    refusal(one, "alice", "haste")
    preflight(one, redis="fail")
    one.activate()
    one.revoke()
    confirmed(one, "COMPLETE")
    rules = {item.number: item for item in report(one).rules}
    assert list(rules) == [f"R{number}" for number in range(1, 22)]
    assert rules["R1"].shown.startswith("1 stop in the period, 1 confirmed as COMPLETE")
    assert "1 refused attempt" in rules["R13"].shown
    assert "2 preflights, 1 of them did not pass" in rules["R10"].shown
    assert all(item.missing and item.by and item.asked for item in rules.values())
    assert not any("{" in item.shown for item in rules.values())
