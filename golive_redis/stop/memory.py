"""What the operator's host remembers between commands: the newest directive, and who was there.

After FLUSHALL, or when Redis is down, this is where the next epoch comes from, and whom a stop has to
wait for.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from golive_redis.core.barrier import Pod, Roster
from golive_redis.errors import ConfigError
from golive_redis.records.record import Strict, decodable
from golive_redis.statefile import StateFile, StateFileError

SLOTS = 8  # several commands at once: each takes a slot, and all slots are read


class Lack(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """That a store knows less than this host: a directive that it has not.

    Attributes:
        store: URL of the store, without a password.
        kind: What it lacks: `grant`, `stop` or `restriction`.
        epoch: Of that.
        signers: Who has signed it.
    """

    store: str
    kind: str
    epoch: int
    signers: list[str]

    def in_words(self) -> str:
        """Say what is lacking, and what that may mean."""
        return (
            f"{self.store} does not know the {self.kind} of epoch {self.epoch} by "
            f"{', '.join(self.signers)}, which this host has signed or seen: it is another Redis, it "
            "has lost data, or that has not reached it"
        )


@decodable
class OperatorState(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One slot.

    Attributes:
        directive: Envelope of the newest directive this host has signed or seen.
        term: Term of the last activation from here; 0 when its stop was confirmed.
        activated_at_ms: When that was, Unix ms.
        not_after_ms: End of its window.
        workers: `[worker, instance]` of each pod that was on the roster then.
        heartbeats: Names that were on theirs.
        unsigned_at_ms: When a stop from here could not be signed, Unix ms; 0 when none is open.
        unconfirmed: Envelope of a revocation from here that was not confirmed, or None.
        behind: What a store lacked when it was last stopped from here, until a stop is COMPLETE or a
            term begins: since then it knows the number of that stop, and no more.
    """

    saved_at_ms: int = 0
    directive: str | None = None
    term: int = 0
    activated_at_ms: int = 0
    not_after_ms: int = 0
    workers: list[tuple[str, str]] = []
    heartbeats: list[str] = []
    unsigned_at_ms: int = 0
    unconfirmed: str | None = None
    behind: Lack | None = None

    def roster(self) -> Roster:
        """Return who was there at the activation."""
        pods = frozenset(Pod(worker, instance) for worker, instance in self.workers)
        return Roster(frozenset(self.heartbeats), pods)


class Memory:
    """The operator's state files in a folder; without a folder it remembers nothing.

    Raises:
        ConfigError: They cannot be read or written.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file: StateFile | None = None
        self.states: list[OperatorState] = [OperatorState()]
        if folder is None:
            return
        try:
            self._file = StateFile(folder, "operator", slots=SLOTS)
            self.states = self._file.read_all(OperatorState) or [OperatorState()]
        except StateFileError as error:
            self.close()
            raise ConfigError(error.message, hint=error.hint) from error

    @property
    def newest(self) -> OperatorState:
        """The slot that was written last."""
        return max(self.states, key=lambda state: state.saved_at_ms)

    def directives(self) -> list[bytes]:
        """Return the envelopes that any slot remembers."""
        raws = [raw for s in self.states for raw in (s.directive, s.unconfirmed) if raw is not None]
        return [raw.encode() for raw in raws]

    def save(self, wall_ms: int, **changes: object) -> None:
        """Write the newest state with these changes into this command's slot."""
        state = msgspec.structs.replace(self.newest, saved_at_ms=wall_ms, **changes)
        self.states.append(state)
        if self._file is None:
            return
        try:
            self._file.write(state)
        except StateFileError as error:
            raise ConfigError(error.message, hint=error.hint) from error

    def close(self) -> None:
        """Give the slot back."""
        if self._file is not None:
            self._file.release()
