"""Windows agree with somebody who looks at the clock on the wall every minute."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from golive_redis.checks.windows import WindowSettings, next_open, open_until

MINUTE = timedelta(minutes=1)
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
ZONES = ["America/New_York", "Europe/Berlin", "Australia/Sydney", "Australia/Lord_Howe", "UTC"]
# A week around each change of a clock in those zones, and one without any.
CHANGES = [
    datetime(2026, month, day, tzinfo=UTC)
    for month, day in [(3, 8), (3, 29), (4, 5), (7, 1), (10, 4), (10, 25), (11, 1)]
]
TIMES = st.one_of(
    st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30, 59])),
    st.builds(time, st.integers(0, 3), st.integers(0, 59)),  # when clocks change
)
WINDOWS = st.fixed_dictionaries(
    {
        "time_zone": st.sampled_from(ZONES),
        "weekdays": st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True),
        "from": TIMES.map("{:%H:%M}".format),
        "to": TIMES.map("{:%H:%M}".format),
    }
)


@cache
def wall_clock(place: str, begin: datetime, count: int) -> list[datetime]:
    """What a clock there shows, minute by minute."""
    there = ZoneInfo(place)
    return [(begin + n * MINUTE).astimezone(there).replace(tzinfo=None) for n in range(count)]


def open_minutes(settings: dict[str, Any], first: datetime, count: int) -> list[bool]:
    """For each minute, whether it is open: a day opens when the clock has reached `from` on it, and
    closes when it has reached `to`, and what was reached once stays reached."""
    opens, closes = time.fromisoformat(settings["from"]), time.fromisoformat(settings["to"])
    walls = wall_clock(settings["time_zone"], first - timedelta(days=4), count + 4 * 1440)
    out = [False] * len(walls)
    for number in range(-1, count // 1440 + 6):
        day = walls[0].date() + timedelta(days=number)
        if DAYS[day.weekday()] not in settings["weekdays"]:
            continue
        end = datetime.combine(day + timedelta(days=int(closes <= opens)), closes)
        begun = ended = False
        start = datetime.combine(day, opens)
        for index in range(max(0, (number - 2) * 1440), len(walls)):
            begun = begun or walls[index] >= start
            ended = ended or walls[index] >= end
            if ended:
                break
            out[index] = out[index] or begun
    return out[4 * 1440 :]


@given(
    st.dictionaries(st.sampled_from(["a", "b"]), WINDOWS, min_size=1, max_size=2),
    st.sampled_from(CHANGES),
    st.lists(st.integers(-2 * 1440, 2 * 1440), min_size=1, max_size=8),
)
def test_open_until_and_next_open_agree_with_a_look_at_the_clock(
    settings: dict[str, dict[str, Any]], change: datetime, offsets: list[int]
) -> None:
    windows = {name: msgspec.convert(item, WindowSettings) for name, item in settings.items()}
    first, count = change - 3 * 1440 * MINUTE, 10 * 1440
    each = {name: open_minutes(item, first, count) for name, item in settings.items()}
    either = [any(column) for column in zip(*each.values(), strict=True)]
    for offset in offsets:
        here = 3 * 1440 + offset

        def ms(index: int) -> int:
            return int((first + index * MINUTE).timestamp() * 1000)

        until, following = open_until(windows, ms(here)), next_open(windows, ms(here))
        if either[here]:
            assert until is not None
            shut = next((i for i in range(here, count) if not either[i]), None)
            assert until == ms(shut) if shut is not None else until >= ms(count)
        else:
            assert until is None
            opened = next((i for i in range(here, count) if either[i]), None)
            if opened is not None:
                assert following is not None
                assert following[0] == ms(opened)
                assert each[following[1]][opened]
