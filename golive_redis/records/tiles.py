"""Tiles: the Merkle tree of a log in files that never change, as C2SP tlog-tiles lays them out.

A tile holds 256 neighbouring hashes of one level, and a bundle the 256 entries below a tile of level 0.
The last of each level holds fewer for as long as the log is short, under a name that says how many; such
a partial one is a prefix of the full one. So a file is never written twice with other bytes, any static
server can hand it out, and a proof takes a few files of 8 KiB.

Pure: names, bytes and hashes. The folder is `golive_redis.audit.archive`.

Source: C2SP tlog-tiles v0.1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from golive_redis.errors import RecordError
from golive_redis.records.merkle import EMPTY, HASH_BYTES, MAX_SIZE, CompactRange

WIDTH = 256
"""Hashes of a full tile, and entries of a full bundle (C2SP tlog-tiles v0.1.0, Merkle tree)."""
MAX_ENTRY_BYTES = 2**16 - 1
_LENGTH_BYTES = 2
_DIGITS = 1_000


class Tile(msgspec.Struct, frozen=True):
    """The name of a tile.

    Attributes:
        level: 0 above the entries.
        index: In its level, from 0.
        width: How many hashes it holds: 256, or fewer for the last of its level.
    """

    level: int
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Of its file, below the folder of the log."""
        return f"tile/{self.level}/{_name(self.index, self.width)}"

    @property
    def entries_path(self) -> str:
        """Of the bundle with the entries below it; a tile of level 0 has one."""
        return f"tile/entries/{_name(self.index, self.width)}"


def _name(index: int, width: int) -> str:
    """Return an index as tlog-tiles writes it: `x001/x234/067`, and `.p/W` for a partial one."""
    parts, rest = [f"{index % _DIGITS:03d}"], index // _DIGITS
    while rest:
        parts.append(f"x{rest % _DIGITS:03d}")
        rest //= _DIGITS
    name = "/".join(reversed(parts))
    return name if width == WIDTH else f"{name}.p/{width}"


def last_tiles(size: int) -> tuple[Tile, ...]:
    """Return the partial tile of each level, lowest first; a level that ends with a full one has none.

    They are the right edge of a log of that size: with the full tiles to their left they are all of it.

    Raises:
        RecordError: It is no size of a log.
    """
    _require_size(size)
    found, level = [], 0
    while size >> 8 * level:
        count = size >> 8 * level
        if count % WIDTH:
            found.append(Tile(level, count // WIDTH, count % WIDTH))
        level += 1
    return tuple(found)


def join(hashes: Sequence[bytes]) -> bytes:
    """Return the bytes of a tile with these hashes.

    Raises:
        RecordError: None, more than 256, or one that is not 32 bytes.
    """
    if not 1 <= len(hashes) <= WIDTH or any(len(each) != HASH_BYTES for each in hashes):
        raise RecordError("a tile holds 1 to 256 hashes of 32 bytes")
    return b"".join(hashes)


def split(raw: bytes, width: int = WIDTH) -> tuple[bytes, ...]:
    """Return the hashes of a tile.

    Raises:
        RecordError: It holds another number of them than its name says.
    """
    if not 1 <= width <= WIDTH or len(raw) != width * HASH_BYTES:
        raise RecordError(f"a tile of {len(raw)} bytes, where {width} hashes were expected")
    return tuple(raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES))


def top(hashes: Sequence[bytes]) -> bytes:
    """Return the root over the hashes of a tile: of a full one, its hash in the level above."""
    return EMPTY.extend(hashes).root()


def tree(size: int, read: Callable[[Tile], Sequence[bytes]]) -> CompactRange:
    """Return the tree of a log from the partial tiles at its right edge.

    Args:
        size: Of the log.
        read: Returns the hashes of a tile.

    Raises:
        RecordError: From `read`, or it gives fewer hashes than the tile has.
    """
    nodes: list[bytes] = []
    for tile in reversed(last_tiles(size)):  # the largest subtrees are the highest, and on the left
        hashes = read(tile)
        if len(hashes) != tile.width:
            raise RecordError(f"{tile.path} holds {len(hashes)} hashes, and not {tile.width}")
        nodes += EMPTY.extend(hashes).nodes
    return CompactRange(size, tuple(nodes))


def bundle(entries: Sequence[bytes]) -> bytes:
    """Return the bytes of a bundle: each entry after its length in two bytes, big-endian.

    Raises:
        RecordError: None, more than 256, or one of more than 65,535 bytes.
    """
    if not 1 <= len(entries) <= WIDTH:
        raise RecordError("a bundle holds 1 to 256 entries")
    if any(len(each) > MAX_ENTRY_BYTES for each in entries):
        raise RecordError(f"an entry of more than {MAX_ENTRY_BYTES} bytes fits into no bundle")
    return b"".join(len(each).to_bytes(_LENGTH_BYTES, "big") + each for each in entries)


def unbundle(raw: bytes, width: int = WIDTH) -> list[bytes]:
    """Return the entries of a bundle.

    Raises:
        RecordError: It ends within an entry, or holds another number of them than its name says.
    """
    found, at = [], 0
    while at < len(raw):
        end = at + _LENGTH_BYTES + int.from_bytes(raw[at : at + _LENGTH_BYTES], "big")
        if end > len(raw) or at + _LENGTH_BYTES > len(raw):
            raise RecordError("a bundle that ends within an entry")
        found.append(raw[at + _LENGTH_BYTES : end])
        at = end
    if not 1 <= width <= WIDTH or len(found) != width:
        raise RecordError(f"a bundle of {len(found)} entries, where {width} were expected")
    return found


def _require_size(size: int) -> None:
    if not 0 <= size <= MAX_SIZE:
        raise RecordError(f"{size} is no size of a log")
