"""The next epoch: one above the largest in any envelope that verifies.

Redis alone is not believed: `golive:epoch` is a hint that anybody with write access could set, so it
only counts for grants, and only while it is near what signatures say.
"""

from __future__ import annotations

from collections.abc import Iterable

from golive_redis.errors import RecordError, RefusedError
from golive_redis.records.directive import Grant, Restriction, Revocation
from golive_redis.records.envelope import Verified, decode, peek
from golive_redis.records.record import MAX_INT
from golive_redis.records.trust import Trust

HINT_SLACK = 1_000_000

Directive = Verified[Grant] | Verified[Restriction] | Verified[Revocation]
_KINDS: dict[str, type[Grant | Restriction | Revocation]] = {
    kind.payload_type(): kind for kind in (Grant, Restriction, Revocation)
}


def verify_directive(raw: bytes, trust: Trust) -> Directive:
    """Verify an envelope of any kind of directive.

    Raises:
        RecordError: It is none, or is refused.
    """
    kind = _KINDS.get(decode(raw).payload_type)
    if kind is Grant:
        return trust.grant(raw)
    if kind is Restriction:
        return trust.restriction(raw)
    return trust.revocation(raw)


def newest(raws: Iterable[bytes], trust: Trust) -> Directive | None:
    """Return the verified directive with the highest epoch, or None.

    Sorted by what the envelopes claim, so that usually only one signature is checked. Of equal
    numbers (one was signed blind) it is the revocation, which covers the other.
    """
    claims: list[tuple[int, bool, bytes]] = []
    for raw in set(raws):
        try:
            kind = _KINDS[decode(raw).payload_type]
            claims.append((peek(raw, kind).epoch, kind is Revocation, raw))
        except (RecordError, KeyError):
            continue
    for _, _, raw in sorted(claims, reverse=True):
        try:
            return verify_directive(raw, trust)
        except RecordError:
            continue
    return None


def next_epoch(found: Directive | None, *, hint: int = 0) -> int:
    """Return the epoch of the next directive.

    Args:
        found: The newest verified directive.
        hint: Redis' high-water mark, for grants; stops do not look at it.

    Raises:
        RefusedError: The hint is far above every signature, or the numbers are used up.
    """
    known = found.record.epoch if found is not None else 0
    if hint > known + HINT_SLACK:
        raise RefusedError(
            f"golive:epoch is {hint}, far above the newest signed directive ({known})",
            hint="somebody changed it; find out who, then delete the key golive:epoch",
        )
    epoch = max(known, hint) + 1  # S2
    if epoch > MAX_INT:
        raise RefusedError(
            "the epochs of this namespace are used up",
            hint="a revoker's key was stolen: take it out of the keyset, raise its version, and "
            "choose a new namespace on every host",
        )
    return epoch
