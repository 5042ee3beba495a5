"""The `file` source: a value in a file, its rows or its age. Only regular files, and only whole ones."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from golive_redis import clock
from golive_redis.checks.parse import cell, count_rows, look, parse, parse_yaml, refuse_unfinished
from golive_redis.checks.question import FileSource, Format
from golive_redis.checks.source import MAX_BYTES, Fetched, Surroundings, UnansweredError

MAX_CSV_BYTES = 64 * 1024 * 1024
_ENDINGS = {".json": Format.JSON, ".yaml": Format.YAML, ".yml": Format.YAML, ".csv": Format.CSV}
_LINES_BETWEEN_LOOKS = 1000


def fetch(source: FileSource, where: Surroundings, deadline_ms: float) -> Fetched:
    """Read the file.

    A file that changes while it is read is unknown; so is one whose end looks half written.
    """
    path = where.resolve(source.path)
    until_ms = clock.now_ms() + deadline_ms
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UnansweredError(f"{path}: {error.strerror}") from error
    try:
        return _read(source, opened, until_ms)
    except OSError as error:
        raise UnansweredError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnansweredError(f"{source.path} is not UTF-8") from error
    finally:
        os.close(opened)


def _read(source: FileSource, opened: int, until_ms: float) -> Fetched:
    before = os.fstat(opened)
    if not stat.S_ISREG(before.st_mode):
        raise UnansweredError(f"{source.path} is not a regular file")
    with open(opened, "rb", closefd=False) as file:
        value = _value(source, file, before, until_ms)
    after = os.fstat(opened)
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise UnansweredError(f"{source.path} changed while it was read")
    return Fetched(value, {"file": source.path, "bytes": str(before.st_size)})


def _value(source: FileSource, file: BinaryIO, about: os.stat_result, until_ms: float) -> object:
    name = source.path
    if source.modified:
        return about.st_mtime_ns // clock.NS_PER_MS
    form = source.format or _ENDINGS.get(Path(name).suffix.lower(), Format.TEXT)
    limit = MAX_CSV_BYTES if form is Format.CSV else MAX_BYTES
    if about.st_size > limit:
        raise UnansweredError(f"{name} has {about.st_size} bytes, over {limit}")
    if form is Format.CSV:
        lines = _lines(file, name, until_ms)
        return (
            count_rows(lines, of=name) if source.rows else cell(lines, source.value or "", of=name)
        )
    value = _parsed(file.read(limit).decode("utf-8-sig"), form, name)
    if not source.rows:
        return look(value, source.value or "")
    if not isinstance(value, list):
        raise UnansweredError(f"{name} is not a list, so it has no rows")
    return len(value)


def _parsed(text: str, form: Format, name: str) -> object:
    if form is Format.JSON:
        return parse(text, of=name)
    return parse_yaml(text, of=name) if form is Format.YAML else text.removesuffix("\n")


def _lines(file: BinaryIO, name: str, until_ms: float) -> Iterator[str]:
    last = ""
    for number, last in enumerate(io.TextIOWrapper(file, "utf-8-sig", newline="")):
        if number % _LINES_BETWEEN_LOOKS == 0 and clock.now_ms() > until_ms:
            raise UnansweredError(f"{name} could not be read in time")
        yield last
    refuse_unfinished(last, of=name)
