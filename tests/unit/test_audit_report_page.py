"""The page of a report: its numbers are those of report.json, and nothing in it runs, calls or hides."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise

import msgspec

from golive_redis.audit.opening import Keysets
from golive_redis.audit.report.figures import AuditReport
from golive_redis.audit.report.page import page
from golive_redis.audit.report.reported import Made, reported
from golive_redis.audit.report.tally import Tally
from golive_redis.audit.verifying import Judge, judged
from golive_redis.records.ledger import Entry
from golive_redis.testing import Signers
from kit.years import BEGIN_MS, CREW, DAY_MS, busy_days

SIGNERS = Signers(CREW, environment="production")
KEYSETS = Keysets.of([SIGNERS.keyset], "golive", "production")
VOID = {"meta", "path", "rect", "circle", "br"}
KNOWN = {
    "html", "head", "meta", "title", "style", "body", "header", "nav", "main", "section", "div",
    "h1", "h2", "h3", "p", "ul", "li", "a", "dl", "dt", "dd", "table", "caption", "thead", "tbody",
    "tr", "th", "td", "span", "time", "strong", "em", "code", "bdi", "br", "svg", "desc", "defs",
    "pattern", "path", "rect", "circle", "text",
}  # fmt: skip


def report(days: int, *, spoil: int | None = None, incident: int | None = None) -> AuditReport:
    entries = list(busy_days(days).entries)
    if spoil is not None:
        entries[spoil] = Entry(entries[spoil].envelope[:-1], entries[spoil].head, entries[spoil].id)
    end_ms = BEGIN_MS + days * DAY_MS
    tally = Tally(BEGIN_MS, end_ms, incident)
    verdict = judged(Judge(KEYSETS, taken=tally.take), [entries], KEYSETS)
    return reported(tally, verdict, KEYSETS, Made(end_ms, SIGNERS.keyset.fleet, "Redis"), {})


@cache
def month() -> AuditReport:
    return report(30)


class Page(HTMLParser):
    """A page as a browser takes it apart: elements that close in order, tables, and text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in KNOWN, tag
        self.seen.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in KNOWN & VOID, tag
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data

    def table(self, first: str) -> list[list[str]]:
        """The rows of the table whose first column has that head."""
        (found,) = (rows for rows in self.tables if rows[0][0] == first)
        return found[1:]


def seconds(ms: int | None) -> str:
    return "not in the ledger" if ms is None else f"{ms / 1000:,.3f}\N{NO-BREAK SPACE}s"


def test_the_numbers_of_the_page_are_those_of_the_json() -> None:
    # As a program reads them: from the bytes of report.json.
    told = msgspec.json.decode(msgspec.json.encode(month()), type=AuditReport)
    found = Page(page(month()))
    days = found.table("Day")
    assert len(days) == len(told.days) == 30
    for row, day in zip(days, told.days, strict=True):
        hours = [f"{ms / 3_600_000:.2f}" for ms in (day.live_ms, day.reduced_ms, day.halted_ms)]
        counts = [
            day.activations, day.stops, day.restrictions, day.refusals, day.preflights_failed,
            day.triggers, day.keyset,
        ]  # fmt: skip
        assert row == [day.day, *hours, *map(str, counts)]
    stops, restrictions = (rows[1:] for rows in found.tables if rows[0][0] == "Epoch")
    assert [row[0] for row in stops] == [str(item.epoch) for item in told.stops]
    for row, stop in zip(stops, told.stops, strict=True):
        assert row[8] == seconds(stop.confirmed_ms)
        assert row[4] == ("none" if stop.term is None else str(stop.term))
        assert row[9] == f"{stop.result} by {stop.confirmed_by}"
    assert [row[0] for row in restrictions] == [str(item.epoch) for item in told.restrictions]
    assert [row[0] for row in found.table("Term")] == [str(item.term) for item in told.terms]
    reasons = found.table("Reason")
    assert [row[:2] for row in reasons] == [[item.why, str(item.count)] for item in told.refusals]
    for row, check in zip(found.table("Check"), told.checks, strict=True):
        assert row == [check.check, *map(str, (check.passed, check.failed, check.unknown))]
    for table, keyset in zip(
        (t for t in found.tables if t[0][1] == "Roles"), told.keysets, strict=True
    ):
        assert keyset.principals is not None
        assert [row[0] for row in table[1:]] == [who.name for who in keyset.principals]
    assert [row[0] for row in found.table("No.")] == [item.number for item in told.rules]
    people = next(t for t in found.tables if t[0][0] == "Name" and t[0][1] != "Roles")
    for row, who in zip(people[1:], told.people, strict=True):
        acts = {act: who.acts.get(act, 0) for act in people[0][1:-1]}
        assert row[:-1] == [who.name, *map(str, acts.values())]
    text = " ".join(found.texts)
    glance = re.findall(
        r"(Hours in force|Activations|Stops|Refused attempts|Entries) ([\d.,]+)", text
    )
    total = told.totals
    assert dict(glance) == {
        "Hours in force": f"{total.live_ms / 3_600_000:.2f}",
        "Activations": str(total.activations),
        "Stops": str(total.stops),
        "Refused attempts": str(total.refusals),
        "Entries": str(total.entries),
    }


def test_nothing_in_the_page_runs_or_calls_anybody() -> None:
    text = page(report(30, incident=2))
    for word in (
        "<script",
        "javascript:",
        "http:",
        "https:",
        "//",
        "src=",
        "@import",
        "<link",
        "<img",
        "<use",
    ):
        assert word not in text.replace("&lt;script", "").replace("src=x", ""), word
    for tag, attributes in Page(text).seen:
        assert not [name for name in attributes if name.startswith("on")], tag
        href = attributes.get("href")
        assert href is None or href.startswith("#")
        assert "style" not in attributes
    assert re.findall(r"url\(([^)]*)\)", text) == ["#reduced", "#halted"]
    assert "default-src 'none'" in text


def test_what_people_wrote_is_shown_and_has_no_effect() -> None:
    text = page(month())
    found = Page(text)
    shown = " ".join(found.texts)
    assert "<script>alert(1)</script>" in shown
    assert "\"><img src=x onerror=alert(1)> & 'quotes'" in shown
    assert r"\x1b[31mred\x1b[0m \u202egnp.exe\u2028" in shown
    assert "w" * 500 in shown
    assert "<bdi>עצור עכשיו</bdi>" in text
    # No character of the whole page moves the others, or the cursor of a terminal that shows the source.
    assert [char for char in text if not char.isprintable() and char != "\n"] == []


def test_the_page_can_be_read_by_ear_and_by_keyboard() -> None:
    found = Page(page(report(30, incident=2)))
    tags = [tag for tag, _ in found.seen]
    assert found.seen[0] == ("html", {"lang": "en"})
    assert tags.count("h1") == tags.count("main") == 1
    assert len(found.ids) == len(set(found.ids))
    for tag, attributes in found.seen:
        if tag == "th":
            assert attributes.get("scope") in {"col", "row"}
        if tag == "svg" and attributes.get("aria-hidden") != "true":
            assert attributes["role"] == "img"
            names = (attributes["aria-labelledby"] or "").split()
            assert len(names) == 2
            assert set(names) <= set(found.ids)
        if tag == "section":
            assert attributes["aria-labelledby"] in found.ids
        if tag == "a":
            assert (attributes["href"] or "")[1:] in found.ids
    assert tags.count("table") == tags.count("caption")
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-3]", tag)]
    assert all(later - level <= 1 for level, later in pairwise(levels))


def test_a_ledger_that_is_not_good_is_named_first_in_words_and_in_red() -> None:
    text = page(report(30, spoil=20))
    head = text[text.index("<header>") : text.index("</header>")]
    assert 'class="verdict bad"' in head
    shown = " ".join(Page(text).texts)
    assert "NOT VERIFIED" in shown
    assert "Entry 20 does not follow the entry before it (V2)." in shown
    assert text.index("NOT VERIFIED") < text.index("<nav")
    assert re.search(r"\.bad\{color:var\(--bad\)", text)
    assert "verdict warn" in page(month())


def test_the_page_of_a_year_is_a_file_to_send_and_longer_periods_are_shown_by_month() -> None:
    year = report(365)
    text = page(year)
    assert len(text.encode()) < 1024 * 1024
    assert len(Page(text).table("Day")) == 365
    years = report(760)
    shown, told = Page(page(years)), years.days
    months = shown.table("Day")
    assert [row[0] for row in months] == sorted({day.day[:7] for day in told})
    assert [int(row[5]) for row in months] == [
        sum(day.stops for day in told if day.day[:7] == row[0]) for row in months
    ]
    assert len(told) == 760


def test_of_a_long_list_the_newest_are_shown_and_the_rest_is_counted() -> None:
    years = report(760)
    assert len(years.terms) > 400
    text = page(years)
    terms = Page(text).table("Term")
    assert [row[0] for row in terms] == [str(item.term) for item in years.terms[-400:]]
    assert f"{len(years.terms) - 400} earlier ones are in <code>report.json</code>" in text
