"""The `redis` source against real servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from golive_redis.checks.source import UnansweredError
from golive_redis.records.report import Outcome
from golive_redis.store.connect import Address
from golive_redis.testing.server import EmbeddedServer

PATIENCE_S = 60  # what would hang does so for minutes

Asking = Any


@pytest.fixture
def client(asking: Asking, shared_server: EmbeddedServer) -> Any:
    asking.address = Address(shared_server.url)
    with shared_server.client() as found:
        yield found


def test_a_key_and_a_field(asking: Asking, client: Any) -> None:
    client.set("risk", "OK")
    client.hset("ess", "state", "inactive")
    assert asking.value(redis={"key": "risk"}, equals="OK") == "OK"
    assert asking.value(redis={"key": "ess", "field": "state"}, equals="OK") == "inactive"
    assert asking.finding({"redis": {"key": "risk"}, "equals": "OK"}).outcome is Outcome.PASS


def test_what_is_missing_has_no_value(asking: Asking, client: Any) -> None:
    client.hset("ess", "other", "1")
    client.xadd("stream", {"a": "1"})
    client.xtrim("stream", maxlen=0)
    for source in (
        {"key": "none"},
        {"key": "none", "field": "state"},
        {"key": "none", "newest": True},
        {"key": "ess", "field": "state"},
        {"key": "stream", "newest": True},
    ):
        found = asking.finding({"redis": source, "equals": "OK"})
        assert (found.outcome, found.explain) == (Outcome.UNKNOWN, "there is no value")


def test_entries_are_counted_whatever_holds_them(asking: Asking, client: Any) -> None:
    client.rpush("list", *range(3))
    client.sadd("set", *range(4))
    client.zadd("zset", {str(n): n for n in range(5)})
    client.hset("hash", mapping={"a": 1})
    for _ in range(2):
        client.xadd("stream", {"a": "1"})
    counts = {"list": 3, "set": 4, "zset": 5, "hash": 1, "stream": 2, "none": 0}
    for key, count in counts.items():
        assert asking.value(redis={"key": key, "count": True}, at_least=1) == count


def test_the_age_of_the_newest_entry_of_a_stream(asking: Asking, client: Any) -> None:
    question = {"redis": {"key": "ticks", "newest": True}, "newer_than": "30s"}
    client.xadd("ticks", {"price": "1"})
    assert asking.finding(question).outcome is Outcome.PASS
    client.delete("ticks")
    client.xadd("ticks", {"price": "1"}, id=f"{int(time.time() * 1000) - 60_000}-1")
    found = asking.finding(question)
    assert found.outcome is Outcome.FAIL
    assert found.explain.startswith("60.")
    client.xadd("ticks", {"price": "1"}, id=f"{int(time.time() * 1000) + 600_000}-1")
    found = asking.finding(question)
    assert found.outcome is Outcome.UNKNOWN
    assert "one of the clocks is wrong" in found.explain


def test_a_time_in_seconds_in_a_key(asking: Asking, client: Any) -> None:
    for text in (f"{time.time():.3f}", str(int(time.time()))):
        client.set("seen", text)
        assert asking.finding({"redis": {"key": "seen"}, "newer_than": "5s"}).outcome == "pass"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"key": "hash"}, "is a hash, not a string"),
        ({"key": "string", "field": "a"}, "is a string, not a hash"),
        ({"key": "string", "count": True}, "is a string, not a list or"),
        ({"key": "string", "newest": True}, "is a string, not a stream"),
        ({"key": "binary"}, "not text"),
        ({"key": "huge"}, "over 1048576 bytes"),
    ],
)
def test_a_value_of_another_kind_is_unknown(
    asking: Asking, client: Any, source: dict[str, Any], says: str
) -> None:
    client.set("string", "x")
    client.hset("hash", "a", "1")
    client.set("binary", b"\xff\xfe")
    client.set("huge", "x" * 1_048_577)
    with pytest.raises(UnansweredError, match=says):
        asking.value(redis=source, equals="x")


def test_another_server_by_url_and_by_variable(
    asking: Asking, client: Any, make_server: Callable[..., EmbeddedServer]
) -> None:
    other = make_server()
    with other.client() as there:
        there.set("risk", "HALTED")
        there.config_set("requirepass", "s3cret-word")
    client.set("risk", "OK")
    url = other.url.replace("//", "//:s3cret-word@")
    asking.environ["OTHER_REDIS"] = url
    for where in ({"url": url}, {"url_env": "OTHER_REDIS"}):
        found = asking.finding({"redis": {"key": "risk", **where}, "equals": "OK"})
        assert (found.outcome, found.value) == (Outcome.FAIL, "HALTED")
        assert "s3cret" not in repr(found)
    wrong = url.replace("s3cret-word", "wr0ng-word")
    found = asking.finding({"redis": {"key": "risk", "url": wrong}, "equals": "OK"})
    assert found.outcome is Outcome.UNKNOWN
    assert found.explain.startswith(f"redis://127.0.0.1:{other.port}")
    assert "Redis refused the login" in found.explain
    assert "store." not in found.explain
    assert "wr0ng" not in repr(found)


def test_a_server_that_does_not_answer_is_unknown_in_time(
    asking: Asking, own_server: EmbeddedServer
) -> None:
    asking.address = Address(own_server.url)
    question = {"redis": {"key": "risk"}, "equals": "OK", "deadline": "300ms"}
    own_server.pause()
    try:
        began = time.monotonic()
        found = asking.finding(question)
        assert found.outcome is Outcome.UNKNOWN
        assert time.monotonic() - began < PATIENCE_S
    finally:
        own_server.resume()
    own_server.kill()
    found = asking.finding({**question, "deadline": "30s"})
    assert found.outcome is Outcome.UNKNOWN
    assert "cannot reach Redis" in found.explain
