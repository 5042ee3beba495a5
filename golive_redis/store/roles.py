"""What each role may do and what it may not, as commands: what `golive acl check` proves.

Not the rules themselves: these are in `acl`, and this is written down apart from them, so that a rule
that allows too much is found. What a role may do is what its code gives to Redis (`rights`).
"""

from __future__ import annotations

from golive_redis.store import rights
from golive_redis.store.acl import Role
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.rights import Command

TRIED = "acl-check"
"""Stands for a name, an instance or a directive that does not exist."""


def may(role: Role, keys: Keyspace, name: str = TRIED, *, functions: bool = False) -> list[Command]:
    """Return commands that a role needs.

    Args:
        role: Which.
        keys: Of the switch.
        name: The worker or heartbeat that its user is bound to.
        functions: The scripts are functions of a library.
    """
    return rights.as_run(_needed(role, keys, name), functions=functions)


def _needed(role: Role, keys: Keyspace, name: str) -> list[Command]:
    if role is Role.WORKER:
        return rights.of_worker(keys, name, TRIED)
    if role is Role.HEARTBEAT:
        return [*rights.of_heartbeat(keys, name, TRIED), *_heartbeats_later(keys)]
    if role is Role.OPERATOR:
        return [*rights.of_operator(keys), *_operators_later(keys)]
    if role is Role.AUDITOR:
        return _reading(keys)
    if role is Role.CARD:
        return _playing(keys)
    return [
        ("EVAL", "return 1", 2, keys.head, keys.audit),
        ("EVALSHA", "0" * 40, 2, keys.head, keys.audit),
        ("GET", keys.head),
        ("SET", keys.head, "x"),
        ("XADD", keys.audit, "*", "x", "x"),
        ("XTRIM", keys.audit, "MINID", "0"),
        ("SET", keys.begins, "x"),
        *(("GET", key) for key in (keys.begins, keys.checkpoint, keys.fleet_id)),
        *((word, keys.keyset, "1") for word in ("HSTRLEN", "HGET")),
        *((word, keys.keyset) for word in ("HLEN", "HKEYS")),
        *((word, keys.receipt(TRIED)) for word in ("HLEN", "HGETALL")),
        *_of_ledger(keys),
        ("TIME",),
        ("INFO",),
    ]


def _playing(keys: Keyspace) -> list[Command]:
    """Return what the script of a stop card does."""
    state = (keys.active, keys.beat, keys.revoked, keys.epoch, keys.last, keys.head, keys.audit)
    return [
        ("PUBLISH", keys.events, "x"),
        ("EVAL", "return 1", len(state) + 1, *state, keys.fleet_id),
        ("HMGET", keys.active, "term"),
        ("HGET", keys.active, "r:2"),
        ("DEL", keys.active, keys.beat),
        ("HMGET", keys.revoked, "epoch"),
        ("DEL", keys.revoked),
        ("HDEL", keys.revoked, "confirmed"),
        ("HSET", keys.revoked, "epoch", 1),
        *(("GET", key) for key in (keys.epoch, keys.head, keys.fleet_id)),
        *(("SET", key, "x") for key in (keys.epoch, keys.last, keys.head)),
        ("XADD", keys.audit, "*", "x", "x"),
    ]


def _heartbeats_later(keys: Keyspace) -> list[Command]:
    """Return what is provided for: proposals."""
    return [
        ("HGETALL", keys.proposal(TRIED)),
        ("GET", keys.begins),
    ]


def _operators_later(keys: Keyspace) -> list[Command]:
    return [
        *_of_ledger(keys),
        ("GET", keys.checkpoint),
        *((word, keys.begins, *more) for word, *more in (("GET",), ("SET", "x"))),
    ]


def _of_ledger(keys: Keyspace) -> list[Command]:
    return [
        ("XLEN", keys.audit),
        ("XRANGE", keys.audit, "-", "+", "COUNT", 1),
        ("XREVRANGE", keys.audit, "+", "-", "COUNT", 1),
    ]


def _reading(keys: Keyspace) -> list[Command]:
    return [
        *_of_ledger(keys),
        *(("HGETALL", key) for key in (keys.active, keys.beat, keys.revoked, keys.heartbeats)),
        *(("GET", key) for key in (keys.epoch, keys.last, keys.head, keys.checkpoint)),
        *((word, keys.keyset, "1") for word in ("HSTRLEN", "HGET")),
        *((word, keys.keyset) for word in ("HLEN", "HKEYS")),
        ("ZRANGE", keys.fleet, 0, 0),
        ("MGET", keys.goodbye(TRIED, TRIED)),
        ("HMGET", keys.worker(TRIED, TRIED), "x"),
        ("HGETALL", keys.receipt(TRIED)),
        ("HGETALL", keys.proposal(TRIED)),
        ("PTTL", keys.active),
        ("INFO",),
    ]


def may_not(
    role: Role, keys: Keyspace, name: str = "", *, functions: bool = False
) -> list[Command]:
    """Return commands that must be refused to a role.

    Args:
        role: Which.
        keys: Of the switch.
        name: The worker or heartbeat that its user is bound to, "" when to none.
        functions: The scripts are functions of a library: then who stops nobody runs no other script.
    """
    own = {
        Role.WORKER: [
            *_changing(keys),
            *_posing(keys, Role.HEARTBEAT),
            ("SUBSCRIBE", keys.receipts),
        ],
        Role.HEARTBEAT: [
            *_posing(keys, Role.WORKER),
            ("HDEL", keys.active, "r:2"),
            ("HDEL", keys.beat, "x"),
            ("HSET", keys.keyset, "1", "x"),
        ],
        Role.OPERATOR: [
            *_posing(keys, Role.WORKER),
            *_posing(keys, Role.HEARTBEAT),
            ("HSET", keys.receipt(TRIED), "x", "x"),
            ("PUBLISH", keys.receipts, "x"),
            ("SET", keys.checkpoint, "x"),
            ("HDEL", keys.keyset, "1"),
            ("DEL", keys.keyset),
        ],
        Role.AUDITOR: [
            *_changing(keys),
            *_posing(keys, Role.WORKER),
            *_posing(keys, Role.HEARTBEAT),
            ("PUBLISH", keys.receipts, "x"),
            ("EVAL", "return 1", 0),
            ("FCALL", "x", 0),
        ],
        Role.ARCHIVIST: [
            *(command for command in _changing(keys) if command[1] not in {keys.head, keys.audit}),
            *_posing(keys, Role.WORKER),
            *_posing(keys, Role.HEARTBEAT),
            ("SUBSCRIBE", keys.events),
        ],
        Role.CARD: [
            ("HSET", keys.active, "grant", "x"),
            ("PEXPIRE", keys.active, 60_000),
            ("HSET", keys.beat, "x", "x"),
            ("SET", keys.fleet_id, "x"),
            ("XRANGE", keys.audit, "-", "+"),
            ("PUBLISH", keys.receipts, "x"),
            ("SUBSCRIBE", keys.events),
            *_posing(keys, Role.WORKER),
            *_posing(keys, Role.HEARTBEAT),
        ],
    }[role]
    if functions and role in {Role.WORKER, Role.ARCHIVIST}:
        own += [("EVAL", "return 1", 0), ("EVALSHA", "0" * 40, 0)]
    if name:
        own += [("HSET", key, "x", "x") for key in _of_another(role, keys, name)]
    trims: list[Command] = [("XTRIM", keys.audit, "MAXLEN", 0)]
    return [*_nobody(keys), *(trims if role is not Role.ARCHIVIST else ()), *own]


def _of_another(role: Role, keys: Keyspace, name: str) -> list[str]:
    if role is Role.WORKER:
        return [keys.worker(f"{name}x", TRIED)]
    return [keys.heartbeat(f"{name}x", TRIED)] if role is Role.HEARTBEAT else []


def _nobody(keys: Keyspace) -> list[Command]:
    """Return what no user of golive may do."""
    return [
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("RENAME", keys.active, f"{keys.namespace}:x"),
        ("CONFIG", "SET", "maxmemory", "1"),
        ("ACL", "SETUSER", "golive-worker", "+@all"),
        ("SCRIPT", "FLUSH"),
        ("FUNCTION", "FLUSH"),
        ("FUNCTION", "LOAD", "x"),
        ("CLIENT", "KILL", "TYPE", "pubsub"),
        ("REPLICAOF", "NO", "ONE"),
        ("SET", TRIED, "x"),
        ("GET", TRIED),
        ("PERSIST", keys.active),
        ("DEL", keys.audit),
        ("SET", keys.audit, "x"),
        ("PEXPIRE", keys.audit, 1),
        ("XDEL", keys.audit, "0-1"),
        ("DEL", keys.fleet),
        ("DEL", keys.heartbeats),
        ("SUBSCRIBE", TRIED),
        ("PSUBSCRIBE", "*"),
    ]


def _changing(keys: Keyspace) -> list[Command]:
    """Return what changes the switch."""
    return [
        ("DEL", keys.active),
        ("HSET", keys.active, "grant", "x"),
        ("PEXPIRE", keys.active, 60_000),
        ("HSET", keys.beat, "x", "x"),
        ("HSET", keys.revoked, "epoch", 99),
        ("DEL", keys.revoked),
        *(("SET", key, "x") for key in (keys.epoch, keys.last, keys.head)),
        ("HSET", keys.keyset, "1", "x"),
        ("SET", keys.checkpoint, "x"),
        ("HSETNX", keys.proposal(TRIED), "x", "x"),
        ("XADD", keys.audit, "*", "r", "x"),
        ("PUBLISH", keys.events, "x"),
    ]


def _posing(keys: Keyspace, role: Role) -> list[Command]:
    """Return what only a process of that role may do."""
    if role is Role.WORKER:
        return [("HSET", keys.worker(TRIED, TRIED), "x", "x"), ("ZADD", keys.fleet, 1, "x")]
    return [
        ("HSET", keys.heartbeat(TRIED, TRIED), "x", "x"),
        ("HSET", keys.heartbeats, TRIED, TRIED),
    ]
