"""The guard's state machine: what one worker knows, and what follows from each thing it learns.

Everything that moves a guard between its phases lives here; clocks, sockets, files and threads live in
`golive_redis.guard`. What each phase becomes (`tests/unit/test_view_table.py` drives every cell):

| event                                            | cold    | armed   | lapsed  | latched | drained |
| ------------------------------------------------ | ------- | ------- | ------- | ------- | ------- |
| good answer, a beat has advanced                 | armed   | armed   | armed   | latched | drained |
| good answer, last advance under `beat_ms` ago    | -       | armed   | armed   | latched | drained |
| good answer, last advance `beat_ms` ago          | -       | lapsed  | lapsed  | latched | drained |
| good answer, no beat was seen to advance         | cold    | -       | -       | latched | drained |
| good answer, a later term                        | cold    | cold    | cold    | latched | cold    |
| answer: the key is absent                        | cold    | cold    | cold    | latched | drained |
| answer: a key has a wrong type                   | cold    | cold    | cold    | latched | drained |
| answer: a record is refused                      | cold    | cold    | cold    | latched | drained |
| answer: the TTL is invalid                       | cold    | cold    | cold    | latched | drained |
| answer: outside the window of its grant          | cold    | cold    | cold    | latched | drained |
| answer: less than a beat vouches for             | cold    | cold    | cold    | latched | drained |
| answer: an older grant of the term               | cold    | cold    | cold    | latched | drained |
| answer: a term that was revoked                  | cold    | cold    | cold    | latched | drained |
| answer to another question                       | cold    | cold    | cold    | latched | drained |
| answer after `timeout_ms`                        | cold    | armed   | lapsed  | latched | drained |
| tombstone in an answer, of this term             | latched | latched | latched | latched | latched |
| pushed revocation of this term                   | latched | latched | latched | latched | latched |
| pushed revocation of an older term               | cold    | armed   | lapsed  | latched | latched |
| the same revocation again                        | -       | -       | -       | latched | drained |
| pushed revocation, not verified yet              | cold    | armed*  | lapsed  | latched | drained |
| pushed revocation that is refused                | cold    | armed*  | lapsed  | latched | drained |
| pushed restriction                               | cold    | armed   | lapsed  | latched | drained |
| pushed grant                                     | cold    | armed   | lapsed  | latched | drained |
| the connection is replaced                       | cold    | armed   | lapsed  | latched | drained |
| the deadline is over                             | cold    | lapsed  | lapsed  | latched | drained |
| the clocks disagree                              | cold    | cold    | cold    | latched | drained |
| a defect                                         | cold    | cold    | cold    | latched | drained |
| the stop is drained                              | cold    | armed   | lapsed  | drained | drained |
| sealed                                           | cold    | cold    | cold    | latched | drained |

`drained` is LATCHED once its stop was persisted, drained and receipted; `-` cannot happen. Orders are
permitted in `armed` alone: in `armed*` the guard is closed until the next good answer. It begins cold.
LATCHED is left by a verified activation above the latch, after the drain, and by nothing else.

The rules that it keeps, each with its reason in docs/explanation/protocol.md#the-guard:

- S1  Permission only from a verified grant, inside its window, above every revocation seen. The
      tombstone in an answer is processed before its grant.
- S2  A revocation covers every term up to its epoch; a blind one also what was issued before it.
- S3  Restrictions apply at once, and only a newer grant that names them loosens. That the key is
      absent forgets none: old data may follow.
- S4  An answer whose epoch is below a verified beat's, or that showed another set at the beat's epoch,
      is no answer: something was lost. A grant that is newer than the beat waits for the next beat.
- S5  Freshness is observed: see `core.freshness`.
- S6  An invalid TTL closes; an invalid beat is no beat.
- S8  Late answers and answers to another question are not answers.
- S10 A push only closes or restricts. It never permits.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from golive_redis.core.answer import Answer, Ask, Latch
from golive_redis.core.decision import Verdict, closed
from golive_redis.core.freshness import Progress, deadline, observe
from golive_redis.core.permit import Phase, Reason
from golive_redis.core.restrictions import RestrictionIndex, with_labels
from golive_redis.core.state import State, assemble
from golive_redis.core.timing import Timing
from golive_redis.errors import RecordError
from golive_redis.records.beat import ISSUED_TOLERANCE_MS, Beat
from golive_redis.records.directive import Grant, Restriction, Revocation
from golive_redis.records.envelope import Verified, decode, peek
from golive_redis.records.trust import Trust

_REMEMBERED = 64
_NS = 1_000_000


class Happened(StrEnum):
    """What the shell around a view has to act on."""

    STOPPED = "stopped"  # a verified revocation: persist, receipt, hooks, drain, receipt
    REPEATED = "repeated"  # the same one again: repeat the receipts
    RESTRICTED = "restricted"  # a restriction took effect: receipt
    RESTARTED = "restarted"  # a new term may begin: the stop is behind us
    SECURITY = "security"  # somebody offered what we refuse: log it
    RECONNECT = "reconnect"  # the connection cannot be trusted any more


class Event(msgspec.Struct, frozen=True):
    """One thing that happened, with the directive it is about or a sentence for the log."""

    kind: Happened
    revocation: Verified[Revocation] | None = None
    restriction: Verified[Restriction] | None = None
    text: str = ""


class _Request(msgspec.Struct, frozen=True):
    nonce: str
    sent_ns: int
    wall_sent_ms: float
    known_last: str


class View:
    """What one guard knows. Not thread-safe: the shell holds a lock around each call.

    Args:
        trust: Keyset, namespace and environment.
        timing: The timers.
        labels: The guard's own labels, which every order has.
        latch: What the state file remembered.

    Attributes:
        verdict: Replaced as a whole on every change; the only thing `decide` reads.
    """

    def __init__(
        self, trust: Trust, timing: Timing, labels: Mapping[str, str], latch: Latch | None = None
    ) -> None:
        self.trust = trust
        self.timing = timing
        self.latch = latch or Latch()
        self.phase = Phase.COLD
        self.verdict = closed(Phase.COLD, Reason.NOT_ACTIVATED)
        self.newest: bytes | None = None  # highest directive verified, for presence
        self._newest_epoch = 0
        self._labels = dict(labels)
        self._request: _Request | None = None
        self._answered: State | None = None  # as the store last told it
        self._state: State | None = None  # the same, met with what was pushed; outlives absence
        self._known_last = ""
        self._known_revoked = ""
        self._progress: dict[str, Progress] = {}
        self._beats: dict[str, tuple[bytes, Verified[Beat]]] = {}
        self._grant: Verified[Grant] | None = None  # verified once, recognised by its bytes
        self._restrictions: dict[bytes, Verified[Restriction]] = {}
        self._index: tuple[State, RestrictionIndex] | None = None
        self._handled: dict[str, Verified[Revocation]] = {}
        self._last_term = 0
        self._suspects = 0
        self._drained = True
        self._sealed: Reason | None = None

    # -- questions and answers ------------------------------------------------------------------

    @property
    def state(self) -> State | None:
        """The term in force as this guard knows it, or None."""
        return self._state if self._answered is not None else None

    def reconnected(self) -> None:
        """Note that questions go over a new connection: older/newer pairs start anew (S5)."""
        self._request = None
        self._progress = {name: seen.reconnected() for name, seen in self._progress.items()}

    def ask(self, nonce: str, *, now_ns: int, wall_ms: float) -> Ask:
        """Register the one outstanding question, at the instant before it is sent."""
        self._request = _Request(nonce, now_ns, wall_ms, self._known_last)
        return Ask(nonce, self._known_last, self._known_revoked)

    def answer(self, answer: Answer, *, now_ns: int) -> list[Event]:
        """Take in an answer.

        Args:
            answer: The parsed reply.
            now_ns: The guard's clock, after the reply was read.

        Fails closed:
            Whatever is refused leaves the guard COLD, except a late answer, which is no answer.
        """
        request, self._request = self._request, None
        if request is None or answer.nonce != request.nonce:
            return self._refuse(Reason.ANSWER_MISMATCH, Happened.RECONNECT, "nonce mismatch")
        if now_ns - request.sent_ns > self.timing.timeout_ms * _NS:
            return []
        if answer.unchanged and request.known_last != self._known_last:
            return []  # a push ended or changed what "unchanged" was about: ask again
        if answer.corrupt is not None:
            return self._refuse(
                Reason.STORE_CORRUPT, Happened.SECURITY, f"{answer.corrupt} has a wrong type"
            )
        try:
            events = self._tombstone(answer)
        except RecordError as error:
            return self._refuse(
                Reason.RECORD_REFUSED, Happened.SECURITY, f"tombstone refused: {error}"
            )
        if not answer.active:
            self._answered = None  # what is restricted in this term is remembered: it may come back
            self._known_last = ""
            self._cold(Reason.NOT_ACTIVATED)
            return events
        try:
            stored = self._stored_state(answer)
        except RecordError as error:
            reason = Reason.RECORD_REFUSED
            return events + self._refuse(reason, Happened.SECURITY, f"state refused: {error}")
        return events + self._judge(answer, stored, request, now_ns)

    def _tombstone(self, answer: Answer) -> list[Event]:
        if answer.revoked is None:
            if not answer.revoked_unchanged:
                self._known_revoked = ""
            return []
        tombstone = self.trust.revocation(answer.revoked)
        self._known_revoked = tombstone.identity
        return self.revoked(tombstone)

    def _stored_state(self, answer: Answer) -> State:
        if answer.unchanged and answer.last == self._known_last and self._answered is not None:
            return self._answered
        if answer.grant is None:
            raise RecordError("the answer leaves out a state that was never given")
        if self._grant is None or self._grant.raw != answer.grant:
            self._grant = self.trust.grant(answer.grant)
        known = self._restrictions
        self._restrictions = {
            raw: known.get(raw) or self.trust.restriction(raw) for raw in answer.restrictions
        }
        return assemble(self._grant, self._restrictions.values())

    def _judge(self, answer: Answer, stored: State, request: _Request, now_ns: int) -> list[Event]:
        grant = stored.grant.record
        if self.latch.covers(stored.term, grant.activated_at_ms):
            # Yesterday's activation came back: a failover, an old backup, or a replay.
            self._known_last = ""
            if self.phase is Phase.LATCHED:
                return []
            return self._refuse(
                Reason.REVOKED, Happened.SECURITY, f"term {stored.term} was revoked and is back"
            )
        if self.phase is Phase.LATCHED and not self._drained:
            return []
        events = self._enter(stored)
        if self._state is not None and stored.grant.record.epoch < self._state.grant.record.epoch:
            return events + self._refuse(
                Reason.STATE_BEHIND, Happened.SECURITY, "the store went back to an older grant"
            )
        merged = stored.restricted(self._state.restrictions if self._state is not None else ())
        events += self._applied(merged)
        self._answered, self._state = stored, merged
        self._known_last = answer.last or ""
        self._saw(merged.newest)
        if not grant.not_before_ms <= request.wall_sent_ms < grant.not_after_ms:
            self._cold(Reason.OUTSIDE_WINDOW)
            return events
        if not 0 < answer.pttl_ms <= grant.max_ttl_ms:
            text = f"PTTL of the active key is {answer.pttl_ms} ms"
            return events + self._refuse(Reason.TTL_INVALID, Happened.SECURITY, text)
        behind, beat_events = self._take_beats(answer, stored, request)
        events += beat_events
        if behind is not None:
            return events + self._refuse(Reason.STATE_BEHIND, Happened.SECURITY, behind)
        self._arm(answer, request, now_ns)
        return events

    def _enter(self, stored: State) -> list[Event]:
        """Begin a new term, or leave the latch of an old one, when the answer shows one."""
        if self._state is not None and self._state.term == stored.term:
            return []
        if stored.term != self._last_term:
            # Only a new term forgets the counts: within one, a lower n stays a replay.
            self._progress, self._beats, self._last_term = {}, {}, stored.term
        self._answered = self._state = None
        was_latched = self.phase is Phase.LATCHED
        self.phase = Phase.COLD
        self._close(Reason.NOT_ARMED)
        return [Event(Happened.RESTARTED)] if was_latched else []

    def _applied(self, merged: State) -> list[Event]:
        known = self._state.restrictions if self._state is not None else ()
        identities = {item.identity for item in known}
        return [
            Event(Happened.RESTRICTED, restriction=item)
            for item in merged.restrictions
            if item.identity not in identities
        ]

    def _take_beats(
        self, answer: Answer, stored: State, request: _Request
    ) -> tuple[str | None, list[Event]]:
        """Observe the beats (S5, S6); say what the answer lacks of them (S4), or None."""
        events: list[Event] = []
        behind = None
        sent_at = request.sent_ns / _NS
        for name, raw in sorted(answer.beats.items()):
            try:
                beat = self._beat(name, raw)
            except RecordError as error:
                events.append(Event(Happened.SECURITY, text=f"beat of {name!r} refused: {error}"))
                continue
            if beat.term != stored.term:
                continue
            if abs(beat.issued_at_ms - request.wall_sent_ms) > ISSUED_TOLERANCE_MS:
                text = f"beat of {name!r} is over 30 s off this host's clock"
                events.append(Event(Happened.SECURITY, text=text))
                continue
            seen = observe(self._progress.get(name), beat.n, sent_at)
            if seen is None:
                text = f"beat of {name!r} went back to n={beat.n}: a replay"
                events.append(Event(Happened.SECURITY, text=text))
                continue
            self._progress[name] = seen
            if beat.epoch > stored.epoch:
                behind = f"{name} has verified epoch {beat.epoch}, the store shows {stored.epoch}"
            elif beat.epoch < stored.grant.record.epoch:
                continue  # the grant came after it
            elif beat.set != stored.up_to(beat.epoch).digest:
                behind = f"{name} beats for another set of directives at epoch {beat.epoch}"
        return behind, events

    def _beat(self, name: str, raw: bytes) -> Beat:
        cached = self._beats.get(name)
        if cached is not None and cached[0] == raw:
            return cached[1].record
        verified = self.trust.beat(raw)
        if verified.record.heartbeat != name:
            raise RecordError(f"it is {verified.record.heartbeat!r}'s")
        self._beats[name] = (raw, verified)
        return verified.record

    def _arm(self, answer: Answer, request: _Request, now_ns: int) -> None:
        assert self._state is not None  # noqa: S101  (set by the only caller)
        anchors = [p.fresh_from for p in self._progress.values() if p.fresh_from is not None]
        if not anchors:
            self._close(Reason.NOT_ARMED)
            return
        grant = self._state.grant.record
        until = deadline(
            sent_at=request.sent_ns / _NS,
            wall_sent_ms=request.wall_sent_ms,
            fresh_from=max(anchors),
            pttl_ms=answer.pttl_ms,
            not_after_ms=grant.not_after_ms,
            lease_ms=self.timing.lease_ms,
            beat_ms=self.timing.beat_ms,
            rho=self.timing.rho,
        )
        if self._suspects or self._sealed is not None:
            self._close(Reason.REVOKED)
            return
        self.phase = Phase.ARMED
        deadline_ns = int(until * _NS)
        self._publish(deadline_ns, int(request.wall_sent_ms + until - request.sent_ns / _NS))
        if deadline_ns <= now_ns:
            self.lapsed(now_ns)

    # -- pushes ----------------------------------------------------------------------------------

    def suspect(self, raw: bytes) -> bool:
        """Close at once on a well-formed revocation, before anybody checks its signature (S10).

        Returns:
            True when the bytes are a revocation that may concern this guard.
        """
        try:
            record = peek(raw, Revocation)
        except RecordError:
            return False
        trust = self.trust
        if (record.namespace, record.environment) != (trust.namespace, trust.environment):
            return False
        state = self._state
        if state is not None and not record.covers(state.term, state.grant.record.activated_at_ms):
            return False
        self._suspects += 1  # until `push` has judged it, no answer opens this guard again
        self._close(Reason.REVOKED)
        return True

    def push(self, raw: bytes, *, suspected: bool = False) -> list[Event]:
        """Take in a directive from pub/sub. Only closes or restricts; a grant has no effect here.

        Args:
            raw: The envelope.
            suspected: What `suspect` said of these bytes. An invalid one leaves the guard closed
                until the next good answer.
        """
        self._suspects -= suspected
        try:
            kind = decode(raw).payload_type
            if kind == Revocation.payload_type():
                return self.revoked(self.trust.revocation(raw))
            if kind == Restriction.payload_type():
                return self._pushed_restriction(self.trust.restriction(raw))
        except RecordError as error:
            return [Event(Happened.SECURITY, text=f"pushed directive refused: {error}")]
        return []

    def _pushed_restriction(self, item: Verified[Restriction]) -> list[Event]:
        if self._state is None:
            return []
        merged = self._state.restricted([item])
        events = self._applied(merged)
        if events:
            self._state = merged
            self._saw(item)
            if self.verdict.deadline_ns:
                self._publish(self.verdict.deadline_ns, self.verdict.until_ms)
        return events

    def revoked(self, item: Verified[Revocation]) -> list[Event]:
        """Take in a verified revocation, from wherever it came."""
        if item.identity in self._handled:
            return [Event(Happened.REPEATED, revocation=item)]
        record = item.record
        self._saw(item)
        state = self._state
        epoch = record.epoch
        if state is not None and record.covers(state.term, state.grant.record.activated_at_ms):
            epoch = max(epoch, state.term)
        elif state is not None:
            self._latch(record, epoch)
            return []
        self._latch(record, epoch)
        while len(self._handled) >= _REMEMBERED:
            self._handled.pop(next(iter(self._handled)))
        self._handled[item.identity] = item
        self._answered = self._state = None
        self._known_last = ""
        self._progress, self._beats = {}, {}
        self.phase = Phase.LATCHED
        self._drained = False
        self._close(Reason.REVOKED)
        return [Event(Happened.STOPPED, revocation=item)]

    def _latch(self, record: Revocation, epoch: int) -> None:
        blind_before = record.issued_at_ms if record.blind else 0
        self.latch = Latch(
            epoch=max(self.latch.epoch, epoch),
            blind_before_ms=max(self.latch.blind_before_ms, blind_before),
        )

    # -- what the shell reports ------------------------------------------------------------------

    def drained(self) -> None:
        """Note that the stop was persisted, drained and receipted: a new term may now begin."""
        self._drained = True

    def clock_anomaly(self) -> None:
        """Go COLD: this host's clocks disagree, or it was asleep (S7)."""
        self._request = None
        self._cold(Reason.CLOCK_ANOMALY)

    def defect(self) -> None:
        """Go COLD: the shell met an error that nobody foresaw."""
        self._request = None
        self._cold(Reason.DEFECT)

    def seal(self, reason: Reason) -> None:
        """Close for the life of this guard: killed, forked, closed, or without its state file."""
        self._sealed = reason
        if self.phase is not Phase.LATCHED:
            self.phase = Phase.COLD
        self._close(reason)

    def lapsed(self, now_ns: int) -> None:
        """Note for the record that the deadline is over; `decide` needs no such note."""
        if self.phase is Phase.ARMED and now_ns >= self.verdict.deadline_ns:
            self.phase = Phase.LAPSED
            self._close(Reason.LAPSED)

    # -- the verdict -----------------------------------------------------------------------------

    def _cold(self, reason: Reason) -> None:
        if self.phase is Phase.LATCHED:
            return
        self.phase = Phase.COLD
        # Beats must be seen to advance anew, but their highest n is remembered: a replay stays one.
        self._progress = {
            name: Progress(seen.n, None, 0.0, None) for name, seen in self._progress.items()
        }
        self._close(reason)

    def _refuse(self, reason: Reason, kind: Happened, text: str) -> list[Event]:
        self._known_last = ""
        self._cold(reason)
        return [Event(kind, text=text)]

    def _close(self, reason: Reason) -> None:
        state = self.state
        if self._sealed is not None:
            reason = self._sealed
        elif self.phase is Phase.LATCHED or self._suspects:
            reason = Reason.REVOKED
        self.verdict = closed(
            self.phase,
            reason,
            term=state.term if state else 0,
            epoch=state.epoch if state else self.latch.epoch,
        )

    def _publish(self, deadline_ns: int, until_ms: int) -> None:
        state = self._state
        assert state is not None  # noqa: S101  (a deadline exists only for a state)
        if self._index is None or self._index[0] is not state:
            index = RestrictionIndex(state.mode, with_labels(state.restrictions), self._labels)
            self._index = (state, index)
        self.verdict = Verdict(
            self.phase,
            Reason.LAPSED,
            deadline_ns,
            until_ms,
            state.term,
            state.epoch,
            state.profile,
            state.limits,
            self._index[1],
        )

    def _saw(self, item: Verified[Grant] | Verified[Restriction] | Verified[Revocation]) -> None:
        if item.record.epoch > self._newest_epoch:
            self._newest_epoch, self.newest = item.record.epoch, item.raw
