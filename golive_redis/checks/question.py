"""A check: a source (where one value comes from) and an expectation (what it must be).

The same check serves the preflight, the triggers of the heartbeat, promotions and `golive doctor`.
This module only says what a check looks like; `golive_redis.checks` fetches, `expectation` judges.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec

from golive_redis.checks.expectation import Expectation
from golive_redis.masking import Masked
from golive_redis.records.directive import Profile
from golive_redis.records.record import Duration, Strict, duration_ms

MIN_DEADLINE_MS = 10
# Longer than anybody waits for a preflight; a heartbeat has long acted on `unknown` by then.
MAX_DEADLINE_MS = 600_000

# The checks that the product itself knows by name.
DATABASE = "check_database_redis"
WORKERS = "check_workers"
KEYS = "check_keys"
WINDOW = "check_window"
RISK = "check_risk_system"
ESS = "check_ess"
TESTNET = "check_testnet_history"

Url = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
Variable = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}\Z")]
Short = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
# RFC 6901: empty, or reference tokens that each begin with a slash; ~ only as ~0 and ~1.
Pointer = Annotated[str, msgspec.Meta(pattern=r"^(/([^~/]|~[01])*)*\Z", max_length=512)]


def _web(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise ValueError("url begins with http:// or https://")


class Method(StrEnum):
    """How a URL is asked; neither changes anything."""

    GET = "GET"
    HEAD = "HEAD"


class HttpSource(Masked, Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A URL. The value is the status, unless one of `json`, `header`, `latency`, `clock` is set.

    These four need a 2xx. A redirect is not followed: its 3xx is the status.

    Attributes:
        json: JSON Pointer (RFC 6901) into the answer; `""` is the whole document.
        header: Name of a response header.
        latency: The value is the ms until the whole answer was there.
        clock: JSON Pointer to a time (Unix s or ms, or ISO 8601): the value is how many ms it
            differs from this host's clock at the middle of the request, either way.
        bearer_env: Variable with a token for `Authorization: Bearer`.
        ca: PEM file of the authority to trust, instead of the system's. Always verified.
    """

    URLS: ClassVar[frozenset[str]] = frozenset({"url"})

    url: Url
    method: Method = Method.GET
    json: Pointer | None = None
    header: Short | None = None
    latency: bool = False
    clock: Pointer | None = None
    bearer_env: Variable | None = None
    ca: Short | None = None

    def __post_init__(self) -> None:
        chosen = [
            self.json is not None,
            self.header is not None,
            self.latency,
            self.clock is not None,
        ]
        if sum(chosen) > 1:
            raise ValueError("http takes one of json, header, latency and clock")
        _web(self.url)
        if self.method is Method.HEAD and (self.json is not None or self.clock is not None):
            raise ValueError("method HEAD has no body to look into")


class RedisSource(Masked, Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A key of this Redis, or of another by `url` or the variable `url_env`.

    The value is the string at `key`, or the field of a hash, or with `count` the number of entries
    (of a list, set, sorted set, hash or stream), or with `newest` the time of a stream's newest entry.
    """

    URLS: ClassVar[frozenset[str]] = frozenset({"url"})

    key: Short
    field: Short | None = None
    count: bool = False
    newest: bool = False
    url: Url | None = None
    url_env: Variable | None = None

    def __post_init__(self) -> None:
        if sum([self.field is not None, self.count, self.newest]) > 1:
            raise ValueError("redis takes one of field, count and newest")
        if self.url is not None and self.url_env is not None:
            raise ValueError("redis takes url or url_env")

    @property
    def own_server(self) -> bool:
        """True when it asks the Redis of the switch."""
        return self.url is None and self.url_env is None


class Several(StrEnum):
    """Which of several series must pass."""

    ALL = "all"
    ANY = "any"


class PrometheusSource(Masked, Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An instant PromQL query. No series is unknown; more than one needs `series: all` or `any`."""

    URLS: ClassVar[frozenset[str]] = frozenset({"url"})

    url: Url
    query: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    series: Several | None = None
    bearer_env: Variable | None = None
    ca: Short | None = None

    def __post_init__(self) -> None:
        _web(self.url)


class SqlSource(Masked, Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One value of a read-only query through SQLAlchemy; the URL stands in a variable or here.

    PostgreSQL (`postgresql://`) and SQLite (`sqlite:///FILE`, relative to the configuration).
    """

    URLS: ClassVar[frozenset[str]] = frozenset({"url"})

    query: Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]
    url: Url | None = None
    url_env: Variable | None = None

    def __post_init__(self) -> None:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("sql takes url or url_env")


class Format(StrEnum):
    """How a file, or what a command printed, is read."""

    JSON = "json"
    YAML = "yaml"
    CSV = "csv"
    TEXT = "text"


class FileSource(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file, relative to the configuration. The value is what `value` points to.

    Attributes:
        format: JSON, YAML, CSV or text; else by the name's ending.
        value: JSON Pointer (RFC 6901); in CSV `/<row>/<column>`, where row `-1` is the last one.
        rows: The value is the number of rows of a CSV, or of entries of a list.
        modified: The value is the time of the last change.

    A text file is its text without the line break at the end.
    """

    path: Short
    format: Format | None = None
    value: Pointer | None = None
    rows: bool = False
    modified: bool = False

    def __post_init__(self) -> None:
        if sum([self.value is not None, self.rows, self.modified]) > 1:
            raise ValueError("file takes one of value, rows and modified")


class CommandSource(Masked, Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A program with its arguments, without a shell. The value is its exit code.

    Attributes:
        argv: Program and arguments; the program by its path or found on PATH.
        stdout: The value is what it printed, when it exits 0.
        json: JSON Pointer into what it printed.
    """

    MASKED: ClassVar[frozenset[str]] = frozenset({"argv"})

    argv: Annotated[list[Short], msgspec.Meta(min_length=1, max_length=64)]
    stdout: bool = False
    json: Pointer | None = None

    def __post_init__(self) -> None:
        if self.stdout and self.json is not None:
            raise ValueError("command takes stdout or json")


class PythonSource(Masked, Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A function of a firm's own, by the name of its entry point in the group `golive.checks`.

    It runs in a Python of its own, which can be ended, with `arguments` as keyword arguments. The
    value is what it returns: anything JSON can say, or a datetime with a zone.
    """

    MASKED: ClassVar[frozenset[str]] = frozenset({"arguments"})

    name: Short
    arguments: dict[str, str | int | float | bool] = {}


class FleetValue(StrEnum):
    """What the presence of the workers tells."""

    WORKERS = "workers"
    VERSIONS = "versions"
    POLICIES = "policies"
    CHANGED = "changed"
    REJECTED = "rejected"
    UNPERMITTED = "unpermitted"


class FleetSource(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A number from the workers' presence in Redis.

    `workers` alive; different `versions`; workers and heartbeats whose policy differs from this one
    (`policies`); workers that came or went since the first look at this term (`changed`); fraction
    of the orders sent since the look before that were `rejected`; orders that were sent beyond the
    permits (`unpermitted`).
    """

    value: FleetValue


class LedgerValue(StrEnum):
    """What our own ledger tells."""

    ACTIVE_DAYS = "active_days"
    QUIET_DAYS = "quiet_days"


class LedgerSource(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A number from our own ledger, for promotions above all.

    Different days (UTC) on which a grant for `profile` or a bigger one was signed (`active_days`);
    full days since a trigger last acted, or since the first grant (`quiet_days`).
    """

    value: LedgerValue
    profile: Profile = Profile.MICRO


class Question(Expectation, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One source and one expectation.

    Attributes:
        deadline: Later than this is unknown.
    """

    http: HttpSource | None = None
    redis: RedisSource | None = None
    prometheus: PrometheusSource | None = None
    sql: SqlSource | None = None
    file: FileSource | None = None
    command: CommandSource | None = None
    python: PythonSource | None = None
    fleet: FleetSource | None = None
    ledger: LedgerSource | None = None
    deadline: Duration = "5s"

    @property
    def kind(self) -> str:
        """Name of the one source that is set, as in SOURCES."""
        return self._set()[0]

    @property
    def called(self) -> str:
        """The source, and which of its numbers, where its name alone says nothing."""
        inner = self.fleet or self.ledger
        return self.kind if inner is None else f"{self.kind} {inner.value}"

    @property
    def source(self) -> Strict:
        """Its settings."""
        found: Strict = getattr(self, self.kind)
        return found

    @property
    def deadline_ms(self) -> int:
        """The deadline in ms."""
        return duration_ms(self.deadline)

    def _set(self) -> list[str]:
        return [name for name in SOURCES if getattr(self, name) is not None]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self._set()) != 1:
            raise ValueError(f"a question has one source: {', '.join(SOURCES)}")
        if not MIN_DEADLINE_MS <= self.deadline_ms <= MAX_DEADLINE_MS:
            raise ValueError("deadline is at least 10ms and at most 10m")


SOURCES = ("http", "redis", "prometheus", "sql", "file", "command", "python", "fleet", "ledger")
