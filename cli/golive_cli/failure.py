"""The end of a command that failed: what is said, and with which exit code."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from golive_cli.exits import code_of
from golive_cli.output import Output
from golive_redis.errors import GoliveError

if TYPE_CHECKING:
    from golive_cli.results import FindingResult

NOT_CONFIRMED = "; the stop is not confirmed"


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
        out.fail(error.reason, error.message, error.hint, _findings(error))
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


def _findings(error: GoliveError) -> Sequence[FindingResult]:
    """Return what a preflight found that did not pass; a reader of JSON has seen no table."""
    found = getattr(error, "findings", ())
    if not found:
        return ()
    from golive_cli.findings import finding_results

    return finding_results(found)


def wants_json(argv: Sequence[str]) -> bool:
    """Tell whether `--json` is among the options."""
    words = list(argv)
    return "--json" in (words[: words.index("--")] if "--" in words else words)
