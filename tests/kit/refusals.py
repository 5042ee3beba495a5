"""Three states in which a server answers, and refuses every write."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from golive_redis.testing.server import EmbeddedServer


@contextmanager
def misconf(server: EmbeddedServer) -> Iterator[None]:
    """Snapshots fail, for root too: a folder stands where the file should go."""
    blocker = server.dir / "dump.rdb"
    blocker.mkdir()
    with server.client() as client:
        client.config_set("save", "3600 1")
        client.bgsave()
        deadline = time.monotonic() + 60
        while client.info("persistence")["rdb_last_bgsave_status"] != "err":
            assert time.monotonic() < deadline, "the snapshot does not fail"
            time.sleep(0.01)
        try:
            yield
        finally:
            client.config_set("save", "")
            blocker.rmdir()


@contextmanager
def noreplicas(server: EmbeddedServer) -> Iterator[None]:
    with server.client() as client:
        client.config_set("min-replicas-to-write", 1)
        try:
            yield
        finally:
            client.config_set("min-replicas-to-write", 0)


@contextmanager
def readonly(server: EmbeddedServer) -> Iterator[None]:
    with server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")  # nobody listens there
        try:
            yield
        finally:
            client.execute_command("REPLICAOF", "NO", "ONE")
