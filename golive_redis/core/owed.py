"""What has to go into the ledger, and whose turn it is: one heartbeat writes, then the next."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

WAIT_MS = 3_000.0
"""A command that lives enters what it does itself, and within this time. The first heartbeat by name
waits so long, the next one for as long again."""

MAX_OWED = 10_000
"""Facts that wait at most: what comes beyond is noted when it is seen again."""

T = TypeVar("T")


class _Debt(msgspec.Struct, Generic[T]):
    what: T
    since_ms: float


class Owed(Generic[T]):
    """Facts that are to be written, each under its key, since they were first seen."""

    def __init__(self) -> None:
        self._debts: dict[str, _Debt[T]] = {}

    def see(self, key: str, what: T, now_ms: float) -> bool:
        """Note a fact; it stays as it was first seen. Return False when there is no room for it."""
        if key not in self._debts and len(self._debts) < MAX_OWED:
            self._debts[key] = _Debt(what, now_ms)
        return key in self._debts

    def due(self, rank: int, now_ms: float) -> dict[str, T]:
        """Return what this heartbeat is to write now.

        Args:
            rank: Its place among the live heartbeats, by name, from 0.
            now_ms: On the steady clock that `see` was told.
        """
        most_ms = WAIT_MS * (rank + 1)
        return {k: d.what for k, d in self._debts.items() if now_ms - d.since_ms >= most_ms}

    def waited_ms(self, key: str, now_ms: float) -> float:
        """Return for how long a fact has been known."""
        debt = self._debts.get(key)
        return now_ms - debt.since_ms if debt is not None else 0.0

    def settle(self, key: str) -> None:
        """Note that a fact is in the ledger, or need not be."""
        self._debts.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self._debts

    def all(self) -> dict[str, T]:
        """Return all of them."""
        return {key: debt.what for key, debt in self._debts.items()}


def rank(own: str, alive: list[str]) -> int:
    """Return the place of a heartbeat among those that are alive, by name, from 0."""
    return sorted({*alive, own}).index(own)
