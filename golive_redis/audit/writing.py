"""Writing an archive: bundle by bundle, each file on disk and read back before the next says so."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import msgspec

from golive_redis.audit.archive import Archive
from golive_redis.audit.layout import (
    CHECKPOINT,
    STATE,
    Reach,
    changed,
    encoded,
    locked,
    places,
    places_path,
    read_file,
    replace,
    require_empty,
)
from golive_redis.errors import RefusedError
from golive_redis.records.ledger import GENESIS, Entry
from golive_redis.records.merkle import CompactRange, leaf
from golive_redis.records.tiles import WIDTH, Tile, bundle, join, last_tiles, top
from golive_redis.records.trust import Trust


class Writer(Archive):
    """An archive that is written; one process at a time. Use as a context manager.

    Args:
        folder: Made when missing.
        trust: Whose ledger it is for.
        generation: Of the ledger.
        start: The head before its first entry, for a new archive of a ledger that was begun anew.
        last_id: The id in the stream before it, likewise.

    Raises:
        RefusedError: Another process writes it, or it is the archive of another ledger.
        ConfigError: It cannot be written.
        ArchiveChangedError: Its last files are not what was written.
    """

    def __init__(
        self,
        folder: Path,
        trust: Trust,
        *,
        generation: int = 1,
        start: str | None = None,
        last_id: str = "",
    ) -> None:
        self._lock = locked(folder)
        try:
            if not (folder / STATE).exists():
                require_empty(folder)
                fresh = Reach(
                    fleet=trust.keyset.fleet,
                    namespace=trust.namespace,
                    environment=trust.environment,
                    generation=generation,
                    start=start or GENESIS,
                    head=start or GENESIS,
                    last_id=last_id,
                )
                replace(folder / STATE, encoded(fresh))
            super().__init__(folder)
            self.require_of(trust)
            if self.reach.generation != generation:
                raise RefusedError(
                    f"{folder} holds generation {self.reach.generation} of the ledger, and this is "
                    f"generation {generation}",
                    hint="each has an archive of its own: name another folder",
                )
            self._range = self.reach.range
            self._edge = {
                tile.level: list(self.hashes(tile)) for tile in last_tiles(self._range.size)
            }
            rest = self._range.size % WIDTH
            self._tail = self._bundle(self._range.size // WIDTH) if rest else []
            self._tail_head = self.head_at(self._range.size - rest)
        except BaseException:
            os.close(self._lock)
            raise
        self._head, self._last_id = self.reach.head, self.reach.last_id
        self._begins = self.reach.begins

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._lock)

    @property
    def size(self) -> int:
        """How many entries it has with those that are not settled."""
        return self._range.size

    @property
    def last_id(self) -> str:
        """The id of the last of them in the stream."""
        return self._last_id

    def append(self, entries: Sequence[Entry], begins: int | None = None) -> None:
        """Take further entries; they are good for `settle` to say so.

        Args:
            entries: That follow, in their order; their heads were judged.
            begins: The index of a note among them with which the ledger in Redis begins.

        Raises:
            ArchiveChangedError: A file is there already with other bytes: of another ledger.
            ConfigError: One cannot be written.
        """
        for entry in entries:
            self._tail.append(entry)
            self._range = self._range.append(leaf(entry.envelope))
            self._head, self._last_id = entry.head, entry.id
            if len(self._tail) == WIDTH:
                self._write_bundle(WIDTH)
                self._raise(0, [leaf(each.envelope) for each in self._tail])
                self._tail_head, self._tail = entry.head, []
        self._begins = self._begins if begins is None else begins

    def settle(self) -> CompactRange:
        """Write what is not full, read the tree back, and say how far the archive reaches.

        Returns:
            The tree over all that it holds, as its files have it.

        Raises:
            ArchiveChangedError: The files have another tree than was put into them.
            ConfigError: One cannot be written.
        """
        if self._tail:
            self._write_bundle(len(self._tail))
            self._edge[0] = [leaf(each.envelope) for each in self._tail]
        for tile in last_tiles(self._range.size):
            self._put(tile.path, join(self._edge[tile.level][: tile.width]))
        held = msgspec.structs.replace(
            self.reach,
            size=self._range.size,
            head=self._head,
            last_id=self._last_id,
            tree=list(self._range.encoded()),
            begins=self._begins,
        )
        before, self.reach = self.reach, held
        self._checked.clear()
        try:
            back = self.tree_at(held.size)
        except BaseException:
            self.reach = before
            raise
        if held != before:
            replace(self.folder / STATE, encoded(held))
        return back

    def keep_checkpoint(self, raw: bytes, size: int) -> None:
        """Keep a checkpoint, with the partial tiles that a client asks for at its size.

        Raises:
            ConfigError: One cannot be written.
        """
        for tile in last_tiles(size):
            self._put(tile.path, join(self.hashes(tile)))
            if tile.level == 0:
                page = self._bundle(tile.index)[: tile.width]
                self._put(tile.entries_path, bundle([entry.envelope for entry in page]))
        if self.checkpoint() != raw:
            replace(self.folder / CHECKPOINT, raw)

    def keep(self, name: str, data: bytes) -> None:
        """Keep a file beside the log, in place of an earlier one.

        Raises:
            ConfigError: It cannot be written.
        """
        path = self.folder / name
        if not path.exists() or read_file(path) != data:
            replace(path, data)

    def _write_bundle(self, width: int) -> None:
        index = (self._range.size - width) // WIDTH
        tile = Tile(0, index, width)
        envelopes = [entry.envelope for entry in self._tail]
        self._put(tile.entries_path, bundle(envelopes))
        ids = [entry.id for entry in self._tail]
        self._put(places_path(tile), places(self._tail_head, envelopes, ids))

    def _raise(self, level: int, hashes: list[bytes]) -> None:
        """Write a full tile, and its hash into the one above."""
        index = (self._range.size >> 8 * (level + 1)) - 1
        self._put(Tile(level, index).path, join(hashes))
        self._edge[level] = []
        above = self._edge.setdefault(level + 1, [])
        above.append(top(hashes))
        if len(above) == WIDTH:
            self._raise(level + 1, above)

    def _put(self, name: str, data: bytes) -> None:
        """Write a file that never changes."""
        path = self.folder / name
        if not path.exists():
            replace(path, data)
        elif read_file(path) != data:
            raise changed(
                path, "the ledger has something else there: the file was changed, or the ledger"
            )
