"""Proofs of single entries: made from the ledger and a checkpoint, read without either.

A proof file (`.tlog-proof`) is one entry's place in the tree, the checkpoint and, in a line of its own,
the entry itself. Whoever has the policy needs nothing else to know that the entry is in the log, and
since when which witnesses have said so.

Source: C2SP tlog-proof (main of 2026-07-22).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from golive_redis.audit.checkpoints import Held, LogReader
from golive_redis.errors import RecordError, RefusedError
from golive_redis.records.checkpoint import EntryProof, parse_proof
from golive_redis.records.ledger import Entry
from golive_redis.records.merkle import (
    EMPTY,
    CompactRange,
    inclusion_path,
    leaf,
    prove,
    verify_inclusion,
)


class Proved(msgspec.Struct, frozen=True):
    """An entry that is in a log, as a proof and a policy say.

    Attributes:
        index: Of the entry.
        origin: Of the log.
        held: The checkpoint.
        envelope: The entry itself.
    """

    index: int
    origin: str
    held: Held
    envelope: bytes


def covering(found: Iterable[Held], index: int) -> Held:
    """Return the checkpoint to prove an entry by: the newest that the policy accepts.

    Raises:
        RefusedError: None does, or the entry is newer than that.
    """
    accepted = [held for held in found if held.met]
    if not accepted:
        raise RefusedError(
            "there is no checkpoint of this ledger that enough witnesses have cosigned",
            hint="`golive status` says who signs it, and `golive doctor` what is missing",
        )
    newest = max(accepted, key=lambda held: held.size)
    if index >= newest.size:
        raise RefusedError(
            f"entry {index:,} is newer than {newest.name}",
            hint="a checkpoint follows an entry within two minutes: try again then",
        )
    return newest


def proof(
    index: int,
    entry: Entry,
    held: Held,
    pages: Iterable[list[Entry]],
    *,
    after: CompactRange = EMPTY,
) -> EntryProof:
    """Return the proof that an entry is in the log that a checkpoint is about.

    Args:
        index: Of the entry.
        entry: As it is stored.
        held: The checkpoint.
        pages: The ledger from where it begins; read up to the checkpoint.
        after: The tree over the entries before that, which were trimmed.

    Raises:
        RecordError: The ledger is not the one of the checkpoint.
    """
    tree = after

    def leaves() -> Iterator[bytes]:
        nonlocal tree
        for page in pages:
            new = [leaf(each.envelope) for each in page][: held.size - tree.size]
            tree = tree.extend(new)
            yield from new
            if tree.size >= held.size:
                return

    source = leaves()
    path = prove(inclusion_path(index, held.size), source, after=after)
    for _ in source:  # to its end, for the root
        pass
    if tree.size < held.size or tree.root() != held.root:
        raise RecordError(
            f"the ledger is another than in {held.name}: nothing of it can be proved",
            hint="golive audit verify",
        )
    verify_inclusion(leaf(entry.envelope), index, held.size, path, held.root)
    return EntryProof(index, path, held.note, entry.envelope)


def read(raw: bytes, reader: LogReader, envelope: bytes | None = None) -> Proved:
    """Return what a proof shows; needs no ledger and no network.

    Args:
        raw: The file.
        reader: Whose signatures count.
        envelope: The entry, where the file does not have it.

    Raises:
        RecordError: It is no proof, the policy does not accept its checkpoint, or it shows another
            entry.
    """
    found = parse_proof(raw)
    entry = found.extra if envelope is None else envelope
    if entry is None:
        raise RecordError("the proof holds no entry", hint="--entry FILE, with its bytes")
    judged = reader.policy.verify_entry(found, leaf(entry))
    held = reader.read(found.checkpoint)
    return Proved(found.index, judged.checkpoint.origin, held, entry)
