"""A kill switch for trading fleets, over Redis: off when anything is unknown.

Here belong the names that a bot imports, each loaded at its first use. Code does not: each package
below says what belongs in it, `golive_redis.testing` is for a bot's own tests, and the command is
`golive_cli`. Start with `guard.guard`, which a bot asks before each order, then `core` (the rules).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from golive_redis.core.permit import Denial, Intent, Permit, Phase, Reason
    from golive_redis.errors import ConfigError, GoliveError, NotPermittedError
    from golive_redis.guard.guard import Guard, Health
    from golive_redis.records.directive import Mode, Profile
    from golive_redis.records.limits import Limits

# Loaded on first use (PEP 562): `golive revoke` is in this package too, and loading the guard would
# hold up every stop by 20 ms.
_HOMES = {
    "ConfigError": "errors",
    "Denial": "core.permit",
    "GoliveError": "errors",
    "Guard": "guard.guard",
    "Health": "guard.guard",
    "Intent": "core.permit",
    "Limits": "records.limits",
    "Mode": "records.directive",
    "NotPermittedError": "errors",
    "Permit": "core.permit",
    "Phase": "core.permit",
    "Profile": "records.directive",
    "Reason": "core.permit",
}

__all__ = [
    "ConfigError",
    "Denial",
    "GoliveError",
    "Guard",
    "Health",
    "Intent",
    "Limits",
    "Mode",
    "NotPermittedError",
    "Permit",
    "Phase",
    "Profile",
    "Reason",
]


def __getattr__(name: str) -> object:
    from importlib import import_module  # noqa: PLC0415  (only a first use pays for it)

    if name not in _HOMES:
        raise AttributeError(f"module 'golive_redis' has no attribute {name!r}")
    value = getattr(import_module(f"golive_redis.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
