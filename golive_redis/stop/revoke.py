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
from typing import TYPE_CHECKING

import msgspec

from golive_redis import clock
from golive_redis.config import Config
from golive_redis.core.barrier import (
    Attested,
    Collected,
    Outcome,
    Result,
    Roster,
    judge,
)
from golive_redis.core.confirmed import confirmed_as
from golive_redis.errors import ConfigError, MaybeAppliedError, RecordError, StoreError
from golive_redis.records.directive import BLIND_TOLERANCE_MS, Grant, Revocation
from golive_redis.records.envelope import Signer, Verified, identity_of
from golive_redis.records.epoch import Directive, newest
from golive_redis.records.keyset import Authority
from golive_redis.records.record import MAX_INT, wording
from golive_redis.records.trust import Trust
from golive_redis.stop.before import note_grant, read_before
from golive_redis.stop.confirmation import Confirmation
from golive_redis.stop.connections import Connections
from golive_redis.stop.memory import Memory
from golive_redis.stop.progress import LedgerState, StopProgress, StopReport, Waiting
from golive_redis.stop.signing import StopSigning
from golive_redis.store.replies import Audit, Status, Stop
from golive_redis.store.store import Store

if TYPE_CHECKING:
    from golive_redis.stop.journal import Journal  # it comes after the stop

LOOK_BEHIND_MS = 250.0
MAX_SIGNED = 5
GRACE_MS = 2_000
_GONE = "the key is gone after {:.0f} ms"
_UNSIGNED = "the key is gone after {:.0f} ms, without a signature; the signed stop follows"


class Revoke:
    """One run of `golive revoke`.

    Args:
        config: The configuration.
        reason: For the record.
        ticket: For the record.
        dead: Heartbeats that the operator attests to be dead.
        dead_workers: Workers, likewise; see `Attested`.
        wait_ms: How long to collect; None takes `beat_ms` + 2 s, and once every heartbeat has answered
            as long as it takes until no worker can have a permit.
        key: Key to use instead of the configured operator's: a file, or `agent:` and the like.
        say: Told in a sentence what happens as it happens.
        waiting: Told again and again what it waits for.
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
        waiting: Callable[[Waiting], None] = lambda _: None,
    ) -> None:
        self._progress = StopProgress(clock.now_ms(), clock.wall_ms())
        self._config = config
        self._reason = wording(reason)
        self._ticket = wording(ticket)
        self._trust: Trust = config.stop_trust()
        self._attested = Attested(dead, dead_workers)
        self._signing = StopSigning(config, key, self._close_unsigned)
        self._met: list[bytes] = []
        self._closed_unsigned = False
        self._waiting = waiting
        self._timing = config.policy.timers
        self._wait_ms = wait_ms
        self._connections = Connections(config.address(), say)
        self._folder: Path | None = None
        self._looked_behind = self._replaced = False
        self._taken_over: set[str] = set()

    def run(self) -> StopReport:
        """Stop the fleet and collect the receipts.

        Returns:
            A report in every case: an unreachable store or a missing key is NOT CONFIRMED, no error.

        Raises:
            ConfigError: The keyset or the configuration cannot be used.
        """
        self._memory = self._remember()
        try:
            return self._run(self._signer())
        finally:
            self._connections.close()
            self._memory.close()

    def _run(self, signer: Signer | None) -> StopReport:
        self._connections.attempt(self._connections.connect)
        if signer is None or not self._number_and_sign(signer):
            return self._without_key()
        self._connections.attempt(self._send)
        from golive_redis.stop.journal import Journal  # noqa: PLC0415  (after the stop)

        journal = Journal(
            self._trust, self._connections, self._progress, self._memory, self._folder
        )
        journal.keep()
        kept = self._progress.newest
        self._connections.attempt(self._look_behind)
        if self._progress.newest is not kept:
            journal.keep()
        journal.write_down()
        if not self._signing.may_wait:
            self._repeated(journal)
        if self._progress.executed and not self._progress.another_fleet:
            self._connections.attempt(journal.end_proposals)
        confirmation = Confirmation(
            self._trust,
            self._timing,
            self._connections,
            self._progress,
            self._memory,
            self._attested,
            self._waiting,
        )
        outcome = self._confirm(confirmation)
        ledger = journal.close()
        if self._signing.may_wait:  # a key that takes its time holds up no confirmation
            self._repeated(journal)
        if outcome.settled:
            self._confirmed(journal, signer, outcome)
            journal.forget(outcome)
        if self._progress.executed:
            self._connections.attempt(journal.send_rest)
        report = self._report(outcome, ledger)
        return msgspec.structs.replace(report, uncounted=confirmation.uncounted())

    # -- before the stop -------------------------------------------------------------------------

    def _signer(self) -> Signer | None:
        try:
            return self._signing.open(self._trust.keyset)
        except ConfigError as error:
            hint = f" ({error.hint})" if error.hint else ""
            self._connections.problem(
                f"no usable key, so nothing can be signed: {error.message}{hint}"
            )
            return None

    def _close_unsigned(self) -> None:
        """Delete the key before anything is signed: a stop waits for no finger.

        Pods close by that, and do not latch: the signed revocation follows, with the number that the
        directives had which are read here.
        """
        self._connections.say(
            "the key has not signed yet; turning off without a signature meanwhile"
        )
        before = read_before(self._connections, self._progress, self._memory, self._trust)
        self._met = [before.found.raw] if before.found is not None else []
        self._connections.attempt(self._delete_unsigned)
        self._note_unsigned()

    def _delete_unsigned(self) -> None:
        if self._connections.store().delete_active():
            self._closed_unsigned = True
            self._effect(_UNSIGNED)

    def _remember(self) -> Memory:
        try:
            self._folder = self._config.state_dir
            return Memory(self._folder)
        except ConfigError as error:
            self._connections.problem(error.message)  # a stop does not wait for a disk
            return Memory(None)

    def _number_and_sign(self, signer: Signer) -> bool:
        self._operator = signer
        before = self._before = read_before(
            self._connections, self._progress, self._memory, self._trust, self._met
        )
        if self._progress.behind is not None:
            self._connections.say(self._progress.behind.in_words())
        adopted = self._adopt(before.found) if before.complete else None
        if adopted is not None:
            self._progress.signed.append(adopted)
            self._taken_over.add(adopted.identity)
            return True
        epoch = before.found.record.epoch if before.found is not None else 0
        return self._sign(epoch + 1, blind=not before.complete)

    def _adopt(self, found: Directive | None) -> Verified[Revocation] | None:
        """Take over the tombstone that stands already: a command that is run again finishes it."""
        if found is None or not isinstance(found.record, Revocation):
            return None
        if self._progress.grant is not None:
            return None
        if not found.record.ends_all_up_to(self._progress.wall_ms):
            # S2: it spares a term that has begun since, of which this host may not know.
            self._connections.say(
                "the stop card that was played is at its end; signing on top of it"
            )
            return None
        if found.record.reach_ms() > self._progress.wall_ms + BLIND_TOLERANCE_MS:  # A13
            # Whatever is activated would come under it, so one that goes by its number takes its place.
            self._connections.say(
                "the recorded stop was signed without a look at Redis and by a clock that is ahead; "
                "replacing it"
            )
            return None
        by, epoch = found.record.by, found.record.epoch
        risk, who = self._trust.keyset.with_authority(Authority.RISK), self._operator.principal
        if who in risk and by not in risk:
            # D4: whoever starts it again has to ask risk, which takes a stop in the name of risk.
            self._connections.say(
                f"stopped by {by} (epoch {epoch}); {who} has the authority of risk and stops it anew"
            )
            return None
        self._progress.adopted, self._progress.stood = True, self._before.stands
        said = confirmed_as(self._trust, self._before.confirmed, found.identity)
        self._progress.complete = said is Result.COMPLETE
        then = f", and confirmed {said} at the time" if said is not None else ""
        stopped = f"already stopped by {by} (epoch {epoch})"
        if not self._before.stands:
            stopped = f"the stop of epoch {epoch} by {by} is not in Redis; sending it again"
        self._connections.say(stopped + then)
        return found

    def _sign(self, epoch: int, *, blind: bool) -> bool:
        """Sign a revocation; where that fails, turn off without a signature, and return False."""
        signer, self._progress.complete = self._operator, False
        record = Revocation(
            **self._trust.heading(signer.principal, clock.wall_ms()),
            epoch=min(epoch, MAX_INT),
            reason=self._reason,
            ticket=self._ticket,
            blind=blind,
        )
        try:
            raw = self._signing.seal(record)
        except (ConfigError, RecordError) as error:
            self._connections.problem(f"the stop is not signed: {error.message}")
            self._connections.attempt(self._delete)
            return False
        self._progress.signed.append(
            Verified(record, identity_of(record), raw, frozenset({signer.principal}))
        )
        return True

    # -- the stop --------------------------------------------------------------------------------

    def _send(self) -> None:
        """Publish, then run the script; sign again for whatever later directive it met."""
        progress, connections = self._progress, self._connections
        for _ in range(MAX_SIGNED):
            store, item = connections.store(), progress.newest
            connections.attempt(lambda: self._publish(store, item))  # noqa: B023
            try:
                # One taken over was executed before, and may have its entry.
                entry = item.identity not in self._taken_over
                spare = bool(progress.another_fleet)
                stop = connections.store().revoke(item, entry=entry, spare=spare)
            except StoreError as error:
                unknown = isinstance(error, MaybeAppliedError)
                ran = "may have run, or not" if unknown else "did not run"
                connections.problem(f"the revoke script {ran}: {error.message}")
                if connections.store().delete_active():
                    self._effect()
                return
            self._executed(stop)
            if self._before.forged and not self._replaced and stop.status is Status.SAME:
                connections.attempt(lambda: self._replace(item))  # noqa: B023
            elif self._adopt_standing(stop):
                continue
            later = self._later(stop)
            if later is None:
                return
            progress.shown_on = 0
            connections.say(f"epoch {later.record.epoch} was signed meanwhile; revoking that, too")
            if not self._sign(later.record.epoch + 1, blind=False):
                return

    def _publish(self, store: Store, item: Verified[Revocation]) -> None:
        store.publish(self._connections.keys.events, item.raw)
        self._connections.published()

    def _stop(self) -> None:
        """Send it, where no server has executed it so far, and then look behind it."""
        self._send()
        self._look_behind()

    def _look_behind(self) -> None:
        """Revoke in turn what pods were told beyond the stop (A8), such as before a FLUSHALL.

        Once, after the stop was executed.
        """
        progress = self._progress
        if self._looked_behind or not progress.executed:
            return
        until = clock.now_ms() + LOOK_BEHIND_MS

        def in_time() -> bool:
            return clock.now_ms() < until

        told = self._connections.store().told_directives(in_time)
        self._looked_behind = True
        found, ours = newest(told, self._trust), progress.newest.record
        if found is None or found.record.epoch < ours.epoch:
            return
        if found.record.epoch == ours.epoch and progress.newest.identity in self._taken_over:
            return  # S2: it covers whatever has its number, and was told and executed before
        if isinstance(found.record, Revocation):
            if found.record.epoch == ours.epoch:  # ours, as a rule, which has come to the pod
                return
            if not found.record.ends_all_up_to(progress.wall_ms):  # S2: a card at its end
                if not self._sign(found.record.epoch + 1, blind=ours.blind):
                    return
            else:
                progress.signed.append(found)
                self._taken_over.add(found.identity)
        else:
            # From now on only answers count that name this term: others are of a stop before it (A2).
            if isinstance(found.record, Grant):
                progress.note(found.raw, self._trust)
            progress.term = max(progress.term, found.record.term)
            # What was not known when ours was signed is not known now.  S2
            if not self._sign(found.record.epoch + 1, blind=ours.blind):
                return
        progress.shown_on = 0
        self._connections.say(f"a pod was told of epoch {found.record.epoch}; revoking that too")
        self._send()

    def _adopt_standing(self, stop: Stop) -> bool:
        """Go on with the tombstone that another revocation has put first: a stop has one.

        Where ours goes by its number it has ended nothing that the other does not end, too, and answers
        to either of them count. A blind one ends by time what that one may not: of a term after it.

        Returns:
            True when ours was signed again, to go on top of it.
        """
        if stop.standing is None:
            return False
        try:
            item = self._trust.revocation(stop.standing)
        except RecordError:
            return False  # what stands there does not verify; it is told when it is read next
        ours = self._progress.newest.record
        if item.record.epoch < ours.epoch:
            return False
        short = not item.record.ends_all_up_to(self._progress.wall_ms)
        if short or (ours.blind and not item.record.blind):  # S2
            self._progress.shown_on = 0
            self._connections.say(f"epoch {item.record.epoch} is used; signing on top of it")
            return self._sign(item.record.epoch + 1, blind=ours.blind)
        self._progress.signed.append(item)
        self._taken_over.add(item.identity)
        self._connections.say(f"{item.record.by} has stopped it first (epoch {item.record.epoch})")
        return False

    def _replace(self, item: Verified[Revocation]) -> None:
        """Put ours in place of a tombstone that does not verify.

        Only after the stop; and ours is blind, so that it covers whatever that one covered.
        """
        self._replaced, self._progress.shown_on = True, 0
        store = self._connections.store()
        store.drop_tombstone()
        self._executed(store.revoke(item))

    def _executed(self, stop: Stop) -> None:
        progress = self._progress
        if stop.status is Status.FLEET:
            self._connections.problem(
                f"this Redis belongs to fleet {stop.detail[:8]}...: left alone"
            )
            return
        if stop.grant is not None:
            note_grant(stop.grant, self._connections, progress, self._trust)
        if stop.unrecorded:  # A7: it is off, and would be on again with an old copy of the key
            self._effect(_GONE if stop.grant else "the key is not there ({:.0f} ms)")
            self._connections.problem(f"the stop is not recorded: {stop.unrecorded}")
            return
        self._effect(_GONE if stop.grant else self._recorded(stop))
        progress.executed, progress.shown_on = True, self._connections.number
        progress.origin = stop.origin or progress.origin
        if stop.audit is Audit.AUDITED:
            progress.in_ledger.add(progress.newest.identity)
        elif stop.audit is Audit.NONE:
            progress.unwritten.append(progress.newest)
        elif stop.audit is Audit.FAILED:
            self._connections.problem(f"the audit entry is not in Redis yet: {stop.detail}")

    def _recorded(self, stop: Stop) -> str:
        if self._progress.adopted and stop.status is not Status.SAME:
            return "the stop was not recorded any more; it is recorded again ({:.0f} ms)"
        if self._progress.adopted and stop.standing is None:
            return "the stop is still recorded ({:.0f} ms)"
        if self._progress.grant is not None:
            # It was there when we read: a heartbeat that heard the push was faster than our script, or
            # the answer to an earlier try of ours was lost.
            return _GONE
        if stop.status is Status.SAME:
            return "nothing was active; a stop is recorded already ({:.0f} ms)"
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
        wait_ms = self._timing.beat_ms + GRACE_MS if self._wait_ms is None else self._wait_ms
        # Nobody answers to what is not signed yet.
        signed_at = self._progress.called_at + self._signing.waited_ms
        began = clock.now_ms() if self._signing.is_late else signed_at
        until = began + wait_ms
        return confirmation.until(until, self._stop, for_proof=self._wait_ms is None)

    def _confirmed(self, journal: Journal, signer: Signer, outcome: Outcome) -> None:
        try:
            self._connections.attempt(lambda: journal.confirm(signer, outcome, self._attested))
        except ConfigError as error:
            self._connections.problem(f"not signed what the stop came to: {error.message}")

    def _repeated(self, journal: Journal) -> None:
        """Keep the word of whoever stops what is stopped already, for other reasons or not the same."""
        said, signer = self._progress.newest.record, self._operator
        same = (said.by, said.reason, said.ticket) == (signer.principal, self._reason, self._ticket)
        if not self._progress.adopted or same:
            return
        try:
            journal.repeated(signer, self._reason, self._ticket)
        except (ConfigError, RecordError) as error:
            self._connections.problem(f"not entered that it was stopped again: {error.message}")

    def _without_key(self) -> StopReport:
        """Delete the key without a record: the fleet stops, and that is all that can be said."""
        self._connections.attempt(self._delete)
        self._note_unsigned()
        outcome = judge(
            Roster(frozenset(), frozenset()),
            Collected(),
            called_at=self._progress.called_at,
            now=clock.now_ms(),
            timing=self._timing,
        )
        return self._report(outcome, LedgerState.FAILED)

    def _note_unsigned(self) -> None:
        with contextlib.suppress(ConfigError):  # told already, when the memory was opened
            self._memory.save(clock.wall_ms(), unsigned_at_ms=self._progress.wall_ms)

    def _delete(self) -> None:
        if self._connections.store().delete_active() or self._closed_unsigned:
            self._effect()
            key = self._connections.keys.active
            told = f"{key} is deleted, and nothing is signed: no pod can send a receipt"
        else:
            told = "nothing was active, and nothing could be signed"
        self._connections.problem(told)

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
            self._timing,
            self._trust.environment,
            self._trust.namespace,
            progress.wall_ms,
            progress.called_at,
            # An answer after the effect shows the stop, and every other lease has begun before it.
            None if progress.in_redis_ms is None else progress.in_redis_ms + self._timing.lease_ms,
            progress.behind,
            progress.another_fleet,
            progress.stood,
        )
