"""Putting a signed revocation into the store, and keeping it there. Shared by everyone who stops.

Nothing heavy is imported here: this is the kill path.
"""

from __future__ import annotations

from golive_redis.errors import RecordError, StoreError
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import Verified
from golive_redis.records.trust import Trust
from golive_redis.store.replies import Audit, Status, Stop
from golive_redis.store.store import Store


def reassert(store: Store, trust: Trust, item: Verified[Revocation], *, reach_ms: int) -> Stop:
    """Repeat a revocation: make sure that the tombstone stands and that no covered term is active.

    A later term is left alone, unless a blind revocation covers it by the time of its activation; and so
    is one that began after the end of a card (S2).

    Args:
        store: Where.
        trust: Verifies the grant of a later term.
        item: The revocation.
        reach_ms: Up to which time of activation a blind one ends terms, as whoever repeats it knows.

    Raises:
        StoreError: As `Store.revoke`.
    """
    if item.record.is_card and (spared := _spared(store, trust, item.record)) is not None:
        return Stop(Status.LATER, spared, None, None, Audit.NONE, "")
    stop = store.revoke(item, again=True)
    if stop.status is not Status.LATER or stop.grant is None or not item.record.blind:
        return stop
    try:
        grant = trust.grant(stop.grant).record
    except RecordError:
        return stop
    if grant.activated_at_ms <= reach_ms:  # S2; its term is above the epoch
        return store.revoke(item, entry=False)
    return stop


def _spared(store: Store, trust: Trust, card: Revocation) -> bytes | None:
    """Return the grant in force when a card, whatever its number, does not cover its term."""
    raw = store.snapshot().grant
    try:
        grant = trust.grant(raw).record if raw is not None else None
    except RecordError:
        return None
    return None if grant is None or card.covers(grant.term, grant.activated_at_ms) else raw


def put_back(store: Store, trust: Trust, item: Verified[Revocation], *, reach_ms: int) -> Stop:
    """Repeat a revocation, as `reassert`, for whoever counts on the tombstone.

    Raises:
        StoreError: As `Store.revoke`, and when no tombstone could be written (A7).
    """
    stop = reassert(store, trust, item, reach_ms=reach_ms)
    if stop.unrecorded:
        raise StoreError(f"the key is gone, and the stop is not recorded: {stop.unrecorded}")
    return stop
