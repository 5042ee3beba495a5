"""A server and the processes beside it: started here, watched here, and ended here whatever happens.

Each is a process of its own on loopback, in a process group of its own (Ctrl-C is the command's to
handle) and bound to the life of this one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from golive_cli.demo import interrupts
from golive_cli.output import Output
from golive_redis.errors import GoliveError
from golive_redis.testing.server import EmbeddedServer, EmbeddedServerError, bound_to_parent

POLL_S = 0.02
LOG_TAIL_LINES = 12
PATIENCE_S = 120.0
END_TIMEOUT_S = 30.0
# A goodbye is said well within it; what does not end by itself is killed.
GOODBYE_S = 5.0


class ChildError(GoliveError):
    """A process did not come up, or has ended by itself; nothing is left running.

    Attributes:
        log: The end of the log of the process at fault.
    """

    reason: ClassVar[str] = "process"

    def __init__(self, message: str, *, hint: str = "", log: str = "") -> None:
        super().__init__(message, hint=hint)
        self.log = log

    def show_log(self, out: Output) -> None:
        """Print the log as notes, ahead of the error."""
        for line in self.log.splitlines():
            out.note(f"log: {line}")


class Children:
    """A server and processes of ours; use as a context manager.

    Leaving it kills what is left of them; a second Ctrl-C does not stop that.

    Args:
        server: Not started yet.
        folder: Where they run and where their logs are.
        patience_s: Longest wait for anything that has to come up.

    Raises:
        ChildError: From every method: a process did not come up, or has ended.
    """

    def __init__(
        self, server: EmbeddedServer, folder: Path, patience_s: float = PATIENCE_S
    ) -> None:
        self.server = server
        self.folder = folder
        self._patience_s = patience_s
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        self._exit.callback(self.server.stop)
        self._exit.callback(self._end_all)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with _deaf():
            self._exit.close()

    # -- coming on ---------------------------------------------------------------------------------

    def start_server(self) -> None:
        """Start the server."""
        try:
            self.server.start()
        except EmbeddedServerError as error:
            # The message ends with the server's log, whose lines belong where logs are told.
            message, _, log = error.message.partition("; its log ends:\n")
            raise ChildError(message, hint=error.hint, log=log) from error

    def start(self, name: str, module: str, args: list[str]) -> int:
        """Start a module as a process of that name, and return its process id."""
        command = bound_to_parent([sys.executable, "-P", "-m", module, *args])
        with self._log(name).open("ab") as log:
            self._children[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=_environment(),
                process_group=0,
            )
        return self._children[name].pid

    # -- watching ----------------------------------------------------------------------------------

    def wait(
        self,
        what: str,
        condition: Callable[[], bool],
        *,
        about: str | None = None,
        within_s: float | None = None,
    ) -> None:
        """Wait until the condition holds.

        Args:
            what: What is not so yet, for the error.
            condition: Asked again and again.
            about: Whose log tells more; None means the server's.
            within_s: How long; `patience_s` by default.
        """
        patience_s = self._patience_s if within_s is None else within_s
        until = time.monotonic() + patience_s
        while not condition():
            self.check()
            if time.monotonic() >= until:
                raise ChildError(
                    f"{what} after {patience_s:.0f} s",
                    hint="is this machine very busy?",
                    log=self.log_tail(about),
                )
            time.sleep(POLL_S)

    def check(self) -> None:
        """Raise when a process has ended by itself, or a signal has asked to stop."""
        interrupts.check()
        for name, child in self._children.items():
            code = child.poll()
            if code is not None:
                raise ChildError(f"{name} ended unexpectedly, code {code}", log=self.log_tail(name))
        if not self.server.running:
            raise ChildError("the server ended unexpectedly", log=self.log_tail(None))

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def log_tail(self, name: str | None) -> str:
        """Return the end of a process's log; None means the server's."""
        if name is None:
            return self.server.log_tail()
        lines = self._log(name).read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    # -- going off ---------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """`kill -9` one of them."""
        child = self._children.pop(name)
        child.kill()
        child.wait(END_TIMEOUT_S)

    def end(self, name: str) -> None:
        """Ask one of them to end, if it was started, and kill it when it does not."""
        child = self._children.pop(name, None)
        if child is None:
            return
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(GOODBYE_S)
        child.kill()
        child.wait(END_TIMEOUT_S)

    def _end_all(self) -> None:
        for child in self._children.values():
            child.kill()
        for child in self._children.values():
            child.wait(END_TIMEOUT_S)

    def pid(self, name: str) -> int:
        """Return the process id of one of them."""
        return self._children[name].pid


def _environment() -> dict[str, str]:
    """Leave our own variables out: a GOLIVE_REDIS_URL in this shell may be a real fleet's.

    Those of a service manager, too: it would take the heartbeat's READY for that of this command.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GOLIVE_") and name != "NOTIFY_SOCKET"
    }


@contextmanager
def _deaf() -> Iterator[None]:
    """Ignore further signals to stop: a second one must not leave processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.signal(number, signal.SIG_IGN) for number in interrupts.NUMBERS]
    try:
        yield
    finally:
        for number, handler in zip(interrupts.NUMBERS, before, strict=True):
            signal.signal(number, handler)
