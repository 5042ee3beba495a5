"""The zygote: imports everything once, then forks on request (kit/zygote.py).

    python -P -m kit.forkserver FD

FD is a Unix socket. A request is one JSON object behind its length, with four files: the three of the
child, and a pipe over which its process id is told, and later how it ended. The zygote has one
thread, or a fork would copy locks that nobody will ever release.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import io
import json
import os
import pkgutil
import random
import select
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from contextlib import redirect_stderr, suppress
from typing import Any, NoReturn

LENGTH = struct.Struct("!I")
REPORT = struct.Struct("!i")  # first the process id, then what waitpid says of the end
CANNOT_FORK = -1  # instead of a process id
PR_SET_PDEATHSIG = 1
FLUSH_FAILED = 120  # what Python exits with when stdout cannot take the rest


def import_everything() -> None:
    """Import what any of our programs uses, so that no child has to."""
    import golive_cli.main  # noqa: PLC0415  (tests that only speak to the zygote do without)
    import golive_redis  # noqa: PLC0415
    from kit import programs  # noqa: PLC0415

    for package in (golive_redis, golive_cli, programs):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not module.name.endswith(".python_child"):  # a program: importing it runs it
                importlib.import_module(module.name)
    with redirect_stderr(io.StringIO()):
        # For what is imported only when a command runs: typer's adapters, and pydantic for them.
        golive_cli.main.main(["status", "--config", os.devnull])
    gc.collect()
    gc.freeze()  # or the first collection in each child would copy every page


def serve(requests: socket.socket) -> None:
    """Fork what is asked for until nobody can ask any more; then end all that still runs."""
    wake, woken = socket.socketpair()
    for end in (wake, woken):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    running: dict[int, int] = {}  # process id -> where its end is told
    while True:
        ready, _, _ = select.select([requests, wake], [], [])
        if wake in ready:
            with suppress(BlockingIOError):
                wake.recv(4096)
            _reap(running)
        if requests not in ready:
            continue
        asked = _receive(requests)
        if asked is None:
            break
        request, (*files, report) = asked
        ours = [end.fileno() for end in (requests, wake, woken)]
        pid = _fork(request, files, [*ours, report, *running.values()])
        for fd in files:
            os.close(fd)
        with suppress(BrokenPipeError):
            os.write(report, REPORT.pack(pid))
        if pid == CANNOT_FORK:
            os.close(report)
        else:
            running[pid] = report
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _fork(request: dict[str, Any], files: list[int], ours: list[int]) -> int:
    zygote = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        return CANNOT_FORK
    if pid == 0:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != zygote:  # it died before that could be said
            os._exit(1)
        _be_the_child(request, files, ours)
    return pid


def _receive(requests: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    try:
        head, fds, _, _ = socket.recv_fds(requests, LENGTH.size, 4)
    except ConnectionResetError:
        return None
    if not head:
        return None
    (size,) = LENGTH.unpack(head)
    body = bytearray()
    while len(body) < size:
        body += requests.recv(size - len(body))
    return json.loads(body), fds


def _reap(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        report = running.pop(pid)
        with suppress(BrokenPipeError):
            os.write(report, REPORT.pack(status))
        os.close(report)


# -- in the child -------------------------------------------------------------------------------------


def _be_the_child(request: dict[str, Any], files: list[int], ours: list[int]) -> NoReturn:
    code = 1
    try:
        _become(request, files, ours)
        code = _call(request["target"])
        threading._shutdown()  # waits for threads that are no daemons, as the interpreter's end does
        atexit._run_exitfuncs()
        code = _flush(code)
    finally:
        # Not the interpreter's own end: to take apart what was never ours costs ten times the fork.
        os._exit(code)


def _become(request: dict[str, Any], files: list[int], ours: list[int]) -> None:
    """Put on what a process that was started in the usual way would have."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["group"]:
        os.setpgid(0, 0)
    for number, fd in enumerate(files):
        os.dup2(fd, number)
    for fd in (*ours, *set(files)):
        os.close(fd)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    time.tzset()
    random.seed()
    atexit._clear()  # the zygote's
    module, _, _ = request["target"].partition(":")
    sys.argv = [str(sys.modules[module].__file__), *request["args"]]
    sys.stdin = io.TextIOWrapper(io.BufferedReader(_raw(0, "r")), _encoding())
    sys.stdout = _writer(1, "strict")
    sys.stderr = _writer(2, "backslashreplace")


def _encoding() -> str:
    return os.environ.get("PYTHONIOENCODING", "").partition(":")[0] or "utf-8"


def _raw(fd: int, mode: str) -> io.FileIO:
    return io.FileIO(fd, mode, closefd=False)


def _writer(fd: int, errors: str) -> io.TextIOWrapper:
    if os.environ.get("PYTHONUNBUFFERED"):
        unbuffered: Any = _raw(fd, "w")
        return io.TextIOWrapper(unbuffered, _encoding(), errors, write_through=True)
    each_line = fd == 2 or os.isatty(fd)
    return io.TextIOWrapper(
        io.BufferedWriter(_raw(fd, "w")), _encoding(), errors, line_buffering=each_line
    )


def _call(target: str) -> int:
    """Call the function, and return what the interpreter would exit with."""
    module, _, function = target.partition(":")
    try:
        code = getattr(sys.modules[module], function)()
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        traceback.print_exc()
        sys.stderr.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        raise
    except BaseException:  # noqa: BLE001  (told as the interpreter tells it)
        traceback.print_exc()
        return 1
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def _flush(code: int) -> int:
    sys.stderr.flush()
    try:
        sys.stdout.flush()
    except OSError:
        return FLUSH_FAILED
    return code


if __name__ == "__main__":
    import_everything()
    serve(socket.socket(fileno=int(sys.argv[1])))
