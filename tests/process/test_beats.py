"""Heartbeats that die, sleep, are sick, or whose beats arrive late."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import pytest

from golive_redis import clock, config
from golive_redis.errors import RefusedError
from golive_redis.operator import grants, status
from golive_redis.operator.session import Operator
from golive_redis.records.directive import GrantKind
from golive_redis.testing.server import EmbeddedServer

MS = clock.NS_PER_MS


def beats(live: Any) -> dict[str, dict[str, Any]]:
    """What `golive:beat` holds, by heartbeat."""
    return {
        name.decode(): json.loads(b64decode(json.loads(raw)["payload"]))
        for name, raw in live.raw.hgetall("golive:beat").items()
    }


def last_beat_ns(live: Any, *names: str) -> int:
    """Instant at which the newest beat of these was made, on the clock all processes share."""
    issued = max(beat["issued_at_ms"] for name, beat in beats(live).items() if name in names)
    old_ms = clock.wall_ms() - issued  # read first: the instant that follows is never too early
    return clock.now_ns() - old_ms * MS


def assert_closed_by_beat_ms(live: Any, last_ns: int) -> None:
    """Every worker is denied, and permitted nothing later than beat_ms after that instant."""
    called_ns = clock.now_ns()  # what was denied before it armed does not count
    for worker in live.workers.values():
        denied = worker.wait_denied(after_ns=called_ns)
        # The beat's time ran out. On a machine that stalls perhaps the trust in the clocks before,
        # or after it the term's, before this was asked.
        assert denied["reason"] in {"lapsed", "not-armed", "not-activated", "store-unreachable"}
        late_ms = (worker.last_permit_ns() - last_ns) / MS
        assert late_ms <= live.timers.beat_ms, f"{worker.name} {late_ms:.0f} ms after the beat"


def assert_goes_on(live: Any) -> None:
    """Whatever is no longer there is not what keeps the workers armed."""
    time.sleep(live.timers.beat_ms / 1000)
    live.wait_all_armed()


LAPSES = {"lapsed", "store-unreachable"}


def closures(worker: Any) -> set[str]:
    """Why it was ever closed since it first permitted, but for lapses: a busy machine has some."""
    states = worker.states()
    first = next(i for i, state in enumerate(states) if state["allowed"])
    return {state["reason"] for state in states[first:] if not state["allowed"]} - LAPSES


def test_a_heartbeat_that_is_back_in_time_revives_the_fleet(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 9."""
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2")
    live.heartbeats["hb-1"].kill()
    assert_closed_by_beat_ms(live, last_beat_ns(live, "hb-1"))
    assert live.raw.pttl("golive:active") > 0, "the key still lives, and permits nothing"
    back_ns = clock.now_ns()
    live.start_heartbeat("hb-1")
    for worker in live.workers.values():
        worker.wait_allowed(after_ns=back_ns)


def test_a_heartbeat_that_wakes_after_the_end_of_the_key_revives_nothing(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 11."""
    live = fleet(own_server, timing={"failover_ms": 2_000, "ttl_ms": 4_800})
    live.go_live("pod-1", "pod-2")
    live.heartbeats["hb-1"].pause()
    last_ns = last_beat_ns(live, "hb-1")
    assert_closed_by_beat_ms(live, last_ns)
    assert_woken_revives_nothing(live, last_ns, wait_for)


def assert_woken_revives_nothing(live: Any, last_ns: int, wait_for: Callable[..., None]) -> None:
    woken, timers = live.heartbeats["hb-1"], live.timers
    wait_for(
        lambda: not live.raw.exists("golive:active"),
        what="the key has expired",
    )
    wait_for(lambda: clock.now_ns() > last_ns + timers.ttl_ms * MS, what="ttl_ms are over")
    woken.resume()
    # Whichever it notices first: that the key is gone, or that no beat succeeded for so long.
    wait_for(lambda: woken.ask("status")["term"] is None, what="it gives the term up")
    time.sleep(3 * timers.beat_every_ms / 1000)  # time for whatever it might still do
    assert not live.raw.exists("golive:active", "golive:beat")
    assert woken.ask("status")["term"] is None
    assert not any(worker.allowed for worker in live.workers.values())


def test_sick_heartbeats_neither_hurt_the_fleet_nor_keep_it_alive(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 10: a clock 31 s off, and a key that nobody else knows."""
    live = fleet(own_server)
    live.start_heartbeat("hb-2", wall_off_ms=31_000)
    live.add_principal("hb-9", "heartbeat")
    live.write_keyset("wider.yaml")  # it trusts itself; nobody else does
    live.start_heartbeat("hb-9", config={"keyset": "wider.yaml"})
    live.start_heartbeat("hb-1")
    live.start_worker("pod-1")
    live.activate(config=config.load(live.write_config(keyset="wider.yaml"), environ={}))
    worker = live.workers["pod-1"]
    wait_for(lambda: len(beats(live)) == 3, what="each beats in its own field")
    assert_goes_on(live)
    assert not closures(worker) and worker.health()["security_events"] > 0
    for why in ("'hb-2' is over 30 s off", "'hb-9' refused"):
        worker.wait_logged(f"[SECURITY] beat of {why}")
    live.heartbeats["hb-1"].kill()
    assert_closed_by_beat_ms(live, last_beat_ns(live, "hb-1"))
    before = beats(live)
    wait_for(
        lambda: all(beats(live)[name]["n"] > before[name]["n"] for name in ("hb-2", "hb-9")),
        what="the sick ones beat on, for nobody",
    )


def test_of_two_healthy_heartbeats_either_may_die(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 10."""
    live = fleet(own_server)
    live.go_live("pod-1", heartbeats=("hb-1", "hb-2"))
    for dies in ("hb-1", "hb-2"):
        live.heartbeats[dies].kill()
        before = beats(live)[dies]["n"]
        assert_goes_on(live)
        live.start_heartbeat(dies)
        wait_for(lambda d=dies, n=before: beats(live)[d]["n"] > n, what=f"{dies} beats again")
    assert not closures(live.workers["pod-1"])


def test_a_beat_that_executes_late_is_taken_for_a_replay_and_disturbs_nobody(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    proxy: Callable[..., Any],
    wait_for: Callable[..., None],
) -> None:
    """Row 12. Beats a second apart leave time to read before the next one hides the late one."""
    slow = {"beat_every_ms": 1_000, "beat_ms": 4_000}
    live, network = fleet(own_server, timing=slow), proxy(own_server)
    live.start_heartbeat("hb-1", config={"url": network.url})
    live.go_live("pod-1", heartbeats=())
    worker = live.workers["pod-1"]
    network.set("hold-beat")
    wait_for(lambda: network.counts().get("held"), what="a beat is held back")
    before = beats(live)["hb-1"]["n"]
    wait_for(lambda: beats(live)["hb-1"]["n"] > before + 1_500, what="a later one went through")
    newest = beats(live)["hb-1"]["n"]
    worker.wait_read(live.timers.timeout_ms)
    network.set("pass")
    wait_for(lambda: before < beats(live)["hb-1"]["n"] < newest, what="the old one executed")
    wait_for(lambda: worker.health()["security_events"], what="a replay is seen")
    worker.wait_logged("went back to n=")
    wait_for(lambda: beats(live)["hb-1"]["n"] > newest, what="the next beat")
    live.wait_all_armed()
    assert not closures(worker)


@pytest.mark.parametrize("stop", ["revoke", "DEL"])
def test_a_beat_that_executes_after_the_stop_brings_nothing_back(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    proxy: Callable[..., Any],
    wait_for: Callable[..., None],
    stop: str,
) -> None:
    """Rows 11 and 12. A key that a failover brought back under the tombstone gets no beat."""
    live, network = fleet(own_server), proxy(own_server)
    live.start_heartbeat("hb-1", config={"url": network.url})
    live.go_live("pod-1", heartbeats=())
    active = live.raw.dump("golive:active")
    network.set("hold-beat")
    wait_for(lambda: network.counts().get("held"), what="a beat is held back")
    if stop == "revoke":
        report = live.revoke()
        assert report.outcome.result == "COMPLETE", "the receipt came, the beat's link was reset"
        live.raw.restore("golive:active", live.timers.ttl_ms, active)
    else:
        live.raw.delete("golive:active", "golive:beat")
        live.heartbeats["hb-1"].wait_said("removed without a stop")
    before = live.raw.hgetall("golive:beat")
    network.set("pass")
    time.sleep(3 * live.timers.beat_every_ms / 1000)
    assert live.raw.hgetall("golive:beat") == before
    assert live.raw.exists("golive:active") == (stop == "revoke")
    assert not live.workers["pod-1"].allowed


@pytest.mark.session
def test_at_standard_timers_each_bound_holds(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    proxy: Callable[..., Any],
    wait_for: Callable[..., None],
) -> None:
    """Rows 4, 9 and 11, at `standard`: 2.5 s, 5.5 s, and over 24 s.

    `pod-1` is cut off, `hb-1` falls asleep, `hb-2` is dead.
    """
    live, network = fleet(own_server, timing="standard"), proxy(own_server)
    live.start_worker("pod-1", wait=False, config={"url": network.url}, rate_hz=50)
    live.go_live("pod-2", heartbeats=("hb-1", "hb-2"), rate_hz=50)
    cut = live.timed(lambda: network.set("blackhole"))
    live.heartbeats["hb-1"].pause()
    live.heartbeats["hb-2"].kill()
    last_ns = last_beat_ns(live, "hb-1", "hb-2")
    live.workers["pod-1"].closed_within(2_500, cut)
    assert live.timers.beat_ms == 5_500
    assert_closed_by_beat_ms(live, last_ns)
    assert_woken_revives_nothing(live, last_ns, wait_for)


def test_a_heartbeat_that_reconnects_raises_no_alarm(
    fleet: Callable[..., Any], any_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 87."""
    live = fleet(any_server)
    live.go_live("pod-1")
    for _ in range(5):
        before = beats(live)["hb-1"]["n"]
        for client in live.raw.client_list(_type="normal"):
            if client["name"] == "golive-heartbeat-hb-1":
                live.raw.client_kill_filter(_id=client["id"])
        wait_for(lambda: beats(live)["hb-1"]["n"] > before, what="the next beat")  # noqa: B023
    assert not [line for line in live.heartbeats["hb-1"].said() if "refused" in line]


def _reason(live: Any, name: str) -> str:
    with Operator(live.config) as operator:
        return next(item.reason for item in status.read(operator).heartbeats if item.name == name)


def test_a_heartbeat_that_comes_later_beats_once_a_grant_names_it(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 101: until then it beats for nobody, and a stop does not wait for it."""
    live = fleet(own_server)
    live.go_live("pod-1")
    later = live.start_heartbeat("hb-2")
    wait_for(
        lambda: "does not name this heartbeat" in later.ask("status")["waiting_for"],
        what="it knows that it is not meant",
    )
    wait_for(
        lambda: "does not name this heartbeat" in _reason(live, "hb-2"),
        what="its presence says so, too",
    )
    time.sleep(5 * live.timers.beat_every_ms / 1000)  # time for whatever it might do all the same
    assert set(beats(live)) == {"hb-1"}
    said: list[str] = []
    with Operator(live.config) as operator:
        end = operator.read().state.grant.record.not_after_ms
        grant = grants.loosen(operator, GrantKind.EXTEND, reason="test", say=said.append)
        grant = grant.grant.record
        assert grant.heartbeats == ["hb-1", "hb-2"] and grant.not_after_ms == end
        assert said == ["may beat for this term from now on: hb-2"]
        with pytest.raises(RefusedError, match="no heartbeat can be added to this term"):
            grants.loosen(operator, GrantKind.EXTEND, reason="test")
    wait_for(lambda: set(beats(live)) == {"hb-1", "hb-2"}, what="it beats")
    live.heartbeats["hb-1"].kill()
    assert_goes_on(live)
    report = live.revoke(wait_ms=1_000)
    assert [row.name for row in report.outcome.heartbeats if row.answered] == ["hb-2"]
    assert report.outcome.result == "NOT CONFIRMED", "hb-1 is named, and dead, and nobody says so"
    assert live.revoke(dead=frozenset({"hb-1", "hb-3"})).outcome.settled
