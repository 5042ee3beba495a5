"""The demo's processes: server, heartbeat, venue and workers, in a folder that goes away with them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Self

from golive_cli.demo import setup
from golive_cli.demo.children import Children
from golive_cli.demo.plan import DemoError, Plan
from golive_cli.demo.verdict import Accept, Attempt, parse_attempts
from golive_cli.demo.worker import Manner
from golive_redis.testing.server import EmbeddedServer
from golive_redis.testing.venue_client import VenueClient, VenueError

CONTROL = "control"


class Processes(Children):
    """Server, heartbeat, venue and workers; use as a context manager.

    Leaving it kills what is left of them and removes their folder; a second Ctrl-C does not stop
    that.

    Attributes:
        server: The server.
        folder: Where everything is, except the server's data; from entering on.
        config: The configuration that all of them use; from `start_server` on.
        venue: A connection to the venue, to ask what it accepted; from `start_venue` on.

    Raises:
        ChildError: From every method: a process did not come up, or has ended.
        EmbeddedServerError: There is no server program.
    """

    config: Path
    venue: VenueClient
    venue_port: int

    def __init__(self, plan: Plan) -> None:
        super().__init__(EmbeddedServer(plan.server), Path(), plan.patience_s)
        self.plan = plan

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="golive-demo-"))
        self._exit.callback(shutil.rmtree, self.folder, ignore_errors=True)
        return super().__enter__()

    # -- coming on ---------------------------------------------------------------------------------

    def start_server(self) -> None:
        """Start the server and write the configuration for it."""
        super().start_server()
        self.config = setup.write(
            self.folder / "config", url=self.server.url, timing=self.plan.timing
        )

    def start_venue(self) -> None:
        """Start the venue."""
        port = self.folder / "venue.port"
        args = ["--port-file", str(port), "--journal", str(self.folder / "venue.journal")]
        self.start("venue", "golive_redis.testing.venue", args)
        self.wait("the venue is not open", port.exists, about="venue")
        self.venue_port = int(port.read_text())
        self.venue = VenueClient(self.venue_port)
        self._exit.callback(self.venue.close)

    def start_heartbeat(self) -> int:
        """Start the heartbeat, anew after it was killed, and return its process id."""
        args = ["heartbeat", "--name", setup.HEARTBEAT, "--config", str(self.config)]
        return self.start(setup.HEARTBEAT, "golive_cli.main", args)

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
            self.start(name, "golive_cli.demo.worker", args)

    # -- watching ----------------------------------------------------------------------------------

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
