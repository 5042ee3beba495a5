"""The end of a command that failed: what is said, and with which exit code."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from golive_cli.exits import Exit, UsageError, code_of
from golive_cli.output import Output
from golive_cli.words import named_config, offline, wants_json
from golive_redis.errors import GoliveError, StoreUnavailableError

if TYPE_CHECKING:
    from golive_cli.results import FindingResult

NOT_CONFIRMED = "; the stop is not confirmed"
# They read no configuration that somebody chose.
WITHOUT_CONFIG = frozenset({"demo", "dev", "init"})
WITNESS = ["audit", "witness"]
# First what helps whoever has to act now; nobody makes a new fleet to stop another one.
MISSING = (
    "`cd` to the folder that holds config/, or name the file: --config FILE, or $GOLIVE_CONFIG; "
    "only for a new setup: golive init, or golive dev to try it out"
)


def report(error: BaseException, argv: Sequence[str]) -> int:
    """Tell about an error and return the exit code.

    Args:
        error: Whatever escaped from the command.
        argv: The words after `golive`. They decide about `--json`, because the error may be that
            they could not be parsed.
    """
    command = argv[0] if argv else ""
    code = code_of(error, command)
    out = Output(as_json=wants_json(argv))
    tail = NOT_CONFIRMED if command == "revoke" else ""
    if isinstance(error, GoliveError):
        message = error.message + _configuration(error, argv)
        out.fail(error.reason, message, _hint(error, argv), _findings(error))
    elif isinstance(error, KeyboardInterrupt):
        # The person who pressed Ctrl-C knows it; there is something to tell of a stop, and of what is in
        # force already: its message.
        if tail or str(error):
            out.fail("interrupted", f"{str(error) or 'interrupted'}{tail}")
    else:
        out.fail(
            "internal",
            f"internal error: {type(error).__name__}: {error}{tail}",
            "this is a defect of golive-redis; GOLIVE_DEBUG=1 shows where",
        )
        if os.environ.get("GOLIVE_DEBUG") == "1":
            import traceback

            traceback.print_exception(error)
    return int(code)


def _reads_none(argv: Sequence[str]) -> bool:
    return (bool(argv) and argv[0] in WITHOUT_CONFIG) or list(argv[:2]) == WITNESS


def _findings(error: GoliveError) -> Sequence[FindingResult]:
    """Return what a preflight found that did not pass; a reader of JSON has seen no table."""
    found = getattr(error, "findings", ())
    if not found:
        return ()
    from golive_cli.findings import finding_results

    return finding_results(found)


def _hint(error: GoliveError, argv: Sequence[str]) -> str:
    """Return the hint of an error, as it is for somebody at a terminal."""
    from golive_redis.config.config import NO_CONFIG, URL_VARIABLE, chosen
    from golive_redis.store.link import UNREACHED

    if error.hint == NO_CONFIG:
        return MISSING
    unreached = isinstance(error, StoreUnavailableError) and error.hint.startswith(UNREACHED)
    elsewhere = os.environ.get(URL_VARIABLE) or _reads_none(argv)
    if not unreached or elsewhere:
        return error.hint
    import shlex

    from golive_cli.commands.dev import folder_of

    folder = folder_of(chosen(named_config(argv), os.environ)[0])
    if folder is None:
        return error.hint
    return f"{error.hint}; `golive dev --dir {shlex.quote(str(folder))}` starts it"


def _configuration(error: GoliveError, argv: Sequence[str]) -> str:
    """Say which configuration an error about files is from, and what chose it.

    A key that is missing in one folder may be there in the other, which a forgotten $GOLIVE_CONFIG
    has kept this command from.
    """
    if isinstance(error, UsageError) or _reads_none(argv) or offline(argv):
        return ""
    from golive_redis.config.config import chosen

    named = named_config(argv)
    path, why = chosen(named, os.environ)
    why = why or "from --config"
    if str(path) in error.message:
        return "" if error.message.endswith(f"({why})") else f" ({why})"
    if code_of(error) is not Exit.CONFIG or not os.path.lexists(path):
        return ""
    return f" (configuration: {path}, {why})"
