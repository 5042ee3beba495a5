"""What a command prints: results on stdout, errors and notes on stderr, `--json` as one object.

A table has the same form on a terminal, in a pipe and in the documents. Text that comes from Redis,
from files or from other people is escaped before it reaches a terminal: the author of a reason or a
label must not be able to move its cursor. Every write survives a reader that went away, so that the
exit code still tells what happened.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple, TextIO

import msgspec

from golive_redis.masking import printable

WIDTH = 80
GAP = INDENT = "  "
MIN_TEXT = 16  # a sentence is not wrapped into less
_ANSI = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "bold": "1", "dim": "2"}


# What became of a directive's audit entry, by the word that `--json` has for it.
AUDIT = {
    "written": "audit entry written",
    "spooled": "audit entry saved on this host; it is sent later",
    "failed": "NO AUDIT ENTRY",
}


class Painted(NamedTuple):
    """A piece of text with a colour (`red green yellow blue bold dim`), where colours are shown."""

    text: str
    colour: str


Piece = str | Painted
# Descriptors whose reader went away; what shows something for ever ends then.
gone: set[int] = set()


class Output:
    """Where one command prints.

    Args:
        as_json: `--json` was given: `line` and `table` print nothing, `result` and `fail` print an
            object on stdout.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.terminal = (
            sys.stdout is not None
            and sys.stdout.isatty()
            and os.environ.get("TERM", "dumb") != "dumb"
        )
        self.coloured = self.terminal and not os.environ.get("NO_COLOR")

    def result(self, value: object) -> None:
        """Print the result as JSON, if that was asked for; to people, commands print lines."""
        if self.as_json:
            write(sys.stdout, msgspec.json.encode(value).decode() + "\n")

    def line(self, *pieces: Piece) -> None:
        """Print one line for people."""
        if not self.as_json:
            write(sys.stdout, "".join(map(self._shown, pieces)) + "\n")

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[Piece]]) -> None:
        """Print a table for people, no wider than the terminal or than $COLUMNS says."""
        for line in laid_out(headers, rows, self._width()):
            self.line(*line)

    def _width(self) -> int | None:
        """Return how wide a table may be; without end where nobody looks at it, but a program."""
        said = os.environ.get("COLUMNS", "")
        if said.isascii() and said.isdigit() and int(said):
            return int(said)
        if not self.terminal:
            return None
        try:
            return os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH
        except (OSError, ValueError):
            return WIDTH

    def note(self, text: str) -> None:
        """Print a line on stderr that is no result: progress, advice, a warning."""
        write(sys.stderr, printable(text) + "\n")

    def fail(
        self, reason: str, message: str, hint: str = "", findings: Sequence[object] = ()
    ) -> None:
        """Print an error: on stderr, or as `{"error": ...}` on stdout with `--json`."""
        if self.as_json:
            error: dict[str, object] = {"reason": reason, "message": message, "hint": hint}
            if findings:
                error["findings"] = findings
            try:
                self.result({"error": error})
            except OSError:  # stdout may be what failed; then it is said on stderr
                pass
            else:
                return
        write(
            sys.stderr,
            f"error: {printable(message)}\n" + (f"hint: {printable(hint)}\n" if hint else ""),
        )

    def _shown(self, piece: Piece) -> str:
        text = printable(_text(piece))
        if isinstance(piece, Painted) and self.coloured:
            return f"\x1b[{_ANSI[piece.colour]}m{text}\x1b[0m"
        return text


def place(environment: str, namespace: str) -> str:
    """Name the switch that a command acts on: each result says which."""
    return f"{environment} ({namespace})"


def when(unix_ms: int) -> str:
    """Return an instant for people; with its date when that is not today.

    What no calendar has, for a record may carry any number, is shown as that number.
    """
    try:
        at, now = time.localtime(unix_ms / 1000), time.localtime()
    except (OverflowError, ValueError, OSError):
        return f"{unix_ms} ms"
    return time.strftime("%H:%M:%S" if at[:3] == now[:3] else "%Y-%m-%d %H:%M:%S", at)


def write(stream: TextIO | None, text: str) -> None:
    """Write and flush; a reader that went away is no error, a full disk is one."""
    if stream is None:  # started with a closed descriptor
        return
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # What is still in the buffer goes nowhere, instead of failing again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        gone.add(stream.fileno())


def _text(piece: Piece) -> str:
    return piece.text if isinstance(piece, Painted) else piece


def plain_rows(headers: Sequence[str], rows: Sequence[Sequence[Piece]]) -> list[list[Piece]]:
    """Return a table as aligned columns with a line for each row, however long, in its colours."""
    cells = [[_Cell.of(piece) for piece in row] for row in (headers, *rows)]
    widths = [max(len(cell.text) for cell in column) for column in zip(*cells, strict=True)]
    return [_line(row, widths) for row in cells]


def laid_out(
    headers: Sequence[str], rows: Sequence[Sequence[Piece]], width: int | None
) -> list[list[Piece]]:
    """Return a table as aligned columns whose lines are no longer than `width`, in their colours.

    Nothing is cut, for rows may differ in anything. Where they are too long, the last column, which
    has the sentences, is wrapped or stands below its row, and a long name above it: of these the way
    that takes the fewest lines.

    Args:
        headers: Of the columns, the first of which has the names.
        rows: A cell for each header.
        width: In characters; None is without end.
    """
    table = plain_rows(headers, rows)
    if width is None or _widest(table) <= width:
        return table
    cells = [[_Cell.of(piece) for piece in row] for row in (headers, *rows)]
    ways = [
        _folded(cells, width, above=above, below=below)
        for above in (False, True)
        for below in (False, True)
    ]
    fitting = [lines for lines in ways if _widest(lines) <= width]
    # On a terminal that is too narrow for anything it breaks the lines by itself.
    return min(fitting, key=len) if fitting else ways[-1]


class _Cell(NamedTuple):
    """A cell as it is shown, and its colour or ""."""

    text: str
    colour: str

    @classmethod
    def of(cls, piece: Piece) -> _Cell:
        colour = piece.colour if isinstance(piece, Painted) else ""
        return cls(printable(_text(piece)), colour)

    def piece(self, width: int = 0) -> Piece:
        text = self.text.ljust(width)
        return Painted(text, self.colour) if self.colour else text


def _line(cells: Sequence[_Cell], widths: Sequence[int]) -> list[Piece]:
    """Return a line of cells, with nothing behind the last that is not empty."""
    last = max((at for at, cell in enumerate(cells) if cell.text), default=0)
    return [
        cell.piece(width + len(GAP) if at < last else 0)
        for at, (cell, width) in enumerate(zip(cells[: last + 1], widths, strict=False))
    ]


def _folded(table: list[list[_Cell]], width: int, *, above: bool, below: bool) -> list[list[Piece]]:
    """Return a table with long names above their rows, and sentences wrapped or below them."""
    widths = [max(len(cell.text) for cell in column) for column in zip(*table, strict=True)]
    middle = sum(each + len(GAP) for each in widths[1:-1])
    if above:
        room = width - middle - (0 if below else len(GAP) + MIN_TEXT)
        names = [len(row[0].text) for row in table]
        widths[0] = max(names[0], *(each for each in names if each <= room), 0)
    beside = widths[0] + middle + len(GAP)
    indent = len(INDENT) if below else beside
    out: list[list[Piece]] = []
    for row in table:
        name, *rest, last = row
        if len(name.text) > widths[0]:
            out.append([name.piece()])
            name = _Cell("", "")
        text = _wrapped(last.text, width - indent, whole=not below)
        first = [] if below else text[:1]
        out.append(_line([name, *rest, *(_Cell(part, last.colour) for part in first)], widths))
        more = text[len(first) :]
        out += [[" " * indent, _Cell(part, last.colour).piece()] for part in more]
    return out


def _wrapped(text: str, width: int, *, whole: bool) -> list[str]:
    """Return a text in lines; `whole` leaves a word that is longer as it is."""
    import textwrap

    return textwrap.wrap(
        text, max(width, MIN_TEXT), break_long_words=not whole, break_on_hyphens=False
    )


def _widest(lines: Sequence[Sequence[Piece]]) -> int:
    return max(sum(len(_text(piece)) for piece in line) for line in lines)
