"""The ledger: the audit stream as a hash chain of signed records.

The head after an entry is SHA-256 over the head before it and the SHA-256 of the entry's envelope
bytes, under a domain tag, so that neither an entry nor its place can change without every later
head changing (the construction of RFC 9162 section 2.1, as a list instead of a tree).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, ClassVar

import msgspec

from golive_redis.records.keyset import Role
from golive_redis.records.record import Record, Text, decodable

GENESIS = "0" * 64
TRIMMED = "trimmed"
GENERATION = "generation"
"""Topics of the notes with which a ledger begins that does not begin with its first entry."""

# Who may write a note on what. A reader refuses a topic that it does not know: it cannot tell.
TOPICS: dict[str, Role] = {
    "stop-confirmed": Role.REVOKER,
    "stop-repeated": Role.REVOKER,
    "heartbeat-dead": Role.REVOKER,
    "worker-dead": Role.REVOKER,
    "card": Role.REVOKER,
    "goodbye": Role.HEARTBEAT,
    "joined": Role.HEARTBEAT,
    "out-of-band": Role.HEARTBEAT,
    "window": Role.HEARTBEAT,
    "trigger": Role.HEARTBEAT,
    "early-warning": Role.HEARTBEAT,
    "local-kill": Role.HEARTBEAT,
    "lapse": Role.HEARTBEAT,
    "heal": Role.HEARTBEAT,
    "skips": Role.HEARTBEAT,
    "security": Role.HEARTBEAT,
    "receipts": Role.HEARTBEAT,
    "repaired": Role.HEARTBEAT,
    TRIMMED: Role.APPROVER,
    GENERATION: Role.APPROVER,
}
_DOMAIN = b"golive-ledger-v1\n"


@decodable
class Note(Record, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A fact for the ledger that is not a directive, e.g. that the key was removed without a stop."""

    KIND: ClassVar[str] = "note"

    topic: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z-]{1,40}\Z")]
    text: Text
    facts: Annotated[
        dict[
            Annotated[str, msgspec.Meta(max_length=64)],
            Annotated[str, msgspec.Meta(max_length=512)],
        ],
        msgspec.Meta(max_length=32),
    ]


class Entry(msgspec.Struct, frozen=True):
    """One entry: the envelope as stored and the head the writer claims after it.

    Attributes:
        id: Of the entry in the stream: Unix ms of the server's clock, and a count; "" when not known.
        others: Names of further fields, which no writer of ours makes.
    """

    envelope: bytes
    head: str
    id: str = ""
    others: tuple[str, ...] = ()

    @property
    def at_ms(self) -> int:
        """When Redis took it, Unix ms of the server's clock."""
        return int(self.id.partition("-")[0] or 0)


def digest(envelope: bytes) -> str:
    """Return what an entry adds to the chain: the hex SHA-256 of its envelope."""
    return hashlib.sha256(envelope).hexdigest()


def extend(head: str, envelope: bytes) -> str:
    """Return the head after appending `envelope` to a ledger whose head is `head`.

    The scripts `restrict` and `revoke` compute the same (store/lua/ledger.lua).
    """
    body = digest(envelope)
    return hashlib.sha256(_DOMAIN + head.encode() + b"\n" + body.encode()).hexdigest()


def first_break(entries: Iterable[Entry], *, start: str = GENESIS) -> int | None:
    """Return the index of the first entry whose head does not follow, or None when all do."""
    head = start
    for index, entry in enumerate(entries):
        head = extend(head, entry.envelope)
        if head != entry.head:
            return index
    return None
