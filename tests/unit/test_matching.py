"""Whom a restriction meets, as workers tell, and what may have been meant by one that meets nobody."""

from __future__ import annotations

import json
from typing import Any

import pytest

from golive_redis.core.barrier import Pod
from golive_redis.operator.lookalikes import MAX_NEAR, foreign, near, skeleton, slips
from golive_redis.operator.matching import Matching, Meets, matching
from golive_redis.operator.restrictions import Restricted
from golive_redis.records.directive import Label
from golive_redis.store.presence import Presence
from golive_redis.testing import Signers

CYRILLIC_B = "\N{CYRILLIC CAPITAL LETTER VE}"


def worker(name: str, stated: Any = "", **own: str) -> Presence:
    told = stated if isinstance(stated, str) else json.dumps(stated)
    fields = {"state": "armed", "stated": told, "labels": json.dumps({"worker": name, **own})}
    return Presence(name, "0" * 32, fields, 0)


def held(*workers: Presence, **labels: str) -> Matching:
    return matching({Label(name): value for name, value in labels.items()}, workers)


def meets(found: Matching) -> list[str]:
    return [match.meets.value for match in found.workers]


FLEET = [
    worker("pod-1", {"symbol": ["BTC/USDT:USDT", "ETHUSDT"]}, venue="paper"),
    worker("pod-2", {"symbol": ["ETHUSDT"], "venue": ["live"]}, venue="paper"),
    worker("pod-3", {"desk": ["fx"]}),
    worker("pod-4"),
]


@pytest.mark.parametrize(
    ("labels", "expected", "values"),
    [
        ({}, ["matches"] * 4, {}),
        (
            {"symbol": "ethusdt "},
            ["matches", "matches", "unstated", "unknown"],
            {"symbol": ["ETHUSDT"]},
        ),
        (
            {"symbol": "btc*"},
            ["matches", "other", "unstated", "unknown"],
            {"symbol": ["BTC/USDT:USDT"]},
        ),
        ({"symbol": "XRP"}, ["other", "other", "unstated", "unknown"], {}),
        ({"worker": "POD-2"}, ["other", "matches", "other", "other"], {"worker": ["pod-2"]}),
        ({"worker": "pod-9"}, ["other"] * 4, {}),
        (
            {"venue": "LIVE", "symbol": "ETHUSDT"},
            ["other", "matches", "unstated", "unknown"],
            {"symbol": ["ETHUSDT"], "venue": ["live"]},
        ),
    ],
)
def test_each_worker_is_held_against_the_labels(labels, expected, values) -> None:
    found = held(*FLEET, **labels)
    assert meets(found) == expected
    assert found.values == values
    concerned = {"matches", "unstated"}
    assert len(found.concerned) == sum(each in concerned for each in expected)


@pytest.mark.parametrize(
    "told",
    [
        "[]",
        "{",
        '{"symbol":"BTC"}',
        '{"symbol":[1]}',
        '{"colour":["red"]}',
        '{"symbol":["a"],"symbol":["b"]}',
        json.dumps({"symbol": ["x" * 129]}),
        json.dumps({"symbol": [str(n) for n in range(65)]}),
        json.dumps({"symbol": ["x"] * 64, "desk": ["x" * 128] * 64}) + " " * 20_000,
        '{"symbol":["\\ud800"]}',
        "\u00b2",
        "1e999",
    ],
)
def test_what_a_worker_does_not_tell_as_it_should_is_not_known(told: str) -> None:
    found = held(worker("pod-1", told), symbol="BTC")
    assert meets(found) == [Meets.UNKNOWN]
    assert not found.concerned


def test_labels_of_a_guard_that_are_none_say_nothing() -> None:
    for text in ("", "{", '{"venue":1}', '{"colour":"red"}', '["venue"]'):
        presence = Presence("pod-1", "0" * 32, {"stated": "{}", "labels": text}, 0)
        assert meets(held(presence, venue="paper")) == [Meets.UNSTATED]


def test_of_a_worker_that_fell_silent_nothing_is_known() -> None:
    """Row 81: it is one of the fleet, and may trade that symbol."""
    found = held(Presence("pod-1", "0" * 32, {}, 0), symbol="BTC")
    assert [match.meets for match in found.workers] == [Meets.UNKNOWN]
    assert found.concerned == frozenset() and found.near == {}


@pytest.mark.parametrize(
    ("labels", "answered", "effective"),
    [
        ({"symbol": "XRP"}, ["pod-1", "pod-2"], False),
        ({"symbol": "ETHUSDT"}, ["pod-3"], True),
        ({"worker": "pod-2"}, ["pod-1", "pod-3"], False),
        ({"worker": "pod-2"}, ["pod-2"], True),
        ({}, [], False),
        ({}, ["pod-4"], True),
        (None, ["pod-1"], False),
    ],
)
def test_a_restriction_has_an_effect_when_one_that_it_concerns_has_answered(
    labels: dict[str, str] | None, answered: list[str], effective: bool
) -> None:
    """Row 81: HALTED beside exit code 0 must mean that something has stopped."""
    signers = Signers()
    item = signers.trust.restriction(signers.restriction())
    found = None if labels is None else held(*FLEET, **labels)
    done = Restricted(item, "written", {Pod(name, "0" * 32): 1.0 for name in answered}, (), found)
    assert done.effective is effective


STATED = ["BTCUSDT", "BTC/USDT:USDT", "ETHUSDT", "ethusdc", "XRPUSDT"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("BTC/USDT", ["BTCUSDT", "BTC/USDT:USDT"]),
        (f"{CYRILLIC_B}TCUSDT", ["BTCUSDT", "BTC/USDT:USDT"]),
        ("BTCUSTD", ["BTCUSDT"]),
        ("XRPUSD", ["XRPUSDT"]),
        ("XPRUSDT", ["XRPUSDT"]),
        ("PXRUSTD", []),
        ("XRPUSDX", ["XRPUSDT"]),
        ("ETH-USDT", ["ETHUSDT"]),
        ("ETH", ["ETHUSDT", "ethusdc"]),
        ("SOLUSDT", []),
        ("B", []),
        ("BTC_*", ["BTCUSDT", "BTC/USDT:USDT"]),
    ],
)
def test_what_may_have_been_meant_is_named(typed: str, meant: list[str]) -> None:
    found = held(worker("pod-1", {"symbol": STATED}), symbol=typed)
    assert meets(found) == [Meets.OTHER]
    assert found.near.get("symbol", []) == meant


def test_where_something_matches_only_what_begins_or_looks_the_same_is_near() -> None:
    found = held(worker("pod-1", {"symbol": [*STATED, "BTCUSDC"]}), symbol="btcusdt")
    assert found.near == {"symbol": ["BTC/USDT:USDT"]}


def test_a_mistyped_worker_is_named_and_no_name_twice() -> None:
    pods = [worker(f"pod-{n}", {}) for n in range(3)]
    found = held(*pods, pods[0], worker="pod1")
    assert found.near == {"worker": ["pod-1"]}
    many = held(*[worker(f"pod-1{n:03}", {}) for n in range(50)], worker="pod-1")
    assert len(many.near["worker"]) == MAX_NEAR


def test_letters_are_compared_by_their_looks() -> None:
    for text in (
        "BTC",
        "btc",
        f"{CYRILLIC_B}TC",
        "\u0432\u0442\u0441",
        "\uff22TC",
        "\u0392\u03a4C",
    ):
        assert skeleton(text) == "btc"
    assert skeleton("\u200bB/T-C ") == "btc"
    assert foreign(f"{CYRILLIC_B}TC\u200b{CYRILLIC_B}") == (
        "U+0412 CYRILLIC CAPITAL LETTER VE",
        "U+200B ZERO WIDTH SPACE",
    )
    assert foreign("BTC/USDT") == ()
    assert foreign("\ue000") == ("U+E000",)


def test_slips_are_counted() -> None:
    assert slips("", "abc") == 3 and slips("kitten", "sitting") == 3 and slips("a", "a") == 0
    assert slips("usdt", "ustd") == 1 and slips("abcd", "badc") == 2 and slips("ab", "") == 2


def test_a_fleet_that_tells_of_very_many_values_is_looked_at_in_part() -> None:
    assert near("AAAAAAAAAAAA", (f"AAAAAAAAAA{n}" for n in range(10**5)), missed=True)
