"""What the benchmarks share: a live switch on a private server, pairs of floor and ours, the table.

A figure that a machine is too busy to give is a note with its reason, and the run goes on.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import redis
import yaml

from golive_redis import config
from golive_redis.config import keyfile
from golive_redis.core.barrier import Result
from golive_redis.errors import GoliveError
from golive_redis.operator import restrictions
from golive_redis.operator.activation import Activation
from golive_redis.operator.session import Operator
from golive_redis.records.directive import RestrictionKind
from golive_redis.records.keyset import encode_public
from golive_redis.stop.progress import StopReport
from golive_redis.stop.revoke import Revoke
from golive_redis.testing import FLEET
from golive_redis.testing.server import EmbeddedServer

HERE = Path(__file__).parent
ROLES = {"alice": "approver", "hb-1": "heartbeat", "workers": "worker"}
LIMITS = {
    "currency": "USD",
    "max_order_notional": "25",
    "max_position_notional": "100",
    "max_daily_loss": "10",
    "max_orders_per_minute": 60,
}


class NotMeasuredError(Exception):
    """A figure could not be taken; the message says why."""


# What a busy machine does to a measurement: nothing of it is a defect of the benchmark.
TROUBLE = (
    NotMeasuredError,
    GoliveError,
    redis.RedisError,
    OSError,
    ValueError,  # half a line of a process that has ended
    subprocess.SubprocessError,
)


def tried(notes: list[str], what: str, measure: Callable[[], Any]) -> Any:
    """Return what `measure` returns, or None with the reason among the notes."""
    try:
        return measure()
    except TROUBLE as error:
        notes.append(f"{what}: not measured: {str(error) or type(error).__name__}"[:200])
        return None


class Row(NamedTuple):
    """One line of a table.

    `limit` is the most that `ratio` may be, or `ours` when `of` says so; None is for scale only.
    `noise` is the spread of the floor, `load` the machine's load when the row was made.
    """

    what: str
    unit: str
    floor: float
    ours: float
    ratio: float
    limit: float | None
    noise: float
    of: str = "ratio"
    load: float = -1.0

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Row:
        """Return the row that was written as JSON."""
        return cls(*(fields[name] for name in cls._fields))

    @property
    def verdict(self) -> str:
        if self.limit is None:
            return "-"
        return "met" if (self.ours if self.of == "ours" else self.ratio) <= self.limit else "MISSED"


def compared(
    what: str,
    pairs: Sequence[tuple[float, float]],
    limit: float | None = None,
    unit: str = "ns",
) -> Row:
    """Make the row of (floor, ours) pairs: medians, and the median of the pairs' ratios.

    Each pair is measured within milliseconds, so a machine that changes its pace hits both alike.
    """
    floor, ours = zip(*pairs, strict=True)
    ratio = statistics.median(o / f for f, o in pairs)
    return Row(
        what,
        unit,
        statistics.median(floor),
        statistics.median(ours),
        ratio,
        limit,
        spread(floor),
        load=os.getloadavg()[0],
    )


def spread(samples: Sequence[float]) -> float:
    """Return half the distance from the 10th to the 90th percentile, relative to the median."""
    return (percentile(samples, 90) - percentile(samples, 10)) / 2 / statistics.median(samples)


def percentile(samples: Sequence[float], rank: float) -> float:
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * rank / 100))]


def interleaved(
    floor: Callable[[], float], ours: Callable[[], float], rounds: int
) -> list[tuple[float, float]]:
    """Measure in turns; the first pair only warms up."""
    return [(floor(), ours()) for _ in range(rounds + 1)][1:]


def option(name: str) -> str | None:
    """Return the word after `name` on the command line."""
    words = sys.argv[1:]
    return words[words.index(name) + 1] if name in words else None


def report(title: str, rows: Sequence[Row], notes: Sequence[str] = ()) -> None:
    """Print the table, or with `--json` one line."""
    load = os.getloadavg()[0]
    rows = [row if row.load >= 0 else row._replace(load=load) for row in rows]
    if "--json" in sys.argv[1:]:
        table = [{**row._asdict(), "verdict": row.verdict} for row in rows]
        print(json.dumps({"bench": title, "rows": table, "notes": list(notes)}))
        return
    show(title, rows, notes)


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def show(title: str, rows: Sequence[Row], notes: Sequence[str] = ()) -> None:
    """Print the table."""
    print(f"\n{title} [{cores()} cores]")
    head = f"{'what':<52}{'floor':>10}{'ours':>10}  {'':<4}{'ratio':>7}{'limit':>9}"
    print(f"{head}{'noise':>7}{'load':>6}")
    for row in rows:
        limit = "" if row.limit is None else f"{number(row.limit)}"
        limit += f" {row.unit}" if limit and row.of == "ours" else ""
        print(
            f"{row.what:<52}{number(row.floor):>10}{number(row.ours):>10}  {row.unit:<4}"
            f"{row.ratio:>7.2f}{limit:>9}{row.noise:>7.0%}{row.load:>6.1f}  {row.verdict}"
        )
    for note in notes:
        print(f"  {note}")


def number(value: float) -> str:
    """Return a figure with as many digits as it deserves."""
    if not value:
        return "0"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def environment(**extra: str) -> dict[str, str]:
    """Return the environment of a child that may keep its bytecode, as installed packages do."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **extra}


class Switch:
    """A whole switch on a private server: keys, a configuration, a heartbeat in its own process."""

    def __init__(self, folder: Path, server: EmbeddedServer, timing: object) -> None:
        self.server, self.path = server, folder / "go_live.yaml"
        principals = {}
        for name, role in ROLES.items():
            private = keyfile.generate()
            keyfile.write(folder / f"{name}.pem", private)
            public = [encode_public(private.public_key())]
            principals[name] = {"roles": [role], "keys": public, "shared": role == "worker"}
        keyset = {"version": 1, "fleet": FLEET, "principals": principals}
        (folder / "keyset.yaml").write_text(yaml.safe_dump(keyset))
        settings = {
            "environment": "bench",
            "activation_enabled": True,
            "profiles": {"micro": LIMITS},
            "store": {"url": server.url},
            "timing": timing,
            "cool_down": "0s",
            "activations_per_day": 0,
            "keys": {"operator": "alice.pem", "heartbeat": "hb-1.pem", "worker": "workers.pem"},
        }
        self.path.write_text(yaml.safe_dump(settings))
        self.config = config.load(self.path)

    def activate(self, wait_s: float = 30) -> None:
        """Turn trading on and wait until every guard is armed."""
        with Operator(self.config) as operator:
            activation = Activation(operator, reason="bench")
            done = activation.wait_armed(activation.commit(activation.prepare()), wait_s)
        if done.not_armed or not done.armed:
            names = [item.name for item in done.not_armed]
            raise NotMeasuredError(f"{len(names)} not armed after {wait_s:.0f} s: {names[:5]}")

    def halt(self, **labels: str) -> None:
        """Halt the orders with these labels."""
        with Operator(self.config) as operator:
            restrictions.restrict(operator, RestrictionKind.HALT, reason="bench", labels=labels)

    def revoke(self) -> StopReport:
        """Turn trading off, and wait until everybody has said so: the next round must be allowed."""
        report = Revoke(self.config, reason="bench", wait_ms=60_000).run()
        if report.outcome.result is not Result.COMPLETE:
            raise NotMeasuredError(f"the stop is {report.outcome.result}: {missing(report)}")
        return report


def missing(report: StopReport) -> str:
    """Say who has not answered a stop, and what went wrong."""
    workers = report.outcome.workers
    silent = [row.pod.worker for row in workers if row.latched_ms is None]
    undrained = [row.pod.worker for row in workers if row.latched_ms and row.drained_ms is None]
    beats = [row.name for row in report.outcome.heartbeats if not row.answered]
    return (
        f"of {len(workers)} workers {len(silent)} silent {silent[:3]}, {len(undrained)} not drained "
        f"{undrained[:3]}; silent heartbeats {beats}; {'; '.join(report.problems[:3]) or 'no problem'}"
    )


@contextmanager
def switch(timing: object = "standard", *, beating: bool = True) -> Iterator[Switch]:
    """Start a server and, if asked for, a heartbeat; end both."""
    with TemporaryDirectory(prefix="golive-bench-") as folder, EmbeddedServer() as server:
        out = Switch(Path(folder), server, timing)
        if not beating:
            yield out
            return
        heartbeat = spawn("heartbeat", str(out.path))
        try:
            assert heartbeat.stdout is not None
            heartbeat.stdout.readline()
            yield out
        finally:
            heartbeat.terminate()
            heartbeat.wait()


def spawn(role: str, *words: str, script: Path = HERE / "fleet.py") -> subprocess.Popen[str]:
    """Start a script in one of its roles; it is driven over its pipes."""
    return subprocess.Popen(
        [sys.executable, str(script), role, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
