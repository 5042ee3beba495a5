"""Commands that somebody waits for in a hurry, taken past Typer.

Typer 0.29 imports pydantic for every option it parses, and the two are half of a cold start. So the
plain form of a command is read here, and everything else (help, an error, an unusual spelling) is left
to Typer: whatever this module does not understand completely, it does not touch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

COMMON = ("--config",)
FLAG = "--json"
# Without --dry-run, which is in no hurry.
RESTRICTION = (*COMMON, "--reason", "--ticket")
BEATING = (*COMMON, "--name", "--listen")
NEEDED = {RESTRICTION: "--reason", BEATING: "--name"}


class Words(msgspec.Struct, frozen=True):
    """What was typed after the command: at most one of each option.

    Attributes:
        values: By option.
        as_json: `--json` was given.
        labels: Words without an option, in their order.
    """

    values: dict[str, str]
    as_json: bool
    labels: list[str]

    @property
    def config(self) -> Path | None:
        """The configuration that was named."""
        return Path(self.values["--config"]) if "--config" in self.values else None


def read(words: Sequence[str], options: Sequence[str], *, labels: bool) -> Words | None:
    """Return what the words say, or None when Typer shall read them.

    Args:
        words: After the command.
        options: Those that take a value.
        labels: Whether words without an option are allowed.
    """
    values: dict[str, str] = {}
    bare: list[str] = []
    as_json, rest = False, list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            bare.append(word)
            continue
        if word == FLAG and not as_json:
            as_json = True
            continue
        name, sign, value = word.partition("=")
        if name not in options or name in values:
            return None
        if not sign:
            value = rest.pop(0) if rest else ""
        # Also `--reason --json symbol=BTC`: what looks like an option is for Typer to say.
        if not value or value.startswith("-"):
            return None
        values[name] = value
    return None if bare and not labels else Words(values, as_json, bare)


def run(argv: Sequence[str]) -> int | None:
    """Run one command and return its exit code, or None when it is not for this module.

    Raises:
        GoliveError: From the command.
    """
    command, *rest = argv
    options, take = COMMANDS[command]
    words = read(rest, options, labels=options is RESTRICTION)
    if words is None or (options in NEEDED and NEEDED[options] not in words.values):
        return None
    return int(take(command, words) or 0)


def _look(command: str, words: Words) -> int | None:
    from golive_cli.commands import status

    look: Callable[..., int | None] = getattr(status, command)
    return look(words.config, as_json=words.as_json)


def _restrict(command: str, words: Words) -> int:
    from golive_cli.commands import change

    return change.restrict(
        command,
        words.labels,
        words.values["--reason"],
        words.values.get("--ticket", ""),
        words.config,
        dry_run=False,
        as_json=words.as_json,
    )


def _beat(_: str, words: Words) -> None:
    from golive_cli.commands.heartbeat import heartbeat

    values = words.values
    heartbeat(values["--name"], words.config, values.get("--listen"), as_json=words.as_json)


COMMANDS: dict[str, tuple[tuple[str, ...], Callable[[str, Words], Any]]] = {
    "status": (COMMON, _look),
    "workers": (COMMON, _look),
    "halt": (RESTRICTION, _restrict),
    "reduce": (RESTRICTION, _restrict),
    "heartbeat": (BEATING, _beat),
}
