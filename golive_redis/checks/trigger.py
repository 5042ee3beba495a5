"""Triggers: a check that the heartbeat repeats, and when its failures amount to an action.

A single bad sample proves little, so a trigger fires when `k` of the last `n` samples failed, or when
`m` in a row were unknown. It does not take back what it did: loosening stays human.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Annotated

import msgspec

from golive_redis.checks.question import ESS, RISK, WORKERS, FleetSource, FleetValue, Question
from golive_redis.core.labels import unusable
from golive_redis.records.directive import Labels
from golive_redis.records.record import Duration, Name, Strict, duration_ms
from golive_redis.records.report import Outcome

KOfN = Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,2} of [1-9][0-9]{0,2}\Z")]
AfterM = Annotated[str, msgspec.Meta(pattern=r"^(never|after [1-9][0-9]{0,3})\Z")]
MIN_EVERY_MS = 100


class Action(StrEnum):
    """What a trigger does when it fires."""

    REDUCE_ONLY = "reduce_only"
    HALTED = "halted"
    REVOKE = "revoke"


class TriggerSettings(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One trigger as the file has it; what it does not say comes from its preset.

    Attributes:
        preset: One of `PRESETS`.
        check: A check by name, or:
        question: a question of its own.
        every: Pause between two samples.
        for_: `k of n`: fires when k of the last n samples failed.
        then: What it does.
        on_unknown: `after m`: fires when m samples in a row were unknown; `never` leaves it at a
            word in the log. The default fires, because unknown is off.
        unsigned: Lets it revoke on what pods say of themselves, which nothing signs: whoever may write
            one presence could end the term.
        labels: Restricts only the orders that match; not for `revoke`.
    """

    preset: Name | None = None
    check: Name | None = None
    question: Question | None = None
    every: Duration | None = None
    for_: KOfN | None = msgspec.field(name="for", default=None)
    then: Action | None = None
    on_unknown: AfterM = "after 3"
    unsigned: bool = False
    labels: Labels = {}

    def __post_init__(self) -> None:
        self.trigger()

    def trigger(self) -> Trigger:
        """Return the trigger that this amounts to.

        Raises:
            ValueError: It amounts to none.
        """
        if self.preset is not None and self.preset not in PRESETS:
            raise ValueError(f"preset is one of {', '.join(PRESETS)}")
        preset = PRESETS[self.preset or ""] if self.preset else Preset()
        own = self.check is not None or self.question is not None
        check = self.check if own else preset.check
        question = self.question if own else preset.question
        every, then = self.every or preset.every, self.then or preset.then
        if (check is None) == (question is None):
            raise ValueError("a trigger takes check or question")
        if every is None or then is None:
            raise ValueError("a trigger takes every and then")
        fails, samples = (int(part) for part in (self.for_ or preset.for_).split(" of "))
        if fails > samples:
            raise ValueError(f"for: {fails} of {samples} can never happen")
        if duration_ms(every) < MIN_EVERY_MS:
            raise ValueError(f"every is at least {MIN_EVERY_MS}ms")
        if self.labels and then is Action.REVOKE:
            raise ValueError("a revocation ends the whole term: no labels")
        for name, value in self.labels.items():
            if problem := unusable(value):
                raise ValueError(f"{name}={value}: {problem}")
        unknowns = None if self.on_unknown == "never" else int(self.on_unknown.split()[1])
        return Trigger(
            check, question, duration_ms(every), fails, samples, then, unknowns, self.labels
        )


class Trigger(msgspec.Struct, frozen=True):
    """A trigger, complete: a check by name or a question, sampled every so many ms.

    Attributes:
        fails: How many of the last `samples` samples must fail.
        unknowns: How many in a row must be unknown; None never fires for them.
    """

    check: str | None
    question: Question | None
    every_ms: int
    fails: int
    samples: int
    then: Action
    unknowns: int | None
    labels: Labels


class Preset(msgspec.Struct, frozen=True):
    """What a trigger of a well-known kind asks, how often, and what it does."""

    every: str | None = None
    for_: str = "1 of 1"
    then: Action | None = None
    check: str | None = None
    question: Question | None = None


def _fleet(value: FleetValue, at_most: int | str) -> Question:
    return Question(fleet=FleetSource(value=value), at_most=at_most)


# Whatever says that money is at risk now revokes; what may be a passing trouble takes no new risk. What
# the fleet says of itself is unsigned, so it halts and ends no term (B5).
PRESETS: dict[str, Preset] = {
    "risk_state": Preset("5s", "2 of 3", Action.REVOKE, check=RISK),
    "ess": Preset("1s", "2 of 2", Action.REVOKE, check=ESS),
    # Sent without a permit: a worker does not obey, so nobody sends until people have looked.
    "unpermitted": Preset(
        "5s", "1 of 1", Action.HALTED, question=_fleet(FleetValue.UNPERMITTED, 0)
    ),
    "rejected": Preset(
        "10s", "2 of 3", Action.REDUCE_ONLY, question=_fleet(FleetValue.REJECTED, "0.2")
    ),
    "workers_changed": Preset(
        "10s", "2 of 2", Action.REDUCE_ONLY, question=_fleet(FleetValue.CHANGED, 0)
    ),
    "mismatch": Preset("30s", "2 of 2", Action.REDUCE_ONLY, check=WORKERS),
    # These three need a question: where the value is, only the installation knows.
    "drawdown": Preset("10s", "2 of 2", Action.REDUCE_ONLY),
    "stale_market_data": Preset("1s", "3 of 3", Action.HALTED),
    "component_heartbeat": Preset("5s", "2 of 3", Action.REDUCE_ONLY),
}


class Debounce:
    """Counts the samples of one trigger."""

    def __init__(self, trigger: Trigger) -> None:
        self._trigger = trigger
        self._samples: deque[Outcome] = deque(maxlen=trigger.samples)
        self._unknown = 0

    def sample(self, outcome: Outcome) -> bool:
        """Take a sample; tell whether the trigger fires now.

        An unknown sample is not a pass: it keeps the failures before it in sight.
        """
        self._unknown = self._unknown + 1 if outcome is Outcome.UNKNOWN else 0
        if outcome is not Outcome.UNKNOWN:
            self._samples.append(outcome)
        failed = sum(item is Outcome.FAIL for item in self._samples)
        limit = self._trigger.unknowns
        return failed >= self._trigger.fails or (limit is not None and self._unknown >= limit)

    def restart(self) -> None:
        """Forget all samples: people have decided anew."""
        self._samples.clear()
        self._unknown = 0
