"""What a guard does when it is stopped: close, persist, receipt, hooks, drain, receipt.

The view has closed before any of this begins; nothing in here can open it. The order matters: the
latch is on disk before its receipt says so (S9), and `drained` is told only after the wait. Each step is
taken whatever became of the one before: a receipt that cannot be signed keeps no hook from running.

One thread does all of it, and it is there before the guard may arm (A15): at the moment of a stop the
system may have no more. It drains several stops at once, so that none waits to be answered.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue

import msgspec

from golive_redis import clock
from golive_redis.core.answer import Latch
from golive_redis.delivery.receipts import Receipts
from golive_redis.guard.crowd import turns
from golive_redis.guard.hooks import Hooks
from golive_redis.guard.memory import WorkerState
from golive_redis.logs import Log
from golive_redis.records.directive import Restriction, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.records.receipt import Durable, Stage
from golive_redis.statefile import StateFile, StateFileError
from golive_redis.threads import Backoff, Loop, Step, in_order

POLL_S = 0.002
IDLE_S = 5.0

logger = Log("golive_redis.guard")

Done = Callable[[bool], None]


class _Stop:
    """One stop on its way.

    Attributes:
        revocation: What is answered; None for a local stop, which nobody waits for.
        latch: What must be on disk before the receipt.
        done: Called at the end with `whole`.
        first: Taken before all the rest.
        whole: Whether the latch is durable (or need not be) and no receipt failed.
        in_flight: Orders in flight when it came.
        until_ms: When the wait for orders and hooks ends.
    """

    def __init__(
        self,
        revocation: Verified[Revocation] | None,
        latch: Latch,
        done: Done = lambda _: None,
        first: Step = lambda: None,
    ) -> None:
        self.revocation = revocation
        self.latch = latch
        self.done = done
        self.first = first
        self.whole = False
        self.in_flight = 0
        self.until_ms = 0.0


class Stopping:
    """Carries out the stops of one guard.

    Args:
        receipts: Answers the directives.
        state_file: Where the latch is kept, or None when nothing is.
        in_flight: Counts the orders in flight.
        drain_ms: Longest wait for them, and for the hooks.

    Attributes:
        receipts: Likewise.
        hooks: Called when it is stopped.
        durable: Whether a stop would survive a restart.
        loop: Its thread.
    """

    def __init__(
        self,
        receipts: Receipts,
        state_file: StateFile | None,
        in_flight: Callable[[], int],
        drain_ms: int,
    ) -> None:
        self.receipts = receipts
        self._state_file = state_file
        self._in_flight = in_flight
        self._drain_ms = drain_ms
        self.hooks = Hooks()
        self.durable = Durable.NONE if state_file is None else Durable.YES
        self._kept = Latch()
        # SimpleQueue: `kill` may be called by a signal handler, which may have interrupted another put.
        self._asked: SimpleQueue[_Stop | None] = SimpleQueue()
        self._draining: list[_Stop] = []
        self.loop = Loop("stop", self._turn, failed=_defect, backoff=Backoff(POLL_S, POLL_S))

    def failed(self) -> None:
        """Note that the state file cannot be relied on: every receipt will say so."""
        self.durable = Durable.FAILED

    def persist(self, latch: Latch, revocation: bytes | None) -> bool:
        """Write the latch to disk; False when that failed. Without a file there is nothing to do."""
        if self._state_file is None:
            return True
        if self.durable is not Durable.FAILED and not self._is_kept(latch):
            try:
                raw = revocation.decode() if revocation is not None else None
                self._state_file.write(WorkerState(latch=latch, revocation=raw))
                self._kept = latch
            except StateFileError as error:
                logger.critical("%s", error.message)
                self.durable = Durable.FAILED
            except Exception as error:
                # What may not be on disk is not told as durable (S9), whatever went wrong.
                logger.critical("a defect in golive-redis: the stop was not kept", exc_info=error)
                self.durable = Durable.FAILED
        return self.durable is not Durable.FAILED

    def cannot_keep(self) -> StateFileError | None:
        """Return why the next stop could not be written down, None when it can (A15)."""
        if self._state_file is None or self.durable is Durable.FAILED:
            return None  # nothing is to be kept, or the guard is closed for that reason already
        return self._state_file.prepare()

    def _is_kept(self, latch: Latch) -> bool:
        # Stops come in any order: an older latch never replaces a newer one.
        both = self._kept.joined(latch)
        return msgspec.structs.replace(both, term=self._kept.term) == self._kept

    # -- what is asked of it ---------------------------------------------------------------------

    def stop(self, revocation: Verified[Revocation], latch: Latch, done: Done) -> None:
        """Have a stop carried out; returns at once.

        Args:
            revocation: The verified revocation.
            latch: What must be on disk before the receipt.
            done: Called at the end with whether the latch is durable (or need not be) and answered.
        """
        self._asked.put(_Stop(revocation, latch, done))

    def kill(self, term: int, first: Step) -> None:
        """Have the hooks run and the orders waited for: a stop that only this process knows of.

        Takes no lock, so that a signal handler may call.

        Args:
            term: The newest that this process has traded in.
            first: Taken before that, on the thread of stops.
        """
        self._asked.put(_Stop(None, Latch(term=term), first=first))

    def restricted(self, restriction: Verified[Restriction]) -> None:
        """Answer a restriction that is now in force."""
        self.receipts.send(
            restriction,
            Stage.APPLIED,
            term=restriction.record.term,
            durable=self.durable,
            in_flight=self._in_flight(),
        )

    @property
    def at_work(self) -> bool:
        """True while a stop is not at its end."""
        return bool(self._draining) or not self._asked.empty()

    # -- its thread ------------------------------------------------------------------------------

    def _turn(self) -> None:
        try:
            stop = self._asked.get(timeout=POLL_S if self._draining else IDLE_S)
        except Empty:
            stop = None
        self.loop.check()  # a forked child leaves disk, receipts and hooks to its parent (S9)
        if stop is not None:
            self._draining.append(stop)
            in_order([stop.first, *self._beginning(stop)], _defect)
        for stop in [each for each in self._draining if self._is_drained(each)]:
            in_order(self._ending(stop), _defect)
            self._draining.remove(stop)

    def _beginning(self, stop: _Stop) -> list[Step]:
        def keep() -> None:
            if stop.revocation is not None:
                stop.whole = self.persist(stop.latch, stop.revocation.raw)

        def answer() -> None:
            stop.in_flight = self._in_flight()
            self._receipt(stop, Stage.LATCHED, None)

        def hook() -> None:
            # A stop that comes while another one drains is about the same orders: one run for both.
            self.hooks.begin(self._draining[0].latch.term)
            stop.until_ms = clock.now_ms() + self._drain_ms

        return [keep, answer, hook]  # S9: on disk before the receipt says so

    def _is_drained(self, stop: _Stop) -> bool:
        idle = not self._in_flight() and not self.hooks.busy()
        return idle or clock.now_ms() >= stop.until_ms

    def _ending(self, stop: _Stop) -> list[Step]:
        def answer() -> None:
            # A hook that raised or hangs counts as one left: what it was to take care of is unknown.
            self._receipt(stop, Stage.DRAINED, self._in_flight() + self.hooks.left())

        return [answer, lambda: stop.done(stop.whole)]

    def _receipt(self, stop: _Stop, stage: Stage, left: int | None) -> None:
        if stop.revocation is None:
            return
        whole, stop.whole = stop.whole, False
        with turns:
            self.receipts.send(
                stop.revocation,
                stage,
                term=stop.latch.term,
                durable=self.durable,
                in_flight=stop.in_flight,
                left=left,
            )
        stop.whole = whole  # S9: a stop without its receipts is no basis for another term

    # -- the end ---------------------------------------------------------------------------------

    def close(self, within_s: float) -> None:
        """End the threads and let go of the state file."""
        self.hooks.end()
        self.loop.closing.set()
        self._asked.put(None)
        self.loop.join(within_s)
        self.release()

    def release(self) -> None:
        """Let go of the state file."""
        if self._state_file is not None:
            self._state_file.release()


def _defect(error: Exception) -> None:
    """The step is left out and the next one follows; the guard stays closed."""
    logger.critical("a defect in golive-redis; the guard stays closed", exc_info=error)
