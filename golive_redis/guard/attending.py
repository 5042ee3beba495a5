"""The threads behind a guard: one attends, one listens; both feed the view and publish its verdict.

Two more wait for a stop: one carries it out, one sends its receipts.

The attending thread asks at a fixed rate and whenever a push orders a read; one question is
outstanding at a time, and an answer later than `timeout_ms` is none (S8). The push thread closes
first and confirms afterwards.

Each thread closes its own connection, and outlives whatever goes wrong in a turn: the guard is closed,
the trouble is noted, and the next turn begins. Until all of them run, and receipts can be sent, the
guard asks nothing, and so arms for nothing (A15).
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from golive_redis import clock
from golive_redis.core.events import Event, Happened
from golive_redis.core.permit import Reason
from golive_redis.core.suspicion import Heard
from golive_redis.core.view import View
from golive_redis.delivery.outbox import Outbox
from golive_redis.delivery.receipts import Receipts
from golive_redis.errors import SignerError, StoreError, StoreUnavailableError
from golive_redis.guard.crowd import LONGEST_MS, crowd, turns
from golive_redis.guard.following import Following
from golive_redis.guard.gate import Gate
from golive_redis.guard.presence import Presence
from golive_redis.guard.stopping import Stopping
from golive_redis.guard.troubles import Troubles
from golive_redis.jitter import JITTER
from golive_redis.logs import ASIDE, Log
from golive_redis.records.envelope import Signer
from golive_redis.statefile import StateFile, StateFileError
from golive_redis.store import rights
from golive_redis.store.connect import Address
from golive_redis.store.link import Link, StoreRefusedError
from golive_redis.store.push import PushListener
from golive_redis.store.reconnect import Reconnecting
from golive_redis.store.replies import Caller, Status
from golive_redis.store.store import Store
from golive_redis.threads import Backoff, Loop, in_order

PATIENCE = 4  # times `timeout_ms`: for answers on which no lease rests
SEAL_S = 0.25  # whoever holds a lock for longer has been interrupted by a signal handler
FLUSH_S = 0.5

logger = Log("golive_redis.guard")


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
        following: Following | None = None,
    ) -> None:
        timing, keyspace = view.timing, address.keyspace

        pid = os.getpid()

        def connect(timeout_ms: float | None = None) -> Link:
            if pid != os.getpid():  # a greenlet goes on in a forked child
                raise StoreUnavailableError("this guard is that of the process before the fork")
            bound_ms = timeout_ms or self._bound_ms()
            return address.connect(timeout_ms=bound_ms, name=f"golive-worker-{worker}")

        # Off the lease path nothing is won by an early end: a server that a whole fleet asks at once
        # answers late, and each connection that is made anew takes more of its time.
        patient = partial(connect, PATIENCE * timing.timeout_ms)

        self._gate = gate
        self._view = view
        self._following = following
        self._presence = Presence(Caller("worker", worker, instance), gate, labels, policy)
        self._connection = Reconnecting(connect, keyspace, lambda _: self._reconnected())
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._watch = clock.ClockWatch(timing.rho)
        wanted = rights.of_worker(keyspace, worker, instance)
        self._outbox = Outbox(patient, keyspace, timing.read_every_ms / 1000, wanted)
        receipts = Receipts(view.trust, signer, self._outbox, instance=instance, worker=worker)
        self.stopping = Stopping(receipts, state_file, gate.in_flight, timing.drain_ms)
        self.troubles = Troubles(address.shown)
        self._answered_at: float | None = None
        self._stops = 0
        self._leaving = self._asking = False
        self._counted = False
        self._due = time.monotonic()
        self._pauses = Backoff(timing.read_every_ms / 1000, PATIENCE * timing.read_every_ms / 1000)
        pauses = Backoff(timing.read_every_ms / 1000, timing.read_every_ms / 1000)
        self._loop = Loop(
            "attend", self._turn, failed=self._failed, ended=self._goodbye, backoff=pauses
        )
        self.listener = PushListener(
            patient,
            keyspace,
            timing.read_every_ms,
            take=self._take,
            read=self._wake.set,
            failed=self.troubles.met,
        )
        if problem is not None:
            logger.critical("%s; %s", problem.message, problem.hint)
            self.troubles.met(problem)
            self.stopping.failed()
            view.seal(Reason.STATE_FILE)
            gate.publish(view.verdict)

    def start(self) -> None:
        """Start the threads; where one cannot be started, what was taken is given back.

        Raises:
            RuntimeError: The system has no more threads.
        """
        ASIDE.start()
        self._counted = True
        crowd.join()
        try:
            if not all(loop.start() for loop in (*self._others(), self._loop)):
                raise RuntimeError("can't start new thread: a guard needs all of its own")  # A15
        except BaseException:  # the caller gets no guard that it could close
            self.close()  # or its slot stays claimed for the life of this process
            raise

    def _others(self) -> list[Loop]:
        stopping = self.stopping
        return [self.listener.loop, self._outbox.loop, stopping.loop, *stopping.hooks.loops()]

    def threads(self) -> dict[str, bool]:
        """Return which threads are alive."""
        return {loop.name: loop.is_alive() for loop in (self._loop, *self._others())}

    def answer_age_ms(self) -> float | None:
        """Return the age of the last answer, or None before the first."""
        return None if self._answered_at is None else clock.now_ms() - self._answered_at

    # -- attending -------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Ask when it is time, or when a push ordered it; then what is done besides."""
        period = self._view.timing.read_every_ms / 1000
        ordered = self._wake.wait(max(0.0, self._due - time.monotonic()))
        self._loop.check()
        self._wake.clear()
        if ordered and not self._gate.verdict.deadline_ns:
            # A closed guard has time to read; others of this host may be open, or owe receipts. All of
            # them are told at once, and where they are many they spread out.
            spread = LONGEST_MS * ((crowd.total or 1) - 1) * JITTER.uniform(0.0, 1.0)
            self._loop.closing.wait((LONGEST_MS + spread) / 1000)
            self._loop.check()
            if self._stops:
                return  # the receipts first: it is woken again at the end of the stop
        if not ordered:
            # A tenth of jitter, inside the timers' slack, keeps a fleet from marching in step.
            self._due = max(self._due + period * JITTER.uniform(0.9, 1.0), time.monotonic())
        self._asking = (
            True  # before it looks whether it leaves, as `_leave` looks in the other order
        )
        in_order([self._presence.incidents.look], self._failed)
        running = all(loop.start() and loop.is_alive() for loop in self._others())
        if running and not self._leaving and self._can_keep():  # S7, A15
            in_order([self._attend], self._failed)
        self._asking = False
        in_order([self._presence.incidents.look, self._gate.skips.flush, crowd.look], self._failed)

    def _can_keep(self) -> bool:
        """Tell whether the next stop could be written down (A15)."""
        # While a stop is written down, the guard is closed and the file not to be looked at.
        problem = None if self.stopping.at_work else self.stopping.cannot_keep()
        if problem is not None:
            self.troubles.unkept(problem)
        return problem is None

    def _failed(self, error: Exception) -> None:
        """Close, unless the guard lives on what it learned before; the connection is given up."""
        self._connection.drop()
        self.troubles.met(error)
        with self._lock:
            if isinstance(error, StoreError):
                self._view.unanswered(clock.now_ns())
            else:
                self._view.defect()
            self._publish()
        if isinstance(error, StoreError) and not self._gate.verdict.deadline_ns:
            self.troubles.unreachable(error)  # one that lasts is over by itself soon enough
            # Many that ask a server again that has no time for them are why it has none.
            self._due = max(self._due, time.monotonic() + self._pauses.next_s())

    def _bound_ms(self) -> float:
        """Return how long to wait for an answer, which may be longer than one counts (S8).

        Each connection that is made anew costs a server more than the answer, and so a large fleet
        would keep it from recovering. While a lease rests on it: until the next question is due.
        """
        timing = self._view.timing
        armed = self._gate.verdict.deadline_ns
        return timing.read_every_ms if armed else PATIENCE * timing.timeout_ms

    def _attend(self) -> None:
        self._gate.stated.turn()
        timing = self._view.timing
        anomaly = self._watch.anomaly()
        if anomaly is not None:
            self.troubles.clocks(anomaly)
            with self._lock:
                self._view.clock_anomaly()
                self._publish()
        self._connection.store()  # first, for a new connection is told everything
        if not self._outbox.connected.wait(timing.timeout_ms / 1000):  # A15
            problem = self._outbox.problem or "not connected yet"
            raise StoreUnavailableError(f"no receipt could be sent: {problem}")
        durable, newest = self.stopping.durable, self._view.newest
        self._presence.push = self.listener.arrives
        self._presence.lacks = self._outbox.lacks
        if self._ask(self._presence.changed(durable, newest)) is Status.REGISTER:
            self._ask(self._presence.all(durable, newest))

    def _reconnected(self) -> None:
        self._presence.forget()
        with self._lock:
            self._view.reconnected()

    def _ask(self, fields: Mapping[str, str | bytes], *, again: bool = False) -> Status:
        store = self._connection.store()
        store.link.answers_within(self._bound_ms())
        with self._lock:
            sent_ns = clock.now_ns()
            ask = self._view.ask(secrets.token_hex(8), now_ns=sent_ns, wall_ms=time.time_ns() / 1e6)
        status, answer, _ = store.attend(ask, self._presence.caller, fields)
        self._presence.told(fields)
        took_ms = (clock.now_ns() - sent_ns) / clock.NS_PER_MS
        if took_ms > self._view.timing.timeout_ms:
            return self._late(took_ms)
        self._pauses.reset()
        self.troubles.reached()
        if status is Status.REGISTER:
            return status
        now_ns = clock.now_ns()  # as it came: a keyset that is fetched now makes no answer late
        if self._view.known.outdated(answer) and self._succeed(store) and not again:
            return self._ask(fields, again=True)  # under it all has to be told anew
        with self._lock:
            events = self._begun(self._view.answer(answer, now_ns=now_ns))
            self._publish()
        self._answered_at = now_ns / clock.NS_PER_MS
        if any(event.kind is Happened.RECONNECT for event in events):  # S8
            self._connection.drop()
        self._act(events)
        return status

    def _succeed(self, store: Store) -> bool:
        """Go over to the next signed keyset (K2); False where none can be taken, and it closes."""
        if self._following is None:
            return False
        found = self._following.take(store, self._view.trust)
        if isinstance(found, str):
            if found:
                self.troubles.security(f"the next keyset cannot be taken: {found}")
            return False
        trust, signer = found
        # The key first: a receipt under the new keyset and the old key would count for nobody.
        self.stopping.receipts.sign_as(trust, signer)
        with self._lock:
            self._view.succeed(trust)
            self._publish()
        logger.warning("goes on under keyset %d, which its roots have signed", trust.keyset.version)
        return True

    def _late(self, took_ms: float) -> Status:
        """Take an answer that came too late for none (S8), and keep the connection, which works."""
        with self._lock:
            self._view.unanswered(clock.now_ns())
            self._publish()
        late = StoreUnavailableError(f"an answer took {took_ms:.0f} ms, too long to count")
        self.troubles.met(late)
        if not self._gate.verdict.deadline_ns:
            self.troubles.unreachable(late)
            self._due = max(self._due, time.monotonic() + self._pauses.next_s())
        return Status.OK

    # -- pushes ----------------------------------------------------------------------------------

    def _take(self, raw: bytes) -> None:
        heard = Heard(clock.now_ns(), clock.wall_ms())
        with self._lock:
            suspected = self._view.suspect(raw, heard)
            if suspected:
                self._publish()
        try:
            if suspected:
                self._loop.closing.wait(crowd.wait_ms() / 1000)
        finally:  # a suspicion that is not judged would keep the guard closed for ever
            with turns, self._lock:
                events = self._begun(self._view.push(raw, suspected=suspected, heard=heard))
                self._publish()
        self._act(events)

    # -- what follows ----------------------------------------------------------------------------

    def _publish(self) -> None:
        verdict = self._view.verdict
        if verdict is not self._gate.verdict:
            self._gate.publish(verdict)

    def _begun(self, events: list[Event]) -> list[Event]:
        """Count the stops among them, before the lock is let go of.

        An earlier one that ends at this moment would say that all is on disk and drained (S9).
        """
        self._stops += sum(event.kind is Happened.STOPPED for event in events)
        return events

    def _act(self, events: list[Event]) -> None:
        for event in events:
            if event.kind is Happened.STOPPED and event.revocation is not None:
                self.stopping.stop(event.revocation, self._view.latch, self._stop_done)
            elif event.kind is Happened.REPEATED and event.revocation is not None:
                self.stopping.receipts.repeat(event.revocation.identity)
            elif event.kind is Happened.RESTRICTED and event.restriction is not None:
                self.stopping.restricted(event.restriction)
            elif event.kind is Happened.SECURITY:
                self.troubles.security(event.text)
                self._presence.incidents.refused(event.word, event.text)

    def _stop_done(self, kept: bool) -> None:
        with self._lock:
            self._stops -= 1
            if not kept:
                # A latch that a restart would forget must at least hold for this process's life.
                self._view.seal(Reason.STATE_FILE)
            elif self._stops == 0:
                self._view.drained()
            self._publish()
        self._wake.set()

    # -- the end ---------------------------------------------------------------------------------

    def kill(self, reason: str) -> None:
        """Close at once, then have hooks and drain carried out; may be called by a signal handler."""
        self._gate.shut(Reason.KILLED)
        # Whoever publishes at this moment is waited for: afterwards everybody knows that it is shut.
        if self._lock.acquire(timeout=SEAL_S):
            self._lock.release()
        term = max(self._view.verdict.term, self._view.latch.term)
        self.stopping.kill(term, lambda: self._seal(Reason.KILLED))
        # After the stop, and whatever becomes of it: it is only told.
        in_order([lambda: self._presence.incidents.killed(reason, term)], self.troubles.met)
        logger.critical("guard of %s stopped locally: %s", self._presence.caller.name, reason)

    def _seal(self, reason: Reason) -> None:
        with self._lock:
            self._view.seal(reason)
            self._gate.publish(self._view.verdict)

    def close(self) -> None:
        """Deliver receipts that wait, say goodbye, and end the threads; again, what is left of it.

        When a hook calls this, it returns at once, closed; receipts, goodbye and threads follow in a
        thread of their own once the hook has returned: the stop counts that hook, and would wait for it.
        """
        self._seal(Reason.CLOSED)
        if self.stopping.hooks.calling():
            # Where there are no more threads it waits, for as long as a drain lasts.
            with suppress(RuntimeError):
                # No daemon: a process that ends here is still waited for.
                threading.Thread(target=self._leave, name="golive-close").start()
                return
        self._leave()

    def _leave(self) -> None:
        timing = self._view.timing
        patience_s = 4 * timing.read_every_ms / 1000
        # No question and no push may begin a stop between the wait and the goodbye, which would fail by
        # it: also the answer to the first question may show a stop, of an earlier term.
        self._leaving = True
        in_order(
            [
                lambda: self.listener.close(patience_s),
                self._wait_stopped,
                lambda: self._outbox.close(
                    patience_s
                ),  # before the goodbye, which may be the last word
                lambda: self._end(patience_s),
                lambda: self.stopping.close(patience_s),
                self._uncount,
                lambda: self._gate.skips.flush(last=True),
                lambda: ASIDE.flush(FLUSH_S),
            ],
            self.troubles.met,
        )

    def _wait_stopped(self) -> None:
        """Wait for stops under way, at most for as long as a drain lasts."""
        until = clock.now_ms() + self._view.timing.drain_ms
        while (self._asking or self._stops or self.stopping.at_work) and clock.now_ms() < until:
            time.sleep(0.005)

    def _uncount(self) -> None:
        counted, self._counted = self._counted, False
        if counted:
            crowd.leave()

    def _end(self, within_s: float) -> None:
        self._loop.closing.set()
        self._wake.set()
        self._loop.join(within_s)

    def _goodbye(self) -> None:
        """Say that nothing is in flight, and nothing will be (A4); the attending thread's last word.

        Over a connection that is there: a guard without one has nothing to take back. And only with
        nothing in flight, and no stop under way: without a goodbye it is asked, and has not drained.
        """
        under_way = self._stops or self.stopping.at_work
        try:
            if self._connection.is_open and not self._gate.in_flight() and not under_way:
                raw = self.stopping.receipts.goodbye(self.stopping.durable)
                store = self._connection.store()
                with suppress(StoreRefusedError):  # then it is kept, at least
                    store.publish(store.keys.receipts, raw)
                # Whatever becomes of what it states: the goodbye is what a stop counts (A4).
                in_order([self._presence.incidents.end], self.troubles.met)
                store.keep_goodbye(self._presence.caller, raw, self._presence.incidents.told)
        except (StoreError, SignerError) as error:
            logger.info("the roster does not know that this worker has left: %s", error)
        finally:
            self._connection.drop()

    def abandon(self) -> None:
        """In a forked child: let go of everything that is the parent's."""
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._connection.drop()
        self.listener.abandon()
        self._outbox.abandon()
