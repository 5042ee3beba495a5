"""The keyset: whose Ed25519 keys are trusted, for which roles, and how many it takes.

A key's id is the SHA-256 of its 32 raw bytes, so one key cannot appear under two ids; a raw key may
belong to one principal only, so one person cannot be counted twice.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from golive_redis.errors import ConfigError, RecordError
from golive_redis.records.record import Epoch, Name, Strict, convert, decodable

RAW_KEY_BYTES = 32


class Role(StrEnum):
    """What a principal's signature is good for."""

    APPROVER = "approver"
    REVOKER = "revoker"
    HEARTBEAT = "heartbeat"
    WORKER = "worker"
    AUDITOR = "auditor"


class _Principal(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    roles: Annotated[list[Role], msgspec.Meta(min_length=1, max_length=8)]
    keys: Annotated[list[str], msgspec.Meta(min_length=1, max_length=8)]
    # YAML reads 2027-01-31 as a date and "2027-01-31" as text; both mean the end of that day, UTC.
    expires: Any = None


@decodable
class _File(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: Epoch
    thresholds: dict[Role, Annotated[int, msgspec.Meta(ge=1, le=8)]] = {}
    principals: Annotated[dict[Name, _Principal], msgspec.Meta(min_length=1, max_length=4096)]


class TrustedKey(msgspec.Struct, frozen=True):
    """One public key with the principal who holds it.

    Attributes:
        expires: Last day on which it is good, ISO 8601 in UTC; None when it does not expire.
    """

    keyid: str
    principal: str
    roles: frozenset[Role]
    public: Ed25519PublicKey
    expires: str | None = None

    def holds(self, role: Role) -> bool:
        """Tell whether this key may sign for `role`."""
        # An approver may always stop: who can turn trading on can turn it off.
        return role in self.roles or (role is Role.REVOKER and Role.APPROVER in self.roles)


def key_id(raw: bytes) -> str:
    """Return the id of a raw Ed25519 public key: the hex SHA-256 of its 32 bytes."""
    return hashlib.sha256(raw).hexdigest()


def raw_of(public: Ed25519PublicKey) -> bytes:
    """Return the 32 raw bytes of a public key."""
    return public.public_bytes_raw()


def decode_public(text: str) -> bytes:
    """Return the raw bytes of a key written as `ed25519:<base64>`.

    Raises:
        ConfigError: Another algorithm, bad base64, or not 32 bytes.
    """
    algorithm, _, body = text.partition(":")
    try:
        raw = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if algorithm != "ed25519" or len(raw) != RAW_KEY_BYTES:
        raise ConfigError(
            f"public key {text[:60]!r} is not an Ed25519 key",
            hint="write it as ed25519:<base64 of 32 bytes>, as `golive keys show` prints it",
        )
    return raw


def encode_public(public: Ed25519PublicKey) -> str:
    """Return a public key as the keyset file writes it: `ed25519:<base64>`."""
    return "ed25519:" + base64.b64encode(raw_of(public)).decode()


class Keyset(msgspec.Struct, frozen=True):
    """Trusted keys by id, with the version of the file and the thresholds per role."""

    version: int
    keys: dict[str, TrustedKey]
    thresholds: dict[Role, int]

    def threshold(self, role: Role) -> int:
        """Return how many distinct keys and principals of `role` a record needs."""
        return self.thresholds.get(role, 1)

    def principals(self, role: Role) -> list[str]:
        """Return the names of those who hold `role`, sorted."""
        return sorted({key.principal for key in self.keys.values() if key.holds(role)})


def parse_keyset(value: Any) -> Keyset:
    """Turn the parsed keyset file into a `Keyset`.

    Raises:
        ConfigError: Unknown fields, a bad key, one key listed twice (for one principal or for two),
            or a threshold that no set of principals can meet. Fails closed: nothing is trusted.
    """
    try:
        file = convert(value, _File)
    except RecordError as error:
        raise ConfigError(f"keyset: {error.message}") from error
    keys: dict[str, TrustedKey] = {}
    for name, raw in _listed(file.principals):
        keyid = key_id(raw)
        if keyid in keys:
            raise ConfigError(
                f"keyset: the key of {name} is already listed for {keys[keyid].principal}",
                hint="each key belongs to one principal and is listed once",
            )
        try:
            public = Ed25519PublicKey.from_public_bytes(raw)
        except ValueError as error:
            raise ConfigError(f"keyset: a key of {name} is not a valid Ed25519 key") from error
        principal = file.principals[name]
        keys[keyid] = TrustedKey(
            keyid, name, frozenset(principal.roles), public, _expiry(name, principal.expires)
        )
    keyset = Keyset(file.version, keys, dict(file.thresholds))
    for role, needed in file.thresholds.items():
        if role is not Role.APPROVER and needed > 1:
            raise ConfigError(
                f"keyset: a threshold for {role} is not possible",
                hint="only approvers act together; one person must always be able to stop",
            )
        if len(keyset.principals(role)) < needed:
            raise ConfigError(
                f"keyset: {role} needs {needed} principals and only "
                f"{len(keyset.principals(role))} hold that role",
                hint="add principals with `golive keys new`, or lower the threshold",
            )
    return keyset


def _listed(principals: Mapping[str, _Principal]) -> Iterable[tuple[str, bytes]]:
    for name, principal in principals.items():
        for text in principal.keys:
            yield name, decode_public(text)


def _expiry(name: str, value: object) -> str | None:
    if value is not None and not re.fullmatch(r"[0-9]{4}-[01][0-9]-[0-3][0-9]", str(value)):
        raise ConfigError(
            f"keyset: expires of {name} is {str(value)[:40]!r}", hint="write it as 2027-01-31"
        )
    return None if value is None else str(value)
