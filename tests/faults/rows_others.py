"""What somebody else puts into Redis, or takes out; and stops beside each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from golive_redis import clock
from golive_redis import config as configuration
from golive_redis.errors import RefusedError
from golive_redis.stop.progress import StopReport
from golive_redis.stop.revoke import Revoke
from golive_redis.testing.server import EmbeddedServer
from kit.dripping import DrippingServer

from .judged import PATIENCE_MS, JudgedFleet

StartFleet = Callable[..., AbstractContextManager[JudgedFleet]]

PHANTOMS = 2_000
DAY_MS = 86_400_000


def test_server_that_drips(start_fleet: StartFleet) -> None:
    """Row 92: what answers an operator never ends an answer."""
    with start_fleet() as live, DrippingServer(lambda _: (b"+", b"x")) as dripping:
        where = {"url": f"redis://{dripping.where}", "state_dir": "elsewhere"}
        led = configuration.load(live.write_config(**where), environ={})
        live.strike(lambda: live.revoke("NOT CONFIRMED", config=led, wait_ms=0))
        live.revoke("COMPLETE")


def test_phantoms(start_fleet: StartFleet) -> None:
    """Rows 94 and 108: pods that are not there, half of them with a presence that never ends."""
    names = [f"ghost-{number}:{number:032x}" for number in range(PHANTOMS)]

    def plant(live: JudgedFleet) -> None:
        with live.raw.pipeline(transaction=False) as pipe:
            pipe.zadd("golive:fleet", dict.fromkeys(names, 1))
            for name in names[::2]:
                pipe.hset(f"golive:worker:{name}", mapping={"state": "armed", "term": "1"})
            pipe.execute()

    with start_fleet() as live:
        live.strike(lambda: plant(live))
        report = live.revoke("STOPPED")
        assert report.outcome.drain_unknown == sorted(name.partition(":")[0] for name in names)
        assert sum(row.alive for row in live.status().workers) == 2


def test_worker_struck_from_the_roster(start_fleet: StartFleet) -> None:
    """Row 97: it is frozen, and somebody takes it off the roster."""
    with start_fleet() as live:
        hidden = live.workers["pod-2"]
        live.frozen = {"pod-2"}

        def strike() -> None:
            hidden.pause()
            live.raw.zrem("golive:fleet", f"pod-2:{hidden.instance}")

        live.strike(strike)
        assert live.revoke("STOPPED").outcome.drain_unknown == ["pod-2"]
        hidden.resume()


def test_workers_restarted_in_good_order(start_fleet: StartFleet) -> None:
    """Row 96."""
    with start_fleet() as live:
        for name in ("pod-1", "pod-2"):
            live.workers[name].quit()
            live.start_worker(name)
        live.wait_all_armed()
        live.trade()
        assert live.revoke("COMPLETE").outcome.by == "receipts"


def test_three_stops_at_one_moment(start_fleet: StartFleet) -> None:
    """Row 99: from three hosts; all are told the same, and one tombstone stands."""
    with start_fleet() as live:
        folders = ("one", "two")
        hosts = [
            configuration.load(live.write_config(state_dir=folder), environ={})
            for folder in folders
        ]
        reports: list[StopReport] = []
        together = threading.Barrier(len(hosts) + 1, timeout=PATIENCE_MS / 1000)

        def stop(host: configuration.Config) -> None:
            together.wait()
            reports.append(Revoke(host, reason="another", wait_ms=PATIENCE_MS).run())

        others = [threading.Thread(target=stop, args=(host,)) for host in hosts]
        for other in others:
            other.start()
        live.strike(together.wait)
        own = live.revoke("COMPLETE")
        for other in others:
            other.join(PATIENCE_MS / 1000)
        for report in reports:
            live.heard(report, "COMPLETE")
        assert len(reports) == 2
        assert {report.epoch for report in reports} == {own.epoch}
        # Who finds the tombstone there, and remembers nothing, knows of no term.
        assert {report.term for report in reports} <= {own.term, 0}


def test_heartbeat_led_to_a_fork(
    start_fleet: StartFleet, make_server: Callable[..., EmbeddedServer]
) -> None:
    """Row 101: started again without its disk, on a copy on which recorded beats are played back."""
    with start_fleet(heartbeats=("hb-1", "hb-2")) as live:
        fork = make_server()
        live.heartbeats["hb-2"].kill()
        beats = _recorded(live, 3)
        with fork.client() as copy:
            copy.restore("golive:active", 600_000, live.raw.dump("golive:active"))
            led = {"url": fork.url, "state_dir": "empty"}
            live.strike(lambda: live.start_heartbeat("hb-2", config=led))
            for beat in beats * 2:
                copy.hset("golive:beat", "hb-1", beat)
                time.sleep(2 * live.timers.beat_every_ms / 1000)
            assert live.heartbeats["hb-2"].ask("status")["term"] is None
            assert copy.hkeys("golive:beat") == [b"hb-1"], "it beats for nobody"
        live.revoke("NOT CONFIRMED", wait_ms=1_000)
        live.revoke("COMPLETE", dead=frozenset({"hb-2"}))


def _recorded(live: JudgedFleet, count: int) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < count:
        beat = live.raw.hget("golive:beat", "hb-1")
        if beat is not None and beat not in found:
            found.append(beat)
        time.sleep(0.05)
    return found


def test_blind_stop_by_a_fast_clock(
    start_fleet: StartFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 102: it ends what was activated up to 30 s after it came, and the next stop replaces it."""
    with start_fleet() as live:
        live.write_keyset("old.yaml", without=("alice", "hb-2", "hb-3"))
        keys = {**live.settings["keys"], "operator": "bob.pem", "keyset": "old.yaml"}
        host = configuration.load(live.write_config(keys=keys, state_dir="old"), environ={})
        live.raw.delete("golive:epoch")
        right = clock.wall_ms
        with monkeypatch.context() as fast:
            fast.setattr(clock, "wall_ms", lambda: right() + DAY_MS)
            live.strike(lambda: live.revoke("COMPLETE", config=host))
        assert live.status().revoked.blind
        with pytest.raises(RefusedError, match="ahead of this host's"):
            live.activate()
        live.revoke("COMPLETE")
        assert not live.status().revoked.blind
