"""The checkpoints that this host has seen: each host with a state folder is a small witness.

It asks nobody and costs nothing. A log that shows this host another history than it has shown before, or
one that is shorter, is found out here, whoever owns Redis and whoever's key was stolen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from golive_redis import clock
from golive_redis.audit.checkpoints import Held, LogReader
from golive_redis.audit.memory import held as held_file
from golive_redis.audit.memory import stem_of
from golive_redis.errors import RecordError
from golive_redis.records.record import Count, Ms, Strict, decodable
from golive_redis.records.trust import Trust

KEPT = 64
_Size = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,19}\Z")]
_Root = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class ForkedLogError(RecordError):
    """Two checkpoints of one size differ: the log's key has signed two histories.

    Attributes:
        size: Of both.
    """

    def __init__(self, size: int, message: str) -> None:
        super().__init__(message, hint="golive audit verify")
        self.size = size


@decodable
class SeenCheckpoints(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is in the file.

    Attributes:
        fleet: Whose log it is.
        namespace: Likewise.
        environment: Likewise.
        newest: The largest checkpoint that was seen: the note.
        witnessed: The largest that enough witnesses had cosigned; "" for none.
        size: Of the newest.
        roots: By size, the roots of the last that were seen, in hex.
        at_ms: When the newest came, Unix ms of this host.
    """

    fleet: str
    namespace: str
    environment: str
    newest: str
    witnessed: str = ""
    size: Count
    roots: dict[_Size, _Root]
    at_ms: Ms


class CheckpointMemory:
    """The checkpoints that one host has seen of one switch's ledger; None remembers nothing.

    Args:
        folder: The state folder.
        trust: Which switch.
        generation: Of the ledger: each is a log of its own.
    """

    def __init__(self, folder: Path | None, trust: Trust, generation: int = 1) -> None:
        self._folder = folder
        self._trust = trust
        self._stem = f"{stem_of(trust)}-checkpoints" + (f"-{generation}" if generation > 1 else "")

    def read(self) -> SeenCheckpoints | None:
        """Return what was seen; None for nothing.

        Raises:
            StateFileError: The file cannot be read, or others may write it. An unreadable memory is not
                an absent one.
        """
        if self._folder is None or not self._folder.is_dir():
            return None
        file = held_file(self._folder, self._stem)
        try:
            found = file.read_all(SeenCheckpoints)
        finally:
            file.release()
        trust = self._trust
        whose = trust.keyset.fleet, trust.namespace, trust.environment
        fitting = [
            each for each in found if (each.fleet, each.namespace, each.environment) == whose
        ]
        return fitting[0] if fitting else None

    def compare(self, held: Held) -> SeenCheckpoints | None:
        """Hold a checkpoint against what is remembered, and return that.

        Raises:
            ForkedLogError: This host has seen another of that size.
            StateFileError: It cannot be read.
        """
        known = self.read()
        root = held.root.hex()
        if known is not None and known.roots.get(str(held.size), root) != root:
            raise ForkedLogError(
                held.size,
                f"{held.name} is another than the one of {held.size:,} entries that this host has "
                "seen: the log is forked",
            )
        return known

    def see(self, held: Held) -> SeenCheckpoints | None:
        """Remember a checkpoint, and return what was remembered before.

        What is remembered counts for good. So only what the ledger was held against, or what witnesses
        have cosigned: else one stolen key of a heartbeat makes this host refuse every ledger.

        Raises:
            ForkedLogError: This host has seen another of that size. What it has seen stays.
            StateFileError: It cannot be read or written.
        """
        known = self.compare(held)
        if self._folder is not None:
            self._keep(known, held)
        return known

    def _keep(self, known: SeenCheckpoints | None, held: Held) -> None:
        assert self._folder is not None  # noqa: S101  (asked by the caller)
        roots = dict(known.roots) if known is not None else {}
        note = held.note.decode()
        news = str(held.size) not in roots
        if known is not None and not news and not (held.witnessed and known.witnessed != note):
            return
        roots[str(held.size)] = held.root.hex()
        for size in sorted(roots, key=int)[:-KEPT]:
            del roots[size]
        larger = known is None or held.size >= known.size
        trust = self._trust
        file = held_file(self._folder, self._stem)
        try:
            file.write(
                SeenCheckpoints(
                    fleet=trust.keyset.fleet,
                    namespace=trust.namespace,
                    environment=trust.environment,
                    newest=note if larger or known is None else known.newest,
                    witnessed=note
                    if held.witnessed and larger
                    else known.witnessed
                    if known is not None
                    else "",
                    size=held.size if larger or known is None else known.size,
                    roots=roots,
                    at_ms=clock.wall_ms(),
                )
            )
        finally:
            file.release()


def notes(seen: SeenCheckpoints | None, reader: LogReader) -> list[Held]:
    """Return the checkpoints that were seen, as far as the policy of today knows their signers.

    A log whose keys were rotated has signed them with keys that are not trusted any more; their roots
    count all the same.
    """
    found = []
    for note in (seen.newest, seen.witnessed) if seen is not None else ():
        try:
            found.append(reader.read(note.encode(), seen=True))
        except RecordError:
            continue
    return found


def roots_of(seen: SeenCheckpoints | None) -> dict[int, bytes]:
    """Return the roots that were seen, by size."""
    if seen is None:
        return {}
    return {int(size): bytes.fromhex(root) for size, root in seen.roots.items()}
