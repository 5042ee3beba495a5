"""After Redis has lost entries of the ledger: put them back, or begin the ledger anew.

What was archived is put back as it was while nothing new stands there: then the ledger is the same, and
everybody who remembers it sees that. Where something new was written, two histories follow one entry.
Then as many approvers as a grant takes sign that the ledger begins anew, and from where.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import msgspec

from golive_redis import clock
from golive_redis.audit.archive import Archive
from golive_redis.audit.archiving import common, lost, require_ours
from golive_redis.audit.beginning import NAMED, Beginning, facts, of_stream, read
from golive_redis.audit.haste import Hasty, LastStop
from golive_redis.audit.history import Carry
from golive_redis.audit.opening import Keysets, Opened, opened
from golive_redis.delivery.append import MAX_TRIES, pause
from golive_redis.errors import RecordError, RefusedError, StoreError
from golive_redis.operator.session import Operator
from golive_redis.records.approval import Execution
from golive_redis.records.checkpoint import parse_text
from golive_redis.records.directive import Grant, GrantKind, Restriction, Revocation
from golive_redis.records.envelope import Signer, seal
from golive_redis.records.keyset import Keyset, Role
from golive_redis.records.ledger import GENERATION, Entry, Note, extend
from golive_redis.records.merkle import EMPTY
from golive_redis.records.record import wording
from golive_redis.records.rotation import Rotation
from golive_redis.records.signednote import parse
from golive_redis.store.replies import Status
from golive_redis.store.store import Store

AT_ONCE = 100  # entries that one script puts back


class Restored(msgspec.Struct, frozen=True):
    """What was put back.

    Attributes:
        first: The index of the first entry that was.
        entries: How many.
        size: How many the ledger has now.
    """

    first: int
    entries: int
    size: int


def restore(
    store: Store, keysets: Keysets, held: Archive, told: Callable[[int], None] = lambda _: None
) -> Restored:
    """Put back into Redis what is archived and not there any more.

    Args:
        store: A connected store.
        keysets: Those at hand.
        held: The archive, which was judged.
        told: Told how many entries are back, after each step.

    Raises:
        LostTailError: Others were written since; nothing was changed.
        RefusedError: Somebody writes at the same time. What was put back is good; run it again.
        StoreError: Redis does not do it; likewise.
    """
    require_ours(store, keysets)
    begun, first = _where(store, keysets, held)
    head = store.head()
    last = store.ledger_last()
    if last is not None and last.head != head:
        raise RecordError(
            "golive:head has another end than the ledger", hint="`golive audit verify`"
        )
    entries = (entry for page in held.entries(first) for entry in page)
    count = 0
    while chunk := list(islice(entries, AT_ONCE)):
        step = store.put_back(chunk, head=head)
        if step.status is not Status.OK:
            raise RefusedError(
                f"somebody writes to the ledger: {count} entries were put back",
                hint="stop what writes to it, and run it again",
            )
        head, count = chunk[-1].head, count + len(chunk)
        told(count)
    if begun.note and count:
        store.set_begins(begun.note)
    return Restored(first, count, held.reach.size)


def _where(store: Store, keysets: Keysets, held: Archive) -> tuple[Beginning, int]:
    """Return where the ledger in Redis begins, and which entry is the first that it has not."""
    if store.ledger_last() is None:
        index = held.reach.begins
        begun = Beginning(generation=held.reach.generation)
        if index is not None:
            found = read(next(held.entries(index))[0].envelope, keysets)
            if found is None:
                raise RecordError(f"entry {index} of {held.folder} says nothing by these keysets")
            begun = found
        return begun, begun.count
    begun = of_stream(store, keysets) or Beginning()
    if begun.generation != held.reach.generation:
        raise RefusedError(
            f"{held.folder} holds generation {held.reach.generation} of the ledger, and Redis "
            f"generation {begun.generation}",
            hint="name the archive of that one",
        )
    shared, newer = common(store, held, begun)
    if newer is not None and shared < held.reach.size:
        raise lost(store, held, begun)
    return begun, shared


class Begun(msgspec.Struct, frozen=True):
    """A new generation.

    Attributes:
        generation: Its number.
        identity: Of the note that begins it.
        signers: Who has signed it.
        before: How many entries the one before had in the archive; 0 without one.
        common: How many of them Redis still had.
    """

    generation: int
    identity: str
    signers: tuple[str, ...]
    before: int
    common: int


def begin_anew(
    operator: Operator,
    keysets: Keysets,
    held: Archive,
    signers: Sequence[Signer],
    *,
    reason: str,
) -> Begun:
    """Begin the ledger anew: the next generation, whose first entry names what is known of the last.

    Args:
        operator: At work.
        keysets: Those at hand.
        held: The archive of the generation before.
        signers: Approvers, as many as a grant takes.
        reason: Why.

    Raises:
        RefusedError: Nothing is lost, or what is can be put back; nothing was changed.
        RecordError: Not enough have signed.
        StoreError: Redis does not do it.
    """
    store, trust = operator.store, operator.trust
    require_ours(store, keysets)
    begun = of_stream(store, keysets) or Beginning()
    shared, newer = common(store, held, begun)
    size = held.reach.size
    if begun.generation > held.reach.generation:
        raise RefusedError(
            f"the ledger in Redis is of generation {begun.generation}, and {held.folder} of "
            f"{held.reach.generation}",
            hint="name the archive of the one in Redis",
        )
    if shared == size:
        raise RefusedError(
            "the ledger in Redis has all that is archived: nothing is lost",
            hint="`golive audit verify` judges it",
        )
    if newer is None:
        raise RefusedError(
            f"entries {shared} to {size - 1} are lost, and nothing was written since",
            hint=f"golive audit restore {held.folder}",
        )
    for tries in range(1, MAX_TRIES + 1):
        head, last = store.head(), store.ledger_last()
        known = _known(store, held, begun, keysets)  # after the head: a stop in between moves it
        raw = _generation(operator, held, signers, known, head, last, reason, shared)
        verified = trust.generation(raw)  # not one that no host would take up
        if store.append(raw, head=head, head_after=extend(head, raw)).status is not Status.HEAD:
            store.set_begins(raw)
            number = held.reach.generation + 1
            names = tuple(sorted(verified.signers))
            return Begun(number, verified.identity, names, size, shared)
        pause(tries)
    raise StoreError(f"other entries came first {MAX_TRIES} times; try again")


def _known(store: Store, held: Archive, begun: Beginning, keysets: Keysets) -> _Known:
    """Return what a new generation has to know of what was: archived, in the ledger, or in force."""
    known = _Known()
    known.take_all((entry for page in held.entries() for entry in page), keysets)
    known.take_all((entry for page in store.ledger(begun.start) for entry in page), keysets)
    snapshot = store.snapshot()
    for raw in (snapshot.grant, snapshot.revoked, *snapshot.restrictions.values()):
        if raw is not None:
            known.take_all([Entry(raw, "")], keysets)
    known.epoch = max(known.epoch, snapshot.epoch_hint)
    return known


def _generation(
    operator: Operator,
    held: Archive,
    signers: Sequence[Signer],
    known: _Known,
    head: str,
    last: Entry | None,
    reason: str,
    shared: int,
) -> bytes:
    reach = held.reach
    carry = Carry(
        count=reach.size,
        head=head,
        last_id=last.id if last is not None else "",
        epoch=known.epoch,
        revoked=known.revoked,
        term=known.term,
        keyset=known.keyset,
        step=known.step,
        executions={"": ("", [])} if known.executions else {},
        hasty=Hasty(stop=known.stop, activated=sorted(known.activated)),
    )
    said = facts(
        carry,
        held.tree_at(reach.size) if reach.size else EMPTY,
        generation=reach.generation + 1,
        directives=list(known.directives),
        checkpoint=_checkpoint(held),
        common=str(shared),
        archived=reach.head,
    )
    record = Note(
        **operator.trust.heading(signers[0].principal, clock.wall_ms()),
        topic=GENERATION,
        text=wording(reason),
        facts=said,
    )
    return seal(record, *signers)


def _checkpoint(held: Archive) -> str:
    """Return the last checkpoint of an archive in a line: origin, size, root; "none" without one."""
    raw = held.checkpoint()
    if raw is None:
        return "none"
    said = parse_text(parse(raw).text)
    return f"{said.origin} {said.size} {said.root.hex()}"


class _Known:
    """What is known of both histories, for the rules to go on from."""

    def __init__(self) -> None:
        self.epoch = self.revoked = self.term = self.keyset = self.step = 0
        self.executions = False
        self.stop: LastStop | None = None
        self.activated: set[int] = set()
        self.directives: deque[str] = deque(maxlen=NAMED)

    def take_all(self, entries: Iterable[Entry], keysets: Keysets) -> None:
        """Take what verifies: what does not is in neither history."""
        for entry in entries:
            try:
                self._take(entry, opened(entry.envelope, keysets))
            except RecordError:
                continue

    def _take(self, entry: Entry, item: Opened) -> None:
        record = item.record
        if not item.judged:
            return
        self.executions |= isinstance(record, Execution)
        if isinstance(record, Rotation):
            self.step = max(self.step, record.number)
            self.keyset = max(self.keyset, record.number)
        if not isinstance(record, Grant | Restriction | Revocation):
            return
        self.epoch = max(self.epoch, record.epoch)
        if item.identity not in self.directives:
            self.directives.append(item.identity)
        if isinstance(record, Revocation) and record.epoch > self.revoked:
            self.revoked = record.epoch
            raw, at_ms = entry.envelope.decode(), entry.at_ms or record.issued_at_ms
            self.stop = LastStop(envelope=raw, signers=list(item.signers), entered_ms=at_ms)
        if isinstance(record, Grant):
            self.keyset = max(self.keyset, record.keyset_version)
            if record.kind is GrantKind.ACTIVATE:
                self.term = record.term
                self.activated.add(record.issued_at_ms)


def approvers(keyset: Keyset, given: Sequence[Signer]) -> list[Signer]:
    """Return enough approvers to say where the ledger begins, each once.

    Raises:
        RefusedError: Too few; it names who could still sign.
    """
    able = keyset.principals(Role.APPROVER)
    once = {each.principal: each for each in given}
    signers = [each for each in once.values() if each.principal in able]
    needed = keyset.threshold(Role.APPROVER)
    if len(signers) < needed:
        missing = [name for name in able if name not in {each.principal for each in signers}]
        raise RefusedError(
            f"{needed} approver signature(s) needed, {len(signers)} given; missing: "
            f"{needed - len(signers)} of {', '.join(missing) or 'nobody'}",
            hint="add their keys with --key FILE, once for each",
        )
    return signers
