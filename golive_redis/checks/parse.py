"""Text from elsewhere becomes one value: JSON, YAML, CSV, times. Garbage is never guessed at."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import yaml

from golive_redis.checks.expectation import number, shown
from golive_redis.checks.source import UnansweredError

# A number below this is Unix seconds (until the year 5138), from it on ms (since March 1973).
_SECONDS_BELOW = 10**11
_YAML: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(text: str, *, of: str = "the answer") -> Any:
    """Parse JSON.

    Raises:
        UnansweredError: It is not JSON, or an object in it names one key twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise UnansweredError(f"{of} is not complete JSON: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("an object names one key twice")
    return out


def parse_yaml(text: str, *, of: str) -> Any:
    """Parse a YAML document that ends with a line break, without aliases.

    Raises:
        UnansweredError: It is anything else. Its beginning would be YAML, too: hence the line break.
    """
    refuse_unfinished(text, of=of)
    try:
        # A few lines of nested aliases unfold into billions of nodes.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_YAML)):
            raise UnansweredError(f"{of} has aliases, which are not read")
        return yaml.load(text, Loader=_YAML)  # noqa: S506  (both are safe loaders)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UnansweredError(f"{of} is not YAML: {' '.join(str(error).split())}") from error


def refuse_unfinished(text: str, *, of: str) -> None:
    """Refuse a text whose last line does not end.

    Raises:
        UnansweredError: It may be half written.
    """
    if not text.endswith("\n"):
        raise UnansweredError(f"{of} does not end with a line break: is it half written?")


def look(value: Any, pointer: str) -> Any:
    """Return what a JSON Pointer (RFC 6901) points to.

    Raises:
        UnansweredError: There is nothing.
    """
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and _is_index(name) and int(name) < len(value):
            value = value[int(name)]
        else:
            raise UnansweredError(f"there is nothing at {pointer}")
    return value


def _is_index(text: str) -> bool:
    digits = text.isascii() and text.isdigit() and len(text) < 10  # noqa: PLR2004  (int() stays quick)
    return digits and (text == "0" or text[0] != "0")


def cell(lines: Iterable[str], pointer: str, *, of: str) -> str:
    """Return one cell of a CSV with a header, by `/<row>/<column>`; row `-1` is the last one.

    Raises:
        UnansweredError: There is no such row or column, or a row is longer or shorter than the header.
    """
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
    if len(tokens) != 2 or not (tokens[0] == "-1" or _is_index(tokens[0])):  # noqa: PLR2004  (row, column)
        raise UnansweredError("a value in a CSV is /<row>/<column>, where row -1 is the last one")
    wanted, column = int(tokens[0]), tokens[1]
    rows = _rows(lines, of=of)
    header = next(rows, [])
    if header.count(column) != 1:
        raise UnansweredError(f"{of} has {header.count(column)} columns {column!r}")
    found: list[str] | None = None
    for at, row in enumerate(rows):
        if wanted in (at, -1):
            found = row
        if at == wanted:
            break
    if found is None:
        raise UnansweredError(f"{of} has no row {wanted}")
    return found[header.index(column)]


def count_rows(lines: Iterable[str], *, of: str) -> int:
    """Return the number of rows of a CSV below its header."""
    return max(0, sum(1 for _ in _rows(lines, of=of)) - 1)


def _rows(lines: Iterable[str], *, of: str) -> Iterator[list[str]]:
    width = None
    reader = csv.reader(lines, strict=True)
    try:
        for row in reader:
            if not row:
                continue  # an empty line
            width = width or len(row)
            if len(row) != width:
                text = f"{of} has {len(row)} cells in line {reader.line_num}, not {width}"
                raise UnansweredError(text)
            yield row
    except (csv.Error, ValueError) as error:
        raise UnansweredError(f"{of} is not CSV: {error}") from error


def time_ms(value: object) -> int:
    """Return a time as Unix ms.

    Args:
        value: Unix seconds or ms, also as text; ISO 8601 with a zone; a date of HTTP; a datetime.

    Raises:
        UnansweredError: It is none of these. Without a zone the hour is unknown.
    """
    found = number(value)
    if found is not None:
        return int(found * 1000 if abs(found) < _SECONDS_BELOW else found)
    at = value if isinstance(value, datetime) else _written_time(value)
    if at is None:
        raise UnansweredError(f"{shown(value)} is not a time")
    if at.tzinfo is None:
        raise UnansweredError(f"{shown(value)} is a time without a zone")
    return round(at.timestamp() * 1000)


def _written_time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return read(value.strip())
        except (ValueError, IndexError, TypeError, OverflowError):
            continue
    return None
