"""What somebody waits for who types `golive status`, `workers` or `halt`, from start to exit.

Against a bare redis-py process that pings the same server. One guard trades meanwhile, and a halt
waits for its answer.

    python benchmarks/bench_cold_commands.py [--json] [--rounds N]
"""

from __future__ import annotations

import subprocess
import sys
import time

import lab
from bench_cold_revoke import command
from layout import fleet, timing

LIMIT = 1.3
ROUNDS = 25
COMMANDS = ("status", "workers", "halt")


def took_ms(words: list[str]) -> float:
    """Return how long a process runs.

    Raises:
        NotMeasuredError: It failed.
    """
    started = time.perf_counter()
    done = subprocess.run(words, env=lab.environment(), capture_output=True, check=False)
    took = (time.perf_counter() - started) * 1000
    if done.returncode:
        raise lab.NotMeasuredError(f"exit code {done.returncode}: {done.stderr[-100:]!r}")
    return took


def main() -> None:
    rounds = int(lab.option("--rounds") or ROUNDS)
    table: list[lab.Row] = []
    notes: list[str] = []

    def measure() -> None:
        with lab.switch(timing(1)) as switch, fleet("guards", 1, str(switch.path)):
            switch.activate()
            port = switch.server.port
            bare = [sys.executable, "-c", f"import redis; redis.Redis(port={port}).ping()"]
            for name in COMMANDS:
                words = [*command(), name, "--config", str(switch.path)]
                if name == "halt":
                    words += ["--reason", "bench"]
                pairs = lab.interleaved(
                    lambda: took_ms(bare), lambda words=words: took_ms(words), rounds
                )
                table.append(lab.compared(f"golive {name}, start -> exit", pairs, LIMIT, "ms"))

    lab.tried(notes, "cold commands", measure)
    lab.report("commands from a cold start (floor: a redis-py process that pings)", table, notes)


if __name__ == "__main__":
    main()
