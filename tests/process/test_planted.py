"""Entries on the roster of workers that no worker has written: its login may plant any (row 94)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from golive_redis.errors import RecordError, RefusedError
from golive_redis.operator.forgetting import forget
from golive_redis.operator.session import Operator
from golive_redis.stop import journal
from golive_redis.stop.attestation import attested
from golive_redis.testing.server import EmbeddedServer

LONG = "pod-2:" + "z" * 600
LEFT_OUT = "2 entries on the roster of workers were written by no worker; left out"


def _killed(live: Any, name: str, wait_for: Callable[..., None]) -> str:
    member = f"{name}:{live.workers[name].instance}"
    live.workers[name].kill()
    wait_for(lambda: not live.raw.exists(f"golive:worker:{member}"), what="it is silent")
    return member


def test_no_planted_entry_keeps_a_stop_or_an_attestation_from_its_end(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """An attestation that names 600 characters cannot be written; a byte 0xff cannot be struck."""
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2", "pod-3")
    _killed(live, "pod-2", wait_for)
    member = _killed(live, "pod-3", wait_for)
    ghost = f"pod-1:x {live.workers['pod-1'].instance}"
    live.raw.zadd("golive:fleet", {LONG: 0, ghost: 0, b"pod\xff-9:" + b"a" * 32: 0})
    assert LEFT_OUT in live.status().problems
    with Operator(live.config) as operator:
        with pytest.raises(RefusedError, match="no silent worker 'pod-1:x'"):
            forget(operator, ["pod-1:x"], reason="a ghost")
        with pytest.raises(RefusedError, match="heard too lately"):
            forget(operator, ["pod-1"], reason="a ghost")
        done = forget(operator, ["pod-3"], reason="\udcff" + "x" * 600, ticket="\udcff" + "y" * 600)
    assert [f"{pod.worker}:{pod.instance}" for pod in done.dead] == [member]
    assert attested(live.config.trust(), live.raw.get(f"golive:left:{member}")) == set(done.dead)

    live.raw.zadd("golive:fleet", {LONG: 0})  # the first look has taken it away
    report = live.revoke(config=live.patient, dead_workers=frozenset({"pod-2"}))
    assert report.outcome.result == "COMPLETE"
    assert any("written by no worker; left out" in text for text in report.problems)
    assert live.raw.hget("golive:revoked", "confirmed")
    live.activate()
    left = {bytes(entry).partition(b":")[0] for entry in live.raw.zrange("golive:fleet", 0, -1)}
    assert left == {b"pod-1"}, "they were struck, and nobody else"
    assert not any("written by no worker" in text for text in live.status().problems)


LONG_LEASE = {"lease_ms": 10_500, "beat_ms": 12_000, "failover_ms": 30_000, "ttl_ms": 60_000}


def test_an_activation_strikes_planted_entries_also_where_a_lease_outlasts_the_silence(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Of those that fell silent it strikes nobody then: one of them may still have a permit."""
    live = fleet(own_server, timing=LONG_LEASE)
    live.start_heartbeat("hb-1")
    live.start_worker("pod-1")
    wait_for(lambda: "pod-1" in {row.id for row in live.status().workers if row.alive})
    silent = f"ghost:{'0' * 32}"
    live.raw.zadd("golive:fleet", {"pod-2:x": 0, b"pod\xff-9:" + b"a" * 32: 0, silent: 0})
    live.activate(wait_s=0)
    own = f"pod-1:{live.workers['pod-1'].instance}"
    assert set(live.raw.zrange("golive:fleet", 0, -1)) == {own.encode(), silent.encode()}


def test_a_stop_is_confirmed_though_the_word_of_a_death_cannot_be_written(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unwritable(*_: Any, **__: Any) -> Any:
        raise RecordError("note: Expected `str` of length <= 512")

    live = fleet(own_server)
    live.go_live("pod-1", "pod-2")
    _killed(live, "pod-2", wait_for)
    monkeypatch.setattr(journal, "attest", unwritable)
    report = live.revoke(config=live.patient, dead_workers=frozenset({"pod-2"}))
    assert report.outcome.result == "COMPLETE"
    assert any("not kept for later stops who is dead" in text for text in report.problems)
    assert live.raw.hget("golive:revoked", "confirmed")
