"""From Redis into an archive: what is new, while others write, and only what continues what is there.

Entries of the last seconds wait for the next run: a failover may lose them, and an archive that had them
would be another history than the ledger from then on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

import msgspec

from golive_redis.audit import beginning as begun
from golive_redis.audit.archive import Archive
from golive_redis.audit.beginning import Beginning, place
from golive_redis.audit.history import BrokenLedgerError
from golive_redis.audit.layout import changed, read_file
from golive_redis.audit.opening import KINDS, Keysets
from golive_redis.audit.reading import write_line
from golive_redis.audit.writing import Writer
from golive_redis.errors import RecordError, RefusedError
from golive_redis.records.checkpoint import Checkpoint
from golive_redis.records.directive import Grant, Restriction, Revocation
from golive_redis.records.envelope import decode
from golive_redis.records.ledger import Entry, extend
from golive_redis.records.logpolicy import Judged, Policy
from golive_redis.records.rotation import digest_of, payload_of
from golive_redis.records.tiles import WIDTH
from golive_redis.store.keyspace import RECEIPTS_MS
from golive_redis.store.store import Store

BEFORE = "before.jsonl"
"""What stood in Redis before a new generation of the ledger, in its archive."""
_DIRECTIVES = {kind.payload_type() for kind in (Grant, Restriction, Revocation)}


class LostTailError(RecordError):
    """Redis has lost entries that are archived; nothing was changed.

    Attributes:
        common: How many entries both have from the beginning.
        newer: Redis has others after those.
    """

    reason = "ledger-lost"

    def __init__(self, message: str, *, common: int, newer: bool, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.common = common
        self.newer = newer


class Archived(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        size: Entries in the archive.
        new: How many of them came now.
        root: Of the tree over them, read back from the files.
        waiting: How many are too young.
        checkpoint: The one that was held against the archive; None when there is none.
        judged: The same, with who has signed it.
        receipts: Directives whose receipts were kept.
    """

    size: int
    new: int
    root: bytes
    waiting: int
    checkpoint: Checkpoint | None
    judged: Judged | None
    receipts: int


def require_ours(store: Store, keysets: Keysets) -> None:
    """Refuse the store of another fleet (A12).

    Raises:
        RefusedError: It is one.
        StoreError: Redis cannot be asked.
    """
    theirs, ours = store.fleet_id(), keysets.by_version[keysets.newest].fleet
    if theirs not in {"", ours}:
        raise RefusedError(
            f"this store belongs to fleet {theirs[:8]}..., and this keyset to fleet {ours[:8]}...",
            hint="is it the right configuration?",
        )


def archive(
    store: Store,
    keysets: Keysets,
    writer: Writer,
    beginning: Beginning,
    *,
    policy: Policy,
    settled_ms: int,
    told: Callable[[int], None] = lambda _: None,
) -> Archived:
    """Bring an archive up to the ledger in Redis.

    Args:
        store: A connected store.
        keysets: Those at hand; they are kept beside it.
        writer: The archive.
        beginning: Where the ledger in Redis begins.
        policy: By which its checkpoint is judged.
        settled_ms: How old an entry has to be.
        told: Told how many entries the archive has, after each page.

    Raises:
        LostTailError: Redis has lost what is archived.
        BrokenLedgerError: An entry does not follow the one before it.
        ArchiveChangedError: A file is not what was written.
        RecordError: The checkpoint is about another ledger than the archive.
        RefusedError: What stands between the two is in neither.
        ConfigError: The archive cannot be written.
        StoreError: Redis cannot be asked.
    """
    raw = store.checkpoint()  # before the entries: so it is never about more than they are
    until_ms = store.server_ms() - settled_ms
    before, waiting = writer.reach.size, 0
    for page in _continuing(store, writer, beginning):
        good = [entry for entry in page if entry.at_ms <= until_ms]
        writer.append(good, _begins(good, writer.size, keysets))
        told(writer.size)
        if len(good) < len(page):  # ids rise, so all after it are younger
            waiting = _left(store, writer)
            break
    if beginning.generation > 1 and not before:
        _keep_before(store, writer, beginning)
    root = writer.settle().root()
    judged = _checkpoint(writer, policy, raw) if raw else None
    for keyset in keysets.by_version.values():
        payload = payload_of(keyset)
        writer.keep(f"keysets/{keyset.version}-{digest_of(payload)}.json", payload)
    return Archived(
        size=writer.reach.size,
        new=writer.reach.size - before,
        root=root,
        waiting=waiting,
        checkpoint=None if judged is None else judged.checkpoint,
        judged=judged,
        receipts=_receipts(store, writer),
    )


def _keep_before(store: Store, writer: Writer, beginning: Beginning) -> None:
    """Keep what stands in Redis before a new generation: entries that no other archive may have."""
    last = place(beginning.last_id)
    entries = (entry for page in store.ledger() for entry in page)
    before = takewhile(lambda entry: place(entry.id) <= last, entries)
    lines = [write_line(index, entry) for index, entry in enumerate(before)]
    writer.keep(BEFORE, b"".join(lines))


def _left(store: Store, writer: Writer) -> int:
    return sum(len(page) for page in store.ledger(f"({writer.last_id}" if writer.last_id else "-"))


def _continuing(store: Store, writer: Writer, beginning: Beginning) -> Iterator[list[Entry]]:
    """Yield what follows the archive, page by page, its chain judged."""
    size, head, last_id = writer.reach.size, writer.reach.head, writer.reach.last_id
    if size < beginning.count:
        raise RefusedError(
            f"entries {size} to {beginning.count - 1} are in neither: Redis has trimmed them, and "
            f"{writer.folder} ends before",
            hint="name the archive that has them",
        )
    if size > beginning.count:
        found = store.ledger_first(last_id)
        if found is None or (found.id, found.head) != (last_id, head):
            raise lost(store, writer, beginning)
    for page in store.ledger(f"({last_id}" if last_id else "-"):
        for at, entry in enumerate(page):
            follows = extend(head, entry.envelope)
            if entry.others or not entry.envelope:
                raise BrokenLedgerError(size + at, "V1", "has other fields than r and h")
            if follows != entry.head:
                raise BrokenLedgerError(size + at, "V2", "does not follow the entry before it")
            head = follows
        size += len(page)
        yield page


def common(store: Store, held: Archive, beginning: Beginning) -> tuple[int, Entry | None]:
    """Return how many entries the ledger in Redis and an archive share, and what Redis has after them.

    Raises:
        StoreError: Redis cannot be asked.
        ArchiveChangedError: A file is not what was written.
    """
    count = min(beginning.count, held.reach.size)
    archived = (entry for page in held.entries(count) for entry in page)
    for page in store.ledger(beginning.start):
        for entry in page:
            if next(archived, None) != entry:
                return count, entry
            count += 1
    return count, None


def lost(store: Store, held: Archive, beginning: Beginning) -> LostTailError:
    """Return what to say where Redis has not what is archived."""
    shared, newer = common(store, held, beginning)
    size = held.reach.size
    if newer is None:
        return LostTailError(
            f"Redis has lost entries {shared} to {size - 1}, which are archived",
            common=shared,
            newer=False,
            hint=f"golive audit restore {held.folder}",
        )
    return LostTailError(
        f"Redis has another entry {shared} than the archive, which has {size}: it has lost entries, and "
        "others were written since; or somebody has written it anew",
        common=shared,
        newer=True,
        hint="find out which; `golive audit generation --archive DIR --reason ...` begins it anew",
    )


def directive_of(entry: Entry) -> str:
    """Return the identity of a directive, "" for what is none."""
    try:
        envelope = decode(entry.envelope)
    except RecordError:
        return ""
    return envelope.identity if envelope.payload_type in _DIRECTIVES else ""


def _begins(entries: list[Entry], index: int, keysets: Keysets) -> int | None:
    """Return the index of the newest note among these that says where the ledger in Redis begins."""
    found = None
    for at, entry in enumerate(entries):
        with suppress(RecordError):
            envelope = decode(entry.envelope)
            if KINDS.get(envelope.payload_type) is not None and b'"topic":"' in envelope.payload:
                found = index + at if begun.read(entry.envelope, keysets) is not None else found
    return found


def _checkpoint(writer: Writer, policy: Policy, raw: bytes) -> Judged:
    """Hold the checkpoint of the ledger against the archive, and keep it.

    Raises:
        RecordError: Nobody trusted has signed it, or it is about another ledger. A fork.
    """
    judged = policy.look(raw)
    said = judged.checkpoint
    if said.size > writer.reach.size:
        raise RecordError(
            f"the checkpoint is about {said.size} entries, and the ledger ends before: it has lost some"
        )
    if writer.tree_at(said.size).root() != said.root:
        raise RecordError(
            f"the checkpoint of {said.size} entries is about another ledger than {writer.folder}: a fork"
        )
    kept = writer.checkpoint()
    if kept is None or _worth(policy, kept) <= _worth(policy, raw):
        writer.keep_checkpoint(raw, said.size)
    return judged


def _worth(policy: Policy, raw: bytes) -> tuple[bool, int]:
    """Order checkpoints: one that is cosigned as the policy says is worth more than a longer one."""
    try:
        found = policy.look(raw)
    except RecordError:
        return False, -1
    return policy.met(found.witnesses), found.checkpoint.size


def _receipts(store: Store, writer: Writer) -> int:
    """Keep the receipts of the directives that may still have some in Redis; return of how many."""
    since_ms = store.server_ms() - 2 * RECEIPTS_MS
    wanted: set[str] = set()
    for index in range((writer.reach.size - 1) // WIDTH, -1, -1):
        page = next(writer.entries(index * WIDTH))
        wanted |= {name for entry in page if (name := directive_of(entry))}
        if page[0].at_ms < since_ms:
            break
    kept = 0
    for name in sorted(wanted):
        found, whole = store.receipts(name)
        if found and whole:
            path = f"receipts/{name}.json"
            earlier = read_receipts(writer.folder / path)
            writer.keep(path, receipts_file({*earlier, *found}))
            kept += 1
    return kept


def receipts_file(found: Iterable[bytes]) -> bytes:
    """Return the receipts for a directive as a file: a line each, sorted, and a digest of them."""
    lines = b"".join(sorted(raw + b"\n" for raw in found))
    return lines + hashlib.sha256(lines).hexdigest().encode() + b"\n"


def read_receipts(path: Path) -> list[bytes]:
    """Return the receipts in a file; none where there is no file.

    Raises:
        ArchiveChangedError: It is not what was written.
        ConfigError: It cannot be read.
    """
    if not path.exists():
        return []
    raw = read_file(path)
    *found, _ = raw.split(b"\n")[:-1] or [b""]
    if receipts_file(found) != raw:
        raise changed(path, "it is not what was written")
    return found
