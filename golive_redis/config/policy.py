"""Validated settings. Every default is justified beside it."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from golive_redis.core.timing import TIMINGS, Haste, Timing
from golive_redis.masking import Masked
from golive_redis.records.directive import Profile
from golive_redis.records.limits import Limits
from golive_redis.records.record import MAX_INT, Duration, Name, Strict, decodable, duration_ms

_PRODUCTION = frozenset({"production", "prod", "live"})


def is_production(environment: str) -> bool:
    """Tell whether an environment trades real money, by the first word of its name: `prod-eu` does."""
    return re.split(r"[._-]", environment.lower(), maxsplit=1)[0] in _PRODUCTION


class TlsSettings(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """TLS files for `rediss://`; certificate and host name are always verified."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


class SentinelSettings(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to log in at the Sentinels of a `redis+sentinel://` URL; they have users of their own."""

    username: str | None = None
    password_env: str | None = None
    tls: bool = False


class StoreSettings(Masked, Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where Redis is. Passwords come from the environment, never from the file."""

    URLS: ClassVar[frozenset[str]] = frozenset({"url"})

    url: Annotated[str, msgspec.Meta(max_length=1024)] = "redis://127.0.0.1:6379/0"
    username: str | None = None
    password_env: str | None = None
    # None decides by the environment's name: a first try on a server without users works, and in
    # production one login that may do everything is a mistake that somebody has to mean.
    allow_default_user: bool | None = None
    # What every server has; a library has to be installed first, by an administrator.
    scripts: Literal["eval", "function"] = "eval"
    tls: TlsSettings | None = None
    sentinel: SentinelSettings = SentinelSettings()


class KeySettings(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Key files, relative to the configuration file."""

    keyset: str = "keyset.yaml"
    operator: str | None = None
    heartbeat: str | None = None
    revoker: str | None = None
    worker: str | None = None


@decodable
class Policy(Masked, Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole configuration file, validated."""

    MASKED: ClassVar[frozenset[str]] = frozenset({"checks", "triggers", "promotions", "audit"})

    environment: Name
    namespace: Annotated[
        str, msgspec.Meta(pattern=r"^(\{[a-z0-9_-]{1,32}\}|[a-z0-9_-]{1,32})\Z")
    ] = "golive"
    # Off until somebody edits the file: an operator's command alone is not enough.
    activation_enabled: bool = False
    required_preflight: list[Name] = msgspec.field(default_factory=lambda: ["check_database_redis"])
    # Micro first: real money starts with the smallest profile unless the file says otherwise.
    allowed_profiles: Annotated[list[Profile], msgspec.Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: [Profile.MICRO]
    )
    default_profile: Profile = Profile.MICRO
    require_testnet_history: bool = False
    min_testnet_trades: Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)] = 3
    require_risk_state: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    require_ess_inactive: bool = False
    # Half a day: a forgotten activation ends by itself before the next shift.
    window_minutes: Annotated[int, msgspec.Meta(ge=1, le=44_640)] = 720
    store: StoreSettings = StoreSettings()
    keys: KeySettings = KeySettings()
    state_dir: str | None = None
    timing: str | Timing = "standard"
    profiles: dict[Profile, Limits]
    # How long a preflight report is good for: what was true an hour ago proves nothing now.
    preflight_max_age: Duration = "5m"
    # Against haste; both are asked by heartbeats, and one signature more than it takes lifts both.
    cool_down: Duration = "60s"
    activations_per_day: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 20
    # Read by those who use them (`golive_redis.checks.conditions`), for a mistake in them may not keep
    # anybody from revoking: not even a section without anything in it.
    checks: Any = {}
    triggers: Any = {}
    windows: Any = {}
    promotions: Any = {}
    # Likewise (`golive_redis.config.auditing`).
    audit: Any = {}

    @property
    def allows_default_user(self) -> bool:
        """Whether golive may be logged in as the Redis user `default`, who may do everything."""
        said = self.store.allow_default_user
        return not is_production(self.environment) if said is None else said

    @property
    def timers(self) -> Timing:
        """The timers in force, whether named or written out."""
        return TIMINGS[self.timing] if isinstance(self.timing, str) else self.timing

    @property
    def haste(self) -> Haste:
        """How fast the fleet may be started again."""
        return Haste(duration_ms(self.cool_down), self.activations_per_day)

    def __post_init__(self) -> None:
        if isinstance(self.timing, str) and self.timing not in TIMINGS:
            raise ValueError(f"timing is one of {', '.join(TIMINGS)}, or the timers themselves")
        missing = [name for name in self.allowed_profiles if name not in self.profiles]
        if missing:
            raise ValueError(f"allowed_profiles names {missing[0]}, which profiles does not define")
        if self.default_profile not in self.allowed_profiles:
            raise ValueError(f"default_profile {self.default_profile} is not in allowed_profiles")
