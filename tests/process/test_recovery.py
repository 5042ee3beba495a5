"""What comes back from a backup, a replica or an empty disk starts nobody."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from golive_redis import clock, config
from golive_redis.testing.server import EmbeddedServer


@pytest.fixture
def one_server() -> Iterator[EmbeddedServer]:
    """For what no server has a part in."""
    with EmbeddedServer() as server:
        yield server


def backup(server: EmbeddedServer, folder: Path) -> None:
    """Copy what is on the server's disk: everything that it has acknowledged."""
    shutil.copytree(server.dir / "appendonlydir", folder)


def restore(server: EmbeddedServer, folder: Path) -> None:
    """Restart from the copy."""
    server.kill()
    shutil.rmtree(server.dir / "appendonlydir")
    shutil.copytree(folder, server.dir / "appendonlydir")
    server.restart()


def test_an_activation_from_a_backup_arms_nobody_and_the_stop_comes_back(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    tmp_path: Path,
    wait_for: Callable[..., None],
) -> None:
    """Row 22: to latched workers, to one that restarted, and to one that is new."""
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2")
    backup(own_server, tmp_path / "backup")
    report = live.revoke()
    assert report.outcome.result == "COMPLETE"
    heartbeat = live.heartbeats["hb-1"]
    heartbeat.pause()
    killed = live.workers["pod-2"]
    killed.kill()
    stopped_ns = clock.now_ns()
    restore(own_server, tmp_path / "backup")
    assert live.raw.hget("golive:active", "term") == b"1", "it is back, and the tombstone is not"
    assert not live.raw.exists("golive:revoked")
    again, new = live.start_workers("pod-2", "pod-3")
    wait_for(lambda: again.check()["reason"] == "revoked", what="its remembered latch")
    wait_for(lambda: new.check()["reason"] == "not-armed", what="it waits for a beat to advance")
    assert live.workers["pod-1"].check()["reason"] == "revoked"
    assert live.raw.exists("golive:active"), "all this while it stood there"
    heartbeat.resume()
    heartbeat.wait_said("the store lost revocation 2; re-asserted")
    wait_for(lambda: not live.raw.exists("golive:active"), what="the stop")
    for worker in (live.workers["pod-1"], again, new):
        assert worker.last_permit_ns() < stopped_ns
    # The heartbeats never ran, and the backup has lost what the worker said before it was killed.
    dead = frozenset({f"pod-2:{killed.instance}"})
    once_more = live.revoke(dead=frozenset({"hb-2", "hb-3"}), dead_workers=dead)
    assert (once_more.outcome.result, once_more.epoch) == ("COMPLETE", 2)
    assert len(live.records("revocation")) == 1, "the entry that the backup had lost is back"


def test_a_heartbeat_with_an_empty_disk_stays_silent_after_a_failover_lost_the_stop(
    fleet: Callable[..., Any],
    primary_and_replica: tuple[EmbeddedServer, EmbeddedServer],
    proxy: Callable[..., Any],
    wait_for: Callable[..., None],
) -> None:
    """Row 62. And S14: on another primary than the activation's, receipts are not enough."""
    primary, replica = primary_and_replica
    network = proxy(primary)
    live = fleet(primary, store={"url": network.url})
    live.go_live("pod-1")
    with replica.client() as lagging:
        wait_for(lambda: lagging.exists("golive:active"), what="replication")
        lagging.execute_command("REPLICAOF", "NO", "ONE")  # what is written from now on is lost
        assert live.revoke(config=live.patient).outcome.by == "receipts"
        stopped_ns = clock.now_ns()
        live.heartbeats["hb-1"].kill()
        for path in live.state_dir.glob("heartbeat-*"):
            path.unlink()
        network.lead_to(replica)
        assert lagging.hget("golive:active", "term") == b"1"
        heartbeat, new = live.start_heartbeat("hb-1", wait=False), live.start_worker("pod-2")
        heartbeat.wait_said("term 1 was active before this heartbeat knew of it")
        wait_for(lambda: new.check()["reason"] == "not-armed", what="it waits for a beat")
        assert live.workers["pod-1"].check()["reason"] == "revoked"
        assert lagging.exists("golive:active"), "all this while it stood there"
        assert not [said for said in heartbeat.said() if said.startswith("beating")]
        report = live.revoke(dead=frozenset({"hb-2", "hb-3"}))
        assert report.outcome.result == "COMPLETE" and report.outcome.by == "time"
        assert all(row.drained_ms is not None for row in report.outcome.workers)
        assert not lagging.exists("golive:active")
    assert new.last_permit_ns() == 0
    assert live.workers["pod-1"].last_permit_ns() < stopped_ns


def test_after_flushall_the_next_number_is_above_every_one_that_was_ever_verified(
    fleet: Callable[..., Any], one_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Section 7: from this host's memory, or for a stranger from what the pods remember."""
    live = fleet(one_server)
    live.go_live("pod-1")
    worker = live.workers["pod-1"]
    stranger = config.load(live.write_config(state_dir="elsewhere"), environ={})
    for settings, epoch in ((None, 3), (stranger, 5)):
        assert live.halt(symbol="BTC").restriction.record.epoch == epoch - 1
        flushed_ns = clock.now_ns()
        live.raw.flushall()
        worker.wait_denied(after_ns=flushed_ns)
        live.heartbeats["hb-1"].wait_said("was removed without a stop")
        wait_for(lambda: live.raw.keys("golive:worker:pod-1:*"), what="presence")
        live.activate(config=settings)
        assert live.raw.hget("golive:active", "term") == str(epoch).encode()
        worker.wait_allowed(after_ns=flushed_ns)
    live.halt(symbol="BTC")
    live.raw.flushall()
    live.heartbeats["hb-1"].wait_said("term 5 was removed without a stop")
    wait_for(lambda: live.raw.keys("golive:worker:pod-1:*"), what="presence")
    report = live.revoke_until(
        lambda r: any(row.answered for row in r.outcome.heartbeats), config=stranger, wait_ms=2_000
    )
    assert report.epoch == 7, "a stop numbers in the same way"
    # Nobody can tell any more who was on the roster: the whole keyset is asked, and two never ran.
    assert report.outcome.result == "NOT CONFIRMED"
    assert {row.name: row.answered for row in report.outcome.heartbeats} == {
        "hb-1": True,
        "hb-2": False,
        "hb-3": False,
    }
    again = live.revoke(config=stranger, dead=frozenset({"hb-2", "hb-3"}))
    assert (again.epoch, again.outcome.result, again.outcome.by) == (7, "COMPLETE", "time")


def test_a_stop_that_cannot_be_put_back_now_keeps_nothing_else_from_being_noted(
    fleet: Callable[..., Any], one_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 24's neighbour: tombstone and key go at once, and the first try to put back fails."""
    live = fleet(one_server)
    live.go_live("pod-1")
    live.revoke()
    live.activate()
    noted = len(live.records("note"))
    live.raw.execute_command("ACL", "SETUSER", "default", "-eval")
    live.raw.delete("golive:revoked", "golive:active")
    live.heartbeats["hb-1"].wait_said("term 3 was removed without a stop")
    live.raw.execute_command("ACL", "SETUSER", "default", "+eval")
    wait_for(lambda: live.raw.hexists("golive:revoked", "record"), what="the tombstone")
    assert len(live.records("note")) == noted + 1
    assert live.workers["pod-1"].check()["reason"] in {"revoked", "not-activated"}


def test_a_heartbeat_that_is_cut_off_while_somebody_activates_beats_for_that_term(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 62's other end: the same server with the same data, over another connection."""
    live = fleet(own_server)
    live.start_workers("pod-1")
    beating = live.start_heartbeat()
    wait_for(lambda: beating.ask("status")["waiting_for"] == "nothing is active", what="it looked")
    beating.pause()
    clients = live.raw.client_list()
    links = [item["id"] for item in clients if item["name"] == "golive-heartbeat-hb-1"]
    assert links
    for link in links:
        live.raw.client_kill_filter(_id=link)
    live.activate(wait_s=0)
    beating.resume()
    live.workers["pod-1"].wait_allowed()
