"""Settings of trading windows. `golive_redis.checks.windows` knows calendars and computes with them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from golive_redis.records.record import Strict

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
