"""Writes the parts of architecture.md that follow from the code.

The floors come from the layers in `[tool.importlinter]`, the words about each room from the docstring of
its package, the places of the rules from the numbers beside the lines.
`python docs/explanation/floors.py` writes the page anew; a test holds the two together.
"""

from __future__ import annotations

import ast
import re
import textwrap
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = Path(__file__).with_name("architecture.md")
PROTOCOL = PAGE.with_name("protocol.md")
WIDTH = 96
HOMES = {"golive_redis": ROOT / "golive_redis", "golive_cli": ROOT / "cli" / "golive_cli"}


def contracts() -> list[dict[str, object]]:
    """Return the import contracts, as they are checked."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def floors() -> list[list[str]]:
    """Return the rooms of each floor by their dotted names, the highest floor first."""
    (layers,) = (contract["layers"] for contract in contracts() if contract["id"] == "one-way")
    return [re.split(r" [|:] ", layer) for layer in layers]


def home(room: str) -> Path:
    """Return where a package or a module is; of a module, without its ending."""
    top, *rest = room.split(".")
    return HOMES[top].joinpath(*rest)


def docstring(room: str) -> str:
    """Return the docstring of a package or a module."""
    path = home(room)
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.get_docstring(ast.parse(source.read_text())) or ""


def summary(room: str) -> str:
    """Return the first sentence about a room, without its final stop."""
    first = " ".join(docstring(room).split("\n\n", 1)[0].split())
    return re.split(r"(?<=\w)\.(?: |$)", first)[0].replace("`", "")


def box(room: str, width: int) -> list[str]:
    """Return the lines of one room, each `width` characters wide."""
    name = room.removeprefix("golive_redis.")
    title = f"{name}/" if home(room).is_dir() else f"{name}.py"
    lines = [title, *textwrap.wrap(summary(room), width - 4)]
    return [f"| {line:<{width - 4}} |" for line in lines]


def picture() -> str:
    """Return the drawing of the floors."""
    drawn = []
    stack = floors()
    for number, rooms in zip(range(len(stack), 0, -1), stack, strict=True):
        width = WIDTH // len(rooms)
        boxes = [box(room, width) for room in rooms]
        height = max(map(len, boxes))
        drawn.append("   " + " ".join("+" + "-" * (width - 2) + "+" for _ in rooms))
        for row in range(height):
            cells = [lines[row] if row < len(lines) else f"|{'':{width - 2}}|" for lines in boxes]
            drawn.append(f"{number if row == 0 else '':>2} " + " ".join(cells))
    drawn.append("   " + "+" + "-" * (WIDTH - 2) + "+")
    return "\n".join(["```text", *drawn, "```"])


def packages() -> list[str]:
    """Return every package by its dotted name, the highest floor first, then by name."""
    found = [
        ".".join((top, *init.parent.relative_to(folder).parts))
        for top, folder in HOMES.items()
        for init in folder.rglob("__init__.py")
    ]
    order = [room for floor in floors() for room in floor]

    def place(name: str) -> tuple[int, str]:
        return next(i for i, room in enumerate(order) if f"{name}.".startswith(f"{room}.")), name

    return sorted((name for name in found if name != "golive_redis"), key=place)


def rooms() -> str:
    """Return a paragraph for each package: what belongs there, what does not, where to begin."""
    out = []
    for name in packages():
        folder = home(name).relative_to(ROOT)
        # Indented parts are examples of code.
        parts = [part for part in docstring(name).split("\n\n") if not part.startswith(" ")]
        text = f"**`{folder}/`** " + " ".join(" ".join(parts).split())
        out.append(textwrap.fill(text, 120, break_on_hyphens=False, break_long_words=False))
    return "\n\n".join(out)


def kept() -> str:
    """Return what the contracts say, one line each."""
    return "\n".join(f"- {contract['name']} (`{contract['id']}`)." for contract in contracts())


def rules() -> str:
    """Return a table of the rules, and of the files in which their numbers stand beside lines."""
    named = re.findall(r"^### (S[0-9]+) (.+)$", PROTOCOL.read_text(), re.MULTILINE)
    package = HOMES["golive_redis"]
    sources = sorted([*package.rglob("*.py"), *package.rglob("*.lua")])
    rows = ["| rule | | files in `golive_redis/` |", "| --- | --- | --- |"]
    for number, title in named:
        mark = re.compile(rf"(?:#|--) .*\b{number}\b")
        files = [path for path in sources if mark.search(path.read_text())]
        where = " ".join(f"`{path.relative_to(package)}`" for path in files)
        rows.append(f"| {number} | {title} | {where} |")
    return "\n".join(rows)


MADE = {"floors": picture, "rooms": rooms, "contracts": kept, "rules": rules}


def page(text: str) -> str:
    """Return the page with its made parts as they follow from the code now."""
    for name, make in MADE.items():
        begin, end = f"<!-- made by floors.py: {name} -->\n", "<!-- end -->"
        before, rest = text.split(begin, 1)
        text = before + begin + make() + "\n" + end + rest.split(end, 1)[1]
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
