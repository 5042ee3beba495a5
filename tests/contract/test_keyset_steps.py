"""Steps to the next keyset: each number is written once, together with its entry in the ledger."""

from __future__ import annotations

from typing import Any

import pytest

from golive_redis.errors import RecordError
from golive_redis.records.ledger import GENESIS, extend
from golive_redis.records.rotation import MAX_STEP_BYTES, Step, unpack
from golive_redis.store.replies import Status

Deck = Any  # the `deck` fixture's class: test modules cannot import a conftest
FIRST, SECOND, OTHER = (Step(b'{"n":%d}' % n, b"record %d" % n) for n in (2, 3, 9))


def publish(deck: Deck, number: int, step: Step, **fields: Any) -> Any:
    fields = {"before": b'{"n":1}', "head": deck.store.head()} | fields
    return deck.store.publish_keyset(number, step, **fields)


def test_a_step_stands_with_its_entry_and_with_what_was_before_the_first(deck: Deck) -> None:
    assert publish(deck, 2, FIRST).status is Status.OK
    assert publish(deck, 3, SECOND).status is Status.OK
    assert [entry.envelope for entry in deck.store.entries(9)] == [FIRST.record, SECOND.record]
    assert deck.store.head() == extend(extend(GENESIS, FIRST.record), SECOND.record)
    assert unpack(deck.store.keyset_step(2)) == FIRST
    assert unpack(deck.store.keyset_step(1)) == Step(b'{"n":1}', b"")
    assert deck.store.keyset_numbers() == [1, 2, 3]
    assert deck.store.keyset_step(4) is None


def test_a_number_is_written_once(deck: Deck) -> None:
    publish(deck, 2, FIRST)
    assert publish(deck, 2, FIRST).status is Status.SAME
    refused = publish(deck, 2, OTHER)
    assert (refused.status, refused.why) == (Status.CONFLICT, FIRST.packed().decode())
    assert unpack(deck.store.keyset_step(2)) == FIRST
    assert len(deck.store.entries(9)) == 1


def test_no_number_is_skipped(deck: Deck) -> None:
    publish(deck, 2, FIRST)
    refused = publish(deck, 4, OTHER)
    assert (refused.status, refused.why) == (Status.REFUSED, "gap")
    assert deck.store.keyset_numbers() == [1, 2]
    assert len(deck.store.entries(9)) == 1


def test_a_step_is_written_at_the_head_of_the_ledger_or_not_at_all(deck: Deck) -> None:
    refused = publish(deck, 2, FIRST, head="f" * 64)
    assert (refused.status, refused.why) == (Status.HEAD, GENESIS)
    assert deck.store.keyset_numbers() == [] and deck.store.entries(9) == []


def test_what_is_larger_than_any_step_is_not_read(deck: Deck) -> None:
    deck.store.link.call("HSET", "golive:keyset", "2", b"x" * (MAX_STEP_BYTES + 1))
    with pytest.raises(RecordError, match="what Redis keeps as keyset 2 has"):
        deck.store.keyset_step(2)


def test_nothing_is_put_in_force_that_was_signed_under_a_keyset_before(deck: Deck) -> None:
    publish(deck, 2, FIRST)
    deck.head = deck.store.head()
    refused = deck.activate()
    assert (refused.status, refused.why, refused.detail) == (Status.REFUSED, "keyset", "2")
    assert len(deck.store.entries(9)) == 1
    assert deck.activate(keyset_version=2).status is Status.OK
