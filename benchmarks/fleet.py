"""The other processes of the benchmarks: a heartbeat, guards, and bare clients as their floor.

Started by lab.py and layout.py. All but the heartbeat answer each line on stdin with one JSON line:
the instants (CLOCK_MONOTONIC, ns, shared by all processes of a machine) at which they closed, or at
which the message had come.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from time import CLOCK_MONOTONIC, clock_gettime_ns, monotonic_ns


def heartbeat(path: str) -> None:
    from golive_redis.heartbeat.daemon import Heartbeat

    daemon = Heartbeat.open(path, name="hb-1", say=lambda _: None)
    signal.signal(signal.SIGTERM, lambda *_: daemon.stop())
    threading.Thread(target=lambda: (daemon.ready.wait(), print("ready", flush=True))).start()
    daemon.run()


def guards(path: str, count: str, first: str, busy: str, switch_ms: str) -> None:
    from golive_redis import Guard, config

    sys.setswitchinterval(float(switch_ms) / 1000)
    logging.getLogger("golive_redis").setLevel(logging.CRITICAL)  # orders are skipped on purpose
    loaded = config.load(path)
    stamps: list[int] = []
    opened = [Guard.open(loaded, worker=f"pod-{int(first) + n}") for n in range(int(count))]
    for guard in opened:
        _stamp_closing(guard, stamps)
    if busy == "busy":
        _keep_busy(lambda: opened[0].allows(symbol="BTCUSDT", venue="paper"))
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


def _keep_busy(decide) -> None:
    """Decide in a loop, as a strategy that never waits does."""

    def loop() -> None:
        while True:
            decide()

    threading.Thread(target=loop, daemon=True).start()


def subscribers(
    port: str, count: str, first: str, busy: str, switch_ms: str, channel: str, answers: str = ""
) -> None:
    """Bare redis-py subscribers; with `answers` each publishes one in return."""
    import redis

    def listen(pubsub, number: int) -> None:
        back = redis.Redis(port=int(port)) if answers else None
        for message in pubsub.listen():
            if message["type"] == "message":
                stamps.append(monotonic_ns())
                if back is not None:
                    back.publish(answers, message["data"] + b"%d" % number)

    stamps = _bare(busy, switch_ms)
    client = redis.Redis(port=int(port), socket_timeout=None)
    for number in range(int(count)):
        pubsub = client.pubsub()
        pubsub.subscribe(channel)
        pubsub.get_message(timeout=10)  # the confirmation
        _start(listen, pubsub, int(first) + number)
    _answer(stamps)
    os._exit(0)  # the listeners are blocked for ever, and would only complain


def trackers(port: str, count: str, _first: str, busy: str, switch_ms: str, key: str) -> None:
    """Bare subscribers to the invalidations of a key; each reads the key when one comes."""
    import redis

    def listen(pubsub) -> None:
        reader = redis.Redis(port=int(port))
        reader.ping()
        for message in pubsub.listen():
            if message["type"] == "message" and reader.get(key) is None:
                stamps.append(monotonic_ns())

    stamps = _bare(busy, switch_ms)
    client = redis.Redis(port=int(port), socket_timeout=None, protocol=2)
    kept = []
    for _ in range(int(count)):
        pubsub = client.pubsub()
        pubsub.connection = client.connection_pool.get_connection()
        pubsub.connection.send_command("CLIENT", "ID")
        ident = pubsub.connection.read_response()
        pubsub.subscribe("__redis__:invalidate")
        pubsub.get_message(timeout=10)
        tracker = redis.Redis(port=int(port), single_connection_client=True)
        tracker.client_tracking_on(clientid=ident, bcast=True, prefix=[key])
        kept.append(tracker)
        _start(listen, pubsub)
    _answer(stamps)
    os._exit(0)


def weigh_guards(path: str, _count: str, _first: str, _busy: str, _ms: str, more: str) -> None:
    """Answer how much memory this process holds, with so many guards."""
    from golive_redis import Guard, config

    loaded = config.load(path)
    opened = [Guard.open(loaded, worker=f"pod-{n}") for n in range(int(more))]
    _answer_with(lambda: [_resident_bytes()])
    for guard in opened:
        guard.close()


def weigh_subscribers(port: str, _count: str, _first: str, _busy: str, _ms: str, more: str) -> None:
    """The same with bare redis-py subscribers."""
    import redis

    kept = []
    for _ in range(int(more)):
        pubsub = redis.Redis(port=int(port), socket_timeout=None).pubsub()
        pubsub.subscribe("nothing")
        pubsub.get_message(timeout=10)
        _start(lambda pubsub: [None for _ in pubsub.listen()], pubsub)
        kept.append(pubsub)
    _answer_with(lambda: [_resident_bytes()])
    os._exit(0)


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _bare(busy: str, switch_ms: str) -> list[int]:
    sys.setswitchinterval(float(switch_ms) / 1000)
    if busy == "busy":
        until = monotonic_ns() + 3_600 * 10**9
        _keep_busy(lambda: clock_gettime_ns(CLOCK_MONOTONIC) < until)
    return []


def _start(target, *args) -> None:
    threading.Thread(target=target, args=args, daemon=True).start()


def _answer(stamps: list[int]) -> None:
    def taken() -> list[int]:
        out = stamps[:]
        del stamps[: len(out)]  # and not clear(): one more may have come meanwhile
        return out

    _answer_with(taken)


def _answer_with(answer: Callable[[], list[int]]) -> None:
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(answer()), flush=True)


if __name__ == "__main__":
    roles = (heartbeat, guards, subscribers, trackers, weigh_guards, weigh_subscribers)
    {role.__name__: role for role in roles}[sys.argv[1]](*sys.argv[2:])
