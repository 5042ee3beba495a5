"""A kill switch for trading fleets, over Redis: off when anything is unknown."""

from golive_redis.core.decision import Denial, Intent, Permit, Phase, Reason
from golive_redis.core.directive import Limits, Mode, Profile
from golive_redis.errors import ConfigError, GoliveError, NotPermittedError
from golive_redis.guard import Guard, Health

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
