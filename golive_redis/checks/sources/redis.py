"""The `redis` source: one value of one key, of this Redis or another."""

from __future__ import annotations

from golive_redis.checks.question import RedisSource
from golive_redis.checks.source import (
    MAX_BYTES,
    Fetched,
    Surroundings,
    UnansweredError,
)
from golive_redis.errors import StoreError
from golive_redis.masking import without_login
from golive_redis.store.connect import Address
from golive_redis.store.link import RedisLink

_COUNT = {
    "list": "LLEN",
    "set": "SCARD",
    "zset": "ZCARD",
    "hash": "HLEN",
    "stream": "XLEN",
}


def fetch(source: RedisSource, where: Surroundings, deadline_ms: float) -> Fetched:
    """Ask Redis for the value; a key that does not exist has none, and counts 0."""
    address = _address(source, where)
    link = address.link(timeout_ms=deadline_ms, name="golive-check")
    try:
        kind = link.call("TYPE", source.key).decode()
        facts = {"redis": without_login(address.url), "key": source.key, "type": kind}
        return Fetched(_value(link, source, kind), facts)
    except StoreError as error:
        if address is where.address:
            raise  # its hint names the settings of the store
        raise UnansweredError(f"{without_login(address.url)}: {error.message}") from error
    finally:
        link.close()


def _address(source: RedisSource, where: Surroundings) -> Address:
    if source.url_env is not None:
        return Address(where.variable(source.url_env), said_in=f"${source.url_env}")
    return where.address if source.url is None else Address(source.url, said_in="redis.url")


def _value(link: RedisLink, source: RedisSource, kind: str) -> object:
    if source.count:
        return 0 if kind == "none" else link.call(_of(kind, _COUNT), source.key)
    if kind == "none":
        return None
    if source.newest:
        _of(kind, {"stream": "XREVRANGE"})
        entries = link.call("XREVRANGE", source.key, "+", "-", "COUNT", 1)
        # The entry's own id: Unix ms on the server's clock, unless the writer chose another.
        return int(entries[0][0].partition(b"-")[0]) if entries else None
    if source.field is not None:
        _of(kind, {"hash": "HGET"})
        at: tuple[str, ...] = (source.key, source.field)
        length, get = "HSTRLEN", "HGET"
    else:
        _of(kind, {"string": "GET"})
        at, length, get = (source.key,), "STRLEN", "GET"
    if link.call(length, *at) > MAX_BYTES:
        raise UnansweredError(f"the value is over {MAX_BYTES} bytes")
    found = link.call(get, *at)
    try:
        return None if found is None else found.decode()
    except UnicodeDecodeError as error:
        raise UnansweredError("the value is not text") from error


def _of(kind: str, commands: dict[str, str]) -> str:
    if kind not in commands:
        raise UnansweredError(f"the key is a {kind}, not a {' or '.join(commands)}")
    return commands[kind]
