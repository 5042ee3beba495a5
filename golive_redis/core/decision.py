"""`decide`: the one function that says whether an order may be sent.

Laws, each a property test:

- With the same verdict, waiting never turns a denial into a permit.
- `cancel` is always permitted; everything that is unknown (intent, label, phase) is not.
- A label that a halt names and the order does not state is unknown, so the halt applies.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from golive_redis.core.permit import (
    CANCEL,
    INTENTS,
    OPEN,
    Denial,
    Intent,
    Permit,
    Phase,
    Reason,
    Revalidates,
)
from golive_redis.core.restrictions import RestrictionIndex
from golive_redis.records.directive import Mode, Profile
from golive_redis.records.limits import Limits
from golive_redis.records.record import MAX_INT


class Verdict(msgspec.Struct, frozen=True):
    """What a guard holds in memory between two answers; all that `decide` needs.

    Attributes:
        reason: Why it is closed; used while `deadline_ns` is 0 or over.
        deadline_ns: Instant on the guard's clock up to which it permits; 0 when closed.
        until_ms: The same instant as Unix ms, for acceptors.
    """

    phase: Phase
    reason: Reason
    deadline_ns: int
    until_ms: int
    term: int
    epoch: int
    profile: Profile | None
    limits: Limits | None
    index: RestrictionIndex

    @property
    def open_until_ns(self) -> int:
        """Deadline of an `open` order whatever its labels; 0 when the labels must be looked at."""
        plain = self.index.base is Mode.LIVE and not self.index.watches
        return self.deadline_ns if plain else 0


def closed(phase: Phase, reason: Reason, *, term: int = 0, epoch: int = 0) -> Verdict:
    """Return a verdict that permits nothing but cancels."""
    return Verdict(phase, reason, 0, 0, term, epoch, None, None, _NOTHING)


_NOTHING = RestrictionIndex(Mode.HALTED)
_PERMITTED = {
    Mode.LIVE: frozenset(Intent),
    Mode.REDUCE_ONLY: frozenset({Intent.REDUCE, Intent.CANCEL}),
    Mode.HALTED: frozenset({Intent.CANCEL}),
}
# Reading a member off its class costs 70 ns on Python 3.11, more than all else that a comparison does.
_LIVE, _HALTED = Mode.LIVE, Mode.HALTED


def decide(
    verdict: Verdict, intent: str, labels: Mapping[str, str], now_ns: int, source: Revalidates
) -> Permit | Denial:
    """Decide about one order.

    Args:
        verdict: What the guard holds.
        intent: `open`, `reduce` or `cancel`.
        labels: Labels of the order, on top of the guard's own.
        now_ns: The guard's clock, in ns.
        source: Who will judge the permit again in `Permit.valid`.

    Returns:
        A permit, or a denial with its reason; never raises for text input.

    Fails closed:
        An intent that is not one of the three is denied.
    """
    if intent != OPEN:  # one comparison for most orders
        if intent == CANCEL:
            # A cancel only takes risk off the book, so it needs no fresh word from anybody.
            return Permit(
                verdict.epoch,
                MAX_INT,
                _HALTED,
                verdict.profile,
                verdict.limits,
                verdict.term,
                intent,
                labels,
                source,
            )
        if intent not in INTENTS:
            return Denial(Reason.UNKNOWN_INTENT, str(intent))
    if now_ns >= verdict.deadline_ns:  # S7: at the call, whatever any thread has noted or missed
        late = verdict.deadline_ns > 0
        return Denial(Reason.LAPSED if late else verdict.reason, intent)
    index = verdict.index
    mode = index.mode_for(labels) if index.watches else index.base
    if mode is not _LIVE and intent not in _PERMITTED[mode]:
        return Denial(Reason.HALTED if mode is _HALTED else Reason.REDUCE_ONLY, intent)
    return Permit(
        verdict.epoch,
        verdict.until_ms,
        mode,
        verdict.profile,
        verdict.limits,
        verdict.term,
        intent,
        labels,
        source,
    )
