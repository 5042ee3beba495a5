"""The guard: the object a worker asks before each order.

    with Guard.open("config/go_live.yaml", worker="pod-7", labels={"venue": "paper"}) as guard:
        with guard.order(what="BUY BTCUSDT qty=0.001", symbol="BTCUSDT") as answer:
            match answer:
                case Permit(fence=fence) if answer.valid():
                    gateway.send(order, fence=fence)
                case Denial(reason=reason):
                    ...

At the call it reads one clock and memory, takes no lock and does no I/O. Two threads keep the memory
up to date: one attends (asks Redis at a fixed rate), one listens for pushes. Every failure of theirs
closes the guard; none reaches the caller.
"""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from time import clock_gettime_ns
from types import TracebackType
from typing import Any

from golive_redis import config as configuration
from golive_redis.attending import Attending
from golive_redis.clock import CLOCK, now_ns
from golive_redis.core.decision import (
    Denial,
    Permit,
    Phase,
    Reason,
    Verdict,
    closed,
    decide,
)
from golive_redis.core.directive import Label, Limits, Mode, Profile
from golive_redis.core.envelope import Signer
from golive_redis.core.record import Name, Strict, convert
from golive_redis.core.policy import Timing
from golive_redis.core.trust import Trust
from golive_redis.core.view import View
from golive_redis.errors import ConfigError, NotPermittedError, RecordError
from golive_redis.skiplog import SkipLog, Tally
from golive_redis.statefile import MAX_SLOTS, StateFile, StateFileError, WorkerState
from golive_redis.store.connect import Address
from golive_redis.stopping import Hook

_Labels = dict[Label, str]
_guards: weakref.WeakSet[Guard] = weakref.WeakSet()


class Health(Strict, frozen=True, kw_only=True):
    """How a guard is, for readiness probes and people. Reading it never changes anything.

    Attributes:
        armed: True when an order could be permitted right now.
        reason: Why not, or None.
        deadline_in_ms: How long it stays armed without another word; 0 when closed.
        answer_age_ms: Age of the last good answer, or None.
        threads: Which of the guard's threads are alive.
        durable: Whether a stop would survive a restart: `yes`, `none`, or `failed`.
    """

    worker: str
    instance: str
    phase: Phase
    armed: bool
    reason: Reason | None
    deadline_in_ms: float
    term: int
    epoch: int
    mode: Mode
    profile: Profile | None
    answer_age_ms: float | None
    pushed: bool
    threads: dict[str, bool]
    in_flight: int
    permits: int
    skipped: dict[str, int]
    security_events: int
    push_gaps: int
    durable: str
    last_error: str | None


class Guard:
    """Asked before each order; see `Guard.open`.

    Fails closed: in every state but ARMED all intents but `cancel` are denied, and ARMED ends by
    itself when its deadline is over, whatever the threads do. `require` is the only method that
    raises, and only `NotPermittedError`.
    """

    def __init__(
        self,
        *,
        worker: str,
        labels: Mapping[str, str] | None,
        trust: Trust,
        timing: Timing,
        signer: Signer,
        address: Address,
        state_dir: Path | None = None,
    ) -> None:
        self._verdict: Verdict = closed(Phase.COLD, Reason.NOT_ACTIVATED)
        self._open_until = 0
        self._armed = threading.Event()
        self._flying: set[object] = set()
        self._permits = Tally()
        self._skips = SkipLog()
        self._closed = False
        self._pid = os.getpid()
        self.worker = worker
        self.instance = secrets.token_hex(16)
        self.labels = _checked_labels(worker, labels)
        state_file, latch, problem = _state(state_dir, worker)
        view = View(trust, timing, self.labels, latch)
        self._attending = Attending(
            guard=self,
            view=view,
            signer=signer,
            address=address,
            state_file=state_file,
            problem=problem,
        )
        _guards.add(self)
        self._attending.start()

    @classmethod
    def open(
        cls,
        config: str | Path | configuration.Config | None = None,
        *,
        worker: str,
        labels: Mapping[str, str] | None = None,
    ) -> Guard:
        """Open a guard. It starts closed and arms by itself once the fleet is live.

        Args:
            config: Path of the configuration, or a loaded one; None looks in the usual places.
            worker: Id of this worker; two processes may share one, each is its own roster entry.
            labels: What holds for every order of this worker, by the names of the glossary.

        Raises:
            ConfigError: The configuration, a key or a label cannot be used. Redis being away is no
                error: the guard stays closed and goes on trying.
        """
        if not isinstance(config, configuration.Config):
            config = configuration.load(config)
        trust = config.trust()
        return cls(
            worker=worker,
            labels=labels,
            trust=trust,
            timing=config.policy.timers,
            signer=config.signer("worker", trust.keyset, name=worker),
            address=Address.of(config),
            state_dir=config.state_dir,
        )

    # -- the order path --------------------------------------------------------------------------

    def allows(self, intent: str = "open", **labels: str) -> bool:
        """Tell whether an order may be sent now.

        Args:
            intent: `open` (adds risk), `reduce` (takes risk off) or `cancel`.
            **labels: What the order is about (`symbol="BTCUSDT"`), on top of the guard's own.

        Fails closed: False for whatever is unknown. `allows("cancel")` is always True.
        """
        now = clock_gettime_ns(CLOCK)
        if now < self._open_until and intent == "open":
            return True
        return self._decide(intent, labels, "", now).__class__ is Permit

    def check(self, intent: str = "open", *, what: str = "", **labels: str) -> Permit | Denial:
        """Decide about an order, with a reason.

        Args:
            intent: As in `allows`.
            what: The order in words, for the log line when it is skipped.
            **labels: As in `allows`.
        """
        return self._decide(intent, labels, what, clock_gettime_ns(CLOCK))

    def require(self, intent: str = "open", *, what: str = "", **labels: str) -> Permit:
        """Return a permit, or raise.

        Raises:
            NotPermittedError: The order must not be sent; it carries the denial.
        """
        answer = self._decide(intent, labels, what, clock_gettime_ns(CLOCK))
        if isinstance(answer, Denial):
            raise NotPermittedError(answer)
        return answer

    def order(self, intent: str = "open", *, what: str = "", **labels: str) -> Order:
        """Return a context manager that yields a permit or denial and counts the order in flight.

        The order is in flight from before the decision until the block ends; a stop waits for it.
        """
        return Order(self, intent, what, labels)

    def _decide(
        self, intent: str, labels: Mapping[str, Any], what: str, now_ns: int
    ) -> Permit | Denial:
        # The instant is the caller's, so that a call reads the clock once on every path.
        answer = decide(self._verdict, intent, labels, now_ns, self)
        if answer.__class__ is Denial:
            self._skips.skipped(what or _described(labels), answer.reason, answer.explain())
        return answer

    def still(self, permit: Permit) -> bool:
        """Judge a permit again (see `Permit.valid`): same term, and it would be given now."""
        verdict = self._verdict
        if permit.intent == "cancel":
            return True
        answer = decide(verdict, permit.intent, permit.labels, clock_gettime_ns(CLOCK), self)
        return isinstance(answer, Permit) and answer.term == permit.term

    # -- everything else -------------------------------------------------------------------------

    @property
    def profile(self) -> Profile | None:
        """The capital profile in force, or None when nothing is."""
        return self._verdict.profile

    @property
    def limits(self) -> Limits | None:
        """The limits of the grant in force, or None when nothing is."""
        return self._verdict.limits

    def wait_armed(self, timeout: float) -> bool:
        """Wait until the guard is armed; False when `timeout` seconds were not enough."""
        return self._armed.wait(timeout) and now_ns() < self._verdict.deadline_ns

    def on_stop(self, hook: Hook) -> Hook:
        """Call `hook` in a thread of its own whenever this guard is stopped.

        It may return how many orders are left working. Usable as a decorator.
        """
        self._attending.stopping.hooks.append(hook)
        return hook

    def kill(self, reason: str) -> None:
        """Stop this guard, locally and for good; hooks run and orders in flight are waited for."""
        self._open_until = 0
        self._attending.kill(reason)

    def in_flight(self) -> int:
        """Return how many orders are in flight."""
        return len(self._flying)

    def health(self) -> Health:
        """Return how the guard is."""
        verdict, attending = self._verdict, self._attending
        left_ns = max(0, verdict.deadline_ns - now_ns())
        late = verdict.deadline_ns > 0 and not left_ns
        reason = Reason.LAPSED if late else verdict.reason
        return Health(
            worker=self.worker,
            instance=self.instance,
            phase=Phase.LAPSED if late else verdict.phase,
            armed=left_ns > 0,
            reason=None if left_ns else reason,
            deadline_in_ms=left_ns / 1e6,
            term=verdict.term,
            epoch=verdict.epoch,
            mode=verdict.index.base,
            profile=verdict.profile,
            answer_age_ms=attending.answer_age_ms(),
            pushed=attending.pushed,
            threads=attending.threads(),
            in_flight=len(self._flying),
            permits=self._permits.total().get("permit", 0),
            skipped=self._skips.counts.total(),
            security_events=attending.security_events,
            push_gaps=attending.push_gaps,
            durable=attending.stopping.durable,
            last_error=attending.last_error,
        )

    def close(self) -> None:
        """Close for good: deny, tell the fleet goodbye, end the threads. Safe to call again."""
        self._open_until = 0
        if self._closed or self._pid != os.getpid():
            return
        self._closed = True
        self._attending.close()
        self._skips.flush()

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _publish(self, verdict: Verdict) -> None:
        """Put a new verdict in force; called under the lock of the attending threads."""
        self._open_until = 0  # between the two writes a call takes the slow path, which is right
        if self._closed or self._pid != os.getpid():
            verdict = closed(Phase.COLD, Reason.CLOSED)
        self._verdict = verdict
        self._open_until = verdict.open_until_ns
        if verdict.deadline_ns:
            self._armed.set()
        else:
            self._armed.clear()

    def _forked(self) -> None:
        """In the child: closed for life, and without the parent's sockets and locks."""
        self._verdict = closed(Phase.COLD, Reason.FORKED)
        self._open_until = 0
        self._armed = threading.Event()
        self._attending.abandon()


class Order:
    """One order in flight; use as `with guard.order(...) as answer:`."""

    __slots__ = ("_guard", "_intent", "_labels", "_what")

    def __init__(self, guard: Guard, intent: str, what: str, labels: Mapping[str, str]) -> None:
        self._guard = guard
        self._intent = intent
        self._what = what
        self._labels = labels

    def __enter__(self) -> Permit | Denial:
        guard = self._guard
        # In flight before the decision: a stop that comes in between then waits for it.
        guard._flying.add(self)
        answer = guard._decide(self._intent, self._labels, self._what, clock_gettime_ns(CLOCK))
        if isinstance(answer, Denial):
            guard._flying.discard(self)
        else:
            guard._permits.add("permit")
        return answer

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._guard._flying.discard(self)


def _checked_labels(worker: str, labels: Mapping[str, str] | None) -> dict[str, str]:
    try:
        convert(worker, Name)
        known = convert(dict(labels or {}), _Labels)
    except RecordError as error:
        raise ConfigError(
            f"worker {worker!r} with labels {dict(labels or {})!r}: {error.message}",
            hint=f"labels are {', '.join(Label)}; ids are letters, digits, dot, dash, underscore",
        ) from error
    if known.get(Label.WORKER, worker) != worker:
        raise ConfigError("the label `worker` is the worker's own id")
    return {**{str(name): value for name, value in known.items()}, "worker": worker}


def _state(
    folder: Path | None, worker: str
) -> tuple[StateFile | None, Any, StateFileError | None]:
    """Claim and read the state file; a problem is returned, for the guard must still answer stops."""
    if folder is None:
        return None, None, None
    file = None
    try:
        file = StateFile(folder, f"worker-{worker}", slots=MAX_SLOTS)
        states = file.read_all(WorkerState)
        newest = max(states, key=lambda state: state.latch.epoch, default=WorkerState())
        blind = max((state.latch.blind_before_ms for state in states), default=0)
        latch = type(newest.latch)(epoch=newest.latch.epoch, blind_before_ms=blind)
        # Written once at the start: a disk that cannot keep a stop is found out before trading.
        file.write(WorkerState(latch=latch, revocation=newest.revocation))
    except StateFileError as error:
        return file, None, error
    return file, latch, None


def _described(labels: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in labels.items()) or "order"


def _in_child() -> None:
    for guard in list(_guards):
        guard._forked()


os.register_at_fork(after_in_child=_in_child)
