"""Programs of ours as processes that cost a fork, and not the start of an interpreter.

A cold start of Python with our imports takes half a second of CPU, and the tests start some thousand
processes. So one process, the zygote, imports everything once and forks whatever is asked for:

    child = start("golive_cli.main:main", "status", cwd=folder, stdout=PIPE)

What comes back looks like `subprocess.Popen`. The child has the folder, environment, arguments and files
that it was given, signal handlers and random numbers of its own, and is killed when this process ends,
however it ends. A cold start remains right where imports, the interpreter or its start is the subject.

This is the client's side; kit/forkserver.py is the zygote itself.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from kit.forkserver import CANNOT_FORK, LENGTH, REPORT

TESTS = Path(__file__).resolve().parents[1]


class Forked:
    """A child of the zygote, with the manners of `subprocess.Popen`.

    Attributes:
        pid: Its process id.
        returncode: Exit code, minus the number of the signal that ended it, or None.
        stdin: Where it reads, if that was asked to be a pipe; so are `stdout` and `stderr`.
    """

    def __init__(self, target: str, status: int, pipes: dict[str, int], *, text: bool) -> None:
        self.args = target
        self.returncode: int | None = None
        self._status = status
        self._lock = threading.Lock()
        files: dict[str, IO[Any]] = {}
        for name, fd in pipes.items():
            binary = os.fdopen(fd, "wb" if name == "stdin" else "rb", 0 if name == "stdin" else -1)
            files[name] = io.TextIOWrapper(binary, "utf-8", write_through=True) if text else binary
        self.stdin, self.stdout, self.stderr = map(files.get, ("stdin", "stdout", "stderr"))
        self._text = text
        said = os.read(status, REPORT.size)
        self.pid = REPORT.unpack(said)[0] if said else CANNOT_FORK
        if self.pid == CANNOT_FORK:
            os.close(status)
            raise OSError(f"the zygote did not start {target}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in (self.stdout, self.stderr, self.stdin):
            if file is not None:
                with suppress(BrokenPipeError):
                    file.close()
        self.wait()

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended.

        Raises:
            subprocess.TimeoutExpired: After `timeout` seconds.
        """
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def _look(self, timeout: float | None) -> int | None:
        poll = select.poll()  # unlike select, for descriptors over 1023, too
        poll.register(self._status, select.POLLIN)
        ends = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left_ms = None if ends is None else max(0.0, ends - time.monotonic()) * 1000
            # In slices: another waiter may have read the end.
            if not poll.poll(100 if left_ms is None else min(left_ms, 100)):
                if left_ms is not None and left_ms <= 100:
                    break
                continue
            with self._lock:
                if self.returncode is None:
                    said = os.read(self._status, REPORT.size)
                    os.close(self._status)
                    # Without a word the zygote died, and its children with it.
                    self.returncode = (
                        os.waitstatus_to_exitcode(REPORT.unpack(said)[0])
                        if said
                        else -signal.SIGKILL
                    )
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:  # noqa: A002
        """Write `input`, read everything that it says, and wait for its end.

        Raises:
            subprocess.TimeoutExpired: After `timeout` seconds.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        said: dict[str, Any] = {"stdout": None, "stderr": None}

        def read(name: str, file: IO[Any]) -> None:
            said[name] = file.read()

        def write(file: IO[Any]) -> None:
            with suppress(BrokenPipeError):
                file.write(input)
            with suppress(BrokenPipeError):
                file.close()

        threads = [
            threading.Thread(target=read, args=(name, file), daemon=True)
            for name, file in (("stdout", self.stdout), ("stderr", self.stderr))
            if file is not None and not file.closed
        ]
        if self.stdin is not None and not self.stdin.closed:
            if input:
                threads.append(threading.Thread(target=write, args=(self.stdin,), daemon=True))
            else:
                self.stdin.close()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(None if ends is None else max(0.0, ends - time.monotonic()))
            if thread.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        self.wait(None if ends is None else max(0.0, ends - time.monotonic()))
        for file in (self.stdout, self.stderr):
            if file is not None:
                file.close()
        return said["stdout"], said["stderr"]


class Zygote:
    """The zygote of this process; started by the first who needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: socket.socket | None = None

    def start(self, target: str, *args: str, **how: Any) -> Forked:
        """Start a program; see `start`."""
        with self._lock:
            if self._requests is None:
                self._requests = self._spawn()
            return _request(self._requests, target, args, **how)

    def _spawn(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        # With the path of this process, in its order: the product under test is the one imported here.
        environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)]),
        }
        subprocess.Popen(
            [sys.executable, "-P", "-m", "kit.forkserver", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environ,
            process_group=0,  # Ctrl-C is for this process, which ends its children
        ).returncode = 0  # ends when our half of the pair closes: nobody waits for it
        theirs.close()
        atexit.register(ours.close)
        return ours


def _request(
    requests: socket.socket,
    target: str,
    args: tuple[str, ...],
    *,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[Any] | None = None,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    text: bool = False,
    process_group: bool = False,
) -> Forked:
    pipes: dict[str, int] = {}
    theirs: list[int] = []
    fds: list[int] = []
    for number, (name, asked) in enumerate(
        {"stdin": stdin, "stdout": stdout, "stderr": stderr}.items()
    ):
        if asked is None:
            fds.append(number)
        elif asked == subprocess.PIPE:
            reader, writer = os.pipe()
            pipes[name], given = (writer, reader) if name == "stdin" else (reader, writer)
            theirs.append(given)
            fds.append(given)
        elif asked == subprocess.DEVNULL:
            theirs.append(os.open(os.devnull, os.O_RDWR))
            fds.append(theirs[-1])
        elif asked == subprocess.STDOUT:
            fds.append(fds[1])
        else:
            fds.append(asked if isinstance(asked, int) else asked.fileno())
    status, report = os.pipe()
    theirs.append(report)
    body = json.dumps(
        {
            "target": target,
            "args": [str(arg) for arg in args],
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "group": process_group,
        }
    ).encode()
    try:
        socket.send_fds(requests, [LENGTH.pack(len(body))], [*fds, report])
        requests.sendall(body)
    except OSError:
        for fd in (status, *pipes.values()):
            os.close(fd)
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    return Forked(target, status, pipes, text=text)


_ZYGOTE = Zygote()


def start(target: str, *args: str | Path, **how: Any) -> Forked:
    """Start a program of ours as a process.

    Args:
        target: `module:function`; what the function returns is the exit code.
        args: The words behind the program's name.
        how: `cwd`, `env`, `stdin`, `stdout`, `stderr`, `text` as `subprocess.Popen` has them;
            `process_group=True` gives it a process group of its own.
    """
    return _ZYGOTE.start(target, *map(str, args), **how)


def run(
    target: str,
    *args: str | Path,
    input: Any = None,  # noqa: A002
    timeout: float | None = None,
    **how: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a program of ours to its end, with its output kept, as `subprocess.run` does."""
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
    if input is not None:
        how["stdin"] = subprocess.PIPE
    with start(target, *args, **how) as child:
        try:
            out, err = child.communicate(input, timeout)
        except BaseException:
            child.kill()
            raise
        assert child.returncode is not None
        return subprocess.CompletedProcess([target, *map(str, args)], child.returncode, out, err)
