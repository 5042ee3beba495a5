"""The signed keysets that this host has taken: the file in the state folder that says so.

The keyset file of the configuration stays what it is, the anchor: what was taken since is kept as the
steps that lead there, with their records, and verified again from that file on at each start. So the
state folder is trusted with one thing only, that nothing lower is used again.

Without a state folder nothing is kept. Whoever follows then takes the steps again at each start.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from golive_redis import clock
from golive_redis.config.config import stem_of
from golive_redis.errors import ConfigError, RecordError
from golive_redis.records.keyset import Keyset
from golive_redis.records.record import Epoch, FleetId, Identity, Strict, decodable
from golive_redis.records.rotation import (
    MAX_STEPS,
    Packed,
    Step,
    digest_of,
    follow,
    parse_payload,
    payload_of,
)
from golive_redis.statefile import MAX_BYTES, StateFile, StateFileError, read_alone

TRIES = 100
PAUSE_MS = 10.0


@decodable
class Taken(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a host has taken.

    Attributes:
        fleet: Whose keyset it is.
        number: Of the newest.
        digest: Of its payload.
        steps: The newest ones, the last leads to `number`.
    """

    fleet: FleetId
    number: Epoch
    digest: Identity
    steps: list[Packed]


class Succession:
    """Which keysets one host has taken, for one switch; several processes may use it at once.

    Args:
        folder: The state folder; None keeps nothing.
        base: The keyset of the configuration.
        namespace: Of the switch.
        environment: Likewise.
    """

    def __init__(self, folder: Path | None, base: Keyset, namespace: str, environment: str) -> None:
        self._folder = folder
        self._base = base
        self._names = {"namespace": namespace, "environment": environment}
        self._stem = stem_of(base.fleet, namespace, environment)

    def newest(self) -> Keyset:
        """Return the keyset to use: the newest that was taken, or that of the configuration.

        Raises:
            ConfigError: A later one was taken, and does not follow from this file: it is an older copy,
                or another history. Fails closed: nothing older is used.
            StateFileError: What was taken cannot be read.
        """
        taken = self._read()
        if taken is None or self._base.version > taken.number:
            return self._base
        if self._base.version == taken.number:
            self._require(self._base, taken)
            return self._base
        missing = taken.number - self._base.version
        steps = [item.step() for item in taken.steps[-missing:]]
        try:
            found = follow(self._base, steps, **self._names)
        except RecordError as error:
            raise ConfigError(
                f"{self._path}: keyset {taken.number} was taken on this host, and does not follow from "
                f"the keyset file, version {self._base.version}: {error.message}",
                hint="put the newest keyset file there, from another host",
            ) from error
        newest = found[-1] if found else self._base
        if newest.version != taken.number:
            raise ConfigError(
                f"{self._path}: keyset {taken.number} was taken on this host; from the keyset file, "
                f"version {self._base.version}, not all steps are kept",
                hint="put the newest keyset file there, from another host",
            )
        self._require(newest, taken)
        return newest

    def keep(self, steps: Sequence[Step]) -> None:
        """Keep further steps, on the disk before this returns: what is used may never be forgotten.

        Args:
            steps: Verified, one after the other; the first follows from what `newest` returns here, or
                is kept already.

        Raises:
            StateFileError: They are not kept.
        """
        if self._folder is None or not steps:
            return
        last = parse_payload(steps[-1].payload).version
        known = self._read()
        if known is not None and known.number >= last:  # another process was quicker
            return
        file = self._held(self._folder)
        try:
            known = self._read()
            if known is not None and known.number >= last:
                return
            first = last - len(steps) + 1
            kept = [] if known is None else known.steps
            if known is not None:
                # Those of the same number are the same; what lies before a gap leads nowhere.
                again = known.number - first + 1
                kept = kept[: max(0, len(kept) - again)] if again >= 0 else []
            packed = [
                Packed(keyset=step.payload.decode(), record=step.record.decode()) for step in steps
            ]
            file.write(
                Taken(
                    fleet=self._base.fleet,
                    number=last,
                    digest=digest_of(steps[-1].payload),
                    steps=_bounded([*kept, *packed]),
                )
            )
        finally:
            file.release()

    @property
    def _path(self) -> Path:
        return (self._folder or Path()) / f"{self._stem}.0.json"

    def _read(self) -> Taken | None:
        return None if self._folder is None else read_alone(self._path, Taken)

    def _require(self, keyset: Keyset, taken: Taken) -> None:
        if digest_of(payload_of(keyset)) != taken.digest:
            raise ConfigError(
                f"{self._path}: this host has taken another keyset {taken.number} than the one in the "
                "keyset file",
                hint="put the keyset file of another host there: golive keys list shows what each has",
            )

    def _held(self, folder: Path) -> StateFile:
        for _ in range(TRIES - 1):
            with contextlib.suppress(StateFileError):
                return StateFile(folder, self._stem)
            clock.pause_ms(PAUSE_MS)
        return StateFile(folder, self._stem)


def _bounded(steps: list[Packed]) -> list[Packed]:
    """Return the newest steps that one file holds."""
    steps, size = steps[-MAX_STEPS:], 0
    for at in range(len(steps) - 1, -1, -1):
        size += len(msgspec.json.encode(steps[at])) + 1
        if size > MAX_BYTES // 2 and at < len(steps) - 1:
            return steps[at + 1 :]
    return steps
