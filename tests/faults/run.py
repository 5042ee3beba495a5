"""Play the fault matrix: every row on both servers, then one table and one verdict.

    python -m faults.run [arguments of pytest]

The records go to build/faults/faults.json, by row of docs/explanation/faults.md. With arguments
(`-k out_of_memory`) only a part is played, and the page is not compared with it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from .page import unproved
from .record import FOLDER, ROOT, Record, read_all

AT_ONCE = 6  # mostly they wait


def play(arguments: list[str]) -> int:
    """Run the rows, and return what pytest returns."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    command = [sys.executable, "-P", "-m", "pytest", "-q", "--tb=short", "-n", str(AT_ONCE)]
    command += ["-o", "python_files=rows_*.py", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def table(records: list[Record]) -> Table:
    """Return one line per row and server."""
    out = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("row", "case", "server", "revoke said"):
        out.add_column(column, no_wrap=True)
    for column in ("closed ms", "last order", "bound", "before", "tried", "control", "late"):
        out.add_column(column, justify="right")
    out.add_column("guards at the end", no_wrap=True)
    for item in records:
        states = Counter(item.states)
        out.add_row(
            ", ".join(map(str, item.rows)),
            item.case,
            item.server,
            ", ".join(item.said),
            _ms(item.closed_ms),
            _ms(item.last_accept_ms),
            _ms(item.bound_ms),
            str(item.accepted_before),
            str(item.attempts_after),
            str(item.control_accepted_after),
            str(item.late),
            ", ".join(f"{count} {state}" for state, count in states.items()),
            style="red" if item.faults else None,
        )
    return out


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def keep(records: list[Record]) -> None:
    """Write all records into one file, by row."""
    by_row: dict[int, list[Record]] = defaultdict(list)
    for item in records:
        for row in item.rows:
            by_row[row].append(item)
    ordered = {str(row): by_row[row] for row in sorted(by_row)}
    (FOLDER / "faults.json").write_bytes(msgspec.json.format(msgspec.json.encode(ordered)))


def summary(records: list[Record]) -> str:
    """Return the last line."""
    servers = sorted({item.server for item in records})
    played = Counter(item.case for item in records)
    alone = sum(count < len(servers) for count in played.values())
    text = f"faults: {len(played)} rows x {len(servers)} server{'s' * (len(servers) > 1)}"
    if alone:
        text += f" ({alone} of them on one)"
    text += f", {sum(item.late for item in records)} late"
    failed = [item for item in records if item.faults]
    return f"{text}, {len(failed)} failed" if failed else text


def main() -> int:
    """Return the exit code: 0 when every row holds, and the page is proved."""
    arguments = sys.argv[1:]
    code = play(arguments)
    records = read_all()
    if not records:
        print("faults: nothing was played")
        return code or 1
    keep(records)
    Console(width=220).print(table(records))
    for item in records:
        for fault in item.faults:
            print(f"{item.case} on {item.server}: {fault}")
    unshown = [] if arguments else unproved(records)
    for text in unshown:
        print(f"docs/explanation/faults.md: {text}")
    print(summary(records))
    return code or bool(unshown or any(item.faults for item in records))


if __name__ == "__main__":
    sys.exit(main())
