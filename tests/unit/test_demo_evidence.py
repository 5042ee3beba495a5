"""The demo's verdict: what proves that a fleet was stopped, and what spoils the proof."""

from __future__ import annotations

import json

import msgspec
import pytest

from golive_cli.demo.result import DemoResult, outage_act, revoke_act
from golive_cli.demo.verdict import (
    Accept,
    Attempt,
    Evidence,
    barrier_faults,
    faults,
    figures,
    parse_attempts,
    timeline,
)
from golive_redis.core.barrier import By, HeartbeatRow, Outcome, Pod, Result, WorkerRow
from golive_redis.records.receipt import Durable

MS = 1_000_000
BEGAN, CALLED, BOUND, END = 1_000 * MS, 3_000 * MS, 5_500 * MS, 6_500 * MS
PODS = ("pod-1", "pod-2")


def every(step_ms: int, start: int, end: int) -> range:
    return range(start, end, step_ms * MS)


def proof() -> Evidence:
    """Two pods that trade until 2 s after the call and are denied from then on."""
    off = CALLED + 2_000 * MS
    accepts = [Accept(pod, at) for pod in PODS for at in every(20, BEGAN, off)]
    accepts += [Accept("control", at) for at in every(20, BEGAN, END)]
    attempts = {
        pod: [Attempt(at, "sent", "") for at in every(20, BEGAN, off)]
        + [Attempt(at, "denied", "lapsed") for at in every(20, off, END)]
        for pod in PODS
    }
    return Evidence(accepts, attempts, "control", BEGAN, CALLED, BOUND)


def but(evidence: Evidence, **changes: object) -> Evidence:
    return msgspec.structs.replace(evidence, **changes)


def outcome(**changes: object) -> Outcome:
    rows = tuple(
        WorkerRow(Pod(pod, "i"), 7.04 + number, 0, 8.0, 0, Durable.YES, None)
        for number, pod in enumerate(PODS)
    )
    beats = (HeartbeatRow("hb-1", 5.0, Durable.YES, attested_dead=False),)
    whole = Outcome(Result.COMPLETE, By.RECEIPTS, beats, rows)
    return msgspec.structs.replace(whole, **changes)


def test_a_fleet_that_stops_before_the_bound_proves_it():
    assert faults(proof()) == []
    counted = figures(proof())
    assert counted.accepted_before == 200
    assert counted.accepted_after == 0
    assert counted.last_accept_ms == 1980.0
    assert counted.attempts_after == 100
    assert counted.control_accepted_after == 50
    assert counted.reasons == {"lapsed": 100}


def test_nothing_accepted_after_the_call_is_off_at_once():
    evidence = proof()
    before = [item for item in evidence.accepts if item.at_ns < CALLED]
    assert figures(but(evidence, accepts=before)).last_accept_ms == 0.0


def test_too_little_trade_before_the_stop_proves_nothing():
    evidence = proof()
    pods = [item for item in evidence.accepts if item.worker in PODS and item.at_ns < CALLED]
    few = pods[:99] + [item for item in evidence.accepts if item.worker == "control"]
    assert faults(but(evidence, accepts=few)) == [
        "only 99 orders were accepted before the stop; 100 are needed"
    ]


def test_what_was_accepted_before_the_activation_does_not_count_as_trade():
    later = but(proof(), began_ns=CALLED - 20 * MS)
    assert figures(later).accepted_before == 2


def test_a_worker_that_gave_up_proves_nothing():
    evidence = proof()
    lazy = [item for item in evidence.attempts["pod-2"] if item.at_ns < BOUND + 180 * MS]
    tried = {**evidence.attempts, "pod-2": lazy}
    assert faults(but(evidence, attempts=tried)) == ["pod-2 tried only 9 times afterwards"]


def test_one_attempt_that_was_not_denied_is_a_fault_even_if_the_venue_has_not_seen_it():
    evidence = proof()
    tried = {
        **evidence.attempts,
        "pod-1": [*evidence.attempts["pod-1"], Attempt(END, "unknown", "")],
    }
    assert faults(but(evidence, attempts=tried)) == [
        "pod-1 was not denied 1 of 51 times afterwards"
    ]


def test_a_control_that_does_not_trade_makes_silence_worthless():
    evidence = proof()
    quiet = [item for item in evidence.accepts if item.worker != "control" or item.at_ns < BOUND]
    assert faults(but(evidence, accepts=quiet)) == [
        "the control did not trade afterwards, so silence proves nothing"
    ]


@pytest.mark.parametrize(("late_ns", "found"), [(BOUND - 1, 0), (BOUND, 1), (END, 1)])
def test_one_order_accepted_from_the_bound_on_is_a_fault(late_ns, found):
    evidence = proof()
    late = but(evidence, accepts=[*evidence.accepts, Accept("pod-1", late_ns)])
    assert figures(late).accepted_after == found
    assert len(faults(late)) == found


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"result": Result.NOT_CONFIRMED, "by": None}, "the stop is NOT CONFIRMED, not COMPLETE"),
        ({"result": Result.STOPPED}, "the stop is STOPPED, not COMPLETE"),
        ({"by": By.TIME}, "the stop is complete by time, not by receipts"),
        ({"workers": outcome().workers[:1]}, "1 receipts of 1 pods, not of 2"),
    ],
)
def test_a_stop_without_every_receipt_is_a_fault(changes, fault):
    assert barrier_faults(outcome(), 2) == []
    assert barrier_faults(outcome(**changes), 2) == [fault]


def test_the_result_has_the_promised_fields_in_the_promised_order():
    counted = figures(proof())
    result = DemoResult(
        [revoke_act(outcome(), counted), outage_act("server-frozen", 2500, counted)], ok=True
    )
    assert msgspec.json.encode(result).decode() == json.dumps(
        {
            "acts": [
                {
                    "name": "revoke",
                    "complete": True,
                    "by": "receipts",
                    "workers": 2,
                    "receipts": 2,
                    "slowest_latch_ms": 8.0,
                    "accepted_before": 200,
                    "attempts_after": 100,
                    "control_accepted_after": 50,
                    "accepted_after_complete": 0,
                    "last_accept_after_revoke_ms": 1980.0,
                },
                {
                    "name": "server-frozen",
                    "bound_ms": 2500,
                    "all_off_ms": 1980.0,
                    "accepted_before": 200,
                    "attempts_after": 100,
                    "control_accepted_after": 50,
                    "accepted_after_bound": 0,
                },
            ],
            "ok": True,
        },
        separators=(",", ":"),
    )


def test_a_note_that_is_still_being_written_is_left_for_later():
    text = "5 sent\n7 denied lapsed\n9 deni"
    assert parse_attempts(text) == [Attempt(5, "sent", ""), Attempt(7, "denied", "lapsed")]
    assert parse_attempts("") == []


def test_the_picture_shows_every_accept_on_the_right_side_of_the_call():
    evidence = proof()
    seen = timeline(evidence, before_ms=1_000, until_ns=END)
    within = len([at for at in evidence.guarded if at >= CALLED - seen.called * seen.step_ms * MS])
    assert sum(seen.pods) == within
    assert sum(seen.pods[seen.called :]) == sum(at >= CALLED for at in evidence.guarded)
    assert not any(seen.pods[seen.bound :])
    assert len(seen.control) == len(seen.pods) <= 60
    assert all(seen.control)
