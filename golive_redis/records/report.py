"""Checks become findings: pass, fail or unknown, with the facts. Unknown counts as fail."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec

from golive_redis.records.record import Identity, Ms, Name, Record, Strict, Text, decodable

Short = Annotated[str, msgspec.Meta(max_length=80)]


class Outcome(StrEnum):
    """What a check found."""

    PASS = "pass"  # noqa: S105  (a verdict, not a password)
    FAIL = "fail"
    UNKNOWN = "unknown"

    @property
    def severity(self) -> int:
        """What decides over several: fail before unknown before pass."""
        return _SEVERITY.index(self)


_SEVERITY = (Outcome.PASS, Outcome.UNKNOWN, Outcome.FAIL)


class Finding(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The answer to one check.

    Attributes:
        check: Name of the check, as in `required_preflight`.
        facts: What was seen, as text; never a secret.
        explain: One sentence for a person, with what to do when it did not pass.
        took_ms: How long it took.
        value: What was fetched, for tables.
        expected: What it had to be.
        warning: It passed, and is close to its limit.
    """

    check: Name
    outcome: Outcome
    explain: Text
    facts: Annotated[
        dict[
            Annotated[str, msgspec.Meta(max_length=64)],
            Annotated[str, msgspec.Meta(max_length=256)],
        ],
        msgspec.Meta(max_length=32),
    ] = {}
    took_ms: Ms = 0
    value: Short = ""
    expected: Short = ""
    warning: bool = False


def failed(findings: Iterable[Finding]) -> str:
    """Say in one sentence what did not pass; empty when everything did."""
    return "; ".join(
        f"{item.check}: {item.explain}" for item in findings if item.outcome is not Outcome.PASS
    )


@decodable
class Report(Record, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The signed result of a preflight.

    Attributes:
        policy: Digest of the policy under which it was made.
        findings: What each check found.
    """

    KIND: ClassVar[str] = "report"

    policy: Identity
    findings: Annotated[list[Finding], msgspec.Meta(min_length=1, max_length=64)]

    @property
    def passed(self) -> bool:
        """True only when every finding is a pass."""
        return all(finding.outcome is Outcome.PASS for finding in self.findings)
