"""The contract runs on fakeredis, on Valkey from the wheel and on the machine's Redis.

On the real servers it runs in both ways in which scripts are run: by EVAL, and as functions.

fakeredis proves that the contract is not one server's accident and that a user's tests may stand on
it. It knows no push, no ACL and no failure: those tests run on the real servers only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fakeredis import FakeRedisConnection, FakeServer

from golive_redis.core.answer import Answer, Ask
from golive_redis.records.envelope import Verified
from golive_redis.records.ledger import GENESIS, extend
from golive_redis.store import acl, scripts
from golive_redis.store.connect import Address
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import RedisLink
from golive_redis.store.replies import Caller, Status, Step, Stop
from golive_redis.store.store import Store
from golive_redis.testing.server import EmbeddedServer
from kit import directives
from kit.servers import redis_binary, server_kinds

WORKER = Caller("worker", "pod-7", "0" * 32)
TTL_MS = 24_000
BIT = """local bit = {}
local WORD = 4294967296
local function both(one, other, sums)
  local out, place = 0, 1
  one, other = one % WORD, other % WORD
  while one > 0 or other > 0 do
    if sums[one % 2 + other % 2] then out = out + place end
    one, other, place = math.floor(one / 2), math.floor(other / 2), place * 2
  end
  return out
end
function bit.tobit(one) return one % WORD end
function bit.bnot(one) return WORD - 1 - one % WORD end
function bit.band(one, other) return both(one, other, {[2] = true}) end
function bit.bxor(one, other) return both(one, other, {[1] = true}) end
function bit.rshift(one, by) return math.floor(one % WORD / 2 ^ by) end
function bit.ror(one, by)
  one = one % WORD
  return math.floor(one / 2 ^ by) + one % 2 ^ by * 2 ^ (32 - by)
end
function bit.tohex(one) return string.format('%08x', one % WORD) end
"""
"""What the scripts use of Redis' `bit` library, by arithmetic; fakeredis has none."""

NAMES = ("append", "attend", "beat", "checkpoint", "fleet", "grant", "keyset", "restrict", "revoke")


BACKENDS = ["fake", *server_kinds(), *(f"{kind}-functions" for kind in server_kinds())]


@pytest.fixture(scope="session", params=BACKENDS)
def _backend(request: pytest.FixtureRequest) -> Iterator[tuple[EmbeddedServer | None, bool]]:
    kind, _, way = request.param.partition("-")
    if kind == "fake":
        yield None, False
        return
    binary, about = redis_binary()
    if kind == "redis" and binary is None:
        pytest.fail(f"GOLIVE_REQUIRE_REDIS=1, but {about}")
    with EmbeddedServer(binary if kind == "redis" else None) as server:
        yield server, bool(way)


@pytest.fixture
def backend(_backend: tuple[EmbeddedServer | None, bool]) -> EmbeddedServer | None:
    """A server for all tests of a `store`; None stands for fakeredis."""
    return _backend[0]


@pytest.fixture
def functions(_backend: tuple[EmbeddedServer | None, bool]) -> bool:
    """The scripts are run as functions of a library."""
    return _backend[1]


class FakeLink(RedisLink):
    """The product's own link, over a fakeredis connection: no `#!lua` line, and no `bit` library."""

    def __init__(self, server: FakeServer) -> None:
        super().__init__(FakeRedisConnection(server=server, protocol=2))
        texts = {name: scripts.text(name) for name in NAMES}
        bare = {text: BIT + text.partition("\n")[2] for text in texts.values()}
        self._instead: dict[Any, str] = dict(bare)
        for text, without in bare.items():
            self._instead[_sha(text)] = _sha(without)

    def send(self, *args: str | bytes | int) -> None:
        if args[0] in {"EVAL", "EVALSHA"}:
            args = (args[0], self._instead.get(args[1], args[1]), *args[2:])
        super().send(*args)


def _sha(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@pytest.fixture
def open_store(backend: EmbeddedServer | None, functions: bool) -> Iterator[Callable[[], Store]]:
    """Opens stores on one empty backend, each on a connection of its own."""
    fake = FakeServer()
    if backend is not None:
        with backend.client() as client:
            client.flushall()
            client.script_flush()
            client.execute_command("FUNCTION", "FLUSH")
            if functions:
                client.execute_command("FUNCTION", "LOAD", scripts.code())
    with ExitStack() as stack:

        def make() -> Store:
            if backend is None:
                opened: RedisLink = FakeLink(fake)
            else:
                opened = Address(backend.url, functions=functions).link(timeout_ms=2_000)
            stack.callback(opened.close)
            return Store(opened, Keyspace("golive"))

        yield make


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    """A store over the backend under test, which is empty."""
    return open_store()


_HOW = (
    "ttl_ms",
    "origin",
    "head",
    "keeps",
    "execution",
    "entry",
    "again",
)  # of the step, not of its directive


class Deck:
    """Takes steps with records of its own making, so that a test states only what it is about.

    It keeps the numbers a client keeps: the newest epoch, the identity before, the ledger head.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.term = self.epoch = 0
        self.last = ""
        self.head = GENESIS

    def over(self, store: Store) -> Deck:
        """Another client over another connection, who knows what this one knows."""
        other = Deck(store)
        other.term, other.epoch = self.term, self.epoch
        other.last, other.head = self.last, self.head
        return other

    def activate(self, epoch: int = 0, **changes: Any) -> Step:
        epoch = epoch or self.epoch + 1
        return self._grant(epoch, {"activates": True, "term": epoch, **changes})

    def change(self, epoch: int = 0, **changes: Any) -> Step:
        """A grant within the term."""
        epoch = epoch or self.epoch + 1
        return self._grant(epoch, {"activates": False, "term": self.term, **changes})

    def _grant(self, epoch: int, changes: dict[str, Any]) -> Step:
        record = changes.pop("record", f"grant {epoch}".encode())
        asked: dict[str, Any] = {
            "epoch": epoch,
            "record": record,
            "identity": identity(record),
            "prev": self.last,
            "ttl_ms": TTL_MS,
            "origin": "run-1",
            "head": self.head,
            **changes,
        }
        how = {name: asked.pop(name) for name in _HOW if name in asked}
        item = directives.grant(asked.pop("record"), asked.pop("identity"), **asked)
        step = self.store.grant(item, **how)
        if step.status is Status.OK:
            self.term = item.record.term
            execution = how.get("execution", b"")
            self._moved(item, extend(how["head"], execution) if execution else how["head"])
        return step

    def restrict(self, epoch: int = 0, **changes: Any) -> Step:
        epoch = epoch or self.epoch + 1
        record = changes.pop("record", f"halt {epoch}".encode())
        asked: dict[str, Any] = {
            "term": self.term,
            "epoch": epoch,
            "record": record,
            "identity": identity(record),
            "prev": self.last,
            **changes,
        }
        how = {name: asked.pop(name) for name in _HOW if name in asked}
        item = directives.restriction(asked.pop("record"), asked.pop("identity"), **asked)
        step = self.store.restrict(item, **how)
        if step.status is Status.OK:
            self._moved(item, self.head, audited=step.why == "AUDITED")
        return step

    def revoke(self, epoch: int = 0, **changes: Any) -> Stop:
        epoch = epoch or self.epoch + 1
        record = changes.pop("record", f"revocation {epoch}".encode())
        asked: dict[str, Any] = {
            "epoch": epoch,
            "record": record,
            "identity": identity(record),
            **changes,
        }
        how = {name: asked.pop(name) for name in _HOW if name in asked}
        item = directives.revocation(asked.pop("record"), asked.pop("identity"), **asked)
        stop = self.store.revoke(item, **how)
        if stop.status is Status.OK:
            self._moved(item, self.head, audited=stop.audit == "AUDITED")
        return stop

    def beat(self, n: int = 1, **changes: Any) -> Step:
        asked = {"term": self.term, "ttl_ms": TTL_MS, **changes}
        return self.store.beat("hb-1", f"beat {n}".encode(), **asked)

    def _moved(self, item: Verified[Any], head: str, *, audited: bool = True) -> None:
        self.epoch, self.last = item.record.epoch, item.identity
        if audited:
            self.head = extend(head, item.raw)

    # -- looking ---------------------------------------------------------------------------------

    def attend(
        self,
        caller: Caller = WORKER,
        *,
        known_last: str = "",
        known_revoked: str = "",
        new: bool = True,
    ) -> tuple[Status, Answer, str]:
        """Attend once; `new` registers the presence, else it is only renewed."""
        ask = Ask("nonce", known_last, known_revoked)
        return self.store.attend(ask, caller, {"state": "COLD"} if new else {})

    def entries(self) -> list[tuple[bytes, str]]:
        """The ledger, as envelope and head after it."""
        rows = self.store.link.call("XRANGE", self.store.keys.audit, "-", "+")
        return [(fields[1], fields[3].decode()) for _, fields in rows]

    def everything(self) -> dict[str, Any]:
        """Every key but presence, with its value: what a refused step must leave alone."""
        link = self.store.link
        look = {
            b"string": lambda key: link.call("GET", key),
            b"hash": lambda key: sorted(_pairs(link.call("HGETALL", key))),
            b"zset": lambda key: link.call("ZRANGE", key, 0, -1),
            b"stream": lambda key: link.call("XRANGE", key, "-", "+"),
        }
        keys = sorted(link.call("KEYS", "golive:*"))
        return {key.decode(): look[link.call("TYPE", key)](key) for key in keys}


def _pairs(flat: list[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def identity(record: bytes) -> str:
    """Stands for SHA-256 of a record's PAE: the store compares it and no more."""
    return hashlib.sha256(record).hexdigest()


@pytest.fixture
def deck(store: Store) -> Deck:
    """A client of the backend under test."""
    return Deck(store)


@pytest.fixture
def connect() -> Iterator[Callable[..., RedisLink]]:
    """Opens links to addresses or servers; closed after the test."""
    with ExitStack() as stack:

        def make(
            where: EmbeddedServer | str, *, timeout_ms: float = 2_000, **login: Any
        ) -> RedisLink:
            url = where if isinstance(where, str) else where.url
            link = Address(url, **login).link(timeout_ms=timeout_ms)
            stack.callback(link.close)
            return link

        yield make


@pytest.fixture
def deck_on(connect: Callable[..., RedisLink]) -> Callable[..., Deck]:
    """A client of that server, optionally under a login."""

    def make(where: EmbeddedServer | str, **login: Any) -> Deck:
        url = where if isinstance(where, str) else where.url
        return Deck(Store(connect(url, **login), Address(url).keyspace))

    return make


@pytest.fixture
def heard(connect: Callable[..., RedisLink]) -> Callable[..., Callable[[], bytes | None]]:
    """Subscribes to a channel and returns a function that waits for its next message."""

    def subscribe(where: EmbeddedServer, channel: str) -> Callable[[], bytes | None]:
        link = connect(where)
        assert link.call("SUBSCRIBE", channel)[0] == b"subscribe"

        def message() -> bytes | None:
            reply = link.receive(2_000)
            return reply[2] if reply else None

        return message

    return subscribe


@pytest.fixture
def as_functions() -> bool:
    """The users of `acl_lines` run the scripts as functions; a module may have it both ways."""
    return False


@pytest.fixture
def acl_lines(as_functions: bool) -> dict[str, str]:
    """The ACL lines by user, as `golive acl` prints them and docs/reference/acl.txt has them."""
    lines = acl.text(Keyspace("golive"), functions=as_functions).splitlines()
    return {line.split()[1]: line for line in lines}


@pytest.fixture
def guarded_server(
    own_server: EmbeddedServer, acl_lines: dict[str, str], as_functions: bool
) -> EmbeddedServer:
    """A server with the documented users; each one's password is its name. `default` is still on.

    The tests keep `default` as the one who looks, except where they are about it.
    """
    with own_server.client() as client:
        if as_functions:
            client.execute_command("FUNCTION", "LOAD", scripts.code())
        for user, line in acl_lines.items():
            if user != "default":
                client.execute_command("ACL", "SETUSER", *line.split()[1:], f">{user}")
    return own_server


@pytest.fixture
def sentinel_over(make_server: Callable[..., EmbeddedServer]) -> Callable[..., str]:
    """Starts a Sentinel that watches a server as `fleet`; returns its address, HOST:PORT."""

    def start(primary: EmbeddedServer, **settings: str) -> str:
        options = {"sentinel monitor": f"fleet 127.0.0.1 {primary.port} 1"}
        for name, value in settings.items():
            options[f"sentinel {name.replace('_', '-')}"] = f"fleet {value}"
        sentinel = make_server(options, extra=("--sentinel",))
        return f"127.0.0.1:{sentinel.port}"

    return start


@pytest.fixture(params=["tcp", "unix", "sentinel"])
def route(
    request: pytest.FixtureRequest, own_server: EmbeddedServer, sentinel_over: Callable[..., str]
) -> str:
    """URL of `own_server` by each way there is to it."""
    if request.param == "sentinel":
        return f"redis+sentinel://{sentinel_over(own_server)}/fleet"
    return own_server.url if request.param == "tcp" else f"unix://{own_server.socket_path}"
