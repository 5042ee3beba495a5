"""The `fleet` source: who is there, on which version, and what became of orders, by the presence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from golive_redis.checks.question import FleetSource, FleetValue
from golive_redis.checks.source import Fetched, Surroundings, UnansweredError
from golive_redis.store.presence import Presence, listed
from golive_redis.store.store import Store

TIMEOUT_MS = 1_000.0
MAX_NAMED = 10

Counts = dict[str, tuple[int, int]]
Seen = tuple[int | Decimal, dict[str, str]]


class Before:
    """What was seen before: names at the first look, counts at the last one."""

    def __init__(self) -> None:
        self.first: frozenset[str] | None = None
        self.counts: Counts | None = None


def fetch(source: FleetSource, where: Surroundings, deadline_ms: float) -> Fetched:
    """Return one of the numbers, and which workers it is about.

    Raises:
        UnansweredError: `where` has no digest of this host's policy.
        StoreError: Redis cannot be asked; the check is unknown.
    """
    if source.value is FleetValue.POLICIES and not where.policy:
        raise UnansweredError("this host's policy is not known here")
    value, facts = _Looked(where, deadline_ms).at(source.value)
    return Fetched(value, facts, who="; ".join(f"{fact}: {text}" for fact, text in facts.items()))


class _Looked:
    """One look at the workers' presence."""

    def __init__(self, where: Surroundings, deadline_ms: float) -> None:
        self._address = where.address
        self._policy = where.policy
        self._before = where.memory.of(Before)
        self._timeout_ms = min(TIMEOUT_MS, deadline_ms)

    def at(self, wanted: FleetValue) -> Seen:
        """Return one of the numbers, and which workers it is about."""
        alive = self._alive()
        match wanted:
            case FleetValue.WORKERS:
                return len(alive), {}
            case FleetValue.VERSIONS:
                versions = sorted({_version(item) for item in alive})
                return len(versions), {"workers": str(len(alive))} | {
                    version: _names(item for item in alive if _version(item) == version)
                    for version in versions
                }
            case FleetValue.POLICIES:
                return self._policies(alive)
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
        link = self._address.connect(timeout_ms=self._timeout_ms, name="golive-check")
        try:
            store = Store(link, self._address.keyspace)
            return [item for item in roster(store) if item.alive]
        finally:
            link.close()

    def _policies(self, alive: Sequence[Presence]) -> Seen:
        pods = [*alive, *self._alive(Store.heartbeats)]
        others = [item for item in pods if item.fields.get("policy", "") != self._policy]
        return len(others), {"another policy": _names(others)} if others else {}

    def _changed(self, alive: Sequence[Presence]) -> Seen:
        """Count who came or went since the first look; a restarted worker is the same worker."""
        names = frozenset(item.name for item in alive)
        if self._before.first is None:
            self._before.first = names
        moved = {"came": names - self._before.first, "went": self._before.first - names}
        facts = {how: listed(who, MAX_NAMED) for how, who in moved.items() if who}
        return len(names ^ self._before.first), facts

    def _rejected(self, alive: Sequence[Presence]) -> Decimal:
        """Return the rejected fraction of what was sent since the last look; 0 when nothing was."""
        now = {item.instance: (item.number("sent"), item.number("rejected")) for item in alive}
        before, self._before.counts = self._before.counts, now
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
    return listed({item.name for item in items}, MAX_NAMED)


def _beyond(item: Presence) -> int:
    return max(0, item.number("sent") - item.number("permits"))
