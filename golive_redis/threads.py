"""The one loop that every thread of ours runs: turn after turn, whatever goes wrong in one of them.

A thread that ends by an exception is a guard without ears, or a stop without a receipt, and nobody is
told. So a turn that raises is an event: what the thread owns is closed by the thread itself, the error
is told to whoever keeps count, a pause follows that grows with each failure in a row, and the next turn
begins anew. `health()` shows which of them run.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from functools import partial

from golive_redis.jitter import JITTER

Step = Callable[[], object]
Failed = Callable[[Exception], object]

_run: weakref.WeakSet[Loop] = weakref.WeakSet()  # those that the next fork leaves behind


class AbandonedError(BaseException):
    """This turn belongs to the parent. No `Exception`: nothing but the loop's own end may catch it."""


class Backoff:
    """Pauses that double with each failure in a row, each with jitter, so that a fleet spreads out.

    Args:
        first_s: The first is between half of this and all of it.
        most_s: No later one is longer.
    """

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._failures = 0

    def next_s(self) -> float:
        """Return how long to pause now, after one more failure."""
        pause_s = min(self._most_s, self._first_s * (1 << min(self._failures, 16)))
        self._failures += 1
        return pause_s * JITTER.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Note that something worked."""
        self._failures = 0


class Loop:
    """A thread of ours, and its end: they exist only together.

    Args:
        name: In `health()`; the thread is called `golive-NAME`.
        turn: One turn. It waits for its work within a bound, so that the loop ends soon when told to,
            and calls `check` when it has waited.
        failed: Told what a turn raised, on this thread, which alone closes what it owns. Nothing it
            raises ends the loop.
        ended: Called last, on this thread: closes what it owns.
        backoff: Pauses after turns that raised.

    Attributes:
        name: Likewise.
        closing: Set once the loop is to end; what a turn waits for, it waits for this too.
    """

    def __init__(
        self,
        name: str,
        turn: Step,
        *,
        failed: Failed,
        ended: Step = lambda: None,
        backoff: Backoff,
    ) -> None:
        self.name = name
        self.closing = threading.Event()
        self._turn = turn
        self._failed = failed
        self._ended = ended
        self._backoff = backoff
        self._thread: threading.Thread | None = None
        self._abandoned = False
        self._starting = threading.Lock()  # or two who try at once would start two

    def start(self) -> bool:
        """Start the thread, unless it was started before.

        Returns:
            False where the system has no more threads now; the next call tries again. A thread that
            has run and died is not started again: what killed it is unknown, so its guard stays
            closed, and `health()` says so.
        """
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self.run, name=f"golive-{self.name}", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return False
                self._thread = thread
        return True

    def run(self) -> None:
        """Take turns until `end`; for whoever brings a thread of their own."""
        _run.add(self)
        try:
            while not self.closing.is_set():
                try:
                    self._turn()
                    self._backoff.reset()
                except Exception as error:  # noqa: BLE001  (whatever it is, the thread goes on)
                    self.check()
                    in_order([partial(self._failed, error)])
                    self.closing.wait(self._backoff.next_s())
            self.check()
            in_order([self._ended])
        except AbandonedError:
            pass

    def check(self) -> None:
        """End here in a forked child, where a greenlet (gevent, eventlet) goes on in mid-turn.

        Called whenever something was waited for: what has come is the parent's, which does it, too.

        Raises:
            AbandonedError: This is such a child.
        """
        if self._abandoned:
            raise AbandonedError

    def is_alive(self) -> bool:
        """Tell whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def is_current(self) -> bool:
        """Tell whether it is this thread that asks."""
        return self._thread is threading.current_thread()

    def end(self, within_s: float) -> None:
        """Tell the thread to end and wait so long for it; it closes what it owns by itself."""
        self.closing.set()
        self.join(within_s)

    def join(self, within_s: float) -> None:
        """Wait so long for the thread to end by itself."""
        if self._thread is not None and not self.is_current():
            self._thread.join(within_s)

    def abandon(self) -> None:
        """In a forked child, where the thread does not run: no part of it is waited for.

        A greenlet that goes on there ends at its next `check`, without another word: `ended` would say
        goodbye for the parent.
        """
        self._abandoned = True
        self.closing = threading.Event()  # the parent's may be locked for ever in here
        self.closing.set()


def in_order(steps: list[Step], failed: Failed = lambda _: None) -> None:
    """Take each step, whatever the one before did.

    Args:
        steps: Each may raise.
        failed: Told what a step raised; what this raises in its turn is dropped.
    """
    for step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001  (it is told, and the next step follows)
            try:  # noqa: SIM105  (contextlib.suppress would hide what is meant)
                failed(error)
            except Exception:  # noqa: BLE001, S110  (nobody is left to tell)
                pass


def _in_child() -> None:
    for loop in list(_run):
        loop.abandon()


os.register_at_fork(after_in_child=_in_child)
