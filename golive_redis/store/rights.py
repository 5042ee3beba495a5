"""Rights: every command that a role needs of Redis, and a try of all that changes nothing.

Each process tries its own, for nobody else has its password: the operator in the preflight, a worker and
a heartbeat when they connect. These tell what is missing in their presence, which the preflight reads.

Redis judges a command when it is queued in a transaction: its name, the login's right to it, to its
keys and to its channels, and whether memory is left. DISCARD forgets what was queued. So what is tried
is this very login on this very server, whatever an ACL, a renamed command or a proxy makes of it.

Source: https://redis.io/docs/latest/develop/using-commands/transactions/ (errors inside a transaction)
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from golive_redis.errors import StoreError
from golive_redis.store import scripts
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import Link, StoreRefusedError

Command = tuple[str | int, ...]
# Named as an ACL does: whoever lacks it, lacks it for each pod and directive.
_OF_A_POD = re.compile(r"^(.*:(?:worker|heartbeat|left|receipt|proposal)):.*")

_CONTAINERS = frozenset({"CLIENT", "CONFIG", "ACL", "SCRIPT", "FUNCTION"})


class NoTransactionsError(StoreError):
    """No transaction can be begun and ended here, so no right can be tried; the link is closed."""


def of_operator(keys: Keyspace) -> list[Command]:
    """Return what activations, halts, stops and `status` need."""
    pod = (keys.worker("preflight", "0"), keys.heartbeat("preflight", "0"))
    strings = (keys.epoch, keys.last, keys.head, keys.fleet_id)
    state = (keys.active, keys.beat, keys.revoked, keys.audit, *strings)
    declared = (*state, keys.keyset)
    return [
        ("EVAL", "return 1", len(declared), *declared),
        ("EVALSHA", "0" * 40, len(declared), *declared),
        *(("TYPE", key) for key in state),
        *(("GET", key) for key in strings),
        *(("HGETALL", key) for key in (keys.active, keys.beat, keys.revoked, keys.heartbeats)),
        ("HGETALL", keys.receipt("preflight")),
        *(("HGET", key, "x") for key in (keys.active, keys.revoked, *pod)),
        *(("HMGET", key, "x") for key in (keys.active, keys.revoked, *pod)),
        ("HLEN", keys.receipt("preflight")),
        ("MGET", keys.goodbye("preflight", "0")),
        ("HKEYS", keys.active),
        *(("PTTL", key) for key in (keys.active, *pod)),
        ("ZRANGE", keys.fleet, 0, 0),
        ("XREVRANGE", keys.audit, "+", "-", "COUNT", 1),
        ("XLEN", keys.audit),
        ("XRANGE", keys.audit, "-", "+", "COUNT", 1),
        *(("GET", key) for key in (keys.checkpoint, keys.begins)),
        ("INFO",),
        ("WAIT", 0, 1),
        *(("SET", key, "x") for key in strings),
        ("DEL", keys.active, keys.beat),
        ("DEL", keys.active),
        ("DEL", keys.revoked),
        *_proposing(keys),
        *_appointing(keys),
        *(("HSET", key, "x", "x") for key in (keys.active, keys.revoked)),
        *(("HDEL", key, "x") for key in (keys.active, keys.revoked, keys.heartbeats)),
        ("PEXPIRE", keys.active, 1),
        ("XADD", keys.audit, "*", "x", "x"),
        ("ZREM", keys.fleet, "x"),
        ("SET", keys.goodbye("preflight", "0"), "x"),
        ("EVALSHA", "0" * 40, 1, keys.goodbye("preflight", "0")),
        ("PUBLISH", keys.events, "x"),
        ("SUBSCRIBE", keys.receipts),
    ]


def _proposing(keys: Keyspace) -> list[Command]:
    """Return what proposals need: to open, sign, look at and close them."""
    proposal = keys.proposal("preflight")
    return [
        ("ZREMRANGEBYSCORE", keys.proposals, 0, 0),
        ("ZCARD", keys.proposals),
        ("ZADD", keys.proposals, 1, "x"),
        ("ZREM", keys.proposals, "x"),
        ("ZRANGE", keys.proposals, 0, 0),
        *(("DEL", key) for key in (keys.proposals, proposal)),
        *(("PEXPIREAT", key, 1) for key in (keys.proposals, proposal)),
        ("HSETNX", proposal, "x", "x"),
        ("HGETALL", proposal),
        ("TIME",),
    ]


def _appointing(keys: Keyspace) -> list[Command]:
    """Return what signed keysets need: to take those that are there, and to put the next one there."""
    return [
        ("EVAL", "return 1", 3, keys.keyset, keys.head, keys.audit),
        ("EVALSHA", "0" * 40, 3, keys.keyset, keys.head, keys.audit),
        *_following(keys),
        ("TYPE", keys.keyset),
        ("HLEN", keys.keyset),
        ("HKEYS", keys.keyset),
        ("HEXISTS", keys.keyset, "1"),
        ("HSET", keys.keyset, "x", "x"),
    ]


def _following(keys: Keyspace) -> list[Command]:
    return [("HSTRLEN", keys.keyset, "1"), ("HGET", keys.keyset, "1")]


def of_worker(keys: Keyspace, name: str, instance: str) -> list[Command]:
    """Return what a guard needs from its first question to its goodbye."""
    pod, receipt = keys.worker(name, instance), keys.receipt("preflight")
    return [
        *_attending(keys, pod, keys.fleet),
        *_following(keys),
        ("TIME",),
        ("ZADD", keys.fleet, 1, "x"),
        ("ZSCORE", keys.fleet, "x"),
        *_answering(keys, receipt),
        ("GET", keys.goodbye(name, instance)),
        ("SET", keys.goodbye(name, instance), "x"),
        ("DEL", pod),
    ]


def of_heartbeat(keys: Keyspace, name: str, instance: str) -> list[Command]:
    """Return what a heartbeat needs: to attend, beat, answer, put back what was lost, and leave.

    And what a stop reads, for its triggers may call one.
    """
    pod, receipt = keys.heartbeat(name, instance), keys.receipt("preflight")
    return [
        *_attending(keys, pod, keys.heartbeats),
        *_following(keys),
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
        *_publishing(keys),
        ("DEL", keys.active, keys.beat),
        *(("HDEL", key, "x") for key in (keys.revoked, keys.heartbeats)),
        ("PUBLISH", keys.events, "x"),
        *_answering(keys, receipt),
        ("DEL", pod),
        ("ZRANGE", keys.fleet, 0, 0),
        ("MGET", keys.goodbye("preflight", "0")),
        *((word, receipt) for word in ("HLEN", "HGETALL")),
        ("HGETALL", keys.heartbeats),
        *((word, key, "x") for word in ("HGET", "HMGET") for key in _pods(keys, pod)),
        *(("PTTL", key) for key in _pods(keys, pod)),
        ("WAIT", 0, 1),
        ("SUBSCRIBE", keys.receipts),
    ]


def _publishing(keys: Keyspace) -> list[Command]:
    """Return what checkpoints of the ledger need: to read it forwards, to look and to replace."""
    return [
        ("EVAL", "return 1", 1, keys.checkpoint),
        ("EVALSHA", "0" * 40, 1, keys.checkpoint),
        ("XRANGE", keys.audit, "-", "+", "COUNT", 1),
        *(("GET", key) for key in (keys.checkpoint, keys.begins)),
        ("SET", keys.checkpoint, "x"),
        ("TIME",),
    ]


def _pods(keys: Keyspace, own: str) -> tuple[str, str]:
    return keys.worker("preflight", "0"), own


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


def lacking(link: Link, commands: Sequence[Command], *, lasting_only: bool = False) -> list[str]:
    """Try commands without carrying one out; return which would be refused, in words.

    Args:
        link: Logged in as whoever is to use them.
        commands: With as many arguments as they take.
        lasting_only: Leave out what passes by itself, such as a memory that is full.

    Raises:
        StoreError: As `refusals`.
    """
    commands = as_run(commands, functions=link.functions)
    return [
        _refused(command, error)
        for command, error in zip(commands, refusals(link, commands), strict=True)
        if error is not None and (is_lasting(error) or not lasting_only)
    ]


def as_run(commands: Sequence[Command], *, functions: bool) -> list[Command]:
    """Return commands with the scripts among them as they are run: by EVAL, or as functions."""
    if not functions:
        return list(commands)
    return [
        ("FCALL", scripts.function("attend"), *command[2:]) if command[0] == "EVAL" else command
        for command in commands
        if command[0] != "EVALSHA"
    ]


def refusals(link: Link, commands: Sequence[Command]) -> list[StoreRefusedError | None]:
    """Try commands without carrying one out; return why each would be refused, or None.

    Raises:
        StoreRefusedError: No transaction can be begun: nothing is known, and nothing was queued.
        NoTransactionsError: Nor could it be ended, or what follows it is not queued. Nothing is known,
            and what was queued went with the link.
        StoreError: Redis does not answer, or not in the state that it is in; likewise.
    """
    link.call("MULTI")
    try:
        # Seen before anything follows: what is not queued would be carried out.
        if link.call("PING") != b"QUEUED":
            raise NoTransactionsError("Redis does not queue what follows MULTI")
        *replies, discarded = link.pipeline([*commands, ("DISCARD",)])
        if isinstance(discarded, StoreRefusedError):
            raise discarded
    except StoreRefusedError as error:
        link.close()
        if is_lasting(error):
            raise NoTransactionsError(error.message) from error
        raise StoreError(f"no right can be tried now: {error.message}") from error
    except StoreError:
        link.close()
        raise
    return [reply if isinstance(reply, StoreRefusedError) else None for reply in replies]


def is_lasting(error: StoreRefusedError) -> bool:
    """Tell whether Redis refuses for who we are or what it knows, and not for the state it is in."""
    return error.code == "NOPERM" or "unknown command" in error.message


def in_words(command: Command) -> str:
    """Return a command as it is named to people: its name, and its keys and channels."""
    keys = (str(word) for word in command[1:] if ":" in str(word))
    names = [str(command[0]), *(_OF_A_POD.sub(r"\1:*", key) for key in keys)]
    if command[0] in _CONTAINERS:
        names[1:] = [str(command[1])]
    return " ".join(names)


def _refused(command: Command, error: StoreRefusedError) -> str:
    named = in_words(command)
    return named if error.code == "NOPERM" else f"{named} ({error.message})"
