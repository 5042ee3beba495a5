"""The processes of the soak: workers that trade, the control without a guard, and the venue."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from golive_redis.testing.freeze import freeze
from golive_redis.testing.server import bound_to_parent

CONTROL = "control"
RATE_PER_S = 5.0
START_S = 30.0


class Child:
    """A process with its log; may be frozen, killed and started again.

    Args:
        name: For the log.
        folder: Of its log.
        argv: What to run.
    """

    def __init__(self, name: str, folder: Path, argv: list[str]) -> None:
        self.name = name
        self.log = folder / f"{name}.stderr"
        self._argv = argv
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it dies with this process."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                bound_to_parent([sys.executable, "-P", "-m", *self._argv]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def pause(self) -> None:
        if self._process is not None and self._process.poll() is None:
            freeze(self._process.pid)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(10)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def rss_mib(self) -> float:
        """Return how much memory it has, counting what it shares with others in full."""
        if self._process is None:
            return 0.0
        with suppress(OSError):
            for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) / 1024
        return 0.0


class Venue(Child):
    """The paper venue: the witness."""

    def __init__(self, folder: Path) -> None:
        self.port_file, self.journal = folder / "venue.port", folder / "venue.journal"
        files = ["--port-file", str(self.port_file), "--journal", str(self.journal)]
        super().__init__("venue", folder, ["golive_redis.testing.venue", *files])

    def open(self) -> int:
        """Start it, and return its port."""
        self.start()
        deadline = time.monotonic() + START_S
        while not self.port_file.exists():
            if time.monotonic() > deadline:
                raise TimeoutError("the venue does not open")
            time.sleep(0.05)
        return int(self.port_file.read_text())


def trader(name: str, config: Path, venue: int, number: int) -> Child:
    """Return a worker of the demo: it asks its guard before each order, the control nobody."""
    folder = config.parent
    manner = "bare" if name == CONTROL else "asks"
    return Child(
        name,
        folder,
        [
            *("golive_cli.demo.worker", "--config", str(config), "--name", name),
            *("--manner", manner, "--venue", str(venue), "--notes", str(folder / f"{name}.notes")),
            *("--rate", str(RATE_PER_S), "--seed", str(number)),
        ],
    )
