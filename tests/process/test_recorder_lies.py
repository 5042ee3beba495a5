"""What a pod that lies, or the owner of Redis, cannot keep a heartbeat from entering."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from golive_redis import clock
from golive_redis.core import owed
from golive_redis.core.accounts import MAX_LINE, Told
from golive_redis.core.incidents import Incident, What
from golive_redis.errors import RecordError
from golive_redis.heartbeat import recorder
from golive_redis.records.record import MAX_INT
from golive_redis.store.replies import Caller
from kit.desks import KEYS, POD, Desk, ago, bare_stop, desk, stated

__all__ = ["desk"]


@pytest.mark.parametrize("text", ["\x01" * 150, "\u2028" * 150, "\U0001f600" * 150, '"\\' * 75])
def test_what_one_pod_states_keeps_no_stop_out_of_the_ledger(desk: Desk, text: str) -> None:
    """Row 120: a note has room for whatever a presence can state."""
    desk.start("hb-1", "hb-2")
    many = [{"n": n, "text": text} for n in range(1, 9)]
    desk.states("worker", "pod-1", POD, stated(*many))
    stop = bare_stop(desk)
    desk.after(100)
    desk.after(3_100)
    assert desk.times(stop) == 1
    assert desk.topics() == {"repaired": 1, "lapse": 1}
    assert not desk.said


def test_the_line_of_an_incident_is_bounded_as_it_is_written() -> None:
    for char in ("\x01", "\x7f", "\u2028", "\U0001f600", '"', "\\", "\t"):
        item = Incident(n=1, what=What.LAPSE, at_ms=1, why="lapsed", text=char * 150)
        assert (
            len(json.dumps(Told("w", POD, item).fact, ensure_ascii=False).encode()) <= MAX_LINE + 2
        )


def test_a_note_that_cannot_be_written_is_left_out_and_said(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.start("hb-1")
    real = recorder.seal

    def refuses(note: Any, *signers: Any) -> bytes:
        if note.topic == "lapse":
            raise RecordError("10967 bytes exceed 8192")
        return real(note, *signers)

    monkeypatch.setattr(recorder, "seal", refuses)
    desk.states("worker", "pod-1", POD, stated({}, {"n": 2, "what": "local-kill", "why": "killed"}))
    stop = bare_stop(desk)
    desk.after(100)
    desk.after(9_000, looks=3)
    assert desk.times(stop) == 1
    assert desk.topics() == {"repaired": 1, "local-kill": 1}
    (said,) = desk.said
    assert "lapse" in said and "left out" in said


@pytest.mark.parametrize("key", [KEYS.fleet, KEYS.heartbeats, KEYS.worker("pod-1", POD), "receipt"])
def test_a_key_of_another_type_keeps_no_stop_out_of_the_ledger(desk: Desk, key: str) -> None:
    """The owner of Redis can write any key; a stop needs none of these to be entered."""
    desk.start("hb-1", "hb-2")
    desk.states("worker", "pod-1", POD, stated({}))
    stop = bare_stop(desk)
    if key == "receipt":
        key = KEYS.receipt(desk.store.snapshot().last)
    desk.raw.delete(key)
    desk.raw.set(key, "x")
    desk.after(100)
    desk.after(9_000, looks=3)
    assert desk.times(stop) == 1
    assert desk.topics()["repaired"] == 1


def test_a_refusal_of_a_time_to_come_does_not_stand_for_those_that_follow(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.start("hb-1", "hb-2")
    refused = {"what": "security", "why": "refused-record"}
    lies = [{**refused, "n": n, "at_ms": MAX_INT} for n in range(1, 11)]
    for name in ("liar-1", "liar-2"):
        desk.states("worker", name, POD, stated(*lies))
    desk.after(100)
    desk.after(9_000, looks=3)
    (first,) = desk.notes
    assert int(first.facts["processes"]) == 20
    assert int(first.facts["last_ms"]) <= clock.wall_ms()
    later, passed = 300_000, SimpleNamespace(ms=300_000)
    fake = SimpleNamespace(
        now_ms=lambda: desk.steady.ms,
        wall_ms=lambda: clock.wall_ms() + passed.ms,
        Throttle=clock.Throttle,
    )
    monkeypatch.setattr(recorder, "clock", fake)
    true = {**refused, "at_ms": ago(-later), "text": "bad signature"}
    desk.states("worker", "pod-1", "b" * 32, stated(true))
    for _ in range(2):  # of each kind there is one note a minute
        desk.after(100)
        desk.after(9_000, looks=3)
        passed.ms += 61_000
    lines = [line for note in desk.notes for line in note.facts.values()]
    assert any(line.startswith(f"pod-1 {'b' * 32} ") for line in lines)


def test_a_worker_states_no_warning_in_place_of_the_heartbeats(desk: Desk) -> None:
    desk.start("hb-1", "hb-2")
    warning = {"what": "early-warning", "why": "latency"}
    desk.states("worker", "liar-1", POD, stated(warning))
    desk.after(100)
    desk.after(9_000, looks=3)
    assert not desk.topics()
    desk.states("heartbeat", "hb-2", "0" * 32, stated(warning))
    desk.after(100)
    desk.after(9_000, looks=3)
    (note,) = desk.notes
    assert (note.topic, note.facts["1"].split()[0]) == ("early-warning", "hb-2")


def test_what_finds_no_room_is_noted_once_there_is_room(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Liars fill what a heartbeat keeps in mind; what it had no room for was not taken."""
    monkeypatch.setattr(owed, "MAX_OWED", 20)
    desk.start("hb-1")
    lies = stated(*[{"n": n} for n in range(1, 17)])
    for number in range(3):
        desk.states("worker", f"a{number}", POD, lies)
    kill = stated({"what": "local-kill", "why": "killed"})
    desk.states("worker", "z-honest", "c" * 32, kill)
    desk.after(100)
    assert len(desk.running["hb-1"]._told.all()) == 20
    for _ in range(6):
        desk.after(4_000)
    assert desk.topics()["local-kill"] == 1
    assert sum(int(n.facts["count"]) for n in desk.notes if n.topic == "lapse") == 48


def test_an_entry_of_the_roster_that_no_heartbeat_makes_states_nothing(desk: Desk) -> None:
    desk.start("hb-1")
    desk.raw.hset(KEYS.heartbeats, "hb-9", "x" * 400)
    desk.raw.hset(KEYS.heartbeat("hb-9", "x" * 400), "incidents", stated({}))
    assert [pod for pod, _ in desk.store.incidents()] == []
    desk.states("worker", "pod-1", POD, stated({}))
    assert [pod for pod, _ in desk.store.incidents()] == [Caller("worker", "pod-1", POD)]
