"""`golive preflight` and `golive activate`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli.exits import Exit
from golive_cli.options import AsJson, ConfigFile, KeyFiles, Profiled, Reason, Ticket
from golive_cli.output import Output, Painted
from golive_cli.shapes import ActivateResult, Armed, FindingResult, PreflightResult
from golive_redis.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from golive_redis.activation import Activated
    from golive_redis.core.finding import Finding

COLOURS = {"pass": "green", "fail": "red", "unknown": "yellow"}


def preflight(config: ConfigFile = None, as_json: AsJson = False) -> int:
    """Run the checks that an activation requires, and change nothing."""
    from golive_redis import config as configuration
    from golive_redis.activation import preflight as run_preflight
    from golive_redis.operator import Operator

    out = Output(as_json=as_json)
    with Operator(configuration.load(config)) as operator:
        findings = run_preflight(operator)
    passed = _show_findings(out, findings)
    out.result(PreflightResult(passed, _findings(findings)))
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
        typer.Option("--over-unconfirmed", help="Although the last stop was never confirmed."),
    ] = False,
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
    from golive_redis.activation import Activation
    from golive_redis.operator import Operator

    out = Output(as_json=as_json)
    with Operator(configuration.load(config)) as operator:
        activation = Activation(
            operator,
            reason=reason,
            ticket=ticket,
            profile=profile,
            keys=[str(path) for path in keys or ()],
            minutes=minutes,
            over_unconfirmed=over_unconfirmed,
            say=out.note,
        )
        try:
            reading = activation.prepare()
        finally:
            _show_findings(out, activation.findings)
        if not yes:
            _ask(operator.policy.environment)
        grant = activation.commit(reading)
        out.note(f"in force: term {grant.record.term}; waiting for the fleet to arm")
        activated = activation.wait_armed(grant, wait)
    _show(out, activated)
    return Exit.DONE


def _ask(environment: str) -> None:
    typed = typer.prompt(f"This trades real money. Type {environment} to go on", err=True)
    if typed.strip() != environment:
        raise RefusedError(f"{typed!r} is not {environment!r}; nothing was changed")


def _findings(findings: Sequence[Finding]) -> list[FindingResult]:
    return [
        FindingResult(
            item.check,
            item.outcome,
            item.explain,
            dict(item.facts),
            item.took_ms,
            item.value,
            item.expected,
            item.warning,
        )
        for item in findings
    ]


def _show_findings(out: Output, findings: Sequence[Finding]) -> bool:
    for item in findings:
        verdict = Painted(item.outcome.upper().ljust(7), COLOURS[item.outcome])
        out.line(verdict, f" {item.check} ({item.took_ms} ms): {item.explain}")
    passed = sum(item.outcome == "pass" for item in findings)
    if findings:
        out.line(f"PREFLIGHT RESULTS: {passed} passed, {len(findings) - passed} failed")
    return passed == len(findings)


def _show(out: Output, activated: Activated) -> None:
    grant = activated.grant.record
    workers = [Armed(item.name, item.instance, True, "") for item in activated.armed]
    workers += [
        Armed(item.name, item.instance, False, item.fields.get("reason", ""))
        for item in activated.not_armed
    ]
    out.result(
        ActivateResult(
            grant.term,
            grant.epoch,
            grant.profile,
            sorted(activated.grant.signers),
            grant.not_after_ms,
            bool(activated.armed) and not activated.not_armed,
            workers,
            _findings(activated.findings),
        )
    )
    rows = [
        [
            item.id,
            item.instance[:6],
            Painted("armed", "green") if item.armed else "not armed",
            item.reason,
        ]
        for item in workers
    ]
    if rows:
        out.table(["worker", "instance", "state", "why"], rows)
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(grant.not_after_ms / 1000))
    out.line(
        Painted("ACTIVE", "green"),
        f" {grant.environment}: term {grant.term}, profile {grant.profile}, until {until}; "
        f"{len(activated.armed)} of {len(workers)} worker(s) armed",
    )
    if not workers:
        out.line("No worker is registered yet; each arms by itself when it comes.")
