"""Checkpoints in an audit: what others have signed of the ledger, held against the ledger (V14).

A checkpoint says how many entries a ledger has and what they are, under the signatures of a heartbeat
and of witnesses. So an auditor needs no memory of their own: whoever rewrites the ledger, or cuts off
its end, contradicts what was signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from golive_redis.audit.history import BrokenLedgerError
from golive_redis.records.keyset import Keyset, Role, raw_of
from golive_redis.records.ledger import Entry
from golive_redis.records.logpolicy import Policy
from golive_redis.records.merkle import EMPTY, CompactRange, leaf

TAIL = 256
"""So many entries at the end of what was judged are remembered one by one: a checkpoint is some way
behind the ledger, and so it often ends before what a host has judged."""


class Held(msgspec.Struct, frozen=True):
    """A checkpoint that is at hand, judged by a policy.

    Attributes:
        size: Entries.
        root: Of the tree over them.
        by: The heartbeats that have signed it, for people.
        cosigned: The names of the witnesses that have.
        witnesses: How many the policy knows.
        met: Those that have cosigned it are enough for the policy.
        time_s: When the last of them did, Unix time in seconds by their clocks; None when none did.
        note: As it was read.
        seen: It was seen by this host before, and is not what stands in Redis now.
    """

    size: int
    root: bytes
    by: str
    cosigned: tuple[str, ...]
    witnesses: int
    met: bool
    time_s: int | None
    note: bytes
    seen: bool = False

    @property
    def witnessed(self) -> bool:
        """True when enough witnesses have cosigned it, and one at least."""
        return self.met and bool(self.cosigned)

    @property
    def name(self) -> str:
        """What it is called for people."""
        return f"checkpoint {self.size:,} by {self.by}" + (", seen here before" * self.seen)


class LogReader(msgspec.Struct, frozen=True):
    """Reads checkpoints of one ledger.

    Attributes:
        policy: Whose signatures count.
        names: Of those who hold the log's keys, by the raw key.
    """

    policy: Policy
    names: Mapping[bytes, str] = {}

    @classmethod
    def by(cls, policy: Policy, keysets: Iterable[Keyset]) -> LogReader:
        """Return the reader for a policy; the keysets only say who is who."""
        names = {
            raw_of(key.public): key.principal
            for keyset in keysets
            for key in keyset.keys.values()
            if key.holds(Role.HEARTBEAT)
        }
        return cls(policy, names)

    def read(self, note: bytes, *, seen: bool = False) -> Held:
        """Return a checkpoint that the log has signed, whether enough witnesses have or not.

        Raises:
            RecordError: It is none, or no key of the policy has signed it as its log.
        """
        judged = self.policy.look(note)
        opened = judged.opened
        keys = [signed.verifier for signed in opened.logs]
        return Held(
            size=judged.checkpoint.size,
            root=judged.checkpoint.root,
            by=" and ".join(sorted({self.names.get(key.public, key.name) for key in keys})),
            cosigned=tuple(sorted(judged.witnesses)),
            witnesses=len(self.policy.witnesses),
            met=self.policy.met(judged.witnesses),
            time_s=max((signed.time_s or 0 for signed in opened.witnesses), default=None),
            note=note,
            seen=seen,
        )


class TreeState(msgspec.Struct, frozen=True):
    """The tree over what was judged, to go on from.

    Attributes:
        before: Over all but the last entries.
        tail: The leaf hashes of those.
    """

    before: CompactRange = EMPTY
    tail: tuple[bytes, ...] = ()

    @property
    def size(self) -> int:
        """Entries in all."""
        return self.before.size + len(self.tail)


class TreeWatch:
    """Holds a ledger against checkpoints, page by page.

    Args:
        held: What is at hand.
        roots: Further roots that this host has seen signed, by size.
        start: Where the judging goes on.

    Attributes:
        confirmed: The largest of `held` that the ledger agrees with so far; None for none.
        witnessed: The largest of them that enough witnesses have cosigned; None for none.
        behind: Something that was signed ends before what is judged, so it cannot be held against it.
    """

    def __init__(
        self,
        held: Sequence[Held] = (),
        roots: Mapping[int, bytes] | None = None,
        start: TreeState = TreeState(),  # noqa: B008  (frozen)
    ) -> None:
        self._before, self._tail = start.before, list(start.tail)
        self._open = sorted(held, key=lambda each: each.size)
        self._roots = dict(roots or {})
        sizes = [*self._roots, *(each.size for each in held)]
        self.behind = any(0 < size < start.before.size for size in sizes)
        self._sure = [self._before.size]
        self.confirmed: Held | None = None
        self.witnessed: Held | None = None
        self._compare()

    def take(self, entries: Sequence[Entry]) -> None:
        """Take in a page.

        Raises:
            BrokenLedgerError: The ledger is another than was signed (V14).
        """
        self._tail += [leaf(entry.envelope) for entry in entries]
        self._compare()
        if (done := len(self._tail) - TAIL) > 0:
            self._before = self._before.extend(self._tail[:done])
            del self._tail[:done]

    def end(self) -> None:
        """Judge that nothing is missing at the end.

        Raises:
            BrokenLedgerError: A checkpoint counts more entries than there are (V14).
        """
        count = self._before.size + len(self._tail)
        for held in self._open:
            raise BrokenLedgerError(
                count,
                "V14",
                f"is missing: the ledger ends here, and {held.name} counts {held.size:,} entries",
            )
        if late := [size for size in self._roots if size > count]:
            raise BrokenLedgerError(
                count,
                "V14",
                "is missing: the ledger ends here, and this host has seen a checkpoint of "
                f"{min(late):,} entries",
            )

    def state(self) -> TreeState:
        """Return where a later judging goes on."""
        return TreeState(self._before, tuple(self._tail))

    def _compare(self) -> None:
        count = self._before.size + len(self._tail)
        for size in sorted(size for size in self._roots if self._before.size <= size <= count):
            self._agrees(size, self._roots.pop(size), f"checkpoint {size:,}, seen here before")
        while self._open and self._open[0].size <= count:
            held = self._open.pop(0)
            if held.size < self._before.size:
                continue  # it ends before what is judged now, and shows nothing of it
            self._agrees(held.size, held.root, held.name)
            self.confirmed = held
            self.witnessed = held if held.witnessed else self.witnessed

    def _agrees(self, size: int, root: bytes, name: str) -> None:
        at = size - self._before.size
        if self._before.extend(self._tail[:at]).root() == root:
            self._sure.append(size)
            return
        first = max((sure for sure in self._sure if sure < size), default=0)
        more = f"or one after it, up to entry {size - 1:,}, " if first < size - 1 else ""
        raise BrokenLedgerError(first, "V14", f"{more}is another than in {name}")


def combined(found: Iterable[Held]) -> list[Held]:
    """Return checkpoints without those that say the same: of two, the one that more have cosigned."""
    best: dict[tuple[int, bytes], Held] = {}
    for held in found:
        other = best.setdefault((held.size, held.root), held)
        if len(held.cosigned) > len(other.cosigned):
            best[held.size, held.root] = held
    return list(best.values())
