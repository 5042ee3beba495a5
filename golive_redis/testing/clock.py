"""A clock to turn by hand."""

from __future__ import annotations

from golive_redis.clock import NS_PER_MS, Sample

START_MS = 1_760_000_000_000
"""Unix ms at which a `FakeClock` starts and records are issued unless told otherwise."""


class FakeClock:
    """The three clocks of a host, in ms, moved by hand only.

    Attributes:
        boot: Goes on while the host sleeps; deadlines are counted on it.
        raw: Stands still while the host sleeps.
        wall: Unix time.
        spread: How long a reading of all three claims to have taken.
    """

    def __init__(self, boot: float = 1_000_000.0, wall: float = START_MS) -> None:
        self.boot, self.raw, self.wall, self.spread = boot, boot, wall, 0.01

    def advance(self, ms: float) -> None:
        """Let time pass for all clocks alike."""
        self.boot, self.raw, self.wall = self.boot + ms, self.raw + ms, self.wall + ms

    def suspend(self, ms: float) -> None:
        """Let the host sleep."""
        self.boot, self.wall = self.boot + ms, self.wall + ms

    def now_ns(self) -> int:
        """Return what `clock.now_ns` would."""
        return round(self.boot * NS_PER_MS)

    def sample(self) -> Sample:
        """Return what `clock.sample` would."""
        return Sample(self.boot, self.raw, self.wall, self.spread)
