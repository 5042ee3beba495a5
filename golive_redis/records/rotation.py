"""What may come after a keyset: the next one, by the word of its own roots and of those before.

A host is at version N. It takes N+1 when

1. the record says N+1, and so does the keyset that it names;
2. the record names that keyset by the SHA-256 of its payload, and N by that of N's;
3. a threshold of N's roots has signed the record, so that nobody else appoints successors;
4. a threshold of N+1's roots has signed it, so that nobody is appointed whose key does not work;
5. both are of one fleet, namespace and environment.

Nothing lower and nothing further ahead is taken, whoever signed it: several steps are taken one by one.
A keyset without roots has no successor here; people replace its file, as before.

Source: The Update Framework 1.0.34, section 5.3 (update the root role). Other than there, a threshold
counts people and not keys, and a keyset itself does not expire: the days are those of each key.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec

from golive_redis.errors import ConfigError, RecordError
from golive_redis.records.envelope import decode, identity_of, signers_of, verify
from golive_redis.records.keyset import Keyset, Role, parse_keyset, raw_of
from golive_redis.records.record import Epoch, Identity, Record, decodable, parse_json

MAX_PAYLOAD_BYTES = 1024 * 1024


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
    value = {
        "version": keyset.version,
        "fleet": keyset.fleet,
        "thresholds": _thresholds_of(keyset),
        "principals": principals,
    }
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
    record = verify(
        step.record,
        Rotation,
        current,
        Role.ROOT,
        namespace=namespace,
        environment=environment,
        needed=current.threshold(Role.ROOT),
    ).record  # rules 3 and 5
    new = parse_payload(step.payload)
    _require_successor(current, new)
    if record.number != new.version:  # rule 1
        raise RecordError(f"the record is for keyset {record.number}, not for {new.version}")
    if record.digest != digest_of(step.payload):  # rule 2
        raise RecordError(f"the record names another keyset {new.version} than this one")
    if record.before != digest_of(payload_of(current)):  # rule 2
        raise RecordError(
            f"keyset {new.version} was made to follow another keyset {current.version} than this host's",
            hint="compare the keyset files of your hosts: golive keys list",
        )
    # Rule 4. `by` is one of N's roots, and need not be among N+1's, so `verify` is not asked again.
    signers_of(decode(step.record), new, Role.ROOT, new.threshold(Role.ROOT))
    return new


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
