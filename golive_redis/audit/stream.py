"""The ledger in Redis, judged while others write to it, and remembered on this host."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from golive_redis import clock
from golive_redis.audit import words
from golive_redis.audit.history import BrokenLedgerError, Carry
from golive_redis.audit.memory import LedgerMemory, Remembered
from golive_redis.audit.opening import KINDS, Keysets, Opened
from golive_redis.audit.verifying import Anchor, Judge, Verdict, judged
from golive_redis.errors import RecordError
from golive_redis.records.envelope import decode, peek
from golive_redis.records.ledger import GENESIS, Entry
from golive_redis.store.ledgersteps import PAGE
from golive_redis.store.replies import Snapshot
from golive_redis.store.store import Store

THIS_HOST = "this host"
# What is in force has its entry in the same step, or from whoever sent it, a moment later.
ENTRY_WITHIN_MS = 3_000.0
LOOK_EVERY_MS = 250.0
ENDS = 20


class Stream:
    """The ledger of a switch, and what this host remembers of it.

    Args:
        store: A connected store.
        keysets: Those at hand.
        memory: Of this host.
        jobs: How many processes check signatures.
        told: Told how many entries were judged, after each page.
    """

    def __init__(
        self,
        store: Store,
        keysets: Keysets,
        memory: LedgerMemory,
        *,
        jobs: int = 1,
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._keysets = keysets
        self._memory = memory
        self._jobs = jobs
        self._told = told
        self.whole = True

    def whole_ledger(self, kept_head: str = "") -> Verdict:
        """Judge the ledger from its first entry, also against what is in force, and remember how far.

        Args:
            kept_head: A head that somebody has kept outside of Redis; "" for none.

        Raises:
            StoreError: Redis cannot be asked.
            StateFileError: This host's memory cannot be read or written.
        """
        known = self._memory.read()
        anchors = [_anchor(known[0])] if known is not None and known[0].carry.count else []
        if kept_head:
            anchors.append(Anchor(kept_head, None, "the head that you kept"))
        expected = in_force(self._store.snapshot())
        judge = Judge(self._keysets, anchors=anchors, expected=expected, told=self._told)
        return self._judged(judge, "-", None)

    def what_is_new(self, deadline_ms: float | None = None) -> Verdict:
        """Judge what came since this host has judged the ledger last, and remember how far.

        Args:
            deadline_ms: When it has to be done, on this process's clock. What is left then is judged the
                next time, and `whole` is false.

        Raises:
            StoreError: Redis cannot be asked.
            StateFileError: This host's memory cannot be read or written.
        """
        known = self._memory.read()
        if known is None:
            known_carry, seen, counts, anchors = Carry(), b"", None, []
        else:
            known_carry, seen, counts = known[0].carry, known[1], known[0].counts
            anchors = [_anchor(known[0])]
        expected = in_force(self._store.snapshot(), above=known_carry.epoch)
        judge = Judge(
            self._keysets,
            start=(known_carry, seen),
            counts=counts,
            anchors=anchors,
            expected=expected,
            told=self._told,
        )
        try:
            start = self._where_it_ended(known_carry)
        except BrokenLedgerError as error:
            return judge.verdict(error)
        return self._judged(judge, start, deadline_ms)

    def _where_it_ended(self, carry: Carry) -> str:
        """Return where to read on; the last entry that was judged has to be there still (V14)."""
        if not carry.count:
            return "-"
        page = self._store.ledger_from(carry.last_id)
        if not page or (page[0].id, page[0].head) != (carry.last_id, carry.head):
            raise BrokenLedgerError(
                carry.count - 1, "V14", f"is not there any more as {THIS_HOST} has seen it"
            )
        return f"({carry.last_id}"

    def _judged(self, judge: Judge, start: str, deadline_ms: float | None) -> Verdict:
        pages = self._pages(judge, start, deadline_ms)
        verdict = judged(judge, pages, self._keysets, self._jobs, whole=lambda: self.whole)
        if verdict.broken is None:
            self._memory.keep(*verdict.carry, verdict.counts)
        return verdict

    def _pages(self, judge: Judge, start: str, deadline_ms: float | None) -> Iterator[list[Entry]]:
        """Yield the ledger up to an end that `golive:head` agrees with, while others write."""
        head, waited_ms = GENESIS if start == "-" else judge.history.head, 0.0
        count = length = judge.history.count
        for _ in range(ENDS):
            for page in self._store.ledger(start):
                yield page
                start, head = f"({page[-1].id}", page[-1].head
                count += len(page)
                late = deadline_ms is not None and clock.now_ms() >= deadline_ms
                if late and len(page) == PAGE:
                    self.whole = False
                    return
            length = self._store.ledger_length()
            same = length == count and self._store.head() == head
            if same and (not judge.expected or waited_ms >= ENTRY_WITHIN_MS):
                return
            clock.pause_ms(LOOK_EVERY_MS)
            waited_ms += LOOK_EVERY_MS
        if length < count:
            raise BrokenLedgerError(
                length, "V14", f"is missing: the ledger has {length} entries now, and had {count}"
            )
        raise RecordError("golive:head is not the head of the last entry")


def _anchor(known: Remembered) -> Anchor:
    return Anchor(known.carry.head, known.carry.count, THIS_HOST)


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
