"""What vectors are made of: keys from words, envelopes and keysets by hand, and the form of a vector."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

START_MS = 1_760_000_000_000  # 2025-10-09 08:53:20 UTC
FLEET = "f1ee7" + "0" * 27
WHERE = {"namespace": "golive", "environment": "test"}
GENESIS = "0" * 64

Value = Any
"""Anything that JSON can hold."""


class Vector(NamedTuple):
    """One case.

    Attributes:
        name: Unique in its file.
        op: What is asked; `docs/reference/vectors.md` lists them.
        given: What it is asked about.
        expect: `{"accept": ...}`, or `{"refuse": rule}` and in a ledger the index of the entry.
        why: One sentence.
    """

    name: str
    op: str
    given: dict[str, Value]
    expect: dict[str, Value]
    why: str


class File(NamedTuple):
    """One file of vectors, with what several of them share."""

    about: str
    vectors: list[Vector]
    keysets: dict[str, str] = {}
    envelopes: dict[str, dict[str, str]] = {}

    def encode(self) -> bytes:
        """Return it as JSON, a vector on each line, so that a change shows as one line."""
        shared = {"about": self.about, "keysets": self.keysets, "envelopes": self.envelopes}
        head = ",\n".join(f" {dump(name)}: {_lines(value)}" for name, value in shared.items())
        vectors = ",\n".join(f"  {dump(vector._asdict())}" for vector in self.vectors)
        return f'{{\n{head},\n "vectors": [\n{vectors}\n ]\n}}\n'.encode()


def _lines(value: Value) -> str:
    if not isinstance(value, dict) or not value:
        return dump(value)
    return "{\n" + ",\n".join(f"  {dump(k)}: {dump(v)}" for k, v in value.items()) + "\n }"


def dump(value: Value) -> str:
    """Return JSON in ASCII and on one line."""
    return json.dumps(value)


def refused(rule: str, index: int | None = None) -> dict[str, Value]:
    """What is expected where a rule is broken."""
    return {"refuse": rule} if index is None else {"refuse": rule, "index": index}


def given_bytes(raw: bytes) -> dict[str, str]:
    """Bytes as vectors write them: as text where they are UTF-8, else in base64."""
    try:
        return {"text": raw.decode()}
    except UnicodeDecodeError:
        return {"base64": b64(raw)}


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


# -- keys and keysets ------------------------------------------------------------------------------


def private(name: str) -> Ed25519PrivateKey:
    """The key of somebody, from a word, so that every run makes the same bytes."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"vector {name}".encode()).digest())


def public(name: str) -> bytes:
    return private(name).public_key().public_bytes_raw()


def keyid(name: str) -> str:
    return hashlib.sha256(public(name)).hexdigest()


def key_text(raw: bytes) -> str:
    return "ed25519:" + b64(raw)


def principal(name: str, *roles: str, keys: Iterable[str] = (), **more: Value) -> dict[str, Value]:
    """A principal as the payload of a keyset has it; `keys` names further keys than its own."""
    listed = sorted(key_text(public(each)) for each in (name, *keys))
    fields = {"authority": None, "expires": None, "shared": False} | more
    return {"keys": listed, "roles": sorted(roles), **fields}


EVERYBODY = {
    "alice": principal("alice", "approver", keys=["alice-2"]),
    "bob": principal("bob", "approver"),
    "carol": principal("carol", "approver", authority="risk"),
    "eve": principal("eve", "approver", expires="2025-10-08"),
    "frank": principal("frank", "approver", expires="2025-10-09"),
    "rita": principal("rita", "revoker"),
    "hb-1": principal("hb-1", "heartbeat"),
    "hb-2": principal("hb-2", "heartbeat"),
    "pod-1": principal("pod-1", "worker"),
    "pods": principal("pods", "worker", shared=True),
    "audrey": principal("audrey", "auditor"),
    "omar": principal("omar", "root"),
    "ruth": principal("ruth", "root"),
}


def keyset(
    version: int = 3,
    principals: Mapping[str, Value] = EVERYBODY,
    thresholds: Mapping[str, Value] | None = None,
    fleet: str = FLEET,
) -> dict[str, Value]:
    needed = {"root": 2} if thresholds is None else dict(thresholds)
    return {
        "fleet": fleet,
        "principals": dict(principals),
        "thresholds": needed,
        "version": version,
    }


def canonical(value: Value) -> str:
    """The one form of the payload of a keyset, and the form in which golive writes records."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(payload: str) -> str:
    return hashlib.sha256(payload.encode()).hexdigest()


# -- envelopes -------------------------------------------------------------------------------------


def payload_type(kind: str) -> str:
    return f"application/vnd.golive.{kind}.v1+json"


def pae(kind: str, payload: bytes) -> bytes:
    """The bytes that are signed, for a whole payload type or the kind in ours."""
    name = (kind if "/" in kind else payload_type(kind)).encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def identity(kind: str, record: Value) -> str:
    return hashlib.sha256(pae(kind, payload_of(record))).hexdigest()


def payload_of(record: Value) -> bytes:
    return record if isinstance(record, bytes) else canonical(record).encode()


def signature(kind: str, payload: bytes, name: str) -> dict[str, str]:
    return {"keyid": keyid(name), "sig": b64(private(name).sign(pae(kind, payload)))}


def parts(kind: str, record: Value, *names: str) -> dict[str, Value]:
    """An envelope as an object, to be changed; `names` sign it, by default who issued it."""
    payload = payload_of(record)
    signers = names or (record["by"],)
    return {
        "payload": b64(payload),
        "payloadType": kind if "/" in kind else payload_type(kind),
        "signatures": [signature(kind, payload, name) for name in signers],
    }


def envelope(kind: str, record: Value, *names: str) -> bytes:
    return canonical(parts(kind, record, *names)).encode()


def head_after(head: str, raw: bytes) -> str:
    body = hashlib.sha256(raw).hexdigest()
    return hashlib.sha256(f"golive-ledger-v1\n{head}\n{body}".encode()).hexdigest()
