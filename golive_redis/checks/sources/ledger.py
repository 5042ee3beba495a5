"""The `ledger` source: on how many days a profile was signed for, how long no trigger acted.

It rests on a ledger that was judged whole (`golive_redis.audit`). What this host has judged is not
judged again, so a ledger of any length is asked in the time that its new entries take.
"""

from __future__ import annotations

from collections.abc import Callable

from golive_redis import clock
from golive_redis.audit.checkpoints import LogReader
from golive_redis.audit.counting import Counts
from golive_redis.audit.memory import LedgerMemory
from golive_redis.audit.opening import Keysets
from golive_redis.audit.seen import CheckpointMemory
from golive_redis.audit.stream import KnownLog, Stream
from golive_redis.checks.question import LedgerSource, LedgerValue
from golive_redis.checks.source import Fetched, Surroundings, UnansweredError
from golive_redis.errors import RecordError
from golive_redis.records.trust import Trust
from golive_redis.store.store import Store

TIMEOUT_MS = 2_000.0
# Of the time that a question has: the rest is for the store, and for the one after it.
SHARE = 0.6


def fetch(source: LedgerSource, where: Surroundings, deadline_ms: float) -> Fetched:
    """Return one of the numbers, from the ledger of this switch as far back as it goes.

    Raises:
        UnansweredError: `where` has no trust, so no signature can be verified; or there is more to be
            judged than the time allows. What was judged is remembered, so the next try goes on there.
        StoreError: Redis cannot be asked; the check is unknown.
        RecordError: An entry breaks a rule of the ledger.
        StateFileError: This host's memory of the ledger cannot be read. One that cannot be written
            costs time and no truth: all is judged again.
    """
    if where.trust is None:
        raise UnansweredError("the ledger is not read here")
    counts = _counted(where, where.trust, deadline_ms)
    if source.value is LedgerValue.ACTIVE_DAYS:
        return Fetched(counts.active_days(source.profile))
    return Fetched(counts.quiet_days(clock.wall_ms()))


def _log(where: Surroundings, trust: Trust) -> Callable[[int], KnownLog] | None:
    """Return how to find what this host knows of the checkpoints of a generation (V14)."""
    settings = where.log
    if settings is None:
        return None

    def known(generation: int) -> KnownLog:
        policy = settings.of_generation(generation).policy([trust.keyset])
        memory = CheckpointMemory(where.state_dir, trust, generation)
        return KnownLog(LogReader.by(policy, [trust.keyset]), memory)

    return known


def _counted(where: Surroundings, trust: Trust, deadline_ms: float) -> Counts:
    until_ms = clock.now_ms() + SHARE * deadline_ms
    # A grant of a keyset that is not at hand counts when the keyset of this host verifies it.
    keysets = Keysets(
        {trust.keyset.version: trust.keyset}, trust.namespace, trust.environment, True
    )
    link = where.address.connect(timeout_ms=min(TIMEOUT_MS, deadline_ms), name="golive-check")
    try:
        stream = Stream(
            Store(link, where.address.keyspace),
            keysets,
            LedgerMemory(where.state_dir, trust),
            policies={where.policy: where.haste} if where.haste is not None else {},
            log=_log(where, trust),
        )
        verdict = stream.what_is_new(until_ms)
    finally:
        link.close()
    if verdict.broken is not None:
        raise RecordError(
            f"the ledger is not good: {verdict.broken.message}",
            hint="`golive audit verify` judges it, and names the entry",
        )
    if not stream.whole:
        again = "is remembered" if where.state_dir else "is lost, for there is no state_dir"
        if stream.unremembered is not None:
            again = f"is lost: {stream.unremembered.message}"
        raise UnansweredError(
            f"the ledger is long: {verdict.entries} entries were judged in time, which {again}",
            hint="`golive audit verify` judges all of it once; after that only new entries are",
        )
    return verdict.counts
