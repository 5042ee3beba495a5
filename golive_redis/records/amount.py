"""Amounts of money, compared exactly. Apart from `records.limits`, because a stop needs none."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from functools import lru_cache

Amount = Decimal | str | int
_NOTHING = Decimal(0)
# A fleet has a handful of limits and asks about them with every order.
_parsed = lru_cache(maxsize=64)(Decimal)


def amount(value: object) -> Decimal | None:
    """Return a value as a finite decimal, or None.

    A float is none, because it was rounded already; nor are a bool and text that is no number.
    """
    if isinstance(value, bool) or not isinstance(value, (Decimal, str, int)):
        return None
    try:
        found = Decimal(value)
    except (InvalidOperation, ValueError):
        return None
    return found if found.is_finite() else None


def within(limit: str, value: object) -> bool:
    """Tell whether a value is an amount from 0 up to the limit.

    Fails closed: False for whatever is no amount.
    """
    found = amount(value)
    return found is not None and _NOTHING <= found <= _parsed(limit)


def smaller(one: str, other: str) -> str:
    """Return the smaller of two texts that are amounts, or else the first."""
    mine, theirs = amount(one), amount(other)
    return other if mine is not None and theirs is not None and theirs < mine else one
