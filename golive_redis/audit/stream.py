"""The ledger in Redis, judged while others write to it, and remembered on this host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from msgspec import structs

from golive_redis import clock
from golive_redis.audit import words
from golive_redis.audit.beginning import Beginning, of_stream
from golive_redis.audit.beginning import length as total
from golive_redis.audit.checkpoints import (
    Held,
    LogReader,
    TreeState,
    TreeWatch,
    combined,
)
from golive_redis.audit.history import NO_POLICIES, BrokenLedgerError, Carry
from golive_redis.audit.memory import START_ANEW, LedgerMemory, Remembered
from golive_redis.audit.opening import KINDS, Keysets, Opened
from golive_redis.audit.receipts import claimed_heads, kept_receipts, recent_directives
from golive_redis.audit.seen import CheckpointMemory, notes, roots_of
from golive_redis.audit.verifying import Anchor, Judge, Taken, Verdict, judged
from golive_redis.core.timing import Haste
from golive_redis.errors import RecordError
from golive_redis.records.envelope import decode, peek
from golive_redis.records.ledger import Entry
from golive_redis.statefile import StateFileError
from golive_redis.store.ledgersteps import PAGE
from golive_redis.store.replies import Snapshot
from golive_redis.store.store import Store

THIS_HOST = "this host"
ON_PURPOSE = f"only if Redis was emptied on purpose: {START_ANEW}"
ENTRY_WITHIN_MS = 3_000.0
LOOK_EVERY_MS = 250.0
ENDS = 20


class KnownLog(NamedTuple):
    """What this host knows of the ledger's checkpoints.

    Attributes:
        reader: By whose signatures.
        memory: What it has seen.
    """

    reader: LogReader
    memory: CheckpointMemory


class Stream:
    """The ledger of a switch, and what this host remembers of it.

    Args:
        store: A connected store.
        keysets: Those at hand.
        memory: Of this host.
        jobs: How many processes check signatures.
        told: Told how many entries were judged, after each page.
        policies: What is allowed by which policy, by digest (V11).
        taken: As for `Judge`.
        log: What is known of its checkpoints, by its generation; None holds it against none.

    Attributes:
        whole: The end of the ledger was reached.
        beginning: Where it begins.
        overtaken: How far this host had judged it, when it begins behind that, or anew; else None.
        unshown: It begins behind what this host has judged or seen signed, by the word of a note alone:
            nothing shows that it is the same ledger, and so it is not remembered.
        strange: Why what stands in Redis as its checkpoint is none; "" when it is one, or none stands.
        unremembered: Why this host could not remember how far the ledger was judged; None when it could.
    """

    def __init__(
        self,
        store: Store,
        keysets: Keysets,
        memory: LedgerMemory,
        *,
        jobs: int = 1,
        told: Callable[[int], None] = lambda _: None,
        policies: Mapping[str, Haste] = NO_POLICIES,
        taken: Taken | None = None,
        log: Callable[[int], KnownLog] | None = None,
    ) -> None:
        self._log = log
        self.strange = ""
        self._store = store
        self._keysets = keysets
        self._memory = memory
        self._jobs = jobs
        self._told = told
        self._policies = policies
        self._taken = taken
        self.whole = True
        self.beginning = Beginning()
        self.overtaken: Carry | None = None
        self.unshown = False
        self.unremembered: StateFileError | None = None

    def whole_ledger(self, kept_head: str = "", *, deadline_ms: float | None = None) -> Verdict:
        """Judge the ledger from its first entry, also against what is in force, and remember how far.

        Args:
            kept_head: A head that somebody has kept outside of Redis; "" for none.
            deadline_ms: As for `what_is_new`.

        Raises:
            StoreError: Redis cannot be asked.
            StateFileError: This host's memory cannot be read.
        """
        known = self._memory.read()
        carry = known[0].carry if known is not None else Carry()
        kept = [Anchor(kept_head, None, "the head that you kept")] if kept_head else []
        begun = self._begun()
        tried = []
        while True:
            tried.append(begun)
            judge = self._from_the_beginning(begun, known and known[0], kept)
            try:
                self._require_generation(carry, begun)
                verdict = self._judged(judge, begun.start, deadline_ms)
            except BrokenLedgerError as error:
                verdict = judge.verdict(error)
            other = None if verdict.broken is None else self._elsewhere(tried)
            if other is None:
                return verdict
            begun = self.beginning = other

    def _begun(self) -> Beginning:
        """Return where the ledger begins, and remember it."""
        found = of_stream(self._store, self._keysets)
        self.beginning = found if found is not None else Beginning()
        return self.beginning

    def _elsewhere(self, tried: list[Beginning]) -> Beginning | None:
        """Return where else a ledger may begin that is broken; None for nowhere.

        It may have been trimmed meanwhile, or begin where only a note far behind says.
        """
        for look in (False, True):
            found = of_stream(self._store, self._keysets, look=look)
            if found is not None and found not in tried:
                return found
        return None

    def _from_the_beginning(
        self, begun: Beginning, known: Remembered | None, kept: list[Anchor]
    ) -> Judge:
        anchors = list(kept)
        if known is not None and known.carry.count:
            here = known.carry.generation, known.carry.count
            if here < (begun.generation, begun.count):
                self.overtaken = known.carry
            else:
                anchors.append(_anchor(known))
        return Judge(
            self._keysets,
            start=(begun.carry, b""),
            anchors=anchors,
            expected=in_force(self._store.snapshot(), above=begun.carry.epoch),
            heads=self._heads(above=begun.carry.epoch),
            policies=self._policies,
            told=self._told,
            taken=self._taken,
            log=TreeWatch(*self._checkpoints(), TreeState(begun.tree)),
        )

    def _require_generation(self, carry: Carry, begun: Beginning) -> None:
        """Refuse an older generation than this host has seen (V14)."""
        if carry.generation > begun.generation:
            raise BrokenLedgerError(
                0,
                "V14",
                f"is of generation {begun.generation}, and {THIS_HOST} has seen generation "
                f"{carry.generation}",
                hint=ON_PURPOSE,
            )

    def what_is_new(self, deadline_ms: float | None = None) -> Verdict:
        """Judge what came since this host has judged the ledger last, and remember how far.

        Args:
            deadline_ms: When it has to be done, on this process's clock. What is left then is judged the
                next time, and `whole` is false.

        Raises:
            StoreError: Redis cannot be asked.
            StateFileError: This host's memory cannot be read.
        """
        known = self._memory.read()
        if known is None or not known[0].carry.count or self._can_judge_more(known[0].carry):
            return self.whole_ledger(deadline_ms=deadline_ms)
        known_carry, seen, counts = known[0].carry, known[1], known[0].counts
        tree, begun = known[0].state(), self._begun()
        held, roots = self._checkpoints()
        # Two that contradict each other: which of them is wrong is found out from the first entry on.
        forked = any(roots.get(each.size, each.root) != each.root for each in held)
        overtaken = (known_carry.generation, known_carry.count) < (begun.generation, begun.count)
        if tree is None or forked or overtaken:
            return self.whole_ledger(deadline_ms=deadline_ms)
        anchors = [_anchor(known[0])]
        expected = in_force(self._store.snapshot(), above=known_carry.epoch)
        judge = Judge(
            self._keysets,
            start=(known_carry, seen),
            counts=counts,
            anchors=anchors,
            expected=expected,
            policies=self._policies,
            told=self._told,
            taken=self._taken,
            log=TreeWatch(held, roots, tree),
        )
        start = None
        try:
            self._require_generation(known_carry, begun)
            start = self._where_it_ended(known_carry, begun)
            verdict = self._judged(judge, start, deadline_ms)
        except BrokenLedgerError as error:
            verdict = judge.verdict(error)
            if start is None:  # what this host judged once may be gone, and was not looked at now
                verdict = structs.replace(verdict, good=0)
        if verdict.broken is not None and self._elsewhere([begun]) is not None:
            return self.whole_ledger(deadline_ms=deadline_ms)  # trimmed meanwhile, or begun anew
        return verdict

    def _heads(self, above: int) -> dict[str, str]:
        """Return the heads that receipts have seen; read before the ledger is, so it has them (V12).

        Of directives above an epoch alone: what pods saw before the ledger begins is not in it.

        Not asked of what is new alone: a head that stood before it cannot be looked up there.
        """
        directives = recent_directives(self._store, clock.wall_ms())
        receipts = (raw for name in directives for raw in kept_receipts(self._store, name))
        return claimed_heads(receipts, self._keysets, above=above)

    def _checkpoints(self) -> tuple[list[Held], dict[int, bytes]]:
        """Return the checkpoints at hand, in Redis and in this host's memory, and the roots it knows."""
        if self._log is None:
            return [], {}
        reader, memory = self._log(self.beginning.generation)
        seen = memory.read()
        held = notes(seen, reader)
        if note := self._store.checkpoint():
            try:
                held.insert(0, reader.read(note))
            except RecordError as error:
                self.strange = error.message
        return combined(held), roots_of(seen)

    def _can_judge_more(self, carry: Carry) -> bool:
        """Tell whether something was left open for want of a keyset that is at hand by now."""
        return carry.unjudged is not None and not self._keysets.lenient

    def _where_it_ended(self, carry: Carry, begun: Beginning) -> str:
        """Return where to read on; the last entry that was judged has to be there still (V14)."""
        if (carry.count, carry.head) == (begun.count, begun.head):
            return begun.start  # and it was the last that was trimmed
        page = self._store.ledger_from(carry.last_id)
        if not page or (page[0].id, page[0].head) != (carry.last_id, carry.head):
            raise BrokenLedgerError(
                carry.count - 1,
                "V14",
                f"is not there any more as {THIS_HOST} has seen it",
                hint=ON_PURPOSE,
            )
        return f"({carry.last_id}"

    def _judged(self, judge: Judge, start: str, deadline_ms: float | None) -> Verdict:
        pages = self._pages(judge, start, deadline_ms)
        verdict = judged(judge, pages, self._keysets, self._jobs, whole=lambda: self.whole)
        self.unshown = self._is_unshown(verdict)
        if verdict.broken is None and not self.unshown:
            try:
                self._memory.keep(*verdict.carry, verdict.counts, verdict.tree)
                if self._log is not None and verdict.checkpoint is not None:
                    self._log(self.beginning.generation).memory.see(verdict.checkpoint)
            except StateFileError as error:  # the verdict is as good without
                self.unremembered = error
        return verdict

    def _is_unshown(self, verdict: Verdict) -> bool:
        """Tell whether a cut leaves nothing of what was known, and nothing shows the rest.

        A checkpoint after the cut does: no heartbeat that knows those before signs another history,
        and no witness cosigns one.
        """
        shown = verdict.anchored is not None or (
            verdict.checkpoint is not None and verdict.checkpoint.met
        )
        known = self.overtaken is not None or verdict.behind
        return self.beginning.count > 0 and known and not shown

    def _pages(self, judge: Judge, start: str, deadline_ms: float | None) -> Iterator[list[Entry]]:
        """Yield the ledger up to an end that `golive:head` agrees with, while others write.

        What is in force has its entry in the same step, or from whoever sent it a moment later.
        """
        at = _End(judge.history.count, judge.history.head, start)
        waited_ms = 0.0
        while True:
            for page in self._store.ledger(at.start):
                yield page
                at.move(page)
                late = deadline_ms is not None and clock.now_ms() >= deadline_ms
                if late and len(page) == PAGE:
                    self.whole = False
                    return
            yield from self._confirmed(at)
            yield []  # so that all before it is judged, and what was in it is expected no more
            if not judge.expected or waited_ms >= ENTRY_WITHIN_MS:
                return
            clock.pause_ms(LOOK_EVERY_MS)
            waited_ms += LOOK_EVERY_MS

    def _confirmed(self, at: _End) -> Iterator[list[Entry]]:
        """Yield what comes meanwhile, and see that the ledger ends where `golive:head` says.

        An entry and the head after it are written in one step. So a head that is read between two pages
        is the one after the last entry, when nothing came in between, or else one of those that came.

        Raises:
            BrokenLedgerError: It ends elsewhere, or has lost entries (V2, V14).
        """
        for _ in range(ENDS):
            head, length = self._store.head(), total(self._store, self.beginning)
            page = self._store.ledger_from(at.start)
            heads = {at.head, *(entry.head for entry in page)}
            yield page
            if head not in heads:
                raise BrokenLedgerError(
                    at.count + len(page), "V2", "is missing: golive:head has another end than this"
                )
            if length is None:  # it begins behind entries that are being taken out
                length = at.count + len(page)
            if length < at.count or (length > at.count and not page):
                raise BrokenLedgerError(
                    min(length, at.count),
                    "V14",
                    f"is at another place: the ledger has {length} entries now, and had {at.count}",
                )
            if not page:
                return
            at.move(page)


class _End:
    """How far a stream was read."""

    def __init__(self, count: int, head: str, start: str) -> None:
        self.count = count
        self.head = head
        self.start = start

    def move(self, page: list[Entry]) -> None:
        """Note that a page was read."""
        self.count += len(page)
        self.head = page[-1].head
        self.start = f"({page[-1].id}"


def _anchor(known: Remembered) -> Anchor:
    return Anchor(known.carry.head, known.carry.count, THIS_HOST, ON_PURPOSE)


def in_force(snapshot: Snapshot, above: int = 0) -> dict[str, str]:
    """Return the directives that are in force in Redis: identity, and what it is in words.

    Args:
        snapshot: As read. What is no record is left out: `golive status` says so.
        above: Only those with a higher epoch.
    """
    raws = [snapshot.grant, snapshot.revoked, *snapshot.restrictions.values()]
    found: dict[str, str] = {}
    for raw in raws:
        if raw is None:
            continue
        try:
            envelope = decode(raw)
            kind = KINDS.get(envelope.payload_type)
            if kind is None:
                continue
            record = peek(raw, kind)
        except RecordError:
            continue
        if getattr(record, "epoch", 0) > above:
            found[envelope.identity] = words.name(Opened(record, envelope.identity, ()))
    return found
