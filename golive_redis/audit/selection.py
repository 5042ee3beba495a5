"""Which entries somebody asks for: since when, by whom, of what kind; or one of them, by its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from golive_redis.audit.beginning import Beginning, entries_now, of_stream, place
from golive_redis.audit.opening import KINDS, Keysets, Opened, opened
from golive_redis.core.labels import same
from golive_redis.errors import RecordError, RefusedError
from golive_redis.records.directive import GrantKind, Restriction, RestrictionKind
from golive_redis.records.envelope import decode
from golive_redis.records.ledger import Entry, Note
from golive_redis.records.record import duration_ms
from golive_redis.records.refusal import Refusal
from golive_redis.store.store import Store

SHORTEST = 4  # characters of an identity that name an entry
TRIES = 5
_DURATION = re.compile(r"[0-9]{1,6}(ms|s|m|h|d)")


class Found(msgspec.Struct, frozen=True):
    """An entry, where it stands, and what it says.

    Attributes:
        index: From 0 at the beginning of the ledger, also where that was trimmed.
        entry: As stored.
        opened: What it says; None when it is refused.
        refused: Why; "" when it is not.
    """

    index: int
    entry: Entry
    opened: Opened | None
    refused: str


class Wanted(msgspec.Struct, frozen=True):
    """What is asked for; all of it has to hold. Entries that are refused are found by time alone.

    Attributes:
        since_ms: Entered at or after, Unix ms of the server's clock.
        until_ms: Entered before.
        actor: Among its signers, or its issuer.
        kind: Of the record, or of the directive: `grant`, `halt`, `note`...
        topic: Of a note.
        labels: Of a restriction: exactly these.
        refused: Refusals only.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    actor: str = ""
    kind: str = ""
    topic: str = ""
    labels: Mapping[str, str] = {}
    refused: bool = False

    @property
    def by_time_alone(self) -> bool:
        """True when nothing is asked of the record."""
        return not (self.actor or self.kind or self.topic or self.labels or self.refused)

    def fits(self, found: Found) -> bool:
        """Tell whether an entry is asked for, its time aside."""
        if found.opened is None:
            return self.by_time_alone or self.refused
        record = found.opened.record
        kinds = {record.KIND, str(getattr(record, "kind", record.KIND))}
        return (
            (not self.actor or self.actor in {record.by, *found.opened.signers})
            and (not self.kind or self.kind in kinds)
            and (not self.topic or (isinstance(record, Note) and record.topic == self.topic))
            and (
                not self.labels
                or (isinstance(record, Restriction) and same(record.labels) == same(self.labels))
            )
            and (not self.refused or isinstance(record, Refusal))
        )


def known_kinds() -> list[str]:
    """Return what an entry can be, in the words of `Wanted.kind`."""
    records = [kind.KIND for kind in KINDS.values()]
    return [*records, *GrantKind, *RestrictionKind]


def instant(text: str, now_ms: int) -> int:
    """Return the Unix ms that somebody means, in UTC.

    Args:
        text: A duration before now (`90m`, `1d`), `today`, `yesterday`, a day (`2026-11-26`), or a time
            (`2026-11-26T13:38`, with a zone or in UTC).
        now_ms: Unix ms.

    Raises:
        RefusedError: It is none of these.
    """
    if _DURATION.fullmatch(text):
        return now_ms - duration_ms(text)
    midnight = datetime.fromtimestamp(now_ms / 1000, UTC).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    days = {"today": 0, "yesterday": 1}
    if text in days:
        return round((midnight - timedelta(days=days[text])).timestamp() * 1000)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise RefusedError(
            f"{text[:40]!r} is no time",
            hint="write 90m, 1d, today, yesterday, 2026-11-26 or 2026-11-26T13:38 (UTC)",
        ) from None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def found(index: int, entry: Entry, keysets: Keysets) -> Found:
    """Return an entry with what it says, verified."""
    try:
        return Found(index, entry, opened(entry.envelope, keysets), "")
    except RecordError as error:
        return Found(index, entry, None, error.message)


def newest_first(store: Store, begun: Beginning) -> Iterator[tuple[int, Entry]]:
    """Yield the entries of the ledger with their indices, from its end to its beginning.

    Raises:
        StoreError: Redis cannot be asked.
    """
    length, page = entries_now(store, begun), store.ledger_before()
    for _ in range(TRIES):  # an entry that comes between would shift every index
        if (now := entries_now(store, begun)) == length:
            break
        length, page = now, store.ledger_before()
    index, before = length - 1, place(begun.last_id)
    while page:
        for entry in page:
            if begun.last_id and place(entry.id) <= before:
                return
            yield index, entry
            index -= 1
        page = store.ledger_before(f"({page[-1].id}")


def begun_at(store: Store, keysets: Keysets) -> Beginning:
    """Return where the ledger in Redis begins; with the first of all where nothing says where.

    Raises:
        StoreError: Redis cannot be asked.
    """
    return of_stream(store, keysets) or Beginning()


def selected(store: Store, keysets: Keysets, wanted: Wanted, limit: int | None) -> list[Found]:
    """Return the newest entries that are asked for, at most so many, oldest first.

    Raises:
        StoreError: Redis cannot be asked.
    """
    out: list[Found] = []
    for index, entry in newest_first(store, begun_at(store, keysets)):
        if wanted.until_ms is not None and entry.at_ms >= wanted.until_ms:
            continue
        if wanted.since_ms is not None and entry.at_ms < wanted.since_ms:
            break
        item = found(index, entry, keysets)
        if wanted.fits(item):
            out.append(item)
            if limit is not None and len(out) >= limit:
                break
    return out[::-1]


def named(store: Store, keysets: Keysets, name: str) -> Found:
    """Return the one entry of that name.

    Args:
        store: A connected store.
        keysets: Those at hand.
        name: An index, an epoch (`e7`), or the first characters of an identity.

    Raises:
        RefusedError: There is none, or several.
        StoreError: Redis cannot be asked.
    """
    epoch = re.fullmatch(r"e([0-9]{1,16})", name)
    if not epoch and not re.fullmatch(r"[0-9]{1,9}|[0-9a-f]{4,64}", name):
        raise RefusedError(
            f"{name[:70]!r} names no entry",
            hint=f"an index, an epoch (e7), or {SHORTEST} or more characters of an identity",
        )
    matching: list[Found] = []
    for index, entry in newest_first(store, begun_at(store, keysets)):
        if not epoch and name.isdigit() and index == int(name):
            return found(index, entry, keysets)
        if epoch:
            item = found(index, entry, keysets)
            if item.opened and getattr(item.opened.record, "epoch", None) == int(epoch[1]):
                matching.append(item)
        elif len(name) >= SHORTEST and _identity(entry).startswith(name):
            matching.append(found(index, entry, keysets))
    if not matching:
        raise RefusedError(f"no entry is called {name}", hint="`golive audit list` shows them")
    if len(matching) > 1:
        places = ", ".join(str(item.index) for item in reversed(matching))
        raise RefusedError(
            f"{len(matching)} entries are called {name}: {places}", hint="name one by its index"
        )
    return matching[0]


def _identity(entry: Entry) -> str:
    try:
        return decode(entry.envelope).identity
    except RecordError:
        return ""
