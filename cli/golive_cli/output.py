"""What a command prints: results on stdout, errors and notes on stderr, `--json` as one object.

Text that comes from Redis, from files or from other people is escaped before it reaches a terminal:
the author of a reason or a label must not be able to move its cursor. Every write survives a
reader that went away, so that the exit code still tells what happened.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TextIO

import msgspec

from golive_redis.masking import printable

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

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
        """Print a table for people: drawn on a terminal, plain aligned columns elsewhere."""
        if self.as_json:
            return
        write(sys.stdout, _drawn(headers, rows) if self.terminal else plain(headers, rows))

    def live(self) -> Live:
        """Return a view on this terminal that `drawing` can be shown on, again and again."""
        from rich.console import Console
        from rich.live import Live

        return Live(console=Console(highlight=False), auto_refresh=False)

    def drawing(self, headers: Sequence[str], rows: Sequence[Sequence[Piece]]) -> Table:
        """Return a table to be drawn on a terminal."""
        return _table(headers, rows)

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
    """Return an instant for people; with its date when that is not today."""
    at, now = time.localtime(unix_ms / 1000), time.localtime()
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


def plain(headers: Sequence[str], rows: Sequence[Sequence[Piece]]) -> str:
    """Return a table as aligned columns, without colours or lines."""
    lines = ["".join(map(_text, row)).rstrip() for row in plain_rows(headers, rows)]
    return "\n".join([*lines, ""])


def plain_rows(headers: Sequence[str], rows: Sequence[Sequence[Piece]]) -> list[list[Piece]]:
    """Return a table as aligned columns, whose cells keep their colours."""
    lines: list[Sequence[Piece]] = [list(headers), *rows]
    cells = [[printable(_text(cell)) for cell in line] for line in lines]
    widths = [max(map(len, column)) + 2 for column in zip(*cells, strict=True)]
    widths[-1] = 0  # nothing follows the last one
    return [
        [
            Painted(text.ljust(width), cell.colour)
            if isinstance(cell, Painted)
            else text.ljust(width)
            for cell, text, width in zip(line, texts, widths, strict=True)
        ]
        for line, texts in zip(lines, cells, strict=True)
    ]


def _table(headers: Sequence[str], rows: Sequence[Sequence[Piece]]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(*headers, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        # Text, not str: rich would read [brackets] in a reason as its markup.
        table.add_row(
            *(
                Text(printable(_text(cell)), style=cell.colour if isinstance(cell, Painted) else "")
                for cell in row
            )
        )
    return table


def styled(lines: Sequence[Sequence[Piece]]) -> Text:
    """Return lines as a text that rich shows, in their colours."""
    from rich.text import Text

    out = Text(no_wrap=True, overflow="crop")
    for number, line in enumerate(lines):
        out.append("\n" if number else "")
        for piece in line:
            out.append(printable(_text(piece)), piece.colour if isinstance(piece, Painted) else "")
    return out


def _drawn(headers: Sequence[str], rows: Sequence[Sequence[Piece]]) -> str:
    from rich.console import Console

    console = Console(highlight=False)
    # Captured, because rich ends the process by itself when its reader went away.
    with console.capture() as captured:
        console.print(_table(headers, rows))
    return captured.get()
