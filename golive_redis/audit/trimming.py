"""What may be taken out of Redis: old entries that are archived, read back and vouched for.

A ledger is cut between two bundles of its archive, where nothing after the cut is judged by what stands
before it, but for the directives that later ones name: those are named in the note about the cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice

import msgspec

from golive_redis.audit.archive import Archive
from golive_redis.audit.beginning import NAMED, Beginning
from golive_redis.audit.history import BrokenLedgerError, Carry
from golive_redis.audit.opening import KINDS, Keysets
from golive_redis.audit.verifying import Judge, judged
from golive_redis.errors import RecordError, RefusedError
from golive_redis.records.approval import Answer, Execution
from golive_redis.records.directive import Grant, Restriction, Revocation
from golive_redis.records.envelope import decode, peek
from golive_redis.records.ledger import Entry
from golive_redis.records.logpolicy import Policy
from golive_redis.records.merkle import CompactRange
from golive_redis.records.record import Record
from golive_redis.records.report import Report
from golive_redis.records.tiles import WIDTH
from golive_redis.store.store import Store

NEWEST = 7
"""Directives before the cut that a note names in any case: the next one may follow any of them."""
_REMEMBERED = 65_536


class Plan(msgspec.Struct, frozen=True):
    """A cut.

    Attributes:
        count: How many entries stand before it, from the beginning of the ledger.
        carry: What is known after them.
        tree: Over them.
        directives: Identities before it that later entries name, and the newest, oldest first.
        first_id: Of the entry after it.
        ids: Every so many entries before it an id, from the beginning of the ledger in Redis.
    """

    count: int
    carry: Carry
    tree: CompactRange
    directives: tuple[str, ...]
    first_id: str
    ids: tuple[str, ...]


def covered(held: Archive, policy: Policy, *, witnessed: bool) -> int:
    """Return how many entries of an archive are vouched for.

    Args:
        held: The archive.
        policy: By which its checkpoint is judged.
        witnessed: A checkpoint is asked for, cosigned as the policy says; else the archive is enough.

    Raises:
        RefusedError: There is no checkpoint, or not enough have cosigned it.
        RecordError: It is about another ledger, or nobody trusted has signed it.
    """
    raw = held.checkpoint()
    if raw is None:
        if witnessed:
            raise RefusedError(
                f"there is no checkpoint in {held.folder}: nobody has signed what would be removed",
                hint="heartbeats sign one each minute; then `golive audit archive` again",
            )
        return held.reach.size
    found = policy.look(raw)
    said = found.checkpoint
    if held.tree_at(said.size).root() != said.root:
        raise RecordError(f"the checkpoint in {held.folder} is about another ledger: a fork")
    if not witnessed:
        return held.reach.size
    if not policy.met(found.witnesses):
        names = ", ".join(sorted(found.witnesses)) or "nobody"
        raise RefusedError(
            f"the checkpoint of {said.size} entries is cosigned by {names}: audit.quorum asks for more",
            hint="when the witnesses are back: `golive audit archive`, then again",
        )
    return said.size


def plan(
    store: Store,
    keysets: Keysets,
    held: Archive,
    beginning: Beginning,
    *,
    before_ms: int,
    vouched: int,
    jobs: int = 1,
    told: Callable[[int], None] = lambda _: None,
) -> Plan | None:
    """Return where the ledger in Redis can be cut; None when nothing is old enough.

    The whole ledger in Redis is judged, and what would be removed is held against the archive entry by
    entry.

    Args:
        store: A connected store.
        keysets: Those at hand.
        held: Its archive.
        beginning: Where the ledger in Redis begins.
        before_ms: Only what was entered before, Unix ms of the server's clock.
        vouched: As from `covered`.
        jobs: How many processes check signatures.
        told: Told how many entries were judged, after each page.

    Raises:
        BrokenLedgerError: An entry breaks a rule. Nothing is removed from such a ledger.
        RecordError: The archive has something else.
        RefusedError: Too many directives are named by later entries.
        StoreError: Redis cannot be asked.
    """
    ties = Ties()
    index = limit = beginning.count
    for page in store.ledger(beginning.start):
        for entry in page:
            if entry.at_ms < before_ms:
                limit = index + 1
            ties.add(index, entry)
            index += 1
    highest = min(limit, vouched, held.reach.size) // WIDTH * WIDTH
    cuts = range(highest, beginning.count, -WIDTH)
    at = next((count for count in cuts if count not in ties.torn), None)
    if at is None:
        return None
    carry, first_id = _judged(store, keysets, held, beginning, at, jobs, told)
    newest = carry.directives[-NEWEST:]
    named = ties.named_after(at)
    directives = tuple(name for name in carry.directives if name in named or name in newest)
    if len(directives) > NAMED:
        raise RefusedError(
            f"{len(directives)} directives before entry {at} are named after it; a note names {NAMED}",
            hint="--keep another time: a cut between other entries tears less apart",
        )
    ids = tuple(page[-1].id for page in islice(_removed(held, beginning.count, at), 2, None, 3))
    return Plan(at, carry, held.tree_at(at), directives, first_id, ids)


def _removed(held: Archive, start: int, end: int) -> Iterator[list[Entry]]:
    return islice(held.entries(start), (end - start) // WIDTH)


def _judged(
    store: Store,
    keysets: Keysets,
    held: Archive,
    beginning: Beginning,
    at: int,
    jobs: int,
    told: Callable[[int], None],
) -> tuple[Carry, str]:
    """Judge the ledger in Redis; return what is known before the cut, and the id after it."""
    found: list[Carry] = []

    def reached(count: int) -> None:
        told(count)
        if count == at:
            found.append(judge.history.carry()[0])

    judge = Judge(keysets, start=(beginning.carry, b""), told=reached)
    verdict = judged(judge, _compared(store, held, beginning, at), keysets, jobs)
    if verdict.broken is not None:
        raise verdict.broken
    first = store.ledger_first(f"({found[0].last_id}")
    if first is None:
        raise BrokenLedgerError(at, "V2", "is missing: the ledger ends here")
    return found[0], first.id


def _compared(store: Store, held: Archive, beginning: Beginning, at: int) -> Iterator[list[Entry]]:
    """Yield the ledger in Redis, and hold what stands before the cut against the archive.

    A page ends at the cut.
    """
    archived = chain.from_iterable(held.entries(beginning.count))
    index = beginning.count
    for page in store.ledger(beginning.start):
        before = page[: max(0, at - index)]
        for number, entry in enumerate(before):
            if next(archived, None) != entry:
                raise RecordError(
                    f"entry {index + number} in {held.folder} is another than in Redis"
                )
        index += len(page)
        yield from (part for part in (before, page[len(before) :]) if part)


class Ties:
    """Which entries are judged by others before them, and so between which a ledger is not cut.

    Nothing is verified here: whoever enters what is not signed can only prevent a cut.

    Attributes:
        torn: The cuts that are not possible.
    """

    def __init__(self) -> None:
        self.torn: set[int] = set()
        self._at: dict[str, int] = {}
        self._waiting: dict[str, int] = {}
        self._named: list[tuple[int, str]] = []

    def add(self, index: int, entry: Entry) -> None:
        """Note the next entry."""
        try:
            envelope = decode(entry.envelope)
            kind = KINDS.get(envelope.payload_type)
            if kind is None:
                return
            record = peek(entry.envelope, kind)
        except RecordError:
            return  # the judge says so
        identity = envelope.identity
        for name in self._rests_on(record, identity):
            if name in self._at:
                self._tear(self._at[name], index)
        if isinstance(record, Grant | Restriction) and record.prev is not None:
            self._named.append((index, record.prev))
            if record.prev not in self._at:
                self._waiting.setdefault(record.prev, index)  # it came first, and may yet come
        if identity in self._waiting:
            self._tear(self._waiting.pop(identity), index)
        if isinstance(record, Report | Answer | Grant | Restriction | Revocation):
            self._keep(identity, index)
        if isinstance(record, Execution):
            self._keep(f"execution {record.directive}", index)

    def named_after(self, cut: int) -> set[str]:
        """Return which directives are named by those after a cut."""
        return {name for index, name in self._named if index >= cut}

    @staticmethod
    def _rests_on(record: Record, identity: str) -> list[str]:
        if isinstance(record, Grant):
            return [record.report or "", f"execution {identity}"]
        if isinstance(record, Execution):
            return [record.report or "", *record.answers]
        return []

    def _keep(self, name: str, index: int) -> None:
        while len(self._at) >= _REMEMBERED:
            del self._at[next(iter(self._at))]
        self._at[name] = index

    def _tear(self, earlier: int, later: int) -> None:
        self.torn.update(range((earlier // WIDTH + 1) * WIDTH, later + 1, WIDTH))
