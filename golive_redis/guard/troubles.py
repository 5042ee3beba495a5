"""What goes wrong in the threads of a guard: counted, and logged at a bounded rate."""

from __future__ import annotations

from golive_redis import clock
from golive_redis.core.timing import in_words
from golive_redis.errors import GoliveError
from golive_redis.logs import Log

logger = Log("golive_redis.guard")
_AWAY = "away"


class Troubles:
    """The record of one guard's troubles.

    Args:
        address: Where Redis is, without a password.

    Attributes:
        last: The newest in words, or None.
        security_events: Directives and records that were refused.
    """

    def __init__(self, address: str = "") -> None:
        self.last: str | None = None
        self.security_events = 0
        self._throttle = clock.Throttle()
        self._address = address
        self._away_since_ms: float | None = None

    def met(self, error: Exception) -> None:
        """Note an error; an unexpected one is logged, with its traceback, once a minute."""
        if isinstance(error, GoliveError):
            self.last = error.message
            return
        self.last = f"defect: {error!r}"
        if self._throttle.due(self.last):
            logger.error("a defect in golive-redis; the guard is closed", exc_info=error)

    def unreachable(self, error: GoliveError) -> None:
        """Say that Redis does not answer: when that begins, and again once a minute."""
        now_ms = clock.now_ms()
        if self._away_since_ms is None:
            self._away_since_ms = now_ms
            self._throttle.due(_AWAY)
            begun = ""
        elif self._throttle.due(_AWAY):
            begun = f", for {in_words(now_ms - self._away_since_ms)} now"
        else:
            return
        logger.error(
            "no order is permitted%s: Redis at %s: %s", begun, self._address, error.message
        )

    def reached(self) -> None:
        """Say that Redis answers again, if it was said that it does not."""
        since_ms, self._away_since_ms = self._away_since_ms, None
        if since_ms is not None:
            away = in_words(clock.now_ms() - since_ms)
            logger.error("Redis at %s answers again, after %s", self._address, away)

    def unkept(self, error: GoliveError) -> None:
        """Note that a stop could not be written down now; said once a minute."""
        self.last = f"a stop could not be kept: {error.message}"
        if self._throttle.due(self.last):
            logger.error("no order is permitted: %s", self.last)

    def clocks(self, anomaly: str) -> None:
        """Note that this host's clocks disagree (S7)."""
        self.last = anomaly
        logger.error("clock anomaly: %s", anomaly)

    def security(self, text: str) -> None:
        """Count a refused record; each text is logged once a minute: a sender could flood."""
        self.security_events += 1
        if self._throttle.due(text):
            logger.error("[SECURITY] %s", text)
