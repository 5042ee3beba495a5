"""The preflight: which checks an activation needs, their answers, and the signed report of them.

A check is built in, configured under `checks`, or both; then all of it must pass. What is not
configured, and what has no answer, is unknown, and unknown counts as failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial

import msgspec

from golive_redis import clock
from golive_redis.checks import ask, runner
from golive_redis.checks.builtin import check_database_redis, check_keys
from golive_redis.checks.conditions import Conditions
from golive_redis.checks.question import DATABASE, ESS, KEYS, RISK, TESTNET, WINDOW, WORKERS
from golive_redis.checks.source import Surroundings
from golive_redis.checks.windows import require_open
from golive_redis.config import Config
from golive_redis.config.policy import Policy
from golive_redis.errors import RecordError, RefusedError
from golive_redis.operator import approvals
from golive_redis.operator.session import Operator
from golive_redis.records.envelope import Signer, Verified, seal
from golive_redis.records.record import duration_ms, wording
from golive_redis.records.report import Finding, Outcome, Report, failed

# A report from a clock this far ahead is still of now.
FUTURE_MS = 30_000

Told = Callable[[Finding], None]


class PreflightFailedError(RefusedError):
    """The preflight did not pass.

    Attributes:
        findings: All of them, also those that passed.
    """

    reason = "preflight-failed"

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(
            f"preflight failed: {failed(findings)}",
            hint="`golive preflight` runs the checks alone",
        )
        self.findings = tuple(findings)


def nobody(_: Finding) -> None:
    """Tell nobody."""


def required(policy: Policy, evidence: Conditions) -> list[str]:
    """Return the names of all checks that an activation needs, each once.

    Those of the policy come first, then the gates that it demands; that the workers agree and that
    no key is about to expire is always asked.
    """
    gates = {
        RISK: policy.require_risk_state is not None,
        ESS: policy.require_ess_inactive,
        TESTNET: policy.require_testnet_history,
        WORKERS: True,
        KEYS: True,
        WINDOW: bool(evidence.windows),
    }
    wanted = [*policy.required_preflight, *(name for name, is_wanted in gates.items() if is_wanted)]
    return list(dict.fromkeys(wanted))


def known(config: Config) -> list[str]:
    """Return the names of all checks: what is required, what is configured, what is built in."""
    evidence = Conditions.of(config)
    return list(dict.fromkeys([*required(config.policy, evidence), DATABASE, *evidence.checks]))


def run(operator: Operator, *, only: Sequence[str] = (), told: Told = nobody) -> list[Finding]:
    """Run the checks at the same time.

    Args:
        operator: At work.
        only: These alone; they need not be required.
        told: Told of each finding as it comes.

    Returns:
        The findings in the order of the names.

    Raises:
        ConfigError: The sections about evidence cannot be used.
        RefusedError: `only` names a check that does not exist.
    """
    evidence = Conditions.of(operator.config)
    names = known(operator.config)
    missing = [name for name in only if name not in names]
    if missing:
        raise RefusedError(
            f"no check is called {missing[0]!r}{_nearest(missing[0], names)}",
            hint=f"there are {', '.join(names)}",
        )
    chosen = list(only) or required(operator.policy, evidence)
    checks = {name: _check(operator, evidence, name) for name in chosen}
    return runner.run(checks, chosen, told=told)


def surroundings(operator: Operator) -> Surroundings:
    """Return what a source may look at from here: also the ledger, as this host trusts it."""
    return Surroundings.of(operator.config, operator.trust)


def _check(operator: Operator, evidence: Conditions, name: str) -> runner.Check:
    """Return what answers a check: what is built in, what is configured, or both."""
    questions = evidence.questions(name, operator.policy)
    parts: list[Callable[[], Finding]] = []
    deadline_ms = runner.DEADLINE_MS
    if questions:
        configured = ask.check(name, questions, surroundings(operator))
        parts.append(configured.find)
        deadline_ms += configured.deadline_ms
    if name == DATABASE:
        parts.append(partial(check_database_redis, operator.address, operator.keyspace))
    if name == KEYS:
        parts.append(
            partial(
                check_keys,
                operator.trust.keyset,
                clock.wall_ms(),
                _window_ms(operator),
                exposed=operator.config.has_exposed_key,
            )
        )
    if name == WINDOW:
        parts.append(partial(_window, evidence))
    if not parts:
        nearest = _nearest(name, [*evidence.checks, DATABASE])
        text = f"no check of that name is configured{nearest}: write it under `checks`"
        parts.append(lambda: Finding(check=name, outcome=Outcome.UNKNOWN, explain=text))
    return runner.Check(lambda: combined(name, [part() for part in parts]), deadline_ms)


def _nearest(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def _window(evidence: Conditions) -> Finding:
    """Tell whether a trading window is open; without windows it always is."""
    try:
        require_open(evidence.windows, clock.wall_ms())
    except RefusedError as error:
        explain = f"{error.message}; {error.hint}"
        return Finding(check=WINDOW, outcome=Outcome.FAIL, explain=explain)
    return Finding(check=WINDOW, outcome=Outcome.PASS, explain="a trading window is open")


def _window_ms(operator: Operator) -> int:
    return operator.policy.window_minutes * 60_000


def combined(name: str, findings: Sequence[Finding]) -> Finding:
    """Return several findings as one: the worst of them, with all facts."""
    worst = max(findings, key=lambda item: item.outcome.severity)
    if len(findings) == 1:
        return worst
    said = [item.explain for item in findings if item.outcome is worst.outcome]
    facts = {key: value for item in findings for key, value in item.facts.items()}
    return msgspec.structs.replace(
        worst, check=name, explain=wording("; ".join(said)), facts=dict(list(facts.items())[:32])
    )


# -- the report ----------------------------------------------------------------------------------


def signed(operator: Operator, signer: Signer, findings: Sequence[Finding]) -> Verified[Report]:
    """Sign a report. Where it is too long for an envelope, it loses facts, then words."""
    shorter = list(findings)
    for words in (200, 60, 0):
        try:
            return operator.trust.report(seal(_report(operator, signer, shorter), signer))
        except RecordError:
            shorter = [_cut(item, words) for item in findings]
    return operator.trust.report(seal(_report(operator, signer, shorter), signer))


def enter(operator: Operator, report: Verified[Report]) -> None:
    """Put a report into the ledger, before the grant that rests on it.

    Raises:
        StoreError: It may not be there. Never `MaybeAppliedError`: no grant was sent (A7).
    """
    approvals.enter(operator, report.raw, "the report")


def _cut(item: Finding, words: int) -> Finding:
    return msgspec.structs.replace(
        item,
        facts={},
        explain=item.explain[:words],
        value=item.value[:words],
        expected=item.expected[:words],
    )


def _report(operator: Operator, signer: Signer, findings: list[Finding]) -> Report:
    return Report(
        **operator.trust.heading(signer.principal, clock.wall_ms()),
        policy=operator.config.policy_digest,
        findings=findings,
    )


def require_fresh(operator: Operator, report: Report) -> None:
    """Refuse a report that is older than `preflight_max_age`, or of a clock far ahead.

    Raises:
        RefusedError: It proves nothing about now.
    """
    age_ms = clock.wall_ms() - report.issued_at_ms
    limit = operator.policy.preflight_max_age
    if not -FUTURE_MS <= age_ms <= duration_ms(limit):
        raise RefusedError(
            f"the report is {age_ms / 1000:.0f} s old; preflight_max_age is {limit}",
            hint="run `golive preflight --out FILE` again, or the command, where it ran the checks",
        )


def accepted(operator: Operator, raw: bytes) -> Verified[Report]:
    """Return a signed report, if an activation may rest on it.

    Raises:
        RecordError: It is no report, or nobody who may sign one has signed it.
        RefusedError: It failed, is too old, was made under another policy, or lacks a check.
    """
    report = operator.trust.report(raw)
    record = report.record
    require_fresh(operator, record)
    if record.policy != operator.config.policy_digest:
        raise RefusedError(
            f"the report was made under another policy than {operator.config.path}",
            hint="run `golive preflight --out FILE` with this configuration",
        )
    needed = required(operator.policy, Conditions.of(operator.config))
    lacking = set(needed) - {item.check for item in record.findings}
    if lacking:
        raise RefusedError(
            f"the report lacks {', '.join(sorted(lacking))}",
            hint="run `golive preflight --out FILE` without --only",
        )
    if not record.passed:
        raise PreflightFailedError(record.findings)
    return report
