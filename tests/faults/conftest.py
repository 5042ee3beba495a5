"""Fixtures of the fault matrix: `start_fleet` puts a fleet on a server, and a verdict ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from golive_cli.demo.plan import Plan
from golive_cli.demo.processes import Processes
from golive_redis.testing.server import EmbeddedServer
from kit.processes import Proxy, proxies

from .judged import PATIENCE_MS, RATE_HZ, JudgedFleet
from .record import Record, rows_of

StartFleet = Callable[..., AbstractContextManager[JudgedFleet]]


@pytest.fixture(scope="session")
def market() -> Iterator[Processes]:
    """The witness venue of the demo, and its control: a trader without a guard."""
    with Processes(Plan(pods=0, rate_per_s=RATE_HZ, patience_s=PATIENCE_MS / 1000)) as processes:
        processes.start_server()  # the configuration of the control names one; it is not used
        processes.start_venue()
        processes.start_workers()
        yield processes


@pytest.fixture
def wait_for(wait_for: Callable[..., None]) -> Callable[..., None]:
    """`wait_for` with the patience that all of the matrix has."""
    return partial(wait_for, within_ms=int(PATIENCE_MS))


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Callable[..., Proxy]]:
    """Puts a faulty network in front of a server."""
    with proxies(tmp_path) as make:
        yield make


@pytest.fixture
def start_fleet(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    server_kind: str,
    make_server: Callable[..., EmbeddedServer],
    proxy: Callable[..., Proxy],
    market: Processes,
) -> StartFleet:
    """Puts a live fleet on a server of its own; leaving it is the verdict.

    `start_fleet(server, workers=..., heartbeats=..., sick=..., behind=..., **settings)`: `sick` names
    heartbeats whose clock is 31 s off, `behind` workers whose network is a proxy, `settings` go into
    the configuration.
    """
    assert request.function.__doc__, "a row says its number"
    record = Record(
        rows=rows_of(request.function.__doc__),
        case=request.node.originalname.removeprefix("test_").replace("_", "-"),
        server=server_kind,
    )
    if hasattr(request.node, "callspec"):
        rest = [str(v) for k, v in request.node.callspec.params.items() if k != "server_kind"]
        record.case = "-".join([record.case, *rest])

    @contextmanager
    def enter(
        server: EmbeddedServer | None = None,
        *,
        workers: Sequence[str] = ("pod-1", "pod-2"),
        heartbeats: Sequence[str] = ("hb-1",),
        behind: Sequence[str] = (),
        workers_config: dict[str, Any] | None = None,
        sick: Sequence[str] = (),
        **settings: Any,
    ) -> Iterator[JudgedFleet]:
        server = server or make_server()
        networks = {name: proxy(server) for name in behind}
        live = JudgedFleet(server, tmp_path / "fleet", market, networks, record, **settings)
        try:
            # Where a term may have lived on another server, all heartbeats of the keyset must answer.
            live.write_keyset(without={"hb-1", "hb-2", "hb-3"} - {*heartbeats, *sick})
            for name in sick:
                live.start_heartbeat(name, wall_off_ms=31_000)
            more = {"config": workers_config} if workers_config else {}
            live.go_live(*workers, heartbeats=heartbeats, **more)
            live.trade()
            yield live
            live.judge()
        except BaseException as error:
            record.faults.append(str(error).partition("\n")[0] or repr(error))
            raise
        finally:
            live.close()
            record.keep()
        assert not record.faults, "\n".join(record.faults)

    return enter
