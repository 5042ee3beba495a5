"""What the files of an archive are called, what is in them, and how one is written so that it stays.

The log itself is laid out as C2SP tlog-tiles says (`golive_redis.records.tiles`). Here is what that has
no place for, and what touches the disk. What follows from it is `archive`'s affair.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from golive_redis.errors import ConfigError, RecordError, RefusedError
from golive_redis.records.ledger import GENESIS
from golive_redis.records.merkle import CompactRange, leaf
from golive_redis.records.record import Count, FleetId, Strict, decodable
from golive_redis.records.tiles import WIDTH, Tile

STATE = "archive.json"
LOCK = "archive.lock"
CHECKPOINT = "checkpoint"
MORE_ROOM = "what was archived before is good; run it again when there is room"
_PLACES = "golive-places v1"
_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


class ArchiveChangedError(RecordError):
    """A file of an archive is not what was written; it is named. Nothing that it says counts."""

    reason = "archive-changed"


@decodable
class Reach(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose ledger an archive holds, and how far.

    Attributes:
        format: Of the folder.
        fleet: Whose ledger it is.
        namespace: Likewise.
        environment: Likewise.
        generation: Of the ledger.
        start: The head before its first entry.
        size: Entries.
        head: After the last of them.
        last_id: Of that entry in the stream; of the one before the first while there is none.
        tree: Over them, in hex.
        begins: The index of the newest note in it with which the ledger in Redis begins, or null.
    """

    format: Literal[1] = 1
    fleet: FleetId
    namespace: str
    environment: str
    generation: Count = 1
    start: str = GENESIS
    size: Count = 0
    head: str = GENESIS
    last_id: str = ""
    tree: list[str] = []
    begins: Count | None = None

    @property
    def range(self) -> CompactRange:
        """The tree over its entries.

        Raises:
            RecordError: It has not as many hashes as the size takes.
        """
        return CompactRange.decoded(self.size, self.tree)


def read_file(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        ConfigError: It cannot be read.
        ArchiveChangedError: It is not there.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise changed(path, "it is missing") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="may this user read it?") from error


def replace(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, and return once it is on disk and was read back.

    Raises:
        ConfigError: It is not; what was there before is there still.
    """
    begun = path.with_name(path.name + ".tmp")
    new = [each for each in path.parents if not each.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with begun.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # so: from the disk
            if begun.read_bytes() != data:
                raise ConfigError(f"{path}: the disk does not give back what was written to it")
            begun.replace(path)
        finally:
            begun.unlink(missing_ok=True)
        for folder in (path.parent, *(each.parent for each in new)):
            _sync(folder)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}", hint=MORE_ROOM) from error


def _sync(folder: Path) -> None:
    """Let a new name in a folder survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def locked(folder: Path) -> int:
    """Take the lock of an archive, which is made when missing; return the descriptor that holds it.

    Raises:
        RefusedError: Another process has it.
        ConfigError: It cannot be taken here.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"{folder}: {error.strerror}", hint="may this user write there?"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise RefusedError(
            f"{folder}: another command writes this archive",
            hint="run it again when that has ended",
        ) from None
    return handle


def require_empty(folder: Path) -> None:
    """Refuse to begin an archive among other files.

    Raises:
        RefusedError: There are some.
    """
    others = sorted(each.name for each in folder.iterdir() if each.name != LOCK)
    if others and others != [f"{STATE}.tmp"]:
        raise RefusedError(
            f"{folder} is no archive, and not empty: {others[0]} is in it", hint="name a new folder"
        )


def encoded(held: Reach) -> bytes:
    """Return how far an archive reaches as a file: a line of JSON, and its digest."""
    line = msgspec.json.encode(held)
    return line + b"\n" + hashlib.sha256(line).hexdigest().encode() + b"\n"


def read_reach(path: Path) -> Reach:
    """Return what such a file says.

    Raises:
        ConfigError: There is none.
        ArchiveChangedError: It is not what was written.
    """
    if not path.exists():
        raise ConfigError(
            f"{path.parent} is no archive: there is no {path.name}",
            hint="`golive audit archive DIR` makes one",
        )
    line, _, digest = read_file(path).partition(b"\n")
    if digest != hashlib.sha256(line).hexdigest().encode() + b"\n":
        raise changed(path, "it is not what was written")
    try:
        found = msgspec.json.decode(line, type=Reach, strict=True)
        _ = found.range
    except (msgspec.MsgspecError, UnicodeDecodeError, RecordError) as error:
        raise changed(path, f"this version cannot read it: {error}") from None
    return found


def changed(path: Path, why: str) -> ArchiveChangedError:
    """Return what to say of a file that is not what was written."""
    return ArchiveChangedError(
        f"{path} was changed: {why}",
        hint="take it from another copy of the archive, and find out who writes here",
    )


# -- places ------------------------------------------------------------------------------------------


def places_path(tile: Tile) -> str:
    """Return where the ids of a bundle are."""
    return tile.entries_path.replace("tile/entries/", "places/", 1)


def places(head: str, envelopes: Sequence[bytes], ids: Sequence[str]) -> bytes:
    """Return the ids of a bundle as a file: the head before it, an id a line, and a digest of all."""
    lines = "\n".join((_PLACES, head, *ids)) + "\n"
    return lines.encode() + _places_digest(lines, envelopes) + b"\n"


def parse_places(raw: bytes, envelopes: Sequence[bytes]) -> tuple[str, list[str]]:
    """Return the head before a bundle, and the ids of its entries.

    Raises:
        RecordError: It is not what was written for these entries.
    """
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        raise RecordError("it is no text") from None
    lines, _, digest = text.removesuffix("\n").rpartition("\n")
    lines += "\n"
    if digest.encode() != _places_digest(lines, envelopes) or not text.endswith("\n"):
        raise RecordError("it is not what was written")
    first, head, *ids = lines.removesuffix("\n").split("\n")
    if first != _PLACES or len(ids) != len(envelopes) or not all(map(_ID.fullmatch, ids)):
        raise RecordError("it does not say where the entries of its bundle were")
    return head, ids


def _places_digest(lines: str, envelopes: Sequence[bytes]) -> bytes:
    leaves = b"".join(map(leaf, envelopes))
    return hashlib.sha256(lines.encode() + leaves).hexdigest().encode()


_NAME = re.compile(
    r"(?:tile/(?P<level>[0-7]|entries)|places)/(?P<name>(?:x[0-9]{3}/){0,6}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


def named(path: str) -> tuple[str, Tile] | None:
    """Return what a file of an archive is for: `tile`, `entries` or `places`; None for no such file."""
    found = _NAME.fullmatch(path)
    if found is None:
        return None
    index = int(found["name"].replace("/", "").replace("x", ""))
    width = int(found["width"] or WIDTH)
    level = found["level"]
    kind = "places" if level is None else "entries" if level == "entries" else "tile"
    tile = Tile(int(level) if kind == "tile" else 0, index, width)
    made = {"tile": tile.path, "entries": tile.entries_path, "places": places_path(tile)}[kind]
    return (kind, tile) if made == path and width <= WIDTH else None
