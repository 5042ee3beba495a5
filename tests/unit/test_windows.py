"""When trading windows are open: clock changes, nights, holidays and early closes."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from golive_redis.checks import windows
from golive_redis.checks.windows import WindowSettings, next_open, open_until, require_open, zone
from golive_redis.errors import ConfigError, RefusedError
from golive_redis.records.record import MAX_INT

WEEK = ["mon", "tue", "wed", "thu", "fri"]


def window(**settings: Any) -> WindowSettings:
    return msgspec.convert(settings, WindowSettings)


def hours(time_zone: str, opens: str, closes: str, **more: Any) -> dict[str, WindowSettings]:
    return {"hours": window(time_zone=time_zone, **{"from": opens, "to": closes}, **more)}


def ms(text: str) -> int:
    """Unix ms of an instant, written in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def shown(at_ms: int | None) -> str | None:
    return None if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"


def span(those: dict[str, WindowSettings], inside: str) -> tuple[str, str]:
    """First and last instant of the stretch around `inside`, in UTC; both are at full five minutes."""
    step, first = 300_000, ms(inside)
    while open_until(those, first - step) is not None:
        first -= step
    return shown(first) or "", shown(open_until(those, first)) or ""


def test_without_windows_it_is_always_open() -> None:
    assert open_until({}, ms("2026-11-22 03:00")) == MAX_INT
    assert require_open({}, 0) == MAX_INT


def test_a_window_is_open_from_its_first_to_before_its_last_instant() -> None:
    london = hours("Europe/London", "08:00", "16:30", weekdays=WEEK)
    opens, closes = ms("2026-11-23 08:00"), ms("2026-11-23 16:30")
    assert open_until(london, opens - 1) is None
    assert open_until(london, opens) == closes
    assert open_until(london, closes - 1) == closes
    assert open_until(london, closes) is None
    assert next_open(london, closes) == (ms("2026-11-24 08:00"), "hours")
    assert next_open(london, opens - 1) == (opens, "hours")


def test_a_night_belongs_to_the_day_on_which_it_opens() -> None:
    fridays = hours("Europe/Berlin", "22:00", "06:00", weekdays=["fri"])
    assert span(fridays, "2026-11-28 02:00") == ("2026-11-27 21:00", "2026-11-28 05:00")
    assert open_until(fridays, ms("2026-11-27 02:00")) is None  # thursday's night
    assert shown((next_open(fridays, ms("2026-11-28 05:00")) or (0,))[0]) == "2026-12-04 21:00"


def test_windows_that_overlap_or_adjoin_make_one_stretch() -> None:
    both = {
        "day": window(time_zone="UTC", **{"from": "08:00", "to": "16:00"}),
        "evening": window(time_zone="UTC", **{"from": "16:00", "to": "20:00"}),
        "late": window(time_zone="UTC", **{"from": "19:00", "to": "22:00"}),
        "apart": window(time_zone="UTC", **{"from": "22:01", "to": "23:00"}),
    }
    assert shown(open_until(both, ms("2026-11-23 09:00"))) == "2026-11-23 22:00"
    assert next_open(both, ms("2026-11-23 22:00")) == (ms("2026-11-23 22:01"), "apart")


def test_a_window_around_the_clock_ends_later_than_any_grant() -> None:
    always = hours("Europe/Berlin", "00:00", "00:00")
    at = ms("2026-11-23 09:00")
    end = open_until(always, at)
    assert end is not None
    assert end - at > 31 * 86_400_000


# Skipped hours: 2026-03-08 02:00 in New York, 2026-03-29 02:00 in Berlin, 2026-10-04 02:00 in Sydney.
# Hours that come twice: 2026-11-01 01:00, 2026-10-25 02:00, 2026-04-05 02:00.
@pytest.mark.parametrize(
    ("place", "opens", "closes", "inside", "first", "last"),
    [
        # The same hours on the wall are an hour earlier or later after the change.
        ("America/New_York", "09:30", "16:00", "2026-03-06 15:00", "03-06 14:30", "03-06 21:00"),
        ("America/New_York", "09:30", "16:00", "2026-03-09 15:00", "03-09 13:30", "03-09 20:00"),
        ("Europe/Berlin", "09:00", "17:30", "2026-10-23 08:00", "10-23 07:00", "10-23 15:30"),
        ("Europe/Berlin", "09:00", "17:30", "2026-10-26 09:00", "10-26 08:00", "10-26 16:30"),
        ("Australia/Sydney", "10:00", "16:00", "2026-04-03 02:00", "04-02 23:00", "04-03 05:00"),
        ("Australia/Sydney", "10:00", "16:00", "2026-04-06 02:00", "04-06 00:00", "04-06 06:00"),
        # A night over the change is an hour shorter or longer.
        ("America/New_York", "22:00", "06:00", "2026-03-08 05:00", "03-08 03:00", "03-08 10:00"),
        ("America/New_York", "22:00", "06:00", "2026-11-01 05:00", "11-01 02:00", "11-01 11:00"),
        # A skipped `from` or `to` is the instant at which the clock goes on.
        ("America/New_York", "02:30", "12:00", "2026-03-08 09:00", "03-08 07:00", "03-08 16:00"),
        ("America/New_York", "20:00", "02:30", "2026-03-08 04:00", "03-08 01:00", "03-08 07:00"),
        ("Europe/Berlin", "02:15", "05:00", "2026-03-29 02:00", "03-29 01:00", "03-29 03:00"),
        ("Australia/Sydney", "20:00", "02:45", "2026-10-03 12:00", "10-03 10:00", "10-03 16:00"),
        # Of a `from` or `to` that comes twice, the first counts.
        ("America/New_York", "01:30", "05:00", "2026-11-01 09:00", "11-01 05:30", "11-01 10:00"),
        ("America/New_York", "20:00", "01:30", "2026-11-01 02:00", "11-01 00:00", "11-01 05:30"),
        ("America/New_York", "01:15", "01:45", "2026-11-01 05:20", "11-01 05:15", "11-01 05:45"),
        ("Europe/Berlin", "20:00", "02:30", "2026-10-25 00:00", "10-24 18:00", "10-25 00:30"),
        ("Australia/Sydney", "02:30", "09:00", "2026-04-04 20:00", "04-04 15:30", "04-04 23:00"),
    ],
)
def test_clock_changes(
    place: str, opens: str, closes: str, inside: str, first: str, last: str
) -> None:
    assert span(hours(place, opens, closes), inside) == (f"2026-{first}", f"2026-{last}")


def test_a_window_that_a_clock_change_swallows_does_not_open() -> None:
    """Apia had no 30 December 2011, and New York no 02:15 on 8 March 2026."""
    assert open_until(hours("America/New_York", "02:15", "02:45"), ms("2026-03-08 07:00")) is None
    fridays = hours("Pacific/Apia", "09:00", "17:00", weekdays=["fri"])
    assert next_open(fridays, ms("2011-12-24 12:00")) == (ms("2012-01-05 19:00"), "hours")


# pandas, and each calendar, take seconds to import and to make: once is enough.
pytestmark = pytest.mark.xdist_group("calendars")
NEW_YORK = {"exchange": window(calendar="XNYS")}


def test_an_exchange_closes_early_on_the_day_after_thanksgiving() -> None:
    assert span(NEW_YORK, "2026-11-25 16:00") == ("2026-11-25 14:30", "2026-11-25 21:00")
    assert span(NEW_YORK, "2026-11-27 16:00") == ("2026-11-27 14:30", "2026-11-27 18:00")


def test_an_exchange_is_closed_on_a_holiday_and_the_next_day_is_named() -> None:
    thanksgiving = ms("2026-11-26 16:00")
    assert open_until(NEW_YORK, thanksgiving) is None
    assert next_open(NEW_YORK, thanksgiving) == (ms("2026-11-27 14:30"), "exchange")
    with pytest.raises(RefusedError, match="outside every trading window") as caught:
        require_open(NEW_YORK, thanksgiving)
    assert "exchange, opens on Fri 2026-11-27 09:30 America/New_York" in caught.value.hint


def test_with_hours_and_a_calendar_both_must_be_open() -> None:
    both = hours("Europe/Berlin", "15:00", "20:00", calendar="XNYS", weekdays=WEEK)
    assert span(both, "2026-11-25 16:00") == ("2026-11-25 14:30", "2026-11-25 19:00")
    assert span(both, "2026-11-27 16:00") == ("2026-11-27 14:30", "2026-11-27 18:00")
    assert open_until(both, ms("2026-11-26 16:00")) is None


def test_sessions_go_on_over_the_new_year() -> None:
    """Sessions are read year by year; one may open on the last evening of the year before."""
    futures = {"futures": window(calendar="us_futures")}
    assert shown((next_open(NEW_YORK, ms("2026-12-31 22:00")) or (0,))[0]) == "2027-01-04 14:30"
    assert span(futures, "2027-01-05 12:00")[0] == "2027-01-03 23:00"


def test_a_lunch_break_belongs_to_the_session() -> None:
    tokyo = {"exchange": window(calendar="XTKS")}
    assert span(tokyo, "2026-11-24 03:00") == ("2026-11-24 00:00", "2026-11-24 06:30")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("America/New_Yrok", "did you mean America/New_York?"),
        ("America", ""),
        ("../../etc/passwd", ""),
        ("Mars/Olympus_Mons_Basecamp_17", ""),
        ("Europe/Berlin\0", ""),
    ],
)
def test_an_unknown_zone_is_refused_with_what_to_write(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="unknown time zone") as caught:
        zone(name)
    assert hint in caught.value.hint
    assert caught.value.hint


def test_a_host_without_time_zones_is_told_what_to_install(monkeypatch: Any) -> None:
    monkeypatch.setattr("golive_redis.checks.windows.available_timezones", set)
    monkeypatch.setattr("golive_redis.checks.windows.ZoneInfo", {}.__getitem__)
    with pytest.raises(ConfigError) as caught:
        zone("Europe/Berlin")
    assert "install tzdata" in caught.value.hint


def test_an_unknown_calendar_is_refused_with_what_to_write() -> None:
    with pytest.raises(ConfigError, match="unknown exchange calendar 'XNYZ'") as caught:
        open_until({"exchange": window(calendar="XNYZ")}, ms("2026-11-23 12:00"))
    assert caught.value.hint.startswith("did you mean XNYS") or "XN" in caught.value.hint


def test_without_the_extra_a_calendar_is_refused_with_how_to_install_it(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        open_until({"exchange": window(calendar="XVIE")}, ms("2026-11-23 12:00"))
    assert "golive-redis[calendars]" in caught.value.hint


def test_a_year_whose_holidays_are_not_known_yet_is_closed(monkeypatch: Any) -> None:
    """Some exchanges announce them a few weeks before it."""
    known = windows._year

    def announced(code: str, year: int) -> Any:
        if year > 2026:
            raise ConfigError("holidays are only recorded to the year 2026")
        return known(code, year)

    monkeypatch.setattr(windows, "_year", announced)
    assert shown(open_until(NEW_YORK, ms("2026-12-31 16:00"))) == "2026-12-31 21:00"
    assert open_until(NEW_YORK, ms("2027-01-02 16:00")) is None
    with pytest.raises(ConfigError, match="only recorded to the year 2026"):
        open_until(NEW_YORK, ms("2027-01-05 16:00"))
    with pytest.raises(RefusedError, match="none opens within 400 days") as caught:
        require_open(NEW_YORK, ms("2026-12-31 22:00"))
    assert "newer exchange_calendars" in caught.value.hint


def test_a_calendar_that_cannot_be_built_is_refused() -> None:
    with pytest.raises(ConfigError, match="exchange calendar XNYS cannot be used"):
        open_until(NEW_YORK, ms("2271-06-01 12:00"))
