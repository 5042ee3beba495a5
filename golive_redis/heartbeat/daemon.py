"""The heartbeat daemon: reads the state, beats while it may, stops for good when it must.

One loop owns the connection, so a stop is persisted and receipted only after the outstanding beat was
answered or its connection reset (S12). A second thread listens for pushes and wakes the loop. A turn in
which anything goes wrong is a turn without a beat; the next one begins anew.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path

from golive_redis import clock
from golive_redis import config as configuration
from golive_redis.clock import Throttle
from golive_redis.core.events import Happening
from golive_redis.core.incidents import What
from golive_redis.core.state import State
from golive_redis.core.timing import Haste, Timing
from golive_redis.delivery.outbox import Outbox
from golive_redis.delivery.receipts import Receipts
from golive_redis.delivery.spool import Spool
from golive_redis.errors import (
    ConfigError,
    MaybeAppliedError,
    RecordError,
    SignerError,
    StoreError,
)
from golive_redis.heartbeat.duties import Duties
from golive_redis.heartbeat.following import Following
from golive_redis.heartbeat.health import Health
from golive_redis.heartbeat.logstart import LogKeys
from golive_redis.heartbeat.memory import HeartbeatMemory
from golive_redis.heartbeat.presence import Presence
from golive_redis.heartbeat.publishing import Publisher
from golive_redis.heartbeat.recorder import Recorder
from golive_redis.heartbeat.setup import Setup, see_own
from golive_redis.heartbeat.triggers import Triggers
from golive_redis.logs import ASIDE, Log, aside
from golive_redis.records.envelope import Signer, seal
from golive_redis.records.receipt import Durable
from golive_redis.records.record import MAX_INT
from golive_redis.records.trust import Trust
from golive_redis.store import rights
from golive_redis.store.connect import Address
from golive_redis.store.link import Link
from golive_redis.store.push import PushListener
from golive_redis.store.reconnect import Reconnecting
from golive_redis.store.replies import Caller, Status
from golive_redis.store.store import Store
from golive_redis.threads import Backoff, Loop

MAX_PUSHED = 1_000
PATIENCE = 4  # times `timeout_ms`: for answers on which no beat rests
READING_MS = 5_000.0  # for a page of the ledger, of which a whole megabyte may come

FLUSH_S = 1.0
RELOAD_LOOK_S = 0.1  # how often a reload that waits looks whether the heartbeat is stopping

logger = Log("golive_redis.heartbeat")


def always(_: int) -> int:
    """Return when no trading windows close: never."""
    return MAX_INT


class Heartbeat:
    """One heartbeat; `run` returns after `stop`. `Heartbeat.open` makes one from a configuration.

    Args:
        name: Its stable name, a principal with the role `heartbeat`.
        trust: Keyset, namespace and environment.
        timing: The timers.
        signer: Its key.
        address: Where Redis is.
        state_dir: Where it remembers its latch and term; None remembers nothing.
        policy: Digest of its policy, for its presence: with other triggers or windows it watches over
            something else than the operator believes.
        open_until: Given Unix ms, when the trading windows that are open then will have closed; None
            when they are closed.
        triggers: What watches over its terms while it runs; None watches nothing.
        haste: How fast the fleet may be started again; as fast as somebody can, by default.
        log: By which it signs checkpoints of the ledger; None signs none.
        say: Told in a sentence what an operator should know.

    Attributes:
        ready: Set once Redis has answered for the first time.

    Raises:
        ConfigError: The key is another principal's, or the state file is held by a live process.
        StateFileError: The state file cannot be read: it does not start at all.
    """

    def __init__(
        self,
        *,
        name: str,
        trust: Trust,
        timing: Timing,
        signer: Signer,
        address: Address,
        state_dir: Path | None,
        policy: str = "",
        open_until: Callable[[int], int | None] = always,
        triggers: Triggers | None = None,
        haste: Haste = Haste(),  # noqa: B008  (frozen)
        log: LogKeys | None = None,
        say: Callable[[str], None] = logger.info,
    ) -> None:
        see_own(signer, name)
        say = aside(say)  # it may be the user's, and block
        keyspace, every_ms = address.keyspace, timing.read_every_ms
        connect = partial(_connect, address, timing.timeout_ms, name)
        caller = Caller("heartbeat", name, secrets.token_hex(16))
        self._signer = signer
        self._say = say
        self._hours = _Hours(open_until, say)
        self._triggers = triggers
        memory = HeartbeatMemory(state_dir, name, say)
        self._pulse = memory.pulse(trust, timing, haste)
        # Off the path of beats, a server that is asked by a whole fleet at once is waited for longer.
        patient = partial(_connect, address, PATIENCE * timing.timeout_ms, name)
        wanted = rights.of_heartbeat(keyspace, name, caller.instance)
        outbox = Outbox(patient, keyspace, every_ms / 1000, wanted)
        self._duties = Duties(
            pulse=self._pulse,
            trust=trust,
            signer=signer,
            memory=memory,
            receipts=Receipts(trust, signer, outbox, instance=caller.instance, heartbeat=name),
            spool=Spool(state_dir) if state_dir else None,
            say=say,
        )
        reading = partial(_connect, address, READING_MS, name)
        self._publisher = Publisher(log, reading, keyspace, state_dir, say) if log else None
        self._presence = Presence(caller, policy, self._duties.incidents)
        if triggers is not None:
            triggers.on_warning(self._warned)
        self._recorder = Recorder(name, patient, keyspace, trust, signer, say)
        self._connection = Reconnecting(connect, keyspace, self._connected)
        self._setup: Setup | None = None
        self._changes: deque[tuple[Callable[[], None], Future[None]]] = deque()
        self._following: Following | None = None
        self._pushed: deque[bytes] = deque(maxlen=MAX_PUSHED)
        self._wake = threading.Event()
        self._due = 0.0
        self._waited_for: str | None = None
        pauses = Backoff(every_ms / 1000, every_ms / 1000)
        self._loop = Loop(
            "heartbeat", self._turn, failed=_defect, ended=self._goodbye, backoff=pauses
        )
        self._listener = PushListener(
            patient, keyspace, every_ms, take=self._take, read=self._wake.set, failed=_push_failed
        )
        self.ready = threading.Event()
        self._turned_ms = clock.now_ms()

    @classmethod
    def open(
        cls,
        config: str | Path | configuration.Config | None = None,
        *,
        name: str,
        say: Callable[[str], None] = logger.info,
    ) -> Heartbeat:
        """Return the heartbeat of that name, with the windows and triggers of a configuration.

        Args:
            config: Path of the configuration, or a loaded one; None looks in the usual places.
            name: Its stable name, a principal with the role `heartbeat`.
            say: Told in a sentence what an operator should know.

        Raises:
            ConfigError: The configuration, a key, a trigger or a calendar cannot be used, or a live
                process has the name. Redis being away is no error. Fails closed: no heartbeat
                starts without what is to watch over it.
            StateFileError: The state file cannot be read.
        """
        if not isinstance(config, configuration.Config):
            config = configuration.load(config)
        # Before the state file is claimed: what is refused in here leaves nothing behind.
        setup = Setup.of(config, name, aside(say))
        heartbeat = cls(
            name=name,
            trust=setup.trust,
            timing=config.policy.timers,
            signer=setup.signer,
            address=setup.address,
            state_dir=config.state_dir,
            policy=config.policy_digest,
            open_until=setup.open_until,
            triggers=setup.triggers,
            haste=config.policy.haste,
            log=setup.log,
            say=say,
        )
        heartbeat._setup = setup
        heartbeat._follows(setup)
        return heartbeat

    # -- another keyset or configuration ---------------------------------------------------------

    def reload(self, config: str | Path | None = None) -> str:
        """Go over to the keyset and configuration as they are on disk now: to all of it, or to nothing.

        Blocks until that is done, and is called from a thread other than the one of `run`. Files are
        read on the caller's thread, so the beats wait for no disk.

        Args:
            config: Path of the configuration; None looks in the usual places.

        Returns:
            What is in use now, in a sentence.

        Raises:
            ConfigError: Something of it cannot be used, is no successor of what is in use, or cannot
                change while it runs. What was in use stays in use.
        """
        if self._setup is None:
            raise ConfigError("this heartbeat was made without a configuration")
        new = Setup.of(configuration.load(config), self._signer.principal, self._say)
        self._between_beats(lambda: self._go_over(new))
        digest, triggers = new.config.policy_digest, new.triggers.names
        watching = f"; triggers: {', '.join(triggers)}" if triggers else ""
        return f"keyset version {new.trust.keyset.version}, configuration {digest[:12]}{watching}"

    def _between_beats(self, change: Callable[[], None]) -> None:
        """Have the loop's own thread make a change between two of its steps, and wait for it.

        Raises:
            ConfigError: The heartbeat is stopping; or what the change raises.
        """
        done: Future[None] = Future()
        self._changes.append((change, done))
        self._wake.set()
        while not wait([done], RELOAD_LOOK_S).done:
            if self._loop.closing.is_set() and done.cancel():
                raise ConfigError("the heartbeat is stopping")
        done.result()

    def _take_over(self) -> None:
        """Go over to what was read in the meantime; on the loop's own thread, between two steps."""
        while self._changes:
            change, done = self._changes.popleft()
            if not done.set_running_or_notify_cancel():
                continue
            try:
                change()
            except Exception as error:  # noqa: BLE001  (raised again by `_between_beats`)
                done.set_exception(error)
            else:
                done.set_result(None)

    def _go_over(self, new: Setup) -> None:
        old, pulse = self._setup, self._pulse
        if old is None:
            return
        new.follow(old)
        try:
            held = pulse.held_under(new.trust)
        except RecordError as error:
            # Taking it over would end the term, which is for an operator to decide and not for a file.
            raise ConfigError(
                f"what is in force is refused under keyset version {new.trust.keyset.version}: "
                f"{error.message}",
                hint="have it signed by those who stay (activate or extend, revoke, restore); "
                "or restart the heartbeat, which ends the term",
            ) from error
        new.triggers.on_warning(self._warned)
        new.triggers.replace(old.triggers, lambda: self.state)
        # Nothing below can fail, so nothing is taken over in part.
        pulse.rely_on(new.trust, held)
        self._use(new)

    def _use(self, new: Setup) -> None:
        """Go on with that in the place of what was used."""
        self._pulse.haste = new.config.policy.haste
        self._pulse.barred = ""
        self._duties.sign_as(new.trust, new.signer)
        self._recorder.sign_as(new.trust, new.signer)
        self._presence.follows(new.config.policy_digest)
        if self._publisher is not None:
            self._publisher.follow(new.log)
        self._hours = _Hours(new.open_until, self._say)
        self._signer, self._triggers, self._setup = new.signer, new.triggers, new

    # -- the next signed keyset ------------------------------------------------------------------

    def _follows(self, setup: Setup) -> None:
        address, name = setup.address, self._signer.principal
        patient = partial(_connect, address, PATIENCE * self._pulse.timing.timeout_ms, name)
        connection = Reconnecting(patient, address.keyspace)
        self._following = Following(
            name, connection, lambda: self._setup or setup, self._succeed, self._say
        )

    def _succeed(self, trust: Trust, new: Setup | str) -> None:
        """Go over to a keyset that the roots have appointed; called by the thread that follows them."""
        self._between_beats(lambda: self._appointed(trust, new))

    def _appointed(self, trust: Trust, new: Setup | str) -> None:
        old, pulse = self._setup, self._pulse
        if isinstance(new, Setup) and old is not None:
            new.triggers.on_warning(self._warned)
            new.triggers.replace(old.triggers, lambda: self.state)
        self._act(pulse.succeed(trust))
        if isinstance(new, Setup):
            self._use(new)
            self._say(f"keyset {trust.keyset.version}: signed by its roots, in use from now on")
        else:
            pulse.barred = new  # K4: silent until a keyset or a key comes that it can sign with
            self._recorder.mute()
            self._say(f"keyset {trust.keyset.version}: silent: {new}")
        self._duties.persist()

    # -- the loop --------------------------------------------------------------------------------

    def run(self) -> None:
        """Beat until `stop`, then say goodbye; the triggers sample meanwhile."""
        if self._triggers is not None:
            self._triggers.start(lambda: self.state)
        try:
            self._run()
        finally:
            if self._triggers is not None:
                self._triggers.stop()
            ASIDE.flush(FLUSH_S)

    def _run(self) -> None:
        ASIDE.start()
        self._duties.persist()
        self._due = time.monotonic()
        try:
            self._loop.run()
        finally:
            if self._following is not None:
                self._following.close()

    def _turn(self) -> None:
        """Beat if it may, then wait for the next turn, and look up at once when something is pushed."""
        closing = self._loop.closing
        self._turned_ms = clock.now_ms()
        self._take_over()
        self._guarded(self._cycle)
        if self._pulse.waiting_for != self._waited_for:
            self._waited_for = self._pulse.waiting_for
            self._say(f"silent: {self._waited_for}" if self._waited_for else "beating")
        # This period is the retry, of reads, beats and connections alike: a second loop in here
        # would only keep the first one from stopping, and from saying that it is alive.
        self._due = max(self._due + self._pulse.timing.beat_every_ms / 1000, time.monotonic())
        while not closing.is_set():
            woken = self._wake.wait(max(0.0, self._due - time.monotonic()))
            if not woken:
                break
            self._loop.check()
            self._wake.clear()
            self._take_over()
            self._woken()

    @property
    def state(self) -> State | None:
        """The term that it beats for, or None while it is silent; may be read by any thread."""
        pulse = self._pulse
        return pulse.state if pulse.term is not None else None

    def health(self) -> Health:
        """Return how it is; may be called by any thread, and changes nothing."""
        pulse, duties = self._pulse, self._duties
        return Health(
            turn_age_ms=clock.now_ms() - self._turned_ms,
            beat_every_ms=pulse.timing.beat_every_ms,
            term=pulse.term,
            waiting_for=pulse.waiting_for,
            lacks=duties.receipts.outbox.lacks,
            durable=duties.memory.durable,
            stopping=self._loop.closing.is_set(),
        )

    def stop(self) -> None:
        """Ask `run` to end; may be called from a signal handler."""
        self._loop.closing.set()
        self._wake.set()

    def _start_beside(self) -> None:
        """Start the threads on which no beat and no stop depends; where there is none now, try again."""
        self._recorder.loop.start()
        for each in (self._following, self._publisher):
            if each is not None:
                each.loop.start()

    def _cycle(self) -> None:
        self._start_beside()
        if self._duties.memory.durable is Durable.FAILED:
            self._duties.persist()
        if self._has_threads() and self._guarded(self._read):
            # Before the beat: a stop that was signed while Redis was away comes first.
            self._guarded(lambda: self._duties.send_spool(self._connection.store))
            self._guarded(self._beat)
        self._act(self._pulse.overdue(clock.now_ms()))  # S12: ttl_ms without a beat ends the term

    def _has_threads(self) -> bool:
        """Tell whether all that a stop needs runs (A15); what could not be started is tried again."""
        loops = (self._listener.loop, self._duties.receipts.outbox.loop)
        if all(loop.start() and loop.is_alive() for loop in loops):
            return True
        self._pulse.waiting_for = "its threads do not run: see the log and the limits of this host"
        return False

    def _woken(self) -> None:
        """Read what a push announced; begin a term at once, for the fleet is waiting for beats."""
        before = self._pulse.term
        if (
            self._has_threads()
            and self._guarded(self._read)
            and self._pulse.term not in {None, before}
        ):
            self._guarded(self._beat)

    def _guarded(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except StoreError as error:
            self._pulse.waiting_for = error.message
            self._connection.drop()
            return False
        except SignerError as error:  # without a signature there is no beat, and the fleet closes
            if self._pulse.waiting_for != error.message:
                self._say(error.message)
            self._pulse.waiting_for = error.message
            return False
        except Exception:
            logger.exception("a defect in golive-redis; this heartbeat stays silent")
            self._connection.drop()
            return False
        return True

    def _connected(self, store: Store) -> None:
        self._duties.connected(store)
        self._presence.forget()

    def _read(self) -> None:
        """Take in what was pushed and what the store says, and act on it."""
        while self._pushed:
            self._act(self._pulse.push(self._pushed.popleft(), wall_ms=clock.wall_ms()))
        pulse, presence = self._pulse, self._presence
        store = self._connection.store()  # first, for a new connection has to be told everything
        log = self._publisher.word if self._publisher is not None else ""
        presence.hears(self._listener.arrives, self._duties.receipts.outbox.lacks, log)
        self._duties.incidents.turn(clock.wall_ms())
        ask = pulse.known.ask(secrets.token_hex(8))
        durable = self._duties.memory.durable
        fields = presence.changed(pulse, durable)
        status, answer, head = store.attend(ask, presence.caller, fields)
        if status is Status.REGISTER:
            fields = presence.all(pulse, durable)
            status, answer, head = store.attend(ask, presence.caller, fields)
        if answer.nonce != ask.nonce:
            raise StoreError("nonce mismatch: the answer is to another question")  # S8
        presence.told(fields)
        self._duties.head = head or None
        self._duties.count_activations(store)
        self._act(pulse.answer(answer, now=clock.now_ms(), wall_ms=clock.wall_ms()))
        self.ready.set()

    def _beat(self) -> None:
        pulse, now = self._pulse, clock.wall_ms()
        if pulse.term is not None and not self._hours.are_open(now):
            self._act(pulse.outside())
        store = self._connection.store()
        beat = pulse.next_beat(issued_at_ms=now)
        if not self._duties.may_send(beat) or beat is None:
            return
        record = seal(beat, self._signer)
        step = store.beat(
            self._signer.principal, record, term=beat.term, ttl_ms=pulse.timing.ttl_ms
        )
        if step.status is Status.OK:
            pulse.beaten(clock.now_ms())
            self._duties.renewed(step.detail)
        else:
            pulse.waiting_for = f"beat refused: {step.why}"  # until one succeeds
            self._say(pulse.waiting_for)
            self._wake.set()

    def _warned(self, trigger: str, text: str) -> None:
        """State that a trigger's check is close to its limit; on any thread."""
        state = self.state
        self._duties.incidents.add(
            What.EARLY_WARNING,
            trigger,
            clock.wall_ms(),
            text=text,
            term=state.term if state is not None else 0,
        )

    def _act(self, happenings: Sequence[Happening]) -> None:
        self._duties.act(happenings, self._connection.store)

    def _take(self, raw: bytes) -> None:
        """Keep what was pushed for the loop, which alone may act on it (S12)."""
        self._pushed.append(raw)
        self._recorder.heard(raw)
        self._wake.set()

    # -- the end ---------------------------------------------------------------------------------

    def _goodbye(self) -> None:
        """Leave the roster. Says what will happen; does not revoke."""
        pulse, term, timing = self._pulse, self._pulse.term, self._pulse.timing
        name = self._signer.principal
        pulse.resign()
        self._duties.persist()
        if self._duties.memory.durable is not Durable.FAILED:
            self._guarded(lambda: self._leave(term))
        if term is not None:
            bound = clock.wall_ms() + timing.beat_ms
            off_at = time.strftime("%H:%M:%S", time.localtime(bound / 1000))
            self._say(
                f"{name} no longer beats for term {term}; nothing is revoked. Without another "
                f"heartbeat every worker is off by {off_at}, and only an activation starts it again."
            )
        self._recorder.loop.end(timing.read_every_ms / 1000)
        self._duties.receipts.outbox.close(timing.read_every_ms / 1000)
        self._connection.drop()
        self._duties.memory.release()
        if self._publisher is not None:
            self._publisher.close(timing.read_every_ms / 1000)
        self._listener.close(timing.read_every_ms / 250)

    def _leave(self, term: int | None) -> None:
        name, store = self._signer.principal, self._connection.store
        self._duties.note("goodbye", f"heartbeat {name} leaves", {"term": str(term or 0)}, store)
        try:
            store().leave(self._presence.caller)
        except StoreError as error:
            unknown = isinstance(error, MaybeAppliedError)
            how = "not known if still on the roster" if unknown else "still on the roster"
            self._say(f"{how}: {error.message}")


class _Hours:
    """The trading windows, computed once for each stretch in which they are open."""

    def __init__(self, open_until: Callable[[int], int | None], say: Callable[[str], None]) -> None:
        self._open_until = open_until
        self._say = say
        self._open = (0, 0)  # in Unix ms

    def are_open(self, now_ms: int) -> bool:
        """Tell whether a window is open.

        Fails closed: what can no longer be computed is closed.
        """
        if not self._open[0] <= now_ms < self._open[1]:
            try:
                end = self._open_until(now_ms)
            except ConfigError as error:
                self._say(f"the trading windows: {error.message}")
                end = None
            self._open = (now_ms, end) if end is not None else (0, 0)
        return self._open[0] <= now_ms < self._open[1]


def _connect(address: Address, timeout_ms: float, name: str) -> Link:
    return address.connect(timeout_ms=timeout_ms, name=f"golive-heartbeat-{name}")


_defects = Throttle()


def _defect(error: Exception) -> None:
    logger.error("a defect in golive-redis; this heartbeat stays silent", exc_info=error)


def _push_failed(error: Exception) -> None:
    if isinstance(error, StoreError):
        logger.info("push: %s", error)
    elif _defects.due(repr(error)):
        logger.error("a defect in the push thread of golive-redis", exc_info=error)
