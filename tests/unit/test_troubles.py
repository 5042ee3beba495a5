"""What a guard's log says of a Redis that does not answer: where it is and why, without a flood."""

from __future__ import annotations

import logging

import pytest

from golive_redis import clock
from golive_redis.errors import StoreUnavailableError
from golive_redis.guard.troubles import Troubles
from golive_redis.logs import ASIDE

ERROR = StoreUnavailableError("cannot reach Redis: Connection refused")
ADDRESS = "redis://golive:***@10.0.0.7:6379/0"


@pytest.fixture
def at_s(monkeypatch):
    """Sets the steady clock."""
    return lambda seconds: monkeypatch.setattr(clock, "now_ms", lambda: seconds * 1000.0)


def test_it_is_said_when_it_begins_once_a_minute_and_when_it_is_over(at_s, caplog):
    """Row 75."""
    caplog.set_level(logging.INFO, "golive_redis.guard")
    troubles = Troubles(ADDRESS)
    for half_seconds in range(2 * 150):
        at_s(1000 + half_seconds / 2)
        troubles.unreachable(ERROR)
    at_s(1150)
    troubles.reached()
    troubles.reached()
    assert ASIDE.flush(60)  # the lines are written on a thread of their own
    place = f"Redis at {ADDRESS}"
    assert caplog.messages == [
        f"no order is permitted: {place}: {ERROR.message}",
        f"no order is permitted, for 60 s now: {place}: {ERROR.message}",
        f"no order is permitted, for 2 min now: {place}: {ERROR.message}",
        f"{place} answers again, after 2 min",
    ]


def test_a_redis_that_was_never_away_is_no_news(caplog):
    troubles = Troubles(ADDRESS)
    troubles.reached()
    assert ASIDE.flush(60)
    assert caplog.messages == []
