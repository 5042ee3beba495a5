"""Promotion: one step up the capital profiles, when the criteria of that step pass.

`golive demote` goes any number of steps down with one key (`restrictions`); the way up is one step
at a time, with the approvers' threshold, and rests on a signed report like an activation.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from golive_redis.checks import ask, runner
from golive_redis.checks.conditions import Conditions
from golive_redis.errors import RefusedError
from golive_redis.operator import preflight, refusals
from golive_redis.operator.approvals import signed
from golive_redis.operator.grants import put_successor, successor
from golive_redis.operator.session import Operator, Reading, Say, active, quiet, send_spool
from golive_redis.records.directive import Grant, GrantKind, Profile, smallest
from golive_redis.records.envelope import Signer, Verified
from golive_redis.records.record import wording
from golive_redis.records.refusal import Attempt
from golive_redis.records.report import Finding, Outcome, failed


class Plan(msgspec.Struct, frozen=True):
    """A promotion as it would be now.

    Attributes:
        before: The profile in force.
        after: The next one.
        findings: One for each criterion, in the order of the file.
    """

    reading: Reading
    before: Profile
    after: Profile
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """True only when every criterion passes."""
        return all(item.outcome is Outcome.PASS for item in self.findings)


class CriteriaFailedError(RefusedError):
    """A criterion of the promotion does not pass.

    Attributes:
        findings: All of them, also those that passed.
    """

    reason = "criteria-failed"

    def __init__(self, plan: Plan) -> None:
        super().__init__(
            f"not promoted to {plan.after}: {failed(plan.findings)}",
            hint="`golive promote --plan` shows what is missing",
        )
        self.findings = plan.findings


def plan(operator: Operator, *, told: preflight.Told = preflight.nobody) -> Plan:
    """Judge the criteria of the next profile, and change nothing.

    Args:
        operator: At work.
        told: Told of each finding as it comes.

    Raises:
        RefusedError: Nothing is active, there is no next profile, or the policy does not allow it.
        ConfigError: The sections about evidence cannot be used.
    """
    reading = operator.read()
    before = active(reading).profile
    after = _next(operator, before)
    questions = Conditions.of(operator.config).promotions.get(after)
    if not questions:
        # Not "nothing is asked": without criteria, this step has not been thought about.
        raise RefusedError(
            f"{operator.config.path} has no criteria for {after}",
            hint=f"write them under promotions: {after}",
        )
    where = preflight.surroundings(operator)
    checks = {
        f"{after}-{number}": ask.check(f"{after}-{number}", [question], where)
        for number, question in enumerate(questions, 1)
    }
    found = runner.run(checks, list(checks), told)
    return Plan(reading, before, after, tuple(found))


def _next(operator: Operator, before: Profile) -> Profile:
    policy, ladder = operator.policy, list(Profile)
    operator.require_enabled()
    if before is ladder[-1]:
        raise RefusedError(f"{before} is in force, and there is no profile above it")
    after = ladder[ladder.index(before) + 1]
    if after not in policy.allowed_profiles:
        allowed = ", ".join(policy.allowed_profiles)
        raise RefusedError(
            f"profile {after} is not in allowed_profiles ({allowed})",
            hint=f"allow it in {operator.config.path}; a step cannot be left out",
        )
    return after


def promote(
    operator: Operator,
    *,
    reason: str,
    ticket: str = "",
    keys: Sequence[str] = (),
    told: preflight.Told = preflight.nobody,
    say: Say = quiet,
) -> tuple[Plan, Verified[Grant]]:
    """Promote one step for the rest of the term; the next activation begins at its own profile.

    Demotions to a smaller profile than the new one end; halts and reductions stay.

    Args:
        operator: At work.
        reason: For the record.
        ticket: For the record.
        keys: Further key files, up to the threshold.
        told: Told of each finding as it comes.
        say: Told in a sentence what happens.

    Raises:
        CriteriaFailedError: A criterion does not pass; nothing was changed.
        RefusedError: Like `plan`, or too few approvers signed.
        ConflictError: Another directive came first.
    """
    with refusals.told(operator, Attempt.PROMOTE):
        signers = operator.approvers(keys, GrantKind.PROMOTE)
        found, draft = drafted_promotion(
            operator, signers[0], reason=reason, ticket=ticket, told=told, say=say
        )
    grant, execution = signed(operator, draft, signers)
    put_successor(operator, found.reading, grant, execution, say=say)
    return found, grant


def drafted_promotion(
    operator: Operator,
    signer: Signer,
    *,
    reason: str,
    ticket: str = "",
    told: preflight.Told = preflight.nobody,
    say: Say = quiet,
) -> tuple[Plan, Grant]:
    """Return what `promote` would put in force now, to be signed by several; its report is entered.

    Args:
        operator: At work.
        signer: Who issues it.
        reason: As in `promote`, and so are the others.
        ticket: For the record.
        told: Told of each finding as it comes.
        say: Told in a sentence what happens.

    Raises:
        CriteriaFailedError: A criterion does not pass; nothing was changed.
        RefusedError: Like `plan`.
    """
    send_spool(operator, say)
    found = plan(operator, told=told)
    if not found.passed:
        raise CriteriaFailedError(found)
    report = preflight.signed(operator, signer, found.findings)
    preflight.enter(operator, report)
    state, after = active(found.reading), found.after
    kept = [
        item
        for item in state.restrictions
        if item.record.profile is None or smallest([item.record.profile, after]) is after
    ]
    draft = successor(
        operator,
        found.reading,
        signer,
        kept,
        kind=GrantKind.PROMOTE,
        profile=after,
        limits=operator.policy.profiles[after],
        reason=wording(reason),
        ticket=wording(ticket),
        report=report.identity,
        policy=operator.config.policy_digest,
    )
    return found, draft
