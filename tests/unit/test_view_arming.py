"""How a guard comes to permit, for how long, and what takes it away again."""

from __future__ import annotations

import pytest

from golive_redis.core.events import Happened
from golive_redis.core.permit import Phase, Reason
from golive_redis.testing import START_MS, Harness, Signers, answer

SIGNERS = Signers()
GRANT = SIGNERS.grant()


@pytest.fixture
def guard() -> Harness:
    return Harness(SIGNERS)


@pytest.fixture
def armed(guard: Harness) -> Harness:
    guard.arm(GRANT)
    return guard


def kinds(events: list) -> list[Happened]:
    return [event.kind for event in events]


def test_a_new_guard_permits_nothing(guard: Harness) -> None:
    assert (guard.view.phase, guard.reason) == (Phase.COLD, "not-activated")


def test_a_guard_stays_cold_until_a_beat_is_seen_to_advance(guard: Harness) -> None:
    """Row 22: new workers stay COLD while no beat advances."""
    for _ in range(20):
        assert guard.attend(GRANT, beats={"hb-1": 7, "hb-2": 3}) == []
        assert (guard.view.phase, guard.reason) == (Phase.COLD, "not-armed")
        guard.clock.advance(500)
    guard.attend(GRANT, beats={"hb-1": 7, "hb-2": 4})
    assert (guard.view.phase, guard.reason) == (Phase.ARMED, "")


def test_one_answer_never_arms_however_fresh_its_beat(guard: Harness) -> None:
    guard.attend(GRANT, beats={"hb-1": 10**6})
    assert guard.reason == "not-armed"


def test_a_grant_without_any_beat_never_arms(guard: Harness) -> None:
    guard.attend(GRANT)
    guard.clock.advance(500)
    guard.attend(GRANT)
    assert guard.reason == "not-armed"


def test_a_guard_that_hears_nothing_more_is_off_within_the_lease(armed: Harness) -> None:
    """Row 4 (the rule's part): cut off from Redis."""
    armed.clock.advance(0.9 * 2500 - 1.5)
    assert armed.reason == ""
    armed.clock.advance(1)
    assert armed.reason == "lapsed"
    assert armed.view.phase is Phase.ARMED  # the decision needs no thread to notice
    armed.view.lapsed(armed.clock.now_ns())
    assert armed.view.phase is Phase.LAPSED


def test_a_guard_that_sees_no_new_beat_is_off_within_beat_ms(armed: Harness) -> None:
    """Row 9 (the rule's part): the heartbeat died, reads go on."""
    began = armed.clock.boot - 502  # the last request that still showed an older beat
    while armed.reason == "" and armed.clock.boot < began + 10_000:
        armed.clock.advance(100)
        armed.attend(GRANT, beats={"hb-1": 2})
    assert armed.clock.boot - began <= 0.9 * 5500 + 101
    assert (armed.view.phase, armed.reason) == (Phase.LAPSED, "lapsed")


def test_a_lapsed_guard_heals_when_a_beat_advances_again(armed: Harness) -> None:
    armed.clock.advance(6000)
    armed.attend(GRANT, beats={"hb-1": 2})
    assert armed.view.phase is Phase.LAPSED
    armed.clock.advance(500)
    armed.attend(GRANT, beats={"hb-1": 3})
    assert (armed.view.phase, armed.reason) == (Phase.ARMED, "")


def test_a_slow_answer_shortens_the_lease(guard: Harness) -> None:
    guard.arm(GRANT)
    sent = guard.clock.boot
    guard.attend(GRANT, beats={"hb-1": 3}, latency_ms=249)
    assert guard.view.verdict.deadline_ns == round((sent + 2250) * 1e6)


def test_a_late_answer_is_ignored_even_when_it_says_active(guard: Harness) -> None:
    """Row 7: a reply after the read timeout."""
    guard.attend(GRANT, beats={"hb-1": 1})
    guard.clock.advance(500)
    assert guard.attend(GRANT, beats={"hb-1": 2}, latency_ms=251) == []
    assert (guard.view.phase, guard.reason) == (Phase.COLD, "not-armed")


def test_a_late_answer_takes_nothing_away_either(armed: Harness) -> None:
    """Row 7: no flapping by a late reply; the deadline stays where it was."""
    before = armed.view.verdict
    assert armed.attend(None, latency_ms=251) == []
    assert armed.view.verdict is before


@pytest.mark.parametrize("nonce", ["0" * 32, "", "x"])
def test_an_answer_to_another_question_closes_and_drops_the_connection(
    armed: Harness, nonce: str
) -> None:
    """Row 8: off-by-one reply."""
    assert kinds(armed.attend(GRANT, beats={"hb-1": 3}, nonce=nonce)) == [Happened.RECONNECT]
    assert (armed.view.phase, armed.reason) == (Phase.COLD, "answer-mismatch")


def test_one_question_has_one_answer(armed: Harness) -> None:
    """Row 8: the same reply twice."""
    nonce = f"{armed.asked:032x}"
    assert kinds(armed.view.answer(answer(nonce, GRANT), now_ns=armed.clock.now_ns())) == [
        Happened.RECONNECT
    ]
    assert armed.view.phase is Phase.COLD


def test_an_answer_on_a_connection_that_was_replaced_is_not_an_answer(armed: Harness) -> None:
    """Row 8: asked on one connection, answered on another."""
    nonce = armed.ask()
    armed.view.reconnected()
    events = armed.view.answer(answer(nonce, GRANT), now_ns=armed.clock.now_ns())
    assert kinds(events) == [Happened.RECONNECT]
    assert armed.view.phase is Phase.COLD


def test_a_reconnect_by_itself_closes_nothing_and_refreshes_nothing(guard: Harness) -> None:
    """Row 67 (the rule's part): no closure caused by a single reconnect."""
    began = guard.clock.boot  # of the last request that still showed an older beat
    guard.arm(GRANT)
    before = guard.view.verdict
    guard.view.reconnected()
    assert guard.view.verdict is before
    # A newer beat has no older one beside it on the new connection: the old anchor still counts.
    while guard.clock.boot < began + 0.9 * 5500:
        assert guard.reason == ""
        guard.clock.advance(100)
        guard.attend(GRANT, beats={"hb-1": 9})
    assert (guard.view.phase, guard.reason) == (Phase.LAPSED, "lapsed")


def test_when_the_key_is_absent_the_guard_is_closed_at_once(armed: Harness) -> None:
    """Row 6: the server comes back empty."""
    assert armed.attend(None) == []
    assert (armed.view.phase, armed.reason) == (Phase.COLD, "not-activated")


def test_after_an_absence_a_beat_must_advance_anew(armed: Harness) -> None:
    """Row 6: nothing resurrected by the mere return of the key."""
    armed.attend(None)
    armed.clock.advance(500)
    armed.attend(GRANT, beats={"hb-1": 3})
    assert armed.reason == "not-armed"
    armed.clock.advance(500)
    armed.attend(GRANT, beats={"hb-1": 4})
    assert armed.reason == ""


@pytest.mark.parametrize("pttl_ms", [-2, -1, 0, 25_001, 3_600_000])
def test_an_invalid_ttl_closes_with_an_alarm(armed: Harness, pttl_ms: int) -> None:
    """Row 26: PERSIST, or a huge PEXPIRE."""
    events = armed.attend(GRANT, beats={"hb-1": 3}, pttl_ms=pttl_ms)
    assert kinds(events) == [Happened.SECURITY]
    assert (armed.view.phase, armed.reason) == (Phase.COLD, "ttl-invalid")


def test_a_short_ttl_shortens_the_permission(armed: Harness) -> None:
    """Row 27: a server clock an hour ahead leaves little of the key's life."""
    sent = armed.clock.boot
    armed.attend(GRANT, beats={"hb-1": 3}, pttl_ms=100)
    assert armed.view.verdict.deadline_ns == round((sent + 90) * 1e6)


@pytest.mark.parametrize(
    "window",
    [
        {"not_before_ms": START_MS + 60_000},
        {"not_after_ms": START_MS - 1, "not_before_ms": START_MS - 1000},
    ],
    ids=["too early", "too late"],
)
def test_outside_its_window_a_grant_permits_nothing(guard: Harness, window: dict[str, int]) -> None:
    grant = SIGNERS.grant(**window)
    for n in range(3):
        guard.attend(grant, beats={"hb-1": n})
        guard.clock.advance(500)
    assert (guard.view.phase, guard.reason) == (Phase.COLD, "outside-window")


def test_a_permission_ends_with_the_window(guard: Harness) -> None:
    guard.arm(SIGNERS.grant(not_after_ms=START_MS + 1000))
    guard.clock.advance(497)
    assert guard.reason == ""
    guard.clock.advance(1)
    assert guard.reason == "lapsed"


def test_a_clock_anomaly_closes_until_a_beat_advances_anew(armed: Harness) -> None:
    """Row 28: a forward step goes COLD."""
    armed.view.clock_anomaly()
    assert (armed.view.phase, armed.reason) == (Phase.COLD, "clock-anomaly")
    armed.attend(GRANT, beats={"hb-1": 3})
    assert armed.reason == "not-armed"
    armed.clock.advance(500)
    armed.attend(GRANT, beats={"hb-1": 4})
    assert armed.reason == ""


def test_a_step_of_the_wall_clock_moves_no_deadline(armed: Harness) -> None:
    """Row 28: no effect on deadlines."""
    armed.clock.wall -= 3_600_000
    armed.clock.advance(2249 - 1)
    assert armed.reason == ""
    armed.clock.advance(1)
    assert armed.reason == "lapsed"


def test_after_a_suspend_the_first_check_is_closed(armed: Harness) -> None:
    """Row 29: deadlines count on the clock that goes on while asleep."""
    armed.clock.suspend(60_000)
    assert armed.reason == "lapsed"


def test_a_sealed_guard_never_permits_again(armed: Harness) -> None:
    """Row 32, 35 (the rule's part): forked, or without its state file."""
    armed.view.seal(Reason.FORKED)
    assert armed.reason == "forked"
    for n in range(3, 9):
        armed.clock.advance(500)
        armed.attend(GRANT, beats={"hb-1": n})
        assert armed.reason == "forked"
