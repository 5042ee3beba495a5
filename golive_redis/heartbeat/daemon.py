"""The heartbeat daemon: reads the state, beats while it may, stops for good when it must.

One loop owns the connection, so a stop is persisted and receipted only after the outstanding beat was
answered or its connection reset (S12). A second thread listens for pushes and wakes the loop.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from golive_redis import clock
from golive_redis import config as configuration
from golive_redis.checks import windows
from golive_redis.checks.conditions import Conditions
from golive_redis.core.events import Change, Happening
from golive_redis.core.pulse import Pulse
from golive_redis.core.state import State, assemble
from golive_redis.core.timing import Timing
from golive_redis.delivery.append import append
from golive_redis.delivery.outbox import Outbox
from golive_redis.delivery.spool import Spool
from golive_redis.delivery.tombstone import reassert
from golive_redis.errors import ConfigError, GoliveError, RecordError, StoreError
from golive_redis.heartbeat.memory import HeartbeatState
from golive_redis.heartbeat.triggers import Triggers
from golive_redis.records.directive import Restriction
from golive_redis.records.envelope import Signer, Verified, seal
from golive_redis.records.keyset import Role
from golive_redis.records.ledger import Note
from golive_redis.records.receipt import Durable, Receipt, Stage
from golive_redis.records.record import MAX_INT
from golive_redis.records.trust import Trust
from golive_redis.statefile import StateFile, StateFileError
from golive_redis.store.connect import Address, assert_user
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import Link
from golive_redis.store.push import Push
from golive_redis.store.replies import Caller, Status
from golive_redis.store.store import Store
from golive_redis.version import VERSION

SPOOL_EVERY_MS = 5_000.0
MAX_PUSHED = 1_000

logger = logging.getLogger("golive_redis.heartbeat")


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
        say: Told in a sentence what an operator should know.

    Attributes:
        ready: Set once Redis has answered for the first time.
        turned_ms: When the loop last began a turn, on the steady clock; for a watchdog.

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
        say: Callable[[str], None] = logger.info,
    ) -> None:
        if signer.principal != name:
            raise ConfigError(
                f"the heartbeat key is {signer.principal}'s, not {name}'s",
                hint=f"--name {signer.principal}, or set keys.heartbeat to the key of {name}",
            )
        self.name = name
        self.instance = secrets.token_hex(16)
        self._trust = trust
        self._timing = timing
        self._signer = signer
        self._address = address
        self._say = say
        self._policy = policy
        self._open_until = open_until
        self._triggers = triggers
        self._open = (0, 0)  # the stretch in which the windows are known to be open, in Unix ms
        self._keyspace = Keyspace(trust.namespace)
        self._caller = Caller("heartbeat", name, self.instance)
        self._file = StateFile(state_dir, f"heartbeat-{name}") if state_dir else None
        self._spool = Spool(state_dir) if state_dir else None
        self._pulse = self._remembered()
        self._durable = Durable.NONE if self._file is None else Durable.YES
        self._receipts: dict[str, tuple[Receipt, bytes]] = {}
        self._pushed: deque[bytes] = deque(maxlen=MAX_PUSHED)
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._link: Link | None = None
        self._server = ""
        self._register = True
        self._outbox = Outbox(self._connect, self._keyspace, timing.read_every_ms / 1000)
        self._spooled_at = -SPOOL_EVERY_MS
        self._head: str | None = None
        self._last_waiting = ""
        self.ready = threading.Event()
        self.turned_ms = clock.now_ms()

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
        trust = config.trust()
        known = trust.keyset.principals(Role.HEARTBEAT)
        if name not in known:
            raise ConfigError(
                f"{name!r} is not a heartbeat in the keyset",
                hint=f"it has {', '.join(known)}"
                if known
                else "`golive keys new NAME --role heartbeat --add` adds one",
            )
        open_until = partial(windows.open_until, Conditions.of(config).windows)
        open_until(clock.wall_ms())  # a calendar that cannot be used is found out now
        # Before the state file is claimed: what is refused in here leaves nothing behind.
        signer = config.signer("heartbeat", trust.keyset, name=name)
        triggers = Triggers(config, name, say)
        return cls(
            name=name,
            trust=trust,
            timing=config.policy.timers,
            signer=signer,
            address=config.address(),
            state_dir=config.state_dir,
            policy=config.policy_digest,
            open_until=open_until,
            triggers=triggers,
            say=say,
        )

    def _remembered(self) -> Pulse:
        states = self._file.read_all(HeartbeatState) if self._file else []
        state = states[0] if states else HeartbeatState()
        term, held = state.term, None
        try:
            held = self._verified(state)
        except RecordError as error:
            # On what it can no longer verify it cannot beat, and on less it must not (S13).
            self._say(f"what it remembers of term {term} is refused: {error.message}")
            term = None
        pulse = Pulse(self._trust, self._timing, self.name, state.latch, term, held, state.beat_on)
        if state.revocation is not None:
            try:
                pulse.revocation = self._trust.revocation(state.revocation.encode())
            except RecordError as error:
                self._say(f"the remembered revocation is refused: {error.message}")
        return pulse

    def _verified(self, state: HeartbeatState) -> State | None:
        if state.grant is None:
            return None
        trust = self._trust
        restrictions = [trust.restriction(raw.encode()) for raw in state.restrictions]
        return assemble(trust.grant(state.grant.encode()), restrictions)

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

    def _run(self) -> None:
        self._persist()
        listener = threading.Thread(target=self._listen, name="golive-push", daemon=True)
        listener.start()
        period = self._timing.beat_every_ms / 1000
        due = time.monotonic()
        while not self._closing.is_set():
            self.turned_ms = clock.now_ms()
            self._cycle()
            due = max(due + period, time.monotonic())
            while not self._closing.is_set():
                woken = self._wake.wait(max(0.0, due - time.monotonic()))
                if not woken:
                    break
                self._wake.clear()
                self._woken()
        self._goodbye()
        listener.join(self._timing.read_every_ms / 250)

    @property
    def state(self) -> State | None:
        """The term that it beats for, or None while it is silent; may be read by any thread."""
        pulse = self._pulse
        return pulse.state if pulse.term is not None else None

    def stop(self) -> None:
        """Ask `run` to end; may be called from a signal handler."""
        self._closing.set()
        self._wake.set()

    def _cycle(self) -> None:
        if self._durable is Durable.FAILED:
            self._persist()
        if self._guarded(self._read):
            # Before the beat: a stop that was signed while Redis was away comes first.
            self._guarded(self._send_spool)
            self._guarded(self._beat)
        self._act(self._pulse.overdue(clock.now_ms()))
        if self._pulse.waiting_for != self._last_waiting:
            self._last_waiting = self._pulse.waiting_for
            self._say(f"silent: {self._last_waiting}" if self._last_waiting else "beating")

    def _woken(self) -> None:
        """Read what a push announced; begin a term at once, for the fleet is waiting for beats."""
        before = self._pulse.term
        if self._guarded(self._read) and self._pulse.term not in {None, before}:
            self._guarded(self._beat)

    def _guarded(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except StoreError as error:
            self._pulse.waiting_for = error.message
            self._drop_link()
            return False
        except Exception:
            logger.exception("a defect in golive-redis; this heartbeat stays silent")
            self._drop_link()
            return False
        return True

    def _connect(self) -> Link:
        link = self._address.link(
            timeout_ms=self._timing.timeout_ms, name=f"golive-heartbeat-{self.name}"
        )
        link.open()
        try:
            assert_user(link, self._address.username)
        except StoreError:
            link.close()
            raise
        return link

    def _store(self) -> Store:
        if self._link is not None and self._link.closed:
            self._drop_link()
        if self._link is None:
            link = self._connect()
            try:
                self._server = Store(link, self._keyspace).server().run_id
            except StoreError:
                link.close()
                raise
            self._link = link
            self._pulse.reconnected()
            self._register = True
            self._spooled_at = -SPOOL_EVERY_MS  # Redis was away, and a stop may be waiting for it
        return Store(self._link, self._keyspace)

    def _drop_link(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _read(self) -> None:
        """Take in what was pushed and what the store says, and act on it."""
        while self._pushed:
            self._act(self._pulse.push(self._pushed.popleft()))
        pulse = self._pulse
        ask = pulse.known.ask(secrets.token_hex(8))
        fields = self._fields() if self._register else {}
        status, answer, head = self._store().attend(ask, self._caller, fields)
        if status is Status.REGISTER:
            status, answer, head = self._store().attend(ask, self._caller, self._fields())
        if answer.nonce != ask.nonce:
            raise StoreError("nonce mismatch: the answer is to another question")
        self._register = False
        self._head = head or None
        self._act(pulse.answer(answer, now=clock.now_ms(), wall_ms=clock.wall_ms()))
        self.ready.set()

    def _fields(self) -> dict[str, str | bytes]:
        pulse = self._pulse
        return {
            "state": "beating" if pulse.term is not None else "silent",
            "reason": pulse.waiting_for,
            "term": str(pulse.term or 0),
            "epoch": str(pulse.state.epoch if pulse.state else 0),
            "durable": self._durable,
            "directive": pulse.newest or b"",
            "version": VERSION,
            "policy": self._policy,
            "host": socket.gethostname(),
            "pid": str(os.getpid()),
        }

    def _beat(self) -> None:
        pulse, now = self._pulse, clock.wall_ms()
        if pulse.term is not None and not self._inside(now):
            self._act(pulse.outside())
        store = self._store()
        beat = pulse.next_beat(issued_at_ms=now)
        if beat is not None and pulse.beats_on(self._server):
            self._persist()
        if beat is None or self._durable is Durable.FAILED:
            return
        step = store.beat(
            self.name, seal(beat, self._signer), term=beat.term, ttl_ms=self._timing.ttl_ms
        )
        if step.status is Status.OK:
            pulse.beaten(clock.now_ms())
        else:
            self._say(f"beat refused: {step.why}")
            self._wake.set()

    def _inside(self, now: int) -> bool:
        """Tell whether a trading window is open; computed once for each stretch.

        Fails closed: what can no longer be computed is closed.
        """
        if not self._open[0] <= now < self._open[1]:
            try:
                end = self._open_until(now)
            except ConfigError as error:
                self._say(f"the trading windows: {error.message}")
                end = None
            self._open = (now, end) if end is not None else (0, 0)
        return self._open[0] <= now < self._open[1]

    def _send_spool(self) -> None:
        now = clock.now_ms()
        if self._spool is None or now - self._spooled_at < SPOOL_EVERY_MS:
            return
        self._spooled_at = now
        self._spool.send(self._store(), self._trust, self._say)

    # -- pushes ----------------------------------------------------------------------------------

    def _listen(self) -> None:
        push = Push(self._connect, self._keyspace, clock.now_ms, self._timing.read_every_ms)
        while not self._closing.is_set():
            try:
                push.open()
                while not self._closing.is_set():
                    message = push.wait(self._timing.read_every_ms)
                    if message is None:
                        continue
                    if message.directive is not None:
                        self._pushed.append(message.directive)
                    self._wake.set()
            except GoliveError as error:
                logger.info("push: %s", error)
            push.close()
            self._wake.set()
            self._closing.wait(self._timing.read_every_ms / 1000)

    # -- what follows ----------------------------------------------------------------------------

    def _act(self, happenings: list[Happening]) -> None:
        failed: StoreError | None = None
        for item in happenings:
            try:
                self._act_on(item)
            except StoreError as error:
                failed = error  # what cannot be re-asserted now holds up nothing that follows
        if failed is not None:
            raise failed

    def _act_on(self, item: Happening) -> None:
        if item.text:
            self._say(item.text)
        if item.change is not Change.REPEATED:
            self._register = True  # presence says what changed
        if item.change in _PERSISTED:
            self._persist()
        if item.revocation is not None and item.change is Change.LATCHED:
            self._receipt(item)
        elif item.revocation is not None and item.change is Change.REPEATED:
            known = self._receipts.get(item.revocation.identity)
            if known is not None:
                self._outbox.send(*known)
        elif item.revocation is not None:
            self._say(f"the store lost revocation {item.revocation.record.epoch}; re-asserted")
            reassert(self._store(), self._trust, item.revocation)
        elif item.restriction is not None:
            self._reassert(item.restriction)
        elif item.change is Change.GONE:
            self._note("out-of-band", item.text)
        elif item.change is Change.CLOSED:
            self._note("window", item.text)
        elif item.change is Change.JOINED:
            self._join()

    def _join(self) -> None:
        """Say that it beats for a running term, lest an earlier goodbye be taken for its last word."""
        pulse = self._pulse
        facts = {"term": str(pulse.term)}
        try:
            append(self._store(), self._signed("joined", f"{self.name} joins", facts))
        except StoreError:
            pulse.resign()  # it tries again when the other heartbeat's beat has advanced once more
            self._persist()
            raise

    def _persist(self) -> None:
        if self._file is None:
            return
        pulse = self._pulse
        held = pulse.state
        value = HeartbeatState(
            latch=pulse.latch,
            term=pulse.term,
            revocation=pulse.revocation.raw.decode() if pulse.revocation is not None else None,
            grant=held.grant.raw.decode() if held is not None else None,
            restrictions=[item.raw.decode() for item in held.restrictions] if held else [],
            beat_on=list(pulse.beat_on) if pulse.beat_on is not None else None,
        )
        try:
            self._file.write(value)
            self._durable = Durable.YES
        except StateFileError as error:
            # It stays silent until a write succeeds: a latch that a restart forgets is none.
            self._durable = Durable.FAILED
            self._say(error.message)

    def _receipt(self, item: Happening) -> None:
        assert item.revocation is not None  # noqa: S101  (checked by the only caller)
        record = item.revocation.record
        self._say(f"revoked by {record.by} (epoch {record.epoch}): {record.reason}")
        receipt = Receipt(
            namespace=self._trust.namespace,
            environment=self._trust.environment,
            keyset_version=self._trust.keyset.version,
            issued_at_ms=clock.wall_ms(),
            by=self.name,
            worker=None,
            heartbeat=self.name,
            instance=self.instance,
            directive=item.revocation.identity,
            epoch=record.epoch,
            stage=Stage.LATCHED,
            at_ms=clock.wall_ms(),
            in_flight=0,
            left=None,
            durable=self._durable,
            head=self._head,
            beat_on=list(self._pulse.beat_on) if self._pulse.beat_on is not None else None,
        )
        raw = seal(receipt, self._signer)
        self._receipts = {item.revocation.identity: (receipt, raw)}
        self._outbox.send(receipt, raw)

    def _reassert(self, restriction: Verified[Restriction]) -> None:
        record = restriction.record
        self._say(f"the store lost {record.kind} {record.epoch}; re-asserted")
        self._store().restrict(
            term=record.term,
            epoch=record.epoch,
            record=restriction.raw,
            identity=restriction.identity,
            prev="",
            head="",
            head_after="",
            again=True,
        )

    def _note(self, topic: str, text: str, facts: dict[str, str] | None = None) -> None:
        record = self._signed(topic, text, facts or {})
        try:
            append(self._store(), record)
        except StoreError as error:
            self._say(f"not in the ledger yet: {error.message}")
            self._keep(record)

    def _signed(self, topic: str, text: str, facts: dict[str, str]) -> bytes:
        note = Note(
            namespace=self._trust.namespace,
            environment=self._trust.environment,
            keyset_version=self._trust.keyset.version,
            issued_at_ms=clock.wall_ms(),
            by=self.name,
            topic=topic,
            text=text,
            facts=facts,
        )
        return seal(note, self._signer)

    def _keep(self, record: bytes) -> None:
        if self._spool is None:
            return
        try:
            self._spool.keep(record)
        except OSError as error:
            self._say(f"not spooled either: {error}")

    # -- the end ---------------------------------------------------------------------------------

    def _goodbye(self) -> None:
        """Leave the roster. Says what will happen; does not revoke."""
        pulse, term = self._pulse, self._pulse.term
        pulse.resign()
        self._persist()
        if self._durable is not Durable.FAILED:
            try:
                self._note("goodbye", f"heartbeat {self.name} leaves", {"term": str(term or 0)})
                self._store().leave(self._caller)
            except StoreError as error:
                self._say(f"still on the roster: {error.message}")
        if term is not None:
            bound = clock.wall_ms() + self._timing.beat_ms
            off_at = time.strftime("%H:%M:%S", time.localtime(bound / 1000))
            self._say(
                f"{self.name} no longer beats for term {term}; nothing is revoked. Without another "
                f"heartbeat every worker is off by {off_at}, and only an activation starts it again."
            )
        self._outbox.close(self._timing.read_every_ms / 1000)
        self._drop_link()
        if self._file is not None:
            self._file.release()


_PERSISTED = frozenset(
    {
        Change.LATCHED,
        Change.GONE,
        Change.SILENCED,
        Change.CLOSED,
        Change.ADOPTED,
        Change.JOINED,
        Change.RESTRICTED,
    }
)
