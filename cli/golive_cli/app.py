"""The Typer application: every command but the kill path, which `main` takes before this.

A command is a function that returns an exit code, or None for 0, and raises a `GoliveError` for
everything else. Only the module of the command that was typed is imported: the others', and what
Typer makes of their options, is half of the time until something happens.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from golive_cli import completion
from golive_cli.exits import Exit, UsageError
from golive_cli.options import (
    AsJson,
    ConfigFile,
    DryLift,
    DryRun,
    EveryHalt,
    EveryReduction,
    KeyFiles,
    LabelArguments,
    LiftedLabels,
    Reason,
    Ticket,
)
from golive_cli.output import write
from golive_redis.version import VERSION

# By which a shell asks for what goes on as a line.
COMPLETING = "_GOLIVE_COMPLETE"

# -- those that `quick` takes past Typer, too: declared here, because their modules know no Typer ----


def _halt(
    reason: Reason,
    labels: LabelArguments = None,
    dry_run: DryRun = False,
    ticket: Ticket = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Cancels only, for the orders that match all labels; without labels for all. Never asks."""
    from golive_cli.commands import change

    return change.restrict("halt", labels, reason, ticket, config, dry_run=dry_run, as_json=as_json)


def _reduce(
    reason: Reason,
    labels: LabelArguments = None,
    dry_run: DryRun = False,
    ticket: Ticket = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """No new risk, for the orders that match all labels; without labels for all. Never asks."""
    from golive_cli.commands import change

    return change.restrict(
        "reduce", labels, reason, ticket, config, dry_run=dry_run, as_json=as_json
    )


def _resume(
    reason: Reason,
    labels: LiftedLabels = None,
    every: EveryHalt = False,
    dry_run: DryLift = False,
    keys: KeyFiles = None,
    ticket: Ticket = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Lift the halt with exactly these labels. Loosening takes the approvers' threshold."""
    from golive_cli.commands import change

    change.loosen(
        "resume",
        labels,
        reason,
        ticket,
        keys,
        config,
        every=every,
        dry_run=dry_run,
        as_json=as_json,
    )


def _restore(
    reason: Reason,
    labels: LiftedLabels = None,
    every: EveryReduction = False,
    dry_run: DryLift = False,
    keys: KeyFiles = None,
    ticket: Ticket = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Lift the reduction with exactly these labels. Loosening takes the approvers' threshold."""
    from golive_cli.commands import change

    change.loosen(
        "restore",
        labels,
        reason,
        ticket,
        keys,
        config,
        every=every,
        dry_run=dry_run,
        as_json=as_json,
    )


def _extend(
    reason: Reason,
    minutes: Annotated[
        int | None,
        typer.Option(
            "--minutes",
            min=1,
            max=44_640,
            help="New length of the window from now; without it, its end stays.",
            show_default=False,
        ),
    ] = None,
    keys: KeyFiles = None,
    ticket: Ticket = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Move the end of the window within the term, and let later heartbeats in.

    Heartbeats that registered after the activation beat only once this names
    them. Takes the approvers' threshold.
    """
    from golive_cli.commands import change

    change.loosen("extend", None, reason, ticket, keys, config, minutes=minutes, as_json=as_json)


def _heartbeat(
    name: Annotated[
        str,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Its stable name in the keyset.",
            autocompletion=completion.beating,
        ),
    ],
    config: ConfigFile = None,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Answer HTTP probes here: GET /live and GET /ready.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Keep the fleet alive: beat for the term in force until SIGTERM.

    Ending it does not revoke: without another heartbeat the fleet is off within beat_ms. SIGHUP
    has it read keyset and configuration again. With --json each line is an object. Under systemd
    use Type=notify.
    """
    from golive_cli.commands.heartbeat import heartbeat

    heartbeat(name, config, listen, as_json=as_json)


def _status(config: ConfigFile = None, as_json: AsJson = False) -> int:
    """Show what is in force, verified; exits 5 when something in Redis does not verify."""
    from golive_cli.commands import status

    return status.status(config, as_json=as_json)


def _watch(
    every: Annotated[
        float, typer.Option("--every", min=0.2, max=60, help="Seconds between two readings.")
    ] = 1.0,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the fleet live until Ctrl-C; with --json one object per look."""
    from golive_cli.commands import watch

    watch.watch(every, config, as_json=as_json)


def _revoke(context: typer.Context) -> int:
    """Stop all trading now, everywhere. Never asks."""
    # Here for help and completion; `main` sends `golive revoke` past Typer.
    from golive_cli.commands.revoke import run as revoke

    return revoke(context.args)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"golive {VERSION}")
        raise typer.Exit


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


def _named(incomplete: str) -> list[str]:
    return [name for name in COMMANDS if name.startswith(incomplete)]


def _help(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[COMMAND]...",
            help="The command; without one, the list of commands.",
            show_default=False,
            autocompletion=_named,
        ),
    ] = None,
) -> int:
    """Show the help of a command, or the list of all commands."""
    return run([*(command or ()), "--help"])


def _version() -> None:
    """Show the version."""
    _print_version(wanted=True)


class Listed(NamedTuple):
    """A command.

    Attributes:
        place: The function, or where it is: a command with a module of its own for its options.
        summary: Its line in the list, whole at 80 columns.
    """

    place: str | Callable[..., Any]
    summary: str


# In the order of the help: who reads it in a hurry wants to stop.
GROUPS: dict[str, dict[str, Listed]] = {
    "Stop": {
        "revoke": Listed(_revoke, "Stop all trading now, everywhere. Never asks."),
        "halt": Listed(_halt, "Cancels only: for all orders, or those that match labels."),
        "reduce": Listed(_reduce, "No new risk: for all orders, or those that match labels."),
        "demote": Listed("profiles.demote", "Go down to a smaller capital profile."),
        "stop-card": Listed("stopcard.app", "Issue a stop for later, played with redis-cli alone."),
    },
    "Start": {
        "preflight": Listed("activate.preflight", "Run the checks that an activation requires."),
        "activate": Listed("activate.activate", "Turn trading ON for the whole fleet."),
        "resume": Listed(_resume, "Lift a halt, or all."),
        "restore": Listed(_restore, "Lift a reduction, or all."),
        "extend": Listed(_extend, "Move the end of the window."),
        "promote": Listed("profiles.promote", "Go up one capital profile."),
        "propose": Listed("propose.proposing", "Propose one of these, for others to approve."),
        "proposals": Listed("approvals.proposals", "Show what waits for signatures."),
        "approve": Listed("approvals.approve", "Sign a proposal; the last signature executes it."),
        "reject": Listed("approvals.reject", "Say no to a proposal."),
        "withdraw": Listed("approvals.withdraw", "Take back a proposal of your own."),
    },
    "Look": {
        "status": Listed(_status, "Show what is in force, and every heartbeat and worker."),
        "workers": Listed("workers.app", "Show every worker; forget one that is dead."),
        "watch": Listed(_watch, "Show the fleet live."),
        "audit": Listed("audit.app", "Who did what and when; prove that nothing is missing."),
        "doctor": Listed("doctor.doctor", "Run every check; examine server and host."),
    },
    "Set up": {
        "init": Listed("init.init", "Create configuration, keyset and keys."),
        "keys": Listed("keys.app", "Make, list and show signing keys; sign the next keyset."),
        "acl": Listed("acl.app", "Print the Redis user of a role; prove what each may."),
        "store": Listed("store.app", "Install the scripts as a function library."),
        "heartbeat": Listed(_heartbeat, "Keep the fleet alive: the daemon."),
        "dev": Listed("dev.dev", "Run a server and a heartbeat for writing a worker."),
        "demo": Listed("demo.demo", "Watch a fleet be stopped in three ways."),
    },
    "Help": {
        "help": Listed(_help, "Show the help of a command."),
        "version": Listed(_version, "Show the version."),
    },
}
COMMANDS = {name: listed for group in GROUPS.values() for name, listed in group.items()}


class _InterruptedError(Exception):
    """An interrupt on its way through Typer."""


class _Group(TyperGroup):
    """All commands. Typer makes an exit code of an interrupt, and what it says would be lost."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _InterruptedError(*error.args) from None

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, in their groups, ahead of the options."""
        width = max(map(len, COMMANDS))
        for title, group in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(width), listed.summary) for name, listed in group.items()]
                )
        super().format_options(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write nothing: `format_options` has."""


class _Item(NamedTuple):
    """What Typer asks of a completion."""

    value: str
    help: str | None = None


class _Revoke(TyperCommand):
    """`golive revoke`, whose options argparse knows: here they are completed."""

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Return what goes on as the incomplete word."""
        from golive_cli.commands.revoke import FLAG, OPTIONS
        from golive_cli.words import named_config

        before = next((word for word in reversed(ctx.args) if word != "="), "")
        given = named_config(ctx.args)
        config = Path(given) if given else None
        found: list[str] = []
        if before == "--heartbeat-dead":
            found = completion.heartbeats(config, incomplete)
        elif before == "--worker-dead":
            found = completion.workers(config, incomplete)
        elif OPTIONS.get(before, FLAG)["action"] == FLAG["action"]:
            found = [name for name in (*OPTIONS, "--help") if name.startswith(incomplete)]
        return [_Item(value) for value in found]


def application(names: Sequence[str] = tuple(COMMANDS)) -> typer.Typer:
    """Return the application with these commands."""
    # Plain help: the same text on every terminal and in the documents, and without rich.
    app = typer.Typer(
        name="golive",
        cls=_Group,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        invoke_without_command=True,
        callback=_golive,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in names:
        found: Any = COMMANDS[name].place
        if isinstance(found, str):
            module, _, attribute = found.partition(".")
            found = getattr(import_module(f"golive_cli.commands.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        elif name == "revoke":
            passed_on = {"allow_extra_args": True, "ignore_unknown_options": True}
            app.command(name, cls=_Revoke, add_help_option=False, context_settings=passed_on)(found)
        else:
            app.command(name)(found)
    return app


def _being_completed() -> list[str]:
    """Return the words after `golive` that a shell wants to have gone on with, if it does."""
    if COMPLETING not in os.environ:
        return []
    typed = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    return typed.split()[1:]


def run(argv: list[str]) -> int:
    """Run one command and return its exit code.

    Raises:
        UsageError: The words cannot be parsed.
        GoliveError: From the command.
        KeyboardInterrupt: From the command, with what is known of what had left.
    """
    named = (argv or _being_completed())[:1]
    # Of anything else the help and the error name every command.
    alone = bool(named) and named[0] in COMMANDS
    command = typer.main.get_command(application(named if alone else tuple(COMMANDS)))
    try:
        code = command.main(args=argv, prog_name="golive", standalone_mode=False)
    except _InterruptedError as error:
        raise KeyboardInterrupt(*error.args) from None
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "golive"
        message = " ".join(error.format_message().split())  # Typer's has tabs and line ends
        raise UsageError(message, hint=f"{path} --help") from error
    except typer.Abort as error:  # end of input where a question was asked
        raise UsageError("aborted: no answer to a question", hint="--yes answers it") from error
    except SystemExit:  # Typer's answer to a reader that went away while it printed help
        return Exit.DONE
    except Exception:
        if argv or COMPLETING not in os.environ:
            raise
        return Exit.DONE  # nothing to offer: an error would be written over what somebody types
    return int(code or Exit.DONE)
