"""What the switch says, verified: for `golive status`, `workers` and `watch`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from golive_redis import clock
from golive_redis.core.adoption import executes
from golive_redis.core.barrier import Pod, Result
from golive_redis.core.timing import in_words
from golive_redis.errors import RecordError
from golive_redis.operator import ledgerstatus, outlook
from golive_redis.operator.fleet import (
    Activation,
    Active,
    FleetStatus,
    HeartbeatStatus,
    InForce,
    KeysetInUse,
    Revoked,
    WorkerStatus,
)
from golive_redis.operator.session import Operator, Reading, confirmed
from golive_redis.records.directive import Grant, GrantKind, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.records.keyset import Keyset
from golive_redis.stop.inbox import Receipts
from golive_redis.stop.roster import goodbyes, left_out
from golive_redis.store.keyspace import PRESENCE_MS
from golive_redis.store.presence import Presence
from golive_redis.store.push import Pushes
from golive_redis.store.rosters import Fleet


def read(operator: Operator) -> FleetStatus:
    """Read and verify everything.

    Raises:
        StoreError: Redis does not answer.
    """
    reading = operator.read()
    term = reading.state.term if reading.state is not None else 0
    beats = _beats(operator, reading, term)
    found = operator.store.heartbeats()
    heartbeats = [_heartbeat(operator, item, term, beats.get(item.name)) for item in found]
    ledger = ledgerstatus.look(operator, found)
    fleet = operator.store.fleet()
    workers = _workers(operator, term, fleet)
    at_ms = clock.wall_ms()
    over = reading.state is None or at_ms >= reading.state.grant.record.not_after_ms
    state = "off" if over or reading.state is None else str(reading.state.mode)
    if state == "off" and reading.behind is not None:
        state = "unknown"
    seen = outlook.Seen(
        "refused" if reading.refused else state,
        _active(operator, reading),
        _revoked(operator, reading),
        heartbeats,
        workers,
        reading.refused,
        at_ms,
        reading.behind,
        _ended(operator, reading),
    )
    judged = outlook.judge(seen, operator.timing)
    keyset = operator.trust.keyset
    return FleetStatus(
        environment=operator.trust.environment,
        namespace=operator.trust.namespace,
        state=seen.state,
        headline=judged.headline,
        problems=[
            *judged.problems,
            *_of_keyset(operator, at_ms),
            *([left_out(len(fleet.foreign))] if fleet.foreign else []),
            *(ledger.problems if ledger is not None else []),
        ],
        armed=judged.armed,
        active=seen.active,
        revoked=seen.revoked,
        heartbeats=heartbeats,
        workers=workers,
        ledger_head=reading.snapshot.head,
        refused=list(reading.refused),
        at_ms=at_ms,
        keyset=KeysetInUse(keyset.version, keyset.is_signed, keyset.expires),
        ledger=ledger,
    )


def _of_keyset(operator: Operator, at_ms: int) -> list[str]:
    """Say what is wrong with the keyset of this host: there is another, or it has expired."""
    keyset = operator.trust.keyset
    out = [operator.untaken] if operator.untaken else []
    if keyset.expired(at_ms):
        out.append(
            f"keyset {keyset.version} was good until {keyset.expires}: nothing new begins, what runs "
            "ends with its window, and stops work"
        )
    return out


def workers(operator: Operator) -> list[WorkerStatus]:
    """Read the roster of workers."""
    state = operator.read().state
    term = state.term if state is not None else 0
    return _workers(operator, term, operator.store.fleet())


def _workers(operator: Operator, term: int, fleet: Fleet) -> list[WorkerStatus]:
    """Return the roster without those that have left: they are struck when it is next written (A4)."""
    found = operator.store.workers(fleet)
    silent = [Pod(item.name, item.instance) for item in found if not item.alive]
    left = goodbyes(operator.store, operator.trust, silent)
    return [
        _worker(operator, item, term) for item in found if Pod(item.name, item.instance) not in left
    ]


def _beats(operator: Operator, reading: Reading, term: int) -> Mapping[str, int]:
    """Return when the newest beat for the term in force was signed, by heartbeat."""
    out: dict[str, int] = {}
    for name, raw in reading.snapshot.beats.items():
        try:
            beat = operator.trust.beat(raw).record
        except RecordError:
            continue  # it is none, for guards as for people
        if beat.term == term and beat.heartbeat == name:
            out[name] = beat.issued_at_ms
    return out


def _active(operator: Operator, reading: Reading) -> Active | None:
    state = reading.state
    if state is None:
        return None
    grant: Grant = state.grant.record
    activation = _activation(operator, reading, state.grant)
    changed_ms = _in_force_ms(operator, reading, state.grant)
    since_ms: int | None = grant.activated_at_ms
    if grant.kind is GrantKind.ACTIVATE:
        since_ms = changed_ms
    elif activation is None or len(activation.by) > 1:
        since_ms = None  # its execution is in the ledger, and not beside what is in force any more
    return Active(
        term=state.term,
        epoch=state.epoch,
        kind=grant.kind,
        mode=state.mode,
        profile=state.profile,
        limits=state.limits,
        by=sorted(state.grant.signers),
        reason=grant.reason,
        ticket=grant.ticket,
        issued_at_ms=grant.issued_at_ms,
        activated_at_ms=grant.activated_at_ms,
        activation=activation,
        not_after_ms=grant.not_after_ms,
        pttl_ms=reading.snapshot.pttl_ms,
        restrictions=[
            InForce(
                item.record.epoch,
                item.record.kind,
                {str(name): value for name, value in item.record.labels.items()},
                item.record.by,
                item.record.reason,
                item.record.issued_at_ms,
            )
            for item in sorted(state.restrictions, key=lambda item: item.record.epoch)
        ],
        since_ms=since_ms,
        changed_ms=changed_ms,
    )


def _in_force_ms(operator: Operator, reading: Reading, grant: Verified[Grant]) -> int | None:
    """Return when a grant took effect: by its execution where several signed it; None for unknown.

    What was proposed is minutes older than what takes effect, and no word for when that was.
    """
    with suppress(RecordError):
        execution = operator.trust.execution(reading.snapshot.execution or b"")
        if executes(execution, grant):
            return execution.record.issued_at_ms
    return grant.record.issued_at_ms if len(grant.signers) == 1 else None


def _activation(operator: Operator, reading: Reading, newest: Verified[Grant]) -> Activation | None:
    """Return what began the term, or None where that is not there or is not it."""
    item = newest
    if item.record.kind is not GrantKind.ACTIVATE:
        raw = reading.snapshot.activation
        try:
            item = operator.trust.grant(raw or b"")
        except RecordError:
            return None  # a word for people: nothing rests on it
    record = item.record
    if record.kind is not GrantKind.ACTIVATE or record.term != newest.record.term:
        return None
    return Activation(sorted(item.signers), record.reason, record.ticket)


def _revoked(operator: Operator, reading: Reading) -> Revoked | None:
    item = reading.revocation
    if item is None:
        return None
    record = item.record
    result = confirmed(operator, reading, item.identity)
    workers_, heartbeats = _answered(operator, item, result)
    return Revoked(
        epoch=record.epoch,
        by=record.by,
        reason=record.reason,
        ticket=record.ticket,
        issued_at_ms=record.issued_at_ms,
        blind=record.blind,
        confirmed=result is not Result.NOT_CONFIRMED,
        result=result,
        until_ms=record.until_ms if isinstance(record.until_ms, int) else None,
        workers_answered=workers_,
        heartbeats_answered=heartbeats,
    )


def _answered(
    operator: Operator, item: Verified[Revocation], result: Result
) -> tuple[int | None, int | None]:
    """Return how many have answered a card: who plays one with redis-cli collects no receipts."""
    if not item.record.is_card or result is not Result.NOT_CONFIRMED:
        return None, None
    receipts = Receipts(operator.trust, clock.now_ms)
    receipts.read(operator.store, item.identity)
    # Of the term it is not asked: nothing rests on this, and `golive revoke` says what it comes to.
    found = receipts.collected([item], 0)
    return len(found.latched), len({pod.worker for pod in found.heartbeats})


def _ended(operator: Operator, reading: Reading) -> outlook.Ended | None:
    """Return a term that began after the last stop and is not in force any more."""
    if reading.state is not None or reading.newest is None:
        return None
    record, here = reading.newest.record, operator.memory.newest
    if isinstance(record, Revocation):
        return None
    known = here.not_after_ms if here.term == record.term else None
    return outlook.Ended(record.term, record.not_after_ms if isinstance(record, Grant) else known)


def _said(item: Presence, busy: str, term: int, within_ms: int) -> tuple[str, str]:
    """Return a pod's state and reason; what it said too long ago is not so any more.

    Args:
        item: Its presence.
        busy: The state that runs out.
        term: The term in force.
        within_ms: How long that state can last without another word.
    """
    if item.heard_ms is None or not item.alive:
        written = bool(item.fields or item.unreadable)
        why = "when it was heard is not known: its presence has no end that a pod gives it"
        return "gone", why if written else f"not heard for more than {in_words(PRESENCE_MS)}"
    state, reason = item.fields.get("state", "unknown"), item.fields.get("reason", "")
    if state != busy:
        return state, reason
    if item.heard_ms > within_ms:
        silent = f"not heard for {in_words(item.heard_ms)}"
        return "silent", f"{silent}; {busy} for term {item.number('term')} before that"
    if item.number("term") != term:
        return state, f"for term {item.number('term')}, which is not in force"
    return state, reason


def _heartbeat(
    operator: Operator, item: Presence, term: int, beat_at_ms: int | None
) -> HeartbeatStatus:
    fields = item.fields
    state, reason = _said(item, "beating", term, outlook.late_ms(operator.timing))
    if state == "beating" and item.number("term") == term:
        reason = ""  # what it waited for when it last wrote all of its presence
    elif state == "beating":
        state = "silent"
    return HeartbeatStatus(
        name=item.name,
        instance=item.instance,
        alive=item.alive,
        state=state,
        reason=reason,
        term=item.known("term"),
        durable=fields.get("durable", ""),
        push=fields.get("push", "") if item.alive else Pushes.NONE,
        lacks=fields.get("lacks", ""),
        version=fields.get("version", ""),
        host=fields.get("host", ""),
        heard_ms=item.heard_ms,
        beat_at_ms=beat_at_ms,
    )


def _worker(operator: Operator, item: Presence, term: int) -> WorkerStatus:
    fields = item.fields
    # S5: a permission ends `lease_ms` after the question that renewed it, and its presence with it.
    state, reason = _said(item, "armed", term, operator.timing.lease_ms)
    return WorkerStatus(
        id=item.name,
        instance=item.instance,
        alive=item.alive,
        state=state,
        reason=reason,
        term=item.known("term"),
        in_flight=item.known("in_flight"),
        permits=item.known("permits"),
        skipped=item.known("skipped"),
        durable=fields.get("durable", ""),
        push=fields.get("push", "") if item.alive else Pushes.NONE,
        lacks=fields.get("lacks", ""),
        labels=item.labels(),
        version=fields.get("version", ""),
        host=fields.get("host", ""),
        pid=item.known("pid"),
        heard_ms=item.heard_ms,
        unreadable=list(item.unreadable),
        answers_with=_answers_with(item.name, operator.trust.keyset),
        forked=item.number("forked"),
    )


def _answers_with(worker: str, keyset: Keyset) -> str:
    signers = keyset.answers_for(worker)
    return "own" if signers == {worker} else "shared" if signers else "none"  # A6
