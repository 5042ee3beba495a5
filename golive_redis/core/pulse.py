"""The heartbeat's state machine: for which term it may beat, and what stops it for good.

- S12 It beats for a term only while it holds no latch for it. It latches on a revocation, on reading
      that the key is absent or of another term, and after `ttl_ms` without a successful beat.
- It latches likewise when every trading window has closed, which the daemon around it finds out.
- S13 Without durable state for a term it stays silent until it sees the activation happen, or another
      heartbeat's beat advance. It saw it happen when the key was absent before (or of an older term, or
      a newer tombstone appeared since its own last reading) and is present now, issued under 60 s ago.
      Before and after are on one connection: another may lead to another server. It beats on the highest
      directive it has verified, also before a restart, never on a lower one, and stops at `not_after`.

Instants are ms on the caller's steady clock, except those called `wall`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from golive_redis.core.answer import Answer, Latch
from golive_redis.core.state import State, assemble
from golive_redis.core.timing import Timing
from golive_redis.errors import RecordError
from golive_redis.records.beat import ISSUED_TOLERANCE_MS, Beat
from golive_redis.records.directive import GrantKind, Restriction, Revocation
from golive_redis.records.envelope import Verified, decode
from golive_redis.records.receipt import MAX_SERVERS
from golive_redis.records.trust import Trust

FRESH_ACTIVATION_MS = 60_000
REMEMBERED = 256


class Change(StrEnum):
    """What the daemon around a pulse has to act on."""

    LATCHED = "latched"  # persist, then receipt
    REPEATED = "repeated"  # the same revocation again: repeat the receipt
    GONE = "gone"  # the key went away without a revocation: persist, note it in the ledger
    SILENCED = "silenced"  # ttl_ms without a successful beat: persist
    CLOSED = "closed"  # every trading window is closed: persist, note it in the ledger
    ADOPTED = "adopted"  # it now beats for this term: persist before the first beat
    JOINED = "joined"  # likewise, for a term that runs: note it in the ledger before that, too
    RESTRICTED = "restricted"  # it beats on another set of directives now: persist
    LOST_REVOCATION = "lost-revocation"  # the store lost the tombstone: re-assert it
    LOST_RESTRICTION = "lost-restriction"  # the store lost a restriction: re-assert it
    SECURITY = "security"  # something was refused: say so


class Happening(msgspec.Struct, frozen=True):
    """One change, with the directive it is about or a sentence for the log."""

    change: Change
    revocation: Verified[Revocation] | None = None
    restriction: Verified[Restriction] | None = None
    text: str = ""


class Pulse:
    """What one heartbeat knows and may do.

    Args:
        trust: Keyset, namespace and environment.
        timing: The timers.
        name: Its name.
        latch: From the state file.
        term: Term it may go on beating for, from the state file; None stays silent.
        state: What it had verified of that term, likewise.
        beat_on: Run ids of the servers on which it may have beaten, likewise; None when unknown.
    """

    def __init__(
        self,
        trust: Trust,
        timing: Timing,
        name: str,
        latch: Latch,
        term: int | None,
        state: State | None = None,
        beat_on: Sequence[str] | None = None,
    ) -> None:
        self.trust = trust
        self.timing = timing
        self.name = name
        self.latch = latch
        self.term = term
        self.state = state if state is not None and state.term == term else None
        self.beat_on = None if beat_on is None else tuple(beat_on)
        self.revocation: Verified[Revocation] | None = None
        self.newest: bytes | None = None
        self.waiting_for = "nothing is active"
        self.known_last = ""
        self.known_revoked = ""
        self._stored: State | None = None
        self._refusal = ""
        self._newest_epoch = 0
        self._stored_revoked = 0
        self._saw_absent = False
        self._has_read = False
        self._n = 0
        self._others: dict[str, int] = {}
        self._handled: set[str] = set()
        self._lost_in: dict[str, int] = {}
        self._beat_at: float | None = None
        if self.state is not None:
            self._saw(self.state.newest)

    # -- what it reads ---------------------------------------------------------------------------

    def reconnected(self) -> None:
        """Note that it reads over a new connection, perhaps from another server (S13)."""
        self._others, self._stored, self.known_last = {}, None, ""
        self._saw_absent = self._has_read = False

    def answer(self, answer: Answer, *, now: float, wall_ms: float) -> list[Happening]:
        """Take in an answer of the `attend` script.

        Fails closed: records that are refused leave it silent for the term they should have shown.
        """
        if answer.corrupt is not None:
            self._stored = None
            return self._refused(f"{answer.corrupt} has a wrong type")
        out: list[Happening] = []
        try:
            out += self._tombstone(answer)
            if not answer.active:
                return out + self._absent(now)
            stored = self._read(answer)
        except RecordError as error:
            self._stored = None
            self.known_last = ""
            return out + self._refused(f"a record is refused: {error}")
        out += self._present(stored, answer, now, wall_ms)
        self._saw_absent = False
        self._has_read = True
        self._stored = stored
        self.known_last = answer.last or ""
        return out

    def _refused(self, text: str) -> list[Happening]:
        """Stay silent for that reason, and say so once rather than at every reading."""
        self.waiting_for = text
        if text == self._refusal:
            return []
        self._refusal = text
        return [Happening(Change.SECURITY, text=text)]

    def _tombstone(self, answer: Answer) -> list[Happening]:
        out: list[Happening] = []
        if answer.revoked is not None:
            item = self.trust.revocation(answer.revoked)
            # A stop executed between two of this process's own reads, so the key was absent in
            # between: whatever is active now was activated since. A tombstone that the first read
            # shows says nothing of the kind.
            newer = item.record.epoch > self._stored_revoked
            self._saw_absent = self._saw_absent or (self._has_read and newer)
            self.known_revoked, self._stored_revoked = item.identity, item.record.epoch
            out = self.revoked(item)
        elif not answer.revoked_unchanged:
            self.known_revoked, self._stored_revoked = "", 0
        ours = self.revocation
        if ours is not None and self._stored_revoked < ours.record.epoch:
            out.append(Happening(Change.LOST_REVOCATION, revocation=ours))
        return out

    def _read(self, answer: Answer) -> State:
        if answer.unchanged and self._stored is not None and answer.last == self.known_last:
            return self._stored
        if answer.grant is None:
            raise RecordError("the answer leaves out a state that was never given")
        return assemble(
            self.trust.grant(answer.grant),
            [self.trust.restriction(raw) for raw in answer.restrictions],
        )

    def _absent(self, now: float) -> list[Happening]:
        self._saw_absent = self._has_read = True
        self._stored = None
        self.known_last = ""
        self.waiting_for = "nothing is active"
        if self.term is None:
            return []
        term = self.term
        fresh = self._beat_at is not None and now - self._beat_at < self.timing.ttl_ms
        self._end(term)
        text = "removed out of band" if fresh else "expired, or removed out of band"
        return [Happening(Change.GONE, text=f"term {term} was {text}")]

    def _present(
        self, stored: State, answer: Answer, now: float, wall_ms: float
    ) -> list[Happening]:
        out: list[Happening] = []
        term = stored.term
        if self._stored is not None and self._stored.term < term:
            self._saw_absent = True  # the script that activates finds nothing active, or refuses
        if self.term is not None and self.term != term:
            ended = self.term
            self._end(ended)
            text = f"term {ended} gave way to term {term}"
            out.append(Happening(Change.GONE, text=text))
        if self.latch.covers(term, stored.grant.record.activated_at_ms):
            self.waiting_for = f"term {term} is over for this heartbeat"
            return out
        advanced = self._observe_others(answer, term, wall_ms)
        if self.term is None:
            out += self._adopt(stored, advanced, now, wall_ms)
        if self.term != term:
            return out
        return out + self._follow(stored, now)

    def _observe_others(self, answer: Answer, term: int, wall_ms: float) -> bool:
        """Tell whether another heartbeat's verified beat of this term was seen to advance."""
        advanced = False
        seen: dict[str, int] = {}
        for name, raw in answer.beats.items():
            try:
                beat = self.trust.beat(raw).record
            except RecordError:
                continue
            if name == self.name and beat.heartbeat == name:
                self._n = max(self._n, beat.n)
            fresh = abs(beat.issued_at_ms - wall_ms) <= ISSUED_TOLERANCE_MS
            if name == self.name or beat.heartbeat != name or beat.term != term or not fresh:
                continue
            advanced = advanced or beat.n > self._others.get(name, beat.n)
            seen[name] = max(beat.n, self._others.get(name, 0))
        self._others = seen
        return advanced

    def _adopt(self, stored: State, advanced: bool, now: float, wall_ms: float) -> list[Happening]:
        grant = stored.grant.record
        happened = (
            self._saw_absent
            and grant.kind is GrantKind.ACTIVATE
            and abs(wall_ms - grant.issued_at_ms) < FRESH_ACTIVATION_MS
        )
        if not happened and not advanced:
            self.waiting_for = (
                f"term {grant.term} was active before this heartbeat knew of it; "
                "waiting for another heartbeat's beat to advance, or for a new activation"
            )
            return []
        self.term = grant.term
        self.state = None
        self.waiting_for = ""
        self._beat_at = now
        if happened:
            self.beat_on = ()
            return [Happening(Change.ADOPTED, text=f"beating for term {grant.term}")]
        return [Happening(Change.JOINED, text=f"beating for term {grant.term}, which runs already")]

    def _follow(self, stored: State, now: float) -> list[Happening]:
        """Stay on the highest directive verified; name what the store has lost of it."""
        if self._beat_at is None:
            self._beat_at = now
        held = self.state
        if held is not None and held.grant.record.epoch > stored.grant.record.epoch:
            # What the store restricts is taken up all the same: were its newest directive newer than
            # the epoch of our beats, they would no longer tell that it lacks the grant (S4).
            out = self._on(held.restricted(stored.restrictions))
            return out + self._refused("the store went back to an older grant")
        self._refusal = ""
        merged = stored.restricted(held.restrictions if held is not None else ())
        out = self._on(merged)
        stored_ids = {item.identity for item in stored.restrictions}
        lost = [item for item in merged.restrictions if item.identity not in stored_ids]
        # A halt is pushed a moment before it can be read: only one missing twice is lost.
        self._lost_in = {item.identity: self._lost_in.get(item.identity, 0) + 1 for item in lost}
        out += [
            Happening(Change.LOST_RESTRICTION, restriction=item)
            for item in lost
            if self._lost_in[item.identity] > 1
        ]
        return out

    def _on(self, state: State) -> list[Happening]:
        """Beat on that state from now on; it is on disk before the next beat."""
        if self.state is not None and state.digest == self.state.digest:
            return []
        self.state = state
        self._saw(state.newest)
        return [Happening(Change.RESTRICTED)]

    def push(self, raw: bytes) -> list[Happening]:
        """Take in a directive from pub/sub: only what stops or restricts has an effect."""
        try:
            kind = decode(raw).payload_type
            if kind == Revocation.payload_type():
                return self.revoked(self.trust.revocation(raw))
            if kind == Restriction.payload_type() and self.state is not None:
                return self._on(self.state.restricted([self.trust.restriction(raw)]))
        except RecordError as error:
            return [Happening(Change.SECURITY, text=f"pushed directive refused: {error}")]
        return []

    def revoked(self, item: Verified[Revocation]) -> list[Happening]:
        """Take in a verified revocation, from wherever it came."""
        if item.identity in self._handled:
            return [Happening(Change.REPEATED, revocation=item)]
        if len(self._handled) >= REMEMBERED:
            self._handled.clear()
        self._handled.add(item.identity)
        self._saw(item)
        record, epoch = item.record, item.record.epoch
        state = self.state or self._stored
        if state is not None and record.covers(state.term, state.grant.record.activated_at_ms):
            epoch = max(epoch, state.term)
        if self.revocation is None or record.epoch > self.revocation.record.epoch:
            self.revocation = item
        self.latch = Latch(
            epoch=max(self.latch.epoch, epoch),
            blind_before_ms=max(
                self.latch.blind_before_ms, record.issued_at_ms if record.blind else 0
            ),
        )
        if self.term is not None and self.term <= self.latch.epoch:
            self._end(self.term)
        return [Happening(Change.LATCHED, revocation=item)]

    # -- what it writes --------------------------------------------------------------------------

    def next_beat(self, *, issued_at_ms: int) -> Beat | None:
        """Return the beat to send now, or None when this heartbeat has to stay silent."""
        state = self.state
        if self.term is None or state is None or state.term != self.term:
            return None
        if issued_at_ms >= state.grant.record.not_after_ms:
            self.waiting_for = f"the window of term {self.term} is over"
            return None
        self.waiting_for = ""
        # Unix ms as the floor, so that a heartbeat with an empty disk never counts backwards.
        self._n = max(self._n + 1, issued_at_ms)
        return Beat(
            namespace=self.trust.namespace,
            environment=self.trust.environment,
            keyset_version=self.trust.keyset.version,
            issued_at_ms=issued_at_ms,
            by=self.name,
            heartbeat=self.name,
            term=self.term,
            epoch=state.epoch,
            set=state.digest,
            n=self._n,
        )

    def beats_on(self, server: str) -> bool:
        """Note on which server the next beat is sent; True when that must be on disk before it."""
        if self.beat_on is None or server in self.beat_on:
            return False
        known = (*self.beat_on, server)
        self.beat_on = known if server and len(known) <= MAX_SERVERS else None
        return True

    def beaten(self, now: float) -> None:
        """Note that a beat succeeded."""
        self._beat_at = now

    def overdue(self, now: float) -> list[Happening]:
        """Latch for the term after `ttl_ms` without a successful beat (S12)."""
        if self.term is None or self._beat_at is None:
            return []
        if now - self._beat_at < self.timing.ttl_ms:
            return []
        term = self.term
        self._end(term)
        text = f"no beat for term {term} succeeded for {self.timing.ttl_ms} ms"
        return [Happening(Change.SILENCED, text=text)]

    def outside(self) -> list[Happening]:
        """Latch for the term because every trading window is closed, as `not_after` would end it."""
        if self.term is None:
            return []
        term = self.term
        self._end(term)
        text = f"every trading window is closed: no more beats for term {term}"
        return [Happening(Change.CLOSED, text=text)]

    def resign(self) -> None:
        """Give the term up (goodbye): only another's beat or a new activation brings it back."""
        self.term = None
        self.state = None

    def _end(self, term: int) -> None:
        self.latch = Latch(
            epoch=max(self.latch.epoch, term), blind_before_ms=self.latch.blind_before_ms
        )
        self.term = None
        self.state = None
        self.waiting_for = f"term {term} is over for this heartbeat"

    def _saw(self, item: Verified) -> None:  # type: ignore[type-arg]
        if item.record.epoch > self._newest_epoch:
            self._newest_epoch, self.newest = item.record.epoch, item.raw
