"""From the publishing of a revocation to guards that are closed, in other processes.

N guards in min(N, 10) processes, each with its threads, against N bare redis-py subscribers in the
same layout, which only note that a message of the same size came. Each round activates, waits
until all are armed, lets the floor's message out, and runs the real `Revoke`, whose PUBLISH starts
the clock. Then the same up to 10 guards with a thread in each process that decides without a pause,
and up to the last `drained` receipt, whose floor is that each subscriber publishes an answer.

    python benchmarks/bench_propagation.py [--json] [--rounds N] [--only 1,10,100,500]
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import lab
import redis
from layout import Fleet, Rounds, fleet, lasts, rows, timing

from golive_redis.store.keyspace import Keyspace
from golive_redis.store.store import Store

ROUNDS = {1: 60, 10: 60, 100: 30, 500: 6}
BUSY = (1, 10)
SWITCH_MS = (5.0, 0.5)  # Python's own interval, and a shorter one
PAYLOAD = b"x" * 700  # about what a signed revocation weighs
KEYS = Keyspace("golive")
# On a core that several processes share, the last waits for what each of the others does on top of the
# floor: reading the record and closing, about 0.1 ms. Ten on two cores are five in a row.
LIMIT = 2.0
# With more guards on a core their reads time out before they are answered, each connects anew, and
# that costs more than the reads: 500 on two cores never arm. In production each pod has a core's share.
GUARDS_A_CORE = 60
# Verifying, signing twice and connecting cost milliseconds, where the floor only answers. A limit of
# the median: a receipt may come after the whole wait of 30 ms.
RECEIPT_LIMITS = {1: 8.0, 10: 12.0}


class Measured(NamedTuple):
    """Delays in ms of each round."""

    alone: Rounds  # subscribers with no guard running
    beside: Rounds  # subscribers beside armed guards: the floor
    closed: Rounds
    answered: Rounds  # subscribers that answer
    drained: Rounds


class Ear:
    """Listens on a channel and stamps what came."""

    def __init__(self, client: redis.Redis, channel: str) -> None:
        self._pubsub = client.pubsub()
        self._pubsub.subscribe(channel)
        self._pubsub.get_message(timeout=10)
        self._heard: list[tuple[int, bytes]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(redis.RedisError, ValueError):  # until this layout ends
            for message in self._pubsub.listen():
                if message["type"] == "message":
                    self._heard.append((time.monotonic_ns(), message["data"]))

    def take(self, expected: int, counts: Callable[[bytes], bool] = lambda _: True) -> list[int]:
        """Return the instants of so many messages that count, and forget all that came."""
        for _ in range(200):
            stamps = [at for at, data in self._heard if counts(data)]
            if len(stamps) >= expected:
                self._heard.clear()
                return stamps
            time.sleep(0.05)
        raise lab.NotMeasuredError(f"{len(stamps)} of {expected} answers within 10 s")


def from_a_drained_worker(receipt: bytes) -> bool:
    payload = json.loads(base64.b64decode(json.loads(receipt)["payload"]))
    return payload["stage"] == "drained" and payload["worker"] is not None


@contextmanager
def stamped_publish() -> Iterator[list[int]]:
    """Note when `Revoke` publishes: what comes before (connect, read, sign) is not propagation."""
    stamps: list[int] = []
    publish = Store.publish

    def stamped(self: Store, channel: str, message: bytes):
        stamps.append(time.monotonic_ns())
        return publish(self, channel, message)

    Store.publish = stamped  # type: ignore[method-assign]
    try:
        yield stamps
    finally:
        Store.publish = publish  # type: ignore[method-assign]


def measure(count: int, rounds: int, *, busy: bool = False, switch_ms: float = 5.0) -> Measured:
    out = Measured([], [], [], [], [])
    with ExitStack() as stack:
        switch = stack.enter_context(lab.switch(timing(count)))
        client = switch.server.client(socket_timeout=None)
        port, options = str(switch.server.port), {"busy": busy, "switch_ms": switch_ms}

        def told(to: Fleet, channel: str) -> list[float]:
            sent = time.monotonic_ns()
            client.publish(channel, PAYLOAD)
            return to.noted(sent, count)

        bare = stack.enter_context(fleet("subscribers", count, port, "floor", **options))
        out.alone.extend(told(bare, "floor") for _ in range(rounds))
        echo = stack.enter_context(fleet("subscribers", count, port, "call", "answers", **options))
        answers, receipts = Ear(client, "answers"), Ear(client, KEYS.receipts)
        guards = stack.enter_context(fleet("guards", count, str(switch.path), **options))
        sent = stack.enter_context(stamped_publish())
        for number in range(rounds + 1):
            switch.activate()
            guards.noted(0, 0)
            out.beside.append(told(bare, "floor"))
            now = time.monotonic_ns()
            told(echo, "call")
            out.answered.append([(at - now) / 1e6 for at in answers.take(count)])
            time.sleep(0.1 + number % 10 * 0.01)  # not in step with the reads
            sent.clear()
            switch.revoke()
            out.closed.append(guards.noted(sent[0], count))
            drained = receipts.take(count, from_a_drained_worker)
            out.drained.append([(at - sent[0]) / 1e6 for at in drained])
    return Measured(out.alone, *(side[1:] for side in out[1:]))


def main() -> None:
    asked = lab.option("--rounds")
    only = [int(count) for count in (lab.option("--only") or "1,10,100,500").split(",")]
    table: list[lab.Row] = []
    notes: list[str] = []

    def measured(count: int, rounds: int, **how: Any) -> Measured | None:
        what = " ".join([str(count), *(f"{name}={value}" for name, value in how.items())])
        return lab.tried(notes, what, lambda: measure(count, int(asked or rounds), **how))

    for count in BUSY:
        for switch_ms in SWITCH_MS if count in only else ():
            found = measured(count, 20, busy=True, switch_ms=switch_ms)
            if found is not None:
                what = f"closed, busy, switch {switch_ms:g} ms"
                table += rows(what, count, found.beside, found.closed, None)
    carried = GUARDS_A_CORE * lab.cores()
    for count in only:
        if count > carried:
            notes.append(f"{count}: not tried: the cores of this machine carry {carried} guards")
            continue
        found = measured(count, ROUNDS[count])
        if found is None:
            continue
        table += rows("closed", count, found.beside, found.closed, LIMIT)
        drained = rows(
            "drained receipt", count, found.answered, found.drained, RECEIPT_LIMITS.get(count)
        )
        table += [
            row if row.what.endswith("p50") else row._replace(limit=None)
            for row in drained
            if "last" in row.what or count == 1
        ]
        p50, p99 = (lab.percentile(lasts(found.alone), rank) for rank in (50, 99))
        notes.append(
            f"{count}: floor with no guard, to the last: p50 {p50:.2f} ms, p99 {p99:.2f} ms"
        )
    lab.report("revocation published -> guard closed, other processes", table, notes)


if __name__ == "__main__":
    main()
