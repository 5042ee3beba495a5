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

import atexit
import os
import secrets
import sys
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from golive_redis import config as configuration
from golive_redis.clock import now_ns
from golive_redis.core.labels import folded
from golive_redis.core.permit import Phase, Reason
from golive_redis.core.timing import Timing
from golive_redis.core.view import View
from golive_redis.errors import ConfigError, RecordError
from golive_redis.guard import memory
from golive_redis.guard.attending import Attending
from golive_redis.guard.following import Following
from golive_redis.guard.gate import Gate
from golive_redis.guard.hooks import Hook
from golive_redis.records.directive import Label, Mode, Profile
from golive_redis.records.envelope import Signer
from golive_redis.records.keyset import Keyset, Role
from golive_redis.records.limits import Limits
from golive_redis.records.record import MAX_LABEL_VALUE, MAX_NAME, Name, Strict, convert
from golive_redis.records.trust import Trust
from golive_redis.store.connect import Address
from golive_redis.store.push import Pushes
from golive_redis.store.sockets import patched_since

if TYPE_CHECKING:
    from golive_redis.config.taken import Succession

_Labels = dict[Label, str]
_guards: weakref.WeakSet[Guard] = weakref.WeakSet()
_ends_by: set[int] = set()  # process ids: a forked child has finalizers of its own


class Health(Strict, frozen=True, kw_only=True):
    """How a guard is, for probes and people. Reading it never changes anything.

    Attributes:
        armed: True when an order could be permitted right now.
        reason: Why not, or None.
        deadline_in_ms: How long it stays armed without another word; 0 when closed.
        answer_age_ms: Age of the last good answer, or None.
        pushed: True while it is subscribed.
        push: What is pushed to it: `tracking` (directives and changes of the keys), `pubsub` (directives
            only) or `none`: then a stop takes until its next read.
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
    push: Pushes
    threads: dict[str, bool]
    in_flight: int
    permits: int
    skipped: dict[str, int]
    security_events: int
    push_gaps: int
    durable: str
    last_error: str | None


class Guard(Gate):
    """Asked before each order; see `Guard.open`.

    The order path is `Gate`'s: `allows`, `check`, `require`, `order`.

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
        policy: str = "",
        following: Following | None = None,
    ) -> None:
        if patched_since():  # half of ours would wait in the kernel, and all of the process with it
            raise ConfigError(
                "the standard library was patched (by gevent or eventlet) after golive_redis was "
                "imported",
                hint="patch in the first lines of the program, before every other import",
            )
        _require_answers(signer, trust.keyset, worker)
        super().__init__()
        self._pid = os.getpid()
        self.worker = worker
        self.instance = secrets.token_hex(16)
        self.labels = _checked_labels(worker, labels)
        state_file, latch, problem = memory.claim(state_dir, worker)
        view = View(trust, timing, self.labels, latch)
        self._attending = Attending(
            gate=self,
            worker=worker,
            instance=self.instance,
            labels=self.labels,
            policy=policy,
            view=view,
            signer=signer,
            address=address,
            state_file=state_file,
            problem=problem,
            following=following,
        )
        _guards.add(self)
        _close_with_child()
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
            worker: Id of this worker; processes may share one, each is its own roster entry. With a
                `state_dir` up to 64 on one host: each keeps its stop in a file of its own, and every
                one that starts reads them all.
            labels: What holds for every order of this worker, by the names of the glossary.

        Raises:
            ConfigError: The configuration, a key or a label cannot be used, or gevent or eventlet has
                patched after our import. Redis being away is no error: the guard stays closed and
                goes on trying.
            RuntimeError: The process cannot start another thread. Nothing of the guard is left.
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
            address=config.address(),
            state_dir=config.state_dir,
            policy=config.policy_digest,
            following=_following(config, worker),
        )

    @property
    def profile(self) -> Profile | None:
        """The capital profile in force, or None when nothing is."""
        return self.verdict.profile

    @property
    def limits(self) -> Limits | None:
        """What the profile in force allows, or None when nothing is."""
        return self.verdict.limits

    def on_stop(self, hook: Hook) -> Hook:
        """Call `hook` in a thread of its own whenever this guard is stopped.

        It may return how many orders are left working, and may close the guard: the rest of `close` then
        follows when it has returned. Usable as a decorator.
        """
        self._attending.stopping.hooks.add(hook)
        return hook

    def kill(self, reason: str) -> None:
        """Stop this guard, locally and for good; hooks run and orders in flight are waited for.

        It has closed when this returns. May be called from a signal handler. In a forked child it only
        closes, for the orders and the hooks are the parent's.
        """
        if self._pid != os.getpid():
            self.shut(Reason.KILLED)
            return
        self._attending.kill(reason)

    def health(self) -> Health:
        """Return how the guard is."""
        verdict, attending = self.verdict, self._attending
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
            pushed=attending.listener.connected,
            push=attending.listener.arrives,
            threads=attending.threads(),
            in_flight=self.in_flight(),
            permits=self.permits.total(),
            skipped=self.skips.counts.total(),
            security_events=attending.troubles.security_events,
            push_gaps=attending.listener.gaps,
            durable=attending.stopping.durable,
            last_error=attending.troubles.last,
        )

    def close(self) -> None:
        """Close for good: deny, tell the fleet goodbye, end the threads.

        Safe to call again: if a signal handler raised in the middle, another call does the rest.
        """
        if self._pid != os.getpid():
            return
        self.shut(Reason.CLOSED)
        self._attending.close()

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def forked(self) -> None:
        """In the child: closed for life, and without the parent's sockets and locks.

        Says so when it is asked for the first time: most children never ask, and run another program.
        """
        self._armed = threading.Event()  # the parent's may be locked for ever in here
        self.shut(Reason.FORKED)
        self._attending.abandon()
        told = (
            f"the guard of {self.worker} was opened in process {self._pid} and stays closed in the "
            f"forked process {os.getpid()}: open a guard of its own there"
        )
        self._attending.troubles.last = told
        self.skips.closed(told)


def _following(config: configuration.Config, worker: str) -> Following:
    def reopen(new: Keyset) -> Signer:
        signer = config.signer("worker", new, name=worker)
        _require_answers(signer, new, worker)
        return signer

    # The steps that are kept begin at the file of the configuration, whatever was taken before.
    def succession() -> Succession:
        return config.succession(config.pinned())

    return Following(succession, reopen)


def _require_answers(signer: Signer, keyset: Keyset, worker: str) -> None:
    """Refuse a key whose receipts no stop would count.

    Raises:
        ConfigError: It is none of a worker, or another's.
    """
    if signer.principal not in keyset.principals(Role.WORKER):
        raise ConfigError(
            f"the key of {signer.principal!r} is no worker's: no stop would count its receipts",
            hint="name a worker's key under keys.worker; "
            f"`golive keys new {worker} --role worker --add` makes one",
        )
    if signer.principal not in keyset.answers_for(worker):  # A6
        raise ConfigError(
            f"the key of {signer.principal!r} may not answer for the worker {worker!r}",
            hint=f"make a key for {worker}, or where it has none mark {signer.principal} in the "
            "keyset as `shared: true`: no stop would count its receipts",
        )


def _checked_labels(worker: str, labels: Mapping[str, str] | None) -> dict[str, str]:
    _require_name(worker)
    given = dict(labels or {})
    for label in given:
        if label not in list(Label):
            raise ConfigError(
                f"{label!r} is no label (worker {worker})", hint=f"labels are {', '.join(Label)}"
            )
    try:
        known = convert(given, _Labels)
    except RecordError as error:
        raise ConfigError(
            f"the labels {given!r} of worker {worker} cannot be used",
            hint=f"the value of a label is text of 1 to {MAX_LABEL_VALUE} characters",
        ) from error
    for name, value in known.items():
        if not folded(value):
            raise ConfigError(
                f"the label {name!r} of worker {worker} is blank", hint="leave it out"
            )
    if known.get(Label.WORKER, worker) != worker:
        raise ConfigError("the label `worker` is the worker's own id")
    return {**{str(name): value for name, value in known.items()}, "worker": worker}


def _require_name(worker: str) -> None:
    """Refuse a worker id that no receipt could name.

    Raises:
        ConfigError: With what a name may be.
    """
    try:
        convert(worker, Name)
    except RecordError as error:
        text = str(worker)
        length = f": it has {len(text)} characters" if len(text) > MAX_NAME else ""
        raise ConfigError(
            f"{worker!r} cannot be the id of a worker{length}",
            hint="letters, digits, dot, dash and underscore, a letter or digit first; "
            f"at most {MAX_NAME} characters",
        ) from error


def _close_all() -> None:
    """At the end of the process: those that nobody has closed say goodbye, too."""
    for guard in list(_guards):
        guard.close()


def _close_with_child() -> None:
    """See to it that a child of `multiprocessing` closes its guards: it may end without `atexit`."""
    util = sys.modules.get("multiprocessing.util")  # such a child has it; nobody else pays for it
    if util is not None and os.getpid() not in _ends_by:
        _ends_by.add(os.getpid())
        util.Finalize(None, _close_all, exitpriority=0)


def _before_fork() -> None:
    for guard in list(_guards):
        guard.skips.children.share()


def _in_child() -> None:
    for guard in list(_guards):
        guard.forked()


atexit.register(_close_all)
os.register_at_fork(before=_before_fork, after_in_child=_in_child)
