"""The threads behind a guard: one attends, one listens; both feed the view and publish its verdict.

The attending thread asks at a fixed rate and whenever a push orders a read; one question is
outstanding at a time, and an answer later than `timeout_ms` is none (S8). The push thread closes
first and confirms afterwards.

Each thread closes its own connection, and outlives whatever goes wrong in a turn: the guard is closed,
the trouble is noted, and the next turn begins.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping

from golive_redis import clock
from golive_redis.core.events import Event, Happened
from golive_redis.core.permit import Reason
from golive_redis.core.view import View
from golive_redis.delivery.outbox import Outbox
from golive_redis.delivery.receipts import Receipts
from golive_redis.errors import StoreError
from golive_redis.guard.crowd import LONGEST_MS, crowd
from golive_redis.guard.gate import Gate
from golive_redis.guard.presence import Presence
from golive_redis.guard.stopping import Stopping
from golive_redis.guard.troubles import Troubles
from golive_redis.records.envelope import Signer
from golive_redis.statefile import StateFile, StateFileError
from golive_redis.store.connect import Address
from golive_redis.store.jitter import JITTER
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import Link
from golive_redis.store.push import PushListener
from golive_redis.store.reconnect import Reconnecting
from golive_redis.store.replies import Caller, Status

logger = logging.getLogger("golive_redis.guard")


class Attending:
    """Owns the view of one guard, its lock, its connections and its threads.

    Attributes:
        stopping: Carries out stops.
        listener: Hears pushes.
        troubles: What went wrong.
    """

    def __init__(
        self,
        *,
        gate: Gate,
        worker: str,
        instance: str,
        labels: Mapping[str, str],
        policy: str,
        view: View,
        signer: Signer,
        address: Address,
        state_file: StateFile | None,
        problem: StateFileError | None,
    ) -> None:
        timing, keyspace = view.timing, Keyspace(view.trust.namespace)

        def connect() -> Link:
            return address.connect(timeout_ms=timing.timeout_ms, name=f"golive-worker-{worker}")

        self._gate = gate
        self._view = view
        self._presence = Presence(Caller("worker", worker, instance), gate, labels, policy)
        self._connection = Reconnecting(connect, keyspace, lambda _: self._reconnected())
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._watch = clock.ClockWatch(timing.rho)
        outbox = Outbox(connect, keyspace, timing.read_every_ms / 1000)
        receipts = Receipts(view.trust, signer, outbox, instance=instance, worker=worker)
        self.stopping = Stopping(receipts, state_file, gate.in_flight, timing.drain_ms)
        self.troubles = Troubles()
        self._answered_at: float | None = None
        self._stops = 0
        self._thread = threading.Thread(target=self._attend_loop, name="golive-attend", daemon=True)
        self.listener = PushListener(
            connect,
            keyspace,
            timing.read_every_ms,
            take=self._take,
            read=self._wake.set,
            failed=self.troubles.met,
        )
        if problem is not None:
            logger.critical("%s", problem.message)
            self.troubles.met(problem)
            self.stopping.failed()
            view.seal(Reason.STATE_FILE)
            gate.publish(view.verdict)

    def start(self) -> None:
        """Start both threads; where one cannot be started, what was taken is given back."""
        crowd.join()
        try:
            self._thread.start()
            self.listener.start()
        except BaseException:
            # Such as no more threads. The caller gets no guard that it could close, and its slot
            # would stay claimed for the life of this process.
            self.close()
            raise

    def threads(self) -> dict[str, bool]:
        """Return which threads are alive."""
        return {"attend": self._thread.is_alive(), "push": self.listener.is_alive()}

    def answer_age_ms(self) -> float | None:
        """Return the age of the last answer, or None before the first."""
        return None if self._answered_at is None else clock.now_ms() - self._answered_at

    # -- attending -------------------------------------------------------------------------------

    def _attend_loop(self) -> None:
        period = self._view.timing.read_every_ms / 1000
        due = time.monotonic()
        while not self._closing.is_set():
            ordered = self._wake.wait(max(0.0, due - time.monotonic()))
            self._wake.clear()
            if ordered and not self._gate.verdict.deadline_ns:
                # A closed guard has time to read; others of this host may be open, or owe receipts.
                self._closing.wait(LONGEST_MS / 1000)
            if not ordered:
                # A tenth of jitter, inside the timers' slack, keeps a fleet from marching in step.
                due = max(due + period * JITTER.uniform(0.9, 1.0), time.monotonic())
            if self.listener.is_alive():  # S7: a guard with a dead thread is not renewed
                self._guarded(self._attend)
            self._guarded(self._gate.skips.flush)
            self._guarded(crowd.look)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except StoreError as error:
            self.troubles.met(error)
            self._connection.drop()
            with self._lock:
                self._view.lapsed(clock.now_ns())
                self._publish()
        except Exception as error:  # noqa: BLE001  (noted, and closed: the thread goes on)
            with self._lock:
                self._view.defect()
                self._publish()
            self._connection.drop()
            self.troubles.met(error)

    def _attend(self) -> None:
        anomaly = self._watch.anomaly()
        if anomaly is not None:
            self.troubles.clocks(anomaly)
            with self._lock:
                self._view.clock_anomaly()
                self._publish()
        self._connection.store()  # first, for a new connection is told everything
        durable, newest = self.stopping.durable, self._view.newest
        if self._ask(self._presence.changed(durable, newest)) is Status.REGISTER:
            self._ask(self._presence.all(durable, newest))

    def _reconnected(self) -> None:
        self._presence.forget()
        with self._lock:
            self._view.reconnected()

    def _ask(self, fields: Mapping[str, str | bytes]) -> Status:
        store = self._connection.store()
        with self._lock:
            ask = self._view.ask(
                secrets.token_hex(8), now_ns=clock.now_ns(), wall_ms=time.time_ns() / 1e6
            )
        status, answer, _ = store.attend(ask, self._presence.caller, fields)
        self._presence.told(fields)
        if status is Status.REGISTER:
            return status
        with self._lock:
            now_ns = clock.now_ns()
            events = self._view.answer(answer, now_ns=now_ns)
            self._publish()
        self._answered_at = now_ns / clock.NS_PER_MS
        if any(event.kind is Happened.RECONNECT for event in events):  # S8
            self._connection.drop()
        self._act(events)
        return status

    # -- pushes ----------------------------------------------------------------------------------

    def _take(self, raw: bytes) -> None:
        with self._lock:
            suspected = self._view.suspect(raw)
            if suspected:
                self._publish()
        try:
            if suspected:
                self._closing.wait(crowd.wait_ms() / 1000)
        finally:  # a suspicion that is not judged would keep the guard closed for ever
            with self._lock:
                events = self._view.push(raw, suspected=suspected)
                self._publish()
        self._act(events)

    # -- what follows ----------------------------------------------------------------------------

    def _publish(self) -> None:
        verdict = self._view.verdict
        if verdict is not self._gate.verdict:
            self._gate.publish(verdict)

    def _act(self, events: list[Event]) -> None:
        for event in events:
            if event.kind is Happened.STOPPED and event.revocation is not None:
                with self._lock:
                    self._stops += 1
                self.stopping.stop(event.revocation, self._view.latch, self._stop_done)
                self._wake.set()
            elif event.kind is Happened.REPEATED and event.revocation is not None:
                self.stopping.receipts.repeat(event.revocation.identity)
            elif event.kind is Happened.RESTRICTED and event.restriction is not None:
                self.stopping.restricted(event.restriction)
            elif event.kind is Happened.SECURITY:
                self.troubles.security(event.text)

    def _stop_done(self, kept: bool) -> None:
        with self._lock:
            self._stops -= 1
            if not kept:
                # A latch that a restart would forget must at least hold for this process's life.
                self._view.seal(Reason.STATE_FILE)
            elif self._stops == 0:
                self._view.drained()
            self._publish()

    # -- the end ---------------------------------------------------------------------------------

    def kill(self, reason: str) -> None:
        """Seal the view, then run hooks and drain in a thread."""
        with self._lock:
            self._view.seal(Reason.KILLED)
            self._publish()
        logger.critical("guard of %s stopped locally: %s", self._presence.caller.name, reason)
        threading.Thread(target=self.stopping.drain, name="golive-kill", daemon=True).start()

    def close(self) -> None:
        """End the threads, deliver receipts that wait, and say goodbye."""
        with self._lock:
            self._view.seal(Reason.CLOSED)
            self._gate.publish(self._view.verdict)
        timing = self._view.timing
        until = clock.now_ms() + timing.drain_ms
        while self._stops and clock.now_ms() < until:
            time.sleep(0.005)
        self._closing.set()
        self._wake.set()
        patience_s = 4 * timing.read_every_ms / 1000
        if self._thread.is_alive():
            self._thread.join(patience_s)
        self.listener.close(patience_s)
        self.stopping.receipts.outbox.close(timing.read_every_ms / 1000)
        if not self._thread.is_alive():  # else it still uses the connection, and cannot be told off
            self._goodbye()
        self.stopping.release()
        crowd.leave()

    def _goodbye(self) -> None:
        try:
            # Over a connection that is there: a guard without one has nothing to take back.
            if self._connection.is_open and not self._gate.in_flight():
                self._connection.store().leave(self._presence.caller)
        except StoreError as error:
            logger.info("no goodbye: %s", error)
        self._connection.drop()

    def abandon(self) -> None:
        """In a forked child: let go of everything that is the parent's."""
        self._closing = threading.Event()
        self._closing.set()
        self._connection.drop()
        self.listener.abandon()
        self.stopping.receipts.outbox.abandon()
        self.stopping.release()
