"""`exec:`, a program that signs: it reads the bytes from its input and prints the signature in base64.

    exec:NAME:PROGRAM ARGUMENT ...
    exec:NAME;max-message=4096:PROGRAM ARGUMENT ...

NAME says with whose key it signs: a principal, or the beginning of a key id where one has several.
It is started without a shell, in the folder of the configuration, for each signature.
"""

from __future__ import annotations

import atexit
import base64
import binascii
import os
import re
import selectors
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ClassVar

from golive_redis import clock
from golive_redis.errors import ConfigError, SignerError
from golive_redis.masking import Masked, printable
from golive_redis.records.keyset import Keyset
from golive_redis.signers.foreign import ForeignSigner, of_keyset

MAX_OUTPUT_BYTES = 4096
MAX_COMPLAINT_BYTES = 300
# What unlocks another key is none of the program's business.
WITHHELD = "GOLIVE_KEY"
_NAME = re.compile(r"([A-Za-z0-9._-]+)(?:;max-message=([0-9]{1,7}))?")
# Without its arguments: a token may be among them, and an error is printed and kept.
_BY_HAND = "run it by hand with some text on its input; it prints a signature in base64 and exits 0"
_HOW = "write exec:NAME:PROGRAM ARGUMENT ..., with a NAME of `golive keys list`"

_running: set[subprocess.Popen[bytes]] = set()


class Program(Masked, frozen=True):
    """What an `exec:` setting says.

    Attributes:
        name: Whose key it is.
        argv: Program and arguments.
        max_message: The most bytes that it signs at once, or None.
    """

    MASKED: ClassVar[frozenset[str]] = frozenset({"argv"})

    name: str
    argv: tuple[str, ...]
    max_message: int | None = None


def parse(setting: str) -> Program:
    """Parse what stands behind `exec:`.

    Raises:
        ConfigError: It names nobody, or no program.
    """
    head, _, command = setting.partition(":")
    found = _NAME.fullmatch(head)
    try:
        argv = tuple(shlex.split(command))
    except ValueError as error:
        raise ConfigError(f"exec:{head[:64]}: {error}", hint=_HOW) from error
    if found is None or not argv:
        raise ConfigError(f"exec:{head[:64]}: no name, or no program", hint=_HOW)
    most = int(found[2]) if found[2] else None
    return Program(found[1], argv, most)


def open_program(
    setting: str, keyset: Keyset, folder: Path, environ: Mapping[str, str], *, patience_s: float
) -> ForeignSigner:
    """Return the signer that asks a program; the program is not started yet.

    Args:
        setting: What stands behind `exec:`.
        keyset: Whose key it is.
        folder: In which it is started.
        environ: What it is given, without what unlocks keys.
        patience_s: The longest that it is waited for.

    Raises:
        ConfigError: The setting cannot be used, or the keyset does not list that name.
    """
    program = parse(setting)
    where = f"the program {printable(program.argv[0])}"
    given = {name: value for name, value in environ.items() if not name.startswith(WITHHELD)}
    return ForeignSigner(
        of_keyset(keyset, program.name, where=where),
        partial(_signed, program.argv, folder, given, where),
        where=where,
        max_message=program.max_message,
        patience_s=patience_s,
    )


def _signed(
    argv: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    where: str,
    message: bytes,
    timeout_s: float,
) -> bytes:
    """Run the program once, and return what it printed, decoded."""
    try:
        process = subprocess.Popen(  # noqa: S603  (the operator configured it; no shell)
            argv,
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SignerError(
            f"{where} cannot be started: {why}", hint=f"is it there, from {folder}?"
        ) from error
    _running.add(process)
    until = clock.now_ms() + timeout_s * 1000
    try:
        out, complaint = _talk(process, message, until)
        code = process.wait(max(0.0, until - clock.now_ms()) / 1000)
    except subprocess.TimeoutExpired as error:
        raise SignerError(
            f"{where} has not answered within {timeout_s:.1f} s and was killed",
            hint=_BY_HAND,
        ) from error
    finally:
        _end(process)
        _running.discard(process)
    said = printable(" ".join(complaint.decode(errors="replace").split()))
    if len(out) > MAX_OUTPUT_BYTES:
        raise SignerError(f"{where} printed over {MAX_OUTPUT_BYTES} bytes", hint=_BY_HAND)
    if code != 0:
        raise SignerError(f"{where} exited {code}: {said}".rstrip(": "), hint=_BY_HAND)
    try:
        return base64.b64decode(b"".join(out.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignerError(f"{where} printed what is no base64", hint=_BY_HAND) from error


def _talk(process: subprocess.Popen[bytes], message: bytes, until: float) -> tuple[bytes, bytes]:
    """Give it the message, and return what it prints until it closes both pipes, or has said too much.

    A message has 8 KiB at most, which every pipe takes at once.
    """
    assert process.stdin is not None  # noqa: S101  (opened with pipes)
    with suppress(BrokenPipeError):  # it does not read; what it prints is looked at all the same
        process.stdin.write(message)
        process.stdin.close()
    printed = {process.stdout: b"", process.stderr: b""}
    with selectors.DefaultSelector() as pipes:
        for pipe in printed:
            pipes.register(pipe, selectors.EVENT_READ)  # type: ignore[arg-type]  # both are pipes
        while pipes.get_map():
            left_ms = until - clock.now_ms()
            if left_ms <= 0:
                raise subprocess.TimeoutExpired(process.args, 0)
            for key, _ in pipes.select(left_ms / 1000):
                piece = os.read(key.fd, 65_536)
                if not piece:
                    pipes.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    printed[process.stdout] += piece
                    if len(printed[process.stdout]) > MAX_OUTPUT_BYTES:
                        _kill(process)
                        return printed[process.stdout], b""
                elif len(printed[process.stderr]) < MAX_COMPLAINT_BYTES:
                    printed[process.stderr] += piece[:MAX_COMPLAINT_BYTES]
    return printed[process.stdout], printed[process.stderr]


@atexit.register
def _end_all() -> None:
    # Interrupted, perhaps: the thread that would kill it at the deadline ends with the process.
    for process in list(_running):
        _kill(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    _kill(process)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError):  # what it did not read is not wanted any more
                pipe.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    # Also when it ended by itself: what it left behind in its group ends with it.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
