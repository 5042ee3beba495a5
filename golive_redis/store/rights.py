"""Rights: every command that a role needs of Redis, and a try of all that changes nothing.

Each process tries its own, for nobody else has its password: the operator in the preflight, a worker and
a heartbeat when they connect. These tell what is missing in their presence, which the preflight reads.

Redis judges a command when it is queued in a transaction: its name, the login's right to it, to its
keys and to its channels, and whether memory is left. DISCARD forgets what was queued. So what is tried
is this very login on this very server, whatever an ACL, a renamed command or a proxy makes of it.

Source: https://redis.io/docs/latest/develop/using-commands/transactions/ (errors inside a transaction)
"""

from __future__ import annotations

from collections.abc import Sequence

from golive_redis.errors import StoreError
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import Link, StoreRefusedError

Command = tuple[str | int, ...]


def of_operator(keys: Keyspace) -> list[Command]:
    """Return what activations, halts, stops and `status` need."""
    pod = (keys.worker("preflight", "0"), keys.heartbeat("preflight", "0"))
    strings = (keys.epoch, keys.last, keys.head, keys.fleet_id)
    state = (keys.active, keys.beat, keys.revoked, keys.audit, *strings)
    return [
        ("EVAL", "return 1", len(state), *state),
        ("EVALSHA", "0" * 40, len(state), *state),
        *(("TYPE", key) for key in state),
        *(("GET", key) for key in strings),
        *(("HGETALL", key) for key in (keys.active, keys.beat, keys.revoked, keys.heartbeats)),
        ("HGETALL", keys.receipt("preflight")),
        *(("HGET", key, "x") for key in (keys.active, keys.revoked, *pod)),
        *(("HMGET", key, "x") for key in (keys.active, keys.revoked, *pod)),
        ("HLEN", keys.receipt("preflight")),
        ("HKEYS", keys.active),
        *(("PTTL", key) for key in (keys.active, *pod)),
        ("ZRANGE", keys.fleet, 0, 0),
        ("XREVRANGE", keys.audit, "+", "-", "COUNT", 1),
        ("INFO",),
        ("WAIT", 0, 1),
        *(("SET", key, "x") for key in strings),
        ("DEL", keys.active, keys.beat),
        ("DEL", keys.active),
        ("DEL", keys.revoked),
        *(("HSET", key, "x", "x") for key in (keys.active, keys.revoked)),
        *(("HDEL", key, "x") for key in (keys.active, keys.revoked, keys.heartbeats)),
        ("PEXPIRE", keys.active, 1),
        ("XADD", keys.audit, "*", "x", "x"),
        ("ZREM", keys.fleet, "x"),
        ("PUBLISH", keys.events, "x"),
        ("SUBSCRIBE", keys.receipts),
    ]


def of_worker(keys: Keyspace, name: str, instance: str) -> list[Command]:
    """Return what a guard needs from its first question to its goodbye."""
    pod, receipt = keys.worker(name, instance), keys.receipt("preflight")
    return [
        *_attending(keys, pod, keys.fleet),
        ("TIME",),
        ("ZADD", keys.fleet, 1, "x"),
        ("ZSCORE", keys.fleet, "x"),
        *_answering(keys, receipt),
        ("SET", keys.goodbye(name, instance), "x"),
        ("DEL", pod),
    ]


def of_heartbeat(keys: Keyspace, name: str, instance: str) -> list[Command]:
    """Return what a heartbeat needs: to attend, beat, answer, put back what was lost, and leave."""
    pod, receipt = keys.heartbeat(name, instance), keys.receipt("preflight")
    return [
        *_attending(keys, pod, keys.heartbeats),
        ("EVAL", "return 1", 2, keys.beat, keys.active),
        ("EVALSHA", "0" * 40, 2, keys.beat, keys.active),
        ("INFO",),
        *(("HSET", key, "x", "x") for key in (keys.heartbeats, keys.beat, keys.active)),
        ("HSET", keys.revoked, "x", "x"),
        ("HGET", keys.heartbeats, "x"),
        *(("HGET", key, "x") for key in (keys.active, keys.revoked)),
        *(("PEXPIRE", key, 1) for key in (keys.beat, keys.active)),
        *(("GET", key) for key in (keys.epoch, keys.last, keys.head)),
        *(("SET", key, "x") for key in (keys.epoch, keys.last, keys.head)),
        ("XADD", keys.audit, "*", "x", "x"),
        ("XREVRANGE", keys.audit, "+", "-", "COUNT", 1),
        ("DEL", keys.active, keys.beat),
        *(("HDEL", key, "x") for key in (keys.revoked, keys.heartbeats)),
        ("PUBLISH", keys.events, "x"),
        *_answering(keys, receipt),
        ("DEL", pod),
    ]


def _attending(keys: Keyspace, pod: str, roster: str) -> list[Command]:
    return [
        ("EVAL", "return 1", 2, pod, roster),
        ("EVALSHA", "0" * 40, 2, pod, roster),
        ("PEXPIRE", pod, 1),
        ("HSET", pod, "x", "x"),
        *(("HMGET", key, "x") for key in (keys.active, keys.revoked)),
        *(("HGETALL", key) for key in (keys.active, keys.beat)),
        ("PTTL", keys.active),
        ("SUBSCRIBE", keys.events),
    ]


def _answering(keys: Keyspace, receipt: str) -> list[Command]:
    return [
        ("HSET", receipt, "x", "x"),
        ("PEXPIRE", receipt, 1),
        ("PUBLISH", keys.receipts, "x"),
    ]


def lacking(link: Link, commands: Sequence[Command]) -> list[str]:
    """Try commands without carrying one out; return which would be refused, in words.

    Args:
        link: Logged in as whoever is to use them.
        commands: With as many arguments as they take.

    Raises:
        StoreRefusedError: No transaction can be begun: then nothing is known, and nothing was queued.
        StoreError: Redis does not answer, or a transaction cannot be ended: nor is anything then, and
            the link is closed, and with it what is queued.
    """
    link.call("MULTI")
    try:
        # Seen before anything follows: what is not queued would be carried out.
        if link.call("PING") != b"QUEUED":
            raise StoreError("Redis does not queue what follows MULTI, so no right can be tried")
        *replies, discarded = link.pipeline([*commands, ("DISCARD",)])
        if isinstance(discarded, StoreRefusedError):
            raise discarded
    except StoreError:
        link.close()
        raise
    return [
        _refused(command, reply)
        for command, reply in zip(commands, replies, strict=True)
        if isinstance(reply, StoreRefusedError)
    ]


def _refused(command: Command, error: StoreRefusedError) -> str:
    names = [str(command[0]), *(str(word) for word in command[1:] if ":" in str(word))]
    if command[0] == "CLIENT":
        names[1:] = [str(command[1])]
    named = " ".join(names)
    return named if error.code == "NOPERM" else f"{named} ({error.message})"
