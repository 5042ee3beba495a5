"""Row 121: a change of a running term is held to what was asked when the term began (S2, D1)."""

from __future__ import annotations

import copy
from datetime import UTC, datetime

import pytest

from golive_redis.core.answer import Latch
from golive_redis.core.events import Change
from golive_redis.core.permit import Reason
from golive_redis.core.pulse import Pulse
from golive_redis.core.state import State
from golive_redis.core.suspicion import Heard
from golive_redis.core.timing import TIMINGS
from golive_redis.records.beat import Beat
from golive_redis.records.keyset import parse_keyset
from golive_redis.records.trust import Trust
from golive_redis.testing import START_MS, FakeClock, Harness, Signers, answer, identity
from golive_redis.testing.signers import EVERYBODY

DAY_MS = 86_400_000
TODAY_MS = START_MS // DAY_MS * DAY_MS
FAR_MS = 2**53 - 1
TIMING = TIMINGS["standard"]


def dated(day_ms: int) -> Signers:
    """Signers of whom alice's key is good until the end of that day."""
    signers = Signers({**EVERYBODY, "carol": ("approver",)})
    file = copy.deepcopy(signers.keyset_file)
    file["principals"]["alice"]["expires"] = (
        datetime.fromtimestamp(day_ms / 1000, UTC).date().isoformat()
    )
    signers.trust = Trust(parse_keyset(file), "golive", "test")
    signers.keyset = signers.trust.keyset
    return signers


SIGNERS = dated(TODAY_MS - DAY_MS)
BACK_MS = TODAY_MS - 3_600_000
"""The evening before, when alice's key was still good."""
GRANT = SIGNERS.grant(5, by="carol", activated_at_ms=BACK_MS)
HALT = SIGNERS.restriction(6, term=5)
LIFTED = {"term": 5, "prev": identity(HALT), "drops": [identity(HALT)], "drops_up_to": 0}
SINCE = {"activated_at_ms": BACK_MS, **LIFTED}
BACKDATED = SIGNERS.grant(7, by="alice", issued_at_ms=BACK_MS, **SINCE)
HONEST = SIGNERS.grant(7, by="carol", **SINCE)
REDATED = SIGNERS.grant(
    7,
    by="carol",
    issued_at_ms=START_MS + 540_000,
    **SINCE | {"activated_at_ms": START_MS + 540_000},
)
AHEAD = SIGNERS.grant(7, by="carol", issued_at_ms=FAR_MS, **SINCE)


class Heartbeat:
    """A pulse that is asked once a second."""

    def __init__(
        self, signers: Signers = SIGNERS, term: int | None = None, held: State | None = None
    ) -> None:
        self.clock = FakeClock()
        self.signers = signers
        self.pulse = Pulse(
            signers.trust, TIMING, "hb-1", Latch(), term, held, started_ms=self.clock.wall
        )

    def reads(
        self,
        grant: bytes | None = None,
        *restrictions: bytes,
        beats: dict[str, bytes] | None = None,
    ) -> list[Change]:
        self.clock.advance(1000)
        given = answer("n", grant, *restrictions, beats=beats or {})
        out = self.pulse.answer(given, now=self.clock.boot, wall_ms=self.clock.wall)
        return [item.change for item in out]

    def beat(self) -> Beat | None:
        return self.pulse.next_beat(issued_at_ms=round(self.clock.wall))

    def other(self, n: int, *state: bytes) -> dict[str, bytes]:
        """A beat of hb-2 of just now, on that state."""
        issued = round(self.clock.wall)
        held = self.signers.state(*state)
        return {"hb-2": self.signers.beat(n, "hb-2", state=held, issued_at_ms=issued)}


@pytest.fixture
def halted() -> Heartbeat:
    """One that beats for a halted term."""
    heartbeat = Heartbeat()
    heartbeat.reads(None)
    assert Change.ADOPTED in heartbeat.reads(GRANT)
    heartbeat.reads(GRANT, HALT)
    beat = heartbeat.beat()
    assert beat is not None
    assert beat.epoch == 6
    return heartbeat


@pytest.mark.parametrize("change", [BACKDATED, REDATED, AHEAD], ids=["expired", "redated", "ahead"])
def test_no_heartbeat_beats_for_a_change_by_an_expired_key_or_with_another_time(
    halted: Heartbeat, change: bytes
) -> None:
    assert Change.SECURITY in halted.reads(change)
    assert halted.beat() is None
    assert "of term 5" in halted.pulse.waiting_for
    state = halted.pulse.state
    assert state is not None
    assert state.epoch == 6
    halted.clock.advance(TIMING.ttl_ms)
    assert [item.change for item in halted.pulse.overdue(halted.clock.boot)] == [Change.SILENCED]


def test_a_heartbeat_goes_on_when_the_change_is_gone_or_a_good_one_follows(
    halted: Heartbeat,
) -> None:
    halted.reads(BACKDATED)
    halted.reads(GRANT, HALT)
    assert halted.beat() is not None
    halted.reads(HONEST)
    beat = halted.beat()
    assert beat is not None
    assert beat.epoch == 7


def test_a_heartbeat_that_restarts_keeps_a_change_whose_key_has_expired_since() -> None:
    kept = SIGNERS.state(BACKDATED)
    restarted = Heartbeat(term=5, held=kept)
    restarted.reads(BACKDATED)
    assert restarted.beat() is not None


def test_what_another_heartbeat_has_followed_in_time_is_followed_later() -> None:
    late = Heartbeat(term=5, held=SIGNERS.state(GRANT))
    late.reads(BACKDATED, beats=late.other(1, GRANT))
    assert late.beat() is None
    late.reads(BACKDATED, beats=late.other(2, BACKDATED))
    assert late.beat() is not None


def test_nobody_joins_on_a_beat_that_has_not_followed_the_change() -> None:
    joining = Heartbeat()
    for n in (1, 2, 3):
        assert Change.JOINED not in joining.reads(BACKDATED, beats=joining.other(n, GRANT))
    joining.reads(BACKDATED, beats=joining.other(4, BACKDATED))
    assert Change.JOINED in joining.reads(BACKDATED, beats=joining.other(5, BACKDATED))


@pytest.fixture
def guard() -> Harness:
    """One that is armed for the halted term."""
    harness = Harness(SIGNERS)
    harness.arm(GRANT)
    harness.clock.advance(300)
    harness.attend(GRANT, HALT, beats={"hb-1": 50})
    return harness


@pytest.mark.parametrize("change", [REDATED, AHEAD], ids=["redated", "ahead"])
def test_a_guard_refuses_a_change_with_another_time_whoever_beats_for_it(
    guard: Harness, change: bytes
) -> None:
    for n in (60, 61, 62):
        guard.clock.advance(300)
        guard.attend(change, beats={"hb-1": n})
    assert guard.view.verdict.reason is Reason.RECORD_REFUSED
    assert not guard.decide()


def test_a_guard_follows_a_change_by_a_key_that_has_expired_only_with_a_heartbeat(
    guard: Harness,
) -> None:
    old = SIGNERS.state(GRANT, HALT)
    for n in (60, 61, 62):
        guard.clock.advance(300)
        at = round(guard.clock.wall)
        guard.attend(BACKDATED, beats={"hb-1": SIGNERS.beat(n, state=old, issued_at_ms=at)})
    assert guard.view.verdict.reason is Reason.RECORD_REFUSED
    for n in (63, 64):
        guard.clock.advance(300)
        guard.attend(BACKDATED, beats={"hb-1": n})
    assert guard.decide()


@pytest.mark.parametrize("what", ["card", "blind"])
def test_a_card_and_a_blind_stop_cover_a_term_whatever_a_change_says(
    halted: Heartbeat, guard: Harness, what: str
) -> None:
    halted.reads(REDATED)
    guard.attend(REDATED, beats={"hb-1": 60})
    at = round(halted.clock.wall)
    stop = (
        SIGNERS.revocation(100, issued_at_ms=BACK_MS, until_ms=START_MS + 300_000)
        if what == "card"
        else SIGNERS.revocation(3, issued_at_ms=at, blind=True)
    )
    out = halted.pulse.push(stop, wall_ms=at)
    assert [item.change for item in out] == [Change.LATCHED]
    guard.view.push(stop, heard=Heard(guard.clock.now_ns(), round(guard.clock.wall)))
    guard.attend(REDATED, beats={"hb-1": 61})
    assert guard.view.verdict.reason is Reason.REVOKED
