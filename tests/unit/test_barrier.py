"""When a stop may be called COMPLETE, and what is said otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from golive_redis.core.barrier import (
    Attested,
    By,
    Collected,
    Here,
    Outcome,
    Pod,
    Result,
    Roster,
    applied,
    asked,
    counts,
    judge,
)
from golive_redis.core.timing import TIMINGS
from golive_redis.testing import Signers

SIGNERS = Signers()
STOP = SIGNERS.revocation()
TIMING = TIMINGS["standard"]
CALLED = 10_000.0
ONE, TWO = Pod("pod-1", "1" * 32), Pod("pod-1", "2" * 32)
SERVER, OTHER = "a" * 40, "b" * 40
HERE = Here(SERVER, stopped=True, since=float("inf"))


def heard(*said: tuple[float, str | Pod, dict[str, Any]]) -> Collected:
    """Receipts: ms after the call, a heartbeat's name or a worker, other fields."""
    collected = Collected()
    for after_ms, who, fields in said:
        if isinstance(who, Pod):
            raw = SIGNERS.receipt(STOP, **{"instance": who.instance, **fields})
        else:
            raw = SIGNERS.receipt(STOP, by=who, worker=None, heartbeat=who, **fields)
        collected.add(SIGNERS.trust.receipt(raw).record, CALLED + after_ms)
    return collected


def judged(collected: Collected, after_ms: float = 100.0, **changes: Any) -> Outcome:
    values: dict[str, Any] = {
        "roster": Roster(frozenset({"hb-1"}), frozenset({ONE, TWO})),
        "here": HERE,
        **changes,
    }
    values.setdefault("keyset", values["roster"].heartbeats & {"hb-1", "hb-2"})
    return judge(
        values.pop("roster"),
        collected,
        called_at=CALLED,
        now=CALLED + after_ms,
        timing=TIMING,
        **values,
    )


HB: tuple[float, str, dict[str, Any]] = (10.0, "hb-1", {})
LATCHED = [(5.0, ONE, {}), (6.0, TWO, {})]
DRAINED = [(20.0, ONE, {"stage": "drained"}), (21.0, TWO, {"stage": "drained"})]
EVERYTHING = heard(HB, *LATCHED, *DRAINED)


def test_receipts_of_everybody_complete_a_stop_at_once() -> None:
    """Row 1 (the judgement's part)."""
    outcome = judged(EVERYTHING)
    assert (outcome.result, outcome.by) == (Result.COMPLETE, By.RECEIPTS)
    assert outcome.settled
    assert [row.latched_ms for row in outcome.workers] == [5.0, 6.0]
    assert [row.drained_ms for row in outcome.workers] == [20.0, 21.0]
    assert [row.latched_ms for row in outcome.heartbeats] == [10.0]


@pytest.mark.parametrize(
    ("epoch", "blind", "term", "named", "counted"),
    [
        (6, False, 5, 5, True),
        (6, False, 5, None, True),  # by number: it has latched for 5, whatever it knew
        (6, True, 5, None, True),
        (1, True, 5, 5, True),  # by the time of the activation
        (1, True, 5, None, False),
        (1, True, 5, 4, False),
        (1, True, 0, None, False),  # nobody knows of a term: then it has to be named
        (1, True, 0, 5, True),
        (1, False, 0, None, True),  # nothing was active
        (1, False, 5, None, False),  # a later term was met
    ],
)
def test_a_receipt_counts_where_it_shows_that_the_term_is_over(
    epoch: int, blind: bool, term: int, named: int | None, counted: bool
) -> None:
    """Row 72."""
    stop = SIGNERS.trust.revocation(SIGNERS.revocation(epoch, blind=blind)).record
    raw = SIGNERS.receipt(STOP, by="hb-1", worker=None, heartbeat="hb-1", term=named)
    assert counts(SIGNERS.trust.receipt(raw).record, stop, term) is counted


def test_an_answer_to_a_stop_is_none_to_a_halt_and_the_other_way_round() -> None:
    halt = SIGNERS.trust.restriction(SIGNERS.restriction(2)).record
    stop = SIGNERS.trust.revocation(STOP).record
    latched = SIGNERS.trust.receipt(SIGNERS.receipt(STOP)).record
    restricted = SIGNERS.trust.receipt(SIGNERS.receipt(STOP, "applied")).record
    elsewhere = SIGNERS.trust.receipt(SIGNERS.receipt(STOP, "applied", term=7)).record
    assert counts(latched, stop, 1)
    assert counts(restricted, halt, 1)
    assert not counts(latched, halt, 1)
    assert not counts(restricted, stop, 1)
    assert not counts(elsewhere, halt, 1)


@pytest.mark.parametrize(
    ("named", "unverified", "who"),
    [
        ({"hb-1"}, False, {"hb-1"}),
        ({"hb-1", "hb-3"}, False, {"hb-1", "hb-3"}),  # also one that the roster lacks
        (set(), False, {"hb-1", "hb-2"}),
        (set(), True, {"hb-1", "hb-2", "hb-3"}),
        ({"hb-1"}, True, {"hb-1", "hb-2", "hb-3"}),
    ],
)
def test_those_whom_the_grant_names_have_to_answer(
    named: set[str], unverified: bool, who: set[str]
) -> None:
    """Row 101: whoever owns Redis can shrink a roster, and what approvers have signed they cannot."""
    registered, keyset = frozenset({"hb-1", "hb-2"}), frozenset({"hb-1", "hb-3"})
    assert who == asked(
        named=frozenset(named), registered=registered, keyset=keyset, unverified=unverified
    )


def test_an_empty_roster_is_never_complete() -> None:
    """Row 65: however long one waits, and whatever has arrived."""
    nobody = Roster(frozenset(), frozenset())
    for after_ms in (0.0, 1e9):
        for collected in (Collected(), EVERYTHING):
            outcome = judged(collected, after_ms, roster=nobody)
            assert (outcome.result, outcome.by) == (Result.NOT_CONFIRMED, None)


def test_workers_without_any_heartbeat_are_never_complete() -> None:
    """Row 65: the heartbeats' roster is gone."""
    roster = Roster(frozenset(), frozenset({ONE, TWO}))
    assert judged(EVERYTHING, 1e9, roster=roster).result is Result.NOT_CONFIRMED


def test_no_receipts_of_an_empty_workers_roster_are_everybodys() -> None:
    """Row 65: presence never written; only time can tell."""
    roster = Roster(frozenset({"hb-1"}), frozenset())
    assert judged(heard(HB), roster=roster).result is Result.NOT_CONFIRMED
    outcome = judged(heard(HB), 10 + TIMING.all_off_ms, roster=roster)
    assert (outcome.result, outcome.by) == (Result.STOPPED, By.TIME)
    assert (outcome.workers, outcome.drain_unknown) == ((), [])


def test_a_silent_heartbeat_keeps_a_stop_unconfirmed_for_ever() -> None:
    """Row 66: SIGSTOPped during the revoke; it may yet wake and beat."""
    roster = Roster(frozenset({"hb-1", "hb-2"}), frozenset({ONE, TWO}))
    outcome = judged(EVERYTHING, 1e9, roster=roster)
    assert outcome.result is Result.NOT_CONFIRMED
    assert not outcome.settled
    assert [row.answered for row in outcome.heartbeats] == [True, False]


def test_the_operators_word_counts_for_a_dead_heartbeat() -> None:
    """Row 66: attestation."""
    roster = Roster(frozenset({"hb-1", "hb-2"}), frozenset({ONE, TWO}))
    outcome = judged(EVERYTHING, roster=roster, attested=Attested(frozenset({"hb-2"})))
    assert (outcome.result, outcome.by) == (Result.COMPLETE, By.RECEIPTS)
    # Somebody else's death says nothing about this one.
    other = judged(EVERYTHING, roster=roster, attested=Attested(frozenset({"hb-3"})))
    assert other.result is Result.NOT_CONFIRMED


def test_with_every_heartbeat_dead_time_counts_from_the_call() -> None:
    dead = frozenset({"hb-1"})
    bound = TIMING.all_off_ms
    early = judged(Collected(), bound - 1, attested=Attested(dead))
    assert early.result is Result.NOT_CONFIRMED
    assert {row.off_by for row in early.workers} == {CALLED + bound}
    late = judged(Collected(), bound, attested=Attested(dead))
    assert (late.result, late.by) == (Result.STOPPED, By.TIME)
    drained = judged(heard(*DRAINED), attested=Attested(dead))
    assert (drained.result, drained.by) == (Result.COMPLETE, By.RECEIPTS)


def test_a_heartbeat_that_could_not_persist_its_latch_does_not_count() -> None:
    """Row 35: `durable: failed` does not count."""
    failed = heard((10.0, "hb-1", {"durable": "failed"}), *LATCHED, *DRAINED)
    assert judged(failed, 1e9).result is Result.NOT_CONFIRMED
    none = heard((10.0, "hb-1", {"durable": "none"}), *LATCHED, *DRAINED)
    assert judged(none).result is Result.COMPLETE


def test_a_heartbeat_that_answers_again_with_a_working_disk_counts_from_then() -> None:
    failed = (10.0, "hb-1", {"durable": "failed"})
    outcome = judged(heard(failed, (900.0, "hb-1", {}), (950.0, "hb-1", {})), 1000.0)
    assert outcome.heartbeats[0].latched_ms == 900.0
    assert outcome.heartbeats[0].answered
    repeated = judged(heard((900.0, "hb-1", {}), (950.0, "hb-1", {"durable": "failed"})))
    assert repeated.heartbeats[0].answered


def test_a_worker_that_could_not_persist_its_latch_is_not_complete_by_receipts() -> None:
    """Row 35: nor does a worker's."""
    failed = [
        (20.0, ONE, {"stage": "drained"}),
        (21.0, TWO, {"stage": "drained", "durable": "failed"}),
    ]
    assert judged(heard(HB, *failed)).result is Result.NOT_CONFIRMED
    late = judged(heard(HB, *failed), 10 + TIMING.all_off_ms)
    assert (late.result, late.by) == (Result.COMPLETE, By.TIME)


@pytest.mark.parametrize(
    ("here", "beat_on"),
    [
        (Here("", stopped=True, since=1e9), []),
        (Here(SERVER, stopped=False, since=1e9), [SERVER]),
        (HERE, [SERVER, OTHER]),
        (HERE, [OTHER]),
        (HERE, None),
    ],
    ids=["another primary", "not shown here", "beaten on two", "beaten elsewhere", "not known"],
)
def test_receipts_complete_only_where_the_term_has_lived_on_this_server_alone(
    here: Here, beat_on: list[str] | None
) -> None:
    """Row 20: a failover; only time can tell then."""
    collected = heard((10.0, "hb-1", {"beat_on": beat_on}), *LATCHED, *DRAINED)
    assert judged(collected, here=here).result is Result.NOT_CONFIRMED
    outcome = judged(collected, 10 + TIMING.all_off_ms, here=here)
    assert (outcome.result, outcome.by) == (Result.COMPLETE, By.TIME)
    alone = heard((10.0, "hb-1", {"beat_on": [SERVER]}), *LATCHED, *DRAINED)
    assert judged(alone).by is By.RECEIPTS


@pytest.mark.parametrize("beat_on", [[OTHER], None])
def test_where_the_term_may_have_lived_elsewhere_every_heartbeat_of_the_keyset_is_asked(
    beat_on: list[str] | None,
) -> None:
    """Row 20: one joined on the other server, and the failover lost its roster entry."""
    both = frozenset({"hb-1", "hb-2"})
    late = 10 + TIMING.all_off_ms
    moved = (10.0, "hb-1", {"beat_on": beat_on})
    outcome = judged(heard(moved, *DRAINED), 1e9, keyset=both)
    assert outcome.result is Result.NOT_CONFIRMED
    assert [(row.name, row.answered) for row in outcome.heartbeats] == [
        ("hb-1", True),
        ("hb-2", False),
    ]
    answered = judged(heard(moved, (5.0, "hb-2", {}), *DRAINED), late, keyset=both)
    dead = judged(heard(moved, *DRAINED), late, keyset=both, attested=Attested(frozenset({"hb-2"})))
    assert answered.by is dead.by is By.TIME
    # As long as it has lived here alone, the roster is whole: one that never ran is nobody.
    assert judged(EVERYTHING, keyset=both).by is By.RECEIPTS


def test_only_the_process_that_registered_last_speaks_for_a_heartbeat() -> None:
    """Row 62: it answered, lost its disk, and was started again while another still beat."""
    old, new = {"instance": "1" * 32}, {"instance": "2" * 32}
    roster = Roster(frozenset({"hb-1"}), frozenset({ONE, TWO}), {"hb-1": "2" * 32})
    before = heard((10.0, "hb-1", old), *LATCHED, *DRAINED)
    assert judged(before, 1e9, roster=roster).result is Result.NOT_CONFIRMED
    after = heard((10.0, "hb-1", old), (700.0, "hb-1", new), *LATCHED, *DRAINED)
    outcome = judged(after, 800.0, roster=roster)
    assert (outcome.result, outcome.heartbeats[0].latched_ms) == (Result.COMPLETE, 700.0)


def test_an_answer_counts_once_the_roster_was_read_after_it() -> None:
    early = Here(SERVER, stopped=True, since=CALLED + 9.9)
    assert judged(EVERYTHING, 1e9, here=early).result is Result.NOT_CONFIRMED
    assert judged(EVERYTHING, here=Here(SERVER, stopped=True, since=CALLED + 10)).settled


def test_by_time_counts_from_the_last_heartbeat_and_not_a_ms_less() -> None:
    roster = Roster(frozenset({"hb-1", "hb-2"}), frozenset({ONE, TWO}))
    collected = heard(HB, (300.0, "hb-2", {}))
    bound = 300 + 1.1 * 5500 + 2 * 250
    assert judged(collected, bound - 0.1, roster=roster).result is Result.NOT_CONFIRMED
    outcome = judged(collected, bound, roster=roster)
    assert (outcome.result, outcome.by) == (Result.STOPPED, By.TIME)
    assert [row.left for row in outcome.workers] == [None, None]  # drain unknown
    assert [row.off_by for row in outcome.workers] == [CALLED + bound] * 2


def test_a_silent_worker_is_named_with_the_instant_by_which_it_is_off() -> None:
    """Row 16 (the judgement's part)."""
    outcome = judged(heard(HB, (5.0, ONE, {"in_flight": 3})))
    assert outcome.result is Result.NOT_CONFIRMED
    known, silent = outcome.workers
    assert (known.latched_ms, known.in_flight, known.off_by) == (5.0, 3, None)
    assert (silent.latched_ms, silent.off_by) == (None, CALLED + 10 + TIMING.all_off_ms)


def test_without_the_heartbeats_word_no_bound_is_claimed() -> None:
    """Row 66: the honest bound is elsewhere, at `not_after`."""
    assert {row.off_by for row in judged(heard((5.0, ONE, {}))).workers} == {None}


@pytest.mark.parametrize("after_ms", [100.0, 1e6])
def test_orders_left_in_flight_are_stopped_and_not_drained(after_ms: float) -> None:
    left = [(20.0, ONE, {"stage": "drained", "left": 2}), DRAINED[1]]
    outcome = judged(heard(HB, *LATCHED, *left), after_ms)
    assert outcome.result is Result.STOPPED
    assert [row.left for row in outcome.workers] == [2, 0]


def test_two_instances_of_one_worker_are_two_rows() -> None:
    """Row 61: two processes with one worker id, two receipts."""
    outcome = judged(heard(HB, DRAINED[0]))
    assert outcome.result is Result.NOT_CONFIRMED
    assert [row.left for row in outcome.workers] == [0, None]


def test_a_drained_receipt_alone_says_latched_too_and_the_first_arrival_counts() -> None:
    again = (90.0, ONE, {"stage": "drained", "left": 7})
    outcome = judged(heard(HB, *DRAINED, again))
    assert outcome.result is Result.COMPLETE
    assert outcome.workers[0].latched_ms == outcome.workers[0].drained_ms == 20.0


def test_a_stop_is_complete_only_when_every_worker_has_drained() -> None:
    """Row 30: one that is frozen between its last check and its send may still send what it holds."""
    late = 10 + TIMING.all_off_ms
    outcome = judged(heard(HB, *LATCHED, DRAINED[0]), late)
    assert (outcome.result, outcome.by) == (Result.STOPPED, By.TIME)
    assert outcome.drain_unknown == [TWO.short]
    assert judged(heard(HB, DRAINED[0]), late).drain_unknown == [TWO.short]
    roster = Roster(frozenset({"hb-1"}), frozenset({ONE, Pod("pod-2", "3" * 32)}))
    assert judged(heard(HB, DRAINED[0]), late, roster=roster).drain_unknown == ["pod-2"]
    drained = judged(heard(HB, *DRAINED), late)
    assert (drained.result, drained.drain_unknown) == (Result.COMPLETE, [])


@pytest.mark.parametrize("name", ["pod-1", TWO.short, f"pod-1:{TWO.instance}"])
def test_the_operators_word_counts_for_a_dead_worker(name: str) -> None:
    dead = Attested(workers=frozenset({name}))
    outcome = judged(heard(HB, DRAINED[0]), attested=dead)
    assert (outcome.result, outcome.by) == (Result.COMPLETE, By.RECEIPTS)
    assert [row.attested_dead for row in outcome.workers] == [False, True]  # one answered itself


@pytest.mark.parametrize("name", ["pod", "pod-11", "pod-1:1", "pod-2", f"{TWO.instance}"])
def test_the_operators_word_is_about_nobody_else(name: str) -> None:
    outcome = judged(
        heard(HB, DRAINED[0]), 10 + TIMING.all_off_ms, attested=Attested(workers=frozenset({name}))
    )
    assert (outcome.result, outcome.drain_unknown) == (Result.STOPPED, [TWO.short])


@pytest.mark.parametrize(
    ("beat_on", "here", "result"),
    [
        ([SERVER], HERE, Result.COMPLETE),
        ([SERVER, OTHER], HERE, Result.STOPPED),  # a failover may have lost that it has read since
        ([SERVER], Here(OTHER, stopped=True, since=float("inf")), Result.STOPPED),
        ([SERVER], Here(SERVER, since=float("inf")), Result.STOPPED),  # the roster is from before
    ],
)
def test_an_earlier_word_counts_where_the_term_has_lived_on_one_server(
    beat_on: list[str], here: Here, result: Result
) -> None:
    """Row 119: A5."""
    collected = heard((10.0, "hb-1", {"beat_on": beat_on}), *LATCHED[:1], *DRAINED[:1])
    word = Attested(earlier=frozenset({TWO}))
    outcome = judged(collected, 100_000.0, attested=word, here=here)
    assert outcome.result is result
    assert [row.attested_dead for row in outcome.workers] == [False, result is Result.COMPLETE]


def test_no_earlier_word_stands_for_one_that_has_answered() -> None:
    """Row 119: it was frozen, woke after the roster was read, and has an order in flight."""
    there = (20.0, TWO, {"in_flight": 1})
    collected = heard((10.0, "hb-1", {"beat_on": [SERVER]}), *LATCHED[:1], *DRAINED[:1], there)
    word = Attested(earlier=frozenset({TWO}))
    outcome = judged(collected, 100_000.0, attested=word)
    assert outcome.result is Result.STOPPED
    assert outcome.drain_unknown == [TWO.short]


def test_nobodys_word_makes_less_of_what_a_worker_says_is_left() -> None:
    left = [(20.0, ONE, {"stage": "drained", "left": 2}), DRAINED[1]]
    dead = Attested(workers=frozenset({"pod-1"}))
    outcome = judged(heard(HB, *left), attested=dead)
    assert outcome.result is Result.STOPPED
    assert [row.attested_dead for row in outcome.workers] == [False, False]


def test_a_worker_that_no_roster_names_is_judged_by_its_receipt() -> None:
    alone = Roster(frozenset({"hb-1"}), frozenset({ONE}))
    left = (21.0, TWO, {"stage": "drained", "left": 1})
    outcome = judged(heard(HB, DRAINED[0], left), roster=alone)
    assert outcome.result is Result.STOPPED
    assert [row.left for row in outcome.workers] == [0, 1]
    waiting = judged(heard(HB, DRAINED[0], (5.0, TWO, {})), roster=alone)
    assert waiting.result is Result.NOT_CONFIRMED


def test_a_heartbeat_that_the_keyset_lacks_is_not_waited_for() -> None:
    """Row 71: nobody believes its beats; but with an old keyset it is not known who has a key."""
    roster = Roster(frozenset({"hb-1", "hb-9"}), frozenset({ONE, TWO}))
    assert judged(EVERYTHING, roster=roster).by is By.RECEIPTS
    outcome = judged(EVERYTHING, 1e9, roster=roster, newer=True)
    assert outcome.result is Result.NOT_CONFIRMED
    dead = Attested(frozenset({"hb-9"}))
    assert judged(EVERYTHING, roster=roster, newer=True, attested=dead).by is By.RECEIPTS
    strangers = Roster(frozenset({"hb-8", "hb-9"}), frozenset({ONE, TWO}))
    assert judged(EVERYTHING, 1e9, roster=strangers).result is Result.NOT_CONFIRMED


GOODBYE = (22.0, TWO, {"stage": "left"})


def test_a_goodbye_stands_for_a_worker_that_has_left() -> None:
    """Row 96: nothing is in flight, and it never trades again."""
    outcome = judged(heard(HB, DRAINED[0], GOODBYE))
    assert (outcome.result, outcome.by) == (Result.COMPLETE, By.RECEIPTS)
    row = outcome.workers[1]
    assert (row.goodbye_ms, row.latched_ms, row.off_by, row.drain_unknown) == (
        22.0,
        None,
        None,
        False,
    )
    both = judged(heard(HB, (20.0, ONE, {"stage": "left"}), GOODBYE))
    assert (both.result, both.by) == (Result.COMPLETE, By.RECEIPTS)


def test_a_goodbye_takes_nothing_back_and_speaks_for_one_process() -> None:
    left = (20.0, TWO, {"stage": "drained", "left": 2})
    assert judged(heard(HB, DRAINED[0], left, GOODBYE)).result is Result.STOPPED
    assert judged(heard(HB, GOODBYE), 10 + TIMING.all_off_ms).drain_unknown == [ONE.short]


def test_a_part_of_a_roster_makes_no_stop_complete() -> None:
    """Row 98."""
    roster = Roster(frozenset({"hb-1"}), frozenset({ONE, TWO}), whole=False)
    assert judged(EVERYTHING, roster=roster).result is Result.NOT_CONFIRMED
    outcome = judged(EVERYTHING, 10 + TIMING.all_off_ms, roster=roster)
    assert (outcome.result, outcome.by, outcome.whole) == (Result.STOPPED, By.TIME, False)


def test_who_has_not_applied_a_restriction_is_named() -> None:
    roster = Roster(frozenset({"hb-1"}), frozenset({ONE, TWO}))
    receipts = heard((5.0, TWO, {})).latched
    assert applied(roster, receipts) == (ONE,)
    assert applied(roster, {}) == (ONE, TWO)
