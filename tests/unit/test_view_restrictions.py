"""Restrictions apply at once, from push or answer, and only a newer grant loosens."""

from __future__ import annotations

import msgspec
import pytest

from golive_redis.core.events import Event, Happened
from golive_redis.core.permit import Phase
from golive_redis.records.directive import GrantKind, Mode, Profile
from golive_redis.testing import LIMITS, Harness, Signers, identity

SIGNERS = Signers()
GRANT = SIGNERS.grant(1, profile=Profile.LARGE)
HALT = SIGNERS.restriction(2)
REDUCE = SIGNERS.restriction(2, "reduce")


@pytest.fixture
def armed() -> Harness:
    guard = Harness(SIGNERS)
    guard.arm(GRANT)
    return guard


def kinds(events: list[Event]) -> list[Happened]:
    return [event.kind for event in events]


@pytest.mark.parametrize(("raw", "reason"), [(HALT, "halted"), (REDUCE, "reduce-only")])
def test_a_pushed_restriction_applies_at_once(armed: Harness, raw: bytes, reason: str) -> None:
    before = armed.view.verdict.deadline_ns
    events = armed.view.push(raw)
    assert kinds(events) == [Happened.RESTRICTED]
    assert armed.reason == reason
    assert armed.view.verdict.deadline_ns == before  # a push never extends


def test_a_restriction_in_an_answer_applies_and_is_told_once(armed: Harness) -> None:
    armed.clock.advance(500)
    assert kinds(armed.attend(GRANT, HALT, beats={"hb-1": 3})) == [Happened.RESTRICTED]
    assert armed.reason == "halted"
    armed.clock.advance(500)
    assert armed.attend(GRANT, HALT, beats={"hb-1": 4}) == []
    assert armed.view.push(HALT) == []


def test_a_pushed_restriction_outlives_an_answer_that_does_not_show_it(armed: Harness) -> None:
    """Row 56 (the rule's part): acknowledged, then lost in a failover."""
    armed.view.push(HALT)
    for n in range(3, 10):
        armed.clock.advance(500)
        armed.attend(GRANT, beats={"hb-1": n})
        assert armed.reason == "halted"


def test_only_a_newer_grant_that_lets_it_go_lifts_a_restriction(armed: Harness) -> None:
    armed.view.push(HALT)
    keeping = SIGNERS.grant(3, term=1, keeps=[identity(HALT)])
    armed.clock.advance(500)
    armed.attend(keeping, HALT, beats={"hb-1": 3})
    assert armed.reason == "halted"
    armed.clock.advance(500)
    armed.attend(SIGNERS.grant(4, term=1), beats={"hb-1": 4})
    assert armed.reason == ""


def test_a_newer_grant_of_somebody_who_did_not_know_of_a_halt_does_not_lift_it(
    armed: Harness,
) -> None:
    """Row 56: a failover lost the halt, and then something else was resumed."""
    armed.view.push(HALT)
    armed.clock.advance(500)
    other = [identity(SIGNERS.restriction(2, labels={"symbol": "ETH"}))]
    armed.attend(SIGNERS.grant(3, term=1, drops=other, drops_up_to=0), beats={"hb-1": 3})
    assert armed.reason == "halted"
    armed.clock.advance(500)
    known = SIGNERS.grant(4, term=1, drops=[*other, identity(HALT)], drops_up_to=0)
    armed.attend(known, beats={"hb-1": 4})
    assert armed.reason == ""


def test_that_the_key_is_absent_forgets_no_restriction_of_the_term(armed: Harness) -> None:
    """Rows 6 and 56: restarted empty, and then old data without the halt comes back."""
    armed.view.push(HALT)
    armed.clock.advance(500)
    armed.attend(None)
    assert armed.reason == "not-activated"
    assert armed.view.state is None
    for n in (3, 4):
        armed.clock.advance(500)
        assert armed.attend(GRANT, beats={"hb-1": n}) == []  # told once, and still in force
    assert armed.reason == "halted"


def test_a_halt_that_is_pushed_while_the_key_is_absent_holds_when_it_is_back(
    armed: Harness,
) -> None:
    armed.clock.advance(500)
    armed.attend(None)
    armed.view.push(HALT)
    for n in (3, 4):
        armed.clock.advance(500)
        armed.attend(GRANT, beats={"hb-1": n})
    assert armed.reason == "halted"


def test_a_grant_whose_kept_halt_was_dropped_makes_no_state(armed: Harness) -> None:
    """Row 55: dropping somebody's halt."""
    keeping = SIGNERS.grant(3, term=1, keeps=[identity(HALT)])
    armed.clock.advance(500)
    events = armed.attend(keeping, beats={"hb-1": SIGNERS.beat(3)})
    assert kinds(events) == [Happened.SECURITY]
    assert (armed.view.phase, armed.reason) == (Phase.COLD, "record-refused")


def test_a_pushed_grant_has_no_effect(armed: Harness) -> None:
    """S10: permission never comes by push."""
    armed.view.push(HALT)
    before = armed.view.verdict
    assert armed.view.push(SIGNERS.grant(3, term=1)) == []
    assert armed.view.verdict is before


@pytest.mark.parametrize(
    "raw",
    [
        SIGNERS.restriction(2, by="hb-1"),
        Signers(environment="production").restriction(2),
        Signers(namespace="other").restriction(2),
        HALT[:-1],
        b"",
    ],
    ids=["heartbeat", "environment", "namespace", "truncated", "empty"],
)
def test_a_refused_push_is_an_alarm_and_changes_nothing(armed: Harness, raw: bytes) -> None:
    """Row 38, 54: no partial effect."""
    before = armed.view.verdict
    assert kinds(armed.view.push(raw)) == [Happened.SECURITY]
    assert armed.view.verdict is before


@pytest.mark.parametrize(
    "raw",
    [
        SIGNERS.restriction(9, term=2),
        SIGNERS.restriction(9, "demote", profile=Profile.LARGE),
        SIGNERS.restriction(9, labels={"symbol": "ETH"}),
    ],
    ids=["another term", "bigger profile", "other labels"],
)
def test_no_restriction_widens_what_is_in_force(raw: bytes) -> None:
    """Row 55: a revoker key signs a bigger profile; it has no effect."""
    guard = Harness(SIGNERS)
    cap = SIGNERS.restriction(3, "demote", profile=Profile.SMALL)
    guard.arm(GRANT, REDUCE, cap)
    guard.view.push(raw)
    assert guard.view.state is not None
    assert guard.view.state.mode is Mode.REDUCE_ONLY
    assert guard.view.state.profile is Profile.SMALL
    assert guard.reason in {"reduce-only", "halted"}


def test_a_pushed_demotion_lowers_profile_and_limits_at_once(armed: Harness) -> None:
    lower = msgspec.structs.replace(LIMITS, max_order_notional="1")
    armed.view.push(SIGNERS.restriction(2, "demote", limits=lower))
    assert (armed.view.verdict.profile, armed.view.verdict.limits) == (Profile.MICRO, lower)
    promoted = SIGNERS.grant(3, term=1, kind=GrantKind.PROMOTE, profile=Profile.SMALL)
    armed.clock.advance(500)
    armed.attend(promoted, beats={"hb-1": 3})
    assert (armed.view.verdict.profile, armed.view.verdict.limits) == (Profile.SMALL, LIMITS)


def test_a_push_before_any_state_is_left_to_the_answer() -> None:
    guard = Harness(SIGNERS)
    assert guard.view.push(HALT) == []
    assert guard.reason == "not-activated"


def test_a_restriction_pushed_to_a_cold_guard_holds_when_it_arms() -> None:
    guard = Harness(SIGNERS)
    guard.attend(GRANT, beats={"hb-1": 1})
    assert kinds(guard.view.push(HALT)) == [Happened.RESTRICTED]
    assert guard.reason == "not-armed"
    guard.clock.advance(500)
    guard.attend(GRANT, beats={"hb-1": 2})
    assert (guard.view.phase, guard.reason) == (Phase.ARMED, "halted")


def test_a_push_never_opens_a_lapsed_guard(armed: Harness) -> None:
    armed.clock.advance(6000)
    armed.view.lapsed(armed.clock.now_ns())
    armed.view.push(SIGNERS.restriction(2, labels={"symbol": "ETH"}))
    assert armed.reason == "lapsed"


def test_a_new_term_begins_without_the_old_ones_restrictions(armed: Harness) -> None:
    armed.view.push(HALT)
    armed.view.push(SIGNERS.revocation(3))
    armed.view.drained()
    armed.arm(SIGNERS.grant(4))
    assert armed.reason == ""


def test_presence_tells_the_highest_directive_verified(armed: Harness) -> None:
    assert armed.view.newest == GRANT
    armed.view.push(HALT)
    assert armed.view.newest == HALT
    armed.view.push(SIGNERS.restriction(2, by="hb-1"))
    assert armed.view.newest == HALT
    revocation = SIGNERS.revocation(5)
    armed.view.push(revocation)
    assert armed.view.newest == revocation
