"""The findings of the doctor: one pure function each, and the table of them.

To add one: write a function of `Facts` that returns a `Diagnosis`, put it into `FINDINGS`, and give it a
row in docs/how-to/troubleshoot.md. A finding that rests on what the login may not ask is `unknown` and
says so: it is never called good.
"""

from __future__ import annotations

from collections.abc import Callable

from golive_redis.core.timing import in_words
from golive_redis.operator import serverfindings as server
from golive_redis.operator.doctor import DAY_MS, Diagnosis, Facts, Level
from golive_redis.store.link import DEFAULT_USER

CLOCK_WARN_MS, CLOCK_RED_MS = 100.0, 5_000.0
BEAT_WARN_MS, BEAT_RED_MS = 1_000.0, 30_000.0
LEDGER_WARN = 1_000_000
ARCHIVE_WARN_MS = 2 * DAY_MS
ENTRY_BYTES = 825
MIB = 1024 * 1024
KEYSET_WARN_MS = 400 * DAY_MS
KEY_AHEAD_MS = 30 * DAY_MS
IDLE_LEAST_S = 60


def _tls(it: Facts) -> Diagnosis:
    if it.tls or it.local:
        return Diagnosis("tls", Level.OK, "TLS" if it.tls else "the server is on this host")
    return Diagnosis(
        "tls",
        Level.RED if it.production else Level.WARNING,
        "store.url is without TLS, and the server is on another host",
        "whoever is on the network between reads the password, and can answer in Redis' name",
        "give the server a certificate, and write rediss:// in store.url",
    )


def _user(it: Facts) -> Diagnosis:
    name = "acl-user"
    if not it.user:
        return Diagnosis(name, Level.UNKNOWN, "Redis does not say who we are", *_ASK_WHOAMI)
    if it.user == DEFAULT_USER:
        return Diagnosis(
            name,
            Level.WARNING if it.default_allowed else Level.RED,
            f"logged in as `{DEFAULT_USER}`",
            "a worker that is taken over may then do everything in Redis",
            "golive acl --role operator, and so on; then store.username, and ACL SETUSER default off",
        )
    if it.lacking:
        return Diagnosis(
            name,
            Level.RED,
            f"{it.user} may not: {', '.join(it.lacking)}",
            "what needs these commands is refused, a stop perhaps",
            "golive acl --role operator prints the line; golive acl check proves it",
        )
    return Diagnosis(name, Level.OK, f"logged in as {it.user}, with every right of an operator")


_ASK_WHOAMI = ("golive asks after each login", "allow +acl|whoami, as golive acl does")


def _clock(it: Facts) -> Diagnosis:
    name, off = "clock-server", it.clock_off_ms
    seen = f"the server's clock is {off:+.1f} ms off this host's, known to {it.round_trip_ms / 2:.1f} ms"
    if abs(off) <= CLOCK_WARN_MS:
        return Diagnosis(name, Level.OK, seen)
    return Diagnosis(
        name,
        Level.RED if abs(off) > CLOCK_RED_MS else Level.WARNING,
        seen,
        "windows, the age of reports and the times of an audit are by these clocks",
        "let both hosts follow NTP: chronyc tracking",
    )


def _beat_clocks(it: Facts) -> Diagnosis:
    name = "clock-heartbeats"
    if not it.beats_off_ms:
        return Diagnosis(name, Level.OK, "nothing is active, so no beat shows a clock")
    worst = max(it.beats_off_ms, key=lambda who: abs(it.beats_off_ms[who]))
    off = it.beats_off_ms[worst]
    if abs(off) <= BEAT_WARN_MS:
        return Diagnosis(name, Level.OK, f"{len(it.beats_off_ms)} heartbeats agree with the server")
    return Diagnosis(
        name,
        Level.RED if abs(off) > BEAT_RED_MS else Level.WARNING,
        f"the clock of {worst} is at least {off:+.0f} ms off the server's",
        "beats from a clock that is 30 s off are refused, and the fleet is off then",
        f"let the host of {worst} follow NTP: chronyc tracking",
    )


def _timers(it: Facts) -> Diagnosis:
    name, timing = "timers", it.timing
    took, patience = it.round_trip_ms, timing.timeout_ms
    lease = (1 - timing.rho) * timing.lease_ms
    need = 3 * timing.read_every_ms * 1.1 + timing.timeout_ms
    seen = (
        f"an answer takes {took:.1f} ms of timeout_ms {patience}; three reads and a time-out take "
        f"{need:.0f} ms of a lease of {lease:.0f}"
    )
    idle = it.settings.get("timeout", "0")
    if idle.isdecimal() and 0 < int(idle) < IDLE_LEAST_S:
        return Diagnosis(
            name,
            Level.WARNING,
            f"the server closes connections that are idle for {idle} s",
            "what listens for a stop is idle, and has to connect anew each time",
            "redis-cli CONFIG SET timeout 0",
        )
    if took <= patience / 2:
        return Diagnosis(name, Level.OK, seen)
    return Diagnosis(
        name,
        Level.RED if took > patience else Level.WARNING,
        seen,
        "an answer later than timeout_ms is none, and workers lapse",
        "run golive nearer to the server, or write longer timers under `timing`",
    )


def _file_modes(it: Facts) -> Diagnosis:
    name = "file-modes"
    bad = [item for item in it.files if item.open_to_others]
    if not bad:
        return Diagnosis(name, Level.OK, f"{len(it.files)} files and folders are closed to others")
    first = bad[0]
    strict = "go-rwx" if first.wanted == "mode 0600" else "go-w"
    return Diagnosis(
        name,
        Level.RED,
        ", ".join(f"{item.path} is {item.mode:04o}, wanted: {item.wanted}" for item in bad),
        "another user of this host can sign, or decide who is trusted",
        f"chmod {strict} {first.path}",
    )


def _key_variable(it: Facts) -> Diagnosis:
    if not it.key_in_environment:
        return Diagnosis("key-variable", Level.OK, "no private key is in the environment")
    return Diagnosis(
        "key-variable",
        Level.WARNING,
        "GOLIVE_KEY holds a private key",
        "it stays readable in /proc/PID/environ for as long as the process lives",
        "keep it in a file of mode 0600, or hand over a descriptor: /dev/fd/N under keys.",
    )


def _keyset(it: Facts) -> Diagnosis:
    name, keys = "keyset", it.keyset.keys.values()
    days = it.keyset_age_ms / DAY_MS
    signed = "its roots sign what follows" if it.keyset.is_signed else "unsigned"
    seen = f"version {it.keyset.version}, {signed}, changed {days:.0f} days ago, {len(keys)} keys"
    if it.untaken or it.keyset.expired(it.now_ms):
        return Diagnosis(
            name,
            Level.RED,
            f"{seen}; {it.untaken or f'good until {it.keyset.expires}'}",
            "nothing can be turned on from here; what runs ends with its window, and stops work",
            "golive keys status; its roots sign the next one: golive keys draft",
        )
    if it.keyset.expired(it.now_ms + KEY_AHEAD_MS):
        return Diagnosis(
            name,
            Level.WARNING,
            f"{seen}; good until {it.keyset.expires}",
            "after that day nothing new begins under it",
            "golive keys draft, with a later `expires`, for its roots to sign",
        )
    gone = sorted({key.principal for key in keys if key.expired(it.now_ms)})
    soon = sorted({key.principal for key in keys if key.expired(it.now_ms + KEY_AHEAD_MS)})
    if gone or soon:
        return Diagnosis(
            name,
            Level.WARNING,
            f"{seen}; expired: {', '.join(gone) or 'none'}; within 30 days: "
            f"{', '.join(who for who in soon if who not in gone) or 'none'}",
            "nothing new is taken from an expired key, so an activation may lack a signature",
            "golive keys new NAME --role ROLE --add, and the keyset to every host",
        )
    if it.keyset_age_ms > KEYSET_WARN_MS:
        return Diagnosis(
            name,
            Level.WARNING,
            seen,
            "keys that nobody has looked at for a year may be of people who have left",
            "golive keys list, and remove whoever should not be there",
        )
    return Diagnosis(name, Level.OK, seen)


def _library(it: Facts) -> Diagnosis:
    name = "script-library"
    if not it.library:
        return Diagnosis(name, Level.OK, "store.scripts is eval: none is needed")
    if it.library == "installed":
        return Diagnosis(name, Level.OK, "the library of this version is installed")
    if it.library == "unknown":
        return Diagnosis(
            name,
            Level.UNKNOWN,
            "this login may not FUNCTION LIST",
            "without the library of this version no worker arms",
            "golive acl --role operator prints a line with it",
        )
    return Diagnosis(
        name,
        Level.RED,
        "the library of this version is not installed"
        if it.library == "missing"
        else "the library has the name of this version, and other code",
        "without it no worker arms, and nothing can be activated or halted",
        "golive store install, as an administrator",
    )


def _ledger(it: Facts) -> Diagnosis:
    name, found = "ledger", it.ledger
    if found is None:
        return Diagnosis(
            name,
            Level.UNKNOWN,
            "this login may not XLEN and XRANGE the ledger",
            "it grows without end, and its size cannot be seen",
            "golive acl --role operator prints a line with both",
        )
    size = found.length * ENTRY_BYTES / MIB
    seen = (
        f"{found.length} entries, about {size:.0f} MiB; {'about ' if found.more else ''}{found.day} "
        "in the last 24 hours"
    )
    room = it.info.count("maxmemory")
    heavy = room and found.length * ENTRY_BYTES > room / 2
    if found.length < LEDGER_WARN and not heavy:
        return Diagnosis(name, Level.OK, seen)
    return Diagnosis(
        name,
        Level.WARNING,
        seen + (f", of maxmemory {room / MIB:.0f} MiB" if heavy else ""),
        "when memory is full Redis refuses activations and audit entries",
        "golive audit archive DIR, then golive audit trim DIR; or raise maxmemory",
    )


def _archive(it: Facts) -> Diagnosis:
    name, found = "archive", it.archive
    days = found.age_ms / DAY_MS
    if found.problem:
        return Diagnosis(
            name,
            Level.RED,
            found.problem,
            "what is removed from Redis, or lost there, would be gone",
            "golive audit verify --archive DIR names what was changed; take it from another copy",
        )
    if not found.folder:
        return Diagnosis(
            name,
            Level.WARNING if it.production else Level.OK,
            "audit.archive names none on this host",
            "the ledger is in Redis alone" if it.production else "",
            "golive audit archive DIR from cron, and audit.archive: DIR" if it.production else "",
        )
    seen = f"{found.entries} entries in {found.folder}, read back at the end; {days:.0f} days old"
    busy = it.ledger is not None and it.ledger.day > 0
    if found.age_ms <= ARCHIVE_WARN_MS or not busy:
        return Diagnosis(name, Level.OK, seen)
    return Diagnosis(
        name,
        Level.WARNING,
        seen,
        "the newest entries are in Redis alone",
        f"golive audit archive {found.folder}",
    )


def _checkpoint(it: Facts) -> Diagnosis:
    name, log = "checkpoint", it.log
    if log is None:
        return Diagnosis(
            name,
            Level.UNKNOWN,
            "this login may not look at the ledger's checkpoint, or the section `audit` is wrong",
            "nobody is told when the ledger is rewritten",
            "golive acl --role operator prints the line; golive audit policy names the mistake",
        )
    status, waits_ms = log.status, log.waits_ms
    if status.problems:
        return Diagnosis(
            name,
            Level.RED,
            "; ".join(status.problems),
            "the ledger is not what was signed of it: somebody has changed it, or entries are lost",
            "golive audit verify names the entry",
        )
    signed = (
        f"{status.entries:,} entries, checkpoint {status.checkpoint:,} by {status.by}"
        if status.checkpoint is not None
        else f"{status.entries:,} entries, no checkpoint"
    )
    if waits_ms is None or waits_ms <= log.due_ms:
        return Diagnosis(name, Level.OK, signed)
    return Diagnosis(
        name,
        Level.WARNING,
        f"{signed}; what is newer waits since {in_words(waits_ms)}",
        "what is in no checkpoint can be cut off, and only hosts that have seen it know",
        "golive heartbeat --name NAME; of one that runs, its log says why it does not sign",
    )


def _witnesses(it: Facts) -> Diagnosis:
    name, log = "witnesses", it.log
    if log is None:
        return Diagnosis(name, Level.UNKNOWN, "as `checkpoint`", *_AS_CHECKPOINT)
    status = log.status
    if not status.witnesses:
        return Diagnosis(
            name,
            Level.WARNING if it.production else Level.OK,
            "none is configured",
            *(_NO_WITNESS if it.production else ()),
        )
    if status.checkpoint is None:
        return Diagnosis(name, Level.OK, f"{status.witnesses} configured, no checkpoint yet")
    ago = f", {in_words(max(0, it.now_ms - status.time_s * 1000))} ago" if status.time_s else ""
    seen = f"{len(status.cosigned)} of {status.witnesses} have cosigned the checkpoint{ago}"
    if not log.missing:
        return Diagnosis(name, Level.OK, seen)
    return Diagnosis(
        name,
        Level.WARNING if status.enough else Level.RED,
        f"{seen}; without: {', '.join(log.missing)}",
        "what too few have cosigned does not verify as witnessed",
        "golive audit witness status FOLDER on its host; the heartbeat's log says what it answered",
    )


_AS_CHECKPOINT = ("who cosigns the ledger cannot be seen", "golive audit policy")
_NO_WITNESS = (
    "whoever owns Redis and a heartbeat's key can rewrite the ledger unseen",
    "golive audit witness init on another host, then `witnesses` under `audit`",
)


def _spool(it: Facts) -> Diagnosis:
    if not it.spooled:
        return Diagnosis("spool", Level.OK, "nothing waits on this host")
    return Diagnosis(
        "spool",
        Level.WARNING,
        f"{it.spooled} records wait on this host",
        "the ledger in Redis lacks them: audit entries, and stops that Redis has not got",
        "golive status sends them; when it does not, its notes say why",
    )


FINDINGS: dict[str, Callable[[Facts], Diagnosis]] = {
    "server-version": server.version,
    "lua-holes": server.lua,
    "durability": server.durability,
    "eviction": server.eviction,
    "output-buffers": server.output_buffers,
    "min-replicas": server.min_replicas,
    "replica-lag": server.replica_lag,
    "protected-mode": server.protected,
    "tls": _tls,
    "acl-user": _user,
    "clock-server": _clock,
    "clock-heartbeats": _beat_clocks,
    "timers": _timers,
    "file-modes": _file_modes,
    "key-variable": _key_variable,
    "keyset": _keyset,
    "script-library": _library,
    "ledger": _ledger,
    "checkpoint": _checkpoint,
    "witnesses": _witnesses,
    "archive": _archive,
    "spool": _spool,
}


def diagnose(it: Facts) -> list[Diagnosis]:
    """Return every finding, in the order of the table."""
    return [judge(it) for judge in FINDINGS.values()]
