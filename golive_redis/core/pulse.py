"""The heartbeat's state machine: for which term it may beat, and what stops it for good.

- S12 It beats for a term only while it holds no latch for it. It latches on a revocation, on reading
      that the key is absent or of another term, and after `ttl_ms` without a successful beat.
- It latches likewise when every trading window has closed, which the daemon around it finds out.
- S13 Without durable state for a term it stays silent until it sees the activation happen, or another
      heartbeat's beat advance. It saw it happen when the key was absent before (or of an older term, or
      a newer tombstone appeared since its own last reading) and is present now, decided on under 60 s
      ago. What else is asked of it then is in `adoption`.
      Before and after are of one server, which took no other server's data in between: another
      connection may lead to another. It beats on the highest directive it has verified, also before
      a restart, never on a lower one, and stops at `not_after`.
- A1 It beats only for a term whose grant names it. Which beats of others are a word: see `hints`.

Instants are ms on the caller's steady clock, except those called `wall`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from golive_redis.core.adoption import DAY_MS, Before, is_fresh, refused
from golive_redis.core.answer import Answer, Latch
from golive_redis.core.events import Change, Happening
from golive_redis.core.hints import Hints
from golive_redis.core.incidents import Refused
from golive_redis.core.knowledge import Knowledge
from golive_redis.core.state import State
from golive_redis.core.timing import Haste, Timing
from golive_redis.errors import RecordError
from golive_redis.records.approval import Execution
from golive_redis.records.beat import Beat
from golive_redis.records.directive import GrantKind, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.records.keyset import Authority
from golive_redis.records.receipt import MAX_SERVERS
from golive_redis.records.trust import Trust

NOTHING_ACTIVE = "nothing is active"


class _Seen(msgspec.Struct):
    """What one server, with one history of its data, has shown since it was first met (S13)."""

    history: str = ""
    read: bool = False
    absent: bool = False


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
        started_ms: When this process was started, Unix ms on this host.
        haste: How fast a fleet may be started again.
        stopped_ms: When it heard of the stop that it remembers, from the state file.
        adopted_ms: When it has adopted activations, likewise.

    Attributes:
        barred: Why it may not beat at all, in words; "" when it may (K4).
        paused_ms: When the stops before `revocation` were, the latest since a term was adopted, or None.
        risk: The last of them by somebody with the authority of risk, or None.
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
        *,
        started_ms: float,
        haste: Haste = Haste(),  # noqa: B008  (frozen)
        stopped_ms: int | None = None,
        adopted_ms: Sequence[int] = (),
    ) -> None:
        self.timing = timing
        self.haste = haste
        self.stopped_ms = stopped_ms
        self.adopted_ms = list(adopted_ms)
        self.name = name
        held = state if state is None or state.term == term else None
        self.known = Knowledge(trust, latch, held)  # S13: on nothing lower than before
        self.term = term
        self.beat_on = None if beat_on is None else tuple(beat_on)
        self.revocation: Verified[Revocation] | None = None
        self.paused_ms: int | None = None
        self.risk: Verified[Revocation] | None = None
        self.barred = ""
        self.waiting_for = "Redis has not been read yet"
        self._refusal = self._unfollowed = ""
        self._stored_revoked = 0
        self._announced = ""
        self._seen = _Seen()
        self._n = 0
        self._hints = Hints(self.known, name, started_ms)
        self._lost_in: dict[str, int] = {}
        self._beat_at: float | None = None

    @property
    def latch(self) -> Latch:
        """Which terms are over, for the state file."""
        return self.known.latch

    @property
    def newest(self) -> bytes | None:
        """Envelope of the highest directive verified, for presence."""
        return self.known.newest

    @property
    def state(self) -> State | None:
        """The state it beats on, or None."""
        return self.known.state

    # -- another keyset --------------------------------------------------------------------------

    def held_under(self, trust: Trust) -> State | None:
        """Return what it beats on, verified under another keyset.

        Raises:
            RecordError: Of that, or of the stop that it keeps, something is refused under it.
        """
        if self.revocation is not None:
            trust.revocation(self.revocation.raw)
        return self.known.held_under(trust)

    def rely_on(self, trust: Trust, held: State | None) -> None:
        """Go on under another keyset, with what `held_under` returned; beats once seen are no hint."""
        self.known.rely_on(trust, held)
        self._hints.reconnected()

    def succeed(self, trust: Trust) -> list[Happening]:
        """Go on under the keyset that the roots have appointed, whatever that does to the term (K3).

        What was signed by somebody who is not in it any more ends. What has stopped a term stays
        stopped, whoever had signed that.
        """
        out: list[Happening] = []
        held, version = None, trust.keyset.version
        try:
            held = self.known.held_under(trust)
        except RecordError as error:
            if (term := self.term) is not None:
                self._end(term)  # K3
                text = f"term {term} is over: it is refused under keyset {version}: {error.message}"
                out.append(Happening(Change.DISOWNED, text=text))
        self.rely_on(trust, held)
        return out

    # -- what it reads ---------------------------------------------------------------------------

    def reconnected(self, history: str) -> None:
        """Note that it reads over a new connection, perhaps from another server (S13).

        Args:
            history: Names the server process and the history of its data. Fails closed: "" is
                unknown, and then what was absent before says nothing of what is there now.
        """
        self._hints.reconnected()
        self.known.untold()
        if not history or history != self._seen.history:  # S13
            self._seen = _Seen(history)

    def answer(self, answer: Answer, *, now: float, wall_ms: float) -> list[Happening]:
        """Take in an answer of the `attend` script.

        Fails closed: records that are refused leave it silent for the term they should have shown.
        """
        if answer.corrupt is not None:
            self.known.stored = None
            return self._refused(f"{answer.corrupt} has a wrong type", Refused.WRONG_TYPE)
        out: list[Happening] = []
        try:
            out += self._tombstone(answer, wall_ms)
            if not answer.active:
                return out + self._absent(now)
            stored = self.known.read(answer)
        except RecordError as error:
            self.known.untold()
            return out + self._refused(f"a record is refused: {error}")
        out += self._present(stored, answer, now, wall_ms)
        self._seen.absent = False
        self._seen.read = True
        self.known.told(stored, answer)
        return out

    def _refused(self, text: str, word: str = Refused.RECORD) -> list[Happening]:
        """Stay silent for that reason, and say so once rather than at every reading."""
        self.waiting_for = text
        if text == self._refusal:
            return []
        self._refusal = text
        return [Happening(Change.SECURITY, text=text, word=word)]

    def _tombstone(self, answer: Answer, wall_ms: float) -> list[Happening]:
        out: list[Happening] = []
        item = self.known.tombstone(answer)
        if item is not None:
            # A stop executed between two of this process's own reads, so the key was absent in
            # between: whatever is active now was activated since. A tombstone that the first read
            # shows says nothing of the kind.
            newer = item.record.epoch > self._stored_revoked
            self._seen.absent = self._seen.absent or (self._seen.read and newer)  # S13
            self._stored_revoked = item.record.epoch
            out = self.revoked(item, wall_ms, stands=True)
        elif not answer.revoked_unchanged:
            self._stored_revoked = 0
        ours = self.revocation
        if ours is not None and self._stored_revoked < ours.record.epoch:
            # S12: named at every reading until it is back and stays. One that was only just pushed
            # is on its way, for it is published before it is written: put there, and no loss.
            lost = ours.identity != self._announced
            text = f"the store lost revocation {ours.record.epoch}" if lost else ""
            out.append(Happening(Change.LOST_REVOCATION, revocation=ours, text=text))  # S12
        self._announced = ""
        return out

    def _absent(self, now: float) -> list[Happening]:
        self._seen.absent = self._seen.read = True
        self.known.untold()
        self.waiting_for = NOTHING_ACTIVE
        if self.term is None:
            return []
        term = self.term
        fresh = self._beat_at is not None and now - self._beat_at < self.timing.ttl_ms
        self._end(term)  # S12
        was = "was" if fresh else "has expired, or was"
        return [Happening(Change.GONE, text=f"term {term} {was} removed without a stop")]

    def _present(
        self, stored: State, answer: Answer, now: float, wall_ms: float
    ) -> list[Happening]:
        out: list[Happening] = []
        term = stored.term
        before = self.known.stored
        if before is not None and before.term < term:
            # S13: the script that activates finds nothing active, or refuses
            self._seen.absent = True
        if self.term is not None and self.term != term:
            ended = self.term
            self._end(ended)  # S12
            text = f"term {ended} is over: term {term} is active"
            out.append(Happening(Change.GONE, text=text))
        if self.known.over(stored):  # S12
            if self.term == term:
                self._end(term)
            self.waiting_for = f"term {term} is over for this heartbeat"
            return out
        advanced = self._hints.advanced(answer.beats, stored, wall_ms)
        if self.term is None:
            out += self._adopt(stored, answer, advanced, now, wall_ms)
        if self.term != term:
            return out
        return out + self._follow(stored, answer, now, wall_ms)

    def _execution(self, answer: Answer) -> Verified[Execution] | None:
        """Return the execution that an answer shows beside its grant; None for what is refused."""
        if answer.execution is None:
            return None
        try:
            return self.known.trust.execution(answer.execution)
        except RecordError:
            return None

    def _adopt(
        self, stored: State, answer: Answer, advanced: bool, now: float, wall_ms: float
    ) -> list[Happening]:
        grant = stored.grant.record
        if self.barred:  # K4
            self.waiting_for = self.barred
            return []
        if self.name not in grant.heartbeats:  # A1
            self.waiting_for = (
                f"the grant of term {grant.term} does not name this heartbeat; "
                "`golive extend` lets it in"
            )
            return []
        happened = (
            self._seen.absent
            and grant.kind is GrantKind.ACTIVATE
            and is_fresh(stored.grant, self._execution(answer), wall_ms)  # S13
        )
        if not happened and not advanced:  # S13
            self.waiting_for = (
                f"term {grant.term} was active before this heartbeat knew of it; "
                "waiting for another heartbeat's beat to advance, or for a new activation"
            )
            return []
        if happened:
            before = Before(
                self.revocation, self.stopped_ms, self.adopted_ms, self.paused_ms, self.risk
            )
            why = refused(stored.grant, self.known.trust, self.haste, before, wall_ms)
            if why:  # D1 to D4
                return self._refused(why, Refused.TERM)
            self.adopted_ms = [at for at in self.adopted_ms if wall_ms - at < DAY_MS]
            self.adopted_ms.append(int(wall_ms))
        self.term = grant.term
        self.paused_ms = self.risk = None
        self.known.state = None
        self.waiting_for = ""
        self._beat_at = now
        if happened:
            self.beat_on = ()
            return [Happening(Change.ADOPTED, text=f"beating for term {grant.term}")]
        return [Happening(Change.JOINED, text=f"beating for term {grant.term}, which runs already")]

    def _follow(self, stored: State, answer: Answer, now: float, wall_ms: float) -> list[Happening]:
        """Stay on the highest directive verified; name what the store has lost of it."""
        if self._beat_at is None:
            self._beat_at = now
        held = self.known.state
        if held is not None and self.known.went_back(stored):  # S13
            # What the store restricts is taken up all the same: were its newest directive newer than
            # the epoch of our beats, they would no longer tell that it lacks the grant (S4).
            out = self._on(held.restricted(stored.restrictions))
            return out + self._refused("the store went back to an older grant", Refused.REPLAY)
        self._unfollowed = self.known.change_refused(stored, answer.beats, wall_ms)
        if held is not None and self._unfollowed:
            # No beat at all: one on the grant before would look to a guard like one on its way to this.
            out = self._on(held.restricted(stored.restrictions))
            return out + self._refused(self._unfollowed, Refused.TERM)
        self._refusal = ""
        merged = self.known.met(stored)
        out = self._on(merged)
        stored_ids = {item.identity for item in stored.restrictions}
        lost = [item for item in merged.restrictions if item.identity not in stored_ids]
        # A halt is pushed a moment before it can be read: only one missing twice is lost.
        self._lost_in = {item.identity: self._lost_in.get(item.identity, 0) + 1 for item in lost}
        out += [
            Happening(
                Change.LOST_RESTRICTION,
                restriction=item,
                text=f"the store lost {item.record.kind} {item.record.epoch}",
            )
            for item in lost
            if self._lost_in[item.identity] > 1
        ]
        return out

    def _on(self, state: State) -> list[Happening]:
        """Beat on that state from now on; it is on disk before the next beat."""
        if self.state is not None and state.digest == self.state.digest:
            return []
        self.known.hold(state)
        return [Happening(Change.RESTRICTED)]

    def push(self, raw: bytes, *, wall_ms: float = math.inf) -> list[Happening]:
        """Take in a directive from pub/sub: only what stops or restricts has an effect.

        Args:
            raw: The envelope.
            wall_ms: When it came, Unix ms; without a bound where that is not known.
        """
        try:
            revocation, restriction = self.known.pushed(raw)
        except RecordError as error:
            return [Happening(Change.SECURITY, text=f"pushed directive refused: {error}")]
        if revocation is not None:
            if not self.known.repeated(revocation):
                self._announced = revocation.identity
            return self.revoked(revocation, wall_ms)
        if restriction is None or self.state is None:
            return []
        return self._on(self.state.restricted([restriction]))

    def revoked(
        self, item: Verified[Revocation], wall_ms: float, *, stands: bool = False
    ) -> list[Happening]:
        """Take in a verified revocation, from wherever it came; `stands`: as the store's tombstone."""
        if self.known.repeated(item):
            return [Happening(Change.REPEATED, revocation=item)]
        record, before = item.record, (self.latch, self.revocation)
        self.known.ended(item, wall_ms)  # S12
        running = self._running()
        # S2: a card that was pushed late spares what runs, and its number is above that: put there, it
        # would delete the key. Where it stands it has done so, and was the last stop for D2 and D4.
        spares = record.is_card and running is not None and not stands
        newer = self.revocation is None or record.epoch > self.revocation.record.epoch
        if newer and not spares:  # S2
            self._outlast()
            self.revocation = item
            self.stopped_ms = int(wall_ms) if math.isfinite(wall_ms) else None
        if running is not None:  # A2: a receipt would say that the term is over
            # Looked at again when it is repeated, for the term may have ended otherwise by then.
            if before == (self.latch, self.revocation):
                return []
            text = f"revocation {record.epoch} by {record.by} does not cover term {running}"
            return [Happening(Change.SPARED, text=f"{text}, which goes on: no receipt")]
        self.known.acted(item)
        if self.term is not None:
            self._end(self.term)  # S12
        # One that the disk knew already is no news, after a restart say; it is answered all the same.
        told = "the newest stop is by" if before[0] == self.latch else "revoked by"
        text = f"{told} {record.by} (epoch {record.epoch}): {record.reason}"
        return [Happening(Change.LATCHED, revocation=item, text=text)]

    def _outlast(self) -> None:
        """Keep of the last stop what a later one, dated back or by others, must not lift (D2, D4)."""
        last = self.revocation
        if last is None or max(self.latch.term, self.term or 0) > last.record.epoch:
            return  # a term began since
        stopped = Before(last, self.stopped_ms).stopped_at()
        times = [at for at in (stopped, self.paused_ms) if at is not None]
        self.paused_ms = max(times, default=None)  # D2
        if last.signers & self.known.trust.keyset.with_authority(Authority.RISK):
            self.risk = last  # D4

    def _running(self) -> int | None:
        """Return the term that is known here and not over, or None."""
        state = self.known.state or self.known.stored
        if state is not None:
            return None if self.known.over(state) else state.term
        # From the disk and not read yet, so it is not known when it was activated.
        return None if self.term is None or self.latch.may_cover(self.term) else self.term

    # -- what it writes --------------------------------------------------------------------------

    def next_beat(self, *, issued_at_ms: int) -> Beat | None:
        """Return the beat to send now, or None when this heartbeat has to stay silent."""
        if self._unfollowed:  # S4, D1
            return None
        state = self.state
        if self.term is None or state is None or state.term != self.term:
            return None
        if self.barred:  # K4
            self.waiting_for = self.barred
            return None
        if self.name not in state.grant.record.heartbeats:  # A1
            return None
        if issued_at_ms >= state.grant.record.not_after_ms:  # S13
            self.waiting_for = f"the window of term {self.term} is over"
            return None
        # Unix ms as the floor, so that a heartbeat with an empty disk never counts backwards.
        self._n = max(self._n + 1, self._hints.own_n + 1, issued_at_ms)
        trust = self.known.trust
        return Beat(
            **trust.heading(self.name, issued_at_ms),
            heartbeat=self.name,
            term=self.term,
            epoch=state.epoch,  # S13
            set=state.digest,  # S4
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
        """Note that a beat succeeded: nothing is waited for any more."""
        self._beat_at = now
        self.waiting_for = ""

    def overdue(self, now: float) -> list[Happening]:
        """Latch for the term after `ttl_ms` without a successful beat (S12)."""
        if self.term is None or self._beat_at is None:
            return []
        if now - self._beat_at < self.timing.ttl_ms:
            return []
        term = self.term
        self._end(term)  # S12
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
        self.known.state = None

    def _end(self, term: int) -> None:
        self.known.end(term)
        self.term = None
        self.known.state = None
        self.waiting_for = f"term {term} is over for this heartbeat"
