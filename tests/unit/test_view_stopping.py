"""How a guard stops, stays stopped, and begins again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from golive_redis.core.answer import Latch
from golive_redis.core.events import Event, Happened
from golive_redis.core.permit import Phase, Reason
from golive_redis.testing import START_MS, Harness, Signers

SIGNERS = Signers()
GRANT = SIGNERS.grant(5)
STOP = SIGNERS.revocation(6)
FORGED = Signers({"eve": ["revoker"]}).revocation(6, by="eve")


@pytest.fixture
def armed() -> Harness:
    guard = Harness(SIGNERS)
    guard.arm(GRANT)
    return guard


@pytest.fixture
def latched(armed: Harness) -> Harness:
    armed.view.push(STOP)
    return armed


def kinds(events: list[Event]) -> list[Happened]:
    return [event.kind for event in events]


def keep_beating(guard: Harness, grant: bytes, times: int = 4) -> None:
    for _ in range(times):
        guard.clock.advance(500)
        guard.attend(grant, beats={"hb-1": 100 + guard.asked})


@pytest.mark.parametrize("epoch", [5, 6, 2**53 - 1])
def test_a_pushed_revocation_latches(armed: Harness, epoch: int) -> None:
    """Row 1, 40 (the rule's part): any epoch from the term's upwards."""
    events = armed.view.push(SIGNERS.revocation(epoch))
    assert kinds(events) == [Happened.STOPPED]
    assert (armed.view.phase, armed.reason) == (Phase.LATCHED, "revoked")
    assert armed.view.latch == Latch(epoch=epoch, term=5)


def test_a_revocation_of_an_older_term_does_not_stop_the_present_one(armed: Harness) -> None:
    """Row 63 (the guard's part): yesterday's revocation meets a new term."""
    old = SIGNERS.revocation(4)
    assert not armed.view.suspect(old)
    assert armed.view.push(old) == []
    assert armed.reason == ""
    assert armed.view.latch.epoch == 4


def test_a_blind_revocation_stops_whatever_was_activated_before_it(armed: Harness) -> None:
    blind = SIGNERS.revocation(1, blind=True, issued_at_ms=START_MS + 1)
    assert armed.view.suspect(blind)
    assert kinds(armed.view.push(blind, suspected=True)) == [Happened.STOPPED]
    assert armed.view.latch == Latch(epoch=5, blind_before_ms=START_MS + 1, term=5)
    armed.view.drained()
    keep_beating(armed, SIGNERS.grant(7))  # activated before the blind one
    assert armed.view.phase is Phase.LATCHED
    keep_beating(armed, SIGNERS.grant(7, issued_at_ms=START_MS + 2))
    assert armed.reason == ""


def test_a_resume_signed_after_a_blind_revocation_does_not_bring_its_term_back() -> None:
    """The guard has nothing of the term when it learns of the stop: a grant says when it began."""
    guard = Harness(SIGNERS)
    guard.view.push(SIGNERS.revocation(1, blind=True, issued_at_ms=START_MS + 1))
    guard.view.drained()
    keep_beating(guard, SIGNERS.grant(7, term=5, issued_at_ms=START_MS + 9))
    assert guard.reason == "revoked"


def test_a_tombstone_in_an_answer_comes_before_its_grant(armed: Harness) -> None:
    """Row 2, 22 (the rule's part): the push was lost; the answer says both."""
    armed.clock.advance(500)
    assert kinds(armed.attend(GRANT, beats={"hb-1": 3}, revoked=STOP)) == [Happened.STOPPED]
    assert (armed.view.phase, armed.reason) == (Phase.LATCHED, "revoked")


def test_a_tombstone_stops_a_guard_that_never_saw_the_term() -> None:
    guard = Harness(SIGNERS)
    assert kinds(guard.attend(None, revoked=STOP)) == [Happened.STOPPED]
    guard.view.drained()
    keep_beating(guard, GRANT)
    assert guard.reason == "revoked"


def test_the_same_revocation_again_is_a_repeat_and_not_a_second_stop(latched: Harness) -> None:
    """Row 50 (the guard's part)."""
    assert kinds(latched.view.push(STOP)) == [Happened.REPEATED]
    assert kinds(latched.attend(None, revoked=STOP)) == [Happened.REPEATED]
    latched.view.drained()
    latched.view.push(STOP)
    latched.arm(SIGNERS.grant(7), n=50)
    assert latched.reason == ""


@pytest.mark.parametrize(
    "happens",
    [
        lambda g: g.view.reconnected(),
        lambda g: g.view.clock_anomaly(),
        lambda g: g.attend(GRANT, nonce="x"),
        lambda g: g.attend(GRANT, corrupt="active"),
        lambda g: g.attend(None),
        lambda g: g.view.push(SIGNERS.revocation(4)),
        lambda g: g.view.lapsed(g.clock.now_ns()),
        lambda g: g.clock.suspend(10**9),
    ],
    ids=["reconnect", "anomaly", "nonce", "corrupt", "absent", "older", "lapse", "suspend"],
)
def test_a_latched_guard_stays_latched_whatever_happens(
    latched: Harness, happens: Callable[[Harness], object]
) -> None:
    """Row 58, 20, 22: reconnect, clock anomaly, failover without tombstone, an old backup."""
    latched.view.drained()
    happens(latched)
    keep_beating(latched, GRANT)
    assert (latched.view.phase, latched.reason) == (Phase.LATCHED, "revoked")


def test_a_new_activation_waits_for_the_drain(latched: Harness) -> None:
    """Row 59: arms only after drained and receipted."""
    new = SIGNERS.grant(7)
    keep_beating(latched, new)
    assert (latched.view.phase, latched.reason) == (Phase.LATCHED, "revoked")
    latched.view.drained()
    latched.clock.advance(500)
    assert kinds(latched.attend(new, beats={"hb-1": 500})) == [Happened.RESTARTED]
    assert (latched.view.phase, latched.reason) == (Phase.COLD, "not-armed")
    latched.clock.advance(500)
    latched.attend(new, beats={"hb-1": 501})
    assert latched.reason == ""


@pytest.mark.parametrize("epoch", [1, 5, 6])
def test_no_activation_at_or_below_the_latch_leaves_it(latched: Harness, epoch: int) -> None:
    """Row 36, 58."""
    latched.view.drained()
    keep_beating(latched, SIGNERS.grant(epoch))
    assert latched.view.phase is Phase.LATCHED


def test_an_unverified_activation_does_not_leave_the_latch(latched: Harness) -> None:
    latched.view.drained()
    for grant in (SIGNERS.grant(7, by="rita"), Signers(environment="production").grant(7)):
        assert kinds(latched.attend(grant)) == [Happened.SECURITY]
        assert latched.view.phase is Phase.LATCHED


def test_a_stop_during_the_drain_of_another_is_a_stop_of_its_own(latched: Harness) -> None:
    later = SIGNERS.revocation(8)
    latched.view.drained()
    assert kinds(latched.view.push(later)) == [Happened.STOPPED]
    keep_beating(latched, SIGNERS.grant(9))
    assert latched.view.phase is Phase.LATCHED  # drained for the first, not for the second
    latched.view.drained()
    keep_beating(latched, SIGNERS.grant(9))
    assert latched.reason == ""


def test_an_older_revocation_never_lowers_the_latch(latched: Harness) -> None:
    """Row 58: latches are monotone, also for blind ones."""
    latched.view.push(SIGNERS.revocation(3, blind=True, issued_at_ms=START_MS + 9))
    latched.view.push(SIGNERS.revocation(4, blind=True, issued_at_ms=START_MS + 5))
    assert latched.view.latch == Latch(epoch=6, blind_before_ms=START_MS + 9, term=5)
    latched.view.drained()
    keep_beating(latched, GRANT)
    assert latched.view.phase is Phase.LATCHED


def test_a_guard_remembers_a_stop_over_a_restart() -> None:
    """Row 34 (the rule's part): COLD, with what its state file says."""
    guard = Harness(SIGNERS, latch=Latch(epoch=6))
    assert guard.view.phase is Phase.COLD
    keep_beating(guard, GRANT)
    assert guard.reason == "revoked"
    keep_beating(guard, SIGNERS.grant(7))
    assert guard.reason == ""


def test_yesterdays_activation_raises_an_alarm_when_it_comes_back() -> None:
    """Row 22, 36: an old backup."""
    guard = Harness(SIGNERS, latch=Latch(epoch=6))
    assert kinds(guard.attend(GRANT, beats={"hb-1": 1})) == [Happened.SECURITY]
    assert (guard.view.phase, guard.reason) == (Phase.COLD, "revoked")


def test_a_suspected_revocation_closes_before_its_signature_is_checked(armed: Harness) -> None:
    """Row 1: what makes the push path fast."""
    assert armed.view.suspect(FORGED)
    assert armed.reason == "revoked"
    assert armed.view.latch == Latch()


def test_no_good_answer_opens_between_suspicion_and_judgement(armed: Harness) -> None:
    armed.view.suspect(FORGED)
    keep_beating(armed, GRANT)
    assert armed.reason == "revoked"
    events = armed.view.push(FORGED, suspected=True)
    assert kinds(events) == [Happened.SECURITY]
    assert armed.reason != ""  # closed until the next good answer
    keep_beating(armed, GRANT, times=1)
    assert armed.reason == ""


def test_two_suspicions_need_two_judgements(armed: Harness) -> None:
    for _ in range(2):
        assert armed.view.suspect(FORGED)
    armed.view.push(FORGED, suspected=True)
    keep_beating(armed, GRANT)
    assert armed.reason == "revoked"
    armed.view.push(FORGED, suspected=True)
    keep_beating(armed, GRANT, times=1)
    assert armed.reason == ""


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"stop",
        SIGNERS.grant(9),
        SIGNERS.restriction(9, term=5),
        Signers(environment="production").revocation(9),
        Signers(namespace="other").revocation(9),
        SIGNERS.revocation(4),
    ],
    ids=["empty", "text", "grant", "restriction", "environment", "namespace", "older term"],
)
def test_what_cannot_concern_this_guard_does_not_close_it(armed: Harness, raw: bytes) -> None:
    """Row 54: another environment's revocation on the same channel."""
    assert not armed.view.suspect(raw)
    assert armed.reason == ""


def test_a_killed_guard_says_so_and_still_latches(armed: Harness) -> None:
    armed.view.seal(Reason.KILLED)
    assert kinds(armed.view.push(STOP)) == [Happened.STOPPED]
    assert (armed.view.phase, armed.reason) == (Phase.LATCHED, "killed")
