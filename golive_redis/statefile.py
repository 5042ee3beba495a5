"""State files: what must survive a restart, written whole or not at all.

A file is replaced by rename after fsync of file and folder, so it is never torn by a crash; a `.lock`
beside it is flock'ed, so two live processes never share one (S11). What the next write takes is open
already (A15): a process that has no file handle left can still keep a stop.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
import threading
import weakref
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from golive_redis.errors import GoliveError
from golive_redis.records.record import Strict

MAX_SLOTS = 64
ROOT = 0
MAX_BYTES = 8 * 1024 * 1024  # of a heartbeat that has several thousand restrictions to remember

_T = TypeVar("_T", bound=Strict)
_files: weakref.WeakSet[StateFile] = weakref.WeakSet()


class StateFileError(GoliveError):
    """A configured state file cannot be read or written. Fails closed: its owner does not arm."""

    reason = "state-file"


class StateFile:
    """One locked file in the state folder.

    Args:
        folder: Made when missing.
        stem: Name without slot and ending, e.g. `worker-pod-7`.
        slots: How many live owners may share the stem; the first free slot is taken.

    It belongs to the process that made it: a forked child can write nothing over it.

    Raises:
        StateFileError: The folder cannot be used, or every slot is taken.
    """

    def __init__(self, folder: Path, stem: str, *, slots: int = 1) -> None:
        self.folder = folder
        self.stem = stem
        self._lock = -1
        self._next: _Prepared | None = None
        self._writing = threading.Lock()
        _files.add(self)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for slot in range(slots):
                if self._claim(folder / f"{stem}.{slot}.lock"):
                    self.path = folder / f"{stem}.{slot}.json"
                    return
        except OSError as error:
            raise _failed(folder, error) from error
        if slots > 1:
            raise StateFileError(
                f"{folder / stem}: {slots} live processes share it, and more cannot",
                hint="end one of them, or give this one a name of its own",
            )
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
            StateFileError: One cannot be read or parsed, or others may write it. An unreadable file is
                not an absent one.
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
            StateFileError: It is not, and the old content may still be there. Or another process may
                hold the file by now: this one has let go of it, or was forked since.
        """
        data = msgspec.json.encode(value)
        with self._writing:
            if self._lock < 0:  # S11
                raise StateFileError(f"{self.path}: this process does not hold it any more")
            prepared, self._next = self._next, None
            try:
                if prepared is None or not prepared.write(data):
                    write_durably(self.path, data)
            except OSError as error:
                raise _failed(self.path, error) from error
            finally:
                with suppress(OSError):
                    self._next = _Prepared.for_file(self.path)

    def prepare(self) -> StateFileError | None:
        """Open what the next write takes, if it is not open; return why that does not work now.

        Who trades or beats asks first (A15): what somebody else of this process has taken since the last
        write, no later one would have. Never waits: a write that is under way is such a reason, too.
        """
        if not self._writing.acquire(blocking=False):
            return StateFileError(f"{self.path}: a write is under way")
        if self._next is not None or self._lock < 0:
            self._writing.release()
            return None
        try:
            self._next = _Prepared.for_file(self.path)
        except OSError as error:
            return _failed(self.path, error)
        finally:
            self._writing.release()
        return None

    def release(self) -> None:
        """Close what is open, and take what was prepared away."""
        if self._next is not None:
            self._next.remove()
        self._let_go()

    def abandon(self) -> None:
        """In a forked child: close what is the parent's; its lock and what it prepared stay."""
        self._writing = threading.Lock()  # the parent's may be locked for ever in here
        self._let_go()

    def _let_go(self) -> None:
        handle, self._lock = self._lock, -1
        prepared, self._next = self._next, None
        if prepared is not None:
            prepared.close()
        if handle >= 0:
            os.close(handle)


class _Prepared:
    """What the next write of a file takes, open before it is needed.

    Args:
        path: The file.
        file: A descriptor of the temporary file beside it.
        folder: One of its folder.
    """

    def __init__(self, path: Path, file: int, folder: int) -> None:
        self._path = path
        self._file = file
        self._folder = folder

    @classmethod
    def for_file(cls, path: Path) -> _Prepared:
        """Open both.

        Raises:
            OSError: One of them cannot be opened now. The next write then tries by itself.
        """
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            return cls(path, _open_private(str(_temporary(path)), flags), folder)
        except OSError:
            os.close(folder)
            raise

    def write(self, data: bytes) -> bool:
        """Replace the file and return once it is on disk; False when that has to be done otherwise."""
        temporary = _temporary(self._path)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
            # Somebody may have moved the folder or cleaned it up: then a write ends nowhere.
            if not _is(temporary, self._file) or not _is(self._path.parent, self._folder):
                return False
            temporary.replace(self._path)
            os.fsync(self._folder)  # S9: without it the name may be gone after a loss of power
        except OSError:
            return False
        finally:
            self.close()
        return True

    def remove(self) -> None:
        """Take the temporary file away, unless it is somebody else's by now."""
        with suppress(OSError):
            if _is(_temporary(self._path), self._file):
                _temporary(self._path).unlink()

    def close(self) -> None:
        """Close both descriptors."""
        os.close(self._file)
        os.close(self._folder)


def _temporary(path: Path) -> Path:
    return path.with_suffix(".tmp")


def _is(path: Path, handle: int) -> bool:
    return os.path.samestat(path.stat(), os.fstat(handle))


def _open_private(path: str, flags: int) -> int:
    # Whatever the umask: who can write it could take a stop out, and so `_read` refuses it. A
    # temporary file that a crash has left keeps its mode when it is opened again.
    handle = os.open(path, flags, 0o600)
    try:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            os.fchmod(handle, 0o600)
    except OSError:
        os.close(handle)
        raise
    return handle


def others_may_write(info: os.stat_result, groups: Collection[int]) -> bool:
    """Tell whether a file may be written by the world, or by a group that is not among `groups`.

    Kubernetes gives the files of a volume to the pod's `fsGroup`, mode 0660, at each mount.
    """
    mode = stat.S_IMODE(info.st_mode)
    return bool(mode & stat.S_IWOTH or (mode & stat.S_IWGRP and info.st_gid not in groups))


def is_open_to_others(info: os.stat_result, groups: Collection[int]) -> bool:
    """Tell whether others than this process and root may read or write a file with a secret.

    A Secret of Kubernetes belongs to root, and with `fsGroup` to a group that the pod has: mode 0440.
    Its group is the one way in for a process that is not root, and nobody can change that. A file of
    our own has no need of its group.
    """
    mode = stat.S_IMODE(info.st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO) == stat.S_IRGRP:
        return info.st_uid != ROOT or info.st_gid not in groups
    return bool(mode & (stat.S_IRWXG | stat.S_IRWXO))


def open_to_others(path: Path, info: os.stat_result) -> tuple[str, str] | None:
    """Return that a file with a secret is open to others, and what helps; None when it is not."""
    if not is_open_to_others(info, {os.getegid(), *os.getgroups()}):
        return None
    ours = info.st_uid == os.geteuid()
    return (
        f"{path} is open to others (mode {stat.S_IMODE(info.st_mode):04o})",
        f"chmod 600 {path}"
        if ours
        else "its owner gives it mode 0600; a Secret of Kubernetes gets defaultMode: 0400, and "
        "its pod an fsGroup",
    )


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file by this content, whole or not at all, and return once it is on disk.

    Raises:
        OSError: It is not on disk, and the old content may still be there.
    """
    temporary = _temporary(path)
    with open(temporary, "wb", opener=_open_private) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)  # S9: without it the name may be gone after a loss of power
    finally:
        os.close(handle)


def read_alone(path: Path, kind: type[_T]) -> _T | None:
    """Return what a state file holds that this process does not hold itself; None when there is none.

    Raises:
        StateFileError: As `StateFile.read_all`.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _failed(path, error) from error
    return _read(path, kind)


def _read(path: Path, kind: type[_T]) -> _T:
    try:
        with path.open("rb") as file:
            info = os.fstat(file.fileno())
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _failed(path, error) from error
    if others_may_write(info, {os.getegid(), *os.getgroups()}):
        raise StateFileError(
            f"{path}: others may write it (mode {stat.S_IMODE(info.st_mode):04o})",
            hint=f"look at what it says: a stop may have been taken out; then chmod 600 {path}",
        )
    try:
        return msgspec.json.decode(raw, type=kind, strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StateFileError(
            f"{path}: not a state file ({error})",
            hint="find out what it said, and move it away; until then nothing trades",
        ) from error


def _failed(path: Path, error: OSError) -> StateFileError:
    if isinstance(error, PermissionError) and isinstance(error.filename, str):
        path = Path(error.filename)  # the very one: a lock, say, that `sudo` made once by mistake
        if (owner := _other_owner(path)) is not None:
            held, whose = owner
            return StateFileError(
                f"{path}: {error.strerror}: {held} belongs to {whose}, and this process runs as "
                f"{_user(os.geteuid())}",
                hint=f"run once as another user, with `sudo` say? "
                f"`sudo chown {_user(os.geteuid())} {held}`, and start it as one user only",
            )
    return StateFileError(
        f"{path}: {error.strerror or error}",
        hint="the state folder must be readable and writable; see state_dir in the configuration",
    )


def _other_owner(path: Path) -> tuple[Path, str] | None:
    """Return what is in the way, the file or else its folder, and whose it is; None when it is ours."""
    for held in (path, path.parent):
        try:
            uid = held.stat().st_uid
        except OSError:
            continue
        if uid != os.geteuid():
            return held, _user(uid)
    return None


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # in a container many have no name
        return str(uid)


def _in_child() -> None:
    for file in list(_files):
        file.abandon()


os.register_at_fork(after_in_child=_in_child)
