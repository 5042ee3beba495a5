"""What the switch says, verified: for `golive status`, `workers` and `watch`."""

from __future__ import annotations

import json

import msgspec

from golive_redis import clock
from golive_redis.core.barrier import Pod
from golive_redis.operator.session import Operator, Reading, confirmed
from golive_redis.records.directive import Grant, Mode, Profile
from golive_redis.records.keyset import Keyset
from golive_redis.records.limits import Limits
from golive_redis.stop.roster import goodbyes
from golive_redis.store.replies import Presence


class InForce(msgspec.Struct, frozen=True):
    """One restriction in force."""

    epoch: int
    kind: str
    labels: dict[str, str]
    by: str
    reason: str
    issued_at_ms: int


class Active(msgspec.Struct, frozen=True):
    """The term in force."""

    term: int
    epoch: int
    mode: Mode
    profile: Profile
    limits: Limits
    by: list[str]
    reason: str
    ticket: str
    issued_at_ms: int
    not_after_ms: int
    pttl_ms: int
    restrictions: list[InForce]


class Revoked(msgspec.Struct, frozen=True):
    """The newest revocation."""

    epoch: int
    by: str
    reason: str
    ticket: str
    issued_at_ms: int
    blind: bool
    confirmed: bool


class HeartbeatStatus(msgspec.Struct, frozen=True):
    """One heartbeat on the roster."""

    name: str
    instance: str
    alive: bool
    state: str
    reason: str
    term: int
    durable: str
    version: str
    host: str


class WorkerStatus(msgspec.Struct, frozen=True):
    """One worker on the roster.

    Attributes:
        answers_with: Whose key answers for it by the keyset of this host: `own`, `shared` with other
            workers, or `none`.
    """

    id: str
    instance: str
    alive: bool
    state: str
    reason: str
    term: int
    in_flight: int
    permits: int
    skipped: int
    durable: str
    labels: dict[str, str]
    version: str
    host: str
    pid: int
    answers_with: str


class FleetStatus(msgspec.Struct, frozen=True):
    """Everything at once.

    Attributes:
        state: `live`, `reduce_only`, `halted` (by a directive for all orders), `off`, or `refused`
            when something in the store does not verify (which is off, and an alarm).
    """

    environment: str
    namespace: str
    state: str
    active: Active | None
    revoked: Revoked | None
    heartbeats: list[HeartbeatStatus]
    workers: list[WorkerStatus]
    ledger_head: str
    refused: list[str]
    at_ms: int


def read(operator: Operator) -> FleetStatus:
    """Read and verify everything.

    Raises:
        StoreError: Redis does not answer.
    """
    reading = operator.read()
    term = reading.state.term if reading.state is not None else 0
    heartbeats = [_heartbeat(item, term) for item in operator.store.heartbeats()]
    at_ms = clock.wall_ms()
    over = reading.state is None or at_ms >= reading.state.grant.record.not_after_ms
    state = "off" if over or reading.state is None else str(reading.state.mode)
    return FleetStatus(
        environment=operator.trust.environment,
        namespace=operator.trust.namespace,
        state="refused" if reading.refused else state,
        active=_active(reading),
        revoked=_revoked(operator, reading),
        heartbeats=heartbeats,
        workers=_workers(operator, term),
        ledger_head=reading.snapshot.head,
        refused=list(reading.refused),
        at_ms=at_ms,
    )


def workers(operator: Operator) -> list[WorkerStatus]:
    """Read the roster of workers."""
    state = operator.read().state
    term = state.term if state is not None else 0
    return _workers(operator, term)


def _workers(operator: Operator, term: int) -> list[WorkerStatus]:
    """Return the roster without those that have left: they are struck when it is next written (A4)."""
    found, keyset = operator.store.workers(), operator.trust.keyset
    silent = [Pod(item.name, item.instance) for item in found if not item.alive]
    left = goodbyes(operator.store, operator.trust, silent)
    return [
        _worker(item, term, keyset) for item in found if Pod(item.name, item.instance) not in left
    ]


def _active(reading: Reading) -> Active | None:
    state = reading.state
    if state is None:
        return None
    grant: Grant = state.grant.record
    return Active(
        term=state.term,
        epoch=state.epoch,
        mode=state.mode,
        profile=state.profile,
        limits=state.limits,
        by=sorted(state.grant.signers),
        reason=grant.reason,
        ticket=grant.ticket,
        issued_at_ms=grant.issued_at_ms,
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
    )


def _revoked(operator: Operator, reading: Reading) -> Revoked | None:
    item = reading.revocation
    if item is None:
        return None
    record = item.record
    return Revoked(
        epoch=record.epoch,
        by=record.by,
        reason=record.reason,
        ticket=record.ticket,
        issued_at_ms=record.issued_at_ms,
        blind=record.blind,
        confirmed=confirmed(operator, reading, item.identity),
    )


def _number(item: Presence, name: str) -> int:
    text = item.fields.get(name, "")
    return int(text) if text.isdigit() else 0


def _said(item: Presence, busy: str, term: int) -> tuple[str, str]:
    """Return a pod's state and reason; what it said of a term that is over is no news any more."""
    state, reason = item.fields.get("state", "gone"), item.fields.get("reason", "")
    if state == busy and _number(item, "term") != term:
        return "silent", f"it was {busy} for term {_number(item, 'term')}, and said nothing since"
    return state, reason


def _heartbeat(item: Presence, term: int) -> HeartbeatStatus:
    fields = item.fields
    state, reason = _said(item, "beating", term)
    return HeartbeatStatus(
        name=item.name,
        instance=item.instance,
        alive=item.alive,
        state=state,
        reason=reason,
        term=_number(item, "term"),
        durable=fields.get("durable", ""),
        version=fields.get("version", ""),
        host=fields.get("host", ""),
    )


def _worker(item: Presence, term: int, keyset: Keyset) -> WorkerStatus:
    fields = item.fields
    state, reason = _said(item, "armed", term)
    return WorkerStatus(
        id=item.name,
        instance=item.instance,
        alive=item.alive,
        state=state,
        reason=reason,
        term=_number(item, "term"),
        in_flight=_number(item, "in_flight"),
        permits=_number(item, "permits"),
        skipped=_number(item, "skipped"),
        durable=fields.get("durable", ""),
        labels=_labels(fields.get("labels", "")),
        version=fields.get("version", ""),
        host=fields.get("host", ""),
        pid=_number(item, "pid"),
        answers_with=_answers_with(item.name, keyset),
    )


def _answers_with(worker: str, keyset: Keyset) -> str:
    signers = keyset.answers_for(worker)
    return "own" if signers == {worker} else "shared" if signers else "none"  # A6


def _labels(text: str) -> dict[str, str]:
    # Presence is what a pod says of itself, unsigned: shown to people, never a basis of permission.
    try:
        parsed = json.loads(text)
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in parsed.items()} if isinstance(parsed, dict) else {}
