"""Writing to the ledger: append a signed record at the head, exactly once."""

from __future__ import annotations

from golive_redis import clock
from golive_redis.errors import StoreError
from golive_redis.jitter import JITTER
from golive_redis.records.envelope import issued_at
from golive_redis.records.ledger import extend
from golive_redis.records.record import MAX_INT
from golive_redis.store.replies import Status
from golive_redis.store.store import Store

MAX_TRIES = 40
AT_ONCE = 3
"""So many tries wait for nothing: a lone command meets another writer once or twice."""
FIRST_PAUSE_MS = 2.0
MOST_PAUSE_MS = 64.0


def pause(lost: int) -> None:
    """Wait before the next try, after so many that met a moved head.

    Writers that collide and come back at once collide again: of 24 at a time some ran out of tries. So
    each waits for a random time, twice as long after each loss: 2 s in all of `MAX_TRIES`, at most.
    """
    if lost > AT_ONCE:
        most_ms = min(MOST_PAUSE_MS, FIRST_PAUSE_MS * (1 << min(lost - AT_ONCE, 8)))
        clock.pause_ms(JITTER.uniform(0.0, most_ms))


def append(store: Store, record: bytes) -> None:
    """Append a record to the ledger, following the head while others write too.

    Raises:
        StoreError: The ledger cannot be written, or its head kept moving for 40 tries.
    """
    head = store.head()
    for lost in range(1, MAX_TRIES + 1):
        step = store.append(record, head=head, head_after=extend(head, record))
        if step.status is not Status.HEAD:
            return
        head = step.why
        pause(lost)
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
    for lost in range(1, MAX_TRIES + 1):
        # Looked for after the head was read: another writer of it meanwhile moves the head.
        if store.recorded(record, issued_at_ms, limit):
            return False
        step = store.append(record, head=head, head_after=extend(head, record))
        if step.status is not Status.HEAD:
            return step.status is Status.OK
        pause(lost)
        # What came while it waited has moved the head on: the one that is tried next is the newest.
        head = store.head() if lost > AT_ONCE else step.why
    raise StoreError(f"other entries came first {MAX_TRIES} times; try again")
