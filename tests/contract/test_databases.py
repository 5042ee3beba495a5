"""Databases of one server: what is said in one is not heard in another (A11, row 91)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from golive_redis import clock
from golive_redis.stop.connections import Connections
from golive_redis.store import acl
from golive_redis.store.connect import Address
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import StoreRefusedError
from golive_redis.store.push import Push
from golive_redis.store.store import Store
from golive_redis.testing.server import EmbeddedServer

Deck = Any  # the `deck` fixture's class: test modules cannot import a conftest
ALL_S = 60.0


@pytest.fixture
def listen(own_server: EmbeddedServer) -> Iterator[Callable[[str], Callable[[], list[bytes]]]]:
    """Subscribes as a guard does; returns a function that says which directives came so far."""
    with ExitStack() as stack:

        def start(url: str) -> Callable[[], list[bytes]]:
            address = Address(url)
            push = Push(
                lambda: address.link(timeout_ms=2_000), address.keyspace, clock.now_ms, 1_000
            )
            push.open()
            stack.callback(push.close)
            heard: list[bytes] = []

            def directives() -> list[bytes]:
                """Read up to a mark of our own, which comes after all that was sent before it."""
                with own_server.client() as client:
                    client.publish(address.keyspace.events, b"mark")
                end = time.monotonic() + ALL_S
                while time.monotonic() < end:
                    pushed = push.wait(100)
                    if pushed is None or pushed.directive is None:
                        continue
                    if pushed.directive == b"mark":
                        return heard
                    heard.append(pushed.directive)
                raise TimeoutError("the mark did not come")

            return directives

        yield start


def test_directives_of_one_database_are_not_heard_in_another(
    own_server: EmbeddedServer,
    listen: Callable[[str], Callable[[], list[bytes]]],
    deck_on: Callable[..., Deck],
) -> None:
    """A halt on /1 was taken over by the heartbeat of /0."""
    first, second = listen(own_server.url), listen(f"{own_server.url}/1")
    deck = deck_on(f"{own_server.url}/1")
    deck.activate()
    deck.restrict()
    deck.revoke()
    assert second() == [b"grant 1", b"halt 2", b"revocation 3"]
    assert first() == []


def test_a_stop_listens_for_the_receipts_of_its_database(own_server: EmbeddedServer) -> None:
    url = f"{own_server.url}/1"
    connections = Connections(Address(url), lambda _: None)
    connections.connect()
    channel = connections.channel
    assert channel is not None
    assert channel.receive(2_000)[0] == b"subscribe"
    with own_server.client() as client:
        client.publish("golive:receipts", b"of database 0")
        client.publish("golive:receipts@1", b"of database 1")
    assert channel.receive(2_000) == [b"message", b"golive:receipts@1", b"of database 1"]
    connections.close()


def test_the_users_of_a_database_hear_and_say_only_what_is_theirs(
    own_server: EmbeddedServer,
) -> None:
    """As `golive acl` prints them for another database than 0."""
    with own_server.client() as client:
        for line in acl.text(Keyspace("golive", 1)).splitlines()[1:]:
            _, user, *rules = line.split()
            client.execute_command("ACL", "SETUSER", user, *rules, f">{user}")

    def store(user: str) -> Store:
        address = Address(f"{own_server.url}/1", user, user)
        return Store(address.connect(timeout_ms=2_000), address.keyspace)

    worker, operator = store("golive-worker"), store("golive-operator")
    worker.publish(worker.keys.receipts, b"latched")
    operator.publish(operator.keys.events, b"halt")
    for item, channel in ((worker, "golive:receipts"), (operator, "golive:events")):
        with pytest.raises(StoreRefusedError) as refused:
            item.publish(channel, b"x")
        assert refused.value.code == "NOPERM"
        item.link.close()
