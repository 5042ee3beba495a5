"""A stop card ends what it covers and nothing else: by its epoch, by its time, and by who signed it."""

from __future__ import annotations

import itertools
import json

import pytest
from msgspec.structs import replace

from golive_redis.core.adoption import Before
from golive_redis.core.answer import MAX_CARDS, Latch
from golive_redis.core.events import Change, Happened
from golive_redis.core.permit import Phase
from golive_redis.core.pulse import Pulse
from golive_redis.core.timing import TIMINGS
from golive_redis.errors import RecordError
from golive_redis.records.directive import BLIND_TOLERANCE_MS, Revocation
from golive_redis.records.envelope import decode
from golive_redis.records.record import parse_record
from golive_redis.testing import START_MS, Harness, Signers, answer

HOUR_MS = 3_600_000
UNTIL_MS = START_MS + HOUR_MS
SIGNERS = Signers()
GRANT = SIGNERS.grant(5)
LATE_GRANT = SIGNERS.grant(5, issued_at_ms=UNTIL_MS, not_after_ms=UNTIL_MS + HOUR_MS)
ISSUED_MS = START_MS - HOUR_MS


def card(epoch: int = 10, *, until_ms: int = UNTIL_MS, signers: Signers = SIGNERS) -> bytes:
    return signers.revocation(epoch, until_ms=until_ms, issued_at_ms=ISSUED_MS)


def armed() -> Harness:
    guard = Harness(SIGNERS)
    guard.arm(GRANT)
    return guard


# -- the record ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("term", "activated_at_ms", "expected"),
    [
        (10, UNTIL_MS - 1, True),
        (1, 0, True),
        (10, UNTIL_MS, False),
        (1, UNTIL_MS, False),
        (11, UNTIL_MS - 1, False),
    ],
)
def test_a_card_covers_terms_up_to_its_epoch_that_began_before_its_end(
    term: int, activated_at_ms: int, expected: bool
) -> None:
    assert SIGNERS.trust.revocation(card()).record.covers(term, activated_at_ms) is expected


def test_an_ordinary_stop_is_written_as_it_always_was() -> None:
    raw = SIGNERS.revocation(6)
    assert b"until_ms" not in decode(raw).payload
    record = SIGNERS.trust.revocation(raw).record
    assert not record.is_card
    assert record.covers(6, 2**53 - 1)
    assert record.ends_all_up_to(2**53 - 1)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"blind": True, "until_ms": UNTIL_MS}, "never blind"),
        ({"until_ms": START_MS}, "ends after it was issued"),
        ({"until_ms": None}, "got `null`"),
    ],
)
def test_a_card_that_says_two_things_at_once_is_refused(
    fields: dict[str, object], why: str
) -> None:
    payload = json.loads(decode(SIGNERS.revocation(6)).payload) | fields
    with pytest.raises(RecordError, match=why):
        parse_record(json.dumps(payload).encode(), Revocation, 8_192)


def test_its_number_decides_alone_only_while_its_end_is_further_than_clocks_differ() -> None:
    record = SIGNERS.trust.revocation(card()).record
    assert record.ends_all_up_to(UNTIL_MS - BLIND_TOLERANCE_MS - 1)
    assert not record.ends_all_up_to(UNTIL_MS - BLIND_TOLERANCE_MS)


# -- the latch -----------------------------------------------------------------------------------


def test_latches_are_joined_without_covering_less_and_only_many_cards_cover_more() -> None:
    both = Latch(cards=((10, 500),)).joined(Latch(cards=((20, 300),)))
    for term, at in itertools.product(range(1, 25), range(1, 700, 50)):
        assert both.covers(term, at) == ((term <= 10 and at < 500) or (term <= 20 and at < 300))
    assert both.joined(Latch(epoch=20)) == Latch(epoch=20)
    many = Latch()
    for n in range(1, MAX_CARDS + 5):
        many = many.joined(Latch(cards=((100 - n, n * 10),)))
    assert len(many.cards) == MAX_CARDS
    for n in range(1, MAX_CARDS + 5):
        assert many.covers(100 - n, n * 10 - 1)
        assert not many.covers(100, n * 10 - 1)


# -- a guard -------------------------------------------------------------------------------------


def test_a_card_closes_before_its_signature_is_checked_and_latches() -> None:
    guard = armed()
    assert guard.view.suspect(card())
    assert [event.kind for event in guard.view.push(card(), suspected=True)] == [Happened.STOPPED]
    assert guard.view.phase is Phase.LATCHED
    assert guard.view.latch == Latch(epoch=5, term=5, cards=((10, UNTIL_MS),))


def test_terms_that_a_card_covers_never_arm_later_and_others_do() -> None:
    guard = armed()
    guard.view.push(card())
    guard.view.drained()
    for epoch in (6, 10):  # begun since, where the store did not have the tombstone
        for n in range(4):
            guard.clock.advance(500)
            guard.attend(SIGNERS.grant(epoch), beats={"hb-1": 100 + n})
            assert guard.reason == "revoked"
    for n in range(4):
        guard.clock.advance(500)
        guard.attend(SIGNERS.grant(11), beats={"hb-1": 200 + n})
    assert guard.reason == ""


def test_a_card_that_was_played_late_spares_a_term_that_began_after_its_end() -> None:
    guard = armed()
    early = card(until_ms=START_MS)
    assert not guard.view.suspect(early)
    assert guard.view.push(early) == []
    assert guard.reason == ""
    guard.attend(GRANT, beats={"hb-1": 100}, revoked=early)
    guard.clock.advance(500)
    guard.attend(GRANT, beats={"hb-1": 101}, revoked=early)
    assert guard.reason == ""
    assert not guard.view.latch.covers(5, START_MS)


def test_a_used_up_card_spares_a_term_above_its_epoch() -> None:
    guard = armed()
    assert not guard.view.suspect(card(4))
    assert guard.view.push(card(4)) == []
    assert guard.reason == ""


def test_a_void_card_never_latches() -> None:
    other = Signers({"alice": ["approver"], "hb-1": ["heartbeat"], "card-risk": ["revoker"]})
    void = other.revocation(10, by="card-risk", until_ms=UNTIL_MS, issued_at_ms=ISSUED_MS)
    assert other.trust.revocation(void)
    guard = armed()
    for _ in range(3):
        suspected = guard.view.suspect(void)
        events = guard.view.push(void, suspected=suspected)
        assert all(event.kind is Happened.SECURITY for event in events)
    assert guard.view.latch == Latch()
    guard.clock.advance(500)
    guard.attend(GRANT, beats={"hb-1": 101})
    assert guard.reason == ""


def test_a_card_of_another_fleet_or_with_a_flipped_byte_never_latches() -> None:
    foreign = Signers(fleet="f" * 32)
    guard = armed()
    raw = card()
    at = raw.index(b'"sig":"') + 12
    flipped = raw[:at] + (b"A" if raw[at : at + 1] != b"A" else b"B") + raw[at + 1 :]
    for bad in (card(signers=foreign), flipped):
        guard.view.push(bad, suspected=guard.view.suspect(bad))
        assert guard.view.latch == Latch()


# -- a heartbeat ---------------------------------------------------------------------------------


class Heart:
    """A pulse that beats for term 5."""

    def __init__(self) -> None:
        self.now, self.wall = 1_000.0, float(START_MS)
        state = SIGNERS.state(GRANT)
        self.pulse = Pulse(
            SIGNERS.trust, TIMINGS["standard"], "hb-1", Latch(), 5, state, started_ms=self.wall
        )
        self.reads()

    def reads(self, **fields: object) -> list[Change]:
        self.now, self.wall = self.now + 1_000, self.wall + 1_000
        given = answer("n", GRANT, **fields)
        out = self.pulse.answer(given, now=self.now, wall_ms=self.wall)
        return [item.change for item in out]

    def hears(self, raw: bytes) -> list[Change]:
        return [item.change for item in self.pulse.push(raw, wall_ms=self.wall)]


def test_a_heartbeat_ends_what_a_card_covers_and_puts_a_lost_one_back() -> None:
    heart = Heart()
    assert heart.hears(card()) == [Change.LATCHED]
    assert heart.pulse.next_beat(issued_at_ms=round(heart.wall)) is None
    heart.reads()
    assert Change.LOST_REVOCATION in heart.reads()


def test_a_heartbeat_neither_keeps_nor_puts_back_a_card_that_spares_its_term() -> None:
    heart = Heart()
    early = card(until_ms=START_MS)
    assert heart.hears(early) == [Change.SPARED]
    assert heart.pulse.revocation is None
    for _ in range(3):
        assert heart.reads() == []
    assert heart.pulse.next_beat(issued_at_ms=round(heart.wall)) is not None


def test_a_card_that_was_played_late_in_full_is_the_last_stop_of_a_heartbeat() -> None:
    """Its key is gone, and the tombstone stands: the cool-down runs, and risk has to agree."""
    heart = Heart()
    early = card(until_ms=START_MS)
    assert heart.hears(early) == [Change.SPARED]
    heart.now, heart.wall = heart.now + 1_000, heart.wall + 1_000
    heart.pulse.answer(answer("n", None, revoked=early), now=heart.now, wall_ms=heart.wall)
    assert heart.pulse.revocation is not None
    assert heart.pulse.stopped_ms == heart.wall


def test_of_a_term_that_it_knows_from_its_disk_alone_a_heartbeat_takes_the_card_at_its_word() -> (
    None
):
    """Fails closed: when that term was activated is not read yet."""
    pulse = Pulse(SIGNERS.trust, TIMINGS["standard"], "hb-1", Latch(), 5, None, started_ms=START_MS)
    told = pulse.push(card(until_ms=START_MS), wall_ms=START_MS)
    assert [item.change for item in told] == [Change.LATCHED]
    assert pulse.latch.covers(5, START_MS)


def test_the_cool_down_begins_when_a_card_is_heard_and_not_when_it_was_signed() -> None:
    item = SIGNERS.trust.revocation(card())
    assert Before(item, stopped_ms=START_MS).stopped_at() == START_MS
    ordinary = replace(item, record=SIGNERS.trust.revocation(SIGNERS.revocation(6)).record)
    assert Before(ordinary, stopped_ms=START_MS + 5).stopped_at() == START_MS
