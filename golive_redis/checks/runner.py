"""Runs checks, each with a deadline; whatever goes wrong in one is `unknown` and concerns no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from golive_redis import clock
from golive_redis.checks.parallel import Work, said_by, side_by_side
from golive_redis.errors import ConfigError
from golive_redis.records.record import wording
from golive_redis.records.report import Finding, Outcome

DEADLINE_MS = 5_000.0

Told = Callable[[Finding], None]


class Check(msgspec.Struct, frozen=True):
    """A check that can be run.

    Attributes:
        find: Returns what it found.
        deadline_ms: Later than this is unknown.
    """

    find: Callable[[], Finding]
    deadline_ms: float = DEADLINE_MS


def run(
    checks: Mapping[str, Check], required: Sequence[str], told: Told | None = None
) -> list[Finding]:
    """Run the required checks at the same time.

    A name that nobody provides, a check that raises, and one that takes longer than its deadline are
    `unknown`, which counts as a failure.

    Args:
        checks: By name.
        required: Names of those to run.
        told: Told each finding as it ends, on the caller's thread.

    Returns:
        The findings in the order of `required`.
    """
    began_ms = clock.now_ms()
    works = [Work(name, *_how(checks.get(name))) for name in required]
    found: dict[int, Finding] = {}
    for at, result in side_by_side(works):
        took_ms = int(clock.now_ms() - began_ms)
        found[at] = _finding(required[at], result, took_ms)
        if told is not None:
            told(found[at])
    return [found[at] for at in range(len(required))]


def _how(check: Check | None) -> tuple[Callable[[], Finding], float]:
    return (_nobody, DEADLINE_MS) if check is None else (check.find, check.deadline_ms)


def _nobody() -> Finding:
    raise ConfigError("no check of that name is configured", hint="write it under `checks`")


def _finding(name: str, result: object, took_ms: int) -> Finding:
    if isinstance(result, Finding):
        return msgspec.structs.replace(result, check=name, took_ms=took_ms)
    return Finding(
        check=name, outcome=Outcome.UNKNOWN, explain=wording(_said(result)), took_ms=took_ms
    )


def _said(result: object) -> str:
    if isinstance(result, BaseException):
        return said_by(result)
    return f"the check answered with a {type(result).__name__}"
