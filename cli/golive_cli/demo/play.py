"""The demo itself: three ways to stop a fleet that trades, and what a witness saw of each.

1. Revoke: everything off at once, with receipts.
2. `kill -9` the heartbeat: everything off within `beat_ms`, with nobody doing anything.
3. SIGSTOP the server: everything off within `lease_ms`, with every connection open and silent.
"""

from __future__ import annotations

import time
from collections import Counter

from golive_cli.demo import events, setup
from golive_cli.demo.events import Tell, Title
from golive_cli.demo.plan import DemoError, Plan
from golive_cli.demo.processes import CONTROL, Processes
from golive_cli.demo.result import DemoResult, OutageAct, RevokeAct, outage_act, revoke_act
from golive_cli.demo.stage import Stage
from golive_cli.demo.verdict import Evidence, barrier_faults, faults, figures, timeline
from golive_redis.errors import GoliveError, RefusedError
from golive_redis.operator.activation import Activation
from golive_redis.operator.session import Operator
from golive_redis.stop.progress import StopReport
from golive_redis.stop.revoke import Revoke
from golive_redis.store.store import Presence

OFF_MS = 500.0
PICTURE_BEFORE_MS = 1_000.0

_MS = 1_000_000


def perform(plan: Plan, tell: Tell) -> DemoResult:
    """Play the demo; when this returns or raises, nothing of it is left.

    Args:
        plan: How.
        tell: Told what happens as it happens.

    Raises:
        DemoError: It could not be played to the end.
        EmbeddedServerError: There is no server program.
    """
    began = time.monotonic()
    with Processes(plan) as cast:
        try:
            result = _Play(plan, cast, tell).run()
        except DemoError:
            raise
        except GoliveError as error:
            cast.check()  # who has died explains more than what followed from it
            raise DemoError(error.message, hint=error.hint, log=cast.log_tail(None)) from error
    tell(events.Over(result, (time.monotonic() - began) * 1000))
    return result


class _Play:
    def __init__(self, plan: Plan, cast: Processes, tell: Tell) -> None:
        self._plan = plan
        self._cast = cast
        self._tell = tell
        self._stage = Stage(plan, cast, tell)
        self._acts: list[RevokeAct | OutageAct] = []
        self._proved = True

    def run(self) -> DemoResult:
        self._raise_curtain()
        self._default_off()
        self._revoke()
        self._kill_heartbeat()
        self._freeze_server()
        return DemoResult(self._acts, self._proved)

    # -- before ------------------------------------------------------------------------------------

    def _raise_curtain(self) -> None:
        cast, plan = self._cast, self._plan
        cast.start_server()
        cast.start_venue()
        cast.start_heartbeat()
        cast.start_workers()
        cast.wait("not every worker tries to trade", lambda: all(cast.attempts().values()))
        with Operator(self._stage.config()) as operator:
            cast.wait(
                "not every worker is on the roster",
                lambda: _alive(operator.store.workers()) == plan.pods,
                about=plan.names[0],
            )
            cast.wait(
                "the heartbeat is not on the roster",
                lambda: _alive(operator.store.heartbeats()) == 1,
                about=setup.HEARTBEAT,
            )
        with cast.server.client() as client:
            version = client.info("server").get("valkey_version")
        self._tell(
            events.Curtain(
                server=f"Valkey {version}" if version else cast.server.binary.name,
                server_port=cast.server.port,
                venue_port=cast.venue_port,
                heartbeat=setup.HEARTBEAT,
                beat_every_ms=self._stage.timing().beat_every_ms,
                pods=plan.names,
                control=CONTROL,
                rate_per_s=plan.rate_per_s,
                saboteur=plan.saboteur,
            )
        )

    def _default_off(self) -> None:
        cast = self._cast
        since_ns = time.monotonic_ns()
        self._stage.sleep(OFF_MS)
        tried = [a for items in cast.attempts().values() for a in items if a.at_ns >= since_ns]
        accepts = Counter(item.worker == CONTROL for item in cast.accepts(since_ns))
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
        self._tell(events.ActBegins(Title.REVOKE))
        self._be_gated()
        setup.enable(self._cast.config)
        self._tell(events.Edited(self._cast.config, setup.DISABLED, setup.ENABLED))
        began_ns = self._stage.activate("the desk opens")
        loaded = self._stage.config()
        called_ns = time.monotonic_ns()
        report = Revoke(loaded, reason="that is enough").run()
        complete_ns = _complete_ns(report, called_ns, time.monotonic_ns())
        self._tell(events.Revoked(report, (complete_ns - called_ns) / _MS))
        evidence = self._stage.watch(began_ns, called_ns, complete_ns)
        act = revoke_act(report.outcome, figures(evidence))
        self._judge(act, evidence, barrier_faults(report.outcome, self._plan.pods))

    def _kill_heartbeat(self) -> None:
        self._tell(events.ActBegins(Title.HEARTBEAT_KILLED))
        bound_ms = self._stage.timing().beat_ms
        began_ns = self._stage.activate("and again")
        pid, called_ns = self._cast.pid(setup.HEARTBEAT), time.monotonic_ns()
        self._cast.kill(setup.HEARTBEAT)
        self._tell(events.Killed(Title.HEARTBEAT_KILLED, pid, bound_ms))
        evidence = self._stage.watch(began_ns, called_ns, called_ns + bound_ms * _MS)
        self._judge(outage_act(Title.HEARTBEAT_KILLED, bound_ms, figures(evidence)), evidence)
        self._repair()

    def _freeze_server(self) -> None:
        self._tell(events.ActBegins(Title.SERVER_FROZEN))
        bound_ms = self._stage.timing().lease_ms
        began_ns = self._stage.activate("once more")
        called_ns = time.monotonic_ns()
        self._cast.server.pause()
        self._tell(events.Killed(Title.SERVER_FROZEN, self._cast.server.pid, bound_ms))
        evidence = self._stage.watch(began_ns, called_ns, called_ns + bound_ms * _MS)
        self._judge(outage_act(Title.SERVER_FROZEN, bound_ms, figures(evidence)), evidence)

    def _repair(self) -> None:
        """Do what an operator does after a heartbeat died: end its term, then start it again.

        In this order, because a heartbeat with its old state goes on beating for a term that is
        still in force, and the fleet would trade again before anybody decided that it should.
        """
        dead = frozenset({setup.HEARTBEAT})
        report = Revoke(self._stage.config(), reason="its heartbeat died", dead=dead).run()
        if not report.outcome.settled:
            raise DemoError(f"the stop is {report.outcome.result}: {'; '.join(report.problems)}")
        pid = self._cast.start_heartbeat()
        with Operator(self._stage.config()) as operator:
            self._cast.wait(
                "the new heartbeat is not on the roster",
                lambda: any(h.fields.get("pid") == str(pid) for h in operator.store.heartbeats()),
                about=setup.HEARTBEAT,
            )
        self._tell(events.Repaired(report, setup.HEARTBEAT, pid))

    # -- their parts -------------------------------------------------------------------------------

    def _be_gated(self) -> None:
        with Operator(self._stage.config()) as operator:
            try:
                Activation(operator, reason="too early").prepare()
            except RefusedError as error:
                self._tell(events.Gated(self._cast.config, error.message))
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
