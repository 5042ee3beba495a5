"""A stop as far as it has come, and what is said of it in the end. Values only."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum

import msgspec

from golive_redis.core.barrier import Outcome
from golive_redis.core.timing import Timing
from golive_redis.errors import RecordError
from golive_redis.records.directive import Grant, Revocation
from golive_redis.records.envelope import Verified, peek
from golive_redis.records.trust import Trust
from golive_redis.stop.memory import Lack


class LedgerState(StrEnum):
    """What became of the ledger entry."""

    WRITTEN = "written"
    SPOOLED = "spooled"
    FAILED = "failed"


class Waiting(msgspec.Struct, frozen=True):
    """What a stop waits for while it collects receipts.

    Attributes:
        outcome: As far as it is.
        left_ms: How much longer it collects.
        in_redis: It has had an effect in Redis.
        called_at: When the stop was called, on the steady clock.
        now: The present, likewise.
    """

    outcome: Outcome
    left_ms: float
    in_redis: bool
    called_at: float
    now: float


class StopReport(msgspec.Struct, frozen=True):
    """What a revoke can say.

    Attributes:
        outcome: The judgement, with a row per pod.
        epoch: Of the revocation; 0 when no key could sign one.
        term: The term that was ended; 0 when nothing verifiable was active.
        in_redis_ms: From the call to the effect in Redis; None when there was none.
        bound_ms: Unix ms after which nobody trades even if a heartbeat stays silent (`not_after`);
            None when unknown.
        problems: What went wrong on the way, in sentences.
        timing: The timers of the fleet.
        environment: Of the switch.
        namespace: Of the switch.
        wall_ms: Unix ms of the call, to show instants.
        called_at: The same on the steady clock.
        cut_off_ms: From the call to when a worker that cannot reach Redis is off; None when the stop
            has had no effect in Redis.
        behind: What the store lacked before the stop that this host knows; None when that was nothing.
        another_fleet: That the store belongs to another fleet, in a sentence; "" when it does not.
        stood: The stop had been made before, and stood in the store when that was read.
        uncounted: Heartbeats whose answers to a blind stop do not count, for no term is known.
    """

    outcome: Outcome
    epoch: int
    term: int
    in_redis_ms: float | None
    ledger: LedgerState
    bound_ms: int | None
    problems: tuple[str, ...]
    timing: Timing
    environment: str
    namespace: str
    wall_ms: int
    called_at: float
    cut_off_ms: float | None = None
    behind: Lack | None = None
    another_fleet: str = ""
    stood: bool = False
    uncounted: frozenset[str] = frozenset()

    def at(self, instant: float) -> int:
        """Return an instant of the steady clock as Unix ms."""
        return int(self.wall_ms + instant - self.called_at)


class StopProgress(msgspec.Struct):
    """What one run of a stop has signed and met so far.

    Attributes:
        called_at: When it was called, on the steady clock.
        wall_ms: The same in Unix ms.
        signed: The revocations, in the order in which they had to be signed.
        in_ledger: Identities of those whose ledger entry is written.
        unwritten: Those for which the script wrote none, because a tombstone stood already.
        grant: The newest grant that was met and verifies.
        term: Its term; 0 when there is none.
        heartbeats: Those that the grants of that term name (A1); empty when none is known.
        claimed: The newest term of a grant that was met and does not verify here; 0 when there is none.
        not_after_ms: The latest end of a window that was met, Unix ms.
        in_redis_ms: From the call to the effect in Redis; None before that.
        origin: Run id of the primary that took the activation, as the store says.
        executed: The script has run somewhere.
        shown_on: Number of the connection whose server has shown the tombstone; 0 for none.
        newer_keyset: A record was met that was signed under a newer keyset than ours.
        adopted: It was taken over from an earlier run.
        stood: And stood in the store when that was read.
        complete: And that run ended COMPLETE.
        behind: What the store lacked that this host knows; None when that was nothing.
        stranger: It did not even know the term that this host began: what waits here is not for it.
        another_fleet: That the store belongs to another fleet, in a sentence; "" when it is ours or
            nobody's. What it holds decides nothing of the stop, only what is written beside it (A12).
    """

    called_at: float
    wall_ms: int
    signed: list[Verified[Revocation]] = []
    in_ledger: set[str] = set()
    unwritten: list[Verified[Revocation]] = []
    grant: Grant | None = None
    term: int = 0
    heartbeats: frozenset[str] = frozenset()
    claimed: int = 0
    not_after_ms: int | None = None
    in_redis_ms: float | None = None
    origin: str | None = None
    executed: bool = False
    shown_on: int = 0
    newer_keyset: bool = False
    adopted: bool = False
    stood: bool = False
    complete: bool = False
    behind: Lack | None = None
    stranger: bool = False
    another_fleet: str = ""

    @property
    def newest(self) -> Verified[Revocation]:
        """The revocation that counts: the one that was signed last."""
        return self.signed[-1]

    def note(self, raw: bytes, trust: Trust) -> str:
        """Note a grant that was in force; return what is wrong with it, or "".

        What does not verify may still be a term, where the keyset of this host is old. So receipts
        have to name that one (A2): a claim can only keep a stop from being complete.
        """
        try:
            self.met(trust.grant(raw).record)
        except RecordError as error:
            with suppress(RecordError):
                claim = peek(raw, Grant)
                if (claim.namespace, claim.environment) == (trust.namespace, trust.environment):
                    self.claimed = max(self.claimed, claim.term)
            return f"the active grant is refused: {error.message}"
        return ""

    def met(self, grant: Grant) -> None:
        """Note a verified grant that was in force."""
        if grant.term >= self.term:
            before = self.heartbeats if grant.term == self.term else frozenset[str]()
            self.heartbeats = before | frozenset(grant.heartbeats)
        if self.grant is None or grant.term >= self.grant.term:
            self.grant = grant
        self.term = max(self.term, grant.term)
        self.not_after_ms = max(self.not_after_ms or 0, grant.not_after_ms)
