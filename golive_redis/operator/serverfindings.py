"""Findings of the doctor about the server: its version, its settings, its replicas.

Each is a pure function; the table is in `golive_redis.operator.findings`.
"""

from __future__ import annotations

from golive_redis.operator.doctor import Diagnosis, Facts, Level
from golive_redis.store.link import DEFAULT_USER

# The first releases of each line without the known holes of Redis' Lua, such as CVE-2025-49844, by which
# whoever may run a script takes over the server.
LUA_FIXED = {
    "redis": {(7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2},
    "valkey": {(7, 2): 11, (8, 0): 6, (8, 1): 4},
}
SAY_ADMIN = (
    "log in as an administrator for this: "
    "GOLIVE_REDIS_URL=redis://admin:PASSWORD@HOST:6379 golive doctor"
)
BEHIND_WARN_BYTES = 1_000_000
PUBSUB_LEAST_BYTES = 1_000_000


def version(it: Facts) -> Diagnosis:
    """Tell whether the server is new enough."""
    info = it.info
    if not info.too_old:
        return Diagnosis("server-version", Level.OK, info.shown)
    least = ".".join(map(str, info.least))
    return Diagnosis(
        "server-version",
        Level.RED,
        info.shown,
        "golive's scripts and ACL users need what newer servers have",
        f"install {info.kind} {least} or newer",
    )


def lua(it: Facts) -> Diagnosis:
    """Tell whether its Lua has the known fixes; a number proves no hole, so this is never red."""
    info, fixed = it.info, LUA_FIXED[it.info.kind]
    line, patch = info.version[:2], (*info.version, 0, 0, 0)[2]
    if line > max(fixed) or (line in fixed and patch >= fixed[line]):
        return Diagnosis("lua-holes", Level.OK, f"{info.shown} has the known fixes of its Lua")
    wanted = ", ".join(f"{a}.{b}.{c}" for (a, b), c in sorted(fixed.items()))
    return Diagnosis(
        "lua-holes",
        Level.WARNING,
        f"{info.shown} is older than the fixes of its Lua ({wanted})",
        "by CVE-2025-49844 and others, whoever may run a script can take over the server. A "
        "distribution may carry the fix under an older number, and this number does not show it",
        "upgrade; or see that the package has it: "
        f"apt changelog {info.kind}-server | grep CVE-2025-49844",
    )


def durability(it: Facts) -> Diagnosis:
    """Tell whether a stop survives a restart of the server."""
    info = it.info
    if info.get("aof_enabled") != "1":
        return Diagnosis(
            "durability",
            Level.RED,
            "the append-only file is off",
            "Redis would lose a stop on restart",
            "redis-cli CONFIG SET appendonly yes, and `appendonly yes` in redis.conf",
        )
    if info.get("aof_last_write_status", "ok") != "ok":
        return Diagnosis(
            "durability",
            Level.RED,
            "the append-only file cannot be written",
            "Redis would lose a stop on restart",
            "free the disk of the server, and look into its log",
        )
    said = it.settings.get("appendfsync")
    if said == "no":
        return Diagnosis(
            "durability",
            Level.WARNING,
            "appendonly yes, appendfsync no",
            "a host that loses power loses up to half a minute, and with it a stop",
            "redis-cli CONFIG SET appendfsync everysec",
        )
    return Diagnosis("durability", Level.OK, f"appendonly yes, appendfsync {said or 'not known'}")


def eviction(it: Facts) -> Diagnosis:
    """Tell whether memory pressure may take the switch away."""
    policy = it.info.get("maxmemory_policy", "?")
    if policy == "noeviction":
        return Diagnosis("eviction", Level.OK, "maxmemory-policy noeviction")
    return Diagnosis(
        "eviction",
        Level.RED,
        f"maxmemory-policy {policy}",
        "it can evict the switch and its stop",
        "redis-cli CONFIG SET maxmemory-policy noeviction, and in redis.conf",
    )


def output_buffers(it: Facts) -> Diagnosis:
    """Tell whether a listener that does not read is cut off, and one that does is not."""
    name = "output-buffers"
    words = it.settings.get("client-output-buffer-limit", "").split()
    if "pubsub" not in words:
        return _not_asked(name, "client-output-buffer-limit")
    hard, soft, seconds = (*words[words.index("pubsub") + 1 :], "?", "?", "?")[:3]
    seen = f"pubsub {hard} {soft} {seconds}"
    mend = 'redis-cli CONFIG SET client-output-buffer-limit "pubsub 32mb 8mb 60"'
    if hard == soft == "0":
        return Diagnosis(
            name,
            Level.WARNING,
            f"{seen}: no limit",
            "one listener that does not read fills the server's memory, and writes are refused then",
            mend,
        )
    if hard.isdecimal() and 0 < int(hard) < PUBSUB_LEAST_BYTES:
        return Diagnosis(
            name,
            Level.WARNING,
            seen,
            "a burst of receipts cuts listeners off, and a stop waits for what it could have heard",
            mend,
        )
    return Diagnosis(name, Level.OK, seen)


def min_replicas(it: Facts) -> Diagnosis:
    """Tell whether a primary that is cut off goes on, and whether writes are possible."""
    name, replicas = "min-replicas", it.info.count("connected_slaves")
    said = it.settings.get("min-replicas-to-write")
    if said is None:
        return _not_asked(name, "min-replicas-to-write")
    lag = it.settings.get("min-replicas-max-lag", "?")
    seen = f"{replicas} replicas, min-replicas-to-write {said}, min-replicas-max-lag {lag}"
    if replicas >= 2 and said == "0":  # noqa: PLR2004  (one that is lost leaves one)
        return Diagnosis(
            name,
            Level.WARNING,
            seen,
            "a primary that only its replicas and Sentinels cannot reach goes on serving guards",
            "redis-cli CONFIG SET min-replicas-to-write 1 min-replicas-max-lag 3",
        )
    if said.isdecimal() and int(said) > replicas:
        return Diagnosis(
            name,
            Level.RED,
            seen,
            "Redis refuses every write, also a stop",
            "start the replicas, or redis-cli CONFIG SET min-replicas-to-write 0",
        )
    return Diagnosis(name, Level.OK, seen)


def replica_lag(it: Facts) -> Diagnosis:
    """Tell whether a failover now would lose something."""
    name = "replica-lag"
    if it.info.get("role") not in {"", "master"}:
        return Diagnosis(
            name,
            Level.RED,
            "this server is a replica",
            "it takes no stop, and what it shows may be old",
            "set store.url to the primary, or use redis+sentinel://",
        )
    away = sorted(where for where, behind in it.behind.items() if behind < 0)
    late = sorted(where for where, behind in it.behind.items() if behind > BEHIND_WARN_BYTES)
    if not away and not late:
        most = max(it.behind.values(), default=0)
        return Diagnosis(name, Level.OK, f"{len(it.behind)} replicas, at most {most} bytes behind")
    parts = [f"not online: {', '.join(away)}"] if away else []
    parts += [f"over {BEHIND_WARN_BYTES} bytes behind: {', '.join(late)}"] if late else []
    return Diagnosis(
        name,
        Level.WARNING,
        "; ".join(parts),
        "a failover now would lose what such a replica lacks, a stop among it",
        "look into the replica's log and at its network: redis-cli INFO replication",
    )


def protected(it: Facts) -> Diagnosis:
    """Tell whether the port lets in whoever reaches it."""
    name, said = "protected-mode", it.settings.get("protected-mode")
    if said is None:
        return _not_asked(name, "protected-mode")
    seen = f"protected-mode {said}, bind {it.settings.get('bind') or 'everything'}"
    reached = any(word.strip("-") not in {"127.0.0.1", "::1"} for word in _bind(it))
    if said == "no" and reached and it.user == DEFAULT_USER:
        return Diagnosis(
            name,
            Level.WARNING,
            seen,
            "whoever reaches the port may get in as the user `default`",
            "redis-cli CONFIG SET protected-mode yes, and give each role a user: golive acl --role ROLE",
        )
    return Diagnosis(name, Level.OK, seen)


def _bind(it: Facts) -> list[str]:
    return it.settings.get("bind", "").split() or ["*"]


def _not_asked(name: str, setting: str) -> Diagnosis:
    return Diagnosis(
        name,
        Level.UNKNOWN,
        f"this login may not CONFIG GET {setting}",
        "golive's users may not read the server's configuration, for it holds passwords",
        SAY_ADMIN,
    )
