"""Which commands a step gives to Redis, and logins that lack exactly one right."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import redis

EVENTS = "golive:events"
STATE = ("active", "beat", "revoked", "epoch", "last", "head", "audit", "fleet-id")
KEYS = (
    *(f"golive:{name}" for name in (*STATE, "fleet", "heartbeats")),
    f"golive:worker:pod-7:{'0' * 32}",
    f"golive:heartbeat:hb-1:{'1' * 32}",
)


def monitored(client: redis.Redis, act: Callable[[], object]) -> list[tuple[bool, list[str]]]:
    """Return the commands that reach the server meanwhile: whether a script's, and the words."""
    found: list[tuple[bool, list[str]]] = []
    with client.monitor() as monitor:
        act()
        client.echo("the-end")
        for entry in monitor.listen():
            words = entry["command"].split()
            if words[1:] == ["the-end"]:
                return found
            found.append((entry["client_type"] == "lua", words))
    raise AssertionError("MONITOR ended")


def without(command: str, target: str, keys: Sequence[str] = KEYS) -> list[str]:
    """ACL rules that allow everything but that command on that key or channel.

    Args:
        command: Its name.
        target: A key or channel; "" takes the command away altogether.
        keys: All keys there are.
    """
    name = command.lower()
    rules = ["reset", "on", ">x", "~*", "&*", "+@all", f"-{name}"]
    if not target:
        return rules
    others = " ".join(f"~{key}" for key in keys if key != target)
    return [*rules, f"(+{name} {others})" if target in keys else f"(+{name} &elsewhere)"]
