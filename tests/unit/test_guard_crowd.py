"""A guard is counted among those of its host, and one that has closed lets the others close first."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from golive_redis.core.permit import Phase, Reason
from golive_redis.core.timing import TIMINGS
from golive_redis.guard import attending
from golive_redis.guard.crowd import Crowd
from golive_redis.guard.guard import Guard
from golive_redis.store.connect import Address
from golive_redis.testing import Signers

SIGNERS = Signers()


def guard(name: str) -> Guard:
    return Guard(
        worker=name,
        labels=None,
        trust=SIGNERS.trust,
        timing=TIMINGS["standard"],
        signer=SIGNERS.signers["pod-1"],
        address=Address("redis://127.0.0.1:1/0"),
    )


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crowd:
    """The guards of this test, and no others of this host."""
    crowd = Crowd(tmp_path / "guards")
    monkeypatch.setattr(attending, "crowd", crowd)
    return crowd


def test_guards_are_counted_from_their_start_to_their_close(counted: Crowd) -> None:
    with guard("pod-1"):
        assert counted.total == 1
        with guard("pod-2"):
            assert counted.total == 2
        assert counted.total == 1
    assert counted.total == 0


def test_a_guard_that_could_not_be_started_is_not_counted(
    counted: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refused)
        with pytest.raises(RuntimeError, match="start new thread"):
            guard("pod-1")
    assert counted.total == 0


def test_it_closes_then_waits_for_the_others_and_then_judges_what_was_pushed(
    counted: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    with guard("pod-1") as closing:
        view = closing._attending._view

        ending, this = closing._attending._closing, threading.current_thread()

        def wait(timeout: float) -> bool:
            if threading.current_thread() is this:
                seen.append((view.phase, closing.check().reason, timeout))
            return threading.Event.wait(ending, timeout)

        monkeypatch.setattr(counted, "wait_ms", lambda: 7.0)
        monkeypatch.setattr(ending, "wait", wait)
        closing._attending._take(SIGNERS.revocation(4))
        assert seen == [(Phase.COLD, Reason.REVOKED, 0.007)], "closed, and not judged yet"
        assert view.phase is Phase.LATCHED


def test_others_are_counted_anew_while_it_runs(
    counted: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()
    monkeypatch.setattr(counted, "look", looked.set)
    with guard("pod-1"):
        assert looked.wait(60)
