"""Revoke: off everywhere at once, with receipts (DESIGN.md section 7).

Order: subscribe to receipts; number and sign; PUBLISH, which works even when writes are refused; the
script; then collect, repeating each second until a primary shows the tombstone and the receipts are
in. This is the kill path: it imports nothing it does not need, and no failure of a part that comes
later may hold up a part that comes earlier.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import msgspec

from golive_redis import clock
from golive_redis.config import Config
from golive_redis.core.barrier import By, Collected, Outcome, Result, Roster, judge
from golive_redis.core.directive import Grant, Revocation
from golive_redis.core.envelope import Signer, Verified, identity_of, seal
from golive_redis.core.keyset import Role
from golive_redis.core.ledger import GENESIS, Note
from golive_redis.core.record import MAX_INT, wording
from golive_redis.core.trust import Trust
from golive_redis.errors import ConfigError, RecordError, StoreError
from golive_redis.fleet import Receipts, farewells, read_rosters, strike_silent
from golive_redis.numbering import Directive, newest
from golive_redis.operator_state import Memory
from golive_redis.store.connect import Address, RedisLink, StoreRefusedError
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.store import Audit, Status, Stop, Store
from golive_redis.tombstone import execute, is_confirmed, reassert

CONNECT_TIMEOUT_MS = 1_000.0
READ_BOUND_MS = 250.0
REPEAT_MS = 1_000.0
POLL_MS = 250.0
MAX_SIGNED = 5
NEAR = 64
GRACE_MS = 2_000
MAX_DRAINED = 10_000
WAIT_MS = 50


class LedgerState(StrEnum):
    """What became of the ledger entry."""

    WRITTEN = "written"
    SPOOLED = "spooled"
    FAILED = "failed"


class Report(msgspec.Struct, frozen=True):
    """What a revoke can say.

    Attributes:
        outcome: The judgement, with a row per pod.
        epoch: Of the revocation; 0 when no key could sign one.
        term: The term that was ended; 0 when nothing verifiable was active.
        in_redis_ms: From the call to the effect in Redis; None when there was none.
        bound_ms: Unix ms after which nobody trades even if a heartbeat stays silent (`not_after`);
            None when unknown.
        problems: What went wrong on the way, in sentences.
        wall_ms: Unix ms of the call, to show instants.
    """

    outcome: Outcome
    epoch: int
    term: int
    in_redis_ms: float | None
    ledger: LedgerState
    bound_ms: int | None
    problems: tuple[str, ...]
    wall_ms: int
    called_at: float

    def at(self, instant: float) -> int:
        """Return an instant of the steady clock as Unix ms."""
        return int(self.wall_ms + instant - self.called_at)


class Revoke:
    """One run of `golive revoke`.

    Args:
        config: The configuration.
        reason: For the record.
        ticket: For the record.
        dead: Heartbeats that the operator attests to be dead.
        wait_ms: How long to collect; None takes `beat_ms` + 2 s.
        key: Key file to use instead of the configured operator's.
        say: Told in a sentence what happens as it happens.
    """

    def __init__(
        self,
        config: Config,
        *,
        reason: str,
        ticket: str = "",
        dead: frozenset[str] = frozenset(),
        wait_ms: float | None = None,
        key: str | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.called_at = clock.now_ms()
        self.wall_ms = clock.wall_ms()
        self._config = config
        self._reason = wording(reason)
        self._ticket = wording(ticket)
        self._trust: Trust = config.trust()
        known = set(self._trust.keyset.principals(Role.HEARTBEAT))
        self._dead = dead & known
        self._unknown_dead = dead - known
        self._key = key
        self._say = say
        self._timing = config.policy.timers
        self._wait_ms = self._timing.beat_ms + GRACE_MS if wait_ms is None else wait_ms
        self._address = Address.of(config)
        self._keys = Keyspace(self._trust.namespace)
        self._receipts = Receipts(self._trust, clock.now_ms)
        self._problems: list[str] = []
        self._said: set[str] = set()
        self._link: RedisLink | None = None
        self._channel: RedisLink | None = None
        self._signed: list[Verified[Revocation]] = []
        self._in_redis_ms: float | None = None
        self._origin: str | None = None
        self._same_primary = False
        self._executed_here = False
        self._forged = False
        self._shown = False
        self._sent: set[str] = set()
        self._in_ledger: set[str] = set()
        self._moved: list[Verified[Revocation]] = []
        self._known: Roster | None = None
        self._known_after = False
        self._was_confirmed = False
        self._confirmed_note: bytes | None = None
        self._left: frozenset[str] = frozenset()
        self._active_grant: Grant | None = None
        self._term = 0
        self._not_after_ms: int | None = None
        self._memory: Memory | None = None
        self._head = ""

    def run(self) -> Report:
        """Stop the fleet and collect the receipts.

        Returns:
            A report in every case: an unreachable store or a missing key is NOT CONFIRMED, no error.

        Raises:
            ConfigError: The keyset or the configuration cannot be used.
        """
        for name in sorted(self._unknown_dead):
            self._problem(f"{name!r} is no heartbeat in the keyset; the attestation is ignored")
        signer = self._signer()
        self._memory = self._remember()
        try:
            return self._run(signer)
        finally:
            self._close()
            self._memory.close()

    def _run(self, signer: Signer | None) -> Report:
        self._attempt(self._connect)
        if signer is None:
            return self._without_key()
        self._operator = signer
        self._number_and_sign()
        self._attempt(self._send)
        self._write_down()
        self._keep()
        outcome = self._collect()
        ledger = self._close_books()
        if outcome.settled:
            self._attempt(lambda: self._confirm(signer, outcome))
        self._save(outcome)
        return self._report(outcome, ledger)

    # -- before the stop -------------------------------------------------------------------------

    def _signer(self) -> Signer | None:
        try:
            keyset = self._trust.keyset
            if self._key is not None:
                signer = self._config.signer_from(Path(self._key), keyset)
            else:
                only_revoker = self._config.policy.keys.operator is None
                signer = self._config.signer("revoker" if only_revoker else "operator", keyset)
        except ConfigError as error:
            hint = f" ({error.hint})" if error.hint else ""
            self._problem(f"no usable key, so nothing can be signed: {error.message}{hint}")
            return None
        if signer.principal not in keyset.principals(Role.REVOKER):
            self._problem(
                f"no usable key: every pod would refuse one that {signer.principal} signs"
            )
            return None
        return signer

    def _remember(self) -> Memory:
        try:
            return Memory(self._config.state_dir)
        except ConfigError as error:
            self._problem(error.message)  # a stop does not wait for a disk
            return Memory(None)

    def _connect(self) -> None:
        self._link = self._new_link()
        self._link.open()
        self._subscribe()

    def _subscribe(self) -> None:
        """Listen for receipts; without that they can still be read from the store."""
        try:
            channel = self._new_link()
            channel.send("SUBSCRIBE", self._keys.receipts)
            self._channel = channel
        except StoreError as error:
            self._problem(f"cannot listen for receipts: {error.message}")

    def _new_link(self) -> RedisLink:
        return self._address.link(
            timeout_ms=READ_BOUND_MS, connect_timeout_ms=CONNECT_TIMEOUT_MS, name="golive-revoke"
        )

    def _store(self) -> Store:
        if self._link is None:
            self._connect()
        assert self._link is not None  # noqa: S101  (just connected)
        return Store(self._link, self._keys)

    def _number_and_sign(self) -> None:
        found, readable = self._read_directives()
        adopted = self._adopt(found) if readable else None
        if adopted is not None:
            self._signed.append(adopted)
            self._sent.add(adopted.identity)
            return
        epoch = found.record.epoch if found is not None else 0
        self._sign(epoch + 1, blind=not readable)

    def _read_directives(self) -> tuple[Directive | None, bool]:
        """Find the newest verified directive within one bound; say whether the store was read."""
        assert self._memory is not None  # noqa: S101  (set by run)
        raws = self._memory.directives()
        readable, hint = False, 0
        until = clock.now_ms() + READ_BOUND_MS
        try:
            store = self._store()
            snapshot = store.snapshot()
            readable = not snapshot.corrupt
            self._head, hint = snapshot.head, snapshot.epoch_hint
            self._confirmed_note = snapshot.confirmed
            raws += [raw for raw in (snapshot.grant, snapshot.revoked) if raw is not None]
            raws += snapshot.restrictions.values()
            self._origin = snapshot.origin or snapshot.revoked_origin
            if snapshot.revoked is not None and newest([snapshot.revoked], self._trust) is None:
                self._problem("the tombstone does not verify; it is replaced by a blind one")
                self._forged, readable = True, False
            if snapshot.grant is not None:
                self._note_grant(snapshot.grant)
                # Of a term that we cannot verify (our keyset is old) the epoch is not known either:
                # blind, the revocation covers it by the time it was issued.
                readable = readable and self._active_grant is not None
            raws += store.told_directives(lambda: clock.now_ms() < until)
        except StoreError as error:
            self._problem(error.message)
        found = newest(raws, self._trust)
        # Redis knows of a later directive than anybody can show us: a term may have begun unseen.
        known = found.record.epoch if found is not None else 0
        return found, readable and hint <= known

    def _note_grant(self, raw: bytes) -> None:
        try:
            grant = self._trust.grant(raw).record
        except RecordError as error:
            self._problem(f"the active grant is refused: {error.message}")
            return
        if self._active_grant is None or grant.term >= self._active_grant.term:
            self._active_grant = grant
        self._term = max(self._term, grant.term)
        self._not_after_ms = max(self._not_after_ms or 0, grant.not_after_ms)

    def _adopt(self, found: Directive | None) -> Verified[Revocation] | None:
        """Take over the tombstone that stands already: a command that is run again finishes it."""
        if found is None or not isinstance(found.record, Revocation):
            return None
        if self._active_grant is not None:
            return None
        self._was_confirmed = is_confirmed(self._trust, self._confirmed_note, found.identity)
        self._say(f"already revoked by {found.record.by} (epoch {found.record.epoch})")
        return found

    def _sign(self, epoch: int, *, blind: bool) -> None:
        signer = self._operator
        record = Revocation(
            namespace=self._trust.namespace,
            environment=self._trust.environment,
            keyset_version=self._trust.keyset.version,
            issued_at_ms=clock.wall_ms(),
            by=signer.principal,
            epoch=min(epoch, MAX_INT),
            reason=self._reason,
            ticket=self._ticket,
            blind=blind,
        )
        self._signed.append(
            Verified(
                record, identity_of(record), seal(record, signer), frozenset({signer.principal})
            )
        )

    # -- the stop --------------------------------------------------------------------------------

    def _send(self) -> None:
        """Publish, then run the script; sign again for whatever later directive it met."""
        for _ in range(MAX_SIGNED):
            store, item = self._store(), self._signed[-1]
            self._attempt(lambda: store.publish(self._keys.events, item.raw))  # noqa: B023
            # After a try whose answer was lost, and for one taken over, the entry may be written.
            head = "" if item.identity in self._sent else self._head or GENESIS
            self._sent.add(item.identity)
            try:
                stop = execute(self._store(), item, head)
            except StoreError as error:
                self._problem(f"the revoke script did not run: {error.message}")
                if self._store().delete_active():
                    self._effect()
                return
            self._executed(stop)
            if self._forged and stop.status is Status.SAME:
                self._attempt(lambda: self._replace(item))  # noqa: B023
            later = self._later(stop)
            if later is None:
                return
            self._shown = False
            self._say(f"met epoch {later.record.epoch} on the way; revoking that too")
            self._sign(later.record.epoch + 1, blind=False)

    def _replace(self, item: Verified[Revocation]) -> None:
        """Put ours in place of a tombstone that does not verify.

        Only after the stop; and ours is blind, so that it covers whatever that one covered.
        """
        self._forged = self._shown = False
        store = self._store()
        store.drop_tombstone()
        self._executed(execute(store, item, ""))

    def _executed(self, stop: Stop) -> None:
        self._effect(
            "the key is gone" if stop.grant else "nothing was active; the tombstone stands"
        )
        self._executed_here = self._shown = True
        self._origin = stop.origin or self._origin
        if stop.audit is Audit.AUDITED:
            self._in_ledger.add(self._signed[-1].identity)
        elif stop.audit is Audit.HEAD:
            self._moved.append(self._signed[-1])
        elif stop.audit is Audit.FAILED:
            self._problem(f"AUDIT FAILED: {stop.detail}")
        if stop.grant is not None:
            self._note_grant(stop.grant)

    def _effect(self, what: str = "the key is gone") -> None:
        if self._in_redis_ms is None:
            self._in_redis_ms = clock.now_ms() - self.called_at
            self._say(f"{what} after {self._in_redis_ms:.0f} ms")

    def _later(self, stop: Stop) -> Directive | None:
        """Return what the script met that is not below our epoch, if it verifies."""
        raws = [raw for raw in (stop.grant, stop.restriction) if raw is not None]
        found = newest(raws, self._trust)
        if found is not None and found.record.epoch >= self._signed[-1].record.epoch:
            return found
        return None

    # -- after the stop --------------------------------------------------------------------------

    def _collect(self) -> Outcome:
        until = self.called_at + self._wait_ms
        repeat_at = clock.now_ms() + REPEAT_MS
        self._attempt(self._look)
        while True:
            outcome = self._judge()
            now = clock.now_ms()
            if (outcome.settled and self._shown) or now >= until:
                return outcome
            if now >= repeat_at:
                repeat_at = now + REPEAT_MS
                self._attempt(self._repeat)
                self._attempt(self._look)
            self._listen(min(POLL_MS, until - now, repeat_at - now))

    def _judge(self) -> Outcome:
        assert self._memory is not None  # noqa: S101  (set by run)
        roster = self._known or Roster(frozenset(), frozenset())
        then = self._then()
        roster = Roster(
            roster.heartbeats | (then.heartbeats - self._left) | self._dead,
            roster.workers | then.workers,
        )
        outcome = judge(
            roster,
            self._collected(),
            called_at=self.called_at,
            now=clock.now_ms(),
            timing=self._timing,
            attested_dead=self._dead,
            same_primary=self._same_primary and self._shown and self._known_after,
        )
        if self._known is None:
            # Our list may lack a heartbeat that joined later: without the roster nobody knows.
            return msgspec.structs.replace(outcome, result=Result.NOT_CONFIRMED, by=None)
        return outcome

    def _then(self) -> Roster:
        """Return who was there at the activation that this stop ends, until it is confirmed.

        Also when the stop is repeated and nothing is active any more: whoever was taken off the
        roster meanwhile is still waited for.
        """
        assert self._memory is not None  # noqa: S101  (set by run)
        state = self._memory.newest
        if self._was_confirmed or not 0 < state.term <= self._signed[-1].record.epoch:
            return Roster(frozenset(), frozenset())
        return state.roster()

    def _collected(self) -> Collected:
        # A revocation that was signed before a later term was met does not end that term, so an
        # answer to it says nothing.
        ended = self._active_grant
        return self._receipts.collected(
            [
                item.identity
                for item in self._signed
                if ended is None or item.record.covers(ended.term, ended.issued_at_ms)
            ]
        )

    def _look(self) -> None:
        """Read rosters, stored receipts, and whether this is still the primary it was."""
        self._same_primary = False  # until all of this has been read, and read after the stop
        store = self._store()
        if self._known is None or not self._known_after:
            # Whoever registers after the stop executed cannot have seen "active" on that primary.
            after = self._shown
            self._known = read_rosters(store)
            self._known_after = after
        gone = self._then().heartbeats - self._known.heartbeats
        since = self._memory.newest.activated_at_ms if self._memory else 0
        self._left = farewells(store, self._trust, gone, since)
        for item in self._signed:
            self._receipts.read(store, item.identity)
        server = store.server()
        self._same_primary = bool(server.run_id) and server.run_id == self._origin
        if server.replicas and self._shown:
            # Evidence for the operator, never success: a failover may still lose what they have.
            have = store.replicated(server.replicas, WAIT_MS)
            self._say_once(f"{have} of {server.replicas} replica(s) have the tombstone")

    def _repeat(self) -> None:
        """Publish again and make sure that a primary shows the tombstone."""
        store = self._store()
        item = self._signed[-1]
        if self._channel is None:
            self._subscribe()
        if not self._executed_here:
            self._send()
            return
        self._attempt(lambda: store.publish(self._keys.events, item.raw))
        stop = reassert(self._store(), self._trust, item)
        self._origin = self._origin or stop.origin
        self._shown = stop.status is not Status.LATER
        if not self._shown:
            self._problem("a later activation is in force; this stop leaves it alone")

    def _listen(self, timeout_ms: float) -> None:
        if self._channel is None:
            time.sleep(max(0.0, timeout_ms) / 1000)
            return
        try:
            more = self._receipts.listen(self._channel, max(1.0, timeout_ms))
            for _ in range(MAX_DRAINED):  # a fleet answers at once: judge after all of it
                if not more:
                    break
                more = self._receipts.listen(self._channel, 0.0)
        except StoreError as error:
            self._problem(error.message)
            self._close()

    # -- the books -------------------------------------------------------------------------------

    def _write_down(self) -> None:
        """Append what the script left out, because others had moved the ledger's head."""
        from golive_redis import ledger  # noqa: PLC0415  (after the stop)

        for item in self._moved:
            try:
                ledger.append_once(self._store(), item.raw)
            except StoreError as error:
                self._problem(f"AUDIT FAILED: {error.message}")
                return
            self._in_ledger.add(item.identity)

    def _keep(self) -> None:
        """Remember the revocation on this host before anybody waits for anything.

        What is not in the ledger goes to the spool now: whoever runs this may lose patience.
        """
        assert self._memory is not None  # noqa: S101  (set by run)
        raw = self._signed[-1].raw.decode()
        try:
            self._memory.save(clock.wall_ms(), directive=raw, unconfirmed=raw)
        except ConfigError as error:
            self._problem(error.message)
        try:
            for item in self._signed:
                if item.identity not in self._in_ledger:
                    self._to_spool(item.raw)
        except OSError:
            return  # told at the end, should it still matter then

    def _close_books(self) -> LedgerState:
        """See that every revocation is in the ledger, or on its way there."""
        states = {
            self._book(item.raw)
            for item in self._signed
            if item.identity not in self._in_ledger or self._lost_since(item.raw)
        }
        for state in (LedgerState.FAILED, LedgerState.SPOOLED):
            if state in states:
                return state
        return LedgerState.WRITTEN

    def _lost_since(self, raw: bytes) -> bool:
        """Tell whether the ledger may lack an entry that was written: a failover can lose it alone."""
        try:
            return not self._store().recorded(raw, NEAR)
        except StoreError:
            return True  # it is not known: the spool sends it once more, and looks for it first

    def _book(self, raw: bytes) -> LedgerState:
        from golive_redis import ledger  # noqa: PLC0415  (after the stop)

        try:
            ledger.append_once(self._store(), raw)
        except StoreError as error:
            self._problem(f"AUDIT FAILED: {error.message}")
            return self._spooled(raw)
        if self._config.state_dir is not None:
            from golive_redis.spool import Spool  # noqa: PLC0415  (after the stop)

            Spool(self._config.state_dir).drop(raw)
        return LedgerState.WRITTEN

    def _spooled(self, raw: bytes) -> LedgerState:
        try:
            path = self._to_spool(raw)
        except OSError as error:
            self._problem(f"not spooled either: {error}")
            return LedgerState.FAILED
        self._problem(f"kept for later in {path}")
        return LedgerState.SPOOLED

    def _to_spool(self, raw: bytes) -> Path:
        from golive_redis.spool import Spool  # noqa: PLC0415  (after the stop)

        if self._config.state_dir is None:
            raise OSError("no state_dir is configured")
        return Spool(self._config.state_dir).keep(raw)

    def _confirm(self, signer: Signer, outcome: Outcome) -> None:
        """Write into the store and the ledger that the stop is known to be complete."""
        from golive_redis import ledger  # noqa: PLC0415  (after the stop)

        store, item = self._store(), self._signed[-1]
        for name in sorted(self._dead):
            text = f"{signer.principal} attests that heartbeat {name} is dead"
            ledger.append(store, self._note(signer, "heartbeat-dead", text, {"heartbeat": name}))
            store.link.call("HDEL", self._keys.heartbeats, name)
        facts = {"directive": item.identity, "by": outcome.by or By.TIME, "result": outcome.result}
        raw = self._note(signer, "stop-confirmed", f"revocation {item.record.epoch}", facts)
        store.confirm(item.identity, raw)
        if self._known is not None and outcome.result is Result.COMPLETE:
            answered = set(self._collected().drained)
            strike_silent(store, self._known, answered)
        ledger.append(store, raw)

    def _note(self, signer: Signer, topic: str, text: str, facts: dict[str, str]) -> bytes:
        note = Note(
            namespace=self._trust.namespace,
            environment=self._trust.environment,
            keyset_version=self._trust.keyset.version,
            issued_at_ms=clock.wall_ms(),
            by=signer.principal,
            topic=topic,
            text=text,
            facts=facts,
        )
        return seal(note, signer)

    def _save(self, outcome: Outcome) -> None:
        assert self._memory is not None  # noqa: S101  (set by run)
        if outcome.settled:
            try:
                self._memory.save(
                    clock.wall_ms(),
                    unconfirmed=None,
                    unsigned_at_ms=0,
                    term=0,
                    workers=[],
                    heartbeats=[],
                )
            except ConfigError as error:
                self._problem(error.message)

    # -- the rest --------------------------------------------------------------------------------

    def _without_key(self) -> Report:
        """Delete the key without a record: the fleet stops, and that is all that can be said."""
        self._attempt(self._delete)
        if self._in_redis_ms is not None:
            self._problem("the key is deleted; without a signature no pod can send a receipt")
        if self._memory is not None:
            with contextlib.suppress(ConfigError):  # told already, when the memory was opened
                self._memory.save(clock.wall_ms(), unsigned_at_ms=self.wall_ms)
        nobody = Roster(frozenset(), frozenset())
        outcome = judge(
            nobody,
            Collected(),
            called_at=self.called_at,
            now=clock.now_ms(),
            timing=self._timing,
            same_primary=False,
        )
        return self._report(outcome, LedgerState.FAILED)

    def _delete(self) -> None:
        self._store().delete_active()
        self._effect()

    def _report(self, outcome: Outcome, ledger: LedgerState) -> Report:
        bound = self._not_after_ms
        if bound is None and self._memory is not None:
            bound = self._memory.newest.not_after_ms or None
        return Report(
            outcome,
            self._signed[-1].record.epoch if self._signed else 0,
            self._term,
            self._in_redis_ms,
            ledger,
            bound,
            tuple(self._problems),
            self.wall_ms,
            self.called_at,
        )

    def _attempt(self, step: Callable[[], object]) -> None:
        try:
            step()
        except StoreRefusedError as error:
            # An answer: the connections are good, and receipts are arriving on one of them.
            self._problem(error.message)
        except StoreError as error:
            self._problem(error.message)
            self._close()

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)

    def _problem(self, text: str) -> None:
        if text not in self._problems:
            self._problems.append(text)
            self._say(text)

    def _close(self) -> None:
        for link in (self._link, self._channel):
            if link is not None:
                link.close()
        self._link = self._channel = None
