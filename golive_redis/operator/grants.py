"""Loosening within a term: resume, restore, extend, and putting any grant in force.

A grant is made from what was just read and verified, needs the approvers' threshold, and is put in
force by compare-and-set: of two operators at once, one wins and the other is told who and what. It is
not signed again on top of what came first, because it may no longer be meant; a restriction is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from golive_redis import clock
from golive_redis.checks import windows
from golive_redis.checks.conditions import Conditions
from golive_redis.core.labels import same
from golive_redis.core.state import State, let_go
from golive_redis.delivery.retry import retried
from golive_redis.errors import (
    ConflictError,
    GoliveError,
    MaybeAppliedError,
    RefusedError,
    StoreError,
)
from golive_redis.operator.approvals import signed
from golive_redis.operator.refusals import told
from golive_redis.operator.session import (
    Operator,
    Reading,
    Say,
    active,
    described,
    quiet,
    send_spool,
    tell_unpushed,
)
from golive_redis.records.directive import (
    MAX_HEARTBEATS,
    Grant,
    GrantKind,
    Label,
    Restriction,
    RestrictionKind,
)
from golive_redis.records.envelope import Signer, Verified
from golive_redis.records.epoch import next_epoch
from golive_redis.records.keyset import Role
from golive_redis.records.record import wording
from golive_redis.records.refusal import Attempt
from golive_redis.store.replies import Status, Step

MAX_TRIES = 10
CLOSES_FIRST = "the trading windows close before that, and the term ends with them"


OTHER_FLEET = (
    "take another namespace, or another database; where that fleet is yours and gone for good, "
    "delete the key {}"
)


class Loosening(msgspec.Struct, frozen=True):
    """What a loosening would lift.

    Attributes:
        state: What is in force.
        dropped: The restrictions of it that would be lifted.
    """

    state: State
    dropped: tuple[Verified[Restriction], ...]

    @property
    def kept(self) -> list[Verified[Restriction]]:
        """The restrictions that would stay in force."""
        return [item for item in self.state.restrictions if item not in self.dropped]


class Loosened(msgspec.Struct, frozen=True):
    """A grant within the term, in force, and the restrictions that it has lifted."""

    grant: Verified[Grant]
    dropped: tuple[Verified[Restriction], ...]


class _AgainError(StoreError):
    """The grant is not in force, as far as is known, and may be put once more."""


def put_grant(
    operator: Operator,
    grant: Verified[Grant],
    *,
    origin: str = "",
    keeps: Sequence[str] = (),
    execution: bytes = b"",
    say: Say = quiet,
) -> None:
    """Put a signed grant in force, following the ledger head while others write.

    Args:
        operator: At work.
        grant: As signed.
        origin: Run id of the primary, for an activation.
        keeps: Fields of the restrictions that stay; all others go.
        execution: The word that it takes effect now, where several had to sign it; else empty.
        say: Told when it is in force and could not be pushed.

    Raises:
        ConflictError: Another directive came first; it is named.
        RefusedError: The store refused it; nothing was changed.
        MaybeAppliedError: No answer, twice: it is unknown whether it is in force.
    """
    store, ttl_ms = operator.store, operator.timing.ttl_ms
    head, unknown = store.head(), False

    def put() -> Step:
        nonlocal head, unknown
        try:
            step = store.grant(
                grant, ttl_ms=ttl_ms, head=head, origin=origin, keeps=keeps, execution=execution
            )
        except MaybeAppliedError as error:
            if unknown:
                raise
            unknown = True  # the very same grant is recognised, so asking again is safe
            raise _AgainError(error.message) from error
        if step.status is Status.HEAD:
            head = step.why
            raise _AgainError(
                f"other entries came first {MAX_TRIES} times; nothing was changed, try again"
            )
        return step

    with operator.sending(grant):
        try:
            step = retried(put, again=_AgainError, tries=MAX_TRIES)
            _refuse_grant(operator, step)
        except GoliveError as error:
            if unknown:
                raise MaybeAppliedError.despite(error) from error
            raise
    operator.sent(grant)
    tell_unpushed(operator, step, say)


def _refuse_grant(operator: Operator, step: Step) -> None:
    if step.status in {Status.OK, Status.SAME}:
        return
    if step.status is Status.CONFLICT:
        raise ConflictError(
            f"another change came first: {operator.who(step.why)}",
            hint="look at `golive status`, and run the command again if it is still meant",
        )
    if step.why == "active":
        try:
            state = operator.read().state
        except StoreError:
            state = None  # wording, like `who`
        what = described(state.grant) if state else "another activation"
        raise ConflictError(f"another change came first: {what}", hint="`golive status` shows it")
    if step.why == "keyset":
        raise RefusedError(
            f"keyset {step.detail} was published meanwhile, and this was signed under the one before",
            hint="run it again: it is signed under the newest then",
        )
    if step.why == "fleet":
        raise RefusedError(
            operator.another_fleet(step.detail),
            hint=OTHER_FLEET.format(operator.keyspace.fleet_id),
        )
    texts = {
        "revoked": f"a revocation with epoch {step.detail} stands",
        "used": f"epoch {step.detail} is used already",
        "absent": "nothing is active",
        "term": f"term {step.detail} is active by now",
        "corrupt": f"{step.detail} has a wrong type",
    }
    raise RefusedError(
        f"the store refused the grant: {texts.get(step.why, step.why)}",
        hint="`golive revoke` repairs keys of a wrong type" if step.why == "corrupt" else "",
    )


class Waiting(msgspec.Struct, frozen=True):
    """Heartbeats that a grant does not name, and why (A1).

    Attributes:
        ready: Registered and in the keyset.
        absent: In the keyset and not registered.
        strangers: Registered and not in the keyset of this host.
    """

    ready: tuple[str, ...]
    absent: tuple[str, ...]
    strangers: tuple[str, ...]

    def sentences(self) -> list[str]:
        """Say who may not beat, and what to do about it."""
        out = []
        if self.absent:
            names = ", ".join(self.absent)
            out.append(f"not registered, so it may not beat for this term: {names}")
            out.append("`golive extend` lets a heartbeat in that is started later")
        if self.strangers:
            names = ", ".join(self.strangers)
            out.append(f"not in the keyset of this host, so it may not beat: {names}")
        return out


def waiting(operator: Operator, named: Sequence[str]) -> Waiting:
    """Read which heartbeats there are besides those named.

    Raises:
        StoreError: The roster cannot be read.
    """
    known = set(operator.trust.keyset.principals(Role.HEARTBEAT))
    registered = {item.name for item in operator.store.heartbeats()} - set(named)
    return Waiting(
        tuple(sorted(registered & known)),
        tuple(sorted(known - registered - set(named))),
        tuple(sorted(registered - known)),
    )


def loosen(
    operator: Operator,
    kind: GrantKind,
    *,
    reason: str,
    ticket: str = "",
    labels: Mapping[str, str] | None = None,
    every: bool = False,
    keys: Sequence[str] = (),
    minutes: int | None = None,
    say: Say = quiet,
) -> Loosened:
    """Issue a grant within the term: `resume` drops halts, `restore` reductions, `extend` none.

    An `extend` also names the heartbeats that have registered since, so that they may beat (A1).

    Args:
        operator: At work.
        kind: Which.
        reason: For the record.
        ticket: For the record.
        labels: Drops the restrictions with exactly these labels, however they are typed.
        every: Drops all of that kind, whatever their labels.
        keys: Further key files, up to the threshold.
        minutes: For `extend`: new length of the window, from now; the trading windows may end it
            earlier. None leaves the window as it is, and only lets heartbeats in (A1).
        say: Told in a sentence what happens.

    Raises:
        RefusedError: Nothing is active, nothing matches, too few approvers signed, or no trading
            window is open.
        ConflictError: Another directive came first.
    """
    with told(operator, Attempt(kind)):
        signers = operator.approvers(keys, kind)
        planned, draft, reading = drafted(
            operator,
            kind,
            signers[0],
            reason=reason,
            ticket=ticket,
            labels=labels,
            every=every,
            minutes=minutes,
            say=say,
        )
    grant, execution = signed(operator, draft, signers)
    put_successor(operator, reading, grant, execution, say=say)
    return Loosened(grant, planned.dropped)


def drafted(
    operator: Operator,
    kind: GrantKind,
    signer: Signer,
    *,
    reason: str,
    ticket: str = "",
    labels: Mapping[str, str] | None = None,
    every: bool = False,
    minutes: int | None = None,
    say: Say = quiet,
) -> tuple[Loosening, Grant, Reading]:
    """Return what `loosen` would put in force now, to be signed by several; it changes nothing.

    Args:
        operator: At work.
        kind: As in `loosen`, and so are the others.
        signer: Who issues it.
        reason: For the record.
        ticket: For the record.
        labels: Which restrictions.
        every: All of them.
        minutes: New length of the window.
        say: Told in a sentence what happens.

    Raises:
        RefusedError: `loosen` would refuse.
    """
    send_spool(operator, say)
    reading = operator.read()
    planned = _loosening(active(reading), kind, labels, every=every)
    changes: dict[str, object] = {"reason": wording(reason), "ticket": wording(ticket)}
    if kind is GrantKind.EXTEND:
        changes |= _extension(operator, planned.state.grant.record, minutes, say)
    draft = successor(operator, reading, signer, planned.kept, kind=kind, report=None, **changes)
    return planned, draft, reading


def foresee(
    operator: Operator,
    kind: GrantKind,
    *,
    labels: Mapping[str, str] | None = None,
    every: bool = False,
    keys: Sequence[str] = (),
) -> Loosening:
    """Tell what `loosen` would lift now, and change nothing. Takes the keys that it would take.

    Args:
        operator: At work.
        kind: `resume` or `restore`.
        labels: As in `loosen`.
        every: As in `loosen`.
        keys: As in `loosen`.

    Raises:
        RefusedError: `loosen` would refuse.
        ConfigError: A key cannot be used.
    """
    operator.approvers(keys, kind)
    return _loosening(active(operator.read()), kind, labels, every=every)


def successor(
    operator: Operator,
    reading: Reading,
    signer: Signer,
    kept: Sequence[Verified[Restriction]],
    **changes: object,
) -> Grant:
    """Return the grant that follows the one just read, with changes to its fields; not signed yet.

    Args:
        operator: At work.
        reading: What was just read.
        signer: Who issues it.
        kept: The restrictions that stay.
        changes: Fields of the grant, with their new values.

    Raises:
        RefusedError: This host's clock is behind the activation.
    """
    state = active(reading)
    before = state.grant.record
    now = clock.wall_ms()
    if now < before.activated_at_ms:
        behind_s = (before.activated_at_ms - now) / 1000
        raise RefusedError(
            f"by this host's clock the term begins in {behind_s:.1f} s: one of two clocks is wrong",
            hint="set the clock of this host or of the one that activated; stops do not depend on it",
        )
    return msgspec.structs.replace(
        before,
        epoch=next_epoch(reading.newest, hint=reading.snapshot.epoch_hint),
        **operator.trust.heading(signer.principal, now),
        keeps=[item.identity for item in kept],
        **let_go(before, [item for item in state.restrictions if item not in kept], len(kept)),
        prev=reading.snapshot.last or None,
        **changes,
    )


def put_successor(
    operator: Operator,
    reading: Reading,
    grant: Verified[Grant],
    execution: bytes,
    *,
    say: Say = quiet,
) -> None:
    """Put a grant in force that follows the one just read.

    Args:
        operator: At work.
        reading: What was just read; the grant names what it keeps of that.
        grant: As signed.
        execution: The word that it takes effect now; empty for none.
        say: Told when it is in force and could not be pushed.

    Raises:
        ConflictError: Another directive came first.
    """
    record = grant.record
    held = {item.raw for item in active(reading).restrictions if item.identity in record.keeps}
    fields = [name for name, raw in reading.snapshot.restrictions.items() if raw in held]
    put_grant(operator, grant, keeps=fields, execution=execution, say=say)
    changed: dict[str, object] = {"not_after_ms": record.not_after_ms}
    if operator.memory.newest.term == record.term:
        changed["heartbeats"] = list(record.heartbeats)  # A1: whom a stop from here waits for
    operator.remember(grant, say, **changed)


def _extension(
    operator: Operator, before: Grant, minutes: int | None, say: Say
) -> dict[str, object]:
    """Return what an `extend` changes: the end of the window, and who may beat."""
    others = waiting(operator, before.heartbeats)
    if minutes is None and not others.ready:
        raise RefusedError(
            "; ".join(["no heartbeat can be added to this term", *others.sentences()]),
            hint="--minutes N moves the end of the window",
        )
    if len(before.heartbeats) + len(others.ready) > MAX_HEARTBEATS:
        raise RefusedError(f"a grant names {MAX_HEARTBEATS} heartbeats at most")
    if others.ready:
        say(f"may beat for this term from now on: {', '.join(others.ready)}")
    end = before.not_after_ms if minutes is None else _extended(operator, before, minutes, say)
    # A1: never fewer. Guards may still believe one that is left out, and then it has to answer.
    return {"heartbeats": [*before.heartbeats, *others.ready], "not_after_ms": end}


def _extended(operator: Operator, before: Grant, minutes: int, say: Say) -> int:
    """Return the new end: after so many minutes, or with the trading windows."""
    now = clock.wall_ms()
    wanted = now + minutes * 60_000
    if wanted < before.not_after_ms:
        raise RefusedError(
            "the window would end earlier than it does now",
            hint="`golive revoke` ends it; a longer --minutes extends it",
        )
    closes = windows.require_open(Conditions.of(operator.config).windows, now)
    if closes <= before.not_after_ms:
        raise RefusedError(
            "the term lasts until the trading windows close already: no grant goes past that",
            hint="activate again when the next one opens",
        )
    if closes < wanted:
        say(CLOSES_FIRST)
    return min(wanted, closes)


def _loosening(
    state: State, kind: GrantKind, labels: Mapping[str, str] | None, *, every: bool
) -> Loosening:
    lifts = {
        GrantKind.RESUME: RestrictionKind.HALT,
        GrantKind.RESTORE: RestrictionKind.REDUCE,
    }.get(kind)
    if lifts is None:
        return Loosening(state, ())
    meant = same(labels or {})
    held = [item for item in state.restrictions if item.record.kind is lifts]
    named = "halt" if lifts is RestrictionKind.HALT else "reduction"
    if not held:
        raise RefusedError(f"no {named} is in force", hint="`golive status` shows what is")
    found = tuple(item for item in held if every or same(item.record.labels) == meant)
    if not found:
        listed = "; ".join(f"{described(item)} for {_words(item.record.labels)}" for item in held)
        raise RefusedError(
            f"no {named} with these labels is in force ({listed})",
            hint=f"name the labels of one of them, or --all to {kind} from every {named}",
        )
    return Loosening(state, found)


def _words(labels: Mapping[Label, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in labels.items()) or "all orders"
