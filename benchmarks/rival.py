"""sf-smartswitch, the nearest rival: its coordinator on loopback, and agents that poll it.

It has another aim, a quorum that halts AI agents, and is set up here as in its own demo.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sf_smartswitch import ed25519
from sf_smartswitch.agent import Agent
from sf_smartswitch.coordinator import Coordinator
from sf_smartswitch.protocol import new_proposal, sign_vote
from sf_smartswitch.server import Config, make_server

KEYHOLDERS = ("alice", "bob", "carol")


class Rival:
    """A coordinator that serves agents, and two keyholders who vote."""

    def __init__(self, folder: Path) -> None:
        logging.getLogger("sf_smartswitch").setLevel(logging.CRITICAL)
        self._seeds = {name: ed25519.new_seed() for name in (*KEYHOLDERS, "coordinator")}
        public = {name: ed25519.public_key(seed) for name, seed in self._seeds.items()}
        self.fleet = {
            "type": "smartswitch.fleet",
            "version": 1,
            "fleet_id": "bench",
            "keyholders": [{"id": name, "public_key": public[name]} for name in KEYHOLDERS],
            "threshold": None,
            "coordinator_key": public["coordinator"],
            "offline_timeout_ms": 30_000,
            "proposal_max_ttl_ms": 600_000,
            "agents": None,
        }
        self._coordinator = Coordinator(
            self.fleet, self._seeds["coordinator"], str(folder / "log.jsonl")
        )
        self.token = os.urandom(16).hex()
        rules = Config(self.token, os.urandom(16).hex(), operator_rate=10**9)
        self._server = make_server(self._coordinator, rules, "127.0.0.1", 0)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def vote(self, action: str) -> None:
        """Let two of three keyholders halt or resume everybody."""
        state = self._coordinator.state
        proposal: Any = new_proposal(state, action, "*", "bench", int(time.time() * 1000), 60_000)
        for name in KEYHOLDERS[:2]:
            self._coordinator.submit_vote(proposal, sign_vote(self._seeds[name], name, proposal))

    def agent(self, name: str, **options: Any) -> Agent:
        """Return a started agent."""
        return Agent(self.url, self.token, self.fleet, name, **options).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def rival() -> Iterator[Rival]:
    with TemporaryDirectory(prefix="golive-rival-") as folder:
        out = Rival(Path(folder))
        try:
            yield out
        finally:
            out.close()


def wait_until(holds: Any, seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise SystemExit("the rival did not get ready")
        time.sleep(0.02)
