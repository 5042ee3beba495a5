"""What goes wrong in the threads of a guard: counted, and logged at a bounded rate."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from golive_redis.clock import Throttle
from golive_redis.errors import GoliveError

logger = logging.getLogger("golive_redis.guard")


def _logged(*what: object, **more: Any) -> None:
    """Log an error; a handler of the bot's that fails does not end the guard's thread."""
    with suppress(Exception):
        logger.error(*what, **more)


class Troubles:
    """The record of one guard's troubles.

    Attributes:
        last: The newest in words, or None.
        security_events: Directives and records that were refused.
    """

    def __init__(self) -> None:
        self.last: str | None = None
        self.security_events = 0
        self._throttle = Throttle()

    def met(self, error: Exception) -> None:
        """Note an error; an unexpected one is logged, with its traceback, once a minute."""
        if isinstance(error, GoliveError):
            self.last = error.message
            return
        self.last = f"defect: {error!r}"
        if self._throttle.due(self.last):
            _logged("a defect in golive-redis; the guard is closed", exc_info=error)

    def clocks(self, anomaly: str) -> None:
        """Note that this host's clocks disagree (S7)."""
        self.last = anomaly
        _logged("clock anomaly: %s", anomaly)

    def security(self, text: str) -> None:
        """Count a refused record; each text is logged once a minute: a sender could flood."""
        self.security_events += 1
        if self._throttle.due(text):
            _logged("[SECURITY] %s", text)
