"""What a guard states of its incidents: lapses, local kills, skipped orders, what it refused.

A heartbeat reads it in the presence and notes it in the ledger, to which a worker has no right.
"""

from __future__ import annotations

from golive_redis import clock
from golive_redis.core.incidents import Incidents, Lapses, SkipBursts, What
from golive_redis.core.permit import Reason
from golive_redis.guard.gate import Gate


class GuardIncidents:
    """The incidents of one guard.

    Args:
        gate: Whose verdict and counts are watched.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._incidents = Incidents()
        self._lapses = Lapses(self._incidents)
        self._bursts = SkipBursts(self._incidents)

    @property
    def told(self) -> str:
        """The last of them as JSON, for the presence; "" before the first."""
        return self._incidents.told

    def look(self) -> None:
        """See what has changed since the last look; on the attending thread."""
        verdict, now_ns, wall_ms = self._gate.verdict, clock.now_ns(), clock.wall_ms()
        left_ns = verdict.deadline_ns - now_ns
        late_ms = max(0.0, -left_ns / clock.NS_PER_MS) if verdict.deadline_ns else 0.0
        self._lapses.look(
            armed=bool(verdict.deadline_ns) and left_ns > 0,
            reason=Reason.LAPSED if verdict.deadline_ns else verdict.reason,
            term=verdict.term,
            since_ms=wall_ms - late_ms,
        )
        self._bursts.look(self._gate.skips.counts.total(), wall_ms)
        self._incidents.turn(wall_ms)

    def killed(self, reason: str, term: int) -> None:
        """Note a local stop, at this instant; takes no lock."""
        self._incidents.add(What.LOCAL_KILL, Reason.KILLED, clock.wall_ms(), text=reason, term=term)

    def refused(self, kind: str, text: str) -> None:
        """Note that something was refused; takes no lock."""
        self._incidents.refused(kind, text, clock.wall_ms())

    def end(self) -> None:
        """State what is left; the process ends, or this guard does."""
        wall_ms = clock.wall_ms()
        self._bursts.end(self._gate.skips.counts.total(), wall_ms)
        self._incidents.turn(wall_ms)
