"""What a heartbeat remembers of the ledger over a restart: what it has signed or seen signed."""

from __future__ import annotations

from pathlib import Path

from golive_redis.core.follower import InconsistentLogError, Mark, kept, nearest
from golive_redis.records.record import Count, Strict, decodable
from golive_redis.statefile import StateFile, StateFileError

ANEW = "move the `checkpoints-` file of this heartbeat out of the state folder, and start it again"


@decodable
class LogState(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is in the file.

    Attributes:
        origin: Of the log. Another origin is another log, of which nothing is known.
        fleet: Whose log it is.
        marks: The ledger at the sizes that were signed or seen signed, the largest last; while a long
            one is read for the first time, where that has come to.
        witnesses: By verifier key, the size that the witness has cosigned last.
    """

    origin: str
    fleet: str
    marks: list[Mark] = []
    witnesses: dict[str, Count] = {}


class LogMemory:
    """The state file of one heartbeat's log, held until `release`; None remembers for its life.

    Args:
        folder: The state folder.
        name: Of the heartbeat.
        origin: Of the log.
        fleet: Id of the fleet.

    Attributes:
        first: The ledger before its first entry in Redis.
        problem: Why the file cannot be used; "" when it can. Then nothing may be signed.
    """

    def __init__(self, folder: Path | None, name: str, origin: str, fleet: str) -> None:
        self._file: StateFile | None = None
        self._state = LogState(origin=origin, fleet=fleet)
        self.first = Mark()
        self.problem = ""
        if folder is None:
            return
        try:
            self._file = StateFile(folder, f"checkpoints-{name}")
            found = self._file.read_all(LogState)
        except StateFileError as error:
            self.problem = error.message
            return
        if found and (found[0].origin, found[0].fleet) == (origin, fleet):
            self._state = found[0]

    @property
    def marks(self) -> list[Mark]:
        """The marks, the largest last; without those of entries that Redis has no more."""
        return [mark for mark in self._state.marks if mark.size > self.first.size]

    @property
    def newest(self) -> Mark:
        """The largest mark; the beginning of the ledger where there is none."""
        return self.marks[-1] if self.marks else self.first

    def nearest(self, size: int) -> Mark:
        """Return the last mark at or before a size; the beginning of the ledger where there is none."""
        return nearest([self.first, *self.marks], size)

    def begin(self, origin: str, first: Mark) -> None:
        """Take up where the log begins, and which log that is.

        Args:
            origin: Of the log: of a later generation of the ledger another one than is configured.
            first: The ledger before its first entry in Redis.

        Raises:
            InconsistentLogError: This heartbeat has signed something else up to there, or nothing so
                far: then nothing shows that what a note tells of continues what was signed.
            StateFileError: The file cannot be read.
        """
        self.first = first
        if origin != self._state.origin:
            found = self._file.read_all(LogState) if self._file is not None else []
            same = found and (found[0].origin, found[0].fleet) == (origin, self._state.fleet)
            self._state = found[0] if same else LogState(origin=origin, fleet=self._state.fleet)
        marks = self._state.marks
        if first.told and marks and all(mark.size < first.size for mark in marks):
            raise InconsistentLogError(
                f"the ledger begins with entry {first.size}, and what was signed for here ends at "
                f"{marks[-1].size}: nothing shows that the one continues the other",
                hint=f"golive audit verify --archive DIR; if it does, {ANEW}",
            )
        for mark in marks:
            if mark.size == first.size and mark.nodes != first.nodes:
                raise InconsistentLogError(
                    f"the ledger begins with entry {first.size}, after others than were signed for here",
                    hint="golive audit verify",
                )

    @property
    def blank(self) -> bool:
        """Nothing was signed or seen signed, of any generation."""
        return not self._state.marks

    def generation(self, origin: str) -> int:
        """Return the latest generation of a log that something was signed for; 1 for none.

        Raises:
            StateFileError: The file cannot be read.
        """
        found = self._file.read_all(LogState) if self._file is not None else []
        names = [self._state.origin, *(each.origin for each in found)]
        later = [name.removeprefix(f"{origin}/") for name in names]
        return max((int(each) for each in later if each.isdecimal()), default=1)

    def known(self, witness: str) -> int:
        """Return the size that a witness has cosigned last, by its verifier key; 0 for never."""
        return self._state.witnesses.get(witness, 0)

    def keep(self, *marks: Mark) -> None:
        """Remember marks, and return once they are on disk.

        Raises:
            StateFileError: They are not; they are not remembered then, and nothing may be signed.
        """
        state = self._state
        self._write(
            LogState(
                origin=state.origin,
                fleet=state.fleet,
                marks=kept([*state.marks, *marks], state.witnesses.values()),
                witnesses=state.witnesses,
            )
        )

    def cosigned(self, known: dict[str, int]) -> None:
        """Remember what witnesses know, where it is news.

        Args:
            known: Sizes by verifier key.

        Raises:
            StateFileError: It is not on disk.
        """
        state = self._state
        if known == state.witnesses:
            return
        self._write(
            LogState(
                origin=state.origin,
                fleet=state.fleet,
                marks=kept(state.marks, known.values()),
                witnesses=known,
            )
        )

    def _write(self, state: LogState) -> None:
        if self.problem:
            raise StateFileError(self.problem)
        if self._file is not None:
            self._file.write(state)
        self._state = state

    def release(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.release()
