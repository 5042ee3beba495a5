"""What a guard does when it is stopped: close, persist, receipt, hooks, drain, receipt.

The view has closed before any of this begins; nothing in here can open it. The order matters: the
latch is on disk before its receipt says so (S9), and `drained` is told only after the wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from golive_redis import clock
from golive_redis.core.answer import Latch
from golive_redis.delivery.receipts import Receipts
from golive_redis.guard.memory import WorkerState
from golive_redis.records.directive import Restriction, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.records.receipt import Durable, Stage
from golive_redis.statefile import StateFile, StateFileError

Hook = Callable[[], int | None]

POLL_S = 0.002

logger = logging.getLogger("golive_redis.guard")


class Stopping:
    """Carries out stops for one guard, each in a thread of its own.

    Args:
        receipts: Answers the directives.
        state_file: Where the latch is kept, or None when nothing is.
        in_flight: Counts the orders in flight.
        drain_ms: Longest wait for them, and for the hooks.

    Attributes:
        receipts: Likewise.
        hooks: Called when it is stopped.
        durable: Whether a stop would survive a restart.
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
        self.hooks: list[Hook] = []
        self.durable = Durable.NONE if state_file is None else Durable.YES
        self._lock = threading.Lock()  # one drain at a time; held by stop threads only
        self._persist_lock = threading.Lock()
        self._hook_lock = threading.Lock()
        self._hooked: tuple[int, list[_HookRun]] | None = None
        self._kept = Latch()

    def failed(self) -> None:
        """Note that the state file cannot be relied on: every receipt will say so."""
        self.durable = Durable.FAILED

    def persist(self, latch: Latch, revocation: bytes | None) -> bool:
        """Write the latch to disk; False when that failed. Without a file there is nothing to do."""
        if self._state_file is None:
            return True
        with self._persist_lock:
            if self.durable is not Durable.FAILED and not self._is_kept(latch):
                try:
                    raw = revocation.decode() if revocation is not None else None
                    self._state_file.write(WorkerState(latch=latch, revocation=raw))
                    self._kept = latch
                except StateFileError as error:
                    logger.critical("%s", error.message)
                    self.durable = Durable.FAILED
                except Exception:
                    # What may not be on disk is not told as durable (S9), whatever went wrong.
                    logger.critical(
                        "a defect in golive-redis: the stop was not kept", exc_info=True
                    )
                    self.durable = Durable.FAILED
        return self.durable is not Durable.FAILED

    def _is_kept(self, latch: Latch) -> bool:
        # Two stops at once persist in any order: an older latch never replaces a newer one.
        kept = self._kept
        return latch.epoch <= kept.epoch and latch.blind_before_ms <= kept.blind_before_ms

    def stop(
        self, revocation: Verified[Revocation], latch: Latch, done: Callable[[bool], None]
    ) -> threading.Thread:
        """Begin to carry out a stop.

        Args:
            revocation: The verified revocation.
            latch: What must be on disk before the receipt.
            done: Called at the end with whether the latch is durable (or need not be).
        """
        thread = threading.Thread(
            target=self._stop, args=(revocation, latch, done), name="golive-stop", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # no more threads: the guard is closed, so its own thread has the time
            self._stop(revocation, latch, done)
        return thread

    def _stop(
        self, revocation: Verified[Revocation], latch: Latch, done: Callable[[bool], None]
    ) -> None:
        kept = False
        try:
            kept = self._carry_out(revocation, latch)
        except Exception:
            # It may be that no receipt left: the operator is told of a silent worker, which is off.
            with suppress(Exception):  # such as a log handler that fails
                logger.critical("a defect in golive-redis; the guard stays closed", exc_info=True)
        finally:
            done(kept)

    def _carry_out(self, revocation: Verified[Revocation], latch: Latch) -> bool:
        kept = self.persist(latch, revocation.raw)  # S9: on disk before the receipt says so
        answer = partial(
            self.receipts.send, revocation, term=latch.term, in_flight=self._in_flight()
        )
        answer(Stage.LATCHED, durable=self.durable)
        with self._lock:
            left = self.drain(latch.term)
        answer(Stage.DRAINED, durable=self.durable, left=left)
        return kept

    def drain(self, term: int) -> int:
        """Run the hooks, wait for the orders in flight, and return what is left; never raises.

        The hooks run once for a term: two people may stop it, and what flattens may not run twice.

        A hook that raises or does not return in time counts as one left: what it should have taken
        care of is unknown.
        """
        until = clock.now_ms() + self._drain_ms
        runs = self._hooks_for(term)
        while clock.now_ms() < until:
            if not self._in_flight() and not any(run.busy() for run in runs):
                break
            time.sleep(POLL_S)
        return self._in_flight() + sum(run.left() for run in runs)

    def _hooks_for(self, term: int) -> list[_HookRun]:
        with self._hook_lock:
            if self._hooked is None or self._hooked[0] != term:
                self._hooked = term, [_HookRun(hook) for hook in self.hooks]
            return self._hooked[1]

    def restricted(self, restriction: Verified[Restriction]) -> None:
        """Answer a restriction that is now in force."""
        self.receipts.send(
            restriction,
            Stage.APPLIED,
            term=restriction.record.term,
            durable=self.durable,
            in_flight=self._in_flight(),
        )

    def release(self) -> None:
        """Let go of the state file."""
        if self._state_file is not None:
            self._state_file.release()


class _HookRun:
    """One hook in a thread of its own, so that a hanging one delays nothing else for ever."""

    def __init__(self, hook: Hook) -> None:
        self._label = getattr(hook, "__qualname__", repr(hook))
        self._hook = hook
        self._left: int | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"golive-hook-{self._label}", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:  # no more threads: the others, and the wait for orders, still count
            logger.exception("on_stop hook %s could not be started", self._label)

    def _run(self) -> None:
        try:
            self._left = max(0, int(self._hook() or 0))
        except BaseException:  # the worker's own code, which may also call sys.exit
            logger.exception("on_stop hook %s failed", self._label)

    def busy(self) -> bool:
        """Tell whether it still runs."""
        return self._thread.is_alive()

    def left(self) -> int:
        """Return what it says is left; one that did not finish says nothing, which counts as 1."""
        if self._left is None:
            logger.error("on_stop hook %s did not finish; counted as 1 left", self._label)
            return 1
        return self._left
