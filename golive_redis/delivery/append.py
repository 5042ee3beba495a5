"""Writing to the ledger: append a signed record at the head, exactly once."""

from __future__ import annotations

from golive_redis.errors import StoreError
from golive_redis.records.ledger import extend
from golive_redis.store.replies import Status
from golive_redis.store.store import Store

MAX_TRIES = 20
LOOK_BACK = 2_000


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
    raise StoreError(f"the ledger head moved {MAX_TRIES} times; try again")


def append_once(store: Store, record: bytes) -> bool:
    """Append a record unless it is among the newest 2,000 entries; False when it was.

    Raises:
        StoreError: As `append`.
    """
    head = store.head()
    for _ in range(MAX_TRIES):
        # Looked for after the head was read: another writer of it meanwhile moves the head.
        if store.recorded(record, LOOK_BACK):
            return False
        step = store.append(record, head=head, head_after=extend(head, record))
        if step.status is not Status.HEAD:
            return step.status is Status.OK
        head = step.why
    raise StoreError(f"the ledger head moved {MAX_TRIES} times; try again")
