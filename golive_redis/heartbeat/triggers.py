"""Triggers: the checks that a heartbeat repeats while a term is in force, and what follows.

Each trigger samples in a thread of its own, so that one that hangs delays no other. Whatever goes
wrong in a sample is an unknown one. What fires is signed with the heartbeat's revoker key: it can
halt, reduce and revoke, and never loosen; people do that, with `golive restore` or an activation.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from golive_redis import clock
from golive_redis.checks import ask, runner
from golive_redis.checks.conditions import Conditions
from golive_redis.checks.question import Question
from golive_redis.checks.source import Surroundings
from golive_redis.checks.trigger import Action, Debounce, Trigger
from golive_redis.config import Config
from golive_redis.config.keyfile import Ask
from golive_redis.core.labels import covers, same
from golive_redis.core.state import State
from golive_redis.delivery.append import append_once
from golive_redis.delivery.retry import retried
from golive_redis.errors import ConfigError, GoliveError, StoreError
from golive_redis.logs import Log
from golive_redis.operator import restrictions
from golive_redis.operator.session import Operator
from golive_redis.records.directive import Mode, RestrictionKind, strictest
from golive_redis.records.envelope import Signer, seal
from golive_redis.records.keyset import Keyset, Role
from golive_redis.records.ledger import Note
from golive_redis.records.record import wording
from golive_redis.records.report import Finding, Outcome
from golive_redis.stop.revoke import Revoke
from golive_redis.threads import Backoff, Loop, in_order

logger = Log("golive_redis.triggers")

NOTE_TRIES = 5
"""A note about facts holds up the trigger's next sample, so it is not tried for ever."""

_RESTRICTS = {
    Action.REDUCE_ONLY: (RestrictionKind.REDUCE, Mode.REDUCE_ONLY),
    Action.HALTED: (RestrictionKind.HALT, Mode.HALTED),
}


class Triggers:
    """All triggers of one heartbeat.

    Args:
        config: The configuration.
        keyset: The keyset, as loaded with it.
        signer: The heartbeat's own, which signs the facts of what fired. Handed in, for a key that comes
            through a pipe can be read only once.
        say: Told in a sentence what an operator should know.

    Raises:
        ConfigError: The sections cannot be used, or no revoker key is there to act with. Fails
            closed: the heartbeat does not start without what is to watch over it.
    """

    def __init__(
        self, config: Config, keyset: Keyset, signer: Signer, say: Callable[[str], None]
    ) -> None:
        conditions = Conditions.of(config)
        self._samplers: dict[str, _Sampler] = {}
        self._loops: dict[str, Loop] = {}
        if not conditions.triggers:
            return
        actions = _TriggerActions(config, keyset, signer, say)
        for trigger, settings in conditions.triggers.items():
            wanted = settings.trigger()
            questions = [wanted.question] if wanted.question else []
            if wanted.check is not None:
                questions = conditions.questions(wanted.check, config.policy)
            self._samplers[trigger] = _Sampler(trigger, wanted, questions, config, actions)

    def on_warning(self, warned: Callable[[str, str], object]) -> None:
        """Have a warning told: name of the trigger and a sentence, once until it is over."""
        for sampler in self._samplers.values():
            sampler.on_warning(warned)

    @property
    def names(self) -> list[str]:
        """Of the triggers, in the order of the configuration."""
        return list(self._samplers)

    def start(self, state: Callable[[], State | None]) -> None:
        """Begin to sample, each trigger in a thread of its own.

        Args:
            state: Returns the term that the heartbeat beats for, or None while it is silent; only
                while it beats is anything sampled.
        """
        for trigger, sampler in self._samplers.items():
            if trigger in self._loops:
                continue
            loop = sampler.loop(trigger, state)
            self._loops[trigger] = loop
            if not loop.start():
                raise ConfigError(
                    f"no thread could be started for trigger {trigger}",
                    hint="this host has no more threads for this user: see ulimit -u",
                )

    def replace(self, old: Triggers, state: Callable[[], State | None]) -> None:
        """Sample from now on instead of those that run.

        A trigger that asks what it asked goes on as it is, with its count and at its rate: a reload
        must put off nothing that is about to fire. One that was changed counts anew, and keeps what
        it had seen of the term.

        Args:
            old: Those that run.
            state: As for `start`.

        Raises:
            ConfigError: No thread could be started. Those that run go on, and these do not.
        """
        kept = {
            name: running
            for name, running in old._samplers.items()
            if name in self._samplers and running.asks_what(self._samplers[name])
        }
        self._loops = {name: old._loops[name] for name in kept}
        for name, sampler in self._samplers.items():
            if name in old._samplers:
                sampler.inherit(old._samplers[name])
        try:
            self.start(state)
        except ConfigError:
            for name, loop in self._loops.items():
                if name not in kept:
                    loop.closing.set()
            raise
        for name, running in kept.items():
            running.act_as(self._samplers[name])
        for name, loop in old._loops.items():
            if name not in kept:
                loop.closing.set()
        self._samplers.update(kept)

    def stop(self) -> None:
        """Sample no more; what is under way ends by itself."""
        for loop in self._loops.values():
            loop.closing.set()


class _Sampler:
    """One trigger: samples, counts, and has its action carried out."""

    def __init__(
        self,
        name: str,
        wanted: Trigger,
        questions: Sequence[Question],
        config: Config,
        actions: _TriggerActions,
    ) -> None:
        self._name = name
        self._wanted = wanted
        self._questions = questions
        self._config = config
        self._actions = actions
        self._debounce = Debounce(wanted)
        self._grant, self._term = "", 0
        self._where = Surroundings.of(config)
        self._changing = threading.Lock()  # a reload, and the first look at a term
        self._said = Outcome.PASS
        self._warned = False
        self._on_warning: Callable[[str, str], object] = lambda *_: None

    def on_warning(self, warned: Callable[[str, str], object]) -> None:
        """Have a warning told, beside the log."""
        self._on_warning = warned

    def asks_what(self, other: _Sampler) -> bool:
        """Tell whether the other one samples, counts and acts in the same way."""
        return (self._wanted, self._questions) == (other._wanted, other._questions)

    def inherit(self, old: _Sampler) -> None:
        """Before the start: go on from what another one of that name has seen of the term."""
        with old._changing:
            self._grant, self._term = old._grant, old._term
            self._where = msgspec.structs.replace(self._where, memory=old._where.memory)
        self._actions.share(old._actions)

    def act_as(self, new: _Sampler) -> None:
        """Go on sampling, with the configuration and the keys of another one."""
        with self._changing:
            self._config, self._actions = new._config, new._actions
            self._where = msgspec.structs.replace(new._where, memory=self._where.memory)

    def loop(self, name: str, state: Callable[[], State | None]) -> Loop:
        """Return the thread that samples at a fixed rate, not started."""
        every_ms = self._wanted.every_ms
        due = clock.now_ms()

        def turn() -> None:
            nonlocal due
            if loop.closing.wait(max(0.0, due - clock.now_ms()) / 1000):
                return
            loop.check()  # or a forked child would stop the fleet in its parent's name
            # Never two samples close together: `2 of 3` means something only at a steady rate.
            due = due + every_ms if due + every_ms > clock.now_ms() else clock.now_ms() + every_ms
            self._turn(state())

        # No pause after a sample that failed but the one until the next: the rate stays steady.
        loop = Loop(f"trigger-{name}", turn, failed=self._failed, backoff=Backoff(0.0, 0.0))
        return loop

    def _failed(self, error: Exception) -> None:
        """Log it and say it, whichever of the two fails: one that samples nothing watches nothing."""
        in_order(
            [
                lambda: logger.error("trigger %s", self._name, exc_info=error),
                lambda: self._actions.say(f"trigger {self._name}: {error}"),
            ]
        )

    def _turn(self, state: State | None) -> None:
        if state is None:
            self._grant = ""
            return
        if state.grant.identity != self._grant:
            # People have decided anew, so what was seen before counts no more; what is counted from
            # the first look at a term begins with the term, also when no sample saw the pause between.
            with self._changing:
                if not self._grant or state.term != self._term:
                    self._where = Surroundings.of(self._config)
                self._grant, self._term = state.grant.identity, state.term
            self._debounce.restart()
        found = self._sample()
        self._tell(found)
        if self._debounce.sample(found.outcome):
            self._actions.act(self._name, self._wanted, found)

    def _sample(self) -> Finding:
        name = self._name
        return runner.run({name: ask.check(name, self._questions, self._where)}, [name])[0]

    def _tell(self, found: Finding) -> None:
        """Say what changed: each new outcome once, and a warning once until it is over."""
        if found.outcome is not self._said:
            self._said = found.outcome
            self._actions.say(f"trigger {self._name}: {found.outcome}: {found.explain}")
        elif found.warning and not self._warned:
            self._actions.say(f"trigger {self._name}: warning: {found.explain}")
        if found.warning and not self._warned:
            self._on_warning(self._name, found.explain)
        self._warned = found.warning


class _Pinned(Config, frozen=True, kw_only=True):
    """The configuration with keyset and revoker key as they were when the heartbeat read them.

    It beats on these; a file that is gone or half written when a trigger fires may not keep it from
    acting.

    Attributes:
        keys: The keyset.
        revoker: What `keys.revoker` named.
    """

    keys: Keyset
    revoker: Signer

    def keyset(self) -> Keyset:
        """Return the keyset that it beats on."""
        return self.keys

    def stop_signer(self, keyset: Keyset, key: str | None = None, ask: Ask | None = None) -> Signer:
        """Return the revoker's key, whatever is configured: it is the only one that acts here."""
        del keyset, key, ask
        return self.revoker


def _pinned(config: Config, keyset: Keyset) -> _Pinned:
    if config.policy.keys.revoker is None:
        raise ConfigError(
            f"{config.path}: triggers need keys.revoker to act with",
            hint="`golive keys new NAME --role revoker --add` makes one; name it there",
        )
    revoker = config.revoker_signer(keyset)
    if revoker.principal not in keyset.principals(Role.REVOKER):
        raise ConfigError(f"{revoker.principal} is no revoker in the keyset")
    return _Pinned(
        config.policy, config.path, config.environ, config.lines, keys=keyset, revoker=revoker
    )


class _TriggerActions:
    """Restricts and revokes with the heartbeat's revoker key.

    A stop waits for no other, each of which collects receipts for seconds when a pod is silent; only
    of those that want the same, one at a time, so that the others find it done.
    """

    def __init__(
        self, config: Config, keyset: Keyset, signer: Signer, say: Callable[[str], None]
    ) -> None:
        self._config = _pinned(config, keyset)
        self._heartbeat = signer.principal
        self._signer = signer
        self.say = say
        self._locks: defaultdict[object, threading.Lock] = defaultdict(threading.Lock)

    def share(self, old: _TriggerActions) -> None:
        """Wait for what the former ones have under way, as they do for each other."""
        self._locks = old._locks

    def act(self, name: str, wanted: Trigger, found: Finding) -> None:
        """Do what the trigger says, unless it is done already; then note the facts."""
        with self._locks[wanted.then, frozenset(same(wanted.labels).items())]:
            unknown = "unknown: " if found.outcome is Outcome.UNKNOWN else ""
            reason = f"trigger {name}: {unknown}{found.explain}"
            try:
                stops = wanted.then is Action.REVOKE
                done = self._revoke(reason) if stops else self._restrict(wanted, reason)
            except GoliveError as error:
                self.say(
                    f"trigger {name} fired, and its action failed; it is tried again: {error.message}"
                )
                return
            if done:
                self._note(name, wanted, found)

    def _revoke(self, reason: str) -> bool:
        """Revoke; False when another heartbeat came first. What cannot be looked at is revoked."""
        with suppress(StoreError), Operator(self._config, follows=False) as operator:
            if operator.read().snapshot.grant is None:
                return False
        self.say(f"revoking: {reason}")
        key = str(self._config.policy.keys.revoker)
        report = Revoke(self._config, reason=reason, key=key, say=self.say).run()
        self.say(f"{report.outcome.result}: epoch {report.epoch}")
        return True

    def _restrict(self, wanted: Trigger, reason: str) -> bool:
        """Restrict; False when that is in force already."""
        kind, mode = _RESTRICTS[wanted.then]
        with Operator(self._config, follows=False) as operator:
            state = operator.read().state
            if state is None or _holds(state, wanted, mode):
                return False
            labels = {str(name): value for name, value in wanted.labels.items()}
            done = restrictions.restrict(
                operator,
                kind,
                reason=reason,
                labels=labels,
                signer=self._config.revoker,
                say=self.say,
            )
        record = done.restriction.record
        self.say(f"{record.kind} {record.epoch}: {reason}")
        if not done.effective:
            self.say(f"{record.kind} {record.epoch}: no worker that it concerns has answered")
        return True

    def _note(self, name: str, wanted: Trigger, found: Finding) -> None:
        """Put the facts into the ledger: the directive carries only a sentence."""
        trust = self._config.trust()
        note = Note(
            **trust.heading(self._heartbeat, clock.wall_ms()),
            topic="trigger",
            text=wording(f"{name} fired ({wanted.then}): {found.explain}"),
            facts=dict(found.facts),
        )

        def put() -> None:
            record = seal(note, self._signer)  # the same bytes each time: Ed25519 is deterministic
            with Operator(self._config, follows=False) as operator:
                append_once(operator.store, record)

        try:
            retried(put, again=StoreError, tries=NOTE_TRIES)
        except GoliveError as error:
            self.say(f"the facts are not in the ledger: {error.message}")


def _holds(state: State, wanted: Trigger, mode: Mode) -> bool:
    """Tell whether what the trigger wants is in force: for these labels, or for more orders."""
    return any(
        item.record.mode is not None
        and strictest((item.record.mode, mode)) is item.record.mode
        and covers(item.record.labels, wanted.labels)
        for item in state.restrictions
    )
