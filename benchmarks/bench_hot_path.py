"""One question on the order path, against a bare method that compares a clock with a deadline.

The guard is real: armed by a heartbeat over a real server, with both of its threads at work.

    python benchmarks/bench_hot_path.py [--json]
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import timeit
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import NamedTemporaryFile
from time import clock_gettime_ns, perf_counter, thread_time

import lab
from msgspec import structs
from rival import rival, wait_until

from golive_redis import Guard
from golive_redis.clock import CLOCK, wall_ms
from golive_redis.guard.gate import Gate
from golive_redis.records.directive import Label, Mode, Restriction, RestrictionKind
from golive_redis.records.envelope import seal

CALLS = 5_000
ROUNDS = 101
THREADS = 8
MANY = 100_000
MAX_BLOCKS = 100  # of memory, gained over MANY calls: a thousandth of one a call
HOUR_NS = 3_600 * 10**9
ORDER = "symbol='BTCUSDT', venue='paper'"


class Bare:
    """The least that a switch with a deadline can do."""

    def __init__(self) -> None:
        self.deadline = clock_gettime_ns(CLOCK) + HOUR_NS

    def allows(self) -> bool:
        return clock_gettime_ns(CLOCK) < self.deadline

    def allows_labels(self, intent: str = "open", **labels: str) -> bool:  # noqa: ARG002
        return clock_gettime_ns(CLOCK) < self.deadline


def timer(code: str, **names: object) -> Callable[[], float]:
    """Return a measurement in ns per call; with the garbage collector on, as in a worker.

    CPU time of this thread: what other processes of a busy machine do is not the guard's cost.
    """
    clock = timeit.Timer(code, "import gc; gc.enable()", thread_time, globals=names)
    return lambda: clock.timeit(CALLS) / CALLS * 1e9


def together(code: str, **names: object) -> Callable[[], float]:
    """Return a measurement in ns of wall time per call, with 8 threads that call at once."""
    clocks = [timeit.Timer(code, "import gc; gc.enable()", globals=names) for _ in range(THREADS)]

    def measure() -> float:
        threads = [threading.Thread(target=clock.timeit, args=(CALLS,)) for clock in clocks]
        started = perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return (perf_counter() - started) / CALLS / THREADS * 1e9

    return measure


def beside_our_threads(switch_ms: float, code: str, **names: object) -> Callable[[], float]:
    """Return a measurement in ns of wall time per call of a loop that never pauses."""
    clock = timeit.Timer(code, "import gc; gc.enable()", globals=names)

    def measure() -> float:
        before = sys.getswitchinterval()
        sys.setswitchinterval(switch_ms / 1000)
        try:
            return clock.timeit(MANY) / MANY * 1e9
        finally:
            sys.setswitchinterval(before)

    return measure


def blocks(code: str, **names: object) -> float:
    """Return how many blocks of memory 100,000 calls leave behind; the least of three times.

    What a call leaves is left each time; what the guard's own threads hold at the moment is not.
    """
    clock = timeit.Timer(code, "import gc; gc.enable()", globals=names)
    gained = []
    for _ in range(3):
        gc.collect()
        before = sys.getallocatedblocks()
        clock.timeit(MANY)
        gc.collect()
        gained.append(sys.getallocatedblocks() - before)
    return max(0, min(gained))


def halts(switch: lab.Switch, guard: Guard, symbols: Iterable[str]) -> None:
    """Push signed halts to the guard, as pub/sub would."""
    signer = switch.config.signer("operator", switch.config.keyset())
    for symbol in symbols:
        verdict = guard.verdict
        record = Restriction(
            **switch.config.trust().heading(signer.principal, wall_ms()),
            kind=RestrictionKind.HALT,
            epoch=verdict.epoch + 1,
            term=verdict.term,
            labels={Label.SYMBOL: symbol},
            mode=Mode.HALTED,
            profile=None,
            limits=None,
            reason="bench",
            ticket="",
            prev=None,
        )
        guard._attending._take(seal(record, signer))


def without_halts(guard: Guard) -> Gate:
    """Return the order path of a guard that is armed as this one, and knows of no halt."""
    gate, verdict = Gate(), guard.verdict
    gate.stated.on = False  # as in a guard that is asked so often
    gate.publish(structs.replace(verdict, deadline_ns=verdict.deadline_ns + HOUR_NS))
    return gate


class Bench:
    """One armed guard, and the rows that come of it."""

    def __init__(self, switch: lab.Switch, guard: Guard, **names: object) -> None:
        self._switch, self._guard = switch, guard
        self.names = {"bare": Bare(), "guard": guard, **names}
        self.table: list[lab.Row] = []

    def row(
        self,
        what: str,
        code: str,
        floor: str,
        limit: float | None = None,
        how: Callable[..., Callable[[], float]] = timer,
        rounds: int = ROUNDS,
    ) -> None:
        self.settle()
        pairs = lab.interleaved(how(floor, **self.names), how(code, **self.names), rounds)
        self.table.append(lab.compared(what, pairs, limit))

    def settle(self) -> None:
        """Ask until the guard notes no labels: asked this often, it does so in one turn of 21."""
        while self._guard.stated.on:
            self._guard.allows()

    def switching(self, what: str, code: str) -> None:
        """What a shorter switch interval takes from a loop that never pauses."""
        usual, short = (beside_our_threads(ms, code, **self.names) for ms in (5.0, 0.5))
        self.table.append(lab.compared(what, lab.interleaved(usual, short, 21)))

    def allocations(self, what: str, code: str) -> None:
        floor, ours = (blocks(each, **self.names) for each in ("bare.allows()", code))
        what = f"{what}: memory left by 100,000"
        ratio = ours / max(floor, 1)
        self.table.append(lab.Row(what, "blk", floor, ours, ratio, MAX_BLOCKS, 0.0, "ours"))

    def ask(self, expected: bool, /, **labels: str) -> None:
        if self._guard.allows(**labels) is not expected:
            raise SystemExit(f"not as meant: {self._guard.check(**labels)}")

    def halted(self, count: int, name: str = "SYMBOL") -> None:
        known = len(self._guard._attending._view.state.restrictions)
        halts(self._switch, self._guard, (f"{name}-{n}" for n in range(known, count)))


def main() -> None:
    logging.getLogger("golive_redis").setLevel(logging.CRITICAL)  # the skipped orders are meant
    plain, labelled = "bare.allows()", f"bare.allows_labels({ORDER})"
    order = f"guard.allows({ORDER})"
    with ExitStack() as stack:
        switch = stack.enter_context(lab.switch())
        marker = Path(stack.enter_context(NamedTemporaryFile()).name)
        agent = stack.enter_context(rival()).agent("planner")
        stack.callback(agent.stop)
        guard = stack.enter_context(Guard.open(switch.config, worker="pod-7"))
        bench = Bench(switch, guard, agent=agent, marker=marker)
        row, ask = bench.row, bench.ask
        switch.activate()
        wait_until(agent.may_run)
        ask(True)
        row("allows()", "guard.allows()", plain, 1.5)
        row("allows(symbol=, venue=)", order, labelled, 1.4)
        row("check()", "guard.check()", plain, 4)
        row("check(symbol=, venue=)", f"guard.check({ORDER})", labelled, 4)
        row("allows(), floor: sf-smartswitch may_run()", "guard.allows()", "agent.may_run()", 1 / 3)
        row("for scale: Path.exists() on a marker file", "marker.exists()", plain)
        row("8 threads: allows(symbol=, venue=)", order, labelled, 1.5, together, 15)
        row("8 threads: check()", "guard.check()", plain, 4, together, 15)
        row("8 threads, for scale: may_run()", "agent.may_run()", plain, None, together, 5)
        bench.switching("order loop, switch interval 0.5 ms, floor: 5 ms", order)
        bench.allocations("allows()", "guard.allows()")
        bench.allocations("check(symbol=, venue=)", f"guard.check({ORDER})")
        # The floor of these is the same call without halts.
        bench.names["free"] = without_halts(guard)
        free = f"free.allows({ORDER})"
        for count in (100, 1_000):
            bench.halted(count)
            ask(True, symbol="BTCUSDT")
            row(f"allows(…), {count:,} other halts, floor: none", order, free, 1.5)
        checks = (f"guard.check({ORDER})", f"free.check({ORDER})")
        row("check(…), 1,000 other halts, floor: none", *checks, 1.5)
        bench.allocations("allows(…), 1,000 other halts", order)
        halts(switch, guard, ["BTCUSDT"])
        ask(False, symbol="BTCUSDT")
        row("denied by a halt: allows(symbol=, venue=)", order, labelled)
        switch.revoke()
        ask(False)
        row("denied after a revocation: allows()", "guard.allows()", plain)
        row("denied after a revocation: check()", "guard.check()", plain)
        row("8 threads, denied: allows()", "guard.allows()", plain, None, together, 15)
        bench.allocations("denied: check()", "guard.check()")
    lab.report("one question on the order path (floor: a bare method)", bench.table)


if __name__ == "__main__":
    main()
