"""Publishing a signed keyset: into Redis, for every host to take, and into the ledger.

What it does to the fleet is said before it is done: hosts judge what is in force under the new keyset,
so a term ends when somebody who has signed it is not in there any more.
"""

from __future__ import annotations

import msgspec

from golive_redis import clock
from golive_redis.audit.words import utc
from golive_redis.core.state import State
from golive_redis.delivery.append import MAX_TRIES, append_once, pause
from golive_redis.errors import ConflictError, GoliveError, RecordError, RefusedError, StoreError
from golive_redis.operator.session import Operator, Reading
from golive_redis.records.envelope import decode, issued_at, peek, signers_of
from golive_redis.records.keyset import Keyset, Role
from golive_redis.records.rotation import (
    Rotation,
    Step,
    digest_of,
    next_keyset,
    payload_of,
    unpack,
)
from golive_redis.records.trust import Trust
from golive_redis.store.replies import Status


class Effect(msgspec.Struct, frozen=True):
    """What a keyset would do to what is in force.

    Attributes:
        ends: The term that it ends; None when it ends none.
        lines: What to know before it is published, in sentences; the worst first.
    """

    ends: int | None
    lines: list[str]


class Published(msgspec.Struct, frozen=True):
    """A step that stands in Redis.

    Attributes:
        keyset: The new one.
        again: It stood there already.
        unkept: Why this host could not take it; "" when it has.
    """

    keyset: Keyset
    again: bool
    unkept: str


def verified(operator: Operator, step: Step, number: int) -> Keyset:
    """Return the keyset that a step leads to from the newest in Redis.

    Args:
        operator: Connected; it has followed what stands in Redis.
        step: The next keyset with its record.
        number: Of that keyset, by its own word.

    Raises:
        RefusedError: Its number is not the next one, or what stands in Redis was not taken.
        RecordError: Its roots, or those before them, have not signed it.
    """
    trust = operator.trust
    if operator.untaken and planted(operator, trust.keyset.version + 1) is None:
        raise RefusedError(
            f"nothing is published over what is not understood: {operator.untaken}",
            hint="golive keys status shows which keysets stand in Redis",
        )
    if number <= trust.keyset.version:
        raise ConflictError(
            f"keyset {number} is no next one: {_stands(operator, number)}",
            hint=f"make the draft of keyset {trust.keyset.version + 1}: golive keys draft",
        )
    if number > trust.keyset.version + 1:
        raise RefusedError(
            f"keyset {number} does not follow: the newest that stands is {trust.keyset.version}",
            hint=f"publish keyset {trust.keyset.version + 1} first",
        )
    return next_keyset(trust.keyset, step, namespace=trust.namespace, environment=trust.environment)


def planted(operator: Operator, number: int) -> bytes | None:
    """Return what stands in Redis as the next keyset and is nobody's, so that a step may replace it.

    Only what enough roots have signed, for that number and that keyset, is one: also where this host
    cannot take it. An operator's login alone is enough to write anything else there.

    Args:
        operator: Connected.
        number: Of the next keyset.

    Returns:
        b"" for what is larger than any step; None when nothing stands there, or a step of roots.

    Raises:
        StoreError: Redis cannot be asked.
    """
    keyset = operator.trust.keyset
    try:
        raw = operator.store.keyset_step(number)
    except RecordError:
        return b""
    if raw is None:
        return None
    try:
        step = unpack(raw)
        signers_of(decode(step.record), keyset, Role.ROOT, keyset.threshold(Role.ROOT))
    except RecordError:
        return raw
    try:
        record = peek(step.record, Rotation)
    except RecordError:
        return None  # roots have signed it, in a form of a later version
    told = record.number == number and record.digest == digest_of(step.payload)
    return None if told else raw


def _not_before(operator: Operator, before: bytes, number: int) -> bytes:
    """Return what stands in the place of the keyset in use and is another; b"" for nothing."""
    try:
        raw = operator.store.keyset_step(number)
    except RecordError:
        return b""  # larger than any step: replaced unread
    try:
        return b"" if raw is None or unpack(raw).payload == before else raw
    except RecordError:
        return raw or b""


def effect(operator: Operator, reading: Reading, new: Keyset) -> Effect:
    """Return what a keyset would do to what is in force."""
    trust, before = msgspec.structs.replace(operator.trust, keyset=new), operator.trust.keyset
    lines, ends = list[str](), None
    state = reading.state
    if state is not None:
        refused = _refused(trust, before, state)
        if refused:
            ends = state.term
            lines.append(f"this ends the running term {ends}: {refused}")
        else:
            kept = set(new.principals(Role.HEARTBEAT)) & set(state.grant.record.heartbeats)
            lost = sorted(set(state.grant.record.heartbeats) - kept)
            if lost:
                lines.append(f"of the running term's heartbeats {_who(lost, new.version)}")
            if not kept:
                lines.append(
                    "no heartbeat of the running term is left: it ends when the key expires"
                )
    stop = reading.revocation
    if stop is not None and (gone := _gone(before, new, stop.raw)):
        lines.append(
            f"the last stop was signed by {_who(gone, new.version)}: nothing can be turned on before "
            "somebody else has run `golive revoke`"
        )
    if new.expired(clock.wall_ms()):
        lines.append(f"keyset {new.version} has expired on {new.expires}: nothing can be turned on")
    return Effect(ends, lines)


def _refused(trust: Trust, before: Keyset, state: State) -> str:
    """Say why what is in force is refused under a keyset; "" when it is not."""
    new = trust.keyset
    try:
        trust.grant(state.grant.raw)
    except RecordError as error:
        gone = _gone(before, new, state.grant.raw)
        if not gone:
            return f"under {new.version} it would be refused: {error.message}"
        return f"it was signed by {_who(gone, new.version)}"
    for item in state.restrictions:
        try:
            trust.restriction(item.raw)
        except RecordError:
            names = _gone(before, new, item.raw) or [item.record.by]
            return (
                f"{item.record.kind} {item.record.epoch} was signed by {_who(names, new.version)}"
            )
    return ""


def _gone(before: Keyset, new: Keyset, raw: bytes) -> list[str]:
    """Return who has signed an envelope with a key that the new keyset does not have."""
    keyids = [keyid for keyid, _ in decode(raw).signatures if keyid not in new.keys]
    return sorted({before.keys[keyid].principal for keyid in keyids if keyid in before.keys})


def _who(names: list[str], version: int) -> str:
    """Return names with what the new keyset says of them, for the end of a sentence."""
    are = "are" if len(names) > 1 else "is"
    return f"{' and '.join(names)}, who {are} not in {version}"


def _stands(operator: Operator, number: int) -> str:
    """Say which keyset of that number stands, and who has signed it."""
    newest = operator.trust.keyset.version
    try:
        raw = operator.store.keyset_step(number)
        if raw is None:
            return f"{newest} is in use"
        return _described(unpack(raw), number, operator.trust.keyset)
    except GoliveError:
        return f"{newest} is in use"


def _described(step: Step, number: int, keyset: Keyset) -> str:
    names = sorted(
        {
            keyset.keys[keyid].principal
            for keyid, _ in decode(step.record).signatures
            if keyid in keyset.keys
        }
    )
    when = utc(issued_at(step.record))
    who = ", ".join(names) or "others"
    return f"keyset {number} stands in Redis, drafted {when} UTC, signed by {who}"


def publish(operator: Operator, step: Step, new: Keyset) -> Published:
    """Put a verified step into Redis and into the ledger, in one step, and take it on this host.

    Args:
        operator: Connected.
        step: As `verified` has verified it.
        new: The keyset that it leads to.

    Raises:
        ConflictError: Somebody else's keyset of that number stands; nothing was changed.
        RefusedError: Redis keeps others than those before it.
        StoreError: It is not published; `MaybeAppliedError`: nobody knows, and it may be run again.
    """
    store, before = operator.store, payload_of(operator.trust.keyset)
    head = store.head()
    for lost in range(1, MAX_TRIES + 1):
        stray = (
            planted(operator, new.version) or b"",
            _not_before(operator, before, operator.trust.keyset.version),
        )
        done = store.publish_keyset(new.version, step, before=before, head=head, planted=stray)
        if done.status is not Status.HEAD:
            break
        pause(lost)
        head = done.why
    else:
        raise StoreError(f"other entries came first {MAX_TRIES} times; try again")
    if done.status is Status.CONFLICT:
        standing = unpack(done.why.encode())
        if standing.payload != step.payload:
            what = _described(standing, new.version, operator.trust.keyset)
            raise ConflictError(
                f"another was quicker: {what}; nothing was changed",
                hint="golive keys status shows it; make your draft anew from it",
            )
    elif done.status is Status.REFUSED:
        raise RefusedError(
            f"keyset {new.version} was not published: the keyset before it is not among those in Redis"
        )
    again = done.status is not Status.OK
    if done.status is Status.SAME:  # of an earlier try that was interrupted; its entry may be lost
        append_once(store, step.record)
    operator.follow()
    return Published(new, again, operator.untaken)
