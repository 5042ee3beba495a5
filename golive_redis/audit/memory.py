"""What this host remembers of the ledger: how far it has judged it, and what came of that.

So each host with a state folder is a small witness: a ledger that is shorter than it was, or another,
is found out here, whoever owns Redis. And what was judged once is not judged again.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from golive_redis import clock
from golive_redis.audit.counting import Counts
from golive_redis.audit.history import Carry, seen_digest
from golive_redis.records.record import Ms, Strict, decodable
from golive_redis.records.trust import Trust
from golive_redis.statefile import StateFile, StateFileError, write_durably

TRIES = 20
PAUSE_MS = 50.0


@decodable
class Remembered(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far a ledger was judged.

    Attributes:
        fleet: Whose ledger it is.
        namespace: Likewise.
        environment: Likewise.
        carry: To go on from.
        seen: Digest of what belongs to it, in a file of its own.
        counts: What was counted on the way.
        at_ms: When, Unix ms of this host.
    """

    fleet: str
    namespace: str
    environment: str
    carry: Carry
    seen: str
    counts: Counts
    at_ms: Ms


class LedgerMemory:
    """The memory of one switch in a state folder; None remembers nothing.

    Several commands may use it at once: it is held for an instant, to read or to write.

    Args:
        folder: The state folder.
        trust: Which switch.
    """

    def __init__(self, folder: Path | None, trust: Trust) -> None:
        self._folder = folder
        self._trust = trust
        self._stem = f"ledger-{trust.namespace.strip('{}')}"

    def read(self) -> tuple[Remembered, bytes] | None:
        """Return how far this host has judged the ledger, and what it has seen; None for nothing.

        Raises:
            StateFileError: The file cannot be read, or others may write it. An unreadable memory is not
                an absent one.
        """
        if self._folder is None or not self._folder.is_dir():
            return None
        file = self._held()
        try:
            found = file.read_all(Remembered)
            mine = [item for item in found if self._is_ours(item)]
            if not mine:
                return None
            try:
                seen = self._beside(file).read_bytes()
            except OSError:
                seen = b""
        finally:
            file.release()
        if seen_digest(seen) != mine[0].seen:
            raise StateFileError(
                f"{self._beside(file)} is not what belongs to {file.path}",
                hint="look who changed it; then move both away, and run `golive audit verify`",
            )
        return mine[0], seen

    def keep(self, carry: Carry, seen: bytes, counts: Counts) -> None:
        """Remember how far the ledger was judged; what reaches further stays.

        Raises:
            StateFileError: It cannot be written.
        """
        if self._folder is None:
            return
        trust = self._trust
        value = Remembered(
            fleet=trust.keyset.fleet,
            namespace=trust.namespace,
            environment=trust.environment,
            carry=carry,
            seen=seen_digest(seen),
            counts=counts,
            at_ms=clock.wall_ms(),
        )
        file = self._held()
        try:
            with suppress(StateFileError):
                held = [item for item in file.read_all(Remembered) if self._is_ours(item)]
                if held and held[0].carry.count > carry.count:
                    return
            # The larger one first: without the other it is not believed.
            try:
                write_durably(self._beside(file), seen)
            except OSError as error:
                raise StateFileError(f"{self._beside(file)}: {error.strerror}") from error
            file.write(value)
        finally:
            file.release()

    def _is_ours(self, item: Remembered) -> bool:
        trust = self._trust
        ours = trust.keyset.fleet, trust.namespace, trust.environment
        return (item.fleet, item.namespace, item.environment) == ours

    def _beside(self, file: StateFile) -> Path:
        return file.folder / f"{self._stem}.seen"

    def _held(self) -> StateFile:
        assert self._folder is not None  # noqa: S101  (asked by the callers)
        for left in range(TRIES, 0, -1):
            try:
                return StateFile(self._folder, self._stem)
            except StateFileError:
                if left == 1:
                    raise
                clock.pause_ms(PAUSE_MS)
        raise AssertionError
