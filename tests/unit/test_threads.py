"""The loop that every thread of ours runs, and the thread that runs the user's log handlers."""

from __future__ import annotations

import io
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from golive_redis import logs, threads
from golive_redis.logs import Aside, Log
from golive_redis.threads import AbandonedError, Backoff, Loop, in_order

SOON = Backoff(0.001, 0.002)


def test_a_turn_that_raises_is_told_and_the_next_one_follows(wait_for: Callable[..., None]) -> None:
    """Row 82."""
    turns: list[int] = []
    told: list[str] = []
    ended: list[str] = []

    def turn() -> None:
        turns.append(len(turns))
        if len(turns) < 4:
            raise ValueError(f"turn {len(turns)}")
        loop.closing.wait(0.001)

    def failed(error: Exception) -> None:
        told.append(str(error))
        raise RuntimeError("whoever is told fails, too")

    def end() -> None:
        ended.append(threading.current_thread().name)
        raise RuntimeError("nor does this end in a traceback")

    loop = Loop("trial", turn, failed=failed, ended=end, backoff=SOON)
    assert not loop.is_alive()
    assert loop.start()
    wait_for(lambda: len(turns) > 5 or not loop.is_alive(), what="turns after those that raised")
    assert told == ["turn 1", "turn 2", "turn 3"]
    assert loop.is_alive()
    loop.end(60)
    assert not loop.is_alive()
    assert ended == ["golive-trial"], "what it owns is closed by the thread itself"


@pytest.mark.parametrize("fails", [False, True])
def test_a_loop_that_goes_on_in_a_forked_child_ends_without_a_word(fails: bool) -> None:
    """Row 118. A greenlet does: what it says at its end is its parent's goodbye."""
    said: list[object] = []

    def turn() -> None:
        loop.abandon()  # the fork, in the middle of it
        if fails:
            raise OSError("the socket is closed")

    loop = Loop(
        "trial", turn, failed=said.append, ended=lambda: said.append("goodbye"), backoff=SOON
    )
    loop.run()
    assert said == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of os.fork beside threads, since 3.12
def test_every_loop_that_runs_is_left_behind_by_a_fork() -> None:
    """Row 118. Also one whose owner knows nothing of forks."""
    said: list[str] = []

    def turn() -> None:
        pid = os.fork()  # in mid-turn, as where a greenlet goes on
        if pid:
            loop.closing.set()
            assert os.waitpid(pid, 0)[1] == 0, "it does nothing more, and it ends"
            return
        try:
            loop.check()
        except AbandonedError:
            os._exit(0 if loop.closing.is_set() else 2)
        os._exit(3)

    loop = Loop("trial", turn, failed=lambda error: said.append(repr(error)), backoff=SOON)
    loop.run()
    loop.check()
    assert said == [], "its parent's goes on"


def test_a_thread_that_could_not_be_started_is_started_by_the_next_try(
    monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., None]
) -> None:
    """Row 82."""
    turns: list[int] = []

    class Full(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    loop = Loop("trial", lambda: turns.append(time.sleep(0.001) or 1), failed=print, backoff=SOON)
    with monkeypatch.context() as patch:
        patch.setattr(threads.threading, "Thread", Full)
        assert not loop.start()
        assert not loop.is_alive()
    assert loop.start()
    wait_for(lambda: turns, what="a turn")
    loop.end(60)
    assert loop.start() and not loop.is_alive(), "a thread that has run is not started again"


def test_pauses_double_up_to_their_limit_and_begin_anew_after_what_worked() -> None:
    """Row 89."""
    pauses = Backoff(0.1, 1.0)
    for first in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        assert first / 2 <= pauses.next_s() <= first
    pauses.reset()
    assert 0.05 <= pauses.next_s() <= 0.1


def test_each_step_of_a_chain_is_taken_whatever_the_one_before_did() -> None:
    taken: list[str] = []
    told: list[str] = []

    def fail() -> None:
        raise ValueError("told to fail")

    in_order(
        [lambda: taken.append("a"), fail, lambda: taken.append("b")], lambda e: told.append(str(e))
    )
    assert (taken, told) == (["a", "b"], ["told to fail"])


class Handler(logging.Handler):
    """A handler of the user's: it raises, or it blocks until it is let go."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__()
        self.error = error
        self.let_go = threading.Event()
        self.entered = threading.Event()
        self.lines: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.entered.set()
        if self.error is not None:
            raise self.error
        assert self.let_go.wait(60)
        self.lines.append(record)


@pytest.fixture
def handled() -> Iterator[Callable[[Handler], Handler]]:
    """Puts a handler on our loggers."""
    logger, added = logging.getLogger("golive_redis"), []

    def add(handler: Handler) -> Handler:
        logger.addHandler(handler)
        added.append(handler)
        return handler

    yield add
    for handler in added:
        handler.let_go.set()
        logger.removeHandler(handler)
    assert logs.ASIDE.flush(60)


@pytest.mark.parametrize("error", [RuntimeError("told to fail"), SystemExit(3)])
def test_a_handler_that_raises_ends_neither_the_caller_nor_later_lines(
    handled: Callable[[Handler], Handler], error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 83."""
    failing, escaped = handled(Handler(error)), []
    try:
        Log("golive_redis.trial").error("first %s", 1)
    except BaseException as raised:  # noqa: BLE001  (also SystemExit)
        escaped.append(raised)
    assert escaped == []
    assert logs.ASIDE.flush(60)
    failing.error = None
    failing.let_go.set()
    Log("golive_redis.trial").error("second")
    assert logs.ASIDE.flush(60)
    assert [record.getMessage() for record in failing.lines] == ["second"]


def test_a_handler_that_blocks_holds_up_nobody_and_the_lines_it_cost_are_counted(
    handled: Callable[[Handler], Handler],
) -> None:
    """Row 83."""
    blocking = handled(Handler())
    log = Log("golive_redis.trial")
    log.warning("first")
    assert blocking.entered.wait(60)
    for number in range(logs.MOST_WAITING + 7):
        log.warning("line %d", number)  # would hang here
    assert not logs.ASIDE.flush(0.01)
    blocking.let_go.set()
    assert logs.ASIDE.flush(60)
    lines = [record.getMessage() for record in blocking.lines]
    told = [line for line in lines if "were dropped" in line]
    assert sum(int(line.split()[0]) for line in told) >= 6
    assert "line 0" in lines


def test_a_line_says_when_and_on_which_thread_it_was_left(
    handled: Callable[[Handler], Handler],
) -> None:
    blocking = handled(Handler())
    log = Log("golive_redis.trial")
    log.warning("first")
    assert blocking.entered.wait(60)
    before = time.time()
    try:
        raise ValueError("told to fail")
    except ValueError:
        log.exception("second")
    after = time.time()
    blocking.let_go.set()
    assert logs.ASIDE.flush(60)
    record = blocking.lines[-1]
    assert before <= record.created <= after
    assert record.threadName == threading.current_thread().name
    assert record.exc_info is not None and str(record.exc_info[1]) == "told to fail"


def test_no_value_begins_a_line_of_its_own_in_a_log() -> None:
    """Row 114: what comes from Redis, a file or a user is escaped; numbers stay numbers."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("golive_redis.trial")
    logger.addHandler(handler)
    log, forged = Log("golive_redis.trial"), "x\nINFO all is well\x1b[2J\r\u2028\x9b"
    try:
        log.warning("%s after %.1f s, %d times", forged, 1.25, 3)
        log.warning(forged)
        log.error("%s", ValueError(forged))
        log.error("failed", exc_info=ValueError(forged))
        assert logs.ASIDE.flush(60)
    finally:
        logger.removeHandler(handler)
    lines = stream.getvalue().split("\n")
    shown = "x\\nINFO all is well\\x1b[2J\\r\\u2028\\x9b"
    assert lines[:4] == [
        f"WARNING {shown} after 1.2 s, 3 times",
        f"WARNING {shown}",
        f"ERROR {shown}",
        "ERROR failed",
    ]
    assert all(not line or line.startswith("  ") for line in lines[4:])
    assert "".join(lines).isprintable()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of os.fork beside threads, since 3.12
def test_a_forked_child_has_a_log_thread_of_its_own() -> None:
    side = Aside("trial")
    assert side.start()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        side.forked()
        side.do(lambda: os.write(writer, b"child"))
        os._exit(0 if side.flush(60) else 1)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"child"
    assert os.waitpid(pid, 0)[1] == 0


def test_what_waits_is_kept_while_the_system_has_no_more_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    side, taken = Aside("trial"), []

    class Full(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(logs.threading, "Thread", Full)
        assert side.do(lambda: taken.append(1))
        assert not side.flush(0.01)
    step: Any = lambda: taken.append(2)  # noqa: E731
    assert side.do(step)
    assert side.flush(60)
    assert taken == [1, 2]
