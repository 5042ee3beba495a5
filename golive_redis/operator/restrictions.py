"""Tightening within a term: halt, reduce, demote. One key suffices.

A restriction is put in force by compare-and-set and signed again on top of what came first, because no
halt may be lost. What loosens is in `grants`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from golive_redis import clock
from golive_redis.core.barrier import Arrived, Pod
from golive_redis.core.labels import unusable
from golive_redis.core.state import State
from golive_redis.delivery.append import append_once
from golive_redis.delivery.spool import Spool
from golive_redis.errors import (
    ConflictError,
    GoliveError,
    MaybeAppliedError,
    RefusedError,
    StoreError,
)
from golive_redis.operator.matching import Matching, matching
from golive_redis.operator.session import Operator, Reading, Say, active, quiet, tell_unpushed
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
from golive_redis.stop.connections import listening
from golive_redis.stop.inbox import Receipts
from golive_redis.stop.roster import goodbyes
from golive_redis.store.presence import Presence
from golive_redis.store.replies import Status, Step

MAX_TRIES = 10
APPLIED_WAIT_MS = 2_000.0
POLL_MS = 100.0


class Restricted(msgspec.Struct, frozen=True):
    """A restriction in force, who has said that it applied it, and whom it meets.

    Attributes:
        applied: Who has answered, and how many ms after it was signed and sent.
        silent: Workers of the term that did not.
        matching: Who is concerned, as far as workers tell; None when they could not be read.
    """

    restriction: Verified[Restriction]
    ledger: str
    applied: Mapping[Pod, float]
    silent: tuple[Pod, ...]
    matching: Matching | None

    @property
    def effective(self) -> bool:
        """Whether a worker that is known to be concerned has said that it applied it."""
        return self.matching is not None and not self.matching.concerned.isdisjoint(self.applied)


class Foreseen(msgspec.Struct, frozen=True):
    """What a restriction would do, without doing it."""

    term: int
    matching: Matching


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
    """Issue a restriction with one key, at once; then collect who applied it for at most 2 s.

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
        MaybeAppliedError: It is unknown whether it is in force; its entry waits in the spool.
        ConflictError: Others came first each time; nothing was changed.
        StoreError: The store did not take it.
        KeyboardInterrupt: Its entry is kept.
    """
    signer = signer or operator.signers(())[0]
    known = _labels(labels or {})
    workers: Sequence[Presence] | None = None
    sign = partial(
        _signed,
        operator,
        signer,
        kind,
        known,
        reason=reason,
        ticket=ticket,
        profile=profile,
        say=say,
    )
    receipts = Receipts(operator.trust, clock.now_ms)
    link = operator.address.link(timeout_ms=APPLIED_WAIT_MS, name="golive-operator")
    deaf: list[str] = []
    try:
        channel = listening(link, operator.keyspace, deaf.append)
        item, audit, sent_at = _put_restriction(operator, sign, say)
        # Not from the call: nobody answers to what is not signed yet, and a key may take its time.
        until = clock.now_ms() + APPLIED_WAIT_MS
        pods: set[Pod] = set()
        applied: dict[Pod, Arrived] = {}
        try:
            workers = _present(operator)
            pods = {
                Pod(p.name, p.instance)
                for p in workers
                if p.alive and p.fields.get("term") == str(item.record.term)
            }
            for problem in deaf:
                say(f"who has applied it is not known: {problem}")
            while channel is not None and clock.now_ms() < until and not pods <= set(applied):
                receipts.listen(channel, POLL_MS)
                applied = receipts.collected([item], item.record.term).latched
        except StoreError as error:  # in force all the same
            say(f"who has applied it is not known: {error.message}")
        except KeyboardInterrupt:
            operator.remember(item, say)
            raise
    finally:
        link.close()
    operator.remember(item, say)
    # Not waited for: they fell silent before it.
    pods |= {Pod(item.name, item.instance) for item in workers or () if not item.alive}
    times = {pod: arrived.at - sent_at for pod, arrived in applied.items()}
    # Last: what a large fleet tells takes a while to look at, and answers would wait for it.
    found = None if workers is None else matching(known, workers)
    return Restricted(item, audit, times, tuple(sorted(pods - set(applied))), found)


def foresee(
    operator: Operator,
    kind: RestrictionKind,
    *,
    labels: Mapping[str, str] | None = None,
    profile: Profile | None = None,
    say: Say = quiet,
) -> Foreseen:
    """Tell what `restrict` would do now, and change nothing. Takes the key that it would take.

    Args:
        operator: At work.
        kind: Which.
        labels: As in `restrict`.
        profile: As in `restrict`.
        say: Told in a sentence what happens.

    Raises:
        RefusedError: `restrict` would refuse.
        ConfigError: There is no usable key.
    """
    operator.signers(())
    known = _labels(labels or {})
    state = active(operator.read())
    if kind is RestrictionKind.DEMOTE and profile is not None:
        _smaller_limits(operator, state, profile, say)
    return Foreseen(state.term, matching(known, _present(operator)))


def _present(operator: Operator) -> list[Presence]:
    """Return the roster without those that have left with a goodbye."""
    found = operator.store.workers()
    silent = [Pod(item.name, item.instance) for item in found if not item.alive]
    left = goodbyes(operator.store, operator.trust, silent)
    return [item for item in found if Pod(item.name, item.instance) not in left]


def _put_restriction(
    operator: Operator, sign: Callable[[Reading], Verified[Restriction]], say: Say
) -> tuple[Verified[Restriction], str, float]:
    """Put a restriction in force, signed on top of whatever comes first.

    Returns:
        The one that is in force, where its entry is, and when it was sent, on the steady clock.

    Raises:
        RefusedError: Nothing is active, or the store refused it; nothing was changed.
        ConflictError: Others came first each time; nothing was changed.
        MaybeAppliedError: A try got no answer, and what followed does not tell what became of it.
    """
    # May be or have been in force, and then the ledger must have it.
    doubtful: list[Verified[Restriction]] = []
    try:
        for _ in range(MAX_TRIES):
            reading = operator.read()
            item = sign(reading)
            sent_at = clock.now_ms()
            with operator.sending(item):
                step = _tried(partial(operator.store.restrict, item), item, doubtful)
            if step.status is not Status.CONFLICT:
                operator.sent(item)
                earlier = _kept(operator, doubtful)
                doubtful.clear()  # from here on nothing is in doubt
                return item, _in_force(operator, item, step, earlier, say), sent_at
            operator.sent(None)
            say(f"{operator.who(step.why)} came first; signing on top of it")
        raise ConflictError(f"others came first {MAX_TRIES} times; nothing was restricted")
    except BaseException as error:
        earlier = _kept(operator, doubtful)
        if earlier and isinstance(error, GoliveError):
            raise MaybeAppliedError.despite(error, *earlier) from error
        if earlier and isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt("; ".join([*earlier, "look at `golive status`"])) from None
        raise


def _in_force(
    operator: Operator,
    item: Verified[Restriction],
    step: Step,
    earlier: Sequence[str],
    say: Say,
) -> str:
    """Tell what is to be told of one that is in force; return where its entry is."""
    try:
        for text in earlier:
            say(text)
        tell_unpushed(operator, step, say)
        return _restricted(operator, item, step)
    except KeyboardInterrupt:
        operator.remember(item, say)
        raise


def _tried(
    put: Callable[[], Step], item: Verified[Restriction], doubtful: list[Verified[Restriction]]
) -> Step:
    """Put a restriction in force, again where no answer comes; it is doubtful until an answer says more.

    Raises:
        RefusedError: The store refused it.
        StoreError: The store did not take it, or no answer came twice.
    """
    doubtful.append(item)
    try:
        step = put()
    except MaybeAppliedError:
        step = _accepted(put())  # it recognises its own repeat
        if step.status is not Status.CONFLICT:
            doubtful.pop()
        return step
    except GoliveError:
        doubtful.pop()
        raise
    doubtful.pop()
    return _accepted(step)


def _kept(operator: Operator, doubtful: Sequence[Verified[Restriction]]) -> list[str]:
    """Keep what may have been in force for the ledger, and say of each what became of its entry."""
    became = {
        "spooled": "its audit entry is saved on this host and sent later",
        "failed": "its audit entry could NOT be kept",
    }
    return [
        f"a try without an answer (epoch {item.record.epoch}) may be or have been in force; "
        f"{became[_spooled(operator, item.raw)]}"
        for item in doubtful
    ]


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
        **operator.trust.heading(signer.principal, clock.wall_ms()),
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
    # Also for a repeat that was recognised: what the first try said of the ledger was lost.
    try:
        append_once(operator.store, item.raw)
    except GoliveError:
        return _spooled(operator, item.raw)
    except BaseException:
        _spooled(operator, item.raw)
        raise
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
        known = {Label(name): value.strip() for name, value in labels.items()}
    except ValueError as error:
        raise RefusedError(str(error), hint=f"labels are {', '.join(Label)}") from error
    for name, value in known.items():
        if problem := unusable(value):
            raise RefusedError(f"{name}={value}: {problem}")
    return known
