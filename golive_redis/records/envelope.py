"""DSSE v1 envelopes over Ed25519: encode, sign, and verify strictly.

The rules, all here:

1. An envelope is at most 8 KiB of strict JSON with exactly `payload`, `payloadType`, `signatures`.
2. The payload type is one of ours, and the one the caller expects.
3. Base64 is the standard alphabet with padding, and encodes back to the same text.
4. It carries 1 to 16 signatures, no key id twice. The algorithm is Ed25519, never the envelope's choice.
5. A signature by an unknown key is ignored; a bad one by a *known* key refuses the whole envelope.
6. A role's threshold counts distinct raw keys and distinct principals.
7. The payload is parsed only from the bytes that were verified; `by` is one of the valid signers.

Source: DSSE v1.0 protocol, https://github.com/secure-systems-lab/dsse (PAE and envelope).
Ready-made verifiers count wrong: securesystemslib 1.6.0 passes 2-of-2 with one key under two ids.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Generic, Protocol, TypeVar, cast

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from golive_redis.errors import RecordError
from golive_redis.records.keyset import Keyset, Role, key_id, raw_of
from golive_redis.records.record import (
    Ms,
    Record,
    Strict,
    as_written,
    convert,
    decodable,
    encode_record,
    parse_json,
    parse_record,
)

MAX_ENVELOPE_BYTES = 8 * 1024
MAX_SIGNATURES = 16
SIGN_TIMEOUT_S = 60.0
"""Time for a person to find a token and to touch it; who may not wait that long gives less."""

R = TypeVar("R", bound=Record)


class _Signature(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    keyid: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    sig: Annotated[str, msgspec.Meta(max_length=128)]


@decodable
class _Json(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    payload: str
    payloadType: Annotated[str, msgspec.Meta(max_length=128)]  # noqa: N815  (DSSE's name)
    signatures: Annotated[list[_Signature], msgspec.Meta(min_length=1, max_length=MAX_SIGNATURES)]


@decodable
class _Issued(msgspec.Struct, frozen=True):
    issued_at_ms: Ms


class Envelope(msgspec.Struct, frozen=True):
    """A decoded, not yet verified envelope.

    Attributes:
        payload_type: Media type, part of what is signed.
        payload: The bytes that were signed.
        signatures: Pairs of key id and 64 raw signature bytes.
    """

    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]

    @property
    def identity(self) -> str:
        """The record's identity: hex SHA-256 of its PAE, the same whatever keys signed it."""
        return hashlib.sha256(pae(self.payload_type, self.payload)).hexdigest()


class Verified(msgspec.Struct, Generic[R], frozen=True):
    """A record whose signatures were checked; the only form in which records move past the edge.

    Attributes:
        record: The parsed record.
        identity: Hex SHA-256 of its PAE.
        raw: The envelope as it was read, to pass on unchanged.
        signers: Principals whose signatures are valid for the role.
    """

    record: R
    identity: str
    raw: bytes
    signers: frozenset[str]


class Signer(Protocol):
    """Who holds a private key: this process, an agent, a device, or another program.

    Nothing here waits or asks; what does, has its own floor (`golive_redis.signers`).
    """

    @property
    def principal(self) -> str:
        """Whose key it is; goes into the records as `by`."""
        ...

    @property
    def keyid(self) -> str:
        """Id of the key in the keyset."""
        ...

    @property
    def public(self) -> Ed25519PublicKey:
        """The public half."""
        ...

    @property
    def max_message(self) -> int | None:
        """The most bytes that it signs at once; None where only the envelope has a limit."""
        ...

    def sign(self, message: bytes, timeout_s: float) -> bytes:
        """Return the 64-byte Ed25519 signature of `message`.

        Args:
            message: What is signed, as it is: no hash of it.
            timeout_s: How long a person, a device or a program may take.

        Raises:
            SignerError: It has not signed.
        """
        ...


class KeySigner:
    """A private key in the memory of this process.

    Args:
        principal: Whose key it is.
        private: The Ed25519 key.
    """

    max_message: int | None = None

    def __init__(self, principal: str, private: Ed25519PrivateKey) -> None:
        self.principal = principal
        self.public = private.public_key()
        self.keyid = key_id(raw_of(self.public))
        self._private = private

    def sign(self, message: bytes, timeout_s: float) -> bytes:
        """Return the 64-byte signature of `message`; it takes a fraction of a millisecond."""
        del timeout_s
        return self._private.sign(message)


@lru_cache(maxsize=8)
def pae(payload_type: str, payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding, the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def identity_of(record: Record) -> str:
    """Return the identity a record will have once signed."""
    return hashlib.sha256(pae(record.payload_type(), encode_record(record))).hexdigest()


def seal(record: Record, *signers: Signer, timeout_s: float = SIGN_TIMEOUT_S) -> bytes:
    """Sign a record and return its envelope as JSON bytes.

    Args:
        record: What is signed.
        signers: Who signs it, one after the other.
        timeout_s: How long each may take.

    Raises:
        RecordError: No signer, a field out of its range, the envelope would exceed 8 KiB, or what is
            signed is more than one of the signers takes.
        SignerError: One of them has not signed. Nothing is sealed then.
    """
    payload = encode_record(record)
    parse_record(payload, type(record), MAX_ENVELOPE_BYTES)  # constructors do not check ranges
    message = pae(record.payload_type(), payload)
    for (
        signer
    ) in signers:  # all of them, before the first is asked: nobody touches a token for nothing
        _require_short(record, message, signer)
    signatures = [(signer.keyid, signer.sign(message, timeout_s)) for signer in signers]
    return encode(Envelope(record.payload_type(), payload, tuple(signatures)))


def _require_short(record: Record, message: bytes, signer: Signer) -> None:
    if signer.max_message is not None and len(message) > signer.max_message:
        raise RecordError(
            f"the {record.KIND} is {len(message):,} bytes long, and the key of {signer.principal} signs "
            f"at most {signer.max_message:,} bytes",
            hint="shorten --reason, lift restrictions, or sign with another key: --key FILE",
        )


def encode(envelope: Envelope) -> bytes:
    """Return an envelope as JSON bytes.

    Raises:
        RecordError: `decode` would refuse it: without signatures, or over 8 KiB.
    """
    raw = msgspec.json.encode(
        _Json(
            payload=base64.b64encode(envelope.payload).decode(),
            payloadType=envelope.payload_type,
            signatures=[
                _Signature(keyid=keyid, sig=base64.b64encode(sig).decode())
                for keyid, sig in envelope.signatures
            ],
        )
    )
    decode(raw)  # what we would refuse to read is never written
    return raw


def together(raws: Iterable[bytes]) -> bytes:
    """Return one envelope with the signatures of several over the same record; each key counts once.

    Raises:
        RecordError: There is none, they hold different records, or they have too many signatures.
    """
    envelopes = [decode(raw) for raw in raws]
    if len({(item.payload_type, item.payload) for item in envelopes}) != 1:
        raise RecordError("these are signatures over different records")
    signatures = {keyid: sig for item in envelopes for keyid, sig in item.signatures}
    first = envelopes[0]
    return encode(Envelope(first.payload_type, first.payload, tuple(sorted(signatures.items()))))


# What is judged is asked several times in a row: of what kind it is, who says so, whether that is true.
# Only what was well-formed is remembered.
@lru_cache(maxsize=8)
def decode(raw: bytes) -> Envelope:
    """Decode an envelope without verifying it (rules 1, 3 and the form of 4).

    Raises:
        RecordError: It breaks one of them.
    """
    parsed = as_written(raw, _Json, MAX_ENVELOPE_BYTES)
    if parsed is None:
        parsed = convert(parse_json(raw, MAX_ENVELOPE_BYTES), _Json)
    signatures = tuple((item.keyid, _unbase64(item.sig)) for item in parsed.signatures)
    if len({keyid for keyid, _ in signatures}) != len(signatures):  # S1
        raise RecordError("one key signed the envelope twice")
    return Envelope(parsed.payloadType, _unbase64(parsed.payload), signatures)


def _unbase64(text: str) -> bytes:
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise RecordError("bad base64") from error
    if binascii.b2a_base64(raw, newline=False).decode() != text:
        raise RecordError("base64 does not encode back to itself")
    return raw


def issued_at(raw: bytes) -> int:
    """Return when a record of whatever kind says that it was issued, WITHOUT checking who signed it.

    Raises:
        RecordError: Not a well-formed envelope, or it does not say.
    """
    return convert(parse_json(decode(raw).payload, MAX_ENVELOPE_BYTES), _Issued).issued_at_ms


def peek(raw: bytes, kind: type[R]) -> R:
    """Parse an envelope's record WITHOUT checking who signed it.

    For closing early and for messages to people, never for permission.

    Raises:
        RecordError: Not a well-formed record of that kind.
    """
    return cast(R, _peek(raw, kind))


# The guards of one process are pushed the same bytes at the same moment: one of them parses, and the
# others close without. Only what was well-formed is remembered.
@lru_cache(maxsize=8)
def _peek(raw: bytes, kind: type[Record]) -> Record:
    envelope = decode(raw)
    if envelope.payload_type != kind.payload_type():
        raise RecordError(f"payload type {envelope.payload_type!r} is not {kind.payload_type()!r}")
    return _parsed(envelope.payload, kind)


@lru_cache(maxsize=8)
def _parsed(payload: bytes, kind: type[Record]) -> Record:
    return parse_record(payload, kind, MAX_ENVELOPE_BYTES)


def verify(
    raw: bytes,
    kind: type[R],
    keyset: Keyset,
    role: Role,
    *,
    namespace: str,
    environment: str,
    needed: int,
) -> Verified[R]:
    """Verify an envelope and return its record.

    Args:
        raw: The envelope as read.
        kind: The record it must carry.
        keyset: The trusted keys pinned on this host.
        role: In which role its signers must have signed.
        namespace: The only namespace whose records are accepted.
        environment: The only environment whose records are accepted.
        needed: How many distinct keys and principals must have signed.

    Raises:
        RecordError: Any rule of this module is broken. Fails closed: a refused record has no effect.
    """
    envelope = decode(raw)
    if envelope.payload_type != kind.payload_type():
        raise RecordError(f"payload type {envelope.payload_type!r} is not {kind.payload_type()!r}")
    signers = signers_of(envelope, keyset, role, needed)
    record = cast(R, _parsed(envelope.payload, kind))
    if record.by not in signers:  # S1
        raise RecordError(f"{record.by!r} issued the {kind.KIND} and did not sign it as {role}")
    if (record.namespace, record.environment) != (namespace, environment):  # S1
        raise RecordError(
            f"{kind.KIND} is for {record.namespace}/{record.environment}, "
            f"not for {namespace}/{environment}"
        )
    if record.fleet != keyset.fleet:  # A12, S1
        raise RecordError(
            f"{kind.KIND} is of another fleet ({record.fleet[:8]}...) than the keyset of this host "
            f"({keyset.fleet[:8]}...)"
        )
    return Verified(record, envelope.identity, raw, signers)


def signers_of(envelope: Envelope, keyset: Keyset, role: Role, needed: int) -> frozenset[str]:
    """Return who has validly signed an envelope in a role (rules 4 to 6); at least so many.

    Raises:
        RecordError: They are too few, or a signature by a known key is bad.
    """
    message = pae(envelope.payload_type, envelope.payload)
    valid = []
    for keyid, signature in envelope.signatures:
        key = keyset.keys.get(keyid)
        if key is None:
            continue
        try:
            key.public.verify(signature, message)
        except InvalidSignature:  # S1
            raise RecordError(f"bad signature by {key.principal}") from None
        if key.holds(role):
            valid.append(key)
    signers = frozenset(key.principal for key in valid)
    # Key ids are hashes of the raw keys and unique in an envelope, so `valid` holds distinct raw keys.
    if min(len(valid), len(signers)) < needed:  # S1
        raise RecordError(
            f"{len(signers)} of {needed} {role} signatures: "
            f"{', '.join(sorted(signers)) or 'no known key'} signed",
        )
    return signers
