"""Approvals on several hosts: a grant waits in Redis until enough approvers have signed its exact bytes.

`propose` makes the grant that would be put in force now, and signs it. Others look at it on their own
hosts, each with their own configuration, and sign the same bytes. The last signature runs the checks
again and puts it in force, together with the word that it takes effect now. Any directive in between
makes it stale: it names the one before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from golive_redis import clock
from golive_redis.errors import ConflictError, RecordError, RefusedError, StoreError
from golive_redis.operator import preflight, refusals
from golive_redis.operator.activation import Activation, risk_missing
from golive_redis.operator.approvals import answered, enter, executed
from golive_redis.operator.grants import drafted, put_successor
from golive_redis.operator.promotion import drafted_promotion
from golive_redis.operator.session import Operator, Reading, Say, described, quiet
from golive_redis.records.approval import APPROVE_WITHIN_MS, Answer, Said, short_id
from golive_redis.records.beat import ISSUED_TOLERANCE_MS
from golive_redis.records.directive import Grant, GrantKind
from golive_redis.records.envelope import Signer, Verified, seal, together
from golive_redis.records.record import wording
from golive_redis.records.refusal import Attempt
from golive_redis.records.report import Outcome, Report
from golive_redis.store.proposals import Stored

NO = {Said.REJECT: "rejected", Said.WITHDRAW: "withdrew"}
LEAST = 4  # characters by which one may be named


class Proposal(msgspec.Struct, frozen=True):
    """A grant that waits for signatures.

    Attributes:
        grant: With the signatures so far, each verified.
        answers: What was said to it, likewise.
        until_ms: Until when it waits, Unix ms.
        needed: How many signatures it takes.
    """

    grant: Verified[Grant]
    answers: tuple[Verified[Answer], ...]
    until_ms: int
    needed: int

    @property
    def id(self) -> str:
        """What people call it: `7f3k-9qmx`."""
        return short_id(self.grant.identity)

    @property
    def proposer(self) -> str:
        """Who has made it."""
        return self.grant.record.by


class Decided(msgspec.Struct, frozen=True):
    """What came of an answer.

    Attributes:
        proposal: With the signatures that it has now.
        grant: In force, when this was the last signature; else None.
        activation: What waits for the fleet to arm, when that is an activation.
    """

    proposal: Proposal
    grant: Verified[Grant] | None = None
    activation: Activation | None = None


# -- propose -------------------------------------------------------------------------------------


def propose_activation(operator: Operator, activation: Activation) -> Proposal:
    """Propose an activation that was prepared with `others=True`.

    Raises:
        RefusedError: It would be refused now, or too many proposals are open.
    """
    reading = activation.prepare()
    record = activation.draft(reading, APPROVE_WITHIN_MS)
    signers = frozenset(signer.principal for signer in activation.signers)
    # After a stop by risk enough may have signed, and the one who has to sits at another host.
    awaits = bool(risk_missing(operator, reading, signers))
    return _proposed(operator, record, activation.signers, awaits=awaits)


def propose_change(
    operator: Operator,
    kind: GrantKind,
    *,
    keys: Sequence[str] = (),
    told: preflight.Told = preflight.nobody,
    say: Say = quiet,
    **options: object,
) -> Proposal:
    """Propose a resume, restore, extend or promote.

    Args:
        operator: At work.
        kind: Which.
        keys: Further key files at this desk.
        told: Told of each finding as it comes.
        say: Told in a sentence what happens.
        options: As in `operator.grants.drafted`, or `drafted_promotion`.

    Raises:
        RefusedError: It would be refused now, or too many proposals are open.
    """
    with refusals.told(operator, Attempt.PROPOSE):
        signers = operator.approvers(keys, kind, others=True)
        record = _change(operator, kind, signers[0], told, say, options)
    return _proposed(operator, record, signers)


def _change(
    operator: Operator,
    kind: GrantKind,
    signer: Signer,
    told: preflight.Told,
    say: Say,
    options: dict[str, object],
) -> Grant:
    if kind is GrantKind.PROMOTE:
        return drafted_promotion(operator, signer, told=told, say=say, **options)[1]  # type: ignore[arg-type]
    return drafted(operator, kind, signer, say=say, **options)[1]  # type: ignore[arg-type]


def _proposed(
    operator: Operator, record: Grant, signers: Sequence[Signer], *, awaits: bool = False
) -> Proposal:
    needed = operator.trust.keyset.approvals(record.kind)
    if len(signers) >= needed and not awaits:
        raise RefusedError(
            f"the {needed} signature(s) that it takes are here: nobody else has to be asked",
            hint=f"golive {record.kind}",
        )
    _require_clock(operator)
    grant = operator.trust.proposed(seal(record, *signers))
    until_ms = record.issued_at_ms + APPROVE_WITHIN_MS
    first, *others = signers
    said = [answered(operator, grant.identity, Said.PROPOSE, first, until_ms, record.reason)]
    said += [answered(operator, grant.identity, Said.APPROVE, item, until_ms) for item in others]
    operator.store.propose(grant.identity, until_ms, clock.wall_ms())
    for signer, answer in zip(signers, said, strict=True):
        enter(operator, answer.raw)
        mine = seal(record, *dict.fromkeys((signers[0], signer)))
        operator.store.sign_proposal(grant.identity, signer.principal, mine, answer.raw, until_ms)
    return Proposal(grant, tuple(said), until_ms, needed)


# -- look ----------------------------------------------------------------------------------------


def waiting(operator: Operator) -> list[Proposal]:
    """Return the proposals that wait, those that end first in front; what does not verify is left out.

    Raises:
        StoreError: Redis cannot be asked.
    """
    found = [_verified(operator, stored) for stored in operator.store.open_proposals()]
    now = clock.wall_ms()
    return [item for item in found if item is not None and now < item.until_ms]


def named(operator: Operator, name: str) -> Proposal:
    """Return the proposal that somebody means.

    Args:
        operator: At work.
        name: The id, or its first characters.

    Raises:
        RefusedError: There is none, or there are several.
    """
    meant = name.strip().lower().replace("-", "")
    found = [item for item in waiting(operator) if item.id.replace("-", "").startswith(meant)]
    if len(meant) < LEAST or not found:
        raise RefusedError(
            f"no proposal waits that is called {name[:40]}", hint="`golive proposals` shows them"
        )
    if len(found) > 1:
        names = ", ".join(item.id for item in found)
        raise RefusedError(f"{name} may be {names}", hint="name it in full")
    return found[0]


def _verified(operator: Operator, stored: Stored) -> Proposal | None:
    trust = operator.trust
    grants, answers = [], []
    for raw in stored.grants:
        try:
            grant = trust.proposed(raw)
        except RecordError:
            continue
        if grant.identity == stored.identity:
            grants.append(grant)
    for raw in stored.answers:
        try:
            answer = trust.answer(raw)
        except RecordError:
            continue
        if answer.record.proposal == stored.identity:
            answers.append(answer)
    made = [item for item in answers if item.record.answer is Said.PROPOSE]
    if not grants or not made or made[0].record.by != grants[0].record.by:
        return None
    record = grants[0].record
    # What its maker says, and no longer than a proposal may wait.
    until_ms = min(made[0].record.approve_by_ms, record.issued_at_ms + APPROVE_WITHIN_MS)
    whole = trust.proposed(together(item.raw for item in grants))
    answers.sort(key=lambda item: item.record.issued_at_ms)
    return Proposal(whole, tuple(answers), until_ms, trust.keyset.approvals(record.kind))


def stale(operator: Operator, proposal: Proposal, reading: Reading) -> str:
    """Return why a proposal can no longer take effect, in words; "" when it can."""
    record = proposal.grant.record
    if record.prev != (reading.snapshot.last or None):
        last = reading.newest
        first = described(last) if last is not None else "another change"
        return f"{first} came first"
    if record.policy != operator.config.policy_digest:
        return f"it was made under another policy than {operator.config.path}"
    if record.keyset_version != operator.trust.keyset.version:
        version = operator.trust.keyset.version
        return f"it was made under keyset {record.keyset_version}; this host has {version}"
    return ""


# -- answer --------------------------------------------------------------------------------------


def approve(
    operator: Operator,
    proposal: Proposal,
    *,
    keys: Sequence[str] = (),
    over_unconfirmed: bool = False,
    told: preflight.Told = preflight.nobody,
    say: Say = quiet,
) -> Decided:
    """Sign a proposal; the last signature runs the checks again and puts it in force.

    Args:
        operator: At work.
        proposal: As it was shown to whoever signs.
        keys: Further key files at this desk.
        over_unconfirmed: As for an activation.
        told: Told of each finding as it comes.
        say: Told in a sentence what happens.

    Raises:
        RefusedError: It is their own and signed already, too old, stale, or the checks fail now.
        ConflictError: Another directive came first, or another last signature.
        MaybeAppliedError: It is unknown whether it is in force.
    """
    record = proposal.grant.record
    with refusals.told(operator, Attempt.APPROVE, proposal.grant.identity):
        new, reading = _may_sign(operator, proposal, keys)
    last = len(proposal.grant.signers) + len(new) >= proposal.needed
    if not last:
        return Decided(_signed(operator, proposal, new))
    if record.kind is GrantKind.ACTIVATE:
        return _activate(operator, proposal, new, over_unconfirmed, told, say)
    report = None
    if record.report is not None:
        with refusals.told(operator, Attempt.EXECUTE, proposal.grant.identity):
            report = _checked(operator, new[0], told)
        preflight.enter(operator, report)
    whole = _signed(operator, proposal, new)
    execution = _executed(operator, whole, report, new[-1])
    grant = operator.trust.grant(whole.grant.raw)
    put_successor(operator, reading, grant, execution, say=say)
    _close(operator, grant, say)
    return Decided(whole, grant)


def _close(operator: Operator, grant: Verified[Grant], say: Say) -> None:
    """Take a proposal away that is in force; where that fails it is out of date all the same (A7)."""
    try:
        operator.store.close_proposal(grant.identity)
    except StoreError as error:
        say(f"in force, and still listed under `golive proposals`: {error.message}")


def _may_sign(
    operator: Operator, proposal: Proposal, keys: Sequence[str]
) -> tuple[list[Signer], Reading]:
    """Return who signs here and has not yet, and what was read."""
    signers = operator.approvers(keys, proposal.grant.record.kind, others=True)
    new = [item for item in signers if item.principal not in proposal.grant.signers]
    # With enough signatures it was not executed: who has signed it may do that now.
    if not new and len(proposal.grant.signers) < proposal.needed:
        names = ", ".join(item.principal for item in signers)
        raise RefusedError(
            f"{names} has signed it already", hint="somebody else has to: `golive proposals`"
        )
    _require_waiting(proposal)
    _require_clock(operator)
    _require_no_refusal(operator, proposal)
    reading = operator.read()
    if why := stale(operator, proposal, reading):
        raise ConflictError(f"the proposal is out of date: {why}", hint="propose it again")
    return new or signers, reading


def _activate(
    operator: Operator,
    proposal: Proposal,
    new: Sequence[Signer],
    over_unconfirmed: bool,
    told: preflight.Told,
    say: Say,
) -> Decided:
    record = proposal.grant.record
    activation = Activation(
        operator,
        reason=record.reason,
        ticket=record.ticket,
        profile=str(record.profile),
        over_unconfirmed=over_unconfirmed,
        others=True,
        proposal=proposal.grant.identity,
        told=told,
        say=say,
    )
    activation.prepare(by=new, together=proposal.grant.signers)
    report = activation.report
    preflight.enter(operator, report)
    whole = _signed(operator, proposal, new)
    execution = _executed(operator, whole, report, new[-1])
    grant = operator.trust.grant(whole.grant.raw)
    activation.take_effect(grant, execution)
    _close(operator, grant, say)
    return Decided(whole, grant, activation)


def _checked(operator: Operator, signer: Signer, told: preflight.Told) -> Verified[Report]:
    findings = preflight.run(operator, told=told)
    if any(item.outcome is not Outcome.PASS for item in findings):
        raise preflight.PreflightFailedError(findings)
    return preflight.signed(operator, signer, findings)


def _signed(operator: Operator, proposal: Proposal, new: Sequence[Signer]) -> Proposal:
    """Put signatures to a proposal, and what their owners say into the ledger."""
    identity, grants, answers = proposal.grant.identity, [proposal.grant.raw], []
    for signer in new:
        # With its maker's signature, without which nobody's is looked at.
        mine = together([proposal.grant.raw, seal(proposal.grant.record, signer)])
        if operator.trust.proposed(mine).identity != identity:
            raise RecordError("these are other bytes than those that were shown")
        answer = answered(operator, identity, Said.APPROVE, signer, proposal.until_ms)
        enter(operator, answer.raw)
        operator.store.sign_proposal(
            identity, signer.principal, mine, answer.raw, proposal.until_ms
        )
        grants.append(mine)
        answers.append(answer)
    whole = operator.trust.proposed(together(grants))
    return msgspec.structs.replace(proposal, grant=whole, answers=(*proposal.answers, *answers))


def _executed(
    operator: Operator, proposal: Proposal, report: Verified[Report] | None, signer: Signer
) -> bytes:
    signed = [
        item for item in proposal.answers if item.record.answer in {Said.PROPOSE, Said.APPROVE}
    ]
    identity = report.identity if report is not None else None
    return executed(operator, proposal.grant.identity, identity, signed, signer)


def decline(
    operator: Operator, proposal: Proposal, said: Said, reason: str, *, keys: Sequence[str] = ()
) -> Verified[Answer]:
    """Reject a proposal, or withdraw one's own; it waits no longer.

    Raises:
        RefusedError: They may not.
    """
    signer = operator.approvers(keys, proposal.grant.record.kind, others=True)[0]
    own = signer.principal == proposal.proposer
    if said is Said.WITHDRAW and not own:
        raise RefusedError(
            f"it is {proposal.proposer}'s proposal, not {signer.principal}'s",
            hint=f"golive reject {proposal.id} --reason TEXT",
        )
    answer = answered(
        operator, proposal.grant.identity, said, signer, proposal.until_ms, wording(reason)
    )
    enter(operator, answer.raw)
    operator.store.close_proposal(proposal.grant.identity)
    return answer


def _require_waiting(proposal: Proposal) -> None:
    if clock.wall_ms() >= proposal.until_ms:
        raise RefusedError("the proposal has waited too long", hint="propose it again")


def _require_no_refusal(operator: Operator, proposal: Proposal) -> None:
    """Refuse what somebody has rejected or its maker withdrawn, though it be put back into Redis.

    Its signatures are good until it has waited too long; the ledger knows who has said no.
    """
    began_ms = proposal.grant.record.issued_at_ms - ISSUED_TOLERANCE_MS
    for page in operator.store.ledger(str(began_ms)):
        for entry in page:
            try:
                said = operator.trust.answer(entry.envelope).record
            except RecordError:
                continue  # another record, or one that counts for nothing
            if said.proposal == proposal.grant.identity and said.answer in NO:
                raise ConflictError(
                    f"{said.by} {NO[said.answer]} this proposal: {said.reason or 'no reason given'}",
                    hint="propose it again",
                )


def _require_clock(operator: Operator) -> None:
    """Refuse where this host's clock is not that of Redis: proposals live by it on several hosts."""
    apart_s = (clock.wall_ms() - operator.store.server_ms()) / 1000
    if abs(apart_s) * 1000 > ISSUED_TOLERANCE_MS:
        raise RefusedError(
            f"this host's clock and that of Redis are {abs(apart_s):.0f} s apart",
            hint="set this host's clock; `golive doctor` compares them",
        )
