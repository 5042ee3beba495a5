"""The outbox: sends receipts in order, published first and then stored, until they are delivered."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable

from golive_redis.clock import Throttle
from golive_redis.errors import StoreError
from golive_redis.records.receipt import Receipt
from golive_redis.store.jitter import JITTER
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import Link
from golive_redis.store.reconnect import Reconnecting

MAX_WAITING = 256

logger = logging.getLogger("golive_redis.courier")


class Outbox:
    """A thread with a connection of its own, started with the first receipt.

    Only that thread uses and closes the connection.

    Args:
        connect: Opens a link; called again after every failure.
        keyspace: Names of the keys.
        retry_s: Pause before the next try at the same receipt.
    """

    def __init__(self, connect: Callable[[], Link], keyspace: Keyspace, retry_s: float) -> None:
        self._connection = Reconnecting(connect, keyspace)
        self._channel = keyspace.receipts
        self._retry_s = retry_s
        self._waiting: queue.Queue[tuple[Receipt, bytes] | None] = queue.Queue(MAX_WAITING)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._defects = Throttle()

    def send(self, receipt: Receipt, raw: bytes) -> None:
        """Queue a signed receipt; the oldest gives way when 256 are waiting."""
        while not self._closing.is_set():
            try:
                self._waiting.put_nowait((receipt, raw))
                break
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    self._waiting.get_nowait()
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name="golive-outbox", daemon=True)
                # Where the system has no more threads, the next receipt tries again: a stop goes on.
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def _run(self) -> None:
        while not self._closing.is_set() and (item := self._waiting.get()) is not None:
            delivered = False
            while not delivered:
                # Whatever is raised, even by a log handler of the bot, the receipt is owed.
                with contextlib.suppress(Exception):
                    delivered = self._tried(*item)
                if not delivered and self._closing.wait(self._retry_s * JITTER.uniform(0.5, 1.0)):
                    break
        self._connection.drop()

    def _tried(self, receipt: Receipt, raw: bytes) -> bool:
        """Deliver; False when it has to be tried again."""
        try:
            self._deliver(receipt, raw)
        except StoreError as error:
            self._connection.drop()
            logger.info("receipt not delivered yet: %s", error)
        except Exception as error:
            self._connection.drop()
            if self._defects.due(repr(error)):
                logger.exception("a defect in golive-redis; the receipt is sent again")
        else:
            return True
        return False

    def _deliver(self, receipt: Receipt, raw: bytes) -> None:
        """Publish, then store. Published is delivered: storing fails when writes are refused."""
        store = self._connection.store()
        store.publish(self._channel, raw)
        if receipt.directive is None:
            return  # a goodbye, which is kept elsewhere
        try:
            store.store_receipt(receipt.directive, f"{receipt.instance}:{receipt.stage}", raw)
        except StoreError as error:
            logger.info("receipt published, not stored: %s", error)

    def close(self, timeout_s: float) -> None:
        """Deliver what is waiting within that time, then end.

        A command that is under way then ends by itself, after the connection's own timeout.
        """
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._waiting.put(None, timeout=timeout_s)
            self._thread.join(timeout_s)
        self._closing.set()

    def abandon(self) -> None:
        """In a forked child, where the thread does not run: let go of the parent's connection."""
        self._connection.drop()
