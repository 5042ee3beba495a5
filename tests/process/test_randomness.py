"""A bot that seeds its random numbers gets the same ones with a guard as without."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from golive_redis import Guard
from golive_redis.testing.server import EmbeddedServer


def test_a_guard_takes_no_number_from_the_generator_of_the_bot(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    live = fleet(own_server)
    before = random.getstate()
    with Guard.open(live.config, worker="pod-1") as guard:
        wait_for(lambda: guard.health().pushed, what="an answer and a subscription")
        own_server.restart()
        wait_for(lambda: guard.health().push_gaps and guard.health().pushed, what="a new one")
        assert random.getstate() == before
