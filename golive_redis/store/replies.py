"""What a reply says, as frozen values: parsed here, once, so that nothing above sees a list or bytes.

Nothing is verified: a record stays the bytes that came, for `records` and `core` to judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from golive_redis.core.answer import Answer
from golive_redis.records.ledger import GENESIS
from golive_redis.records.record import MAX_INT
from golive_redis.store.link import Reply, StoreRefusedError, usable


class Status(StrEnum):
    """How an atomic step went."""

    OK = "OK"
    SAME = "SAME"
    REFUSED = "REFUSED"
    CONFLICT = "CONFLICT"
    HEAD = "HEAD"
    LATER = "LATER"
    GONE = "GONE"
    FLEET = "FLEET"
    REGISTER = "REGISTER"


class Audit(StrEnum):
    """What became of the ledger entry that a stop writes last; NONE leaves it to the caller."""

    AUDITED = "AUDITED"
    FAILED = "FAILED"
    NONE = "NONE"


class Step(msgspec.Struct, frozen=True):
    """Reply of a step: its status, a word for why, and a detail (an identity, epoch, head ...).

    Attributes:
        unpushed: Why what is in force now could not be pushed, in Redis' words; "" when it was.
    """

    status: Status
    why: str = ""
    detail: str = ""
    unpushed: str = ""


class Stop(msgspec.Struct, frozen=True):
    """Reply of `revoke`: what was active, for the caller to verify, and what the audit did.

    Attributes:
        detail: Why there is no ledger entry; of `GONE`, why there is no tombstone.
        unpushed: Why it could not be pushed; "" when it was.
        standing: The tombstone, where another one than the caller's stands; to be verified, too.
    """

    status: Status
    grant: bytes | None
    restriction: bytes | None
    origin: str | None
    audit: Audit
    detail: str
    unpushed: str = ""
    standing: bytes | None = None

    @property
    def unrecorded(self) -> str:
        """Why the key is gone without a tombstone; "" when one stands."""
        return self.detail if self.status is Status.GONE else ""


class Snapshot(msgspec.Struct, frozen=True):
    """Everything an operator reads at once. Not atomic: compare-and-set guards what follows from it."""

    grant: bytes | None
    restrictions: Mapping[str, bytes]
    origin: str | None
    pttl_ms: int
    beats: Mapping[str, bytes]
    revoked: bytes | None
    revoked_origin: str | None
    confirmed: bytes | None
    epoch_hint: int
    last: str
    active_last: str
    head: str
    fleet: str
    corrupt: tuple[str, ...]
    activation: bytes | None = None
    execution: bytes | None = None


class Server(msgspec.Struct, frozen=True):
    """Who answers.

    Attributes:
        run_id: Of the process; changes with a failover or a restart.
        replicas: How many follow it.
        replication_id: Of its data; changes when it follows another server or is promoted.
    """

    run_id: str
    replicas: int
    replication_id: str = ""

    @property
    def history(self) -> str:
        """What names this process with this history of data; "" when either is unknown."""
        known = self.run_id and self.replication_id
        return f"{self.run_id} {self.replication_id}" if known else ""


class Caller(msgspec.Struct, frozen=True):
    """Who attends: a worker's guard or a heartbeat."""

    role: str
    name: str
    instance: str

    @property
    def member(self) -> str:
        """Its roster entry."""
        return self.name if self.role == "heartbeat" else f"{self.name}:{self.instance}"


def text(value: Reply) -> str:
    """Return a reply as text; "" for nothing. Bytes that are no UTF-8 are shown, not refused."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def or_none(value: Reply) -> bytes | None:
    """Return a record, or None for whatever is no string."""
    return value if isinstance(value, bytes) else None


def all_bytes(values: Reply) -> list[bytes]:
    """Return a list of strings.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(values, list) or not all(isinstance(item, bytes) for item in values):
        raise TypeError("no list of strings")
    return values


def pairs(flat: Reply) -> dict[str, bytes]:
    """Return the fields of a hash."""
    flat = all_bytes(flat)
    return {text(key): value for key, value in zip(flat[::2], flat[1::2], strict=True)}


def entries_of(stream: Reply) -> list[dict[bytes, bytes]]:
    """Return the fields of each entry of a stream."""
    entries = [all_bytes(fields) for _, fields in stream]
    return [dict(zip(fields[::2], fields[1::2], strict=True)) for fields in entries]


def stream_ms(entry_id: Reply) -> int:
    """Return when an entry of a stream was written: Unix ms of the server's clock."""
    return int(text(entry_id).partition("-")[0])


def number(value: Reply) -> int:
    """Return the number in a value; 0 for anything else, and for one that int() would refuse."""
    digits = isinstance(value, bytes) and value.isdigit() and len(value) <= len(str(MAX_INT))
    return int(value) if digits else 0


def parse_step(reply: Reply) -> Step:
    """Return the reply of a script.

    Raises:
        MaybeAppliedError: It has another shape, so what has happened is unknown (A7).
    """
    with usable("a script", wrote=True):
        status, *rest = (text(item) for item in reply)
        return Step(Status(status), *rest[:3])


def parse_attend(reply: Reply) -> tuple[Status, Answer, str]:
    """Return the reply of the `attend` script."""
    nonce, status, detail, last, pttl, grant, restrictions, beats, revoked, head, done = reply
    answer = Answer(
        nonce=text(nonce),
        corrupt=text(detail) if status == b"CORRUPT" else None,
        last=text(last) or None,
        pttl_ms=int(pttl),
        grant=None if grant == b"SAME" else or_none(grant),
        restrictions=tuple(all_bytes(restrictions)),
        unchanged=grant == b"SAME",
        beats=pairs(beats),
        revoked=None if revoked == b"SAME" else or_none(revoked),
        revoked_unchanged=revoked == b"SAME",
        execution=or_none(done),
    )
    known = Status.REGISTER if status == b"REGISTER" else Status.OK
    return known, answer, text(head)


def parse_stop(reply: Reply) -> Stop:
    """Return the reply of the `revoke` script."""
    status, grant, restriction, origin, audit, detail, unpushed, standing = reply
    return Stop(
        Status(text(status)),
        or_none(grant),
        or_none(restriction),
        text(origin) or None,
        Audit(text(audit)),
        text(detail),
        text(unpushed),
        or_none(standing),
    )


def parse_snapshot(names: Sequence[str], replies: Sequence[Reply]) -> Snapshot:
    """Return the replies to one look at every key of the switch.

    Args:
        names: The keys, one for each reply.
        replies: `active`, its PTTL, `beat`, `revoked`, `epoch`, `last`, `head`, `fleet-id`.

    Raises:
        StoreRefusedError: Redis refused one for another reason than a wrong type.
    """
    corrupt = []
    for name, reply in zip(names, replies, strict=True):
        if isinstance(reply, StoreRefusedError):
            if reply.code != "WRONGTYPE":
                raise reply
            # Named and not fatal: a stop must get through, and `golive revoke` mends the key.
            corrupt.append(name)
    active, pttl, beats, revoked, epoch, last, head, fleet = (
        None if isinstance(reply, StoreRefusedError) else reply for reply in replies
    )
    fields, stone = pairs(active or []), pairs(revoked or [])
    return Snapshot(
        grant=fields.get("grant"),
        restrictions={k: v for k, v in fields.items() if k.startswith("r:")},
        origin=text(fields.get("origin")) or None,
        pttl_ms=-2 if pttl is None else int(pttl),
        beats=pairs(beats or []),
        revoked=stone.get("record"),
        revoked_origin=text(stone.get("origin")) or None,
        confirmed=stone.get("confirmed"),
        epoch_hint=number(epoch),
        last=text(last),
        active_last=text(fields.get("last")),
        head=text(head) or GENESIS,
        fleet=text(fleet),
        corrupt=tuple(corrupt),
        activation=fields.get("activation"),
        execution=fields.get("execution"),
    )


def parse_server(reply: Reply) -> Server:
    """Return the reply of INFO: unknown facts are "" and 0."""
    info = dict(line.split(":", 1) for line in text(reply).splitlines() if ":" in line)
    return Server(
        info.get("run_id", ""),
        number(info.get("connected_slaves", "0").encode()),
        info.get("master_replid", ""),
    )
