"""A stop does not wait for a finger: who signs late closes the fleet first, and is heard later."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from golive_redis import clock
from golive_redis.config import keyfile
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import peek
from golive_redis.stop import revoke, signing
from golive_redis.stop.memory import Memory
from golive_redis.stop.progress import StopReport
from golive_redis.testing.server import EmbeddedServer
from kit.keystores import answering, running_agent, script, signing_with

MS = clock.NS_PER_MS


@pytest.fixture
def finger(tmp_path: Path) -> Path:
    """What alice's program waits for: the file `touched`; it says that it waits in `asked`."""
    return tmp_path / "touched"


def waiting_for(finger: Path, live: Any) -> str:
    """An `exec:` for alice that signs once the finger is there."""
    private = keyfile.read(live.folder / "alice.pem", {})
    asked = finger.with_name("asked")
    body = f"open({str(asked)!r}, 'a').write('x')\n"
    body += f"while not os.path.exists({str(finger)!r}): time.sleep(0.01)\n"
    script(live.folder / "sign", body + signing_with(private))
    return "exec:alice:./sign"


@contextmanager
def revoking(live: Any, key: str, **options: Any) -> Iterator[tuple[list[StopReport], list[str]]]:
    """A stop that runs on a thread: its report, later, and what it says meanwhile."""
    reports: list[StopReport] = []
    said: list[str] = []

    def run() -> None:
        options.setdefault("wait_ms", 60_000)
        stop = revoke.Revoke(live.patient, reason="test", key=key, say=said.append, **options)
        reports.append(stop.run())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield reports, said
    finally:
        thread.join(120)
    assert reports, "it raised, or did not end"


def test_the_fleet_is_closed_before_the_signature_and_its_receipts_come_with_it(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
    finger: Path,
) -> None:
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2", heartbeats=("hb-1", "hb-2"))
    grant = live.raw.hget("golive:active", "grant")
    assert grant is not None
    key = waiting_for(finger, live)
    with revoking(live, key) as (reports, said):
        until = time.monotonic() + 20
        while live.raw.exists("golive:active") and time.monotonic() < until:
            time.sleep(0.02)
        assert not live.raw.exists("golive:active"), "the stop waits for its signature"
        wait_for(
            lambda: not any(worker.ask("status")["allowed"] for worker in live.workers.values()),
            what="a closed fleet",
        )
        closed_ns = clock.now_ns()
        assert finger.with_name("asked").exists() and not finger.exists()
        assert not live.raw.exists("golive:revoked"), "nothing is signed yet"
        assert not live.records("revocation")
        assert Memory(live.state_dir).newest.unsigned_at_ms, "this host knows of an unsigned stop"
        assert not reports
        finger.touch()
    (report,) = reports
    assert report.outcome.result == "COMPLETE" and report.outcome.by == "receipts", report
    assert [row.pod.worker for row in report.outcome.workers] == ["pod-1", "pod-2"]
    assert all(row.durable == "yes" for row in report.outcome.workers)
    assert [row.name for row in report.outcome.heartbeats] == ["hb-1", "hb-2"]
    assert report.term and report.ledger == "written"
    (stone,) = live.records("revocation")
    assert live.raw.hget("golive:revoked", "id").decode() == stone
    assert not peek(live.raw.hget("golive:revoked", "record"), Revocation).blind
    for worker in live.workers.values():
        assert worker.check()["reason"] == "revoked"
        assert worker.last_permit_ns() <= closed_ns
    first, gone, *_ = said
    assert first == "the key has not signed yet; turning off without a signature meanwhile"
    assert "without a signature; the signed stop follows" in gone
    assert not Memory(live.state_dir).newest.unsigned_at_ms


def test_an_activation_while_the_finger_is_waited_for_is_revoked_too(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
    finger: Path,
) -> None:
    """What begins after the unsigned end has a later number than the one that is being signed."""
    live = fleet(own_server)
    live.go_live("pod-1")
    key = waiting_for(finger, live)
    with revoking(live, key) as (reports, _):
        wait_for(lambda: not live.raw.exists("golive:active"), what="the key to go")
        wait_for(lambda: not live.workers["pod-1"].ask("status")["allowed"], what="a closed worker")
        live.activate(over_unconfirmed=True)
        live.wait_all_armed()
        finger.touch()
    (report,) = reports
    assert report.outcome.result == "COMPLETE", report
    assert not live.raw.exists("golive:active")
    assert live.workers["pod-1"].check()["reason"] == "revoked"


FAILING: dict[str, str] = {
    "exits 1": "sys.exit(1)",
    "lies": "print(base64.b64encode(bytes(64)).decode())",
    "writes 1 MiB": "print('A' * (1 << 20))",
}


@pytest.mark.parametrize("body", FAILING.values(), ids=FAILING)
def test_a_signer_that_fails_leaves_an_unsigned_stop_that_is_called_that(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None], body: str
) -> None:
    live = fleet(own_server)
    live.go_live("pod-1", heartbeats=("hb-1", "hb-2", "hb-3"))  # all that the keyset has
    script(live.folder / "sign", body)
    with revoking(live, "exec:alice:./sign") as (reports, said):
        pass
    (report,) = reports
    assert (report.outcome.result, report.epoch) == ("NOT CONFIRMED", 0)
    assert report.in_redis_ms is not None
    assert any(text.startswith("the stop is not signed: the program ./sign") for text in said)
    assert any("is deleted, and nothing is signed" in text for text in said)
    assert not live.raw.exists("golive:active") and not live.records("revocation")
    wait_for(lambda: not live.workers["pod-1"].ask("status")["allowed"], what="a closed worker")
    assert live.revoke().outcome.result == "COMPLETE", "with the key in the file"


def test_an_agent_that_never_answers_holds_up_no_stop(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
    tmp_path: Path,
) -> None:
    """It is asked for its keys before anything is read; also then the fleet is closed first."""
    live = fleet(own_server)
    live.go_live("pod-1")
    with tempfile.TemporaryDirectory(prefix="a") as folder:
        path = Path(folder) / "s"
        released = threading.Event()
        with answering(path, lambda _: released.wait(120)):
            config = msgspec.structs.replace(live.patient, environ={"SSH_AUTH_SOCK": str(path)})
            said: list[str] = []
            stop = revoke.Revoke(config, reason="r", key="agent:", say=said.append, wait_ms=60_000)
            report = stop.run()
            released.set()
    assert (report.outcome.result, report.epoch) == ("NOT CONFIRMED", 0)
    assert not live.raw.exists("golive:active")
    assert "turning off without a signature" in said[0]
    assert any("has not answered within 5.0 s" in text for text in said)
    assert report.in_redis_ms is not None and report.in_redis_ms < 5_000 + signing.PATIENCE_MS
    assert "the key is gone after" in said[1]
    wait_for(lambda: not live.workers["pod-1"].ask("status")["allowed"], what="a closed worker")


def test_a_program_that_signs_at_once_is_as_good_as_a_file(
    fleet: Callable[..., Any], own_server: EmbeddedServer, finger: Path
) -> None:
    live = fleet(own_server)
    live.go_live("pod-1")
    finger.touch()
    key = waiting_for(finger, live)
    with revoking(live, key) as (reports, _):
        pass
    (report,) = reports
    assert report.outcome.result == "COMPLETE" and report.outcome.by == "receipts"
    assert report.outcome.workers[0].durable == "yes" and report.ledger == "written"


def test_a_heartbeat_whose_agent_is_gone_says_so_and_the_fleet_closes(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
    program: Callable[..., Any],
) -> None:
    keys = {
        "keyset": "keyset.yaml",
        "operator": "alice.pem",
        "heartbeat": "agent:{name}",
        "worker": "workers.pem",
    }
    live = fleet(own_server, keys=keys)
    with running_agent(wait_for) as agent:
        agent.add("hb-1", keyfile.read(live.folder / "hb-1.pem", {}))
        beating = program(live, **agent.environ)
        live.start_workers("pod-1")
        live.activate()
        live.wait_all_armed()
        beating.await_beats(wait_for)
        agent.stop()
        wait_for(lambda: not live.workers["pod-1"].ask("status")["allowed"], what="a closed worker")
    said = beating.lines()
    assert any("ssh-agent at" in line and "cannot be asked" in line for line in said), said
    assert not any("defect" in line for line in said), said
    report = live.revoke_until(lambda seen: seen.epoch, wait_ms=500)
    assert report.in_redis_ms is not None, "the stop needs no signature of the heartbeat's"
