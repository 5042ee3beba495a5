"""The operator of the soak, in a thread: activates, halts and resumes, revokes, and begins again."""

from __future__ import annotations

import threading
import time
import traceback
from collections import Counter
from random import Random

from golive_redis.config import Config
from golive_redis.core.barrier import Result
from golive_redis.errors import GoliveError
from golive_redis.operator import grants, restrictions
from golive_redis.operator.activation import Activation
from golive_redis.operator.session import Operator
from golive_redis.records.directive import GrantKind, RestrictionKind
from golive_redis.stop.progress import StopReport
from golive_redis.stop.revoke import Revoke

from .judge import Ban

SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
LIVE_S = (5.0, 12.0)
HALTED_S = (1.0, 4.0)
INSIST = 5
MS = 1_000_000


class Stop:
    """One revocation, as the operator saw it."""

    def __init__(self, report: StopReport, called_ns: int, done_ns: int) -> None:
        self.epoch = report.epoch
        self.called_ns = called_ns
        self.done_ns = done_ns
        in_redis = report.in_redis_ms
        self.executed_ns = None if in_redis is None else called_ns + int(in_redis * MS)
        self.result = report.outcome.result
        self.settled = self.result is not Result.NOT_CONFIRMED
        self.problems = [*report.problems]


class People:
    """One operator at work until told to leave.

    Args:
        config: The operator's configuration.
        seed: Of what is done when.

    Attributes:
        stops: Every revocation.
        events: What was done when, in ns.
        bans: What follows from the halts.
        counts: What was done, and what was refused and why.
        defects: Tracebacks of what is no error of ours.
        refusals: What was refused, and why, in sentences.
    """

    def __init__(self, config: Config, seed: int) -> None:
        self._config = config
        self._random = Random(seed)
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="people", daemon=True)
        self.stops: list[Stop] = []
        self.events: list[tuple[int, str]] = []
        self.bans: list[Ban] = []
        self.counts: Counter[str] = Counter()
        self.defects: list[str] = []
        self.refusals: list[str] = []

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def leave(self) -> None:
        """Finish what is being done, and leave the fleet stopped."""
        self._leaving.set()
        self._thread.join(120)
        if self._thread.is_alive():
            self.defects.append("the operator's command hangs")

    def again(self) -> None:
        """Once everybody else has left: stop whatever is there, and activate."""
        self._leaving.clear()
        self._try("revoke", self.revoke)
        self._try("activate", self.activate)

    def _run(self) -> None:
        while not self._leaving.is_set():
            self._try("activate", self.activate)
            self._live()
            self._try("revoke", self.revoke)

    def _try(self, name: str, act: object) -> bool:
        try:
            act()  # type: ignore[operator]
        except GoliveError as error:
            self.counts[f"{name} refused: {error.reason}"] += 1
            self.refusals.append(f"{name}: {error.message}")
            self._leaving.wait(0.5)
            return False
        except Exception:  # noqa: BLE001  (that is what is looked for)
            self.defects.append(traceback.format_exc())
            return False
        self.counts[name] += 1
        return True

    def activate(self) -> None:
        """Put a new term in force, over whatever stop could not be confirmed."""
        with Operator(self._config) as operator:
            activation = Activation(operator, reason="soak", over_unconfirmed=True)
            grant = activation.commit(activation.prepare())
        self.events.append((time.monotonic_ns(), f"activate {grant.record.epoch}"))

    def _live(self) -> None:
        until = time.monotonic() + self._random.uniform(*LIVE_S)
        self._leaving.wait(2)
        while time.monotonic() < until and not self._leaving.is_set():
            if self._random.random() < 0.5:
                self._try("halt", self.halt)
            self._leaving.wait(1)

    def halt(self) -> None:
        """Halt one symbol for a while; who said that it applied the halt may not trade it."""
        symbol = self._random.choice(SYMBOLS)
        with Operator(self._config) as operator:
            done = restrictions.restrict(
                operator, RestrictionKind.HALT, reason="soak", labels={"symbol": symbol}
            )
        told_ns = time.monotonic_ns()
        applied = frozenset(pod.worker for pod in done.applied)
        self._leaving.wait(self._random.uniform(*HALTED_S))
        self.bans.append(Ban("halt", told_ns, time.monotonic_ns(), applied, symbol))
        with Operator(self._config) as operator:
            grants.loosen(operator, GrantKind.RESUME, reason="soak", labels={"symbol": symbol})

    def revoke(self) -> None:
        """Stop, and insist until it is known that all is off, or enough was tried."""
        for _ in range(INSIST):
            called_ns = time.monotonic_ns()
            report = Revoke(self._config, reason="soak").run()
            stop = Stop(report, called_ns, time.monotonic_ns())
            self.stops.append(stop)
            self.counts[f"revoke: {report.outcome.result}"] += 1
            told = f"revoke {stop.epoch} {report.outcome.result}, executed at {stop.executed_ns}"
            self.events += [(called_ns, "revoke called"), (stop.done_ns, told)]
            if stop.settled:
                return
