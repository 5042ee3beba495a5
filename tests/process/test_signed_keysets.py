"""Signed keysets in Redis: every process of a running fleet goes over to the next, or stops.

Row 41.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from golive_redis.core.barrier import Result
from golive_redis.core.permit import Reason
from golive_redis.delivery.keysets import past
from golive_redis.errors import ConflictError, GoliveError, RecordError, RefusedError
from golive_redis.operator import publishing
from golive_redis.operator.activation import Activation
from golive_redis.operator.session import Operator
from golive_redis.records.beat import Beat
from golive_redis.records.envelope import peek
from golive_redis.records.rotation import Rotation, Step, unpack
from golive_redis.testing.server import EmbeddedServer
from kit.program import Wait
from kit.rooted import Roots

MEMORY_ONLY = {"state_dir": None}


@pytest.fixture
def live(fleet: Callable[..., Any], any_server: EmbeddedServer) -> Any:
    """A fleet without processes."""
    return fleet(any_server)


@pytest.fixture
def roots(live: Any) -> Roots:
    return Roots(live)


def beaten_under(live: Any, name: str = "hb-1") -> int:
    """The keyset version that the newest beat of a heartbeat names."""
    raw = live.raw.hget("golive:beat", name)
    return 0 if raw is None else peek(raw, Beat).keyset_version


def allowed(live: Any, name: str) -> bool:
    return bool(live.workers[name].ask("status")["allowed"])


def closed_for(worker: Any) -> str:
    """Why a worker is closed, by the last that it has told; "" when it is not."""
    states = worker.states()
    return str(states[-1]["reason"]) if states else ""


def test_a_running_fleet_goes_over_to_the_next_keyset_and_trades_on(
    live: Any, roots: Roots, wait_for: Wait
) -> None:
    live.start_worker("w-2", wait=False, config=MEMORY_ONLY)
    live.go_live("w-1", heartbeats=("hb-1", "hb-2"))
    live.add_principal("carol", "approver")
    roots.publish(without=("bob",))
    for name in ("hb-1", "hb-2"):
        wait_for(lambda name=name: beaten_under(live, name) == 2, what=f"{name} under keyset 2")
    live.wait_all_armed()
    for worker in live.workers.values():
        assert Reason.KEYSET_BEHIND not in {state["reason"] for state in worker.states()}
    assert live.records("keyset"), "the step is an entry of the ledger"
    # Whom only the new keyset has can act now, and every process takes it for good.
    live.halt("by alice")
    with Operator(roots.host("carol")) as operator:
        assert operator.trust.keyset.version == 2
    roots.publish()
    wait_for(lambda: beaten_under(live) == 3, what="keyset 3")
    assert live.revoke().outcome.result is Result.COMPLETE


def test_a_process_that_was_off_takes_several_steps_one_by_one(
    live: Any, roots: Roots, wait_for: Wait
) -> None:
    for _ in range(3):
        roots.publish()
    live.go_live("w-1")
    assert beaten_under(live) == 4
    with Operator(roots.host("bob")) as operator:
        assert operator.trust.keyset.version == 4
    # And without Redis the host knows what it has taken.
    assert roots.host("bob").keyset().version == 4


def test_a_term_ends_when_who_signed_it_is_in_the_keyset_no_more(
    live: Any, roots: Roots, wait_for: Wait
) -> None:
    live.go_live("w-1", "w-2")
    step = roots.next(without=("alice",))
    with Operator(live.config) as operator:
        new = publishing.verified(operator, step, 2)
        effect = publishing.effect(operator, operator.read(), new)
    assert effect.ends == 1
    assert effect.lines == ["this ends the running term 1: it was signed by alice, who is not in 2"]
    roots.publish(step)
    for name in ("w-1", "w-2"):
        wait_for(lambda name=name: not allowed(live, name), what=f"{name} closes")
    wait_for(
        lambda: live.heartbeats["hb-1"].ask("status")["term"] is None, what="the heartbeat's latch"
    )
    live.raw.delete("golive:active")  # as it expires after `ttl_ms`
    # Who is left starts it again.
    live.activate(config=roots.host("bob"))
    live.wait_all_armed()


def test_a_worker_that_cannot_fetch_the_keyset_of_the_beats_closes(
    live: Any, roots: Roots, wait_for: Wait
) -> None:
    live.go_live("w-1")
    step = roots.next()
    roots.publish(step)
    wait_for(lambda: beaten_under(live) == 2, what="keyset 2")
    live.wait_all_armed()
    live.workers["w-1"].wait_logged("goes on under keyset 2")
    # One that begins now has keyset 1 alone, and somebody hides the next.
    live.raw.delete("golive:keyset")
    live.start_worker("w-9", config=MEMORY_ONLY)
    behind = live.workers["w-9"]
    wait_for(lambda: closed_for(behind) == Reason.KEYSET_BEHIND, what="the reason for it")
    assert not allowed(live, "w-9")
    wait_for(lambda: allowed(live, "w-1"), what="the other one, which has it")
    live.raw.hset("golive:keyset", "2", step.packed())
    wait_for(lambda: allowed(live, "w-9"), what="its keyset")


@pytest.mark.parametrize("planted", ["unsigned", "other", "garbage", "huge"])
def test_nobody_takes_what_its_roots_have_not_signed(
    live: Any, roots: Roots, wait_for: Wait, planted: str
) -> None:
    live.go_live("w-1")
    good = roots.next()
    bad = {
        "unsigned": roots.next(signed_by=("ruth",)).packed(),
        "other": Step(roots.next(without=("bob",)).payload, good.record).packed(),
        "garbage": b'{"keyset": "x", "record": "y"}',
        "huge": b"x" * (3 * 1024 * 1024),
    }[planted]
    live.raw.hset("golive:keyset", "2", bad)
    with Operator(live.config) as operator:
        assert operator.trust.keyset.version == 1
        assert operator.untaken.startswith("keyset 2 in Redis is refused") or planted == "huge"
        assert operator.untaken
    with pytest.raises(RefusedError, match="this host may be behind"):
        live.resume()
    heartbeat = live.heartbeats["hb-1"]
    wait_for(lambda: "keyset 2" in str(heartbeat.said()), what="its word")
    assert beaten_under(live) == 1 and allowed(live, "w-1"), "the fleet goes on under keyset 1"
    assert live.revoke().outcome.result is Result.COMPLETE, "a stop asks for no keyset"
    assert roots.publish(good).version == 2, "what stands there is nobody's: it keeps none out"
    assert unpack(live.raw.hget("golive:keyset", "2")) == good


def test_what_roots_have_signed_is_not_replaced_by_a_host_that_cannot_take_it(
    live: Any, roots: Roots
) -> None:
    """Of another history, say: who is right is for people to find out."""
    good = roots.next()
    roots.current = msgspec.structs.replace(roots.current, expires="2090-01-31")
    other = roots.next()
    live.raw.hset("golive:keyset", "2", other.packed())
    with Operator(live.config) as operator:
        assert operator.untaken
        with pytest.raises(RefusedError, match="nothing is published over"):
            publishing.verified(operator, good, 2)


@pytest.mark.parametrize("lower", [b"{}", None, b"x" * (3 * 1024 * 1024)])
def test_what_an_operator_without_a_key_plants_keeps_no_keyset_out(
    live: Any, roots: Roots, lower: bytes | None
) -> None:
    live.raw.hset("golive:keyset", mapping={f"x{number}": "x" for number in range(4_096)})
    if lower is not None:
        live.raw.hset("golive:keyset", "1", lower)
    for number in (2, 3):
        live.raw.hset("golive:keyset", str(number), "junk")
        assert roots.publish().version == number
    with Operator(live.config) as operator:
        assert operator.trust.keyset.version == 3
        assert [item.version for item in past(operator.store, operator.trust.keyset)] == [2, 1]


def test_of_two_publishers_one_wins_and_the_other_is_told_what_stands(
    live: Any, roots: Roots
) -> None:
    ours, theirs = roots.next(), roots.next(without=("bob",))
    with Operator(live.config) as first, Operator(roots.host("bob")) as second:
        one = publishing.verified(first, ours, 2)
        other = publishing.verified(second, theirs, 2)
        publishing.publish(first, ours, one)
        with pytest.raises(
            ConflictError, match="another was quicker: keyset 2 stands in Redis"
        ) as e:
            publishing.publish(second, theirs, other)
        assert "signed by omar, ruth" in e.value.message
        again = publishing.publish(first, ours, one)
    assert again.again, "who runs it again is told that it stands"
    assert len(live.records("keyset")) == 1
    assert unpack(live.raw.hget("golive:keyset", "2")) == ours
    with Operator(roots.host("bob")) as late, pytest.raises(ConflictError, match="is no next one"):
        publishing.verified(late, theirs, 2)


def test_lower_numbers_are_refused_for_ever(live: Any, roots: Roots) -> None:
    old = (live.folder / "keyset.yaml").read_text()
    roots.publish(without=("bob",))
    roots.publish()
    host = roots.host("alice")
    with Operator(host) as operator:
        assert operator.trust.keyset.version == 3
    live.raw.delete("golive:keyset")  # whoever owns Redis hides all of it
    assert host.keyset().version == 3
    # An older copy of the file leads to the same keyset, or to none.
    assert (live.folder / "keyset.yaml").read_text() == old
    roots.write(1, principals={k: v for k, v in live.principals.items() if k != "hb-3"})
    with pytest.raises(GoliveError, match="keyset 3 was taken on this host, and does not follow"):
        host.keyset()
    used = 0
    with contextlib.suppress(GoliveError):
        used = host.stop_trust().keyset.version
    assert used == 1, "a stop goes on with what can be used"


def test_a_heartbeat_whose_key_is_gone_is_silent_until_it_has_the_new_one(
    live: Any, roots: Roots, wait_for: Wait
) -> None:
    live.go_live("w-1", heartbeats=("hb-1", "hb-2"))
    changed = roots.new_key("hb-2")
    roots.publish(**{"hb-2": changed})
    wait_for(lambda: beaten_under(live, "hb-1") == 2, what="hb-1 under keyset 2")
    silent = live.heartbeats["hb-2"]
    wait_for(lambda: "does not list this key" in silent.ask("status")["waiting_for"], what="hb-2")
    live.wait_all_armed()
    assert beaten_under(live, "hb-2") == 1
    (live.folder / "hb-2-new.pem").replace(live.folder / "hb-2.pem")
    wait_for(lambda: beaten_under(live, "hb-2") == 2, what="hb-2 with its new key")
    live.wait_all_armed()


def test_a_stop_waits_for_no_keyset(live: Any, roots: Roots) -> None:
    live.go_live("w-1")
    live.raw.hset("golive:keyset", "2", b"x")
    state = next(live.state_dir.glob("keyset-*.json"), None)
    assert state is None
    live.state_dir.joinpath("keyset-golive@test-f1ee7000.0.json").write_text("torn")
    assert live.revoke().outcome.result is Result.COMPLETE


def test_an_expired_keyset_begins_nothing_new_and_a_stop_needs_none(
    live: Any, roots: Roots, wait_for: Wait
) -> None:
    live.go_live("w-1")
    roots.publish(expires="2020-01-31")
    # What runs was signed after the last day of keyset 2, so that one refuses it.
    wait_for(lambda: not allowed(live, "w-1"), what="the end of the term")
    report = live.revoke()
    assert not live.raw.exists("golive:active")
    assert [row.pod.worker for row in report.outcome.workers if row.latched_ms is not None] == [
        "w-1"
    ]
    with pytest.raises(RefusedError, match="keyset 2 was good until 2020-01-31"):
        live.activate()
    # A host that has not taken it gains nothing: no heartbeat adopts what it signs.
    stale = roots.host("alice")
    with Operator(stale, follows=False) as operator:
        assert operator.trust.keyset.version == 1
        activation = Activation(operator, reason="behind", over_unconfirmed=True)
        with roots.hidden():
            activation.commit(activation.prepare())
    heartbeat = live.heartbeats["hb-1"]
    wait_for(
        lambda: "keyset 2 was good until" in heartbeat.ask("status")["waiting_for"], what="the door"
    )
    assert not allowed(live, "w-1")
    live.revoke()
    assert not live.raw.exists("golive:active")
    roots.publish(expires="2999-01-31")
    live.activate(over_unconfirmed=True)
    live.wait_all_armed()


def test_a_record_of_a_step_is_an_entry_that_names_it(live: Any, roots: Roots) -> None:
    roots.publish()
    (entry,) = [fields for _, fields in live.raw.xrange("golive:audit")]
    record = peek(entry[b"r"], Rotation)
    assert (record.number, record.keyset_version) == (2, 1)
    with contextlib.suppress(RecordError):
        unpack(live.raw.hget("golive:keyset", "1"))
    assert unpack(live.raw.hget("golive:keyset", "1")).record == b""
