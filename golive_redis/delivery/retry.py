"""Trying again, off the kill path: a bound on the tries, jitter, and only what may happen twice.

The loop is tenacity's, imported at the first use and not above, for that costs 30 ms. Grants come here
when the ledger's head has moved or no answer came, and so do the notes of triggers. A stop and a
worker never do, and import contracts say so: a stop repeats itself until it is confirmed. A guard and
a heartbeat ask at a fixed rate, which is their retry: with it they connect again, send receipts and
empty the spool. Nor do `append` and a halt: each of their tries goes on top of what somebody else has
put there meanwhile. They are bounded by their number. A halt does not wait, for it must not; `append`
comes after the effect, and waits a little from the fourth try on (`append.pause`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

FIRST_WAIT_S = 0.02
MOST_WAIT_S = 1.0

_T = TypeVar("_T")


def retried(step: Callable[[], _T], *, again: type[Exception], tries: int) -> _T:
    """Call `step` until it returns, or raises something else than `again`.

    It waits for a random time of up to 20 ms, then 40 ms and so on, at most a second, so that two who
    collide do not collide again. In all: at most `tries` times what the step takes, plus a second each.

    Args:
        step: Idempotent: it recognises that it was done before.
        again: What it raises to be called again.
        tries: How often it is called at most.

    Raises:
        Exception: What the last call raised. Fails closed: nothing is taken for done.
    """
    from tenacity import (  # noqa: PLC0415  (see above)
        Retrying,
        retry_if_exception_type,
        stop_after_attempt,
        wait_random_exponential,
    )

    return Retrying(
        retry=retry_if_exception_type(again),
        stop=stop_after_attempt(tries),
        wait=wait_random_exponential(multiplier=FIRST_WAIT_S, max=MOST_WAIT_S),
        sleep=time.sleep,
        reraise=True,
    )(step)
