"""One entry of the ledger: what it says, and whether those who may say it have signed it.

It needs nothing of the entries around it, so that several processes can share the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from golive_redis.errors import ConfigError, RecordError
from golive_redis.records.approval import Answer, Execution
from golive_redis.records.directive import Grant, Restriction, Revocation
from golive_redis.records.envelope import Verified, decode, peek
from golive_redis.records.keyset import Keyset
from golive_redis.records.ledger import GENERATION, TOPICS, Note
from golive_redis.records.record import Record
from golive_redis.records.refusal import Refusal
from golive_redis.records.report import Report
from golive_redis.records.rotation import Rotation, accepts, appointment, digest_of, payload_of
from golive_redis.records.trust import Trust

KINDS: dict[str, type[Record]] = {
    kind.payload_type(): kind
    for kind in (
        Grant,
        Restriction,
        Revocation,
        Report,
        Note,
        Refusal,
        Answer,
        Execution,
        Rotation,
    )
}


class Opened(msgspec.Struct, frozen=True):
    """What an entry says.

    Attributes:
        record: What was signed.
        identity: Of the record: hex SHA-256 of its PAE.
        signers: Whose signatures count, sorted. Empty when the keyset is not at hand that it names: then
            nothing of it is proved.
        borrowed: They were checked under another keyset than the one that it names.
        lacks: Of a step to the next keyset: the number of that one, when it is not at hand, and so its
            roots' signatures were not checked; 0 when they were.
    """

    record: Record
    identity: str
    signers: tuple[str, ...]
    borrowed: bool = False
    lacks: int = 0

    @property
    def judged(self) -> bool:
        """True when its signatures were checked."""
        return bool(self.signers)


class Keysets(msgspec.Struct, frozen=True):
    """The keysets at hand, by version, and the switch whose records they are for.

    Attributes:
        lenient: Judge a record whose own version is not at hand by the newest keyset, and leave open
            what that one does not verify. For counting good days, never for a verdict.
    """

    by_version: Mapping[int, Keyset]
    namespace: str
    environment: str
    lenient: bool = False

    @classmethod
    def of(cls, keysets: Iterable[Keyset], namespace: str, environment: str) -> Keysets:
        """Return them by version.

        Raises:
            ConfigError: Two differ under one version, or are of different fleets.
        """
        found: dict[int, Keyset] = {}
        for keyset in keysets:
            other = found.setdefault(keyset.version, keyset)
            if _content(other) != _content(keyset):
                raise ConfigError(
                    f"two keysets of version {keyset.version} differ",
                    hint="find out which one was in use; a change to a keyset raises its version",
                )
            if keyset.fleet != next(iter(found.values())).fleet:
                raise ConfigError("these keysets are of different fleets")
        return cls(found, namespace, environment)

    @property
    def newest(self) -> int:
        """The highest version at hand."""
        return max(self.by_version)

    def trust(self, version: int) -> Trust | None:
        """Return the trust under that version, or None when it is not at hand."""
        keyset = self.by_version.get(version)
        return None if keyset is None else Trust(keyset, self.namespace, self.environment)


def _content(keyset: Keyset) -> tuple[Any, ...]:
    keys = {
        key.keyid: (key.principal, key.roles, key.expires, key.shared, key.authority)
        for key in keyset.keys.values()
    }
    return keyset.fleet, keyset.expires, keys, keyset.thresholds


def opened(raw: bytes, keysets: Keysets) -> Opened:
    """Return what an entry says, verified under the keyset whose version it names.

    Args:
        raw: The envelope.
        keysets: Those at hand.

    Raises:
        RecordError: It is no record of ours, or was not signed by those who may say that. Fails closed:
            such an entry proves nothing.
    """
    envelope = decode(raw)
    kind = KINDS.get(envelope.payload_type)
    if kind is None:
        raise RecordError(f"{envelope.payload_type[:80]!r} is no kind of record of a ledger")
    claimed = peek(raw, kind)
    trust = keysets.trust(claimed.keyset_version)
    if trust is not None:
        found = _judged(raw, claimed, trust)
        return _led(raw, found, trust.keyset, keysets)
    left_open = Opened(claimed, envelope.identity, ())
    newest = keysets.trust(keysets.newest) if keysets.lenient else None
    if newest is None:
        return left_open
    try:
        return msgspec.structs.replace(_judged(raw, claimed, newest), borrowed=True)
    except RecordError:
        return left_open


def _led(raw: bytes, found: Opened, current: Keyset, keysets: Keysets) -> Opened:
    """Return what was found, of a step only if it leads to the next keyset, by the word of its roots.

    Raises:
        RecordError: It does not.
    """
    record = found.record
    if not isinstance(record, Rotation):
        return found
    if record.number != current.version + 1 or record.before != digest_of(payload_of(current)):
        raise RecordError(f"keyset {record.number} was not made to follow keyset {current.version}")
    new = keysets.by_version.get(record.number)
    if new is None:
        return msgspec.structs.replace(found, lacks=record.number)
    if record.digest != digest_of(payload_of(new)):
        raise RecordError(f"it appoints another keyset {record.number} than the one at hand")
    also = accepts(raw, new)
    return msgspec.structs.replace(found, signers=tuple(sorted({*found.signers, *also})))


def _judged(raw: bytes, claimed: Record, trust: Trust) -> Opened:
    verified = verifier(claimed, trust)(raw)
    return Opened(verified.record, verified.identity, tuple(sorted(verified.signers)))


def verifier(claimed: Record, trust: Trust) -> Callable[[bytes], Verified[Any]]:
    """Return what verifies an envelope that claims to hold this record: who may write such a one (V4).

    Raises:
        RecordError: It is a note on a topic that nobody writes.
    """
    match claimed:
        case Grant():
            return trust.grant
        case Restriction():
            return trust.restriction
        case Revocation():
            return trust.revocation
        case Report():
            return trust.report
        case Refusal():
            return trust.refusal
        case Answer():
            return trust.answer
        case Execution():
            return trust.execution
        case Note() if claimed.topic == GENERATION:
            return trust.generation
        case Rotation():
            where = {"namespace": trust.namespace, "environment": trust.environment}
            return lambda raw: appointment(raw, trust.keyset, **where)
        case Note() if claimed.topic in TOPICS:
            role = TOPICS[claimed.topic]
            return lambda raw: trust.note(raw, role)
    raise RecordError(
        f"a note on {getattr(claimed, 'topic', '')!r} is not known to this version",
        hint="verify it with the version that wrote it, or a later one",
    )
