"""Bytes that nobody has signed may close a guard once, and then not for a minute (A14)."""

from __future__ import annotations

import pytest

from golive_redis.core.events import Event, Happened
from golive_redis.core.permit import Phase
from golive_redis.core.suspicion import Heard
from golive_redis.records.envelope import seal
from golive_redis.testing import Harness, Signers

SIGNERS = Signers()
GRANT = SIGNERS.grant()
STRANGERS = Signers({"eve": ["approver", "revoker"]})


@pytest.fixture
def armed() -> Harness:
    guard = Harness(SIGNERS)
    guard.arm(GRANT)
    return guard


def forged(epoch: int) -> bytes:
    return seal(
        SIGNERS.trust.revocation(SIGNERS.revocation(epoch)).record, STRANGERS.signers["eve"]
    )


def hears(guard: Harness, raw: bytes) -> tuple[bool, list[Event]]:
    """Push those bytes as the shell does; tell whether they closed it before they were judged."""
    heard = Heard(guard.clock.now_ns(), guard.clock.wall)
    suspected = guard.view.suspect(raw, heard)
    assert guard.reason == "revoked" or not suspected
    return suspected, guard.view.push(raw, suspected=suspected, heard=heard)


def reopened(guard: Harness, n: int) -> None:
    guard.attend(GRANT, beats={"hb-1": n})
    assert guard.reason == ""


def test_after_an_invalid_one_the_signature_comes_first(armed: Harness) -> None:
    """Row 103: 119 ms of pushes that nobody had signed kept a fleet off for 48 s."""
    assert hears(armed, forged(1))[0]
    reopened(armed, 3)
    for epoch in range(2, 50):
        closed, events = hears(armed, forged(epoch))
        assert not closed
        assert [event.kind for event in events] == [Happened.SECURITY]
    assert armed.reason == ""


def test_a_genuine_stop_latches_all_the_same(armed: Harness) -> None:
    """Row 103."""
    hears(armed, forged(1))
    reopened(armed, 3)
    closed, events = hears(armed, SIGNERS.revocation(1))
    assert not closed
    assert [event.kind for event in events] == [Happened.STOPPED]
    assert (armed.view.phase, armed.reason) == (Phase.LATCHED, "revoked")


def test_after_a_minute_without_one_it_closes_first_again(armed: Harness) -> None:
    """Row 103."""
    hears(armed, forged(1))
    armed.clock.advance(59_000)
    assert not hears(armed, forged(2))[0]
    armed.clock.advance(59_999)
    assert not hears(armed, forged(3))[0]  # each of them begins the minute anew
    armed.clock.advance(60_000)
    assert hears(armed, forged(4))[0]


def test_the_same_bytes_are_refused_once_and_then_passed_over(armed: Harness) -> None:
    """Row 103: neither verified nor logged again."""
    hears(armed, forged(1))
    reopened(armed, 3)
    assert hears(armed, forged(1)) == (False, [])


def test_what_is_no_revocation_makes_nobody_wary(armed: Harness) -> None:
    """Garbage closes nothing, so it may not make a stop slower either."""
    for raw in (b"", b"junk", GRANT, Signers(environment="live").revocation(1)):
        assert not hears(armed, raw)[0]
    assert hears(armed, SIGNERS.revocation(1))[0]
