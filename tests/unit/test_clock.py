"""The clocks of a host are compared, and only what is wrong raises an alarm."""

from __future__ import annotations

import time

import pytest

from golive_redis import clock
from golive_redis.clock import ClockWatch
from golive_redis.testing import FakeClock


@pytest.fixture
def host() -> FakeClock:
    return FakeClock()


@pytest.fixture
def watch(host: FakeClock) -> ClockWatch:
    watch = ClockWatch(0.1, host.sample)
    assert watch.anomaly() is None  # the first sample has nothing to be compared with
    return watch


def test_hours_of_ordinary_time_raise_no_alarm(host: FakeClock, watch: ClockWatch) -> None:
    for _ in range(20_000):
        host.advance(500)
        assert watch.anomaly() is None


@pytest.mark.parametrize("asleep_ms", [100.0, 1000.0, 60_000.0])
def test_a_suspend_is_noticed(host: FakeClock, watch: ClockWatch, asleep_ms: float) -> None:
    """Row 29: the steady clock goes on while the hardware clock stands still."""
    host.advance(500)
    host.suspend(asleep_ms)
    said = watch.anomaly()
    assert said is not None
    assert "steady clock" in said


@pytest.mark.parametrize("step_ms", [-3_600_000.0, -1000.0, -250.0, 250.0, 1000.0, 3_600_000.0])
def test_a_step_of_the_wall_clock_is_noticed_both_ways(
    host: FakeClock, watch: ClockWatch, step_ms: float
) -> None:
    """Row 28: the wall clock steps."""
    host.advance(500)
    host.wall += step_ms
    assert watch.anomaly() == f"wall clock stepped by {step_ms:.0f} ms"


@pytest.mark.parametrize("step_ms", [-150.0, 150.0])
def test_a_slew_within_tolerance_is_not(host: FakeClock, watch: ClockWatch, step_ms: float) -> None:
    host.advance(500)
    host.wall += step_ms
    assert watch.anomaly() is None


@pytest.mark.parametrize("rate", [0.97, 0.98, 1.02, 1.03])
def test_a_clock_that_runs_at_another_rate_is_noticed(
    host: FakeClock, watch: ClockWatch, rate: float
) -> None:
    """S7: rho stays a promise only while the rate is looked at."""
    host.advance(500)
    host.boot += 500 * (rate - 1)
    host.wall += 500 * (rate - 1)
    assert watch.anomaly() is not None


def test_a_steady_clock_that_goes_back_is_noticed(host: FakeClock, watch: ClockWatch) -> None:
    host.boot -= 1
    assert watch.anomaly() is not None


def test_an_alarm_is_raised_once_per_event(host: FakeClock, watch: ClockWatch) -> None:
    host.wall += 1000
    assert watch.anomaly() is not None
    host.advance(500)
    assert watch.anomaly() is None


def test_a_slow_sample_says_nothing_and_hides_nothing(host: FakeClock, watch: ClockWatch) -> None:
    """A thread that was preempted between two readings sees steps that never were."""
    host.spread = 5.1
    host.advance(500)
    host.wall += 4000
    assert watch.anomaly() is None
    host.wall -= 4000
    host.spread = 0.01
    host.advance(500)
    assert watch.anomaly() is None
    host.spread = 5.1
    host.suspend(60_000)
    assert watch.anomaly() is None
    host.spread = 0.01
    assert watch.anomaly() is not None  # the next good sample is compared with the last good one


def test_thousands_of_real_samples_raise_no_false_alarm() -> None:
    watch = ClockWatch(0.01)  # `tight`, the stricter of the two
    alarms = [said for _ in range(20_000) if (said := watch.anomaly()) is not None]
    for _ in range(50):
        time.sleep(0.002)
        alarms += [said for said in (watch.anomaly(),) if said is not None]
    assert alarms == []


def test_the_steady_clock_is_one_clock_in_two_units() -> None:
    first, second, third = clock.now_ms(), clock.now_ns(), clock.now_ms()
    assert first <= second / 1e6 <= third
    assert abs(clock.wall_ms() - time.time() * 1000) < 1000
