"""`golive workers`: show them, and forget one that is dead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli import completion
from golive_cli.commands import status
from golive_cli.exits import Exit, UsageError, require_reason
from golive_cli.options import AsJson, ConfigFile, Reason, Ticket
from golive_cli.output import Output, Painted, place
from golive_cli.results import ForgetResult, ForgottenWorker

if TYPE_CHECKING:
    from golive_redis.operator.forgetting import Forgotten

app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)


@app.callback()
def workers(context: typer.Context, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show every worker on the roster, or forget one that is dead."""
    if context.invoked_subcommand is None:
        status.workers(config, as_json=as_json)
    elif config is not None or as_json:
        raise UsageError(
            f"options of {context.invoked_subcommand} stand after it",
            hint=f"golive workers {context.invoked_subcommand} --help",
        )


@app.command("forget")
def forget(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME",
            help="A worker's ID means all of its processes that are silent and have not left; "
            "ID:INSTANCE means one of them.",
            autocompletion=completion.silent,
        ),
    ],
    reason: Reason,
    ticket: Ticket = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Attest, with your signature, that a worker is dead and stays dead.

    No stop waits for it then, on any host. Look at the venue first: what it had in flight is not
    known. It is watched for as long as a permission lasts; one that is heard lives, and stays.
    """
    from golive_redis import config as configuration
    from golive_redis.operator import forgetting
    from golive_redis.operator.session import Operator, send_spool

    require_reason(reason)
    out = Output(as_json=as_json)
    with Operator(configuration.load(config)) as operator:
        send_spool(operator, out.note)
        found = forgetting.forget(operator, names, reason=reason, ticket=ticket, say=out.note)
        trust = operator.trust
    pods = sorted((*found.dead, *found.back))
    rows = [ForgottenWorker(p.worker, p.instance, p in found.back) for p in pods]
    out.result(ForgetResult(trust.environment, trust.namespace, found.by, rows))
    _show(out, found, place(trust.environment, trust.namespace))
    return Exit.REFUSED if found.back else Exit.DONE


def _show(out: Output, found: Forgotten, where: str) -> None:
    gone = ", ".join(pod.short for pod in found.dead)
    if gone:
        out.line(
            Painted("FORGOTTEN", "green"),
            f" {gone} in {where}: dead by the word of {found.by}",
        )
        out.line(
            "Stops no longer wait for it; but where Redis has restarted or failed over in this term, "
            "the stop of this term does, and names it."
        )
    back = ", ".join(pod.short for pod in found.back)
    if back:
        out.line(
            Painted("NOT DEAD", "red"),
            f" {back} in {where}: it has been heard meanwhile, so it lives, and stops ask it",
        )
