"""`golive demote` and `golive promote`: down any number of steps with one key, up one with criteria."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli import completion
from golive_cli.commands.change import put
from golive_cli.exits import Exit, require_profile, require_reason
from golive_cli.findings import FindingLines, finding_results
from golive_cli.fleetboard import said
from golive_cli.options import AsJson, ConfigFile, DryRun, KeyFiles, Reason, Ticket
from golive_cli.output import Output, Painted, place
from golive_cli.results import PromoteResult

if TYPE_CHECKING:
    from golive_redis.operator.promotion import Plan
    from golive_redis.records.directive import Grant
    from golive_redis.records.envelope import Verified
    from golive_redis.records.trust import Trust


def demote(
    profile: Annotated[
        str,
        typer.Argument(
            metavar="PROFILE",
            help="micro, small or medium.",
            show_default=False,
            autocompletion=completion.profiles,
        ),
    ],
    reason: Reason,
    dry_run: DryRun = False,
    ticket: Ticket = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Go down to a smaller capital profile, at once and with one key. Never asks."""
    from golive_redis.records.directive import Profile, RestrictionKind

    require_reason(reason)
    require_profile(profile)
    return put(
        RestrictionKind.DEMOTE,
        {},
        Profile(profile),
        reason,
        ticket,
        config,
        dry_run=dry_run,
        as_json=as_json,
    )


def promote(
    reason: Annotated[
        str,
        typer.Option(
            "--reason",
            metavar="TEXT",
            help="Why; goes into the ledger. Not needed with --plan.",
            show_default=False,
        ),
    ] = "",
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what is missing, and change nothing.")
    ] = False,
    keys: KeyFiles = None,
    ticket: Ticket = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Go up one capital profile, when its criteria pass. Takes the approvers' threshold.

    Holds for the rest of the term; the next activation begins at its own profile again.
    """
    from golive_redis import config as configuration
    from golive_redis.operator import promotion
    from golive_redis.operator.session import Operator

    if not plan:
        require_reason(reason)
    out = Output(as_json=as_json)
    grant = None
    with Operator(configuration.load(config)) as operator:
        where = place(operator.trust.environment, operator.trust.namespace)
        lines = FindingLines(out, f"CRITERIA in {where}")
        try:
            if plan:
                found = promotion.plan(operator, told=lines.told)
            else:
                found, grant = promotion.promote(
                    operator,
                    reason=reason,
                    ticket=ticket,
                    keys=list(keys or ()),
                    told=lines.told,
                    say=out.note,
                )
        except promotion.CriteriaFailedError as error:
            lines.verdict(error.findings)
            raise
        lines.verdict(found.findings)
    _show(out, operator.trust, found, grant)
    return Exit.DONE if found.passed else Exit.REFUSED


def _show(out: Output, trust: Trust, found: Plan, grant: Verified[Grant] | None) -> None:
    out.result(
        PromoteResult(
            trust.environment,
            trust.namespace,
            grant is not None,
            found.before,
            found.after,
            found.passed,
            finding_results(found.findings),
            grant.record.epoch if grant is not None else None,
            sorted(grant.signers) if grant is not None else [],
        )
    )
    if grant is not None:
        record = grant.record
        out.line(
            Painted(f"PROMOTED to {record.profile}", "green"),
            f" from {found.before} in {place(record.environment, record.namespace)}: term "
            f"{record.term}, epoch {record.epoch}, by "
            f"{', '.join(sorted(grant.signers))}: {said(record.limits)}",
        )
    elif found.passed:
        where = place(trust.environment, trust.namespace)
        out.line(
            f"`golive promote --reason ...` in {where} would go from {found.before} to {found.after}"
        )
