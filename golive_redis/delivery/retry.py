"""Trying again, off the kill path: a total bound, jitter, and only what may happen twice.

The loop is tenacity's. It is imported at the first use and not above, for that costs 30 ms. A stop and a
worker never come here, and import contracts say so: a stop repeats itself until it is confirmed. A guard
and a heartbeat ask at a fixed rate, which is their retry; with it they connect again, send receipts and
empty the spool. Nor does what follows a moved head or another's directive (`append`, a halt): it is not
the same step again but another record, signed or chained on what came first, and each such try means
that somebody else has got on. It is bounded by its number of tries and does not wait: a halt must not.
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
