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
| answer: a newer keyset is in use                 | cold    | cold    | cold    | latched | drained |
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
| no answer: the store cannot be reached           | cold    | armed   | lapsed  | latched | drained |
| the clocks disagree                              | cold    | cold    | cold    | latched | drained |
| a defect                                         | cold    | cold    | cold    | latched | drained |
| a keyset under which the term is refused         | cold    | cold    | cold    | latched | drained |
| the stop is drained                              | cold    | armed   | lapsed  | drained | drained |
| sealed                                           | cold    | cold    | cold    | latched | drained |

`drained` is LATCHED once its stop was persisted, drained and receipted; `-` cannot happen. Orders are
permitted in `armed` alone: in `armed*` the guard is closed until the next good answer. It begins cold.
LATCHED is left by a verified activation above the latch, after the drain, and by nothing else.

What it knows is in `knowledge`, what it saw of heartbeats in `freshness`. The number of a rule stands
beside each line that enforces it; its reason is in docs/explanation/protocol.md#the-guard.
"""

from __future__ import annotations

from collections.abc import Mapping

from golive_redis.core.answer import Answer, Ask, Latch, Request
from golive_redis.core.decision import Verdict, closed
from golive_redis.core.events import Event, Happened
from golive_redis.core.freshness import Observed, deadline
from golive_redis.core.incidents import Refused
from golive_redis.core.knowledge import Knowledge
from golive_redis.core.permit import Phase, Reason
from golive_redis.core.restrictions import RestrictionIndex, with_labels
from golive_redis.core.state import State
from golive_redis.core.suspicion import SOMETIME, Heard, Suspicion
from golive_redis.core.timing import Timing
from golive_redis.errors import RecordError
from golive_redis.records.directive import Restriction, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.records.trust import Trust

_NS = 1_000_000


class View:
    """What one guard knows. Not thread-safe: the shell holds a lock around each call.

    Args:
        trust: Keyset, namespace and environment.
        timing: The timers.
        labels: The guard's own labels, which every order has.
        latch: What the state file remembered.

    Attributes:
        known: Directives, as verified, and the latch.
        verdict: Replaced as a whole on every change; the only thing `decide` reads.
    """

    def __init__(
        self, trust: Trust, timing: Timing, labels: Mapping[str, str], latch: Latch | None = None
    ) -> None:
        self.timing = timing
        self.known = Knowledge(trust, latch or Latch())
        self.phase = Phase.COLD
        self.verdict = closed(Phase.COLD, Reason.NOT_ACTIVATED)
        self._labels = dict(labels)
        self._observed = Observed(self.known)
        self._request: Request | None = None
        self._index: tuple[State, RestrictionIndex] | None = None
        self._suspicion = Suspicion()
        self._drained = True
        self._sealed: Reason | None = None

    @property
    def trust(self) -> Trust:
        """Whom it believes."""
        return self.known.trust

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
        """The term in force as this guard knows it, or None."""
        return self.known.state if self.known.stored is not None else None

    # -- questions and answers ------------------------------------------------------------------

    def reconnected(self) -> None:
        """Note that questions go over a new connection: older/newer pairs start anew (S5)."""
        self._request = None  # S8: an answer to what was asked on the old one is none
        self._observed.reconnected()

    def ask(self, nonce: str, *, now_ns: int, wall_ms: float) -> Ask:
        """Register the one outstanding question, at the instant before it is sent (S5, S8)."""
        self._request = Request(nonce, now_ns, wall_ms, self.known.last)
        return self.known.ask(nonce)

    def answer(self, answer: Answer, *, now_ns: int) -> list[Event]:
        """Take in an answer.

        Args:
            answer: The parsed reply.
            now_ns: The guard's clock, after the reply was read.

        Fails closed:
            Whatever is refused leaves the guard COLD, except a late answer, which is no answer.
        """
        request, self._request = self._request, None  # S8: one question has one answer
        if request is None or answer.nonce != request.nonce:  # S8
            return self._refuse(Reason.ANSWER_MISMATCH, Happened.RECONNECT, "nonce mismatch")
        if now_ns - request.sent_ns > self.timing.timeout_ms * _NS:  # S8
            return []
        if answer.unchanged and request.known_last != self.known.last:
            return []  # a push ended or changed what "unchanged" was about: ask again
        if answer.corrupt is not None:
            text = f"{answer.corrupt} has a wrong type"
            return self._refuse(Reason.STORE_CORRUPT, Happened.SECURITY, text, Refused.WRONG_TYPE)
        try:
            tombstone = self.known.tombstone(answer)
        except RecordError as error:
            return self._refuse(
                Reason.RECORD_REFUSED, Happened.SECURITY, f"tombstone refused: {error}"
            )
        events: list[Event] = []
        if tombstone is not None:  # S1: before the grant
            events = self.revoked(tombstone, request.wall_sent_ms)
        if not answer.active:
            self.known.untold()
            self._cold(Reason.NOT_ACTIVATED)
            return events
        if outdated := self.known.outdated(answer):  # K2: after the tombstone, which may be older
            text = f"keyset {outdated} is in use, and this guard has {self.trust.keyset.version}"
            return events + self._refuse(Reason.KEYSET_BEHIND, Happened.SECURITY, text)
        try:
            stored = self.known.read(answer)
        except RecordError as error:
            reason = Reason.RECORD_REFUSED
            return events + self._refuse(reason, Happened.SECURITY, f"state refused: {error}")
        return events + self._judge(answer, stored, request, now_ns)

    def _judge(self, answer: Answer, stored: State, request: Request, now_ns: int) -> list[Event]:
        grant = stored.grant.record
        if self.known.over(stored):  # S1, S2
            # Yesterday's activation came back: a failover, an old backup, or a replay.
            self.known.last = ""
            if self.phase is Phase.LATCHED:
                return []
            text = f"term {stored.term} was revoked and is back"
            return self._refuse(Reason.REVOKED, Happened.SECURITY, text, Refused.REPLAY)
        if self.phase is Phase.LATCHED and not self._drained:
            return []  # S9: the stop is on disk and receipted before anything may begin
        # S3: before it enters another term. One that it left for older data would come back without
        # the halts that it has forgotten.
        if self.known.went_back(stored):
            text = "the store went back to an older grant"
            return self._refuse(Reason.STATE_BEHIND, Happened.SECURITY, text, Refused.REPLAY)
        if text := self.known.change_refused(stored, answer.beats, request.wall_sent_ms):
            return self._refuse(Reason.RECORD_REFUSED, Happened.SECURITY, text, Refused.TERM)
        events = self._enter(stored)
        merged = self.known.met(stored)  # S3
        events += self._applied(merged)
        self.known.told(stored, answer)
        self.known.hold(merged)
        if not grant.not_before_ms <= request.wall_sent_ms < grant.not_after_ms:  # S1
            self._cold(Reason.OUTSIDE_WINDOW)
            return events
        if not 0 < answer.pttl_ms <= grant.max_ttl_ms:  # S6
            text = f"the active key has no valid lifetime: its PTTL is {answer.pttl_ms} ms"
            return events + self._refuse(Reason.TTL_INVALID, Happened.SECURITY, text)
        behind, refused = self._observed.take(
            answer.beats,
            stored,
            sent_at=request.sent_ns / _NS,
            wall_sent_ms=request.wall_sent_ms,
        )
        events += [Event(Happened.SECURITY, text=text) for text in refused]
        if behind is not None:  # S4
            return events + self._refuse(
                Reason.STATE_BEHIND, Happened.SECURITY, behind, Refused.REPLAY
            )
        self._arm(merged, answer, request, now_ns)
        return events

    def _enter(self, stored: State) -> list[Event]:
        """Begin a new term, or leave the latch of an old one, when the answer shows one."""
        if self.known.state is not None and self.known.state.term == stored.term:
            return []
        self._observed.enter(stored.term)
        self.known.stored = self.known.state = None
        was_latched = self.phase is Phase.LATCHED
        self.phase = Phase.COLD
        self._close(Reason.NOT_ARMED)
        return [Event(Happened.RESTARTED)] if was_latched else []

    def _applied(self, merged: State) -> list[Event]:
        known = self.known.state.restrictions if self.known.state is not None else ()
        identities = {item.identity for item in known}
        return [
            Event(Happened.RESTRICTED, restriction=item)
            for item in merged.restrictions
            if item.identity not in identities
        ]

    def _arm(self, state: State, answer: Answer, request: Request, now_ns: int) -> None:
        fresh_from = self._observed.anchor
        if fresh_from is None:  # S5: no beat was seen to advance
            self._close(Reason.NOT_ARMED)
            return
        until = deadline(  # S5
            sent_at=request.sent_ns / _NS,
            wall_sent_ms=request.wall_sent_ms,
            fresh_from=fresh_from,
            pttl_ms=answer.pttl_ms,
            not_after_ms=state.grant.record.not_after_ms,
            lease_ms=self.timing.lease_ms,
            beat_ms=self.timing.beat_ms,
            rho=self.timing.rho,
        )
        if self._suspicion.pending or self._sealed is not None:  # S10: until `push` has judged
            self._close(Reason.REVOKED)
            return
        self.phase = Phase.ARMED
        deadline_ns = int(until * _NS)
        self._publish(state, deadline_ns, int(request.wall_sent_ms + until - request.sent_ns / _NS))
        if deadline_ns <= now_ns:
            self.lapsed(now_ns)

    # -- pushes ----------------------------------------------------------------------------------

    def suspect(self, raw: bytes, heard: Heard = SOMETIME) -> bool:
        """Close at once on a well-formed revocation, before anybody checks its signature (S10).

        Returns:
            True when it has closed: the bytes are a revocation that may concern this guard, and none
            was invalid lately (A14). Until `push` has judged it, no answer opens this guard again.
        """
        if not self.known.may_end(raw, heard.wall_ms) or not self._suspicion.closes_first(heard):
            return False
        self._close(Reason.REVOKED)  # S10
        return True

    def push(self, raw: bytes, *, suspected: bool = False, heard: Heard = SOMETIME) -> list[Event]:
        """Take in a directive from pub/sub. Only closes or restricts; a grant has no effect here (S10).

        Args:
            raw: The envelope.
            suspected: What `suspect` said of these bytes. An invalid one leaves the guard closed
                until the next good answer.
            heard: When they came.
        """
        self._suspicion.judged(suspected=suspected)  # S10
        if self._suspicion.repeats(raw):
            self._suspicion.invalid(raw, heard)
            return []
        try:
            revocation, restriction = self.known.pushed(raw)
        except RecordError as error:
            if self.known.may_end(raw, heard.wall_ms):
                self._suspicion.invalid(raw, heard)  # A14
            return [Event(Happened.SECURITY, text=f"pushed directive refused: {error}")]
        if revocation is not None:
            return self.revoked(revocation, heard.wall_ms)
        return self._restricted(restriction) if restriction is not None else []

    def _restricted(self, item: Verified[Restriction]) -> list[Event]:
        if self.known.state is None:
            return []
        merged = self.known.state.restricted([item])  # S3: at once
        events = self._applied(merged)
        if events:
            self.known.state = merged
            self.known.saw(item)
            if self.verdict.deadline_ns:  # S10: with the deadline that it had
                self._publish(merged, self.verdict.deadline_ns, self.verdict.until_ms)
        return events

    def revoked(self, item: Verified[Revocation], arrived_ms: float) -> list[Event]:
        """Take in a verified revocation, from wherever it came."""
        if self.known.repeated(item):
            return [Event(Happened.REPEATED, revocation=item)]
        if not self.known.ended(item, arrived_ms):  # S2: of an older term
            return []
        self.known.acted(item)
        self.known.untold()
        self.known.state = None
        self._observed.forget()
        self.phase = Phase.LATCHED  # S2
        self._drained = False
        self._close(Reason.REVOKED)
        return [Event(Happened.STOPPED, revocation=item)]

    # -- another keyset --------------------------------------------------------------------------

    def succeed(self, trust: Trust) -> None:
        """Go on under the keyset that the roots have appointed (K3).

        Everything is read anew under it. A term that is refused under it is over for this guard at once;
        what has stopped a term stays stopped.
        """
        try:
            held = self.known.held_under(trust)
        except RecordError:
            held = None
            self._cold(Reason.RECORD_REFUSED)  # K3
        self._request = None  # S8: what was asked before is not judged under another keyset
        self.known.rely_on(trust, held)

    # -- what the shell reports ------------------------------------------------------------------

    def drained(self) -> None:
        """Note that the stop was persisted, drained and receipted: a new term may now begin (S9)."""
        self._drained = True

    def clock_anomaly(self) -> None:
        """Go COLD: this host's clocks disagree, or it was asleep (S7)."""
        self._request = None
        self._cold(Reason.CLOCK_ANOMALY)  # S7

    def defect(self) -> None:
        """Go COLD: the shell met an unexpected error."""
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

    def unanswered(self, now_ns: int) -> None:
        """Note that a question got no answer: the store cannot be reached, or not in time."""
        self.lapsed(now_ns)
        if self.phase is not Phase.ARMED:
            self._close(Reason.STORE_UNREACHABLE)

    # -- the verdict -----------------------------------------------------------------------------

    def _cold(self, reason: Reason) -> None:
        if self.phase is Phase.LATCHED:
            return
        self.phase = Phase.COLD
        self._observed.unsee()  # S7
        self._close(reason)

    def _refuse(
        self, reason: Reason, kind: Happened, text: str, word: str = Refused.RECORD
    ) -> list[Event]:
        self.known.last = ""  # whatever comes next is asked for in full
        self._cold(reason)
        return [Event(kind, text=text, word=word)]

    def _close(self, reason: Reason) -> None:
        state = self.state
        if self._sealed is not None:
            reason = self._sealed
        elif self.phase is Phase.LATCHED or self._suspicion.pending:
            reason = Reason.REVOKED
        self.verdict = closed(
            self.phase,
            reason,
            term=state.term if state else 0,
            epoch=state.epoch if state else self.known.latch.epoch,
        )

    def _publish(self, state: State, deadline_ns: int, until_ms: int) -> None:
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
