"""`make soak`: fifty workers, two heartbeats and a Sentinel set under faults, and the witness's verdict.

    python -m soak.run [--minutes 10 | --seconds N] [--workers 50] [--seed S] [--inputs N]

Workers send orders to the paper venue throughout. The same seed draws the same faults in the same
order; when they strike depends on the machine. Beside it the fuzzer runs. Ends with one line, and
with 1 when an order was accepted late, or when the run proved nothing.
"""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random

from golive_redis.errors import StoreError
from golive_redis.operator.session import Operator
from golive_redis.testing.server import bound_to_parent
from kit.fleet import Fleet
from kit.processes import proxies
from kit.sentinels import sentinel_set

from .chaos import Chaos
from .judge import judge, parse_journal
from .outcome import Outcome, stop_bans
from .people import People
from .processes import CONTROL, Child, Venue, trader

HEARTBEATS = ("hb-1", "hb-2")
BEHIND = 5  # workers behind each of the two proxies
INPUTS_PER_MINUTE = 100_000
SETTLE_S = 120.0  # a busy machine starts an interpreter in seconds
DEFECTS = ("a defect in", "Traceback (most recent")


class Soak:
    """One run.

    Args:
        args: Of the command line.
        folder: For everybody's files.
        stack: Ends every process.
    """

    def __init__(self, args: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
        self._args = args
        self._folder = folder
        self.random = Random(args.seed)
        self.servers = stack.enter_context(sentinel_set(None))
        self.fleet = Fleet(self.servers, folder / "fleet", timing="standard")
        self.fleet.write_keyset(without=("hb-3",))  # after a failover all of them have to answer
        stack.callback(self.fleet.close)
        make = stack.enter_context(proxies(folder))
        self.networks = [make(self.servers.nodes[0]) for _ in range(2)]
        self.venue = Venue(folder)
        stack.callback(self.venue.kill)
        self.workers = self._workers(self.venue.open())
        for worker in self.workers.values():
            stack.callback(worker.kill)

    def _workers(self, venue: int) -> dict[str, Child]:
        """The first ones are behind a proxy, the others follow the Sentinels."""
        ways = [self.fleet.write_config(url=network.url) for network in self.networks]
        paths = [way for way in ways for _ in range(BEHIND)]
        paths += [self.fleet.path] * (self._args.workers - len(paths))
        names = [f"pod-{number}" for number in range(1, self._args.workers + 1)]
        traders = zip(names, paths, strict=False)
        return {
            name: trader(name, path, venue, number) for number, (name, path) in enumerate(traders)
        } | {CONTROL: trader(CONTROL, self.fleet.path, venue, 0)}

    def run(self) -> tuple[People, Chaos]:
        """Trade, and let things happen."""
        for name in HEARTBEATS:
            self.fleet.start_heartbeat(name)
        for worker in self.workers.values():
            worker.start()
            time.sleep(0.05)
        self._wait_registered()
        guarded = {name: child for name, child in self.workers.items() if name != CONTROL}
        names = list(guarded)
        groups = [frozenset(names[at : at + BEHIND]) for at in (0, BEHIND)]
        networks = list(zip(self.networks, groups, strict=True))
        timing = self.fleet.timers
        chaos = Chaos(self.random, timing, self.servers, self.fleet, guarded, networks)
        people = People(self.fleet.config, self.random.randrange(2**32))
        people.start()
        until = time.monotonic() + self._args.seconds
        while time.monotonic() < until:
            chaos.turn()
            time.sleep(0.1)
        chaos.finish()
        people.leave()
        return people, chaos

    def _wait_registered(self) -> None:
        deadline = time.monotonic() + SETTLE_S
        while self._alive() < self._args.workers:
            if time.monotonic() > deadline:
                raise TimeoutError("the workers do not register")
            time.sleep(0.2)

    def _alive(self) -> int:
        try:
            with Operator(self.fleet.config) as operator:
                return sum(item.alive for item in operator.store.workers())
        except StoreError:
            return 0

    def heal(self, people: People, chaos: Chaos) -> int:
        """After the last fault: activate, and return how many workers are armed in the end.

        A failover that the last fault began may still be on its way: the proxies follow it.
        """
        deadline = time.monotonic() + SETTLE_S
        armed = 0
        while time.monotonic() < deadline and armed < self._args.workers:
            people.again()
            until = min(deadline, time.monotonic() + 20)
            while time.monotonic() < until and armed < self._args.workers:
                chaos.follow()
                armed = self._armed()
                time.sleep(0.5)
        return armed

    def _armed(self) -> int:
        try:
            with Operator(self.fleet.config) as operator:
                states = [item.fields.get("state") for item in operator.store.workers()]
        except StoreError:
            return 0
        return states.count("armed")

    def defects(self) -> list[str]:
        """What anybody has logged as a defect of ours."""
        logs = [(child.name, child.log.read_text(errors="replace")) for child in self._children()]
        found = [f"{name}:\n{text}" for name, text in logs if any(m in text for m in DEFECTS)]
        return found + self.fleet.defects()

    def _children(self) -> list[Child]:
        return [*self.workers.values(), self.venue]


def fuzzer(folder: Path, inputs: int, seed: int) -> subprocess.Popen[bytes]:
    """Start the fuzzer, which gets what the soak leaves of the machine."""
    argv = [
        "/usr/bin/env",
        "nice",
        "-n",
        "15",
        sys.executable,
        "-P",
        "-m",
        "fuzz.run",
    ]
    argv += ["--inputs", str(inputs), "--seed", str(seed)]
    with (folder / "fuzz.log").open("wb") as log:
        return subprocess.Popen(bound_to_parent(argv), stdout=log, stderr=log)


def main() -> int:
    """Run, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seconds", type=float, help="instead of minutes")
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--inputs", type=int, help="for the fuzzer; 100,000 a minute by default")
    args = parser.parse_args()
    args.seconds = args.seconds or args.minutes * 60
    args.seed = secrets.randbelow(1_000_000) if args.seed is None else args.seed
    inputs = args.inputs or int(args.seconds / 60 * INPUTS_PER_MINUTE)
    with tempfile.TemporaryDirectory(prefix="golive-soak-") as name, ExitStack() as stack:
        folder = Path(name)
        print(
            f"soak: seed {args.seed}, {args.workers} workers for {args.seconds:.0f} s", flush=True
        )
        fuzz = fuzzer(folder, inputs, args.seed)
        stack.callback(fuzz.kill)
        soak = Soak(args, folder, stack)
        people, chaos = soak.run()
        armed = soak.heal(people, chaos)
        bans = [*stop_bans(people.stops, chaos.unsettled, soak.fleet.timers.lease_ms)]
        with soak.venue.journal.open() as journal:
            accepts = parse_journal(journal)
        memory = [child.rss_mib() for child in soak.workers.values()]
        outcome = Outcome(
            judge(accepts, [*bans, *people.bans, *chaos.bans], CONTROL),
            people,
            chaos,
            armed=armed,
            workers=args.workers,
            minutes=args.seconds / 60,
            defects=soak.defects(),
            fuzz_failed=bool(fuzz.wait()),
            fuzzed=(folder / "fuzz.log").read_text(),
            memory_mib=(sum(memory), max(memory)),
        )
    print(*outcome.lines(), sep="\n")
    return int(outcome.failed)


if __name__ == "__main__":
    sys.exit(main())
