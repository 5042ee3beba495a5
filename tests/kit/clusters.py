"""A real Redis Cluster: three primaries, and a replica of the one that owns the switch's slot."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot

from golive_redis.testing.server import EmbeddedServer, free_port

SLOTS = 16_384
NAMESPACE = "{golive}"
SLOT = key_slot(NAMESPACE.encode())


class Cluster:
    """Four servers as one; stands in for a server where a fleet is made.

    Args:
        binary: Of the servers.
        stack: Ends them.
    """

    def __init__(self, binary: str | os.PathLike[str] | None, stack: ExitStack) -> None:
        self._bus: dict[int, int] = {}
        self.nodes = [stack.enter_context(self._node(binary)) for _ in range(4)]
        third = -(-SLOTS // 3)
        ranges = [(first, min(first + third, SLOTS) - 1) for first in range(0, SLOTS, third)]
        self.slots = {}
        for epoch, (node, (first, last)) in enumerate(zip(self.nodes, ranges, strict=False), 1):
            self.slots[node.port] = (first, last)
            self.ask(node, "CLUSTER ADDSLOTSRANGE", first, last)
            self.ask(node, "CLUSTER SET-CONFIG-EPOCH", epoch)
        for node in self.nodes[1:]:
            here = self.nodes[0].port
            self.ask(node, "CLUSTER MEET", "127.0.0.1", here, self._bus[here])
        self.owner = self.nodes[SLOT // third]
        self.replica = self.nodes[3]
        self.others = [node for node in self.nodes[:3] if node is not self.owner]
        ident = self.ask(self.owner, "CLUSTER MYID")
        self._wait(lambda: ident in self.ask(self.replica, "CLUSTER NODES"), "they have met")
        self.ask(self.replica, "CLUSTER REPLICATE", ident)
        self._wait(self._ready, "the cluster is up")

    def _node(self, binary: str | os.PathLike[str] | None) -> EmbeddedServer:
        port, bus = free_port(), free_port()
        self._bus[port] = bus
        options = {
            "cluster-enabled": "yes",
            "cluster-port": str(bus),
            "cluster-node-timeout": "1000",
            "cluster-require-full-coverage": "no",
            "repl-diskless-sync-delay": "0",
        }
        return EmbeddedServer(binary, port=port, options=options)

    @staticmethod
    def ask(node: EmbeddedServer, command: str, *args: Any) -> Any:
        with node.client() as client:
            return client.execute_command(*command.split(), *args)

    def _ready(self) -> bool:
        for node in self.nodes:
            info = self.ask(node, "CLUSTER INFO")
            if b"cluster_state:ok" not in info or b"cluster_known_nodes:4" not in info:
                return False
        with self.replica.client() as client:
            return bool(client.info("replication").get("master_link_status") == "up")

    @staticmethod
    def _wait(condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + 90
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"not within 90 s: {what}")
            time.sleep(0.05)

    @property
    def url(self) -> str:
        """As the configuration has it; the owner of our slot is not the first to be named."""
        nodes = [*self.others, self.owner, self.replica]
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)

    def client(self, **_: Any) -> redis.Redis:
        """Return a client that follows the slots."""
        nodes = [ClusterNode("127.0.0.1", node.port) for node in self.nodes]
        follows: Any = RedisCluster(startup_nodes=nodes, protocol=2, socket_timeout=2)
        return follows

    def wait_promoted(self) -> None:
        """Return when the replica owns the slot, in the eyes of all who are up."""
        for node in [*self.others, self.replica]:
            self._wait(lambda n=node: self._primary_port(n) == self.replica.port, "the promotion")

    def disown(self) -> None:
        """Take the switch's slot from its owner; again when a node has learnt of it meanwhile.

        A heartbeat between nodes says the slots of its sender, or of its sender's primary: one that
        was under way gives the slot back.
        """
        for node in self.nodes:
            if self._primary_port(node):
                self.ask(node, "CLUSTER DELSLOTSRANGE", *self.slots[self.owner.port])

    def _primary_port(self, node: EmbeddedServer) -> int:
        ranges = self.ask(node, "CLUSTER SLOTS")
        return next((int(to[1]) for first, last, to, *_ in ranges if first <= SLOT <= last), 0)


@contextmanager
def cluster_of(binary: str | os.PathLike[str] | None) -> Iterator[Cluster]:
    """Start a cluster, and end it."""
    with ExitStack() as stack:
        yield Cluster(binary, stack)
