"""What a type checker tells the author of a bot about the order path."""

from __future__ import annotations

import re
import subprocess
import sys
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


def judged(folder: Path, program: str) -> tuple[dict[int, str], dict[int, str]]:
    """Return, by line, what mypy says of a program, and what its comments say that it should."""
    path = folder / "bot.py"
    path.write_text(program)
    # The settings are a bot's own and strict; the cache is that of `make types`, or it takes long.
    command = [sys.executable, "-P", "-m", "mypy", "--strict", "--config-file=", "--no-pretty"]
    run = subprocess.run(
        [*command, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode in {0, 1}, run.stdout + run.stderr
    found: dict[int, str] = {}
    for line in run.stdout.splitlines():
        if said := re.search(
            r"bot\.py:(\d+): (?:error: .*\[([a-z-]+)\]|note: Revealed .*\"(.*)\")", line
        ):
            found[int(said[1])] = said[2] or re.sub(
                r"golive_redis\.core\.permit\.|builtins\.", "", said[3]
            )
    wanted = {
        number: said[1]
        for number, line in enumerate(program.splitlines(), 1)
        if (said := re.search(r"  # [EN]: (.+)$", line))
    }
    assert wanted, "the program says what it is about"
    return found, wanted


def test_a_type_checker_refuses_a_misspelt_intent_and_tells_a_permit_by_its_truth(
    tmp_path: Path,
) -> None:
    found, wanted = judged(tmp_path, ANSWERS)
    assert found == wanted


def test_a_guarded_function_keeps_its_parameters_and_its_result(tmp_path: Path) -> None:
    found, wanted = judged(tmp_path, GUARDED)
    assert found == wanted
