"""Numbers from the workers' presence: who is there, on which version, and what became of orders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from golive_redis.checks.question import FleetValue
from golive_redis.store.connect import Address
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.store import Presence, Store

TIMEOUT_MS = 1_000.0
MAX_NAMED = 10

Counts = dict[str, tuple[int, int]]
Seen = tuple[int | Decimal, dict[str, str]]


class Fleet:
    """The workers as their presence tells; remembers the last look, for what is counted between two.

    Args:
        address: Where Redis is.
        namespace: Which switch.
        policy: Digest of this host's policy.
    """

    def __init__(self, address: Address, namespace: str, policy: str) -> None:
        self._address = address
        self._keyspace = Keyspace(namespace)
        self._policy = policy
        self._first: frozenset[str] | None = None
        self._before: Counts | None = None

    def look(self, wanted: FleetValue) -> Seen:
        """Return one of the numbers, and which workers it is about.

        Raises:
            StoreError: Redis cannot be asked; the check is unknown.
        """
        alive = self._alive()
        match wanted:
            case FleetValue.WORKERS:
                return len(alive), {}
            case FleetValue.VERSIONS:
                versions = sorted({_version(item) for item in alive})
                return len(versions), {
                    version: _names(item for item in alive if _version(item) == version)
                    for version in versions
                }
            case FleetValue.POLICIES:
                pods = [*alive, *self._alive(Store.heartbeats)]
                others = [item for item in pods if item.fields.get("policy", "") != self._policy]
                return len(others), {"another policy": _names(others)} if others else {}
            case FleetValue.CHANGED:
                return self._changed(alive)
            case FleetValue.REJECTED:
                return self._rejected(alive), {}
            case FleetValue.UNPERMITTED:
                beyond = {item.instance: _beyond(item) for item in alive if _beyond(item)}
                who = _names(item for item in alive if item.instance in beyond)
                return sum(beyond.values()), {"by": who} if beyond else {}

    def _alive(
        self, roster: Callable[[Store], Sequence[Presence]] = Store.workers
    ) -> list[Presence]:
        link = self._address.link(timeout_ms=TIMEOUT_MS, name="golive-check")
        try:
            link.open()
            return [item for item in roster(Store(link, self._keyspace)) if item.alive]
        finally:
            link.close()

    def _changed(self, alive: Sequence[Presence]) -> Seen:
        """Count who came or went since the first look; a restarted worker is the same worker."""
        names = frozenset(item.name for item in alive)
        if self._first is None:
            self._first = names
        moved = {"came": names - self._first, "went": self._first - names}
        facts = {how: _listed(who) for how, who in moved.items() if who}
        return len(names ^ self._first), facts

    def _rejected(self, alive: Sequence[Presence]) -> Decimal:
        """Return the rejected fraction of what was sent since the last look; 0 when nothing was."""
        now = {item.instance: (_count(item, "sent"), _count(item, "rejected")) for item in alive}
        before, self._before = self._before, now
        if before is None:
            return Decimal(0)
        sent = sum(now[key][0] - before.get(key, (0, 0))[0] for key in now)
        rejected = sum(now[key][1] - before.get(key, (0, 0))[1] for key in now)
        if sent <= 0:  # a rejection that came after its order was counted is one of nothing
            return Decimal(1 if rejected > 0 else 0)
        return Decimal(rejected) / Decimal(sent)


def _version(item: Presence) -> str:
    return item.fields.get("version", "") or "no version"


def _names(items: Iterable[Presence]) -> str:
    return _listed({item.name for item in items})


def _listed(names: Iterable[str]) -> str:
    """Name the first few: a sentence has to stay one."""
    listed = sorted(names)
    more = len(listed) - MAX_NAMED
    return ", ".join(listed[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _beyond(item: Presence) -> int:
    return max(0, _count(item, "sent") - _count(item, "permits"))


def _count(item: Presence, name: str) -> int:
    text = item.fields.get(name, "0")
    return int(text) if text.isascii() and text.isdigit() else 0
