"""The door: what a heartbeat asks of an activation before it beats for it. What none adopts never arms.

A client that skips a rule gains nothing, for these are asked where the term would begin:

- S13 The activation was decided under 60 s ago: by its grant, or by the execution that followed the
      grant within ten minutes, signed by one who has signed the grant.
- D1  Its keys, and the keyset, have not expired since.
- D2  The last stop was long enough ago (cool-down).
- D3  Not too many activations were adopted in the last 24 hours.
- D4  After a stop by somebody with the authority of risk, one with that authority has signed.

D2 and D3 are against haste: one signature more than the grant takes lifts both.
Checked by docs/model/Adoption.tla. Pure; instants are Unix ms on the heartbeat's wall clock.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from golive_redis.core.timing import Haste
from golive_redis.records.approval import APPROVE_WITHIN_MS, Execution
from golive_redis.records.beat import ISSUED_TOLERANCE_MS
from golive_redis.records.directive import Grant, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.records.keyset import Authority
from golive_redis.records.trust import Trust

FRESH_MS = 60_000
DAY_MS = 86_400_000


class Before(msgspec.Struct, frozen=True):
    """What a heartbeat knows of what came before.

    Attributes:
        stop: The newest revocation, or None.
        stopped_ms: When this heartbeat heard of it; None when it did not hear of it itself.
        adopted_ms: When activations were adopted, in the last 24 hours at least.
        paused_ms: When the stops before it were, the latest of them; None for none. A later stop that
            is dated back shortens no pause.
        risk: A stop before it by risk, since which no term was adopted; None for none.
    """

    stop: Verified[Revocation] | None = None
    stopped_ms: int | None = None
    adopted_ms: Sequence[int] = ()
    paused_ms: int | None = None
    risk: Verified[Revocation] | None = None

    def stopped_at(self) -> int | None:
        """Return when the last stop was: the earlier of what it says and when it was heard of.

        A card says when it was signed, which was long before it was played.
        """
        if self.stop is None:
            return None
        if self.stop.record.is_card:
            return self.stopped_ms
        issued = self.stop.record.issued_at_ms
        return issued if self.stopped_ms is None else min(issued, self.stopped_ms)


def is_fresh(grant: Verified[Grant], execution: Verified[Execution] | None, wall_ms: float) -> bool:
    """Tell whether somebody has decided on an activation in the last minute (S13)."""
    if abs(wall_ms - grant.record.issued_at_ms) < FRESH_MS:
        return True
    if execution is None or not executes(execution, grant):
        return False
    return abs(wall_ms - execution.record.issued_at_ms) < FRESH_MS  # S13


def executes(execution: Verified[Execution], grant: Verified[Grant]) -> bool:
    """Tell whether an execution is of that grant: by one of its signers, within ten minutes of it."""
    waited_ms = execution.record.issued_at_ms - grant.record.issued_at_ms
    return (
        execution.record.directive == grant.identity
        and execution.record.by in grant.signers
        and -ISSUED_TOLERANCE_MS <= waited_ms <= APPROVE_WITHIN_MS  # S13
    )


def refused(
    grant: Verified[Grant], trust: Trust, haste: Haste, before: Before, wall_ms: float
) -> str:
    """Return why a fresh activation is not adopted, in words; "" when it is."""
    if trust.keyset.expired(wall_ms):  # D1
        return f"term {grant.record.term}: keyset {trust.keyset.version} has expired"
    if not trust.is_good_now(grant, wall_ms):  # S13, D1
        return f"term {grant.record.term}: a key that signed it has expired"
    keyset = trust.keyset
    needed, risk = keyset.approvals(grant.record.kind), keyset.with_authority(Authority.RISK)
    why = haste_refused(grant.signers, needed, risk, haste, before, wall_ms)
    return f"term {grant.record.term}: {why}" if why else ""


def haste_refused(
    signers: frozenset[str],
    needed: int,
    risk: frozenset[str],
    haste: Haste,
    before: Before,
    wall_ms: float,
) -> str:
    """Return which rule against haste an activation breaks, in words; "" for none.

    Fails closed: a clock that went back makes a cool-down longer.

    Args:
        signers: Who has signed it.
        needed: How many approvers it takes.
        risk: Who has the authority of risk.
        haste: What is allowed.
        before: What came before.
        wall_ms: Now.
    """
    more = len(signers) > needed
    times = [at for at in (before.stopped_at(), before.paused_ms) if at is not None]
    stopped = max(times, default=None)
    if stopped is not None and not more and wall_ms - stopped < haste.cool_down_ms:  # D2
        left_s = (haste.cool_down_ms - (wall_ms - stopped)) / 1000
        return f"cool-down after the stop: {left_s:.0f} s left"
    today = [at for at in before.adopted_ms if wall_ms - at < DAY_MS]
    if haste.daily and not more and len(today) >= haste.daily:  # D3
        return f"{len(today)} activations in the last 24 h, and {haste.daily} are allowed"
    stops = [stop for stop in (before.stop, before.risk) if stop is not None]
    by = [stop.record.by for stop in stops if risk & stop.signers]
    if by and not risk & signers:  # D4
        return f"the last stop was by {by[0]} (risk), so {' or '.join(sorted(risk))} has to sign"
    return ""
