"""The other processes of the benchmarks: a heartbeat, guards, and bare subscribers as their floor.

Started by lab.py. Guards and subscribers answer each line on stdin with one JSON line: the instants
(CLOCK_MONOTONIC, ns, shared by all processes of a machine) at which they closed or got the message.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from time import monotonic_ns


def heartbeat(path: str) -> None:
    from golive_redis import config
    from golive_redis.heartbeat import Heartbeat
    from golive_redis.store.connect import Address

    loaded = config.load(path)
    trust = loaded.trust()
    daemon = Heartbeat(
        name="hb-1",
        trust=trust,
        timing=loaded.policy.timers,
        signer=loaded.signer("heartbeat", trust.keyset),
        address=Address.of(loaded),
        state_dir=None,
        say=lambda _: None,
    )
    signal.signal(signal.SIGTERM, lambda *_: daemon.stop())
    threading.Thread(target=lambda: (daemon.ready.wait(), print("ready", flush=True))).start()
    daemon.run()


def guards(path: str, count: str, first: str) -> None:
    from golive_redis import Guard, config

    loaded = config.load(path)
    stamps: list[int] = []
    opened = [Guard.open(loaded, worker=f"pod-{int(first) + n}") for n in range(int(count))]
    for guard in opened:
        _stamp_closing(guard, stamps)
    _answer(stamps)
    for guard in opened:
        guard.close()


def _stamp_closing(guard, stamps: list[int]) -> None:
    """Stamp when an armed guard has closed. A thread that watched would take the GIL from it."""
    publish = guard.publish

    def stamped(verdict) -> None:
        armed = guard.verdict.deadline_ns
        publish(verdict)
        if armed and not verdict.deadline_ns:
            stamps.append(monotonic_ns())

    guard.publish = stamped


def subscribers(port: str, channel: str, count: str) -> None:
    import redis

    stamps: list[int] = []
    client = redis.Redis(port=int(port), socket_timeout=None)

    def listen(pubsub) -> None:
        for message in pubsub.listen():
            if message["type"] == "message":
                stamps.append(monotonic_ns())  # noqa: PERF401

    for _ in range(int(count)):
        pubsub = client.pubsub()
        pubsub.subscribe(channel)
        pubsub.get_message(timeout=10)  # the confirmation
        threading.Thread(target=listen, args=(pubsub,), daemon=True).start()
    _answer(stamps)
    os._exit(0)  # the listeners are blocked for ever, and would only complain


def _answer(stamps: list[int]) -> None:
    print("ready", flush=True)
    for _ in sys.stdin:
        taken = stamps[:]
        print(json.dumps(taken), flush=True)
        del stamps[: len(taken)]  # and not clear(): one more may have come meanwhile


if __name__ == "__main__":
    {"heartbeat": heartbeat, "guards": guards, "subscribers": subscribers}[sys.argv[1]](
        *sys.argv[2:]
    )
