"""Clients of other systems that note when they learn that trading is off; see compare.py.

Started by layout.py, and driven like fleet.py: each line on stdin is answered with the instants
(CLOCK_MONOTONIC, ns) that were noted since the last one. Each client uses its system as that system's
own documentation shows, and gets no work but this.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic_ns

stamps: list[int] = []


def note() -> None:
    stamps.append(monotonic_ns())


def etcd(where: str, count: int, _first: int) -> None:
    """One watch each, over one gRPC channel each."""
    from etcd_client import Client, WatchEventType

    async def watch() -> None:
        async with Client([where]).connect() as channel:
            ready()
            async for event in channel.watch(b"golive"):
                if event.event == WatchEventType.DELETE:
                    note()

    tasks(count, watch)


def nats_kv(where: str, count: int, _first: int) -> None:
    """One connection and one watcher of the bucket each."""
    import nats

    async def watch() -> None:
        connection = await nats.connect(where)
        bucket = await connection.jetstream().key_value("golive")
        watcher = await bucket.watch("active")
        ready()
        async for entry in watcher:
            if entry is not None and entry.operation == "DEL":
                note()

    tasks(count, watch)


def postgres(where: str, count: int, _first: int) -> None:
    """One connection and one thread each, in `notifies`, as psycopg's manual has it."""
    import psycopg

    def listen() -> None:
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute("LISTEN golive")
            ready()
            for _ in connection.notifies():
                note()

    threads(count, listen)


def polling(where: str, count: int, _first: int) -> None:
    """A GET each half second, like the guards' own reads without any push."""
    import redis

    def poll() -> None:
        client = redis.Redis(port=int(where))
        was = client.get("polled")
        ready()
        while True:
            time.sleep(0.5)
            now = client.get("polled")
            if was and not now:
                note()
            was = now

    threads(count, poll)


def marker_file(where: str, count: int, _first: int) -> None:
    """inotify on the folder of a marker file."""
    from inotify_simple import INotify, flags

    def watch() -> None:
        inotify = INotify()
        inotify.add_watch(str(Path(where).parent), flags.DELETE)
        ready()
        while True:
            for event in inotify.read():
                if event.name == Path(where).name:
                    note()

    threads(count, watch)


def smartswitch(where: str, count: int, first: int) -> None:
    """Agents that poll their coordinator each second, which is their default."""
    import logging

    from sf_smartswitch.agent import Agent

    logging.getLogger("sf_smartswitch").setLevel(logging.CRITICAL)
    url, token, fleet = json.loads(where)
    running: set[str] = set()

    def changed(name: str) -> Callable[[dict[str, object]], None]:
        def told(status: dict[str, object]) -> None:
            if status["run"]:
                running.add(name)
            elif name in running:
                running.discard(name)
                note()

        return told

    agents = [
        Agent(url, token, fleet, name, on_change=changed(name)).start()
        for name in (f"agent-{first + n}" for n in range(count))
    ]
    while not all(agent.may_run() for agent in agents):
        time.sleep(0.05)
    for _ in agents:
        ready()


# -- the frame ---------------------------------------------------------------------------------------

_ready = threading.Semaphore(0)
ready = _ready.release


def threads(count: int, watch: Callable[[], None]) -> None:
    for _ in range(count):
        threading.Thread(target=watch, daemon=True).start()


def tasks(count: int, watch: Callable[[], Awaitable[None]]) -> None:
    async def all_of_them() -> None:
        await asyncio.gather(*(watch() for _ in range(count)))

    threading.Thread(target=lambda: asyncio.run(all_of_them()), daemon=True).start()


def main(role: str, where: str, count: str, first: str, *_options: str) -> None:
    roles = (etcd, nats_kv, postgres, polling, marker_file, smartswitch)
    {each.__name__: each for each in roles}[role](where, int(count), int(first))
    for _ in range(int(count)):
        _ready.acquire()
    print("ready", flush=True)
    for _ in sys.stdin:
        taken = stamps[:]
        print(json.dumps(taken), flush=True)
        del stamps[: len(taken)]
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
