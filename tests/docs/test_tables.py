"""Tables in the documents are what a terminal of 80 columns shows, to the blank."""

from __future__ import annotations

import re

from golive_cli import fleetboard
from golive_cli.output import Painted, laid_out

WIDTH = 80
# What a table begins with: test_tables.py of the command holds these against --json.
HEADERS = {
    tuple(fleetboard.WORKER_HEADERS),
    tuple(fleetboard.HEARTBEAT_HEADERS),
    ("worker", "instance", "armed", "reason"),
    ("worker", "instance", "applied"),
    ("worker", "instance", "applied", "matches"),
    ("worker", "instance", "matches"),
    ("heartbeat", "latched", "durable"),
    ("worker", "instance", "latched", "in flight", "drained", "left", "durable"),
    ("worker", "instance", "latched", "in flight", "drained", "left", "durable", "off by"),
}
HEAD = re.compile(r"(worker|heartbeat|principal|pod)  +\S")


def text(line) -> str:
    return "".join(piece.text if isinstance(piece, Painted) else piece for piece in line)


def starts(header: str) -> list[int]:
    """Where the columns begin."""
    return [match.start() for match in re.finditer(r"\S+( \S+)*", header)]


def cells(line: str, at: list[int]) -> list[str]:
    """The cells of a line below a header."""
    return [line[a:b].strip() for a, b in zip(at, [*at[1:], None], strict=True)]


def is_row(line: str) -> bool:
    """Whether a line below a header has columns; sentences have no two blanks."""
    return "  " in line and not HEAD.match(line)


def test_every_table_is_laid_out_as_the_program_does(docs):
    seen = set()
    for page in docs.all:
        for block in docs.blocks(page):
            if block.language != "console":
                continue
            lines = block.text.splitlines()
            for number, header in enumerate(lines):
                if not HEAD.match(header):
                    continue
                at, where = starts(header), f"{page.name}:{block.line + number}"
                headers = cells(header, at)
                assert tuple(headers) in HEADERS, where
                seen.add(tuple(headers))
                rows = []
                for line in lines[number + 1 :]:
                    if not is_row(line):
                        break
                    rows.append(line)
                if lines[number + 1] == "...":  # rows that the page leaves out have set its widths
                    continue
                assert rows, where
                drawn = laid_out(headers, [cells(row, at) for row in rows], WIDTH)
                assert [text(line).rstrip() for line in drawn] == [header, *rows], where
                assert max(map(len, [header, *rows])) <= WIDTH, where
    assert len(seen) >= len(HEADERS) - 1  # the pattern still finds them
