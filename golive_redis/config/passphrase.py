"""Passphrases: a variable for each key, one for all, a descriptor, or a question on the terminal.

In this order, and each only when it is needed. A passphrase goes from here into the library that opens
the key, and nowhere else.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from golive_redis.config.descriptor import read_once
from golive_redis.config.keyfile import PASSPHRASE_VARIABLE as VARIABLE
from golive_redis.config.keyfile import Ask
from golive_redis.config.signing import PASSPHRASE_FD_VARIABLE as FD_VARIABLE

MAX_TYPED_BYTES = 1024


class Offer(msgspec.Struct, frozen=True):
    """One passphrase to try.

    Attributes:
        origin: Where it comes from, for people.
        reveal: Returns it. Not a field with the text: a value of ours is printed in tracebacks.
    """

    origin: str
    reveal: Callable[[], str]


def variable_of(principal: str) -> str:
    """Return the variable for the keys of one principal: `GOLIVE_KEY_PASSPHRASE_HB_1` for `hb-1`."""
    return f"{VARIABLE}_{re.sub('[^A-Za-z0-9]', '_', principal).upper()}"


def of_new(environ: Mapping[str, str], principal: str) -> str | None:
    """Return the passphrase that a new key of a principal gets, or None."""
    return environ.get(variable_of(principal)) or environ.get(VARIABLE) or None


def offers(
    environ: Mapping[str, str], principals: Iterable[str], what: str, ask: Ask | None
) -> Iterator[Offer]:
    """Yield what to try, one after the other; a later one is looked for only when it is needed.

    Args:
        environ: The environment.
        principals: Whose key it may be, the likeliest first.
        what: Names the key to a person: its file.
        ask: Asks that person, or None.
    """
    for variable in [*dict.fromkeys(map(variable_of, principals)), VARIABLE]:
        if text := environ.get(variable):
            yield Offer(f"${variable}", lambda text=text: text)  # type: ignore[misc]
    if FD_VARIABLE in environ:
        text = read_once(FD_VARIABLE, environ).decode(errors="replace").strip("\r\n")
        yield Offer(f"${FD_VARIABLE}", lambda: text)
    typed = ask(what) if ask is not None else None
    if typed:
        yield Offer("the terminal", lambda: typed)


def on_terminal(what: str) -> str | None:
    """Ask on the terminal, without showing what is typed; None where there is none.

    By hand and not by `getpass`: a stop asks on a thread and may end before somebody has typed, and
    then the terminal has to show again what is typed.
    """
    try:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return None
    except (AttributeError, ValueError):  # closed, or none
        return None
    import atexit  # noqa: PLC0415  (only where a person is asked)
    import termios  # noqa: PLC0415

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    quiet = [*before]
    quiet[3] = before[3] & ~termios.ECHO

    def restore() -> None:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)

    atexit.register(restore)
    try:
        termios.tcsetattr(fd, termios.TCSADRAIN, quiet)
        sys.stderr.write(f"passphrase of {what}: ")
        sys.stderr.flush()
        # Not `sys.stdin.readline`, whose lock a thread would hold when the process ends.
        typed = os.read(fd, MAX_TYPED_BYTES)
    finally:
        restore()
        atexit.unregister(restore)
        sys.stderr.write("\n")
    return typed.decode(errors="replace").strip("\r\n") or None
