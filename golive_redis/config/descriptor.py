"""Secrets through a file descriptor, which nobody can read from outside: `GOLIVE_KEY_FD=3 ... 3<file`.

A variable stays readable in `/proc/PID/environ` for every process of the same user and for root, also
after the process has removed it. A pipe is read once and closed; what it held is kept, for a heartbeat
opens its key again when it reloads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from golive_redis.errors import ConfigError

MAX_BYTES = 64 * 1024
FIRST = 3  # 0 to 2 are the terminal's

_kept: dict[int, bytes] = {}


def read_once(variable: str, environ: Mapping[str, str]) -> bytes:
    """Return what the descriptor holds that a variable names.

    Args:
        variable: Its name, such as `GOLIVE_KEY_FD`.
        environ: The environment.

    Raises:
        ConfigError: It is no number of an open descriptor, or nothing is in it.
    """
    text = environ[variable]
    if not text.isascii() or not text.isdigit() or int(text) < FIRST:
        raise ConfigError(
            f"{variable} is {text[:20]!r}, and must be the number of an open descriptor from {FIRST} on",
            hint=f"{variable}=3 golive ... 3<FILE",
        )
    number = int(text)
    if number not in _kept:
        try:
            _kept[number] = _read(number)
        except OSError as error:
            raise ConfigError(
                f"{variable}: descriptor {number}: {error.strerror}",
                hint=f"{variable}=3 golive ... 3<FILE",
            ) from error
    if not _kept[number]:
        raise ConfigError(
            f"{variable}: nothing is in descriptor {number}",
            hint="a pipe serves one process, and only once; each process needs its own",
        )
    return _kept[number]


def _read(number: int) -> bytes:
    try:
        # A file stays as it is, from its beginning, so that each forked child can read it, too.
        return os.pread(number, MAX_BYTES, 0)
    except OSError:
        found = b""
        while piece := os.read(number, MAX_BYTES - len(found)):
            found += piece
        os.close(number)
        return found
