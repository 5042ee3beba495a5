"""`make fuzz`: a million strange inputs for every parser at the edge.

    python -m fuzz.run [--inputs N] [--seed S]

The same seed makes the same inputs. Ends with one line, and with 1 when a parser raised anything but
our errors, or accepted or refused everything it was given.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import traceback

from .mutator import Mutator
from .targets import TARGETS, Target

CHUNK = 1_000


class Tally:
    """What became of the inputs of one target."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.accepted = 0
        self.refused = 0
        self.strange: list[str] = []

    def run(self, target: Target, seed: int, count: int) -> None:
        """Give it that many inputs."""
        mutate = Mutator(seed)
        for number in range(count):
            try:
                if target(mutate):
                    self.accepted += 1
                else:
                    self.refused += 1
            except Exception:  # noqa: BLE001  (that is what is looked for)
                self.strange.append(f"seed {seed}, input {number}: {traceback.format_exc()}")
                return

    @property
    def vacuous(self) -> bool:
        """True when it says nothing: all was accepted, or all was refused."""
        return not self.accepted or not self.refused


def fuzz(inputs: int, seed: int) -> list[Tally]:
    """Give every target its share."""
    tallies = []
    for name, (target, share) in TARGETS.items():
        tally = Tally(name)
        left = max(CHUNK, inputs * share // 100)
        for chunk in range(-(-left // CHUNK)):
            # Chunks of their own seed: a finding is found again within a thousand inputs.
            tally.run(target, seed * 1_000_000 + chunk, min(CHUNK, left - chunk * CHUNK))
        tallies.append(tally)
    return tallies


def main() -> int:
    """Fuzz, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if args.seed is None else args.seed
    tallies = fuzz(args.inputs, seed)
    for tally in tallies:
        print(f"{tally.name:9} {tally.accepted:9,} accepted {tally.refused:9,} refused")
        for text in tally.strange[:3]:
            print(text)
        if tally.vacuous:
            print(f"{tally.name}: says nothing")
    strange = sum(len(tally.strange) for tally in tallies)
    total = sum(tally.accepted + tally.refused + len(tally.strange) for tally in tallies)
    print(f"fuzz: {total:,} inputs, {len(tallies)} parsers, seed {seed}, {strange} strange")
    return int(bool(strange) or any(tally.vacuous for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
