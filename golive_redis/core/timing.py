"""The timers of the protocol and the inequalities between them."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from golive_redis.records.record import Strict

MAX_RHO = 0.2
TIGHT_RHO = 0.01  # where clocks are this good, one lost beat is slack enough

_Millis = Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]


_TENTHS_BELOW_MS = 10_000
# Each with the part of it that is told beside it.
_UNITS = (
    (86_400_000, "d", 3_600_000, "h"),
    (3_600_000, "h", 60_000, "min"),
    (60_000, "min", 60_000, ""),
)


def in_words(duration_ms: float) -> str:
    """Return a duration for people: `0.4 s`, `7 s`, `3 min`, `12 h 5 min`; never longer than it is.

    Below ten seconds a tenth counts, where it is not nought; above, units of the largest that is
    there twice, for 100 s say more than 1 min.
    """
    return _in_words(math.floor(duration_ms), up=False)


def bound_in_words(duration_ms: float) -> str:
    """Return a bound for people, as `in_words` writes durations; never shorter than it is."""
    return _in_words(math.ceil(duration_ms), up=True)


def _in_words(duration_ms: int, *, up: bool) -> str:
    ms = max(0, duration_ms)

    def whole(unit_ms: int) -> int:
        return -(-ms // unit_ms) if up else ms // unit_ms

    for unit_ms, unit, part_ms, part in _UNITS:
        if ms >= 2 * unit_ms:
            units, parts = divmod(whole(part_ms), unit_ms // part_ms)
            return f"{units} {unit}" + (f" {parts} {part}" if parts else "")
    tenths = whole(100)
    if ms < _TENTHS_BELOW_MS and tenths % 10:
        return f"{tenths // 10}.{tenths % 10} s"
    return f"{whole(1000)} s"


class Timing(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The timers (docs/explanation/protocol.md#timers); all in ms, validated together.

    Attributes:
        beat_every_ms: Pause between two beats of a heartbeat.
        read_every_ms: Pause between two reads of a guard.
        timeout_ms: An answer later than this is not an answer.
        rho: Most by which a clock may run slow or fast, as a fraction.
        lease_ms: A worker cut from Redis is off after this.
        beat_ms: The fleet is off this long after the last beat.
        failover_ms: Longest outage of the store that a term survives.
        ttl_ms: Life of the key without a beat.
        drain_ms: Longest wait for orders in flight after a stop.
    """

    beat_every_ms: _Millis
    read_every_ms: _Millis
    timeout_ms: _Millis
    rho: float
    lease_ms: _Millis
    beat_ms: _Millis
    failover_ms: _Millis
    # A second less than a grant's `max_ttl_ms` may be.
    ttl_ms: Annotated[int, msgspec.Meta(ge=1, le=3_599_000)]
    drain_ms: _Millis

    @property
    def max_ttl_ms(self) -> int:
        """Longest PTTL a guard accepts; a second of slack over what we ever set."""
        return self.ttl_ms + 1000

    @property
    def lease_over_ms(self) -> float:
        """How long after its last read a worker can have no permission, on anybody's clock."""
        return (1 + self.rho) * self.lease_ms

    @property
    def all_off_ms(self) -> float:
        """How long after the last heartbeat's receipt every deadline is over (S14, by time)."""
        # A beat under way when its sender latched is executed within a timeout, and read within one.
        return (1 + self.rho) * self.beat_ms + 2 * self.timeout_ms  # S14

    def __post_init__(self) -> None:
        # Written so that NaN, which compares false with everything, is refused.
        if not 0.0 < self.rho <= MAX_RHO:
            raise ValueError("rho must be above 0 and at most 0.2")
        lost_reads, lost_beats = 2, 1 if self.rho <= TIGHT_RHO else 2
        lease = (1 - self.rho) * self.lease_ms
        need = (lost_reads + 1) * self.read_every_ms * 1.1 + self.timeout_ms
        if lease < need:
            raise ValueError(
                "(1-rho)*lease_ms >= (m+1)*read_every_ms*1.1 + timeout_ms is broken: "
                f"{lease:.0f} < {need:.0f} with m = {lost_reads} lost reads; raise lease_ms"
            )
        beat = (1 - self.rho) * self.beat_ms
        need = (
            (lost_beats + 1) * self.beat_every_ms * 1.05
            + self.timeout_ms
            + 2 * self.read_every_ms * 1.1
            + self.timeout_ms
        )
        if beat < need:
            raise ValueError(
                "(1-rho)*beat_ms >= (n+1)*beat_every_ms*1.05 + timeout_ms + "
                f"2*read_every_ms*1.1 + timeout_ms is broken: {beat:.0f} < {need:.0f} "
                f"with n = {lost_beats} lost beats; raise beat_ms"
            )
        if 0.75 * self.ttl_ms - self.beat_every_ms < self.beat_ms + self.failover_ms:
            raise ValueError(
                "3/4*ttl_ms - beat_every_ms >= beat_ms + failover_ms is broken: "
                f"{0.75 * self.ttl_ms - self.beat_every_ms:.0f} < "
                f"{self.beat_ms + self.failover_ms}; raise ttl_ms"
            )
        if self.timeout_ms >= self.read_every_ms:
            raise ValueError(
                f"timeout_ms < read_every_ms is broken: {self.timeout_ms} >= {self.read_every_ms}"
            )


TIMINGS = {
    # Hard bounds of 2.5 s after a revoke and 5.5 s after the last beat, on clocks that may be 10 % off.
    "standard": Timing(
        beat_every_ms=1000,
        read_every_ms=500,
        timeout_ms=250,
        rho=0.10,
        lease_ms=2500,
        beat_ms=5500,
        failover_ms=10_000,
        ttl_ms=24_000,
        drain_ms=5000,
    ),
    # 2.0 s and 4.0 s, where the clock's slew is checked to be small and one lost beat is enough slack.
    "tight": Timing(
        beat_every_ms=1000,
        read_every_ms=500,
        timeout_ms=250,
        rho=0.01,
        lease_ms=2000,
        beat_ms=4000,
        failover_ms=10_000,
        ttl_ms=24_000,
        drain_ms=5000,
    ),
}


class Haste(msgspec.Struct, frozen=True):
    """How fast a fleet may be started again.

    Attributes:
        cool_down_ms: Pause after a stop; 0 for none.
        daily: Activations in 24 hours; 0 for any number.
    """

    cool_down_ms: int = 0
    daily: int = 0
