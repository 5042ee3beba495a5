"""What is known of a fleet at one moment, as values: for `golive status`, `workers` and `watch`."""

from __future__ import annotations

import msgspec

from golive_redis.core.barrier import Result
from golive_redis.records.directive import GrantKind, Mode, Profile
from golive_redis.records.limits import Limits


class InForce(msgspec.Struct, frozen=True):
    """One restriction in force."""

    epoch: int
    kind: str
    labels: dict[str, str]
    by: str
    reason: str
    issued_at_ms: int


class Activation(msgspec.Struct, frozen=True):
    """What began the term, also after grants that have changed it since."""

    by: list[str]
    reason: str
    ticket: str


class Active(msgspec.Struct, frozen=True):
    """The term in force, as its newest grant says.

    Attributes:
        since_ms: When it began, Unix ms: where several sign, when the last one executed what had been
            proposed (`activated_at_ms`). None where that is not at hand.
        changed_ms: When its newest grant took effect, likewise.
    """

    term: int
    epoch: int
    kind: GrantKind
    mode: Mode
    profile: Profile
    limits: Limits
    by: list[str]
    reason: str
    ticket: str
    issued_at_ms: int
    activated_at_ms: int
    activation: Activation | None
    not_after_ms: int
    pttl_ms: int
    restrictions: list[InForce]
    since_ms: int | None = None
    changed_ms: int | None = None


class Revoked(msgspec.Struct, frozen=True):
    """The newest revocation.

    Attributes:
        confirmed: Somebody has signed that everything was off: it came to COMPLETE or STOPPED.
        result: What it came to, as `golive revoke` said it.
        until_ms: Of a stop card that was played: its end; None for a stop that was signed when called.
        workers_answered: Processes whose receipt for a card is in Redis; None once that is confirmed,
            and for a stop that was no card.
        heartbeats_answered: Heartbeats, likewise.
    """

    epoch: int
    by: str
    reason: str
    ticket: str
    issued_at_ms: int
    blind: bool
    confirmed: bool
    result: Result
    until_ms: int | None = None
    workers_answered: int | None = None
    heartbeats_answered: int | None = None


class HeartbeatStatus(msgspec.Struct, frozen=True):
    """One heartbeat on the roster.

    Attributes:
        term: The newest that it knew; None when it is not known, as of one that is gone.
        push: What is pushed to it: `tracking`, `pubsub` or `none`.
        lacks: Commands that its Redis login may not give, in words; "" when none.
        heard_ms: How long ago it was heard; None when it is gone.
        beat_at_ms: When its newest verified beat for the term in force was signed, Unix ms by its own
            clock; None when there is none.
    """

    name: str
    instance: str
    alive: bool
    state: str
    reason: str
    term: int | None
    durable: str
    version: str
    host: str
    heard_ms: int | None
    beat_at_ms: int | None
    push: str = ""
    lacks: str = ""


class WorkerStatus(msgspec.Struct, frozen=True):
    """One worker on the roster.

    Attributes:
        term: The newest that it knew. This and its counts are None when they are not known,
            as of one that is gone.
        in_flight: Orders begun and not ended.
        permits: Orders that it permitted since it started.
        skipped: Orders that it refused since it started.
        push: What is pushed to it: `tracking`, `pubsub` or `none`.
        lacks: Commands that its Redis login may not give, in words; "" when none.
        heard_ms: How long ago it was heard; None when it is gone.
        unreadable: Fields of its presence that were not what they should be, and are left out.
        answers_with: Whose key answers for it by the keyset of this host: `own`, `shared` with other
            workers, or `none`: then its receipts do not count.
        forked: How many forked children have asked its guard, and were denied: each needs its own.
    """

    id: str
    instance: str
    alive: bool
    state: str
    reason: str
    term: int | None
    in_flight: int | None
    permits: int | None
    skipped: int | None
    durable: str
    labels: dict[str, str]
    version: str
    host: str
    pid: int | None
    heard_ms: int | None
    unreadable: list[str]
    answers_with: str
    push: str = ""
    lacks: str = ""
    forked: int = 0


class KeysetInUse(msgspec.Struct, frozen=True):
    """The keyset by which everything was verified.

    Attributes:
        version: Its number.
        signed: Roots decide what follows it; else whoever can write its file does.
        expires: Its last day, ISO 8601; None for no end.
    """

    version: int
    signed: bool
    expires: str | None


class LedgerStatus(msgspec.Struct, frozen=True):
    """How the ledger stands.

    Attributes:
        entries: In Redis.
        checkpoint: How many the newest checkpoint counts; None where there is none.
        by: The heartbeats that have signed it.
        cosigned: The witnesses that have.
        witnesses: How many are configured.
        enough: They are enough for the quorum.
        time_s: When the last of them did, Unix time in seconds; None when none did.
        problems: What is not as it should be, in sentences.
    """

    entries: int
    checkpoint: int | None = None
    by: str = ""
    cosigned: list[str] = []
    witnesses: int = 0
    enough: bool = False
    time_s: int | None = None
    problems: list[str] = []


class FleetStatus(msgspec.Struct, frozen=True):
    """Everything at once.

    Attributes:
        state: `live`, `reduce_only`, `halted` (by a directive for all orders), `off`, `refused`
            when something in the store does not verify (which is off, and an alarm), or `unknown` when
            nothing is active in a store that knows less than this host does.
        headline: What that means for orders now, in a sentence.
        problems: What is not as it should be, in sentences, the worst first.
        armed: How many workers are armed, by their own word, which must be recent.
        ledger: How the ledger stands; None where this login may not look.
    """

    environment: str
    namespace: str
    state: str
    headline: str
    problems: list[str]
    armed: int
    active: Active | None
    revoked: Revoked | None
    heartbeats: list[HeartbeatStatus]
    workers: list[WorkerStatus]
    ledger_head: str
    refused: list[str]
    at_ms: int
    keyset: KeysetInUse
    ledger: LedgerStatus | None = None


class Workers(msgspec.Struct, frozen=True):
    """The roster of workers."""

    environment: str
    namespace: str
    workers: list[WorkerStatus]
