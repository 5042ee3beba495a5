"""`make simulate`: run seeds of the simulation side by side, and say what happened.

    PYTHONPATH=tests python -P -m simulation.run [--hours H] [--seconds S] [--first N]
    PYTHONPATH=tests python -P -m simulation.run --soak          until stopped
    PYTHONPATH=tests python -P -m simulation.run --seed N --trace

Everything that counts must have happened: a simulation that did nothing has failed.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

MINUTES = 5.0
SEEDS_AT_ONCE = 6
SAY_EVERY_S = 60.0
OWNED = "stops against whoever owns Redis"
WANTED = (
    OWNED,
    "revokes",
    "activations",
    "forgotten: dead",
    "forgotten: lives",
    "resumes",
    "restrictions: halt",
    "restrictions: reduce",
    "restrictions re-asserted",
    "tombstones re-asserted",
    "result: COMPLETE by receipts",
    "result: COMPLETE by time",
    "result: STOPPED by time",
    "result: STOPPED by receipts",
    "result: NOT CONFIRMED",
    "security events",
    "clock anomalies noticed",
)
FAULTS = (
    "DEL",
    "HDEL",
    "PERSIST",
    "PEXPIRE",
    "RESTORE",
    "command executed twice",
    "cut",
    "disk",
    "failover",
    "heartbeat killed",
    "heartbeat leaves",
    "heartbeat restart",
    "heartbeat's disk emptied",
    "old data back",
    "operator gave up",
    "pause",
    "replayed beat",
    "replayed push",
    "rosters deleted",
    "server clock",
    "server restarted empty",
    "slew",
    "split",
    "suspend",
    "swapped answer",
    "wall step",
    "weather",
    "worker replaced",
    "worker restart",
)


@dataclass
class Tally:
    """What a number of runs did."""

    runs: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[int, str]] = field(default_factory=list)
    tries: int = 0
    permits: int = 0
    accepts: int = 0
    samples: int = 0
    armed: int = 0
    slowest_ms: float = 0.0

    @property
    def hours(self) -> float:
        """Cluster-hours simulated."""
        return self.runs * MINUTES / 60

    def add(self, other: Tally) -> None:
        """Take another tally in."""
        self.runs += other.runs
        self.counts += other.counts
        self.violations += other.violations
        self.tries += other.tries
        self.permits += other.permits
        self.accepts += other.accepts
        self.samples += other.samples
        self.armed += other.armed
        self.slowest_ms = max(self.slowest_ms, other.slowest_ms)

    def idle(self) -> list[str]:
        """Return what never happened and has to, in runs of some length."""
        wanted = [*WANTED, *(f"faults: {name}" for name in FAULTS)]
        missing = [name for name in wanted if not self.counts[name]]
        return missing + ([] if self.accepts and self.armed else ["orders"])

    def summary(self) -> str:
        """Return the line that everything comes down to."""
        return f"simulated {self.hours:.0f} cluster-hours, {len(self.violations)} violations"


@contextmanager
def unlogged() -> Iterator[None]:
    """Log nothing meanwhile: the product logs every fault it meets."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@unlogged()
def simulate(seeds: list[int]) -> Tally:
    """Run seeds, one after the other."""
    from .world import World  # noqa: PLC0415  (in the process that runs it)

    tally = Tally()
    for seed in seeds:
        world = World(seed, minutes=MINUTES)
        checker = world.run()
        tally.add(
            Tally(
                1,
                world.counts,
                [(seed, text) for text in checker.violations],
                checker.tries,
                checker.permits,
                checker.accepts,
                checker.samples,
                checker.armed_samples,
                checker.armed_after_ms or 0.0,
            )
        )
    tally.add(owned(seeds[0]))
    return tally


def owned(seed: int) -> Tally:
    """Run one seed against whoever owns Redis; of each two in a row one leads a late heartbeat astray."""
    from .owner import Owned  # noqa: PLC0415  (as above)

    world = Owned(seed, late=bool(seed // SEEDS_AT_ONCE % 2))
    witness = world.run()
    over = witness.settled_at is not None and world.led
    return Tally(
        counts=Counter({OWNED: int(bool(over))}),
        violations=[(seed, f"against the owner: {text}") for text in witness.violations],
        tries=witness.tries,
        permits=witness.permits,
        accepts=witness.accepts,
    )


def batches(first: int, wanted: int | None) -> Iterator[list[int]]:
    """Yield the seeds to run, a few at a time; without an end when none is wanted."""
    for start in itertools.count(first, SEEDS_AT_ONCE):
        left = SEEDS_AT_ONCE if wanted is None else min(SEEDS_AT_ONCE, first + wanted - start)
        if left <= 0:
            return
        yield list(range(start, start + left))


def run(first: int, wanted: int | None, seconds: float | None) -> Tally:
    """Run seeds on all processors until they are done, the time is over or somebody stops it."""
    tally, began = Tally(), time.monotonic()
    said = began
    todo = batches(first, wanted)
    # Whoever stops it stops the counting; the processes end with what they have in hand.
    with ProcessPoolExecutor(
        initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    ) as pool:
        running: set[Future[Tally]] = set()
        try:
            while True:
                over = seconds is not None and time.monotonic() - began > seconds
                ahead = 0 if over else 2 * (os.cpu_count() or 1) - len(running)
                running |= {pool.submit(simulate, seeds) for seeds in itertools.islice(todo, ahead)}
                if not running:
                    return tally
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    tally.add(future.result())
                if wanted is None and time.monotonic() - said > SAY_EVERY_S:
                    said = time.monotonic()
                    print(tally.summary(), flush=True)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            return tally


def report(tally: Tally, took_s: float) -> int:
    """Print what was done, per kind; return the exit code."""
    minutes = max(1.0, tally.hours * 60)
    for name, number in sorted(tally.counts.items()):
        print(f"  {name}: {number}")
    faults = sum(n for name, n in tally.counts.items() if name.startswith("faults: "))
    print(f"  orders: {tally.tries} tried, {tally.permits} permitted, {tally.accepts} accepted")
    print(
        f"  per minute: {faults / minutes:.1f} faults, {tally.counts['revokes'] / minutes:.1f} revokes"
    )
    print(f"  armed while a term was in force: {tally.armed / max(1, tally.samples):.3f}")
    print(f"  after the last fault all were armed within {tally.slowest_ms / 1000:.1f} s")
    for seed, text in tally.violations[:20]:
        print(f"  VIOLATION in seed {seed}: {text}")
    # In a short run the rare kinds may be missing; each run checks its own minutes.
    idle = tally.idle() if tally.hours >= 10 else []
    for name in idle:
        print(f"  NOTHING of: {name}")
    print(f"took {took_s:.0f} s")
    print(tally.summary())
    return 1 if tally.violations or idle or not tally.runs else 0


@unlogged()
def replay(seed: int, *, trace: bool) -> int:
    """Run one seed again and tell its story."""
    from .world import World  # noqa: PLC0415  (as above)

    world = World(seed, minutes=MINUTES)
    checker = world.run()
    for line in world.trace if trace else world.trace[-20:]:
        print(line)
    print(f"seed {seed}, trace {world.digest:08x}: {checker.violations or 'no violation'}")
    return 1 if checker.violations else 0


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=63.0)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--soak", action="store_true", help="until stopped")
    parser.add_argument("--seed", type=int, help="run this one seed again")
    parser.add_argument("--trace", action="store_true", help="with --seed: tell all of it")
    options = parser.parse_args()
    if options.seed is not None:
        return replay(options.seed, trace=options.trace)
    began = time.monotonic()
    wanted = None if options.soak else max(1, round(options.hours * 60 / MINUTES))
    first = options.first
    if options.soak and not first:
        first = (
            int(time.time()) * 1_000
        )  # a soak that runs the seeds of yesterday finds nothing new
        print(f"from seed {first}", flush=True)
    return report(run(first, wanted, options.seconds), time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
