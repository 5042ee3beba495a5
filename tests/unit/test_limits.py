"""Limits of a profile: what fits, and what is left of them when somebody demotes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from golive_redis.core.permit import Permit
from golive_redis.records.directive import Mode, Profile
from golive_redis.records.limits import Limits
from golive_redis.testing import LIMITS, Signers

SIGNERS = Signers()
LARGE = msgspec.structs.replace(
    LIMITS,
    max_order_notional="25000",
    max_position_notional="100000",
    max_daily_loss="2500",
    max_orders_per_minute=6000,
)


class Never:
    def __init__(self) -> None:
        self.floats: list[float] = []

    def still(self, _: Permit) -> bool:
        raise AssertionError

    def saw_float(self, value: float) -> None:
        self.floats.append(value)


def permit(intent: str = "open", limits: Limits | None = LIMITS) -> Permit:
    return Permit(1, 1, Mode.LIVE, Profile.MICRO, limits, 1, intent, {}, Never())


@pytest.mark.parametrize(
    "notional", ["25", 25, Decimal(25), "0", 0, "-0", "24.999999999999", "1e1"]
)
def test_an_order_up_to_the_limit_fits(notional: Any) -> None:
    assert permit().fits(notional=notional)


@pytest.mark.parametrize(
    "notional",
    [
        "25.000000000000000000000000000000000000001",
        Decimal("25.01"),
        26,
        25.0,
        0.0,
        float("nan"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
        -1,
        "-0.01",
        "",
        "twenty",
        "25 USD",
        "nan",
        True,
        None,
        b"1",
        [1],
    ],
)
def test_nothing_else_fits_and_nothing_raises(notional: Any) -> None:
    """A float fits nothing, however small: it was rounded before anybody could compare it."""
    assert not permit().fits(notional=notional)


def test_a_number_of_any_length_is_judged() -> None:
    assert not permit().fits(notional=10**6000)


def test_whoever_gave_a_permit_is_told_of_floats_that_it_was_asked_about() -> None:
    asked = permit()
    assert not asked.fits(notional=10.0)  # type: ignore[arg-type]
    assert not asked.fits(notional=10, position_notional=20.0)  # type: ignore[arg-type]
    assert asked.fits(notional=10, position_notional=20)
    assert isinstance(asked.source, Never)
    assert asked.source.floats == [10.0, 20.0]


def test_an_order_fits_only_into_the_position_that_is_allowed() -> None:
    assert permit().fits(notional="1", position_notional="100")
    assert not permit().fits(notional="1", position_notional="100.01")
    assert not permit().fits(notional="26", position_notional="26")
    assert not permit().fits(notional="1", position_notional="-100")


def test_an_order_that_reduces_is_not_held_up_by_the_position_that_it_reduces() -> None:
    assert permit("reduce").fits(notional="25", position_notional="5000")
    assert not permit("reduce").fits(notional="26", position_notional="5000")


def test_a_cancel_always_fits_and_nothing_else_without_limits() -> None:
    assert permit("cancel", None).fits(notional="1000000")
    assert not permit("open", None).fits(notional="0")


def test_a_demotion_lowers_the_limits_to_those_of_its_profile() -> None:
    state = SIGNERS.state(
        SIGNERS.grant(profile=Profile.LARGE, limits=LARGE), SIGNERS.restriction(2, "demote")
    )
    assert (state.profile, state.limits) == (Profile.MICRO, LIMITS)


def test_a_bigger_profile_in_a_demotion_raises_no_limit() -> None:
    """Row 55: a revoker key signs a bigger profile, or bigger limits under a small one's name."""
    for profile in (Profile.LARGE, Profile.MICRO):
        demotion = SIGNERS.restriction(2, "demote", profile=profile, limits=LARGE)
        assert SIGNERS.state(SIGNERS.grant(), demotion).limits == LIMITS


def test_of_each_limit_the_smaller_counts() -> None:
    mixed = msgspec.structs.replace(
        LARGE, max_daily_loss="49.5", max_order_notional="25.0", max_orders_per_minute=5
    )
    met = LIMITS.met(mixed)
    assert met == msgspec.structs.replace(LIMITS, max_daily_loss="49.5", max_orders_per_minute=5)


def test_amounts_in_another_currency_leave_nothing_that_fits() -> None:
    """They cannot be compared, and a demotion that had no effect would be worse."""
    met = LARGE.met(msgspec.structs.replace(LIMITS, currency="EUR"))
    assert met.currency == "USD"
    assert {met.max_order_notional, met.max_position_notional, met.max_daily_loss} == {"0"}
    assert met.max_orders_per_minute == LIMITS.max_orders_per_minute
    assert not permit(limits=met).fits(notional="0.01")


def test_own_limits_are_lowered_where_both_are_numbers() -> None:
    ours = msgspec.structs.replace(
        LIMITS, extra={"max_leverage": "10", "venues": "a b", "max_open": "5"}
    )
    theirs = msgspec.structs.replace(
        LIMITS, extra={"max_leverage": "9.5", "venues": "a b c", "max_open": "50", "new": "1"}
    )
    assert ours.met(theirs).extra == {
        "max_leverage": "9.5",
        "venues": "a b",
        "max_open": "5",
        "new": "1",
    }
