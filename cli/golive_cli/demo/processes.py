"""The demo's processes: started here, watched here, and ended here whatever happens.

Each is a process of its own on loopback, in a process group of its own (Ctrl-C is the demo's to
handle) and bound to the life of this one.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from golive_cli.demo import interrupts, setup
from golive_cli.demo.plan import DemoError, Plan
from golive_cli.demo.verdict import Accept, Attempt, parse_attempts
from golive_cli.demo.worker import Manner
from golive_redis.testing.server import EmbeddedServer, EmbeddedServerError, bound_to_parent
from golive_redis.testing.venue_client import VenueClient, VenueError

CONTROL = "control"
POLL_S = 0.02
LOG_TAIL_LINES = 12
END_TIMEOUT_S = 30.0


class Processes:
    """Server, heartbeat, venue and workers; use as a context manager.

    Leaving it kills what is left of them and removes their folder; a second Ctrl-C does not stop
    that.

    Attributes:
        server: The server.
        folder: Where everything is, except the server's data; from entering on.
        config: The configuration that all of them use; from `start_server` on.
        venue: A connection to the venue, to ask what it accepted; from `start_venue` on.

    Raises:
        DemoError: From every method: a process did not come up, or has ended.
        EmbeddedServerError: There is no server program.
    """

    folder: Path
    config: Path
    venue: VenueClient
    venue_port: int

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.server = EmbeddedServer(plan.server)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="golive-demo-"))
        self._exit.callback(shutil.rmtree, self.folder, ignore_errors=True)
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
        """Start the server and write the configuration for it."""
        try:
            self.server.start()
        except EmbeddedServerError as error:
            # The message ends with the server's log, whose lines belong where logs are told.
            message, _, log = error.message.partition("; its log ends:\n")
            raise DemoError(message, hint=error.hint, log=log) from error
        self.config = setup.write(
            self.folder / "config", url=self.server.url, timing=self.plan.timing
        )

    def start_venue(self) -> None:
        """Start the venue."""
        port = self.folder / "venue.port"
        args = ["--port-file", str(port), "--journal", str(self.folder / "venue.journal")]
        self._start("venue", "golive_redis.testing.venue", args)
        self.wait("the venue is not open", port.exists, about="venue")
        self.venue_port = int(port.read_text())
        self.venue = VenueClient(self.venue_port)
        self._exit.callback(self.venue.close)

    def start_heartbeat(self) -> int:
        """Start the heartbeat, anew after it was killed, and return its process id."""
        args = ["heartbeat", "--name", setup.HEARTBEAT, "--config", str(self.config)]
        return self._start(setup.HEARTBEAT, "golive_cli.main", args)

    def start_workers(self) -> None:
        """Start the guarded workers and the control."""
        for seed, name in enumerate((*self.plan.names, CONTROL)):
            manner = Manner.BARE if name == CONTROL else Manner.ASKS
            if name == self.plan.saboteur:
                manner = Manner.IGNORES
            options = {
                "config": self.config,
                "name": name,
                "manner": manner,
                "venue": self.venue_port,
                "notes": self._notes(name),
                "rate": self.plan.rate_per_s,
                "seed": seed,
            }
            args = [f"--{option}={value}" for option, value in options.items()]
            self._start(name, "golive_cli.demo.worker", args)

    def _start(self, name: str, module: str, args: list[str]) -> int:
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
            within_s: How long; the plan's patience by default.
        """
        patience_s = self.plan.patience_s if within_s is None else within_s
        until = time.monotonic() + patience_s
        while not condition():
            self.check()
            if time.monotonic() >= until:
                raise DemoError(
                    f"{what} after {patience_s:.0f} s",
                    hint="is this machine very busy?",
                    log=self.log_tail(about),
                )
            time.sleep(POLL_S)

    def check(self) -> None:
        """Raise when a process has ended by itself, or a signal has asked the demo to stop."""
        interrupts.check()
        for name, child in self._children.items():
            code = child.poll()
            if code is not None:
                raise DemoError(f"{name} ended unexpectedly, code {code}", log=self.log_tail(name))
        if not self.server.running:
            raise DemoError("the server ended unexpectedly", log=self.log_tail(None))

    def accepts(self, since_ns: int) -> list[Accept]:
        """Return what the venue accepted since an instant on CLOCK_MONOTONIC."""
        try:
            return [Accept(a["worker"], a["at_ns"]) for a in self.venue.journal(since_ns=since_ns)]
        except VenueError as error:
            raise DemoError(error.message, log=self.log_tail("venue")) from error

    def attempts(self) -> dict[str, list[Attempt]]:
        """Return what the guarded workers tried so far."""
        out = {}
        for name in self.plan.names:
            path = self._notes(name)
            out[name] = parse_attempts(path.read_text("ascii")) if path.exists() else []
        return out

    def _notes(self, name: str) -> Path:
        return self.folder / f"{name}.attempts"

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

    Those of a service manager, too: it would take the heartbeat's READY for that of the demo.
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
