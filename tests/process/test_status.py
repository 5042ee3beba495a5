"""`golive status` on a real fleet: what it says first is what is true for orders at that moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from golive_redis.testing.server import EmbeddedServer


def test_a_killed_heartbeat_is_news_at_once_and_then_nobody_can_trade(
    fleet: Callable[..., Any], any_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 74."""
    live = fleet(any_server, timing="standard")
    live.go_live("pod-1", "pod-2")
    wait_for(lambda: live.status().headline == "LIVE: 2 of 2 workers can trade", what="it is told")
    live.heartbeats["hb-1"].kill()
    wait_for(lambda: "no heartbeat since" in live.status().headline, what="its silence is told")
    looks: list[Any] = []

    def lapsed() -> bool:
        looks.append(live.status())
        return looks[-1].state == "live" and "2 workers lapsed: pod-1, pod-2" in looks[-1].problems

    wait_for(lapsed, what="its workers lapse, and Redis still says LIVE")
    assert looks[-1].headline.startswith("LIVE, but nobody can trade: no heartbeat since ")
    assert looks[-1].armed == 0


def test_a_killed_worker_is_not_counted_for_longer_than_its_lease_lasts(
    fleet: Callable[..., Any], any_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    live = fleet(any_server, timing="standard")
    live.go_live("pod-1", "pod-2")
    wait_for(lambda: live.status().armed == 2, what="both are armed")
    live.workers["pod-1"].kill()
    wait_for(lambda: live.status().armed == 1, what="it is silent")
    found = live.status()
    assert found.headline == "LIVE: 1 of 2 workers can trade"
    states = {item.id: (item.state, item.alive) for item in found.workers}
    # Its presence is there for 10 s, and says "armed" for as long.
    assert states["pod-1"][0] in {"silent", "gone"}
    assert states["pod-2"] == ("armed", True)


def test_after_a_resume_it_still_says_who_activated_and_why(
    fleet: Callable[..., Any], any_server: EmbeddedServer
) -> None:
    live = fleet(any_server)
    live.go_live("pod-1")
    began = live.status().active
    assert (began.kind, began.activation.by, began.activation.reason) == (
        "activate",
        ["alice"],
        began.reason,
    )
    for _ in range(2):  # the second change has a grant before it that is no activation
        live.halt("news", symbol="X")
        live.resume("over", symbol="X")
    found = live.status().active
    assert (found.kind, found.reason) == ("resume", "over")
    assert found.activation == began.activation
    assert found.activated_at_ms == began.activated_at_ms < found.issued_at_ms
