"""The findings of the doctor: each is red, or a warning, for what it is about and for nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from golive_redis.core.timing import TIMINGS
from golive_redis.operator.doctor import (
    DAY_MS,
    ArchiveState,
    Facts,
    FileMode,
    Ledger,
    Level,
    Log,
)
from golive_redis.operator.findings import FINDINGS, diagnose
from golive_redis.operator.fleet import LedgerStatus
from golive_redis.records.keyset import parse_keyset
from golive_redis.store import serverinfo
from golive_redis.store.serverinfo import ServerInfo
from golive_redis.testing import Signers

INFO = {
    "redis_version": "8.2.2",
    "role": "master",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "maxmemory_policy": "noeviction",
    "maxmemory": "0",
    "connected_slaves": "0",
    "master_repl_offset": "0",
}
SETTINGS = {
    "appendfsync": "everysec",
    "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    "min-replicas-to-write": "0",
    "min-replicas-max-lag": "10",
    "protected-mode": "yes",
    "bind": "127.0.0.1",
    "timeout": "0",
}
WITNESSED = LedgerStatus(10, 8, "hb-1", ["w1", "w2"], 2, True, 1_799_999_969)
GOOD = Facts(
    environment="test",
    production=False,
    default_allowed=True,
    info=ServerInfo(INFO),
    settings=SETTINGS,
    user="golive-operator",
    lacking=(),
    tls=True,
    local=False,
    clock_off_ms=1.0,
    round_trip_ms=1.0,
    beats_off_ms={"hb-1": 0.0},
    timing=TIMINGS["standard"],
    files=(FileMode("alice.pem", 0o600, open_to_others=False, wanted="mode 0600"),),
    key_in_environment=False,
    keyset=Signers().trust.keyset,
    keyset_age_ms=DAY_MS,
    untaken="",
    now_ms=1_800_000_000_000,
    library="installed",
    ledger=Ledger(10, 2, more=False),
    log=Log(WITNESSED, None, 210_000, ()),
    spooled=0,
    behind={},
)


UNTIL_2020, UNTIL_2027 = (
    parse_keyset(Signers().keyset_file | {"expires": day}) for day in ("2020-01-31", "2027-01-31")
)


def log(**changes: Any) -> dict[str, Any]:
    """A ledger that stands in another way."""
    own = {key: changes.pop(key) for key in ("waits_ms", "missing") if key in changes}
    status = msgspec.structs.replace(WITNESSED, **changes)
    return {"log": msgspec.structs.replace(GOOD.log, status=status, **own)}  # type: ignore[type-var]


def info(**fields: str) -> dict[str, Any]:
    return {"info": ServerInfo({**INFO, **fields})}


def valkey(version: str) -> dict[str, Any]:
    return info(valkey_version=version)


def settings(**changed: str) -> dict[str, Any]:
    return {"settings": {**SETTINGS, **{k.replace("_", "-"): v for k, v in changed.items()}}}


def one(name: str, **changes: Any) -> Any:
    return FINDINGS[name](msgspec.structs.replace(GOOD, **changes))


def test_where_everything_is_well_every_finding_is_ok_and_says_what_was_seen() -> None:
    found = diagnose(GOOD)
    assert [item.name for item in found] == list(FINDINGS), "each bears the name of the table"
    assert {item.level for item in found} == {Level.OK}
    assert all(item.seen and not item.why and not item.mend for item in found)


@pytest.mark.parametrize(
    ("version", "fixed"),
    [
        *(("6.2.20", False), ("7.0.15", False), ("7.2.10", False), ("7.2.11", True)),
        *(("7.4.5", False), ("7.4.6", True), ("8.0.3", False), ("8.0.4", True)),
        *(("8.1.0", False), ("8.2.1", False), ("8.2.2", True), ("8.4.0", True), ("9.0.0", True)),
        ("?", False),
    ],
)
def test_the_versions_of_redis_without_the_fixes_of_its_lua_are_named(
    version: str, fixed: bool
) -> None:
    found = one("lua-holes", **info(redis_version=version))
    assert found.level is (Level.OK if fixed else Level.WARNING)
    assert fixed or "may carry the fix under an older number" in found.why


@pytest.mark.parametrize(
    ("version", "fixed"),
    [
        *(("7.2.10", False), ("7.2.11", True), ("8.0.5", False), ("8.0.6", True)),
        *(("8.1.3", False), ("8.1.4", True), ("9.0.0", True), ("9.1.2", True)),
    ],
)
def test_those_of_valkey_likewise(version: str, fixed: bool) -> None:
    found = one("lua-holes", **valkey(version))
    assert found.level is (Level.OK if fixed else Level.WARNING)


@pytest.mark.parametrize(
    ("name", "changes", "level", "said"),
    [
        ("server-version", info(redis_version="6.2.14"), Level.RED, "redis 6.2.14"),
        ("server-version", valkey("7.1.0"), Level.RED, "valkey 7.1.0"),
        ("durability", info(aof_enabled="0"), Level.RED, "append-only file is off"),
        ("durability", info(aof_last_write_status="err"), Level.RED, "cannot be written"),
        ("durability", settings(appendfsync="no"), Level.WARNING, "appendfsync no"),
        ("eviction", info(maxmemory_policy="allkeys-lru"), Level.RED, "allkeys-lru"),
        (
            "output-buffers",
            settings(client_output_buffer_limit="pubsub 0 0 0"),
            Level.WARNING,
            "no limit",
        ),
        (
            "output-buffers",
            settings(client_output_buffer_limit="pubsub 65536 1024 1"),
            Level.WARNING,
            "65536",
        ),
        ("output-buffers", {"settings": {}}, Level.UNKNOWN, "may not CONFIG GET"),
        ("min-replicas", {"settings": {}}, Level.UNKNOWN, "may not CONFIG GET"),
        ("min-replicas", info(connected_slaves="2"), Level.WARNING, "2 replicas"),
        ("min-replicas", settings(min_replicas_to_write="1"), Level.RED, "0 replicas"),
        ("replica-lag", info(role="slave"), Level.RED, "is a replica"),
        ("replica-lag", {"behind": {"10.0.0.2:6379": -1}}, Level.WARNING, "not online: 10.0.0.2"),
        ("replica-lag", {"behind": {"10.0.0.2:6379": 9_000_000}}, Level.WARNING, "bytes behind"),
        ("protected-mode", {"settings": {}}, Level.UNKNOWN, "may not CONFIG GET"),
        (
            "protected-mode",
            {**settings(protected_mode="no", bind="* -::*"), "user": "default"},
            Level.WARNING,
            "protected-mode no, bind *",
        ),
        ("tls", {"tls": False}, Level.WARNING, "without TLS"),
        ("tls", {"tls": False, "production": True}, Level.RED, "without TLS"),
        ("tls", {"tls": False, "local": True, "production": True}, Level.OK, "on this host"),
        ("acl-user", {"user": "default"}, Level.WARNING, "logged in as `default`"),
        ("acl-user", {"user": "default", "default_allowed": False}, Level.RED, "`default`"),
        ("acl-user", {"user": ""}, Level.UNKNOWN, "does not say who we are"),
        ("acl-user", {"lacking": ("PUBLISH golive:events",)}, Level.RED, "may not: PUBLISH"),
        ("clock-server", {"clock_off_ms": -150.0}, Level.WARNING, "-150.0 ms"),
        ("clock-server", {"clock_off_ms": 6_000.0}, Level.RED, "+6000.0 ms"),
        ("clock-heartbeats", {"beats_off_ms": {"hb-1": -2_000.0}}, Level.WARNING, "hb-1"),
        ("clock-heartbeats", {"beats_off_ms": {"a": 0.0, "b": 31_000.0}}, Level.RED, "of b "),
        ("clock-heartbeats", {"beats_off_ms": {}}, Level.OK, "nothing is active"),
        ("timers", {"round_trip_ms": 130.0}, Level.WARNING, "130.0 ms"),
        ("timers", {"round_trip_ms": 251.0}, Level.RED, "251.0 ms"),
        ("timers", settings(timeout="30"), Level.WARNING, "idle for 30 s"),
        (
            "file-modes",
            {"files": (FileMode("a.pem", 0o644, open_to_others=True, wanted="mode 0600"),)},
            Level.RED,
            "a.pem is 0644",
        ),
        ("key-variable", {"key_in_environment": True}, Level.WARNING, "GOLIVE_KEY"),
        ("keyset", {"untaken": "keyset 2 in Redis is refused"}, Level.RED, "keyset 2 in Redis"),
        ("keyset", {"keyset": UNTIL_2020}, Level.RED, "good until 2020-01-31"),
        ("keyset", {"keyset": UNTIL_2027}, Level.WARNING, "good until 2027-01-31"),
        ("keyset", {}, Level.OK, "version 1, unsigned, changed"),
        ("keyset", {"keyset_age_ms": 500 * DAY_MS}, Level.WARNING, "500 days ago"),
        ("script-library", {"library": "missing"}, Level.RED, "not installed"),
        ("script-library", {"library": "differs"}, Level.RED, "other code"),
        ("script-library", {"library": "unknown"}, Level.UNKNOWN, "may not FUNCTION LIST"),
        ("ledger", {"ledger": None}, Level.UNKNOWN, "may not XLEN"),
        ("ledger", {"ledger": Ledger(2_000_000, 5, more=True)}, Level.WARNING, "2000000 entries"),
        (
            "ledger",
            {**info(maxmemory="1000"), "ledger": Ledger(9, 5, more=False)},
            Level.WARNING,
            "9",
        ),
        ("checkpoint", {"log": None}, Level.UNKNOWN, "may not look at the ledger's checkpoint"),
        ("checkpoint", log(problems=["it is shorter"]), Level.RED, "it is shorter"),
        ("checkpoint", log(waits_ms=300_000), Level.WARNING, "waits since 5 min"),
        (
            "checkpoint",
            log(waits_ms=300_000, checkpoint=None),
            Level.WARNING,
            "10 entries, no checkpoint; what is newer",
        ),
        ("witnesses", {"log": None}, Level.UNKNOWN, "as `checkpoint`"),
        (
            "witnesses",
            {**log(witnesses=0, cosigned=[]), "production": True},
            Level.WARNING,
            "none is configured",
        ),
        (
            "witnesses",
            log(cosigned=["w1"], missing=("w2",)),
            Level.WARNING,
            "1 of 2 have cosigned the checkpoint, 31 s ago; without: w2",
        ),
        (
            "witnesses",
            log(cosigned=[], time_s=None, enough=False, missing=("w1", "w2")),
            Level.RED,
            "0 of 2 have cosigned the checkpoint; without: w1, w2",
        ),
        (
            "archive",
            {"archive": ArchiveState("a", problem="a/x was changed")},
            Level.RED,
            "changed",
        ),
        ("archive", {"archive": ArchiveState("a", 9, 3 * DAY_MS)}, Level.WARNING, "3 days old"),
        ("archive", {"production": True}, Level.WARNING, "names none on this host"),
        ("spool", {"spooled": 3}, Level.WARNING, "3 records wait"),
    ],
)
def test_what_is_wrong_is_said_with_its_reason_and_what_mends_it(
    name: str, changes: dict[str, Any], level: Level, said: str
) -> None:
    found = one(name, **changes)
    assert (found.name, found.level) == (name, level)
    assert said in found.seen
    assert bool(found.why) is bool(found.mend) is (level is not Level.OK)
    others = [
        item for item in diagnose(msgspec.structs.replace(GOOD, **changes)) if item.name != name
    ]
    red = {item.name for item in others if item.level is Level.RED}
    assert not red, "and nothing else is red for it"


def test_keys_that_have_expired_or_soon_will_are_named() -> None:
    keys = GOOD.keyset.keys
    first = next(iter(keys.values()))
    for ahead_days, said in (
        (-1, f"expired: {first.principal}"),
        (9, f"30 days: {first.principal}"),
    ):
        ends = msgspec.structs.replace(first, expires_ms=GOOD.now_ms + ahead_days * DAY_MS)
        keyset = msgspec.structs.replace(GOOD.keyset, keys={**keys, first.keyid: ends})
        found = one("keyset", keyset=keyset)
        assert found.level is Level.WARNING
        assert said in found.seen


def test_info_is_read_whatever_a_server_says() -> None:
    found = serverinfo.parse("# Server\r\nredis_version:7.0.15-beta\r\ncluster_enabled:1\r\nx\r\n")
    assert (found.shown, found.version, found.cluster) == ("redis 7.0.15-beta", (7, 0), True)
    assert (found.count("connected_slaves"), found.too_old) == (0, False)
    assert serverinfo.parse("").too_old
