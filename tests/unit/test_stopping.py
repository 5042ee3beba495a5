"""What a guard keeps on disk while it is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from golive_redis.core.answer import Latch
from golive_redis.delivery.outbox import Outbox
from golive_redis.delivery.receipts import Receipts
from golive_redis.guard.memory import WorkerState
from golive_redis.guard.stopping import Stopping
from golive_redis.records.receipt import Durable
from golive_redis.statefile import StateFile
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


def test_the_latch_is_on_disk_before_any_receipt_says_so(tmp_path: Path) -> None:
    """S9."""
    signers = Signers()
    file = StateFile(tmp_path, "worker-pod-1")
    outbox = Recorded(file)
    receipts = Receipts(
        signers.trust, signers.signers["pod-1"], outbox, instance="1" * 32, worker="pod-1"
    )
    ended: list[bool] = []
    stop = signers.trust.revocation(signers.revocation(6))
    Stopping(receipts, file, lambda: 0, 1_000).stop(stop, Latch(epoch=6), ended.append).join()
    assert ended == [True]
    assert outbox.held == [[Latch(epoch=6)]] * 2  # latched, and drained
    file.release()


def test_the_hooks_run_once_for_a_term_however_many_stop_it(tmp_path: Path) -> None:
    """Row 77: what flattens may not run twice; each revocation is answered all the same."""
    signers = Signers()
    file = StateFile(tmp_path, "worker-pod-1")
    outbox = Recorded(file)
    receipts = Receipts(
        signers.trust, signers.signers["pod-1"], outbox, instance="1" * 32, worker="pod-1"
    )
    stopping = Stopping(receipts, file, lambda: 0, 10_000)
    runs: list[int] = []

    def flatten() -> int:
        runs.append(1)
        return 3

    stopping.hooks.append(flatten)
    for by in ("alice", "bob"):
        stop = signers.trust.revocation(signers.revocation(6, by=by))
        stopping.stop(stop, Latch(epoch=6, term=5), lambda _: None).join()
    assert (runs, len(outbox.held)) == ([1], 4)
    assert stopping.drain(5) == 3, "what the one run has left is told each time"
    assert stopping.drain(9) == 3
    assert runs == [1, 1], "another term is another stop"
    file.release()
