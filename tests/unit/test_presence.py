"""What a pod says of itself is unsigned: a field of another form is left out, and named."""

from __future__ import annotations

import json

import msgspec
import pytest

from golive_redis.store.keyspace import PRESENCE_MS
from golive_redis.store.presence import FIELDS, lacking, parse_presence

NUMBERS = ["term", "epoch", "in_flight", "permits", "sent", "rejected", "skipped", "pid"]
WORDS = ["state", "durable", "version", "policy"]
GOOD = {
    "state": "armed",
    "reason": "",
    "term": "7",
    "epoch": "9007199254740991",
    "permits": "0",
    "durable": "yes",
    "labels": '{"venue": "paper", "worker": "pod-1"}',
    "version": "0.1.0+local",
    "policy": "a" * 64,
    "host": "Wörkstation 7",
}


def parsed(pttl: object = PRESENCE_MS, **fields: str | bytes):
    said = {name: v.encode() if isinstance(v, str) else v for name, v in fields.items()}
    return parse_presence("pod-1", "a" * 32, [said.get(name) for name in FIELDS], pttl)


def test_what_a_guard_says_is_read_as_it_is():
    found = parsed(**GOOD)
    assert dict(found.fields) == GOOD
    assert found.unreadable == ()
    assert (found.number("term"), found.number("epoch"), found.number("sent")) == (7, 2**53 - 1, 0)
    assert (found.known("permits"), found.known("sent")) == (0, None)
    assert found.labels() == {"venue": "paper", "worker": "pod-1"}


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize(
    "value",
    [
        "²",
        "٣",
        "1_000",
        " 1",
        "1 ",
        "+1",
        "-1",
        "1.0",
        "1e3",
        "",
        "0x1",
        "01",
        "9" * 17,
        "9" * 5000,
        "9007199254740992",
        b"\xff",
        "1\n",
        "NaN",
    ],
)
def test_a_number_that_is_none_is_left_out(field, value):
    """Row 73."""
    found = parsed(**{**GOOD, field: value})
    assert found.number(field) == 0
    assert found.unreadable == (field,)
    assert found.alive
    assert found.fields["state"] == "armed"


@pytest.mark.parametrize("field", WORDS)
@pytest.mark.parametrize("value", ["\x1b[2J", "a b", "²", b"\xff\xfe", "x" * 129, "armed\n"])
def test_a_word_that_is_none_is_left_out(field, value):
    found = parsed(**{**GOOD, field: value})
    assert field not in found.fields
    assert found.unreadable == (field,)


@pytest.mark.parametrize(
    "value",
    [
        "[" * 100_000,
        '{"a":' * 5_000,
        '{"venue": 1}',
        '{"venue": ["paper"]}',
        '{"venue": "a", "venue": "b"}',
        '{"venue": "\\ud800"}',
        '{"a b": "x"}',
        '{"venue": NaN}',
        "[]",
        "null",
        "",
        b"\xff",
        json.dumps({f"l{n}": "x" * 100 for n in range(100)}),
    ],
)
def test_labels_that_are_none_are_left_out(value):
    found = parsed(**{**GOOD, "labels": value})
    assert found.labels() == {}
    assert found.unreadable == ("labels",)
    msgspec.json.encode(found)


def test_a_field_without_end_is_left_out():
    found = parsed(state="armed", host="x" * 100_000, lacks="x" * 501)
    assert dict(found.fields) == {"state": "armed"}
    assert found.unreadable == ("host", "lacks")


def test_whose_logins_lack_what_is_said_in_few_sentences():
    many = [(f"pod-{number}", "SET x") for number in range(9)]
    assert lacking([*many, ("pod-x", "")]) == [
        "the login of pod-0, pod-1, pod-2, pod-3, pod-4 and 4 more may not: SET x"
    ]
    apart = lacking((f"pod-{number}", f"SET {number}") for number in range(7))
    assert apart[-1] == "2 more groups of pods lack other rights" and len(apart) == 6


@pytest.mark.parametrize(
    ("pttl", "heard_ms"),
    [
        (PRESENCE_MS, 0),
        (2500, 7500),
        (0, PRESENCE_MS),
        (-1, None),
        (-2, None),
        (PRESENCE_MS + 1, 0),  # another server's clock
        (2 * PRESENCE_MS, 0),
        (2 * PRESENCE_MS + 1, None),
        (None, None),
        (b"1", None),
    ],
)
def test_how_long_ago_it_was_heard_is_what_is_gone_of_its_life(pttl, heard_ms):
    """Row 108: what never runs out, or too late, is no sign of life."""
    found = parsed(pttl, **GOOD)
    assert found.heard_ms == heard_ms
    assert found.alive is (heard_ms is not None)


def test_a_presence_that_has_run_out_is_nobodys():
    found = parse_presence("pod-1", "a" * 32, [None] * len(FIELDS), -2)
    assert not found.alive
    assert (found.fields, found.heard_ms, found.unreadable) == ({}, None, ())
