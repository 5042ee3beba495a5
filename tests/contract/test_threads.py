"""Threads of ours outlive what nobody foresaw, above all a connection that is closed under them."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from golive_redis import logs
from golive_redis.core.answer import Latch
from golive_redis.delivery.outbox import Outbox
from golive_redis.delivery.receipts import Receipts
from golive_redis.errors import StoreUnavailableError
from golive_redis.guard.hooks import Hooks
from golive_redis.guard.stopping import Stopping
from golive_redis.records.envelope import peek
from golive_redis.records.receipt import Durable, Receipt, Stage
from golive_redis.store.connect import Address
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.push import PushListener
from golive_redis.testing import Signers
from golive_redis.testing.server import EmbeddedServer

KEYS = Keyspace("golive")
SIGNERS = Signers()
INSTANCE = "0" * 32
PARTY_LATCH = Latch(epoch=2)


@pytest.fixture(autouse=True)
def died() -> Iterator[list[str]]:
    """Fails a test in which a thread of ours ended with a traceback."""
    names: list[str] = []
    hook = threading.excepthook
    threading.excepthook = lambda told: names.append(f"{told.thread}: {told.exc_value!r}")
    yield names
    threading.excepthook = hook
    assert names == []


class ClosedUnderUs:
    """A connection of redis-py that another thread closes just before its n-th use.

    Attributes:
        uses: How often it was used.
    """

    def __init__(self, connection: Any, at: int, error: Exception | None = None) -> None:
        self._connection = connection
        self._at = at
        self._error = error
        self.uses = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        if not callable(found) or name == "disconnect":
            return found

        def used(*args: Any, **kwargs: Any) -> Any:
            self.uses += 1
            if self.uses == self._at:
                self._connection.disconnect()
                if self._error is not None:
                    raise self._error
            return found(*args, **kwargs)

        return used


class Links:
    """Opens links, of which the first is closed at its n-th use."""

    def __init__(self, server: EmbeddedServer, at: int, error: Exception | None) -> None:
        self._address = Address(server.url)
        self._at, self._error = at, error
        self.first: ClosedUnderUs | None = None

    def __call__(self) -> Any:
        link = self._address.link(timeout_ms=2_000)
        if self.first is None:
            self.first = ClosedUnderUs(link._connection, self._at, self._error)
            link._connection = self.first
        link.open()
        return link


# What redis-py raises when its socket goes away in the middle of a command, by luck.
BY_LUCK = (
    None,
    AttributeError("'NoneType' object has no attribute 'recv_into'"),
    ValueError("I/O operation on closed file"),
)


@pytest.mark.parametrize("error", BY_LUCK, ids=["closed", "attribute", "value"])
def test_a_receipt_comes_in_wherever_its_connection_is_closed_on_the_way(
    shared_server: EmbeddedServer, wait_for: Callable[..., None], error: Exception | None
) -> None:
    signers, raw = SIGNERS, SIGNERS.revocation(2)
    directive = signers.trust.revocation(raw)
    for at in itertools.count(1):
        with shared_server.client() as client:
            client.flushall()
        links = Links(shared_server, at, error)
        outbox = Outbox(links, KEYS, 0.01)
        outbox.loop.start()
        receipts = Receipts(
            signers.trust, signers.signers["pod-1"], outbox, instance=INSTANCE, worker="pod-1"
        )
        receipts.send(directive, Stage.LATCHED, term=1, durable=Durable.NONE)
        with shared_server.client() as client:
            wait_for(
                lambda: client.hlen(KEYS.receipt(directive.identity)),
                what=f"the receipt, closed at use {at}",
            )
        outbox.close(5)
        assert links.first is not None
        if links.first.uses < at:
            break
    assert at > 4  # connecting, two commands and their answers were each cut off


def test_a_delivery_that_hangs_is_left_to_its_own_thread_when_the_outbox_closes(
    own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    links = Links(own_server, 0, None)
    outbox = Outbox(links, KEYS, 0.01)
    outbox.loop.start()
    receipts = Receipts(
        SIGNERS.trust, SIGNERS.signers["pod-1"], outbox, instance=INSTANCE, worker="pod-1"
    )
    directive = SIGNERS.trust.revocation(SIGNERS.revocation(2))
    receipts.send(directive, Stage.LATCHED, term=1, durable=Durable.NONE)
    with own_server.client() as client:
        wait_for(lambda: client.hlen(KEYS.receipt(directive.identity)), what="the first receipt")
        client.execute_command("CLIENT", "PAUSE", "300", "ALL")
    receipts.send(directive, Stage.APPLIED, term=1, durable=Durable.NONE)
    outbox.close(0.05)
    threads = [each for each in threading.enumerate() if each.name == "golive-outbox"]
    wait_for(lambda: not any(each.is_alive() for each in threads), what="its thread has ended")
    assert links.first is not None
    assert not links.first._connection.is_connected


@pytest.mark.parametrize("error", BY_LUCK, ids=["closed", "attribute", "value"])
def test_pushes_are_heard_again_wherever_the_subscription_is_closed(
    shared_server: EmbeddedServer, wait_for: Callable[..., None], error: Exception | None
) -> None:
    for at in range(1, 9):
        links = Links(shared_server, at, error)
        heard: list[bytes] = []
        listener = PushListener(
            links, KEYS, 50, take=heard.append, read=lambda: None, failed=lambda _: None
        )
        listener.loop.start()
        with shared_server.client() as client:
            wait_for(
                lambda: client.publish(KEYS.events, b"x") and heard,  # noqa: B023
                what=f"a push, closed at use {at}",
            )
            wait_for(lambda: links.first.uses >= at, what=f"use {at}")  # type: ignore[union-attr]  # noqa: B023
            heard.clear()
            wait_for(
                lambda: client.publish(KEYS.events, b"y") and b"y" in heard,  # noqa: B023
                what="a push after the loss",
            )
        listener.close(5)
        assert not listener.loop.is_alive()


def test_a_listener_outlives_the_errors_of_its_callbacks(
    shared_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Also a log handler that fails in its turn."""
    told: list[object] = []

    def fail(what: object) -> None:
        told.append(what)
        raise RuntimeError("told to fail")

    address = Address(shared_server.url)
    listener = PushListener(
        lambda: address.link(timeout_ms=2_000),
        KEYS,
        10,
        take=fail,
        read=lambda: None if listener.connected else fail("a gap"),
        failed=fail,
    )
    listener.loop.start()
    with shared_server.client() as client:
        # Again and again: what is sent to a connection that it is about to give up, it never hears.
        wait_for(
            lambda: client.publish(KEYS.events, b"x") >= 0 and told.count(b"x") >= 3,
            what="three pushes that could not be taken",
        )
    assert "a gap" in told
    assert listener.loop.is_alive()
    listener.close(5)


def test_a_receipt_comes_in_although_a_log_handler_fails_when_redis_is_away(
    shared_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError(record.getMessage())

    tries = itertools.count()

    def connect() -> Any:
        if next(tries) < 2:
            raise StoreUnavailableError("told to fail")
        return Address(shared_server.url).connect(timeout_ms=2_000)

    logger, handler = logging.getLogger("golive_redis.courier"), Failing()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    directive = SIGNERS.trust.revocation(SIGNERS.revocation(2))
    with shared_server.client() as client:
        client.flushall()
        outbox = Outbox(connect, KEYS, 0.01)
        outbox.loop.start()
        receipts = Receipts(
            SIGNERS.trust, SIGNERS.signers["pod-1"], outbox, instance=INSTANCE, worker="pod-1"
        )
        try:
            receipts.send(directive, Stage.LATCHED, term=1, durable=Durable.NONE)
            wait_for(lambda: client.keys("golive:receipt:*"), what="the receipt")
        finally:
            outbox.close(5)
            logger.removeHandler(handler)
            logger.setLevel(level)


class BrokenReceipts:
    """Receipts that cannot be sent for a reason that nobody foresaw."""

    def send(self, *_: object, **__: object) -> None:
        raise RuntimeError("told to fail")


def test_a_stop_whose_receipts_cannot_be_sent_runs_the_hooks_and_waits_for_orders_all_the_same(
    wait_for: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """Row 82. It ends as one that was not kept: the guard stays closed for the life of its process."""
    kept: list[bool] = []
    ran: list[int] = []
    flying = [1]
    receipts: Any = BrokenReceipts()
    stopping = Stopping(receipts, None, lambda: len(flying), 60_000)
    stopping.hooks.add(lambda: ran.append(1))
    stopping.loop.start()
    with caplog.at_level(logging.CRITICAL):
        stopping.stop(SIGNERS.trust.revocation(SIGNERS.revocation(2)), PARTY_LATCH, kept.append)
        wait_for(lambda: ran, what="the hook has run")
        assert kept == [], "an order is in flight"
        flying.clear()
        wait_for(lambda: kept, what="the stop has ended")
        assert logs.ASIDE.flush(60)
    stopping.close(5)
    assert kept == [False]
    assert [record.levelname for record in caplog.records] == ["CRITICAL", "CRITICAL"]


@pytest.mark.parametrize("how", [RuntimeError("told to fail"), SystemExit(3), KeyboardInterrupt()])
def test_a_hook_that_ends_in_any_way_counts_as_one_left(
    wait_for: Callable[..., None], how: BaseException
) -> None:
    hooks = Hooks()

    def hook() -> None:
        raise how

    hooks.add(hook)
    for term in (1, 2):  # its thread is there for the next stop, too
        hooks.begin(term)
        wait_for(lambda: not hooks.busy(), what="the hook has ended")
        assert hooks.left() == 1
    assert [loop.is_alive() for loop in hooks.loops()] == [True]
    hooks.end()


def test_a_hook_that_hangs_keeps_one_thread_however_many_stops_come(
    wait_for: Callable[..., None],
) -> None:
    """Row 84."""
    hooks, release, runs = Hooks(), threading.Event(), []

    def hang() -> int:
        runs.append(1)
        release.wait(60)
        return 3

    hooks.add(hang)
    assert logs.ASIDE.start()
    before = threading.active_count()
    for term in range(5):
        hooks.begin(term)
        assert hooks.busy() and hooks.left() == 1
    assert threading.active_count() == before
    release.set()
    asked = hooks._runners[0]._asked
    wait_for(lambda: asked.empty() and not hooks.busy(), what="it has ended after all")
    assert (hooks.left(), len(runs)) == (3, 1)
    hooks.end()


def test_only_what_redis_was_not_seen_to_keep_is_sent_again_when_a_stop_repeats_itself(
    shared_server: EmbeddedServer, wait_for: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 89."""
    monkeypatch.setattr("golive_redis.delivery.receipts.REPEAT_MS", 0.0)
    outbox = Outbox(Links(shared_server, 0, None), KEYS, 0.01)
    receipts = Receipts(
        SIGNERS.trust, SIGNERS.signers["pod-1"], outbox, instance=INSTANCE, worker="pod-1"
    )
    directive = SIGNERS.trust.revocation(SIGNERS.revocation(2))
    key = KEYS.receipt(directive.identity)
    try:
        with shared_server.client() as client:
            client.flushall()
            receipts.send(directive, Stage.LATCHED, term=2, durable=Durable.NONE)
            receipts.repeat(directive.identity)
            assert outbox._waiting.qsize() == 1, "it has not left yet, and leaves once"
            outbox.loop.start()
            wait_for(lambda: client.hlen(key) and not outbox.owes(), what="the receipt")
            assert 0 < client.pttl(key) <= 7 * 24 * 3_600_000, "they do not stay for ever"
            client.delete(key)
            receipts.repeat(directive.identity)
            assert not outbox.owes(), "Redis keeps it, as far as is known"
            monkeypatch.setattr("golive_redis.delivery.outbox.KEPT_MS", 0.0)
            receipts.repeat(directive.identity)
            wait_for(lambda: client.hlen(key), what="the receipt, sent again after a while")
    finally:
        outbox.close(5)


class OtherQueue:
    """What each queue has that stands for `queue.Queue`: gevent shows neither lock nor content."""

    __slots__ = ("_inside",)

    def __init__(self, most: int) -> None:
        self._inside: queue.Queue[Any] = queue.Queue(most)

    def put_nowait(self, item: object) -> None:
        self._inside.put_nowait(item)

    def get_nowait(self) -> Any:
        return self._inside.get_nowait()

    def get(self, *, timeout: float) -> Any:
        return self._inside.get(timeout=timeout)

    def empty(self) -> bool:
        return self._inside.empty()


def test_receipts_leave_by_a_queue_that_shows_neither_its_lock_nor_its_content(
    shared_server: EmbeddedServer, wait_for: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 118. Each stop of a worker under gevent was NOT CONFIRMED."""
    monkeypatch.setattr("golive_redis.delivery.outbox.Queue", OtherQueue)
    sent: list[bytes] = []
    outbox = Outbox(Links(shared_server, 0, None), KEYS, 0.01)
    deliver = outbox._deliver
    monkeypatch.setattr(outbox, "_deliver", lambda *args: (sent.append(args[2]), deliver(*args)))
    raw = SIGNERS.receipt(SIGNERS.revocation(2))
    receipt = peek(raw, Receipt)
    assert receipt.directive is not None
    try:
        for _ in range(3):
            try:
                outbox.send(receipt, raw)
            except AttributeError as error:
                raise AssertionError("`send` never raises") from error
        outbox.loop.start()
        with shared_server.client() as client:
            wait_for(lambda: client.hlen(KEYS.receipt(receipt.directive)), what="the receipt")
        wait_for(lambda: not outbox.owes(), what="nothing is owed")
        assert sent == [raw], "asked for three times before it left, it leaves once"
        outbox.send(receipt, raw)
        wait_for(lambda: len(sent) == 2, what="it is sent again once it has left")
    finally:
        outbox.close(5)


def test_of_too_many_receipts_the_oldest_gives_way_and_may_be_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("golive_redis.delivery.outbox.MAX_WAITING", 2)
    outbox = Outbox(lambda: pytest.fail("nothing is connected"), KEYS, 0.01)
    raws = [bytes([number]) for number in range(3)]
    for raw in (*raws, raws[0]):
        outbox.send(None, raw)  # type: ignore[arg-type]  (it is not looked at)
    waiting = [outbox._waiting.get_nowait() for _ in range(2)]
    assert [item and item[1] for item in waiting] == [raws[2], raws[0]]
