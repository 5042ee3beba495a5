"""What heartbeats enter into the ledger for others: once, by one of them, by the next when it is gone.

The recorder looks at a real server; only the steady clock, by which it waits, is the test's.
"""

from __future__ import annotations

from typing import Any

import pytest

from golive_redis import clock
from golive_redis.core.accounts import digest
from golive_redis.core.incidents import What, parse
from golive_redis.delivery.append import append
from golive_redis.errors import StoreUnavailableError
from golive_redis.heartbeat import recorder
from golive_redis.store.store import Store
from golive_redis.testing import Signers, identity
from kit.desks import KEYS, POD, SIGNERS, Desk, ago, bare_stop, desk, stated

__all__ = ["desk"]

# -- directives that took effect ---------------------------------------------------------------------


def test_a_stop_that_its_command_did_not_enter_is_entered_once_by_the_first_heartbeat(
    desk: Desk,
) -> None:
    """Row 120: in force, and in neither ledger nor spool."""
    desk.start("hb-1", "hb-2")
    stop = bare_stop(desk)
    desk.after(100)
    desk.after(2_800)
    assert desk.times(stop) == 0  # its command has 3 s
    desk.after(200)
    desk.after(10_000, looks=10)
    assert desk.times(stop) == 1
    repaired = [note for note in desk.notes if note.topic == "repaired"]
    assert [(note.by, note.facts["directive"]) for note in repaired] == [("hb-1", identity(stop))]


def test_what_its_command_enters_within_three_seconds_is_nobody_elses(desk: Desk) -> None:
    desk.start("hb-1", "hb-2")
    stop = bare_stop(desk)
    desk.after(100)
    desk.after(2_000)
    append(desk.store, stop)
    desk.after(20_000, looks=5)
    assert desk.times(stop) == 1
    assert "repaired" not in desk.topics()


def test_the_second_heartbeat_takes_over_when_the_first_one_does_not_write(desk: Desk) -> None:
    """The first one is alive by its presence, and hangs."""
    desk.start("hb-1", "hb-2")
    del desk.running["hb-1"]
    stop = bare_stop(desk)
    desk.after(100)
    desk.after(5_800)
    assert desk.times(stop) == 0
    desk.after(300)
    assert desk.times(stop) == 1
    assert [note.by for note in desk.notes if note.topic == "repaired"] == ["hb-2"]


def test_two_heartbeats_that_both_take_themselves_for_the_first_enter_it_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is alive they read at different instants: what keeps them apart is the head of the ledger."""
    monkeypatch.setattr(recorder, "rank", lambda *_: 0)
    desk.start("hb-1", "hb-2")
    stop = bare_stop(desk)
    kill = {"what": "local-kill", "why": "killed"}
    desk.states("worker", "pod-1", POD, stated(kill))
    desk.after(100)
    real, met = Store.append_all, []

    def meanwhile(store: Store, records: Any, *, head: str) -> Any:
        if not met:
            met.append(head)
            desk.running["hb-2"].look(store)
        return real(store, records, head=head)

    monkeypatch.setattr(Store, "append_all", meanwhile)
    desk.after(3_100)
    assert met
    assert desk.times(stop) == 1
    assert desk.topics() == {"repaired": 1, "local-kill": 1}
    assert {note.by for note in desk.notes} == {"hb-2"}


def test_a_heartbeat_whose_elder_is_gone_is_the_first(desk: Desk) -> None:
    desk.start("hb-1", "hb-2")
    desk.gone("hb-1")
    stop = bare_stop(desk)
    desk.after(100)
    desk.after(3_100)
    assert desk.times(stop) == 1


def test_restarted_heartbeats_enter_what_is_missing_and_nothing_twice(desk: Desk) -> None:
    """They remember nothing: they look in the ledger."""
    desk.start("hb-1", "hb-2")
    stop = bare_stop(desk)
    for _ in range(4):
        desk.start("hb-1", "hb-2")
        desk.after(100)
        desk.after(2_000)
    assert desk.times(stop) == 0  # each of them has seen it for two seconds only
    desk.after(2_000)
    for _ in range(4):
        desk.start("hb-1", "hb-2")
        desk.after(9_000, looks=3)
    assert desk.times(stop) == 1
    assert desk.topics()["repaired"] == 1


def test_a_halt_that_is_in_force_and_not_entered_is_entered_with_its_note(desk: Desk) -> None:
    desk.start("hb-1")
    grant = SIGNERS.grant(5, term=5, issued_at_ms=ago(9_000))
    halt = SIGNERS.restriction(6, term=5, prev=identity(grant), issued_at_ms=ago(5_000))
    item = SIGNERS.trust.restriction(halt)
    desk.raw.hset(KEYS.active, mapping={"term": 5, "epoch": 5, "grant": grant, "set": "0" * 64})
    desk.store.restrict(item, again=True)
    desk.after(100)
    desk.after(3_100)
    assert desk.times(halt) == 1
    assert desk.topics() == {"repaired": 1}
    assert desk.times(grant) == 0  # a grant has its entry in one step with its effect


def test_a_stop_that_another_one_replaced_within_a_second_is_entered_too(desk: Desk) -> None:
    desk.start("hb-1")
    first = SIGNERS.revocation(6, issued_at_ms=ago(6_000))
    desk.running["hb-1"].heard(first)
    second = bare_stop(desk, 7)
    desk.after(100)
    desk.after(3_100)
    assert (desk.times(first), desk.times(second)) == (1, 1)


def test_a_pushed_stop_waits_for_redis_to_answer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is pushed once; the look in which it was taken in may fail."""
    desk.start("hb-1")
    stop = SIGNERS.revocation(6, issued_at_ms=ago(6_000))
    desk.running["hb-1"].heard(stop)

    def refused(_: Store) -> str:
        raise StoreUnavailableError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "head", refused)
        with pytest.raises(StoreUnavailableError):
            desk.after(100)
    desk.after(100)
    desk.after(3_100)
    assert desk.times(stop) == 1


def test_a_stop_whose_signature_is_bad_is_never_entered(desk: Desk) -> None:
    desk.start("hb-1")
    stop = bare_stop(desk)
    forged = Signers({"rita": ("revoker",)}, fleet="0" * 32).revocation(8)
    desk.raw.hset(KEYS.revoked, "record", forged)
    desk.running["hb-1"].heard(forged)
    desk.after(100)
    desk.after(20_000, looks=4)
    assert (desk.times(stop), desk.times(forged)) == (0, 0)


def test_a_directive_that_is_older_than_what_is_left_of_the_ledger_is_not_entered_again(
    desk: Desk,
) -> None:
    """It was entered, archived and trimmed, as far as anybody can tell."""
    stop = bare_stop(desk, issued_ms=ago(86_400_000))
    append(desk.store, stop)
    append(desk.store, SIGNERS.revocation(3, issued_at_ms=ago(5_000)))
    desk.raw.xtrim(KEYS.audit, maxlen=1, approximate=False)
    desk.start("hb-1", "hb-2")
    desk.after(100)
    desk.after(20_000, looks=4)
    assert desk.times(stop) == 0
    assert any("older than what is left" in text for text in desk.said)


def test_a_stop_by_a_clock_that_was_a_day_ahead_is_found_where_it_stands(desk: Desk) -> None:
    stop = bare_stop(desk, issued_ms=clock.wall_ms() + 86_400_000)
    append(desk.store, stop)
    desk.start("hb-1", "hb-2")
    desk.after(100)
    desk.after(20_000, looks=4)
    assert desk.times(stop) == 1


def test_what_a_failover_has_lost_of_the_ledger_is_entered_again(desk: Desk) -> None:
    desk.start("hb-1", "hb-2")
    append(desk.store, SIGNERS.revocation(3, issued_at_ms=ago(60_000)))
    before = desk.store.head()
    stop = bare_stop(desk)
    append(desk.store, stop)
    desk.after(100)
    desk.after(9_000, looks=3)
    assert desk.times(stop) == 1
    (last,) = desk.raw.xrevrange(KEYS.audit, count=1)
    desk.raw.xdel(KEYS.audit, last[0])
    desk.raw.set(KEYS.head, before)
    desk.after(100)
    desk.after(9_000, looks=3)
    assert desk.times(stop) == 1
    assert desk.topics()["repaired"] == 1


# -- what pods state ---------------------------------------------------------------------------------


def test_a_local_stop_is_noted_once_with_its_time_and_its_reason(desk: Desk) -> None:
    desk.start("hb-1", "hb-2")
    kill = {"what": "local-kill", "at_ms": ago(1_000), "why": "killed", "text": 'limit "A"'}
    desk.states("worker", "pod-1", POD, stated(kill))
    for _ in range(3):
        desk.after(100)
        desk.after(9_000, looks=3)
        desk.start("hb-1", "hb-2")
    (note,) = desk.notes
    assert (note.topic, note.by, note.facts["count"]) == ("local-kill", "hb-1", "1")
    assert note.facts["1"] == f"pod-1 {POD} 1 {kill['at_ms']} killed 5 limit 'A'"
    assert note.text == "pod-1: stopped locally (killed)"


def test_what_a_fleet_states_at_once_is_few_notes_and_one_step(desk: Desk) -> None:
    """A failover lapses everybody: that is no reason to fill the ledger."""
    desk.start("hb-1", "hb-2")
    for number in range(70):
        desk.states("worker", f"pod-{number}", POD, stated({}, {"n": 2, "what": "heal"}))
    desk.after(100)
    desk.after(9_000, looks=3)
    assert desk.topics() == {"lapse": 5, "heal": 5}
    lapsed = [note for note in desk.notes if note.topic == "lapse"]
    assert sum(int(note.facts["count"]) for note in lapsed) == 70
    assert max(len(note.facts) for note in lapsed) <= 32
    named = {f.split()[0] for note in lapsed for key, f in note.facts.items() if key.isdigit()}
    assert named == {f"pod-{number}" for number in range(70)}


def test_of_what_is_refused_there_is_one_note_a_minute_and_it_counts_all(desk: Desk) -> None:
    desk.start("hb-1", "hb-2")
    refused = {"what": "security", "why": "replay", "counts": {"count": 3}, "text": "again"}
    for number in range(40):
        desk.states("worker", f"pod-{number}", POD, stated(refused))
    desk.after(100)
    desk.after(9_000, looks=3)
    desk.start("hb-1", "hb-2")
    desk.states("worker", "pod-1", POD, stated(refused, {**refused, "n": 2, "at_ms": ago(0)}))
    desk.after(100)
    desk.after(9_000, looks=3)
    (note,) = desk.notes
    assert (note.topic, note.facts["kind"]) == ("security", "replay")
    assert (note.facts["count"], note.facts["processes"]) == ("120", "40")


def test_a_burst_of_skipped_orders_is_a_note_of_its_own_with_counts_by_reason(desk: Desk) -> None:
    desk.start("hb-1")
    burst = {"what": "skips", "from_ms": ago(9_000), "counts": {"lapsed": 4, "halted": 2}}
    desk.states("worker", "pod-1", POD, stated(burst))
    desk.states("worker", "pod-2", POD, stated(burst))
    desk.after(100)
    desk.after(9_000, looks=3)
    assert desk.topics() == {"skips": 2}
    facts = desk.notes[0].facts
    assert (facts["skipped lapsed"], facts["skipped halted"], facts["count"]) == ("4", "2", "6")
    assert facts["from_ms"] == str(burst["from_ms"])


def test_a_warning_that_two_heartbeats_state_is_noted_once(desk: Desk) -> None:
    desk.start("hb-1", "hb-2")
    warning = {"what": "early-warning", "why": "latency", "text": "180 ms; warning at 150"}
    desk.states("heartbeat", "hb-1", "0" * 32, stated(warning))
    desk.states("heartbeat", "hb-2", "0" * 32, stated(warning))
    desk.after(100)
    desk.after(9_000, looks=3)
    desk.start("hb-1", "hb-2")
    desk.states("heartbeat", "hb-2", "0" * 32, stated(warning))
    desk.after(100)
    desk.after(9_000, looks=3)
    assert desk.topics() == {"early-warning": 1}


@pytest.mark.parametrize("planted", ["[", "{}", "[{}]", "[1]", "x" * 9_000, '[{"what":"lapse"}]'])
def test_a_presence_that_states_nonsense_costs_nothing_but_itself(desk: Desk, planted: str) -> None:
    desk.start("hb-1")
    desk.states("worker", "pod-1", POD, planted)
    desk.states("worker", "pod-2", POD, stated({}))
    desk.after(100)
    desk.after(9_000, looks=3)
    assert desk.topics() == {"lapse": 1}


def test_one_process_that_states_without_end_fills_no_ledger(desk: Desk) -> None:
    desk.start("hb-1")
    for first in range(1, 400, 16):
        many = [
            {"n": n, "what": "local-kill", "text": "\u20ac" * 160} for n in range(first, first + 16)
        ]
        desk.states("worker", "pod-1", POD, stated(*many)[: 64 * 1024])
        desk.after(4_000, looks=2)
    assert sum(int(note.facts["count"]) for note in desk.notes) <= recorder.OF_ONE


# -- receipts ----------------------------------------------------------------------------------------


def test_the_receipts_for_a_stop_are_counted_once_with_the_slowest_and_a_digest(desk: Desk) -> None:
    desk.start("hb-1", "hb-2")
    stop = bare_stop(desk)
    append(desk.store, stop)
    raws = []
    for number in range(12):
        raw = SIGNERS.receipt(
            stop, by="pod-1", worker="pod-1", instance=f"{number:032x}", epoch=7,
            stage="latched", at_ms=1_000 + number, issued_at_ms=ago(0),
        )  # fmt: skip
        raws.append(raw)
        desk.store.deliver(identity(stop), f"{number:032x}:latched", raw)
    desk.raw.hset(KEYS.receipt(identity(stop)), "forged", b"{}")
    desk.after(100)
    desk.after(29_000, looks=9)
    assert desk.topics() == {}
    for _ in range(3):
        desk.after(120_000, looks=12)
        desk.start("hb-1", "hb-2")
    (note,) = desk.notes
    facts = note.facts
    assert (note.topic, note.by, facts["directive"]) == ("receipts", "hb-1", identity(stop))
    assert (facts["count"], facts["refused"], facts["latched"]) == ("12", "1", "12")
    assert (facts["first_ms"], facts["last_ms"]) == ("1000", "1011")
    assert [facts[f"slowest {n}"].split()[-1] for n in range(1, 9)] == [
        str(1_011 - n) for n in range(8)
    ]
    assert facts["sha256"] == digest(reversed(raws))


def test_a_later_version_may_state_what_this_one_does_not_know() -> None:
    raw = stated({}).replace("[", '[{"what":"new-kind","n":9,"more":1},').encode()
    assert [item.what for item in parse(raw)] == [What.LAPSE]
