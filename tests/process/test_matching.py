"""What orders state is told by a worker, and reaches the operator."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from golive_redis.testing.server import EmbeddedServer


def test_a_worker_tells_which_values_its_orders_have_stated(
    fleet: Callable[..., Any], any_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    live = fleet(any_server)
    live.go_live("pod-1")
    worker = live.workers["pod-1"]
    worker.wait_permit(symbol="BTCUSDT", venue="paper")

    def told() -> Any:
        (key,) = live.raw.keys("golive:worker:pod-1:*")
        return json.loads(live.raw.hget(key, "stated") or "{}")

    wait_for(lambda: "symbol" in told(), what="the values")
    assert told() == {"symbol": ["BTCUSDT"], "venue": ["paper"]}
