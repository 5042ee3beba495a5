"""The ACL lines: which Redis user each role needs, and no more. The one source of them.

`golive acl` prints them for the connected server, docs/reference/acl.txt has them for the namespace
`golive`, and the tests load them into real servers.

A line is made of parts, because Redis judges each part alone: a command is allowed only when one part
allows it together with all of its keys. So what a role may read is one part, and each write stands with
its own keys. Scripts declare their keys, which takes read and write on each of them in the first part;
what they do inside is judged again, by the same line.

Source: https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/ (selectors, 7.0)
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from golive_redis.store.keyspace import INVALIDATE, Keyspace

DEFAULT_OFF = ("default", "reset", "off")
"""The line that lets nobody in who has not logged in."""

_ALWAYS = "ping multi discard select acl|whoami client|setname"
_TRACKING = "client|id client|tracking"
_OWN = {"worker": {"worker:*", "left:*"}, "heartbeat": {"heartbeat:*"}}
"""Keys that carry a name, which a user of one name may write for that name alone."""


class Role(StrEnum):
    """Whose login it is."""

    WORKER = "worker"
    HEARTBEAT = "heartbeat"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    ARCHIVIST = "archivist"
    CARD = "card"


class _Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a role may do. Commands and keys are words; keys are without the namespace.

    Attributes:
        commands: On all of the keys below, besides what every role has.
        keys: Which may also be declared by a script.
        reads: Which may only be read.
        writes: Commands that take keys of their own, in pairs: keys, commands.
        hears: Channels.
        says: Channels.
        scripts: It runs scripts.
        stops: It may stop the fleet, and so keeps EVAL where the scripts are functions: a stop depends
            on no library that somebody has to load.
        tracks: Redis tells it when the state changes.
    """

    commands: str
    keys: str = ""
    reads: str = ""
    writes: tuple[tuple[str, str], ...] = ()
    hears: str = ""
    says: str = ""
    scripts: bool = True
    stops: bool = False
    tracks: bool = False


_STATE = "active beat revoked epoch last head audit"
_RULES: dict[Role, _Rules] = {
    Role.WORKER: _Rules(
        commands="time get hget hmget hgetall hstrlen pttl zscore",
        keys="worker:* fleet",
        reads="active beat revoked head keyset checkpoint left:*",
        writes=(
            ("worker:*", "hset pexpire del"),
            ("fleet", "zadd"),
            ("left:*", "set"),
            ("receipt:*", "hset pexpire"),
        ),
        hears="events",
        says="receipts",
        tracks=True,
    ),
    Role.HEARTBEAT: _Rules(
        commands="time info wait get hget hmget hgetall hlen hstrlen mget pttl zrange xrange xrevrange",
        keys=f"{_STATE} heartbeat:* heartbeats checkpoint",
        reads="fleet fleet-id left:* worker:* heartbeat:* receipt:* keyset proposal:* proposals begins",
        writes=(
            ("active beat revoked heartbeat:* heartbeats receipt:*", "hset"),
            ("active beat heartbeat:* receipt:*", "pexpire"),
            ("active beat revoked heartbeat:*", "del"),
            ("heartbeats revoked", "hdel"),
            ("epoch last head", "set"),
            ("audit", "xadd"),
            ("checkpoint", "set"),
        ),
        hears="events receipts",
        says="events receipts",
        stops=True,
        tracks=True,
    ),
    Role.OPERATOR: _Rules(
        commands="time info wait type get hget hmget hgetall hlen hexists hkeys hstrlen mget pttl zcard "
        "zrange xlen xrange xrevrange",
        keys=f"{_STATE} fleet-id left:* keyset proposal:* proposals",
        reads="fleet heartbeats worker:* heartbeat:* receipt:* checkpoint begins preflight",
        writes=(
            ("active revoked", "hset"),
            ("active", "pexpire"),
            ("active beat revoked heartbeat:*", "del"),
            ("active revoked heartbeats", "hdel"),
            ("epoch last head fleet-id left:* preflight begins", "set"),
            ("audit", "xadd"),
            ("fleet", "zrem"),
            ("keyset", "hset"),
            ("proposal:*", "hsetnx pexpireat del"),
            ("proposals", "zadd zrem zremrangebyscore pexpireat del"),
        ),
        hears="events receipts",
        says="events",
        stops=True,
    ),
    Role.AUDITOR: _Rules(
        commands="info time type get hget hmget hgetall hlen hkeys hstrlen mget pttl zrange xlen xrange "
        "xrevrange",
        reads="*",
        hears="events receipts",
        scripts=False,
    ),
    Role.ARCHIVIST: _Rules(
        commands="info time type get hget hlen hkeys hstrlen hgetall xlen xrange xrevrange",
        keys="head audit",
        reads="checkpoint keyset fleet-id begins receipt:*",
        writes=(("head begins", "set"), ("audit", "xadd xtrim")),
    ),
    Role.CARD: _Rules(
        commands="get hget hmget echo",  # redis-cli --pipe ends with an ECHO
        keys=f"{_STATE} fleet-id",
        writes=(
            ("active beat revoked", "del"),
            ("revoked", "hset hdel"),
            ("epoch last head", "set"),
            ("audit", "xadd"),
        ),
        says="events",
        stops=True,
    ),
}


class AclUser(msgspec.Struct, frozen=True):
    """A user of Redis.

    Attributes:
        user: Its name.
        rules: As `ACL SETUSER` takes them behind the name. Without a password it cannot log in.
    """

    user: str
    rules: tuple[str, ...]

    @property
    def line(self) -> str:
        """As an ACL file has it."""
        return " ".join(("user", self.user, *self.rules))

    @property
    def command(self) -> str:
        """As `redis-cli` takes it."""
        words = (f'"{word}"' if word.startswith("(") else word for word in self.rules)
        return " ".join(("ACL SETUSER", self.user, *words))


def user_name(role: Role, name: str = "") -> str:
    """Return what the user of a role is called, or the user of one name in it."""
    return f"golive-{role}-{name}" if name else f"golive-{role}"


def user_of(
    role: Role,
    keys: Keyspace,
    *,
    name: str = "",
    cluster: bool = False,
    functions: bool = False,
    more: tuple[str, ...] = (),
) -> AclUser:
    """Return the user of a role.

    Args:
        role: Which.
        keys: Of the switch; its database decides what the channels are called.
        name: Bind it to one worker id, or to one heartbeat: it writes no other's presence. Of an
            operator it is only part of the user's name. It has no character that a pattern gives a
            meaning to; "" binds to none.
        cluster: In a Redis Cluster everybody asks which node owns the slot.
        functions: The scripts are a function library (`store.scripts`).
        more: Further rules, such as a password's hash.
    """
    rules, prefix = _RULES[role], f"{keys.namespace}:"
    commands = [*_ALWAYS.split(), *(_TRACKING.split() if rules.tracks else ())]
    commands += ["cluster|slots"] if cluster else []
    commands += _scripting(rules, functions=functions)
    commands += ["function|list"] if functions and role is Role.OPERATOR else []
    commands += rules.commands.split()
    own = _named(rules.keys, role, name)
    reads = [key for key in rules.reads.split() if key not in own]
    channels = {"events": keys.events, "receipts": keys.receipts}
    heard = [channels[word] for word in rules.hears.split()]
    heard += [INVALIDATE] if rules.tracks else []
    said = [channels[word] for word in rules.says.split()]
    parts = [
        ([f"~{prefix}{key}" for key in _named(some, role, name)], may) for some, may in rules.writes
    ]
    parts += [([f"&{channel}" for channel in heard], "subscribe")] if heard else []
    parts += [([f"&{channel}" for channel in said], "publish")] if said else []
    return AclUser(
        user_name(role, name),
        (
            *("reset", "on", "-@all"),
            *(f"+{word}" for word in commands),
            *(f"~{prefix}{key}" for key in own),
            *(f"%R~{prefix}{key}" for key in reads),
            *(f"({' '.join((*some, *_allowed(may)))})" for some, may in parts),
            *more,
        ),
    )


def _allowed(words: str) -> list[str]:
    return [f"+{word}" for word in words.split()]


def _named(keys: str, role: Role, name: str) -> list[str]:
    """Return keys as words; those that carry a name for that name alone, where there is one."""
    bound = _OWN.get(role, set()) if name else set()
    return [f"{key[:-1]}{name}:*" if key in bound else key for key in keys.split()]


def _scripting(rules: _Rules, *, functions: bool) -> list[str]:
    if not rules.scripts:
        return []
    if not functions:
        return ["eval", "evalsha"]
    return ["fcall", "eval"] if rules.stops else ["fcall"]


def text(keys: Keyspace, *, cluster: bool = False, functions: bool = False) -> str:
    """Return an ACL file with a user for each role, and `default` off."""
    users = [AclUser(DEFAULT_OFF[0], DEFAULT_OFF[1:])]
    users += [user_of(role, keys, cluster=cluster, functions=functions) for role in Role]
    return "".join(f"{user.line}\n" for user in users)
