"""The demo itself: three ways to stop a fleet that trades, and what a witness saw of each.

1. Revoke: everything off at once, with receipts.
2. `kill -9` the heartbeat: everything off within `beat_ms`, with nobody doing anything.
3. SIGSTOP the server: everything off within `lease_ms`, with every connection open and silent.
"""

from __future__ import annotations

import time
from collections import Counter

from golive_cli.demo import events, setup
from golive_cli.demo.children import ChildError
from golive_cli.demo.events import Act, Tell
from golive_cli.demo.plan import DemoError, Plan
from golive_cli.demo.processes import CONTROL, Processes
from golive_cli.demo.result import DemoResult, OutageAct, RevokeAct, outage_act, revoke_act
from golive_cli.demo.verdict import (
    MIN_ACCEPTED_BEFORE,
    MIN_ATTEMPTS_AFTER,
    Attempt,
    Evidence,
    barrier_faults,
    faults,
    figures,
    timeline,
)
from golive_redis import config
from golive_redis.config import Config
from golive_redis.core.timing import Timing
from golive_redis.errors import GoliveError, RefusedError
from golive_redis.operator.activation import Activation
from golive_redis.operator.session import Operator
from golive_redis.stop.progress import StopReport
from golive_redis.stop.revoke import Revoke
from golive_redis.store.presence import Presence

OFF_MS = 500.0
PICTURE_BEFORE_MS = 1_000.0
# Half as much again as the verdict asks for: one slow moment must not spoil the proof.
ENOUGH_ACCEPTED = MIN_ACCEPTED_BEFORE * 3 // 2
# For a slow machine; a fast one needs a second.
TRADE_AT_MOST_S = 60.0
AFTER_AT_MOST_S = 60.0

_MS = 1_000_000


def run(plan: Plan, tell: Tell) -> DemoResult:
    """Run the demo; when this returns or raises, nothing of it is left.

    Args:
        plan: How.
        tell: Told what happens as it happens.

    Raises:
        ChildError: It could not be run to the end.
        EmbeddedServerError: There is no server program.
    """
    began = time.monotonic()
    with Processes(plan) as processes:
        try:
            result = _Demo(plan, processes, tell).run()
        except ChildError:
            raise
        except GoliveError as error:
            processes.check()  # who has died explains more than what followed from it
            raise DemoError(error.message, hint=error.hint, log=processes.log_tail(None)) from error
    tell(events.Finished(result, (time.monotonic() - began) * 1000))
    return result


class _Demo:
    def __init__(self, plan: Plan, processes: Processes, tell: Tell) -> None:
        self._plan = plan
        self._processes = processes
        self._tell = tell
        self._steps = _Steps(plan, processes, tell)
        self._acts: list[RevokeAct | OutageAct] = []
        self._proved = True

    def run(self) -> DemoResult:
        self._start_all()
        self._default_off()
        self._revoke()
        self._kill_heartbeat()
        self._freeze_server()
        return DemoResult(self._acts, self._proved)

    # -- before ------------------------------------------------------------------------------------

    def _start_all(self) -> None:
        processes, plan = self._processes, self._plan
        processes.start_server()
        processes.start_venue()
        processes.start_heartbeat()
        processes.start_workers()
        processes.wait(
            "not every worker tries to trade", lambda: all(processes.attempts().values())
        )
        with Operator(self._steps.config()) as operator:
            processes.wait(
                "not every worker is on the roster",
                lambda: _alive(operator.store.workers()) == plan.pods,
                about=plan.names[0],
            )
            processes.wait(
                "the heartbeat is not on the roster",
                lambda: _alive(operator.store.heartbeats()) == 1,
                about=setup.HEARTBEAT,
            )
        with processes.server.client() as client:
            version = client.info("server").get("valkey_version")
        self._tell(
            events.FleetStarted(
                server=f"Valkey {version}" if version else processes.server.binary.name,
                server_port=processes.server.port,
                venue_port=processes.venue_port,
                heartbeat=setup.HEARTBEAT,
                beat_every_ms=self._steps.timing().beat_every_ms,
                pods=plan.names,
                control=CONTROL,
                rate_per_s=plan.rate_per_s,
                saboteur=plan.saboteur,
            )
        )

    def _default_off(self) -> None:
        processes = self._processes
        since_ns = time.monotonic_ns()
        self._steps.sleep(OFF_MS)
        processes.wait("nobody tries to trade", lambda: bool(_tried(processes, since_ns)))
        tried = _tried(processes, since_ns)
        accepts = Counter(item.worker == CONTROL for item in processes.accepts(since_ns))
        self._proved = bool(tried) and not accepts[False]
        self._tell(
            events.DefaultOff(
                attempts=len(tried),
                denied=sum(item.denied for item in tried),
                accepted=accepts[False],
                control_accepted=accepts[True],
                reasons=Counter(item.reason for item in tried if item.denied),
            )
        )

    # -- the acts ----------------------------------------------------------------------------------

    def _revoke(self) -> None:
        self._tell(events.ActStarted(Act.REVOKE))
        self._expect_refusal()
        setup.enable(self._processes.config)
        self._tell(events.Edited(self._processes.config, setup.DISABLED, setup.ENABLED))
        began_ns = self._steps.activate("the desk opens")
        loaded = self._steps.config()
        called_ns = time.monotonic_ns()
        report = Revoke(loaded, reason="that is enough").run()
        complete_ns = _complete_ns(report, called_ns, time.monotonic_ns())
        self._tell(events.Revoked(report, (complete_ns - called_ns) / _MS))
        evidence = self._steps.watch(began_ns, called_ns, complete_ns)
        act = revoke_act(report.outcome, figures(evidence))
        self._judge(act, evidence, barrier_faults(report.outcome, self._plan.pods))

    def _kill_heartbeat(self) -> None:
        self._tell(events.ActStarted(Act.HEARTBEAT_KILLED))
        bound_ms = self._steps.timing().beat_ms
        began_ns = self._steps.activate("and again")
        pid, called_ns = self._processes.pid(setup.HEARTBEAT), time.monotonic_ns()
        self._processes.kill(setup.HEARTBEAT)
        self._tell(events.Killed(Act.HEARTBEAT_KILLED, pid, bound_ms))
        evidence = self._steps.watch(began_ns, called_ns, called_ns + bound_ms * _MS)
        self._judge(outage_act(Act.HEARTBEAT_KILLED, bound_ms, figures(evidence)), evidence)
        self._repair()

    def _freeze_server(self) -> None:
        self._tell(events.ActStarted(Act.SERVER_FROZEN))
        bound_ms = self._steps.timing().lease_ms
        began_ns = self._steps.activate("once more")
        called_ns = time.monotonic_ns()
        self._processes.server.pause()
        self._tell(events.Killed(Act.SERVER_FROZEN, self._processes.server.pid, bound_ms))
        evidence = self._steps.watch(began_ns, called_ns, called_ns + bound_ms * _MS)
        self._judge(outage_act(Act.SERVER_FROZEN, bound_ms, figures(evidence)), evidence)

    def _repair(self) -> None:
        """Do what an operator does after a heartbeat died: end its term, then start it again.

        In this order, because a heartbeat with its old state goes on beating for a term that is
        still in force, and the fleet would trade again before anybody decided that it should.
        """
        dead = frozenset({setup.HEARTBEAT})
        report = Revoke(self._steps.config(), reason="its heartbeat died", dead=dead).run()
        if not report.outcome.settled:
            raise DemoError(f"the stop is {report.outcome.result}: {'; '.join(report.problems)}")
        pid = self._processes.start_heartbeat()
        with Operator(self._steps.config()) as operator:
            self._processes.wait(
                "the new heartbeat is not on the roster",
                lambda: any(h.fields.get("pid") == str(pid) for h in operator.store.heartbeats()),
                about=setup.HEARTBEAT,
            )
        self._tell(events.Repaired(report, setup.HEARTBEAT, pid))

    # -- their parts -------------------------------------------------------------------------------

    def _expect_refusal(self) -> None:
        with Operator(self._steps.config()) as operator:
            try:
                Activation(operator, reason="too early").prepare()
            except RefusedError as error:
                self._tell(events.ActivationRefused(self._processes.config, error.message))
                return
        raise DemoError("an activation was not refused although the configuration forbids it")

    def _judge(
        self, act: RevokeAct | OutageAct, evidence: Evidence, more: list[str] | None = None
    ) -> None:
        found = (*(more or ()), *faults(evidence))
        self._acts.append(act)
        self._proved = self._proved and not found
        until_ns = min(time.monotonic_ns(), evidence.bound_ns + int(self._plan.after_ms * _MS))
        picture = timeline(evidence, before_ms=PICTURE_BEFORE_MS, until_ns=until_ns)
        self._tell(events.Judged(act, figures(evidence), picture, found))


class _Steps:
    """What every act consists of: activate, let the fleet trade, watch what it still does.

    Args:
        plan: How the demo is run.
        processes: The processes.
        tell: Told what happens.
    """

    def __init__(self, plan: Plan, processes: Processes, tell: Tell) -> None:
        self._plan = plan
        self._processes = processes
        self._tell = tell

    def config(self) -> Config:
        """Load the configuration, as every command does, and nothing of this shell's settings."""
        return config.load(self._processes.config, environ={})

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
            self._processes.check()
            names = [item.name for item in done.not_armed]
            raise DemoError(
                f"{len(done.armed)} of {self._plan.pods} workers armed after "
                f"{armed_ms / 1000:.0f} s; not {', '.join(names) or 'all on the roster'}",
                log=self._processes.log_tail(names[0] if names else setup.HEARTBEAT),
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
            accepted = sum(item.worker != CONTROL for item in self._processes.accepts(began_ns))
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
                accepts=self._processes.accepts(began_ns),
                attempts=self._processes.attempts(),
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
            self._processes.check()
            time.sleep(min(left, 0.1))


def _tried(processes: Processes, since_ns: int) -> list[Attempt]:
    """Return what the guarded workers wanted to send since an instant."""
    attempts = processes.attempts().values()
    return [item for items in attempts for item in items if item.at_ns >= since_ns]


def _alive(presences: list[Presence]) -> int:
    return sum(item.alive for item in presences)


def _complete_ns(report: StopReport, called_ns: int, returned_ns: int) -> int:
    """Return when the last receipt of a stop arrived, which is before the command ended."""
    outcome = report.outcome
    arrivals = [row.drained_ms for row in outcome.workers]
    arrivals += [row.latched_ms for row in outcome.heartbeats]
    known = [item for item in arrivals if item is not None]
    if not outcome.settled or len(known) < len(arrivals):
        return returned_ns
    return called_ns + int(max(known) * _MS)
