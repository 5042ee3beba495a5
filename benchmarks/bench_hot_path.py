"""One question on the order path, against a bare method that compares a clock with a deadline.

The guard is real: armed by a heartbeat over a real server, with both of its threads at work.

    python benchmarks/bench_hot_path.py [--json]
"""

from __future__ import annotations

import logging
import timeit
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import NamedTemporaryFile
from time import clock_gettime_ns, thread_time

import lab

from golive_redis import Guard
from golive_redis.clock import CLOCK, wall_ms
from golive_redis.core.directive import Label, Mode, Restriction, RestrictionKind
from golive_redis.core.envelope import seal

CALLS = 5_000
ROUNDS = 101
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


def halts(switch: lab.Switch, guard: Guard, symbols: Iterable[str]) -> None:
    """Push signed halts to the guard, as pub/sub would."""
    signer = switch.config.signer("operator", switch.config.keyset())
    for symbol in symbols:
        verdict = guard.verdict
        record = Restriction(
            namespace="golive",
            environment="bench",
            keyset_version=1,
            issued_at_ms=wall_ms(),
            by=signer.principal,
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


def main() -> None:
    logging.getLogger("golive_redis").setLevel(logging.CRITICAL)  # the skipped orders are meant
    bare = Bare()
    plain = timer("bare.allows()", bare=bare)
    labelled = timer(f"bare.allows_labels({ORDER})", bare=bare)
    table: list[lab.Row] = []

    def row(what: str, code: str, floor: Callable[[], float], target: float | None = None) -> None:
        ours = timer(code, guard=guard, marker=marker)
        table.append(lab.compared(what, lab.interleaved(floor, ours, ROUNDS), target))

    def ask(expected: bool, /, **labels: str) -> None:
        if guard.allows(**labels) is not expected:
            raise SystemExit(f"not as meant: {guard.check(**labels)}")

    with lab.switch() as switch, NamedTemporaryFile() as file:
        marker = Path(file.name)
        with Guard.open(switch.config, worker="pod-7") as guard:
            switch.activate()
            ask(True)
            row("allows()", "guard.allows()", plain, 1.5)
            row("allows(symbol=, venue=)", f"guard.allows({ORDER})", labelled, 1.4)
            row("check()", "guard.check()", plain, 4)
            row("check(symbol=, venue=)", f"guard.check({ORDER})", labelled, 4)
            row("for scale: Path.exists() on a marker file", "marker.exists()", plain)
            for count in (100, 1_000):
                known = len(guard._attending._view.state.restrictions)
                halts(switch, guard, (f"SYMBOL-{n}" for n in range(known, count)))
                ask(True, symbol="BTCUSDT")
                what = f"allows(symbol=, venue=), {count} other halts"
                row(what, f"guard.allows({ORDER})", labelled)
            halts(switch, guard, ["BTCUSDT"])
            ask(False, symbol="BTCUSDT")
            row("denied by a halt: allows(symbol=, venue=)", f"guard.allows({ORDER})", labelled)
            switch.revoke()
            ask(False)
            row("denied after a revocation: allows()", "guard.allows()", plain)
            row("denied after a revocation: check()", "guard.check()", plain)
    lab.report("one question on the order path (floor: a bare method)", table)


if __name__ == "__main__":
    main()
