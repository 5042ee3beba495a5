"""Revoke: off everywhere at once, with receipts (docs/explanation/protocol.md#the-stop).

Order: subscribe to receipts; number and sign; PUBLISH, which works even when writes are refused; the
script; then gather, repeating each second until a primary shows the tombstone and the receipts are
in. This is the kill path: it imports nothing it does not need, and no failure of a part that comes
later may hold up a part that comes earlier.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from golive_redis import clock
from golive_redis.config import Config
from golive_redis.core.barrier import (
    Attested,
    Collected,
    Outcome,
    Result,
    Roster,
    confirmed_as,
    judge,
)
from golive_redis.errors import ConfigError, StoreError
from golive_redis.records.beat import Beat
from golive_redis.records.directive import BLIND_TOLERANCE_MS, Grant, Revocation
from golive_redis.records.envelope import Signer, Verified, identity_of, seal
from golive_redis.records.epoch import Directive, newest
from golive_redis.records.keyset import Role
from golive_redis.records.record import MAX_INT, wording
from golive_redis.records.trust import Trust
from golive_redis.stop.confirmation import Confirmation
from golive_redis.stop.connections import Connections
from golive_redis.stop.memory import Memory
from golive_redis.stop.progress import LedgerState, StopProgress, StopReport
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.replies import Audit, Status, Stop

READ_BOUND_MS = 250.0
MAX_SIGNED = 5
GRACE_MS = 2_000
_GONE = "the key is gone after {:.0f} ms"


class Revoke:
    """One run of `golive revoke`.

    Args:
        config: The configuration.
        reason: For the record.
        ticket: For the record.
        dead: Heartbeats that the operator attests to be dead.
        dead_workers: Workers, likewise; see `Attested`.
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
        dead_workers: frozenset[str] = frozenset(),
        wait_ms: float | None = None,
        key: str | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._progress = StopProgress(clock.now_ms(), clock.wall_ms())
        self._config = config
        self._reason = wording(reason)
        self._ticket = wording(ticket)
        self._trust: Trust = config.trust()
        self._attested = Attested(dead, dead_workers)
        self._key = key
        self._timing = config.policy.timers
        self._wait_ms = self._timing.beat_ms + GRACE_MS if wait_ms is None else wait_ms
        self._connections = Connections(config.address(), Keyspace(self._trust.namespace), say)
        self._confirmed_note: bytes | None = None
        self._forged = False

    def run(self) -> StopReport:
        """Stop the fleet and collect the receipts.

        Returns:
            A report in every case: an unreachable store or a missing key is NOT CONFIRMED, no error.

        Raises:
            ConfigError: The keyset or the configuration cannot be used.
        """
        signer = self._signer()
        self._memory = self._remember()
        try:
            return self._run(signer)
        finally:
            self._connections.close()
            self._memory.close()

    def _run(self, signer: Signer | None) -> StopReport:
        self._connections.attempt(self._connections.connect)
        if signer is None:
            return self._without_key()
        self._operator = signer
        self._number_and_sign()
        self._connections.attempt(self._send)
        from golive_redis.stop.journal import Journal  # noqa: PLC0415  (after the stop)

        folder = self._config.state_dir
        journal = Journal(self._trust, self._connections, self._progress, self._memory, folder)
        journal.keep()
        journal.write_down()
        confirmation = Confirmation(
            self._trust,
            self._timing,
            self._connections,
            self._progress,
            self._memory,
            self._attested,
        )
        outcome = self._confirm(confirmation)
        ledger = journal.close()
        if outcome.settled:
            confirm = journal.confirm
            self._connections.attempt(lambda: confirm(signer, outcome))
            journal.forget(outcome)
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
            self._connections.problem(
                f"no usable key, so nothing can be signed: {error.message}{hint}"
            )
            return None
        if signer.principal not in keyset.principals(Role.REVOKER):
            self._connections.problem(
                f"no usable key: every pod would refuse one that {signer.principal} signs"
            )
            return None
        return signer

    def _remember(self) -> Memory:
        try:
            return Memory(self._config.state_dir)
        except ConfigError as error:
            self._connections.problem(error.message)  # a stop does not wait for a disk
            return Memory(None)

    def _number_and_sign(self) -> None:
        found, readable = self._read_directives()
        adopted = self._adopt(found) if readable else None
        if adopted is not None:
            self._progress.signed.append(adopted)
            return
        epoch = found.record.epoch if found is not None else 0
        self._sign(epoch + 1, blind=not readable)

    def _read_directives(self) -> tuple[Directive | None, bool]:
        """Find the newest verified directive within one bound; say whether the store was read."""
        progress = self._progress
        raws = self._memory.directives()
        readable, hint = False, 0
        until = clock.now_ms() + READ_BOUND_MS
        try:
            store = self._connections.store()
            snapshot = store.snapshot()
            readable = not snapshot.corrupt
            hint = snapshot.epoch_hint
            self._confirmed_note = snapshot.confirmed
            raws += [raw for raw in (snapshot.grant, snapshot.revoked) if raw is not None]
            raws += snapshot.restrictions.values()
            progress.origin = snapshot.origin or snapshot.revoked_origin
            if snapshot.revoked is not None and newest([snapshot.revoked], self._trust) is None:
                self._connections.problem(
                    "the recorded stop does not verify; a new one replaces it"
                )
                self._forged, readable = True, False
            newer = [self._trust.is_newer(raw, Beat) for raw in snapshot.beats.values()]
            progress.newer_keyset = any(newer)
            if snapshot.grant is not None:
                self._note_grant(snapshot.grant)
                # S2: of a term that we cannot verify (our keyset is old) the epoch is not known
                # either: blind, the revocation covers it by the time it was activated.
                readable = readable and progress.grant is not None
            raws += store.told_directives(lambda: clock.now_ms() < until)
        except StoreError as error:
            self._connections.problem(error.message)
        found = newest(raws, self._trust)
        # S2: Redis knows of a later directive than anybody can show us, so a term may have begun
        # unseen, and a number alone would not cover it.
        known = found.record.epoch if found is not None else 0
        return found, readable and hint <= known

    def _note_grant(self, raw: bytes) -> None:
        progress = self._progress
        progress.newer_keyset = progress.newer_keyset or self._trust.is_newer(raw, Grant)
        refused = progress.note(raw, self._trust)
        if refused:
            self._connections.problem(refused)

    def _adopt(self, found: Directive | None) -> Verified[Revocation] | None:
        """Take over the tombstone that stands already: a command that is run again finishes it."""
        if found is None or not isinstance(found.record, Revocation):
            return None
        if self._progress.grant is not None:
            return None
        if found.record.reach_ms() > self._progress.wall_ms + BLIND_TOLERANCE_MS:  # A13
            # Whatever is activated would come under it, so one that goes by its number takes its place.
            self._connections.say(
                "the recorded stop is blind, by a clock that is ahead; replacing it"
            )
            return None
        self._progress.adopted = True
        said = confirmed_as(self._trust, self._confirmed_note, found.identity)
        self._progress.complete = said is Result.COMPLETE
        self._connections.say(f"already stopped by {found.record.by} (epoch {found.record.epoch})")
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
        self._progress.signed.append(
            Verified(
                record, identity_of(record), seal(record, signer), frozenset({signer.principal})
            )
        )

    # -- the stop --------------------------------------------------------------------------------

    def _send(self) -> None:
        """Publish, then run the script; sign again for whatever later directive it met."""
        progress, connections = self._progress, self._connections
        for _ in range(MAX_SIGNED):
            store, item = connections.store(), progress.newest
            connections.attempt(lambda: store.publish(connections.keys.events, item.raw))  # noqa: B023
            try:
                # One taken over was executed before, and may have its entry.
                taken_over = progress.adopted and item is progress.signed[0]
                stop = connections.store().revoke(item, entry=not taken_over)
            except StoreError as error:
                connections.problem(f"the revoke script did not run: {error.message}")
                if connections.store().delete_active():
                    self._effect()
                return
            self._executed(stop)
            if self._forged and stop.status is Status.SAME:
                connections.attempt(lambda: self._replace(item))  # noqa: B023
            later = self._later(stop)
            if later is None:
                return
            progress.shown_on = 0
            connections.say(f"met epoch {later.record.epoch} on the way; revoking that too")
            self._sign(later.record.epoch + 1, blind=False)

    def _replace(self, item: Verified[Revocation]) -> None:
        """Put ours in place of a tombstone that does not verify.

        Only after the stop; and ours is blind, so that it covers whatever that one covered.
        """
        self._forged, self._progress.shown_on = False, 0
        store = self._connections.store()
        store.drop_tombstone()
        self._executed(store.revoke(item))

    def _executed(self, stop: Stop) -> None:
        progress = self._progress
        self._effect(_GONE if stop.grant else self._recorded())
        progress.executed, progress.shown_on = True, self._connections.number
        progress.origin = stop.origin or progress.origin
        if stop.audit is Audit.AUDITED:
            progress.in_ledger.add(progress.newest.identity)
        elif stop.audit is Audit.NONE:
            progress.unwritten.append(progress.newest)
        elif stop.audit is Audit.FAILED:
            self._connections.problem(f"AUDIT FAILED: {stop.detail}")
        if stop.grant is not None:
            self._note_grant(stop.grant)

    def _recorded(self) -> str:
        if self._progress.adopted:
            return "the stop is still recorded ({:.0f} ms)"
        if self._progress.grant is not None:
            # It was there when we read: a heartbeat that heard the push was faster than our script, or
            # the answer to an earlier try of ours was lost.
            return _GONE
        return "nothing was active; the stop is recorded ({:.0f} ms)"

    def _effect(self, what: str = _GONE) -> None:
        if self._progress.in_redis_ms is None:
            after_ms = self._progress.in_redis_ms = clock.now_ms() - self._progress.called_at
            self._connections.say(what.format(after_ms))

    def _later(self, stop: Stop) -> Directive | None:
        """Return what the script met that is not below our epoch, if it verifies."""
        raws = [raw for raw in (stop.grant, stop.restriction) if raw is not None]
        found = newest(raws, self._trust)
        if found is not None and found.record.epoch >= self._progress.newest.record.epoch:
            return found
        return None

    # -- after the stop --------------------------------------------------------------------------

    def _confirm(self, confirmation: Confirmation) -> Outcome:
        return confirmation.until(self._progress.called_at + self._wait_ms, self._send)

    def _without_key(self) -> StopReport:
        """Delete the key without a record: the fleet stops, and that is all that can be said."""
        self._connections.attempt(self._delete)
        if self._progress.in_redis_ms is not None:
            self._connections.problem(
                "the key is deleted; without a signature no pod can send a receipt"
            )
        with contextlib.suppress(ConfigError):  # told already, when the memory was opened
            self._memory.save(clock.wall_ms(), unsigned_at_ms=self._progress.wall_ms)
        outcome = judge(
            Roster(frozenset(), frozenset()),
            Collected(),
            called_at=self._progress.called_at,
            now=clock.now_ms(),
            timing=self._timing,
        )
        return self._report(outcome, LedgerState.FAILED)

    def _delete(self) -> None:
        self._connections.store().delete_active()
        self._effect()

    def _report(self, outcome: Outcome, ledger: LedgerState) -> StopReport:
        progress = self._progress
        # A heartbeat that stays silent could beat until the window closes, and not after.  S14
        bound = progress.not_after_ms or self._memory.newest.not_after_ms or None
        return StopReport(
            outcome,
            progress.newest.record.epoch if progress.signed else 0,
            progress.term,
            progress.in_redis_ms,
            ledger,
            bound,
            tuple(self._connections.problems),
            progress.wall_ms,
            progress.called_at,
            # An answer after the effect shows the stop, and every other lease has begun before it.
            None if progress.in_redis_ms is None else progress.in_redis_ms + self._timing.lease_ms,
        )
