"""Freshness is observed: what one worker may conclude from the beats it was shown."""

from __future__ import annotations

import pytest

from golive_redis.core.freshness import Progress, deadline, observe
from golive_redis.errors import RecordError
from golive_redis.testing import Signers

HOUR = {
    "wall_sent_ms": 0.0,
    "pttl_ms": 24_000,
    "not_after_ms": 3_600_000,
    "lease_ms": 2500,
    "beat_ms": 5500,
    "rho": 0.1,
}


def seen(*shown: tuple[int, float]) -> Progress:
    progress = None
    for n, sent_at in shown:
        progress = observe(progress, n, sent_at)
        assert progress is not None
    assert progress is not None
    return progress


def test_the_first_beat_shown_proves_nothing_about_its_age() -> None:
    """Row 22: a beat that was not seen to advance."""
    assert seen((7, 100.0)).fresh_from is None


def test_an_equal_beat_is_no_advance() -> None:
    assert seen((7, 100.0), (7, 600.0), (7, 1100.0)).fresh_from is None


def test_an_advance_is_younger_than_the_last_request_that_showed_the_older_beat() -> None:
    assert seen((7, 100.0), (7, 600.0), (8, 1100.0)).fresh_from == 600.0
    assert seen((7, 100.0), (8, 600.0), (8, 1100.0)).fresh_from == 100.0


def test_the_anchor_moves_with_each_advance_and_never_back() -> None:
    progress = seen((7, 100.0), (8, 600.0), (9, 1100.0))
    assert progress.fresh_from == 600.0


def test_a_lower_count_is_no_beat() -> None:
    """Row 36: replay of recorded beats."""
    progress = seen((7, 100.0), (8, 600.0))
    assert observe(progress, 7, 1100.0) is None
    assert observe(progress.reconnected(), 7, 1100.0) is None


def test_a_reconnect_keeps_the_anchor_and_starts_the_pair_anew() -> None:
    progress = seen((7, 100.0), (8, 600.0)).reconnected()
    assert progress.fresh_from == 100.0
    again = observe(progress, 20, 1100.0)  # whatever came between, no older beat was shown here
    assert again is not None
    assert again.fresh_from == 100.0
    after = observe(again, 21, 1600.0)
    assert after is not None
    assert after.fresh_from == 1100.0


def test_a_reconnect_before_any_advance_gives_no_freshness() -> None:
    progress = observe(seen((7, 100.0)).reconnected(), 8, 600.0)
    assert progress is not None
    assert progress.fresh_from is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 1000 + 0.9 * 2500),
        ({"pttl_ms": 1000}, 1000 + 0.9 * 1000),
        ({"fresh_from": -3000.0}, -3000 + 0.9 * 5500),
        ({"not_after_ms": 500}, 1000 + 500),
        ({"not_after_ms": 500, "wall_sent_ms": 600.0}, 1000 - 100),
    ],
    ids=["lease", "ttl", "beat", "window", "window over"],
)
def test_the_nearest_of_four_bounds_is_the_deadline(
    change: dict[str, float], expected: float
) -> None:
    values = {**HOUR, "sent_at": 1000.0, "fresh_from": 900.0, **change}
    assert deadline(**values) == pytest.approx(expected)  # type: ignore[arg-type]


def test_a_beat_below_its_term_cannot_be_signed() -> None:
    with pytest.raises((RecordError, ValueError)):
        Signers().beat(term=5, epoch=4)
