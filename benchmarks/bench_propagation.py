"""From the publishing of a revocation to guards that are closed, in other processes.

N guards in min(N, 10) processes, each with its threads, against N bare redis-py subscribers in the
same layout, which only note that a message of the same size came. Each round activates, waits
until all are armed, lets the floor's message out, and runs the real `Revoke`, whose PUBLISH starts
the clock.

    python benchmarks/bench_propagation.py [--json] [--rounds N]
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from subprocess import Popen

import lab

from golive_redis.store.store import Store

SIZES = {1: 100, 10: 100, 100: 50}  # guards: rounds
PROCESSES = 10
SETTLE_S = 0.05
TARGET = 1.5
# A fifth of `standard`, so that a round is short; for 100 guards on two cores the reads of
# `standard`, because a thousand reads a second would be another experiment.
TIMING = {
    "beat_every_ms": 200,
    "read_every_ms": 100,
    "timeout_ms": 90,
    "rho": 0.1,
    "lease_ms": 600,
    "beat_ms": 1300,
    "failover_ms": 2000,
    "ttl_ms": 4800,
    "drain_ms": 1000,
}
SLOWER = {
    **TIMING,
    "read_every_ms": 500,
    "timeout_ms": 250,
    "lease_ms": 2500,
    "beat_ms": 2600,
    "ttl_ms": 7000,
}

Rounds = list[list[float]]  # one list of delays in ms per round


class Fleet:
    """Processes of one kind, and what they noted."""

    def __init__(self, processes: list[Popen[str]]) -> None:
        self._processes = processes
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()

    def noted(self, since_ns: int, expected: int) -> list[float]:
        """Return the delay in ms of each member."""
        stamps: list[int] = []
        for _ in range(100):
            time.sleep(SETTLE_S)  # a question that came too soon would wake what is measured
            for process in self._processes:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write("\n")
                process.stdin.flush()
                stamps += json.loads(process.stdout.readline())
            if len(stamps) >= expected:
                return [(stamp - since_ns) / 1e6 for stamp in stamps]
        raise SystemExit(f"{len(stamps)} of {expected} answered")

    def close(self) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            process.wait()


@contextmanager
def fleet(role: str, count: int, *words: str) -> Iterator[Fleet]:
    processes = min(count, PROCESSES)
    each = str(count // processes)
    extra = [[str(n * (count // processes))] if role == "guards" else [] for n in range(processes)]
    out = Fleet([lab.spawn(role, *words, each, *more) for more in extra])
    try:
        yield out
    finally:
        out.close()


@contextmanager
def stamped_publish() -> Iterator[list[int]]:
    """Note when `Revoke` publishes: what comes before (connect, read, sign) is not propagation."""
    stamps: list[int] = []
    publish = Store.publish

    def stamped(self: Store, channel: str, message: bytes):
        stamps.append(time.monotonic_ns())
        return publish(self, channel, message)

    Store.publish = stamped  # type: ignore[method-assign]
    try:
        yield stamps
    finally:
        Store.publish = publish  # type: ignore[method-assign]


def measure(count: int, rounds: int) -> tuple[Rounds, Rounds, Rounds]:
    """Return the delays of subscribers alone, of subscribers beside armed guards, and of guards."""
    payload = b"x" * 700  # about what a signed revocation weighs
    with lab.switch(TIMING if count < 100 else SLOWER) as switch:
        client = switch.server.client()

        def floor() -> list[float]:
            sent = time.monotonic_ns()
            client.publish("floor", payload)
            return subscribers.noted(sent, count)

        alone: Rounds = []
        beside: Rounds = []
        ours: Rounds = []
        with fleet("subscribers", count, str(switch.server.port), "floor") as subscribers:
            for _ in range(rounds):
                alone.append(floor())
            with fleet("guards", count, str(switch.path)) as guards, stamped_publish() as sent:
                for number in range(rounds + 1):
                    switch.activate()
                    guards.noted(0, 0)
                    beside.append(floor())
                    time.sleep(0.1 + number % 10 * 0.01)  # not in step with the reads
                    sent.clear()
                    switch.revoke()
                    ours.append(guards.noted(sent[0], count))
    return alone, beside[1:], ours[1:]


def rows(count: int, floor: Rounds, ours: Rounds, target: float | None) -> list[lab.Row]:
    out = []
    # The floor may be several times quicker at its median than at its tail: each rank by itself.
    views = {"each": lambda delays: delays, "the last": lambda delays: [max(delays)]}
    for who, view in views.items() if count > 1 else [("it", views["each"])]:
        samples = [[d for delays in side for d in view(delays)] for side in (floor, ours)]
        for rank in (50, 99):
            low, high = (lab.percentile(side, rank) for side in samples)
            what = f"{count} guard{'s' * (count > 1)}, to {who}, p{rank}"
            out.append(lab.Row(what, "ms", low, high, high / low, target, lab.spread(samples[0])))
    return out


def main(words: Sequence[str]) -> None:
    asked = int(words[words.index("--rounds") + 1]) if "--rounds" in words else None
    table: list[lab.Row] = []
    notes = []
    for count, rounds in SIZES.items():
        alone, beside, ours = measure(count, asked or rounds)
        table += rows(count, beside, ours, TARGET)
        quiet = [max(delays) for delays in alone]
        notes.append(
            f"{count}: floor with no guard running, to the last: p50 "
            f"{lab.percentile(quiet, 50):.2f} ms, p99 {lab.percentile(quiet, 99):.2f} ms"
        )
    lab.report("revocation published -> guard closed, other processes", table, notes)


if __name__ == "__main__":
    main(sys.argv[1:])
