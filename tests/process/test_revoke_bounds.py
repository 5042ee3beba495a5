"""Nothing that others have planted comes before the stop (A8, row 94)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import peek
from golive_redis.store import store
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import StoreRefusedError
from golive_redis.store.store import POD_PAGE, Store
from golive_redis.testing import identity
from golive_redis.testing.server import EmbeddedServer

PHANTOMS = 10_000


@pytest.fixture
def one_server() -> Iterator[EmbeddedServer]:
    """For what no server has a part in."""
    with EmbeddedServer() as server:
        yield server


def test_ten_thousand_pods_that_are_not_there_come_after_the_stop(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """A worker's ACL user plants them in a second; asking them all made the key wait 3.2 s."""
    live = fleet(one_server)
    live.go_live("pod-1")
    grant = live.raw.hget("golive:active", "grant")
    pods = [(f"ghost-{number}", f"{number:032x}") for number in range(PHANTOMS)]
    with live.raw.pipeline(transaction=False) as pipe:
        pipe.zadd("golive:fleet", {f"{name}:{instance}": 1 for name, instance in pods})
        for name, instance in pods:
            pipe.hset(f"golive:worker:{name}:{instance}", "directive", grant)
        pipe.execute()
    seen: list[tuple[int, bool]] = []
    told = Store.told_directives

    def looked(store: Store, *bound: Any) -> list[bytes]:
        seen.append(
            (live.raw.exists("golive:active"), live.raw.hexists("golive:revoked", "record"))
        )
        return told(store, *bound)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "told_directives", looked)
        report = live.revoke(wait_ms=1_000)
    assert seen == [(0, True)], "asked before the stop, or more than once"
    assert report.in_redis_ms is not None
    live.workers["pod-1"].wait_denied()


def test_restrictions_without_a_signature_do_not_keep_a_stop_waiting(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """Whoever owns Redis plants them: a bounded number is looked at, and the stop is a blind one."""
    live = fleet(one_server)
    live.go_live("pod-1")
    fields = {f"r:{number}": json.dumps({"n": number}) for number in range(2 * PHANTOMS)}
    live.raw.hset("golive:active", mapping=fields)
    report = live.revoke(wait_ms=1_000)
    assert report.in_redis_ms is not None and live.raw.exists("golive:active") == 0
    assert peek(live.raw.hget("golive:revoked", "record"), Revocation).blind
    live.workers["pod-1"].wait_denied()


def test_pods_are_asked_by_the_page_and_no_more_once_the_time_is_over() -> None:
    asked: list[Any] = []

    class Slow:
        functions = False

        def call(self, *command: Any) -> Any:
            asked.append(command[0])
            if command[0] == "HGETALL":
                return [b"hb-1", b"0" * 32]
            return [b"pod-%d:" % number + b"0" * 32 for number in range(POD_PAGE)]

        def pipeline(self, commands: Any) -> Any:
            asked.append(len(commands))
            return [b"directive"] * len(commands)

    store = Store(Slow(), Keyspace("golive"))  # type: ignore[arg-type]
    assert store.told_directives(lambda: False) == [] and not asked
    assert store.told_directives(lambda: len(asked) < 4) == [b"directive"] * (1 + POD_PAGE)
    assert asked == ["HGETALL", 1, "EVAL", POD_PAGE]


def test_receipts_without_number_are_not_read_and_those_that_are_published_count(
    fleet: Callable[..., Any], one_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 108: a pod's login may write as many receipts as it likes."""
    live = fleet(one_server)
    live.go_live("pod-1")
    monkeypatch.setattr(store, "MAX_RECEIPTS", 10)
    put = Store.revoke

    def planted(self: Store, stop: Any, **options: Any) -> Any:
        done = put(self, stop, **options)
        key = Keyspace("golive").receipt(identity(live.raw.hget("golive:revoked", "record")))
        live.raw.hset(key, mapping={f"{number:032x}:latched": b"x" for number in range(11)})
        return done

    monkeypatch.setattr(Store, "revoke", planted)
    report = live.revoke(config=live.patient)
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")
    assert any("receipts are stored for the stop" in text for text in report.problems)


def test_where_stored_receipts_may_not_be_read_those_that_are_published_count(
    fleet: Callable[..., Any], one_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 108: an older ACL line has no right to their number; the look goes on without them."""
    live = fleet(one_server)
    live.go_live("pod-1")

    def refused(*_: Any) -> Any:
        raise StoreRefusedError("NOPERM", "no permission for hlen")

    monkeypatch.setattr(Store, "receipts", refused)
    report = live.revoke(config=live.patient)
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")
    assert any("no permission for hlen" in text for text in report.problems)
