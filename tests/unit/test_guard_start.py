"""A guard that cannot be started leaves nothing behind."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import yaml

from golive_redis import logs
from golive_redis.config import keyfile
from golive_redis.core.permit import Denial
from golive_redis.core.timing import TIMINGS
from golive_redis.errors import ConfigError, StoreUnavailableError
from golive_redis.guard.guard import Guard
from golive_redis.statefile import MAX_SLOTS, StateFile
from golive_redis.store.connect import Address
from golive_redis.testing import Signers

LIMITS = {
    "currency": "USD",
    "max_order_notional": "25",
    "max_position_notional": "100",
    "max_daily_loss": "10",
    "max_orders_per_minute": 60,
}


def make(folder: Path, url: str = "redis://127.0.0.1:1/0", worker: str = "pod-1") -> Guard:
    signers = Signers()
    return Guard(
        worker=worker,
        labels=None,
        trust=signers.trust,
        timing=TIMINGS["standard"],
        signer=signers.signers["pod-1"],
        address=Address(url),
        state_dir=folder,
    )


def test_a_guard_whose_receipts_would_not_count_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="'pod-1' may not answer for the worker 'pod-2'"
    ) as caught:
        make(tmp_path, worker="pod-2")
    assert "`shared: true`" in caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("who", ["hb-1", "alice"])
def test_a_key_that_is_no_workers_is_refused_when_the_guard_is_opened(
    tmp_path: Path, who: str
) -> None:
    """Not at the first stop, whose receipts nobody would count."""
    signers = Signers()
    path = tmp_path / "go_live.yaml"
    (tmp_path / "keyset.yaml").write_text(yaml.safe_dump(signers.keyset_file))
    keyfile.write(tmp_path / f"{who}.pem", signers.signers[who]._private)
    path.write_text(
        yaml.safe_dump(
            {
                "environment": "test",
                "allowed_profiles": ["micro"],
                "profiles": {"micro": LIMITS},
                "keys": {"worker": f"{who}.pem"},
                "state_dir": "state",
            }
        )
    )
    with pytest.raises(ConfigError, match=f"the key of '{who}' is no worker's") as caught:
        Guard.open(path, worker="pod-1")
    assert "keys.worker" in caught.value.hint
    assert not (tmp_path / "state").exists()


def test_one_process_more_than_can_share_a_worker_id_is_told_the_limit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = [StateFile(tmp_path, "worker-pod-1", slots=MAX_SLOTS) for _ in range(MAX_SLOTS)]
    try:
        with make(tmp_path) as guard:
            assert logs.ASIDE.flush(60)
            assert "64 live processes share it, and more cannot; end one of them" in caplog.text
            answer = guard.check()
            assert isinstance(answer, Denial)
            assert answer.reason == "state-file"
    finally:
        for file in held:
            file.release()
    with make(tmp_path) as guard:
        assert guard.health().durable == "yes"


@pytest.mark.parametrize(
    "without", ["golive-attend", "golive-push", "golive-outbox", "golive-stop"]
)
def test_a_guard_without_its_threads_is_an_error_and_holds_no_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: str
) -> None:
    """Row 85."""
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == without:
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refused)
        with pytest.raises(RuntimeError, match="start new thread"):
            make(tmp_path)
    with make(tmp_path) as guard:
        assert guard.health().durable == "yes"
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == [
        "worker-pod-1.0.json"
    ], "it found the first slot free"


def test_a_guard_whose_redis_is_away_says_so_and_its_log_where_and_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, wait_for: Callable[..., None]
) -> None:
    """Row 75."""
    with make(tmp_path, "redis://golive:secret@127.0.0.1:1/0") as guard:
        wait_for(lambda: guard.health().reason == "store-unreachable", what="it is told")
        denied = guard.check(symbol="X")
        assert isinstance(denied, Denial)
        assert denied.explain() == "GO-LIVE cannot reach Redis"
    assert logs.ASIDE.flush(60)
    said = [text for text in caplog.messages if text.startswith("no order is permitted")]
    assert len(said) == 1
    assert "Redis at redis://golive:***@127.0.0.1:1/0: cannot reach Redis: " in said[0]
    assert "refused" in said[0]


def test_a_close_that_a_signal_handler_cut_short_is_carried_on_by_the_next(tmp_path: Path) -> None:
    """Cut at each line of it: else the process stays on the roster, and holds its state file."""

    class Interrupted(BaseException):
        pass

    def cut_short_at(line: int, guard: Guard) -> bool:
        left = line

        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal left
            if not frame.f_code.co_filename.endswith(("guard/guard.py", "guard/attending.py")):
                return None
            left -= 1
            if left == 0:
                raise Interrupted
            # Not between the block of a lock and its release, where Python asks for no signal.
            return None if frame.f_code.co_name == "_seal" else trace

        before = sys.gettrace()
        try:
            sys.settrace(trace)
            try:
                guard.close()
            finally:
                sys.settrace(before)
        except Interrupted:
            return True
        return False

    line, cut = 0, True
    while cut:
        line += 1
        guard = make(tmp_path)
        cut = cut_short_at(line, guard)
        guard.close()
        assert not any(guard.health().threads.values()), f"cut short at its line {line}"
    assert line > 10
    slots = [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"]
    assert slots == ["worker-pod-1.0.json"], "each found the first slot free"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of os.fork beside threads, since 3.12
def test_a_forked_child_says_once_why_its_orders_are_denied(tmp_path: Path) -> None:
    """In its log, for the threads that write skipped orders are the parent's; and in its health."""
    written = tmp_path / "child.log"
    with make(tmp_path / "state") as guard:
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)  # a child that hangs ends by this
            handler = logging.FileHandler(written)
            logging.getLogger("golive_redis").addHandler(handler)
            quiet = written.read_text() == ""
            answers = [guard.check(symbol="BTC"), guard.check(symbol="ETH")]
            denied = not any(answers) and not guard.allows()
            health = guard.health()
            told = health.reason == "forked" and "forked process" in (health.last_error or "")
            os._exit(0 if quiet and denied and told and logs.ASIDE.flush(30) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert guard.health().reason != "forked"
    assert written.read_text() == (
        f"the guard of pod-1 was opened in process {os.getpid()} and stays closed in the forked "
        f"process {pid}: open a guard of its own there\n"
    )


def test_a_guard_makes_no_connection_in_a_process_that_was_forked_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 118. What a greenlet would say there, it would say in its parent's name."""
    connected: list[str] = []
    child = os.getpid() + 1
    guard = make(tmp_path)
    guard.close()
    monkeypatch.setattr(Address, "connect", lambda *_, name, **__: connected.append(name))
    owner = guard._attending
    openers = [owner._connection._connect, owner._outbox._connection._connect]
    for connect in (*openers, owner.listener.subscription._connect):
        with monkeypatch.context() as patch:
            patch.setattr("os.getpid", lambda: child)
            with pytest.raises(StoreUnavailableError, match="process before the fork"):
                connect()
        connect()
    assert connected == ["golive-worker-pod-1"] * 3
