"""One order, one answer: what each mode, label and reason does to it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import pytest

from golive_redis.core.decision import closed
from golive_redis.core.permit import EXPLAIN, Denial, Intent, Permit, Phase, Reason
from golive_redis.records.directive import Mode
from golive_redis.records.record import MAX_INT
from golive_redis.testing import Harness, Signers

SIGNERS = Signers()


def guard(*restrictions: bytes, labels: Mapping[str, str] | None = None) -> Harness:
    rehearsal = Harness(SIGNERS, labels=labels)
    rehearsal.arm(SIGNERS.grant(), *restrictions)
    return rehearsal


def halt(**labels: str) -> bytes:
    return SIGNERS.restriction(labels=labels)


def answers(rehearsal: Harness, **labels: str) -> list[str]:
    """Reason for each intent, "" for a permit."""
    out = []
    for intent in Intent:
        match rehearsal.decide(intent, **labels):
            case Denial(reason=reason):
                out.append(reason.value)
            case Permit():
                out.append("")
    return out


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(None, ["", "", ""]), ("reduce", ["reduce-only", "", ""]), ("halt", ["halted", "halted", ""])],
)
def test_each_mode_permits_its_intents(kind: str | None, expected: list[str]) -> None:
    restrictions = [] if kind is None else [SIGNERS.restriction(2, kind)]
    assert answers(guard(*restrictions)) == expected


@pytest.mark.parametrize("intent", ["", "OPEN", "open ", "close", "cancel_all"])
def test_an_unknown_intent_is_denied(intent: str) -> None:
    answer = guard().decide(intent)
    assert isinstance(answer, Denial)
    assert answer.reason is Reason.UNKNOWN_INTENT


def test_a_cancel_is_permitted_in_every_phase_and_for_every_reason() -> None:
    rehearsal = guard()
    for phase in Phase:
        for reason in Reason:
            rehearsal.view.verdict = closed(phase, reason)
            assert isinstance(rehearsal.decide("cancel"), Permit)
            denial = rehearsal.decide("open")
            assert isinstance(denial, Denial)
            assert denial.reason is reason


def test_every_reason_explains_itself() -> None:
    assert set(EXPLAIN) == set(Reason)
    assert all(text.startswith("GO-LIVE ") for text in EXPLAIN.values())


def test_a_permit_carries_the_fence_and_the_instant_for_acceptors() -> None:
    rehearsal = guard(SIGNERS.restriction(2, labels={"symbol": "DOGE"}))
    permit = rehearsal.decide(symbol="BTC")
    assert isinstance(permit, Permit)
    assert (permit.fence, permit.term, permit.mode) == (2, 1, Mode.LIVE)
    # The last answer was sent a ms ago; 0.9 of lease_ms is left from there.
    assert permit.until_ms == pytest.approx(rehearsal.clock.wall - 1 + 2250, abs=1)
    assert permit.limits is not None
    cancel = rehearsal.decide("cancel", symbol="BTC")
    assert isinstance(cancel, Permit)
    assert cancel.until_ms == MAX_INT


def test_a_permit_is_void_once_the_deadline_is_over_and_says_lapsed() -> None:
    """Row 31: re-validated right before the send."""
    rehearsal = guard()
    permit = rehearsal.decide()
    assert isinstance(permit, Permit)
    assert permit.valid()
    rehearsal.clock.advance(2250)
    assert not permit.valid()
    assert rehearsal.reason == "lapsed"


def test_a_permit_of_one_term_is_void_in_the_next() -> None:
    rehearsal = guard()
    permit = rehearsal.decide()
    assert isinstance(permit, Permit)
    rehearsal.view.push(SIGNERS.revocation(2))
    assert not permit.valid()
    rehearsal.view.drained()
    rehearsal.arm(SIGNERS.grant(3))
    assert isinstance(rehearsal.decide(), Permit)
    assert not permit.valid()


def test_a_halt_matches_when_all_its_labels_match() -> None:
    rehearsal = guard(halt(venue="x", symbol="BTC"))
    assert answers(rehearsal, venue="x", symbol="BTC")[0] == "halted"
    assert answers(rehearsal, venue="x", symbol="ETH")[0] == ""
    assert answers(rehearsal, venue="y", symbol="BTC")[0] == ""


def test_a_label_that_the_order_does_not_state_is_unknown_and_so_halted() -> None:
    rehearsal = guard(halt(venue="x", symbol="BTC"))
    assert answers(rehearsal)[0] == "halted"
    assert answers(rehearsal, venue="x")[0] == "halted"
    assert answers(rehearsal, venue="y")[0] == ""
    assert answers(rehearsal, symbol="BTC", desk="d")[0] == "halted"


def test_a_misspelt_label_does_not_pass_a_halt() -> None:
    assert answers(guard(halt(symbol="BTC")), symbl="ETH")[0] == "halted"


def test_the_guards_own_labels_count_for_every_order() -> None:
    assert answers(guard(halt(venue="x"), labels={"venue": "x"}), symbol="BTC")[0] == "halted"
    assert answers(guard(halt(venue="y"), labels={"venue": "x"}), symbol="BTC")[0] == ""
    both = guard(halt(venue="x", symbol="BTC"), labels={"venue": "x"})
    assert answers(both, symbol="BTC")[0] == "halted"
    assert answers(both, symbol="ETH")[0] == ""


def test_an_order_cannot_talk_itself_out_of_the_guards_own_label() -> None:
    rehearsal = guard(halt(venue="x"), labels={"venue": "x"})
    assert answers(rehearsal, venue="y")[0] == "halted"


@pytest.mark.parametrize("where", ["order", "guard"])
def test_a_label_given_as_a_number_is_compared_as_text(where: str) -> None:
    seven: dict[str, str] = {"account": 7}  # type: ignore[dict-item]
    rehearsal = guard(halt(account="7"), labels=seven if where == "guard" else None)
    assert answers(rehearsal, **(seven if where == "order" else {}))[0] == "halted"


def test_the_stricter_of_two_matching_restrictions_wins() -> None:
    reduce = SIGNERS.restriction(2, "reduce", labels={"symbol": "BTC"})
    stop = SIGNERS.restriction(3, "halt", labels={"symbol": "BTC"})
    for order in ([reduce, stop], [stop, reduce]):
        assert answers(guard(*order), symbol="BTC") == ["halted", "halted", ""]


def test_only_a_plain_live_verdict_may_skip_the_look_at_the_labels() -> None:
    assert guard().view.verdict.open_until_ns == guard().view.verdict.deadline_ns > 0
    for restriction in (halt(symbol="BTC"), halt(), SIGNERS.restriction(2, "reduce")):
        assert guard(restriction).view.verdict.open_until_ns == 0


def test_a_label_that_is_a_member_of_a_text_enum_meets_the_halt_for_its_value() -> None:
    """Row 55: `str()` of such a member is not its value, and the halt would have been missed."""

    class Symbol(str, Enum):  # noqa: UP042  (StrEnum would hide the difference)
        BTC = "BTCUSDT"

    assert answers(guard(halt(symbol="BTCUSDT")), symbol=Symbol.BTC) == ["halted", "halted", ""]


TYPED = ["BTCUSDT", "btcusdt", " BtcUsdt\t", "BTC*", "btcusd* ", "BTCUSDT*"]


@pytest.mark.parametrize("typed", TYPED)
@pytest.mark.parametrize("stated", ["BTCUSDT", "btcusdt", "BTCUSDT "])
@pytest.mark.parametrize("where", ["order", "guard"])
def test_a_halt_meets_what_is_written_differently_or_begins_so(typed, stated, where) -> None:
    """Row 70."""
    own = {"symbol": stated} if where == "guard" else None
    order = {"symbol": stated} if where == "order" else {}
    rehearsal = guard(halt(symbol=typed), labels=own)
    for _ in range(2):
        assert answers(rehearsal, **order) == ["halted", "halted", ""]


@pytest.mark.parametrize("typed", [*TYPED, "BTC", "BT*"])
def test_a_halt_leaves_what_is_another_value_alone(typed) -> None:
    rehearsal = guard(halt(symbol=typed), labels={"venue": "x"})
    for symbol in ("ETHUSDT", "ethusdt", "B", "XBTCUSDT", "\u0412TCUSDT"):
        for _ in range(2):
            assert answers(rehearsal, symbol=symbol) == ["", "", ""]
    assert answers(guard(halt(symbol=typed), labels={"symbol": "ETHUSDT"})) == ["", "", ""]


@pytest.mark.parametrize("blank", ["", " ", "\t"])
def test_a_blank_label_states_nothing_and_so_is_halted(blank) -> None:
    """Row 70."""
    assert answers(guard(halt(symbol="BTC")), symbol=blank) == ["halted", "halted", ""]
    assert answers(guard(halt(symbol="BTC"), labels={"symbol": blank}))[0] == "halted"
    signed = SIGNERS.restriction(labels={"symbol": " "})  # by other hands than `golive`
    assert answers(guard(signed), symbol="BTC")[0] == "halted"


def test_several_beginnings_and_values_meet_one_order_and_the_strictest_counts() -> None:
    both = [
        SIGNERS.restriction(2, "reduce", labels={"symbol": "BTC*"}),
        SIGNERS.restriction(3, "halt", labels={"symbol": "btcusd*", "venue": "X"}),
    ]
    for order in (both, both[::-1]):
        rehearsal = guard(*order)
        assert answers(rehearsal, symbol="BTCUSDT", venue="x")[0] == "halted"
        assert answers(rehearsal, symbol="BTCUSDT", venue="y")[0] == "reduce-only"
        assert answers(rehearsal, symbol="BTC", venue="x")[0] == "reduce-only"
        assert answers(rehearsal, symbol="ETH", venue="x")[0] == ""


def test_more_values_than_an_index_remembers_are_judged_all_the_same() -> None:
    rehearsal = guard(halt(symbol="S-7*"))
    for n in range(3_000):
        denied = str(n).startswith("7")
        assert isinstance(rehearsal.decide(symbol=f"s-{n}"), Denial) is denied
    assert isinstance(rehearsal.decide(symbol="x" * 10_000), Permit)
