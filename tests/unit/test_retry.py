"""Trying again has an end, and only what says so is tried again."""

import pytest

from golive_redis.delivery import retry
from golive_redis.delivery.retry import retried


@pytest.fixture(autouse=True)
def slept(monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", waits.append)
    return waits


def failing(times: int, kind: type[Exception] = ConnectionError):
    calls: list[int] = []

    def step() -> int:
        calls.append(len(calls) + 1)
        if len(calls) <= times:
            raise kind(f"no {len(calls)}")
        return len(calls)

    return step, calls


def test_what_fails_at_first_is_tried_until_it_succeeds(slept):
    step, _ = failing(3)
    assert retried(step, again=ConnectionError, tries=5) == 4
    assert len(slept) == 3


def test_after_the_last_try_its_own_error_is_raised(slept):
    step, calls = failing(99)
    with pytest.raises(ConnectionError, match="no 5"):
        retried(step, again=ConnectionError, tries=5)
    assert len(calls) == 5
    assert len(slept) == 4
    assert max(slept) <= retry.MOST_WAIT_S


def test_another_error_is_not_tried_again():
    step, calls = failing(99, ValueError)
    with pytest.raises(ValueError, match="no 1"):
        retried(step, again=ConnectionError, tries=5)
    assert calls == [1]


def test_two_who_collide_do_not_wait_for_the_same_time(slept):
    for _ in range(2):
        step, _ = failing(99)
        with pytest.raises(ConnectionError):
            retried(step, again=ConnectionError, tries=9)
    assert slept[:8] != slept[8:]
