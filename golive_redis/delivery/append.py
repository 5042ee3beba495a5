"""Writing to the ledger: append a signed record at the head, exactly once."""

from __future__ import annotations

from golive_redis.errors import StoreError
from golive_redis.records.envelope import issued_at
from golive_redis.records.ledger import extend
from golive_redis.records.record import MAX_INT
from golive_redis.store.replies import Status
from golive_redis.store.store import Store

MAX_TRIES = 20


def append(store: Store, record: bytes) -> None:
    """Append a record to the ledger, following the head while others write too.

    Raises:
        StoreError: The ledger cannot be written, or its head kept moving for 20 tries.
    """
    head = store.head()
    for _ in range(MAX_TRIES):
        step = store.append(record, head=head, head_after=extend(head, record))
        if step.status is not Status.HEAD:
            return
        head = step.why
    raise StoreError(f"other entries came first {MAX_TRIES} times; try again")


def append_once(store: Store, record: bytes, *, limit: int = MAX_INT) -> bool:
    """Append a record unless it is in the ledger already; False when it is.

    Args:
        store: A connected store.
        record: A signed record, in its envelope.
        limit: How many entries it is looked for in, at most. Without a limit it takes as long as the
            ledger since the record was issued is long: 11,000 entries take about a second.

    Raises:
        StoreError: As `append`, or there are more entries than the limit. Nothing was appended.
        RecordError: It is no envelope.
    """
    issued_at_ms, head = issued_at(record), store.head()
    for _ in range(MAX_TRIES):
        # Looked for after the head was read: another writer of it meanwhile moves the head.
        if store.recorded(record, issued_at_ms, limit):
            return False
        step = store.append(record, head=head, head_after=extend(head, record))
        if step.status is not Status.HEAD:
            return step.status is Status.OK
        head = step.why
    raise StoreError(f"other entries came first {MAX_TRIES} times; try again")
