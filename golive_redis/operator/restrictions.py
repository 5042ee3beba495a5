"""Tightening within a term: halt, reduce, demote. One key suffices.

A restriction is put in force by compare-and-set and signed again on top of what came first, because no
halt may be lost. What loosens is in `grants`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from golive_redis import clock
from golive_redis.core.barrier import Arrived, Pod
from golive_redis.core.state import State
from golive_redis.delivery.append import append_once
from golive_redis.delivery.spool import Spool
from golive_redis.errors import (
    ConfigError,
    ConflictError,
    GoliveError,
    MaybeAppliedError,
    RefusedError,
    StoreError,
)
from golive_redis.operator.session import Operator, Reading, Say, active, quiet
from golive_redis.records.directive import (
    Label,
    Mode,
    Profile,
    Restriction,
    RestrictionKind,
    smallest,
)
from golive_redis.records.envelope import Signer, Verified, seal
from golive_redis.records.epoch import next_epoch
from golive_redis.records.limits import Limits
from golive_redis.records.record import wording
from golive_redis.stop.inbox import Receipts
from golive_redis.store.replies import Status, Step

MAX_TRIES = 10
APPLIED_WAIT_MS = 2_000.0
POLL_MS = 100.0
CLOSES_FIRST = "the trading windows close before that, and the term ends with them"


class Restricted(msgspec.Struct, frozen=True):
    """A restriction in force, and who has said that it applied it."""

    restriction: Verified[Restriction]
    ledger: str
    applied: Mapping[Pod, float]
    silent: tuple[Pod, ...]


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
        MaybeAppliedError: It is unknown whether it is in force; `say` is told where its entry is.
        ConflictError: Others came first each time; nothing was changed.
        StoreError: The store did not take it.
    """
    signer = signer or operator.signers(())[0]
    sign = partial(
        _signed,
        operator,
        signer,
        kind,
        _labels(labels or {}),
        reason=reason,
        ticket=ticket,
        profile=profile,
        say=say,
    )
    receipts = Receipts(operator.trust, clock.now_ms)
    channel = operator.address.link(timeout_ms=APPLIED_WAIT_MS, name="golive-operator")
    try:
        channel.send("SUBSCRIBE", operator.keyspace.receipts)
        called_at = clock.now_ms()
        item, audit = _put_restriction(operator, sign, say)
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
    operator: Operator, sign: Callable[[Reading], Verified[Restriction]], say: Say
) -> tuple[Verified[Restriction], str]:
    """Put a restriction in force, signed on top of whatever comes first, and say where its entry is.

    Raises:
        RefusedError: Nothing is active, or the store refused it; nothing was changed.
        ConflictError: Others came first each time; nothing was changed.
        MaybeAppliedError: A try got no answer, and what followed does not tell what became of it.
    """
    doubtful: list[bytes] = []  # may be or have been in force, and then the ledger must have it
    try:
        for _ in range(MAX_TRIES):
            reading = operator.read()
            item = sign(reading)
            put = partial(operator.store.restrict, item, head=reading.snapshot.head)
            try:
                step = _accepted(put())
            except MaybeAppliedError:
                doubtful.append(item.raw)
                step = _accepted(put())  # it recognises its own repeat
                if step.status is not Status.CONFLICT:
                    doubtful.pop()
            if step.status is not Status.CONFLICT:
                return item, _restricted(operator, item, step)
            say(f"{operator.who(step.why)} came first; signing on top of it")
        raise ConflictError(f"others came first {MAX_TRIES} times; nothing was restricted")
    except GoliveError as error:
        if doubtful:
            raise MaybeAppliedError.despite(error) from error
        raise
    finally:
        for raw in doubtful:
            kept = _spooled(operator, raw) == "spooled"
            entry = "is kept on this host" if kept else "COULD NOT BE KEPT: write down what you did"
            say(f"a try that got no answer may be or have been in force; its ledger entry {entry}")


def _signed(
    operator: Operator,
    signer: Signer,
    kind: RestrictionKind,
    labels: dict[Label, str],
    reading: Reading,
    *,
    reason: str,
    ticket: str,
    profile: Profile | None,
    say: Say,
) -> Verified[Restriction]:
    """Return the restriction that follows what was just read.

    Raises:
        RefusedError: Nothing is active, or the profile is not smaller than the one in force.
    """
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
        mode={RestrictionKind.HALT: Mode.HALTED, RestrictionKind.REDUCE: Mode.REDUCE_ONLY}.get(
            kind
        ),
        profile=profile,
        limits=limits,
        reason=wording(reason),
        ticket=wording(ticket),
        prev=reading.snapshot.active_last or None,
    )
    return operator.trust.restriction(seal(record, signer))


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


def _accepted(step: Step) -> Step:
    if step.status is Status.REFUSED:
        raise RefusedError(f"the store refused the restriction: {step.why} {step.detail}".strip())
    return step


def _restricted(operator: Operator, item: Verified[Restriction], step: Step) -> str:
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
