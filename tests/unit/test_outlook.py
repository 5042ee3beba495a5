"""The head line of `golive status` says what is true for orders now, not what stands in Redis."""

from __future__ import annotations

import msgspec
import pytest

from golive_redis.core.barrier import Result
from golive_redis.core.timing import TIMINGS, bound_in_words, in_words
from golive_redis.operator.fleet import Active, HeartbeatStatus, InForce, Revoked, WorkerStatus
from golive_redis.operator.outlook import Ended, Seen, judge
from golive_redis.records.directive import GrantKind, Mode, Profile
from golive_redis.records.limits import Limits
from golive_redis.stop.memory import Lack

GOES_ON = (
    "a heartbeat that crashed goes on with the term when it is started within 20 s; else "
    "`golive revoke`, then activate"
)
HELD = "what was in flight may have been sent"
NOW = 1_800_000_000_000
HOUR = 3_600_000
TIMING = TIMINGS["standard"]
ACTIVE = Active(
    term=1,
    epoch=1,
    kind=GrantKind.ACTIVATE,
    mode=Mode.LIVE,
    profile=Profile.MICRO,
    limits=Limits(
        currency="USD",
        max_order_notional="1",
        max_position_notional="1",
        max_daily_loss="1",
        max_orders_per_minute=1,
        extra={},
    ),
    by=["alice"],
    reason="first start",
    ticket="",
    issued_at_ms=NOW - HOUR,
    activated_at_ms=NOW - HOUR,
    activation=None,
    not_after_ms=NOW + HOUR,
    pttl_ms=20_000,
    restrictions=[],
)


def worker(name="pod-1", state="armed", reason="", **more):
    fields = {"alive": True, "heard_ms": 300, "unreadable": [], "answers_with": "own"} | more
    return WorkerStatus(
        id=name,
        instance=name * 8,
        state=state,
        reason=reason,
        term=1,
        in_flight=0,
        permits=0,
        skipped=0,
        durable="yes",
        labels={},
        version="0.1.0",
        host="h",
        pid=1,
        **fields,
    )


def heartbeat(name="hb-1", state="beating", reason="", heard_ms=300, beat_at_ms=NOW - 300):
    return HeartbeatStatus(
        name=name,
        instance=name * 8,
        alive=state != "gone",
        state=state,
        reason=reason,
        term=1,
        durable="yes",
        version="0.1.0",
        host="h",
        heard_ms=heard_ms,
        beat_at_ms=beat_at_ms,
    )


def said(state="live", active=ACTIVE, heartbeats=None, workers=None, refused=(), revoked=None):
    heartbeats = [heartbeat()] if heartbeats is None else heartbeats
    workers = [worker(), worker("pod-2")] if workers is None else workers
    return judge(Seen(state, active, revoked, heartbeats, workers, refused, NOW), TIMING)


def test_a_fleet_that_trades_says_how_many_and_nothing_else():
    found = said()
    assert found.headline == "LIVE: 2 of 2 workers can trade"
    assert (found.problems, found.armed) == ([], 2)


def test_a_dead_heartbeat_is_said_before_the_workers_lapse_with_what_is_left_to_them():
    found = said(heartbeats=[heartbeat(state="silent", heard_ms=3_500, beat_at_ms=NOW - 3_600)])
    assert found.headline == (
        "LIVE: 2 of 2 workers can trade, for at most 2 s more: no heartbeat for 3.5 s"
    )


def test_live_with_all_workers_lapsed_is_no_trading():
    """Row 74."""
    lapsed = [worker(state="lapsed", reason="lapsed"), worker("pod-2", "lapsed", "lapsed")]
    dead = heartbeat(
        state="silent", reason="not heard for 7 s", heard_ms=7_050, beat_at_ms=NOW - 7_060
    )
    found = said(heartbeats=[dead], workers=lapsed)
    assert found.headline == "LIVE, but nobody can trade: no heartbeat for 7 s"
    assert found.armed == 0
    assert found.problems == [
        "heartbeat hb-1: silent, not heard for 7 s",
        GOES_ON,
        "2 workers lapsed: pod-1, pod-2",
    ]


def test_a_heartbeat_that_is_gone_is_known_by_its_last_beat():
    gone = heartbeat(state="gone", heard_ms=None, beat_at_ms=NOW - 12_300)
    found = said(heartbeats=[gone], workers=[worker(state="lapsed", reason="lapsed")])
    assert found.headline.endswith("no heartbeat for 12 s")


def test_one_that_beats_is_enough():
    found = said(heartbeats=[heartbeat(), heartbeat("hb-2", "silent", "it waits", beat_at_ms=None)])
    assert found.headline == "LIVE: 2 of 2 workers can trade"
    assert found.problems == ["heartbeat hb-2: silent, it waits"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"workers": []}, "no worker is there"),
        ({"heartbeats": [], "workers": [worker(state="cold")]}, "no heartbeat is there"),
        (
            {
                "heartbeats": [heartbeat(state="silent", beat_at_ms=None)],
                "workers": [worker(state="cold")],
            },
            "no heartbeat beats for this term",
        ),
        (
            {"workers": [worker(state="gone", alive=False)]},
            "none of 1 worker was heard for 10 s",
        ),
        (
            {"workers": [worker(str(n), "cold", "record-refused") for n in range(3)]},
            "none of 3 workers is armed (record-refused)",
        ),
    ],
)
def test_why_nobody_trades_is_said(more, why):
    assert said(**more).headline == f"LIVE, but nobody can trade: {why}"


def test_what_holds_for_some_orders_is_part_of_the_head_line():
    halts = [
        InForce(2, "halt", {"symbol": "X"}, "alice", "r", NOW),
        InForce(3, "halt", {"symbol": "Y"}, "alice", "r", NOW),
        InForce(4, "reduce", {"venue": "Z"}, "alice", "r", NOW),
    ]
    active = msgspec.structs.replace(ACTIVE, restrictions=halts)
    assert said(active=active).headline == (
        "LIVE with 2 halts and 1 reduction: 2 of 2 workers can trade"
    )
    assert said("halted", active).headline == "HALTED: 2 of 2 workers may only cancel"
    assert said("reduce_only", ACTIVE).headline == (
        "REDUCE ONLY: 2 of 2 workers may only take risk off"
    )


def test_off_is_off_unless_a_worker_says_otherwise():
    latched = [worker(state="latched", reason="revoked")]
    assert said("off", None, workers=latched).headline == "OFF: nothing is active"
    assert said("off", workers=latched).headline == "OFF: its window is over"
    assert said("off", None).headline == (
        "OFF: nothing is active, but 2 of 2 workers are still armed, for at most 2.5 s"
    )


def test_what_does_not_verify_here_may_still_trade_and_that_is_said():
    found = said("refused", None, refused=["the active record is refused: unknown key"])
    assert found.headline == (
        "REFUSED: something in Redis does not verify here; 2 of 2 workers say that they can trade"
    )
    assert found.problems[0] == "the active record is refused: unknown key"


STOPPED = Revoked(4, "alice", "r", "", NOW, blind=False, confirmed=True, result=Result.STOPPED)


@pytest.mark.parametrize(
    ("ended", "headline", "problems"),
    [
        (None, "OFF: nothing is active", []),
        (Ended(7, NOW), "OFF: its window is over", []),
        (Ended(7, NOW + 1), "OFF: nothing is active", ["term 7 ended without a stop"]),
        (Ended(7, None), "OFF: nothing is active", ["term 7 ended without a stop"]),
    ],
)
def test_how_a_term_ended_that_no_stop_has_ended(ended, headline, problems):
    """Row 111."""
    found = judge(Seen("off", None, None, [], [], [], NOW, None, ended), TIMING)
    assert found.headline == headline
    assert [text.partition(":")[0] for text in found.problems] == problems


def test_a_stop_that_was_not_complete_is_told_until_the_next_term():
    """Row 112."""
    off = said(state="off", active=None, workers=[], heartbeats=[], revoked=STOPPED)
    assert off.problems == [
        f"the last stop (epoch 4) ended STOPPED, not COMPLETE: {HELD}; look at the venue"
    ]
    assert said(revoked=STOPPED).problems == []


@pytest.mark.parametrize("state", ["unknown", "live", "refused"])
def test_a_store_that_knows_less_than_this_host_is_told_of_in_every_state(state):
    """Row 110."""
    lack = Lack(store="redis://elsewhere/1", kind="grant", epoch=9, signers=["alice"])
    less = lack.in_words()
    assert less.startswith("redis://elsewhere/1 does not know the grant of epoch 9 by alice, which")
    active = ACTIVE if state == "live" else None
    found = judge(Seen(state, active, None, [heartbeat()], [], [], NOW, lack), TIMING)
    assert less in [found.headline.removeprefix("UNKNOWN: "), *found.problems]


def test_what_to_do_without_a_heartbeat_is_said_with_the_time_that_is_left():
    dead = heartbeat(state="silent", heard_ms=3_500, beat_at_ms=NOW - 3_600)
    left = msgspec.structs.replace(ACTIVE, pttl_ms=20_500)
    assert said(active=left, heartbeats=[dead]).problems[1] == GOES_ON


def test_problems_come_worst_first_and_large_groups_are_counted():
    pods = [worker(f"pod-{n}", "lapsed", "lapsed") for n in range(8)]
    pods.append(worker("pod-x", unreadable=["term"]))
    active = msgspec.structs.replace(ACTIVE, pttl_ms=-1, not_after_ms=NOW + 60_000)
    stop = Revoked(
        4, "alice", "r", "", NOW, blind=False, confirmed=False, result=Result.NOT_CONFIRMED
    )
    found = said(
        active=active, workers=pods, refused=["golive:epoch has a wrong type"], revoked=stop
    )
    assert found.problems == [
        "golive:epoch has a wrong type",
        "the last stop (epoch 4) is NOT CONFIRMED: `golive revoke` finishes it",
        "the key in Redis does not run out by itself: somebody changed it",
        "8 workers lapsed: pod-0, pod-1, pod-2, pod-3, pod-4 and 3 more",
        "the window ends in 60 s",
        "worker pod-x: cannot be read: term",
    ]


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (99, "0 s"),
        (450, "0.4 s"),
        (7_000, "7 s"),
        (7_049, "7 s"),
        (9_990, "9.9 s"),
        (12_345, "12 s"),
        (119_999, "119 s"),
        (120_000, "2 min"),
        (7_199_000, "119 min"),
        (43_199_999, "11 h 59 min"),
        (43_200_000, "12 h"),
        (3 * 86_400_000 - 1, "2 d 23 h"),
        (3 * 86_400_000, "3 d"),
    ],
)
def test_a_duration_in_words_is_never_longer_than_it_is(ms, words):
    assert in_words(ms) == words


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (0.2, "0.1 s"),
        (2_250, "2.3 s"),
        (9_901, "10 s"),
        (10_001, "11 s"),
        (119_999, "120 s"),
        (120_001, "3 min"),
        (43_140_001, "12 h"),
        (43_140_000, "11 h 59 min"),
        (2 * 86_400_000 + 1, "2 d 1 h"),
    ],
)
def test_a_bound_in_words_is_never_shorter_than_it_is(ms, words):
    assert bound_in_words(ms) == words
