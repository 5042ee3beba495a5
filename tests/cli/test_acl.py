"""`golive acl`: lines that real servers take, and a check that finds where a line is another."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from golive_redis.operator.logins import PASSWORDS
from golive_redis.store.acl import Role, user_name
from golive_redis.testing.server import EmbeddedServer

ROLES = tuple(Role)
PASSWORD = "secret-of-the-user"


@pytest.fixture
def guarded(made: Any, own_server: EmbeddedServer) -> Iterator[Callable[..., str]]:
    """Installs the user that the command prints, with a password; returns its name."""
    made.environ["GOLIVE_REDIS_URL"] = own_server.url
    with own_server.client() as client:

        def install(role: Role, *words: str, without: str = "", more: str = "") -> str:
            asked = ("acl", "--role", role, "--setuser", "--password-env", "PASSWORD", *words)
            done = made(*asked, PASSWORD=PASSWORD)
            assert (done.returncode, done.stderr) == (0, "")
            rules = [rule for rule in shlex.split(done.stdout) if rule != without]
            client.execute_command(*rules, *more.split())
            return rules[2]

        yield install


def passwords(*roles: Role) -> dict[str, str]:
    return {PASSWORDS[role]: PASSWORD for role in roles}


def checked(made: Any, *words: str, code: int = 0, **environ: str) -> dict[str, Any]:
    """The users of `golive acl check`, by role."""
    said = made.json("acl", "check", *words, code=code, **environ)
    assert said["passed"] is (code == 0)
    return {user["role"]: user for user in said["users"]}


def differing(user: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (trial["command"], trial["expected"], trial["found"])
        for trial in user["trials"]
        if trial["found"] != trial["expected"]
    ]


def everything(server: EmbeddedServer) -> list[bytes]:
    with server.client() as client:
        return sorted((key, client.dump(key)) for key in client.keys("*"))


def test_every_line_is_taken_by_the_server_and_allows_what_its_role_needs_and_no_more(
    made: Any, guarded: Callable[..., str], own_server: EmbeddedServer
) -> None:
    """Row 46: each logs in and tries it; the keys are what they were."""
    assert [guarded(role) for role in ROLES] == [user_name(role) for role in ROLES]
    with own_server.client() as client:
        client.hset("golive:active", "grant", "x")
        client.xadd("golive:audit", {"r": "x"})
    before = everything(own_server)
    found = checked(made, **passwords(*ROLES))
    assert {role: differing(user) for role, user in found.items()} == {key: [] for key in ROLES}
    for user in found.values():
        assert user["way"] == "transaction"
        assert len({trial["expected"] for trial in user["trials"]}) == 2
        assert len(user["trials"]) > 25
    assert everything(own_server) == before
    shown = made("acl", "check", "--role", "worker", **passwords(Role.WORKER))
    assert "AS IT SHOULD BE golive-worker: " in shown.stdout
    assert "nothing was changed" in shown.stdout


def test_only_the_archivist_may_trim_and_the_auditor_only_reads(
    made: Any, guarded: Callable[..., str]
) -> None:
    for role in ROLES:
        guarded(role)
    found = checked(made, **passwords(*ROLES))
    trims = {
        role: trial["found"]
        for role, user in found.items()
        for trial in user["trials"]
        if trial["command"] == "XTRIM golive:audit"
    }
    assert trims == {role: "allowed" if role == "archivist" else "refused" for role in ROLES}
    auditor = {
        trial["command"] for trial in found["auditor"]["trials"] if trial["found"] == "allowed"
    }
    assert {word.split()[0] for word in auditor} <= {
        *("GET", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET", "HSTRLEN", "MGET", "PTTL"),
        *("ZRANGE", "XLEN", "XRANGE", "XREVRANGE", "INFO"),
    }


def test_a_user_of_one_name_writes_no_others_presence(
    made: Any, guarded: Callable[..., str]
) -> None:
    worker = guarded(Role.WORKER, "--name", "pod-7")
    heartbeat = guarded(Role.HEARTBEAT, "--name", "hb-1")
    assert (worker, heartbeat) == ("golive-worker-pod-7", "golive-heartbeat-hb-1")
    named = ("--user", f"worker={worker}", "--user", f"heartbeat={heartbeat}")
    roles = ("--role", "worker", "--role", "heartbeat")
    secrets = passwords(Role.WORKER, Role.HEARTBEAT)
    found = checked(made, *named, *roles, **secrets)
    assert set(found) == {"worker", "heartbeat"}
    # The rule for every pod is too much for a user of one.
    guarded(Role.WORKER, "--name", "pod-7", more="(~golive:worker:* +hset)")
    (too_much,) = differing(checked(made, *named, *roles, code=1, **secrets)["worker"])
    assert too_much == ("HSET golive:worker:*", "refused", "allowed")


@pytest.mark.parametrize(
    ("role", "without", "more", "difference"),
    [
        (Role.WORKER, "", "(~golive:active +del)", ("DEL golive:active", "refused", "allowed")),
        (Role.WORKER, "+zscore", "", ("ZSCORE golive:fleet", "allowed", "refused")),
        (Role.AUDITOR, "", "+eval", ("EVAL", "refused", "allowed")),
        (
            Role.ARCHIVIST,
            "(~golive:audit +xadd +xtrim)",
            "",
            ("XTRIM golive:audit", "allowed", "refused"),
        ),
        (Role.HEARTBEAT, "+xrange", "", ("XRANGE golive:audit", "allowed", "refused")),
        (Role.OPERATOR, "", "+flushall", ("FLUSHALL", "refused", "allowed")),
    ],
)
def test_a_line_that_allows_too_much_or_too_little_is_found(
    made: Any,
    guarded: Callable[..., str],
    own_server: EmbeddedServer,
    role: Role,
    without: str,
    more: str,
    difference: tuple[str, str, str],
) -> None:
    guarded(role, without=without, more=more)
    before = everything(own_server)
    found = checked(made, "--role", role, code=1, **passwords(role))
    assert difference in differing(found[role])
    assert everything(own_server) == before, "what is allowed too much is not done either"
    shown = made("acl", "check", "--role", role, **passwords(role))
    assert shown.returncode == 1
    assert f"DIFFERS golive-{role}: " in shown.stdout


def test_where_an_administrator_is_logged_in_redis_is_asked_without_a_password(
    made: Any, guarded: Callable[..., str], own_server: EmbeddedServer
) -> None:
    for role in (Role.WORKER, Role.AUDITOR):
        guarded(role)
    found = checked(made)
    assert {role: user["way"] for role, user in found.items()} == dict.fromkeys(
        ("worker", "auditor"), "ACL DRYRUN"
    )
    assert all(user["differences"] == 0 for user in found.values())
    guarded(Role.WORKER, more="~*")
    assert ("GET acl-check", "refused", "allowed") in differing(checked(made, code=1)["worker"])


def test_an_administrator_in_the_variable_is_asked_and_every_password_is_tried_as_its_user(
    made: Any, guarded: Callable[..., str], own_server: EmbeddedServer
) -> None:
    """The order of acl.md: `default` is off, and the configuration names the operator."""
    guarded(Role.WORKER)
    file = made.folder / "config" / "go_live.yaml"
    login = "store:\n  username: golive-operator\n  password_env: OPERATOR\n"
    file.write_text(file.read_text().replace("store:\n", login, 1))
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "admin", "on", ">hunter2", "~*", "&*", "+@all")
    url = own_server.url.replace("redis://", "redis://admin:hunter2@")
    found = checked(made, "--role", "worker", GOLIVE_REDIS_URL=url, **passwords(Role.WORKER))
    assert (found["worker"]["way"], found["worker"]["differences"]) == ("transaction", 0)
    for words in (("store", "install"), ("status",)):
        done = made(*words, GOLIVE_REDIS_URL=url)
        assert "store.username" not in done.stderr, done.stderr
        assert done.returncode == 0, done.stderr


def test_a_login_without_transactions_is_tried_on_scratch_keys_where_nobody_may_ask(
    made: Any, guarded: Callable[..., str], own_server: EmbeddedServer
) -> None:
    """A line of an older release: the auditor's had no +multi."""
    guarded(Role.AUDITOR, without="+multi")
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-acl|dryrun")
        before = sorted(client.keys("*"))
        found = checked(made, "--role", "auditor", code=1, **passwords(Role.AUDITOR))["auditor"]
        assert sorted(client.keys("*")) == before
    assert found["way"] == "scratch keys"
    assert differing(found) == [("MULTI", "allowed", "refused")]
    assert len(found["trials"]) > 15


def test_a_wrong_password_and_a_missing_user_are_differences(
    made: Any, guarded: Callable[..., str]
) -> None:
    guarded(Role.WORKER)
    given = {PASSWORDS[Role.WORKER]: "wrong", PASSWORDS[Role.OPERATOR]: PASSWORD}
    found = checked(made, code=1, **given)
    for role in ("worker", "operator"):
        assert differing(found[role]) == [("log in", "allowed", "refused")]


def test_without_any_password_and_any_right_to_ask_the_variables_are_named(
    made: Any, guarded: Callable[..., str], own_server: EmbeddedServer
) -> None:
    guarded(Role.AUDITOR)
    url = own_server.url.replace("://", f"://golive-auditor:{PASSWORD}@")
    done = made("acl", "check", GOLIVE_REDIS_URL=url)
    assert done.returncode == 1
    assert "no password of any user was given" in done.stderr
    assert "export GOLIVE_REDIS_PASSWORD_WORKER=" in done.stderr


def test_what_cannot_be_printed_is_said(made: Any, own_server: EmbeddedServer) -> None:
    environ = {"GOLIVE_REDIS_URL": own_server.url}
    for words, said in (
        (("acl",), "--role is missing"),
        (("acl", "--role", "worker", "--name", "a b"), "'a b' is not a name"),
        (("acl", "--role", "worker", "--password-env", "NOT_SET"), "NOT_SET is not set"),
        (("acl", "--role", "worker", "check"), "options of check stand after it"),
        (("acl", "check", "--user", "boss=x"), "'boss=x' is not ROLE=USER"),
    ):
        done = made(*words, **environ)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    done = made("acl", "--role", "worker", GOLIVE_REDIS_URL="redis://127.0.0.1:1")
    assert done.returncode == 4
    done = made("acl", "--role", "worker", **environ)
    assert done.stdout.startswith("user golive-worker reset on -@all ")
    assert "golive-worker has no password yet" in done.stderr


def test_the_line_is_for_the_namespace_and_the_database_of_the_configuration(
    made: Any, own_server: EmbeddedServer
) -> None:
    path = made.folder / "config" / "go_live.yaml"
    path.write_text(path.read_text().replace("namespace: golive", "namespace: desk7"))
    said = made.json("acl", "--role", "worker", GOLIVE_REDIS_URL=f"{own_server.url}/3")
    assert "golive:" not in said["line"]
    assert "~desk7:worker:* " in said["line"] and "&desk7:events@3 " in said["line"]
    assert said["server"].split()[0] in {"redis", "valkey"} and said["cluster"] is False
