"""A guard whose process is in a bad way: handlers that fail, no more threads, signals and forks.

The guard is this process's own, on a fleet of real processes; the server has no part in these.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from golive_redis import Guard, logs
from golive_redis.core.permit import Denial
from golive_redis.testing.server import EmbeddedServer


@pytest.fixture
def live(fleet: Callable[..., Any], any_server: EmbeddedServer) -> Any:
    """A fleet with a heartbeat; its guards are opened by the tests."""
    made = fleet(any_server)
    made.start_heartbeat("hb-1")
    return made


class Handler(logging.Handler):
    """A log handler of the bot's, that raises or hangs."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.let_go = threading.Event()
        self.seen = 0

    def handle(self, record: logging.LogRecord) -> bool:
        assert record.getMessage()
        self.seen += 1
        if self.how == "raises":
            raise RuntimeError("told to fail")
        self.let_go.wait(120)
        return True


@pytest.fixture
def handler(request: pytest.FixtureRequest) -> Iterator[Handler]:
    """A handler on the logger of guards, for as long as the test runs."""
    made, logger = Handler(request.param), logging.getLogger("golive_redis")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(made)
    yield made
    logger.removeHandler(made)
    logger.setLevel(level)
    made.let_go.set()
    assert logs.ASIDE.flush(60)


def armed(live: Any, guard: Guard) -> None:
    live.activate()
    assert guard.wait_armed(60)


@pytest.mark.parametrize("handler", ["raises", "hangs"], indirect=True)
def test_a_log_handler_that_fails_keeps_no_guard_from_trading_or_from_answering_a_stop(
    live: Any, handler: Handler, wait_for: Callable[..., None]
) -> None:
    """Row 83."""
    ran: list[int] = []
    with Guard.open(live.config, worker="pod-1") as guard:
        guard.on_stop(lambda: ran.append(1))
        assert isinstance(guard.check(what="BUY BTC"), Denial)  # the first line of the log
        armed(live, guard)
        guard.check("no such intent", what="BUY ETH")
        wait_for(lambda: handler.seen, what="a line has come to the handler")
        assert all(guard.health().threads.values())
        report = live.revoke(config=live.patient)
        assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")
        assert ran == [1]


@pytest.mark.parametrize("handler", ["raises", "hangs"], indirect=True)
def test_a_local_stop_runs_its_hooks_whatever_becomes_of_its_log_line(
    live: Any, handler: Handler, wait_for: Callable[..., None]
) -> None:
    """Row 83."""
    ran: list[int] = []
    with Guard.open(live.config, worker="pod-1") as guard:
        guard.on_stop(lambda: ran.append(1))
        armed(live, guard)
        guard.kill("test")
        assert not guard.allows()
        wait_for(lambda: ran, what="the hook")
        wait_for(lambda: handler.seen, what="its line has come to the handler")


def test_a_stop_needs_no_thread_that_was_not_there_before(
    live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 85 (A15)."""
    ran: list[str] = []
    refused: list[str] = []

    start_as_ever = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if (
            "process_request_thread" in thread.name
        ):  # of a server that another test has left running
            start_as_ever(thread)
            return
        refused.append(thread.name)
        raise RuntimeError("can't start new thread")

    with Guard.open(live.config, worker="pod-1") as guard:
        guard.on_stop(lambda: ran.append(threading.current_thread().name))
        armed(live, guard)
        with monkeypatch.context() as limited:
            limited.setattr(threading.Thread, "start", start)
            report = live.revoke(config=live.patient)
        assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")
        assert len(ran) == 1 and ran[0].startswith("golive-hook-")
    assert refused == []


def test_a_hook_may_close_its_guard(live: Any, wait_for: Callable[..., None]) -> None:
    """Row 84: the stop counts the hook, and the hook does not wait for the stop."""
    closed: list[bool] = []

    def leave() -> int:
        guard.close()
        closed.append(guard.allows())
        return 0

    guard = Guard.open(live.config, worker="pod-1")
    guard.on_stop(leave)
    armed(live, guard)
    report = live.revoke(config=live.patient)
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")
    assert closed == [False]
    wait_for(lambda: not any(guard.health().threads.values()), what="its threads have ended")
    assert live.status().workers == [], "and it has said goodbye"


def test_a_guard_whose_receipts_could_not_be_sent_does_not_arm(
    live: Any, monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., None]
) -> None:
    """Row 85 (A15): its own connection for receipts comes first."""
    from golive_redis.store.connect import Address  # noqa: PLC0415  (patched here)

    connect = Address.connect

    def only_others(address: Address, **how: Any) -> Any:
        if threading.current_thread().name == "golive-outbox":
            raise ConnectionRefusedError("told to fail")
        return connect(address, **how)

    with monkeypatch.context() as limited:
        limited.setattr(Address, "connect", only_others)
        with Guard.open(live.config, worker="pod-1") as guard:
            live.activate(wait_s=0)
            wait_for(
                lambda: (
                    guard.health().armed or "no receipt could" in (guard.health().last_error or "")
                ),
                what="the guard says why it does not arm",
            )
            assert not guard.health().armed
            assert not guard.wait_armed(live.timers.beat_ms / 1000)
            limited.setattr(Address, "connect", connect)
            assert guard.wait_armed(60)


def test_a_signal_handler_may_stop_the_guard_whatever_it_interrupts(
    live: Any, wait_for: Callable[..., None]
) -> None:
    """Row 86."""
    ran: list[int] = []
    with Guard.open(live.config, worker="pod-1") as guard:
        guard.on_stop(lambda: ran.append(1))
        armed(live, guard)

        def kill(number: int, frame: FrameType | None) -> None:
            guard.kill("signal")

        before = signal.signal(signal.SIGUSR1, kill)
        try:
            with guard._attending._lock:  # as in the middle of `close`
                os.kill(os.getpid(), signal.SIGUSR1)
                assert not guard.allows()
        finally:
            signal.signal(signal.SIGUSR1, before)
        wait_for(lambda: ran, what="the hook")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of os.fork beside threads, since 3.12
def test_a_stop_in_a_forked_child_returns_whatever_was_locked_at_the_fork(live: Any) -> None:
    """Row 86. The hooks and the orders are the parent's, who goes on."""
    ran: list[int] = []
    with Guard.open(live.config, worker="pod-1") as guard:
        guard.on_stop(lambda: ran.append(1))
        armed(live, guard)
        with guard._attending._lock:
            pid = os.fork()
            if pid == 0:
                signal.alarm(60)  # a child that hangs ends by this
                guard.kill("in the child")
                guard.close()
                os._exit(int(guard.allows() or bool(ran)))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert guard.wait_armed(60)
        assert not ran


class Late(Exception):  # noqa: N818  (it is what a time-out library raises)
    """Raised by a signal handler, at any point of an order."""


def test_time_outs_in_the_middle_of_orders_leave_none_in_flight_and_nobody_on_the_roster(
    live: Any,
) -> None:
    """Row 117. Some 3,000 were in flight for ever, and no stop was ever drained again."""
    cut = 0

    def late(number: int, frame: FrameType | None) -> None:
        while frame is not None:  # only where `trade` catches it
            if frame.f_code is trade.__code__:
                raise Late
            frame = frame.f_back

    def trade(guard: Guard) -> None:
        while True:
            with guard.order(what="BUY BTC", symbol="BTC"):
                pass

    with Guard.open(live.config, worker="pod-1") as guard:
        armed(live, guard)
        before = signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
        try:
            while cut < 1_000:
                try:
                    trade(guard)
                except Late:
                    cut += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert guard.in_flight() == 0
        assert guard.health().permits > 0
        report = live.revoke(config=live.patient)
        assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")
    assert live.status().workers == [], "it has said goodbye"


def connections(live: Any) -> set[str]:
    return {item["id"] for item in live.raw.client_list() if item["name"] == "golive-worker-pod-1"}


def test_a_closed_guard_keeps_a_connection_on_which_answers_come_late(
    live: Any, wait_for: Callable[..., None]
) -> None:
    """Row 104: a fleet that connects anew for each late answer keeps its server from answering."""
    with Guard.open(live.config, worker="pod-1") as guard:
        wait_for(lambda: guard.health().answer_age_ms is not None, what="the first answer")
        wait_for(lambda: len(connections(live)) == 3, what="all of its connections")
        before = connections(live)
        late = live.timers.timeout_ms * 2

        def was_late() -> bool:
            """Whether a question met the first half of a pause, which depends on when it was asked."""
            live.raw.client_pause(late, all=False)
            time.sleep(2 * late / 1000)
            told = "too long to count" in str(guard.health().last_error)
            return told or connections(live) != before

        wait_for(was_late, what="a late one")
        armed(live, guard)
        assert connections(live) == before
