"""Two people on two hosts: `golive propose`, `proposals`, `approve`, `reject` and `withdraw`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golive_cli.commands.activate import show_activated
from golive_cli.exits import Exit, UsageError, require_profile, require_reason
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
from golive_cli.output import Output, Painted, place, when, write
from golive_cli.results import ApproveResult, ProposalsResult, Proposed
from golive_redis.errors import RefusedError

if TYPE_CHECKING:
    from golive_redis.operator.proposals import Decided, Proposal
    from golive_redis.operator.session import Operator, Reading
    from golive_redis.records.directive import Grant

proposing = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

Wait = Annotated[
    bool, typer.Option("--wait", help="Stay until it is decided, or has waited too long.")
]
Minutes = Annotated[
    int | None,
    typer.Option("--minutes", min=1, max=44_640, help="Length of the window.", show_default=False),
]
Id = Annotated[str, typer.Argument(metavar="ID", help="As `golive proposals` shows it.")]
POLL_S = 1.0


@proposing.command("activate")
def propose_activate(
    reason: Reason,
    ticket: Ticket = "",
    profile: Profiled = None,
    minutes: Minutes = None,
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
        lines = FindingLines(out, _title(operator))
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
    rows = [_proposed(item) for item in found]
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
        for line in _shown(operator, proposal, reading):
            out.note(line)
        _confirm(proposal, yes)
        lines = FindingLines(out, _title(operator))
        decided = operations.approve(
            operator,
            proposal,
            keys=list(keys or ()),
            over_unconfirmed=over_unconfirmed,
            told=lines.told,
            say=out.note,
        )
        if decided.grant is None:
            _show_waiting(out, operator, decided.proposal)
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
        trust.environment, trust.namespace, _proposed(proposal), False, None, None
    )
    out.result(result)
    word = "REJECTED" if said == "reject" else "WITHDRAWN"
    where = place(trust.environment, trust.namespace)
    out.line(Painted(word, "yellow"), f" proposal {proposal.id} in {where}, by {answer.record.by}")
    return Exit.DONE


# -- what is shown -------------------------------------------------------------------------------


def _title(operator: Operator) -> str:
    return f"PREFLIGHT RESULTS in {place(operator.trust.environment, operator.trust.namespace)}"


def _labels(words: list[str] | None) -> dict[str, str]:
    from golive_cli.commands import change

    return change.parsed(words, restricts=False)


def _own_names(operator: Operator) -> frozenset[str]:
    from golive_redis.errors import ConfigError

    try:
        return frozenset(item.principal for item in operator.signers(()))
    except ConfigError:  # to look at proposals takes no key
        return frozenset()


def _proposed(proposal: Proposal) -> Proposed:
    record = proposal.grant.record
    until = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.not_after_ms / 1000))
    what = str(record.kind)
    if record.kind in {"activate", "promote", "extend"}:
        what += f", profile {record.profile}, until {until}"
    return Proposed(
        proposal.id,
        proposal.grant.identity,
        str(record.kind),
        what,
        sorted(proposal.grant.signers),
        proposal.needed,
        proposal.until_ms,
        record.epoch,
        record.reason,
        record.ticket,
    )


def _made(out: Output, operator: Operator, proposal: Proposal, *, wait: bool) -> int:
    if not wait:
        _show_waiting(out, operator, proposal)
        return Exit.DONE
    _say_waiting(out, operator, proposal)
    return _await(out, operator, proposal)


def _show_waiting(out: Output, operator: Operator, proposal: Proposal) -> None:
    trust = operator.trust
    out.result(
        ApproveResult(trust.environment, trust.namespace, _proposed(proposal), False, None, None)
    )
    _say_waiting(out, operator, proposal)


def _say_waiting(out: Output, operator: Operator, proposal: Proposal) -> None:
    from golive_redis.records.keyset import Role

    trust, item = operator.trust, _proposed(proposal)
    others = sorted(set(trust.keyset.principals(Role.APPROVER)) - proposal.grant.signers)
    out.line(
        Painted("PROPOSED", "yellow"),
        f" {item.id} in {place(trust.environment, trust.namespace)}: {item.what}; signed by "
        f"{', '.join(item.signed)} ({len(item.signed)} of {item.needed})",
    )
    out.line(f"by {when(item.until_ms)}, {' or '.join(others)}: golive approve {item.id}")


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
        ApproveResult(trust.environment, trust.namespace, _proposed(proposal), done, epoch, by)
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


def _shown(operator: Operator, proposal: Proposal, reading: Reading) -> list[str]:
    """Return a proposal as the difference that it makes to now."""
    from golive_redis.operator.proposals import stale
    from golive_redis.operator.session import described

    record, trust = proposal.grant.record, operator.trust
    before = reading.state.grant.record if reading.state is not None else None
    end = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.not_after_ms / 1000))
    lines = [
        (
            f"proposal {proposal.id} by {proposal.proposer} in "
            f"{place(trust.environment, trust.namespace)}, waits until {when(proposal.until_ms)}; "
            f"signed by {', '.join(sorted(proposal.grant.signers))} "
            f"({len(proposal.grant.signers)} of {proposal.needed})"
        ),
        f"  what      {record.kind}: {record.reason}"
        + (f" ({record.ticket})" if record.ticket else ""),
        f"  now       {'off' if before is None else f'term {before.term}, {before.profile}'}",
        f"  profile   {record.profile}" + _was(before, "profile", record.profile),
        f"  window    until {end}",
        f"  limits    {_limits(record)}",
        f"  lifts     {_lifted(record, reading)}",
    ]
    if reading.revocation is not None:
        lines.append(f"  last stop {described(reading.revocation)}")
    if why := stale(operator, proposal, reading):
        lines.append(f"  OUT OF DATE: {why}")
    return lines


def _lifted(record: Grant, reading: Reading) -> str:
    """Return what of that which is in force now a grant does not keep, in words."""
    from golive_cli.meeting import named
    from golive_redis.operator.session import described

    held = reading.state.restrictions if reading.state is not None else ()
    gone = [item for item in held if item.identity not in record.keeps]
    return (
        "; ".join(
            f"{described(i)}: {named({str(k): v for k, v in i.record.labels.items()})}"
            for i in gone
        )
        or "nothing"
    )


def _was(before: Any, field: str, now: object) -> str:
    was = getattr(before, field, None)
    return "" if was is None or was == now else f" (was {was})"


def _limits(record: Grant) -> str:
    limits = record.limits
    return (
        f"{limits.max_order_notional} {limits.currency} an order, "
        f"{limits.max_position_notional} a position, {limits.max_daily_loss} a day, "
        f"{limits.max_orders_per_minute}/min"
    )


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
        raise
    if typed.strip().lower() != half:
        raise RefusedError(f"{typed!r} is not {half!r}; nothing was signed")


def _show_in_force(out: Output, operator: Operator, decided: Decided) -> None:
    assert decided.grant is not None  # noqa: S101  (asked by the caller)
    record, trust = decided.grant.record, operator.trust
    by = sorted(decided.grant.signers)
    out.result(
        ApproveResult(
            trust.environment,
            trust.namespace,
            _proposed(decided.proposal),
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
