"""What every act of the demo consists of: activate, trade, watch."""

from __future__ import annotations

import time

from golive_cli.demo import events, setup
from golive_cli.demo.events import Tell
from golive_cli.demo.plan import DemoError, Plan
from golive_cli.demo.processes import CONTROL, Processes
from golive_cli.demo.verdict import MIN_ACCEPTED_BEFORE, MIN_ATTEMPTS_AFTER, Evidence
from golive_redis import config
from golive_redis.config import Config
from golive_redis.core.timing import Timing
from golive_redis.operator.activation import Activation
from golive_redis.operator.session import Operator

# Half as much again as the verdict asks for: one slow moment must not spoil the proof.
ENOUGH_ACCEPTED = MIN_ACCEPTED_BEFORE * 3 // 2
TRADE_AT_MOST_S = 10.0
AFTER_AT_MOST_S = 10.0

_MS = 1_000_000


class Stage:
    """The operator's hands and the observer's eyes.

    Args:
        plan: How the demo is played.
        cast: The processes.
        tell: Told what happens.
    """

    def __init__(self, plan: Plan, cast: Processes, tell: Tell) -> None:
        self._plan = plan
        self._cast = cast
        self._tell = tell

    def config(self) -> Config:
        """Load the configuration, as every command does, and nothing of this shell's settings."""
        return config.load(self._cast.config, environ={})

    def timing(self) -> Timing:
        """Return the timers in force."""
        return self.config().policy.timers

    def activate(self, reason: str) -> int:
        """Activate, wait until the fleet is armed, and let it trade.

        Returns:
            The instant before the activation was put in force.
        """
        with Operator(self.config()) as operator:
            activation = Activation(operator, reason=reason)
            reading = activation.prepare()
            began_ns = time.monotonic_ns()
            grant = activation.commit(reading)
            done = activation.wait_armed(grant, self._plan.patience_s)
        armed_ms = (time.monotonic_ns() - began_ns) / _MS
        if len(done.armed) != self._plan.pods:
            self._cast.check()
            names = [item.name for item in done.not_armed]
            raise DemoError(
                f"{len(done.armed)} of {self._plan.pods} workers armed after "
                f"{armed_ms / 1000:.0f} s; not {', '.join(names) or 'all on the roster'}",
                log=self._cast.log_tail(names[0] if names else setup.HEARTBEAT),
            )
        term, signers = grant.record.term, ", ".join(sorted(grant.signers))
        self._tell(events.Activated(term, signers, tuple(done.findings), len(done.armed), armed_ms))
        self._trade(began_ns)
        return began_ns

    def _trade(self, began_ns: int) -> None:
        """Let the fleet trade; too few orders in the end are for the verdict to blame."""
        until = time.monotonic() + TRADE_AT_MOST_S
        self.sleep(self._plan.trade_ms)
        while True:
            accepted = sum(item.worker != CONTROL for item in self._cast.accepts(began_ns))
            if accepted >= ENOUGH_ACCEPTED or time.monotonic() >= until:
                break
            self.sleep(100)
        self._tell(events.Traded(accepted))

    def watch(self, began_ns: int, called_ns: int, bound_ns: int) -> Evidence:
        """Let the fleet go on trying until well after the bound, then collect the evidence."""
        self.sleep((bound_ns - time.monotonic_ns()) / _MS + self._plan.after_ms)
        until = time.monotonic() + AFTER_AT_MOST_S
        while True:
            evidence = Evidence(
                accepts=self._cast.accepts(began_ns),
                attempts=self._cast.attempts(),
                control=CONTROL,
                began_ns=began_ns,
                called_ns=called_ns,
                bound_ns=bound_ns,
            )
            fewest = min(map(len, evidence.after().values()))
            if fewest >= MIN_ATTEMPTS_AFTER or time.monotonic() >= until:
                return evidence
            self.sleep(100)

    def sleep(self, duration_ms: float) -> None:
        """Sleep, and notice meanwhile when a process ends."""
        until = time.monotonic() + duration_ms / 1000
        while (left := until - time.monotonic()) > 0:
            self._cast.check()
            time.sleep(min(left, 0.1))
