"""What may come after a keyset: the next one, by the word of its own roots and of those before.

A host is at version N. It takes N+1 when

1. the record says N+1 and that it follows N, and the keyset that it names says N+1;
2. the record names that keyset by the SHA-256 of its payload, and N by that of N's;
3. a threshold of N's roots has signed the record, so that nobody else appoints successors;
4. a threshold of N+1's roots has signed it, so that nobody is appointed whose key does not work;
5. both are of one fleet, namespace and environment.

Nothing lower and nothing further ahead is taken, whoever signed it: several steps are taken one by one.
A keyset without roots has no successor here; people replace its file, as before.

A step may be taken whatever days stand in either keyset: that one has expired which is left behind does
not matter (only what is in force is asked for its day, by whoever begins something new under it).

Checked by docs/model/Keyset.tla.

Source: The Update Framework 1.0.34, section 5.3 (update the root role). Other than there, a threshold
counts people and not keys.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

import msgspec

from golive_redis.errors import ConfigError, RecordError
from golive_redis.records.envelope import (
    MAX_ENVELOPE_BYTES,
    Verified,
    decode,
    identity_of,
    peek,
    signers_of,
    verify,
)
from golive_redis.records.keyset import Keyset, Role, parse_keyset, raw_of
from golive_redis.records.record import (
    Epoch,
    Identity,
    Record,
    Strict,
    convert,
    decodable,
    parse_json,
)

MAX_PAYLOAD_BYTES = 1024 * 1024
MAX_STEP_BYTES = 2 * MAX_PAYLOAD_BYTES
"""Of a step as it is sent: a payload has many quotes, and each takes a backslash there."""

MAX_STEPS = 256
"""That a host takes in one go; one that has missed more takes the rest in the next."""


@decodable
class Rotation(Record, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The record that makes a keyset the successor of another; `keyset_version` is the one before.

    Attributes:
        number: Version of the new keyset.
        digest: Hex SHA-256 of its payload.
        before: Hex SHA-256 of the payload of the keyset before it.
    """

    KIND: ClassVar[str] = "keyset"

    number: Epoch
    digest: Identity
    before: Identity


class Step(msgspec.Struct, frozen=True):
    """One keyset as it travels.

    Attributes:
        payload: The keyset, as `payload_of` writes it.
        record: Envelope of its `Rotation`, signed.
    """

    payload: bytes
    record: bytes

    def packed(self) -> bytes:
        """Return it as one JSON text with two texts in it, as Redis and hosts keep it."""
        return msgspec.json.encode(
            Packed(keyset=self.payload.decode(), record=self.record.decode())
        )


@decodable
class Packed(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A step as one JSON text."""

    keyset: Annotated[str, msgspec.Meta(max_length=MAX_PAYLOAD_BYTES)]
    record: Annotated[str, msgspec.Meta(max_length=MAX_ENVELOPE_BYTES)]

    def step(self) -> Step:
        """Return the step."""
        return Step(self.keyset.encode(), self.record.encode())


def unpack(raw: bytes) -> Step:
    """Parse a step as Redis keeps it; nobody's signature is looked at.

    Raises:
        RecordError: It is none.
    """
    return convert(parse_json(raw, MAX_STEP_BYTES), Packed).step()


def payload_of(keyset: Keyset) -> bytes:
    """Return a keyset as the bytes that its digest is of: the same however its file is written.

    JSON with sorted keys and no spaces; keys and roles sorted; left out are thresholds of roles that are
    1, and those of kinds of grants that are the approvers'.
    """
    principals: dict[str, dict[str, Any]] = {}
    for key in keyset.keys.values():
        who = principals.setdefault(
            key.principal,
            {
                "roles": sorted(str(role) for role in key.roles),
                "keys": [],
                "shared": key.shared,
                "expires": key.expires,
                "authority": key.authority,
            },
        )
        who["keys"].append("ed25519:" + base64.b64encode(raw_of(key.public)).decode())
    for who in principals.values():
        who["keys"].sort()
    value: dict[str, Any] = {
        "version": keyset.version,
        "fleet": keyset.fleet,
        "thresholds": _thresholds_of(keyset),
        "principals": principals,
    }
    if (
        keyset.expires is not None
    ):  # left out otherwise: what has no end has the bytes it always had
        value["expires"] = keyset.expires
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _thresholds_of(keyset: Keyset) -> dict[str, int]:
    usual = keyset.threshold(Role.APPROVER)
    # A kind of grant that takes 1 where others take 2 says so: without it, it would take 2.
    return {
        str(what): needed
        for what, needed in keyset.thresholds.items()
        if needed != (1 if isinstance(what, Role) else usual)
    }


def digest_of(payload: bytes) -> str:
    """Return what a record names a keyset by."""
    return hashlib.sha256(payload).hexdigest()


def parse_payload(payload: bytes) -> Keyset:
    """Parse a keyset as it travels.

    Raises:
        RecordError: It is not a keyset, or not written as `payload_of` writes it.
    """
    try:
        keyset = parse_keyset(parse_json(payload, MAX_PAYLOAD_BYTES))
    except ConfigError as error:
        raise RecordError(error.message, hint=error.hint) from error
    if payload_of(keyset) != payload:
        raise RecordError("the keyset is not written in its one form, so its digest names nothing")
    return keyset


def draft(before: Keyset, new: Keyset, **common: Any) -> Rotation:
    """Return the record that roots sign to make `new` the successor of `before`.

    Args:
        before: The keyset in force.
        new: Its successor.
        common: The common fields of a record: as `Trust.heading` of `before` gives them.

    Raises:
        RecordError: It can be none, whoever signs it.
    """
    _require_successor(before, new)
    digest, earlier = digest_of(payload_of(new)), digest_of(payload_of(before))
    return Rotation(**common, number=new.version, digest=digest, before=earlier)


def next_keyset(current: Keyset, step: Step, *, namespace: str, environment: str) -> Keyset:
    """Return the keyset that a step leads to from the one in force.

    Args:
        current: The keyset in force on this host.
        step: The next keyset with its record.
        namespace: The only namespace whose records are accepted.
        environment: The only environment whose records are accepted.

    Raises:
        RecordError: One of the rules of this module is broken. Fails closed: the keyset in force stays.
    """
    record = appointment(
        step.record, current, namespace=namespace, environment=environment
    ).record  # rules 3 and 5
    new = parse_payload(step.payload)
    _require_successor(current, new)
    if record.keyset_version != current.version:  # rule 1
        raise RecordError(
            f"the record follows keyset {record.keyset_version}, not keyset {current.version}"
        )
    if record.number != new.version:  # rule 1
        raise RecordError(f"the record is for keyset {record.number}, not for {new.version}")
    if record.digest != digest_of(step.payload):  # rule 2
        raise RecordError(f"the record names another keyset {new.version} than this one")
    if record.before != digest_of(payload_of(current)):  # rule 2
        raise RecordError(
            f"keyset {new.version} was made to follow another keyset {current.version} than this host's",
            hint="compare the keyset files of your hosts: golive keys list",
        )
    accepts(step.record, new)  # rule 4
    return new


def appointment(
    raw: bytes, current: Keyset, *, namespace: str, environment: str
) -> Verified[Rotation]:
    """Verify the record of a step by the roots before it (rules 3 and 5).

    Raises:
        RecordError: Too few of them have signed it, or it is of another switch. Who comes next is not
            looked at: `next_keyset` does all of it.
    """
    return verify(
        raw,
        Rotation,
        current,
        Role.ROOT,
        namespace=namespace,
        environment=environment,
        needed=current.threshold(Role.ROOT),
    )


def accepts(raw: bytes, new: Keyset) -> frozenset[str]:
    """Verify the record of a step by the roots after it (rule 4), and return who of them has signed.

    `by` is one of N's roots, and need not be among N+1's, so `verify` is not asked again.

    Raises:
        RecordError: They are too few.
    """
    return signers_of(decode(raw), new, Role.ROOT, new.threshold(Role.ROOT))


def came_from(step: Step, new: Keyset) -> str:
    """Return the digest of the keyset before, by the word of the roots after it alone.

    So the past of a keyset can be told from the keyset itself, with steps that anybody has kept.

    Raises:
        RecordError: They have not said so, or the step leads elsewhere.
    """
    accepts(step.record, new)
    record = peek(step.record, Rotation)
    if record.number != new.version or record.digest != digest_of(payload_of(new)):
        raise RecordError(f"the record does not lead to this keyset {new.version}")
    return record.before


def follow(
    current: Keyset, steps: Iterable[Step], *, namespace: str, environment: str
) -> list[Keyset]:
    """Return the keysets that steps lead to, one after the other, from the one in force.

    Raises:
        RecordError: A step cannot be taken; none after it is looked at, and none of them is returned.
    """
    taken: list[Keyset] = []
    for step in steps:
        current = next_keyset(current, step, namespace=namespace, environment=environment)
        taken.append(current)
    return taken


def is_draft_of(record: Rotation, before: Keyset, new: Keyset) -> bool:
    """Tell whether a record is what `draft` makes of two keysets; nobody's signature is looked at."""
    try:
        expected = draft(before, new, **_common_of(record))
    except RecordError:
        return False
    return identity_of(expected) == identity_of(record)


def _common_of(record: Rotation) -> dict[str, Any]:
    return {name: getattr(record, name) for name in Record.__struct_fields__}


def _require_successor(before: Keyset, new: Keyset) -> None:
    if not before.is_signed:
        raise RecordError(
            f"keyset {before.version} has no root, so nobody can sign what follows it",
            hint="give somebody the role root in the keyset file of every host first",
        )
    if new.version != before.version + 1:  # rule 1
        raise RecordError(
            f"keyset {new.version} does not follow keyset {before.version}: the next is "
            f"{before.version + 1}"
        )
    if new.fleet != before.fleet:  # rule 5
        raise RecordError(
            f"keyset {new.version} is of another fleet ({new.fleet[:8]}...) than keyset {before.version}"
        )
    if not new.is_signed:
        raise RecordError(
            f"keyset {new.version} has no root: nothing could ever follow it",
            hint="leave at least one principal with the role root",
        )
