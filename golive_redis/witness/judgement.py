"""What a witness answers to a checkpoint: one function from what it knows to a status. Pure.

The order of the checks, as C2SP tlog-witness v1.0.0 has them, so that a submitter learns the same from
every witness:

| status | when |
| --- | --- |
| 404 | it knows no log of that origin |
| 403 | no trusted key of that log has signed, or a trusted key's signature is bad |
| 400 | the old size is larger than the checkpoint's |
| 409 | the old size is not what it knows; the answer is the size that it knows |
| 422 | the proof does not show that the log was only appended to |
| 200 | it cosigns |

Fails closed: whatever is not shown to continue what is known is not signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from http import HTTPStatus

import msgspec

from golive_redis.errors import GoliveError, RecordError
from golive_redis.records.checkpoint import Checkpoint
from golive_redis.records.merkle import EMPTY_ROOT, verify_consistency
from golive_redis.records.signednote import SignedNote, VerifierKey, verified
from golive_redis.witness.protocol import Submission

NOTHING = Checkpoint("", 0, EMPTY_ROOT)
"""What a witness knows of a log that it has not signed for."""

CLOCK_STEP_S = 5
"""A clock may be set back so far: the last time is signed once more, and none before it."""


class Evidence(StrEnum):
    """Why a checkpoint that was not cosigned is kept; its log has signed each."""

    FORK = "fork"
    """It has the size of the one that was cosigned and another root: the log has told two stories."""
    UNPROVEN = "unproven"
    """Its proof does not verify: the log was rewritten, or the submitter sent a wrong proof."""


class RefusalError(GoliveError):
    """A checkpoint that is not cosigned.

    Args:
        status: The answer.
        message: Why, in one sentence.
        known: The size that the witness knows, for a 409.
        evidence: What is kept of it, or None.
    """

    reason = "witness-refused"

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        *,
        known: int | None = None,
        evidence: Evidence | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.known = known
        self.evidence = evidence


class Accepted(msgspec.Struct, frozen=True):
    """A checkpoint to cosign.

    Attributes:
        checkpoint: What it says.
        note: Its text with the log's own signatures, and no others.
    """

    checkpoint: Checkpoint
    note: SignedNote


def require_signed(submission: Submission, keys: Sequence[VerifierKey]) -> Accepted:
    """Return the checkpoint of a log that has signed it.

    Args:
        submission: As it came.
        keys: Those trusted for its origin; none for an unknown log.

    Raises:
        RefusalError: 404 or 403.
    """
    if not keys:
        raise RefusalError(HTTPStatus.NOT_FOUND, "this witness knows no log of that origin")
    try:
        found = verified(submission.note, keys)
    except RecordError as error:
        raise RefusalError(HTTPStatus.FORBIDDEN, error.message) from error
    if not found:
        raise RefusalError(HTTPStatus.FORBIDDEN, "no trusted key of that log has signed it")
    lines = tuple(signed.line for signed in found)
    return Accepted(submission.checkpoint, SignedNote(submission.note.text, lines))


def require_continued(submission: Submission, known: Checkpoint) -> None:
    """Accept only what continues the newest checkpoint that was cosigned.

    Args:
        submission: Its log has signed it.
        known: That checkpoint; `NOTHING` when there is none.

    Raises:
        RefusalError: 400, 409 or 422.
    """
    old, new = submission.old, submission.checkpoint
    fork = new.size == known.size > 0 and new.root != known.root
    if old > new.size:
        raise RefusalError(
            HTTPStatus.BAD_REQUEST, f"the old size {old} is larger than the checkpoint's {new.size}"
        )
    if old != known.size:
        raise RefusalError(
            HTTPStatus.CONFLICT,
            f"this witness knows size {known.size}, not {old}",
            known=known.size,
            evidence=Evidence.FORK if fork else None,
        )
    try:
        verify_consistency(old, new.size, known.root, new.root, submission.proof)
    except RecordError as error:
        raise RefusalError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            error.message,
            evidence=Evidence.FORK if fork else Evidence.UNPROVEN,
        ) from error


def time_to_sign(now_s: int, last_s: int) -> int:
    """Return the time of a cosignature, in Unix seconds: never one before the last.

    Raises:
        RefusalError: 503, the clock is behind the last cosignature by more than `CLOCK_STEP_S`: its
            time, or that of the last one, is wrong, and a signature would say so for ever.
    """
    if now_s < last_s - CLOCK_STEP_S:
        raise RefusalError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"the clock of this witness is {last_s - now_s} s behind its last cosignature",
        )
    return max(now_s, last_s)
