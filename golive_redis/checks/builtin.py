"""Checks that need no configuration: of this Redis, and of our keys."""

from __future__ import annotations

import msgspec

from golive_redis import clock
from golive_redis.checks.question import DATABASE, KEYS
from golive_redis.errors import GoliveError, StoreUnavailableError
from golive_redis.records.keyset import Keyset, Role
from golive_redis.records.report import Finding, Outcome
from golive_redis.store import presence, rights, serverinfo
from golive_redis.store.connect import Address
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.serverinfo import ServerInfo
from golive_redis.store.store import Store

TIMEOUT_MS = 1_000.0
MAX_CLOCK_OFF_MS = 5_000.0
EXPOSED = (
    "the private key in GOLIVE_KEY can be read in /proc/PID/environ as long as this process lives: "
    "set GOLIVE_KEY_FD instead"
)
# A month to replace a key, besides the term that is about to begin.
AHEAD_MS = 30 * 86_400_000


def check_database_redis(address: Address, keyspace: Keyspace) -> Finding:
    """Look at version, role, durability, eviction policy and clock of the server, and at all logins.

    Ours is tried here. Each worker and heartbeat that is there has tried its own.

    Raises:
        StoreError: It cannot be asked; the runner makes that `unknown`.
    """
    link = address.connect(timeout_ms=TIMEOUT_MS, name="golive-preflight")
    try:
        before = clock.wall_ms()
        seconds, micros = (int(part) for part in link.call("TIME"))
        took_ms = clock.wall_ms() - before
        off_ms = seconds * 1000 + micros // 1000 - (before + took_ms / 2)
        info = serverinfo.ask(link)
        probe = f"{keyspace.namespace}:preflight"
        link.call("SET", probe, "1", "PX", 1000)
        writable = link.call("GET", probe) == b"1"
        wanted = rights.as_run(rights.of_operator(keyspace), functions=link.functions)
        lacking = rights.lacking(link, wanted)
        store = Store(link, keyspace)
        pods = [
            (f"{role} {item.name}", item.fields.get("lacks", ""))
            for role, roster in (("heartbeat", store.heartbeats()), ("worker", store.workers()))
            for item in roster
            if item.alive
        ]
    finally:
        link.close()
    problems = [
        *_problems(info, off_ms, writable=writable),
        *_open_default_user(address),
    ]
    if lacking:
        problems.append(f"our login may not: {', '.join(lacking)}; its ACL user needs these rights")
    problems += presence.lacking(pods)
    facts = {
        "version": info.shown,
        "role": info.get("role", "?"),
        "maxmemory_policy": info.get("maxmemory_policy", "?"),
        "appendonly": info.get("aof_enabled", "?"),
        "clock_off_ms": f"{off_ms:.0f}",
        "round_trip_ms": str(took_ms),
        "rights": f"{len(wanted) - len(lacking)} of {len(wanted)}",
    }
    return Finding(
        check=DATABASE,
        outcome=Outcome.FAIL if problems else Outcome.PASS,
        explain="; ".join(problems)[:500] or "durable, noeviction, primary, writable",
        facts=facts,
    )


def _problems(info: ServerInfo, off_ms: float, *, writable: bool) -> list[str]:
    least = info.least
    checks = {
        f"version {info.number} is too old: {info.kind} {least[0]}.{least[1]} or newer": info.too_old,
        "this server is a replica: connect to the primary": info.get("role") != "master",
        f"maxmemory-policy is {info.get('maxmemory_policy')}: it can evict the switch and its "
        "stop; set noeviction": info.get("maxmemory_policy") != "noeviction",
        "Redis would lose a stop on restart: set `appendonly yes`": info.get("aof_enabled") != "1",
        "the append-only file cannot be written": info.get("aof_last_write_status", "ok") != "ok",
        "the server is loading its data": info.get("loading", "0") != "0",
        f"the server's clock is {off_ms / 1000:.1f} s off this host's": abs(off_ms)
        > MAX_CLOCK_OFF_MS,
        "a value that was written could not be read back": not writable,
    }
    return [text for text, wrong in checks.items() if wrong]


def _open_default_user(address: Address) -> list[str]:
    """Where we log in as somebody, nobody should get in without logging in."""
    if address.username is None:
        return []
    nobody = msgspec.structs.replace(address.logged_in_as(None, None), default_user=True)
    link = nobody.link(timeout_ms=TIMEOUT_MS)
    try:
        link.open()
        link.call("PING")
    except StoreUnavailableError:
        return []
    except GoliveError as error:
        return [] if "NOAUTH" in error.message or "NOPERM" in error.message else [error.message]
    finally:
        link.close()
    return ["the ACL user `default` still gets in without a password: ACL SETUSER default off"]


def check_keys(keyset: Keyset, now_ms: int, window_ms: int, *, exposed: bool = False) -> Finding:
    """Look at the dates in the keyset; a key without one does not expire.

    It fails only for what the term needs: as many approvers as a grant takes, and a heartbeat, with keys
    that are good until it ends. All others it warns of, a month ahead.

    Args:
        keyset: As pinned on this host.
        now_ms: Unix ms.
        window_ms: Length of the term that is about to begin.
        exposed: A private key is in the environment of this process.
    """
    until = now_ms + window_ms
    good = {role: _good(keyset, role, until) for role in (Role.APPROVER, Role.HEARTBEAT)}
    lacking = [
        f"{len(names)} of {keyset.threshold(role)} {role}s"
        for role, names in good.items()
        if len(names) < keyset.threshold(role)
    ]
    ends = {key.principal: key.expires_ms for key in keyset.keys.values() if key.expires_ms}
    late = sorted(name for name, at in ends.items() if at < until + AHEAD_MS)
    gone = [name for name in late if ends[name] <= now_ms]
    days = {name: f"{(at - now_ms) / 86_400_000:.1f}" for name, at in sorted(ends.items())[:30]}
    explain = f"{len(keyset.keys)} keys, none expires soon"
    if late:
        soon = [name for name in late if name not in gone]
        parts = [f"expired: {', '.join(gone)}"] if gone else []
        parts += [f"about to expire: {', '.join(soon)}"] if soon else []
        explain = f"{'; '.join(parts)}; make new keys: `golive keys new`"
    if lacking:
        explain = f"until the term ends only {' and '.join(lacking)} have a good key; {explain}"
    ended = keyset.expired(now_ms)
    ends_soon = not ended and keyset.expired(until + AHEAD_MS)
    if ended or ends_soon:
        said = "has expired" if ended else f"expires on {keyset.expires}"
        explain = f"keyset {keyset.version} {said}: its roots sign the next one; {explain}"
    if exposed:
        explain = f"{EXPOSED}; {explain}"
    signed = "its roots sign what follows" if keyset.is_signed else "unsigned"
    return Finding(
        check=KEYS,
        outcome=Outcome.FAIL if lacking or ended else Outcome.PASS,
        explain=explain[:500],
        facts={
            "keyset": f"{keyset.version}, {signed}",
            **{f"days_left_{name}": left for name, left in days.items()},
        },
        warning=(bool(late) or ends_soon or exposed) and not lacking and not ended,
    )


def _good(keyset: Keyset, role: Role, until_ms: int) -> set[str]:
    """Return who of a role has a key that is good until then."""
    keys = keyset.keys.values()
    return {key.principal for key in keys if key.holds(role) and not key.expired(until_ms)}
