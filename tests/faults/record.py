"""What one run of one row leaves behind; `run.py` makes the table and the verdict of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("FAULTS_FOLDER", ROOT / "build" / "faults"))


class Record(msgspec.Struct, kw_only=True):
    """One case on one server; all counts are the witness's or the workers' own.

    Attributes:
        rows: Numbers of the fault table (docs/explanation/faults.md).
        said: What each `revoke` said.
        accepted_before: Guarded orders that the venue accepted before anything was done.
        attempts_after: Orders that the guarded workers wanted to send after their bounds.
        control_accepted_after: What the venue accepted of the trader without a guard after them.
        late: Guarded orders that were permitted, or accepted, after the bound of their worker.
        closed_ms: The last guard's closing, after the instant that its bound counts from; None
            when it was closed before.
        last_accept_ms: The same of the last guarded order that the venue accepted.
        bound_ms: The bound of that guard.
        states: Phase and reason of each guard at the end.
        faults: Why the case failed; empty when it did not.
    """

    rows: list[int]
    case: str
    server: str
    said: list[str] = []
    accepted_before: int = 0
    attempts_after: int = 0
    control_accepted_after: int = 0
    late: int = 0
    closed_ms: float | None = None
    last_accept_ms: float | None = None
    bound_ms: float = 0.0
    states: list[str] = []
    faults: list[str] = []

    def keep(self) -> None:
        """Write it to its file."""
        folder = FOLDER / "cases"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.case}-{self.server}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self)))


def read_all() -> list[Record]:
    """Return the records of this run, by row and case."""
    paths = sorted((FOLDER / "cases").glob("*.json"))
    found = [msgspec.json.decode(path.read_bytes(), type=Record) for path in paths]
    return sorted(found, key=lambda item: (item.rows, item.case, item.server))


def rows_of(text: str) -> list[int]:
    """Return the numbers that a docstring names, alone or in a list such as "4, 9 and 11"."""
    lists = re.findall(r"\b[Rr]ows? (\d+(?:(?:, and |, | and )\d+)*)", text)
    return [int(number) for item in lists for number in re.findall(r"\d+", item)]
