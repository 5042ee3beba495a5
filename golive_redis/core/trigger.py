"""Triggers: a check that the heartbeat repeats, and when its failures amount to an action.

A single bad sample proves little, so a trigger fires when `k` of the last `n` samples failed, or when
`m` in a row were unknown. It does not take back what it did: loosening stays human.
"""

from __future__ import annotations

import re
from collections import deque
from enum import StrEnum
from typing import Annotated

import msgspec

from golive_redis.core.check import Question
from golive_redis.core.directive import Labels
from golive_redis.core.finding import Outcome
from golive_redis.core.record import Duration, Name, Strict, duration_ms

KOfN = Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,2} of [1-9][0-9]{0,2}\Z")]
AfterM = Annotated[str, msgspec.Meta(pattern=r"^(never|after [1-9][0-9]{0,3})\Z")]
MIN_EVERY_MS = 100


class Action(StrEnum):
    """What a trigger does when it fires."""

    REDUCE_ONLY = "reduce_only"
    HALTED = "halted"
    REVOKE = "revoke"


class TriggerSettings(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One trigger: a check of this file by name, or a question of its own.

    Attributes:
        every: Pause between two samples.
        for_: `k of n`: fires when k of the last n samples failed.
        then: What it does.
        on_unknown: `after m`: fires when m samples in a row were unknown; `never` leaves it at a
            warning. The default fires, because unknown is off.
        labels: Restricts only the orders that match; not for `revoke`.
    """

    check: Name | None = None
    question: Question | None = None
    every: Duration
    for_: KOfN = msgspec.field(name="for", default="1 of 1")
    then: Action
    on_unknown: AfterM = "after 3"
    labels: Labels = {}

    def __post_init__(self) -> None:
        if (self.check is None) == (self.question is None):
            raise ValueError("a trigger takes check or question")
        if self.fails > self.samples:
            raise ValueError(f"for: {self.fails} of {self.samples} can never happen")
        if duration_ms(self.every) < MIN_EVERY_MS:
            raise ValueError(f"every is at least {MIN_EVERY_MS}ms")
        if self.labels and self.then is Action.REVOKE:
            raise ValueError("a revocation ends the whole term: no labels")

    @property
    def fails(self) -> int:
        """The k of `k of n`."""
        return int(re.split(" of ", self.for_)[0])

    @property
    def samples(self) -> int:
        """The n of `k of n`."""
        return int(re.split(" of ", self.for_)[1])

    @property
    def unknowns(self) -> int | None:
        """The m of `after m`, or None."""
        return None if self.on_unknown == "never" else int(self.on_unknown.removeprefix("after "))


class Debounce:
    """Counts the samples of one trigger."""

    def __init__(self, settings: TriggerSettings) -> None:
        self._settings = settings
        self._samples: deque[Outcome] = deque(maxlen=settings.samples)
        self._unknown = 0

    def sample(self, outcome: Outcome) -> bool:
        """Take a sample; tell whether the trigger fires now.

        An unknown sample is not a pass: it keeps the failures before it in sight.
        """
        self._unknown = self._unknown + 1 if outcome is Outcome.UNKNOWN else 0
        if outcome is not Outcome.UNKNOWN:
            self._samples.append(outcome)
        failed = sum(item is Outcome.FAIL for item in self._samples)
        limit = self._settings.unknowns
        return failed >= self._settings.fails or (limit is not None and self._unknown >= limit)

    def restart(self) -> None:
        """Forget all samples: people have decided anew."""
        self._samples.clear()
        self._unknown = 0
