"""Entry point of the `golive` command.

Nothing is imported here that `golive revoke` does not need: that path goes from process start to
the stop in Redis, and every module on it is time in which the fleet still trades. For the same reason
of redis-py only what is used is imported, in this process and in no other.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib.util import find_spec, module_from_spec
from threading import RLock

# golive_cli.quick reads these.
QUICK = frozenset({"status", "workers", "halt", "reduce", "heartbeat"})


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code; nothing is raised.

    Args:
        argv: The words after `golive`; those of the process by default.
    """
    words = sys.argv[1:] if argv is None else argv
    try:
        _survive_any_character()
        postpone("redis")
        if words[:1] == ["revoke"]:
            # Collecting garbage while importing costs 7 % of the start, and this process is short.
            gc.disable()
            from golive_cli.commands.revoke import run as revoke

            return revoke(words[1:])
        if words[:1] and words[0] in QUICK:
            from golive_cli.quick import run as quickly

            code = quickly(words)
            if code is not None:
                return code
        from golive_cli.app import run

        return run(words)
    except SystemExit as stop:  # how argparse ends after --help
        return stop.code if isinstance(stop.code, int) else 0
    except BaseException as error:  # noqa: BLE001  (the one place where everything ends)
        from golive_cli.failure import report

        return report(error, words)
    finally:
        _flush()


def postpone(name: str) -> None:
    """Let modules of a package be imported without what its `__init__` imports.

    redis-py's imports all of its clients, the asynchronous ones too; we use `redis.connection`. The
    package runs its `__init__` as usual at the first look for anything that it has not yet got
    (`redis.Redis`), so that nobody sees a difference but the time.
    """
    spec = None if name in sys.modules else find_spec(name)
    if spec is None or spec.loader is None:  # imported already, or not there: for others to say
        return
    package, load, lock = module_from_spec(spec), spec.loader.exec_module, RLock()
    begun = False
    sys.modules[name] = package

    def complete(attribute: str) -> object:
        nonlocal begun
        with lock:
            # Once: another thread waits here, and the __init__ may ask for what is not there yet.
            if not begun:
                begun = True
                try:
                    load(package)
                finally:
                    package.__dict__.pop("__getattr__", None)
        try:
            return package.__dict__[attribute]
        except KeyError:
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}") from None

    package.__dict__["__getattr__"] = complete


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
