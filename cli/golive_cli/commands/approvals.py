"""Proposals of others: `golive proposals`, `approve`, `reject` and `withdraw`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli.commands.activate import show_activated
from golive_cli.exits import Exit, UsageError, require_reason
from golive_cli.findings import FindingLines
from golive_cli.options import AsJson, ConfigFile, KeyFiles, Reason
from golive_cli.output import Output, Painted, place, when, write
from golive_cli.proposalview import difference, proposed, show_waiting, title
from golive_cli.results import ApproveResult, ProposalsResult
from golive_redis.errors import RefusedError

if TYPE_CHECKING:
    from golive_redis.operator.proposals import Decided, Proposal
    from golive_redis.operator.session import Operator

Id = Annotated[str, typer.Argument(metavar="ID", help="As `golive proposals` shows it.")]


def proposals(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show what waits for signatures; those that you can sign come first."""
    from golive_redis import config as configuration
    from golive_redis.operator.proposals import waiting
    from golive_redis.operator.session import Operator

    out = Output(as_json=as_json)
    with Operator(configuration.load(config)) as operator:
        mine = _own_names(operator)
        found = sorted(
            waiting(operator), key=lambda item: (not mine - item.grant.signers, item.until_ms)
        )
        trust = operator.trust
    rows = [proposed(item) for item in found]
    out.result(ProposalsResult(trust.environment, trust.namespace, rows))
    if not found:
        out.line(f"no proposal waits in {place(trust.environment, trust.namespace)}")
        return
    out.table(
        ("id", "what", "signed by", "until", "why"),
        [
            [item.id, item.what, f"{', '.join(item.signed)} ({len(item.signed)} of {item.needed})",
             when(item.until_ms), item.reason]
            for item in rows
        ],
    )  # fmt: skip


def approve(
    name: Id,
    yes: Annotated[
        str,
        typer.Option(
            "--yes",
            metavar="ID",
            help="Sign without being asked: the whole id.",
            show_default=False,
        ),
    ] = "",
    over_unconfirmed: Annotated[
        bool,
        typer.Option("--over-unconfirmed", help="Although the last stop is not confirmed."),
    ] = False,
    keys: KeyFiles = None,
    wait: Annotated[
        float,
        typer.Option("--wait", min=0, max=3600, help="Seconds to wait for the fleet to be armed."),
    ] = 10.0,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Look at a proposal and sign it; the last signature runs the checks again and executes it."""
    from golive_redis import config as configuration
    from golive_redis.operator import proposals as operations
    from golive_redis.operator.session import Operator

    out = Output(as_json=as_json)
    with Operator(configuration.load(config)) as operator:
        proposal = operations.named(operator, name)
        reading = operator.read()
        for line in difference(operator, proposal, reading):
            out.note(line)
        _confirm(proposal, yes)
        lines = FindingLines(out, title(operator))
        decided = operations.approve(
            operator,
            proposal,
            keys=list(keys or ()),
            over_unconfirmed=over_unconfirmed,
            told=lines.told,
            say=out.note,
        )
        if decided.grant is None:
            show_waiting(out, operator, decided.proposal)
            return Exit.DONE
        if decided.activation is not None:
            lines.verdict(decided.activation.findings)
            activated = decided.activation.wait_armed(decided.grant, wait)
            show_activated(out, activated, decided.activation.left_out)
        else:
            _show_in_force(out, operator, decided)
    return Exit.DONE


def reject(
    name: Id,
    reason: Reason,
    keys: KeyFiles = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Say no to a proposal: it waits no longer, and the ledger says who said so and why."""
    return _declined("reject", name, reason, keys, config, as_json=as_json)


def withdraw(
    name: Id,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; goes into the ledger.")
    ] = "",
    keys: KeyFiles = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Take back a proposal of your own."""
    return _declined("withdraw", name, reason, keys, config, as_json=as_json)


def _declined(
    said: str,
    name: str,
    reason: str,
    keys: list[str] | None,
    config: Path | None,
    *,
    as_json: bool,
) -> int:
    from golive_redis import config as configuration
    from golive_redis.operator import proposals as operations
    from golive_redis.operator.session import Operator
    from golive_redis.records.approval import Said

    if said == "reject":
        require_reason(reason)
    out = Output(as_json=as_json)
    with Operator(configuration.load(config)) as operator:
        proposal = operations.named(operator, name)
        answer = operations.decline(operator, proposal, Said(said), reason, keys=list(keys or ()))
        trust = operator.trust
    result = ApproveResult(
        trust.environment, trust.namespace, proposed(proposal), False, None, None
    )
    out.result(result)
    word = "REJECTED" if said == "reject" else "WITHDRAWN"
    where = place(trust.environment, trust.namespace)
    out.line(Painted(word, "yellow"), f" proposal {proposal.id} in {where}, by {answer.record.by}")
    return Exit.DONE


def _own_names(operator: Operator) -> frozenset[str]:
    from golive_redis.errors import ConfigError

    try:
        return frozenset(item.principal for item in operator.signers(()))
    except ConfigError:  # to look at proposals takes no key
        return frozenset()


def _confirm(proposal: Proposal, yes: str) -> None:
    """Ask for the first half of the id, or take the whole of it from the command line."""
    if yes:
        if yes.replace("-", "").lower() != proposal.id.replace("-", ""):
            raise UsageError(f"--yes {yes} is not {proposal.id}", hint=f"--yes {proposal.id}")
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "nobody can be asked here: this is no terminal", hint=f"--yes {proposal.id}"
        )
    half = proposal.id.partition("-")[0]
    try:
        typed = typer.prompt(f"Type {half} to sign these bytes", err=True)
    except typer.Abort as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        write(sys.stderr, "\n")
        raise UsageError(
            "aborted: nothing was typed, and nothing was signed", hint=f"--yes {proposal.id}"
        ) from None
    if typed.strip().lower().replace("-", "") not in {half, proposal.id.replace("-", "")}:
        raise RefusedError(f"{typed!r} is not {half!r}; nothing was signed")


def _show_in_force(out: Output, operator: Operator, decided: Decided) -> None:
    assert decided.grant is not None  # noqa: S101  (asked by the caller)
    record, trust = decided.grant.record, operator.trust
    by = sorted(decided.grant.signers)
    out.result(
        ApproveResult(
            trust.environment,
            trust.namespace,
            proposed(decided.proposal),
            True,
            record.epoch,
            by,
        )
    )
    out.line(
        Painted("IN FORCE", "green"),
        f" in {place(trust.environment, trust.namespace)}: {record.kind} {record.epoch}, signed by "
        f"{', '.join(by)}",
    )
