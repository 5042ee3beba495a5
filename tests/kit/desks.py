"""Heartbeats that enter and note when a test says so, on one server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from golive_redis import clock
from golive_redis.core.incidents import Incident
from golive_redis.heartbeat import recorder
from golive_redis.heartbeat.recorder import Recorder
from golive_redis.records.envelope import decode, peek
from golive_redis.records.ledger import Note
from golive_redis.store.connect import Address
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.replies import Caller
from golive_redis.store.store import Store
from golive_redis.testing import Signers, identity
from golive_redis.testing.server import EmbeddedServer

SIGNERS = Signers()
KEYS = Keyspace("golive")
POD = "a" * 32


class Desk:
    """Heartbeats that look when the test says so, on one server."""

    def __init__(self, server: EmbeddedServer, steady: Any) -> None:
        self.steady = steady
        self.link = Address(server.url).link(timeout_ms=5_000)
        self.store = Store(self.link, KEYS)
        self.raw = server.client()
        self.said: list[str] = []
        self.running: dict[str, Recorder] = {}

    def start(self, *names: str) -> None:
        """Start heartbeats, or start them again: they remember nothing."""
        for name in names:
            self.running[name] = Recorder(
                name, lambda: self.link, KEYS, SIGNERS.trust, SIGNERS.signers[name], self.said.append
            )  # fmt: skip
            self.states("heartbeat", name, "0" * 32, "")

    def states(self, role: str, name: str, instance: str, incidents: str) -> None:
        """Write a presence, as its owner does."""
        caller = Caller(role, name, instance)
        key = getattr(KEYS, role)(name, instance)
        self.raw.hset(key, mapping={"state": "beating", "incidents": incidents})
        self.raw.pexpire(key, 10_000)
        if role == "worker":
            self.raw.zadd(KEYS.fleet, {caller.member: 1})
        else:
            self.raw.hset(KEYS.heartbeats, caller.member, instance)

    def gone(self, name: str) -> None:
        """A heartbeat dies: its presence runs out."""
        del self.running[name]
        self.raw.delete(KEYS.heartbeat(name, "0" * 32))

    def after(self, ms: float, looks: int = 1) -> None:
        """Let so much time pass, and have everybody look, so often within it."""
        for _ in range(looks):
            self.steady.ms += ms / looks
            for item in self.running.values():
                item.look(self.store)

    @property
    def notes(self) -> list[Note]:
        envelopes = [fields[b"r"] for _, fields in self.raw.xrange(KEYS.audit)]
        return [peek(raw, Note) for raw in envelopes if b"golive.note." in raw]

    def topics(self) -> Counter[str]:
        return Counter(note.topic for note in self.notes)

    def times(self, record: bytes) -> int:
        """How often a record is in the ledger."""
        found = [fields[b"r"] for _, fields in self.raw.xrange(KEYS.audit)]
        return [decode(raw).identity for raw in found].count(identity(record))


@pytest.fixture
def desk(any_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Nobody has looked yet."""
    steady = SimpleNamespace(ms=1_000.0)
    fake = SimpleNamespace(now_ms=lambda: steady.ms, wall_ms=clock.wall_ms, Throttle=clock.Throttle)
    monkeypatch.setattr(recorder, "clock", fake)
    made = Desk(any_server, steady)
    yield made
    made.link.close()
    made.raw.close()


def ago(ms: int) -> int:
    return clock.wall_ms() - ms


def bare_stop(desk: Desk, epoch: int = 7, issued_ms: int | None = None) -> bytes:
    """A stop in force that nobody has entered: as a heartbeat puts it back after PUBLISH and DEL."""
    at_ms = ago(5_000) if issued_ms is None else issued_ms
    raw = SIGNERS.revocation(epoch, issued_at_ms=at_ms)
    desk.store.revoke(SIGNERS.trust.revocation(raw), again=True)
    return raw


def stated(*incidents: dict[str, Any]) -> str:
    base = {"n": 1, "what": "lapse", "at_ms": ago(500), "why": "lapsed", "term": 5}
    found = [msgspec.convert(base | item, Incident) for item in incidents]
    return msgspec.json.encode(found).decode()
