"""What a type checker tells the author of a bot about the order path."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]

ANSWERS = """
from golive_redis import Guard, Intent

guard: Guard
guard.check("opne")  # E: arg-type
guard.order("buy")  # E: arg-type
guard.require("close")  # E: arg-type
guard.allows("")  # E: arg-type
guard.check("reduce")
guard.check(Intent.CANCEL)
guard.require().fits(notional=10.0)  # E: arg-type
answer = guard.check(symbol="BTCUSDT")
answer.fence  # E: union-attr
if answer:
    reveal_type(answer)  # N: Permit
else:
    reveal_type(answer)  # N: Denial
"""

GUARDED = """
from decimal import Decimal
from golive_redis import Guard

guard: Guard

@guard.guarded(what="BUY", symbol="BTCUSDT")
def buy(quantity: Decimal, *, tag: str = "") -> int:
    return 1

@guard.guarded("reduce", symbol="BTCUSDT")
async def sell(quantity: Decimal) -> str:
    return "sold"

@guard.guarded("sel")  # E: arg-type
def misspelt() -> None: ...

async def main() -> None:
    reveal_type(buy(Decimal(1), tag="x"))  # N: int
    buy("1")  # E: arg-type
    buy(Decimal(1), tags="x")  # E: call-arg
    reveal_type(await sell(Decimal(1)))  # N: str
    await sell()  # E: call-arg
    reveal_type(await guard.wait_armed_async(1))  # N: bool
    async with guard.order(symbol="BTCUSDT") as answer:
        if answer:
            reveal_type(answer)  # N: Permit
"""


def judged(folder: Path, programs: Mapping[str, str]) -> dict[str, dict[int, str]]:
    """Return, by program and line, what mypy says of them."""
    for name, program in programs.items():
        (folder / name).write_text(program)
    # The settings are a bot's own and strict. The cache is its own, too: mypy ends with INTERNAL ERROR
    # when two of it write to one at the same moment.
    command = [sys.executable, "-P", "-m", "mypy", "--strict", "--config-file=", "--no-pretty"]
    run = subprocess.run(
        [*command, f"--cache-dir={folder / 'cache'}", *(str(folder / name) for name in programs)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode in {0, 1}, run.stdout + run.stderr
    found: dict[str, dict[int, str]] = {name: {} for name in programs}
    for line in run.stdout.splitlines():
        if said := re.search(
            r"(\w+\.py):(\d+): (?:error: .*\[([a-z-]+)\]|note: Revealed .*\"(.*)\")", line
        ):
            found[said[1]][int(said[2])] = said[3] or re.sub(
                r"golive_redis\.core\.permit\.|builtins\.", "", said[4]
            )
    return found


def wanted(program: str) -> dict[int, str]:
    """Return, by line, what the comments of a program say that mypy should say."""
    return {
        number: said[1]
        for number, line in enumerate(program.splitlines(), 1)
        if (said := re.search(r"  # [EN]: (.+)$", line))
    }


def test_a_type_checker_knows_intents_permits_and_guarded_functions(tmp_path: Path) -> None:
    programs = {"answers.py": ANSWERS, "functions.py": GUARDED}
    expected = {name: wanted(program) for name, program in programs.items()}
    assert all(expected.values()), "each program says what it is about"
    assert judged(tmp_path, programs) == expected
