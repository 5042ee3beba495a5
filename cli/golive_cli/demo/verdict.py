"""What the demo's verdict rests on: the venue's accepts, the workers' attempts, and nothing else.

Pure functions over frozen values. All instants are CLOCK_MONOTONIC in ns, which the venue, the
workers and the demo share; where a figure could be read in two ways, the stricter one is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from golive_redis.core.barrier import By, Outcome, Result

MIN_ACCEPTED_BEFORE = 100
MIN_ATTEMPTS_AFTER = 10
COLUMNS = 60
DENIED = "denied"

_MS = 1_000_000


class Accept(msgspec.Struct, frozen=True):
    """One order that the venue accepted, by the venue's own stamp."""

    worker: str
    at_ns: int


class Attempt(msgspec.Struct, frozen=True):
    """One order that a worker wanted to send: when it began, and the reason of its denial or ""."""

    at_ns: int
    outcome: str
    reason: str

    @property
    def denied(self) -> bool:
        """True when the guard kept the order from being sent."""
        return self.outcome == DENIED


def parse_attempts(text: str) -> list[Attempt]:
    """Read what a worker noted; a last line that is still being written does not count."""
    whole, _, _ = text.rpartition("\n")
    out = []
    for line in whole.splitlines():
        at_ns, _, rest = line.partition(" ")
        outcome, _, reason = rest.partition(" ")
        out.append(Attempt(int(at_ns), outcome, reason))
    return out


class Evidence(msgspec.Struct, frozen=True):
    """Everything about one act.

    Attributes:
        accepts: The venue's journal since the activation.
        attempts: What each guarded worker noted.
        control: Name of the worker without a guard.
        began_ns: When the activation was put in force.
        called_ns: The call of revoke, or the instant before the kill.
        bound_ns: From here on nothing guarded may be accepted.
    """

    accepts: Sequence[Accept]
    attempts: Mapping[str, Sequence[Attempt]]
    control: str
    began_ns: int
    called_ns: int
    bound_ns: int

    @property
    def guarded(self) -> list[int]:
        """The instants at which the venue accepted an order of a guarded worker."""
        return [item.at_ns for item in self.accepts if item.worker != self.control]

    def after(self) -> dict[str, list[Attempt]]:
        """Return what each guarded worker tried after the bound."""
        return {
            pod: [item for item in items if item.at_ns >= self.bound_ns]
            for pod, items in self.attempts.items()
        }


class Figures(msgspec.Struct, frozen=True):
    """What all acts count; the instant of the last accept is 0 when none came after the call."""

    accepted_before: int
    attempts_after: int
    control_accepted_after: int
    accepted_after: int
    last_accept_ms: float
    reasons: Mapping[str, int]


def figures(evidence: Evidence) -> Figures:
    """Count."""
    called, bound = evidence.called_ns, evidence.bound_ns
    after = [item for items in evidence.after().values() for item in items]
    last_ns = max((at for at in evidence.guarded if at >= called), default=called)
    return Figures(
        accepted_before=sum(evidence.began_ns <= at < called for at in evidence.guarded),
        attempts_after=len(after),
        control_accepted_after=sum(
            item.worker == evidence.control and item.at_ns >= bound for item in evidence.accepts
        ),
        accepted_after=sum(at >= bound for at in evidence.guarded),
        last_accept_ms=round((last_ns - called) / _MS, 1),
        reasons=Counter(item.reason for item in after if item.denied),
    )


def faults(evidence: Evidence) -> list[str]:
    """Return what keeps the act from proving its point, in sentences; empty when it does."""
    counted = figures(evidence)
    out = []
    if counted.accepted_before < MIN_ACCEPTED_BEFORE:
        out.append(
            f"only {counted.accepted_before} orders were accepted before the stop; "
            f"{MIN_ACCEPTED_BEFORE} are needed"
        )
    for pod, items in sorted(evidence.after().items()):
        sent = sum(not item.denied for item in items)
        if len(items) < MIN_ATTEMPTS_AFTER:
            out.append(f"{pod} tried only {len(items)} times afterwards")
        if sent:
            out.append(f"{pod} was not denied {sent} of {len(items)} times afterwards")
    if not counted.control_accepted_after:
        out.append("the control did not trade afterwards, so silence proves nothing")
    if counted.accepted_after:
        out.append(f"the venue accepted {counted.accepted_after} guarded orders afterwards")
    return out


def barrier_faults(outcome: Outcome, workers: int) -> list[str]:
    """Return what a stop by receipts lacks."""
    if outcome.result is not Result.COMPLETE:
        return [f"the stop is {outcome.result}, not {Result.COMPLETE}"]
    out = []
    if outcome.by is not By.RECEIPTS:
        out.append(f"the stop is complete by {outcome.by}, not by {By.RECEIPTS}")
    if not receipts(outcome) == len(outcome.workers) == workers:
        out.append(f"{receipts(outcome)} receipts of {len(outcome.workers)} pods, not of {workers}")
    return out


def receipts(outcome: Outcome) -> int:
    """Return how many pods said that they are drained."""
    return sum(row.drained_ms is not None for row in outcome.workers)


# -- the picture ---------------------------------------------------------------------------------


class Timeline(msgspec.Struct, frozen=True):
    """Accepts per step of time around the stop.

    Attributes:
        step_ms: Width of one column.
        called: Column that begins with the call or the kill.
        bound: Column in which the bound lies.
        pods: Accepts of all guarded workers, by column.
        control: Accepts of the control, by column.
    """

    step_ms: float
    called: int
    bound: int
    pods: tuple[int, ...]
    control: tuple[int, ...]


def timeline(evidence: Evidence, *, before_ms: float, until_ns: int) -> Timeline:
    """Return the picture from `before_ms` before the call until an instant after the bound."""
    before_ns = int(before_ms * _MS)
    step_ns = max(1, -(-(until_ns - evidence.called_ns + before_ns) // COLUMNS))
    called = before_ns // step_ns
    start = evidence.called_ns - called * step_ns  # the call begins a column, so none is mixed
    columns = max(0, (until_ns - start) // step_ns)

    def counts(instants: Sequence[int]) -> tuple[int, ...]:
        found = Counter((at - start) // step_ns for at in instants)
        return tuple(found[column] for column in range(columns))

    return Timeline(
        step_ms=step_ns / _MS,
        called=called,
        bound=(evidence.bound_ns - start) // step_ns,
        pods=counts(evidence.guarded),
        control=counts([a.at_ns for a in evidence.accepts if a.worker == evidence.control]),
    )
