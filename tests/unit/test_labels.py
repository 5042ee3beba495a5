"""Which labels of restrictions mean the same, which one covers another, and what cannot be named."""

from __future__ import annotations

import sys

import pytest

from golive_redis.core.labels import Named, covers, folded, same, unusable, wanted
from golive_redis.errors import ConfigError
from golive_redis.guard.guard import _checked_labels


def test_folding_again_changes_nothing() -> None:
    for number in range(sys.maxunicode + 1):
        text = chr(number)
        assert folded(folded(text)) == folded(text)
        assert folded(f"a{text}b").startswith(folded("a" + text).rstrip()), number


def test_labels_that_mean_the_same_are_equal() -> None:
    """Row 70: so `resume` finds the halt that its author means."""
    assert same({"symbol": " BTCusdt"}) == same({"symbol": "btcUSDT "}) == {"symbol": "btcusdt"}
    assert same({"symbol": "BTC*"}) != same({"symbol": "BTC"})
    assert wanted(" ") == "*"


@pytest.mark.parametrize(
    ("broad", "narrow", "expected"),
    [
        ({}, {}, True),
        ({}, {"symbol": "BTC"}, True),
        ({"symbol": "BTC"}, {}, False),
        ({"symbol": "btc "}, {"symbol": "BTC", "venue": "x"}, True),
        ({"symbol": "BTC"}, {"venue": "x"}, False),
        ({"symbol": "BTC*"}, {"symbol": "btcusdt"}, True),
        ({"symbol": "BTC*"}, {"symbol": "btcusd*"}, True),
        ({"symbol": "BTCUSD*"}, {"symbol": "BTC*"}, False),
        ({"symbol": "BTC"}, {"symbol": "BTC*"}, False),
    ],
)
def test_a_restriction_covers_one_of_fewer_orders(broad, narrow, expected) -> None:
    """Row 70: so a trigger does not restrict what is restricted."""
    assert covers(broad, narrow) is expected


@pytest.mark.parametrize("value", ["", "  ", "*", " * ", "*USDT", "BTC*USDT", "B**", "BTC**"])
def test_a_value_that_no_restriction_can_mean_is_refused_with_a_reason(value) -> None:
    assert unusable(value)


@pytest.mark.parametrize("value", ["BTC", "BTC*", " BTC/USDT:USDT ", "BTC* "])
def test_values_and_beginnings_can_be_named(value) -> None:
    assert unusable(value) == ""


def test_each_named_value_is_found_once() -> None:
    named = Named(["btc*", "btcusdt", "b*", "eth"])
    assert sorted(named.hits("btcusdt")) == ["b*", "btc*", "btcusdt"]
    assert named.hits("btc*") == ("btc*", "b*")
    assert named.hits("bt") == ("b*",)
    assert named.hits("x") == named.hits("") == ()


def test_a_guard_with_a_blank_label_does_not_start() -> None:
    with pytest.raises(ConfigError, match="venue"):
        _checked_labels("pod-1", {"venue": " "})


@pytest.mark.parametrize(
    ("worker", "labels", "message", "hint"),
    [
        ("pod 1", {}, "'pod 1' cannot be the id of a worker", "at most 64 characters"),
        ("-pod", {}, "'-pod' cannot be the id of a worker", "a letter or digit first"),
        ("p" * 65, {}, f"'{'p' * 65}' cannot be the id of a worker: it has 65 characters", "64"),
        (7, {}, "7 cannot be the id of a worker", "letters, digits"),
        (
            "pod-1",
            {"symbl": "BTCUSDT"},
            "'symbl' is no label (worker pod-1)",
            "labels are venue, account, desk, strategy, symbol, worker, client",
        ),
        (
            "pod-1",
            {"account": 7},
            "the labels {'account': 7} of worker pod-1 cannot be used",
            "the value of a label is text of 1 to 128 characters",
        ),
    ],
)
def test_what_cannot_be_a_worker_or_a_label_is_said_in_words(worker, labels, message, hint) -> None:
    with pytest.raises(ConfigError) as caught:
        _checked_labels(worker, labels)
    assert caught.value.message == message
    assert hint in caught.value.hint
