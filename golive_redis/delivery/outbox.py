"""The outbox: sends receipts in order, each published and stored, until they are delivered.

Its thread and its connection are there before anything is owed (A15): a stop comes to all pods of a
fleet at once, and a server to which each of them then connects has no time for the receipts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, Full, Queue

from golive_redis import clock
from golive_redis.clock import Throttle
from golive_redis.errors import StoreError
from golive_redis.jitter import JITTER
from golive_redis.logs import Log
from golive_redis.records.receipt import Receipt
from golive_redis.store import rights
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import Link, StoreRefusedError
from golive_redis.store.reconnect import Reconnecting
from golive_redis.store.store import Store
from golive_redis.threads import Backoff, Loop

MAX_WAITING = 256
LONGEST_PAUSE = 4  # times `retry_s`: between tries at a server that does not serve us
KEEP_S = 10.0
"""A connection without a question for so long is asked for a PONG: nothing else would show its loss."""
KEPT_MS = 4_000.0
"""So long a receipt that Redis has kept is not sent again; then it is, for Redis may have lost it."""

RIGHTS_EVERY_MS = 60_000.0
IDLE_ENDS_S = 0.1  # what a thread that waits for work takes to end

logger = Log("golive_redis.courier")


class Outbox:
    """A thread with a connection of its own, which it alone uses and closes.

    Args:
        connect: Opens a link; called again after every failure.
        keyspace: Names of the keys.
        retry_s: Pause before the next try at the same receipt; it grows to four times this.
        wanted: Commands of the role. Whether its login may give them is tried when nothing is owed: with
            each connection, once a minute, and while one is missing with each sign of life.

    Attributes:
        lacks: Which of them it may not give, in words; "" when none.
        loop: Its thread.
        connected: Set once it has been connected: before that, no receipt could be sent (A15).
        problem: Why the newest try failed, in words; None after one that did not.
    """

    def __init__(
        self,
        connect: Callable[[], Link],
        keyspace: Keyspace,
        retry_s: float,
        wanted: Sequence[rights.Command] = (),
    ) -> None:
        self._connection = Reconnecting(connect, keyspace, self._connected)
        self._wanted = wanted
        self._rights_at = 0.0
        self._broke_it = False
        self.lacks = ""
        self._waiting: Queue[tuple[Receipt, bytes] | None] = Queue(MAX_WAITING)
        # What is in it: the queue of another library (gevent) shows neither its lock nor its content.
        self._queued: set[bytes] = set()
        self._owed: tuple[Receipt, bytes] | None = None
        self._finishing = threading.Event()
        self._kept: dict[bytes, float] = {}
        self._defects = Throttle()
        self.problem: str | None = None
        self.connected = threading.Event()
        # The first is short: what a server that restarted has closed is found out by the next receipt.
        pauses = Backoff(retry_s / 8, LONGEST_PAUSE * retry_s)
        self.loop = Loop(
            "outbox", self._turn, failed=self._lost, ended=self._connection.drop, backoff=pauses
        )

    def send(self, receipt: Receipt, raw: bytes) -> None:
        """Queue a signed receipt; the oldest gives way when 256 are waiting. Never blocks or raises."""
        if raw in self._queued:
            return  # somebody asks for it again before it has left
        self._queued.add(raw)
        while not self.loop.closing.is_set():
            try:
                self._waiting.put_nowait((receipt, raw))
                break
            except Full:
                with suppress(Empty):
                    self._taken(self._waiting.get_nowait())

    def _turn(self) -> None:
        """Be connected, and deliver one receipt when one is owed."""
        if self._finishing.is_set() and not self.owes():
            self.loop.closing.set()
            return
        store = self._connection.store()
        self.connected.set()
        if self._owed is None:
            due = self._wanted and clock.now_ms() >= self._rights_at
            try:
                timeout_s = 0.0 if due else KEEP_S * JITTER.uniform(0.5, 1.0)
                owed = self._waiting.get(timeout=timeout_s)
                self.loop.check()
                self._owed = self._taken(owed)
            except Empty:
                self.loop.check()
                if due or (self.lacks and not self._broke_it):
                    self._try_rights(store)
                else:
                    store.ping()
        if self._owed is not None:
            self._deliver(store, *self._owed)
        self._owed = self.problem = None

    def _taken(self, item: tuple[Receipt, bytes] | None) -> tuple[Receipt, bytes] | None:
        if item is not None:
            self._queued.discard(item[1])
        return item

    def _connected(self, _: Store) -> None:
        if not self._broke_it:
            self._rights_at = 0.0

    def _try_rights(self, store: Store) -> None:
        """Note what the login may not do: else the next stop would find it out (A7)."""
        before = self.lacks
        self._rights_at = clock.now_ms() + RIGHTS_EVERY_MS
        try:
            self.lacks = ", ".join(rights.lacking(store.link, self._wanted, lasting_only=True))
            self._broke_it = False
        except StoreRefusedError as error:  # nothing is queued, and the connection is good
            if rights.is_lasting(error):
                self.lacks = f"try its rights ({error.message})"
        except StoreError as error:
            # It took a connection, and takes none again before a minute is over.
            self._broke_it = True
            if isinstance(error, rights.NoTransactionsError):
                self.lacks = f"try its rights ({error.message})"
            raise
        finally:
            if self.lacks and self.lacks != before:
                logger.warning("this login may not: %s", self.lacks)
            elif before and not self.lacks:
                logger.info("this login may do all that it needs")

    def _deliver(self, store: Store, receipt: Receipt, raw: bytes) -> None:
        if receipt.directive is None:
            store.publish(store.keys.receipts, raw)  # a goodbye, which is kept elsewhere
            return
        kept, refused = store.deliver(receipt.directive, f"{receipt.instance}:{receipt.stage}", raw)
        if kept:
            while len(self._kept) >= MAX_WAITING:
                del self._kept[next(iter(self._kept))]
            self._kept[raw] = clock.now_ms()
        if refused:
            logger.info("receipt %s", refused)

    def _lost(self, error: Exception) -> None:
        """The connection cannot be trusted any more; the receipt is still owed."""
        self._connection.drop()
        self._kept = {}  # the next one may lead to a server that has none of them
        self.problem = str(error)
        if isinstance(error, StoreError):
            logger.info("receipts cannot be sent now: %s", error)
        elif self._defects.due(repr(error)):
            logger.error("a defect in golive-redis; the receipt is sent again", exc_info=error)

    def has_kept(self, raw: bytes) -> bool:
        """Tell whether Redis was seen to keep that receipt: over this connection, and of late."""
        kept_ms = self._kept.get(raw)
        return kept_ms is not None and clock.now_ms() - kept_ms < KEPT_MS

    def owes(self) -> bool:
        """Tell whether a receipt is not delivered yet."""
        return self._owed is not None or not self._waiting.empty()

    def close(self, within_s: float) -> None:
        """Deliver what is waiting within that time, then end.

        A command that is under way then ends by itself, after the connection's own timeout.
        """
        owed = self.owes()
        self._finishing.set()
        with suppress(Full):  # then it is not waiting for anything
            self._waiting.put_nowait(None)
        if owed:
            self.loop.join(within_s)
        self.loop.end(IDLE_ENDS_S)

    def abandon(self) -> None:
        """In a forked child, where the thread does not run: let go of the parent's connection."""
        self._connection.drop()
