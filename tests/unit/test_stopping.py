"""What a guard keeps on disk while it is stopped."""

from __future__ import annotations

import copy
import os
import resource
import signal
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from golive_redis.core.answer import Latch
from golive_redis.delivery.outbox import Outbox
from golive_redis.delivery.receipts import Receipts
from golive_redis.guard.memory import WorkerState
from golive_redis.guard.stopping import Stopping
from golive_redis.records.receipt import Durable
from golive_redis.statefile import StateFile, StateFileError
from golive_redis.testing import Signers


def test_of_two_stops_at_once_the_later_latch_stays_on_disk_in_either_order(
    tmp_path: Path,
) -> None:
    """S9: its receipt has said that it is durable."""
    signers = Signers()
    unused: Any = None
    file = StateFile(tmp_path, "worker-pod-1")
    stopping = Stopping(unused, file, lambda: 0, 1_000)
    later, earlier = signers.revocation(6), signers.revocation(4)
    assert stopping.persist(Latch(epoch=6), later)
    assert stopping.persist(Latch(epoch=4), earlier)
    assert stopping.durable is Durable.YES
    (kept,) = file.read_all(WorkerState)
    assert kept == WorkerState(latch=Latch(epoch=6), revocation=later.decode())
    assert stopping.persist(Latch(epoch=6, blind_before_ms=7), later)
    assert file.read_all(WorkerState)[0].latch.blind_before_ms == 7
    file.release()


class Recorded(Outbox):
    """An outbox that notes what the disk held when each receipt was handed to it."""

    def __init__(self, file: StateFile) -> None:
        self.file, self.held = file, []

    def send(self, *_: Any, **__: Any) -> None:
        self.held.append([state.latch for state in self.file.read_all(WorkerState)])


def test_the_latch_is_on_disk_before_any_receipt_says_so(
    tmp_path: Path, wait_for: Callable[..., None]
) -> None:
    """S9."""
    signers = Signers()
    file = StateFile(tmp_path, "worker-pod-1")
    outbox = Recorded(file)
    receipts = Receipts(
        signers.trust, signers.signers["pod-1"], outbox, instance="1" * 32, worker="pod-1"
    )
    ended: list[bool] = []
    stop = signers.trust.revocation(signers.revocation(6))
    stopping = Stopping(receipts, file, lambda: 0, 1_000)
    stopping.loop.start()
    try:
        stopping.stop(stop, Latch(epoch=6), ended.append)
        wait_for(lambda: ended, what="the stop has ended")
        assert ended == [True]
        assert outbox.held == [[Latch(epoch=6)]] * 2  # latched, and drained
    finally:
        stopping.close(5)


def test_a_latch_is_kept_although_the_process_has_no_file_handle_left(tmp_path: Path) -> None:
    """Row 85. What the write needs is open since the one before (A15)."""
    file = StateFile(tmp_path, "worker-pod-1")
    file.write(WorkerState())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in Path("/dev/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, limits[1]))
    taken: list[int] = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        with pytest.raises(OSError, match="Too many open files"):
            os.open("/dev/null", os.O_RDONLY)
        for epoch in (4, 6):
            with suppress(StateFileError):  # then it is not there below
                file.write(WorkerState(latch=Latch(epoch=epoch)))
    finally:
        for handle in taken:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert [state.latch.epoch for state in file.read_all(WorkerState)] == [6]
    file.release()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".lock"]


def test_it_is_known_before_a_stop_that_it_could_not_be_kept(tmp_path: Path) -> None:
    """Row 85. Somebody else of the process has taken what the write before gave back (A15)."""
    file = StateFile(tmp_path, "worker-pod-1")
    file.write(WorkerState())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        assert file.prepare() is None
        file.write(WorkerState(latch=Latch(epoch=4)))
        problem = file.prepare()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert problem is not None
    assert problem.message == f"{file.path}: Too many open files"
    assert file.prepare() is None
    with file._writing:
        busy = file.prepare()
    assert busy is not None and busy.message.endswith("a write is under way")
    file.release()
    assert file.prepare() is None
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".lock"]


@pytest.mark.parametrize("how", ["temporary removed", "temporary replaced", "folder replaced"])
def test_a_latch_ends_up_in_the_file_whatever_became_of_what_was_prepared(
    tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "state"
    file = StateFile(folder, "worker-pod-1")
    file.write(WorkerState())
    temporary = folder / "worker-pod-1.0.tmp"
    if how == "folder replaced":
        folder.rename(tmp_path / "moved")
        folder.mkdir()
    else:
        temporary.unlink()
        if how == "temporary replaced":
            temporary.write_text("somebody else's")
    file.write(WorkerState(latch=Latch(epoch=6)))
    assert [state.latch.epoch for state in file.read_all(WorkerState)] == [6]
    file.release()


def test_a_forked_child_leaves_what_the_next_write_takes_to_its_parent(tmp_path: Path) -> None:
    """Row 85."""
    file = StateFile(tmp_path, "worker-pod-1")
    file.write(WorkerState())
    prepared = file._next
    child = copy.copy(file)
    assert prepared is not None
    child._lock = os.dup(file._lock)
    child._next = copy.copy(prepared)
    child._next._file, child._next._folder = os.dup(prepared._file), os.dup(prepared._folder)
    child.abandon()
    assert (tmp_path / "worker-pod-1.0.tmp").exists()
    assert prepared.write(msgspec.json.encode(WorkerState(latch=Latch(epoch=6))))
    assert [state.latch.epoch for state in file.read_all(WorkerState)] == [6]
    with pytest.raises(StateFileError, match="does not hold it any more"):
        child.write(WorkerState(latch=Latch(epoch=2)))
    assert [state.latch.epoch for state in file.read_all(WorkerState)] == [6], "S9: the newer stays"
    file._next = None
    file.release()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of os.fork beside threads, since 3.12
def test_a_forked_child_holds_no_state_file_of_its_parent(tmp_path: Path) -> None:
    """Rows 32 and 118: also of an owner that knows nothing of forks."""
    file = StateFile(tmp_path, "heartbeat-hb-1")
    file._writing.acquire()  # by another thread of the parent, which does not run in the child
    pid = os.fork()
    if pid == 0:
        if file._lock >= 0:
            os._exit(2)  # the lock would outlive the parent
        signal.alarm(30)
        try:
            file.write(WorkerState())
        except StateFileError:
            os._exit(0)
        os._exit(3)
    file._writing.release()
    assert os.waitpid(pid, 0)[1] == 0
    file.write(WorkerState())
    file.release()


def test_a_stop_that_a_fork_finds_queued_is_its_parents(tmp_path: Path) -> None:
    """S9, row 118. A greenlet waits for it in the child, too, and comes to its turn."""
    signers, unused, done = Signers(), None, []
    receipts: Any = unused
    file = StateFile(tmp_path, "worker-pod-1")
    stopping = Stopping(receipts, file, lambda: 0, 1_000)
    hooked: list[int] = []
    stopping.hooks.add(lambda: hooked.append(1))
    stop = signers.trust.revocation(signers.revocation(6))
    for loop in (stopping.loop, *stopping.hooks.loops()):
        assert loop.start()
        loop.abandon()  # the fork, while it waits
    stopping.stop(stop, Latch(epoch=6), done.append)
    stopping.hooks.begin(6)
    for loop in (stopping.loop, *stopping.hooks.loops()):
        loop.join(60)
        assert not loop.is_alive()
    assert file.read_all(WorkerState) == []
    assert (done, hooked) == ([], [])
    file.release()


def test_the_hooks_run_once_for_a_term_however_many_stop_it(
    tmp_path: Path, wait_for: Callable[..., None]
) -> None:
    """Row 99: what flattens may not run twice; each revocation is answered all the same."""
    signers = Signers()
    file = StateFile(tmp_path, "worker-pod-1")
    outbox = Recorded(file)
    receipts = Receipts(
        signers.trust, signers.signers["pod-1"], outbox, instance="1" * 32, worker="pod-1"
    )
    stopping = Stopping(receipts, file, lambda: 0, 10_000)
    stopping.loop.start()
    runs: list[int] = []

    def flatten() -> int:
        runs.append(1)
        return 3

    stopping.hooks.add(flatten)
    with ExitStack() as ends:
        ends.callback(stopping.close, 5)
        ended: list[bool] = []
        for number, by in enumerate(("alice", "bob"), 1):
            stop = signers.trust.revocation(signers.revocation(6, by=by))
            stopping.stop(stop, Latch(epoch=6, term=5), ended.append)
            wait_for(lambda: len(ended) == number, what="the stop has ended")  # noqa: B023
        assert (runs, len(outbox.held), ended) == ([1], 4, [True, True])
        begun: list[int] = []
        for term, times in ((5, 1), (9, 2)):
            stopping.kill(term, lambda: begun.append(term))  # noqa: B023
            wait_for(lambda: term in begun and not stopping.at_work, what="it has ended")  # noqa: B023
            assert stopping.hooks.left() == 3, "what the one run has left is told each time"
            assert runs == [1] * times, "another term is another stop"
