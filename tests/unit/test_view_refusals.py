"""What a guard is offered and does not take: replays, forgeries, sick heartbeats, lost halts."""

from __future__ import annotations

import pytest

from golive_redis.core.events import Event, Happened
from golive_redis.core.permit import Phase
from golive_redis.records.envelope import seal
from golive_redis.testing import EVERYBODY, START_MS, Harness, Signers, identity

SIGNERS = Signers()
GRANT = SIGNERS.grant()
HALT = SIGNERS.restriction(2, labels={"symbol": "BTC"})
STRANGERS = Signers({"eve": ["approver", "revoker"]})


@pytest.fixture
def armed() -> Harness:
    guard = Harness(SIGNERS)
    guard.arm(GRANT)
    return guard


def kinds(events: list[Event]) -> list[Happened]:
    return [event.kind for event in events]


def beat(guard: Harness, n: int, name: str = "hb-1", **fields) -> bytes:
    return SIGNERS.beat(n, name, **{"issued_at_ms": round(guard.clock.wall), **fields})


def forged(raw: bytes) -> bytes:
    return seal(SIGNERS.trust.beat(raw).record, STRANGERS.signers["eve"])


@pytest.mark.parametrize(
    "grant",
    [
        STRANGERS.grant(by="eve"),
        SIGNERS.grant(by="rita"),
        Signers(environment="production").grant(),
        Signers(namespace="other").grant(),
        SIGNERS.grant(keyset_version=2),
        SIGNERS.revocation(),
        b"",
        b"live",
        b"{" * 100_000,
    ],
    ids=["stranger", "revoker", "env", "namespace", "keyset", "type", "empty", "text", "huge"],
)
def test_a_grant_that_does_not_verify_closes_with_an_alarm(armed: Harness, grant: bytes) -> None:
    """Row 54, 55, 36, 38: another environment, a revoker's grant, a foreign one, garbage."""
    events = armed.attend(grant, beats={"hb-1": beat(armed, 3)}, last="x")
    assert kinds(events) == [Happened.SECURITY]
    assert (armed.view.phase, armed.reason) == (Phase.COLD, "record-refused")
    armed.clock.advance(500)
    armed.attend(GRANT, beats={"hb-1": 4})
    assert armed.reason == "not-armed"


@pytest.mark.parametrize("key", ["active", "revoked", "beat"])
def test_a_key_of_the_wrong_type_closes(armed: Harness, key: str) -> None:
    """Row 18: e.g. a tombstone key of the wrong type."""
    events = armed.attend(GRANT, beats={"hb-1": 3}, corrupt=key)
    assert kinds(events) == [Happened.SECURITY]
    assert (armed.view.phase, armed.reason) == (Phase.COLD, "store-corrupt")


def test_a_tombstone_that_does_not_verify_closes_with_an_alarm(armed: Harness) -> None:
    """Row 18: somebody wrote into the tombstone."""
    events = armed.attend(GRANT, beats={"hb-1": 3}, revoked=STRANGERS.revocation(by="eve"))
    assert kinds(events) == [Happened.SECURITY]
    assert (armed.view.phase, armed.reason) == (Phase.COLD, "record-refused")


@pytest.mark.parametrize(
    "sick",
    [
        lambda g: beat(g, 9, "hb-2", issued_at_ms=round(g.clock.wall) + 31_000),
        lambda g: beat(g, 9, "hb-2", issued_at_ms=round(g.clock.wall) - 31_000),
        lambda g: forged(beat(g, 9, "hb-2")),
        lambda g: beat(g, 9, "hb-1"),
        lambda g: beat(g, 9, "hb-2", keyset_version=2),
        lambda _: GRANT,
        lambda _: b"",
    ],
    ids=["ahead", "behind", "unknown key", "in another's field", "newer keyset", "grant", "empty"],
)
def test_the_fleet_lives_on_the_healthy_heartbeat_beside_a_sick_one(sick) -> None:
    """Row 10: clock 31 s off, unknown key."""
    guard = Harness(SIGNERS)
    for n in range(1, 5):
        events = guard.attend(GRANT, beats={"hb-1": n, "hb-2": sick(guard)})
        assert kinds(events) == [Happened.SECURITY]
        guard.clock.advance(500)
    assert guard.reason == ""


def test_a_sick_heartbeat_alone_arms_nobody() -> None:
    """Row 10: however much its count advances."""
    guard = Harness(SIGNERS)
    for n in range(1, 5):
        off = beat(guard, n, issued_at_ms=round(guard.clock.wall) + 31_000)
        guard.attend(GRANT, beats={"hb-1": off})
        guard.clock.advance(500)
    assert guard.reason == "not-armed"


def test_either_of_two_heartbeats_keeps_the_fleet_armed(armed: Harness) -> None:
    """Row 10: either may die."""
    for n in range(3, 20):
        armed.clock.advance(500)
        armed.attend(GRANT, beats={"hb-1": 2, "hb-2": n})
    assert armed.reason == ""


def test_replayed_beats_are_refused_with_an_alarm_and_arm_nobody() -> None:
    """Row 36: recorded beats played again, in order, within the tolerance of their age."""
    guard = Harness(SIGNERS)
    recorded = [beat(guard, n) for n in range(1, 6)]
    for raw in recorded:
        guard.attend(GRANT, beats={"hb-1": raw})
        guard.clock.advance(500)
    assert guard.reason == ""
    guard.view.clock_anomaly()
    for raw in recorded[:-1]:
        assert kinds(guard.attend(GRANT, beats={"hb-1": raw})) == [Happened.SECURITY]
        guard.clock.advance(500)
    guard.attend(GRANT, beats={"hb-1": recorded[-1]})
    assert guard.reason == "not-armed"


def test_counts_are_remembered_while_the_key_is_away(armed: Harness) -> None:
    """Row 36: DEL, then an old state and its beats put back."""
    armed.attend(None)
    armed.attend(GRANT, beats={"hb-1": 1})
    armed.clock.advance(500)
    armed.attend(GRANT, beats={"hb-1": 2})
    assert armed.reason == "not-armed"


def test_beats_of_another_term_say_nothing(armed: Harness) -> None:
    """Row 36: beats of yesterday's term."""
    other = SIGNERS.state(SIGNERS.grant(5))
    for n in range(3, 20):
        armed.clock.advance(500)
        armed.attend(GRANT, beats={"hb-1": beat(armed, n, state=other)})
    assert armed.reason == "lapsed"


def test_a_state_below_what_a_heartbeat_has_verified_closes(armed: Harness) -> None:
    """Row 56, 55: a halt acknowledged and then lost, or dropped by the owner of the store."""
    ahead = beat(armed, 3, state=SIGNERS.state(GRANT, HALT))
    events = armed.attend(GRANT, beats={"hb-1": ahead})
    assert kinds(events) == [Happened.SECURITY]
    assert (armed.view.phase, armed.reason) == (Phase.COLD, "state-behind")


def test_another_set_of_directives_at_the_same_epoch_closes(armed: Harness) -> None:
    """Row 55: one of two restrictions dropped, the newest left in place."""
    later = SIGNERS.restriction(3, "reduce")
    both = SIGNERS.state(GRANT, HALT, later)
    armed.clock.advance(500)
    armed.attend(GRANT, HALT, later, beats={"hb-1": 3})
    events = armed.attend(GRANT, later, beats={"hb-1": beat(armed, 4, state=both)})
    assert kinds(events) == [Happened.SECURITY]
    assert armed.reason == "state-behind"


def test_a_halt_on_top_does_not_hide_that_an_older_one_is_lost() -> None:
    """Row 56: the store is above the epoch of the beats, and still lacks what they vouch for."""
    guard = Harness(SIGNERS)
    lost, other = SIGNERS.restriction(2), SIGNERS.restriction(3, labels={"symbol": "ETH"})
    for n in (1, 2):
        knows = SIGNERS.beat(n, state=SIGNERS.state(GRANT, lost))
        guard.clock.advance(500)
        guard.attend(GRANT, other, beats={"hb-1": knows})
    assert guard.reason == "state-behind"


def test_a_beat_from_before_a_grant_waits_for_the_next_one(armed: Harness) -> None:
    halt = SIGNERS.restriction(2)
    before = SIGNERS.beat(3, state=SIGNERS.state(GRANT, halt), issued_at_ms=round(armed.clock.wall))
    armed.clock.advance(500)
    armed.attend(SIGNERS.grant(3, term=1), beats={"hb-1": before})
    assert armed.reason == ""


def test_one_heartbeat_that_knows_more_is_enough_to_close(armed: Harness) -> None:
    """Row 56: in whatever order the heartbeats are looked at."""
    for ahead, other in (("hb-1", "hb-2"), ("hb-2", "hb-1")):
        guard = Harness(SIGNERS)
        guard.arm(GRANT)
        newer = SIGNERS.beat(9, ahead, state=SIGNERS.state(GRANT, HALT))
        guard.attend(GRANT, beats={ahead: newer, other: 9})
        assert guard.reason == "state-behind"


def test_a_heartbeat_that_has_not_yet_seen_a_halt_does_not_close(armed: Harness) -> None:
    armed.clock.advance(500)
    armed.attend(GRANT, HALT, beats={"hb-1": beat(armed, 3, state=SIGNERS.state(GRANT))})
    assert armed.view.phase is Phase.ARMED


def test_the_store_cannot_go_back_to_an_older_grant(armed: Harness) -> None:
    """Row 36: replay of an old valid grant of the same term."""
    resumed = SIGNERS.grant(3, term=1)
    armed.attend(resumed, beats={"hb-1": 3})
    events = armed.attend(GRANT, beats={"hb-1": beat(armed, 4)})
    assert kinds(events) == [Happened.SECURITY]
    assert (armed.view.phase, armed.reason) == (Phase.COLD, "state-behind")


def test_a_halt_outlives_a_store_that_shows_an_older_term_in_between() -> None:
    """Row 36: old data comes, and goes again, and the newest halt went with it."""
    older, newer = SIGNERS.grant(1, term=1), SIGNERS.grant(5, term=5)
    guard = Harness(SIGNERS)
    guard.arm(newer)
    guard.view.push(SIGNERS.restriction(6, term=5))
    events = guard.attend(older)
    assert (kinds(events), guard.reason) == ([Happened.SECURITY], "state-behind")
    for n in range(3, 6):
        guard.clock.advance(500)
        guard.attend(newer, beats={"hb-1": SIGNERS.beat(n, state=SIGNERS.state(newer))})
    assert guard.view.phase is Phase.ARMED
    assert guard.reason == "halted"


def test_a_new_term_needs_beats_of_its_own(armed: Harness) -> None:
    armed.clock.advance(500)
    armed.attend(SIGNERS.grant(5), beats={"hb-1": 3})
    assert (armed.view.phase, armed.reason) == (Phase.COLD, "not-armed")
    armed.clock.advance(500)
    armed.attend(SIGNERS.grant(5), beats={"hb-1": 4})
    assert armed.reason == ""


def test_an_answer_that_leaves_out_what_was_never_given_closes() -> None:
    guard = Harness(SIGNERS)
    events = guard.attend(None, unchanged=True, last="", pttl_ms=24_000)
    assert kinds(events) == [Happened.SECURITY]
    assert guard.reason == "record-refused"


def test_an_unchanged_state_counts_only_when_it_is_the_one_we_know(armed: Harness) -> None:
    known = identity(GRANT)
    unchanged = {"unchanged": True, "pttl_ms": 24_000}
    armed.clock.advance(500)
    armed.attend(None, **unchanged, last=known, beats={"hb-1": beat(armed, 3)})
    assert armed.reason == ""
    events = armed.attend(None, **unchanged, last="0" * 64, beats={"hb-1": beat(armed, 4)})
    assert kinds(events) == [Happened.SECURITY]
    assert armed.reason == "record-refused"


def test_after_a_refusal_everything_is_asked_for_again(armed: Harness) -> None:
    def known() -> str:
        clock = armed.clock
        return armed.view.ask("n", now_ns=clock.now_ns(), wall_ms=clock.wall).known_last

    armed.attend(GRANT, beats={"hb-1": 3})
    assert known() == identity(GRANT)
    armed.attend(GRANT, beats={"hb-1": 4}, pttl_ms=-1)
    assert known() == ""


def test_a_keyset_with_two_approvers_does_not_arm_on_one() -> None:
    """Row 37: at the guard."""
    guard = Harness(Signers(EVERYBODY, approvals=2))
    one = SIGNERS.grant(by="alice", issued_at_ms=START_MS)
    for n in range(3):
        guard.attend(one, beats={"hb-1": beat(guard, n)})
        guard.clock.advance(500)
    assert guard.reason == "record-refused"
