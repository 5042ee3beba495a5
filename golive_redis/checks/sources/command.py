"""The `command` source: a program without a shell, bounded in time and output."""

from __future__ import annotations

import atexit
import os
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import IO

import msgspec

from golive_redis import clock
from golive_redis.checks.parse import look, parse
from golive_redis.checks.question import CommandSource
from golive_redis.checks.source import MAX_BYTES, Fetched, Surroundings, UnansweredError

MAX_COMPLAINT_BYTES = 4096
# The operator's private key and all that unlocks it: no program that a check starts needs them.
_WITHHELD = "GOLIVE_KEY"
START_S = 5.0
MIN_POLL_S, MAX_POLL_S = 0.0005, 0.05  # as subprocess waits with a bound
_running: set[subprocess.Popen[bytes]] = set()
_starting = Lock()


class Ended(msgspec.Struct, frozen=True):
    """How a program ended, and what it printed."""

    code: int
    out: bytes
    complaint: str


def fetch(source: CommandSource, where: Surroundings, deadline_ms: float) -> Fetched:
    """Run the program in the folder of the configuration."""
    ended = run(source.argv, where, deadline_ms)
    facts = {"command": source.argv[0], "exit": str(ended.code)}
    if ended.complaint:
        facts["stderr"] = ended.complaint
    if not source.stdout and source.json is None:
        return Fetched(ended.code, facts)
    if ended.code != 0:
        raise UnansweredError(
            f"{source.argv[0]} exited {ended.code}: {ended.complaint}".rstrip(": ")
        )
    try:
        text = ended.out.decode()
    except UnicodeDecodeError as error:
        raise UnansweredError(f"what {source.argv[0]} printed is not UTF-8") from error
    if source.json is None:
        return Fetched(text.removesuffix("\n"), facts)
    return Fetched(look(parse(text, of="what it printed"), source.json), facts)


def run(
    argv: Sequence[str], where: Surroundings, deadline_ms: float, *, given: bytes = b""
) -> Ended:
    """Run a program until it ends or the deadline is over.

    Args:
        argv: Program and arguments.
        where: Folder to run in, and environment.
        deadline_ms: When it is killed, with all of its process group.
        given: Its standard input.

    Raises:
        UnansweredError: It cannot be started, was killed, took too long, printed over 1 MiB, or
            how it ended cannot be known.
    """
    until_ms = clock.now_ms() + deadline_ms
    with tempfile.TemporaryFile() as stdin:
        stdin.write(given)
        stdin.seek(0)
        with _starting:
            process = _start(argv, where.folder, where.environ, stdin)
            _running.add(process)
    try:
        out, complaint = _printed(process, until_ms)
        code = _exit_code(process, argv[0], until_ms)
    except subprocess.TimeoutExpired as error:
        raise UnansweredError(f"{argv[0]} did not end in time and was killed") from error
    finally:
        _end(process)
        _running.discard(process)
    if code < 0:
        raise UnansweredError(f"{argv[0]} was killed by {signal.Signals(-code).name}")
    return Ended(code, out, " ".join(complaint.decode(errors="replace").split()))


def _start(
    argv: Sequence[str], folder: Path, environ: Mapping[str, str], stdin: IO[bytes]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603  (the operator configured it; no shell)
            argv,
            cwd=folder,
            env={name: value for name, value in environ.items() if not name.startswith(_WITHHELD)},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UnansweredError(f"{argv[0]} cannot be started: {why}") from error


def _printed(process: subprocess.Popen[bytes], until_ms: float) -> tuple[bytes, bytes]:
    """Return what it prints until it closes both pipes; of its complaints only the beginning."""
    printed = {process.stdout: b"", process.stderr: b""}
    with selectors.DefaultSelector() as pipes:
        for pipe in printed:
            pipes.register(pipe, selectors.EVENT_READ)  # type: ignore[arg-type]  # both are pipes
        while pipes.get_map():
            left_ms = until_ms - clock.now_ms()
            if left_ms <= 0:
                raise subprocess.TimeoutExpired(process.args, 0)
            for key, _ in pipes.select(left_ms / 1000):
                piece = os.read(key.fd, 65_536)
                if not piece:
                    pipes.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    printed[process.stdout] += piece
                    if len(printed[process.stdout]) > MAX_BYTES:
                        raise UnansweredError(f"it printed over {MAX_BYTES} bytes and was killed")
                elif len(printed[process.stderr]) < MAX_COMPLAINT_BYTES:
                    printed[process.stderr] += piece
    return printed[process.stdout], printed[process.stderr]


def _exit_code(process: subprocess.Popen[bytes], name: str, until_ms: float) -> int:
    """Return how it ended, as subprocess tells it: negative when a signal killed it.

    Not by `Popen.wait`, which says 0 when there is no status to be had: SIGCHLD is ignored, perhaps
    since before this process was started, or something else in here collects every child.
    """
    pause_s = MIN_POLL_S
    while True:
        try:
            pid, status = os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError as error:
            raise UnansweredError(
                f"how {name} ended is not known: nobody could collect its exit status "
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
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    # Also when it ended by itself: what it left behind in its group ends with it. macOS refuses to
    # signal a group of which only the unreaped leader is left.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
