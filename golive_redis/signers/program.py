"""`exec:`, a program that signs: it reads the bytes from its input and prints the signature in base64.

    exec:NAME:PROGRAM ARGUMENT ...
    exec:NAME;max-message=4096:PROGRAM ARGUMENT ...

NAME says with whose key it signs: a principal, or the beginning of a key id where one has several.
It is started without a shell, in the folder of the configuration, for each signature.
"""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from golive_redis import programs
from golive_redis.errors import ConfigError, SignerError
from golive_redis.masking import Masked, printable
from golive_redis.records.keyset import Keyset
from golive_redis.signers.foreign import ForeignSigner, of_keyset

MAX_OUTPUT_BYTES = 4096
MAX_COMPLAINT = 300  # characters
_NAME = re.compile(r"([A-Za-z0-9._-]+)(?:;max-message=([0-9]{1,7}))?")
# Without its arguments: a token may be among them, and an error is printed and kept.
_BY_HAND = "run it by hand with some text on its input; it prints a signature in base64 and exits 0"
_HOW = "write exec:NAME:PROGRAM ARGUMENT ..., with a NAME of `golive keys list`"


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
        environ: What it is given, but for what unlocks keys.
        patience_s: The longest that it is waited for.

    Raises:
        ConfigError: The setting cannot be used, or the keyset does not list that name.
    """
    program = parse(setting)
    where = f"the program {printable(program.argv[0])}"
    return ForeignSigner(
        of_keyset(keyset, program.name, where=where),
        partial(_signed, program.argv, folder, environ, where),
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
        ended = programs.run(
            argv,
            folder=folder,
            environ=environ,
            deadline_ms=timeout_s * 1000,
            most=MAX_OUTPUT_BYTES,
            given=message,
        )
    except programs.ProgramError as error:
        raise SignerError(f"{where} {error}", hint=f"{_BY_HAND}, in {folder}") from error
    if ended.code != 0:
        said = printable(ended.complaint)[:MAX_COMPLAINT]
        raise SignerError(f"{where} exited {ended.code}: {said}".rstrip(": "), hint=_BY_HAND)
    try:
        return base64.b64decode(b"".join(ended.out.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignerError(f"{where} printed what is no base64", hint=_BY_HAND) from error
