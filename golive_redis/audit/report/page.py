"""The page: figures in, one HTML text out, with no script and no address in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from golive_redis.audit.report.chapters import (
    by_day,
    incident,
    keysets,
    people,
    restrictions,
    rules,
    starts,
    stops,
    what_failed,
)
from golive_redis.audit.report.figures import AuditReport, ReportVerdict
from golive_redis.audit.report.markup import Html, hours, moment, section, text
from golive_redis.audit.report.style import STYLE

# A browser that knows this asks no network, whatever somebody may have put into the text.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_MEANS = {
    "VERIFIED": "Every entry is good, and somebody remembers the end of the ledger.",
    "CONSISTENT": (
        "Every entry is good. Nobody remembers the end of the ledger: entries that were cut off there "
        "would not be seen."
    ),
    "NOT VERIFIED": (
        "The ledger breaks a rule. The figures end with the last entry that could be judged: what came "
        "after it is not known, and is not in them."
    ),
}
_CLASS = {"VERIFIED": "good", "CONSISTENT": "warn", "NOT VERIFIED": "bad"}
_COUNTED = (
    (
        "Only entries that <code>golive audit verify</code> finds good are counted; its manual has the "
        "rules."
    ),
    (
        "A day is one of UTC. An entry counts for the instant at which the Redis server took it. What "
        "takes away (a stop, a restriction) counts from its issue by its signer's clock where that is "
        "earlier: it may have been saved on a host and entered later."
    ),
    (
        "A term is in force from the entry of its activation until it is stopped, replaced, said to be "
        "gone by a heartbeat, or its window is over. The ledger proves that trading was permitted, not "
        "that anybody traded. A silence of all heartbeats, in which workers close by themselves, is not "
        "subtracted."
    ),
    (
        "Reduced and halted hours are those in which a restriction for all orders held. One for some "
        "labels is listed, and is not in these hours."
    ),
    (
        "The times of answers are by the clocks of those who answered, counted from the issue by the "
        "clock of who stopped: where clocks differ, a time may be below zero. <em>Ledger</em>: from the "
        "note that heartbeats have made of the receipts. <em>Receipts</em>: from the receipts "
        "themselves, which Redis keeps for a week. COMPLETE is counted to the note of who confirmed it."
    ),
)


def page(report: AuditReport) -> str:
    """Return the page of a report."""
    chapters = list(_chapters(report))
    title = f"Audit report: {report.environment} ({report.namespace})"
    links = "".join(f'<li><a href="#{name}">{text(head)}</a></li>' for name, head, _ in chapters)
    body = "".join(section(name, head, part) for name, head, part in chapters)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{text(title)}</h1>{_period(report)}{_verdict(report.verdict)}</header>"
        f'<nav aria-label="Contents"><ul>{links}</ul></nav><main>{body}</main></body></html>\n'
    )


def _period(report: AuditReport) -> Html:
    return Html(
        f"<p>From {moment(report.from_ms)} to before {moment(report.to_ms)}, UTC. "
        f"Made {moment(report.made_at_ms)} by golive {text(report.version)} from "
        f"{text(report.source)}; fleet <code>{text(report.fleet)}</code>. "
        "The same numbers are in <code>report.json</code>.</p>"
    )


def _verdict(verdict: ReportVerdict) -> Html:
    kind = _CLASS[verdict.result]
    parts = [f"<strong>{text(verdict.result)}</strong>: {text(_MEANS[verdict.result])}"]
    if verdict.broken is not None:
        parts.append(f"Entry {verdict.broken:,} {text(verdict.why)} ({text(verdict.rule)}).")
    parts.append(
        f"{verdict.counted:,} entries are counted; the first {verdict.good:,} are known to be good."
        if verdict.broken is not None
        else f"{verdict.counted:,} entries, all of them good."
    )
    if verdict.anchored is not None and verdict.broken is None:
        parts.append(
            f"{text(verdict.remembered_by)} remembers it up to {verdict.anchored:,} entries."
        )
    if verdict.head:
        parts.append(f"Head: <code>{text(verdict.head)}</code>")
    return Html(f'<div class="verdict {kind}" role="note">{"<br>".join(parts)}</div>')


def _chapters(report: AuditReport) -> Iterator[tuple[str, str, Html]]:
    if report.incident is not None:
        yield "incident", f"Incident: directive {report.incident.epoch}", incident(report.incident)
    yield "glance", "At a glance", _glance(report)
    yield "days", "Hours in force", by_day(report.days)
    yield "stops", "Stops", stops(report.stops)
    yield "restrictions", "Restrictions", restrictions(report.restrictions)
    yield "starts", "Starts", starts(report.terms)
    yield "people", "Who did what", people(report.people)
    yield "refused", "What was refused, and what failed", what_failed(report)
    yield "may", "Who may do what", keysets(report.keysets)
    yield "rules", "What rule books ask", rules(report.rules)
    yield "counted", "How it was counted", _counted()


def _glance(report: AuditReport) -> Html:
    total = report.totals
    shown: Sequence[tuple[str, str | int]] = (
        ("Hours in force", hours(total.live_ms)),
        ("of these reduced", hours(total.reduced_ms)),
        ("of these halted", hours(total.halted_ms)),
        ("Activations", total.activations),
        ("Stops", total.stops),
        ("Restrictions", total.restrictions),
        ("Refused attempts", total.refusals),
        ("Preflights", total.preflights),
        ("of these failed", total.preflights_failed),
        ("Triggers fired", total.triggers),
        ("Entries", total.entries),
        ("of these late", total.late),
    )
    return Html(
        '<dl class="sum">'
        + "".join(
            f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in shown
        )
        + "</dl>"
    )


def _counted() -> Html:
    items = "".join(f"<li>{item}</li>" for item in _COUNTED)
    return Html(
        f"<ul>{items}<li><em>{text(None)}</em> means that nothing tells it: never zero.</li></ul>"
    )
