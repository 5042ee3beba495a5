"""Signed keysets on their way: drafted by one person, signed by several roots, taken by each host.

A draft is one file: the new keyset, the record about it, and the signatures so far. It may travel any
way, for a host believes only the signatures. Which keyset may follow which is a rule of
`golive_redis.records.rotation`.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec

from golive_redis.config.yamlfile import in_full
from golive_redis.errors import ConfigError, RecordError, RefusedError
from golive_redis.records.directive import GrantKind
from golive_redis.records.envelope import (
    MAX_SIGNATURES,
    SIGN_TIMEOUT_S,
    Envelope,
    Signer,
    encode,
    pae,
    signers_of,
)
from golive_redis.records.keyset import SSH_ALGORITHM, Keyset, Role, decode_public, parse_keyset
from golive_redis.records.record import (
    Strict,
    convert,
    decodable,
    encode_record,
    parse_json,
    parse_record,
)
from golive_redis.records.rotation import (
    MAX_PAYLOAD_BYTES,
    Rotation,
    Step,
    draft,
    is_draft_of,
    parse_payload,
    payload_of,
)
from golive_redis.records.trust import Trust

MAX_FILE_BYTES = 2 * MAX_PAYLOAD_BYTES
MAX_PUBLIC_BYTES = 4096


class _Signature(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    keyid: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    sig: Annotated[str, msgspec.Meta(max_length=128)]


@decodable
class _File(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    keyset: str
    record: str
    signatures: Annotated[list[_Signature], msgspec.Meta(max_length=MAX_SIGNATURES)]


class Draft(msgspec.Struct, frozen=True):
    """A new keyset and who has signed it so far.

    Attributes:
        new: The keyset.
        record: What its roots sign.
        signatures: By key id.
    """

    new: Keyset
    record: Rotation
    signatures: dict[str, bytes] = {}

    @property
    def message(self) -> bytes:
        """The bytes that are signed."""
        return pae(Rotation.payload_type(), encode_record(self.record))

    def step(self) -> Step:
        """Return it as hosts take it.

        Raises:
            RefusedError: Nobody has signed it.
        """
        if not self.signatures:
            raise RefusedError(
                f"0 of {self.new.threshold(Role.ROOT)} root signatures: nobody has signed keyset "
                f"{self.new.version}",
                hint="golive keys sign DRAFT, by its roots",
            )
        signed = tuple(sorted(self.signatures.items()))
        envelope = Envelope(Rotation.payload_type(), encode_record(self.record), signed)
        return Step(payload_of(self.new), encode(envelope))


class Lack(msgspec.Struct, frozen=True):
    """Whose signatures a draft has, and how many it lacks.

    Attributes:
        signed: Roots of either keyset who have signed.
        able: Those who have not.
        before: How many more of the roots of the keyset in force are needed.
        after: How many more of the new one's.
    """

    signed: list[str]
    able: list[str]
    before: int
    after: int

    @property
    def is_none(self) -> bool:
        """True when a host would take it."""
        return not self.before and not self.after


def new_draft(trust: Trust, new: Keyset, *, by: str | None, now_ms: int) -> Draft:
    """Return the draft of the keyset that follows the one in force.

    Args:
        trust: The keyset in force.
        new: Its successor.
        by: One of the roots in force, who will have to sign; the first by name when None.
        now_ms: Unix ms.

    Raises:
        RecordError: It can be no successor, whoever signs.
        RefusedError: `by` is no root, or its number is not the next.
    """
    roots = trust.keyset.principals(Role.ROOT)
    if by is not None and by not in roots:
        raise RefusedError(
            f"{by!r} is no root of keyset {trust.keyset.version}",
            hint=f"its roots are {', '.join(roots) or 'nobody'}",
        )
    first = by or next(iter(roots), "nobody")
    require_next(trust.keyset.version, new.version)
    return Draft(new, draft(trust.keyset, new, **trust.heading(first, now_ms)))


def require_next(before: int, number: int) -> None:
    """Refuse a keyset that is not the next one: an ordinary mistake, and no attack on anybody.

    Raises:
        RefusedError: It has another number.
    """
    if number != before + 1:
        raise RefusedError(
            f"keyset {number} does not follow keyset {before}: the next is {before + 1}",
            hint="golive keys list shows the keyset of this host; a new one raises `version` by 1",
        )


def signed(item: Draft, trust: Trust, signer: Signer) -> Draft:
    """Return a draft with one more signature.

    Raises:
        RefusedError: The signer is a root of neither keyset, or the draft follows another keyset than
            the one on this host: then nobody here can see what it changes.
        SignerError: It was not signed.
    """
    before, new = trust.keyset, item.new
    if not is_draft_of(item.record, before, new) or not trust.is_about(item.record):
        raise RefusedError(
            f"the draft of keyset {new.version} does not follow keyset {before.version} of this host",
            hint="sign it on a host that has the keyset before it, or make a new draft",
        )
    keys = [keyset.keys.get(signer.keyid) for keyset in (before, new)]
    if not any(key is not None and key.holds(Role.ROOT) for key in keys):
        raise RefusedError(
            f"the key of {signer.principal} is no root's, neither now nor then",
            hint="name a root's key: --key KEY",
        )
    signature = signer.sign(item.message, SIGN_TIMEOUT_S)
    return msgspec.structs.replace(item, signatures={**item.signatures, signer.keyid: signature})


def lacking(item: Draft, before: Keyset) -> Lack:
    """Tell whose signatures a draft has, and how many it lacks; a bad one counts as none."""
    sides = (before, item.new)
    have = [_good(item, keyset) for keyset in sides]
    roots = [set(keyset.principals(Role.ROOT)) for keyset in sides]
    done = have[0] | have[1]
    short = [max(0, k.threshold(Role.ROOT) - len(h)) for k, h in zip(sides, have, strict=True)]
    return Lack(sorted(done), sorted((roots[0] | roots[1]) - done), *short)


def _good(item: Draft, keyset: Keyset) -> set[str]:
    found = set[str]()
    for keyid, signature in item.signatures.items():
        envelope = Envelope(
            Rotation.payload_type(), encode_record(item.record), ((keyid, signature),)
        )
        try:
            found |= signers_of(envelope, keyset, Role.ROOT, 1)
        except RecordError:
            continue
    return found


def read(path: Path) -> Draft:
    """Read a draft.

    Raises:
        ConfigError: It cannot be read, or is no draft.
    """
    path = in_full(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    try:
        parsed = convert(parse_json(raw, MAX_FILE_BYTES), _File)
        new = parse_payload(parsed.keyset.encode())
        record = parse_record(parsed.record.encode(), Rotation, MAX_PAYLOAD_BYTES)
        signatures = {s.keyid: base64.b64decode(s.sig, validate=True) for s in parsed.signatures}
    except (RecordError, binascii.Error) as error:
        raise ConfigError(
            f"{path} is no draft of a keyset: {error}", hint="`golive keys draft` makes one"
        ) from error
    return Draft(new, record, signatures)


def write(path: Path, item: Draft) -> None:
    """Write a draft, whole or not at all.

    Raises:
        ConfigError: It cannot be written.
    """
    value = _File(
        keyset=payload_of(item.new).decode(),
        record=encode_record(item.record).decode(),
        signatures=[
            _Signature(keyid=keyid, sig=base64.b64encode(sig).decode())
            for keyid, sig in sorted(item.signatures.items())
        ],
    )
    replace(path, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def replace(path: Path, content: bytes) -> None:
    """Replace a file whole or not at all, on the disk before this returns; its mode is kept.

    Raises:
        ConfigError: It cannot be written, and is what it was.
    """
    path = in_full(path)
    temporary = path.with_name(f".{path.name}.new")
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigError(f"{path}: {error.strerror}; nothing was written") from error


def differences(before: Keyset, new: Keyset) -> list[str]:
    """Say in lines what a new keyset changes; a draft is signed by people who have read them."""
    lines = []
    was, then = _by_name(before), _by_name(new)
    for name in sorted(was.keys() | then.keys()):
        if name not in was:
            lines.append(f"+ {name}: {then[name]}")
        elif name not in then:
            lines.append(f"- {name}: {was[name]}")
        elif was[name] != then[name]:
            lines.append(f"~ {name}: {was[name]} -> {then[name]}")
    pairs = {str(role): (before.threshold(role), new.threshold(role)) for role in Role}
    pairs |= {str(kind): (before.approvals(kind), new.approvals(kind)) for kind in GrantKind}
    if before.expires != new.expires:
        days = [item.expires or "no end" for item in (before, new)]
        lines.append(f"~ last day of the keyset: {' -> '.join(days)}")
    lines += [f"~ threshold of {what}: {a} -> {b}" for what, (a, b) in pairs.items() if a != b]
    return lines


def _by_name(keyset: Keyset) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for key in sorted(keyset.keys.values(), key=lambda key: key.keyid):
        words = [", ".join(sorted(key.roles)), "shared" if key.shared else ""]
        words += [f"until {key.expires}" if key.expires else ""]
        words += [f"authority {key.authority}" if key.authority else ""]
        found.setdefault(key.principal, ["; ".join(filter(None, words))]).append(key.keyid[:12])
    return {name: f"{words}, key {', '.join(ids)}" for name, (words, *ids) in found.items()}


def text_of(keysets: Iterable[Keyset]) -> bytes:
    """Return the file of the last of some keysets: JSON, which is YAML, with a word on top."""
    last = list(keysets)[-1]
    value = msgspec.json.format(payload_of(last), indent=2)
    return (
        b"# Written by `golive keys take`, from a draft that its roots have signed.\n"
        + value
        + b"\n"
    )


def rotated(keyset: Keyset, name: str, public: str, expires: str | None = None) -> Keyset:
    """Return the next keyset, in which somebody has that key in the place of all of theirs.

    Args:
        keyset: The one in force.
        name: A principal of it.
        public: Their new public key, as the keyset takes it.
        expires: Its last day, as 2027-01-31; that of the old one by default.

    Raises:
        ConfigError: There is nobody of that name, or the key is no key, or somebody's already.
    """
    value, principal = _changed(keyset, name)
    principal["keys"] = [public]
    if expires is not None:
        principal["expires"] = expires
    return parse_keyset(value)


def removed(keyset: Keyset, name: str) -> Keyset:
    """Return the next keyset, in which somebody is not.

    Raises:
        ConfigError: There is nobody of that name, or a threshold could not be met without them.
    """
    value, _ = _changed(keyset, name)
    del value["principals"][name]
    return parse_keyset(value)


def _changed(keyset: Keyset, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the next keyset as its file has it, and one principal in it, both to be changed."""
    value: dict[str, Any] = parse_json(payload_of(keyset), MAX_PAYLOAD_BYTES)
    value["version"] += 1
    if name not in value["principals"]:
        raise ConfigError(
            f"keyset {keyset.version} has no principal {name!r}",
            hint="golive keys list shows who is in it",
        )
    return value, value["principals"][name]


def another_root(keyset: Keyset, name: str) -> str | None:
    """Return the first root by name who is not that one, for theirs may be the key that is lost."""
    return next((root for root in keyset.principals(Role.ROOT) if root != name), None)


def public_of(text: str) -> str:
    """Return a public key as the keyset takes it: the text itself, or the first line of a .pub file.

    Raises:
        ConfigError: It is neither.
    """
    if not text.startswith(("ed25519:", SSH_ALGORITHM)):
        path = in_full(Path(text))
        try:
            with path.open("rb") as file:
                found = file.read(MAX_PUBLIC_BYTES).decode("utf-8", "replace")
        except OSError as error:
            raise ConfigError(
                f"{path}: {error.strerror}",
                hint="--new takes a public key as `golive keys show` prints it, or a .pub file",
            ) from error
        if "PRIVATE KEY" in found:
            raise ConfigError(
                f"{path} is a private key, and --new takes the public half",
                hint=f"golive keys show {text} prints it",
            )
        text = found.strip()
    return "ed25519:" + base64.b64encode(decode_public(text)).decode()
