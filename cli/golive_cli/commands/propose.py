"""`golive propose`: make and sign a grant that others have to sign, too."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golive_cli.exits import Exit, require_profile, require_reason
from golive_cli.findings import FindingLines
from golive_cli.options import (
    AsJson,
    ConfigFile,
    EveryHalt,
    EveryReduction,
    KeyFiles,
    LiftedLabels,
    Profiled,
    Reason,
    Ticket,
)
from golive_cli.output import Output, Painted, place
from golive_cli.proposalview import proposed, say_waiting, show_waiting, title
from golive_cli.results import ApproveResult
from golive_redis.errors import RefusedError

if TYPE_CHECKING:
    from golive_redis.operator.proposals import Proposal
    from golive_redis.operator.session import Operator

proposing = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

Wait = Annotated[
    bool, typer.Option("--wait", help="Stay until it is decided, or has waited too long.")
]
Minutes = Annotated[
    int | None,
    typer.Option("--minutes", min=1, max=44_640, help="Length of the window.", show_default=False),
]
WindowMinutes = Annotated[
    int | None,
    typer.Option(
        "--minutes",
        min=1,
        max=44_640,
        help="Length of the window, from 10 minutes after now on: so long it waits for signatures.",
        show_default=False,
    ),
]
POLL_S = 1.0


@proposing.command("activate")
def propose_activate(
    reason: Reason,
    ticket: Ticket = "",
    profile: Profiled = None,
    minutes: WindowMinutes = None,
    over_unconfirmed: Annotated[
        bool,
        typer.Option("--over-unconfirmed", help="Although the last stop is not confirmed."),
    ] = False,
    keys: KeyFiles = None,
    wait: Wait = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Propose to turn trading on.

    The checks run now, and again at the last signature.
    """
    from golive_redis import config as configuration
    from golive_redis.operator.activation import Activation
    from golive_redis.operator.proposals import propose_activation
    from golive_redis.operator.session import Operator

    require_reason(reason)
    if profile is not None:
        require_profile(profile)
    out = Output(as_json=as_json)
    with Operator(configuration.load(config)) as operator:
        lines = FindingLines(out, title(operator))
        activation = Activation(
            operator,
            reason=reason,
            ticket=ticket,
            profile=profile,
            minutes=minutes,
            keys=list(keys or ()),
            over_unconfirmed=over_unconfirmed,
            others=True,
            told=lines.told,
            say=out.note,
        )
        try:
            proposal = propose_activation(operator, activation)
        finally:
            lines.verdict(activation.findings)
        return _made(out, operator, proposal, wait=wait)


@proposing.command("resume")
def propose_resume(
    reason: Reason,
    labels: LiftedLabels = None,
    every: EveryHalt = False,
    ticket: Ticket = "",
    keys: KeyFiles = None,
    wait: Wait = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Propose to lift a halt, or all."""
    options = {"labels": _labels(labels), "every": every}
    return _change("resume", reason, ticket, keys, config, wait=wait, as_json=as_json, **options)


@proposing.command("restore")
def propose_restore(
    reason: Reason,
    labels: LiftedLabels = None,
    every: EveryReduction = False,
    ticket: Ticket = "",
    keys: KeyFiles = None,
    wait: Wait = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Propose to lift a reduction, or all."""
    options = {"labels": _labels(labels), "every": every}
    return _change("restore", reason, ticket, keys, config, wait=wait, as_json=as_json, **options)


@proposing.command("extend")
def propose_extend(
    reason: Reason,
    minutes: Minutes = None,
    ticket: Ticket = "",
    keys: KeyFiles = None,
    wait: Wait = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Propose to move the end of the window.

    It also lets later heartbeats in.
    """
    return _change(
        "extend", reason, ticket, keys, config, wait=wait, as_json=as_json, minutes=minutes
    )


@proposing.command("promote")
def propose_promote(
    reason: Reason,
    ticket: Ticket = "",
    keys: KeyFiles = None,
    wait: Wait = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Propose to go up one capital profile.

    Its criteria are asked now, and again at the last signature.
    """
    return _change("promote", reason, ticket, keys, config, wait=wait, as_json=as_json)


def _change(
    kind: str,
    reason: str,
    ticket: str,
    keys: list[str] | None,
    config: Path | None,
    *,
    wait: bool,
    as_json: bool,
    **options: Any,
) -> int:
    from golive_redis import config as configuration
    from golive_redis.operator.proposals import propose_change
    from golive_redis.operator.session import Operator
    from golive_redis.records.directive import GrantKind

    require_reason(reason)
    out = Output(as_json=as_json)
    with Operator(configuration.load(config)) as operator:
        proposal = propose_change(
            operator,
            GrantKind(kind),
            keys=list(keys or ()),
            say=out.note,
            reason=reason,
            ticket=ticket,
            **options,
        )
        return _made(out, operator, proposal, wait=wait)


def _labels(words: list[str] | None) -> dict[str, str]:
    from golive_cli.commands import change

    return change.parsed(words, restricts=False)


def _made(out: Output, operator: Operator, proposal: Proposal, *, wait: bool) -> int:
    if not wait:
        show_waiting(out, operator, proposal)
        return Exit.DONE
    try:
        say_waiting(out, operator, proposal)
        return _await(out, operator, proposal)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; the proposal {proposal.id} may still wait for signatures: golive proposals, "
            f"and golive withdraw {proposal.id} takes it back"
        ) from None


def _await(out: Output, operator: Operator, proposal: Proposal) -> int:
    """Stay until a proposal is in force, is gone, or has waited too long."""
    from golive_redis import clock
    from golive_redis.operator.proposals import waiting

    trust, identity = operator.trust, proposal.grant.identity
    while True:
        state = operator.read().state
        done = state is not None and state.grant.identity == identity
        gone = all(item.grant.identity != identity for item in waiting(operator))
        if done or gone or clock.wall_ms() >= proposal.until_ms:
            break
        time.sleep(POLL_S)
    epoch = proposal.grant.record.epoch if done else None
    by = sorted(state.grant.signers) if done and state is not None else None
    out.result(
        ApproveResult(trust.environment, trust.namespace, proposed(proposal), done, epoch, by)
    )
    where = place(trust.environment, trust.namespace)
    if done:
        out.line(Painted("IN FORCE", "green"), f" in {where}: {proposal.id}, signed by "
                 f"{', '.join(by or [])}")  # fmt: skip
        return Exit.DONE
    raise RefusedError(
        f"the proposal {proposal.id} is not in force in {where}: it was rejected, withdrawn, "
        "overtaken by another change, or has waited too long",
        hint="`golive audit list --last 10` shows what was said to it",
    )
