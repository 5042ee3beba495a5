"""Refusals: an attempt to turn something on that a rule has denied, signed by whoever tried."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec

from golive_redis.records.record import Identity, Name, Record, Text, decodable

Word = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z-]{0,63}\Z")]
"""A stable word, for programs: the `reason` of an error as `--json` prints it."""


class Attempt(StrEnum):
    """What was tried: a grant by its kind, or a step on the way to one."""

    ACTIVATE = "activate"
    RESUME = "resume"
    RESTORE = "restore"
    PROMOTE = "promote"
    EXTEND = "extend"
    PROPOSE = "propose"
    APPROVE = "approve"
    EXECUTE = "execute"
    KEYSET = "keyset"


@decodable
class Refusal(Record, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An attempt that was refused: nothing came of it. Grants no permission and takes none.

    Attributes:
        attempt: What was tried.
        why: Stable word for the rule.
        check: The first check that did not pass, where that was it; else None.
        report: Identity of the preflight report that was made on the way, or None.
        proposal: Identity of the proposed grant that it was about, or None.
        text: What the person was told.
    """

    KIND: ClassVar[str] = "refusal"

    attempt: Attempt
    why: Word
    check: Name | None
    report: Identity | None
    proposal: Identity | None
    text: Text
