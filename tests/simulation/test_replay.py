"""A seed replays to the same run, event by event."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
PROGRAM = """
import logging
logging.disable(logging.CRITICAL)
from simulation.world import World
for seed in (3, 4):
    world = World(seed, minutes=2.0)
    checker = world.run()
    print(seed, world.digest, world.number, checker.tries, checker.accepts, sorted(world.counts.items()))
    print(*world.trace, sep="\\n")
"""


def trace(hash_seed: str) -> str:
    """What a process of its own makes of two seeds."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def test_a_seed_replays_to_the_same_trace_in_another_process_with_other_hashes() -> None:
    first, second = trace("1"), trace("2")
    assert len(first.splitlines()) > 100
    assert first == second
