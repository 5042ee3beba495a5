"""What a process states of its incidents: each once, under its number, and never more than fits."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from golive_redis.checks.question import FleetSource, FleetValue, Question
from golive_redis.checks.trigger import TriggerSettings
from golive_redis.config import load
from golive_redis.core.accounts import Told, keys_in, of_incidents
from golive_redis.core.incidents import (
    BURST_MS,
    MAX_BYTES,
    MAX_INCIDENTS,
    QUIET_MS,
    SECURITY_EVERY_MS,
    Incident,
    Incidents,
    Lapses,
    Refused,
    SkipBursts,
    What,
    parse,
)
from golive_redis.core.permit import Reason
from golive_redis.heartbeat.triggers import _Sampler
from golive_redis.records.envelope import seal
from golive_redis.records.ledger import Note
from golive_redis.records.report import Finding, Outcome
from golive_redis.testing import Signers

NOW = 1_800_000_000_000


def told(incidents: Incidents, now_ms: float = NOW) -> list[Incident]:
    incidents.turn(now_ms)
    return parse(incidents.told.encode()) if incidents.told else []


def looked(*looks: tuple[Any, ...]) -> list[tuple[str, str, int, int]]:
    """What comes of looks: armed, reason, term."""
    incidents = Incidents()
    lapses = Lapses(incidents)
    for at, (armed, reason, term) in enumerate(looks):
        lapses.look(armed=armed, reason=reason, term=term, since_ms=NOW + at)
    return [(i.what, i.why, i.term, i.at_ms - NOW) for i in told(incidents)]


def test_a_guard_that_closes_without_a_stop_lapses_and_heals_in_the_same_term() -> None:
    assert looked(
        (False, Reason.NOT_ARMED, 0),
        (True, "", 5),
        (False, Reason.LAPSED, 5),
        (False, Reason.STORE_UNREACHABLE, 5),
        (True, "", 5),
        (True, "", 5),
    ) == [("lapse", "lapsed", 5, 2), ("heal", "lapsed", 5, 4)]


@pytest.mark.parametrize(
    "reason",
    [Reason.REVOKED, Reason.KILLED, Reason.CLOSED, Reason.NOT_ACTIVATED, Reason.OUTSIDE_WINDOW],
)
def test_a_guard_that_somebody_has_closed_has_not_lapsed(reason: Reason) -> None:
    assert looked((True, "", 5), (False, reason, 5), (True, "", 6)) == []


def test_a_lapse_that_ends_in_a_stop_or_in_another_term_is_not_healed() -> None:
    lapse = ("lapse", "lapsed", 5, 1)
    begun = [(True, "", 5), (False, Reason.LAPSED, 5)]
    assert looked(*begun, (False, Reason.REVOKED, 5), (True, "", 6)) == [lapse]
    assert looked(*begun, (True, "", 6)) == [lapse]


def test_a_burst_of_skipped_orders_is_stated_when_it_is_over_and_then_at_most_every_15_min() -> (
    None
):
    incidents = Incidents()
    bursts = SkipBursts(incidents)
    bursts.look({}, NOW)
    bursts.look({"lapsed": 3}, NOW + 1_000)
    bursts.look({"lapsed": 5, "halted": 1}, NOW + 2_000)
    bursts.look({"lapsed": 5, "halted": 1}, NOW + 1_999 + QUIET_MS)
    assert told(incidents) == []
    bursts.look({"lapsed": 5, "halted": 1}, NOW + 2_000 + QUIET_MS)
    (first,) = told(incidents)
    assert (first.what, first.why) == (What.SKIPS, "lapsed")
    assert (first.from_ms, first.at_ms) == (NOW + 1_000, NOW + 2_000)
    assert first.counts == {"lapsed": 5, "halted": 1}
    for at in range(0, BURST_MS + QUIET_MS, 10_000):  # one skipped order each ten seconds
        bursts.look({"lapsed": 6 + at // 10_000, "halted": 1}, NOW + 200_000 + at)
    stated = told(incidents)
    assert len(stated) == 2
    bursts.end({"lapsed": 500, "halted": 1}, NOW + 2 * BURST_MS)
    bursts.end({"lapsed": 500, "halted": 1}, NOW + 2 * BURST_MS)
    stated = told(incidents)
    assert sum(item.counts.get("lapsed", 0) for item in stated) == 500
    assert len(stated) == 3


def test_of_what_is_refused_the_first_is_stated_at_once_and_the_rest_once_a_minute() -> None:
    incidents = Incidents()
    for at in range(500):
        incidents.refused(Refused.REPLAY, f"number {at}", NOW + at)
        incidents.turn(NOW + at)
    incidents.refused(Refused.WRONG_TYPE, "a key", NOW)
    stated = told(incidents, NOW + SECURITY_EVERY_MS)
    by_kind = [(i.why, i.counts["count"]) for i in stated]
    assert by_kind == [("replay", 1), ("replay", 499), ("wrong-type", 1)]


def test_the_newest_are_stated_and_never_more_than_fits() -> None:
    incidents = Incidents()
    for number in range(100):
        counts = {f"{'x' * 60}{i}": 2**53 - 1 for i in range(40)}
        incidents.add(
            What.LOCAL_KILL, "killed", NOW + number, text="\u20ac\ud800\n" * 400, counts=counts
        )
        assert len(incidents.told.encode()) <= MAX_BYTES + 2
    stated = told(incidents)
    assert len(incidents.told.encode()) <= MAX_BYTES + 2
    assert 0 < len(stated) <= MAX_INCIDENTS
    assert [item.n for item in stated] == list(range(101 - len(stated), 101))


def test_a_signal_handler_may_add_one_while_another_is_added() -> None:
    """It takes no lock: what it interrupts could hold it."""
    incidents = Incidents()
    assert not [name for name in vars(incidents) if "lock" in name.lower()]
    for number in range(3):
        incidents.add(What.LOCAL_KILL, "killed", NOW + number)
    assert [item.n for item in told(incidents)] == [1, 2, 3]


def test_the_longest_incidents_fit_into_one_note_and_are_recognised_in_it() -> None:
    signers = Signers()
    worst = [
        Told(
            "n" * 64,
            f"{number:032x}",
            Incident(
                n=2**53 - 1, what=What.SECURITY, at_ms=2**53 - 1, why="w" * 64,
                text='"\u20ac\\' * 53, term=2**53 - 1, counts={"count": 2**53 - 1},
            ),
        )
        for number in range(40)
    ]  # fmt: skip
    for what in What:
        some = [
            msgspec.structs.replace(
                item, incident=msgspec.structs.replace(item.incident, what=what)
            )
            for item in worst
        ]
        named: set[str] = set()
        for account in of_incidents(some):
            assert len(account.facts) <= 32
            assert all(len(fact) <= 512 for fact in account.facts.values())
            note = Note(
                **signers.trust.heading("hb-1", NOW),
                topic=account.topic,
                text=account.text,
                facts=account.facts,
            )
            seal(note, signers.signers["hb-1"])  # within 8 KiB, or it raises
            named |= set(keys_in(note))
        expected = {item.key for item in some[: 16 if what is What.SECURITY else None]}
        assert named == expected


def test_a_warning_of_a_trigger_is_told_once_until_it_is_over(tmp_path: Path) -> None:
    path = tmp_path / "go_live.yaml"
    path.write_text(
        "environment: test\n"
        "profiles: {micro: {currency: USD, max_order_notional: '1', max_position_notional: '1',\n"
        "  max_daily_loss: '1', max_orders_per_minute: 1}}\n"
        "store: {url: 'redis://127.0.0.1:1'}\n"
    )
    wanted = msgspec.convert({"preset": "workers_changed"}, TriggerSettings).trigger()
    question = Question(fleet=FleetSource(value=FleetValue.CHANGED), at_most=0)
    actions: Any = SimpleNamespace(say=lambda _: None)
    sampler = _Sampler("changed", wanted, [question], load(path, environ={}), actions)
    warned: list[tuple[str, str]] = []
    sampler.on_warning(lambda *what: warned.append(what))
    for near in (False, True, True, False, True):
        sampler._tell(
            Finding(check="changed", outcome=Outcome.PASS, explain="9 of 10", warning=near)
        )
    assert warned == [("changed", "9 of 10")] * 2
