"""A link, over each way to a server: one question at a time, no hidden retries, bounded waits."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from golive_redis.errors import ConfigError, MaybeAppliedError, StoreUnavailableError
from golive_redis.store import link as link_module
from golive_redis.store.connect import Address
from golive_redis.store.dial import Tcp
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import RedisLink, StoreRefusedError
from golive_redis.store.replies import Audit, Status
from golive_redis.store.store import Store
from golive_redis.testing.server import EmbeddedServer, free_port

Deck = Any  # the `deck` fixture's class: test modules cannot import a conftest
PATIENCE_S = 30.0  # far above any timeout below, far below redis-py's 59.5 s


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def _calls(server: EmbeddedServer, command: str) -> int:
    with server.client() as client:
        return int(client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


@pytest.fixture
def scripted() -> Iterator[Callable[..., RedisLink]]:
    """A link to a server that says what it was told to say, after so many seconds."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(parts: tuple[tuple[float, bytes], ...]) -> None:
        with listener.accept()[0] as peer:
            for pause, data in parts:
                time.sleep(pause)
                peer.sendall(data)
            while peer.recv(1_024):
                pass

    def link_to(*parts: tuple[float, bytes], timeout_ms: float = 250) -> RedisLink:
        threading.Thread(target=talk, args=(parts,), daemon=True).start()
        port = listener.getsockname()[1]
        connection = Tcp(
            host="127.0.0.1",
            port=port,
            open_s=PATIENCE_S,
            protocol=2,
            driver_info=None,
            socket_timeout=timeout_ms / 1000,
            retry=Retry(NoBackoff(), 0),
        )
        links.append(RedisLink(connection))
        links[-1].open()
        return links[-1]

    links: list[RedisLink] = []
    yield link_to
    for link in links:
        link.close()
    listener.close()


# -- it works --------------------------------------------------------------------------------------


def test_a_whole_term_passes_over_every_route(
    route: str, deck_on: Callable[..., Deck], connect: Callable[..., RedisLink]
) -> None:
    listener = connect(route)
    assert listener.call("SUBSCRIBE", "golive:events")[0] == b"subscribe"
    deck = deck_on(route)
    assert deck.activate().status is Status.OK
    assert deck.attend()[1].grant == b"grant 1"
    assert deck.beat().status is Status.OK
    assert deck.restrict().status is Status.OK
    assert deck.revoke().audit is Audit.AUDITED
    assert [listener.receive(2_000)[2] for _ in range(3)] == [
        b"grant 1",
        b"halt 2",
        b"revocation 3",
    ]
    assert listener.receive(1) is None


def test_the_database_of_the_url_is_the_one_that_is_used(
    own_server: EmbeddedServer,
    connect: Callable[..., RedisLink],
    sentinel_over: Callable[..., str],
) -> None:
    urls = [
        f"{own_server.url}/3",
        f"unix://{own_server.socket_path}?db=3",
        f"redis+sentinel://{sentinel_over(own_server)}/fleet/3",
    ]
    for number, url in enumerate(urls, 1):
        assert connect(url).call("INCR", "n") == number
    with own_server.client(db=3) as client:
        assert client.get("n") == b"3"


def test_the_server_sees_the_name_of_a_link(own_server: EmbeddedServer) -> None:
    link = Address(own_server.url).link(timeout_ms=2_000, name="golive-guard-pod-7")
    link.open()
    with own_server.client() as client:
        assert "golive-guard-pod-7" in [each["name"] for each in client.client_list()]
    link.close()


def test_a_login_with_every_special_character_works_by_url_and_by_setting(
    own_server: EmbeddedServer,
    connect: Callable[..., RedisLink],
    sentinel_over: Callable[..., str],
) -> None:
    password = "p@ss:w/rd?%#"
    with own_server.client() as client:
        client.acl_setuser("op", enabled=True, passwords=[f"+{password}"], categories=["+@all"])
    sentinel = sentinel_over(own_server)
    login = f"op:{quote(password, safe='')}"
    links = [
        connect(f"redis://{login}@127.0.0.1:{own_server.port}"),
        connect(f"redis+sentinel://{login}@{sentinel}/fleet"),
        connect(own_server, username="op", password=password),
        connect(f"unix://{own_server.socket_path}", username="op", password=password),
        connect(f"redis+sentinel://{sentinel}/fleet", username="op", password=password),
    ]
    for link in links:
        assert link.call("ACL", "WHOAMI") == b"op"


def test_a_sentinel_that_is_down_is_passed_over(
    own_server: EmbeddedServer,
    connect: Callable[..., RedisLink],
    sentinel_over: Callable[..., str],
) -> None:
    dead = f"127.0.0.1:{free_port()}"
    link = connect(f"redis+sentinel://{dead},{sentinel_over(own_server)}/fleet")
    with _within(PATIENCE_S):
        assert link.call("PING") == b"PONG"


def test_sentinels_that_want_a_login_get_their_own(
    own_server: EmbeddedServer,
    make_server: Callable[..., EmbeddedServer],
    connect: Callable[..., RedisLink],
) -> None:
    """Not the one of Redis: a Sentinel has users of its own."""
    with own_server.client() as client:
        client.acl_setuser("op", enabled=True, passwords=["+redis"], categories=["+@all"])
    watch = {"sentinel monitor": f"fleet 127.0.0.1 {own_server.port} 1"}
    default = make_server({**watch, "requirepass": "watch"}, extra=("--sentinel",))
    named = make_server(
        {
            **watch,
            "user default": "off",
            "user scout": "on >watch -@all +sentinel|get-master-addr-by-name",
        },
        extra=("--sentinel",),
    )
    for sentinel, user in ((default, None), (named, "scout")):
        where = f"redis+sentinel://127.0.0.1:{sentinel.port}/fleet"
        link = connect(
            where,
            username="op",
            password="redis",
            sentinel_username=user,
            sentinel_password="watch",
        )
        assert link.call("ACL", "WHOAMI") == b"op"
        for wrong in (None, "redis"):
            link = connect(where, sentinel_username=user, sentinel_password=wrong)
            with pytest.raises(StoreUnavailableError) as refused:
                link.open()
            assert "store.sentinel.password_env" in refused.value.hint


def test_no_idle_socket_stays_at_a_sentinel(
    own_server: EmbeddedServer,
    make_server: Callable[..., EmbeddedServer],
    connect: Callable[..., RedisLink],
) -> None:
    """A thousand guards with four links each would use up its ten thousand clients."""
    watch = {"sentinel monitor": f"fleet 127.0.0.1 {own_server.port} 1"}
    sentinel = make_server(watch, extra=("--sentinel",))
    links = [connect(f"redis+sentinel://127.0.0.1:{sentinel.port}/fleet") for _ in range(5)]
    for link in links:
        assert link.call("PING") == b"PONG"
    with sentinel.client() as client:
        assert not [e for e in client.client_list() if "get-master-addr" in e["cmd"]]


def test_a_link_leaves_a_primary_that_most_sentinels_have_deposed(
    make_server: Callable[..., EmbeddedServer],
    sentinel_over: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is alive and still takes writes; one Sentinel with another view does not count."""
    monkeypatch.setattr(link_module, "FOLLOW_S", 0.0)
    old, new = make_server(), make_server()
    sentinels = [sentinel_over(old) for _ in range(3)]
    link = Address(f"redis+sentinel://{','.join(sentinels)}/fleet").link(timeout_ms=2_000)
    link.call("SET", "where", "old")
    for number, where in enumerate(sentinels[:2], 1):
        with redis.Redis(port=int(where.rpartition(":")[2])) as client:
            client.sentinel_remove("fleet")
            client.sentinel_monitor("fleet", "127.0.0.1", new.port, 1)
        if number == 1:
            for _ in range(20):
                assert link.call("GET", "where") == b"old"
    with pytest.raises(StoreUnavailableError, match="another server is the primary"):
        _ = [link.call("GET", "where") for _ in range(20)]
    assert link.closed
    link.close()


# -- it fails, and says how ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    [
        "redis://127.0.0.1:{port}",
        "unix:///nowhere/{port}",
        "redis+sentinel://127.0.0.1:{port}/fleet",
    ],
)
def test_where_nobody_listens_the_command_did_not_leave_and_that_is_said_at_once(
    connect: Callable[..., RedisLink], where: str
) -> None:
    """Row 16."""
    link = connect(where.format(port=free_port()))
    with _within(PATIENCE_S), pytest.raises(StoreUnavailableError):
        link.call("PING")


def test_a_service_that_no_sentinel_knows_is_unavailable(
    own_server: EmbeddedServer,
    connect: Callable[..., RedisLink],
    sentinel_over: Callable[..., str],
) -> None:
    link = connect(f"redis+sentinel://{sentinel_over(own_server)}/another")
    with _within(PATIENCE_S), pytest.raises(StoreUnavailableError, match="another"):
        link.call("PING")


def test_a_frozen_server_costs_one_timeout_and_the_command_is_sent_once(
    own_server: EmbeddedServer, route: str, connect: Callable[..., RedisLink]
) -> None:
    """Row 5: maybe applied, and indeed it was, exactly once."""
    link = connect(route, timeout_ms=250)
    link.call("RPUSH", "list", "before")
    own_server.pause()
    with _within(PATIENCE_S), pytest.raises(MaybeAppliedError):
        link.call("RPUSH", "list", "frozen")
    own_server.resume()
    # The late reply must not answer this: it comes over a new connection.
    assert link.call("ECHO", "mine") == b"mine"
    assert link.call("LRANGE", "list", 0, -1) == [b"before", b"frozen"]
    assert _calls(own_server, "rpush") == 2


def test_a_frozen_server_takes_no_new_connection(
    own_server: EmbeddedServer, route: str, connect: Callable[..., RedisLink]
) -> None:
    """Row 5: the kernel still accepts, the login does not come back."""
    own_server.pause()
    try:
        with _within(PATIENCE_S), pytest.raises(StoreUnavailableError):
            connect(route, timeout_ms=250).call("PING")
    finally:
        own_server.resume()


def test_a_step_on_a_frozen_server_maybe_happened_and_its_repeat_is_recognised(
    own_server: EmbeddedServer, deck_on: Callable[..., Deck], connect: Callable[..., RedisLink]
) -> None:
    """Rows 5 and 50."""
    deck = deck_on(own_server)
    deck.activate()
    hasty = deck.over(Store(connect(own_server, timeout_ms=250), Keyspace("golive")))
    hasty.store.link.call("PING")
    own_server.pause()
    with pytest.raises(MaybeAppliedError):
        hasty.revoke()
    own_server.resume()
    stop = hasty.revoke()
    assert (stop.status, stop.audit) == (Status.SAME, Audit.NONE)
    assert [envelope for envelope, _ in deck.entries()] == [b"grant 1", b"revocation 2"]


def test_a_killed_server_is_maybe_applied_first_and_unavailable_then(
    own_server: EmbeddedServer, route: str, connect: Callable[..., RedisLink]
) -> None:
    """Row 6."""
    link = connect(route)
    link.call("PING")
    own_server.kill()
    with _within(PATIENCE_S), pytest.raises(MaybeAppliedError):
        link.call("PING")
    with _within(PATIENCE_S), pytest.raises(StoreUnavailableError):
        link.call("PING")
    own_server.restart()
    assert link.call("PING") == b"PONG"


def test_a_primary_that_was_demoted_refuses_by_name_over_every_route(
    own_server: EmbeddedServer, route: str, connect: Callable[..., RedisLink]
) -> None:
    """Rows 14 and 20: a refusal is certain, it must not read as 'maybe applied'."""
    link = connect(route)
    link.call("PING")
    with own_server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreRefusedError) as refused:
        link.call("SET", "k", "v")
    assert refused.value.code == "READONLY"


# -- listening -------------------------------------------------------------------------------------


def test_a_subscription_that_the_server_closed_is_noticed_and_never_silently_replaced(
    own_server: EmbeddedServer, route: str, connect: Callable[..., RedisLink]
) -> None:
    """Row 43: a fresh socket without the subscription would be silent for ever."""
    link = connect(route)
    link.call("SUBSCRIBE", "golive:events")
    with _within(PATIENCE_S):
        assert link.receive(20) is None
    with own_server.client() as client:
        client.client_kill_filter(_type="pubsub")
    with _within(PATIENCE_S), pytest.raises(MaybeAppliedError):
        link.receive(2_000)
    with pytest.raises(StoreUnavailableError):
        link.receive(2_000)
    with own_server.client() as client:
        assert "golive" not in [each["name"] for each in client.client_list()]


def test_a_message_in_pieces_arrives_whole_and_silence_in_between_is_no_loss(
    scripted: Callable[..., RedisLink],
) -> None:
    whole = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhello\r\n"
    link = scripted((0.0, whole[:20]), (0.2, whole[20:] + whole))
    assert link.receive(50) is None
    assert link.receive(2_000) == [b"message", b"c", b"hello"]
    with _within(PATIENCE_S):  # it came together with the first one
        assert link.receive(0) == [b"message", b"c", b"hello"]
    with _within(PATIENCE_S):
        assert link.receive(0) is None


def test_a_question_after_listening_waits_as_long_as_questions_do(
    scripted: Callable[..., RedisLink],
) -> None:
    link = scripted((0.25, b"+PONG\r\n"), timeout_ms=500)
    assert link.receive(20) is None
    assert link.call("PING") == b"PONG"
    with _within(PATIENCE_S), pytest.raises(MaybeAppliedError):
        link.call("PING")


def test_an_error_in_a_pipeline_stands_in_its_place(
    own_server: EmbeddedServer, connect: Callable[..., RedisLink]
) -> None:
    link = connect(own_server)
    link.call("SET", "text", "x")
    first, second, third = link.pipeline([("GET", "text"), ("HGETALL", "text"), ("GET", "none")])
    assert (first, third) == (b"x", None)
    assert isinstance(second, StoreRefusedError)
    assert second.code == "WRONGTYPE"
    assert link.call("GET", "text") == b"x"


# -- a server of three lines, for what a real one does not say on demand ---------------------------


class ScriptedServer:
    """Accepts connections, answers each command by rule, and remembers what came."""

    def __init__(self, answer: Callable[[str], bytes | None]) -> None:
        self.commands: list[str] = []
        self.accepted = 0
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.append(conn)
            with suppress(OSError):  # closed by `close` while it waits
                self._talk(conn)

    def _talk(self, conn: socket.socket) -> None:
        while data := conn.recv(65_536):
            words = [word for word in data.decode().split("\r\n")[2::2] if word]
            self.commands.append(" ".join(words))
            reply = self._answer(words[0])
            if reply is None:
                conn.close()
                return
            conn.sendall(reply)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for conn in self._open:
            conn.close()
        self._thread.join(2)


@pytest.fixture
def scripted_server() -> Iterator[Callable[[Callable[[str], bytes | None]], ScriptedServer]]:
    made: list[ScriptedServer] = []

    def make(answer: Callable[[str], bytes | None]) -> ScriptedServer:
        made.append(ScriptedServer(answer))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("reply", [b"", None])
def test_a_command_without_an_answer_is_sent_once_over_one_connection(
    scripted_server: Callable[..., ScriptedServer],
    connect: Callable[..., RedisLink],
    reply: bytes | None,
) -> None:
    """Row 42: a retried append would write twice. Silence and a closed socket are alike."""
    server = scripted_server(lambda word: b"+OK\r\n" if word == "CLIENT" else reply)
    link = connect(f"redis://127.0.0.1:{server.port}", timeout_ms=200)
    with _within(PATIENCE_S), pytest.raises(MaybeAppliedError):
        link.call("XADD", "golive:audit", "*", "r", "record")
    assert server.commands == ["CLIENT SETNAME golive", "XADD golive:audit * r record"]
    assert server.accepted == 1


def test_a_login_without_an_answer_is_tried_once_and_no_command_follows(
    scripted_server: Callable[..., ScriptedServer], connect: Callable[..., RedisLink]
) -> None:
    server = scripted_server(lambda _: None)
    link = connect(f"redis://127.0.0.1:{server.port}", timeout_ms=200, password="x")
    with _within(PATIENCE_S), pytest.raises(StoreUnavailableError):
        link.call("XADD", "golive:audit", "*", "r", "record")
    assert server.commands == ["AUTH x"]
    assert server.accepted == 1


@pytest.mark.parametrize(
    "text",
    [
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script",
        "MASTERDOWN Link with MASTER is down",
        "NOAUTH Authentication required.",
        "CLUSTERDOWN Hash slot not served",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "ERR unknown command 'EVAL'",
        "OOM command not allowed when used memory > 'maxmemory'.",
    ],
)
def test_every_error_that_redis_says_is_a_refusal_with_its_code(
    scripted_server: Callable[..., ScriptedServer], connect: Callable[..., RedisLink], text: str
) -> None:
    """Rows 13 to 15: what was refused was certainly not applied."""
    server = scripted_server(
        lambda word: b"+OK\r\n" if word == "CLIENT" else f"-{text}\r\n".encode()
    )
    link = connect(f"redis://127.0.0.1:{server.port}", timeout_ms=1_000)
    with pytest.raises(StoreRefusedError) as refused:
        link.call("DEL", "golive:active")
    assert refused.value.code == text.partition(" ")[0]
    assert text in refused.value.message


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 400\r\n\r\n", b":abc\r\n", b"$x\r\n", b"*?\r\n", b"*2\r\n+OK\r\n*z\r\n"],
)
def test_garbage_instead_of_an_answer_is_no_answer(
    scripted_server: Callable[..., ScriptedServer],
    connect: Callable[..., RedisLink],
    garbage: bytes,
) -> None:
    """Rows 8 and 82. Of some of it redis-py raises a bare ValueError."""
    server = scripted_server(lambda word: b"+OK\r\n" if word == "CLIENT" else garbage)
    link = connect(f"redis://127.0.0.1:{server.port}")
    with pytest.raises(MaybeAppliedError):
        link.call("PING")
    assert link.closed, "what comes next on it belongs to nothing"
    with pytest.raises(MaybeAppliedError):
        link.pipeline([("PING",), ("PING",)])
    link.send("PING")
    with pytest.raises(MaybeAppliedError):
        link.receive(1_000)
    assert link.closed


def test_a_greeting_that_is_garbage_is_a_server_that_cannot_be_reached(
    scripted_server: Callable[..., ScriptedServer], connect: Callable[..., RedisLink]
) -> None:
    """Row 82."""
    server = scripted_server(lambda _: b":abc\r\n")
    link = connect(f"redis://127.0.0.1:{server.port}")
    with pytest.raises(StoreUnavailableError):
        link.open()
    assert link.closed


# -- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://:secret@localhost",
        "localhost:6379",
        "redis+sentinel://:secret@localhost:26379",
        "redis+sentinel://:secret@localhost:port/fleet",
        "redis+cluster://:secret@localhost:6379/0",
        "redis+cluster://:secret@localhost:port",
        "redis+cluster",
        "redis://:secret@localhost:port",
        "",
    ],
)
def test_an_address_that_is_none_is_refused_without_showing_its_password(url: str) -> None:
    """Row 48."""
    with pytest.raises(ConfigError) as refused:
        Address(url).link(timeout_ms=100)
    assert "secret" not in refused.value.message
    assert "redis://host:6379/0" in refused.value.hint


def test_a_tls_file_for_an_address_without_tls_is_refused() -> None:
    """Row 47: never in the clear where the configuration speaks of TLS."""
    with pytest.raises(ConfigError):
        Address("redis://localhost", ca="/ca.pem").link(timeout_ms=100)
    with pytest.raises(ConfigError):
        Address("redis+sentinel://localhost/fleet", ca="/ca.pem").link(timeout_ms=100)
    with pytest.raises(ConfigError):
        Address("redis+cluster://localhost", ca="/ca.pem").link(timeout_ms=100)


def test_a_connection_says_nothing_in_a_process_that_was_forked_since(
    own_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 118. A greenlet goes on there, with the links that it holds."""
    link = Address(own_server.url).link(timeout_ms=2_000)
    assert link.call("PING") == b"PONG"
    before = _calls(own_server, "ping")
    child = os.getpid() + 1
    monkeypatch.setattr("os.getpid", lambda: child)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="process before the fork"):
            link.call("PING")
        link.close()  # nor does it connect anew
    assert _calls(own_server, "ping") == before
