"""The real program, run as people run it: a process of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from golive_redis.testing.server import EmbeddedServer
from kit import zygote
from kit.ledgers import CLI, install
from kit.zygote import Forked

PROGRAM = "golive_cli.main:main"


class Golive:
    """Runs `golive` in `folder`, which starts empty."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Nothing of the user who runs the tests may decide how they end.
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith("GOLIVE_")}
        self.environ["NO_COLOR"] = "1"

    def __call__(
        self, *words: str | Path, cwd: Path | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; keywords are environment variables."""
        return zygote.run(
            PROGRAM,
            *words,
            cwd=cwd or self.folder,
            env={**self.environ, **environ},
            text=True,
            timeout=120,
        )

    def json(self, *words: str | Path, code: int = 0, **environ: str) -> Any:
        """Run a command with --json and return the one object it printed."""
        done = self(*words, "--json", **environ)
        assert done.returncode == code, done.stdout + done.stderr
        assert done.stdout.count("\n") == 1
        return json.loads(done.stdout)

    def start(self, *words: str | Path, **environ: str) -> Forked:
        """Start a command and return its process."""
        return zygote.start(
            PROGRAM,
            *words,
            cwd=self.folder,
            env={**self.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def golive(tmp_path: Path) -> Golive:
    """`golive` in an empty folder."""
    return Golive(tmp_path)


@pytest.fixture
def made(golive: Golive) -> Golive:
    """`golive` in a folder in which alice ran `golive init`."""
    done = golive("init", "--operator", "alice")
    assert done.returncode == 0, done.stderr
    return golive


@pytest.fixture(scope="session")
def _server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as started:
        yield started


@pytest.fixture
def server(_server: EmbeddedServer) -> EmbeddedServer:
    """An empty server for what is about the program; what is about Redis runs on every kind."""
    with _server.client() as client:
        client.flushall()
    return _server


@pytest.fixture
def beating(made: Golive, server: EmbeddedServer) -> Iterator[Callable[..., Forked]]:
    """Starts `golive heartbeat` and waits until it has read once."""
    processes: list[Forked] = []

    def start(name: str = "hb-1", *words: str, **environ: str) -> Forked:
        environ.setdefault("GOLIVE_REDIS_URL", server.url)
        process = made.start("heartbeat", "--name", name, *words, **environ)
        processes.append(process)
        assert process.stdout is not None
        impatience = threading.Timer(120, process.kill)
        impatience.start()
        try:
            for line in process.stdout:
                if "nothing is active" in line:
                    return process
        finally:
            impatience.cancel()
        raise AssertionError(process.stderr and process.stderr.read())

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def audited(made: Golive, server: EmbeddedServer) -> Golive:
    """`golive` on an empty server, with the keyset of `kit.ledgers.CLI` in place of its own."""
    install(made.folder, CLI)
    made.environ["GOLIVE_REDIS_URL"] = server.url
    return made
