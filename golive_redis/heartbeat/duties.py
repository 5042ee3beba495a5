"""What a heartbeat owes besides its beats: persist, receipt, re-assert, note.

The store is handed in, as a function that connects: what needs no store is done while Redis is away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from golive_redis import clock
from golive_redis.audit.counting import activated_since
from golive_redis.core.adoption import DAY_MS
from golive_redis.core.events import Change, Happening
from golive_redis.core.incidents import Incidents
from golive_redis.core.pulse import Pulse
from golive_redis.delivery.append import append
from golive_redis.delivery.receipts import Receipts
from golive_redis.delivery.spool import Spool
from golive_redis.delivery.tombstone import put_back
from golive_redis.errors import MaybeAppliedError, SignerError, StoreError
from golive_redis.heartbeat.memory import HeartbeatMemory
from golive_redis.records.beat import Beat
from golive_redis.records.directive import Restriction, Revocation
from golive_redis.records.envelope import Signer, Verified, seal
from golive_redis.records.ledger import Note
from golive_redis.records.receipt import Durable, Stage
from golive_redis.records.trust import Trust
from golive_redis.store.replies import Status, Step, Stop
from golive_redis.store.store import Store

SPOOL_EVERY_MS = 5_000.0
LOOK_AT = 5_000
"""Entries of the ledger that are looked at before the next beat, about half a second; the fleet lives on
beats, and an operator's next command has more time."""

_PUT_BACK = frozenset({Change.LOST_REVOCATION, Change.LOST_RESTRICTION})
_PERSISTED = frozenset(
    {
        Change.LATCHED,
        Change.SPARED,
        Change.GONE,
        Change.SILENCED,
        Change.CLOSED,
        Change.DISOWNED,
        Change.ADOPTED,
        Change.JOINED,
        Change.RESTRICTED,
    }
)


class Duties:
    """Acts on what a pulse says has happened.

    Args:
        pulse: The state machine.
        trust: Keyset, namespace and environment.
        signer: The heartbeat's key.
        memory: Its state file.
        receipts: Answers revocations.
        spool: Records that Redis would not take yet; None without a state folder.
        say: Told in a sentence what an operator should know.

    Attributes:
        memory: Likewise.
        receipts: Likewise.
        incidents: What it refused, for its presence.
        head: Ledger head as last read, or None.
    """

    def __init__(
        self,
        *,
        pulse: Pulse,
        trust: Trust,
        signer: Signer,
        memory: HeartbeatMemory,
        receipts: Receipts,
        spool: Spool | None,
        say: Callable[[str], None],
    ) -> None:
        self.memory = memory
        self.receipts = receipts
        self.incidents = Incidents()
        self.head: str | None = None
        self._pulse = pulse
        self._trust = trust
        self._signer = signer
        self._spool = spool
        self._told: dict[str, str] = {}
        self._say = say
        self._server = ""
        self._unrenewed = ""
        self._owed: Verified[Revocation] | None = None
        self._counted = not memory.is_empty
        self._spooled_at = -SPOOL_EVERY_MS

    def connected(self, store: Store) -> None:
        """Note on which server a new connection ended.

        Raises:
            StoreError: It does not say.
        """
        server = store.server()
        self._server = server.run_id
        self._pulse.reconnected(server.history)
        self._spooled_at = -SPOOL_EVERY_MS  # Redis was away, and a stop may be waiting for it

    def sign_as(self, trust: Trust, signer: Signer) -> None:
        """Sign and verify from now on under that keyset."""
        self._trust, self._signer = trust, signer
        self.receipts.sign_as(trust, signer)

    def count_activations(self, store: Store) -> None:
        """Count in the ledger, where this disk remembers nothing, the activations of the last day.

        Fails closed: of a day that is too long to be looked through there may have been any number.

        Raises:
            StoreError: The ledger cannot be read.
        """
        if self._counted or not self._pulse.haste.daily:
            return
        now, daily = clock.wall_ms(), self._pulse.haste.daily
        found = activated_since(store, self._trust, now - DAY_MS, LOOK_AT)
        self._pulse.adopted_ms += [now] * daily if found is None else found
        self._counted = True

    # -- what follows ----------------------------------------------------------------------------

    def act(self, happenings: Sequence[Happening], store: Callable[[], Store]) -> None:
        """Do what follows from what has happened.

        Raises:
            StoreError: Something could not be written; the rest was done all the same.
            SignerError: Or not signed.
        """
        failed: StoreError | SignerError | None = None
        for item in happenings:
            try:
                self._act_on(item, store)
            except (StoreError, SignerError) as error:
                failed = error  # what cannot be re-asserted now holds up nothing that follows
        if failed is not None:
            raise failed

    def _act_on(self, item: Happening, store: Callable[[], Store]) -> None:
        if item.text and item.change not in _PUT_BACK:
            self._say(item.text)
        if item.change in _PERSISTED:
            self.persist()  # S12: on disk before the receipt, and before the next beat
        match item:
            case Happening(change=Change.LATCHED, revocation=Verified() as revocation):
                self._answer(revocation)
            case Happening(change=Change.REPEATED, revocation=Verified() as revocation):
                self.receipts.repeat(revocation.identity)
            case Happening(change=Change.LOST_REVOCATION, revocation=Verified() as revocation):
                # When it came is known to the latch alone, and it has not come any later since (A13).
                reach_ms = min(revocation.record.reach_ms(), self._pulse.latch.blind_before_ms)
                self._reassert(
                    item.text,
                    revocation,
                    lambda: put_back(store(), self._trust, revocation, reach_ms=reach_ms),
                )
            case Happening(change=Change.LOST_RESTRICTION, restriction=Verified() as restriction):
                self._reassert(
                    item.text,
                    restriction,
                    lambda: store().restrict(restriction, again=True),
                )
            case Happening(change=Change.GONE):
                self.note("out-of-band", item.text, {}, store)
            case Happening(change=Change.CLOSED):
                self.note("window", item.text, {}, store)
            case Happening(change=Change.JOINED):
                self._join(store)
            case Happening(change=Change.SECURITY):
                self.incidents.refused(item.word, item.text, clock.wall_ms())
            case _:
                pass  # persisted above, or only to be said

    def persist(self) -> None:
        """Write down what is known; `memory.durable` says whether that worked.

        A stop whose latch is on disk only now is answered again: its first receipt did not count (S9).
        """
        self.memory.keep(self._pulse)
        if self._owed is not None and self.memory.durable is not Durable.FAILED:  # S9
            revocation, self._owed = self._owed, None
            self._say(f"the stop of epoch {revocation.record.epoch} is on disk by now")
            self._answer(revocation)

    def may_send(self, beat: Beat | None) -> bool:
        """Tell whether a beat may leave: on disk is on which server it is sent, and what it says."""
        if beat is not None and self._pulse.beats_on(self._server):
            self.persist()
        if unkept := self.memory.cannot_keep():
            self._pulse.waiting_for = unkept
        # S12, A15: no beat while a latch could not be kept.
        return beat is not None and not unkept

    def renewed(self, problem: str) -> None:
        """Say once when a beat is recorded and the keys' lives could not be renewed: off in `ttl_ms`."""
        if problem and problem != self._unrenewed:
            self._say(f"beating, but {problem}: every worker is off when the keys in Redis expire")
        self._unrenewed = problem

    def _answer(self, revocation: Verified[Revocation]) -> None:
        if self.memory.durable is Durable.FAILED:
            self._owed = revocation
        self.receipts.send(
            revocation,
            Stage.LATCHED,
            term=self._pulse.latch.term,
            durable=self.memory.durable,
            head=self.head,
            beat_on=self._pulse.beat_on,
        )

    def _reassert(
        self,
        lost: str,
        item: Verified[Revocation] | Verified[Restriction],
        put: Callable[[], Step | Stop],
    ) -> None:
        """Put back what the store lacks, and say what came of it; what was on its way, only if not.

        That the ledger has it is seen to by the recorder, once its command has had the time to.
        What stays as it is was said once: it is tried with each beat.
        """
        lead = lost or f"revocation {item.record.epoch} was pushed and is not stored yet"

        def tell(what: str) -> None:
            text = f"{lead}; {what}"
            if self._told.get(item.identity) != text:
                self._told[item.identity] = text
                self._say(text)

        try:
            done = put()
        except MaybeAppliedError as error:
            tell(f"not known if re-asserted: {error.message}")
            raise
        except StoreError as error:
            tell(f"NOT re-asserted: {error.message}")
            raise
        if done.status in {Status.OK, Status.SAME}:
            self._told.pop(item.identity, None)
            if lost:
                self._say(f"{lead}; re-asserted")
        elif done.status is Status.LATER:
            tell("a later term is active, and is left alone")
        else:
            why = done.why if isinstance(done, Step) else done.detail
            tell(f"NOT re-asserted: the store refused it: {why}")

    def _join(self, store: Callable[[], Store]) -> None:
        """Say that it beats for a running term, lest an earlier goodbye be taken for its last word."""
        pulse = self._pulse
        name, facts = self._signer.principal, {"term": str(pulse.term)}
        try:
            append(store(), self._signed("joined", f"{name} joins", facts))
        except (StoreError, SignerError):
            pulse.resign()  # it tries again when the other heartbeat's beat has advanced once more
            self.persist()
            raise

    # -- the ledger ------------------------------------------------------------------------------

    def note(
        self, topic: str, text: str, facts: dict[str, str], store: Callable[[], Store]
    ) -> None:
        """Write a note to the ledger, or keep it in the spool until Redis takes it; never raises."""
        try:
            record = self._signed(topic, text, facts)
        except SignerError as error:
            self._say(f"not in the ledger, for it is not signed: {text}: {error.message}")
            return
        try:
            append(store(), record)
        except StoreError as error:
            self._say(f"not in the ledger yet: {error.message}")
            self._keep(record)

    def _signed(self, topic: str, text: str, facts: dict[str, str]) -> bytes:
        trust = self._trust
        note = Note(
            **trust.heading(self._signer.principal, clock.wall_ms()),
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
            self._say(f"the audit entry cannot be saved on this host either: {error}")

    def send_spool(self, store: Callable[[], Store]) -> None:
        """Send what waits in the spool, every five seconds and after each new connection.

        Raises:
            StoreError: Redis cannot be reached.
        """
        now = clock.now_ms()
        if self._spool is None or now - self._spooled_at < SPOOL_EVERY_MS:
            return
        self._spooled_at = now
        self._spool.send(store(), self._trust, self._say, limit=LOOK_AT)
