"""When the receipts for a directive are noted: once, when no more of them come."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from golive_redis.core.owed import WAIT_MS
from golive_redis.records.directive import Restriction, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.store.store import Store

STILL_MS = 30_000.0
"""No further receipt has come for so long: a drain lasts a second; who was away for longer is late."""
LONGEST_MS = 120_000.0
OLD_MS = 86_400_000
MAX_WATCHED = 256

Directive = Verified[Revocation] | Verified[Restriction]


class _Watch(msgspec.Struct):
    item: Directive
    seen_ms: float
    changed_ms: float
    count: int = 0
    still_ms: float | None = None


class Answers:
    """The directives whose receipts are counted now."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watch] = {}
        self._settled: dict[str, None] = {}

    def see(self, directives: Iterable[Directive], now_ms: float, wall_ms: int) -> None:
        """Watch what is in force, but what was issued more than a day ago.

        Args:
            directives: Verified.
            now_ms: On the steady clock.
            wall_ms: Unix ms.
        """
        for item in directives:
            known = item.identity in self._watched or item.identity in self._settled
            if known or item.record.issued_at_ms < wall_ms - OLD_MS:
                continue
            if len(self._watched) < MAX_WATCHED:
                self._watched[item.identity] = _Watch(item, now_ms, now_ms)

    def waiting(self) -> list[str]:
        """Return the identities of those that are watched."""
        return list(self._watched)

    def issued_ms(self) -> list[int]:
        """Return when they were issued."""
        return [watch.item.record.issued_at_ms for watch in self._watched.values()]

    def due(self, store: Store, place: int, now_ms: float) -> list[tuple[Directive, list[bytes]]]:
        """Return the directives whose receipts are to be noted by this heartbeat now, with them.

        Args:
            store: A connected store.
            place: Of this heartbeat among the live ones.
            now_ms: On the steady clock.

        Raises:
            StoreError: They cannot be read.
        """
        found = []
        for identity, watch in self._watched.items():
            if watch.still_ms is None:
                self._count(watch, store.receipts_kept(identity), now_ms)
            if watch.still_ms is not None and now_ms - watch.still_ms >= WAIT_MS * place:
                raws, _ = store.receipts(identity)
                found.append((watch.item, raws))
        return found

    def _count(self, watch: _Watch, count: int, now_ms: float) -> None:
        if count != watch.count:
            watch.count, watch.changed_ms = count, now_ms
        still = count > 0 and now_ms - watch.changed_ms >= STILL_MS
        if still or now_ms - watch.seen_ms >= LONGEST_MS:
            watch.still_ms = now_ms

    def settle(self, identity: str) -> None:
        """Note that there is a note on them."""
        self._watched.pop(identity, None)
        while len(self._settled) >= MAX_WATCHED:
            del self._settled[next(iter(self._settled))]
        self._settled[identity] = None
