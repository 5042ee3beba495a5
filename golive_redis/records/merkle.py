"""The Merkle tree over the ledger: leaf, node, root, and proofs that fit into a few lines.

A leaf is the hash of an envelope's bytes, so the tree commits to exactly what is signed. Two heads of
one log can be held against each other with some thirty hashes, whatever its length, and one entry can be
shown to be in it with as many.

Nothing here needs the whole log in memory. A `CompactRange` carries a tree of any size in at most 63
hashes, and `prove` makes a proof in one pass over the leaves. Where a caller can look up the hash of any
complete subtree (a tile folder), `inclusion_path` and `consistency_path` say which.

Size 0 is as C2SP tlog-witness v1.0.0 has it: its root is the hash of nothing, and it is consistent with
every tree by an empty proof.

Source: RFC 6962 section 2.1 (the tree and both proofs), RFC 9162 sections 2.1.3.2 and 2.1.4.2 (the
verifiers), with SHA-256.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from golive_redis.errors import RecordError

HASH_BYTES = 32
MAX_SIZE = 2**63 - 1
MAX_PROOF = 63
"""Hashes of a consistency proof at most (C2SP tlog-witness v1.0.0, add-checkpoint)."""
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves (RFC 6962 section 2.1)."""

_HEX = re.compile(r"[0-9a-f]{64}")


class Span(NamedTuple):
    """The leaves from `start` up to, and without, `end`, whose tree's root a proof holds."""

    start: int
    end: int


def leaf(envelope: bytes) -> bytes:
    """Return the leaf hash of an entry: SHA-256(0x00 || envelope) (RFC 6962 section 2.1).

    Args:
        envelope: The entry's bytes as the stream has them in its field `r`.
    """
    return hashlib.sha256(b"\x00" + envelope).digest()


def node(left: bytes, right: bytes) -> bytes:
    """Return the hash above two others: SHA-256(0x01 || left || right) (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class CompactRange(msgspec.Struct, frozen=True):
    """A tree as far as appending to it needs to know it: the roots of its complete subtrees.

    Attributes:
        size: Leaves.
        nodes: The root of each complete subtree, the largest first: one for each 1 in `size`'s binary
            form.

    Source: RFC 6962 section 2.1, whose split at powers of two makes these subtrees final.
    """

    size: int = 0
    nodes: tuple[bytes, ...] = ()

    def extend(self, leaves: Iterable[bytes]) -> CompactRange:
        """Return the tree with these leaf hashes appended; O(1) hashes each, on average.

        Raises:
            RecordError: More leaves than a checkpoint can count.
        """
        size, nodes = self.size, list(self.nodes)
        for each in leaves:
            top, below = each, size
            while below & 1:  # a complete subtree of the same size stands to the left
                top = hashlib.sha256(b"\x01" + nodes.pop() + top).digest()
                below >>= 1
            nodes.append(top)
            size += 1
        if size > MAX_SIZE:
            raise RecordError(f"a tree of {size} leaves is more than a checkpoint can count")
        return CompactRange(size, tuple(nodes))

    def append(self, new: bytes) -> CompactRange:
        """Return the tree with one leaf hash more."""
        return self.extend((new,))

    def root(self) -> bytes:
        """Return the root of the tree (RFC 6962 section 2.1); 32 bytes."""
        if not self.nodes:
            return EMPTY_ROOT
        *others, top = self.nodes
        for each in reversed(others):
            top = node(each, top)
        return top

    def encoded(self) -> tuple[str, ...]:
        """Return the nodes in hex, for a state file; `size` belongs to them."""
        return tuple(each.hex() for each in self.nodes)

    @classmethod
    def decoded(cls, size: int, nodes: Sequence[str]) -> CompactRange:
        """Return the tree of that size from what `encoded` gave.

        Raises:
            RecordError: Not lower-case hex of 32 bytes each, or not as many as that size has.
        """
        _require_size(size)
        if len(nodes) != size.bit_count() or not all(_HEX.fullmatch(each) for each in nodes):
            raise RecordError(f"these are not the {size.bit_count()} hashes of a tree of {size}")
        return cls(size, tuple(bytes.fromhex(each) for each in nodes))

    def spans(self) -> tuple[Span, ...]:
        """Return what each of the nodes covers, in their order."""
        found, start = [], 0
        for bit in reversed(range(self.size.bit_length())):
            if self.size >> bit & 1:
                found.append(Span(start, start + (1 << bit)))
                start += 1 << bit
        return tuple(found)


EMPTY = CompactRange()
"""The tree without leaves."""


# -- what a proof consists of --------------------------------------------------------------------


def inclusion_path(index: int, size: int) -> tuple[Span, ...]:
    """Return the spans whose roots are the inclusion proof of a leaf, from its sibling upwards.

    Raises:
        RecordError: There is no such leaf in a tree of that size.

    Source: PATH(m, D[n]), RFC 6962 section 2.1.1.
    """
    _require_size(size)
    if not 0 <= index < size:
        raise RecordError(f"there is no entry {index} among {size}")
    return _path(index, index + 1, size, whole=False)


def consistency_path(old: int, new: int) -> tuple[Span, ...]:
    """Return the spans whose roots are the consistency proof between two sizes.

    None between equal sizes, and none from size 0 (C2SP tlog-witness v1.0.0, add-checkpoint).

    Raises:
        RecordError: `old` is larger than `new`.

    Source: PROOF(m, D[n]), RFC 6962 section 2.1.2.
    """
    _require_size(new)
    if not 0 <= old <= new:
        raise RecordError(f"a tree of {new} does not continue one of {old}")
    return _path(old - 1, old, new, whole=True) if old else ()


def _path(index: int, end: int, size: int, *, whole: bool) -> tuple[Span, ...]:
    """Return the siblings on the way from a subtree that ends at `end` and has `index` to the root.

    Args:
        index: A leaf of it.
        end: Where the known part ends.
        size: Of the tree.
        whole: Stop where the known part fills the subtree; its root goes first, unless the verifier
            knows it because it is the whole old tree.
    """
    start, stop = 0, size
    found: list[Span] = []
    while stop - start > 1 and not (whole and stop == end):
        middle = start + (1 << (stop - start - 1).bit_length() - 1)
        if index < middle:
            found.append(Span(middle, stop))
            stop = middle
        else:
            found.append(Span(start, middle))
            start = middle
    if whole and start > 0:
        found.append(Span(start, stop))
    return tuple(reversed(found))


def prove(
    path: Sequence[Span], leaves: Iterable[bytes], *, after: CompactRange = EMPTY
) -> tuple[bytes, ...]:
    """Return the root of each span, from one pass over the leaves.

    Args:
        path: From `inclusion_path` or `consistency_path`; no two overlap.
        leaves: The leaf hashes from number `after.size` on; read up to the last that is needed.
        after: The tree of those before. With the tree of the old size, a consistency proof needs the
            new leaves only.

    Raises:
        RecordError: `leaves` end too early, or a span lies in `after` and is none of its nodes.
    """
    known = dict(zip(after.spans(), after.nodes, strict=True))
    wanted = sorted(span for span in set(path) if span not in known)
    source, at = iter(leaves), after.size
    for span in wanted:
        if span.start < at:
            raise RecordError(f"entries {span.start} to {span.end} lie before what is known here")
        tree = EMPTY.extend(_taken(source, span.start - at, span.end - at))
        if tree.size < span.end - span.start:
            raise RecordError(f"the log ends before entry {span.end}, which the proof needs")
        known[span], at = tree.root(), span.end
    return tuple(known[span] for span in path)


def _taken(source: Iterable[bytes], skip: int, stop: int) -> Iterable[bytes]:
    """Pass over some, and give those up to `stop`, without asking for one more."""
    for number, each in zip(range(stop), source, strict=False):
        if number >= skip:
            yield each


# -- verifiers -----------------------------------------------------------------------------------


def verify_inclusion(
    entry: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Verify that a leaf is in the tree with that size and root, at that index.

    Args:
        entry: The leaf hash, as `leaf` returns it.
        index: Counted from 0.
        size: Of the tree.
        proof: The hashes from the leaf's sibling upwards.
        root: Of the tree, from a checkpoint that was verified.

    Raises:
        RecordError: It is not, or the proof does not show it. Fails closed: nothing is known then.

    Source: RFC 9162 section 2.1.3.2.
    """
    _require_size(size)
    _require_hashes((entry, root, *proof))
    if not 0 <= index < size:
        raise RecordError(f"there is no entry {index} among {size}")
    at, last, top = index, size - 1, entry
    for each in proof:
        if last == 0:
            raise RecordError("the inclusion proof is too long")
        if at & 1 or at == last:
            top = node(each, top)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            top = node(top, each)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise RecordError("the inclusion proof is too short")
    if top != root:
        raise RecordError(f"the proof does not show that entry {index} is in this log")


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Verify that the tree of the new size begins with the whole tree of the old size.

    Args:
        old: The earlier size.
        new: The later size.
        old_root: Of the earlier tree.
        new_root: Of the later tree.
        proof: As `consistency_path` orders it; none from size 0 and none between equal sizes.

    Raises:
        RecordError: It does not, or the proof does not show it. Fails closed: the two may be a fork.

    Source: RFC 9162 section 2.1.4.2; size 0 by C2SP tlog-witness v1.0.0, add-checkpoint.
    """
    _require_size(new)
    _require_hashes((old_root, new_root, *proof))
    if not 0 <= old <= new:
        raise RecordError(f"a tree of {new} does not continue one of {old}")
    if old == 0 and old_root != EMPTY_ROOT:
        raise RecordError("a log without entries has another root than the hash of nothing")
    if old in {0, new}:
        if proof:
            raise RecordError(f"from size {old} to {new} there is nothing to prove, yet a proof")
        if old == new and old_root != new_root:
            raise RecordError(f"two logs of {new} entries with different contents: a fork")
        return
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    # Where the old tree is one complete subtree its root is known and left out of the proof.
    whole = proof if old & (old - 1) else (old_root, *proof)
    if not whole:
        raise RecordError("the consistency proof is too short")
    first, *rest = whole
    _climb(at, last, first, rest, old_root=old_root, new_root=new_root)


def _climb(
    at: int, last: int, first: bytes, rest: Sequence[bytes], *, old_root: bytes, new_root: bytes
) -> None:
    before = after = first
    for each in rest:
        if last == 0:
            raise RecordError("the consistency proof is too long")
        if at & 1 or at == last:
            before, after = node(each, before), node(each, after)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            after = node(after, each)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise RecordError("the consistency proof is too short")
    if (before, after) != (old_root, new_root):
        raise RecordError("the proof does not show that the log was only appended to")


def _require_size(size: int) -> None:
    if not 0 <= size <= MAX_SIZE:
        raise RecordError(f"{size} is no size of a log")


def _require_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(each) != HASH_BYTES for each in hashes):
        raise RecordError("a hash of a proof is not 32 bytes")
