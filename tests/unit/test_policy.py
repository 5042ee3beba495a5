"""Settings that can be kept, or a refusal that names what is broken."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from golive_redis.config.policy import Policy
from golive_redis.core.timing import TIMINGS, Timing
from golive_redis.testing import LIMITS

STANDARD = msgspec.structs.asdict(TIMINGS["standard"])
# What the process tests run on: everything a fifth, and so the same inequalities.
FIFTH = {name: value if name == "rho" else value // 5 for name, value in STANDARD.items()}
POLICY = {"environment": "test", "profiles": {"micro": msgspec.to_builtins(LIMITS)}}


def timing(**changes: Any) -> Timing:
    return msgspec.convert({**STANDARD, **changes}, Timing)


@pytest.mark.parametrize("name", TIMINGS)
def test_the_timings_we_ship_keep_their_own_inequalities(name: str) -> None:
    values = msgspec.structs.asdict(TIMINGS[name])
    assert msgspec.convert(values, Timing) == TIMINGS[name]


def test_the_timing_of_the_tests_a_fifth_of_the_standard_is_valid() -> None:
    assert msgspec.convert(FIFTH, Timing).lease_ms == 500


@pytest.mark.parametrize("name", TIMINGS)
def test_a_guard_accepts_the_ttl_that_we_set_with_a_second_of_slack(name: str) -> None:
    assert TIMINGS[name].max_ttl_ms == TIMINGS[name].ttl_ms + 1000


@pytest.mark.parametrize(
    ("changes", "names", "raised"),
    [
        (
            {"lease_ms": 2111},
            "(1-rho)*lease_ms >= (m+1)*read_every_ms*1.1 + timeout_ms",
            "lease_ms",
        ),
        ({"beat_ms": 5277}, "(1-rho)*beat_ms >= (n+1)*beat_every_ms*1.05", "beat_ms"),
        ({"ttl_ms": 21_999}, "3/4*ttl_ms - beat_every_ms >= beat_ms + failover_ms", "ttl_ms"),
        (
            {"timeout_ms": 500, "lease_ms": 3000, "beat_ms": 6000},
            "timeout_ms < read_every_ms",
            "500",
        ),
        ({"rho": 0.0}, "rho must be", "0.2"),
        ({"rho": -0.1}, "rho must be", "0.2"),
        ({"rho": 0.21}, "rho must be", "0.2"),
        ({"rho": float("nan")}, "rho must be", "0.2"),
        ({"rho": float("inf")}, "rho must be", "0.2"),
    ],
    ids=str,
)
def test_a_broken_inequality_is_refused_by_name_with_what_to_change(
    changes: dict[str, Any], names: str, raised: str
) -> None:
    """Row 48: a timer inequality broken."""
    with pytest.raises(msgspec.ValidationError) as caught:
        timing(**changes)
    assert names in str(caught.value)
    assert raised in str(caught.value)


@pytest.mark.parametrize("changes", [{"lease_ms": 2112}, {"beat_ms": 5278}, {"ttl_ms": 22_000}])
def test_the_inequalities_are_no_stricter_than_written(changes: dict[str, Any]) -> None:
    timing(**changes)


def test_on_a_tight_clock_one_lost_beat_is_enough_slack() -> None:
    tight = {**msgspec.structs.asdict(TIMINGS["tight"])}
    msgspec.convert(tight, Timing)
    with pytest.raises(msgspec.ValidationError, match="n = 2 lost beats"):
        msgspec.convert({**tight, "rho": 0.011}, Timing)


@pytest.mark.parametrize("name", [name for name in STANDARD if name != "rho"])
@pytest.mark.parametrize("value", [0, -1, 3_600_001, 1.5, float("nan"), "1000", True, None])
def test_a_timer_is_a_whole_number_of_ms_from_1_to_an_hour(name: str, value: object) -> None:
    """Row 48: NaN or negative numbers."""
    with pytest.raises(msgspec.ValidationError):
        timing(**{name: value})


def test_nothing_is_on_that_the_file_does_not_turn_on() -> None:
    policy = msgspec.convert(POLICY, Policy)
    assert not policy.activation_enabled
    assert policy.allowed_profiles == [policy.default_profile] == ["micro"]
    assert policy.timers == TIMINGS["standard"]
    assert policy.required_preflight


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"timing": "loose"}, "timing is one of standard, tight"),
        ({"allowed_profiles": ["micro", "large"]}, "allowed_profiles names large"),
        ({"allowed_profiles": []}, "length >= 1"),
        ({"default_profile": "small"}, "default_profile small is not in allowed_profiles"),
        ({"environment": ""}, "regex"),
        ({"namespace": "golive:x"}, "regex"),
        ({"namespace": "{golive"}, "regex"),
        ({"window_minutes": 0}, ">= 1"),
        ({"min_testnet_trades": -1}, ">= 0"),
        ({"activation_enabled": "yes"}, "bool"),
        ({"activation_enabled": 1}, "bool"),
    ],
    ids=str,
)
def test_a_policy_that_cannot_be_kept_is_refused(changes: dict[str, Any], says: str) -> None:
    """Row 48."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({**POLICY, **changes}, Policy)
    assert says in str(caught.value)


def test_a_namespace_may_carry_a_cluster_hash_tag() -> None:
    assert msgspec.convert({**POLICY, "namespace": "{golive}"}, Policy).namespace == "{golive}"
