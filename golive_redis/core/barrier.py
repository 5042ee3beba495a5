"""The barrier: when a stop may be called COMPLETE (S14).

Everything is off when there is a latched receipt, durable unless durability is not configured, from
every heartbeat on the roster (or the operator's attestation that it is dead), at least one. The process
that registered last must have sent it: one that was started since, and has lost its disk, may beat again
for a term that another heartbeat had not left yet. Then either

- by receipts: every worker on the roster sent `drained` or a goodbye, or is attested dead, and the term
  has lived on one server only: this one, that took the activation; or
- by time: `(1+rho)*beat_ms + 2*timeout_ms` passed since the last heartbeat receipt, after which no
  newer beat can exist anywhere, so every deadline is over.

Where the term may have lived on another server, too, its roster may name a heartbeat that this one
does not: then every heartbeat of the keyset has to answer.

A receipt counts only where it shows that the term of this stop is over (A2): by the number of the
revocation, or because it names that term.

Off is not drained: a process that was frozen between its last check and its send may still send what it
holds. So COMPLETE also needs that every worker has drained with nothing left, has said goodbye (A4), or
is attested dead (A5); when one has not, or an order was left in flight, it is STOPPED. All else is NOT
CONFIRMED. Instants are ms on the operator's own steady clock: no pod's or server's clock decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from golive_redis.core.timing import Timing
from golive_redis.records.directive import Restriction, Revocation
from golive_redis.records.receipt import Durable, Receipt, Stage


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

    @property
    def short(self) -> str:
        """How people name one process: the worker id and the first characters of the instance."""
        return f"{self.worker}:{self.instance[:6]}"


class Attested(msgspec.Struct, frozen=True):
    """Who is dead and stays dead, by the word of the operator who signs the stop.

    Attributes:
        heartbeats: By name.
        workers: By worker id, which means each of its processes that has not drained; or one process,
            as `ID:` and the first characters of its instance.
        earlier: Processes that somebody has attested to be dead before, and that are not on the roster:
            one that is has read since, and lives. Counts only where the term has lived on one server,
            for a failover may have lost that it has read (A5).
    """

    heartbeats: frozenset[str] = frozenset()
    workers: frozenset[str] = frozenset()
    earlier: frozenset[Pod] = frozenset()

    def worker(self, pod: Pod) -> str | None:
        """Return the name under which that process is attested dead, or None."""
        full = f"{pod.worker}:{pod.instance}"
        for name in self.workers:
            if name == pod.worker or (":" in name and full.startswith(name)):
                return name
        return None


NOBODY = Attested()


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
        attested_dead: The operator's word stands in for its `drained`.
        goodbye_ms: Arrival of its goodbye, or None: nothing in flight, and never again (A4).
        signed_by: Principal whose key has answered: the worker's own, or a shared one (A6).
    """

    pod: Pod
    latched_ms: float | None
    in_flight: int | None
    drained_ms: float | None
    left: int | None
    durable: Durable | None
    off_by: float | None
    attested_dead: bool = False
    signed_by: str | None = None
    goodbye_ms: float | None = None

    @property
    def shared_key(self) -> bool:
        """True when others hold the key that has answered, and could have done so in its place."""
        return self.signed_by is not None and self.signed_by != self.pod.worker

    @property
    def drain_unknown(self) -> bool:
        """True while nobody has said what it still had in flight (A5)."""
        return self.left is None and self.goodbye_ms is None and not self.attested_dead

    @property
    def settled(self) -> bool:
        """True when no time need pass: it has drained and will not forget it, left, or is dead."""
        return not self.drain_unknown and (  # S9
            self.durable is not Durable.FAILED or self.goodbye_ms is not None
        )


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
    """The judgement, with a row per pod.

    Attributes:
        whole: The rows are of all workers that had to answer.
        off_by: Instant by which no worker can have a permit, known once every heartbeat has answered.
    """

    result: Result
    by: By | None
    heartbeats: tuple[HeartbeatRow, ...]
    workers: tuple[WorkerRow, ...]
    whole: bool = True
    off_by: float | None = None

    @property
    def settled(self) -> bool:
        """True when waiting longer cannot make it better."""
        return self.result is not Result.NOT_CONFIRMED

    @property
    def drain_unknown(self) -> list[str]:
        """Names of the workers that have not drained; with the instance where a name has several."""
        named = Counter(row.pod.worker for row in self.workers)
        return [
            row.pod.worker if named[row.pod.worker] == 1 else row.pod.short
            for row in self.workers
            if row.drain_unknown
        ]


class Roster(msgspec.Struct, frozen=True):
    """Who must answer, as read after the revoke executed, merged with the list from activation.

    Attributes:
        processes: Which process of a heartbeat registered last, where that is known.
        whole: All workers were read; a part of a roster is no roster (A4).
    """

    heartbeats: frozenset[str]
    workers: frozenset[Pod]
    processes: Mapping[str, str] = {}
    whole: bool = True


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
    goodbyes: dict[Pod, Arrived] = msgspec.field(default_factory=dict)

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
        if receipt.stage is Stage.LEFT:
            self.goodbyes.setdefault(pod, arrived)
            return
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


def counts(receipt: Receipt, directive: Revocation | Restriction, term: int) -> bool:
    """Tell whether an answer to that directive says that it holds for that term (A2).

    Args:
        receipt: The answer.
        directive: What it answers.
        term: The newest term that is known to be meant, also one that is only claimed; 0 when none
            is known.

    Fails closed:
        A blind revocation may not cover the term, by a slow clock: then only an answer that names
        it counts, and where no term is known, only one that names any.
    """
    if (receipt.stage is Stage.APPLIED) != isinstance(directive, Restriction):
        return False
    if isinstance(directive, Restriction):
        return receipt.term == directive.term
    if term <= directive.epoch and (term or not directive.blind):
        return True  # S2: whatever the process knew of, it has latched up to that number
    return receipt.term is not None and receipt.term >= term  # A2


def asked(
    *,
    named: frozenset[str],
    registered: frozenset[str],
    keyset: frozenset[str],
    unverified: bool,
) -> frozenset[str]:
    """Return the heartbeats that have to answer a stop (A1).

    Args:
        named: Those that the grants of the term name; empty when none is at hand.
        registered: Those on the roster, which whoever owns Redis can change.
        keyset: Every heartbeat of the keyset.
        unverified: A grant was met that this host cannot verify.

    Fails closed: with such a grant it is not known whom it names, so it is everybody.
    """
    if unverified:
        return named | registered | keyset
    return named or registered  # A1


def judge(
    roster: Roster,
    collected: Collected,
    *,
    called_at: float,
    now: float,
    timing: Timing,
    attested: Attested = NOBODY,
    keyset: frozenset[str] = frozenset(),
    newer: bool = False,
    here: Here = NOWHERE,
) -> Outcome:
    """Say how far a stop is.

    Args:
        roster: Who must answer.
        collected: What arrived.
        called_at: When the stop was called.
        now: The present.
        timing: The timers of the fleet.
        attested: Who is dead by the operator's word.
        keyset: Every heartbeat of the keyset.
        newer: A record was met that was signed under a newer keyset, which may have others.
        here: What the server has shown to which the operator is connected.

    Fails closed:
        An empty roster, of heartbeats or of workers, is never COMPLETE; a receipt with `durable: failed`
        does not count; what is not known of the server is taken for the worse.
    """
    # Nobody believes a beat of a name that the keyset lacks, so it is not waited for (A.5); unless
    # others have a newer keyset than we.
    names = roster.heartbeats if newer else roster.heartbeats & (keyset | attested.heartbeats)
    answers = {name: collected.of(name, roster.processes.get(name)) for name in names}
    on_one = _on_one_server(answers.values(), here)
    if not on_one:  # S14: another server's roster may name a heartbeat that this one's does not
        answers |= {name: collected.of(name, None) for name in keyset - names}
    beats = tuple(
        _heartbeat_row(name, answers[name], called_at, name in attested.heartbeats)
        for name in sorted(answers)
    )
    # A heartbeat started after the roster was read is not on it; one that answered was there before.
    heard = all(answer is None or answer.at <= here.since for answer in answers.values())
    known = bool(names) and heard and all(row.answered for row in beats)  # S14
    # From the call on when every heartbeat is attested dead: such a one beat last before that.
    latched = [row.latched_ms for row in beats if row.latched_ms is not None]
    off_by = called_at + max(latched, default=0.0) + timing.all_off_ms if known else None
    # A receipt counts also of a process that no roster names: it may say that orders were left.
    pods = sorted(roster.workers | collected.latched.keys())  # S11
    drained = here.stopped and on_one  # S14: elsewhere there may be workers nobody has listed
    # A5: one that has sent anything lives, and says itself what it has in flight.
    gone = attested.earlier - collected.latched.keys() if drained else frozenset()
    workers = tuple(  # S11
        _worker_row(
            pod, collected, called_at, off_by, pod in gone or attested.worker(pod) is not None
        )
        for pod in pods
    )
    result, by = _result(
        workers, known=known, off_by=off_by, now=now, drained=drained, whole=roster.whole
    )
    return Outcome(result, by, beats, workers, roster.whole, off_by)


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
    whole: bool,
) -> tuple[Result, By | None]:
    if not known:  # S14: heartbeats first, or a beat may come after whatever else has answered
        return Result.NOT_CONFIRMED, None
    over = off_by is not None and now >= off_by
    by_receipts = bool(workers) and whole and all(row.settled for row in workers) and drained  # S14
    if not by_receipts and not over:
        return Result.NOT_CONFIRMED, None
    by = By.RECEIPTS if by_receipts else By.TIME
    left = any(row.left for row in workers)  # S14
    unknown = not (workers and whole) or any(row.drain_unknown for row in workers)  # A4, A5
    return (Result.STOPPED if left or unknown else Result.COMPLETE), by


def _heartbeat_row(
    name: str, arrived: Arrived | None, called_at: float, attested: bool
) -> HeartbeatRow:
    if arrived is None:
        return HeartbeatRow(name, None, None, attested)
    return HeartbeatRow(name, arrived.at - called_at, arrived.receipt.durable, attested)


def _worker_row(
    pod: Pod, collected: Collected, called_at: float, off_by: float | None, attested: bool
) -> WorkerRow:
    latched, drained = collected.latched.get(pod), collected.drained.get(pod)
    goodbye = collected.goodbyes.get(pod)
    newest = drained or latched or goodbye
    # What it has said itself stands above what is said of it.
    dead = attested and drained is None and goodbye is None
    return WorkerRow(
        pod,
        latched.at - called_at if latched else None,
        latched.receipt.in_flight if latched else None,
        drained.at - called_at if drained else None,
        drained.receipt.left if drained else None,
        newest.receipt.durable if newest and not dead else None,
        None if latched or goodbye else off_by,
        dead,
        newest.receipt.by if newest else None,
        goodbye.at - called_at if goodbye else None,
    )


def applied(roster: Roster, receipts: Mapping[Pod, Arrived]) -> tuple[Pod, ...]:
    """Return the workers that have not yet said that a restriction is in force there."""
    return tuple(sorted(roster.workers - set(receipts)))
