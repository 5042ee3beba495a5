"""Taking old entries out of Redis: first the signed note that says so, then the entries, step by step.

Killed at any point, the ledger can be read: before the note nothing has happened, after it readers begin
where it says, whatever of the entries before is still there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import msgspec

from golive_redis import clock
from golive_redis.audit.archive import Archive
from golive_redis.audit.archiving import BEFORE, require_ours
from golive_redis.audit.beginning import Beginning, count_before, facts, of_stream, place
from golive_redis.audit.opening import Keysets
from golive_redis.audit.reading import entries_of_file
from golive_redis.audit.trimming import Plan, plan
from golive_redis.delivery.append import append_once
from golive_redis.errors import RecordError
from golive_redis.records.envelope import Signer, seal
from golive_redis.records.ledger import TRIMMED, Entry, Note
from golive_redis.records.trust import Trust
from golive_redis.store.store import Store

PAUSE_MS = 20.0
"""Between two steps: whoever waits for an answer gets it first."""
NOT_FROM_THE_FIRST = (
    "the ledger in Redis does not begin with its first entry, and no note by a trusted key says why"
)


class Trimmed(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        first: The index with which the ledger in Redis begins now.
        removed: How many entries were taken out.
        left: How many entries Redis has.
        note: Its identity; "" where nothing was to be done.
    """

    first: int
    removed: int
    left: int
    note: str = ""


def trim(
    store: Store,
    trust: Trust,
    keysets: Keysets,
    held: Archive,
    signers: Sequence[Signer],
    *,
    keep_ms: int,
    vouched: int,
    jobs: int = 1,
    told: Callable[[int], None] = lambda _: None,
) -> Trimmed:
    """Remove from Redis what is old, archived and vouched for.

    Args:
        store: A connected store, of a login that may trim.
        trust: This host's keyset, namespace and environment.
        keysets: Those at hand.
        held: The archive of the ledger.
        signers: Of the note: approvers, as many as a grant takes.
        keep_ms: What is younger stays.
        vouched: As from `audit.trimming.covered`.
        jobs: How many processes check signatures.
        told: Told how many entries were judged, after each page.

    Raises:
        RecordError: The ledger is broken, or the archive is of another. Nothing was removed.
        StoreError: Redis does not do it; the next run goes on.
    """
    require_ours(store, keysets)
    begun = of_stream(store, keysets)
    if begun is None:
        raise RecordError(NOT_FROM_THE_FIRST, hint="`golive audit verify` judges it")
    now_ms = store.server_ms()
    cut = plan(
        store,
        keysets,
        held,
        begun,
        before_ms=now_ms - keep_ms,
        vouched=vouched,
        jobs=jobs,
        told=told,
    )
    rest = 0
    if begun.count or cut is not None:
        rest = _archived_rest(store, held, begun, vouched)
    # What a run that was killed has left. What stands before a new generation is no rest of a trim.
    removed = _remove(store, begun.start, ()) if begun.count and rest else 0
    if cut is None:
        return Trimmed(begun.count, removed, store.ledger_length())
    raw = seal(_note(trust, signers[0], begun, cut), *signers)
    identity = trust.generation(raw).identity  # not one that no reader would go by
    append_once(store, raw)
    store.set_begins(raw)
    removed += _remove(store, f"({cut.carry.last_id}", cut.ids)
    return Trimmed(cut.count, removed, store.ledger_length(), identity)


def _note(trust: Trust, signer: Signer, begun: Beginning, cut: Plan) -> Note:
    said = facts(
        cut.carry,
        cut.tree,
        generation=begun.generation,
        directives=cut.directives,
        **{"from": str(begun.count)},
    )
    return Note(
        **trust.heading(signer.principal, clock.wall_ms()),
        topic=TRIMMED,
        text=f"entries {begun.count} to {cut.count - 1} are archived and no more in Redis",
        facts=said,
    )


def _archived_rest(store: Store, held: Archive, begun: Beginning, vouched: int) -> int:
    """Return how many entries stand in Redis before the ledger begins; the archive has each of them.

    That a note says that they were trimmed is no proof that anybody has them.

    Raises:
        RecordError: It has not, or nobody vouches for it. Nothing was removed.
        StoreError: Redis cannot be asked.
    """
    count = count_before(store, begun)
    if not count:
        return 0
    if begun.count > vouched:
        raise RecordError(
            f"{count} entries before entry {begun.count} are still in Redis, and only {vouched} are "
            f"archived in {held.folder} and vouched for",
            hint="`golive audit verify`; then find out who has signed the note",
        )
    older = 0
    kept = held.folder / BEFORE
    if begun.generation > 1 and kept.exists():
        older = sum(len(page) for page in entries_of_file(kept))
    skipped = older + begun.count - count  # they are gone already
    archived = islice(_archived(held, begun.count, kept if older else None), max(0, skipped), None)
    standing = (entry for page in store.ledger() for entry in page)
    for at, entry in enumerate(islice(standing, count)):
        if skipped < 0 or next(archived, None) != entry:
            raise RecordError(
                f"{entry.id} stands before entry {begun.count} in Redis, the {at + 1}. of {count}, and "
                f"{held.folder} has not that entry there: nothing is removed",
                hint="`golive audit verify`; then find out who has signed the note",
            )
    return count


def _archived(held: Archive, count: int, before: Path | None) -> Iterator[Entry]:
    """Yield what an archive has of the ledger before an index, after what stood before a generation."""
    pages = entries_of_file(before) if before is not None else iter(())
    yield from chain.from_iterable(pages)
    yield from islice(chain.from_iterable(held.entries()), count)


def _remove(store: Store, start: str, ids: tuple[str, ...]) -> int:
    """Remove what stands before an entry, a step at each of these ids; return how many that were."""
    first = store.ledger_first(start)
    if first is None:
        return 0
    removed = 0
    steps = list(ids)
    if not steps and start != "-":  # those ids are not known any more: they are read
        steps = [page[-1].id for page in store.ledger() if place(page[-1].id) < place(first.id)]
    for step in (*steps, first.id):
        removed += store.trim_ledger(step)
        clock.pause_ms(PAUSE_MS)
    return removed
