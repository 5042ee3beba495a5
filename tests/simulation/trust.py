"""Keys and records for the simulation; verification is cached by bytes, for it is the costly part."""

from __future__ import annotations

from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from golive_redis.errors import RecordError
from golive_redis.records.envelope import KeySigner, Signer, Verified, identity_of, seal
from golive_redis.records.keyset import encode_public, parse_keyset
from golive_redis.records.record import Record
from golive_redis.records.trust import Trust
from golive_redis.testing import FLEET

HEARTBEATS = ("hb-1", "hb-2")
OPERATORS = ("ann", "bob")
NAMESPACE, ENVIRONMENT = "golive", "simulation"


class CachedTrust(Trust, frozen=True):
    """The real verifier, asked once for each envelope, and never for those that we signed."""

    cache: dict[tuple[str, bytes], Any] = {}

    def _once(self, kind: str, raw: bytes) -> Any:
        key = (kind, raw)
        found = self.cache.get(key)
        if found is None:
            try:
                found = getattr(Trust, kind)(self, raw)
            except RecordError as error:
                found = error
            self.cache[key] = found
        if isinstance(found, RecordError):
            raise found
        return found

    def grant(self, raw: bytes) -> Any:
        return self._once("grant", raw)

    def restriction(self, raw: bytes) -> Any:
        return self._once("restriction", raw)

    def revocation(self, raw: bytes) -> Any:
        return self._once("revocation", raw)

    def beat(self, raw: bytes) -> Any:
        return self._once("beat", raw)

    def receipt(self, raw: bytes) -> Any:
        return self._once("receipt", raw)


class Principals:
    """Who signs in the simulation: two operators, two heartbeats, one worker key."""

    def __init__(self) -> None:
        roles = {name: ["approver"] for name in OPERATORS}
        roles |= {name: ["heartbeat"] for name in HEARTBEATS}
        roles["workers"] = ["worker"]
        # Fixed seeds, so that a run replays to the same bytes.
        keys = {
            name: Ed25519PrivateKey.from_private_bytes(bytes([number + 1]) * 32)
            for number, name in enumerate(roles)
        }
        self.signers = {name: KeySigner(name, key) for name, key in keys.items()}
        keyset = parse_keyset(
            {
                "version": 1,
                "fleet": FLEET,
                "principals": {
                    name: {
                        "roles": roles[name],
                        "keys": [encode_public(key.public_key())],
                        "shared": name == "workers",
                    }
                    for name, key in keys.items()
                },
            }
        )
        self.trust = CachedTrust(keyset, NAMESPACE, ENVIRONMENT)


def seal_known(record: Record, *signers: Signer) -> bytes:
    """`seal`, and remember what was signed: our own signature needs no verifying.

    A beat, by far the most frequent record, is not signed at all: nothing but the cache knows it.
    """
    kind = type(record).KIND
    names = frozenset(signer.principal for signer in signers)
    if kind == "beat":
        raw, identity = b"beat " + msgspec.json.encode(record), ""
    else:
        raw, identity = seal(record, *signers), identity_of(record)
    if hasattr(PRINCIPALS.trust, kind) and record.by in names:
        PRINCIPALS.trust.cache[kind, raw] = Verified(record, identity, raw, names)
    return raw


PRINCIPALS = Principals()
