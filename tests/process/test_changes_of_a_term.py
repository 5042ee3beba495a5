"""A change of a running term by somebody whose client follows no rule, against real processes."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Any

import msgspec

from golive_redis import clock
from golive_redis import config as configuration
from golive_redis.config import keyfile
from golive_redis.operator.session import Operator
from golive_redis.records.directive import GrantKind
from golive_redis.records.envelope import KeySigner, Verified, identity_of, seal
from golive_redis.testing.server import EmbeddedServer
from kit.fleet import Fleet

DAY_MS = 86_400_000
PATIENCE_S = 20.0


def change(live: Fleet, by: str, **fields: Any) -> str:
    """Put a change of the running term in force, as signed, without asking anything; its status."""
    with Operator(live.config) as operator:
        state = operator.read().state
        assert state is not None
        what = {
            "by": by,
            "kind": GrantKind.RESUME,
            "epoch": state.epoch + 1,
            "prev": state.newest.identity,
            "drops": [item.identity for item in state.restrictions],
            "report": None,
        }
        record = msgspec.structs.replace(state.grant.record, **what | fields)
        signer = KeySigner(by, keyfile.read(live.folder / f"{by}.pem", {}))
        item = Verified(record, identity_of(record), seal(record, signer), frozenset({by}))
        step = operator.store.grant(item, ttl_ms=live.timers.ttl_ms, head=operator.store.head())
        return str(step.status)


def refused(live: Fleet) -> None:
    """Wait until the worker has refused the change; it permits no opening order on the way."""
    worker, until = live.workers["w-1"], time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        seen = worker.check()
        assert not (seen["permit"] and seen["mode"] == "live"), seen
        if seen.get("reason") == "record-refused":
            return
    raise AssertionError(f"not refused: {worker.check()}")


def test_a_key_that_expired_yesterday_lifts_no_halt(
    fleet: Callable[..., Fleet], own_server: EmbeddedServer
) -> None:
    """Row 121."""
    live = fleet(
        own_server,
        keys={
            "keyset": "keyset.yaml",
            "operator": "bob.pem",
            "heartbeat": "{name}.pem",
            "worker": "workers.pem",
        },
    )
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    live.principals["alice"]["expires"] = yesterday.date().isoformat()
    live.write_keyset()
    live.config = configuration.load(live.path, environ={})
    live.go_live("w-1", heartbeats=("hb-1",))
    live.halt("no more")
    live.workers["w-1"].wait_denied()
    old = clock.wall_ms() // DAY_MS * DAY_MS - 3_600_000
    assert change(live, "alice", issued_at_ms=old, activated_at_ms=old) == "OK"
    refused(live)
