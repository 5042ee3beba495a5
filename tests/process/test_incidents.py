"""Incidents of real workers, in the ledger: written by one of two heartbeats, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from golive_redis.records.ledger import Note
from golive_redis.testing.server import EmbeddedServer


def notes(live: Any, topic: str) -> list[Note]:
    return [note for note in live.notes() if note.topic == topic]


def lines(live: Any, topic: str) -> list[list[str]]:
    """The incidents of all notes on a topic, as words."""
    return [
        fact.split(" ", 6)
        for note in notes(live, topic)
        for name, fact in sorted(note.facts.items())
        if name.isdigit()
    ]


def test_a_worker_that_lapses_and_heals_is_in_the_ledger_with_both(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    live = fleet(own_server)
    live.go_live("pod-1", heartbeats=("hb-1", "hb-2"))
    for beating in live.heartbeats.values():
        beating.pause()
    wait_for(lambda: not live.workers["pod-1"].health()["armed"], what="the lapse")
    for beating in live.heartbeats.values():
        beating.resume()
    live.wait_all_armed()
    wait_for(lambda: notes(live, "heal"), what="the notes")
    (lapse,), (heal,) = lines(live, "lapse"), lines(live, "heal")
    assert lapse[0] == heal[0] == "pod-1"
    assert lapse[1] == heal[1] == live.workers["pod-1"].instance
    assert (lapse[4], heal[4]) == ("lapsed", "lapsed")
    assert int(lapse[3]) < int(heal[3])


def test_a_local_stop_is_in_the_ledger_although_its_process_ends_at_once(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2", heartbeats=("hb-1", "hb-2"))
    live.workers["pod-1"].begin("kill", reason="own limit")
    live.workers["pod-1"].quit()
    wait_for(lambda: notes(live, "local-kill"), what="the note")
    (line,) = lines(live, "local-kill")
    assert (line[0], line[4], line[6]) == ("pod-1", "killed", "own limit")


def test_a_record_that_is_refused_is_one_note_for_the_whole_fleet(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2", heartbeats=("hb-1", "hb-2"))
    live.raw.publish("golive:events", b"no record of ours")
    wait_for(lambda: notes(live, "security"), what="the note")
    (note,) = notes(live, "security")
    assert note.facts["kind"] == "refused-record"
    assert int(note.facts["processes"]) >= 1
