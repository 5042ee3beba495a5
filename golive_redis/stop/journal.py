"""The journal of a stop: its ledger entries, the spool, what this host remembers, and "complete".

All of it comes after the stop, and is imported then.
"""

from __future__ import annotations

from pathlib import Path

from golive_redis import clock
from golive_redis.config import keyfile
from golive_redis.core.barrier import Attested, By, Outcome, Result
from golive_redis.delivery.append import append, append_once
from golive_redis.delivery.spool import Spool
from golive_redis.errors import ConfigError, RecordError, StoreError
from golive_redis.records.envelope import Signer, issued_at, seal
from golive_redis.records.ledger import Note
from golive_redis.records.record import wording
from golive_redis.records.trust import Trust
from golive_redis.stop.attestation import attest
from golive_redis.stop.connections import Connections
from golive_redis.stop.memory import Memory
from golive_redis.stop.progress import LedgerState, StopProgress
from golive_redis.stop.roster import strike
from golive_redis.store.link import StoreRefusedError


class Journal:
    """Keeps the journal of one stop.

    Args:
        trust: Namespace, environment and keyset version for the notes.
        connections: The connections.
        progress: The stop.
        memory: Of this host.
        state_dir: Where the spool is, or None.
    """

    def __init__(
        self,
        trust: Trust,
        connections: Connections,
        progress: StopProgress,
        memory: Memory,
        state_dir: Path | None,
    ) -> None:
        self._trust = trust
        self._connections = connections
        self._progress = progress
        self._memory = memory
        self._spool = Spool(state_dir) if state_dir is not None else None

    def write_down(self) -> None:
        """Append what the script left to us, unless an earlier run of the command did."""
        if self._progress.another_fleet:  # A12: its ledger is not ours to write
            return
        for item in self._progress.unwritten:
            if item.identity in self._progress.in_ledger:
                continue
            try:
                append_once(self._connections.store(), item.raw)
            except StoreError as error:
                self._connections.problem(f"the audit entry is not in Redis yet: {error.message}")
                return
            self._progress.in_ledger.add(item.identity)
            self._drop(item.raw)

    def keep(self) -> None:
        """Remember the revocation on this host before any receipt is waited for.

        What is not in the ledger goes to the spool now: the command may be interrupted later.
        """
        keyfile.forbid_core_dumps()  # not before the stop, for which it would be one import more
        raw = self._progress.newest.raw.decode()
        changes = {"behind": self._progress.behind} if self._progress.stranger else {}
        try:
            self._memory.save(clock.wall_ms(), directive=raw, unconfirmed=raw, **changes)
        except ConfigError as error:
            self._connections.problem(error.message)
        try:
            for item in self._progress.signed:
                if item.identity not in self._progress.in_ledger:
                    self._to_spool(item.raw)
        except OSError:
            return  # told at the end, should it still matter then

    def close(self) -> LedgerState:
        """See that every revocation is in the ledger, or on its way there."""
        states = {
            self._book(item.raw)
            for item in self._progress.signed
            if item.identity not in self._progress.in_ledger or self._lost_since(item.raw)
        }
        for state in (LedgerState.FAILED, LedgerState.SPOOLED):
            if state in states:
                return state
        return LedgerState.WRITTEN

    def _lost_since(self, raw: bytes) -> bool:
        """Tell whether the ledger may lack an entry that was written: a failover can lose it alone."""
        try:
            return not self._connections.store().recorded(raw, issued_at(raw))
        except StoreError:
            return True  # it is not known: the spool sends it once more, and looks for it first

    def _book(self, raw: bytes) -> LedgerState:
        if self._progress.another_fleet:  # A12
            self._connections.problem(
                "the audit entry is not in Redis: that is the ledger of another fleet"
            )
            return self._spooled(raw)
        try:
            append_once(self._connections.store(), raw)
        except StoreError as error:
            self._connections.problem(f"the audit entry is not in Redis yet: {error.message}")
            return self._spooled(raw)
        self._drop(raw)
        return LedgerState.WRITTEN

    def _drop(self, raw: bytes) -> None:
        if self._spool is not None and not self._progress.stranger:
            self._spool.drop(raw)

    def _spooled(self, raw: bytes) -> LedgerState:
        try:
            path = self._to_spool(raw)
        except OSError as error:
            self._connections.problem(
                f"the audit entry cannot be saved on this host either: {error}"
            )
            return LedgerState.FAILED
        self._connections.problem(f"the audit entry is saved in {path}; it is sent later")
        return LedgerState.SPOOLED

    def _to_spool(self, raw: bytes) -> Path:
        if self._spool is None:
            raise OSError("no state_dir is configured")
        return self._spool.keep(raw)

    def confirm(self, signer: Signer, outcome: Outcome, attested: Attested) -> None:
        """Write into the store and the ledger what the stop came to, and on whose word.

        Args:
            signer: Who stops.
            outcome: What it came to.
            attested: Who is dead by the word of whoever stops.

        Raises:
            StoreError: It could not be written.
        """
        if self._progress.another_fleet:  # A12: its roster, its note and its ledger are not ours
            return
        store, item = self._connections.store(), self._progress.newest
        for row in outcome.heartbeats:
            if row.attested_dead and row.latched_ms is None:
                text = f"{signer.principal} attests that heartbeat {row.name} is dead"
                append(store, self._note(signer, "heartbeat-dead", text, {"heartbeat": row.name}))
                store.link.call("HDEL", self._connections.keys.heartbeats, row.name)
        dead = [row.pod for row in outcome.workers if row.attested_dead]
        # Of the others somebody has said so before.
        named = [pod for pod in dead if attested.worker(pod) is not None]
        try:
            for _ in attest(store, self._trust, signer, named):
                pass
        except (StoreRefusedError, RecordError) as error:  # this stop has them all the same
            self._connections.problem(f"not kept for later stops who is dead: {error.message}")
        facts = {"directive": item.identity, "by": outcome.by or By.TIME, "result": outcome.result}
        raw = self._note(signer, "stop-confirmed", f"revocation {item.record.epoch}", facts)
        store.confirm(item.identity, raw)
        # Who has left or is dead will not register again; who has not drained is still asked for.
        strike(store, [*dead, *(row.pod for row in outcome.workers if row.goodbye_ms is not None)])
        append(store, raw)

    def repeated(self, signer: Signer, reason: str, ticket: str) -> None:
        """Enter that somebody has stopped what was stopped already, and why: that stop stands.

        Raises:
            ConfigError: It was not signed.
        """
        item = self._progress.newest
        text = f"{signer.principal} stopped again what {item.record.by} had stopped: {reason}"
        facts = {"directive": item.identity, "reason": reason, "ticket": ticket}
        self._book(self._note(signer, "stop-repeated", wording(text), facts))

    def _note(self, signer: Signer, topic: str, text: str, facts: dict[str, str]) -> bytes:
        note = Note(
            **self._trust.heading(signer.principal, clock.wall_ms()),
            topic=topic,
            text=text,
            facts=facts,
        )
        return seal(note, signer)

    def end_proposals(self) -> None:
        """Let no proposal wait any longer: whoever stops means what is about to start, too.

        A stop that only repeats one that stands makes no proposal out of date by itself. Where they
        cannot be taken away nothing is held up: each has to be signed by others, after this stop.

        Raises:
            StoreError: Redis does not answer.
        """
        try:
            dropped = self._connections.store().drop_proposals()
        except StoreRefusedError as error:
            if error.code == "NOPERM":
                self._connections.say_once(f"proposals may still wait: {error.message}")
            return
        if dropped:
            self._connections.say("no proposal waits any longer")

    def send_rest(self) -> None:
        """Send what earlier commands have left in the spool, but not to another Redis."""
        if self._spool is not None and not self._progress.stranger:
            self._spool.send(self._connections.store(), self._trust, self._connections.say)

    def forget(self, outcome: Outcome) -> None:
        """Remember that the stop is confirmed, and when it is complete, that nobody is waited for.

        Who has not drained is asked for again when the stop is repeated.
        """
        changes: dict[str, object] = {"unconfirmed": None, "unsigned_at_ms": 0}
        if outcome.result is Result.COMPLETE:
            changes |= {"term": 0, "workers": [], "heartbeats": [], "behind": None}
        try:
            self._memory.save(clock.wall_ms(), **changes)
        except ConfigError as error:
            self._connections.problem(error.message)
