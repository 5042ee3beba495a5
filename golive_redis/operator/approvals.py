"""Several approvers: what each has said to a grant, and the word that it takes effect now.

At one desk all keys sign at once; on several hosts one signs after the other (`proposals`). The ledger
has the same of both: an answer of each, the execution, and the grant.
"""

from __future__ import annotations

from collections.abc import Sequence

from golive_redis import clock
from golive_redis.delivery.append import append
from golive_redis.errors import MaybeAppliedError, StoreError
from golive_redis.operator.session import Operator
from golive_redis.records.approval import APPROVE_WITHIN_MS, Answer, Execution, Said
from golive_redis.records.directive import Grant
from golive_redis.records.envelope import Signer, Verified, seal


def signed(
    operator: Operator, record: Grant, signers: Sequence[Signer]
) -> tuple[Verified[Grant], bytes]:
    """Sign a grant by all who are at this desk, and enter what they say to it.

    Returns:
        The grant, and its execution; that is empty where one signature is enough.

    Raises:
        StoreError: An answer may not be in the ledger; no grant was sent.
    """
    grant = operator.trust.grant(seal(record, *signers))
    if operator.trust.keyset.approvals(record.kind) == 1:
        return grant, b""
    until_ms = record.issued_at_ms + APPROVE_WITHIN_MS
    first, *others = signers
    answers = [answered(operator, grant.identity, Said.PROPOSE, first, until_ms, record.reason)]
    answers += [answered(operator, grant.identity, Said.APPROVE, item, until_ms) for item in others]
    for answer in answers:
        enter(operator, answer.raw)
    report = record.report
    return grant, executed(operator, grant.identity, report, answers, signers[-1])


def answered(
    operator: Operator, proposal: str, said: Said, signer: Signer, until_ms: int, reason: str = ""
) -> Verified[Answer]:
    """Sign what an approver says to a proposal."""
    record = Answer(
        **operator.trust.heading(signer.principal, clock.wall_ms()),
        proposal=proposal,
        answer=said,
        approve_by_ms=until_ms,
        reason=reason,
    )
    return operator.trust.answer(seal(record, signer))


def executed(
    operator: Operator,
    directive: str,
    report: str | None,
    answers: Sequence[Verified[Answer]],
    signer: Signer,
) -> bytes:
    """Sign the word that a grant takes effect now.

    Args:
        operator: At work.
        directive: Identity of the grant.
        report: Identity of the report of now, or None.
        answers: What its approvers have said.
        signer: One of them.
    """
    record = Execution(
        **operator.trust.heading(signer.principal, clock.wall_ms()),
        directive=directive,
        report=report,
        answers=[item.identity for item in answers],
    )
    return seal(record, signer)


def enter(operator: Operator, record: bytes, what: str = "an answer") -> None:
    """Put a record into the ledger, ahead of the grant that it is about.

    Raises:
        StoreError: It may not be there. Never `MaybeAppliedError`: no grant was sent (A7).
    """
    try:
        append(operator.store, record)
    except MaybeAppliedError as error:
        raise StoreError(
            f"{what} may not be in the ledger, and nothing was put in force: {error.message}",
            hint="run the command again",
        ) from error
