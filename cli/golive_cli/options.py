"""Options that every command has, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from golive_cli import completion

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Configuration; else $GOLIVE_CONFIG, else config/go_live.yaml.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; goes into the ledger.")]
Ticket = Annotated[
    str,
    typer.Option("--ticket", metavar="REF", help="Reference for the ledger.", show_default=False),
]
KeyFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help="Another approver's key: a file, agent:NAME and the like; repeat it up to the threshold.",
        show_default=False,
    ),
]
Profiled = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="Capital profile; else default_profile.",
        show_default=False,
        autocompletion=completion.profiles,
    ),
]
_LABELS = "venue, account, desk, strategy, symbol, worker or client; all must match."
LabelArguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[LABEL=VALUE]...",
        help=_LABELS,
        show_default=False,
        autocompletion=completion.stated,
    ),
]
LiftedLabels = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[LABEL=VALUE]...",
        help=_LABELS,
        show_default=False,
        autocompletion=completion.restricted,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say which workers match, and change nothing.")
]
DryLift = Annotated[
    bool, typer.Option("--dry-run", help="Say what it would lift, and change nothing.")
]
EveryHalt = Annotated[bool, typer.Option("--all", help="Lift all halts.")]
EveryReduction = Annotated[bool, typer.Option("--all", help="Lift all reductions.")]
