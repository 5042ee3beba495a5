"""The `ledger` source: on how many days a profile was signed for, how long no trigger acted."""

from __future__ import annotations

from golive_redis import clock
from golive_redis.checks.question import LedgerSource, LedgerValue
from golive_redis.checks.source import Fetched, Surroundings, UnansweredError
from golive_redis.errors import RecordError
from golive_redis.records.directive import Grant, Profile, Restriction, Revocation, smallest
from golive_redis.records.envelope import decode, peek
from golive_redis.records.ledger import GENESIS, Entry, Note, first_break
from golive_redis.records.trust import Trust
from golive_redis.store.store import Store

TIMEOUT_MS = 2_000.0
# Years of a busy fleet; with more, ask another source.
MAX_ENTRIES = 100_000
DAY_MS = 86_400_000
# How the reason of a directive begins that a trigger has issued, and the topic of its note.
TRIGGER = "trigger"


def fetch(source: LedgerSource, where: Surroundings, deadline_ms: float) -> Fetched:
    """Return one of the numbers, from the ledger of this switch as far back as it goes.

    Raises:
        UnansweredError: `where` has no trust, so no signature can be verified.
        StoreError: Redis cannot be asked; the check is unknown.
        RecordError: The chain is broken, or too long to be looked at.
    """
    if where.trust is None:
        raise UnansweredError("the ledger is not read here")
    records = [entry.envelope for entry in _entries(where, min(TIMEOUT_MS, deadline_ms))]
    if source.value is LedgerValue.ACTIVE_DAYS:
        return Fetched(_active_days(where.trust, records, source.profile))
    return Fetched(_quiet_days(where.trust, records))


def _entries(where: Surroundings, timeout_ms: float) -> list[Entry]:
    link = where.address.connect(timeout_ms=timeout_ms, name="golive-check")
    try:
        store = Store(link, where.address.keyspace)
        head = store.head()
        entries = store.entries(MAX_ENTRIES)
    finally:
        link.close()
    if len(entries) >= MAX_ENTRIES:
        raise RecordError(f"the ledger has {MAX_ENTRIES} entries or more")
    # Where old entries were trimmed away, the head before the first one is unknown.
    if first_break(entries[1:], start=entries[0].head if entries else GENESIS) is not None:
        raise RecordError("the chain of the ledger is broken")
    if head not in {GENESIS, *(entry.head for entry in entries)}:
        raise RecordError("the end of the ledger is missing")
    return entries


def _active_days(trust: Trust, records: list[bytes], profile: Profile) -> int:
    days = set()
    for raw in records:
        grant = _grant(trust, raw)
        if grant is not None and smallest([grant.profile, profile]) is profile:
            days.add(grant.issued_at_ms // DAY_MS)
    return len(days)


def _quiet_days(trust: Trust, records: list[bytes]) -> int:
    since = [at for raw in records if (at := _triggered_at(raw)) is not None]
    if not since:
        grants = (_grant(trust, raw) for raw in records)
        since = [grant.issued_at_ms for grant in grants if grant is not None][:1]
    return max(0, clock.wall_ms() - max(since)) // DAY_MS if since else 0


def _grant(trust: Trust, raw: bytes) -> Grant | None:
    """Return a grant that verifies; one of a key that is trusted no more does not count."""
    try:
        if decode(raw).payload_type != Grant.payload_type():
            return None
        return trust.grant(raw).record
    except RecordError:
        return None


def _triggered_at(raw: bytes) -> int | None:
    """Return when a trigger acted, if that is what a record tells.

    Fails closed: also by a key that is trusted no more, for a trigger is no good news.
    """
    kinds: tuple[type[Restriction | Revocation | Note], ...] = (Restriction, Revocation, Note)
    for kind in kinds:
        try:
            record = peek(raw, kind)
        except RecordError:
            continue
        text = record.topic if isinstance(record, Note) else record.reason
        return record.issued_at_ms if text.partition(" ")[0] == TRIGGER else None
    return None
