"""Programs that the operator configured: started without a shell, bounded in time and output."""

from __future__ import annotations

import atexit
import os
import selectors
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

import msgspec

from golive_redis import clock

MAX_COMPLAINT_BYTES = 4096
# The operator's private key and all that unlocks it: no program that we start needs them.
WITHHELD = "GOLIVE_KEY"
START_S = 5.0
MIN_POLL_S, MAX_POLL_S = 0.0005, 0.05  # as subprocess waits with a bound
PIECE_BYTES = 65_536
_running: set[subprocess.Popen[bytes]] = set()
_starting = Lock()


class ProgramError(Exception):
    """A program told nothing that can be used.

    Says why, without its name, which the caller puts in front, and without its arguments: a token may be
    among them.
    """


class Ended(msgspec.Struct, frozen=True):
    """How a program ended, and what it printed.

    Attributes:
        code: Its exit code.
        out: What it printed.
        complaint: The beginning of what it printed on its standard error, in one line.
    """

    code: int
    out: bytes
    complaint: str


def run(
    argv: Sequence[str],
    *,
    folder: Path,
    environ: Mapping[str, str],
    deadline_ms: float,
    most: int,
    given: bytes = b"",
) -> Ended:
    """Run a program until it ends or the deadline is over.

    Args:
        argv: Program and arguments.
        folder: In which it runs.
        environ: What it is given, but for what unlocks keys.
        deadline_ms: When it is killed, with all of its process group.
        most: How many bytes it may print.
        given: Its standard input; no file on a disk that may be full.

    Raises:
        ProgramError: It cannot be started, was killed, took too long, printed too much, or how it ended
            cannot be known.
    """
    until_ms = clock.now_ms() + deadline_ms
    with _starting:
        process = _start(argv, folder, environ)
        _running.add(process)
    try:
        out, complaint = _talk(process, given, most, until_ms)
        code = _exit_code(process, until_ms)
    except subprocess.TimeoutExpired as error:
        raise ProgramError(
            f"has not answered within {deadline_ms / 1000:.1f} s and was killed"
        ) from error
    finally:
        _end(process)
        _running.discard(process)
    if code < 0:
        raise ProgramError(f"was killed by {signal.Signals(-code).name}")
    return Ended(code, out, " ".join(complaint.decode(errors="replace").split()))


def _start(
    argv: Sequence[str], folder: Path, environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603  (the operator configured it; no shell)
            argv,
            cwd=folder,
            env={name: value for name, value in environ.items() if not name.startswith(WITHHELD)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ProgramError(f"cannot be started: {why}") from error


def _talk(
    process: subprocess.Popen[bytes], given: bytes, most: int, until_ms: float
) -> tuple[bytes, bytes]:
    """Give it its input, and return what it prints until it closes both pipes."""
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    assert stdin is not None  # noqa: S101  (opened with pipes)
    assert stdout is not None  # noqa: S101
    assert stderr is not None  # noqa: S101
    out, complaint, left = bytearray(), bytearray(), memoryview(given)
    os.set_blocking(stdin.fileno(), False)
    with selectors.DefaultSelector() as pipes:
        pipes.register(stdout, selectors.EVENT_READ)
        pipes.register(stderr, selectors.EVENT_READ)
        pipes.register(stdin, selectors.EVENT_WRITE)
        printing = 2
        while printing:
            left_ms = until_ms - clock.now_ms()
            if left_ms <= 0:
                raise subprocess.TimeoutExpired(process.args, 0)
            for key, _ in pipes.select(left_ms / 1000):
                if key.fileobj is stdin:
                    left = left[_written(key.fd, left) :]
                    if not left:
                        pipes.unregister(stdin)
                        stdin.close()
                    continue
                piece = os.read(key.fd, PIECE_BYTES)
                if not piece:
                    pipes.unregister(key.fileobj)
                    printing -= 1
                elif key.fileobj is stdout:
                    out += piece
                    if len(out) > most:
                        raise ProgramError(f"printed over {most} bytes and was killed")
                elif len(complaint) < MAX_COMPLAINT_BYTES:
                    complaint += piece
    return bytes(out), bytes(complaint[:MAX_COMPLAINT_BYTES])


def _written(fd: int, left: memoryview) -> int:
    """Write what the pipe takes, and return how much that was."""
    try:
        return os.write(fd, left)
    except BrokenPipeError:
        return len(left)  # it does not read; what it prints is looked at all the same


def _exit_code(process: subprocess.Popen[bytes], until_ms: float) -> int:
    """Return how it ended, as subprocess tells it: negative when a signal killed it.

    Not by `Popen.wait`, which says 0 when there is no status to be had: SIGCHLD is ignored, perhaps
    since before this process was started, or something else in here collects every child.
    """
    pause_s = MIN_POLL_S
    while True:
        try:
            pid, status = os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError as error:
            raise ProgramError(
                "ended, and how is not known: nobody could collect its exit status "
                "(is SIGCHLD ignored?)"
            ) from error
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)  # or Popen would wait once more
            return process.returncode
        if clock.now_ms() >= until_ms:
            raise subprocess.TimeoutExpired(process.args, 0)
        clock.pause_ms(pause_s * 1000)
        pause_s = min(2 * pause_s, MAX_POLL_S)


@atexit.register
def _end_all() -> None:
    # The operator has gone, perhaps by Ctrl-C: the thread that would kill at the deadline ends, too. One
    # that is just being started is waited for, or it would go on alone.
    _starting.acquire(timeout=START_S)
    for process in list(_running):
        _kill(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    _kill(process)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError):  # what it did not read is not wanted any more
                pipe.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    # Also when it ended by itself: what it left behind in its group ends with it. macOS refuses to
    # signal a group of which only the unreaped leader is left.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
