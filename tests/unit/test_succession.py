"""From one keyset to the next: what a heartbeat makes of the term, and how the steps are taken."""

from __future__ import annotations

import msgspec
import pytest

from golive_redis.core.answer import Latch
from golive_redis.core.events import Change
from golive_redis.core.pulse import Pulse
from golive_redis.core.timing import TIMINGS
from golive_redis.delivery.keysets import follow, past
from golive_redis.errors import RecordError, StoreError
from golive_redis.records.envelope import seal
from golive_redis.records.keyset import parse_keyset
from golive_redis.records.rotation import Step, draft, payload_of
from golive_redis.records.trust import Trust
from golive_redis.testing import START_MS, Signers, answer
from golive_redis.testing.signers import EVERYBODY

DAY_MS = 86_400_000
ROOTED = EVERYBODY | {"ruth": ("root",)}
SIGNERS = Signers(ROOTED)
GRANT = SIGNERS.grant(5)


def later(version: int = 2, *, without: str = "") -> Signers:
    return Signers({k: v for k, v in ROOTED.items() if k != without}, version=version)


def expiring(day: str) -> Trust:
    keyset = parse_keyset(later().keyset_file | {"expires": day})
    return msgspec.structs.replace(SIGNERS.trust, keyset=keyset)


def beating() -> Pulse:
    """It has adopted the term and has beaten for it."""
    pulse = Pulse(
        SIGNERS.trust, TIMINGS["standard"], "hb-1", Latch(), None, started_ms=START_MS - 9_000
    )
    pulse.answer(answer("n", None), now=0, wall_ms=START_MS)
    pulse.answer(answer("n", GRANT), now=1_000, wall_ms=START_MS + 1_000)
    assert pulse.next_beat(issued_at_ms=START_MS + 1_000) is not None
    return pulse


# -- a heartbeat -----------------------------------------------------------------------------------


def test_it_beats_on_under_the_next_keyset() -> None:
    pulse = beating()
    assert pulse.succeed(later().trust) == []
    beat = pulse.next_beat(issued_at_ms=START_MS + 2_000)
    assert beat is not None
    assert (beat.keyset_version, beat.term) == (2, 5)


def test_a_term_is_over_for_it_when_who_signed_it_is_not_in_the_next() -> None:
    """K3."""
    pulse = beating()
    (happening,) = pulse.succeed(later(without="alice").trust)
    assert happening.change is Change.DISOWNED
    assert "term 5 is over: it is refused under keyset 2" in happening.text
    assert pulse.next_beat(issued_at_ms=START_MS + 2_000) is None
    assert pulse.latch.covers(5, START_MS)
    # And stays so when she comes back.
    pulse.succeed(later(3).trust)
    pulse.answer(answer("n", GRANT), now=3_000, wall_ms=START_MS + 3_000)
    assert pulse.next_beat(issued_at_ms=START_MS + 3_000) is None


def test_it_is_silent_while_it_has_no_key_of_its_keyset() -> None:
    """K4."""
    pulse = beating()
    pulse.barred = "the keyset does not list this key"
    assert pulse.next_beat(issued_at_ms=START_MS + 2_000) is None
    assert pulse.waiting_for == "the keyset does not list this key"
    fresh = Pulse(
        SIGNERS.trust, TIMINGS["standard"], "hb-1", Latch(), None, started_ms=START_MS - 9_000
    )
    fresh.barred = "the keyset does not list this key"
    fresh.answer(answer("n", None), now=0, wall_ms=START_MS)
    fresh.answer(answer("n", GRANT), now=1_000, wall_ms=START_MS + 1_000)
    assert (fresh.term, fresh.waiting_for) == (None, "the keyset does not list this key")


def test_under_an_expired_keyset_it_adopts_nothing_and_what_runs_goes_on() -> None:
    """D1."""
    today = START_MS // DAY_MS * DAY_MS + DAY_MS - 1_000  # a second before the end of the day
    trust = expiring("2025-10-09")
    assert trust.keyset.expires_ms == today + 1_000
    window = {"not_before_ms": today - 1, "not_after_ms": today + DAY_MS}
    grant = SIGNERS.grant(5, issued_at_ms=today, activated_at_ms=today, **window)
    pulse = Pulse(trust, TIMINGS["standard"], "hb-1", Latch(), None, started_ms=today - 9_000)
    pulse.answer(answer("n", None), now=0, wall_ms=today + 500)
    pulse.answer(answer("n", grant), now=1_000, wall_ms=today + 1_500)
    assert (pulse.term, pulse.waiting_for) == (None, "term 5: keyset 2 has expired")
    running = Pulse(trust, TIMINGS["standard"], "hb-1", Latch(), None, started_ms=today - 9_000)
    running.answer(answer("n", None), now=0, wall_ms=today)
    running.answer(answer("n", grant), now=500, wall_ms=today + 500)
    running.answer(answer("n", grant), now=3_000, wall_ms=today + 3_000)
    assert running.next_beat(issued_at_ms=today + 3_000) is not None


def test_nothing_that_was_signed_after_the_day_of_its_keyset_permits_and_stops_do() -> None:
    trust = expiring("2020-01-31")
    with pytest.raises(RecordError, match="keyset 2 was good until 2020-01-31"):
        trust.grant(GRANT)
    trust.revocation(SIGNERS.revocation(6))
    trust.restriction(SIGNERS.restriction(6))
    expiring("2999-01-31").grant(GRANT)


# -- the steps -------------------------------------------------------------------------------------

CHAIN = [later(number) for number in range(1, 6)]


def step(to: int, by: str = "ruth") -> Step:
    old, new = CHAIN[to - 2], CHAIN[to - 1].keyset
    record = draft(old.keyset, new, **old.trust.heading(by, START_MS))
    return Step(payload_of(new), seal(record, old.signers[by]))


class Steps:
    """What a store shows of steps, by number."""

    def __init__(self, **steps: bytes) -> None:
        self.steps = {int(name[1:]): raw for name, raw in steps.items()}

    def keyset_step(self, number: int) -> bytes | None:
        return self.steps.get(number)


def test_several_steps_are_kept_before_any_is_used() -> None:
    kept: list[Step] = []
    store = Steps(_2=step(2).packed(), _3=step(3).packed(), _5=step(5).packed())
    followed = follow(store, CHAIN[0].trust, kept.extend)
    assert followed.trust.keyset.version == 3
    assert (kept, followed.problem) == ([step(2), step(3)], "")


def test_what_cannot_be_kept_is_not_used() -> None:
    def full(_: object) -> None:
        raise StoreError("no room")

    with pytest.raises(StoreError, match="no room"):
        follow(Steps(_2=step(2).packed()), CHAIN[0].trust, full)


@pytest.mark.parametrize("bad", [b"", b"{}", step(3).packed(), step(2, by="alice").packed()])
def test_at_a_bad_step_it_stays_and_says_so(bad: bytes) -> None:
    kept: list[Step] = []
    good_then_bad = Steps(_2=step(2).packed(), _3=bad) if bad != step(3).packed() else Steps(_2=bad)
    followed = follow(good_then_bad, CHAIN[0].trust, kept.extend)
    assert followed.trust.keyset.version == 1 + len(kept)
    assert f"keyset {2 + len(kept)} in Redis is refused" in followed.problem


def test_a_keyset_without_roots_follows_nobody() -> None:
    trust = Signers().trust
    followed = follow(Steps(_2=step(2).packed()), trust, lambda _: None)
    assert (followed.trust, followed.problem) == (trust, "")


def test_the_keysets_before_one_are_vouched_for_by_its_own_roots() -> None:
    first = Step(payload_of(CHAIN[0].keyset), b"").packed()
    store = Steps(_1=first, _2=step(2).packed(), _3=step(3).packed())
    assert [item.version for item in past(store, CHAIN[2].keyset)] == [2, 1]
    planted = Step(payload_of(later(1, without="bob").keyset), b"").packed()
    store.steps[1] = planted
    assert [item.version for item in past(store, CHAIN[2].keyset)] == [2]
    store.steps[3] = step(3, by="alice").packed()
    assert past(store, CHAIN[2].keyset) == []
