"""A guard that gets no answer says so, and not that nothing was activated (`store-unreachable`)."""

from __future__ import annotations

from golive_redis.core.permit import Phase
from golive_redis.core.timing import TIMINGS

from .test_view_table import GRANT, PHASES, armed, beats, cold

TIMING = TIMINGS["standard"]


def test_a_guard_that_has_never_had_an_answer_does_not_say_that_nothing_is_active():
    """Row 75."""
    guard = cold()
    guard.view.unanswered(guard.clock.now_ns())
    assert (guard.view.phase, guard.reason) == (Phase.COLD, "store-unreachable")
    guard.attend(None)
    assert guard.reason == "not-activated"


def test_a_question_without_an_answer_closes_nothing_before_the_deadline():
    guard = armed()
    guard.view.unanswered(guard.clock.now_ns())
    assert guard.reason == ""
    guard.clock.advance(TIMING.lease_ms)
    guard.view.unanswered(guard.clock.now_ns())
    assert (guard.view.phase, guard.reason) == (Phase.LAPSED, "store-unreachable")
    for n in (4, 5):
        guard.attend(GRANT, beats=beats(guard, n))
    assert guard.reason == ""


def test_a_stopped_guard_stays_stopped_whoever_answers():
    guard = PHASES["latched"]()
    guard.view.unanswered(guard.clock.now_ns())
    assert (guard.view.phase, guard.reason) == (Phase.LATCHED, "revoked")
