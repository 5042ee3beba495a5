"""Entry point of the `golive` command.

Nothing is imported here that `golive revoke` does not need: that path goes from process start to
the stop in Redis, and every module on it is time in which the fleet still trades.
"""

from __future__ import annotations

import gc
import os
import sys


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code; nothing is raised.

    Args:
        argv: The words after `golive`; those of the process by default.
    """
    words = sys.argv[1:] if argv is None else argv
    try:
        _survive_any_character()
        if words[:1] == ["revoke"]:
            # Collecting garbage while importing costs 7 % of the start, and this process is short.
            gc.disable()
            from golive_cli.commands.revoke import run as revoke

            return revoke(words[1:])
        from golive_cli.app import run

        return run(words)
    except SystemExit as stop:  # how argparse ends after --help
        return stop.code if isinstance(stop.code, int) else 0
    except BaseException as error:  # noqa: BLE001  (the one place where everything ends)
        from golive_cli.failure import report

        return report(error, words)
    finally:
        _flush()


def _survive_any_character() -> None:
    """Let a terminal that knows ASCII only print the rest as escapes, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _flush() -> None:
    """Flush stdout here: at interpreter exit a failure would replace our exit code by 120."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
