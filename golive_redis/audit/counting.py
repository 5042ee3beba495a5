"""What checks ask of a ledger: on which days a profile was signed for, and when a trigger acted last."""

from __future__ import annotations

from collections.abc import Iterable

from golive_redis.audit.opening import Opened
from golive_redis.errors import RecordError
from golive_redis.records.directive import (
    Grant,
    GrantKind,
    Profile,
    Restriction,
    Revocation,
    smallest,
)
from golive_redis.records.envelope import decode
from golive_redis.records.ledger import Note
from golive_redis.records.record import Count, Ms, Strict, decodable
from golive_redis.records.trust import Trust
from golive_redis.store.store import Store

DAY_MS = 86_400_000
# How the reason of a directive begins that a trigger has issued, and the topic of its note.
TRIGGER = "trigger"


@decodable
class Counts(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Counted over a ledger.

    Attributes:
        days: On which days since 1970 grants of a profile were issued, UTC, ascending.
        triggered_ms: When a trigger acted last, Unix ms; None when none has.
        granted_ms: When the first grant was issued; likewise.
    """

    days: dict[Profile, list[Count]] = {}
    triggered_ms: Ms | None = None
    granted_ms: Ms | None = None

    def active_days(self, profile: Profile) -> int:
        """Return on how many days that profile or a larger one was signed for."""
        large = [days for item, days in self.days.items() if smallest([item, profile]) is profile]
        return len({day for days in large for day in days})

    def quiet_days(self, now_ms: int) -> int:
        """Return for how many days no trigger has acted, since the first grant where none ever has."""
        since = self.triggered_ms if self.triggered_ms is not None else self.granted_ms
        return max(0, now_ms - since) // DAY_MS if since is not None else 0

    def after(self, found: Iterable[Opened]) -> Counts:
        """Return the counts after further entries.

        A grant whose key is trusted no more does not count. What a trigger did counts all the same: it
        is no good news, and so this fails closed.
        """
        days = {profile: dict.fromkeys(kept) for profile, kept in self.days.items()}
        triggered_ms, granted_ms = self.triggered_ms, self.granted_ms
        for item in found:
            record = item.record
            if isinstance(record, Grant) and item.judged:
                days.setdefault(record.profile, {})[record.issued_at_ms // DAY_MS] = None
                granted_ms = record.issued_at_ms if granted_ms is None else granted_ms
            elif _is_triggered(item):
                triggered_ms = max(triggered_ms or 0, record.issued_at_ms)
        kept = {profile: sorted(each) for profile, each in days.items()}
        return Counts(days=kept, triggered_ms=triggered_ms, granted_ms=granted_ms)


def activated_since(store: Store, trust: Trust, since_ms: int, most: int) -> list[int] | None:
    """Return when the activations of the ledger since then were issued, Unix ms; None when it is long.

    Args:
        store: A connected store.
        trust: Verifies the grants; what it refuses is none.
        since_ms: Entered since, Unix ms of the server's clock.
        most: So many entries are looked at, to the next full page.

    Raises:
        StoreError: The ledger cannot be read.
    """
    out: list[int] = []
    looked, page = 0, store.ledger_before()
    while page and page[0].at_ms > since_ms:
        out += [at for entry in page if (at := _activated_at(entry.envelope, trust)) is not None]
        looked += len(page)
        if looked >= most:
            return None
        page = store.ledger_before(f"({page[-1].id}")
    return [at for at in out if at > since_ms]


def _activated_at(raw: bytes, trust: Trust) -> int | None:
    try:
        if decode(raw).payload_type != Grant.payload_type():
            return None
        record = trust.grant(raw).record
    except RecordError:
        return None
    return record.issued_at_ms if record.kind is GrantKind.ACTIVATE else None


def _is_triggered(found: Opened) -> bool:
    record = found.record
    if isinstance(record, Note):
        return record.topic == TRIGGER
    if isinstance(record, Restriction | Revocation):
        return record.reason.partition(" ")[0] == TRIGGER
    return False
