"""A key is lost or stolen: the runbooks of docs/how-to/lost-and-stolen-keys.md, on real processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from golive_redis import clock
from golive_redis import config as configuration
from golive_redis.config import keyfile
from golive_redis.core.barrier import Result
from golive_redis.errors import GoliveError, RecordError, RefusedError
from golive_redis.operator import grants, keysets, publishing
from golive_redis.operator.activation import Activation
from golive_redis.operator.session import Operator
from golive_redis.records.beat import Beat
from golive_redis.records.directive import GrantKind, Revocation
from golive_redis.records.envelope import peek, seal
from golive_redis.records.keyset import encode_public, parse_keyset
from golive_redis.records.record import MAX_INT
from golive_redis.store.store import Store
from golive_redis.testing.server import EmbeddedServer
from kit.fleet import Fleet
from kit.program import Wait
from kit.rooted import Roots


@pytest.fixture
def live(fleet: Callable[..., Any], any_server: EmbeddedServer) -> Any:
    """A fleet without processes."""
    return fleet(any_server)


@pytest.fixture
def roots(live: Any) -> Roots:
    return Roots(live)


def allowed(live: Any, name: str) -> bool:
    return bool(live.workers[name].ask("status")["allowed"])


def beaten_under(live: Any, name: str = "hb-1") -> int:
    raw = live.raw.hget("golive:beat", name)
    return 0 if raw is None else peek(raw, Beat).keyset_version


def rotated(roots: Roots, name: str) -> Any:
    """The step to a keyset in which somebody has a new key, which is then in the place of the old."""
    private = keyfile.generate()
    new = keysets.rotated(roots.current, name, encode_public(private.public_key()))
    step = roots.step(new)
    path = roots.fleet.folder / f"{name}.pem"
    path.rename(path.with_suffix(".old"))
    keyfile.write(path, private)
    return step


def test_a_lost_approver_key_is_replaced_and_the_term_can_be_kept(
    live: Any, roots: Roots, wait_for: Wait
) -> None:
    live.go_live("w-1")
    # Somebody who stays signs what is in force, so that it does not end with her key.
    with Operator(roots.host("bob")) as operator:
        grants.loosen(operator, GrantKind.EXTEND, reason="alice lost her key", minutes=800)
    step = rotated(roots, "alice")
    with Operator(live.config) as operator:
        effect = publishing.effect(
            operator, operator.read(), publishing.verified(operator, step, 2)
        )
    assert effect.ends is None
    roots.publish(step)
    wait_for(lambda: beaten_under(live) == 2, what="keyset 2")
    live.wait_all_armed()
    assert live.revoke().outcome.result is Result.COMPLETE, "she stops with her new key"
    live.activate()
    live.wait_all_armed()


def test_a_lost_root_below_the_threshold_is_replaced_by_those_who_are_left(
    live: Any, roots: Roots, wait_for: Wait
) -> None:
    live.add_principal("ines", "root")
    roots.file = roots.write(1)
    roots.current = parse_keyset(roots.file)
    (live.folder / "ines.pem").unlink()
    live.go_live("w-1")
    private = keyfile.generate()
    new = keysets.rotated(roots.current, "ines", encode_public(private.public_key()))
    with pytest.raises(RecordError, match="1 of 2 root signatures: ruth signed"):
        roots.publish(roots.step(new, ("ruth",)))
    roots.publish(roots.step(new))
    keyfile.write(live.folder / "ines.pem", private)
    wait_for(lambda: beaten_under(live) == 2, what="keyset 2")
    live.wait_all_armed()
    # She can sign again, in the place of another.
    later = keysets.removed(roots.current, "omar")
    roots.publish(roots.step(later, ("ruth", "ines")))
    wait_for(lambda: beaten_under(live) == 3, what="keyset 3")


def test_a_stolen_heartbeat_key_arms_nobody_once_the_fleet_has_gone_over(
    live: Any,
    roots: Roots,
    wait_for: Wait,
    forge_beats: Callable[[Fleet, str], AbstractContextManager[None]],
) -> None:
    live.go_live("w-1", "w-2", heartbeats=("hb-1", "hb-2"))
    live.heartbeats["hb-2"].kill()
    with forge_beats(live, "hb-2"):  # the thief's, which keep a fleet alive without any heartbeat
        live.heartbeats["hb-1"].pause()
        time.sleep(2 * live.timers.beat_ms / 1000)  # whatever hb-1 has vouched for is over
        wait_for(lambda: allowed(live, "w-1"), what="the thief's beats arm it")
        live.heartbeats["hb-1"].resume()
        wait_for(lambda: beaten_under(live) == 1, what="its beats")
        roots.publish(rotated(roots, "hb-2"))
        wait_for(lambda: beaten_under(live) == 2, what="keyset 2")
        live.wait_all_armed()
        live.heartbeats["hb-1"].quit()
        for name in ("w-1", "w-2"):
            wait_for(lambda name=name: not allowed(live, name), what=f"{name} lapses")
        time.sleep(2 * live.timers.beat_ms / 1000)
        assert not allowed(live, "w-1") and not allowed(live, "w-2")


def test_a_stolen_approver_key_is_stopped_taken_out_and_starts_nothing(
    live: Any, roots: Roots, wait_for: Wait
) -> None:
    live.go_live("w-1")
    bob = roots.host("bob")
    assert live.revoke(config=bob).outcome.result is Result.COMPLETE
    roots.publish(rotated(roots, "alice"), config=bob)
    heartbeat = live.heartbeats["hb-1"]
    heartbeat.wait_said("keyset 2: signed by its roots")
    # The thief has the old key and a client that follows nobody.
    (live.folder / "alice.old").rename(live.folder / "thief.pem")
    thief = roots.host("thief")
    with Operator(thief, follows=False) as operator:
        activation = Activation(operator, reason="mine")
        with pytest.raises(RefusedError, match="keyset 2 was published meanwhile"):
            activation.commit(activation.prepare())
        with roots.hidden():  # or by its own commands
            activation.commit(activation.prepare())
    wait_for(
        lambda: "a record is refused" in heartbeat.ask("status")["waiting_for"], what="refusal"
    )
    assert not allowed(live, "w-1")
    assert live.revoke(config=bob) is not None
    live.activate(config=bob, over_unconfirmed=True)
    live.wait_all_armed()


def test_a_revoker_that_used_the_highest_epoch_takes_a_new_namespace(
    live: Any, roots: Roots, wait_for: Wait
) -> None:
    live.add_principal("rita", "revoker")
    roots.file = roots.write(1)
    roots.current = parse_keyset(roots.file)
    live.go_live("w-1")
    trust = live.config.trust()
    signer = keyfile.signer(keyfile.read(live.folder / "rita.pem", {}), trust.keyset, "rita")
    record = Revocation(
        **trust.heading("rita", clock.wall_ms()),
        epoch=MAX_INT,
        reason="stolen",
        ticket="",
        blind=False,
    )
    with Operator(live.config) as operator:
        Store(operator.link, operator.keyspace).revoke(trust.revocation(seal(record, signer)))
    wait_for(lambda: not allowed(live, "w-1"), what="the stop")
    with pytest.raises(GoliveError):  # there is no higher number, and latches are on every disk
        live.activate(over_unconfirmed=True)
    step = roots.step(keysets.removed(roots.current, "rita"))
    roots.publish(step)
    for process in live.processes:
        process.quit()
    # The keyset file of each host becomes keyset 2; then the new namespace, and a new state folder.
    keysets.replace(live.folder / "keyset.yaml", keysets.text_of([live.config.keyset()]))
    changes = {"namespace": "golive2", "state_dir": "state-2"}
    live.settings |= changes
    live.path = live.write_config("go_live.yaml")
    live.config = configuration.load(live.path, environ={})
    assert live.config.keyset().version == 2
    live.workers.clear()
    live.heartbeats.clear()
    live.go_live("w-2", heartbeats=("hb-2",))
    assert allowed(live, "w-2")
    with pytest.raises((RefusedError, GoliveError)):
        configuration.load(live.path, environ={}).signer_from(
            live.folder / "rita.pem", live.config.keyset()
        )
