"""N members in min(N, 10) processes: guards, and bare clients in the same layout as their floor."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import lab

PROCESSES = 10
SETTLE_S = 0.05

# A fifth of `standard`, so that a round is short; from 100 guards on two cores the reads of
# `standard`, because a thousand reads a second would be another experiment.
QUICK = {
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
    **QUICK,
    "read_every_ms": 500,
    "timeout_ms": 250,
    "lease_ms": 2500,
    "beat_ms": 2600,
    "ttl_ms": 7000,
}

Rounds = list[list[float]]  # one list of delays in ms per round


def timing(count: int) -> dict[str, float] | str:
    if count > 100:
        return "standard"
    return QUICK if count < 100 else SLOWER


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
        for _ in range(200):
            time.sleep(SETTLE_S)  # a question that came too soon would wake what is measured
            stamps += [int(stamp) for answer in self.ask() for stamp in answer]
            if len(stamps) >= expected:
                return [(stamp - since_ns) / 1e6 for stamp in stamps]
        raise lab.NotMeasuredError(f"{len(stamps)} of {expected} answered within 10 s")

    def ask(self) -> list[list[float]]:
        """Return what each process has noted since the last time."""
        answers = []
        for process in self._processes:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            answers.append(json.loads(process.stdout.readline()))
        return answers

    def close(self) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            process.wait()


@contextmanager
def fleet(
    role: str,
    count: int,
    where: str,
    *words: str,
    busy: bool = False,
    switch_ms: float = 5.0,
    script: Path = lab.HERE / "fleet.py",
) -> Iterator[Fleet]:
    """Start `count` members of a role of a script.

    Args:
        busy: Each process also decides about orders in a loop that never pauses.
        switch_ms: Their interpreter's switch interval; 5 is Python's own.
    """
    processes = min(count, PROCESSES)
    shares = [count // processes + (n < count % processes) for n in range(processes)]
    options = ["busy" if busy else "idle", str(switch_ms)]
    out = Fleet(
        [
            lab.spawn(
                role, where, str(share), str(sum(shares[:n])), *options, *words, script=script
            )
            for n, share in enumerate(shares)
        ]
    )
    try:
        yield out
    finally:
        out.close()


def rows(
    what: str, count: int, floor: Rounds, ours: Rounds, limit: float | None = 1.5
) -> list[lab.Row]:
    """Compare at the median and at the tail: to each member, and to the last of a round."""
    out = []
    # The floor may be several times quicker at its median than at its tail: each rank by itself.
    views = {"each": lambda delays: delays, "the last": lambda delays: [max(delays)]}
    who = views.items() if count > 1 else [("it", views["each"])]
    for name, view in who:
        sides = [[d for delays in side for d in view(delays)] for side in (floor, ours)]
        for rank in (50, 99):
            low, high = (lab.percentile(side, rank) for side in sides)
            row = f"{what}, {count}, to {name}, p{rank}"
            noise, load = lab.spread(sides[0]), os.getloadavg()[0]
            out.append(lab.Row(row, "ms", low, high, high / low, limit, noise, load=load))
    return out


def lasts(rounds: Sequence[Sequence[float]]) -> list[float]:
    return [max(delays) for delays in rounds]
