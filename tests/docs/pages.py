"""Reading the documents: their blocks, their commands, their tables."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
NOT_RUN = "<!-- not run -->"

# What differs from run to run, made equal.
VARIES = [
    # Whether a time is today, and so has no date, depends on when one looks.
    (r"(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d(\.\d+)?", "TIME"),
    (r"\d{4}-\d\d-\d\d", "DATE"),
    (r"\d+(\.\d+)? ms", "N ms"),
    (r"\(in \d+ (s|min|h|d)\)", "(in N)"),
    (r"ed25519:[A-Za-z0-9+/=]{44}", "PUBLIC"),
    (r"\b(?=[a-f]*\d)[0-9a-f]{12,64}\b", "HEX"),
    (r"^(\S+) +[0-9a-f]{6}\b", r"\1 INSTANCE"),
    (r"\b(pod-\d+):[0-9a-f]{6}\b", r"\1:INSTANCE"),
    # state, term, in flight; permits and skipped grow while one looks
    (r"\b(armed|cold|lapsed|latched) +(\d+) +(\d+) +\d+ +\d+", r"\1 \2 \3 COUNT COUNT"),
    (r" +", " "),
]


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str
    line: int
    run: bool


class Step(NamedTuple):
    """A command of a page and the lines it should print."""

    command: str
    shown: list[str]
    line: int


def pages() -> list[Path]:
    """Every document that people read."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text()
    found = []
    for match in BLOCK.finditer(text):
        before = text[: match.start()].rstrip()
        line = text.count("\n", 0, match.start()) + 2
        body = textwrap.dedent(match[3])
        found.append(Block(match[2], body, line, not before.endswith(NOT_RUN)))
    return found


def steps(block: Block) -> list[Step]:
    """The commands of a console block."""
    found: list[Step] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            found.append(Step(line[2:], [], number))
        elif found and found[-1].command.endswith("\\") and line.startswith("> "):
            found[-1] = found[-1]._replace(command=f"{found[-1].command[:-1]}{line[2:]}")
        else:
            assert found, f"line {number} comes before a command"
            found[-1].shown.append(line)
    return found


def same(line: str) -> str:
    """Return a line with everything that varies replaced."""
    for pattern, replacement in VARIES:
        line = re.sub(pattern, replacement, line)
    return line.strip()


def fits(shown: list[str], said: list[str]) -> bool:
    """Tell whether output is what the page shows; a line `...` stands for any lines."""
    if not shown:
        return not said
    if shown[0] == "...":
        return any(fits(shown[1:], said[start:]) for start in range(len(said) + 1))
    return bool(said) and shown[0] == said[0] and fits(shown[1:], said[1:])


def table(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading of a page."""
    text = BLOCK.sub("", text)  # a comment in Python looks like a heading
    part = re.split(rf"^#+ {re.escape(heading)}$", text, maxsplit=1, flags=re.MULTILINE)[1]
    part = re.split(r"^#+ ", part, maxsplit=1, flags=re.MULTILINE)[0]
    rows = re.search(r"^\|.*\n\|[ -|]*\n((?:\|.*\n?)*)", part, re.MULTILINE)
    assert rows, f"no table below {heading}"
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows[1].splitlines()]
