"""Where entries come from: the stream in Redis, or a file that `golive audit export` has written.

A file is read line by line and holds each entry as it was stored, so that it is judged by the same rules
as the stream. What it also shows in clear is for people; it has to be what was signed.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from golive_redis.audit.words import utc
from golive_redis.errors import ConfigError, RecordError
from golive_redis.records.envelope import decode
from golive_redis.records.ledger import Entry
from golive_redis.records.record import Count, Strict, convert, decodable, parse_json

PAGE = 1_000
MAX_LINE_BYTES = 64 * 1024
_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


@decodable
class Exported(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A line of an export.

    Attributes:
        index: Of the entry in the ledger, from 0.
        id: Of the entry in the stream.
        at: When Redis took it, in UTC.
        kind: Of the record, "" when it is none.
        by: Who issued it, likewise.
        identity: Of the record, likewise.
        record: The payload that was signed, in clear; null when it is no record.
        r: The envelope, as text; null when it is none.
        raw: What stands there instead, in base64.
        h: The head after it.
    """

    index: Count
    id: str
    at: str
    kind: str
    by: str
    identity: str
    record: Any
    r: str | None
    raw: str | None
    h: str

    @classmethod
    def of(cls, index: int, entry: Entry) -> Exported:
        """Return the line for an entry, whatever it holds."""
        text: str | None = None
        raw: str | None = None
        try:
            text = entry.envelope.decode("ascii")
        except UnicodeDecodeError:
            raw = base64.b64encode(entry.envelope).decode()
        kind, by, identity, record = _shown(entry.envelope)
        return cls(
            index=index,
            id=entry.id,
            at=utc(entry.at_ms),
            kind=kind,
            by=by,
            identity=identity,
            record=record,
            r=text,
            raw=raw,
            h=entry.head,
        )

    def entry(self) -> Entry:
        """Return the entry as it was stored.

        Raises:
            RecordError: What the line shows in clear is not what stands in the envelope.
        """
        if (self.r is None) == (self.raw is None):
            raise RecordError("it has not exactly one of r and raw")
        try:
            envelope = (
                base64.b64decode(self.raw or "", validate=True)
                if self.r is None
                else self.r.encode("ascii")
            )
        except (UnicodeEncodeError, binascii.Error, ValueError) as error:
            raise RecordError("the envelope is no text and no base64") from error
        if not _ID.fullmatch(self.id):
            raise RecordError(f"{self.id[:40]!r} is no id of a stream")
        entry = Entry(envelope, self.h, self.id)
        at = utc(entry.at_ms)
        clear = self.at, self.kind, self.by, self.identity, self.record
        # As JSON, for in Python true is 1: shown in clear would be another thing than what was signed.
        if _as_json(clear) != _as_json((at, *_shown(envelope))):
            raise RecordError("what it shows in clear is not what was signed")
        return entry


def _as_json(value: tuple[Any, ...]) -> bytes:
    """Return JSON that is the same for the same value only; the order of members means nothing."""
    return msgspec.json.encode(value, order="sorted")


def _shown(envelope: bytes) -> tuple[str, str, str, Any]:
    """Return kind, issuer, identity and payload of an envelope; empty for what is none."""
    try:
        opened = decode(envelope)
        record = parse_json(opened.payload, MAX_LINE_BYTES)
        kind = opened.payload_type.removeprefix("application/vnd.golive.").removesuffix(".v1+json")
        by = record["by"] if isinstance(record, dict) else ""
    except (RecordError, KeyError):
        return "", "", "", None
    return kind, by if isinstance(by, str) else "", opened.identity, record


def write_line(index: int, entry: Entry) -> bytes:
    """Return an entry as a line of an export: JSON with a line end."""
    return msgspec.json.encode(Exported.of(index, entry)) + b"\n"


def entries_of_file(path: Path) -> Iterator[list[Entry]]:
    """Yield the entries of an export, a page at a time.

    Raises:
        ConfigError: The file cannot be read.
        RecordError: A line is none of an export, says something else in clear than was signed, or does
            not follow the one before it. Fails closed: nothing after it is read.
    """
    page: list[Entry] = []
    failed: RecordError | None = None
    try:
        for entry in _entries(path):
            page.append(entry)
            if len(page) == PAGE:
                yield page
                page = []
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="is the path right?") from error
    except RecordError as error:
        failed = error
    if page:  # also before a line that is not good: those are judged first
        yield page
    if failed is not None:
        raise failed


def _entries(path: Path) -> Iterator[Entry]:
    with path.open("rb") as file:
        number, first = 0, 0
        while raw := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            found = _line(path, number, raw)
            if number == 1:
                first = found.index
            if found.index != first + number - 1:
                raise RecordError(
                    f"{path}, line {number}: entry {found.index} where {first + number - 1} was expected"
                )
            try:
                yield found.entry()
            except RecordError as error:
                raise RecordError(f"{path}, line {number}: {error.message}") from error


def _line(path: Path, number: int, raw: bytes) -> Exported:
    try:
        return convert(parse_json(raw, MAX_LINE_BYTES), Exported)
    except RecordError as error:
        raise RecordError(
            f"{path}, line {number}: no line of an export: {error.message}",
            hint="`golive audit export --format jsonl` writes such a file",
        ) from error


def first_claim(path: Path) -> tuple[str, str]:
    """Return which switch an export says that it is of, in its first record: namespace, environment.

    Nobody's signature is checked: it says what all entries have to be of.

    Raises:
        ConfigError: The file cannot be read.
        RecordError: It is empty, or no record is in it.
    """
    number = 0
    try:
        with path.open("rb") as file:
            while raw := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                record = _line(path, number, raw).record
                claims = record if isinstance(record, dict) else {}
                namespace, environment = claims.get("namespace"), claims.get("environment")
                if isinstance(namespace, str) and isinstance(environment, str):
                    return namespace, environment
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="is the path right?") from error
    if not number:
        raise RecordError(f"{path} is empty: it shows nothing")
    raise RecordError(f"{path} holds no record of golive")
