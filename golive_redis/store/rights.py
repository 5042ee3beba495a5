"""Rights: every command that an operator needs of Redis, and a try of all that changes nothing.

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


def lacking(link: Link, commands: Sequence[Command]) -> list[str]:
    """Try commands without carrying one out; return which would be refused, in words.

    Args:
        link: Logged in as whoever is to use them.
        commands: With as many arguments as they take.

    Raises:
        StoreError: Redis does not answer, or knows no transactions: then nothing is known.
    """
    try:
        link.call("MULTI")
        # Seen before anything follows: what is not queued would be carried out.
        if link.call("PING") != b"QUEUED":
            raise StoreError("Redis does not queue what follows MULTI, so no right can be tried")
        *replies, discarded = link.pipeline([*commands, ("DISCARD",)])
        if isinstance(discarded, StoreRefusedError):
            raise discarded
    except StoreError:
        link.close()  # and with it what is queued
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
