"""The barrier: when a stop may be called COMPLETE (S14).

COMPLETE needs a latched receipt, durable unless durability is not configured, from every heartbeat
on the roster (or the operator's attestation that it is dead), at least one. The process that
registered last must have sent it: one that was started since, and has lost its disk, may beat again
for a term that another heartbeat had not left yet. Then either

- by receipts: every worker on the roster sent `drained` with nothing left, and the term has lived on
  one server only: this one, that took the activation; or
- by time: `(1+rho)*beat_ms + 2*timeout_ms` passed since the last heartbeat receipt, after which no
  newer beat can exist anywhere, so every deadline is over.

Where the term may have lived on another server, too, its roster may name a heartbeat that this one
does not: then every heartbeat of the keyset has to answer.

Orders left in flight make it STOPPED, not drained. Everything else is NOT CONFIRMED. Instants are ms
on the operator's own steady clock: no pod's or server's clock decides anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from golive_redis.core.timing import Timing
from golive_redis.errors import RecordError
from golive_redis.records.keyset import Role
from golive_redis.records.receipt import Durable, Receipt, Stage
from golive_redis.records.trust import Trust


class Result(StrEnum):
    """What a revoke can say."""

    COMPLETE = "COMPLETE"
    STOPPED = "STOPPED"
    NOT_CONFIRMED = "NOT CONFIRMED"


class By(StrEnum):
    """How completion is known."""

    RECEIPTS = "receipts"
    TIME = "time"


class Pod(msgspec.Struct, frozen=True, order=True):
    """A worker process on the roster."""

    worker: str
    instance: str


class Arrived(msgspec.Struct, frozen=True):
    """A verified receipt and when it arrived here."""

    receipt: Receipt
    at: float


class WorkerRow(msgspec.Struct, frozen=True):
    """What is known of one worker; ms count from the call, by this operator's clock.

    Attributes:
        latched_ms: Arrival of its `latched` receipt, or None.
        drained_ms: Arrival of its `drained` receipt, or None.
        left: Orders that were still in flight when drained, or None while unknown.
        off_by: Instant by which it is off anyway, or None when no bound can be given.
    """

    pod: Pod
    latched_ms: float | None
    in_flight: int | None
    drained_ms: float | None
    left: int | None
    durable: Durable | None
    off_by: float | None


class HeartbeatRow(msgspec.Struct, frozen=True):
    """What is known of one heartbeat."""

    name: str
    latched_ms: float | None
    durable: Durable | None
    attested_dead: bool

    @property
    def answered(self) -> bool:
        """True when it cannot beat for this term any more, by its own word or the operator's."""
        latched = self.latched_ms is not None and self.durable is not Durable.FAILED  # S9
        return latched or self.attested_dead


class Outcome(msgspec.Struct, frozen=True):
    """The judgement, with a row per pod."""

    result: Result
    by: By | None
    heartbeats: tuple[HeartbeatRow, ...]
    workers: tuple[WorkerRow, ...]

    @property
    def settled(self) -> bool:
        """True when waiting longer cannot make it better."""
        return self.result is not Result.NOT_CONFIRMED


class Roster(msgspec.Struct, frozen=True):
    """Who must answer, as read after the revoke executed, merged with the list from activation.

    Attributes:
        processes: Which process of a heartbeat registered last, where that is known.
    """

    heartbeats: frozenset[str]
    workers: frozenset[Pod]
    processes: Mapping[str, str] = {}


class Here(msgspec.Struct, frozen=True):
    """What one connection to one server has shown.

    Attributes:
        server: Run id of the server when it took the activation, otherwise "".
        stopped: It shows the tombstone, and the roster of workers was read after that.
        since: When the roster of heartbeats was read, on the operator's clock.
    """

    server: str = ""
    stopped: bool = False
    since: float = float("-inf")


NOWHERE = Here()


class Collected(msgspec.Struct):
    """Receipts for one stop, by sender and stage; the first arrival of each counts."""

    heartbeats: dict[Pod, Arrived] = msgspec.field(default_factory=dict)
    latched: dict[Pod, Arrived] = msgspec.field(default_factory=dict)
    drained: dict[Pod, Arrived] = msgspec.field(default_factory=dict)

    def add(self, receipt: Receipt, at: float) -> None:
        """Take in a verified receipt that arrived at that instant."""
        arrived = Arrived(receipt, at)
        if receipt.heartbeat is not None:
            process = Pod(receipt.heartbeat, receipt.instance)
            known = self.heartbeats.get(process)
            # One whose disk works again answers again.
            if known is None or known.receipt.durable is Durable.FAILED:  # S9
                self.heartbeats[process] = arrived
            return
        pod = Pod(receipt.worker or "", receipt.instance)  # S11
        if receipt.stage is Stage.DRAINED:
            self.drained.setdefault(pod, arrived)
        self.latched.setdefault(pod, arrived)

    def of(self, name: str, process: str | None) -> Arrived | None:
        """Return the answer of a heartbeat: of that process, or of any when it is not known which."""
        found = [
            arrived
            for pod, arrived in self.heartbeats.items()
            if pod.worker == name and process in {None, pod.instance}  # S14
        ]
        return min(found, key=lambda a: (a.receipt.durable is Durable.FAILED, a.at), default=None)


def judge(
    roster: Roster,
    collected: Collected,
    *,
    called_at: float,
    now: float,
    timing: Timing,
    attested_dead: frozenset[str] = frozenset(),
    keyset: frozenset[str] = frozenset(),
    here: Here = NOWHERE,
) -> Outcome:
    """Say how far a stop is.

    Args:
        roster: Who must answer.
        collected: What arrived.
        called_at: When the stop was called.
        now: The present.
        timing: The timers of the fleet.
        attested_dead: Heartbeats that the operator swears are dead.
        keyset: Every heartbeat of the keyset.
        here: What the server has shown to which the operator is connected.

    Fails closed:
        An empty roster is never COMPLETE; a receipt with `durable: failed` does not count; what is
        not known of the server is taken for the worse.
    """
    answers = {name: collected.of(name, roster.processes.get(name)) for name in roster.heartbeats}
    on_one = _on_one_server(answers.values(), here)
    if not on_one:  # S14: another server's roster may name a heartbeat that this one's does not
        answers |= {name: collected.of(name, None) for name in keyset - roster.heartbeats}
    beats = tuple(
        _heartbeat_row(name, answers[name], called_at, name in attested_dead)
        for name in sorted(answers)
    )
    # A heartbeat started after the roster was read is not on it; one that answered was there before.
    heard = all(answer is None or answer.at <= here.since for answer in answers.values())
    known = bool(roster.heartbeats) and heard and all(row.answered for row in beats)  # S14
    # From the call on when every heartbeat is attested dead: they beat last before that.
    latched = [row.latched_ms for row in beats if row.latched_ms is not None]
    off_by = called_at + max(latched, default=0.0) + timing.all_off_ms if known else None
    workers = tuple(  # S11
        _worker_row(pod, collected, called_at, off_by) for pod in sorted(roster.workers)
    )
    drained = here.stopped and on_one  # S14: elsewhere there may be workers that are not listed
    result, by = _result(workers, known=known, off_by=off_by, now=now, drained=drained)
    return Outcome(result, by, beats, workers)


def _on_one_server(answers: Iterable[Arrived | None], here: Here) -> bool:
    """Tell whether the term has lived on this server only, as far as its heartbeats say."""
    return bool(here.server) and all(  # S14
        answer.receipt.beat_on is not None and set(answer.receipt.beat_on) <= {here.server}
        for answer in answers
        if answer is not None
    )


def _result(
    workers: tuple[WorkerRow, ...],
    *,
    known: bool,
    off_by: float | None,
    now: float,
    drained: bool,
) -> tuple[Result, By | None]:
    if not known:  # S14: heartbeats first, or a beat may come after whatever else has answered
        return Result.NOT_CONFIRMED, None
    over = off_by is not None and now >= off_by
    rest = [row for row in workers if row.left is None or row.durable is Durable.FAILED]  # S9
    by_receipts = bool(workers) and not rest and drained  # S14
    if not by_receipts and not over:
        return Result.NOT_CONFIRMED, None
    by = By.RECEIPTS if by_receipts else By.TIME
    left = any(row.left for row in workers)  # S14
    return (Result.STOPPED if left else Result.COMPLETE), by


def _heartbeat_row(
    name: str, arrived: Arrived | None, called_at: float, attested: bool
) -> HeartbeatRow:
    if arrived is None:
        return HeartbeatRow(name, None, None, attested)
    return HeartbeatRow(name, arrived.at - called_at, arrived.receipt.durable, attested)


def _worker_row(
    pod: Pod, collected: Collected, called_at: float, off_by: float | None
) -> WorkerRow:
    latched, drained = collected.latched.get(pod), collected.drained.get(pod)
    newest = drained or latched
    return WorkerRow(
        pod,
        latched.at - called_at if latched else None,
        latched.receipt.in_flight if latched else None,
        drained.at - called_at if drained else None,
        drained.receipt.left if drained else None,
        newest.receipt.durable if newest else None,
        None if latched else off_by,
    )


def applied(roster: Roster, receipts: Mapping[Pod, Arrived]) -> tuple[Pod, ...]:
    """Return the workers that have not yet said that a restriction is in force there."""
    return tuple(sorted(roster.workers - set(receipts)))


def is_confirmed(trust: Trust, note: bytes | None, directive: str) -> bool:
    """Tell whether a revoker has signed that the stop by this revocation is complete.

    Args:
        trust: Verifies the note.
        note: What stands beside the tombstone, or None.
        directive: Identity of the revocation.
    """
    if note is None:
        return False
    try:
        record = trust.note(note, Role.REVOKER).record
    except RecordError:
        return False
    return record.topic == "stop-confirmed" and record.facts.get("directive") == directive
