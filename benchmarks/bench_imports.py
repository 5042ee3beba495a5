"""What a worker pays to import golive_redis and to open a guard, and what it never imports.

python benchmarks/bench_imports.py [--json]
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import lab

ROUNDS = 15
FORBIDDEN = ("typer", "rich", "httpx", "prometheus_client", "pydantic", "click")
FLOOR = "import redis, yaml, msgspec, cryptography.hazmat.primitives.asymmetric.ed25519"
TIMED = """
import json, sys, time
started = time.perf_counter()
{code}
took = (time.perf_counter() - started) * 1000
print(json.dumps({{"ms": took, "found": sorted(set({names!r}) & set(sys.modules))}}))
{end}
"""


def run(code: str, end: str = "") -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", TIMED.format(code=code, names=FORBIDDEN, end=end)],
        env=lab.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def main() -> None:
    found: set[str] = set()

    def timed(code: str, end: str = "") -> float:
        result = run(code, end)
        found.update(result["found"])
        return result["ms"]

    with lab.switch(beating=False) as switch:
        opening = (
            "from golive_redis import Guard, Permit, Denial\n"
            f"guard = Guard.open({str(switch.path)!r}, worker='pod-7')"
        )
        rows = [
            lab.compared(what, lab.interleaved(lambda: timed(FLOOR), ours, ROUNDS), unit="ms")
            for what, ours in (
                ("import golive_redis", lambda: timed("import golive_redis")),
                ("from golive_redis import Guard", lambda: timed("from golive_redis import Guard")),
                ("the same, and Guard.open", lambda: timed(opening, "guard.close()")),
            )
        ]
    lab.report(
        "imports of a worker (floor: importing its four dependencies)",
        rows,
        [
            f"of {', '.join(FORBIDDEN)}, target none: "
            + (f"{', '.join(sorted(found))} - MISSED" if found else "none - met")
        ],
    )


if __name__ == "__main__":
    main()
