"""What one heartbeat sees of the others: the word that a term is alive, on which it may join (S13).

Whoever can write to Redis can play recorded beats back to a heartbeat that has just been started. So a
hint is a beat that was made after this process was started, by a heartbeat that the grant names, seen to
come after an older one on the same connection.
"""

from __future__ import annotations

from collections.abc import Mapping

from golive_redis.core.knowledge import Knowledge
from golive_redis.core.state import State
from golive_redis.errors import RecordError
from golive_redis.records.beat import ISSUED_TOLERANCE_MS


class Hints:
    """Beats of the others, as one heartbeat has seen them on its present connection.

    Args:
        known: Verifies beats.
        name: Of this heartbeat.
        started_ms: When this process was started, Unix ms on this host.

    Attributes:
        own_n: Highest count of its own that Redis has shown.
    """

    def __init__(self, known: Knowledge, name: str, started_ms: float) -> None:
        self.own_n = 0
        self._known = known
        self._name = name
        self._started_ms = started_ms
        self._seen: dict[str, int] = {}

    def reconnected(self) -> None:
        """Begin anew: another connection may lead to another server."""
        self._seen = {}

    def advanced(self, beats: Mapping[str, bytes], stored: State, wall_ms: float) -> bool:
        """Tell whether another heartbeat's beat was seen to advance, so that the term is alive.

        Args:
            beats: Envelope by heartbeat, of one answer.
            stored: The state in the same answer.
            wall_ms: This host's clock, Unix ms.

        Fails closed:
            A beat that is refused, of another term, by a heartbeat that the grant does not name, too
            old or too new, or from before the start of this process, is no hint.
        """
        advanced = False
        seen: dict[str, int] = {}
        for name, raw in beats.items():
            try:
                beat = self._known.beat(name, raw)
            except RecordError:
                continue
            if name == self._name:
                self.own_n = max(self.own_n, beat.n)
                continue
            named = name in stored.grant.record.heartbeats  # A1
            fresh = abs(beat.issued_at_ms - wall_ms) <= ISSUED_TOLERANCE_MS  # S6
            if beat.term != stored.term or not named or not fresh:  # S13
                continue
            if beat.epoch < stored.grant.record.epoch:  # S13, D1: it has not followed that grant
                continue
            # A3: by the clocks of two hosts, so a recorded beat is younger by what they differ at most.
            made_since = beat.issued_at_ms > self._started_ms
            newer = beat.n > self._seen.get(name, beat.n)  # S13
            advanced = advanced or (newer and made_since)
            seen[name] = max(beat.n, self._seen.get(name, 0))
        self._seen = seen
        return advanced
