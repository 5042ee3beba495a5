"""Which label values a guard's orders have stated: what is noted, how much, and at what price."""

from __future__ import annotations

import json
import threading
from typing import Any

import msgspec
import pytest

from golive_redis import clock
from golive_redis.core.permit import Denial, Permit, Reason
from golive_redis.errors import NotPermittedError
from golive_redis.guard.gate import Gate
from golive_redis.guard.presence import Presence
from golive_redis.guard.stated import (
    MAX_BYTES,
    MAX_VALUE,
    MAX_VALUES,
    NOTED_CALLS,
    REFRESH_TURNS,
    REST_TURNS,
)
from golive_redis.records.receipt import Durable
from golive_redis.store.replies import Caller
from golive_redis.testing import Harness, Signers

SIGNERS = Signers()
HOUR_NS = 3_600 * 10**9


def armed(*restrictions: bytes) -> Gate:
    harness, gate = Harness(SIGNERS), Gate()
    harness.arm(SIGNERS.grant(), *restrictions)
    verdict = harness.view.verdict
    gate.publish(msgspec.structs.replace(verdict, deadline_ns=clock.now_ns() + HOUR_NS))
    return gate


def told(gate: Gate) -> dict[str, list[str]]:
    gate.stated.turn()
    found: dict[str, list[str]] = json.loads(gate.stated.told)
    return found


def test_every_way_to_ask_is_noted_whatever_the_answer() -> None:
    gate = armed(SIGNERS.restriction(labels={"symbol": "HALTED"}))
    assert gate.allows(symbol="a")
    assert not gate.allows(symbol="HALTED ")
    assert isinstance(gate.check(symbol="b", venue="x"), Permit)
    assert isinstance(gate.check("nonsense", symbol="c"), Denial)
    assert gate.allows("cancel", symbol="d")
    with gate.order(symbol="e"):
        pass
    with pytest.raises(NotPermittedError):
        gate.require("reduce", symbol="halted")
    gate.shut(Reason.CLOSED)
    assert not gate.allows(symbol="f")
    assert told(gate) == {
        "symbol": ["f", "halted", "e", "d", "c", "b", "HALTED", "a"],
        "venue": ["x"],
    }


def test_nothing_is_told_before_the_first_call_and_of_an_order_without_labels_that_there_are_none():
    gate = armed()
    gate.stated.turn()
    assert gate.stated.told == ""
    assert gate.allows()
    assert told(gate) == {}


def test_the_newest_values_are_kept_and_come_first() -> None:
    gate = armed()
    for n in range(MAX_VALUES + 10):
        assert gate.allows(symbol=f"S{n}", account=7)  # type: ignore[arg-type]
    expected = [f"S{n}" for n in reversed(range(10, MAX_VALUES + 10))]
    assert told(gate) == {"account": ["7"], "symbol": expected}
    for _ in range(REFRESH_TURNS):
        gate.stated.turn()
    assert gate.allows(symbol="S20")
    assert told(gate)["symbol"] == expected  # no news, so nothing to write
    assert gate.allows(symbol="new")
    assert told(gate)["symbol"][:2] == ["new", "S20"]


def test_what_is_told_has_a_size_that_values_cannot_pass() -> None:
    gate = armed()
    for n in range(MAX_VALUES):
        text = f"{n:02}" + "\N{GRINNING FACE}" * 10_000
        assert gate.allows(symbol=text, venue=text, desk=text, client=text)
        assert gate.allows(worker=f"pod-{n:02}")
    found = told(gate)
    assert len(gate.stated.told.encode()) <= MAX_BYTES + 200  # names and brackets
    assert all(len(value) == MAX_VALUE for value in found["symbol"])
    assert found["symbol"][0].startswith("63")
    assert len(found["worker"]) >= len(found["symbol"]) >= 2  # each label has its share


class Odd:
    def __init__(self, *, hashed: bool = True) -> None:
        self.hashed = hashed

    def __hash__(self) -> int:
        if not self.hashed:
            raise RuntimeError("no hash on purpose")
        return 1

    def __str__(self) -> str:
        raise RuntimeError("no text on purpose")


@pytest.mark.parametrize(
    "value", [None, "", "  ", [], {}, Odd(), Odd(hashed=False), "\ud800", "x" * 10**6, float("nan")]
)
def test_whatever_a_label_holds_noting_it_raises_nothing_and_the_next_is_noted(value: Any) -> None:
    gate = armed()
    assert gate.allows(symbol=value, colour=value)
    assert gate.allows(symbol="next")
    assert told(gate)["symbol"][0] == "next"
    assert set(told(gate)) == {"symbol"}  # no other name is a label


def test_after_a_busy_turn_calls_go_the_short_way_and_later_they_are_noted_again() -> None:
    gate = armed()
    verdict = gate.verdict

    def next_turn() -> None:
        gate.stated.turn()
        gate.publish(verdict)

    assert gate._open_until == 0  # through the index, where they are noted
    for n in range(NOTED_CALLS + 50):
        assert gate.allows(symbol=f"S{n}")
    next_turn()
    assert f"S{NOTED_CALLS - 1}" in gate.stated.told
    assert f"S{NOTED_CALLS}" not in gate.stated.told
    for _ in range(REST_TURNS):
        assert gate._open_until == verdict.open_until_ns > 0
        assert gate.allows(symbol="unnoted")
        assert isinstance(gate.check(symbol="unnoted"), Permit)
        next_turn()
    assert gate._open_until == 0
    assert "unnoted" not in gate.stated.told
    assert gate.allows(symbol="noted")
    next_turn()
    assert "noted" in gate.stated.told
    assert gate._open_until == 0  # a quiet turn: nothing is missed


def test_threads_that_ask_at_once_lose_none_of_their_values() -> None:
    gate = armed()

    def ask(thread: int) -> None:
        for n in range(NOTED_CALLS // 8):
            assert gate.allows(symbol=f"{thread}-{n % 8}")

    threads = [threading.Thread(target=ask, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        gate.stated.turn()
    for thread in threads:
        thread.join()
    assert set(told(gate)["symbol"]) == {f"{a}-{b}" for a in range(8) for b in range(8)}


def test_presence_tells_new_values_like_counts_and_not_at_once() -> None:
    gate = armed()
    presence = Presence(Caller("worker", "pod-1", "0" * 32), gate, {}, "")
    presence.told(presence.all(Durable.YES, None))
    gate.allows(symbol="BTC")
    gate.stated.turn()
    assert presence.changed(Durable.YES, None) == {"stated": '{"symbol":["BTC"]}'}
    presence.told({"stated": gate.stated.told})
    gate.allows(symbol="ETH")
    gate.stated.turn()
    assert presence.changed(Durable.YES, None) == {}  # counts are told every two seconds
    assert presence.all(Durable.YES, None)["stated"] == '{"symbol":["ETH","BTC"]}'
