"""Put the figures of the last `make bench` into docs/explanation/performance.md, between its markers.

python benchmarks/page.py [build/bench.json]
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

import lab
from run import OUT

PAGE = lab.HERE.parent / "docs" / "explanation" / "performance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def table(bench: dict[str, Any]) -> list[str]:
    lines = [f"### {bench['bench'][0].upper()}{bench['bench'][1:]}", ""]
    lines += [
        "| what | floor | ours | ratio | limit | noise | load |",
        "|---|---|---|---|---|---|---|",
    ]
    for fields in bench["rows"]:
        row = lab.Row.read(fields)
        limit = "" if row.limit is None else lab.number(row.limit)
        limit += f" {row.unit}" if limit and row.of == "ours" else ""
        ratio = f"**{row.ratio:.2f}**" if row.verdict == "MISSED" else f"{row.ratio:.2f}"
        floor, ours = (f"{lab.number(value)} {row.unit}" for value in (row.floor, row.ours))
        rest = f"{ratio} | {limit} | {row.noise:.0%} | {row.load:.1f}"
        lines.append(f"| {row.what} | {floor} | {ours} | {rest} |")
    return [*lines, "", *(f"- {note.strip()}" for note in bench["notes"]), ""]


def main() -> None:
    found = json.loads(Path(sys.argv[1] if sys.argv[1:] else OUT).read_text())
    machine = found["machine"]
    day = dt.datetime.fromtimestamp(found["at"], dt.UTC).strftime("%d %B %Y")
    where = f"{machine['cores']} cores, {machine['system']}, Python {machine['python']}"
    lines = [f"Measured on {day}: {where}.", "", f"`{found['summary']}`", ""]
    for bench in found["benches"]:
        lines += table(bench)
    before, rest = PAGE.read_text().split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines).rstrip() + f"\n\n{END}{after}")


if __name__ == "__main__":
    main()
