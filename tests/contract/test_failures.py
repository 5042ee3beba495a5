"""What still works when Redis refuses writes: out of memory, no disk, no replicas, not a primary.

Real servers only: these states are the server's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from golive_redis.store.link import StoreRefusedError
from golive_redis.store.replies import Audit, Caller, Status, Step, parse_server
from golive_redis.testing.server import EmbeddedServer

Deck = Any  # the `deck` fixture's class: test modules cannot import a conftest
HEARTBEAT = Caller("heartbeat", "hb-1", "1" * 32)


# -- out of memory ---------------------------------------------------------------------------------


def test_out_of_memory_every_stop_and_every_sign_of_life_works(
    own_server: EmbeddedServer, deck_on: Callable[..., Deck], heard: Callable[..., Any]
) -> None:
    """Row 13: revoke, restrict, attend and beat work, first registrations included."""
    deck = deck_on(own_server)
    deck.activate()
    event = heard(own_server, "golive:events")
    receipt = heard(own_server, "golive:receipts")
    with own_server.client() as client:
        client.pexpire("golive:active", 1_000)
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreRefusedError) as full:
            deck.store.link.call("SET", "filler", "x")
        assert full.value.code == "OOM"

    assert deck.attend()[0] is Status.OK
    assert deck.attend(HEARTBEAT)[0] is Status.OK
    status, answer, _ = deck.attend(new=False)
    assert (status, answer.grant) == (Status.OK, b"grant 1")
    assert deck.beat() == Step(Status.OK, "24000")
    assert deck.store.snapshot().beats == {"hb-1": b"beat 1"}
    assert deck.restrict() == Step(Status.OK, "AUDITED")
    assert event() == b"halt 2"
    assert deck.store.publish("golive:receipts", b"applied") == 1
    assert receipt() == b"applied"
    stop = deck.revoke()
    assert (stop.status, stop.grant, stop.audit) == (Status.OK, b"grant 1", Audit.AUDITED)
    assert event() == b"revocation 3"
    assert deck.store.snapshot().revoked == b"revocation 3"
    assert [envelope for envelope, _ in deck.entries()][-1] == b"revocation 3"


def test_out_of_memory_nothing_is_loosened(
    own_server: EmbeddedServer, deck_on: Callable[..., Deck]
) -> None:
    """Rows 13 and 19: permission that cannot be kept is not given."""
    deck = deck_on(own_server)
    deck.activate()
    deck.restrict()
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
    before = deck.everything()
    with pytest.raises(StoreRefusedError) as refused:
        deck.change()
    assert refused.value.code == "OOM"
    assert "maxmemory" in refused.value.hint
    assert deck.everything() == before
    deck.revoke()
    with pytest.raises(StoreRefusedError) as refused:
        deck.activate()
    assert refused.value.code == "OOM"
    assert deck.store.snapshot().grant is None


# -- writes are refused ----------------------------------------------------------------------------


@contextmanager
def _misconf(server: EmbeddedServer, wait_for: Callable[..., None]) -> Iterator[None]:
    with server.client() as client:
        (server.dir / "dump.rdb").mkdir()  # which no snapshot can replace
        client.config_set("save", "3600 1")
        client.bgsave()
        wait_for(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        yield
        client.config_set("save", "")  # else the server refuses to stop


@contextmanager
def _noreplicas(server: EmbeddedServer, wait_for: Callable[..., None]) -> Iterator[None]:
    with server.client() as client:
        client.config_set("min-replicas-to-write", 1)
        yield


@contextmanager
def _readonly(server: EmbeddedServer, wait_for: Callable[..., None]) -> Iterator[None]:
    with server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        yield


STEPS: dict[str, Callable[[Deck], object]] = {
    "attend": lambda deck: deck.attend(new=False),
    "register": lambda deck: deck.attend(Caller("worker", "pod-8", "8" * 32)),
    "beat": lambda deck: deck.beat(9),
    "restrict": lambda deck: deck.restrict(),
    "revoke": lambda deck: deck.revoke(),
    "change": lambda deck: deck.change(),
    "append": lambda deck: deck.store.append(b"n", head=deck.head, head_after="a" * 64),
    "delete": lambda deck: deck.store.delete_active(),
    "leave": lambda deck: deck.store.leave(HEARTBEAT),
    "goodbye": lambda deck: deck.store.keep_goodbye(Caller("worker", "pod-7", "0" * 32), b"r"),
    "strike": lambda deck: deck.store.strike(["pod-7:" + "0" * 32]),
}


STATES = {"MISCONF": _misconf, "NOREPLICAS": _noreplicas, "READONLY": _readonly}


@pytest.mark.parametrize("code", STATES)
def test_where_writes_are_refused_each_step_says_why_and_a_stop_is_still_published(
    own_server: EmbeddedServer,
    deck_on: Callable[..., Deck],
    heard: Callable[..., Any],
    wait_for: Callable[..., None],
    code: str,
) -> None:
    """Row 14; for READONLY also row 57: attend is a write and no replica answers it."""
    deck = deck_on(own_server)
    deck.activate()
    deck.attend()
    deck.attend(HEARTBEAT)
    events, receipts = heard(own_server, "golive:events"), heard(own_server, "golive:receipts")
    with STATES[code](own_server, wait_for):
        before = deck.everything()
        for name, step in STEPS.items():
            with pytest.raises(StoreRefusedError) as refused:
                step(deck)
            assert (name, refused.value.code) == (name, code)
            assert refused.value.hint
        assert deck.everything() == before
        assert deck.store.publish("golive:events", b"signed revocation") == 1
        assert events() == b"signed revocation"
        kept, refused = deck.store.deliver("d", "a:latched", b"latched")
        assert not kept and "not stored: Redis refused" in refused
        assert receipts() == b"latched"
        assert deck.everything() == before
        # What people read with must go on working.
        assert deck.store.snapshot().grant == b"grant 1"
        assert [pod.name for pod in deck.store.heartbeats()] == ["hb-1"]
        assert len(deck.store.server().run_id) == 40


def test_no_guard_can_attend_on_a_replica_that_still_shows_the_grant(
    primary_and_replica: tuple[EmbeddedServer, EmbeddedServer], deck_on: Callable[..., Deck]
) -> None:
    """Row 57: the replica lags, its primary has stopped the fleet."""
    primary, replica = primary_and_replica
    above, below = deck_on(primary), deck_on(replica)
    above.activate()
    above.attend()
    assert above.store.link.call("WAIT", 1, 5_000) == 1  # asked by the writer
    with replica.client() as cut_off:
        cut_off.execute_command("REPLICAOF", "127.0.0.1", "1")  # whose primary nobody can reach
    above.revoke()
    assert below.store.snapshot().grant == b"grant 1"
    for new in (True, False):
        with pytest.raises(StoreRefusedError) as refused:
            below.attend(new=new)
        assert refused.value.code == "READONLY"


def test_a_run_id_names_the_process_that_answers(own_server: EmbeddedServer, deck_on: Any) -> None:
    """Row 20: a failover shows in it."""
    before = deck_on(own_server).store.server().run_id
    own_server.restart()
    after = deck_on(own_server).store.server().run_id
    assert len(before) == len(after) == 40
    assert before != after


def test_a_server_that_followed_another_has_another_history(make_server: Any, deck_on: Any) -> None:
    """Row 62: the same process, whose data may be another's now."""
    first, second = make_server(), make_server()
    store = deck_on(first).store
    before = store.server()
    with first.client() as client:
        client.replicaof("127.0.0.1", second.port)
        client.replicaof("no", "one")
    after = deck_on(first).store.server()
    assert before.run_id == after.run_id
    assert before.history != after.history


@pytest.mark.parametrize("said", [b"", b"run_id:1\r\n", b"master_replid:2\r\n"])
def test_a_server_that_hides_its_run_id_or_its_replication_id_has_no_history(said: bytes) -> None:
    """Unknown is not the same as before: a proxy may leave either out."""
    assert parse_server(said).history == ""
    assert parse_server(b"run_id:1\r\nmaster_replid:2\r\n").history == "1 2"
