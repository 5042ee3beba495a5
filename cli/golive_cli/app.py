"""The Typer application: every command but the kill path, which `main` takes before this.

A command is a function that returns an exit code, or None for 0, and raises a `GoliveError` for
everything else. Its module imports at the top only what declares its options.
"""

from __future__ import annotations

from typing import Annotated

import typer
import typer.main

from golive_cli.commands import activate, change, demo, heartbeat, init, keys, profiles, status
from golive_cli.exits import Exit, UsageError
from golive_cli.output import write
from golive_redis.version import VERSION

# Plain help: the same text on every terminal and in the documents, and rich is not imported for it.
app = typer.Typer(
    name="golive",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
)
app.command("init")(init.init)
app.add_typer(keys.app, name="keys")
app.command("heartbeat")(heartbeat.heartbeat)
app.command("preflight")(activate.preflight)
app.command("doctor")(activate.doctor)
app.command("activate")(activate.activate)
app.command("halt")(change.halt)
app.command("resume")(change.resume)
app.command("reduce")(change.reduce)
app.command("restore")(change.restore)
app.command("extend")(change.extend)
app.command("demote")(profiles.demote)
app.command("promote")(profiles.promote)
app.command("status")(status.status)
app.command("workers")(status.workers)
app.command("watch")(status.watch)
app.command("demo")(demo.demo)


@app.command(
    "revoke",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def _revoke(context: typer.Context) -> int:
    """Stop all trading now, everywhere. Never asks."""
    # Here for help and completion; `main` sends `golive revoke` past Typer.
    from golive_cli.commands.revoke import run as revoke

    return revoke(context.args)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"golive {VERSION}")
        raise typer.Exit


@app.callback()
def _golive(
    context: typer.Context,
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """The go-live switch of a trading fleet: off by default, off everywhere at once."""
    del version  # answered by its callback
    if context.invoked_subcommand is None:
        import sys

        write(sys.stderr, context.get_help() + "\n")
        raise typer.Exit(Exit.USAGE)


def run(argv: list[str]) -> int:
    """Run one command and return its exit code.

    Raises:
        UsageError: The words cannot be parsed.
        GoliveError: From the command.
    """
    command = typer.main.get_command(app)
    try:
        code = command.main(args=argv, prog_name="golive", standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "golive"
        raise UsageError(error.format_message(), hint=f"{path} --help") from error
    except typer.Abort as error:  # end of input where a question was asked
        raise UsageError("aborted: no answer to a question", hint="--yes answers it") from error
    except SystemExit:  # Typer's answer to a reader that went away while it printed help
        return Exit.DONE
    return int(code or Exit.DONE)
