"""What this host remembers of the ledger: how far it has judged it, and what came of that.

So each host with a state folder is a small witness: a ledger that is shorter than it was, or another,
is found out here, whoever owns Redis. And what was judged once is not judged again.
"""

from __future__ import annotations

from pathlib import Path

from golive_redis import clock
from golive_redis.audit.checkpoints import TreeState
from golive_redis.audit.counting import Counts
from golive_redis.audit.history import Carry, seen_digest
from golive_redis.errors import RecordError
from golive_redis.records.merkle import CompactRange
from golive_redis.records.record import Ms, Strict, decodable
from golive_redis.records.trust import Trust
from golive_redis.statefile import StateFile, StateFileError, write_durably

TRIES = 20
PAUSE_MS = 50.0
SEEN_BYTES = 8  # of each entry
NOT_READABLE = "not a state file"
START_ANEW = (
    "move the `ledger-` files of this switch out of the state folder and run `golive audit verify "
    "--head HEAD` with a head that was kept elsewhere"
)


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
        tree: The tree over all but the last entries, in hex; None where golive 0.1 has written this.
        tail: The leaf hashes of those, in hex.
    """

    fleet: str
    namespace: str
    environment: str
    carry: Carry
    seen: str
    counts: Counts
    at_ms: Ms
    tree: list[str] | None = None
    tail: list[str] = []

    def state(self) -> TreeState | None:
        """Return the tree to go on from; None where it is not known.

        Raises:
            StateFileError: It is not the one of so many entries.
        """
        if self.tree is None:
            return None
        try:
            before = CompactRange.decoded(self.carry.count - len(self.tail), self.tree)
            return TreeState(before, tuple(map(bytes.fromhex, self.tail)))
        except (RecordError, ValueError) as error:
            raise StateFileError(
                "the tree that this host remembers of the ledger is none", hint=START_ANEW
            ) from error


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
        self._stem = stem_of(trust)

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
            known = self._known(file)
            if known is None:
                return None
            # A longer one is of a command that was killed before it wrote the other file.
            seen = self._beside(file, SEEN_BYTES * (known.carry.count - known.carry.first))
        finally:
            file.release()
        if seen_digest(seen) != known.seen:
            raise StateFileError(
                f"{self._beside_path(file)} is not what belongs to {file.path}",
                hint=f"find out who changed them; then {START_ANEW}",
            )
        return known, seen

    def keep(self, carry: Carry, seen: bytes, counts: Counts, tree: TreeState) -> None:
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
            tree=list(tree.before.encoded()),
            tail=[each.hex() for each in tree.tail],
        )
        file = self._held()
        try:
            held = self._known(file)
            if held is not None and _reach(held.carry) > _reach(carry):
                return
            # The larger one first: it begins with what belongs to the other that is there already.
            try:
                write_durably(self._beside_path(file), seen)
            except OSError as error:
                raise StateFileError(
                    f"{self._beside_path(file)}: {error.strerror}",
                    hint="is there room, and may this user write there?",
                ) from error
            file.write(value)
        finally:
            file.release()

    def _known(self, file: StateFile) -> Remembered | None:
        """Return what the file says.

        Raises:
            StateFileError: It cannot be read, or is about another ledger.
        """
        try:
            found = file.read_all(Remembered)
        except StateFileError as error:
            hint = START_ANEW if NOT_READABLE in error.message else error.hint
            raise StateFileError(error.message, hint=hint) from error
        if not found:
            return None
        trust = self._trust
        theirs = found[0].fleet, found[0].namespace, found[0].environment
        if theirs != (trust.keyset.fleet, trust.namespace, trust.environment):
            raise StateFileError(
                f"{file.path} is about another ledger: {theirs[2]} ({theirs[1]}), "
                f"fleet {theirs[0][:8]}...",
                hint=f"find out how it came there; then {START_ANEW}",
            )
        return found[0]

    def _beside(self, file: StateFile, length: int) -> bytes:
        try:
            with self._beside_path(file).open("rb") as seen:
                return seen.read(length)
        except OSError:
            return b""  # so its digest will not fit

    def _beside_path(self, file: StateFile) -> Path:
        return file.folder / f"{self._stem}.seen"

    def _held(self) -> StateFile:
        assert self._folder is not None  # noqa: S101  (asked by the callers)
        return held(self._folder, self._stem)


def _reach(carry: Carry) -> tuple[int, int]:
    return carry.generation, carry.count


def stem_of(trust: Trust) -> str:
    """Return how the files of one switch begin.

    Switches may share a folder; a name has no @, and a new fleet begins a memory of its own.
    """
    name = f"{trust.namespace.strip('{}')}@{trust.environment}"
    return f"ledger-{name}-{trust.keyset.fleet[:8]}"


def held(folder: Path, stem: str) -> StateFile:
    """Return a state file that several commands use for an instant each.

    Raises:
        StateFileError: Somebody holds it all the time, or the folder cannot be used.
    """
    for left in range(TRIES, 0, -1):
        try:
            return StateFile(folder, stem)
        except StateFileError:
            if left == 1:
                raise
            clock.pause_ms(PAUSE_MS)
    raise AssertionError
