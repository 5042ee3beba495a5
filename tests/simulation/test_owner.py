"""Whoever owns Redis keeps nobody going after a stop that is told as over, but for what is said (A1, A3)."""

import pytest

from .owner import STOP_MS, Owned
from .run import unlogged


@pytest.mark.parametrize("late", [True, False], ids=["started late", "started again"])
@pytest.mark.parametrize("seed", range(3))
def test_a_fork_and_recorded_beats_keep_nobody_going(seed: int, *, late: bool) -> None:
    """Row 101."""
    with unlogged():
        world = Owned(seed, late=late)
        witness = world.run()
    assert not witness.violations
    assert witness.settled_at is not None, "the stop was over, as far as anybody knew"
    assert witness.accepts > 100
    assert witness.last_order_at > STOP_MS, "the owner has gained what is said"
    assert "hb-2" in world.led
