"""Trading windows: when trading may be on, as the configuration has it and in Unix ms.

A local time is the first instant at which a clock on the wall shows it or a later one. So a time that
a clock change skips is the instant at which the clock goes on, and of a time that comes twice the first
counts: for `to` the stricter of the two; for `from` the earlier, because an open window only lets
people activate and turns nothing on by itself.

A session of an exchange goes from its open to its close, early closes included; a lunch break is part
of it. What is not known (a year for which the calendar has no holidays yet) is closed.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from difflib import get_close_matches
from enum import StrEnum
from functools import cache, lru_cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from golive_redis.errors import ConfigError, RefusedError
from golive_redis.records.record import MAX_INT, Strict

# No grant is longer than 31 days, so it does not matter how long a stretch goes on after that.
HORIZON = timedelta(days=40)
# Longer than any holiday of an exchange.
SEARCHED = timedelta(days=400)
# Hours over midnight last a day, and clocks have been changed by a day, too.
MARGIN = timedelta(days=3)

Span = tuple[int, int]
TimeOfDay = Annotated[str, msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z")]


class Weekday(StrEnum):
    """A day of the week, in its zone."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class WindowSettings(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When trading may be on: hours of weekdays in a zone, or the sessions of an exchange.

    With both, both must be open. Several windows add up: one that is open is enough.

    Attributes:
        time_zone: IANA name, e.g. `America/New_York`.
        weekdays: Days on which it opens.
        from_: Local time of day at which it opens.
        to: Local time at which it closes; not after `from` means on the next day.
        calendar: Code of `exchange_calendars`, e.g. `XNYS`: with its holidays and early closes.
    """

    time_zone: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    weekdays: Annotated[list[Weekday], msgspec.Meta(min_length=1, max_length=7)] | None = None
    from_: TimeOfDay | None = msgspec.field(name="from", default=None)
    to: TimeOfDay | None = None
    calendar: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_/.-]{1,32}\Z")] | None = None

    def __post_init__(self) -> None:
        hours = [self.time_zone, self.from_, self.to]
        by_hours = self.calendar is None or any((*hours, self.weekdays))
        if by_hours and None in hours:
            raise ValueError("a window takes time_zone, from and to, or calendar, or both")


_DAYS = list(Weekday)


def open_until(windows: Mapping[str, WindowSettings], at_ms: int) -> int | None:
    """Return the end of the open stretch that contains an instant; None when it is closed.

    Windows that overlap or adjoin make one stretch. No windows at all are always open.

    Args:
        windows: By name.
        at_ms: Unix ms.

    Returns:
        Unix ms; the end itself is closed. A stretch of over 40 days is cut there.

    Raises:
        ConfigError: A zone or calendar cannot be used. Fails closed: the caller does not go on.
    """
    if not windows:
        return MAX_INT
    end = at_ms
    for opens, closes in sorted(
        span for window in windows.values() for span in _spans(window, at_ms, HORIZON)
    ):
        if opens > end:
            break
        end = max(end, closes)
    return end if end > at_ms else None


def next_open(windows: Mapping[str, WindowSettings], at_ms: int) -> tuple[int, str] | None:
    """Return when the next window opens after an instant, and its name.

    Args:
        windows: By name.
        at_ms: Unix ms.

    Returns:
        Unix ms and the name; None when none opens within 400 days.

    Raises:
        ConfigError: As `open_until`.
    """
    found = [
        (opens, name)
        for name, window in windows.items()
        for opens, _ in _spans(window, at_ms, SEARCHED)
        if opens > at_ms
    ]
    return min(found, default=None)


def require_open(windows: Mapping[str, WindowSettings], at_ms: int) -> int:
    """Return `open_until`, or refuse and say when the next window opens.

    Raises:
        RefusedError: Every window is closed.
        ConfigError: As `open_until`.
    """
    end = open_until(windows, at_ms)
    if end is not None:
        return end
    following = next_open(windows, at_ms)
    if following is None:
        raise RefusedError(
            "outside every trading window, and none opens within 400 days",
            hint="look at `windows`; a newer exchange_calendars may know the holidays of another year",
        )
    opens, name = following
    raise RefusedError(
        "outside every trading window",
        hint=f"the next one, {name}, opens on {_shown(opens, windows[name])}",
    )


def zone(name: str) -> ZoneInfo:
    """Return a time zone.

    Raises:
        ConfigError: This host does not know it.
    """
    try:
        return ZoneInfo(name)
    # Also what is no name at all: a path out of the database, or a folder in it.
    except (KeyError, ValueError, OSError) as error:
        known = available_timezones()
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else "IANA names, such as Europe/Berlin"
        if not known:
            hint = "this host has no time zone database: install tzdata, by apt, apk or pip"
        raise ConfigError(f"unknown time zone {name!r}", hint=hint) from error


def _shown(at_ms: int, window: WindowSettings) -> str:
    name = window.time_zone or _calendar_zone(window.calendar or "")
    there = datetime.fromtimestamp(at_ms / 1000, zone(name))
    here = time.strftime("%a %Y-%m-%d %H:%M %Z", time.localtime(at_ms / 1000))
    return f"{there:%a %Y-%m-%d %H:%M} {name}, which is {here} here"


# -- what is open --------------------------------------------------------------------------------


def _spans(window: WindowSettings, at_ms: int, ahead: timedelta) -> list[Span]:
    """Return the open spans that end after about `at_ms`, in order."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    first, last = (at - MARGIN).date(), (at + ahead).date()
    hours = None if window.time_zone is None else list(_hours(window, first, last))
    if window.calendar is None:
        return hours or []
    sessions = _sessions(window.calendar, first, last)
    return sessions if hours is None else list(_both(hours, sessions))


def _both(some: list[Span], others: list[Span]) -> Iterator[Span]:
    for one in some:
        for other in others:
            opens, closes = max(one[0], other[0]), min(one[1], other[1])
            if opens < closes:
                yield opens, closes


def _hours(window: WindowSettings, first: date, last: date) -> Iterator[Span]:
    assert window.time_zone and window.from_ and window.to  # noqa: S101, PT018  (stand together)
    there = zone(window.time_zone)
    opening, closing = map(time_of_day.fromisoformat, (window.from_, window.to))
    nights = timedelta(days=int(closing <= opening))
    wanted = window.weekdays or _DAYS
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        if _DAYS[day.weekday()] not in wanted:
            continue
        opens = _instant(datetime.combine(day, opening), there)
        closes = _instant(datetime.combine(day + nights, closing), there)
        if opens < closes:
            yield opens, closes


def _instant(wall: datetime, there: ZoneInfo) -> int:
    """Return the first instant at which a clock there shows `wall` or a later time, in Unix ms."""
    first = wall.replace(tzinfo=there, fold=0)
    found = int(first.timestamp())
    if _wall(found, there) != wall:
        # Skipped. Read with the offset of before, it lies after the change; with the one of after,
        # before it: the change is in between.
        earlier = int(first.replace(fold=1).timestamp())
        while found - earlier > 1:
            middle = (earlier + found) // 2
            if _wall(middle, there) < wall:
                earlier = middle
            else:
                found = middle
    return found * 1000


def _wall(at_s: int, there: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at_s, there).replace(tzinfo=None)


# -- exchanges -----------------------------------------------------------------------------------


def _sessions(code: str, first: date, last: date) -> list[Span]:
    found = list(_year(code, first.year))
    for year in range(first.year + 1, last.year + 1):
        try:
            found += _year(code, year)
        except ConfigError:
            break  # some exchanges announce the holidays of a year shortly before it: closed
    # A session may open on the day before its own.
    low, high = (_midnight(day) for day in (first, last + timedelta(days=2)))
    return [span for span in found if low <= span[1] and span[0] < high]


def _midnight(day: date) -> int:
    return int(datetime.combine(day, time_of_day(), UTC).timestamp()) * 1000


@lru_cache(maxsize=64)
def _year(code: str, year: int) -> tuple[Span, ...]:
    calendar = _calendar(code, f"{year}-01-01", f"{year}-12-31")
    return tuple(
        (round(opens.timestamp() * 1000), round(closes.timestamp() * 1000))
        for opens, closes in zip(calendar.opens, calendar.closes, strict=True)
    )


@cache
def _calendar_zone(code: str) -> str:
    return str(_calendar(code, None, None).tz)


def _calendar(code: str, start: str | None, end: str | None) -> Any:
    """Build a calendar.

    Raises:
        ConfigError: The extra is not installed, or the calendar is unknown or cannot be built.
    """
    try:
        # Here and not above: it brings pandas, which takes half a second and 100 MB.
        import exchange_calendars  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"the window's calendar {code} needs exchange_calendars, which is not installed",
            hint="pip install 'golive-redis[calendars]'",
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it deprecates is between it and pandas
        try:
            return exchange_calendars.get_calendar(code, start=start, end=end)
        except exchange_calendars.errors.InvalidCalendarName as error:
            close = get_close_matches(code, exchange_calendars.get_calendar_names(), n=1)
            hint = f"did you mean {close[0]}?" if close else "codes such as XNYS, XLON or XETR"
            raise ConfigError(f"unknown exchange calendar {code!r}", hint=hint) from error
        except Exception as error:  # its calendars raise whatever they run into
            raise ConfigError(
                f"exchange calendar {code} cannot be used: {str(error)[:200]}",
                hint="a newer exchange_calendars may know more",
            ) from error
