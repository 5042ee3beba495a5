"""Judging a whole ledger: entries in, a verdict out. The rules are in `history`.

Signatures are two thirds of the work, so several processes may share them; the rules are judged by one,
in the order of the ledger.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process

import msgspec

from golive_redis.audit import words
from golive_redis.audit.checkpoints import Held, TreeState, TreeWatch
from golive_redis.audit.counting import Counts
from golive_redis.audit.history import NO_POLICIES, BrokenLedgerError, Carry, History, open_all
from golive_redis.audit.opening import Keysets, Opened
from golive_redis.core.timing import Haste
from golive_redis.errors import GoliveError, RecordError, StoreError
from golive_redis.records.directive import Grant, GrantKind
from golive_redis.records.ledger import GENESIS, Entry
from golive_redis.records.rotation import parse_payload, payload_of

AHEAD = 4  # pages that wait for each process
NOTHING: Mapping[str, str] = {}

Taken = Callable[[int, Entry, Opened], None]


class Anchor(msgspec.Struct, frozen=True):
    """An end that somebody remembers, which the ledger must still have (V14).

    Attributes:
        head: After the last entry that was seen.
        count: How many there were; None when that is not known.
        who: Remembers it, for people.
        hint: What to do when it is not there.
    """

    head: str
    count: int | None
    who: str
    hint: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """What came of judging a ledger.

    Attributes:
        entries: How many there are, from the beginning of the ledger to where it was judged.
        first: The first of them that was judged now.
        good: How many from the beginning are known to be good: all, or those before the first that is
            not, that was not judged, or that names a directive which is not there.
        broken: The first that breaks a rule; None when none does.
        named: That entry in words, "" when it says nothing.
        anchored: Up to how many entries somebody remembers the ledger; None when nobody does.
        by: Who that is.
        keysets: Lowest and highest version under which something was signed that was judged now; None
            when that is nothing.
        terms: How many began in what was judged now.
        late: How many entries came late.
        head: After the last entry that was judged.
        carry: To go on from, with what was seen.
        counts: What was counted on the way.
        tree: Likewise, for what the next checkpoints are held against.
        checkpoint: The newest checkpoint at hand that agrees with the ledger; None for none.
        witnessed: The newest of those that enough witnesses have cosigned; None for none.
        behind: A checkpoint is at hand that ends before what was judged, so it shows nothing of it.
    """

    entries: int
    first: int
    good: int
    broken: BrokenLedgerError | None
    named: str
    anchored: int | None
    by: str
    keysets: tuple[int, int] | None
    terms: int
    late: int
    head: str
    carry: tuple[Carry, bytes]
    counts: Counts
    tree: TreeState
    checkpoint: Held | None = None
    witnessed: Held | None = None
    behind: bool = False

    @property
    def verified(self) -> bool:
        """True when all is good and somebody remembers its end."""
        remembered = self.anchored is not None or self.witnessed is not None
        return self.broken is None and remembered


class ChildError(GoliveError):
    """A process that shared the work was killed or ended by itself: nothing was judged."""

    reason = "process"


class Judge:
    """Judges a ledger, page by page.

    Args:
        keysets: Those at hand.
        start: Where to go on; None begins at the first entry.
        counts: What was counted up to there.
        anchors: Ends that it must still have.
        expected: Identities that must be in it, with what to call them (V13).
        heads: Heads that it must have, with whose receipt has seen each (V12).
        policies: What is allowed by which policy, by digest (V11).
        told: Told how many entries were judged, after each page.
        taken: Given each entry that was found good, in their order: its index, it, and what it says.
        log: Holds it against checkpoints, from where it begins.
    """

    def __init__(
        self,
        keysets: Keysets,
        *,
        start: tuple[Carry, bytes] | None = None,
        counts: Counts | None = None,
        anchors: Sequence[Anchor] = (),
        expected: dict[str, str] | None = None,
        heads: Mapping[str, str] = NOTHING,
        policies: Mapping[str, Haste] = NO_POLICIES,
        told: Callable[[int], None] = lambda _: None,
        taken: Taken | None = None,
        log: TreeWatch | None = None,
    ) -> None:
        carry, seen = start or (Carry(), b"")
        self._keysets = keysets
        self._first = carry.count
        self.history = History(keysets, carry, seen, policies)
        self.counts = counts or Counts()
        self._anchors = list(anchors)
        self._kept: list[tuple[int, str]] = []
        self.expected = dict(expected or {})
        self._heads = dict(heads)
        self._told = told
        self._taken = taken
        self._log = log or TreeWatch()
        self._versions: set[int] = set()
        self._terms = 0
        self._last: tuple[int, Opened | str] = -1, ""
        self._met(GENESIS if carry.count == 0 and carry.generation == 1 else carry.head)

    def take(self, entries: Sequence[Entry], found: Sequence[Opened | str]) -> None:
        """Judge a page.

        Raises:
            BrokenLedgerError: An entry breaks a rule.
        """
        for entry, item in zip(entries, found, strict=True):
            self._last = self.history.count, item
            self.history.take(entry, item)
            self._met(entry.head)
            if not isinstance(item, str):
                self._note(item)
                if self._taken is not None:
                    self._taken(self.history.count - 1, entry, item)
        self._log.take(entries)
        self.counts = self.counts.after(item for item in found if isinstance(item, Opened))
        self._told(self.history.count)

    def _name_of(self, broken: BrokenLedgerError | None) -> str:
        """Name an entry in words, if it is the one that was judged last; else ""."""
        index, item = self._last
        known = broken is not None and broken.index == index
        return words.name(item) if known and isinstance(item, Opened) else ""

    def _note(self, item: Opened) -> None:
        self.expected.pop(item.identity, None)
        self._versions.add(item.record.keyset_version)
        record = item.record
        self._terms += isinstance(record, Grant) and record.kind is GrantKind.ACTIVATE

    def _met(self, head: str) -> None:
        """Hold the ledger so far against what others remember of it (V12, V14)."""
        count = self.history.count
        self._heads.pop(head, None)
        for anchor in list(self._anchors):
            if anchor.head == head:
                self._anchors.remove(anchor)
                self._kept.append((count, anchor.who))
            elif anchor.count == count:
                raise BrokenLedgerError(
                    max(0, count - 1),
                    "V14",
                    f"is another than {anchor.who} has seen there",
                    hint=anchor.hint,
                )

    def end(self) -> None:
        """Judge that nothing is missing at the end.

        Raises:
            BrokenLedgerError: Something is.
        """
        self.history.end()
        count, unjudged = self.history.count, self.history.unjudged
        for anchor in self._anchors:
            why = f"is missing: the ledger ends here, and {anchor.who} has seen {anchor.count} entries"
            if anchor.count is None:
                why = (
                    f"is missing: the ledger ends here, and no entry has {anchor.who}: it is mistyped "
                    "or of another ledger, or the end was cut off"
                )
            raise BrokenLedgerError(count, "V14", why, hint=anchor.hint)
        self._log.end()
        if unjudged is not None and not self._keysets.lenient:
            index, version = unjudged
            raise BrokenLedgerError(
                index,
                "V3",
                f"was signed under keyset version {version}, which is not at hand",
                hint=f"add --keyset FILE, the keyset of version {version}",
            )
        for who in self._heads.values():
            raise BrokenLedgerError(
                count, "V12", f"is missing, by the word of {who} that it saw its head"
            )
        for what in self.expected.values():
            raise BrokenLedgerError(count, "V13", f"is missing: in force in Redis is {what}")

    def verdict(self, broken: BrokenLedgerError | None = None) -> Verdict:
        """Return what is known now."""
        history = self.history
        if broken is not None and history.unjudged is not None and not broken.hint:
            at, version = history.unjudged
            if at < broken.index:
                hint = (
                    f"entry {at} and others were not judged: add --keyset FILE, the keyset of version "
                    f"{version}"
                )
                broken = BrokenLedgerError(broken.index, broken.rule, broken.why, hint=hint)
        count, who = max(self._kept, default=(None, ""))
        versions = self._versions
        by = ", ".join(sorted({name for at, name in self._kept if at == count}))
        return Verdict(
            entries=history.count,
            first=self._first,
            good=history.count if broken is None else min(broken.index, history.doubtful),
            broken=broken,
            named=self._name_of(broken),
            anchored=count,
            by=by or who,
            keysets=(min(versions), max(versions)) if versions else None,
            terms=self._terms,
            late=history.late,
            head=history.head,
            carry=history.carry(),
            counts=self.counts,
            tree=self._log.state(),
            checkpoint=self._log.confirmed,
            witnessed=self._log.witnessed,
            behind=self._log.behind,
        )


def judged(
    judge: Judge,
    pages: Iterable[list[Entry]],
    keysets: Keysets,
    jobs: int = 1,
    *,
    whole: Callable[[], bool] = lambda: True,
) -> Verdict:
    """Judge pages of entries up to their end, and return the verdict on all.

    Args:
        judge: Where it begins.
        pages: In the order of the ledger.
        keysets: Those at hand.
        jobs: How many processes check signatures; one needs no further process.
        whole: Asked at the end: whether that was the end of the ledger.

    Raises:
        StoreError: From the pages.
        ChildError: One of the processes was killed. There is no verdict then.
    """
    try:
        with opened_pages(pages, keysets, jobs) as found:
            for entries, items in found:
                judge.take(entries, items)
        if whole():
            judge.end()
    except BrokenLedgerError as error:
        return judge.verdict(error)
    except RecordError as error:  # from a file: no entry at all
        broken = BrokenLedgerError(judge.history.count, "V1", f"cannot be read: {error.message}")
        return judge.verdict(broken)
    except BrokenExecutor as error:
        raise ChildError(
            "a process that checked signatures has ended, so there is no verdict",
            hint="look whether memory ran out (`dmesg`); --jobs 1 needs no further process",
        ) from error
    return judge.verdict()


@contextmanager
def opened_pages(
    pages: Iterable[list[Entry]], keysets: Keysets, jobs: int
) -> Iterator[Iterator[tuple[list[Entry], list[Opened | str]]]]:
    """Open pages as they come, in their order, with several processes when there is work for them.

    After an empty page all before it have been handed on.
    """
    if jobs == 1:
        yield ((page, open_all([item.envelope for item in page], keysets)) for page in pages)
        return
    # Not forked: this process may have threads. Each of the others reads the keysets once.
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _begin, (_plain(keysets),))
    try:
        yield _shared(pool, pages, AHEAD * jobs)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _shared(
    pool: ProcessPoolExecutor, pages: Iterable[list[Entry]], ahead: int
) -> Iterator[tuple[list[Entry], list[Opened | str]]]:
    waiting: deque[tuple[list[Entry], Future[list[Opened | str]]]] = deque()
    failed: Exception | None = None
    coming = iter(pages)
    while True:
        try:
            page = next(coming, None)
        except (RecordError, StoreError) as error:  # what came before it is judged all the same
            page, failed = None, error
        if page:
            waiting.append((page, _submitted(pool, page)))
        while waiting and (not page or len(waiting) > ahead):
            entries, future = waiting.popleft()
            yield entries, future.result()
        if page is None:
            break
    if failed is not None:
        raise failed


def _submitted(pool: ProcessPoolExecutor, page: list[Entry]) -> Future[list[Opened | str]]:
    """Hand a page to the pool. A process that begins now never sees Ctrl-C: the first one answers it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_open, [item.envelope for item in page])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_KEYSETS: list[Keysets] = []


def _begin(plain: tuple[list[bytes], str, str, bool]) -> None:
    threading.Thread(target=_leave_with_the_first, daemon=True).start()
    values, namespace, environment, lenient = plain
    keysets = [parse_payload(value) for value in values]
    _KEYSETS[:] = [
        Keysets({item.version: item for item in keysets}, namespace, environment, lenient)
    ]


def _leave_with_the_first() -> None:
    """End when the process that began this one is gone: nobody would ever send it work again."""
    first = parent_process()
    assert first is not None  # noqa: S101  (runs in a child only)
    first.join()
    os._exit(1)


def _open(raws: list[bytes]) -> list[Opened | str]:
    return open_all(raws, _KEYSETS[0])


def _plain(keysets: Keysets) -> tuple[list[bytes], str, str, bool]:
    """Return keysets as what another process can be given: the keys themselves cannot be sent."""
    values = [payload_of(keyset) for keyset in keysets.by_version.values()]
    return values, keysets.namespace, keysets.environment, keysets.lenient
