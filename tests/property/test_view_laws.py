"""A guard against a store that fails over, forgets, comes late and is written to by strangers.

A small model of the store, the heartbeats and the operators goes any way Hypothesis likes; after
each step an oracle that knows everything that really happened asks the guard for an order.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from golive_redis.core.answer import Answer, Ask
from golive_redis.core.events import Happened
from golive_redis.core.permit import Permit, Phase
from golive_redis.core.state import State, assemble, in_force
from golive_redis.core.timing import TIMINGS
from golive_redis.errors import RecordError
from golive_redis.records.beat import ISSUED_TOLERANCE_MS
from golive_redis.records.directive import Mode, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.testing import Harness, Signers, answer, identity

SIGNERS = Signers()
STRANGERS = Signers({"eve": ["approver", "revoker"]})
TIMING = TIMINGS["standard"]
LEASE_MS, BEAT_MS = 0.9 * TIMING.lease_ms, 0.9 * TIMING.beat_ms
MODES = list(Mode)
ORDERS: list[dict[str, str]] = [{}, {"symbol": "BTC"}, {"symbol": "ETH"}]
HEARTBEATS = st.sampled_from(["hb-1", "hb-2"])
SEEN: Counter[str] = Counter()


@cache
def state_of(grant: bytes, *restrictions: bytes, bare: bool = False) -> State:
    """The state that directives make; `bare` looks at the grant alone."""
    verified = SIGNERS.trust.grant(grant)
    if bare:
        return State(verified, ())
    return assemble(verified, [SIGNERS.trust.restriction(raw) for raw in restrictions])


@dataclass(frozen=True)
class Store:
    """What the store holds; a failover goes back to an older value of it."""

    grant: bytes | None = None
    restrictions: tuple[bytes, ...] = ()
    tombstone: bytes | None = None
    beats: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Told:
    """What the guard was last told in an answer that it had to accept."""

    state: State
    sent_at: float
    beaten_at: float
    """When the newest beat of the term was made of those that it was ever shown."""


class GuardMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.guard = Harness(SIGNERS)
        self.view, self.clock = self.guard.view, self.guard.clock
        self.store, self.history = Store(), [Store()]
        self.epoch = 0
        self.n = 0
        self.made: dict[bytes, float] = {}  # beats, by when they were made
        self.beaten: dict[int, float] = {}  # when the newest beat of a term it was shown was made
        self.highest: dict[str, State] = {}  # what each heartbeat has verified
        self.over: dict[int, float] = {}  # terms that ended in truth, and when
        self.failed_over = False
        self.question: tuple[Ask, float] | None = None
        self.reply: Answer | None = None
        self.revocations: list[Verified[Revocation]] = []
        self.held: dict[str, Any] = {}
        self.told: Told | None = None
        self.suspected: list[bytes] = []
        self.stopping = False

    # -- the world -------------------------------------------------------------------------------

    def write(self, **changes: Any) -> None:
        self.store = replace(self.store, **changes)
        self.history.append(self.store)

    def issue(self, record: str, **fields: Any) -> bytes:
        self.epoch += 1
        raw: bytes = getattr(SIGNERS, record)(
            self.epoch, issued_at_ms=round(self.clock.wall), **fields
        )
        return raw

    def stored(self) -> State | None:
        """The state in the store; None when there is none, or when a kept restriction is gone."""
        try:
            return (
                state_of(self.store.grant, *self.store.restrictions) if self.store.grant else None
            )
        except RecordError:
            return None

    def term(self) -> int:
        assert self.store.grant is not None
        return state_of(self.store.grant, bare=True).term

    def active(self) -> bool:
        return self.store.grant is not None

    @rule(ms=st.sampled_from([1, 100, 500, 1000, 3000, 7000]))
    def time_passes(self, ms: int) -> None:
        self.clock.advance(ms)
        self.view.lapsed(self.clock.now_ns())

    @precondition(lambda self: not self.active())
    @rule()
    def somebody_activates(self) -> None:
        self.write(grant=self.issue("grant"), restrictions=())

    @precondition(active)
    @rule(
        kind=st.sampled_from(["halt", "reduce", "demote"]),
        symbol=st.sampled_from([None, "BTC"]),
        pushed=st.booleans(),
    )
    def somebody_restricts(self, kind: str, symbol: str | None, pushed: bool) -> None:
        labels = {"symbol": symbol} if symbol and kind != "demote" else {}
        raw = self.issue("restriction", kind=kind, term=self.term(), labels=labels)
        self.write(restrictions=(*self.store.restrictions, raw))
        if pushed:
            self.push(raw)

    @precondition(active)
    @rule(data=st.data())
    def somebody_resumes(self, data: st.DataObject) -> None:
        kept = tuple(r for r in self.store.restrictions if data.draw(st.booleans()))
        keeps = [identity(raw) for raw in kept]
        grant = self.issue("grant", term=self.term(), keeps=keeps)
        self.write(grant=grant, restrictions=kept)

    @rule(blind=st.booleans(), pushed=st.booleans())
    def somebody_revokes(self, blind: bool, pushed: bool) -> None:
        raw = self.issue("revocation", blind=blind)
        self.ends()
        self.write(grant=None, restrictions=(), tombstone=raw, beats={})
        if pushed:
            self.push(raw, suspected=self.view.suspect(raw))

    @precondition(active)
    @rule()
    def somebody_deletes_the_key(self) -> None:
        self.ends()
        self.write(grant=None, restrictions=())

    def ends(self) -> None:
        if self.active():
            self.over.setdefault(self.term(), self.clock.boot)

    @precondition(lambda self: self.store.restrictions)
    @rule()
    def the_store_loses_a_restriction(self) -> None:
        self.write(restrictions=self.store.restrictions[:-1])

    @rule(back=st.integers(1, 6))
    def the_store_fails_over_to_an_older_state(self, back: int) -> None:
        self.store = self.history[-min(back, len(self.history))]
        self.failed_over = True
        self.view.reconnected()
        self.question = self.reply = None

    @precondition(active)
    @rule(name=HEARTBEATS)
    def a_heartbeat_beats(self, name: str) -> None:
        self.beat(name)

    def beat(self, name: str) -> None:
        state, known = self.stored(), self.highest.get(name)
        if state is None or state.term in self.over:
            return  # it cannot tell, or it has latched
        if known is not None and known.term == state.term and known.epoch > state.epoch:
            state = known
        self.highest[name] = state
        self.n += 1
        raw = SIGNERS.beat(self.n, name, state=state, issued_at_ms=round(self.clock.wall))
        self.made[raw] = self.clock.boot
        self.write(beats={**self.store.beats, name: raw})

    @precondition(active)
    @rule(off_ms=st.sampled_from([-31_000, 31_000]))
    def a_sick_heartbeat_beats(self, off_ms: int) -> None:
        """Its clock is wrong, and nothing else: like any heartbeat it has latched for what is over."""
        state = self.stored()
        if state is None or state.term in self.over:
            return
        self.n += 1
        at = round(self.clock.wall) + off_ms
        raw = SIGNERS.beat(self.n, "hb-2", state=state, issued_at_ms=at)
        self.made[raw] = self.clock.boot
        self.write(beats={**self.store.beats, "hb-2": raw})

    # -- the guard -------------------------------------------------------------------------------

    def the_guard_asks(self) -> None:
        self.guard.asked += 1
        nonce = f"{self.guard.asked:032x}"
        ask = self.view.ask(nonce, now_ns=self.clock.now_ns(), wall_ms=self.clock.wall)
        self.question, self.reply = (ask, self.clock.boot), None

    @rule()
    def a_guard_asks(self) -> None:
        self.the_guard_asks()

    @initialize()
    def at_first_all_is_well(self) -> None:
        self.the_fleet_is_brought_up()

    @rule()
    def the_fleet_is_brought_up_again(self) -> None:
        self.the_fleet_is_brought_up()

    def the_fleet_is_brought_up(self) -> None:
        """Without this, chance would hardly ever arm a guard."""
        if self.active() and self.term() in self.over:
            self.write(grant=None, restrictions=())
        if not self.active():
            self.write(grant=self.issue("grant"), restrictions=())
        self.seconds_pass_without_trouble("hb-1", rounds=1)
        if self.stopping:
            self.the_guard_has_drained()
        self.seconds_pass_without_trouble("hb-1", rounds=2)

    @rule(name=HEARTBEATS, rounds=st.integers(1, 4))
    def seconds_pass(self, name: str, rounds: int) -> None:
        self.seconds_pass_without_trouble(name, rounds)

    @rule()
    def the_heartbeats_are_gone_for_a_while(self) -> None:
        for _ in range(12):
            self.the_guard_asks()
            self.the_store_answers()
            self.the_answer_arrives({})
            self.no_order_goes_out_that_should_not()
            self.clock.advance(500)

    def seconds_pass_without_trouble(self, name: str, rounds: int) -> None:
        for _ in range(rounds):
            self.beat(name)
            self.the_guard_asks()
            self.the_store_answers()
            self.clock.advance(1)
            self.the_answer_arrives({})
            self.no_order_goes_out_that_should_not()
            self.clock.advance(500)

    @precondition(lambda self: self.question and self.reply is None)
    @rule()
    def a_store_answers(self) -> None:
        self.the_store_answers()

    def the_store_answers(self) -> None:
        assert self.question is not None
        ask, _ = self.question
        fields: dict[str, Any] = {"beats": self.store.beats if self.active() else {}}
        stone = self.store.tombstone
        same_stone = stone is not None and identity(stone) == ask.known_revoked
        fields |= {"revoked": None if same_stone else stone, "revoked_unchanged": same_stone}
        self.reply = answer(ask.nonce, self.store.grant, *self.store.restrictions, **fields)
        if self.reply.last and self.reply.last == ask.known_last:
            values = {"grant": None, "restrictions": (), "unchanged": True}
            self.reply = Answer(
                **{f: getattr(self.reply, f) for f in Answer.__struct_fields__} | values
            )

    @precondition(lambda self: self.reply)
    @rule(
        change=st.sampled_from([{}, {}, {}, {"nonce": "x"}, {"corrupt": "beat"}, {"pttl_ms": -1}])
    )
    def an_answer_arrives(self, change: dict[str, Any]) -> None:
        self.the_answer_arrives(change)

    def the_answer_arrives(self, change: dict[str, Any]) -> None:
        assert self.question is not None
        assert self.reply is not None
        reply = Answer(**{f: getattr(self.reply, f) for f in Answer.__struct_fields__} | change)
        (_, sent_at), self.question, self.reply = self.question, None, None
        events = self.view.answer(reply, now_ns=self.clock.now_ns())
        SEEN.update(event.kind for event in events)
        self.stopping |= Happened.STOPPED in {event.kind for event in events}
        if "nonce" not in change and self.clock.boot - sent_at > TIMING.timeout_ms:
            return  # late: as if it had never come
        self.told = self.judged(reply, sent_at, refused=bool(change))

    def judged(self, reply: Answer, sent_at: float, *, refused: bool) -> Told | None:
        """What the oracle thinks that the guard may rely on after this answer."""
        if reply.corrupt is None and reply.nonce != "x" and reply.revoked is not None:
            self.revocations.append(SIGNERS.trust.revocation(reply.revoked))
        if refused or not reply.active:
            return None
        if reply.unchanged:
            stored = self.last_full
        else:
            assert reply.grant is not None
            try:
                stored = state_of(reply.grant, *reply.restrictions)
            except RecordError:
                return None
        self.last_full = stored
        for item in stored.restrictions:
            self.held[item.identity] = item
        beats = [SIGNERS.trust.beat(raw) for raw in reply.beats.values() if raw in self.made]
        wall_sent_ms = self.clock.wall - (self.clock.boot - sent_at)
        ours = [
            beat
            for beat in beats  # one that is ahead of its time becomes valid when its time comes
            if beat.record.term == stored.term
            and abs(beat.record.issued_at_ms - wall_sent_ms) <= ISSUED_TOLERANCE_MS
        ]
        if any(beat.record.epoch > stored.epoch for beat in ours):
            return None
        for beat in ours:
            self.beaten[stored.term] = max(self.made[beat.raw], self.beaten.get(stored.term, 0.0))
        return Told(stored, sent_at, self.beaten.get(stored.term, 0.0))

    last_full: State

    @rule()
    def the_connection_is_replaced(self) -> None:
        self.view.reconnected()
        self.question = self.reply = None

    @rule()
    def the_clocks_disagree(self) -> None:
        self.view.clock_anomaly()
        self.question = self.reply = self.told = None

    @precondition(lambda self: self.stopping)
    @rule()
    def a_guard_has_drained(self) -> None:
        self.the_guard_has_drained()

    def the_guard_has_drained(self) -> None:
        self.view.drained()
        self.stopping = False

    # -- pushes: they only close, restrict or do nothing -----------------------------------------

    def push(self, raw: bytes, *, suspected: bool = False) -> None:
        before = [self.guard.decide(**order) for order in ORDERS]
        state, deadline_ns = self.view.state, self.view.verdict.deadline_ns
        events = self.view.push(raw, suspected=suspected)
        SEEN.update(event.kind for event in events)
        for event in events:
            if event.revocation is not None:
                self.stopping |= event.kind is Happened.STOPPED
            if event.restriction is not None:
                self.held[event.restriction.identity] = event.restriction
        with suppress(RecordError):
            self.revocations.append(SIGNERS.trust.revocation(raw))
        after = [self.guard.decide(**order) for order in ORDERS]
        for one, other in zip(before, after, strict=True):
            assert isinstance(one, Permit) or not isinstance(other, Permit)
        assert self.view.verdict.deadline_ns in {0, deadline_ns}
        if state is not None and self.view.state is not None:
            assert MODES.index(self.view.state.mode) >= MODES.index(state.mode)

    @rule(back=st.integers(1, 6))
    def an_old_directive_is_pushed_again(self, back: int) -> None:
        old = self.history[-min(back, len(self.history))]
        for raw in (old.grant, old.tombstone, *old.restrictions):
            if raw is not None:
                self.push(raw)

    @rule()
    def a_stranger_pushes_a_revocation(self) -> None:
        forged = STRANGERS.revocation(self.epoch + 5, by="eve")
        if self.view.suspect(forged):
            self.suspected.append(forged)
        assert not isinstance(self.guard.decide(), Permit)

    @precondition(lambda self: self.suspected)
    @rule()
    def the_suspicion_is_judged(self) -> None:
        self.push(self.suspected.pop(), suspected=True)
        self.told = None if not self.suspected else self.told

    # -- the oracle ------------------------------------------------------------------------------

    @invariant()
    def no_order_goes_out_that_should_not(self) -> None:
        SEEN[f"phase {self.view.phase}"] += 1
        now = self.clock.boot
        for order in ORDERS:
            assert isinstance(self.guard.decide("cancel", **order), Permit)
            given = self.guard.decide("open", **order)
            if not isinstance(given, Permit):
                continue
            SEEN["permits"] += 1
            assert self.view.phase is Phase.ARMED
            assert not self.suspected
            self.is_due(given, now)
            assert not self.is_forbidden(order)

    def is_due(self, given: Permit, now: float) -> None:
        told = self.told
        assert told is not None
        assert given.term == told.state.term
        # S5: neither beyond the lease of the last answer nor beyond that of the newest beat.
        assert now < told.sent_at + LEASE_MS
        assert now < told.beaten_at + BEAT_MS
        # The promise: off within the lease of the stop; within that of a beat if it was lost.
        if given.term in self.over:
            SEEN["permits within the bound of a stop"] += 1
            bound = BEAT_MS if self.failed_over else LEASE_MS
            assert now < self.over[given.term] + bound
        began = told.state.grant.record.activated_at_ms
        assert not any(r.record.covers(given.term, began) for r in self.revocations)

    def is_forbidden(self, order: dict[str, str]) -> bool:
        """Whether any restriction that the guard has verified and no newer grant lifted says no."""
        assert self.told is not None
        return any(
            item.record.mode is not None
            and in_force(item, self.told.state.grant)
            and all(order.get(key, value) == value for key, value in item.record.labels.items())
            for item in self.held.values()
        )

    def teardown(self) -> None:
        """However it went, a healthy store and a new term bring the fleet back."""
        while self.suspected:
            self.push(self.suspected.pop(), suspected=True)
        self.view.drained()
        self.view.reconnected()
        self.clock.advance(40_000)
        grant = self.issue("grant")
        for _ in range(3):
            self.n += 1
            self.guard.attend(grant, beats={"hb-1": self.n}, revoked=self.store.tombstone)
            self.view.drained()
            self.clock.advance(500)
        assert isinstance(self.guard.decide(), Permit), self.view.verdict.reason


def test_no_order_goes_out_after_its_bound_whatever_happens() -> None:
    """Rows 2, 7, 8, 10, 20, 22, 26, 36, 55, 56, 58, 59: in any order and any mixture."""
    SEEN.clear()
    run_state_machine_as_test(
        GuardMachine,
        settings=settings(max_examples=settings.default.max_examples, stateful_step_count=50),
    )
    # A simulation that never armed or never stopped has shown nothing.
    for what in ("permits", "permits within the bound of a stop", "stopped", "restarted"):
        assert SEEN[what] > 0, SEEN
    for what in ("restricted", "security", "repeated", "phase latched", "phase lapsed"):
        assert SEEN[what] > 0, SEEN
