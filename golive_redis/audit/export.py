"""The whole ledger in a file: for whoever judges it elsewhere, or puts it into a table."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, TypeVar

from golive_redis.audit import words
from golive_redis.audit.opening import Keysets
from golive_redis.audit.reading import write_line
from golive_redis.audit.selection import Found, found
from golive_redis.errors import ConfigError, RefusedError
from golive_redis.records.ledger import Entry

COLUMNS = (
    "index", "id", "at", "kind", "what", "by", "why", "verified", "identity", "r", "h",
)  # fmt: skip
# A table program takes a text that begins so for a formula, and it may be anybody's reason.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
T = TypeVar("T")


class Form(StrEnum):
    """What a ledger is exported as."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


def write(
    path: Path,
    form: Form,
    pages: Iterable[list[Entry]],
    keysets: Keysets,
    told: Callable[[int], None] = lambda _: None,
    *,
    first: int = 0,
) -> tuple[int, str]:
    """Write a ledger into a new file, whole or not at all.

    Args:
        path: Of the file; one that exists is not replaced.
        form: Which.
        pages: From the beginning of the ledger to its end.
        keysets: For the columns of a table; an export as JSON Lines is judged where it is read.
        told: Told how many entries are written, after each page.
        first: The index of the first of them.

    Returns:
        How many entries there are, and the head after the last.

    Raises:
        RefusedError: The file exists.
        ConfigError: It cannot be written, or pyarrow is not installed.
        StoreError: From the pages. Nothing is left behind.
    """
    return written(path, lambda file: _WRITERS[form](file, pages, keysets, told, first))


def write_receipts(path: Path, raws: Iterable[bytes]) -> int:
    """Write receipts into a new file, one envelope a line; returns how many.

    Raises:
        RefusedError: The file exists.
        ConfigError: It cannot be written.
        StoreError: From the receipts. Nothing is left behind.
    """

    def fill(file: IO[bytes]) -> int:
        count = 0
        for raw in raws:
            file.write(raw + b"\n")
            count += 1
        return count

    return written(path, fill)


def written(path: Path, fill: Callable[[IO[bytes]], T]) -> T:
    """Write a new file, whole or not at all, and return what its writer returns.

    Raises:
        RefusedError: The file exists.
        ConfigError: It cannot be written.
    """
    if path.exists():
        raise _exists(path)
    begun = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with begun.open("wb") as file:
            result = fill(file)
            file.flush()
            os.fsync(file.fileno())
        _name(begun, path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    finally:
        begun.unlink(missing_ok=True)
    return result


def _name(begun: Path, path: Path) -> None:
    """Give a finished file its name, unless somebody else has taken it meanwhile."""
    try:
        path.hardlink_to(begun)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # on a stick with FAT there is only one name for a file
        if path.exists():
            raise _exists(path) from None
        begun.rename(path)


def _exists(path: Path) -> RefusedError:
    return RefusedError(f"{path} exists; an export replaces nothing", hint="name another file")


def _jsonl(
    file: IO[bytes],
    pages: Iterable[list[Entry]],
    _: Keysets,
    told: Callable[[int], None],
    first: int,
) -> tuple[int, str]:
    count, head = 0, ""
    for page in pages:
        for entry in page:
            file.write(write_line(first + count, entry))
            count, head = count + 1, entry.head
        told(count)
    return count, head


def _csv(
    file: IO[bytes],
    pages: Iterable[list[Entry]],
    keysets: Keysets,
    told: Callable[[int], None],
    first: int,
) -> tuple[int, str]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\r\n")  # RFC 4180
    writer.writerow(COLUMNS)
    count, head = 0, ""
    for page in pages:
        for entry in page:
            row = table_row(found(first + count, entry, keysets))
            writer.writerow([_no_formula(str(value)) for value in row])
            count, head = count + 1, entry.head
        told(count)
    text.flush()
    text.detach()
    return count, head


def _parquet(
    file: IO[bytes],
    pages: Iterable[list[Entry]],
    keysets: Keysets,
    told: Callable[[int], None],
    first: int,
) -> tuple[int, str]:
    try:
        import pyarrow as pa  # noqa: PLC0415  (170 MB that nothing else needs)
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "a Parquet file takes pyarrow, which is not installed",
            hint="pip install 'golive-redis[parquet]', or --format csv",
        ) from error
    kinds: dict[str, Any] = dict.fromkeys(COLUMNS, pa.string())
    kinds |= {"index": pa.int64(), "at": pa.timestamp("ms", "UTC"), "verified": pa.bool_()}
    schema = pa.schema(list(kinds.items()))
    count, head = 0, ""
    with parquet.ParquetWriter(file, schema) as writer:
        for page in pages:
            rows = [
                table_row(found(first + count + at, entry, keysets))
                for at, entry in enumerate(page)
            ]
            columns = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
            columns["at"] = [entry.at_ms for entry in page]
            writer.write_table(pa.table(columns, schema))
            count, head = count + len(page), page[-1].head
            told(count)
    return count, head


_WRITERS: dict[Form, Callable[..., tuple[int, str]]] = {
    Form.JSONL: _jsonl,
    Form.CSV: _csv,
    Form.PARQUET: _parquet,
}


def table_row(item: Found) -> tuple[Any, ...]:
    """Return an entry as a row of `COLUMNS`; one that is refused says so where others say what."""
    entry, opened = item.entry, item.opened
    envelope = entry.envelope.decode("ascii", "backslashreplace")
    if opened is None:
        said = ("", f"refused: {item.refused}", "", "", False, "")
    else:
        line = words.line(opened)
        said = (opened.record.KIND, line.what, line.by, line.why, opened.judged, opened.identity)
    return (item.index, entry.id, words.utc(entry.at_ms), *said, envelope, entry.head)


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
