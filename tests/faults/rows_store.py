"""The server refuses, blocks, freezes, dies, or comes back with less than it had."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from golive_redis import clock
from golive_redis.testing.server import EmbeddedServer
from kit.refusals import misconf, noreplicas, readonly

from .judged import JudgedFleet

StartFleet = Callable[..., AbstractContextManager[JudgedFleet]]
REFUSALS = {"misconf": misconf, "noreplicas": noreplicas, "readonly": readonly}
BLOCK_MS = 3_500


def test_healthy(start_fleet: StartFleet) -> None:
    """Row 1."""
    with start_fleet() as live:
        live.revoke("COMPLETE")


def test_out_of_memory(start_fleet: StartFleet) -> None:
    """Row 13."""
    with start_fleet() as live:
        live.strike(lambda: live.raw.config_set("maxmemory", 1))
        assert live.revoke("COMPLETE").ledger == "written"


@pytest.mark.parametrize("refusal", REFUSALS)
def test_writes_refused(
    start_fleet: StartFleet, make_server: Callable[..., EmbeddedServer], refusal: str
) -> None:
    """Row 14. A guard's question is a write, so the refusal alone ends every lease."""
    server = make_server()
    with start_fleet(server) as live, ExitStack() as held:
        broken = REFUSALS[refusal](server)
        live.strike(lambda: held.enter_context(broken), off_ms=live.timers.lease_ms)
        # It waits to the end: until the tombstone stands, somebody has to say it again.
        report = live.revoke("COMPLETE", wait_ms=12_000)
        assert report.in_redis_ms is None and report.ledger == "spooled"


def _busy(live: JudgedFleet) -> None:
    """Start a script that has no end, and return when the server says so."""
    live.raw.config_set("busy-reply-threshold", 50)
    endless = live.server.client(socket_timeout=30)

    def run() -> None:
        with endless, pytest.raises(redis.ResponseError, match="SCRIPT KILL"):
            endless.eval("while true do end", 0)

    def kill() -> None:
        with live.server.client() as client:
            client.script_kill()

    threading.Thread(target=run).start()
    while True:
        try:
            live.raw.ping()
        except redis.RedisError as error:
            if "BUSY" in str(error):
                break
    threading.Timer(BLOCK_MS / 1000, kill).start()


def _pause(live: JudgedFleet) -> None:
    live.raw.client_pause(BLOCK_MS)


@pytest.mark.parametrize("block", ["script", "client-pause"])
def test_blocked(start_fleet: StartFleet, block: str) -> None:
    """Row 15. Blocked is closed; the stop lands once the server answers again."""
    with start_fleet() as live:
        act = {"script": _busy, "client-pause": _pause}[block]
        blocked = live.strike(lambda: act(live))
        report = live.revoke("COMPLETE")
        live.lapses_within(live.timers.lease_ms, blocked)
        told = "BUSY" if block == "script" else "Timeout"
        assert any(told in problem for problem in report.problems), report.problems


def test_frozen(start_fleet: StartFleet, make_server: Callable[..., EmbeddedServer]) -> None:
    """Row 5."""
    server = make_server()
    with start_fleet(server) as live:
        live.strike(server.pause, off_ms=live.timers.lease_ms)
        live.revoke("NOT CONFIRMED", wait_ms=2_000)


def test_killed(start_fleet: StartFleet, make_server: Callable[..., EmbeddedServer]) -> None:
    """Row 16."""
    server = make_server()
    with start_fleet(server) as live:
        not_after_ms = live.status().active.not_after_ms
        live.strike(server.kill, off_ms=live.timers.lease_ms)
        report = live.revoke("NOT CONFIRMED", wait_ms=2_000)
        assert report.bound_ms == not_after_ms and len(live.spooled()) == 1


def test_restarted_empty(
    start_fleet: StartFleet, make_server: Callable[..., EmbeddedServer]
) -> None:
    """Row 6."""
    server = make_server()
    with start_fleet(server) as live:
        live.strike(server.kill, off_ms=live.timers.lease_ms)
        server.restart(empty=True)
        live.revoke("COMPLETE")


def test_restarted_with_its_data(
    start_fleet: StartFleet, make_server: Callable[..., EmbeddedServer]
) -> None:
    """Row 6: that is an outage, after which the term goes on until somebody ends it."""
    server = make_server()
    with start_fleet(server) as live:
        closed_ns = live.lapses_within(live.timers.lease_ms, live.strike(server.kill))
        server.restart()
        for worker in live.workers.values():
            worker.wait_allowed(after_ns=closed_ns)
        live.revoke("COMPLETE")


def test_old_rdb(
    start_fleet: StartFleet,
    make_server: Callable[..., EmbeddedServer],
    wait_for: Callable[..., None],
) -> None:
    """Row 22. A worker that never heard of the stop is there, and its heartbeat sleeps."""
    server = make_server()
    with start_fleet(server) as live:
        live.raw.save()
        live.revoke("COMPLETE")
        live.heartbeats["hb-1"].pause()
        live.strike(lambda: _restore_rdb(server))
        assert live.raw.hget("golive:active", "term") == b"1", "the restart brought it back"
        live.must_be_off(clock.now_ns(), 0, only="pod-3")
        live.start_worker("pod-3")
        time.sleep(live.timers.lease_ms / 1000)
        assert live.raw.exists("golive:active"), "all this while it stood there"
        live.heartbeats["hb-1"].resume()
        wait_for(lambda: live.raw.exists("golive:revoked"), what="the tombstone")


def _restore_rdb(server: EmbeddedServer) -> None:
    """Restart from the snapshot in the server's folder, as after the loss of the newer log."""
    server.kill()
    shutil.rmtree(server.dir / "appendonlydir")
    server.options["appendonly"] = "no"
    server.restart()


@pytest.mark.parametrize("pressure", ["allkeys-random"])
def test_evicted(start_fleet: StartFleet, pressure: str) -> None:
    """Row 25. The server is set up so after the activation, which refuses it."""
    with start_fleet() as live:
        live.raw.config_set("maxmemory-policy", pressure)
        live.strike(lambda: _fill_until_evicted(live.raw), off_ms=live.timers.lease_ms)
        live.raw.config_set("maxmemory", 0)
        live.revoke("COMPLETE")
        with pytest.raises(Exception, match="maxmemory-policy is allkeys-random"):
            live.activate(over_unconfirmed=True)


def _fill_until_evicted(raw: Any) -> None:
    raw.config_set("maxmemory", raw.info("memory")["used_memory"] + 2_000_000)
    for number in range(10_000):
        raw.set(f"filler:{number}", b"x" * 100_000)
        if not raw.exists("golive:active"):
            return
    pytest.fail("the server did not evict the key")


@pytest.fixture
def faketime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the clock of every server that is started now: `faketime("-3600")`."""
    found = list(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        pytest.fail("libfaketime is not installed: apt-get install faketime")
    file = tmp_path / "clock"

    def step(seconds: str) -> None:
        file.with_suffix(".new").write_text(f"{seconds}\n")
        file.with_suffix(".new").replace(file)

    step("+0")
    monkeypatch.setenv("LD_PRELOAD", str(found[0]))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(file))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    return step


@pytest.mark.parametrize("server_kind", ["valkey"], indirect=True, scope="session")
@pytest.mark.parametrize("step", ["-3600", "+3600"])
def test_clock(
    start_fleet: StartFleet,
    faketime: Callable[[str], None],
    make_server: Callable[..., EmbeddedServer],
    monkeypatch: pytest.MonkeyPatch,
    wait_for: Callable[..., None],
    step: str,
) -> None:
    """Row 27. Not on Debian's Redis: its jemalloc asks for the time before libfaketime can answer."""
    server = make_server()
    monkeypatch.undo()  # nobody but the server is to be shown it

    def stepped() -> None:
        faketime(step)
        wait_for(lambda: abs(live.raw.time()[0] - time.time() - int(step)) < 60, what="its clock")

    with start_fleet(server) as live:
        live.strike(stepped, off_ms=live.timers.beat_ms)
        live.revoke("COMPLETE")
