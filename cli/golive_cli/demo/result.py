"""What `golive demo --json` prints; names and order are a promise (docs/reference/json.md).

All `_ms` count from the call of revoke or from the kill, and whether something was accepted is
always the venue's word.
"""

from __future__ import annotations

import msgspec

from golive_cli.demo.verdict import Figures, receipts
from golive_redis.core.barrier import By, Outcome, Result


class RevokeAct(msgspec.Struct, frozen=True):
    """Act 1. `complete` is instants before the command ends: when the last receipt arrived.

    Attributes:
        workers: Pods on the roster.
        receipts: Pods that said they are drained.
        slowest_latch_ms: Arrival of the last `latched` receipt; null when none came.
        accepted_before: Guarded orders accepted between activation and call.
        attempts_after: Orders that the guarded workers tried after completion.
        last_accept_after_revoke_ms: 0 when none was accepted after the call.
    """

    name: str
    complete: bool
    by: By | None
    workers: int
    receipts: int
    slowest_latch_ms: float | None
    accepted_before: int
    attempts_after: int
    control_accepted_after: int
    accepted_after_complete: int
    last_accept_after_revoke_ms: float


class OutageAct(msgspec.Struct, frozen=True):
    """Acts 2 and 3.

    Attributes:
        bound_ms: By when everything must be off.
        all_off_ms: The last guarded order that the venue accepted; 0 when none came after the kill.
        accepted_before: Guarded orders accepted between activation and kill.
        attempts_after: Orders that the guarded workers tried after the bound.
    """

    name: str
    bound_ms: int
    all_off_ms: float
    accepted_before: int
    attempts_after: int
    control_accepted_after: int
    accepted_after_bound: int


class DemoResult(msgspec.Struct, frozen=True):
    """The whole demo; `ok` is false unless every act proved its point."""

    acts: list[RevokeAct | OutageAct]
    ok: bool


def revoke_act(outcome: Outcome, counted: Figures) -> RevokeAct:
    """Return act 1 from the barrier's judgement and the counts."""
    latched = [row.latched_ms for row in outcome.workers if row.latched_ms is not None]
    return RevokeAct(
        name="revoke",
        complete=outcome.result is Result.COMPLETE,
        by=outcome.by,
        workers=len(outcome.workers),
        receipts=receipts(outcome),
        slowest_latch_ms=round(max(latched), 1) if latched else None,
        accepted_before=counted.accepted_before,
        attempts_after=counted.attempts_after,
        control_accepted_after=counted.control_accepted_after,
        accepted_after_complete=counted.accepted_after,
        last_accept_after_revoke_ms=counted.last_accept_ms,
    )


def outage_act(name: str, bound_ms: int, counted: Figures) -> OutageAct:
    """Return act 2 or 3 from the counts."""
    return OutageAct(
        name=name,
        bound_ms=bound_ms,
        all_off_ms=counted.last_accept_ms,
        accepted_before=counted.accepted_before,
        attempts_after=counted.attempts_after,
        control_accepted_after=counted.control_accepted_after,
        accepted_after_bound=counted.accepted_after,
    )
