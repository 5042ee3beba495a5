"""Signed notes: text with signature lines, as logs and witnesses exchange it.

The rules, all here:

1. A note is UTF-8, at most 256 KiB, without control characters but newline. Its text ends with a
   newline; the last empty line separates it from 1 to 64 signature lines.
2. A signature line is `— NAME BASE64`, of the key's id and the signature; base64 is the standard
   alphabet with padding, and encodes back to the same text.
3. A line whose name and key id are not those of a known key is ignored, whatever it says.
4. A line of a known key that does not verify refuses the whole note.
5. The text counts only once a known key has signed it.
6. Known are Ed25519 signatures (type 0x01) and Ed25519 cosignatures (type 0x04). A verifier key of any
   other type, of small order or not written canonically is refused.

`ledger.Note` is something else: a record of this project.

Source: C2SP signed-note v1.0.0; type 0x04 from C2SP tlog-cosignature v1.0.1.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable
from enum import IntEnum

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from golive_redis.errors import RecordError
from golive_redis.records.keyset import RAW_KEY_BYTES, unsound

MAX_NOTE_BYTES = 256 * 1024
MAX_SIGNATURES = 64
"""In one note; C2SP signed-note v1.0.0 asks for 16 at least."""
MAX_TIME_S = 2**63 - 1
_ID_BYTES = 4
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64
_DASH = "\u2014"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")

Sign = Callable[[bytes], bytes]
"""Returns the 64 bytes of an Ed25519 signature of a message."""


class KeyType(IntEnum):
    """What a key signs, as the byte in its id says (C2SP signed-note v1.0.0, signature types)."""

    ED25519 = 0x01
    COSIGNATURE = 0x04


class VerifierKey(msgspec.Struct, frozen=True):
    """A public key under a name, for one kind of signature; `text` is its vkey.

    Attributes:
        name: The log's origin, or the name of a witness.
        kind: What it signs.
        public: The 32 raw bytes.

    Source: C2SP signed-note v1.0.0, verifier keys.
    """

    name: str
    kind: KeyType
    public: bytes

    @property
    def key_id(self) -> bytes:
        """SHA-256(name || 0x0A || type || public key)[:4]."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._typed).digest()[:_ID_BYTES]

    @property
    def text(self) -> str:
        """The key as it is published: `name+hex(key id)+base64(type || public key)`."""
        return f"{self.name}+{self.key_id.hex()}+{encode64(self._typed)}"

    @property
    def _typed(self) -> bytes:
        return bytes([self.kind]) + self.public

    def verify(self, text: str, signature: bytes) -> int | None:
        """Verify what stands behind the key id in a signature line of this key.

        Returns:
            The time of a cosignature in Unix seconds; None for a signature of type 0x01, which has
            none.

        Raises:
            RecordError: It is no signature of `text` by this key.
        """
        time_s = None
        message, raw = text.encode(), signature
        if self.kind is KeyType.COSIGNATURE:
            time_s = int.from_bytes(signature[:_TIME_BYTES], "big")
            raw = signature[_TIME_BYTES:]
            message = cosigned_bytes(text, min(time_s, MAX_TIME_S))
        try:
            if len(raw) != _SIGNATURE_BYTES or (time_s or 0) > MAX_TIME_S:
                raise InvalidSignature
            # A point off the curve is found out here (ValueError), and not when the key is parsed.
            Ed25519PublicKey.from_public_bytes(self.public).verify(raw, message)
        except (InvalidSignature, ValueError):
            raise RecordError(f"bad signature by {self.name}") from None
        return time_s


class SignatureLine(msgspec.Struct, frozen=True):
    """A signature as it stands in a note; not verified.

    Attributes:
        name: Of the key.
        key_id: Its 4 bytes.
        signature: What follows them: for type 0x04 the time in 8 bytes and the signature in 64.
    """

    name: str
    key_id: bytes
    signature: bytes

    @property
    def text(self) -> str:
        """The line, with its newline."""
        return f"{_DASH} {self.name} {encode64(self.key_id + self.signature)}\n"


class SignedNote(msgspec.Struct, frozen=True):
    """A parsed note; what its text says counts only after `opened`.

    Attributes:
        text: With its last newline.
        signatures: In their order, whether the keys are known or not.
    """

    text: str
    signatures: tuple[SignatureLine, ...]

    def encode(self) -> bytes:
        """Return the note's bytes.

        Raises:
            RecordError: They would be refused when they are read.
        """
        raw = (self.text + "\n" + "".join(line.text for line in self.signatures)).encode()
        if parse(raw) != self:
            raise RecordError("the note's text does not end with a newline, or holds a signature")
        return raw

    def with_lines(self, lines: Iterable[SignatureLine]) -> SignedNote:
        """Return the note with these lines added, each in place of an earlier one by the same key."""
        found = {(line.name, line.key_id): line for line in (*self.signatures, *lines)}
        return SignedNote(self.text, tuple(found.values()))


class Signed(msgspec.Struct, frozen=True):
    """A signature that was verified.

    Attributes:
        verifier: Whose it is.
        line: How the note has it.
        time_s: Of a cosignature, Unix time in seconds as the signer says; None for type 0x01.
    """

    verifier: VerifierKey
    line: SignatureLine
    time_s: int | None


def require_name(name: str) -> None:
    """Refuse what cannot be the name of a key.

    Raises:
        RecordError: Empty, or with a space, a plus or a control character (C2SP signed-note v1.0.0,
            format).
    """
    if not name or "+" in name or any(char.isspace() or char < " " for char in name):
        raise RecordError(f"{name[:80]!r} is no name of a key: no space, no `+`, not empty")


def parse_vkey(text: str) -> VerifierKey:
    """Parse a verifier key, `name+hex+base64` (C2SP signed-note v1.0.0, verifier keys).

    Raises:
        RecordError: Not of that form, of another type than 0x01 and 0x04, with a key id that is not
            its own, or a key under which anybody can sign.
    """
    name, _, rest = text.partition("+")
    shown, _, body = rest.partition("+")
    require_name(name)
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise RecordError("the name of a verifier key is not UTF-8") from error
    typed = decode64(body)
    kind, public = typed[:1], typed[1:]
    if kind not in {bytes([known]) for known in KeyType}:
        raise RecordError(
            f"verifier key of {name}: type 0x{kind.hex()} is not known here",
            hint="Ed25519 keys are: 0x01 of logs, 0x04 of witnesses",
        )
    if len(public) != RAW_KEY_BYTES:
        raise RecordError(f"verifier key of {name}: not 32 bytes of Ed25519")
    if why := unsound(public):
        raise RecordError(f"verifier key of {name} {why}")
    key = VerifierKey(name, KeyType(kind[0]), public)
    if shown != key.key_id.hex():
        raise RecordError(
            f"verifier key of {name}: its id is {key.key_id.hex()}, not {shown[:8]!r}"
        )
    return key


def cosigned_bytes(text: str, time_s: int) -> bytes:
    """Return what a cosignature of type 0x04 signs.

    Args:
        text: The whole note text of the checkpoint, with its last newline.
        time_s: Unix time in seconds.

    Source: C2SP tlog-cosignature v1.0.1, signed message.
    """
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def sign(text: str, key: VerifierKey, signer: Sign, *, time_s: int = 0) -> SignatureLine:
    """Sign a note's text and return the line.

    Args:
        text: With its last newline.
        key: The public half of `signer`, under the name that the line gets.
        signer: Signs bytes.
        time_s: For a cosignature (type 0x04), Unix time in seconds.

    Raises:
        RecordError: `signer` does not sign for that key.
    """
    head = b""
    message = text.encode()
    if key.kind is KeyType.COSIGNATURE:
        head, message = time_s.to_bytes(_TIME_BYTES, "big"), cosigned_bytes(text, time_s)
    line = SignatureLine(key.name, key.key_id, head + signer(message))
    key.verify(text, line.signature)
    return line


def parse(raw: bytes) -> SignedNote:
    """Parse a note without verifying it (rules 1 and 2).

    Raises:
        RecordError: It breaks one of them.
    """
    if len(raw) > MAX_NOTE_BYTES:
        raise RecordError(f"a note of {len(raw)} bytes exceeds the limit of {MAX_NOTE_BYTES}")
    try:
        whole = raw.decode()
    except UnicodeDecodeError as error:
        raise RecordError("a note that is not UTF-8") from error
    if _CONTROL.search(whole):
        raise RecordError("a note with a control character")
    text, gap, below = whole.rpartition("\n\n")
    if not gap:
        raise RecordError("a note without an empty line before its signatures")
    return SignedNote(text + "\n", parse_lines(below))


def parse_lines(text: str) -> tuple[SignatureLine, ...]:
    """Parse signature lines, as they end a note and as a witness answers.

    Raises:
        RecordError: None, more than 64, or one that is no signature line.
    """
    *lines, last = text.split("\n")
    if last or not lines:
        raise RecordError("signature lines that do not end with a newline")
    if len(lines) > MAX_SIGNATURES:
        raise RecordError(f"{len(lines)} signatures; {MAX_SIGNATURES} are the most")
    return tuple(map(_line, lines))


def _line(text: str) -> SignatureLine:
    match text.split(" "):
        case [dash, name, body] if dash == _DASH:
            require_name(name)
            raw = decode64(body)
            if len(raw) > _ID_BYTES:
                return SignatureLine(name, raw[:_ID_BYTES], raw[_ID_BYTES:])
        case _:
            pass
    raise RecordError(f"{text[:80]!r} is no signature line")


def verified(note: SignedNote, keys: Iterable[VerifierKey]) -> tuple[Signed, ...]:
    """Return the signatures by these keys (rules 3 and 4); none when no key has signed.

    A key that has signed twice counts once, with its first line; both must verify.

    Raises:
        RecordError: A line of one of the keys does not verify, or two keys share name and id.
    """
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.key_id), key) != key:
            raise RecordError(f"two keys of {key.name} have one key id: nobody can tell them apart")
    found: dict[VerifierKey, Signed] = {}
    for line in note.signatures:
        signer = known.get((line.name, line.key_id))
        if signer is not None:
            signed = Signed(signer, line, signer.verify(note.text, line.signature))
            found.setdefault(signer, signed)
    return tuple(found.values())


def opened(raw: bytes, keys: Iterable[VerifierKey]) -> tuple[SignedNote, tuple[Signed, ...]]:
    """Parse a note and return it with the signatures by these keys (rules 1 to 5).

    Raises:
        RecordError: A rule is broken, or none of the keys has signed. Fails closed: the text is not
            to be looked at then.
    """
    note = parse(raw)
    found = verified(note, keys)
    if not found:
        names = sorted({line.name for line in note.signatures})
        raise RecordError(f"no trusted key has signed this note, only {', '.join(names)[:200]}")
    return note, found


def encode64(raw: bytes) -> str:
    """Return standard base64 with padding (RFC 4648 section 4)."""
    return base64.b64encode(raw).decode()


def decode64(text: str) -> bytes:
    """Return the bytes of standard base64 with padding (RFC 4648 section 4).

    Raises:
        RecordError: Anything that does not encode back to the same text.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RecordError("bad base64") from error
    if encode64(raw) != text:
        raise RecordError("base64 does not encode back to itself")
    return raw
