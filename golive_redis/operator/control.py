"""Use cases of people within a term: halt, reduce, demote, resume, restore, extend; and grants.

Every directive is made from what was just read and verified, and put in force by compare-and-set: of
two operators at once, one wins and the other is told who and what. A restriction is signed again on
top of what came first, because no halt may be lost; a grant is not, because it may no longer be meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from golive_redis import clock
from golive_redis.checks import windows
from golive_redis.checks.conditions import Conditions
from golive_redis.core.barrier import Arrived, Pod
from golive_redis.core.state import State, let_go
from golive_redis.delivery.append import append_once
from golive_redis.delivery.spool import Spool
from golive_redis.errors import (
    ConfigError,
    ConflictError,
    GoliveError,
    MaybeAppliedError,
    RecordError,
    RefusedError,
    StoreError,
)
from golive_redis.operator.session import Operator, Reading, described
from golive_redis.records.directive import (
    Grant,
    GrantKind,
    Label,
    Mode,
    Profile,
    Restriction,
    RestrictionKind,
    smallest,
)
from golive_redis.records.envelope import Signer, Verified, seal
from golive_redis.records.epoch import next_epoch
from golive_redis.records.ledger import extend as next_head
from golive_redis.records.limits import Limits
from golive_redis.records.record import wording
from golive_redis.stop.inbox import Receipts
from golive_redis.store.store import Status, Step

MAX_TRIES = 10
APPLIED_WAIT_MS = 2_000.0
POLL_MS = 100.0
CLOSES_FIRST = "the trading windows close before that, and the term ends with them"

Say = Callable[[str], None]


class Restricted(msgspec.Struct, frozen=True):
    """A restriction in force, and who has said that it applied it."""

    restriction: Verified[Restriction]
    ledger: str
    applied: Mapping[Pod, float]
    silent: tuple[Pod, ...]


def quiet(_: str) -> None:
    """Say nothing."""


# -- grants --------------------------------------------------------------------------------------


def send_spool(operator: Operator, say: Say) -> None:
    """Send what an earlier command could not, before anything new is done."""
    folder = operator.config.state_dir
    if folder is not None:
        Spool(folder).send(operator.store, operator.trust, say)


def put_grant(
    operator: Operator, grant: Verified[Grant], *, origin: str = "", keeps: Sequence[str] = ()
) -> None:
    """Put a signed grant in force, following the ledger head while others write.

    Raises:
        ConflictError: Another directive came first; it is named.
        RefusedError: The store refused it; nothing was changed.
        MaybeAppliedError: No answer, twice: it is unknown whether it is in force.
    """
    record, store = grant.record, operator.store
    head, unknown = store.head(), False
    for _ in range(MAX_TRIES):
        try:
            step = store.grant(
                activates=record.kind is GrantKind.ACTIVATE,
                term=record.term,
                epoch=record.epoch,
                record=grant.raw,
                identity=grant.identity,
                prev=record.prev or "",
                ttl_ms=operator.timing.ttl_ms,
                origin=origin,
                head=head,
                head_after=next_head(head, grant.raw),
                keeps=keeps,
            )
        except MaybeAppliedError:
            if unknown:
                raise
            unknown = True  # the very same grant is recognised, so asking again is safe
            continue
        if step.status is not Status.HEAD:
            _refuse_grant(operator, step)
            return
        head = step.why
    raise StoreError(f"the ledger head moved {MAX_TRIES} times; nothing was changed, try again")


def _refuse_grant(operator: Operator, step: Step) -> None:
    if step.status in {Status.OK, Status.SAME}:
        return
    if step.status is Status.CONFLICT:
        raise ConflictError(
            f"somebody came first: {operator.who(step.why)}",
            hint="look at `golive status`, and run the command again if it is still meant",
        )
    if step.why == "active":
        reading = operator.read()
        what = described(reading.state.grant) if reading.state else "another activation"
        raise ConflictError(f"somebody came first: {what}", hint="`golive status` shows it")
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
) -> Verified[Grant]:
    """Issue a grant within the term: `resume` drops halts, `restore` reductions, `extend` none.

    Args:
        operator: At work.
        kind: Which.
        reason: For the record.
        ticket: For the record.
        labels: Drops the restrictions with exactly these labels.
        every: Drops all of that kind, whatever their labels.
        keys: Further key files, up to the threshold.
        minutes: For `extend`: new length of the window, from now; the trading windows may end it
            earlier.
        say: Told in a sentence what happens.

    Raises:
        RefusedError: Nothing is active, nothing matches, too few approvers signed, or no trading
            window is open.
        ConflictError: Another directive came first.
    """
    signers = operator.approvers(keys)
    send_spool(operator, quiet)
    reading = operator.read()
    state = active(reading)
    dropped = _dropped(state, kind, dict(labels or {}), every=every)
    kept = [item for item in state.restrictions if item not in dropped]
    changes = {"reason": wording(reason), "ticket": wording(ticket), "report": None}
    if minutes is None:
        return put_successor(operator, reading, signers, kept, kind=kind, **changes)
    end = _extended(operator, state.grant.record, minutes, say)
    return put_successor(operator, reading, signers, kept, kind=kind, not_after_ms=end, **changes)


def put_successor(
    operator: Operator,
    reading: Reading,
    signers: Sequence[Signer],
    kept: Sequence[Verified[Restriction]],
    **changes: object,
) -> Verified[Grant]:
    """Put a grant in force that follows the one just read, with changes to its fields.

    Raises:
        ConflictError: Another directive came first.
    """
    state = active(reading)
    before = state.grant.record
    record = msgspec.structs.replace(
        before,
        epoch=next_epoch(reading.newest, hint=reading.snapshot.epoch_hint),
        keyset_version=operator.trust.keyset.version,
        issued_at_ms=clock.wall_ms(),
        by=signers[0].principal,
        keeps=[item.identity for item in kept],
        **let_go(before, [item for item in state.restrictions if item not in kept], len(kept)),
        prev=reading.snapshot.last or None,
        **changes,
    )
    grant = operator.trust.grant(seal(record, *signers))
    held = {item.raw for item in kept}
    fields = [name for name, raw in reading.snapshot.restrictions.items() if raw in held]
    put_grant(operator, grant, keeps=fields)
    operator.remember(grant, not_after_ms=record.not_after_ms)
    return grant


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


def _dropped(
    state: State, kind: GrantKind, labels: dict[str, str], *, every: bool
) -> list[Verified[Restriction]]:
    drops = {
        GrantKind.RESUME: RestrictionKind.HALT,
        GrantKind.RESTORE: RestrictionKind.REDUCE,
    }.get(kind)
    if drops is None:
        return []
    held = [item for item in state.restrictions if item.record.kind is drops]
    found = [item for item in held if every or dict(item.record.labels) == labels]
    if not found:
        listed = "; ".join(f"{described(item)} for {_words(item.record.labels)}" for item in held)
        raise RefusedError(
            f"no {drops} with these labels is in force ({listed or 'none at all'})",
            hint=f"name the labels of one of them, or --all to {kind} from every {drops}",
        )
    return found


def _words(labels: Mapping[Label, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in labels.items()) or "all orders"


def active(reading: Reading) -> State:
    """Return the term in force.

    Raises:
        RecordError: Something in the store is refused.
        RefusedError: Nothing is active.
    """
    if reading.refused:
        raise RecordError("; ".join(reading.refused), hint="`golive revoke` stops everything")
    if reading.state is None:
        raise RefusedError("nothing is active", hint="`golive status` shows what was last")
    return reading.state


# -- restrictions --------------------------------------------------------------------------------


def restrict(
    operator: Operator,
    kind: RestrictionKind,
    *,
    reason: str,
    ticket: str = "",
    labels: Mapping[str, str] | None = None,
    profile: Profile | None = None,
    signer: Signer | None = None,
    say: Say = quiet,
) -> Restricted:
    """Issue a restriction with one key, at once, and collect who applied it for at most 2 s.

    Args:
        operator: At work.
        kind: Which.
        reason: For the record.
        ticket: For the record.
        labels: The orders that it concerns; none means all.
        profile: For `demote`: a smaller one than is in force.
        signer: Who signs; the configured operator when None.
        say: Told in a sentence what happens.

    Raises:
        RefusedError: Nothing is active, a label is unknown, or the profile is not smaller.
        StoreError: The store did not take it.
    """
    signer = signer or operator.signers(())[0]
    known = _labels(labels or {})
    receipts = Receipts(operator.trust, clock.now_ms)
    channel = operator.address.link(timeout_ms=APPLIED_WAIT_MS, name="golive-operator")
    try:
        channel.send("SUBSCRIBE", operator.keyspace.receipts)
        called_at = clock.now_ms()
        item, audit = _put_restriction(
            operator, signer, kind, known, reason=reason, ticket=ticket, profile=profile, say=say
        )
        pods: set[Pod] = set()
        applied: dict[Pod, Arrived] = {}
        try:
            pods = {
                Pod(p.name, p.instance)
                for p in operator.store.workers()
                if p.alive and p.fields.get("term") == str(item.record.term)
            }
            while clock.now_ms() - called_at < APPLIED_WAIT_MS and not pods <= set(applied):
                receipts.listen(channel, POLL_MS)
                applied = receipts.collected([item.identity]).latched
        except StoreError as error:  # in force all the same
            say(f"who has applied it is not known: {error.message}")
    finally:
        channel.close()
    try:
        operator.remember(item)
    except ConfigError as error:
        say(f"in force, and not remembered on this host: {error.message}")
    times = {pod: arrived.at - called_at for pod, arrived in applied.items()}
    return Restricted(item, audit, times, tuple(sorted(pods - set(applied))))


def _put_restriction(
    operator: Operator,
    signer: Signer,
    kind: RestrictionKind,
    labels: dict[Label, str],
    *,
    reason: str,
    ticket: str,
    profile: Profile | None,
    say: Say,
) -> tuple[Verified[Restriction], str]:
    mode = {RestrictionKind.HALT: Mode.HALTED, RestrictionKind.REDUCE: Mode.REDUCE_ONLY}.get(kind)
    for _ in range(MAX_TRIES):
        reading = operator.read()
        # Only the term matters here: a broken ledger or counter must not hold up a halt.
        state = reading.state or active(reading)
        limits = None if profile is None else _smaller_limits(operator, state, profile, say)
        record = Restriction(
            namespace=operator.trust.namespace,
            environment=operator.trust.environment,
            keyset_version=operator.trust.keyset.version,
            issued_at_ms=clock.wall_ms(),
            by=signer.principal,
            kind=kind,
            epoch=next_epoch(reading.newest),
            term=state.term,
            labels=labels,
            mode=mode,
            profile=profile,
            limits=limits,
            reason=wording(reason),
            ticket=wording(ticket),
            prev=reading.snapshot.active_last or None,
        )
        item = operator.trust.restriction(seal(record, signer))
        head = reading.snapshot.head
        try:
            step = _until_known(
                partial(
                    operator.store.restrict,
                    term=record.term,
                    epoch=record.epoch,
                    record=item.raw,
                    identity=item.identity,
                    prev=record.prev or "",
                    head=head,
                    head_after=next_head(head, item.raw),
                )
            )
        except MaybeAppliedError:
            _spooled(operator, item.raw)  # it may be in force, and then the ledger must have it
            raise
        if step.status is not Status.CONFLICT:
            return item, _restricted(operator, item, step)
        say(f"{operator.who(step.why)} came first; signing on top of it")
    raise ConflictError(f"others came first {MAX_TRIES} times; nothing was restricted")


def _smaller_limits(operator: Operator, state: State, profile: Profile, say: Say) -> Limits:
    if smallest([state.profile, profile]) is state.profile:
        raise RefusedError(
            f"the profile in force is {state.profile}: {profile} is not smaller",
            hint="`golive promote` goes up",
        )
    limits = operator.policy.profiles.get(profile)
    if limits is None:
        raise RefusedError(
            f"{operator.config.path} does not define the profile {profile}",
            hint=f"it has {', '.join(operator.policy.profiles)}",
        )
    if limits.currency != state.limits.currency:
        say(
            f"{profile} counts in {limits.currency} and the grant in {state.limits.currency}: "
            "amounts cannot be compared, so no order fits any more"
        )
    return limits


def _until_known(step: Callable[[], Step]) -> Step:
    """Take a step, and again when no answer came: each step recognises its own repeat."""
    try:
        return step()
    except MaybeAppliedError:
        return step()


def _restricted(operator: Operator, item: Verified[Restriction], step: Step) -> str:
    if step.status is Status.REFUSED:
        raise RefusedError(f"the store refused the restriction: {step.why} {step.detail}".strip())
    if step.why == "AUDITED":
        return "written"
    # Also for a repeat that was recognised: the first try may have found the head moved.
    try:
        append_once(operator.store, item.raw)
    except GoliveError:
        return _spooled(operator, item.raw)
    return "written"


def _spooled(operator: Operator, record: bytes) -> str:
    folder = operator.config.state_dir
    if folder is None:
        return "failed"
    try:
        Spool(folder).keep(record)
    except OSError:
        return "failed"
    return "spooled"


def _labels(labels: Mapping[str, str]) -> dict[Label, str]:
    try:
        return {Label(name): value for name, value in labels.items()}
    except ValueError as error:
        raise RefusedError(str(error), hint=f"labels are {', '.join(Label)}") from error
