"""Fixtures of the process tests: fleets of real processes on a real server, and a faulty network.

Every process dies with this one, and every wait has a bound. Instants are CLOCK_BOOTTIME in ns,
which all processes of a machine share: `golive_redis.clock.now_ns()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from golive_redis.testing.server import EmbeddedServer
from kit.fleet import Fleet, fleets, forging
from kit.processes import Proxy, proxies
from kit.program import Program, Wait


@pytest.fixture(scope="session")
def _one_server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def any_server(_one_server: EmbeddedServer) -> EmbeddedServer:
    """A server of one kind, empty, for tests in which it has no part; not to be stopped."""
    with _one_server.client() as client:
        client.flushall()
    return _one_server


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Makes fleets on a given server: `fleet(server, timing="standard", **settings)`.

    Fails when one of their processes had a defect, unless `defects=True` says that it is meant.
    """
    with fleets(tmp_path) as make:
        yield make


@pytest.fixture
def forge_beats() -> Callable[[Fleet, str], AbstractContextManager[None]]:
    """`with forge_beats(live, "hb-2")`: what could arm a worker is there, stop or no stop."""
    return forging


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Callable[[EmbeddedServer], Proxy]]:
    """Puts a faulty network in front of a server."""
    with proxies(tmp_path) as make:
        yield make


@pytest.fixture
def program(wait_for: Wait) -> Iterator[Callable[..., Program]]:
    """Starts the program on a fleet's configuration, and waits until it has read once."""
    made: list[Program] = []

    def start(live: Any, *words: str, **environ: str) -> Program:
        item = Program(live, *words, **environ)
        made.append(item)
        wait_for(lambda: "silent: nothing is active" in item.lines(), what="its first reading")
        return item

    yield start
    for item in made:
        item.process.kill()
        item.process.wait()
