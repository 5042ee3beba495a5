"""What a run has shown: what its stops forbid, what it proves, and how that is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from .chaos import NEVER_NS, Chaos
from .judge import Ban, Verdict
from .people import People, Stop

MS = 1_000_000
SHOWN = 5
LATELY = 12
MOST_LOST = 0.2  # of all stops: most faults leave those well who have to answer
AROUND_NS = 30 * 1_000_000_000


def stop_bans(
    stops: Sequence[Stop], unsettled: Sequence[tuple[int, int]], lease_ms: int
) -> Iterator[Ban]:
    """Yield what the revocations forbid.

    One that is told as over (COMPLETE, or STOPPED): everything under a permit of up to its epoch, for
    ever and whatever happens. One that was executed: the same from a lease later, as long as no failover
    can have lost it.
    """
    for stop in stops:
        if stop.settled:
            yield Ban(str(stop.result), stop.done_ns, NEVER_NS, epoch=stop.epoch)
        if stop.executed_ns is not None:
            bound_ns = stop.executed_ns + lease_ms * MS
            lost = [began for began, ended in unsettled if ended > stop.called_ns]
            until_ns = min(lost, default=NEVER_NS)
            if until_ns > bound_ns:
                yield Ban("revoked", bound_ns, until_ns, epoch=stop.epoch)


def unanswered(stops: Sequence[Stop], excuses: Sequence[tuple[int, int]]) -> Iterator[Stop]:
    """Return the stops that were not confirmed although nothing kept the fleet from answering.

    Args:
        stops: All of them.
        excuses: Spans, in ns, in which a heartbeat or the servers could not answer.
    """
    return (stop for stop in free(stops, excuses) if not stop.settled)


def free(stops: Sequence[Stop], excuses: Sequence[tuple[int, int]]) -> Iterator[Stop]:
    """Yield the stops of whose whole time everybody could answer."""
    for stop in stops:
        if not any(began < stop.done_ns and stop.called_ns < end for began, end in excuses):
            yield stop


class Outcome(msgspec.Struct):
    """Everything about one run.

    Attributes:
        verdict: The witness's.
        people: The operator.
        chaos: The faults.
        armed: How many workers armed after the last fault.
        workers: How many there are.
        minutes: How long faults happened.
        defects: What anybody logged as a defect of ours.
        fuzz_failed: Whether a parser did.
        fuzzed: What the fuzzer said.
        memory_mib: Of all workers, and of the largest.
    """

    verdict: Verdict
    people: People
    chaos: Chaos
    armed: int
    workers: int
    minutes: float
    defects: list[str]
    fuzz_failed: bool
    fuzzed: str
    memory_mib: tuple[float, float]

    @property
    def failed(self) -> bool:
        return bool(self.verdict.late or self.problems())

    def problems(self) -> list[str]:
        """Return what keeps the run from proving anything, in sentences."""
        checks = {
            "nothing was accepted": not self.verdict.accepted,
            "no fault happened": not self.chaos.counts,
            "nothing was revoked": not self.people.stops,
            "no stop was told as over": not any(stop.settled for stop in self.people.stops),
            "the control never traded while nobody else might": not self.verdict.tried,
            f"only {self.armed} of {self.workers} workers armed after the last fault": self.armed
            < self.workers,
            f"the fuzzer failed:\n{self.fuzzed}": self.fuzz_failed,
        }
        found = [text for text, wrong in checks.items() if wrong]
        lost = sum(not stop.settled for stop in self.people.stops)
        if lost > MOST_LOST * len(self.people.stops):
            found.append(f"{lost} of {len(self.people.stops)} stops were not confirmed")
        found += [
            f"stop {stop.epoch} was not confirmed, and everybody could answer: {stop.problems}"
            for stop in unanswered(self.people.stops, self._excuses())
        ]
        return found + self.people.defects + self.defects

    def _excuses(self) -> list[tuple[int, int]]:
        return self.chaos.troubles

    def _judged(self) -> str:
        """Say how the stops ended, and of how many everybody could answer."""
        stops, excuses = self.people.stops, self._excuses()
        ends = Counter(str(stop.result) for stop in stops)
        told = ", ".join(f"{n} {result}" for result, n in sorted(ends.items()))
        return f"stops: {told}; of {len([*free(stops, excuses)])} everybody could answer"

    def _explained(self) -> Iterator[str]:
        """Yield what happened around the first late order."""
        if not self.verdict.late:
            return
        late_ns = min(accept.at_ns for _, accept in self.verdict.late)
        for at_ns, text in sorted(self.chaos.events + self.people.events):
            if abs(at_ns - late_ns) < AROUND_NS:
                yield f"  {(at_ns - late_ns) / 1e9:+8.3f} s  {text}"

    def lines(self) -> Iterator[str]:
        """Yield what is printed; the summary comes last."""
        for name, counts in (("faults", self.chaos.counts), ("people", self.people.counts)):
            yield f"{name}: " + ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()))
        yield self._judged()
        total, largest = self.memory_mib
        yield f"memory: {total:.0f} MiB in all workers, {largest:.0f} in the largest"
        yield from self.fuzzed.splitlines()[-1:]
        yield from (f"LATE: {ban} {accept}" for ban, accept in self.verdict.late[:SHOWN])
        yield from self._explained()
        yield from (f"PROBLEM: {text}" for text in self.problems())
        if self.problems():
            yield from (f"  refused lately: {text}" for text in self.people.refusals[-LATELY:])
        verdict = self.verdict
        yield (
            f"soak: {self.minutes:g} min, {self.workers} workers, "
            f"{self.chaos.counts.total()} faults, {len(self.people.stops)} revokes, "
            f"{verdict.accepted:,} orders accepted ({verdict.stale} refused as stale), "
            f"{len(verdict.late)} late"
        )
