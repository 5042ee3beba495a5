"""`golive status` on a real fleet: what it says first is what is true for orders at that moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from golive_redis import config
from golive_redis.errors import RefusedError
from golive_redis.operator import restrictions, status
from golive_redis.operator.session import Operator
from golive_redis.records.directive import RestrictionKind
from golive_redis.stop.memory import Lack
from golive_redis.testing.server import EmbeddedServer


def test_a_killed_heartbeat_is_news_at_once_and_then_nobody_can_trade(
    fleet: Callable[..., Any], any_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 74."""
    live = fleet(any_server, timing="standard")
    live.go_live("pod-1", "pod-2")
    wait_for(lambda: live.status().headline == "LIVE: 2 of 2 workers can trade", what="it is told")
    live.heartbeats["hb-1"].kill()
    wait_for(lambda: "no heartbeat for" in live.status().headline, what="its silence is told")
    looks: list[Any] = []

    def lapsed() -> bool:
        looks.append(live.status())
        return looks[-1].state == "live" and "2 workers lapsed: pod-1, pod-2" in looks[-1].problems

    wait_for(lapsed, what="its workers lapse, and Redis still says LIVE")
    assert looks[-1].headline.startswith("LIVE, but nobody can trade: no heartbeat for ")
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


def test_of_another_redis_nothing_is_said_that_would_be_untrue_of_the_fleet(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 110: the number of the database is wrong, and the fleet trades in the right one."""
    live = fleet(own_server)
    live.go_live("pod-1")
    url = f"{live.config.url}/1"
    wrong = config.load(live.path, environ={"GOLIVE_REDIS_URL": url})
    lacks = f"{url} does not know the grant of epoch 1 by alice, which this host has signed or seen"
    with Operator(wrong) as operator:
        found = status.read(operator)
        assert found.state == "unknown"
        assert found.headline.startswith(f"UNKNOWN: {lacks}: it is another Redis")
        assert any("GOLIVE_REDIS_URL" in text for text in found.problems)
        with pytest.raises(RefusedError, match="nothing is active there, and redis://"):
            restrictions.restrict(operator, RestrictionKind.HALT, reason="test", labels={})
    said: list[str] = []
    report = live.revoke(
        config=wrong, dead=frozenset({"hb-1"}), wait_ms=live.timers.all_off_ms, say=said.append
    )
    assert report.behind == Lack(store=url, kind="grant", epoch=1, signers=["alice"])
    assert report.behind.in_words().startswith(lacks)
    assert report.behind.in_words() in said
    assert live.status().state == "live"
    with Operator(wrong) as operator:
        # By now it knows the number of that stop, which has reached nobody.
        assert status.read(operator).headline.startswith(f"UNKNOWN: {lacks}")
        with pytest.raises(RefusedError, match="nothing is active there, and redis://"):
            restrictions.restrict(operator, RestrictionKind.HALT, reason="test", labels={})
    assert live.revoke().outcome.result == "COMPLETE"
    assert live.status().problems == []


def test_a_term_that_ended_without_a_stop_is_not_taken_for_the_last_stop(
    fleet: Callable[..., Any], any_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 111."""
    live = fleet(any_server)
    live.go_live("pod-1")
    live.revoke()
    live.activate()
    live.raw.delete("golive:active")
    wait_for(lambda: live.status().state == "off", what="the key is gone")
    text = "term 3 ended without a stop: no heartbeat beat, or its key was removed"
    assert text in live.status().problems
    live.revoke()
    assert not live.status().problems


def test_a_stop_that_ended_stopped_is_not_told_as_complete(
    fleet: Callable[..., Any], any_server: EmbeddedServer
) -> None:
    """Row 112: also by `golive activate`, which counts whoever fell silent before it was armed."""
    live = fleet(any_server)
    live.go_live("pod-1", "pod-2")
    frozen = live.workers["pod-2"]
    frozen.pause()
    assert live.revoke().outcome.result == "STOPPED"
    found = live.status()
    assert (found.revoked.confirmed, found.revoked.result) == (True, "STOPPED")
    assert any("ended STOPPED, not COMPLETE" in text for text in found.problems)
    done = live.activate(wait_s=20)
    assert [item.name for item in done.armed] == ["pod-1"]
    assert [item.name for item in done.not_armed] == ["pod-2"]
    frozen.resume()
