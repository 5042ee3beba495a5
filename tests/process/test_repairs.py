"""A command killed between its effect and its entry: real processes, and the heartbeats enter it."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from golive_redis import clock
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import decode, seal
from golive_redis.testing.server import EmbeddedServer
from kit import zygote
from kit.program import PROGRAM

ROUNDS = 4
HALTS = 12


def killed(live: Any, point: str, label: str = "") -> None:
    """Run a command that is killed at that point."""
    done = zygote.run(
        "kit.programs.killed:main", str(live.path), point, label, env=dict(os.environ),
        text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


@contextmanager
def unwritable(live: Any) -> Iterator[None]:
    """The ledger's head is of another type for a moment: a script takes effect and enters nothing."""
    if live.raw.exists("golive:head"):
        live.raw.rename("golive:head", "golive:kept")
    live.raw.rpush("golive:head", "x")
    yield
    live.raw.delete("golive:head")
    live.raw.rename("golive:kept", "golive:head")


def entered(live: Any, kind: str) -> Counter[str]:
    """How often each directive of a kind is in the ledger."""
    return Counter(live.records(kind))


def noted(live: Any, topic: str) -> Counter[str]:
    """How often there is a note on each directive."""
    notes = [note for note in live.notes() if note.topic == topic]
    return Counter(note.facts["directive"] for note in notes)


def verify(live: Any) -> None:
    done = zygote.run(
        PROGRAM, "audit", "verify", "--json", "--config", str(live.path), "--jobs", "1",
        env=dict(os.environ), text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["result"] in {"CONSISTENT", "VERIFIED"}


def in_force(live: Any) -> str:
    """Identity of the tombstone."""
    raw = live.raw.hget("golive:revoked", "record")
    return decode(raw).identity if raw else ""


@pytest.mark.session
@pytest.mark.parametrize("point", ["published", "executed"])
def test_a_stop_whose_command_is_killed_before_its_entry_is_entered_once(
    point: str,
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
) -> None:
    """M2, row 120: it was in force, and in neither ledger nor spool, for ever."""
    live = fleet(own_server)
    live.go_live(heartbeats=("hb-1", "hb-2"))
    stops: set[str] = set()
    for number in range(ROUNDS):
        if number:
            live.activate()
        if point == "executed":
            with unwritable(live):
                killed(live, point)
        else:
            killed(live, point)
        wait_for(lambda: in_force(live) not in {"", *stops}, what="the stop to be in force")
        stops.add(in_force(live))
        assert live.spooled() == []
        if number == 1:  # whoever writes is killed, and the other one takes over
            live.heartbeats["hb-1"].kill()
        wait_for(lambda: stops <= set(entered(live, "revocation")), what="its entry")
        if number == 1:
            live.start_heartbeat("hb-1")
        live.revoke()  # the same stop: it finds its entry
    wait_for(lambda: set(noted(live, "receipts")) == stops, what="the notes on their receipts")
    assert entered(live, "revocation") == Counter(stops)
    assert noted(live, "repaired") == noted(live, "receipts") == Counter(stops)
    verify(live)


def test_halts_whose_commands_are_killed_before_their_entries_are_entered_once(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """M2, row 120: twelve of them, while both heartbeats are killed and started again."""
    live = fleet(own_server)
    live.go_live(heartbeats=("hb-1", "hb-2"))
    for number in range(HALTS):
        with unwritable(live):
            killed(live, "restricted", f"SYM{number}")
        if number % 4 == 3:
            name = f"hb-{1 + number // 4 % 2}"
            live.heartbeats[name].kill()
            live.start_heartbeat(name)

    def all_there() -> bool:
        return len(entered(live, "restriction")) == HALTS

    wait_for(all_there, what="the entries")
    live.halt("by a command that lives")
    once = entered(live, "restriction")
    assert len(once) == HALTS + 1
    assert set(once.values()) == {1}
    assert len(noted(live, "repaired")) == HALTS
    assert set(noted(live, "repaired").values()) == {1}
    verify(live)


def test_a_stop_that_is_played_with_publish_and_del_is_entered(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 120: by whoever has nothing but `redis-cli`, a signed stop, and no right to a script."""
    live = fleet(own_server)
    live.go_live("pod-1", heartbeats=("hb-1", "hb-2"))
    trust = live.config.trust()
    signer = live.config.stop_signer(trust.keyset)
    stop = Revocation(
        **trust.heading(signer.principal, clock.wall_ms()),
        epoch=9, reason="card", ticket="", blind=False,
    )  # fmt: skip
    raw = seal(stop, signer)
    live.raw.publish("golive:events", raw)
    live.raw.delete("golive:active")
    identity = decode(raw).identity
    wait_for(lambda: identity in entered(live, "revocation"), what="its entry")
    assert entered(live, "revocation")[identity] == noted(live, "repaired")[identity] == 1
    verify(live)
