"""Approvals on several hosts: what was said to a proposed grant, and the word that it takes effect now.

A proposal is the grant itself, the exact bytes that everybody signs: another text is another proposal.
"""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec

from golive_redis.records.record import Identity, Ms, Record, Text, decodable

APPROVE_WITHIN_MS = 600_000
"""So long a proposal waits for its approvers, and an execution follows its grant."""

MAX_ANSWERS = 16


_ID_BYTES = 5  # 8 characters of base32 (RFC 4648), to be read over the telephone


def short_id(identity: str) -> str:
    """Return the 8 characters by which people name a proposal: `7f3k-9qmx`."""
    text = base64.b32encode(bytes.fromhex(identity)[:_ID_BYTES]).decode().lower()
    return f"{text[:4]}-{text[4:]}"


class Said(StrEnum):
    """What an approver says to a proposal."""

    PROPOSE = "propose"
    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"


@decodable
class Answer(Record, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one approver has said to a proposal. It permits nothing: the signatures on the grant do.

    Attributes:
        proposal: Identity of the proposed grant.
        answer: What they say.
        approve_by_ms: Until when the proposal waits, Unix ms.
        reason: Why, for people.
    """

    KIND: ClassVar[str] = "answer"

    proposal: Identity
    answer: Said
    approve_by_ms: Ms
    reason: Text


@decodable
class Execution(Record, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Word of an approver who has signed a grant: it takes effect now, on a preflight that was just run.

    So a grant that has waited for its signatures is fresh again (S13), once.

    Attributes:
        directive: Identity of the grant.
        report: Identity of the preflight report of now; None for a grant that rests on none.
        answers: Identities of what its approvers have said.
    """

    KIND: ClassVar[str] = "execution"

    directive: Identity
    report: Identity | None
    answers: Annotated[list[Identity], msgspec.Meta(max_length=MAX_ANSWERS)]
