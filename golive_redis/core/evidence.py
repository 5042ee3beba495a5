"""The sections of the configuration about evidence: checks, triggers, windows, promotions.

They are read by those who use them and not by `golive revoke`: a mistake in them stops nobody from
stopping. Everything else refuses the file.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from golive_redis.core.check import Question
from golive_redis.core.directive import Profile
from golive_redis.core.expectation import EXPECTATIONS
from golive_redis.core.record import Name, Strict, decodable
from golive_redis.core.trigger import TriggerSettings
from golive_redis.core.window import WindowSettings

Questions = Question | Annotated[list[Question], msgspec.Meta(min_length=1, max_length=32)]

RISK = "check_risk_system"
ESS = "check_ess"
TESTNET = "check_testnet_history"
# What these must be follows from the policy, so that it stands in the file once.
IMPLIED = (RISK, ESS, TESTNET)


@decodable
class Evidence(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What must be true, before and while trading is on.

    Attributes:
        checks: By name: one question, or several that must all pass.
        triggers: By name: what the heartbeat watches while a term is in force.
        windows: By name: when trading may be on; none means always.
        promotions: By the profile that is reached: what must be true to promote to it.
    """

    checks: dict[Name, Questions] = {}
    triggers: dict[Name, TriggerSettings] = {}
    windows: dict[Name, WindowSettings] = {}
    promotions: dict[Profile, Annotated[list[Question], msgspec.Meta(min_length=1)]] = {}

    def questions(self, name: str) -> list[Question]:
        """Return the questions of a check; none when nobody configured it."""
        found = self.checks.get(name, [])
        return [found] if isinstance(found, Question) else found

    def __post_init__(self) -> None:
        for name in self.checks:
            _stated(f"checks: {name}", self.questions(name), optional=name in IMPLIED)
        for profile, questions in self.promotions.items():
            _stated(f"promotions: {profile}", questions)
        for name, trigger in self.triggers.items():
            if trigger.check is not None and trigger.check not in self.checks:
                raise ValueError(
                    f"triggers: {name} names the check {trigger.check}, which is not here"
                )
            _stated(f"triggers: {name}", [trigger.question] if trigger.question else [])
        if Profile.MICRO in self.promotions:
            raise ValueError("promotions: nobody is promoted to micro, the smallest")


def _stated(where: str, questions: list[Question], *, optional: bool = False) -> None:
    if not optional and not all(question.stated for question in questions):
        raise ValueError(f"{where}: what must the value be? one of {', '.join(EXPECTATIONS)}")
