"""`make bench`: run all benchmarks, one after the other, and sum them up in one line.

    python benchmarks/run.py [--only hot_path,verification] [--out build/bench.json]

Prints each table when it is there, writes all of it as JSON, and exits 0 whatever was missed: a
figure is no test. A script that fails is told at the end, and then the exit code is 1.
"""

from __future__ import annotations

import json
import os
import platform
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
    "cold_revoke",
    "raw_removal",
    "server_cost",
    "propagation",
)
OUT = "build/bench.json"


def cpu_ticks() -> tuple[int, int]:
    """Return all ticks of the machine's cores so far, and those that its host took away."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:  # not Linux
        return 0, 0
    ticks = [int(field) for field in fields]
    return sum(ticks[:8]), ticks[7]


def run(name: str) -> dict[str, Any] | None:
    done = subprocess.run(
        [sys.executable, str(lab.HERE / f"bench_{name}.py"), "--json"],
        env=lab.environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        return None
    return json.loads(done.stdout.splitlines()[-1])


def summary(benches: list[dict[str, Any]], failed: list[str], stolen: float) -> str:
    rows = [row for bench in benches for row in bench["rows"]]
    judged = [row for row in rows if row["limit"] is not None]
    missed = [row for row in judged if row["verdict"] == "MISSED"]
    loads = [row["load"] for row in rows] or [0.0]
    line = (
        f"bench: {len(rows)} figures, {len(judged) - len(missed)} of {len(judged)} within their limits"
        f"; load {min(loads):.1f} to {max(loads):.1f} on {os.cpu_count()} cores"
        f", {stolen:.0%} of them stolen by the host"
    )
    if missed:
        worst = max(missed, key=lambda row: row["ratio"] / row["limit"])
        line += f"; the worst miss: {worst['what']} ({worst['ratio']:.2f})"
    return line + (f"; FAILED: {', '.join(failed)}" if failed else "")


def main() -> int:
    names = (lab.option("--only") or ",".join(SCRIPTS)).split(",")
    benches, failed = [], []
    started, (all_before, stolen_before) = time.time(), cpu_ticks()
    for name in names:
        bench = run(name)
        if bench is None:
            failed.append(name)
            continue
        benches.append(bench)
        lab.show(bench["bench"], [lab.Row.read(row) for row in bench["rows"]], bench["notes"])
        sys.stdout.flush()
    all_after, stolen_after = cpu_ticks()
    share = (stolen_after - stolen_before) / max(1, all_after - all_before)
    line = summary(benches, failed, share)
    out = Path(lab.option("--out") or OUT)
    out.parent.mkdir(parents=True, exist_ok=True)
    machine = {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} on {platform.machine()}",
        "python": platform.python_version(),
        "stolen": share,
    }
    found = {"at": int(started), "machine": machine, "benches": benches, "summary": line}
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"\n{out}\n{line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
