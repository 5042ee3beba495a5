"""What a stop reads before it signs: one snapshot of the store, and this host's memory (A8)."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from golive_redis.errors import StoreError
from golive_redis.records.beat import Beat
from golive_redis.records.directive import Grant, Revocation
from golive_redis.records.epoch import Directive, newest
from golive_redis.records.trust import Trust
from golive_redis.stop.connections import Connections
from golive_redis.stop.memory import Lack, Memory, OperatorState
from golive_redis.stop.progress import StopProgress

# Records that are looked at: some 0.1 s of work. Not a time: a stalled host leaves nothing out.
MOST = 500
MOST_BEATS = 64


class Before(msgspec.Struct, frozen=True):
    """What was read.

    Attributes:
        found: The newest directive that verifies, or None.
        complete: The store was read, nothing was left out, and nothing later seems to exist: a number
            alone covers whatever is active. Otherwise the revocation has to be a blind one (S2).
        confirmed: The note beside the tombstone, or None.
        forged: The tombstone does not verify.
        stands: It is what was found: the stop of this moment stands in the store.
    """

    found: Directive | None
    complete: bool = False
    confirmed: bytes | None = None
    forged: bool = False
    stands: bool = False


def read_before(
    connections: Connections,
    progress: StopProgress,
    memory: Memory,
    trust: Trust,
    met: Collection[bytes] = (),
) -> Before:
    """Find the newest directive.

    What each pod was told is read after the stop: it costs a question for each, and whoever may write
    presence can plant thousands that are not there. The signatures that are checked here are bounded,
    too, for whoever owns Redis can plant restrictions: what is left out makes it a blind one.

    Args:
        connections: To the store.
        progress: Told of the grant that is met.
        memory: Of this host.
        trust: Judges what is read.
        met: Envelopes that were read before, and may be in the store no more.
    """
    raws = [*memory.directives(), *met]
    try:
        snapshot = connections.store().snapshot()
    except StoreError as error:
        connections.problem(error.message)
        return Before(newest(raws, trust))
    stored = [raw for raw in (snapshot.grant, snapshot.revoked) if raw is not None]
    stored += snapshot.restrictions.values()
    raws += stored
    progress.origin = snapshot.origin or progress.origin or snapshot.revoked_origin
    forged = snapshot.revoked is not None and newest([snapshot.revoked], trust) is None
    progress.another_fleet = trust.another_fleet(snapshot.fleet)  # A12
    if progress.another_fleet:
        connections.problem(progress.another_fleet)
        forged = False  # theirs, and not for us to replace
    if forged:
        connections.problem("the recorded stop does not verify; a new one replaces it")
    beats = list(snapshot.beats.values())
    newer = any(trust.is_newer(raw, Beat) for raw in beats[:MOST_BEATS])
    progress.newer_keyset = newer or len(beats) > MOST_BEATS
    if snapshot.grant is not None:
        note_grant(snapshot.grant, connections, progress, trust)
    # S2: of a term that we cannot verify (our keyset is old) the epoch is not known either: blind, the
    # revocation covers it by the time it was activated.
    unknown = snapshot.grant is not None and progress.grant is None
    found = newest(raws[:MOST], trust)
    # S2: Redis knows of a later directive than anybody can show us, so a term may have begun unseen,
    # and a number alone would not cover it.
    later = snapshot.epoch_hint > (found.record.epoch if found is not None else 0)
    here, where = memory.newest, connections.place
    progress.behind = knows_less(where, found, snapshot.epoch_hint, stored, here.behind)
    foreign = bool(progress.another_fleet)
    progress.stranger = foreign or is_stranger(here, where, snapshot.epoch_hint)
    complete = not (snapshot.corrupt or forged or foreign or unknown or later or len(raws) > MOST)
    stands = found is not None and found.raw == snapshot.revoked
    return Before(found, complete, snapshot.confirmed, forged, stands)


def knows_less(
    where: str,
    found: Directive | None,
    hint: int,
    stored: Collection[bytes],
    before: Lack | None,
) -> Lack | None:
    """Return what a store lacks that this host knows; None when that is nothing.

    What it says of the fleet is then said of another fleet, or of another time.

    Args:
        where: Its URL, without a password.
        found: The newest directive that it or this host knows.
        hint: The latest epoch that it says was used.
        stored: Envelopes of the directives that it holds.
        before: What this host remembers of that: the stop that it signed there has taught the store a
            number, and no more.
    """
    if found is None or found.record.epoch <= hint or found.raw in stored:
        return before if before is not None and before.store == where else None
    kind = {Grant: "grant", Revocation: "stop"}.get(type(found.record), "restriction")
    return Lack(store=where, kind=kind, epoch=found.record.epoch, signers=sorted(found.signers))


def is_stranger(here: OperatorState, where: str, hint: int) -> bool:
    """Tell whether a store does not know the term that this host began, whatever was sent there since.

    Args:
        here: What this host remembers.
        where: The URL of the store, without a password.
        hint: The latest epoch that it says was used.
    """
    return hint < here.term or (here.behind is not None and here.behind.store == where)


def note_grant(raw: bytes, connections: Connections, progress: StopProgress, trust: Trust) -> None:
    """Note a grant that was in force, and say what is wrong with it."""
    progress.newer_keyset = progress.newer_keyset or trust.is_newer(raw, Grant)
    refused = progress.note(raw, trust)
    if refused:
        connections.problem(refused)
