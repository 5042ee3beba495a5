"""A question that is answered on a thread of its own.

Neither a driver nor a person can be interrupted; who waits for them can go on, and look again later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Asked(Generic[T]):
    """One step that may hang, begun at once.

    The thread is a daemon: a step that never ends keeps no process from ending.

    Args:
        step: Answers, or raises.
    """

    def __init__(self, step: Callable[[], T]) -> None:
        self._step = step
        self._done = threading.Event()
        self._answers: list[T] = []
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="golive-signer", daemon=True).start()

    def _run(self) -> None:
        try:
            self._answers.append(self._step())
        except BaseException as error:  # noqa: BLE001  (raised again by `answer`)
            self._error = error
        finally:
            self._done.set()

    def is_answered(self, timeout_s: float) -> bool:
        """Wait so long at most, and tell whether there is an answer or an error."""
        return self._done.wait(max(0.0, timeout_s))

    def answer(self) -> T:
        """Return the answer, or raise what the step raised; only once it is answered."""
        if self._error is not None:
            raise self._error
        return self._answers[0]
