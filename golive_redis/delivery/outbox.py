"""The outbox: sends receipts in order, published first and then stored, until they are delivered."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable

from golive_redis.errors import StoreError
from golive_redis.records.receipt import Receipt
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import Link
from golive_redis.store.store import Store

MAX_WAITING = 256

logger = logging.getLogger("golive_redis.courier")


class Outbox:
    """A thread with a link of its own, started with the first receipt.

    Args:
        connect: Opens a link; called again after every failure.
        keyspace: Names of the keys.
        retry_s: Pause before the next try at the same receipt.
    """

    def __init__(self, connect: Callable[[], Link], keyspace: Keyspace, retry_s: float) -> None:
        self._connect = connect
        self._keyspace = keyspace
        self._retry_s = retry_s
        self._waiting: queue.Queue[tuple[Receipt, bytes] | None] = queue.Queue(MAX_WAITING)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.link: Link | None = None

    def send(self, receipt: Receipt, raw: bytes) -> None:
        """Queue a signed receipt; the oldest gives way when 256 are waiting."""
        while not self._closing.is_set():
            try:
                self._waiting.put_nowait((receipt, raw))
                break
            except queue.Full:
                self._take()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="golive-outbox", daemon=True)
                self._thread.start()

    def _take(self) -> None:
        try:
            self._waiting.get_nowait()
            self._waiting.task_done()
        except queue.Empty:
            pass

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            receipt, raw = item
            while not self._deliver(receipt, raw):
                if self._closing.wait(self._retry_s):
                    return
            self._waiting.task_done()

    def _deliver(self, receipt: Receipt, raw: bytes) -> bool:
        """Publish, then store. Published is delivered: storing fails when writes are refused."""
        try:
            if self.link is None:
                self.link = self._connect()
            store = Store(self.link, self._keyspace)
            store.publish(self._keyspace.receipts, raw)
        except StoreError as error:
            logger.info("receipt not delivered yet: %s", error)
            self._drop()
            return False
        try:
            store.store_receipt(receipt.directive, f"{receipt.instance}:{receipt.stage}", raw)
        except StoreError as error:
            logger.info("receipt published, not stored: %s", error)
        return True

    def _drop(self) -> None:
        link, self.link = self.link, None
        if link is not None:
            link.close()

    def close(self, timeout_s: float) -> None:
        """Deliver what is waiting within that time, then end."""
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._waiting.put(None, timeout=timeout_s)
            self._thread.join(timeout_s)
        self._closing.set()
        self._drop()
