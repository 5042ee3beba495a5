"""The threads behind a guard: one attends, one listens; both feed the view and publish its verdict.

The attending thread asks at a fixed rate and whenever a push orders a read; one question is
outstanding at a time, and an answer later than `timeout_ms` is none (S8). The push thread closes
first and confirms afterwards.
"""

from __future__ import annotations

import json
import logging
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping

from golive_redis import clock
from golive_redis.core.decision import Verdict
from golive_redis.core.events import Event, Happened
from golive_redis.core.permit import Reason
from golive_redis.core.view import View
from golive_redis.delivery.outbox import Outbox
from golive_redis.errors import StoreError
from golive_redis.guard.gate import Gate
from golive_redis.guard.stopping import Stopping
from golive_redis.records.envelope import Signer
from golive_redis.statefile import StateFile, StateFileError
from golive_redis.store.connect import Address, assert_user
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import Link
from golive_redis.store.push import Push
from golive_redis.store.replies import Caller, Status
from golive_redis.store.store import Store
from golive_redis.version import VERSION

SECURITY_LOG_EVERY_MS = 60_000.0
SECURITY_TEXTS = 100
COUNTS_EVERY_MS = 2_000.0
_COUNTS = frozenset({"in_flight", "permits", "sent", "rejected", "skipped"})
# All guards of a host that were pushed a revocation close before the first of them does what comes
# after: verifying, persisting, receipts, reading. 100 guards on 2 cores take some 15 ms to close,
# and the last one of them took 90 ms when the first ones went on after 1 ms (make bench).
AFTER_CLOSING_S = 0.03

logger = logging.getLogger("golive_redis.guard")


class Attending:
    """Owns the view of one guard, its lock, its links and its threads."""

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
        timing = view.timing
        self._gate = gate
        self._worker = worker
        self._view = view
        self._timing = timing
        self._address = address
        self._keyspace = Keyspace(view.trust.namespace)
        self._caller = Caller("worker", worker, instance)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._watch = clock.ClockWatch(timing.rho)
        self._link: Link | None = None
        self._push = Push(self._connect, self._keyspace, clock.now_ms, timing.read_every_ms)
        self._outbox = Outbox(self._connect, self._keyspace, timing.read_every_ms / 1000)
        self._state_file = state_file
        self.stopping = Stopping(
            view.trust,
            signer,
            worker,
            instance,
            self._outbox,
            state_file,
            gate.in_flight,
            timing.drain_ms,
        )
        self.pushed = False
        self.push_gaps = 0
        self.security_events = 0
        self.last_error: str | None = None
        self._answered_at: float | None = None
        self._stops = 0
        self._warned: dict[str, float] = {}
        self._who: dict[str, str | bytes] = {
            "labels": json.dumps(labels, sort_keys=True),
            "version": VERSION,
            "policy": policy,
            "host": socket.gethostname(),
            "pid": str(os.getpid()),
        }
        self._told: dict[str, str | bytes] = {}
        self._told_at = 0.0
        self._threads = {
            "attend": threading.Thread(target=self._attend_loop, name="golive-attend", daemon=True),
            "push": threading.Thread(target=self._push_loop, name="golive-push", daemon=True),
        }
        if problem is not None:
            logger.critical("%s", problem.message)
            self.last_error = problem.message
            self.stopping.failed()
            view.seal(Reason.STATE_FILE)
            gate.publish(view.verdict)

    def start(self) -> None:
        """Start both threads."""
        for thread in self._threads.values():
            thread.start()

    def threads(self) -> dict[str, bool]:
        """Return which threads are alive."""
        return {name: thread.is_alive() for name, thread in self._threads.items()}

    def answer_age_ms(self) -> float | None:
        """Return the age of the last answer, or None before the first."""
        return None if self._answered_at is None else clock.now_ms() - self._answered_at

    def _connect(self) -> Link:
        link = self._address.link(
            timeout_ms=self._timing.timeout_ms, name=f"golive-worker-{self._worker}"
        )
        link.open()
        try:
            assert_user(link, self._address.username)
        except StoreError:
            link.close()
            raise
        return link

    # -- attending -------------------------------------------------------------------------------

    def _attend_loop(self) -> None:
        period = self._timing.read_every_ms / 1000
        due = time.monotonic()
        while not self._closing.is_set():
            ordered = self._wake.wait(max(0.0, due - time.monotonic()))
            self._wake.clear()
            if ordered and not self._gate.verdict.deadline_ns:
                self._closing.wait(AFTER_CLOSING_S)  # a closed guard can wait, others may be open
            if not ordered:
                # A tenth of jitter, inside the timers' slack, keeps a fleet from marching in step.
                due = max(due + period * random.uniform(0.9, 1.0), time.monotonic())
            if self._threads["push"].is_alive():  # a guard with a dead thread is not renewed (S7)
                self._guarded(self._attend)
            self._gate.skips.flush()

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except StoreError as error:
            self.last_error = error.message
            self._drop_link()
            with self._lock:
                self._view.lapsed(clock.now_ns())
                self._publish()
        except Exception as error:
            self.last_error = f"defect: {error!r}"
            logger.exception("a defect in golive-redis; the guard is closed")
            self._drop_link()
            with self._lock:
                self._view.defect()
                self._publish()

    def _attend(self) -> None:
        anomaly = self._watch.anomaly()
        if anomaly is not None:
            logger.error("clock anomaly: %s", anomaly)
            self.last_error = anomaly
            with self._lock:
                self._view.clock_anomaly()
                self._publish()
        if self._link is None:
            self._link = self._connect()
            self._told = {}
            with self._lock:
                self._view.reconnected()
        if self._ask(self._changed_fields()) is Status.REGISTER:
            self._ask(self._all_fields())

    def _ask(self, fields: Mapping[str, str | bytes]) -> Status:
        assert self._link is not None  # noqa: S101  (connected by the only caller)
        with self._lock:
            ask = self._view.ask(
                secrets.token_hex(8), now_ns=clock.now_ns(), wall_ms=time.time_ns() / 1e6
            )
        status, answer, _ = Store(self._link, self._keyspace).attend(ask, self._caller, fields)
        self._told.update(fields)
        if status is Status.REGISTER:
            return status
        with self._lock:
            now_ns = clock.now_ns()
            events = self._view.answer(answer, now_ns=now_ns)
            self._publish()
        self._answered_at = now_ns / clock.NS_PER_MS
        self._act(events)
        return status

    def _drop_link(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    # -- presence --------------------------------------------------------------------------------

    def _all_fields(self) -> dict[str, str | bytes]:
        verdict: Verdict = self._gate.verdict
        counts, outcomes = self._gate.skips.counts.total(), self._gate.outcomes.total()
        fields: dict[str, str | bytes] = {
            "state": verdict.phase,
            "reason": "" if verdict.deadline_ns else verdict.reason,
            "term": str(verdict.term),
            "epoch": str(verdict.epoch),
            "in_flight": str(self._gate.in_flight()),
            "permits": str(self._gate.permits.total().get("permit", 0)),
            "sent": str(outcomes.get("sent", 0)),
            "rejected": str(outcomes.get("rejected", 0)),
            "skipped": str(sum(counts.values())),
            "durable": self.stopping.durable,
            "directive": self._view.newest or b"",
        }
        return fields | self._who

    def _changed_fields(self) -> dict[str, str | bytes]:
        """Return what to write: state changes at once, counts every two seconds, else nothing."""
        fields = self._all_fields()
        changed = {name: value for name, value in fields.items() if self._told.get(name) != value}
        now = clock.now_ms()
        if set(changed) <= _COUNTS:
            if now - self._told_at < COUNTS_EVERY_MS:
                return {}
            self._told_at = now
            return changed
        # Whole with every change of state: after a pause or a FLUSHALL the presence is gone, and the
        # changes alone would make one that has no labels and no version.
        return fields if "state" in changed else changed

    # -- pushes ----------------------------------------------------------------------------------

    def _push_loop(self) -> None:
        while not self._closing.is_set():
            try:
                self._push.open()
                self.pushed = True
                while not self._closing.is_set():
                    message = self._push.wait(self._timing.read_every_ms)
                    if message is None:
                        continue
                    if message.directive is None:
                        self._wake.set()
                    else:
                        self._take(message.directive)
            except StoreError as error:
                self.last_error = error.message
            except Exception as error:
                self.last_error = f"defect: {error!r}"
                logger.exception("a defect in the push thread of golive-redis")
            self._gap()

    def _gap(self) -> None:
        """Whatever was pushed meanwhile is lost: read now, and subscribe again a little later."""
        if self.pushed:
            self.push_gaps += 1
        self.pushed = False
        self._wake.set()
        self._push.close()
        self._closing.wait(self._timing.read_every_ms / 1000 * random.uniform(0.2, 1.0))

    def _take(self, raw: bytes) -> None:
        with self._lock:
            suspected = self._view.suspect(raw)
            if suspected:
                self._publish()
        if suspected:
            self._closing.wait(AFTER_CLOSING_S)
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
                self.stopping.repeat(event.revocation.identity)
            elif event.kind is Happened.RESTRICTED and event.restriction is not None:
                self.stopping.restricted(event.restriction)
            elif event.kind is Happened.RECONNECT:
                self._drop_link()
            elif event.kind is Happened.SECURITY:
                self._security(event.text)

    def _stop_done(self, kept: bool) -> None:
        with self._lock:
            self._stops -= 1
            if not kept:
                # A latch that a restart would forget must at least hold for this process's life.
                self._view.seal(Reason.STATE_FILE)
            elif self._stops == 0:
                self._view.drained()
            self._publish()

    def _security(self, text: str) -> None:
        self.security_events += 1
        now = clock.now_ms()
        if now - self._warned.get(text, -SECURITY_LOG_EVERY_MS) < SECURITY_LOG_EVERY_MS:
            return
        if len(self._warned) >= SECURITY_TEXTS:
            self._warned.clear()
        self._warned[text] = now
        logger.error("[SECURITY] %s", text)

    # -- the end ---------------------------------------------------------------------------------

    def kill(self, reason: str) -> None:
        """Seal the view, then run hooks and drain in a thread."""
        with self._lock:
            self._view.seal(Reason.KILLED)
            self._publish()
        logger.critical("guard of %s stopped locally: %s", self._worker, reason)
        threading.Thread(target=self.stopping.drain, name="golive-kill", daemon=True).start()

    def close(self) -> None:
        """End the threads, deliver receipts that wait, and say goodbye."""
        with self._lock:
            self._view.seal(Reason.CLOSED)
            self._gate.publish(self._view.verdict)
        until = clock.now_ms() + self._timing.drain_ms
        while self._stops and clock.now_ms() < until:
            time.sleep(0.005)
        self._closing.set()
        self._wake.set()
        for thread in self._threads.values():
            if thread.is_alive():
                thread.join(4 * self._timing.read_every_ms / 1000)
        self._outbox.close(self._timing.read_every_ms / 1000)
        try:
            if self._link is not None and not self._gate.in_flight():
                Store(self._link, self._keyspace).leave(self._caller)
        except StoreError as error:
            logger.info("no goodbye: %s", error)
        self._drop_link()
        self._push.close()
        if self._state_file is not None:
            self._state_file.release()

    def abandon(self) -> None:
        """In a forked child: let go of everything that is the parent's."""
        self._closing = threading.Event()
        self._closing.set()
        self._drop_link()
        self._push.close()
        if self._outbox.link is not None:
            self._outbox.link.close()
        if self._state_file is not None:
            self._state_file.release()
