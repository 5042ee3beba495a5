"""The ACL lines that `golive acl` prints: each role can take its steps, and no others' (row 46).

Real servers only. Every test of a role uses the product's own store, push and scripts, so that a
command which the code starts to use and the file does not allow fails here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from golive_redis.checks.builtin import check_database_redis
from golive_redis.core.answer import Ask
from golive_redis.errors import StoreUnavailableError
from golive_redis.records.report import Outcome
from golive_redis.store import scripts
from golive_redis.store.connect import Address
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import RedisLink, StoreRefusedError
from golive_redis.store.push import Push, Pushes
from golive_redis.store.replies import Audit, Caller, Status
from golive_redis.testing.server import EmbeddedServer

Deck = Any  # the `deck` fixture's class: test modules cannot import a conftest
WORKER = Caller("worker", "pod-7", "0" * 32)
HEARTBEAT = Caller("heartbeat", "hb-1", "1" * 32)
USERS = (
    *("golive-worker", "golive-heartbeat", "golive-operator", "golive-auditor"),
    "golive-archivist",
    "golive-card",
)


@pytest.fixture(params=["eval", "functions"])
def as_functions(request: pytest.FixtureRequest) -> bool:
    """Each way in which scripts are run has lines of its own."""
    return bool(request.param == "functions")


@pytest.fixture
def as_user(
    guarded_server: EmbeddedServer, deck_on: Callable[..., Deck], as_functions: bool
) -> Callable[[str], Deck]:
    """A client logged in as one of the documented users."""

    def login(role: str) -> Deck:
        user = f"golive-{role}"
        deck = deck_on(guarded_server, username=user, password=user, functions=as_functions)
        deck.store.link.open()  # it also asks who we are
        return deck

    return login


@pytest.fixture
def owner(guarded_server: EmbeddedServer, deck_on: Callable[..., Deck]) -> Deck:
    """Who may do everything, and looks at what the others did."""
    return deck_on(guarded_server)


# -- the file --------------------------------------------------------------------------------------


def test_the_file_has_one_line_per_role_and_one_that_switches_the_default_user_off(
    acl_lines: dict[str, str],
) -> None:
    """Row 45."""
    assert tuple(acl_lines) == ("default", *USERS)
    for line in acl_lines.values():
        assert line.split()[2] == "reset"
        assert not [word for word in line.split() if word[0] in "#>" or word == "nopass"]


@pytest.mark.parametrize("way", ["aclfile", "include"])
def test_the_file_is_accepted_whole_at_the_start_of_a_server(
    make_server: Callable[..., EmbeddedServer],
    acl_lines: dict[str, str],
    tmp_path: Path,
    way: str,
) -> None:
    """Row 45: one unknown token refuses the whole line, on Redis 7.0 as on the newest Valkey."""
    path = tmp_path / "acl.txt"
    path.write_text("".join(f"{line} #{'0' * 64}\n" for line in acl_lines.values()))
    server = make_server({way: str(path)})
    with pytest.raises(StoreUnavailableError, match="login"):
        Address(server.url).link(timeout_ms=2_000).open()


def test_a_line_as_it_stands_lets_nobody_in(
    own_server: EmbeddedServer, connect: Callable[..., RedisLink], acl_lines: dict[str, str]
) -> None:
    """Row 45: a forgotten password shuts the door."""
    with own_server.client() as client:
        for user in USERS:
            client.execute_command("ACL", "SETUSER", *acl_lines[user].split()[1:])
    for user in USERS:
        for password in ("", user, "x"):
            with pytest.raises(StoreUnavailableError, match="refused the login"):
                connect(own_server, username=user, password=password).open()


# -- logging in ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("username", "password"),
    [("golive-worker", "wrong"), ("nobody", "golive-worker"), (None, "golive-worker")],
)
def test_a_wrong_password_and_a_missing_user_are_refused_with_the_reason(
    guarded_server: EmbeddedServer,
    connect: Callable[..., RedisLink],
    username: str | None,
    password: str,
) -> None:
    """Row 45."""
    with guarded_server.client() as client:
        client.config_set("requirepass", "another")
    link = connect(guarded_server, username=username, password=password)
    with pytest.raises(StoreUnavailableError, match="refused the login") as refused:
        link.open()
    assert "password_env" in refused.value.hint


def test_without_the_default_user_a_link_without_a_login_is_refused(
    guarded_server: EmbeddedServer,
    connect: Callable[..., RedisLink],
    acl_lines: dict[str, str],
) -> None:
    """Row 45."""
    with guarded_server.client() as client:
        client.execute_command("ACL", "SETUSER", *acl_lines["default"].split()[1:])
    with pytest.raises(StoreUnavailableError, match="refused the login"):
        connect(guarded_server).call("GET", "golive:active")
    worker = connect(guarded_server, username="golive-worker", password="golive-worker")
    assert worker.call("PING") == b"PONG"


def test_a_link_that_is_somebody_else_than_configured_is_refused_naming_both(
    guarded_server: EmbeddedServer, connect: Callable[..., RedisLink]
) -> None:
    """Row 45: the `default` user left on lets everybody in, as itself."""
    link = RedisLink(connect(guarded_server)._connection, user="golive-worker")
    for _ in range(2):  # also when the command connects by itself, and again after a refusal
        with pytest.raises(StoreUnavailableError, match="'default', not as 'golive-worker'"):
            link.call("SET", "golive:active", "1")
        assert link.closed
    with guarded_server.client() as client:
        assert not client.exists("golive:active")


def test_every_connect_asks_who_we_are_and_only_a_stop_may_leave_that_out(
    guarded_server: EmbeddedServer,
) -> None:
    address = Address(guarded_server.url, username="golive-operator", password="golive-operator")

    def asked() -> int:
        with guarded_server.client() as client:
            stats = client.info("commandstats")
        return sum(s["calls"] for name, s in stats.items() if name.endswith("whoami"))

    before = asked()
    link = address.connect(timeout_ms=2_000)
    assert asked() == before + 1
    link.close()
    assert link.call("PING") == b"PONG"
    assert asked() == before + 2
    link.close()
    stop = address.link(timeout_ms=2_000, any_user=True)
    assert stop.call("PING") == b"PONG"
    assert asked() == before + 2
    stop.close()


@pytest.mark.parametrize("user", USERS)
def test_each_user_logs_in_to_another_database_too(
    guarded_server: EmbeddedServer, connect: Callable[..., RedisLink], user: str
) -> None:
    link = connect(f"{guarded_server.url}/2", username=user, password=user)
    assert link.call("ACL", "WHOAMI") == user.encode()
    assert link.call("PING") == b"PONG"


def test_a_password_that_changes_shuts_out_a_link_at_its_next_connection(
    guarded_server: EmbeddedServer, connect: Callable[..., RedisLink]
) -> None:
    """Row 45."""
    link = connect(guarded_server, username="golive-worker", password="golive-worker")
    link.open()
    with guarded_server.client() as client:
        client.execute_command("ACL", "SETUSER", "golive-worker", "resetpass", ">new")
    link.close()
    with pytest.raises(StoreUnavailableError, match="refused the login"):
        link.call("PING")


# -- each role can take its steps ------------------------------------------------------------------


def _push(server: EmbeddedServer, user: str) -> Push:
    address = Address(server.url, username=user, password=user)

    def clock_ms() -> float:
        return time.monotonic() * 1_000

    return Push(lambda: address.link(timeout_ms=2_000), Keyspace("golive"), clock_ms, 10)


def _hears(push: Push, wanted: bytes | None) -> bool:
    """Read pushes until it comes, pings included."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pushed = push.wait(50)
        if pushed is not None and pushed.directive == wanted:
            return True
    return False


@pytest.mark.parametrize("user", ["golive-worker", "golive-heartbeat"])
def test_a_guard_that_attends_hears_directives_and_invalidations(
    guarded_server: EmbeddedServer, owner: Deck, user: str
) -> None:
    """Rows 1 and 23."""
    push = _push(guarded_server, user)
    push.open()
    try:
        owner.activate()
        assert _hears(push, b"grant 1")
        owner.store.delete_active()
        assert _hears(push, None)
        owner.revoke()
        assert _hears(push, b"revocation 2")
        assert push.arrives is Pushes.TRACKING
    finally:
        push.close()
    assert push.arrives is Pushes.NONE


@pytest.mark.parametrize(
    ("without", "arrives"),
    [
        ("-client|tracking", Pushes.PUBSUB),
        ("-client|id", Pushes.PUBSUB),
        ("-subscribe", Pushes.NONE),
    ],
)
def test_what_is_pushed_is_known_where_rights_are_missing(
    guarded_server: EmbeddedServer,
    owner: Deck,
    acl_lines: dict[str, str],
    without: str,
    arrives: Pushes,
) -> None:
    """Rows 3 and 46: without tracking, directives are heard all the same."""
    user = "golive-worker"
    line = acl_lines[user].replace(f" {without.replace('-', '+')}", "")
    with guarded_server.client() as client:
        client.execute_command("ACL", "SETUSER", *line.split()[1:], f">{user}")
    push = _push(guarded_server, user)
    push.open()
    try:
        if arrives is Pushes.NONE:
            with pytest.raises(StoreRefusedError):
                _hears(push, b"grant 1")
        else:
            assert _hears(push, None)  # subscribed
            owner.activate()
            assert _hears(push, b"grant 1")
        assert push.arrives is arrives
    finally:
        push.close()


def test_a_worker_can_take_all_its_steps(as_user: Callable[[str], Deck], owner: Deck) -> None:
    """Row 46."""
    owner.activate()
    worker = as_user("worker")
    for _ in range(2):
        worker.store.link.call("PING")
        assert worker.attend(new=False)[0] is Status.REGISTER
        assert worker.attend()[1].grant == b"grant 1"
        assert worker.attend(new=False)[0] is Status.OK
        worker.store.keep_goodbye(WORKER, b"goodbye")
        owner.store.link.call("SCRIPT", "FLUSH")
    worker.store.publish("golive:receipts", b"latched")
    worker.store.deliver("d1", "a:latched", b"latched")
    assert owner.store.receipts("d1") == ([b"latched"], True)
    assert owner.store.goodbyes([(WORKER.name, WORKER.instance)]) == [b"goodbye"]
    assert [pod.alive for pod in owner.store.workers()] == [False], "only operators strike it off"


def test_a_worker_cannot_take_anybody_off_the_roster(
    as_user: Callable[[str], Deck], owner: Deck
) -> None:
    """Row 97."""
    owner.attend()
    worker = as_user("worker")
    keys = worker.store.keys
    for command in (
        ("ZREM", keys.fleet, WORKER.member),
        ("ZREMRANGEBYRANK", keys.fleet, 0, -1),
        ("DEL", keys.fleet),
        ("UNLINK", keys.fleet),
        ("EXPIRE", keys.fleet, 1),
        ("RENAME", keys.fleet, "golive:worker:x"),
        ("SET", keys.fleet, ""),
    ):
        with pytest.raises(StoreRefusedError, match="NOPERM"):
            worker.store.link.call(*command)
    assert [pod.name for pod in owner.store.workers()] == [WORKER.name]


def test_a_heartbeat_can_take_all_its_steps(
    as_user: Callable[[str], Deck],
    owner: Deck,
    connect: Callable[..., RedisLink],
    guarded_server: EmbeddedServer,
) -> None:
    """Rows 46 and 20: it also stops, restricts and re-asserts; its triggers collect receipts."""
    receipts = connect(guarded_server, username="golive-heartbeat", password="golive-heartbeat")
    receipts.call("SUBSCRIBE", "golive:receipts")
    owner.activate()
    owner.attend()
    heartbeat = owner.over(as_user("heartbeat").store)
    assert heartbeat.attend(HEARTBEAT)[1].grant == b"grant 1"
    assert heartbeat.attend(HEARTBEAT, new=False)[0] is Status.OK
    owner.store.link.call("PEXPIRE", "golive:active", 1_000)
    assert heartbeat.beat().why == "24000"
    assert heartbeat.restrict().why == "AUDITED"
    again = owner.over(heartbeat.store)
    assert again.restrict(record=b"another", again=True).status is Status.OK
    after = "a" * 64
    store = heartbeat.store
    assert store.append(b"note", head=heartbeat.head, head_after=after).status is Status.OK
    assert store.recorded(b"note", 0) is True
    heartbeat.head = after
    assert heartbeat.revoke().audit is Audit.AUDITED
    assert heartbeat.revoke(3, again=True).status is Status.SAME
    assert store.delete_active() == 0
    store.publish("golive:events", b"revocation 3")
    store.publish("golive:receipts", b"latched")
    assert receipts.receive(2_000)[2] == b"latched"
    store.deliver("d1", "hb-1:latched", b"latched")
    assert store.receipts("d1") == ([b"latched"], True)
    assert (store.snapshot().revoked, store.head()) == (b"revocation 3", heartbeat.head)
    assert store.snapshot().revoked == b"revocation 3"
    assert [pod.name for pod in store.workers() + store.heartbeats()] == ["pod-7", "hb-1"]
    assert len(store.server().run_id) == 40
    store.leave(HEARTBEAT)
    assert owner.store.heartbeats() == []


@pytest.mark.parametrize("name", ["epoch", "last", "revoked", "beat"])
@pytest.mark.parametrize("role", ["heartbeat", "operator"])
def test_a_user_that_may_revoke_may_repair_what_is_of_a_wrong_type(
    as_user: Callable[[str], Deck], owner: Deck, role: str, name: str
) -> None:
    """Row 18."""
    owner.activate()
    owner.store.link.call("DEL", f"golive:{name}")
    owner.store.link.call("ZADD", f"golive:{name}", 1, "x")
    deck = owner.over(as_user(role).store)
    assert deck.revoke().status is Status.OK
    assert owner.store.snapshot().corrupt == ()


def test_an_operator_can_take_all_its_steps(
    as_user: Callable[[str], Deck],
    owner: Deck,
    guarded_server: EmbeddedServer,
    connect: Callable[..., RedisLink],
) -> None:
    """Row 46."""
    owner.store.attend(Ask("n", "", ""), WORKER, {"state": b"cold", "directive": b"COLD directive"})
    owner.attend(HEARTBEAT)
    receipts = connect(guarded_server, username="golive-operator", password="golive-operator")
    receipts.call("SUBSCRIBE", "golive:receipts")
    operator = as_user("operator")
    store = operator.store
    assert operator.activate().status is Status.OK
    owner.beat()
    assert operator.restrict().why == "AUDITED"
    assert operator.restrict().why == "AUDITED"
    assert operator.change(keeps=["r:3"]).status is Status.OK
    assert list(store.snapshot().restrictions) == ["r:3"]
    assert [pod.name for pod in store.workers() + store.heartbeats()] == ["pod-7", "hb-1"]
    owner.over(as_user("worker").store).store.publish("golive:receipts", b"applied")
    assert receipts.receive(2_000)[2] == b"applied"
    assert store.publish("golive:events", b"revocation 5") == 0
    assert operator.revoke().audit is Audit.AUDITED
    assert store.confirm(operator.last, b"note") is True
    assert operator.activate().status is Status.OK
    assert store.delete_active() == 1
    assert store.told_directives() == [b"COLD directive"]
    assert store.link.call("WAIT", 0, 1) == 0
    assert store.append(b"n", head=operator.head, head_after="a" * 64).status is Status.OK
    assert store.recorded(b"n", 0) is True
    assert store.receipts("d1") == ([], True)
    assert len(store.server().run_id) == 40
    store.strike([WORKER.member])
    store.leave(HEARTBEAT)
    assert owner.store.workers() + owner.store.heartbeats() == []


def test_an_operator_can_run_the_preflight_check_of_the_server(
    guarded_server: EmbeddedServer, acl_lines: dict[str, str]
) -> None:
    """Rows 25 and 45: it finds the `default` user that was left on, and nothing else."""
    user = "golive-operator"
    functions = "+fcall" in acl_lines[user]
    address = Address(guarded_server.url, username=user, password=user, functions=functions)
    keyspace = Keyspace("golive")
    found = check_database_redis(address, keyspace)
    assert found.outcome is Outcome.FAIL
    assert found.explain.startswith("the ACL user `default` still gets in")
    with guarded_server.client() as client:
        client.execute_command("ACL", "SETUSER", *acl_lines["default"].split()[1:])
    assert check_database_redis(address, keyspace).outcome is Outcome.PASS


def test_an_auditor_can_read_everything(
    as_user: Callable[[str], Deck],
    owner: Deck,
    guarded_server: EmbeddedServer,
    connect: Callable[..., RedisLink],
) -> None:
    """Row 46."""
    owner.attend()
    owner.attend(HEARTBEAT)
    owner.activate()
    owner.store.deliver("d1", "a:latched", b"latched")
    auditor = as_user("auditor")
    store = auditor.store
    assert auditor.entries() == owner.entries() != []
    assert store.link.call("XREVRANGE", "golive:audit", "+", "-", "COUNT", 1)
    assert store.link.call("XLEN", "golive:audit") == 1
    assert store.snapshot().grant == b"grant 1"
    assert (store.head(), store.snapshot().revoked) == (owner.head, None)
    assert [pod.name for pod in store.workers() + store.heartbeats()] == ["pod-7", "hb-1"]
    assert store.receipts("d1") == ([b"latched"], True)
    assert len(store.server().run_id) == 40
    ear = connect(guarded_server, username="golive-auditor", password="golive-auditor")
    ear.call("SUBSCRIBE", "golive:events", "golive:receipts")
    assert ear.receive(2_000)[1] == b"golive:receipts"
    owner.revoke()
    assert ear.receive(2_000)[2] == b"revocation 2"


def test_an_archivist_can_read_append_and_trim_the_ledger(
    as_user: Callable[[str], Deck], owner: Deck
) -> None:
    """Row 46: the only one with XTRIM, and it removes nothing else."""
    owner.activate()
    owner.restrict()
    archivist = as_user("archivist")
    store, keys = archivist.store, archivist.store.keys
    assert archivist.entries() == owner.entries()
    store.keyset_step(2), store.keyset_numbers()
    after = "a" * 64
    assert store.append(b"trimmed", head=owner.head, head_after=after).status is Status.OK
    assert (store.head(), store.link.call("XLEN", keys.audit)) == (after, 3)
    assert store.link.call("XTRIM", keys.audit, "MAXLEN", 1) == 2
    assert [raw for raw, _ in archivist.entries()] == [b"trimmed"]
    assert len(store.server().run_id) == 40


# -- and no others' --------------------------------------------------------------------------------

Command = tuple[str | int, ...]

NOBODY: Sequence[Command] = (
    ("FLUSHALL",),
    ("SWAPDB", 0, 1),
    ("RENAME", "golive:active", "golive:x"),
    ("CONFIG", "SET", "maxmemory", "1"),
    ("ACL", "SETUSER", "golive-worker", "+@all"),
    ("SCRIPT", "FLUSH"),
    ("SHUTDOWN", "NOSAVE"),
    ("REPLICAOF", "NO", "ONE"),
    ("CLIENT", "KILL", "TYPE", "pubsub"),
    ("KEYS", "*"),
    ("MONITOR",),
    ("SET", "elsewhere", "x"),
    ("GET", "elsewhere"),
    ("PERSIST", "golive:active"),
    ("DEL", "golive:audit"),
    ("SET", "golive:audit", "x"),
    ("PEXPIRE", "golive:audit", 1),
    ("XTRIM", "golive:audit", "MAXLEN", 0),
    ("XDEL", "golive:audit", "0-1"),
    ("DEL", "golive:fleet"),
    ("PEXPIRE", "golive:fleet", 1),
    ("DEL", "golive:heartbeats"),
    ("DEL", "golive:receipt:d1"),
    ("SUBSCRIBE", "elsewhere"),
    ("PSUBSCRIBE", "*"),
)
WORKER_MAY_NOT: Sequence[Command] = (
    ("DEL", "golive:active"),
    ("HSET", "golive:active", "grant", "x"),
    ("HDEL", "golive:active", "r:2"),
    ("PEXPIRE", "golive:active", 60_000),
    ("HSET", "golive:beat", "hb-1", "x"),
    ("DEL", "golive:beat"),
    ("HSET", "golive:revoked", "epoch", 99),
    ("DEL", "golive:revoked"),
    ("SET", "golive:epoch", 99),
    ("SET", "golive:last", "x"),
    ("SET", "golive:head", "x"),
    ("XADD", "golive:audit", "*", "r", "x"),
    ("HSET", "golive:heartbeats", "hb-9", "x"),
    ("HDEL", "golive:heartbeats", "hb-1"),
    ("HSET", "golive:heartbeat:hb-1:1", "state", "x"),
    ("HSET", "golive:fleet", "x", "x"),
    ("PUBLISH", "golive:events", "x"),
    ("SUBSCRIBE", "golive:receipts"),
    ("EVAL", "return redis.call('DEL', 'golive:active')", 0),
    ("EVAL", "return redis.call('SET', 'golive:head', 'x')", 0),
    ("EVAL", "return redis.call('PUBLISH', 'golive:events', 'x')", 0),
)
HEARTBEAT_MAY_NOT: Sequence[Command] = (
    ("HDEL", "golive:active", "r:2"),
    ("HDEL", "golive:beat", "hb-2"),
    ("DEL", "golive:worker:pod-7:0"),
    ("HSET", "golive:worker:pod-7:0", "state", "x"),
    ("ZADD", "golive:fleet", 1, "x"),
    ("ZREM", "golive:fleet", "pod-7:0"),
    ("EVAL", "return redis.call('HDEL', 'golive:active', 'r:2')", 0),
)
OPERATOR_MAY_NOT: Sequence[Command] = (
    ("HSET", "golive:beat", "hb-1", "x"),
    ("ZADD", "golive:fleet", 1, "x"),
    ("HSET", "golive:heartbeats", "hb-9", "x"),
    ("HSET", "golive:receipt:d1", "x", "x"),
    ("HSET", "golive:worker:pod-7:0", "state", "x"),
    ("PUBLISH", "golive:receipts", "x"),
)
AUDITOR_MAY_NOT: Sequence[Command] = (
    *(command for command in WORKER_MAY_NOT if command[0] != "SUBSCRIBE"),
    ("HSET", "golive:receipt:d1", "x", "x"),
    ("HSET", "golive:worker:pod-7:0", "state", "x"),
    ("ZADD", "golive:fleet", 1, "x"),
    ("PUBLISH", "golive:receipts", "x"),
    ("EVAL", "return 1", 0),
)
ARCHIVIST_MAY_NOT: Sequence[Command] = (
    *(
        command
        for command in AUDITOR_MAY_NOT
        if command[0] != "EVAL" and command[1] not in {"golive:head", "golive:audit"}
    ),
    ("EVAL", "return redis.call('DEL', 'golive:audit')", 0),
    ("SUBSCRIBE", "golive:events"),
)


@pytest.mark.parametrize(
    ("role", "commands"),
    [
        (
            "archivist",
            [
                *(c for c in NOBODY if c[0] != "XTRIM" and c != ("DEL", "golive:receipt:d1")),
                *ARCHIVIST_MAY_NOT,
            ],
        ),
        ("worker", [*NOBODY, *WORKER_MAY_NOT]),
        ("heartbeat", [*NOBODY, *HEARTBEAT_MAY_NOT]),
        ("operator", [*NOBODY, *OPERATOR_MAY_NOT]),
        ("auditor", [*NOBODY, *AUDITOR_MAY_NOT]),
    ],
)
def test_what_is_not_a_roles_own_is_refused_and_changes_nothing(
    as_user: Callable[[str], Deck], owner: Deck, role: str, commands: Sequence[Command]
) -> None:
    """Row 46."""
    owner.activate()
    owner.restrict()
    owner.beat()
    owner.attend()
    owner.attend(HEARTBEAT)
    owner.store.deliver("d1", "a:latched", b"latched")
    before = owner.everything()
    link = as_user(role).store.link
    for command in commands:
        with pytest.raises(StoreRefusedError) as refused:
            link.call(*command)
        assert refused.value.code == "NOPERM", (command, refused.value.message)
        assert refused.value.hint.startswith("is this the right login?")
    assert owner.everything() == before


@pytest.mark.parametrize("word", ["-zadd", "-hmget", "-hgetall"])
def test_a_permission_that_is_missing_is_called_so_and_not_a_corrupt_key(
    guarded_server: EmbeddedServer, owner: Deck, deck_on: Callable[..., Deck], word: str
) -> None:
    """Row 45: the line of an older release, say."""
    owner.activate()
    with guarded_server.client() as client:
        rules = ["on", ">x", "~*", "+@all", word]
        client.execute_command("ACL", "SETUSER", "older", *rules)
    deck = deck_on(guarded_server, username="older", password="x")
    with pytest.raises(StoreRefusedError) as refused:
        deck.attend()
    assert refused.value.code == "NOPERM"


STEPS: dict[str, Callable[[Deck], object]] = {
    "grant": lambda deck: deck.change(),
    "restrict": lambda deck: deck.restrict(),
    "revoke": lambda deck: deck.revoke(),
    "append": lambda deck: deck.store.append(b"n", head=deck.head, head_after="a" * 64),
    "beat": lambda deck: deck.beat(9),
    "attend as a worker": lambda deck: deck.attend(Caller("worker", "pod-9", "9" * 32)),
    "attend as a heartbeat": lambda deck: deck.attend(Caller("heartbeat", "hb-9", "9" * 32)),
}


@pytest.mark.parametrize(
    ("role", "may_not"),
    [
        ("worker", ["grant", "restrict", "revoke", "append", "beat", "attend as a heartbeat"]),
        ("heartbeat", ["grant", "attend as a worker"]),
        ("operator", ["beat", "attend as a worker", "attend as a heartbeat"]),
        ("auditor", list(STEPS)),
        ("archivist", [step for step in STEPS if step != "append"]),
    ],
)
def test_the_steps_of_other_roles_are_refused_and_change_nothing(
    as_user: Callable[[str], Deck], owner: Deck, role: str, may_not: list[str]
) -> None:
    """Row 46: a heartbeat cannot grant, a worker cannot stop, a reader cannot write."""
    owner.activate()
    owner.restrict()
    before = owner.everything()
    deck = owner.over(as_user(role).store)
    for step in may_not:
        with pytest.raises(StoreRefusedError) as refused:
            STEPS[step](deck)
        assert refused.value.code == "NOPERM", step
        assert owner.everything() == before, step


def test_the_words_of_the_file_are_those_that_the_scripts_use(acl_lines: dict[str, str]) -> None:
    """Row 45: a permission that no code needs is one that only an intruder has use for."""
    used = "".join(
        scripts.text(name).lower()
        for name in (
            "append",
            "attend",
            "beat",
            "checkpoint",
            "grant",
            "keyset",
            "restrict",
            "revoke",
        )
    )
    python = "".join(
        path.read_text(encoding="utf-8").lower()
        for path in Path(scripts.__file__).parent.glob("*.py")
    )
    # PING and WAIT are the guard's and the operator's; SELECT and SETNAME the client library's;
    # TYPE, TIME, XLEN and the ranges what people read a ledger with.
    by_hand = {"ping", "wait", "select", "client|setname", "time", "type", "xlen", "xrange"}
    # What is provided for: proposals, the signed keyset, and a trim.
    by_hand |= {"hsetnx", "zadd", "zrem", "xtrim"}
    by_hand.add("echo")  # with which `redis-cli --pipe` ends, which plays a stop card
    for user in USERS:
        words = acl_lines[user].replace("(", " ").replace(")", " ").split()
        for word in {word[1:] for word in words if word[0] == "+"} - by_hand:
            parts = word.split("|")
            assert all(f"'{part}'" in used or f'"{part}"' in python for part in parts), word
