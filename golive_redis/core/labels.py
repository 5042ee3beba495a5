"""Label values: when the one that a restriction names is the one that an order states.

A person types the first, a bot states the second, and what differs between them must not let an order
pass: blanks at the ends and upper or lower case do not count (A10). A restriction may name the beginning
of a value, `BTC*`. What only looks alike is something else; an operator is told of it
(`operator.matching`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from golive_redis.records.directive import Label

Values = Mapping[Label, str] | Mapping[str, str]
"""What a restriction names, by label."""

REST = "*"
"""At the end of a value that a restriction names: whatever comes after."""


def folded(value: object) -> str:
    """Return what is compared of a value; "" for a blank one, which says nothing.

    An account number may come as an int: a label that is not text is compared as text. Text stays
    itself: `str()` of a member of `class Symbol(str, Enum)` is not its value.
    """
    return (value if isinstance(value, str) else str(value)).strip().casefold()  # A10, S3


def wanted(value: str) -> str:
    """Return what is compared of a value that a restriction names.

    Fails closed: a blank one concerns every order.
    """
    return folded(value) or REST


def same(labels: Values) -> dict[str, str]:
    """Return the labels of a restriction in the form in which two that mean the same are equal."""
    return {str(name): wanted(value) for name, value in labels.items()}


def covers(labels: Values, others: Values) -> bool:
    """Tell whether a restriction with these labels concerns each order that the others concern."""
    narrow = same(others)
    return all(
        name in narrow and bool(Named([value]).hits(narrow[name]))
        for name, value in same(labels).items()
    )


def unusable(value: str) -> str:
    """Say why a restriction cannot name this value; "" when it can."""
    text = value.strip()
    if not text:
        return "a label has a value"
    if text == REST:
        return f"{REST} alone names every value: leave the label out, and all orders are concerned"
    if REST in text[:-1]:
        return f"{REST} stands at the end of a value only, for whatever comes after: BTC{REST}"
    return ""


class Named:
    """The values of one label that restrictions name, found by lookup instead of by scan.

    Args:
        values: As `wanted` returns them.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._values = frozenset(values)
        # One lookup for each length of a beginning, however many there are of it.
        self._lengths = tuple(
            sorted({len(value) - len(REST) for value in self._values if value.endswith(REST)})
        )

    def hits(self, value: str) -> tuple[str, ...]:
        """Return the named values that concern an order with this one, which is folded."""
        hits = [value] if value in self._values else []
        for length in self._lengths:  # S3
            beginning = value[:length] + REST
            if len(value) >= length and beginning in self._values and beginning not in hits:
                hits.append(beginning)
        return tuple(hits)
