"""What goes over the line between a log and a witness: requests and answers as bytes. Pure.

Source: C2SP tlog-witness v1.0.0, with the refinements of main of 2026-07-22: another root at the same
size is answered with 422, and the monitor's path is the hash of the origin.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from golive_redis.errors import RecordError
from golive_redis.records.checkpoint import Checkpoint, parse_size, parse_text
from golive_redis.records.merkle import HASH_BYTES, MAX_PROOF
from golive_redis.records.signednote import SignedNote, decode64, encode64, parse

ADD_PATH = "/add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"
TEXT_TYPE = "text/plain; charset=utf-8"
MAX_BODY_BYTES = 256 * 1024
MAX_ANSWER_BYTES = 64 * 1024


class Submission(msgspec.Struct, frozen=True):
    """An `add-checkpoint` request.

    Attributes:
        old: The size that the submitter believes the witness to know.
        proof: The consistency proof from there.
        note: The checkpoint as it was sent, not verified.
        checkpoint: What it says, likewise.
    """

    old: int
    proof: tuple[bytes, ...]
    note: SignedNote
    checkpoint: Checkpoint


def encode_submission(old: int, proof: Sequence[bytes], checkpoint: bytes) -> bytes:
    """Return the body of an `add-checkpoint` request."""
    lines = [f"old {old}", *map(encode64, proof)]
    return ("\n".join(lines) + "\n\n").encode() + checkpoint


def parse_submission(body: bytes) -> Submission:
    """Parse the body of an `add-checkpoint` request.

    Raises:
        RecordError: Not of that form: status 400.
    """
    if len(body) > MAX_BODY_BYTES:
        raise RecordError(f"a request of {len(body)} bytes exceeds the limit of {MAX_BODY_BYTES}")
    head, gap, raw = body.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise RecordError("a request with other characters than ASCII ahead of its note") from error
    if not gap or not first.startswith("old "):
        raise RecordError("a request is `old SIZE`, proof lines, an empty line and a checkpoint")
    if len(lines) > MAX_PROOF:
        raise RecordError(f"a proof of {len(lines)} lines; {MAX_PROOF} are the most")
    proof = tuple(map(decode64, lines))
    if any(len(each) != HASH_BYTES for each in proof):
        raise RecordError("a line of the proof is not 32 bytes")
    note = parse(raw)
    return Submission(parse_size(first.removeprefix("old ")), proof, note, parse_text(note.text))


def encode_size(size: int) -> bytes:
    """Return the body of a 409: the size that the witness knows."""
    return f"{size}\n".encode()


def decode_size(body: bytes) -> int:
    """Return the size in the body of a 409.

    Raises:
        RecordError: It is not one line with a size.
    """
    line, newline, rest = body[: MAX_ANSWER_BYTES + 1].partition(b"\n")
    if not newline or rest or not line.isascii():
        raise RecordError("the answer 409 has no size")
    return parse_size(line.decode("ascii"))


def checkpoint_path(origin: str) -> str:
    """Return where a witness shows the newest checkpoint of a log."""
    return f"/{origin_hash(origin)}/checkpoint"


def origin_hash(origin: str) -> str:
    """Return by what a log is asked for: the hex SHA-256 of its origin."""
    return hashlib.sha256(origin.encode()).hexdigest()
