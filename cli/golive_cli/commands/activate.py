"""`golive preflight` and `golive activate`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli import completion
from golive_cli.exits import Exit, require_profile, require_reason
from golive_cli.findings import FindingLines, finding_results
from golive_cli.options import AsJson, ConfigFile, KeyFiles, Profiled, Reason, Ticket
from golive_cli.output import Output, Painted, place, write
from golive_cli.results import ActivateResult, Armed, PreflightResult
from golive_redis.config.yamlfile import in_full
from golive_redis.errors import ConfigError, RecordError, RefusedError

if TYPE_CHECKING:
    from golive_redis.operator.activation import Activated
    from golive_redis.operator.grants import Waiting
    from golive_redis.operator.session import Operator
    from golive_redis.store.presence import Presence


def preflight(
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="NAME",
            help="This check alone; repeat it for more.",
            show_default=False,
            autocompletion=completion.checks,
        ),
    ] = None,
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Write the signed report here, for `activate --report`.",
            show_default=False,
        ),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Run the checks that an activation requires, and change nothing."""
    return _run_checks(only or (), out_file, config, as_json=as_json)


def _run_checks(
    only: Sequence[str], out_file: Path | None, config: Path | None, *, as_json: bool
) -> int:
    from golive_redis import config as configuration
    from golive_redis.operator import preflight as checking
    from golive_redis.operator.session import Operator, send_spool

    out = Output(as_json=as_json)
    with Operator(configuration.load(config)) as operator:
        send_spool(operator, out.note)
        lines = FindingLines(out, _title(operator))
        findings = checking.run(operator, only=only, told=lines.told)
        if out_file is not None:
            signer = operator.signers(())[0]
            try:
                out_file.write_bytes(checking.signed(operator, signer, findings).raw)
            except OSError as error:
                raise ConfigError(f"{in_full(out_file)}: {error.strerror}") from error
    passed = lines.verdict(findings)
    trust = operator.trust
    out.result(
        PreflightResult(trust.environment, trust.namespace, passed, finding_results(findings))
    )
    return Exit.DONE if passed else Exit.REFUSED


def activate(
    reason: Reason,
    ticket: Ticket = "",
    profile: Profiled = None,
    keys: KeyFiles = None,
    minutes: Annotated[
        int | None,
        typer.Option(
            "--minutes", min=1, max=44_640, help="Length of the window; else the policy's."
        ),
    ] = None,
    wait: Annotated[
        float,
        typer.Option("--wait", min=0, max=3600, help="Seconds to wait for the fleet to be armed."),
    ] = 10.0,
    over_unconfirmed: Annotated[
        bool,
        typer.Option(
            "--over-unconfirmed", help="Activate even though the last stop is not confirmed."
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Use this saved preflight report instead of running the checks.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask for the environment's name.")
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Turn real trading ON for the whole fleet, after checks pass.

    Exits 0 once it is in force, and lists the workers that are not armed yet.
    """
    from golive_redis import config as configuration
    from golive_redis.operator.activation import Activation
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
            keys=list(keys or ()),
            minutes=minutes,
            over_unconfirmed=over_unconfirmed,
            report=_read(report),
            told=lines.told,
            say=out.note,
        )
        try:
            reading = activation.prepare()
        finally:
            lines.verdict(activation.findings)
        if not yes:
            _ask(operator.policy.environment)
        grant = activation.commit(reading)
        out.note(f"in force: term {grant.record.term}; waiting for the fleet to arm")
        activated = activation.wait_armed(grant, wait)
    show_activated(out, activated, activation.left_out)
    return Exit.DONE


def _title(operator: Operator) -> str:
    return f"PREFLIGHT RESULTS in {place(operator.trust.environment, operator.trust.namespace)}"


def _ask(environment: str) -> None:
    try:
        typed = typer.prompt(
            f"This turns trading ON in {environment}. Type {environment} to go on", err=True
        )
    except typer.Abort as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        write(sys.stderr, "\n")  # end of input: what is said next has a line of its own
        raise
    if typed.strip() != environment:
        raise RefusedError(f"{typed!r} is not {environment!r}; nothing was changed")


def _read(report: Path | None) -> bytes | None:
    if report is None:
        return None
    from golive_redis.records.envelope import peek
    from golive_redis.records.report import Report

    try:
        raw = report.read_bytes()[: 64 * 1024]  # far more than an envelope may have
    except OSError as error:
        raise ConfigError(f"{in_full(report)}: {error.strerror}") from error
    try:
        peek(raw, Report)
    except RecordError as error:  # another file, named by mistake; signatures are looked at later
        raise ConfigError(
            f"{in_full(report)} is no saved report of a preflight: {error.message}",
            hint="`golive preflight --out FILE` makes one",
        ) from error
    return raw


def _why_not(worker: Presence) -> str:
    return worker.fields.get("reason", "") if worker.alive else "silent"


def show_activated(out: Output, activated: Activated, left_out: Waiting) -> None:
    """Print what is in force, and who is armed."""
    grant = activated.grant.record
    workers = [Armed(item.name, item.instance, True, "") for item in activated.armed]
    workers += [
        Armed(item.name, item.instance, False, _why_not(item)) for item in activated.not_armed
    ]
    out.result(
        ActivateResult(
            grant.environment,
            grant.namespace,
            grant.term,
            grant.epoch,
            grant.profile,
            sorted(activated.grant.signers),
            grant.not_after_ms,
            bool(activated.armed) and not activated.not_armed,
            list(grant.heartbeats),
            sorted((*left_out.absent, *left_out.strangers)),
            workers,
            finding_results(activated.findings),
        )
    )
    rows = [
        [
            item.id,
            item.instance[:6],
            Painted("yes", "green") if item.armed else "no",
            item.reason,
        ]
        for item in workers
    ]
    if rows:
        out.table(["worker", "instance", "armed", "reason"], rows)
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(grant.not_after_ms / 1000))
    out.line(
        Painted("ACTIVE", "green"),
        f" in {place(grant.environment, grant.namespace)}: term {grant.term}, profile "
        f"{grant.profile}, until {until}; "
        f"{len(activated.armed)} of {len(workers)} worker(s) armed",
    )
    if not workers:
        out.line("No worker is registered yet; each arms by itself when it comes.")
