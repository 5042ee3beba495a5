"""The keyset: whose Ed25519 keys are trusted, for which roles, and how many it takes.

A key's id is the SHA-256 of its 32 raw bytes, so one key cannot appear under two ids; a raw key may
belong to one principal only, so one person cannot be counted twice.

A public key of small order is refused: OpenSSL takes it, and under it a signature that was made without
any private key verifies (R = the neutral point, S = 0; for every message under the key `01 00 .. 00`).
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
from golive_redis.records.directive import GrantKind
from golive_redis.records.record import Epoch, FleetId, Name, Strict, convert, decodable

RAW_KEY_BYTES = 32
SSH_ALGORITHM = "ssh-ed25519"
DAY_MS = 86_400_000
EPOCH_YEAR = 1970
LEAPS_BEFORE_1970 = 477

_PRIME = 2**255 - 19
_Y_OF_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
# The y of every point whose order divides 8, the cofactor (RFC 8032 section 5.1).
_SMALL_ORDER = frozenset({0, 1, _PRIME - 1, _Y_OF_ORDER_8, _PRIME - _Y_OF_ORDER_8})


_NEW_FLEET = (
    "write `fleet:` with 32 random hex digits in quotes, the same on every host; "
    "`openssl rand -hex 16` makes them"
)


class Role(StrEnum):
    """What a principal's signature is good for."""

    APPROVER = "approver"
    REVOKER = "revoker"
    HEARTBEAT = "heartbeat"
    WORKER = "worker"
    AUDITOR = "auditor"
    ROOT = "root"


class Authority(StrEnum):
    """What a principal is besides: after a stop by `risk`, one of `risk` has to sign the next start."""

    RISK = "risk"


class _Principal(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    roles: Annotated[list[Role], msgspec.Meta(min_length=1, max_length=8)]
    keys: Annotated[list[str], msgspec.Meta(min_length=1, max_length=8)]
    shared: bool = False
    authority: Authority | None = None
    # YAML reads 2027-01-31 as a date and "2027-01-31" as text; both mean the end of that day, UTC.
    expires: Any = None


@decodable
class _File(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: Epoch
    fleet: FleetId
    expires: Any = None
    thresholds: dict[str, Annotated[int, msgspec.Meta(ge=1, le=8)]] = {}
    principals: Annotated[dict[Name, _Principal], msgspec.Meta(min_length=1, max_length=4096)]


class TrustedKey(msgspec.Struct, frozen=True):
    """One public key with the principal who holds it.

    Attributes:
        expires: Last day on which it is good, ISO 8601 in UTC; None when it does not expire.
        expires_ms: The end of that day, Unix ms.
        shared: It answers for every worker that is no principal itself (A6).
        authority: What its principal is besides, or None.
    """

    keyid: str
    principal: str
    roles: frozenset[Role]
    public: Ed25519PublicKey
    expires: str | None = None
    expires_ms: int | None = None
    shared: bool = False
    authority: Authority | None = None

    def expired(self, at_ms: float) -> bool:
        """Tell whether its last day was over at that time."""
        return self.expires_ms is not None and at_ms >= self.expires_ms

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
    """Return the raw bytes of a key written as `ed25519:<base64>` or as OpenSSH does.

    Raises:
        ConfigError: Another algorithm, bad base64, or not 32 bytes.
    """
    if text.startswith(SSH_ALGORITHM):
        raw = _decode_ssh(text)
    else:
        algorithm, _, body = text.partition(":")
        raw = _unbase64(body) if algorithm == "ed25519" else b""
    if len(raw) != RAW_KEY_BYTES:
        raise ConfigError(
            f"public key {text[:60]!r} is not an Ed25519 key",
            hint="write it as ed25519:<base64 of 32 bytes>, as `golive keys show` prints it, or "
            "copy the line of a .pub file that begins with ssh-ed25519",
        )
    return raw


def _decode_ssh(text: str) -> bytes:
    """Return the key in a line of OpenSSH (RFC 8709 section 4); b"" where it is none.

    The comment behind it is anybody's and means nothing: whose key it is says the keyset.
    """
    words = text.split(None, 2)
    blob = _unbase64(words[1]) if len(words) > 1 and words[0] == SSH_ALGORITHM else b""
    head = ssh_blob(b"")[:-4] + RAW_KEY_BYTES.to_bytes(4, "big")
    return blob[len(head) :] if blob.startswith(head) else b""


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def ssh_blob(raw: bytes) -> bytes:
    """Return a raw public key as OpenSSH and its agents pass it on: two strings with their lengths."""
    name = SSH_ALGORITHM.encode()
    return len(name).to_bytes(4, "big") + name + len(raw).to_bytes(4, "big") + raw


def unsound(raw: bytes) -> str:
    """Say why the raw bytes of a public key are refused; "" when they are not.

    Not asked is whether the point is on the curve: under one that is not, no signature verifies.
    """
    y = int.from_bytes(raw, "little") & (2**255 - 1)  # the highest bit is the sign of x
    if y >= _PRIME:
        return "is not written canonically: its y is not below 2^255-19"
    if y in _SMALL_ORDER:
        return "is of small order: anybody can sign under it, without a private key"
    return ""


def encode_public(public: Ed25519PublicKey) -> str:
    """Return a public key as the keyset file writes it: `ed25519:<base64>`."""
    return "ed25519:" + base64.b64encode(raw_of(public)).decode()


class Keyset(msgspec.Struct, frozen=True):
    """Trusted keys by id, with the version of the file, the thresholds per role, and whose it is.

    Attributes:
        fleet: Random id of the fleet, made by `golive init`: two fleets that chose the same names, and
            may even share a key, refuse each other's records by it.
        expires: Last day on which anything new may be signed under it, ISO 8601 in UTC; None for no end.
        expires_ms: The end of that day, Unix ms.
    """

    version: int
    fleet: str
    keys: dict[str, TrustedKey]
    thresholds: dict[Role | GrantKind, int]
    expires: str | None = None
    expires_ms: int | None = None

    def expired(self, at_ms: float) -> bool:
        """Tell whether its last day was over: nothing new begins, what runs goes on, stops work."""
        return self.expires_ms is not None and at_ms >= self.expires_ms

    def threshold(self, role: Role) -> int:
        """Return how many distinct keys and principals of `role` a record needs."""
        return self.thresholds.get(role, 1)

    def approvals(self, kind: GrantKind) -> int:
        """Return how many approvers a grant of that kind needs: its own threshold, or all grants'."""
        return self.thresholds.get(kind, self.threshold(Role.APPROVER))

    def with_authority(self, authority: Authority) -> frozenset[str]:
        """Return the names of those who have that authority."""
        keys = self.keys.values()
        return frozenset(key.principal for key in keys if key.authority is authority)

    @property
    def is_signed(self) -> bool:
        """True where roots decide what comes after it; else whoever writes the file does."""
        return any(key.holds(Role.ROOT) for key in self.keys.values())

    def principals(self, role: Role) -> list[str]:
        """Return the names of those who hold `role`, sorted."""
        return sorted({key.principal for key in self.keys.values() if key.holds(role)})

    def answers_for(self, worker: str) -> frozenset[str]:
        """Return the principals whose key may sign receipts in the name of that worker (A6).

        Its own, where the keyset has a principal of that name; otherwise those that are shared.

        Fails closed: a principal of that name that is no worker leaves nobody.
        """
        keys = self.keys.values()
        own = [key for key in keys if key.principal == worker]
        found = own or [key for key in keys if key.shared]
        return frozenset(key.principal for key in found if key.holds(Role.WORKER))


def parse_keyset(value: Any) -> Keyset:
    """Turn the parsed keyset file into a `Keyset`.

    Raises:
        ConfigError: Unknown fields, a bad key, one under which anybody can sign, one key listed twice
            (for one principal or for two), or a threshold that no set of principals can meet. Fails
            closed: nothing is trusted.
    """
    if isinstance(value, dict) and "fleet" not in value:  # A12
        raise ConfigError("keyset: the id of the fleet is missing", hint=_NEW_FLEET)
    try:
        file = convert(value, _File)
    except RecordError as error:
        raise ConfigError(f"keyset: {error.message}") from error
    keys: dict[str, TrustedKey] = {}
    for name, raw in _listed(file.principals):
        if why := unsound(raw):  # S1
            raise ConfigError(
                f"keyset: a key of {name} {why}",
                hint="no key generator makes such a key: ask where it comes from; `golive keys new`"
                " makes a good one",
            )
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
        if principal.shared and Role.WORKER not in principal.roles:
            raise ConfigError(
                f"keyset: {name} is shared and no worker",
                hint="`shared: true` is for one key of several workers; take it away",
            )
        expires, expires_ms = _expiry(name, principal.expires)
        roles = frozenset(principal.roles)
        keys[keyid] = TrustedKey(
            keyid, name, roles, public, expires, expires_ms, principal.shared, principal.authority
        )
    thresholds, ends = _thresholds(file.thresholds), _expiry("the keyset", file.expires)
    keyset = Keyset(file.version, file.fleet, keys, thresholds, *ends)
    for what, needed in keyset.thresholds.items():
        role = Role.APPROVER if isinstance(what, GrantKind) else what
        if role not in {Role.APPROVER, Role.ROOT} and needed > 1:
            raise ConfigError(
                f"keyset: a threshold for {role} is not possible",
                hint="only approvers and roots act together; one person must always be able to stop",
            )
        if len(keyset.principals(role)) < needed:
            raise ConfigError(
                f"keyset: {what} needs {needed} principals and only "
                f"{len(keyset.principals(role))} are {role}",
                hint="add principals with `golive keys new`, or lower the threshold",
            )
    risk = keyset.with_authority(Authority.RISK)
    if risk and not risk & set(keyset.principals(Role.APPROVER)):
        raise ConfigError(
            f"keyset: {', '.join(sorted(risk))} has the authority of risk, and no approver has it",
            hint="after a stop by risk one of them has to sign: make one of them an approver",
        )
    return keyset


def _thresholds(written: Mapping[str, int]) -> dict[Role | GrantKind, int]:
    known: dict[str, Role | GrantKind] = {str(name): name for name in (*Role, *GrantKind)}
    for name in written:
        if name not in known:
            raise ConfigError(
                f"keyset: a threshold for {name[:40]!r}",
                hint=f"`approver` is for every grant; one kind alone is {', '.join(GrantKind)}",
            )
    return {known[name]: needed for name, needed in written.items()}


def _listed(principals: Mapping[str, _Principal]) -> Iterable[tuple[str, bytes]]:
    for name, principal in principals.items():
        for text in principal.keys:
            yield name, decode_public(text)


def _expiry(name: str, value: object) -> tuple[str | None, int | None]:
    """Return the last day as text, and its end in Unix ms, UTC."""
    if value is None:
        return None, None
    found = re.fullmatch(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", str(value))
    days = _days(*map(int, found.groups())) if found else None
    if days is None:
        raise ConfigError(
            f"keyset: expires of {name} is {str(value)[:40]!r}", hint="write it as 2027-01-31"
        )
    return str(value), (days + 1) * DAY_MS


def _days(year: int, month: int, day: int) -> int | None:
    """Return the days from 1970-01-01 to a day of the Gregorian calendar; None for no such day.

    By hand, because records import nothing that can read a clock, and `datetime` can.
    """
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    lengths = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if year < EPOCH_YEAR or not 1 <= month <= len(lengths) or not 1 <= day <= lengths[month - 1]:
        return None
    before = year - 1
    leaps = before // 4 - before // 100 + before // 400 - LEAPS_BEFORE_1970
    return (year - EPOCH_YEAR) * 365 + leaps + sum(lengths[: month - 1]) + day - 1
