"""The chapters of the page, each from its part of the figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from golive_redis.audit.report import drawing
from golive_redis.audit.report.figures import (
    AuditReport,
    ReportDay,
    ReportIncident,
    ReportKeyset,
    ReportPerson,
    ReportRule,
    ReportStop,
    ReportTerm,
)
from golive_redis.audit.report.markup import (
    Cell,
    Html,
    hours,
    joined,
    moment,
    seconds,
    table,
    text,
)

MOST_DAYS = 400  # more are shown by month
MOST_BARS = 12
MINUS = "\N{MINUS SIGN}"
_DAY_HEADS = (
    "Day", "In force, h", "Reduced, h", "Halted, h", "Activations", "Stops", "Restrictions",
    "Refused", "Preflights failed", "Triggers", "Keyset",
)  # fmt: skip
_NUMBERS = frozenset(range(1, len(_DAY_HEADS)))
# Small squares beside the words of a legend: patterns as in the picture.
_KEY = '<svg viewBox="0 0 10 10" aria-hidden="true"><path class="{}-bar" d="M0 0h10v10H0z"/></svg>'


def by_day(days: Sequence[ReportDay]) -> Html:
    """Return picture and table of the hours in force."""
    live = sum(day.live_ms for day in days)
    says = (
        f"{hours(live)} h in force on {sum(day.live_ms > 0 for day in days)} of {len(days)} days."
    )
    key = "".join(
        f"<span>{_KEY.format(kind)}{words}</span>"
        for kind, words in (
            ("live", "live (plain)"),
            ("reduced", "reduced only (dots)"),
            ("halted", "halted (stripes)"),
        )
    )
    shown, by_month = days, len(days) > MOST_DAYS
    if by_month:
        shown = _months(days)
    return Html(
        f"<p>{text(says)}</p>"
        + drawing.by_day(days, says)
        + f'<p class="key">{key}<span>▾ stopped on that day</span></p>'
        + table(
            "Each month; the days are in report.json." if by_month else "Each day.",
            _DAY_HEADS,
            [_day(item) for item in shown],
            numbers=_NUMBERS,
        )
    )


def _day(day: ReportDay) -> list[Cell]:
    return [
        day.day, hours(day.live_ms), hours(day.reduced_ms), hours(day.halted_ms), day.activations,
        day.stops, day.restrictions, day.refusals, day.preflights_failed, day.triggers,
        "none" if day.keyset is None else str(day.keyset),
    ]  # fmt: skip


def _months(days: Iterable[ReportDay]) -> list[ReportDay]:
    out: dict[str, ReportDay] = {}
    for day in days:
        month = day.day[:7]
        before = out.get(month)
        sums = {
            name: getattr(day, name) + (getattr(before, name) if before else 0)
            for name in _OF_A_DAY
        }
        out[month] = ReportDay(day=month, keyset=day.keyset, **sums)
    return list(out.values())


_OF_A_DAY = (
    "live_ms", "reduced_ms", "halted_ms", "activations", "stops", "restrictions", "refusals",
    "preflights_failed", "triggers",
)  # fmt: skip


def stops(items: Sequence[ReportStop]) -> Html:
    """Return the revocations, each with how long it took."""
    rows = [
        [
            str(item.epoch), moment(item.entered_ms if item.card else item.issued_ms), _by(item),
            _why(item),
            "none" if item.term is None else str(item.term), _times(item),
            seconds(item.first_ms), seconds(item.last_ms), seconds(item.confirmed_ms), _came_to(item),
        ]
        for item in items
    ]  # fmt: skip
    heads = (
        "Epoch", "Issued (UTC)", "By", "Reason", "Term ended", "Answers", "First latch", "Last answer",
        "COMPLETE", "Result",
    )  # fmt: skip
    return table(
        "Revocations, the newest last.",
        heads,
        rows,
        numbers=frozenset({6, 7, 8}),
        words=frozenset({3}),
    )


def restrictions(items: Sequence[ReportStop]) -> Html:
    """Return halts, reductions and demotions."""
    rows = [
        [
            str(item.epoch), moment(item.issued_ms), item.kind,
            joined(f"{name}={value}" for name, value in item.labels.items()) or "all orders",
            joined(item.signers), _why(item), str(item.term), _times(item), seconds(item.first_ms),
            seconds(item.last_ms),
        ]
        for item in items
    ]  # fmt: skip
    heads = (
        "Epoch", "Issued (UTC)", "Kind", "Labels", "By", "Reason", "Term", "Answers", "First answer",
        "Last answer",
    )  # fmt: skip
    return table(
        "Restrictions, the newest last.",
        heads,
        rows,
        numbers=frozenset({8, 9}),
        words=frozenset({3, 5}),
    )


def _by(item: ReportStop) -> Html:
    who = joined(item.signers)
    return Html(f"{who} (stop card, played)") if item.card else who


def _why(item: ReportStop | ReportTerm) -> Html:
    reason = text(item.reason)
    return Html(f"{reason} ({text(item.ticket)})") if item.ticket else reason


def _times(item: ReportStop) -> Html:
    if item.answers is None:
        return text(None)
    return Html(f"{item.answers:,} ({text(item.times_from)})")


def _came_to(item: ReportStop) -> Html:
    if not item.result:
        return text(None)
    return text(f"{item.result} by {item.confirmed_by}" if item.confirmed_by else item.result)


def starts(items: Sequence[ReportTerm]) -> Html:
    """Return the terms in the period."""
    rows = [
        [
            str(item.term), moment(item.began_ms), joined(item.signers), _why(item), item.profile,
            text("still in force") if item.ended_ms is None else moment(item.ended_ms), item.ended_by,
        ]
        for item in items
    ]  # fmt: skip
    heads = ("Term", "Began (UTC)", "Signed by", "Reason", "Profile", "Ended (UTC)", "Ended by")
    return table(
        "Terms in force in this period, the newest last.", heads, rows, words=frozenset({3, 6})
    )


def people(items: Sequence[ReportPerson]) -> Html:
    """Return how often each has signed what."""
    acts = sorted({act for item in items for act in item.acts})
    wide = [act for act in acts if not act.startswith("note ")]
    rows: list[list[Cell]] = [
        [item.name, *(item.acts.get(act, 0) for act in wide), _notes(item)] for item in items
    ]
    heads = ("Name", *wide, "Notes")
    numbers = frozenset(range(1, len(wide) + 1))
    return table(
        "Records by signer; a grant counts for each who has signed it.",
        heads,
        rows,
        numbers=numbers,
        words=frozenset({0}),
    )


def _notes(item: ReportPerson) -> Html:
    notes = [(act[5:], count) for act, count in item.acts.items() if act.startswith("note ")]
    return joined(f"{topic}: {count}" for topic, count in notes)


def what_failed(report: AuditReport) -> Html:
    """Return refusals by reason, checks that failed, and triggers that fired."""
    refused = report.refusals[:MOST_BARS]
    failing = [item for item in report.checks if item.failed + item.unknown][:MOST_BARS]
    parts = ["<h3>Refused attempts, by reason</h3>"]
    if refused:
        bars = [(item.why, item.count) for item in refused]
        parts.append(drawing.by_name("refusals", "Refused attempts, by reason", bars))
    rows: list[list[Cell]] = [
        [item.why, item.count, _counts(item.attempts), _counts(item.checks) or text("none")]
        for item in report.refusals
    ]
    heads = ("Reason", "Attempts", "What was tried", "First check that did not pass")
    parts.append(
        table(
            "By reason, the most frequent first.",
            heads,
            rows,
            numbers=frozenset({1}),
            words=frozenset({2, 3}),
        )
    )
    parts.append("<h3>Checks of preflights</h3>")
    if failing:
        bars = [(item.check, item.failed + item.unknown) for item in failing]
        parts.append(drawing.by_name("checks", "Checks that failed or were unknown", bars))
    found: list[list[Cell]] = [
        [item.check, item.passed, item.failed, item.unknown] for item in report.checks
    ]
    parts.append(
        table(
            "Each check in the reports of this period.",
            ("Check", "Passed", "Failed", "Unknown"),
            found,
            numbers=frozenset({1, 2, 3}),
            none="No preflight in this period.",
        )
    )
    parts.append("<h3>Triggers that fired</h3>")
    fired = [
        [str(item.entry), moment(item.at_ms), item.heartbeat, item.text] for item in report.triggers
    ]
    parts.append(
        table(
            "By entry, the newest last.",
            ("Entry", "When (UTC)", "Heartbeat", "What"),
            fired,
            words=frozenset({3}),
        )
    )
    return Html("".join(parts))


def _counts(counts: dict[str, int]) -> Html:
    return joined(f"{name}: {count}" for name, count in counts.items())


def keysets(items: Sequence[ReportKeyset]) -> Html:
    """Return who holds which role, for the days on which each keyset was the newest in use."""
    parts = []
    for item in items:
        parts.append(f"<h3>Keyset {item.version}: {item.first_day} to {item.last_day}</h3>")
        if item.principals is None:
            parts.append("<p>This keyset is not at hand: <code>--keyset FILE</code> adds it.</p>")
            continue
        needed = ", ".join(f"{name}: {count}" for name, count in item.thresholds.items())
        parts.append(f"<p>Signatures that it takes: {text(needed or 'one of each role')}.</p>")
        rows: list[list[Cell]] = [
            [
                who.name, joined(who.roles), who.authority or "none", who.keys,
                "several workers" if who.shared else "its own", who.expires or "none",
            ]
            for who in item.principals
        ]  # fmt: skip
        parts.append(
            table(
                f"Principals of keyset {item.version}. An approver may also stop.",
                ("Name", "Roles", "Authority", "Keys", "Key of", "Last day"),
                rows,
                numbers=frozenset({3}),
                words=frozenset({0, 1}),
            )
        )
    return Html("".join(parts) or "<p>No entry in this period or before it.</p>")


def rules(items: Sequence[ReportRule]) -> Html:
    """Return what rule books ask, what is shown, and what is left to the firm."""
    rows = [[item.number, item.asked, item.by, item.shown, item.missing] for item in items]
    heads = ("No.", "Asked", "By", "What this report shows", "What the firm adds")
    return table(
        "No legal advice. EU rules unless said otherwise.",
        heads,
        rows,
        words=frozenset({1, 3, 4}),
    )


def incident(item: ReportIncident) -> Html:
    """Return one stop, minute by minute."""
    rows = [
        [
            moment(one.at_ms), _after(one.after_ms), "receipt" if one.entry is None else str(one.entry),
            one.what, one.by, one.why,
        ]
        for one in item.moments
    ]  # fmt: skip
    limits = [
        [one.what, one.within, one.counted_from, one.proved, moment(one.latest_ms)]
        for one in item.deadlines
    ]
    left_out = f" {item.left_out:,} more are left out." if item.left_out else ""
    return Html(
        f"<p>{text(item.what)}. Told from {moment(item.since_ms)} to {moment(item.until_ms)}, UTC."
        f"{left_out} Receipts are by the clocks of those who answered.</p>"
        + drawing.timeline(item)
        + table(
            "What the ledger tells, in order.",
            ("When (UTC)", "After the stop", "Entry", "What", "By", "Why"),
            rows,
            numbers=frozenset({1}),
            words=frozenset({3, 5}),
            most=1_000,
        )
        + "<h3>Time limits of DORA</h3>"
        + table(
            "Art. 19 of Regulation (EU) 2022/2554, Art. 5 of Delegated Regulation (EU) 2025/301. They "
            "are for incidents that the firm has classified as major.",
            (
                "Due",
                "Within",
                "Counted from",
                "What the ledger proves of that",
                "Due at the latest (UTC)",
            ),
            limits,
        )
    )


def _after(ms: int) -> Html:
    """Return a time before or after the stop, in minutes and seconds."""
    whole, rest = divmod(abs(ms), 60_000)
    return Html(f"{MINUS if ms < 0 else '+'}{whole:,}:{rest / 1000:06.3f}")
