"""Following a ledger as a log: what is known of it, and when no checkpoint of it may be signed.

Two checkpoints that do not fit together are a forked log, and nothing mends that. So a heartbeat signs
only what continues what it has signed or seen before, and what each of its marks says is on its disk
before the signature leaves.

Which entries are read, and from where, is the caller's affair; how the tree is made is
`records.merkle`'s. Source: C2SP tlog-checkpoint v1.0.0 ("a log MUST NOT sign two inconsistent
checkpoints").
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from golive_redis.errors import RecordError
from golive_redis.records.checkpoint import Checkpoint
from golive_redis.records.ledger import GENESIS, Entry
from golive_redis.records.merkle import CompactRange, leaf
from golive_redis.records.record import Count, Strict, decodable

KEPT = 16
"""Marks that are remembered, besides those that a witness knows."""


class InconsistentLogError(RecordError):
    """The ledger is not the one that was signed for: nothing of it may be signed."""


@decodable
class Mark(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ledger up to one of its entries: enough to go on from there, and to prove things since.

    Attributes:
        size: Entries.
        nodes: The roots of the complete subtrees over them, in hex (`merkle.CompactRange`).
        last_id: Of the last of them in the stream, "" when there is none.
        head: After it.
        told: It was told by a signed note, and is not in Redis any more.
    """

    size: Count = 0
    nodes: list[str] = []
    last_id: str = ""
    head: str = GENESIS
    told: bool = False

    @property
    def tree(self) -> CompactRange:
        """The tree over the entries.

        Raises:
            RecordError: The nodes are not those of a tree of that size.
        """
        return CompactRange.decoded(self.size, self.nodes)

    @property
    def last_ms(self) -> int:
        """When Redis took the last of them, Unix ms of the server's clock; 0 when there is none."""
        return int(self.last_id.partition("-")[0] or 0)

    @property
    def start(self) -> str:
        """Where a reading that goes on from here begins: with the last entry, to see it again."""
        if self.told:
            return f"({self.last_id}" if self.last_id else "-"
        return self.last_id or "-"


class Follower:
    """Takes in a ledger from a mark on.

    Args:
        mark: Where it begins.

    Attributes:
        size: Entries so far.
    """

    def __init__(self, mark: Mark = Mark()) -> None:  # noqa: B008  (frozen)
        self._tree = mark.tree
        self._last_id, self._head = mark.last_id, mark.head
        self._seen = mark.told or not mark.size

    @property
    def size(self) -> int:
        """Entries so far."""
        return self._tree.size

    def root(self) -> bytes:
        """Return the root of the tree so far."""
        return self._tree.root()

    def take(self, page: Sequence[Entry], up_to: int | None = None) -> list[bytes]:
        """Take in the next page of a reading that began at `Mark.start`.

        Args:
            page: Of the ledger; none twice.
            up_to: How many entries there are to be at most; what comes after them is left alone.

        Returns:
            The leaf hashes that are new.

        Raises:
            InconsistentLogError: The last entry that was known is not there as it was (V14).
        """
        if not self._seen:
            if not page or (page[0].id, page[0].head) != (self._last_id, self._head):
                raise InconsistentLogError(
                    f"entry {self.size - 1} of the ledger is not there any more as it was seen here",
                    hint="golive audit verify",
                )
            self._seen, page = True, page[1:]
        new = page if up_to is None else page[: max(0, up_to - self.size)]
        leaves = [leaf(entry.envelope) for entry in new]
        if new:
            self._tree = self._tree.extend(leaves)
            self._last_id, self._head = new[-1].id, new[-1].head
        return leaves

    def mark(self) -> Mark:
        """Return how far it is."""
        return Mark(
            size=self.size,
            nodes=list(self._tree.encoded()),
            last_id=self._last_id,
            head=self._head,
        )

    def tree(self) -> CompactRange:
        """Return the tree so far."""
        return self._tree


def judge(checkpoint: Checkpoint, mark: Mark, by: str) -> None:
    """Hold a checkpoint against the ledger up to its size.

    Args:
        checkpoint: As somebody has signed it.
        mark: Of the ledger, at that size; or at a smaller one, where the ledger ends.
        by: Who has signed it, for people.

    Raises:
        InconsistentLogError: It has more entries than the ledger, or others.
    """
    if mark.size < checkpoint.size:
        raise InconsistentLogError(
            f"the ledger has {mark.size} entries, and the checkpoint by {by} has {checkpoint.size}: "
            "its end is lost",
            hint="golive audit verify",
        )
    if mark.tree.root() != checkpoint.root:
        raise InconsistentLogError(
            f"the first {checkpoint.size} entries of the ledger are not those of the checkpoint by "
            f"{by}: it was rewritten, or the log is forked",
            hint="golive audit verify",
        )


def nearest(marks: Sequence[Mark], size: int) -> Mark:
    """Return the last mark at or before a size; the beginning of the ledger where there is none."""
    fitting = [mark for mark in marks if mark.size <= size]
    return max(fitting, key=lambda mark: mark.size, default=Mark())


def kept(marks: Sequence[Mark], pinned: Collection[int]) -> list[Mark]:
    """Return the marks to remember: the newest, and those at the sizes that witnesses know.

    From the mark that a witness knows, its next proof takes the entries since then; without it, all.
    """
    found = {mark.size: mark for mark in marks if mark.size}
    sizes = sorted(found)
    wanted = {*sizes[-KEPT:], *(size for size in pinned if size in found)}
    return [found[size] for size in sizes if size in wanted]
