"""Revoke races others: an activation, a halt, its own death, a drain that is still going on."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from golive_redis import clock, config
from golive_redis.errors import StoreUnavailableError
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import peek
from golive_redis.stop import confirmation, revoke
from golive_redis.stop.progress import StopReport
from golive_redis.store.store import Store
from golive_redis.testing.server import EmbeddedServer

MS = clock.NS_PER_MS


@pytest.fixture
def one_server() -> Iterator[EmbeddedServer]:
    """For what no server has a part in."""
    with EmbeddedServer() as server:
        yield server


@contextmanager
def meanwhile(act: Callable[[], Any]) -> Iterator[list[Any]]:
    """Do something in a thread; its result is in the list afterwards."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(act()))
    thread.start()
    try:
        yield results
    finally:
        thread.join(120)
    assert results, "it raised, or did not end"


def raced(live: Any, first: Callable[[], Any]) -> Any:
    """Return a revoke in which `first` happens after it has read and signed, before it is sent."""
    run = revoke.Revoke(live.patient, reason="raced", wait_ms=60_000)
    send, pending = run._send, [first]

    def late_send() -> None:
        while pending:
            pending.pop()()
        send()

    run._send = late_send
    return run


def test_a_halt_that_took_its_epoch_is_covered_by_a_second_revocation(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 60. Then the same with an activation, whose term the first revocation does not cover."""
    live = fleet(own_server)
    live.go_live("pod-1")
    report = raced(live, lambda: live.halt("first", symbol="BTC")).run()
    assert report.outcome.result == "COMPLETE" and report.outcome.by == "receipts"
    assert report.epoch == 3, "2 was the halt's"
    assert len(live.records("revocation")) == 2 and len(live.records("restriction")) == 1
    assert live.records("revocation")[-1] == live.raw.hget("golive:revoked", "id").decode()

    report = raced(live, live.activate).run()
    assert report.outcome.result == "COMPLETE" and report.outcome.by == "receipts"
    assert (report.term, report.epoch) == (4, 5)
    assert live.raw.hget("golive:revoked", "epoch") == b"5"
    assert live.workers["pod-1"].check()["reason"] == "revoked"
    assert live.heartbeats["hb-1"].ask("status")["latch"] == 5
    assert live.status().revoked.confirmed
    assert live.revoke().epoch == 5 and len(live.records("revocation")) == 3


def test_of_two_stops_at_the_same_moment_both_are_told_the_same(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """Row 99: one tombstone stands, and whoever comes second goes on with it."""
    live = fleet(one_server)
    live.go_live("pod-1")
    first: list[StopReport] = []
    run = raced(live, lambda: first.append(live.revoke()))
    report = run.run()
    assert report.outcome.result == first[0].outcome.result == "COMPLETE"
    assert report.epoch == first[0].epoch == 2
    assert live.status().revoked.confirmed
    standing = live.raw.hget("golive:revoked", "id").decode()
    assert live.records("revocation")[0] == standing, "the one that was there first"


def test_answers_to_a_revocation_that_does_not_cover_the_term_count_for_nothing(
    fleet: Callable[..., Any], one_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 60: everybody has answered the old one; the one that covers the term is held up."""
    live = fleet(one_server)
    live.go_live("pod-1")
    live.revoke()
    run = raced(live, live.activate)
    execute, publish = Store.revoke, Store.publish
    tries: list[int] = []

    def late_publish(store: Any, channel: str, raw: bytes) -> Any:
        tries.append(peek(raw, Revocation).epoch)
        if len(tries) == 2:
            raise StoreUnavailableError("held up on purpose")
        return publish(store, channel, raw)

    def late_execute(store: Any, item: Any, **options: Any) -> Any:
        if len(tries) == 2:
            raise StoreUnavailableError("held up on purpose")
        return execute(store, item, **options)

    monkeypatch.setattr(Store, "revoke", late_execute)
    monkeypatch.setattr(Store, "publish", late_publish)
    report = run.run()
    assert tries[:2] == [2, 4]
    assert report.outcome.result == "COMPLETE" and (report.term, report.epoch) == (3, 4)
    held_up_ms = confirmation.REPEAT_MS / 2
    assert all(row.latched_ms > held_up_ms for row in report.outcome.heartbeats)
    assert all(row.latched_ms > held_up_ms for row in report.outcome.workers)
    assert live.raw.hget("golive:revoked", "epoch") == b"4"
    assert live.heartbeats["hb-1"].ask("status")["latch"] == 4
    assert len(live.records("revocation")) == 2


def test_a_stop_is_not_taken_for_the_last_one_when_a_term_came_and_went_in_between(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """Row 60's neighbour: the old stop's answers are all there, and the heartbeat sleeps.

    Nothing verifiable of term 3 is left for this operator but the number that Redis counted.
    """
    live = fleet(one_server)
    live.go_live("pod-1")
    stranger = config.load(live.write_config(state_dir="elsewhere"), environ={})
    assert live.revoke(config=stranger).outcome.result == "COMPLETE"
    live.activate()
    shutil.rmtree(live.folder / "elsewhere")
    for process in live.processes:
        process.pause()
    live.raw.delete("golive:active", *live.raw.keys("golive:worker:*"))
    live.raw.delete(*live.raw.keys("golive:heartbeat:*"))
    report = live.revoke(config=stranger, wait_ms=300)
    assert report.outcome.result == "NOT CONFIRMED" and report.epoch == 3
    assert not report.outcome.heartbeats[0].answered
    assert peek(live.raw.hget("golive:revoked", "record"), Revocation).blind


def test_a_revoke_that_repeats_itself_leaves_a_later_activation_alone(
    fleet: Callable[..., Any],
    one_server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    wait_for: Callable[..., None],
) -> None:
    """Row 63."""
    live = fleet(one_server)
    live.go_live("pod-1", heartbeats=("hb-1", "hb-2"))
    live.heartbeats["hb-2"].pause()
    run = revoke.Revoke(live.config, reason="insists", wait_ms=600_000)  # it repeats once a second
    with meanwhile(run.run) as reports:
        wait_for(lambda: live.raw.hexists("golive:revoked", "record"), what="the stop")
        insisted_ns = clock.now_ns()
        live.activate(over_unconfirmed=True)
        live.workers["pod-1"].wait_allowed(after_ns=insisted_ns)
        wait_for(lambda: "later activation" in str(run._connections.problems), what="a repetition")
        over = SimpleNamespace(now_ms=lambda: clock.now_ms() + 600_000)
        monkeypatch.setattr(confirmation, "clock", over)
    (report,) = reports
    assert report.outcome.result == "NOT CONFIRMED" and report.epoch == 2
    assert any("later activation" in problem for problem in report.problems)
    assert live.raw.hget("golive:active", "term") == b"3"
    live.workers["pod-1"].wait_permit()
    states = [event for event in live.workers["pod-1"].states() if event["at_ns"] > insisted_ns]
    opened = next(at for at, state in enumerate(states) if state["allowed"])
    # A busy machine may have made it lapse; nothing has revoked it.
    assert {state["reason"] for state in states[opened:]} <= {"", "lapsed", "store-unreachable"}


KILLED = """
import os, signal, sys
from golive_redis import config
from golive_redis.stop import journal, revoke
from golive_redis.store.store import Store

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

run = revoke.Revoke(config.load(sys.argv[1]), reason="killed on the way")
match sys.argv[2]:
    case "published":
        Store.revoke = die
    case "stopped":  # before it has learnt what the script did
        run._executed = die
    case "remembered":
        run._confirm = die
    case "judged":
        journal.Journal.confirm = die
run.run()
"""


@pytest.mark.parametrize("point", ["published", "stopped", "remembered", "judged"])
def test_an_operator_who_dies_on_the_way_runs_it_again_and_it_is_one_stop(
    fleet: Callable[..., Any], point: str, wait_for: Callable[..., None]
) -> None:
    """Row 50."""
    with EmbeddedServer() as server:
        live = fleet(server)
        live.go_live("pod-1")
        died = subprocess.run(
            [sys.executable, "-P", "-c", KILLED, str(live.path), point], check=False, timeout=120
        )
        assert died.returncode == -signal.SIGKILL
        live.workers["pod-1"].wait_denied(after_ns=clock.now_ns() - 5_000 * MS)
        # Where only the PUBLISH went out, the heartbeat that heard it puts the tombstone up.
        wait_for(lambda: live.raw.hexists("golive:revoked", "record"), what="the tombstone")
        assert live.raw.exists("golive:active") == 0
        if point == "published":  # and the ledger entry with it
            wait_for(lambda: live.records("revocation"), what="the heartbeat's entry")
        assert len(live.records("revocation")) == 1, "in force and in the ledger: one step"
        report = live.revoke()
        assert report.outcome.result == "COMPLETE"
        (entry,) = live.records("revocation")
        assert entry == live.raw.hget("golive:revoked", "id").decode()
        assert live.status().revoked.confirmed
        record = peek(live.raw.hget("golive:revoked", "record"), Revocation)
        assert (report.epoch, record.reason) == (2, "killed on the way")


KILLED_WHILE_OTHERS_WRITE = """
import os, signal, sys
from golive_redis import config
from golive_redis.delivery.append import append
from golive_redis.operator import restrictions
from golive_redis.operator.session import Operator
from golive_redis.records.directive import RestrictionKind
from golive_redis.stop.revoke import Revoke
from golive_redis.store import store

run_script = store.scripts.run, store.scripts.run_text
setup, others = config.load(sys.argv[1]), 0

def watched(run):
    def and_die(link, name, *words):
        # Whatever this process has read of the ledger is old by the time at which its script runs.
        if name == sys.argv[2]:
            with Operator(setup) as other:
                append(other.store, b"note of another")
            run(link, name, *words)
            os.kill(os.getpid(), signal.SIGKILL)
        return run(link, name, *words)
    return and_die

store.scripts.run, store.scripts.run_text = map(watched, run_script)
if sys.argv[2] == "revoke":
    Revoke(setup, reason="killed").run()
else:
    with Operator(setup) as operator:
        restrictions.restrict(operator, RestrictionKind.HALT, reason="killed")
"""


@pytest.mark.parametrize("step", ["restrict", "revoke"])
def test_what_is_in_force_is_in_the_ledger_although_its_command_was_killed(
    fleet: Callable[..., Any], step: str
) -> None:
    """Row 50: right after the script, while others write; nobody is left who could add an entry."""
    with EmbeddedServer() as server:
        live = fleet(server)
        live.go_live("pod-1")
        for heartbeat in live.heartbeats.values():
            heartbeat.pause()
        code = [sys.executable, "-P", "-c", KILLED_WHILE_OTHERS_WRITE, str(live.path), step]
        assert subprocess.run(code, check=False, timeout=120).returncode == -signal.SIGKILL
        entries = [fields[b"r"] for _, fields in live.raw.xrange("golive:audit")]
        assert entries[-2] == b"note of another"
        in_force = {
            "restrict": live.raw.hget("golive:active", "r:2"),
            "revoke": live.raw.hget("golive:revoked", "record"),
        }
        assert entries[-1] == in_force[step]
        assert not live.spooled()


def test_impatience_loses_nothing(
    fleet: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., None]
) -> None:
    """Ctrl-C while it waits, with a store that takes no entry: the stop is in the spool by then."""
    with EmbeddedServer() as server:
        live = fleet(server)
        live.go_live("pod-1", heartbeats=("hb-1", "hb-2"))
        live.heartbeats["hb-2"].pause()
        live.raw.config_set("min-replicas-to-write", 1)
        run = revoke.Revoke(live.config, reason="enough")

        def impatient(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(confirmation.Confirmation, "_listen", impatient)
            with pytest.raises(KeyboardInterrupt):
                run.run()
        assert len(live.spooled()) == 1
        live.raw.config_set("min-replicas-to-write", 0)
        live.heartbeats["hb-1"].wait_said(
            "sent now, kept on this host until then: the stop of epoch"
        )
        assert len(live.records("revocation")) == 1
        wait_for(lambda: not live.raw.exists("golive:active"), what="the stop")
        for _ in range(9):  # and its slot of the state folder is free again
            live.revoke(wait_ms=0)


def test_a_stop_that_a_heartbeat_carried_out_first_is_not_told_as_one_of_nothing(
    fleet: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., None]
) -> None:
    """The push goes out before the script, and who hears it may be faster than ours."""
    with EmbeddedServer() as server:
        live = fleet(server)
        live.go_live("pod-1")
        carry_out = Store.revoke

        def late(store: Any, *words: Any, **options: Any) -> Any:
            wait_for(lambda: not live.raw.exists("golive:active"), what="the heartbeat's stop")
            return carry_out(store, *words, **options)

        monkeypatch.setattr(Store, "revoke", late)
        said: list[str] = []
        run = revoke.Revoke(live.config, reason="test", wait_ms=60_000, say=said.append)
        assert run.run().outcome.result == "COMPLETE"
        assert any("the key is gone" in line for line in said)
        assert not any("nothing was active" in line for line in said)


def forgotten_term(fleet: Callable[..., Any], server: EmbeddedServer) -> tuple[Any, Any]:
    """A second term of which the store has only the stop of the first, and one pod that is frozen.

    Returns:
        The fleet, and the configuration of a host that remembers nothing.
    """
    live = fleet(server)
    live.go_live("pod-1", "pod-2")
    assert live.revoke(config=live.patient).outcome.result == "COMPLETE"
    names = ["golive:epoch", "golive:last", "golive:head", "golive:audit", "golive:revoked"]
    kept = {name: live.raw.dump(name) for name in names}
    live.activate()
    live.wait_all_armed()
    live.workers["pod-1"].pause()
    pipe = live.raw.pipeline()
    pipe.delete("golive:active", "golive:beat")
    for name, value in kept.items():
        pipe.restore(name, 0, value, replace=True)
    pipe.execute()
    return live, config.load(live.write_config(state_dir="elsewhere"), environ={})


def test_answers_to_an_earlier_stop_are_none_to_the_stop_of_a_term_that_the_store_has_lost(
    fleet: Callable[..., Any], any_server: EmbeddedServer
) -> None:
    """Row 106: they stand in Redis for seven days, and a pod that is frozen has not said them again."""
    live, stranger = forgotten_term(fleet, any_server)
    report = live.revoke(config=stranger, wait_ms=live.timers.all_off_ms + 500)
    live.workers["pod-1"].resume()
    assert report.outcome.result != "COMPLETE"
    assert report.term == 3, "a pod was told of it"
    assert [row.drained_ms for row in report.outcome.workers if row.pod.worker == "pod-1"] == [None]


def test_a_blind_stop_does_not_rest_on_the_stop_before_it(
    fleet: Callable[..., Any], any_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 106: the store could not be read, and its script meets the tombstone of an earlier term."""
    live, stranger = forgotten_term(fleet, any_server)
    unread = [StoreUnavailableError("no answer")]
    snapshot = Store.snapshot

    def once(store: Any) -> Any:
        if unread:
            raise unread.pop()
        return snapshot(store)

    monkeypatch.setattr(Store, "snapshot", once)
    monkeypatch.setattr(Store, "told_directives", lambda *_: [])
    said: list[str] = []
    report = live.revoke(config=stranger, wait_ms=live.timers.all_off_ms + 500, say=said.append)
    live.workers["pod-1"].resume()
    assert report.outcome.result != "COMPLETE"
    assert report.epoch == 3
    assert "epoch 2 is used; signing on top of it" in said
    assert not any("has stopped it first" in text for text in said)
