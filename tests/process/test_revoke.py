"""Revoke on a fleet of real processes: what it waits for, what it says, and what it never says."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from golive_cli.commands.revoke import show
from golive_cli.output import Output
from golive_redis import clock, config
from golive_redis.core import barrier
from golive_redis.errors import RefusedError, StoreError
from golive_redis.operator.session import Operator, send_spool
from golive_redis.stop import confirmation, revoke
from golive_redis.stop.progress import StopReport
from golive_redis.testing.server import EmbeddedServer

MS = clock.NS_PER_MS


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


def wait_registered(live: Any, wait_for: Callable[..., None], workers: int, beats: int) -> None:
    """Wait until that many are on the rosters; `go_live` activates a moment before that."""

    def listed() -> bool:
        counts = live.raw.zcard("golive:fleet"), live.raw.hlen("golive:heartbeats")
        return counts == (workers, beats)

    wait_for(listed, what="everybody on the rosters")


def assert_complete_by_receipts(live: Any, report: StopReport, called_ns: int, *names: str) -> None:
    assert report.outcome.result == "COMPLETE" and report.outcome.by == "receipts"
    assert report.in_redis_ms is not None and report.ledger == "written" and not report.problems
    assert [row.name for row in report.outcome.heartbeats] == list(live.heartbeats)
    assert all(row.durable == "yes" for row in report.outcome.heartbeats)
    assert [row.pod.worker for row in report.outcome.workers] == list(names)
    for row in report.outcome.workers:
        assert row.left == 0 and row.durable == "yes" and row.off_by is None
        assert 0 < row.latched_ms <= row.drained_ms
        closed_ns = called_ns + row.latched_ms * MS  # its receipt arrived after it had closed
        assert live.workers[row.pod.worker].last_permit_ns() <= closed_ns + MS


def test_a_healthy_fleet_is_off_at_once_and_every_pod_answers(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 1. Then row 64: SCRIPT FLUSH all the while; tombstone and ledger are whole."""
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2", "pod-3", heartbeats=("hb-1", "hb-2"))
    patient = live.patient
    called_ns = clock.now_ns()
    assert_complete_by_receipts(
        live, live.revoke(config=patient), called_ns, "pod-1", "pod-2", "pod-3"
    )
    assert [worker.check()["reason"] for worker in live.workers.values()] == ["revoked"] * 3
    assert all(worker.check("cancel")["permit"] for worker in live.workers.values())
    after = live.status()
    assert (after.state, after.revoked.epoch, after.revoked.confirmed) == ("off", 2, True)
    assert live.raw.exists("golive:active") == 0
    again = live.revoke()
    assert (again.outcome.result, again.epoch, again.ledger) == ("COMPLETE", 2, "written")
    assert len(live.records("revocation")) == 1, "said again, it is still one stop"

    live.activate()
    over = threading.Event()

    def flush() -> bool:
        with own_server.client() as client:
            while not over.is_set():
                client.script_flush()
        return True

    with meanwhile(flush):
        called_ns = clock.now_ns()
        report = live.revoke()
        over.set()
    assert_complete_by_receipts(live, report, called_ns, "pod-1", "pod-2", "pod-3")
    assert live.raw.hget("golive:revoked", "epoch") == b"4"
    assert live.records("revocation")[-1] == live.raw.hget("golive:revoked", "id").decode()


def test_a_healthy_fleet_at_standard_timers(fleet: Callable[..., Any]) -> None:
    """Row 1 at `standard`: a time per worker, all far below the lease."""
    with EmbeddedServer() as server:
        live = fleet(server, timing="standard")
        live.go_live("pod-1", "pod-2", "pod-3")
        called_ns = clock.now_ns()
        assert_complete_by_receipts(live, live.revoke(), called_ns, "pod-1", "pod-2", "pod-3")


@pytest.mark.session
def test_what_is_left_and_who_is_gone_is_told_for_each_worker(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """S14, and row 52: a hook that raises counts as one left. Then workers that `kill -9` ended."""
    live = fleet(own_server, defects=True)  # the hook's traceback is in the log
    live.start_worker("pod-2", wait=False, left=2)
    live.start_worker("pod-3", wait=False, hook="raise")
    live.go_live("pod-1")
    report = live.revoke(config=live.patient)
    assert report.outcome.result == "STOPPED" and report.outcome.by == "receipts"
    left = {row.pod.worker: row.left for row in report.outcome.workers}
    assert left == {"pod-1": 0, "pod-2": 2, "pod-3": 1}
    live.workers["pod-3"].wait_logged("the hook was told to fail")

    live.activate()
    for name in ("pod-2", "pod-3"):
        gone = live.workers[name]
        gone.kill()
        live.raw.delete(f"golive:worker:{name}:{gone.instance}")  # as after 10 s
    report = live.revoke()
    assert report.outcome.result == "STOPPED" and report.outcome.by == "time"
    assert report.outcome.drain_unknown == ["pod-2", "pod-3"]
    rows = {row.pod.worker: row for row in report.outcome.workers}
    assert rows["pod-1"].drained_ms is not None
    latched_ms = report.outcome.heartbeats[0].latched_ms
    for name in ("pod-2", "pod-3"):
        assert rows[name].latched_ms is None
        off_by_ms = rows[name].off_by - report.called_at
        assert off_by_ms == pytest.approx(latched_ms + live.timers.all_off_ms)
    again = live.revoke()
    assert again.outcome.result == "STOPPED", "said again, it is known no better"
    attested = live.revoke(dead_workers=frozenset({"pod-2", "pod-9"}))
    assert attested.outcome.drain_unknown == ["pod-3"]
    assert [row.attested_dead for row in attested.outcome.workers] == [False, True, False]
    assert any("'pod-9'" in text for text in attested.problems)
    assert live.records("note"), "and it is signed"
    live.activate()
    roster = [member.decode() for member in live.raw.zrange("golive:fleet", 0, -1)]
    assert roster == [f"pod-1:{live.workers['pod-1'].instance}"], "the others were struck"
    assert live.revoke(config=live.patient).outcome.by == "receipts"


def test_a_silent_heartbeat_is_waited_for_until_it_answers_or_is_attested_dead(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 66. Also: nobody activates over a stop that was never confirmed, unless one insists."""
    live = fleet(own_server)
    live.go_live("pod-1", heartbeats=("hb-1", "hb-2"))
    bound_ms = live.status().active.not_after_ms
    sleeper = live.heartbeats["hb-2"]
    sleeper.pause()
    report = live.revoke_until(
        lambda r: (
            any(row.answered for row in r.outcome.heartbeats)
            and all(row.drained_ms is not None for row in r.outcome.workers)
        ),
        wait_ms=live.timers.all_off_ms + 400,
    )
    assert report.outcome.result == "NOT CONFIRMED"
    rows = {row.name: row for row in report.outcome.heartbeats}
    assert rows["hb-1"].answered and not rows["hb-2"].answered
    assert report.bound_ms == bound_ms, "the honest bound for a heartbeat that is silent"
    with pytest.raises(RefusedError, match="not confirmed"):
        live.activate()

    insisted_ns = clock.now_ns()
    live.activate(over_unconfirmed=True)
    live.workers["pod-1"].wait_allowed(after_ns=insisted_ns)
    report = live.revoke(wait_ms=300)
    assert report.outcome.result == "NOT CONFIRMED"
    sleeper.resume()
    sleeper.wait_said(f"revoked by alice (epoch {report.epoch})")
    assert live.raw.exists("golive:active") == 0
    again = live.revoke()
    assert (again.outcome.result, again.epoch) == ("COMPLETE", report.epoch)
    assert all(row.answered for row in again.outcome.heartbeats)

    live.activate()
    sleeper.kill()
    wrong = live.revoke(wait_ms=300, dead=frozenset({"hb-3"}))
    assert wrong.outcome.result == "NOT CONFIRMED", "another one's death is not hb-2's"
    noted = len(live.records("note"))
    report = live.revoke(dead=frozenset({"hb-2"}))
    assert (report.outcome.result, report.epoch) == ("COMPLETE", wrong.epoch)
    assert {row.name: row.attested_dead for row in report.outcome.heartbeats}["hb-2"]
    assert live.raw.hkeys("golive:heartbeats") == [b"hb-1"]
    assert len(live.records("note")) == noted + 2, "that it is dead, and that the stop is confirmed"


def test_a_stop_waits_for_the_instant_that_its_own_proof_needs(
    fleet: Callable[..., Any], own_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 100: it would give up as soon as it could know, for a silent worker and a slow heartbeat."""
    live = fleet(own_server, timing="standard")
    live.go_live("pod-1", "pod-2")
    live.workers["pod-2"].kill()
    bound_ms = live.timers.all_off_ms
    # Until the bound counts from the call: the heartbeat answers later than that, so it is too short.
    monkeypatch.setattr(revoke, "GRACE_MS", bound_ms - live.timers.beat_ms)
    said: list[str] = []
    report = live.revoke(wait_ms=None, say=said.append)
    assert (report.outcome.result, report.outcome.by) == ("STOPPED", "time")
    assert report.outcome.drain_unknown == ["pod-2"]
    assert any(text.startswith("every heartbeat has answered; no worker can") for text in said)


def test_an_empty_roster_is_never_complete(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 65: rosters and presence deleted while nobody can register anew."""
    live = fleet(own_server)
    live.start_heartbeat("hb-1", wait=False)
    live.start_worker("pod-1")
    wait_registered(live, wait_for, 1, 1)
    live.activate()
    for process in live.processes:
        process.pause()
    names = live.raw.keys("golive:worker:*") + live.raw.keys("golive:heartbeat:*")
    live.raw.delete("golive:fleet", "golive:heartbeats", *names)
    own = live.revoke(wait_ms=200)
    assert own.outcome.result == "NOT CONFIRMED"
    assert [row.name for row in own.outcome.heartbeats] == ["hb-1"], "remembered from activation"
    assert [row.pod.worker for row in own.outcome.workers] == ["pod-1"]
    stranger = config.load(live.write_config(state_dir="elsewhere"), environ={})
    report = live.revoke(config=stranger, wait_ms=live.timers.all_off_ms + 400)
    assert report.outcome.result == "NOT CONFIRMED" and report.in_redis_ms is not None
    assert [row.name for row in report.outcome.heartbeats] == ["hb-1"], "the grant names it"
    assert not report.outcome.workers
    attested = live.revoke(config=stranger, wait_ms=200, dead=frozenset({"hb-9"}))
    assert attested.outcome.result == "NOT CONFIRMED", "nobody by that name could ever beat"
    for process in live.processes:
        process.resume()
    wait_registered(live, wait_for, 1, 1)
    assert live.revoke().outcome.result == "COMPLETE", "they registered again, and they answer"
    assert not live.workers["pod-1"].check()["permit"]


def test_a_worker_that_registers_after_the_roster_was_read_never_arms(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 68."""
    live = fleet(own_server)
    real, after_the_stop = confirmation.read_rosters, []

    def read_rosters(store: Any, *rest: Any) -> Any:
        stopped = not live.raw.exists("golive:active")
        found = real(store, *rest)
        after_the_stop.append(stopped)
        return found

    monkeypatch.setattr(confirmation, "read_rosters", read_rosters)
    live.go_live("pod-1", heartbeats=("hb-1", "hb-2"))
    live.heartbeats["hb-2"].pause()
    with meanwhile(lambda: live.revoke(config=live.patient)) as reports:
        wait_for(lambda: any(after_the_stop), what="the roster was read after the stop")
        late = live.start_worker("pod-9")
        live.heartbeats["hb-2"].resume()
    (report,) = reports
    assert report.outcome.result == "COMPLETE" and report.outcome.by == "receipts"
    assert late.last_permit_ns() == 0


def test_what_one_connection_has_shown_is_looked_at_again_on_the_next(
    fleet: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, any_server: EmbeddedServer
) -> None:
    """Row 20: another connection may lead to another server, where nothing of it need be true."""
    live = fleet(any_server)
    live.go_live("pod-1")
    live.heartbeats["hb-1"].pause()
    real, readings = confirmation.read_rosters, []

    def read_rosters(store: Any, *rest: Any) -> Any:
        readings.append(live.raw.exists("golive:revoked"))
        found = real(store, *rest)
        if len(readings) == 1:
            live.raw.delete("golive:revoked")  # as on a server that has lost the stop
            for client in live.raw.client_list():
                if client["name"] == "golive-revoke":
                    live.raw.client_kill_filter(_id=client["id"])
            live.heartbeats["hb-1"].resume()
        return found

    monkeypatch.setattr(confirmation, "read_rosters", read_rosters)
    report = live.revoke()
    assert readings[0] == 1 and len(readings) > 1
    assert report.outcome.result == "COMPLETE"
    assert live.raw.exists("golive:revoked"), "nothing is complete where no tombstone stands"


def test_a_roster_read_before_the_stop_is_read_again_after_it(
    fleet: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 68: also when the second reading fails at first."""
    with EmbeddedServer() as server:
        live = fleet(server)
        live.go_live("pod-1")
        live.raw.config_set("min-replicas-to-write", 1)  # the script is refused at first
        patient = live.patient
        real, readings = confirmation.read_rosters, []

        def read_rosters(store: Any, *rest: Any) -> Any:
            readings.append(clock.now_ns())
            if len(readings) == 2:
                raise StoreError("no answer, this once")
            found = real(store, *rest)
            if len(readings) == 1:
                live.raw.config_set("min-replicas-to-write", 0)
                live.start_worker("pod-2")
            return found

        monkeypatch.setattr(confirmation, "read_rosters", read_rosters)
        report = live.revoke(config=patient)
        assert len(readings) == 3
        assert report.outcome.result == "COMPLETE" and report.outcome.by == "receipts"
        assert {row.pod.worker for row in report.outcome.workers} == {"pod-1", "pod-2"}


def test_a_confirmed_stop_that_nobody_can_confirm_again_is_said_to_have_been_confirmed(
    fleet: Callable[..., Any], any_server: EmbeddedServer
) -> None:
    """Its heartbeats have left since: what it came to then is told, and nothing new is claimed."""
    live = fleet(any_server)
    live.go_live("pod-1")
    assert live.revoke(config=live.patient).outcome.result == "COMPLETE"
    live.heartbeats["hb-1"].quit()
    said: list[str] = []
    again = live.revoke(wait_ms=200, say=said.append)
    assert again.outcome.result == "NOT CONFIRMED"
    assert "already stopped by alice (epoch 2), and confirmed COMPLETE at the time" in said


def test_a_stop_that_redis_has_lost_is_not_said_to_be_recorded_still(
    fleet: Callable[..., Any],
) -> None:
    """Row 23: after FLUSHALL it is put back, and that is what is said."""
    with EmbeddedServer() as server:
        live = fleet(server)
        live.go_live("pod-1")
        live.revoke()
        for process in live.processes:
            process.kill()
        live.raw.flushall()
        said: list[str] = []
        live.revoke(wait_ms=0, say=said.append)
        assert live.raw.exists("golive:revoked")
        assert "the stop of epoch 2 by alice is not in Redis; sending it again" in said
        assert any("was not recorded any more; it is recorded again" in text for text in said)
        assert not any("still recorded" in text or "already stopped" in text for text in said)
        said.clear()
        live.revoke(wait_ms=0, say=said.append)
        assert any("the stop is still recorded" in text for text in said)


def test_a_stop_that_stands_is_not_said_to_be_missing_by_a_login_that_may_only_read(
    fleet: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with EmbeddedServer() as server:
        live = fleet(server)
        live.go_live("pod-1")
        live.revoke()
        rules = ["+@read", "+ping", "+client", "+acl|whoami"]
        live.raw.acl_setuser("auditor", enabled=True, passwords=["+pw"], keys=["*"], commands=rules)
        url = server.url.replace("redis://", "redis://auditor:pw@")
        reading = config.load(live.path, environ={"GOLIVE_REDIS_URL": url})
        report = live.revoke(config=reading, wait_ms=0)
        assert report.stood and report.in_redis_ms is None
        show(report, Output())
        shown = capsys.readouterr().out
        assert (
            "The stop of epoch 2 stood in Redis when it was read, and nothing was active." in shown
        )
        assert "The stop is not in Redis" not in shown and "One that reaches Redis" not in shown
        assert "golive acl --role operator" in shown


def test_while_answers_come_in_a_stop_wakes_nobody_anew_and_does_not_end_by_time(
    fleet: Callable[..., Any], any_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 104: the answers of a large fleet take longer than a second."""
    live = fleet(any_server)
    live.go_live("pod-1", "pod-2")
    live.workers["pod-2"].kill()
    repeats: list[float] = []
    real = confirmation.Confirmation._repeat

    def repeat(self: Any, send: Any) -> None:
        repeats.append(clock.now_ms())
        real(self, send)

    monkeypatch.setattr(confirmation.Confirmation, "_repeat", repeat)
    monkeypatch.setattr(confirmation.Confirmation, "_arriving", lambda *_: True)
    wait_ms = live.timers.all_off_ms + 1_500
    began = clock.now_ms()
    report = live.revoke(wait_ms=wait_ms)
    assert report.outcome.drain_unknown == ["pod-2"] and report.outcome.by == "time"
    assert clock.now_ms() - began >= wait_ms, "to the end of what it was given"
    apart = [later - sooner for sooner, later in zip([began, *repeats], repeats, strict=False)]
    assert min(apart, default=3_000.0) >= 3_000.0 - 1.0


def test_answers_arrive_until_none_has_come_for_half_a_second() -> None:
    collected: list[Any] = [barrier.Collected()]
    unused: Any = None
    gathering = confirmation.Confirmation.__new__(confirmation.Confirmation)
    gathering._answers, gathering._answered_at = 0, 0.0
    gathering.collected = lambda: collected[-1]
    assert not gathering._arriving(10_000.0), "nobody has answered"
    collected.append(barrier.Collected(latched={barrier.Pod("pod-1", "1" * 32): unused}))
    assert gathering._arriving(10_001.0)
    assert gathering._arriving(10_500.0)
    assert not gathering._arriving(10_501.0)


def test_the_reason_of_whoever_stops_it_again_is_in_the_ledger(fleet: Callable[..., Any]) -> None:
    with EmbeddedServer() as server:
        live = fleet(server)
        live.go_live("pod-1")
        live.revoke()
        report = live.revoke("limit breach", key=str(live.folder / "bob.pem"), ticket="R-7")
        assert report.outcome.result == "COMPLETE" and report.epoch == 2
        (stone,) = live.records("revocation")
        (note,) = [note for note in live.notes() if note.topic == "stop-repeated"]
        assert (note.by, note.facts) == (
            "bob",
            {"directive": stone, "reason": "limit breach", "ticket": "R-7"},
        )
        live.revoke()  # the same words of the same person, as to finish it: nothing new
        assert len([note for note in live.notes() if note.topic == "stop-repeated"]) == 1


def test_risk_that_stops_what_is_stopped_makes_it_a_stop_by_risk(
    fleet: Callable[..., Any],
) -> None:
    """D4: whoever starts it again has to ask risk, also where somebody else was faster."""
    with EmbeddedServer() as server:
        live = fleet(server)
        live.principals["bob"]["authority"] = "risk"
        live.write_keyset()
        live.config = config.load(live.path, environ={})
        live.go_live("pod-1")
        live.revoke()
        said: list[str] = []
        bob = str(live.folder / "bob.pem")
        report = live.revoke("limit breach", key=bob, say=said.append)
        assert report.outcome.result == "COMPLETE" and report.epoch == 3, report
        assert "stopped by alice (epoch 2); bob has the authority of risk and stops it anew" in said
        assert live.status().revoked.by == "bob"
        assert len(live.records("revocation")) == 2
        with pytest.raises(RefusedError, match="bob"):
            live.activate()
        assert live.revoke("limit breach", key=bob).epoch == 3, "one is enough"
        assert live.revoke().epoch == 3, "and stays, whoever stops it again"


def test_answers_that_do_not_count_are_not_called_silence(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A2: a stop of a time when Redis was away, and no term that anybody knows of."""
    live = fleet(own_server)
    nowhere = config.load(live.write_config(url="redis://127.0.0.1:1"), environ={})
    report = live.revoke(config=nowhere, wait_ms=0)
    assert report.in_redis_ms is None and len(live.spooled()) == 1
    with Operator(live.config) as operator:
        send_spool(operator, lambda _: None)
    beating = live.start_heartbeat("hb-1")
    wait_for(lambda: beating.ask("status")["latch"] == report.epoch, what="a latch")
    again = live.revoke_until(lambda seen: seen.uncounted, wait_ms=1_000)
    assert again.outcome.result == "NOT CONFIRMED" and again.uncounted == {"hb-1"}
    show(again, Output())
    shown = capsys.readouterr().out
    assert "hb-1 has answered, and that does not count: the stop was signed without a look" in shown
    assert re.search(r"(?m)^hb-1 +does not count *$", shown)
    assert "Start hb" not in shown and "--heartbeat-dead" not in shown
    problem = "the last stop (epoch 1) is NOT CONFIRMED: `golive revoke` says what is missing"
    assert problem in live.status().problems
    # What it says helps.
    live.start_worker("pod-1")
    live._wait_registered()
    live.activate(over_unconfirmed=True)
    live.wait_all_armed()
    assert live.revoke(config=live.patient).outcome.result == "COMPLETE"
