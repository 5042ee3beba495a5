"""What a guard remembers over a restart, and how it claims the file."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Any

from golive_redis.core.answer import Latch
from golive_redis.records.record import Strict, decodable
from golive_redis.statefile import MAX_SLOTS, StateFile, StateFileError


@decodable
class WorkerState(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a guard remembers: its latch, and the revocation behind it, from which numbering goes on."""

    latch: Latch = Latch()
    revocation: str | None = None


def claim(folder: Path | None, worker: str) -> tuple[StateFile | None, Any, StateFileError | None]:
    """Claim and read the state file; a problem is returned, for the guard must still answer stops."""
    if folder is None:
        return None, None, None
    file = None
    try:
        file = StateFile(folder, f"worker-{worker}", slots=MAX_SLOTS)
        states = file.read_all(WorkerState)
        newest = max(states, key=lambda state: state.latch.epoch, default=WorkerState())
        latch = reduce(Latch.joined, (state.latch for state in states), Latch())
        # Written once at the start: a disk that cannot keep a stop is found out before trading.
        file.write(WorkerState(latch=latch, revocation=newest.revocation))
    except StateFileError as error:
        return file, None, error
    return file, latch, None
