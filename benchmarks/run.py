"""`make bench`: run all benchmarks, one after the other, and sum them up in one line.

    python benchmarks/run.py [--only hot_path,verification] [--out build/bench.json]

Prints each table when it is there and writes all of it as JSON. Exits 0 when every limit was met and
every figure taken, else 1. A script that fails or hangs is a note, and the others are run.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lab

# Roughly from short to long.
SCRIPTS = (
    "imports",
    "hot_path",
    "verification",
    "audit",
    "cold_revoke",
    "stop_card",
    "cold_commands",
    "raw_removal",
    "server_cost",
    "propagation",
)
OUT = "build/bench.json"
PATIENCE_S = 600  # for one script: on a quiet machine none takes half of it


def cpu_ticks() -> tuple[int, int]:
    """Return all ticks of the machine's cores so far, and those that its host took away."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:  # not Linux
        return 0, 0
    ticks = [int(field) for field in fields]
    return sum(ticks[:8]), ticks[7]


def run(name: str) -> dict[str, Any]:
    """Return what a script has found; of one that fails or hangs, an empty table with the reason."""
    script = [sys.executable, str(lab.HERE / f"bench_{name}.py"), "--json"]
    # In a session of its own, so that what it started ends with it.
    with subprocess.Popen(
        script, env=lab.environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=PATIENCE_S)
            why = f"exit code {process.returncode}"
        except subprocess.TimeoutExpired:
            output, why = "", f"it did not end within {PATIENCE_S} s"
            os.killpg(process.pid, signal.SIGKILL)
    if output and not process.returncode:
        return json.loads(output.splitlines()[-1])
    return {"bench": name, "rows": [], "notes": [f"{name}: not measured: {why}"]}


def unmeasured(benches: list[dict[str, Any]]) -> list[str]:
    """Return the notes that say what could not be measured."""
    return [note for bench in benches for note in bench["notes"] if ": not measured: " in note]


def summary(benches: list[dict[str, Any]], stolen: float) -> str:
    rows = [row for bench in benches for row in bench["rows"]]
    judged = [row for row in rows if row["limit"] is not None]
    missed = [row for row in judged if row["verdict"] == "MISSED"]
    loads = [row["load"] for row in rows] or [0.0]
    line = (
        f"bench: {len(rows)} figures, {len(judged) - len(missed)} of {len(judged)} within their limits"
        f"; load {min(loads):.1f} to {max(loads):.1f} on {lab.cores()} cores"
        f", {stolen:.0%} of them stolen by the host"
    )
    if missed:
        worst = max(missed, key=lambda row: row["ratio"] / row["limit"])
        line += f"; the worst miss: {worst['what']} ({worst['ratio']:.2f})"
    absent = [note.split(": not measured: ")[0] for note in unmeasured(benches)]
    return line + (f"; NOT MEASURED: {', '.join(absent)}" if absent else "")


def main() -> int:
    names = (lab.option("--only") or ",".join(SCRIPTS)).split(",")
    benches = []
    started, (all_before, stolen_before) = time.time(), cpu_ticks()
    for name in names:
        bench = run(name)
        benches.append(bench)
        lab.show(bench["bench"], [lab.Row.read(row) for row in bench["rows"]], bench["notes"])
        sys.stdout.flush()
    all_after, stolen_after = cpu_ticks()
    share = (stolen_after - stolen_before) / max(1, all_after - all_before)
    line = summary(benches, share)
    out = Path(lab.option("--out") or OUT)
    out.parent.mkdir(parents=True, exist_ok=True)
    machine = {
        "cores": lab.cores(),
        "system": f"{platform.system()} on {platform.machine()}",
        "python": platform.python_version(),
        "stolen": share,
    }
    found = {"at": int(started), "machine": machine, "benches": benches, "summary": line}
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"\n{out}\n{line}")
    missed = any(row["verdict"] == "MISSED" for bench in benches for row in bench["rows"])
    return 1 if missed or unmeasured(benches) else 0


if __name__ == "__main__":
    sys.exit(main())
