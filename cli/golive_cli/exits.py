"""Exit codes, and which error ends with which: the one table.

`docs/reference/exit-codes.md` describes it, and a test compares the two.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

from golive_redis.errors import (
    ConfigError,
    GoliveError,
    NotPermittedError,
    RecordError,
    RefusedError,
    StoreError,
)
from golive_redis.statefile import StateFileError


class Exit(IntEnum):
    """What the exit code of `golive` says."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    NOT_CONFIRMED = 3
    STORE = 4
    VERIFICATION = 5
    CONFIG = 6
    NOT_DRAINED = 7
    NO_MATCH = 8
    INTERNAL = 70
    INTERRUPTED = 130


class UsageError(GoliveError):
    """The command line is wrong; nothing was tried."""

    reason: ClassVar[str] = "usage"


def require_reason(text: str) -> None:
    """Refuse a reason that says nothing: it is what the ledger has for whoever reads it later.

    Raises:
        UsageError: It has no character that can be read.
    """
    if not any(char.isprintable() and not char.isspace() for char in text):
        raise UsageError("--reason is empty", hint='say why: --reason "..."')


def require_profile(name: str) -> None:
    """Refuse what is the name of no capital profile.

    Raises:
        UsageError: With those that there are.
    """
    from golive_redis.records.directive import Profile

    if name not in list(Profile):
        raise UsageError(f"{name!r} is no profile", hint=f"they are {', '.join(Profile)}")


# The nearest class of an error's MRO decides, so a subclass needs a row only where it differs.
TABLE: dict[type[BaseException], Exit] = {
    UsageError: Exit.USAGE,
    RefusedError: Exit.REFUSED,  # ConflictError too
    NotPermittedError: Exit.REFUSED,
    StoreError: Exit.STORE,  # unavailable, refused, and MaybeAppliedError: outcome unknown
    RecordError: Exit.VERIFICATION,
    ConfigError: Exit.CONFIG,
    StateFileError: Exit.CONFIG,
    GoliveError: Exit.REFUSED,  # deliberate, so not a defect of ours
    KeyboardInterrupt: Exit.INTERRUPTED,
    BaseException: Exit.INTERNAL,
}

# Whatever else goes wrong while revoking, the one thing to tell is that the stop is not confirmed.
REVOKE_ANSWERS = frozenset(
    {Exit.DONE, Exit.USAGE, Exit.NOT_CONFIRMED, Exit.CONFIG, Exit.NOT_DRAINED}
)


def code_of(error: BaseException, command: str = "") -> Exit:
    """Return the exit code for an error that ended `command`."""
    code = next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)
    if command == "revoke" and code not in REVOKE_ANSWERS:
        return Exit.NOT_CONFIRMED
    return code
