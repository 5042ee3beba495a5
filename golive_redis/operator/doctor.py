"""The doctor: looks at the server and at this host, and says of each thing what is wrong with it.

Here are the facts, gathered once, and what a finding is. Who judges them is in the table of
`golive_redis.operator.findings`, one pure function for each finding, so that another is easily added.
Nothing is changed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote

import msgspec

from golive_redis import clock
from golive_redis.audit.archive import Archive
from golive_redis.audit.layout import STATE
from golive_redis.config import Config, keyfile
from golive_redis.config.auditing import LogSettings
from golive_redis.config.config import stem_of
from golive_redis.config.policy import is_production
from golive_redis.core.timing import Timing
from golive_redis.delivery.spool import Spool
from golive_redis.errors import ConfigError, GoliveError, RecordError, StoreError
from golive_redis.operator import ledgerstatus
from golive_redis.operator.fleet import LedgerStatus
from golive_redis.operator.session import TIMEOUT_MS, Operator
from golive_redis.records.keyset import Keyset
from golive_redis.statefile import is_open_to_others
from golive_redis.store import library, rights, serverinfo
from golive_redis.store.link import Link, StoreRefusedError
from golive_redis.store.place import UNIX
from golive_redis.store.serverinfo import ServerInfo

SETTINGS = (
    "appendfsync",
    "client-output-buffer-limit",
    "min-replicas-to-write",
    "min-replicas-max-lag",
    "protected-mode",
    "bind",
    "timeout",
)
DAY_MS = 86_400_000
PAGE = 1_000
CHECKPOINTS_LATE = 3  # so many may fail before anybody is told
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    RED = "red"
    UNKNOWN = "unknown"


class Diagnosis(msgspec.Struct, frozen=True):
    """What was found about one thing.

    Attributes:
        name: Of the finding.
        seen: What is there.
        why: Why it matters; "" when nothing is wrong.
        mend: The command, or the edit, that mends it; likewise.
    """

    name: str
    level: Level
    seen: str
    why: str = ""
    mend: str = ""


class FileMode(msgspec.Struct, frozen=True):
    """A file or folder of ours, and whether others can read or write what they should not."""

    path: str
    mode: int
    open_to_others: bool
    wanted: str


class Ledger(msgspec.Struct, frozen=True):
    """How long the ledger is: entries in all, and of the last 24 hours, which may be more than `day`."""

    length: int
    day: int
    more: bool


class Log(msgspec.Struct, frozen=True):
    """How the ledger stands as a log.

    Attributes:
        status: As `golive status` shows it.
        waits_ms: How long at least the oldest entry waits that is in no checkpoint; None when all are.
        due_ms: So long an entry may wait.
        missing: The witnesses that have not cosigned the newest checkpoint.
    """

    status: LedgerStatus
    waits_ms: float | None
    due_ms: float
    missing: tuple[str, ...]


class ArchiveState(msgspec.Struct, frozen=True):
    """The archive on this host.

    Attributes:
        folder: "" where none is configured.
        entries: How many it has.
        age_ms: Since it was brought up to the ledger last and something was new.
        problem: Why its end cannot be read back; "" when it can.
    """

    folder: str = ""
    entries: int = 0
    age_ms: float = 0.0
    problem: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is judged.

    Attributes:
        environment: As configured.
        production: It trades real money, by its name.
        default_allowed: It may run as the Redis user `default`.
        info: What the server says of itself.
        settings: Of the server, by name; those that the login may not ask for are not there.
        user: Whom Redis takes us for; "" when it does not say.
        lacking: What our login may not and needs.
        tls: The URL speaks TLS.
        local: The server is on this host.
        clock_off_ms: By how much the server's clock is ahead of this host's.
        round_trip_ms: How long a question takes.
        beats_off_ms: By heartbeat, by how much its clock differs from the server's, at least.
        timing: The timers in force.
        files: Our files.
        key_in_environment: A private key is in the environment.
        keyset: As pinned here.
        keyset_age_ms: Since its file was changed, or the last step was taken.
        untaken: Why a signed keyset in Redis was not taken; "" when there is none.
        now_ms: Unix ms.
        library: What there is of the function library: "" where none is used, `installed`, `missing`,
            `differs`, or `unknown`.
        ledger: None when it cannot be read.
        log: Likewise, or when the section `audit` cannot be used.
        spooled: Records that wait on this host.
        archive: The archive of the ledger on this host.
        behind: Bytes by which each replica is behind, by address; -1 for one that is not online.
    """

    environment: str
    production: bool
    default_allowed: bool
    info: ServerInfo
    settings: Mapping[str, str]
    user: str
    lacking: tuple[str, ...]
    tls: bool
    local: bool
    clock_off_ms: float
    round_trip_ms: float
    beats_off_ms: Mapping[str, float]
    timing: Timing
    files: tuple[FileMode, ...]
    key_in_environment: bool
    keyset: Keyset
    keyset_age_ms: float
    untaken: str
    now_ms: int
    library: str
    ledger: Ledger | None
    log: Log | None
    spooled: int
    behind: Mapping[str, int]
    archive: ArchiveState = ArchiveState()


def _changed_ms(config: Config, keyset_file: Path) -> float:
    """Return when the keyset in use was changed here: its file, or what was taken since."""
    stem = stem_of(config.pinned().fleet, config.policy.namespace, config.policy.environment)
    paths = [keyset_file]
    if (folder := config.state_dir) is not None:
        paths.append(folder / f"{stem}.0.json")
    return max(path.stat().st_mtime for path in paths if path.exists()) * 1000


def examine(operator: Operator) -> Facts:
    """Gather the facts; nothing is changed.

    Raises:
        StoreError: The server cannot be asked what it is.
        ConfigError: The keyset cannot be read.
    """
    config, address = operator.config, operator.address
    place = address.place()
    link = address.link(timeout_ms=TIMEOUT_MS, name="golive-doctor", any_user=True)
    with closing(link):
        info = serverinfo.ask(link)
        offset_ms, took_ms = _clock(link)
        settings = dict(_settings(link))
        ledger = _ledger(link, operator.keyspace.audit, clock.wall_ms() + offset_ms)
        beats = _beats(operator, clock.wall_ms() + offset_ms)
        functions = _library(link)
        user = _user(link)
        lacking = _lacking(link, operator)
    operator.follow(keep=False)
    keyset_file = config.resolve(config.policy.keys.keyset)
    return Facts(
        environment=config.policy.environment,
        production=is_production(config.policy.environment),
        default_allowed=config.policy.allows_default_user,
        info=info,
        settings=settings,
        user=user,
        lacking=lacking,
        tls=place.tls,
        local=place.scheme == UNIX or all(host in LOCAL for host, _ in place.nodes),
        clock_off_ms=offset_ms,
        round_trip_ms=took_ms,
        beats_off_ms=beats,
        timing=operator.timing,
        files=tuple(_files(config)),
        key_in_environment=bool(config.environ.get(keyfile.KEY_VARIABLE)),
        keyset=operator.trust.keyset,
        keyset_age_ms=clock.wall_ms() - _changed_ms(config, keyset_file),
        untaken=operator.untaken,
        now_ms=clock.wall_ms(),
        library=functions,
        ledger=ledger,
        log=_log(operator, clock.wall_ms() + offset_ms),
        archive=_archive(config),
        spooled=len(Spool(config.state_dir).waiting()) if config.state_dir else 0,
        behind=dict(_behind(info)),
    )


def _archive(config: Config) -> ArchiveState:
    """Read the end of the archive back: the last files of each level, and the last bundle."""
    try:
        folder = LogSettings.of(config).archive
        if folder is None:
            return ArchiveState()
    except ConfigError as error:
        return ArchiveState("?", problem=error.message)
    try:
        held = Archive(folder)
        size = held.reach.size
        held.tree_at(size)
        for _ in held.entries(max(0, size - 1)):
            pass
        age_ms = clock.wall_ms() - (folder / STATE).stat().st_mtime * 1000
    except GoliveError as error:
        return ArchiveState(str(folder), problem=error.message)
    return ArchiveState(str(folder), size, age_ms)


def _clock(link: Link) -> tuple[float, float]:
    """Return by how much the server's clock is ahead, and how long the shortest of three looks took."""
    found: list[tuple[float, float]] = []
    for _ in range(3):
        wall, began = clock.wall_ms(), clock.now_ms()
        seconds, micros = (int(part) for part in link.call("TIME"))
        took = clock.now_ms() - began
        found.append((took, seconds * 1000 + micros / 1000 - (wall + took / 2)))
    took_ms, off_ms = min(found)
    return off_ms, took_ms


def _settings(link: Link) -> Iterator[tuple[str, str]]:
    for name in SETTINGS:
        with suppress(StoreRefusedError):  # a login of ours may not, and an administrator's may
            found = link.call("CONFIG", "GET", name)
            if isinstance(found, list) and len(found) > 1:
                yield name, bytes(found[1]).decode("utf-8", "replace")


def _ledger(link: Link, audit: str, server_ms: float) -> Ledger | None:
    with suppress(StoreRefusedError):
        length = int(link.call("XLEN", audit))
        since = int(server_ms) - DAY_MS
        page = link.call("XRANGE", audit, since, "+", "COUNT", PAGE)
        if len(page) < PAGE:
            return Ledger(length, len(page), more=False)
        # Of a busy day the rate of its first entries; the whole day is not read for an estimate.
        first, last = (int(entry[0].partition(b"-")[0]) for entry in (page[0], page[-1]))
        rate = PAGE / max(1, last - first)
        return Ledger(length, min(length, round(rate * DAY_MS)), more=True)
    return None


def _log(operator: Operator, server_ms: float) -> Log | None:
    """Return how the ledger stands as a log; None where this login may not look."""
    try:
        settings = LogSettings.of(operator.config)
        found = ledgerstatus.look(operator, operator.store.heartbeats())
        if found is None:
            return None
        waits = found.entries - (found.checkpoint or 0)
        page = operator.store.entries(min(waits, PAGE)) if waits > 0 else []
    except (ConfigError, StoreError):
        return None
    missing = {witness.name for witness in settings.witnesses} - set(found.cosigned)
    return Log(
        found,
        server_ms - page[0].at_ms if page else None,
        settings.lag_ms + CHECKPOINTS_LATE * settings.every_ms,
        tuple(sorted(missing)),
    )


def _beats(operator: Operator, server_ms: float) -> dict[str, float]:
    """Return by how much each heartbeat's clock differs from the server's, at least.

    A beat in Redis was signed between now and one pause before: what lies outside of that is the clock.
    """
    oldest_ms = operator.timing.beat_every_ms * 1.05 + 2 * operator.timing.timeout_ms
    out: dict[str, float] = {}
    with suppress(StoreError):
        snapshot = operator.store.snapshot()
        if snapshot.grant is None:
            return out
        for raw in snapshot.beats.values():
            with suppress(RecordError):
                beat = operator.trust.beat(raw).record
                ahead = beat.issued_at_ms - server_ms
                out[beat.heartbeat] = ahead if ahead > 0 else min(0.0, ahead + oldest_ms)
    return out


def _library(link: Link) -> str:
    if not link.functions:
        return ""
    try:
        found = library.look(link)
    except StoreRefusedError:
        return "unknown"
    return "differs" if found.differs else "installed" if found.present else "missing"


def _user(link: Link) -> str:
    with suppress(StoreRefusedError, AttributeError):
        return str(link.call("ACL", "WHOAMI").decode())
    return ""


def _lacking(link: Link, operator: Operator) -> tuple[str, ...]:
    try:
        return tuple(rights.lacking(link, rights.of_operator(operator.keyspace)))
    except StoreError as error:
        return (f"try its rights ({error.message})",)


def _behind(info: ServerInfo) -> Iterator[tuple[str, int]]:
    offset = info.count("master_repl_offset")
    for number in range(info.count("connected_slaves")):
        said = dict(part.partition("=")[::2] for part in info.get(f"slave{number}").split(","))
        known = said.get("offset", "")
        online = said.get("state") == "online" and known.isdecimal()
        where = f"{said.get('ip', '?')}:{said.get('port', '?')}"
        yield where, max(0, offset - int(known)) if online else -1


def _files(config: Config) -> Iterator[FileMode]:
    """Yield the modes of what is here: configuration, keyset, keys, state."""
    groups = {*os.getgroups(), os.getegid()}
    yield from _mode(config.path, _others_write, "no group or world may write it")
    keys = config.policy.keys
    with suppress(ConfigError):
        keyset = config.resolve(keys.keyset)
        yield from _mode(keyset, _others_write, "no group or world may write it")
    for setting in ("operator", "heartbeat", "revoker", "worker"):
        pattern: str | None = getattr(keys, setting)
        for path in _key_files(config, pattern) if pattern else ():
            yield from _mode(path, lambda info: is_open_to_others(info, groups), "mode 0600")
    with suppress(ConfigError):
        if config.state_dir is not None:
            yield from _mode(
                config.state_dir, lambda info: bool(info.st_mode & stat.S_IWOTH), "mode 0700"
            )


def _key_files(config: Config, pattern: str) -> list[Path]:
    """Return the files with secrets that a setting names: keys, or the PIN of a token."""
    if pattern.startswith("pkcs11:"):
        asked = dict(part.partition("=")[::2] for part in pattern.partition("?")[2].split("&"))
        source = unquote(asked.get("pin-source", ""))
        file = source.removeprefix("file://").removeprefix("file:")
        return [Path(file)] if file else []
    with suppress(ConfigError, OSError):
        path = config.resolve(pattern)
        return sorted(path.parent.glob(path.name.replace("{name}", "*")))
    return []


def _others_write(info: os.stat_result) -> bool:
    return bool(info.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _mode(path: Path, is_open: Callable[[os.stat_result], bool], wanted: str) -> Iterator[FileMode]:
    with suppress(OSError):
        info = path.stat()
        yield FileMode(str(path), stat.S_IMODE(info.st_mode), is_open(info), wanted)
