"""The sections of the configuration about evidence: checks, triggers, windows, promotions.

They are read by those who use them and not by `golive revoke`: a mistake in them stops nobody from
stopping. Everything else refuses the file.
"""

from __future__ import annotations

from typing import Annotated, Any, get_args

import msgspec

from golive_redis.checks import windows
from golive_redis.checks.expectation import EXPECTATIONS
from golive_redis.checks.question import (
    ESS,
    RISK,
    TESTNET,
    WORKERS,
    FleetSource,
    FleetValue,
    Question,
)
from golive_redis.checks.trigger import Action, Trigger, TriggerSettings
from golive_redis.checks.windows import WindowSettings
from golive_redis.config import Config
from golive_redis.config.policy import Policy
from golive_redis.config.yamlfile import line_of, validate
from golive_redis.errors import ConfigError
from golive_redis.records.directive import Profile
from golive_redis.records.record import Name, Strict, decodable

Questions = Question | Annotated[list[Question], msgspec.Meta(min_length=1, max_length=32)]

# What these must be follows from the policy, so that it stands in the file once.
IMPLIED = (RISK, ESS, TESTNET)
RISK_OK = "OK"
INACTIVE: list[str | int | float | bool] = [False, "inactive", "INACTIVE", "false", "0"]


# All workers run one version, and no pod has another policy: a fleet that was updated by halves lost
# 460 million dollars in 45 minutes (SEC release 34-70694, Knight Capital, 2012).
_AGREE = [
    Question(fleet=FleetSource(value=FleetValue.VERSIONS), at_most=1),
    Question(fleet=FleetSource(value=FleetValue.POLICIES), at_most=0),
]


@decodable
class Conditions(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
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

    @classmethod
    def of(cls, config: Config) -> Conditions:
        """Return the sections about checks, triggers, windows and promotions of a configuration.

        Raises:
            ConfigError: With the line. Fails closed: the caller does not go on.
        """
        policy, path, lines = config.policy, config.path, config.lines
        sections = {
            "checks": policy.checks,
            "triggers": policy.triggers,
            "windows": policy.windows,
            "promotions": policy.promotions,
        }
        for field in msgspec.structs.fields(cls):
            _, kind = get_args(field.type)
            section = validate(
                sections[field.name], dict[str, Any], path, lines, at=f"$.{field.name}"
            )
            # One by one first: of several entries msgspec does not say which one is wrong.
            for name, value in section.items():
                validate(value, kind, path, lines, at=f"$.{field.name}.{name}")
        conditions = validate(sections, cls, path, lines)
        _check_zones(conditions, config)
        _check_own_keys(conditions, config)
        return conditions

    def questions(self, name: str, policy: Policy) -> list[Question]:
        """Return the questions of a check, complete; none when it is not configured."""
        own = [_implied(name, question, policy) for question in self._configured(name)]
        return [*own, *_AGREE] if name == WORKERS else own

    def _configured(self, name: str) -> list[Question]:
        found = self.checks.get(name, [])
        return [found] if isinstance(found, Question) else found

    def _asks_pods(self, trigger: Trigger) -> bool:
        """Tell whether what it samples comes from the pods' presence, all of it or in part."""
        return trigger.check == WORKERS or any(question.fleet for question in self.asked(trigger))

    def asked(self, trigger: Trigger) -> list[Question]:
        """Return the questions that a trigger samples, as they are configured."""
        return [trigger.question] if trigger.question else self._configured(str(trigger.check))

    def __post_init__(self) -> None:
        for name in self.checks:
            _stated(f"checks.{name}", self._configured(name), optional=name in IMPLIED)
        for profile, questions in self.promotions.items():
            _stated(f"promotions.{profile}", questions)
        for name, settings in self.triggers.items():
            trigger = settings.trigger()
            if trigger.check not in {None, WORKERS, *self.checks}:
                raise ValueError(
                    f"triggers.{name}: names the check {trigger.check}, which is not here"
                )
            _stated(f"triggers.{name}", [trigger.question] if trigger.question else [])
            if trigger.then is Action.REVOKE and not settings.unsigned and self._asks_pods(trigger):
                raise ValueError(
                    f"triggers.{name}: would revoke on what pods say of themselves, which nothing "
                    "signs; take `halted`, or say `unsigned: true`"
                )
        if Profile.MICRO in self.promotions:
            raise ValueError(
                "promotions.micro: micro is the smallest profile, which is reached by activation"
            )


def _check_zones(conditions: Conditions, config: Config) -> None:
    for name, window in conditions.windows.items():
        if window.time_zone is None:
            continue
        try:
            windows.zone(window.time_zone)
        except ConfigError as error:
            line = line_of(f"$.windows.{name}.time_zone", config.lines)
            message = f"{config.path}:{line}: windows.{name}: {error.message}"
            raise ConfigError(message, hint=error.hint) from error


def _check_own_keys(conditions: Conditions, config: Config) -> None:
    """Refuse to revoke on a key of the switch itself: pods write those, unsigned (B5)."""
    own = f"{config.policy.namespace}:"
    for name, settings in conditions.triggers.items():
        trigger = settings.trigger()
        if trigger.then is not Action.REVOKE or settings.unsigned:
            continue
        for question in conditions.asked(trigger):
            source = question.redis
            if source is not None and source.own_server and source.key.startswith(own):
                line = line_of(f"$.triggers.{name}", config.lines)
                raise ConfigError(
                    f"{config.path}:{line}: triggers.{name}: would revoke on {source.key}, a key of "
                    "the switch that pods write and nothing signs",
                    hint="take `halted`, or say `unsigned: true`",
                )


def _stated(where: str, questions: list[Question], *, optional: bool = False) -> None:
    if not optional and not all(question.stated for question in questions):
        raise ValueError(f"{where}: say what the value must be: one of {', '.join(EXPECTATIONS)}")


def _implied(name: str, question: Question, policy: Policy) -> Question:
    """Return the question with what follows from the policy, where it says nothing itself."""
    if question.stated:
        return question
    if name == RISK:
        return msgspec.structs.replace(question, equals=policy.require_risk_state or RISK_OK)
    if name == ESS:
        return msgspec.structs.replace(question, one_of=INACTIVE)
    return msgspec.structs.replace(question, at_least=policy.min_testnet_trades)
