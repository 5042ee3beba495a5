"""The only readers of clocks.

Deadlines are counted on CLOCK_BOOTTIME where there is one, because it goes on while a machine is
suspended; elsewhere (macOS) on the monotonic clock. Source: clock_gettime(2), Linux man-pages.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

NS_PER_MS = 1_000_000
WALL_STEP_MS = 200.0
SLOW_SAMPLE_MS = 5.0

CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_RAW = getattr(time, "CLOCK_MONOTONIC_RAW", time.CLOCK_MONOTONIC)


def now_ns() -> int:
    """Return the steady clock that deadlines are counted on, in ns."""
    return time.clock_gettime_ns(CLOCK)


def now_ms() -> float:
    """Return the same clock in ms."""
    return time.clock_gettime_ns(CLOCK) / NS_PER_MS


def wall_ms() -> int:
    """Return Unix time in ms. For signatures, windows and people; never for deadlines."""
    return time.time_ns() // NS_PER_MS


class Sample(msgspec.Struct, frozen=True):
    """The three clocks, read as nearly at once as one can; all in ms.

    Attributes:
        spread: How long the reading took, which bounds the error of each difference.
    """

    boot: float
    raw: float
    wall: float
    spread: float


def sample() -> Sample:
    """Read the three clocks."""
    before = time.clock_gettime_ns(CLOCK)
    raw = time.clock_gettime_ns(_RAW)
    wall = time.time_ns()
    after = time.clock_gettime_ns(CLOCK)
    return Sample(
        before / NS_PER_MS, raw / NS_PER_MS, wall / NS_PER_MS, (after - before) / NS_PER_MS
    )


class ClockWatch:
    """Compares this host's clocks from sample to sample (S7).

    Args:
        rho: The clock error that the timers allow for; a tenth of it raises the alarm.
        read: Source of samples; tests give their own.
    """

    def __init__(self, rho: float, read: Callable[[], Sample] = sample) -> None:
        self._limit = rho / 10
        self._read = read
        self._last: Sample | None = None

    def anomaly(self) -> str | None:
        """Return what is wrong with the clocks since the last call, or None.

        A sample that took over 5 ms says nothing (the thread was preempted in between) and is
        dropped; the next good one is compared with the last good one, so nothing is missed.
        """
        new = self._read()
        if new.spread > SLOW_SAMPLE_MS:
            return None
        last, self._last = self._last, new
        if last is None:
            return None
        boot, raw, wall = new.boot - last.boot, new.raw - last.raw, new.wall - last.wall
        noise = new.spread + last.spread
        if boot < 0 or abs(boot - raw) > self._limit * max(raw, 0.0) + noise + 1.0:  # S7
            return f"steady clock moved {boot:.1f} ms while the hardware clock moved {raw:.1f} ms"
        if abs(wall - boot) > WALL_STEP_MS + noise:  # S7
            return f"wall clock stepped by {wall - boot:.0f} ms"
        return None


def pause_ms(duration_ms: float) -> None:
    """Sleep. For loops that poll for a person, and writers that have met; the rest waits on events."""
    time.sleep(max(0.0, duration_ms) / 1000)


class Throttle:
    """Lets each text through once a minute, so that what recurs in a loop fills no log.

    Args:
        every_ms: Pause for one text.
        texts: How many texts are told apart; past that all are forgotten.
    """

    def __init__(self, every_ms: float = 60_000.0, texts: int = 100) -> None:
        self._every_ms = every_ms
        self._texts = texts
        self._last: dict[str, float] = {}

    def due(self, text: str) -> bool:
        """Tell whether this text was not let through within the pause, and let it through now."""
        now = now_ms()
        if now - self._last.get(text, -self._every_ms) < self._every_ms:
            return False
        if len(self._last) >= self._texts:
            self._last.clear()
        self._last[text] = now
        return True
