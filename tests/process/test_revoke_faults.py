"""Revoke while the store, the ledger, the keys or the words do not do what they should."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from golive_redis import clock, config
from golive_redis.errors import RefusedError, StoreUnavailableError
from golive_redis.operator import session
from golive_redis.operator.activation import Activation
from golive_redis.operator.session import Operator
from golive_redis.stop import confirmation, revoke
from golive_redis.stop.inbox import Receipts
from golive_redis.stop.progress import StopReport
from golive_redis.store.store import Store
from golive_redis.testing.server import EmbeddedServer
from kit.processes import Span
from kit.refusals import misconf, noreplicas, readonly

MS = clock.NS_PER_MS


@pytest.fixture
def one_server() -> Iterator[EmbeddedServer]:
    """For what no server has a part in."""
    with EmbeddedServer() as server:
        yield server


def assert_off_within_lease(live: Any, span: Span) -> None:
    for worker in live.workers.values():
        worker.closed_within(live.timers.lease_ms, span)


def stopped(called_ns: int, report: StopReport) -> Span:
    """From the call of revoke until Redis had executed it."""
    assert report.in_redis_ms is not None, report.problems
    return Span(called_ns, called_ns + int(report.in_redis_ms * MS))


def test_out_of_memory_holds_nothing_up(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 13: receipts that cannot be stored arrive by PUBLISH."""
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2")
    live.raw.config_set("maxmemory", 1)
    with pytest.raises(Exception, match="maxmemory"):
        live.raw.set("full", "1")
    report = live.revoke(config=live.patient)
    assert report.outcome.result == "COMPLETE" and report.outcome.by == "receipts"
    assert report.ledger == "written"  # the script may write beyond maxmemory
    (stone,) = live.records("revocation")
    assert not live.raw.exists(f"golive:receipt:{stone}"), "nothing could be stored"
    assert live.raw.hget("golive:revoked", "id").decode() == stone
    live.raw.config_set("maxmemory", 0)
    assert live.revoke().outcome.result == "COMPLETE"
    assert live.records("revocation") == [stone]


def test_a_store_that_refuses_every_write_still_passes_the_stop_on(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
) -> None:
    """Row 14: the signed PUBLISH goes out first, and its receipts are enough.

    Held for some time before the stop, for a store that cannot save refuses even PING.
    """
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2", heartbeats=("hb-1", "hb-2"))
    for number, fault in enumerate([misconf, noreplicas, readonly], start=1):
        if number > 1:
            live.activate()
        with fault(own_server):
            with pytest.raises(Exception, match=r"MISCONF|NOREPLICAS|READONLY|read only|replicas"):
                live.raw.set("written", "1")
            time.sleep(3 * live.timers.read_every_ms / 1000)
            # The tombstone is never shown, so a revoke uses up the time that it is given.
            report = live.revoke_until(
                lambda seen: seen.outcome.result == "COMPLETE",
                wait_ms=live.timers.all_off_ms + 400,
            )
            returned_ns = clock.now_ns()
            assert report.in_redis_ms is None, "nothing could be deleted"
            assert report.outcome.result == "COMPLETE" and report.outcome.by == "time"
            for heartbeat in report.outcome.heartbeats:
                assert heartbeat.durable == "yes"
            for row in report.outcome.workers:  # their words came by PUBLISH alone
                assert row.drained_ms is not None and row.left == 0
            for worker in live.workers.values():
                assert worker.check()["reason"] == "revoked"
                assert worker.last_permit_ns() <= returned_ns
            assert report.ledger == "spooled" and len(live.spooled()) == 1
            assert live.raw.exists("golive:active"), "it stands there, and nobody acts on it"
        wait_for(lambda: not live.spooled(), what="a heartbeat that sends the spool")
        assert not live.raw.exists("golive:active")
        again = live.revoke()
        assert (again.outcome.result, again.epoch) == ("COMPLETE", report.epoch)
        assert len(live.records("revocation")) == number


def test_an_error_reply_does_not_cost_the_connection_that_hears_the_receipts(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """Row 14: receipts that cannot be stored are heard once, or never."""
    live = fleet(one_server)
    live.go_live("pod-1")
    opened = []
    with noreplicas(one_server):
        run = revoke.Revoke(live.config, reason="test", wait_ms=3_000)
        connect = run._connections.connect
        run._connections.connect = lambda: opened.append(connect())
        report = run.run()
    assert len(opened) == 1, "connected once, whatever was refused"
    assert report.outcome.heartbeats[0].latched_ms is not None


def test_a_ledger_of_the_wrong_type_is_told_and_spooled_and_stops_nothing(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 17."""
    live = fleet(own_server)
    live.go_live("pod-1")
    live.raw.rename("golive:audit", "aside")
    live.raw.set("golive:audit", "what?")
    report = revoke.Revoke(live.patient, reason="test", wait_ms=60_000).run()
    assert report.outcome.result == "COMPLETE" and report.outcome.by == "receipts"
    assert any("the audit entry is not in Redis yet" in problem for problem in report.problems)
    assert not any("did not run" in problem for problem in report.problems)
    assert report.ledger == "spooled" and len(live.spooled()) == 1
    live.raw.delete("golive:audit")
    live.raw.rename("aside", "golive:audit")
    with Operator(live.config) as operator:
        session.send_spool(operator, print)
    assert not live.spooled()
    assert len(live.records("revocation")) == 1


def test_a_tombstone_of_the_wrong_type_closes_everybody_until_revoke_repairs_it(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 18."""
    live = fleet(own_server)
    live.go_live("pod-1")
    spoiled = live.timed(lambda: live.raw.set("golive:revoked", "what?"))
    assert_off_within_lease(live, spoiled)
    with pytest.raises(RefusedError, match="golive:revoked has a wrong type") as refused:
        live.activate()
    assert "golive revoke" in refused.value.hint
    report = live.revoke()
    assert report.outcome.result == "COMPLETE"
    assert live.raw.type("golive:revoked") == b"hash"
    live.activate()
    live.workers["pod-1"].wait_allowed(after_ns=spoiled.done_ns)


def test_a_tombstone_that_somebody_forged_is_replaced(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """Row 18's neighbour: well-formed and numbered high, so that no later one would go above it."""
    live = fleet(one_server)
    live.go_live("pod-1")
    fields = {"epoch": "900", "id": "?", "record": "{}"}
    forged = live.timed(lambda: live.raw.hset("golive:revoked", mapping=fields))
    assert_off_within_lease(live, forged)
    with pytest.raises(RefusedError, match="the tombstone is refused"):
        live.activate()
    report = live.revoke(config=live.patient)
    assert report.outcome.result == "COMPLETE" and report.outcome.by == "receipts"
    assert any("does not verify" in problem for problem in report.problems)
    assert live.raw.hget("golive:revoked", "epoch") == str(report.epoch).encode()
    assert live.status().revoked.blind and live.status().revoked.confirmed
    assert len(live.records("revocation")) == 1
    live.activate()
    live.workers["pod-1"].wait_allowed(after_ns=forged.done_ns)


def test_redis_down_is_not_confirmed_and_the_instant_of_the_end_is_known(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 16: what `golive revoke` prints with exit code 3. tests/process/test_spool.py goes on."""
    live = fleet(own_server)
    live.go_live("pod-1")
    grant = live.status().active
    killed = live.timed(own_server.kill)
    report = live.revoke(wait_ms=400)
    assert report.outcome.result == "NOT CONFIRMED" and report.in_redis_ms is None
    assert report.bound_ms == grant.not_after_ms
    assert report.ledger == "spooled" and len(live.spooled()) == 1
    assert any("cannot reach Redis" in problem for problem in report.problems)
    assert_off_within_lease(live, killed)


@pytest.mark.parametrize("key", ["missing.pem", "torn.pem", "workers.pem"])
def test_without_a_key_that_may_revoke_the_key_is_deleted_and_nothing_is_claimed(
    fleet: Callable[..., Any], one_server: EmbeddedServer, key: str
) -> None:
    """Section 7: without a usable key it still does the plain DEL, says so, NOT CONFIRMED."""
    live = fleet(one_server)
    (live.folder / "torn.pem").write_text("-----BEGIN")
    (live.folder / "torn.pem").chmod(0o600)
    live.go_live("pod-1")
    called_ns = clock.now_ns()
    report = live.revoke(key=str(live.folder / key), wait_ms=1_000)
    assert report.outcome.result == "NOT CONFIRMED" and report.epoch == 0
    assert report.in_redis_ms is not None and report.ledger == "failed"
    assert any("no usable key" in problem for problem in report.problems)
    assert any("golive:active is deleted" in problem for problem in report.problems)
    assert live.raw.exists("golive:active", "golive:revoked") == 0, "nothing that pods would refuse"
    assert_off_within_lease(live, stopped(called_ns, report))
    live.heartbeats["hb-1"].wait_said("removed without a stop")
    assert live.raw.exists("golive:active") == 0
    again = live.revoke(key=str(live.folder / key), wait_ms=200)
    assert again.in_redis_ms is None and again.outcome.result == "NOT CONFIRMED"
    assert "nothing was active, and nothing could be signed" in again.problems


def broken(*_: object, **__: object) -> Any:
    raise StoreUnavailableError("broken on purpose")


def test_no_part_that_fails_keeps_the_key_alive(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """Section 7: what comes later never holds up what comes earlier, and nothing raises."""
    live = fleet(one_server)
    live.go_live("pod-1")
    parts = [
        (Store, "snapshot"),
        (Store, "told_directives"),
        (Store, "publish"),
        (Store, "server"),
        (confirmation, "read_rosters"),
        (Receipts, "read"),
        (Store, "confirm"),
        (Store, "revoke"),
    ]
    for number, (owner, name) in enumerate(parts):
        if number:
            live.activate(over_unconfirmed=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, broken)
            called_ns = clock.now_ns()
            report = live.revoke(wait_ms=150)
        assert report.in_redis_ms is not None, name
        assert live.raw.exists("golive:active") == 0, name
        assert_off_within_lease(live, stopped(called_ns, report))


def test_one_connection_is_enough_to_stop(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """Section 7: the one that hears receipts comes second."""
    live = fleet(one_server)
    live.go_live("pod-1")
    before = live.raw.info("clients")["connected_clients"]
    live.raw.config_set("maxclients", before + 1)
    called_ns = clock.now_ns()
    report = live.revoke(wait_ms=300)
    assert any("cannot listen for receipts" in problem for problem in report.problems)
    assert report.in_redis_ms is not None and report.ledger == "written"
    assert live.raw.exists("golive:active") == 0
    assert_off_within_lease(live, stopped(called_ns, report))


def test_nothing_in_the_store_makes_revoke_raise(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """Row 65 too. A number that int() refuses, and every other key of a wrong type."""
    live = fleet(one_server)
    live.go_live("pod-1")
    live.raw.set("golive:epoch", "9" * 5_000)
    for key in ("beat", "last", "head", "fleet", "heartbeats"):
        # In one step: a beat in between would make the hash again.
        live.raw.pipeline().delete(f"golive:{key}").rpush(f"golive:{key}", "what?").execute()
    # By time it would be over, for those whom this host remembers.
    report = live.revoke_until(lambda r: r.outcome.heartbeats[0].answered, wait_ms=3_000)
    assert report.outcome.result == "NOT CONFIRMED", "the rosters cannot be read"
    assert report.in_redis_ms is not None and live.raw.exists("golive:active") == 0
    assert live.raw.hexists("golive:revoked", "record")
    assert live.workers["pod-1"].check()["reason"] == "revoked"


def test_the_words_that_come_with_a_stop_cannot_stop_it(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """A reason too long, with a byte that was no UTF-8, and with control characters."""
    live = fleet(one_server)
    live.start_heartbeat()
    live.activate(wait_s=0)
    report = live.revoke("caf\udce9 \x00\x1b[2J" + "🛑" * 600, ticket="\n" * 600)
    assert report.outcome.heartbeats[0].answered
    assert len(live.status().revoked.reason) == 500


def test_a_term_that_this_host_cannot_verify_is_covered_all_the_same(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """Row 41's neighbour: with an old keyset the epoch of what is active is not known.

    Nor whom its grant names, so that every heartbeat of the keyset has to answer.
    """
    live = fleet(one_server)
    bob = {**live.settings["keys"], "operator": "bob.pem"}
    bobs = config.load(live.write_config(keys=bob, state_dir="bob"), environ={})
    live.write_keyset("old.yaml", without=("bob", "hb-2", "hb-3"))
    olds = config.load(live.write_config(keyset="old.yaml", state_dir="old"), environ={})
    live.start_heartbeat()
    live.start_worker("pod-1")
    live.activate(config=bobs)
    assert live.revoke().epoch == 2  # by alice, whom the old keyset knows
    live.activate(config=bobs)
    live.raw.delete("golive:epoch")  # which would tell that there is more than it can verify
    report = live.revoke(config=olds)
    assert any("the active grant is refused" in problem for problem in report.problems)
    assert report.epoch == 3 and live.status().revoked.blind, "not the last stop once more"
    assert report.outcome.result == "COMPLETE" and report.outcome.by == "receipts"
    assert live.workers["pod-1"].check()["reason"] == "revoked"
    assert live.heartbeats["hb-1"].said().count("beating for term 3") == 1


def test_a_stop_that_leaves_the_term_alone_is_not_confirmed(
    fleet: Callable[..., Any], own_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 72: an old keyset, a clock that is slower than the term is old, and no writes."""
    live = fleet(own_server)
    bob = {**live.settings["keys"], "operator": "bob.pem"}
    bobs = config.load(live.write_config(keys=bob, state_dir="bob"), environ={})
    live.write_keyset("old.yaml", without=("bob",))
    olds = config.load(live.write_config(keyset="old.yaml", state_dir="old"), environ={})
    live.start_heartbeat()
    live.start_worker("pod-1")
    live.activate(config=bobs)
    live.revoke(config=bobs)
    live.activate(config=bobs)
    right = clock.wall_ms
    with noreplicas(own_server), monkeypatch.context() as slow:
        slow.setattr(clock, "wall_ms", lambda: right() - 3_600_000)
        report = live.revoke(config=olds, wait_ms=live.timers.all_off_ms + 1_000)
    assert report.epoch == 1, "neither its number nor its time covers the term"
    assert report.outcome.result == "NOT CONFIRMED"
    assert [row.latched_ms for row in report.outcome.heartbeats if row.name == "hb-1"] == [None]
    said = " ".join(live.heartbeats["hb-1"].said())
    assert "revocation 1 by alice does not cover term 3" in said
    live.wait_all_armed()  # it goes on, and nobody has said otherwise
    assert live.revoke(config=bobs).outcome.result == "COMPLETE"


def test_a_blind_stop_by_a_clock_that_is_a_day_fast_is_told_and_replaced(
    fleet: Callable[..., Any], one_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 102."""
    live = fleet(one_server)
    live.write_keyset("old.yaml", without=("bob", "hb-2", "hb-3"))
    bob = {**live.settings["keys"], "operator": "bob.pem"}
    bobs = config.load(live.write_config(keys=bob, state_dir="bob"), environ={})
    olds = config.load(live.write_config(keyset="old.yaml", state_dir="old"), environ={})
    live.start_heartbeat()
    live.start_worker("pod-1")
    live.activate(config=bobs)
    live.raw.delete("golive:epoch")
    right = clock.wall_ms
    with monkeypatch.context() as fast:
        fast.setattr(clock, "wall_ms", lambda: right() + 86_400_000)
        assert live.revoke(config=olds).outcome.result == "COMPLETE"
    assert live.status().revoked.blind
    with pytest.raises(
        RefusedError, match=r"without a look at Redis .* ahead of this host's"
    ) as no:
        live.activate()
    assert "`golive revoke` puts another in its place" in no.value.hint
    assert live.revoke().outcome.result == "COMPLETE"
    assert not live.status().revoked.blind, "by its number, not once more by that clock"
    with Operator(live.config) as operator:
        Activation(operator, reason="test").prepare()
