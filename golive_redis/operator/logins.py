"""Logins: which user Redis needs for a role here, and the proof of what each login may.

A user is proved with its own login: each command is queued in a transaction, which Redis judges by this
very login on this very server, and the transaction is discarded. Where a login may begin none, Redis is
asked what it would say (`ACL DRYRUN`), by the configured login if that one may; and where that is not to
be had either, harmless commands are given on keys of a scratch name. Nothing is changed by any of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from enum import StrEnum
from typing import ClassVar

import msgspec

from golive_redis.config import Config
from golive_redis.errors import ConfigError, RefusedError, StoreError
from golive_redis.masking import Masked
from golive_redis.store import acl, rights, roles, serverinfo
from golive_redis.store.acl import AclUser, Role
from golive_redis.store.connect import Address
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import Link, StoreRefusedError
from golive_redis.store.rights import Command
from golive_redis.store.serverinfo import ServerInfo

TIMEOUT_MS = 2_000.0
_SHOWN = 3  # words of a command
PASSWORDS = {
    Role.WORKER: "GOLIVE_REDIS_PASSWORD_WORKER",
    Role.HEARTBEAT: "GOLIVE_REDIS_PASSWORD_HEARTBEAT",
    Role.OPERATOR: "GOLIVE_REDIS_PASSWORD_OPERATOR",
    Role.AUDITOR: "GOLIVE_REDIS_PASSWORD_AUDITOR",
    Role.ARCHIVIST: "GOLIVE_REDIS_PASSWORD_ARCHIVIST",
    Role.CARD: "GOLIVE_REDIS_PASSWORD_CARD",
}
"""Variables with the passwords that `golive acl check` logs in with."""


class Found(StrEnum):
    """What Redis says of a command."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    UNKNOWN = "not known"


class Way(StrEnum):
    """How it was found out."""

    TRANSACTION = "transaction"
    DRYRUN = "ACL DRYRUN"
    SCRATCH = "scratch keys"
    NONE = "no login"


class Trial(msgspec.Struct, frozen=True):
    """A command, what a role should get for it, and what it gets.

    Attributes:
        why: What Redis said, where it is not what was expected.
    """

    command: str
    expected: Found
    found: Found
    why: str = ""

    @property
    def differs(self) -> bool:
        """True when it is not as it should be; also when that is not known."""
        return self.found is not self.expected


class Proof(msgspec.Struct, frozen=True):
    """A user, and what was tried."""

    role: Role
    user: str
    way: Way
    trials: tuple[Trial, ...]

    @property
    def differences(self) -> int:
        """How many trials are not as they should be."""
        return sum(trial.differs for trial in self.trials)


class Login(Masked, frozen=True):
    """A user to prove, with its password; None when nobody gave one."""

    MASKED: ClassVar[frozenset[str]] = frozenset({"password"})

    role: Role
    user: str
    password: str | None


def line_for(
    config: Config, role: Role, *, name: str = "", more: tuple[str, ...] = ()
) -> tuple[AclUser, ServerInfo]:
    """Return the user that a role needs on the connected server, and what that server is.

    Any login will do: this is what makes the users.

    Raises:
        StoreError: The server cannot be asked for its version.
        RefusedError: It is too old to have such users.
    """
    address = config.address()
    with closing(address.link(timeout_ms=TIMEOUT_MS, name="golive-acl", any_user=True)) as link:
        info = serverinfo.ask(link)
    if info.too_old:
        least = ".".join(map(str, info.least))
        raise RefusedError(
            f"{info.shown} has no users of this kind", hint=f"use {info.kind} {least} or newer"
        )
    made = acl.user_of(
        role,
        address.keyspace,
        name=name,
        cluster=info.cluster,
        functions=address.functions,
        more=more,
    )
    return made, info


# -- proving -------------------------------------------------------------------------------------


def prove(
    config: Config, *, only: Sequence[Role] = (), users: Mapping[Role, str] | None = None
) -> list[Proof]:
    """Prove what each user may whose password is known here, and of the others what can be asked.

    Args:
        config: Names the server, and one login; others' passwords are in its environment (`PASSWORDS`).
        only: These roles alone.
        users: Names of users that are not called `golive-ROLE`.

    Raises:
        StoreError: Redis cannot be reached.
        RefusedError: There is no password for anybody, and the configured login may not ask.
    """
    address = config.address()
    asking = address.link(timeout_ms=TIMEOUT_MS, name="golive-acl", any_user=True)
    with closing(asking):
        asking.open()
        logins = [
            login
            for login in _logins(config, users or {})
            if (not only or login.role in only)
            and (login.password is not None or _may_ask(asking, login.user))
        ]
        if not logins:
            raise RefusedError(
                "no password of any user was given, and this login may not ask about others",
                hint=f"export {PASSWORDS[(*only, Role.WORKER)[0]]}=..., for each role; or log in as "
                "an administrator, in $GOLIVE_REDIS_URL",
            )
        return [_prove(address, asking, login) for login in logins]


def _logins(config: Config, users: Mapping[Role, str]) -> list[Login]:
    """Return a login for each role; the configured one stands for the role that its name says."""
    configured = config.policy.store.username or ""
    found: list[Login] = []
    for role in Role:
        own = acl.user_name(role)
        is_configured = configured == own or configured.startswith(f"{own}-")
        user = users.get(role) or (configured if is_configured else own)
        password = config.environ.get(PASSWORDS[role])
        if password is None and user == configured:
            with suppress(ConfigError):  # its variable is not set here
                password = config.password
        found.append(Login(role, user, password))
    return found


def _may_ask(asking: Link, user: str) -> bool:
    """Tell whether this login may ask what that user may; not where there is no such user."""
    with suppress(StoreRefusedError):
        asking.call("ACL", "DRYRUN", user, "PING")
        return True
    return False


def _prove(address: Address, asking: Link, login: Login) -> Proof:
    keys, bound = address.keyspace, _bound(login)
    functions = address.functions
    needed = roles.may(login.role, keys, bound or roles.TRIED, functions=functions)
    denied = roles.may_not(login.role, keys, bound, functions=functions)
    wanted = [
        *((command, Found.ALLOWED) for command in needed),
        *((command, Found.REFUSED) for command in denied),
    ]
    commands = [command for command, _ in wanted]
    if login.password is None:
        way, said = Way.DRYRUN, list(_dry(asking, login.user, commands))
        return Proof(login.role, login.user, way, _judged(wanted, said))
    link = address.logged_in_as(login.user, login.password).link(
        timeout_ms=TIMEOUT_MS, name="golive-acl"
    )
    with closing(link):
        try:
            link.open()
        except StoreError as error:
            trial = Trial("log in", Found.ALLOWED, Found.REFUSED, error.message)
            return Proof(login.role, login.user, Way.NONE, (trial,))
        try:
            said = [_found(error) for error in rights.refusals(link, commands)]
        except StoreError as error:
            first = Trial("MULTI", Found.ALLOWED, Found.REFUSED, error.message)
            rest = _without_transaction(link, asking, login, wanted, keys)
            return Proof(login.role, login.user, rest[0], (first, *rest[1]))
    return Proof(login.role, login.user, Way.TRANSACTION, _judged(wanted, said))


def _bound(login: Login) -> str:
    """Return the name that a user is bound to, which is in its own name; "" for none."""
    own = f"{acl.user_name(login.role)}-"
    is_one = login.role in {Role.WORKER, Role.HEARTBEAT} and login.user.startswith(own)
    return login.user.removeprefix(own) if is_one else ""


def _judged(
    wanted: Sequence[tuple[Command, Found]], said: Sequence[tuple[Found, str]]
) -> tuple[Trial, ...]:
    return tuple(
        Trial(_named(command), expected, found, why if found is not expected else "")
        for (command, expected), (found, why) in zip(wanted, said, strict=True)
    )


def _named(command: Command) -> str:
    """Return a command with its keys, of many the first two."""
    words = rights.in_words(command).split()
    if len(words) == 1:
        words += [str(word) for word in command[1:] if word in {roles.TRIED, "*"}]
    more = len(words) - _SHOWN
    return " ".join([*words[:_SHOWN], f"and {more} more"] if more > 1 else words)


def _found(error: StoreRefusedError | None) -> tuple[Found, str]:
    if error is None:
        return Found.ALLOWED, "Redis would carry it out"
    # Anything else is no judgement of the login: an unknown command, a memory that is full.
    return (Found.REFUSED if error.code == "NOPERM" else Found.UNKNOWN), error.message


def _dry(asking: Link, user: str, commands: Sequence[Command]) -> Iterator[tuple[Found, str]]:
    """Ask Redis what it would say to that user."""
    replies = asking.pipeline([("ACL", "DRYRUN", user, *command) for command in commands])
    for reply in replies:
        if isinstance(reply, StoreRefusedError):
            yield Found.UNKNOWN, reply.message
        elif reply == b"OK":
            yield Found.ALLOWED, "Redis would carry it out"
        else:
            yield Found.REFUSED, bytes(reply).decode("utf-8", "replace")


def _without_transaction(
    link: Link,
    asking: Link,
    login: Login,
    wanted: Sequence[tuple[Command, Found]],
    keys: Keyspace,
) -> tuple[Way, tuple[Trial, ...]]:
    """Try a login that may begin no transaction: by asking, or on keys of a scratch name."""
    if _may_ask(asking, login.user):
        said = list(_dry(asking, login.user, [command for command, _ in wanted]))
        return Way.DRYRUN, _judged(wanted, said)
    scratch = f"{keys.namespace}:{roles.TRIED}"
    reads = [pair for pair in wanted if pair[1] is Found.ALLOWED and pair[0][0] in _READS]
    harmless: list[Command] = [
        ("SET", scratch, "x", "XX"),  # of a key that is not there: none is made
        ("ZADD", scratch, "XX", 1, "x"),
        ("XADD", scratch, "NOMKSTREAM", "*", "x", "x"),
        ("DEL", scratch),
        ("PUBLISH", scratch, "x"),
        ("CONFIG", "GET", "maxmemory"),
        ("ACL", "LIST"),
    ]
    if login.role is Role.AUDITOR:
        harmless.append(("EVAL", "return 1", 0))
    tried = [*reads, *((command, Found.REFUSED) for command in harmless)]
    with suppress(StoreError):  # `refusals` may have closed it, and it opens by itself
        link.call("PING")
    replies = link.pipeline([command for command, _ in tried])
    said = [_found(r if isinstance(r, StoreRefusedError) else None) for r in replies]
    return Way.SCRATCH, _judged(tried, said)


_READS = frozenset(
    [
        "GET",
        "HGET",
        "HGETALL",
        "HMGET",
        "HLEN",
        "HKEYS",
        "MGET",
        "PTTL",
        "ZRANGE",
        "ZSCORE",
        "XLEN",
        "XRANGE",
        "XREVRANGE",
        "TYPE",
    ]
)
