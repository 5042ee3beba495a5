"""Putting a signed revocation into the store, and keeping it there. Shared by everyone who stops.

Nothing heavy is imported here: this is the kill path.
"""

from __future__ import annotations

from golive_redis.core.directive import Revocation
from golive_redis.core.envelope import Verified
from golive_redis.core.ledger import extend
from golive_redis.core.trust import Trust
from golive_redis.errors import RecordError
from golive_redis.store.store import Audit, Status, Stop, Store

MAX_HEADS = 5


def execute(store: Store, item: Verified[Revocation], head: str) -> Stop:
    """Run the `revoke` script, and append the ledger entry again while others move the head.

    Args:
        store: A connected store.
        item: The revocation.
        head: Ledger head as last read.

    Raises:
        StoreError: The script was refused or its answer lost.
    """
    stop = store.revoke(
        epoch=item.record.epoch,
        record=item.raw,
        identity=item.identity,
        head=head,
        head_after=extend(head, item.raw),
    )
    audit, detail = stop.audit, stop.detail
    for _ in range(MAX_HEADS):
        if audit is not Audit.HEAD:
            break
        step = store.append(item.raw, head=detail, head_after=extend(detail, item.raw))
        audit = Audit.HEAD if step.status is Status.HEAD else Audit.AUDITED
        detail = step.why
    if audit is Audit.HEAD:
        audit, detail = Audit.FAILED, "the ledger head kept moving"
    return Stop(stop.status, stop.grant, stop.restriction, stop.origin, audit, detail)


def reassert(store: Store, trust: Trust, item: Verified[Revocation]) -> Stop:
    """Repeat a revocation: make sure that the tombstone stands and that no covered term is active.

    A later term is left alone, unless a blind revocation covers it by the time it was issued.

    Raises:
        StoreError: As `Store.revoke`.
    """
    stop = store.revoke(
        epoch=item.record.epoch,
        record=item.raw,
        identity=item.identity,
        head="",
        head_after="",
        again=True,
    )
    if stop.status is not Status.LATER or stop.grant is None or not item.record.blind:
        return stop
    try:
        grant = trust.grant(stop.grant).record
    except RecordError:
        return stop
    if item.record.covers(grant.term, grant.issued_at_ms):
        # The head cannot match, so no second ledger entry is written.
        return store.revoke(
            epoch=item.record.epoch,
            record=item.raw,
            identity=item.identity,
            head="-",
            head_after="-",
        )
    return stop
