"""What a guard does when it is stopped: close, persist, receipt, hooks, drain, receipt.

The view has closed before any of this begins; nothing in here can open it. The order matters: the
latch is on disk before its receipt says so (S9), and `drained` is told only after the wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from golive_redis import clock
from golive_redis.core.answer import Latch
from golive_redis.delivery.outbox import Outbox
from golive_redis.guard.memory import WorkerState
from golive_redis.records.directive import Restriction, Revocation
from golive_redis.records.envelope import Signer, Verified, seal
from golive_redis.records.receipt import Durable, Receipt, Stage
from golive_redis.records.trust import Trust
from golive_redis.statefile import StateFile, StateFileError

Hook = Callable[[], int | None]

POLL_S = 0.002
REPEAT_MS = 500.0
REMEMBERED = 64

logger = logging.getLogger("golive_redis.guard")


class Stopping:
    """Carries out stops for one guard, each in a thread of its own.

    Args:
        trust: Namespace, environment and keyset version for the receipts.
        signer: The worker's key.
        worker: Id of the worker.
        instance: Which process.
        outbox: Takes the receipts.
        state_file: Where the latch is kept, or None when nothing is.
        in_flight: Counts the orders in flight.
        drain_ms: Longest wait for them, and for the hooks.
    """

    def __init__(
        self,
        trust: Trust,
        signer: Signer,
        worker: str,
        instance: str,
        outbox: Outbox,
        state_file: StateFile | None,
        in_flight: Callable[[], int],
        drain_ms: int,
    ) -> None:
        self._trust = trust
        self._signer = signer
        self._worker = worker
        self._instance = instance
        self._outbox = outbox
        self._state_file = state_file
        self._in_flight = in_flight
        self._drain_ms = drain_ms
        self.hooks: list[Hook] = []
        self.durable = Durable.NONE if state_file is None else Durable.YES
        self._lock = threading.Lock()  # one drain at a time; held by stop threads only
        self._persist_lock = threading.Lock()
        self._kept = Latch()
        self._receipts: dict[str, list[tuple[Receipt, bytes]]] = {}
        self._repeated_at: dict[str, float] = {}

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
        thread.start()
        return thread

    def _stop(
        self, revocation: Verified[Revocation], latch: Latch, done: Callable[[bool], None]
    ) -> None:
        kept = self.persist(latch, revocation.raw)
        in_flight = self._in_flight()
        self._send(revocation, Stage.LATCHED, in_flight, None)
        with self._lock:
            left = self.drain()
        self._send(revocation, Stage.DRAINED, in_flight, left)
        done(kept)

    def drain(self) -> int:
        """Run the hooks, wait for the orders in flight, and return what is left.

        A hook that raises or does not return in time counts as one left: what it should have taken
        care of is unknown.
        """
        until = clock.now_ms() + self._drain_ms
        runs = [_HookRun(hook) for hook in self.hooks]
        while clock.now_ms() < until:
            if not self._in_flight() and not any(run.is_alive() for run in runs):
                break
            time.sleep(POLL_S)
        return self._in_flight() + sum(run.left() for run in runs)

    def restricted(self, restriction: Verified[Restriction]) -> None:
        """Answer a restriction that is now in force."""
        self._send(restriction, Stage.APPLIED, self._in_flight(), None)

    def repeat(self, identity: str) -> None:
        """Send the receipts for a directive again: somebody repeats it for want of them."""
        now = clock.now_ms()
        if now - self._repeated_at.get(identity, -REPEAT_MS) < REPEAT_MS:
            return
        self._repeated_at[identity] = now
        for receipt, raw in list(self._receipts.get(identity, ())):
            self._outbox.send(receipt, raw)

    def _send(
        self,
        directive: Verified[Revocation] | Verified[Restriction],
        stage: Stage,
        in_flight: int,
        left: int | None,
    ) -> None:
        receipt = Receipt(
            namespace=self._trust.namespace,
            environment=self._trust.environment,
            keyset_version=self._trust.keyset.version,
            issued_at_ms=clock.wall_ms(),
            by=self._signer.principal,
            worker=self._worker,
            heartbeat=None,
            instance=self._instance,
            directive=directive.identity,
            epoch=directive.record.epoch,
            stage=stage,
            at_ms=clock.wall_ms(),
            in_flight=in_flight,
            left=left,
            durable=self.durable,
            head=None,
            beat_on=None,
        )
        raw = seal(receipt, self._signer)
        while len(self._receipts) >= REMEMBERED:
            oldest = next(iter(self._receipts))
            self._receipts.pop(oldest)
            self._repeated_at.pop(oldest, None)
        self._receipts.setdefault(directive.identity, []).append((receipt, raw))
        self._outbox.send(receipt, raw)


class _HookRun(threading.Thread):
    """One hook in a thread of its own, so that a hanging one holds nobody up for ever."""

    def __init__(self, hook: Hook) -> None:
        self._label = getattr(hook, "__qualname__", repr(hook))
        super().__init__(name=f"golive-hook-{self._label}", daemon=True)
        self._hook = hook
        self._left: int | None = None
        self.start()

    def run(self) -> None:
        try:
            self._left = max(0, int(self._hook() or 0))
        except Exception:
            logger.exception("on_stop hook %s failed", self._label)

    def left(self) -> int:
        if self._left is None:
            logger.error("on_stop hook %s did not finish; counted as 1 left", self._label)
            return 1
        return self._left
