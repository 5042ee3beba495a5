"""A real Sentinel set: a primary, a replica and three Sentinels, which fail over within seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import redis
from redis.sentinel import Sentinel

from golive_redis.testing.server import EmbeddedServer

SERVICE = "fleet"
DOWN_AFTER_MS = 1_000


class SentinelSet:
    """Two servers and who watches them; stands in for a server where a fleet is made.

    Args:
        binary: Of the servers.
        stack: Ends them.
    """

    def __init__(self, binary: str | os.PathLike[str] | None, stack: ExitStack) -> None:
        self._binary, self._stack = binary, stack
        first = self._start({"repl-diskless-sync-delay": "0"})
        second = self._start(
            {"repl-diskless-sync-delay": "0", "replicaof": f"127.0.0.1 {first.port}"}
        )
        self.nodes = [first, second]
        self.wait(lambda: self.follows(first), "the replica follows")
        self.sentinels = [self._watch(first) for _ in range(3)]
        self.wait(self._agreed, "the Sentinels know each other and the replica")

    def _start(self, options: dict[str, str], **more: Any) -> EmbeddedServer:
        return self._stack.enter_context(EmbeddedServer(self._binary, options=options, **more))

    def _watch(self, primary: EmbeddedServer) -> EmbeddedServer:
        options = {
            "sentinel monitor": f"{SERVICE} 127.0.0.1 {primary.port} 2",
            "sentinel down-after-milliseconds": f"{SERVICE} {DOWN_AFTER_MS}",
            "sentinel failover-timeout": f"{SERVICE} 3000",
        }
        return self._start(options, extra=("--sentinel",))

    def _agreed(self) -> bool:
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                state = client.sentinel_masters()[SERVICE]
            if (state["num-other-sentinels"], state["num-slaves"]) != (2, 1):
                return False
        return True

    @staticmethod
    def wait(condition: Callable[[], object], what: str, *, within_s: float = 90) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {within_s} s: {what}")
            time.sleep(0.1)

    # -- as a server -----------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """As the configuration has it."""
        nodes = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{nodes}/{SERVICE}"

    def client(self, **_: Any) -> redis.Redis:
        """Return a client that follows the primary."""
        nodes = [("127.0.0.1", sentinel.port) for sentinel in self.sentinels]
        make: Any = Sentinel  # redis-py leaves it without types
        return make(nodes, socket_timeout=2, protocol=2).master_for(SERVICE)

    # -- who is who ------------------------------------------------------------------------------

    @property
    def primary(self) -> EmbeddedServer:
        """Whom a majority of the Sentinels names."""
        named = []
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                named.append(int(client.sentinel_get_master_addr_by_name(SERVICE)[1]))
        port = max(set(named), key=named.count)
        return next(node for node in self.nodes if node.port == port)

    @property
    def replica(self) -> EmbeddedServer:
        """The other one."""
        primary = self.primary
        return next(node for node in self.nodes if node is not primary)

    def follows(self, primary: EmbeddedServer) -> bool:
        """Tell whether the other server has everything and follows live."""
        other = next(node for node in self.nodes if node is not primary)
        with primary.client() as above, other.client() as below:
            link, saving = below.info("replication"), below.info("persistence")
            slave = above.info("replication").get("slave0", {})
        if saving["aof_rewrite_in_progress"]:
            return False  # until its own first append-only file is whole, a kill loses it all
        return (link.get("master_link_status"), slave.get("state")) == ("up", "online")

    def wait_in_sync(self) -> None:
        """Return when the replica has everything and follows live, and the Sentinels know."""
        self.wait(lambda: self.follows(self.primary), "the replica follows")
        self.wait(self._agreed, "the Sentinels see it")

    # -- what happens to them --------------------------------------------------------------------

    def part(self) -> None:
        """Freeze the replica and cut its link: what the primary takes from now on reaches nobody."""
        primary, replica = self.primary, self.replica
        with primary.client() as client:
            client.ping()  # connected before anybody is frozen: it must not fail in between
            replica.pause()
            client.execute_command("CLIENT", "KILL", "TYPE", "replica")

    def lose_primary(self) -> EmbeddedServer:
        """Kill the primary, wait until its replica has taken over, and return the dead one."""
        dead, heir = self.primary, self.replica
        dead.kill()
        heir.resume()
        self.wait_primary(heir)
        return dead

    def wait_primary(self, heir: EmbeddedServer) -> None:
        """Return when every Sentinel leads to that server, and it takes writes."""
        self.wait(lambda: self._led_to(heir), f"{heir.port} is the primary")

    def _led_to(self, heir: EmbeddedServer) -> bool:
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                if int(client.sentinel_get_master_addr_by_name(SERVICE)[1]) != heir.port:
                    return False
        with heir.client() as client:
            try:
                return bool(client.info("replication")["role"] == "master")
            except redis.ConnectionError:
                return False  # it cuts its clients as it changes

    def fail_over(self) -> None:
        """Change the roles by command, with both servers well."""
        heir = self.replica
        with self.sentinels[0].client() as client:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE)
        self.wait_primary(heir)

    def fail_back(self, to: EmbeddedServer) -> None:
        """Make a server the primary as it is, by hand: the other one forgets what it had."""
        other = next(node for node in self.nodes if node is not to)
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                client.execute_command("SENTINEL", "REMOVE", SERVICE)
        with to.client() as client:
            client.execute_command("REPLICAOF", "NO", "ONE")
        with other.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", to.port)
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                client.execute_command("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", to.port, 2)
                client.execute_command(
                    *("SENTINEL", "SET", SERVICE, "down-after-milliseconds", DOWN_AFTER_MS)
                )


@contextmanager
def sentinel_set(binary: str | os.PathLike[str] | None) -> Iterator[SentinelSet]:
    """Start a set, and end it."""
    with ExitStack() as stack:
        yield SentinelSet(binary, stack)
