"""Forked children that ask their parent's guard; with real forks in process/test_ways.py."""

from __future__ import annotations

import mmap

import pytest

from golive_redis.guard.children import Children
from golive_redis.guard.skiplog import SkipLog


def test_a_process_is_counted_once_however_often_it_asks() -> None:
    children = Children()
    children.asked()
    assert children.number() == 0, "nothing is shared before the first fork"
    children.share()
    assert children.number() == 0
    for _ in range(3):
        children.asked()
        children.share()  # at the next fork it goes on with the same page
        assert children.number() == 1


def test_each_process_has_a_place_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children()
    children.share()
    for pid in range(40_000, 40_100):
        monkeypatch.setattr("os.getpid", lambda pid=pid: pid)
        children.asked()
    assert children.number() == 100


def test_where_there_is_no_memory_the_fork_goes_on_and_nobody_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", full)
    children = Children()
    children.share()
    children.asked()
    assert children.number() == 0


def test_the_first_order_that_a_child_skips_is_told_to_its_parent() -> None:
    skips = SkipLog()
    skips.children.share()
    skips.skipped("BUY", "forked", "it is forked")
    assert skips.children.number() == 0, "it is no child"
    skips.closed("opened in another process")
    assert skips.children.number() == 0, "most children never ask"
    for _ in range(2):
        skips.skipped("BUY", "forked", "it is forked")
    assert skips.children.number() == 1
