"""What a heartbeat remembers of the ledger over a restart: what it has signed or seen signed."""

from __future__ import annotations

from pathlib import Path

from golive_redis.core.follower import Mark, kept
from golive_redis.records.record import Count, Strict, decodable
from golive_redis.statefile import StateFile, StateFileError


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
        problem: Why the file cannot be used; "" when it can. Then nothing may be signed.
    """

    def __init__(self, folder: Path | None, name: str, origin: str, fleet: str) -> None:
        self._file: StateFile | None = None
        self._state = LogState(origin=origin, fleet=fleet)
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
        """The marks, the largest last."""
        return self._state.marks

    @property
    def newest(self) -> Mark:
        """The largest mark; the beginning of the ledger where there is none."""
        return self._state.marks[-1] if self._state.marks else Mark()

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
