"""Following a ledger as a log: it goes on from any mark, and refuses what does not continue it."""

from __future__ import annotations

import msgspec
import pytest

from golive_redis.core.follower import (
    KEPT,
    Follower,
    InconsistentLogError,
    Mark,
    judge,
    kept,
    nearest,
)
from golive_redis.errors import RecordError
from golive_redis.records.checkpoint import Checkpoint
from golive_redis.records.ledger import Entry
from golive_redis.records.merkle import EMPTY_ROOT, leaf
from kit.ledgers import chained
from kit.notary import naive_root


def ledger(count: int, word: str = "entry") -> list[Entry]:
    return chained(
        Entry(f"{word} {number}".encode(), "", f"{1000 + number}-0") for number in range(count)
    )


def root(entries: list[Entry]) -> bytes:
    return naive_root([leaf(entry.envelope) for entry in entries])


def marked(entries: list[Entry]) -> Mark:
    follower = Follower()
    follower.take(entries)
    return follower.mark()


@pytest.mark.parametrize("first", range(10))
def test_from_any_mark_it_comes_to_the_root_of_the_whole(first: int) -> None:
    entries = ledger(10)
    follower = Follower(marked(entries[:first]))
    reading = entries[max(0, first - 1) :]  # with the last entry of the mark, to see it again
    follower.take(reading[:1])
    follower.take(reading[1:])
    assert (follower.size, follower.root()) == (10, root(entries))
    assert follower.mark() == marked(entries)


def test_without_entries_it_is_the_empty_log() -> None:
    follower = Follower()
    assert follower.take([]) == []
    assert (follower.size, follower.root()) == (0, EMPTY_ROOT)
    assert (follower.mark().start, follower.mark().last_ms) == ("-", 0)


def test_it_stops_where_it_is_told() -> None:
    entries = ledger(10)
    follower = Follower()
    assert len(follower.take(entries, up_to=4)) == 4
    assert (follower.size, follower.root()) == (4, root(entries[:4]))
    assert (follower.mark().start, follower.mark().last_ms) == ("1003-0", 1003)
    assert follower.take(entries[4:], up_to=4) == []


@pytest.mark.parametrize("what", ["gone", "shorter", "rewritten", "moved"])
def test_a_ledger_that_does_not_continue_what_was_seen_is_refused(what: str) -> None:
    mark = marked(ledger(5))
    page = {
        "gone": [],
        "shorter": ledger(4)[-1:],
        "rewritten": ledger(9, "other")[4:],
        "moved": [Entry(entry.envelope, entry.head, "9-9") for entry in ledger(6)[4:]],
    }[what]
    follower = Follower(mark)
    with pytest.raises(InconsistentLogError, match="entry 4 of the ledger is not there any more"):
        follower.take(page)
    assert follower.mark() == mark


def test_a_checkpoint_is_held_against_the_ledger_at_its_size() -> None:
    entries = ledger(6)
    signed = Checkpoint("a.log", 5, root(entries[:5]))
    judge(signed, marked(entries[:5]), "hb-1")
    with pytest.raises(
        InconsistentLogError, match=r"has 4 entries, and the checkpoint by hb-1 has 5"
    ):
        judge(signed, marked(entries[:4]), "hb-1")
    with pytest.raises(InconsistentLogError, match="rewritten, or the log is forked"):
        judge(signed, marked(ledger(5, "other")), "hb-1")


def test_the_nearest_mark_before_a_size_is_the_beginning_where_there_is_none() -> None:
    marks = [marked(ledger(count)) for count in (3, 6, 9)]
    assert [nearest(marks, size).size for size in (2, 3, 8, 9, 99)] == [0, 3, 6, 9, 9]


def test_what_a_witness_knows_is_kept_and_of_the_others_the_newest() -> None:
    marks = [marked(ledger(count)) for count in range(1, KEPT + 9)]
    found = kept([Mark(), *marks, marks[-1]], {2, 5, 1000})
    assert [mark.size for mark in found] == [2, 5, *range(9, KEPT + 9)]


def test_nodes_of_another_size_are_refused() -> None:
    with pytest.raises(RecordError):
        Follower(Mark(size=3, nodes=["00" * 32]))


def test_behind_a_trim_it_goes_on_without_the_entries_before() -> None:
    entries = ledger(10)
    mark = msgspec.structs.replace(marked(entries[:6]), told=True)
    assert mark.start == "(1005-0"
    follower = Follower(mark)
    assert len(follower.take(entries[6:])) == 4
    assert (follower.size, follower.root()) == (10, root(entries))
    assert not follower.mark().told and follower.mark() == marked(entries)
