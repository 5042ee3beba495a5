"""Pictures as inline SVG: bars by day, bars by name, and a line of time.

Own code and no library: see the module's commit for what a chart library would bring. Colours come from
the page's style; each kind of bar also has a pattern of its own, for eyes and printers without colours.
The numbers of a picture stand in a table beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from golive_redis.audit.report.figures import ReportDay, ReportIncident
from golive_redis.audit.report.markup import Html, text

WIDE, HIGH = 720, 170
LEFT, TOP, BOTTOM = 34, 16, 24
HOUR_MS = 3_600_000
DAY_HOURS = 24
LABELS = 8
PATTERNS = (
    '<defs><pattern id="halted" width="5" height="5" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><rect class="halted" width="5" height="5"/>'
    '<rect class="stripe" width="2" height="5"/></pattern>'
    '<pattern id="reduced" width="5" height="5" patternUnits="userSpaceOnUse">'
    '<rect class="reduced" width="5" height="5"/><circle class="dot" cx="2.5" cy="2.5" r="1.1"/>'
    "</pattern></defs>"
)


def _svg(name: str, title: str, says: str, height: float, body: str) -> Html:
    return Html(
        f'<div class="wide"><svg role="img" aria-labelledby="{name}-t {name}-d" '
        f'viewBox="0 0 {WIDE} {height:g}">'
        f'<title id="{name}-t">{text(title)}</title><desc id="{name}-d">{text(says)}</desc>'
        f"{body}</svg></div>"
    )


def by_day(days: Sequence[ReportDay], says: str) -> Html:
    """Draw the hours of each day in which a term was in force, by mode; a mark where it was stopped."""
    width = (WIDE - LEFT) / max(1, len(days))
    bar = max(0.6, min(40.0, width * 0.84))
    paths = {"live": "", "reduced": "", "halted": ""}
    marks = []
    for at, day in enumerate(days):
        x = LEFT + at * width + (width - bar) / 2
        base = 0.0
        full = day.live_ms - day.reduced_ms - day.halted_ms
        for kind, ms in (("live", full), ("reduced", day.reduced_ms), ("halted", day.halted_ms)):
            if not ms:
                continue
            tall = ms / HOUR_MS
            paths[kind] += (
                f"M{x:.1f} {_y(base):.1f}V{_y(base + tall):.1f}h{bar:.1f}V{_y(base):.1f}z"
            )
            base += tall
        if day.stops:
            marks.append(f"M{x + bar / 2:.1f} {TOP - 3}l-3 -6h6z")
    body = [PATTERNS, *(_line(hour) for hour in range(0, DAY_HOURS + 1, 6))]
    body += [f'<path class="{kind}-bar" d="{path}"/>' for kind, path in paths.items() if path]
    body.append(f'<path class="stop" d="{"".join(marks)}"/>' if marks else "")
    step = -(-len(days) // LABELS) if days else 1
    for at in range(0, len(days), step):
        x = LEFT + (at + 0.5) * width
        body.append(f'<text x="{x:.1f}" y="{HIGH - 8}" text-anchor="middle">{days[at].day}</text>')
    return _svg("hours", "Hours in force, by day", says, HIGH, "".join(body))


def _y(hour: float) -> float:
    return HIGH - BOTTOM - hour / DAY_HOURS * (HIGH - TOP - BOTTOM)


def _line(hour: int) -> str:
    y = _y(hour)
    return (
        f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDE}"/>'
        f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{hour} h</text>'
    )


def by_name(name: str, title: str, rows: Sequence[tuple[str, int]]) -> Html:
    """Draw a bar for each name, the longest first; the count stands beside it."""
    most = max((count for _, count in rows), default=1)
    step, left = 20, 210
    body = []
    for at, (label, count) in enumerate(rows):
        y = at * step
        long = max(1.0, count / most * (WIDE - left - 70))
        body.append(
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{text(_short(label))}</text>'
            f'<rect class="bar" x="{left}" y="{y + 3}" width="{long:.1f}" height="14"/>'
            f'<text x="{left + long + 6:.1f}" y="{y + 14}">{count:,}</text>'
        )
    says = "; ".join(f"{label}: {count}" for label, count in rows)
    return _svg(name, title, says, max(1, len(rows)) * step, "".join(body))


def _short(label: str, most: int = 34) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"


def timeline(incident: ReportIncident) -> Html:
    """Draw when something was told around a stop, on a line from the beginning to the end."""
    moments, high = incident.moments, 74
    begin = min((item.at_ms for item in moments), default=incident.issued_ms)
    end = max((item.at_ms for item in moments), default=incident.issued_ms)
    span = max(1, end - begin)

    def x(at_ms: int) -> float:
        return 10 + (at_ms - begin) / span * (WIDE - 20)

    ticks = sorted({round(x(item.at_ms), 1) for item in moments if item.entry is not None})
    answers = sorted({round(x(item.at_ms), 1) for item in moments if item.entry is None})
    stop = x(incident.issued_ms)
    side = "end" if stop > WIDE / 2 else "start"
    body = (
        f'<path class="grid" d="M10 40H{WIDE - 10}"/>'
        f'<path class="tick" d="{"".join(f"M{at} 32v16" for at in ticks)}"/>'
        f'<path class="answer" d="{"".join(f"M{at} 52v8" for at in answers)}"/>'
        f'<path class="stop" d="M{stop:.1f} 30l-5 -10h10z"/>'
        f'<text x="{stop:.1f}" y="14" text-anchor="{side}">{escape(incident.what)}</text>'
    )
    says = (
        f"{len(ticks)} instants with entries and {len(answers)} with receipts, in "
        f"{span / 60_000:.1f} minutes; the triangle is the stop."
    )
    return _svg("line", "Around the stop", says, high, body)
