"""What a value must be. Whatever cannot be judged is unknown, and unknown counts as failed.

Numbers are compared as decimals. Redis, CSV files and what programs print know only text, so text that
is a plain decimal number counts as one where a number is expected; nothing else is converted.
"""

from __future__ import annotations

import re
from collections.abc import Sized
from decimal import Decimal
from typing import Annotated

import msgspec

from golive_redis.checks import pattern
from golive_redis.records.record import Duration, Strict, duration_ms
from golive_redis.records.report import Outcome

_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?\Z", re.ASCII)
# A time further ahead than this is not new: one of the two clocks is wrong.
MAX_AHEAD_MS = 30_000

Scalar = str | int | float | bool
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
Number = int | float | Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]{1,30}(\.[0-9]{1,30})?\Z")]


class Expectation(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a value must be; at most one of these, and `warn_at` beside a numeric limit.

    Attributes:
        equals: Exactly this, of the same type.
        one_of: Exactly one of these.
        at_least: A number, this or more.
        at_most: A number, this or less.
        between: A number, within both ends.
        starts_with: Text that begins with this.
        ends_with: Text that ends with this.
        contains: Text in which this stands somewhere.
        matches: Text of at most 4096 characters that this regular expression (RE2) matches as a whole.
        newer_than: A time, at most this long ago.
        empty: Nothing in it (true), or something (false): text, a list or an object.
        warn_at: A number on the good side of the limit that is worth a warning.
    """

    equals: Scalar | None = None
    one_of: Annotated[list[Scalar], msgspec.Meta(min_length=1, max_length=256)] | None = None
    at_least: Number | None = None
    at_most: Number | None = None
    between: tuple[Number, Number] | None = None
    starts_with: Words | None = None
    ends_with: Words | None = None
    contains: Words | None = None
    matches: Words | None = None
    newer_than: Duration | None = None
    empty: bool | None = None
    warn_at: Number | None = None

    @property
    def stated(self) -> list[str]:
        """Names of the expectations that are set; at most one."""
        return [name for name in EXPECTATIONS if getattr(self, name) is not None]

    def __post_init__(self) -> None:
        if len(self.stated) > 1:
            raise ValueError(f"one expectation, not {' and '.join(self.stated)}")
        for bound in (self.at_least, self.at_most, self.warn_at, *(self.between or ())):
            if bound is not None and number(bound) is None:
                raise ValueError(f"{bound} is not a number that can be compared")
        for option in (self.equals, *(self.one_of or ())):
            if isinstance(option, int | float) and not _comparable(option):
                raise ValueError(f"{option} is not a number that can be compared")
        if self.between is not None and _decimal(self.between[0]) > _decimal(self.between[1]):
            raise ValueError("between: the lower end comes first")
        if self.matches is not None:
            pattern.compiled(self.matches)
        self._refuse_warning()

    def _refuse_warning(self) -> None:
        if self.warn_at is None:
            return
        if self.at_least is None and self.at_most is None:
            raise ValueError("warn_at belongs to at_least or at_most")
        if not _within(self, _decimal(self.warn_at)):
            raise ValueError(f"warn_at {self.warn_at} is beyond the limit: it would never warn")

    def __str__(self) -> str:
        """Say it as it stands in the YAML, in at most 80 characters."""
        if self.between is not None:
            return f"between {self.between[0]} and {self.between[1]}"
        if self.one_of is not None:
            return shown("one_of " + ", ".join(_written(option) for option in self.one_of))
        return shown(" ".join(f"{name} {_written(getattr(self, name))}" for name in self.stated))


EXPECTATIONS = (
    "equals",
    "one_of",
    "at_least",
    "at_most",
    "between",
    "starts_with",
    "ends_with",
    "contains",
    "matches",
    "newer_than",
    "empty",
)
_TEXTS = frozenset({"starts_with", "ends_with", "contains", "matches"})


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Judgement(msgspec.Struct, frozen=True):
    """What an expectation says of a value."""

    outcome: Outcome
    explain: str
    warning: bool = False


def number(value: object) -> Decimal | None:
    """Return a value as a finite decimal; None when it is not a number (a bool is none)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        value = repr(value)  # NaN and infinity do not look like numbers
        if "e" in value:
            return Decimal(value) if value[-1].isdigit() else None
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, int) and abs(value) < 10**30:
        return Decimal(value)
    return Decimal(value) if isinstance(value, str) and _NUMBER.match(value) else None


def _comparable(value: object) -> bool:
    return isinstance(value, bool) or number(value) is not None


def _decimal(value: object) -> Decimal:
    found = number(value)
    assert found is not None  # noqa: S101  (checked when the settings were read)
    return found


def judge(wanted: Expectation, value: object, *, now_ms: int) -> Judgement:
    """Judge one value.

    Args:
        wanted: What it must be.
        value: As fetched; a time is Unix ms.
        now_ms: Unix ms, for `newer_than`.

    Fails closed: a value that is missing, of another type, or no finite number is unknown.
    """
    if value is None:
        return _unknown("there is no value")
    if wanted.equals is not None or wanted.one_of is not None:
        return _equality(wanted, value)
    if _TEXTS & set(wanted.stated):
        return _text(wanted, value)
    if wanted.newer_than is not None:
        return _recency(wanted.newer_than, value, now_ms)
    if wanted.empty is not None:
        return _emptiness(value, empty=wanted.empty)
    return _limits(wanted, value)


def _unknown(text: str) -> Judgement:
    return Judgement(Outcome.UNKNOWN, text)


def _verdict(text: str, *, good: bool, warning: bool = False) -> Judgement:
    return Judgement(Outcome.PASS if good else Outcome.FAIL, text, warning and good)


def shown(value: object) -> str:
    """Return a value as text of at most 80 characters, for findings and tables."""
    if isinstance(value, dict | list):  # whose text may be a million times longer
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**30:
        return "a number of over 30 digits"  # str() refuses the longest ones
    text = value if isinstance(value, str) else _written(value)
    clean = "".join(char if char.isprintable() else " " for char in text[:200])
    return clean if len(clean) <= 80 else f"{clean[:77]}..."  # noqa: PLR2004  (said above)


def _equality(wanted: Expectation, value: object) -> Judgement:
    options = wanted.one_of if wanted.one_of is not None else [wanted.equals]
    same = [_same(option, value) for option in options]
    # `false` and "false" look the same to people.
    wishes = dict.fromkeys(shown(option) for option in options)
    text = f"{shown(value)}, wanted {' or '.join(wishes)}"
    if all(item is None for item in same):
        return _unknown(f"{text}: another type")
    return _verdict(text, good=any(same))


def _same(option: object, value: object) -> bool | None:
    """Compare; None where the types cannot be compared."""
    if isinstance(option, bool) or isinstance(value, bool):
        return option is value if isinstance(option, bool) and isinstance(value, bool) else None
    if isinstance(option, str):
        return option == value if isinstance(value, str) else None
    found = number(value)
    return None if found is None else found == _decimal(option)


def _text(wanted: Expectation, value: object) -> Judgement:
    if not isinstance(value, str):
        return _unknown(f"{shown(value)} is not text")
    if wanted.starts_with is not None:
        good: bool | None = value.startswith(wanted.starts_with)
    elif wanted.ends_with is not None:
        good = value.endswith(wanted.ends_with)
    elif wanted.contains is not None:
        good = wanted.contains in value
    else:
        good = pattern.whole(wanted.matches or "", value)
    if good is None:
        return _unknown(f"a text of {len(value)} characters cannot be matched")
    return _verdict(f"{shown(value)}, wanted {wanted}", good=good)


def _recency(newer_than: str, value: object, now_ms: int) -> Judgement:
    at = number(value)
    if at is None:
        return _unknown(f"{shown(value)} is not a time")
    age = now_ms - at
    if age < -MAX_AHEAD_MS:
        return _unknown(f"{-age / 1000:.0f} s in the future: one of the clocks is wrong")
    return _verdict(
        f"{max(age, Decimal(0)) / 1000:.1f} s old, wanted at most {newer_than}",
        good=age <= duration_ms(newer_than),
    )


def _emptiness(value: object, *, empty: bool) -> Judgement:
    if not isinstance(value, Sized):
        return _unknown(f"{shown(value)} has no length, so it is neither empty nor not")
    return _verdict(
        f"{len(value)} in it, wanted {'none' if empty else 'some'}", good=(len(value) == 0) is empty
    )


def _limits(wanted: Expectation, value: object) -> Judgement:
    found = number(value)
    if found is None:
        return _unknown(f"{shown(value)} is not a number")
    if not wanted.stated:
        return _unknown("no expectation says what it must be")
    good = _within(wanted, found)
    warning = wanted.warn_at is not None and (
        found >= _decimal(wanted.warn_at)
        if wanted.at_most is not None
        else found <= _decimal(wanted.warn_at)
    )
    text = f"{shown(value)}, wanted {wanted}"
    if good and warning:
        text += f"; warning at {wanted.warn_at}"
    return _verdict(text, good=good, warning=warning)


def _within(wanted: Expectation, found: Decimal) -> bool:
    low, high = wanted.between if wanted.between is not None else (wanted.at_least, wanted.at_most)
    return (low is None or found >= _decimal(low)) and (high is None or found <= _decimal(high))
