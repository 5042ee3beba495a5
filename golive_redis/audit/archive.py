"""The archive: a ledger in a folder of files that never change, as C2SP tlog-tiles lays them out.

    checkpoint            the newest checkpoint of it that was seen
    tile/<level>/<n>      hashes of the tree; tile/entries/<n> the envelopes, 256 in each
    places/<n>            what tlog-tiles has no place for: the ids in the stream, and the head before
    keysets/, receipts/   what is needed to judge it, and what was answered to each directive
    archive.json          whose ledger it is, and how far it reaches; written last

A file gets its name when it is on disk, whole, and was read back. `archive.json` comes last of all. So
whoever is killed leaves an archive that reaches as far as it says, and perhaps files beyond, which the
next run has to write with the same bytes. Nothing is ever removed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from golive_redis.audit.layout import (
    CHECKPOINT,
    STATE,
    changed,
    named,
    parse_places,
    places,
    places_path,
    read_file,
    read_reach,
)
from golive_redis.errors import RecordError, RefusedError
from golive_redis.records.ledger import Entry, extend
from golive_redis.records.merkle import EMPTY, CompactRange, leaf
from golive_redis.records.tiles import (
    WIDTH,
    Tile,
    bundle,
    join,
    split,
    top,
    tree,
    unbundle,
)
from golive_redis.records.trust import Trust


class Archive:
    """An archive on disk, to be read.

    Args:
        folder: Which.

    Raises:
        ConfigError: There is none, or it cannot be read.
        ArchiveChangedError: What says how far it reaches was changed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reach = read_reach(folder / STATE)
        self._checked: dict[Tile, tuple[bytes, ...]] = {}

    def require_of(self, trust: Trust) -> None:
        """Refuse the archive of another ledger.

        Raises:
            RefusedError: It is.
        """
        held = self.reach
        theirs = held.fleet, held.namespace, held.environment
        if theirs != (trust.keyset.fleet, trust.namespace, trust.environment):
            raise RefusedError(
                f"{self.folder} is the archive of another ledger: {held.environment} "
                f"({held.namespace}), fleet {held.fleet[:8]}...",
                hint="name another folder, or the configuration that it belongs to",
            )

    def entries(self, start: int = 0) -> Iterator[list[Entry]]:
        """Yield its entries, a bundle at a time, each held against the tree.

        Args:
            start: Where to begin.

        Raises:
            ArchiveChangedError: With the name of the file.
            ConfigError: One cannot be read.
        """
        for index in range(start // WIDTH, -(-self.reach.size // WIDTH)):
            page = self._bundle(index)
            yield page[start - index * WIDTH :] if index == start // WIDTH else page

    def head_at(self, count: int) -> str:
        """Return the head after so many entries.

        Raises:
            ArchiveChangedError: As `entries`.
        """
        if count == 0:
            return self.reach.start
        return self._bundle((count - 1) // WIDTH)[(count - 1) % WIDTH].head

    def tree_at(self, size: int) -> CompactRange:
        """Return the tree over its first entries.

        Raises:
            RecordError: It has not as many.
            ArchiveChangedError: As `entries`.
        """
        if size > self.reach.size:
            raise RecordError(f"the archive has {self.reach.size} entries, and not {size}")
        return tree(size, self.hashes)

    def hashes(self, tile: Tile) -> tuple[bytes, ...]:
        """Return the hashes of a tile of it, or of one that it had when it was shorter.

        Raises:
            ArchiveChangedError: Its file is not what the tiles above it say.
        """
        count = self.reach.size >> 8 * tile.level
        width = min(WIDTH, count - tile.index * WIDTH)
        if width < tile.width:
            raise RecordError(f"there is no {tile.path} in an archive of {self.reach.size} entries")
        known = Tile(tile.level, tile.index, width)
        if known not in self._checked:
            if len(self._checked) > 64 * WIDTH:  # of 64 million entries; they can be read again
                self._checked.clear()
            self._checked[known] = self._verified(known)
        return self._checked[known][: tile.width]

    def checkpoint(self) -> bytes | None:
        """Return the newest checkpoint that was archived, which is not verified; None for none."""
        path = self.folder / CHECKPOINT
        return read_file(path) if path.exists() else None

    def check(self) -> None:
        """Read every file of the log back, also those from when it was shorter.

        Raises:
            ArchiveChangedError: The first that is not what was written, or that does not belong there.
        """
        for place in ("tile", "places"):
            root = self.folder / place
            for folder, _, names in sorted(os.walk(root)):
                for name in sorted(names):
                    if not name.endswith(".tmp"):  # of a run that was killed
                        self._check_file(Path(folder, name))

    def _check_file(self, path: Path) -> None:
        found = named(path.relative_to(self.folder).as_posix())
        if found is None:
            raise changed(path, "it is no file of an archive")
        kind, tile = found
        if tile.level and (tile.index * WIDTH + tile.width) > self.reach.size >> 8 * tile.level:
            return  # of a run that was killed before it said so
        if not tile.level and tile.index * WIDTH + tile.width > self.reach.size:
            return
        if kind == "tile":
            if read_file(path) != join(self.hashes(tile)):
                raise changed(path, "it is not what the tree says")
            return
        page = self._bundle(tile.index)[: tile.width]
        envelopes = [entry.envelope for entry in page]
        if kind == "entries" and read_file(path) != bundle(envelopes):
            raise changed(path, "it is not what the tree says")
        if kind == "places":
            before = self.head_at(tile.index * WIDTH)
            ids = [entry.id for entry in page]
            if read_file(path) != places(before, envelopes, ids):
                raise changed(path, "it is not what was written")

    def _verified(self, tile: Tile) -> tuple[bytes, ...]:
        path = self.folder / tile.path
        try:
            found = split(read_file(path), tile.width)
        except RecordError as error:
            raise changed(path, error.message) from None
        if tile.width == WIDTH:
            above = self.hashes(Tile(tile.level + 1, tile.index // WIDTH, tile.index % WIDTH + 1))
            good = top(found) == above[-1]
        else:
            low = tile.index * WIDTH << 8 * tile.level
            spans = zip(self.reach.range.spans(), self.reach.range.nodes, strict=True)
            high = low + (tile.width << 8 * tile.level)
            nodes = tuple(each for span, each in spans if low <= span.start and span.end <= high)
            good = EMPTY.extend(found).nodes == nodes
        if not good:
            raise changed(path, "it is not what the tree says")
        return found

    def _bundle(self, index: int) -> list[Entry]:
        """Return the entries of a bundle."""
        tile = Tile(0, index, min(WIDTH, self.reach.size - index * WIDTH))
        path = self.folder / tile.entries_path
        try:
            envelopes = unbundle(read_file(path), tile.width)
        except RecordError as error:
            raise changed(path, error.message) from None
        if tuple(map(leaf, envelopes)) != self.hashes(tile):
            raise changed(path, "it is not what the tree says")
        placed = self.folder / places_path(tile)
        try:
            head, ids = parse_places(read_file(placed), envelopes)
        except RecordError as error:
            raise changed(placed, error.message) from None
        page = []
        for envelope, name in zip(envelopes, ids, strict=True):
            head = extend(head, envelope)
            page.append(Entry(envelope, head, name))
        if index * WIDTH + tile.width == self.reach.size and head != self.reach.head:
            raise changed(placed, "the entries do not lead to the head of the archive")
        return page
