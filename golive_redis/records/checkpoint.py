"""Checkpoints: how long a log is and what is in it, in three lines that others sign and remember.

A log's key signs a checkpoint (type 0x01), and witnesses cosign it (type 0x04, with a time) once they
have seen that it continues the one before. A `.tlog-proof` is a checkpoint with the proof that one entry
is in it: it needs nothing else to be verified, and no network.

Source: C2SP tlog-checkpoint v1.0.0, C2SP tlog-cosignature v1.0.1, C2SP tlog-proof (main of 2026-07-22).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from golive_redis.errors import RecordError
from golive_redis.records.merkle import HASH_BYTES, MAX_PROOF, MAX_SIZE, verify_inclusion
from golive_redis.records.signednote import (
    MAX_NOTE_BYTES,
    Sign,
    Signed,
    SignedNote,
    VerifierKey,
    decode64,
    encode64,
    parse,
    require_name,
    sign,
    verified,
)

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
MAX_EXTRA_BYTES = 64 * 1024
MAX_PROOF_BYTES = 2 * MAX_EXTRA_BYTES + MAX_NOTE_BYTES
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


class Checkpoint(msgspec.Struct, frozen=True):
    """The head of a log.

    Attributes:
        origin: Names the log; its key has this name.
        size: Entries.
        root: Of the Merkle tree over them, 32 bytes.
        extensions: Further lines; we write none, and witnesses say nothing about them.

    Source: C2SP tlog-checkpoint v1.0.0, note text.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the note text, with its last newline.

        Raises:
            RecordError: It would be refused when it is read.
        """
        lines = (self.origin, str(self.size), encode64(self.root), *self.extensions)
        text = "\n".join(lines) + "\n"
        if parse_text(text) != self:
            raise RecordError("a checkpoint's origin and extensions are one line each")
        return text

    def signed(self, key: VerifierKey, signer: Sign) -> bytes:
        """Return the checkpoint as a note that the log's key has signed.

        Raises:
            RecordError: `signer` does not sign for that key, or the checkpoint cannot be written.
        """
        text = self.text()
        return SignedNote(text, (sign(text, key, signer),)).encode()


class OpenedCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint whose log has signed it.

    Attributes:
        checkpoint: What it says.
        note: As it was read.
        logs: The signatures by the log's keys, one at least.
        witnesses: The cosignatures by known witnesses, with their times.
    """

    checkpoint: Checkpoint
    note: SignedNote
    logs: tuple[Signed, ...]
    witnesses: tuple[Signed, ...]


def origin_of(environment: str, namespace: str) -> str:
    """Return the origin of a fleet's ledger where the configuration names none.

    `.invalid` is reserved (RFC 2606 section 2), so that no such name is ever somebody else's.

    Raises:
        RecordError: The names cannot be part of one.
    """
    origin = f"{environment}.invalid/{namespace.strip('{}')}"
    require_name(origin)
    return origin


def parse_text(text: str) -> Checkpoint:
    """Parse the text of a note as a checkpoint (C2SP tlog-checkpoint v1.0.0, note text).

    Raises:
        RecordError: Fewer than three lines, an empty one, a size with a leading zero, or a root that
            is not 32 bytes.
    """
    *lines, last = text.split("\n")
    if last or len(lines) < 3 or not all(lines):  # noqa: PLR2004  (origin, size, root)
        raise RecordError("a checkpoint has a line for origin, size and root, and none is empty")
    origin, size, root, *extensions = lines
    raw = decode64(root)
    if len(raw) != HASH_BYTES:
        raise RecordError("the root of a checkpoint is 32 bytes")
    return Checkpoint(origin, parse_size(size), raw, tuple(extensions))


def parse_size(text: str) -> int:
    """Parse a size or an index: decimal digits without a leading zero.

    Raises:
        RecordError: Anything else, or more than 2^63-1.
    """
    if not _NUMBER.fullmatch(text) or int(text) > MAX_SIZE:
        raise RecordError(f"{text[:24]!r} is no size: decimal digits, no leading zero")
    return int(text)


def open_checkpoint(
    raw: bytes, logs: Iterable[VerifierKey], witnesses: Iterable[VerifierKey] = ()
) -> OpenedCheckpoint:
    """Read a checkpoint that one of these keys has signed as its log.

    The keys must be those trusted for its origin: `logpolicy.Policy.judge` chooses them by it.

    Args:
        raw: The note.
        logs: Keys of the log.
        witnesses: Keys of witnesses that are known; how many are needed is a policy's affair.

    Raises:
        RecordError: No log's key has signed, a known key's signature is bad, or it is no checkpoint.
    """
    note = parse(raw)
    own, known = frozenset(logs), frozenset(witnesses)
    found = verified(note, own | known)
    by_logs = tuple(signed for signed in found if signed.verifier in own)
    if not by_logs:
        raise RecordError("no trusted key of its log has signed this checkpoint")
    by_witnesses = tuple(signed for signed in found if signed.verifier in known)
    return OpenedCheckpoint(parse_text(note.text), note, by_logs, by_witnesses)


class EntryProof(msgspec.Struct, frozen=True):
    """The proof that one entry is in a log: `.tlog-proof`; not verified.

    Attributes:
        index: Of the entry, counted from 0.
        path: The inclusion proof, from the leaf's sibling upwards.
        checkpoint: The note, byte for byte.
        extra: Bytes that nobody signed, for whoever wrote the proof; None for no such line.

    Source: C2SP tlog-proof (main of 2026-07-22), format.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def encode(self) -> bytes:
        """Return the text of the file.

        Raises:
            RecordError: It would be refused when it is read.
        """
        head = [PROOF_HEADER]
        if self.extra is not None:
            head.append(f"extra {encode64(self.extra)}")
        head += [f"index {self.index}", *map(encode64, self.path)]
        raw = ("\n".join(head) + "\n\n").encode() + self.checkpoint
        if parse_proof(raw) != self:
            raise RecordError("the proof would be read as another one")
        return raw

    def verify(self, entry: bytes, opened_checkpoint: OpenedCheckpoint) -> None:
        """Verify that a leaf is in the log.

        Args:
            entry: The leaf hash, made from the entry's own bytes.
            opened_checkpoint: What a policy has made of `checkpoint`.

        Raises:
            RecordError: It is not, or that is another checkpoint.
        """
        if opened_checkpoint.note != parse(self.checkpoint):
            raise RecordError("the proof belongs to another checkpoint")
        head = opened_checkpoint.checkpoint
        verify_inclusion(entry, self.index, head.size, self.path, head.root)


def parse_proof(raw: bytes) -> EntryProof:
    """Parse a `.tlog-proof` without verifying it.

    Raises:
        RecordError: Not of the form of C2SP tlog-proof (main of 2026-07-22), format.
    """
    if len(raw) > MAX_PROOF_BYTES:
        raise RecordError(f"a proof of {len(raw)} bytes exceeds the limit of {MAX_PROOF_BYTES}")
    head, gap, checkpoint = raw.partition(b"\n\n")
    try:
        header, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise RecordError("a proof with other characters than ASCII ahead of its note") from error
    if header != PROOF_HEADER or not gap:
        raise RecordError(f"no proof of an entry: its first line is {PROOF_HEADER}")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode64(lines.pop(0).removeprefix("extra "))
    if not lines or not lines[0].startswith("index "):
        raise RecordError("a proof without a line for the index")
    index = parse_size(lines.pop(0).removeprefix("index "))
    if len(lines) > MAX_PROOF:
        raise RecordError(f"a proof of {len(lines)} hashes; {MAX_PROOF} are the most")
    path = tuple(map(decode64, lines))
    if any(len(each) != HASH_BYTES for each in path):
        raise RecordError("a hash of a proof is not 32 bytes")
    parse_text(parse(checkpoint).text)
    return EntryProof(index, path, checkpoint, extra)
