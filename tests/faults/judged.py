"""A fleet that trades at the witness venue, what is done to it, and the verdict.

Every guarded worker has a bound: the latest instant at which it may still have permitted an order.
It follows from the timers of `standard` (docs/explanation/protocol.md#timers): 2,500 ms after
whatever took the good answers away, 5,500 ms after the last beat. The workers' own instants are held
to the bound as it is; the venue's get `TRANSIT_MS` on top, because an order that was permitted in
time still has to travel.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from golive_cli.demo.processes import CONTROL, Processes
from golive_redis import clock
from golive_redis.stop.progress import StopReport
from golive_redis.testing.server import EmbeddedServer
from kit.fleet import Fleet
from kit.processes import Proxy, Span, Worker

from .record import Record

MS = clock.NS_PER_MS
RATE_HZ = 40
BEFORE = 5  # orders of each worker, before anything is done
TRANSIT_MS = 250
AFTER_MS = 400
PATIENCE_MS = 30_000  # for what has to happen some time: a busy machine is no fault


class Bound(NamedTuple):
    """Until when a worker may permit: `ms` after `from_ns` (CLOCK_BOOTTIME)."""

    from_ns: int
    ms: float

    @property
    def until_ns(self) -> int:
        return self.from_ns + int(self.ms * MS)


class JudgedFleet(Fleet):
    """A live fleet on one server.

    Args:
        market: The venue and the trader without a guard.
        networks: The proxies of those workers that are behind one.
        record: Filled by `judge`.
    """

    def __init__(
        self,
        server: EmbeddedServer,
        folder: Path,
        market: Processes,
        networks: dict[str, Proxy],
        record: Record,
        **settings: Any,
    ) -> None:
        super().__init__(server, folder, timing="standard", **settings)
        self.networks = networks
        self.record = record
        self._market = market
        self._began_ns = clock.now_ns()
        self._struck_ns = 0
        self._bounds: dict[str, Bound] = {}
        self._over: list[tuple[int, str]] = []
        # Frozen between its last look at the permit and the send, a worker sends one order when it
        # wakes. No guard can help that; a venue that reads `until_ms` can (row 30).
        self.frozen: set[str] = set()

    # -- what happens ----------------------------------------------------------------------------

    def start_worker(self, name: str, **options: Any) -> Worker:
        if name in self.networks:
            options.setdefault("config", {"url": self.networks[name].url})
        options = {"venue": self._market.venue_port, "rate_hz": RATE_HZ, **options}
        return super().start_worker(name, **options)

    def wait_all_armed(self, *, within_ms: float = PATIENCE_MS) -> None:
        super().wait_all_armed(within_ms=within_ms)

    def trade(self) -> None:
        """Return when the venue has orders of every worker."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        names = {worker.name for worker in self._guarded()}
        while any(self._accepted().get(name, 0) < BEFORE for name in names):
            assert time.monotonic() < deadline, f"too few orders: {self._accepted()}"
            time.sleep(0.02)

    def strike(
        self, fault: Callable[[], Any], *, off_ms: float | None = None, only: str | None = None
    ) -> Span:
        """Do what the row is about.

        Args:
            fault: It.
            off_ms: It is a stop by itself: closed within this after it was done.
            only: It stops this worker alone.
        """
        span = self.timed(fault)
        self._struck_ns = self._struck_ns or span.began_ns
        if off_ms is not None:
            self.must_be_off(span.done_ns, off_ms, only=only)
        return span

    def must_be_off(self, from_ns: int, ms: float, *, only: str | None = None) -> None:
        """Give every worker that has none, or one of them, its bound."""
        names = [only] if only else [worker.name for worker in self._guarded()]
        for name in names:
            self._bounds.setdefault(name, Bound(from_ns, ms))

    def lapses_within(self, ms: float, span: Span) -> int:
        """Wait until all are closed, for now: what they lost may come back before the stop does.

        Returns:
            When the last of them was denied.
        """
        denied = [
            worker.wait_denied(after_ns=span.began_ns, within_ms=PATIENCE_MS)
            for worker in self.workers.values()
        ]
        for state in denied:
            late_ms = (state["last_permit_ns"] - span.done_ns) / MS
            assert late_ms <= ms, f"permitted {late_ms:.0f} ms after the event"
        return max(int(state["at_ns"]) for state in denied)

    def revoke(self, *says: str, **options: Any) -> StopReport:
        """Revoke, and fail when the report says something else than one of these."""
        began_ns = clock.now_ns()
        self._struck_ns = self._struck_ns or began_ns
        report = super().revoke("the fault matrix", **{"wait_ms": PATIENCE_MS, **options})
        self.heard(report, *says)
        if report.in_redis_ms is not None:
            effect_ns = began_ns + int(report.in_redis_ms * MS)
            self.must_be_off(effect_ns, self.timers.lease_ms)
        return report

    def heard(self, report: StopReport, *says: str) -> None:
        """Take in a report."""
        said = report.outcome.result.value
        if report.outcome.settled:
            self._over.append((clock.now_ns(), said))
        by = f" by {report.outcome.by.value}" if report.outcome.by else ""
        self.record.said.append(said + by)
        assert not says or said in says, f"revoke said {said}: {'; '.join(report.problems)}"

    # -- the verdict -----------------------------------------------------------------------------

    def judge(self) -> None:
        """Let everybody try on until after the bounds, then fill the record.

        Raises:
            AssertionError: One of the counts that make a verdict possible is 0.
        """
        workers = self._guarded()
        unbound = {worker.name for worker in workers} - self._bounds.keys()
        assert not unbound, f"nothing was to stop {unbound}: the row is wrong"
        last_ns = max(bound.until_ns for bound in self._bounds.values()) + TRANSIT_MS * MS
        time.sleep((max(0.0, last_ns - clock.now_ns()) / MS + AFTER_MS) / 1000)
        tries = [(worker.name, self._tries(worker)) for worker in workers if worker.alive]
        accepts = self._accepts()
        out = self.record
        out.accepted_before = sum(
            at_ns < self._struck_ns for name, at_ns, _ in accepts if name != CONTROL
        )
        out.attempts_after = sum(n for _, n in tries)
        out.control_accepted_after = sum(
            at_ns > last_ns for name, at_ns, _ in accepts if name == CONTROL
        )
        for worker in workers:
            if worker.alive:
                health = worker.health()
                reason = f" ({health['reason']})" if health["reason"] else ""
                out.states.append(health["phase"] + reason)
        self._look_for_late_orders(accepts)
        self._measure(accepts)
        self._look_for_claims(accepts)
        out.faults += [f"escaped: {text}" for text in self.defects()]
        out.faults += [f"{name} tried nothing after its bound" for name, n in tries if not n]
        for count in ("accepted_before", "attempts_after", "control_accepted_after"):
            if not getattr(out, count):
                out.faults.append(f"{count} is 0: the row proves nothing")

    def _guarded(self) -> list[Worker]:
        return [process for process in self.processes if isinstance(process, Worker)]

    def _tries(self, worker: Worker) -> int:
        since_ns = self._bounds[worker.name].until_ns
        return int(worker.ask("tries", since_ns=since_ns)["tries"])

    def _accepts(self) -> list[tuple[str, int, bool]]:
        """Who was accepted when (CLOCK_BOOTTIME), and whether the permit was still good then."""
        off_ns = clock.now_ns() - time.monotonic_ns()
        journal = self._market.venue.journal(since_ns=self._began_ns - off_ns)
        return [
            (item["worker"], item["at_ns"] + off_ns, (item["until_ms"] or 0) >= item["at_ms"])
            for item in journal
        ]

    def _accepted(self) -> dict[str, int]:
        off_ns = clock.now_ns() - time.monotonic_ns()
        return self._market.venue.accepted(since_ns=self._began_ns - off_ns)

    def _look_for_late_orders(self, accepts: list[tuple[str, int, bool]]) -> None:
        excused = dict.fromkeys(self.frozen, 1)
        for name, at_ns, fresh in accepts:
            if name == CONTROL or at_ns <= self._bounds[name].until_ns + TRANSIT_MS * MS:
                continue
            if excused.get(name, 0) and not fresh:
                excused[name] = 0
                continue
            self._late(name, at_ns, "accepted")
        for worker in self._guarded():
            until_ns = self._bounds[worker.name].until_ns
            for state in worker.states():
                if state["last_permit_ns"] > until_ns:
                    self._late(worker.name, state["last_permit_ns"], "permitted")
            if worker.alive and worker.last_permit_ns() > until_ns:
                self._late(worker.name, worker.last_permit_ns(), "permitted")

    def _late(self, name: str, at_ns: int, what: str) -> None:
        self.record.late += 1
        over_ms = (at_ns - self._bounds[name].until_ns) / MS
        text = f"LATE: {name} was {what} an order {over_ms:.0f} ms after its bound"
        if self.record.late <= 3:
            self.record.faults.append(text)

    def _look_for_claims(self, accepts: list[tuple[str, int, bool]]) -> None:
        """After COMPLETE or STOPPED was said there is no grace: every order had its answer by then."""
        for said_ns, said in self._over[:1]:
            # A frozen worker may send what it holds: that is what STOPPED says, and COMPLETE does not.
            others = {CONTROL, *self.frozen} if said == "STOPPED" else {CONTROL}
            after = sum(at_ns > said_ns for name, at_ns, _ in accepts if name not in others)
            if after:
                self.record.faults.append(f"{said} was said, and {after} orders came after it")

    def _measure(self, accepts: list[tuple[str, int, bool]]) -> None:
        """Keep when the last guard closed, of the worker that was nearest to its bound."""
        worst = -1.0
        for worker in self._guarded():
            if worker.name in self.frozen:
                continue  # it was denied when it woke
            bound = self._bounds[worker.name]
            closed_ms = (_closed_ns(worker) - bound.from_ns) / MS
            last = [at_ns for name, at_ns, _ in accepts if name == worker.name]
            last_ms = (max(last, default=0) - bound.from_ns) / MS
            if bound.ms and max(closed_ms, 0) / bound.ms > worst:
                worst = max(closed_ms, 0) / bound.ms
                self.record.bound_ms = bound.ms
                self.record.closed_ms = round(closed_ms) if closed_ms > 0 else None
                self.record.last_accept_ms = round(last_ms) if last_ms > 0 else None


def _closed_ns(worker: Worker) -> int:
    """When it was first denied after its last permit; 0 when it never had one."""
    closed_ns = 0
    for state in worker.states():
        if state["allowed"]:
            closed_ns = 0
        elif state["last_permit_ns"] and not closed_ns:
            closed_ns = state["at_ns"]
    return int(closed_ns)
