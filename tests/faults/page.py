"""The fault table of the documents, and whether what it names exists and has run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from .record import ROOT, Record, rows_of

PAGE = ROOT / "docs" / "explanation" / "faults.md"
TESTS = ROOT / "tests"
LAST = 121


def named() -> dict[int, list[str]]:
    """Return the names in the last column of each row."""
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {int(number): re.findall(r"`([^`]+)`", cell) for number, cell in rows}


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Return name and docstring of a file and of each test in it."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module):
            yield "", ast.get_docstring(node) or ""
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name, ast.get_docstring(node) or ""


def cases() -> dict[str, set[int]]:
    """Return the rows of each case of the matrix, as written: with parameters there are more."""
    return {
        name.removeprefix("test_").replace("_", "-"): set(rows_of(text))
        for path in sorted(Path(__file__).parent.glob("rows_*.py"))
        for name, text in docstrings(path)
        if name
    }


def missing(played: Iterable[tuple[str, Iterable[int]]]) -> list[str]:
    """Return what is wrong with the page, given cases and their rows."""
    known = {name: set(rows) for name, rows in played}
    page = named()
    out = []
    if list(page) != list(range(1, LAST + 1)):
        out.append(f"{PAGE.name}: the rows are not 1 to {LAST}")
    for number, names in page.items():
        if not names:
            out.append(f"row {number} names nothing that shows it")
        out += [
            f"row {number}: {name} does not show it"
            for name in names
            if not _shows(name, number, known)
        ]
    for case, rows in known.items():
        out += [
            f"row {number} does not name {case}"
            for number in sorted(rows)
            if not any(_is(case, name) for name in page.get(number, []))
        ]
    return out


def _shows(name: str, number: int, known: dict[str, set[int]]) -> bool:
    if not name.endswith(".py"):
        return any(_is(case, name) and number in rows for case, rows in known.items())
    path = TESTS / name
    return path.exists() and any(number in rows_of(text) for _, text in docstrings(path))


def _is(case: str, name: str) -> bool:
    """Tell whether a case is the one of that name, with or without a parameter."""
    return case == name or case.startswith(f"{name}-")


def unproved(records: list[Record]) -> list[str]:
    """Compare the page with the records of a run."""
    return missing((record.case, record.rows) for record in records)
