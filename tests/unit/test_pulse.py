"""A heartbeat beats for a term that it knows to be good, and for no other."""

from __future__ import annotations

from typing import Any

import pytest

from golive_redis.core.answer import Latch
from golive_redis.core.events import Change, Happening
from golive_redis.core.pulse import Pulse
from golive_redis.core.timing import TIMINGS
from golive_redis.records.beat import Beat
from golive_redis.testing import START_MS, FakeClock, Signers, answer, identity

SIGNERS = Signers()
TIMING = TIMINGS["standard"]
GRANT = SIGNERS.grant(5)
HALT = SIGNERS.restriction(6, term=5)
STOP = SIGNERS.revocation(7)


class Daemon:
    """A pulse with a clock, asked once a second."""

    def __init__(
        self,
        latch: Latch | None = None,
        term: int | None = None,
        *held: bytes,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        state = SIGNERS.state(*held) if held else None
        self.pulse = Pulse(
            SIGNERS.trust,
            TIMING,
            "hb-1",
            latch or Latch(),
            term,
            state,
            started_ms=self.clock.wall,
        )

    def reads(
        self, grant: bytes | None = None, *restrictions: bytes, **fields: Any
    ) -> list[Change]:
        self.clock.advance(1000)
        given = answer("n", grant, *restrictions, **fields)
        return changes(self.pulse.answer(given, now=self.clock.boot, wall_ms=self.clock.wall))

    def says(self, grant: bytes | None = None, **fields: Any) -> list[str]:
        """What it says after a reading."""
        self.clock.advance(1000)
        given = answer("n", grant, **fields)
        out = self.pulse.answer(given, now=self.clock.boot, wall_ms=self.clock.wall)
        return [item.text for item in out if item.text]

    def beat(self) -> Beat | None:
        return self.pulse.next_beat(issued_at_ms=round(self.clock.wall))

    def other(self, n: int, grant: bytes = GRANT, **fields: Any) -> dict[str, bytes]:
        """A beat of the other heartbeat, of just now."""
        values = {"issued_at_ms": round(self.clock.wall), **fields}
        return {"hb-2": SIGNERS.beat(n, "hb-2", state=SIGNERS.state(grant), **values)}


def changes(happened: list[Happening]) -> list[Change]:
    return [item.change for item in happened]


@pytest.fixture
def beating() -> Daemon:
    """One that saw the activation happen."""
    daemon = Daemon()
    daemon.reads(None)
    assert Change.ADOPTED in daemon.reads(GRANT)
    assert daemon.beat() is not None
    return daemon


def test_a_heartbeat_that_sees_the_activation_happen_beats_for_it(beating: Daemon) -> None:
    beat = beating.beat()
    assert beat is not None
    state = SIGNERS.state(GRANT)
    assert (beat.term, beat.epoch, beat.set) == (5, 5, state.digest)


def test_counts_only_grow_also_from_an_empty_disk(beating: Daemon) -> None:
    """Row 12: n only grows."""
    first, second = beating.beat(), beating.beat()
    assert first is not None
    assert second is not None
    assert second.n > first.n >= START_MS


def test_a_heartbeat_without_memory_stays_silent_on_a_term_it_did_not_see_begin() -> None:
    """Row 62: restarted with an empty disk after a revoke that a failover lost."""
    daemon = Daemon()
    for _ in range(10):
        assert daemon.reads(GRANT) == []
        assert daemon.beat() is None
    assert "before this heartbeat knew of it" in daemon.pulse.waiting_for


def test_an_old_activation_that_comes_back_is_not_one_that_happens() -> None:
    """Row 62, 22: absent, then an old backup."""
    daemon = Daemon()
    daemon.reads(None)
    daemon.clock.advance(60_000)
    assert daemon.reads(GRANT) == []
    resumed = SIGNERS.grant(6, term=5, issued_at_ms=round(daemon.clock.wall))
    daemon.reads(None)
    assert daemon.reads(resumed) == []
    assert daemon.beat() is None


def test_another_heartbeats_advancing_beat_is_word_enough() -> None:
    daemon = Daemon()
    assert daemon.reads(GRANT, beats=daemon.other(1)) == []
    assert daemon.reads(GRANT, beats=daemon.other(1)) == []
    assert daemon.beat() is None
    assert Change.JOINED in daemon.reads(GRANT, beats=daemon.other(2))
    assert daemon.beat() is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"issued_at_ms": START_MS - 31_000},
        {"issued_at_ms": START_MS + 60_000},
        {"by": "hb-1"},
        {"grant": SIGNERS.grant(4)},
    ],
    ids=["old", "ahead", "forged", "of another term"],
)
def test_a_beat_that_proves_nothing_adopts_nothing(fields: dict[str, Any]) -> None:
    """Row 36, 62: recorded beats, forged ones, those of another term."""
    daemon = Daemon()
    for n in range(1, 6):
        assert daemon.reads(GRANT, beats=daemon.other(n, **fields)) == []
    assert daemon.beat() is None


def test_one_that_the_grant_does_not_name_stays_silent() -> None:
    """Row 101: a heartbeat that is started during the term, wherever it is led."""
    others = SIGNERS.grant(5, heartbeats=["hb-2"])
    daemon = Daemon()
    daemon.reads(None)
    for n in range(1, 4):
        assert daemon.reads(others, beats=daemon.other(n, others)) == []
        assert daemon.beat() is None
    assert "does not name this heartbeat" in daemon.pulse.waiting_for
    again = Daemon(Latch(), 5, others)
    again.reads(others)
    assert again.beat() is None  # not from its disk either


def test_a_later_grant_of_the_term_lets_it_in() -> None:
    others, both = SIGNERS.grant(5, heartbeats=["hb-2"]), SIGNERS.grant(6, term=5)
    daemon = Daemon()
    daemon.reads(others, beats=daemon.other(1, others))
    assert Change.JOINED in daemon.reads(both, beats=daemon.other(2, both))
    assert daemon.beat() is not None


def test_it_joins_on_no_word_of_one_that_the_grant_does_not_name() -> None:
    """Row 101."""
    alone = SIGNERS.grant(5, heartbeats=["hb-1"])
    daemon = Daemon()
    for n in range(1, 4):
        assert daemon.reads(alone, beats=daemon.other(n, alone)) == []
    assert daemon.beat() is None


def test_beats_from_before_its_own_start_are_no_word() -> None:
    """Row 101: recorded beats, played back in order to a heartbeat that has just been started."""
    recorder, recorded = Daemon(), []
    for n in range(1, 5):
        recorded.append(recorder.other(n))
        recorder.clock.advance(1_000)
    daemon = Daemon(clock=recorder.clock)
    for beats in recorded:
        assert daemon.reads(GRANT, beats=beats) == []
    assert daemon.beat() is None
    assert Change.JOINED in daemon.reads(GRANT, beats=daemon.other(9))


def test_its_own_recorded_beats_are_no_word_of_another() -> None:
    """Row 62: replayed to the heartbeat itself."""
    daemon = Daemon()
    for n in range(1, 6):
        at = round(daemon.clock.wall)
        own = SIGNERS.beat(n, "hb-1", state=SIGNERS.state(GRANT), issued_at_ms=at)
        assert daemon.reads(GRANT, beats={"hb-1": own}) == []
    assert daemon.beat() is None


def test_it_goes_on_for_the_term_in_its_state_file() -> None:
    daemon = Daemon(term=5)
    assert daemon.beat() is None  # not before it has read
    daemon.reads(GRANT)
    assert daemon.beat() is not None


def test_after_a_restart_it_beats_on_nothing_lower_than_before() -> None:
    """Row 56: while it was away a failover lost the halt."""
    daemon = Daemon(Latch(), 5, GRANT, HALT)
    assert (
        daemon.pulse.newest == HALT
    )  # presence tells it: the next directive numbers on from there
    assert daemon.reads(GRANT) == []
    assert daemon.reads(GRANT) == [Change.LOST_RESTRICTION]
    beat = daemon.beat()
    assert beat is not None
    assert (beat.epoch, beat.set) == (6, SIGNERS.state(GRANT, HALT).digest)


def test_after_a_restart_it_does_not_follow_the_store_back_to_an_older_grant() -> None:
    daemon = Daemon(Latch(), 5, SIGNERS.grant(7, term=5))
    assert daemon.reads(GRANT) == [Change.SECURITY]
    beat = daemon.beat()
    assert beat is not None
    assert beat.epoch == 7


def test_what_it_remembers_of_another_term_is_nothing() -> None:
    daemon = Daemon(Latch(), 8, GRANT, HALT)
    assert daemon.pulse.state is None


def test_absent_on_one_connection_and_active_on_the_next_is_no_activation_seen() -> None:
    """Row 62: another connection may lead to another server, with old data."""
    daemon = Daemon()
    daemon.reads(None)
    daemon.pulse.reconnected("")
    assert daemon.reads(GRANT) == []
    assert daemon.beat() is None


def test_absent_and_active_on_one_server_is_an_activation_seen_over_a_reconnect_too() -> None:
    """Row 62: a slow machine cuts its connection, and the activation happens meanwhile."""
    daemon = Daemon()
    daemon.pulse.reconnected("run history")
    daemon.reads(None)
    daemon.pulse.reconnected("run history")
    assert daemon.reads(GRANT) == [Change.ADOPTED, Change.RESTRICTED]
    assert daemon.beat() is not None


@pytest.mark.parametrize("after", ["another history", "run another", ""])
def test_absent_on_one_server_and_active_on_another_is_no_activation_seen(after: str) -> None:
    """Row 62: another process, one that followed another meanwhile, or one that does not say."""
    daemon = Daemon()
    daemon.pulse.reconnected("run history")
    daemon.reads(None)
    daemon.pulse.reconnected(after)
    assert daemon.reads(GRANT) == []
    assert daemon.beat() is None


def test_a_stop_that_appears_over_a_reconnect_is_no_activation_seen() -> None:
    daemon = Daemon()
    daemon.reads(None)
    daemon.pulse.reconnected("")
    assert Change.ADOPTED not in daemon.reads(GRANT, revoked=SIGNERS.revocation(4))
    assert daemon.beat() is None


def test_a_newer_beat_on_the_next_connection_did_not_advance() -> None:
    """Row 62: a beat on one server, and a newer recorded one on another."""
    daemon = Daemon()
    daemon.reads(GRANT, beats=daemon.other(1))
    daemon.pulse.reconnected("")
    assert daemon.reads(GRANT, beats=daemon.other(2)) == []
    assert Change.JOINED in daemon.reads(GRANT, beats=daemon.other(3))


def test_it_remembers_where_it_has_beaten_since_it_saw_the_activation(beating: Daemon) -> None:
    """S14: only a term that has lived on one server is complete by receipts."""
    pulse = beating.pulse
    assert pulse.beat_on == ()
    assert [pulse.beats_on(server) for server in "aab"] == [True, False, True]
    assert pulse.beat_on == ("a", "b")
    beating.pulse.push(STOP)
    assert pulse.beat_on == ("a", "b")  # for its receipt
    beating.reads(None)
    beating.reads(SIGNERS.grant(8))
    assert pulse.beat_on == ()


def test_one_without_memory_does_not_know_where_it_has_beaten() -> None:
    daemon = Daemon()
    daemon.reads(GRANT, beats=daemon.other(1))
    assert Change.JOINED in daemon.reads(GRANT, beats=daemon.other(2))
    assert not daemon.pulse.beats_on("a")
    assert daemon.pulse.beat_on is None


@pytest.mark.parametrize("servers", ["", "abcdefghi"])
def test_a_server_without_a_name_and_too_many_of_them_are_not_known(
    beating: Daemon, servers: str
) -> None:
    for server in servers or [""]:
        assert beating.pulse.beats_on(server)
    assert beating.pulse.beat_on is None


def test_a_revocation_silences_it_for_good(beating: Daemon) -> None:
    assert changes(beating.pulse.push(STOP)) == [Change.LATCHED]
    assert beating.beat() is None
    for n in range(1, 6):
        assert Change.ADOPTED not in beating.reads(GRANT, beats=beating.other(n))
        assert beating.beat() is None
    assert beating.pulse.latch.covers(5, START_MS)


def test_a_revocation_of_an_older_term_does_not_silence_it(beating: Daemon) -> None:
    """Row 63: yesterday's spool meets a new term."""
    beating.pulse.push(SIGNERS.revocation(4))
    assert beating.beat() is not None


def test_a_blind_revocation_silences_it_whatever_its_epoch(beating: Daemon) -> None:
    at = round(beating.clock.wall)
    beating.pulse.push(SIGNERS.revocation(1, blind=True, issued_at_ms=at))
    assert beating.beat() is None
    assert beating.pulse.latch.epoch == 5


def short(beating: Daemon) -> bytes:
    """A blind revocation by a clock that is slower than the term is old."""
    return SIGNERS.revocation(1, blind=True, issued_at_ms=START_MS - 1)


def test_a_revocation_that_does_not_cover_its_term_gets_no_receipt(beating: Daemon) -> None:
    """Row 72: LATCHED would say that it beats no more for a term that goes on."""
    blind = short(beating)
    assert changes(beating.pulse.push(blind)) == [Change.SPARED]
    assert beating.beat() is not None
    assert beating.pulse.push(blind) == []  # said and kept once, however often it is repeated
    assert beating.reads(GRANT, revoked=blind) == []


def test_a_silent_heartbeat_gives_no_receipt_for_what_leaves_the_active_term_alone() -> None:
    """Row 72: it may join that term yet."""
    daemon = Daemon()
    daemon.reads(GRANT)
    assert changes(daemon.pulse.push(short(daemon))) == [Change.SPARED]


def test_one_that_does_not_know_when_its_term_was_activated_gives_no_receipt() -> None:
    """Row 72: right after a restart, before its first reading."""
    daemon = Daemon(term=5)
    assert changes(daemon.pulse.push(short(daemon))) == [Change.SPARED]
    assert changes(daemon.pulse.push(STOP)) == [Change.LATCHED]


def test_the_repeated_revocation_is_answered_once_the_term_has_ended_otherwise(
    beating: Daemon,
) -> None:
    blind = short(beating)
    beating.pulse.push(blind)
    assert Change.GONE in beating.reads(None, revoked=blind)
    assert changes(beating.pulse.push(blind)) == [Change.LATCHED]
    assert beating.pulse.latch.term == 5  # for its receipt


def test_what_it_latches_names_the_term_that_ended(beating: Daemon) -> None:
    """Row 72: for its receipt, also after a restart."""
    beating.pulse.push(STOP)
    assert beating.pulse.latch == Latch(epoch=7, term=5)
    nobody = Daemon()
    nobody.pulse.push(STOP)
    assert nobody.pulse.latch == Latch(epoch=7)


def test_a_blind_revocation_by_a_fast_clock_leaves_what_is_activated_later_alone(
    beating: Daemon,
) -> None:
    """Row 102."""
    fast = SIGNERS.revocation(1, blind=True, issued_at_ms=round(beating.clock.wall) + 86_400_000)
    beating.pulse.push(fast, wall_ms=beating.clock.wall)
    assert beating.beat() is None
    beating.reads(None, revoked=fast)
    beating.clock.advance(31_000)
    assert Change.ADOPTED in beating.reads(SIGNERS.grant(8, issued_at_ms=round(beating.clock.wall)))
    assert beating.beat() is not None


def test_a_tombstone_that_the_store_lost_is_named_until_it_is_back(beating: Daemon) -> None:
    """Row 20, 21: re-asserted until it stays."""
    beating.pulse.push(STOP)
    for _ in range(3):
        assert beating.reads(None) == [Change.LOST_REVOCATION]
    assert beating.reads(GRANT) == [Change.LOST_REVOCATION]
    assert beating.reads(None, revoked=STOP) == [Change.REPEATED]
    assert beating.reads(None, revoked_unchanged=True) == []


def test_a_stop_that_was_only_just_pushed_is_not_said_to_be_lost(beating: Daemon) -> None:
    """Row 87: it is published before it is written, and a heartbeat may read in between."""
    lost = ["the store lost revocation 7"]
    beating.pulse.push(STOP)
    assert beating.says(GRANT) == []
    assert beating.says(None) == lost, "missing twice"
    assert beating.says(None, revoked=STOP) == []
    beating.pulse.push(STOP)  # a stop that repeats itself says nothing of where it is
    assert beating.says(None) == lost


def test_a_key_that_goes_away_ends_the_term_and_is_noted(beating: Daemon) -> None:
    """Row 24: a bare DEL; the heartbeat does not recreate it."""
    assert beating.reads(None) == [Change.GONE]
    assert beating.beat() is None
    assert Change.ADOPTED not in beating.reads(GRANT)  # even when it comes back
    assert beating.beat() is None


def test_a_new_term_in_place_of_the_old_ends_the_old(beating: Daemon) -> None:
    old = START_MS - 60_000
    assert Change.GONE in beating.reads(SIGNERS.grant(9, issued_at_ms=old))
    assert beating.pulse.latch.covers(5, START_MS)
    assert beating.beat() is None


def test_a_newer_term_on_the_same_connection_was_activated_in_between(beating: Daemon) -> None:
    """Nothing can be activated over a term: the key was absent, too short a time to be read."""
    assert Change.ADOPTED in beating.reads(SIGNERS.grant(9))
    beat = beating.beat()
    assert beat is not None
    assert beat.term == 9


def test_a_newer_term_on_another_connection_says_nothing(beating: Daemon) -> None:
    beating.pulse.reconnected("")
    assert Change.ADOPTED not in beating.reads(SIGNERS.grant(9))
    assert beating.beat() is None


def test_without_a_successful_beat_it_falls_silent_after_ttl_ms(beating: Daemon) -> None:
    """Row 11, 66: it wakes after SIGSTOP longer than ttl_ms."""
    beating.pulse.beaten(beating.clock.boot)
    beating.clock.advance(TIMING.ttl_ms - 1)
    assert beating.pulse.overdue(beating.clock.boot) == []
    beating.clock.advance(1)
    assert changes(beating.pulse.overdue(beating.clock.boot)) == [Change.SILENCED]
    assert beating.beat() is None
    beating.reads(GRANT)
    assert beating.beat() is None


def test_it_stops_at_the_end_of_the_window(beating: Daemon) -> None:
    """Row 39: an un-revoked term lives until not_after and no longer."""
    end = SIGNERS.trust.grant(GRANT).record.not_after_ms
    assert beating.pulse.next_beat(issued_at_ms=end - 1) is not None
    assert beating.pulse.next_beat(issued_at_ms=end) is None


def test_outside_the_trading_windows_it_ends_the_term_for_good_and_joins_the_next(
    beating: Daemon,
) -> None:
    assert changes(beating.pulse.outside()) == [Change.CLOSED]
    assert beating.pulse.outside() == []  # said once
    assert beating.beat() is None
    assert beating.reads(GRANT, beats=beating.other(1)) == []
    assert beating.reads(GRANT, beats=beating.other(2)) == []  # not even another's word revives it
    assert beating.beat() is None
    restarted = Daemon(beating.pulse.latch, beating.pulse.term)
    restarted.reads(GRANT, beats=restarted.other(1))
    assert restarted.reads(GRANT, beats=restarted.other(2)) == []
    beating.reads(None)
    tomorrow = SIGNERS.grant(6, issued_at_ms=round(beating.clock.wall))
    assert Change.ADOPTED in beating.reads(tomorrow)


def test_it_beats_on_the_highest_directive_it_has_verified(beating: Daemon) -> None:
    """Row 56: a halt acknowledged and then lost; guards see that something is missing."""
    assert changes(beating.pulse.push(HALT)) == [Change.RESTRICTED]
    both = SIGNERS.state(GRANT, HALT)
    for _ in range(3):
        beating.reads(GRANT)
        beat = beating.beat()
        assert beat is not None
        assert (beat.epoch, beat.set) == (6, both.digest)


def test_a_restriction_missing_twice_is_lost_and_once_is_on_its_way(beating: Daemon) -> None:
    """Row 56: the halt is re-asserted."""
    beating.pulse.push(HALT)
    assert beating.reads(GRANT) == []
    assert beating.reads(GRANT) == [Change.LOST_RESTRICTION]
    assert beating.reads(GRANT, HALT) == []
    assert beating.reads(GRANT) == []


def test_it_never_follows_the_store_back_to_an_older_grant(beating: Daemon) -> None:
    """Row 36: replay of an older grant of the term."""
    newer = SIGNERS.grant(7, term=5)
    beating.reads(newer)
    assert beating.reads(GRANT) == [Change.SECURITY]
    beat = beating.beat()
    assert beat is None or beat.epoch == 7


def test_a_newer_halt_does_not_hide_that_the_store_has_lost_a_grant() -> None:
    """Rows 36 and 56: its beats go on telling that something is missing, whatever comes on top."""
    daemon = Daemon(term=5)
    daemon.reads(SIGNERS.grant(7, term=5))
    halt = SIGNERS.restriction(8, term=5)
    assert daemon.reads(GRANT, halt) == [Change.RESTRICTED, Change.SECURITY]
    beat = daemon.beat()
    assert beat is not None
    assert beat.epoch == 8
    assert beat.set != SIGNERS.state(GRANT, halt).digest


@pytest.mark.parametrize(
    "fields", [{"corrupt": "active"}, {"revoked": b"junk"}], ids=["corrupt", "tombstone"]
)
def test_an_answer_that_cannot_be_read_adopts_nothing(fields: dict[str, Any]) -> None:
    """Row 18."""
    daemon = Daemon()
    daemon.reads(None)
    assert daemon.reads(GRANT, **fields) == [Change.SECURITY]
    assert daemon.beat() is None


@pytest.mark.parametrize(
    "raw", [b"", SIGNERS.revocation(9, by="hb-1"), Signers(environment="live").revocation(9), GRANT]
)
def test_what_is_refused_or_permits_has_no_effect_by_push(beating: Daemon, raw: bytes) -> None:
    """Row 38, 46, 54."""
    beating.pulse.push(raw)
    assert beating.beat() is not None
    assert beating.pulse.latch == Latch()


def test_after_a_goodbye_it_beats_no_more(beating: Daemon) -> None:
    beating.pulse.resign()
    beating.reads(GRANT)
    assert beating.beat() is None


def test_it_says_what_it_has_verified(beating: Daemon) -> None:
    assert beating.pulse.newest == GRANT
    beating.reads(GRANT, HALT)
    assert beating.pulse.newest == HALT
    assert beating.pulse.known.last == identity(HALT)


def test_a_stop_and_an_activation_between_two_readings_are_seen_by_the_new_tombstone(
    beating: Daemon,
) -> None:
    """A heartbeat that was frozen over both would otherwise stay silent, and nobody would arm."""
    fresh = SIGNERS.grant(8, issued_at_ms=round(beating.clock.wall))
    assert Change.ADOPTED in beating.reads(fresh, revoked=STOP)
    beat = beating.beat()
    assert beat is not None
    assert beat.term == 8


def test_a_tombstone_in_the_first_reading_is_no_sign_that_an_activation_happened() -> None:
    """Row 62: an empty disk and a failover that lost the newest stop look just like this."""
    daemon = Daemon()
    fresh = SIGNERS.grant(8, issued_at_ms=round(daemon.clock.wall))
    assert Change.ADOPTED not in daemon.reads(fresh, revoked=STOP)
    assert daemon.beat() is None


def test_a_tombstone_that_is_known_is_no_sign_over_a_reconnect_either() -> None:
    """S13: the very tombstone that the first reading showed, read once more in full."""
    daemon = Daemon()
    fresh = SIGNERS.grant(8, issued_at_ms=round(daemon.clock.wall))
    daemon.pulse.reconnected("run history")
    assert Change.ADOPTED not in daemon.reads(fresh, revoked=STOP)
    daemon.pulse.reconnected("run history")
    assert Change.ADOPTED not in daemon.reads(fresh, revoked=STOP)
    assert daemon.beat() is None
