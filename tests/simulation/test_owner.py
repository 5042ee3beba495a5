"""Whoever owns Redis keeps nobody going after a stop that is told as over, but for what is said (A1, A3)."""

import logging

import pytest

from .owner import STOP_MS, Owned


@pytest.mark.parametrize("late", [True, False], ids=["started late", "started again"])
@pytest.mark.parametrize("seed", range(3))
def test_a_fork_and_recorded_beats_keep_nobody_going(seed: int, *, late: bool) -> None:
    """Row 101."""
    logging.disable(logging.CRITICAL)
    try:
        world = Owned(seed, late=late)
        witness = world.run()
    finally:
        logging.disable(logging.NOTSET)
    assert not witness.violations
    assert witness.settled_at is not None, "the stop was over, as far as anybody knew"
    assert witness.accepts > 100
    assert witness.last_order_at > STOP_MS, "the owner has gained what is said"
    assert "hb-2" in world.led
