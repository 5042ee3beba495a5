"""HTML by hand: escaped text, tables, instants. What others wrote reaches the page escaped only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from golive_redis.audit.words import utc
from golive_redis.masking import printable

NOT_TOLD = "not in the ledger"


class Html(str):
    """Text that is markup already; every other text is escaped before it becomes part of a page."""

    __slots__ = ()


Cell = str | int | None


def text(value: Cell) -> Html:
    """Return a value as markup. What is not printable is shown as an escape, also what turns a line.

    Each text keeps its own direction (`bdi`), so that one in Hebrew or Arabic moves nothing beside it.
    """
    if isinstance(value, Html):
        return value
    if value is None:
        return Html(f'<span class="none">{NOT_TOLD}</span>')
    if isinstance(value, int):
        return Html(f"{value:,}")
    safe = escape(printable(value))
    return Html(safe if value.isascii() else f"<bdi>{safe}</bdi>")


def joined(values: Iterable[Cell], between: str = ", ") -> Html:
    """Return values one after the other."""
    return Html(between.join(text(value) for value in values))


def moment(unix_ms: int | None) -> Html:
    """Return an instant in UTC, which breaks between day and time."""
    if unix_ms is None:
        return text(None)
    day, _, time = utc(unix_ms).partition(" ")
    return Html(f"<time><span>{escape(day)}</span> <span>{escape(time)}</span></time>")


def seconds(ms: int | None) -> Html:
    """Return a duration in seconds, to the ms."""
    return text(None) if ms is None else Html(f"{ms / 1000:,.3f}&nbsp;s")


def hours(ms: int) -> Html:
    """Return a duration in hours, to a hundredth."""
    return Html(f"{ms / 3_600_000:,.2f}")


def table(
    caption: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    numbers: frozenset[int] = frozenset(),
    words: frozenset[int] = frozenset(),
    most: int = 400,
    none: str = "None in this period.",
) -> Html:
    """Return a table whose first column names its rows; of more than `most` rows the newest are shown.

    Args:
        caption: Says what it is.
        heads: Of the columns.
        rows: Their cells.
        numbers: Columns that stand to the right.
        words: Columns with what people wrote: they break anywhere, for it may be one word.
        most: Rows that are shown; all of them are in `report.json`.
        none: Said where there is no row.
    """
    if not rows:
        return Html(f"<p>{text(none)}</p>")
    left_out = max(0, len(rows) - most)
    out = [
        f'<div class="wide" role="region" aria-label="{escape(caption)}" tabindex="0"><table>',
        f"<caption>{text(caption)}</caption><thead><tr>",
        *(
            f"<th scope=col{_class(at, numbers, words)}>{text(head)}</th>"
            for at, head in enumerate(heads)
        ),
        "</tr></thead><tbody>",
    ]
    for row in rows[left_out:]:
        out.append(f"<tr><th scope=row{_class(0, numbers, words)}>{text(row[0])}</th>")
        out += [
            f"<td{_class(at, numbers, words)}>{text(cell)}</td>"
            for at, cell in enumerate(row)
            if at
        ]
        out.append("</tr>")
    out.append("</tbody></table></div>")
    if left_out:
        out.append(f"<p>{left_out:,} earlier ones are in <code>report.json</code>.</p>")
    return Html("".join(out))


def _class(at: int, numbers: frozenset[int], words: frozenset[int]) -> str:
    if at in numbers:
        return " class=n"
    return " class=w" if at in words else ""


def section(name: str, title: str, *parts: str) -> Html:
    """Return a section with a heading that the table of contents points to."""
    body = "".join(parts)
    return Html(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{text(title)}</h2>{body}</section>'
    )
