"""Works that run side by side, each on a thread of its own with a deadline of its own.

Nothing in Python can end a thread that hangs in C or in name resolution. It is left behind, and what
it brings later is dropped; so that a heartbeat does not collect such threads, a work of which
several already hang is not begun again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

import msgspec

from golive_redis import clock
from golive_redis.errors import GoliveError

MAX_HANGING = 3
# A signal that comes just before a wait begins is handled after it: Ctrl-C takes so long, no longer.
LOOK_MS = 100.0
_PREFIX = "golive-check-"

_T = TypeVar("_T")
_Ended = tuple[int, "_T | BaseException", float]


class Work(msgspec.Struct, Generic[_T], frozen=True):
    """Something to do.

    Attributes:
        name: Of the work, the same each time it is done.
        do: Returns the result.
        deadline_ms: A result later than this is none.
    """

    name: str
    do: Callable[[], _T]
    deadline_ms: float


def side_by_side(works: Sequence[Work[_T]]) -> Iterator[tuple[int, _T | BaseException]]:
    """Do all at the same time; yield the position and the result of each as it ends.

    What a work raises is its result. One that is too late has a TimeoutError for a result, and so
    has one of which three still hang from earlier.
    """
    ended: SimpleQueue[_Ended[_T]] = SimpleQueue()
    began_ms = clock.now_ms()
    waiting = dict(enumerate(works))
    for at, work in waiting.items():
        _begin(at, work, ended)
    while waiting:
        next_ms = min(work.deadline_ms for work in waiting.values()) + began_ms
        wait_ms = min(LOOK_MS, max(0.0, next_ms - clock.now_ms()))
        try:
            at, result, ended_ms = ended.get(timeout=wait_ms / 1000)
        except Empty:
            late = [
                at for at, work in waiting.items() if clock.now_ms() >= began_ms + work.deadline_ms
            ]
            for at in late:
                yield at, _too_late(waiting.pop(at))
            continue
        if at in waiting:
            work = waiting.pop(at)
            in_time = ended_ms - began_ms <= work.deadline_ms
            yield at, result if in_time else _too_late(work)


def _begin(at: int, work: Work[_T], ended: SimpleQueue[_Ended[_T]]) -> None:
    name = f"{_PREFIX}{work.name}"
    if sum(thread.name == name for thread in threading.enumerate()) >= MAX_HANGING:
        ended.put((at, TimeoutError("earlier runs still hang"), clock.now_ms()))
        return

    def do() -> None:
        try:
            result: _T | BaseException = work.do()
        except BaseException as error:  # noqa: BLE001  (also SystemExit: no result is an end, too)
            result = error
        ended.put((at, result, clock.now_ms()))

    try:
        threading.Thread(target=do, name=name, daemon=True).start()
    except RuntimeError as error:  # the system has no more threads
        ended.put((at, error, clock.now_ms()))


def _too_late(work: Work[_T]) -> TimeoutError:
    return TimeoutError(f"no answer within {work.deadline_ms / 1000:g} s")


def said_by(error: BaseException) -> str:
    """Return what an error says, for an explanation."""
    if isinstance(error, GoliveError):
        return f"{error.message} ({error.hint})" if error.hint else error.message
    if isinstance(error, TimeoutError):
        return str(error)
    return f"{type(error).__name__}: {error}"
