"""The witness finds what is late, and only that."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec

from .chaos import NEVER_NS
from .judge import Accept, Ban, judge, parse_journal
from .outcome import stop_bans, unanswered

GOOD = Accept("pod-1", "IBM", 100, 1_000, 3, 2_000)
BAN = Ban("revoke", 50, 150, epoch=4)


def late(ban: Ban, **changes: object) -> int:
    accept = msgspec.structs.replace(GOOD, **changes)
    return len(judge([accept], [ban], "control").late)


def test_an_order_is_late_between_the_bound_and_the_end_of_what_it_follows_from() -> None:
    assert late(BAN) == 1
    assert late(BAN, at_ns=50) == late(BAN, at_ns=150) == late(BAN, at_ns=30) == 0
    assert late(BAN, fence=4) == 1
    assert late(BAN, fence=5) == 0, "under a later grant"
    assert late(BAN, worker="control") == 0


def test_a_ban_may_be_for_some_workers_or_one_symbol() -> None:
    some = Ban("cut", 50, 150, workers=frozenset({"pod-2"}))
    assert (late(some), late(some, worker="pod-2")) == (0, 1)
    halt = Ban("halt", 50, 150, symbol="FB")
    assert (late(halt), late(halt, symbol="FB")) == (0, 1)


def test_an_order_whose_permit_ran_out_on_the_way_is_refused_and_counted() -> None:
    verdict = judge([msgspec.structs.replace(GOOD, at_ms=2_001)], [BAN], "control")
    assert (verdict.accepted, verdict.stale, verdict.late) == (0, 1, ())


def test_the_control_shows_that_the_venue_was_open() -> None:
    control = msgspec.structs.replace(GOOD, worker="control", fence=None, until_ms=None)
    other = msgspec.structs.replace(BAN, from_ns=200, until_ns=300)
    verdict = judge([GOOD, control], [BAN, other], "control")
    assert (verdict.tried, verdict.accepted, verdict.workers) == (1, 1, 1)


def test_a_journal_is_read_up_to_its_last_whole_line() -> None:
    line = (
        '{"order": 1, "at_ns": 100, "at_ms": 1000, "worker": "pod-1", "symbol": "IBM", '
        '"side": "BUY", "qty": "1", "price": "1", "fence": 3, "until_ms": 2000}\n'
    )
    assert parse_journal([line, line[:40]]) == [GOOD]


# -- what a stop forbids ---------------------------------------------------------------------------


def stop(**changes: object) -> SimpleNamespace:
    fields = {"epoch": 4, "called_ns": 100, "executed_ns": 110, "done_ns": 900, "settled": True}
    fields["result"] = "COMPLETE"
    return SimpleNamespace(**{**fields, **changes})


def told(item: SimpleNamespace, *unsettled: tuple[int, int]) -> list[tuple[str, int, int]]:
    return [(ban.why, ban.from_ns, ban.until_ns) for ban in stop_bans([item], unsettled, 0)]


def test_a_complete_stop_is_for_ever_and_an_executed_one_until_a_failover_may_have_lost_it() -> (
    None
):
    assert told(stop()) == [("COMPLETE", 900, NEVER_NS), ("revoked", 110, NEVER_NS)]
    assert told(stop(), (500, 600)) == [("COMPLETE", 900, NEVER_NS), ("revoked", 110, 500)]
    assert told(stop(), (90, 105)) == [("COMPLETE", 900, NEVER_NS)]
    assert told(stop(settled=False), (10, 20)) == [("revoked", 110, NEVER_NS)]
    assert told(stop(settled=False, executed_ns=None)) == []


def test_a_stop_is_confirmed_wherever_everybody_could_answer_all_the_time() -> None:
    lost = stop(settled=False)
    assert [*unanswered([lost, stop()], [])] == [lost]
    assert [*unanswered([lost], [(0, 100), (900, 950)])] == [lost], "before it, and after it"
    assert [*unanswered([lost], [(0, 101)])] == [*unanswered([lost], [(899, NEVER_NS)])] == []
