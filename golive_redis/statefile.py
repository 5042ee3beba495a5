"""State files: what must survive a restart, written whole or not at all.

A file is replaced by rename after fsync of file and folder, so it is never torn by a crash; a `.lock`
beside it is flock'ed, so two live processes never share one (S11).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TypeVar

import msgspec

from golive_redis.errors import GoliveError
from golive_redis.records.record import Strict

MAX_SLOTS = 64
MAX_BYTES = 8 * 1024 * 1024  # of a heartbeat that has several thousand restrictions to remember

_T = TypeVar("_T", bound=Strict)


class StateFileError(GoliveError):
    """A configured state file cannot be read or written. Fails closed: its owner does not arm."""

    reason = "state-file"


class StateFile:
    """One locked file in the state folder.

    Args:
        folder: Made when missing.
        stem: Name without slot and ending, e.g. `worker-pod-7`.
        slots: How many live owners may share the stem; the first free slot is taken.

    Raises:
        StateFileError: The folder cannot be used, or every slot is taken.
    """

    def __init__(self, folder: Path, stem: str, *, slots: int = 1) -> None:
        self.folder = folder
        self.stem = stem
        self._lock = -1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for slot in range(slots):
                if self._claim(folder / f"{stem}.{slot}.lock"):
                    self.path = folder / f"{stem}.{slot}.json"
                    return
        except OSError as error:
            raise _failed(folder, error) from error
        raise StateFileError(
            f"{folder / stem}: another live process holds it",
            hint="stop the other one, or give this one a name of its own",
        )

    def _claim(self, path: Path) -> bool:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # S11
        except BlockingIOError:
            os.close(handle)
            return False
        except OSError:
            os.close(handle)
            raise
        self._lock = handle
        return True

    def read_all(self, kind: type[_T]) -> list[_T]:
        """Return what every slot of the stem holds; a missing file holds nothing.

        A restart may be given another slot than before, so a latch in any of them counts.

        Raises:
            StateFileError: One cannot be read or parsed. An unreadable file is not an absent one.
        """
        try:
            # scandir instead of glob: glob hides the errors that must be seen (EACCES, ELOOP).
            names = sorted(entry.name for entry in os.scandir(self.folder))
        except OSError as error:
            raise _failed(self.folder, error) from error
        pattern = f"{self.stem}."
        files = [
            n
            for n in names
            if n.startswith(pattern) and n[len(pattern) :].split(".")[1:] == ["json"]
        ]
        return [_read(self.folder / name, kind) for name in files]

    def write(self, value: Strict) -> None:
        """Replace the file and return once it is on disk.

        Raises:
            StateFileError: It is not, and the old content may still be there.
        """
        try:
            write_durably(self.path, msgspec.json.encode(value))
        except OSError as error:
            raise _failed(self.path, error) from error

    def release(self) -> None:
        """Close the lock; in a forked child this leaves the parent's lock in force."""
        handle, self._lock = self._lock, -1
        if handle >= 0:
            os.close(handle)


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file by this content, whole or not at all, and return once it is on disk.

    Raises:
        OSError: It is not on disk, and the old content may still be there.
    """
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)  # S9: without it the name may be gone after a loss of power
    finally:
        os.close(handle)


def _read(path: Path, kind: type[_T]) -> _T:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        return msgspec.json.decode(raw, type=kind, strict=True)
    except OSError as error:
        raise _failed(path, error) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StateFileError(
            f"{path}: not a state file ({error})",
            hint="nothing trades until you have found out what it said; then move it away",
        ) from error


def _failed(path: Path, error: OSError) -> StateFileError:
    return StateFileError(
        f"{path}: {error.strerror or error}",
        hint="the state folder must be readable and writable; see state_dir in the configuration",
    )
