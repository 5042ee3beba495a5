"""The same event through other systems: trading is off, and the last of 100 clients knows it.

Each system runs on loopback as its documentation shows, with 100 clients in 10 processes; the rounds
of all are taken in turns with a bare redis-py subscriber in the same layout. For golive the clients
are guards, armed and reading, and the event is the real `Revoke`, from its PUBLISH on. Run by hand:

    pip install -r benchmarks/comparison/requirements.txt
    PYTHONPATH=benchmarks python -P -m comparison.compare [--rounds N] [--only etcd,nats_kv] [--json]
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lab
from bench_propagation import PAYLOAD, stamped_publish
from layout import SLOWER, Fleet, Rounds, fleet, rows
from rival import Rival, rival

from golive_redis.testing.server import EmbeddedServer

from . import servers

COUNT = 100
WATCHERS = Path(__file__).with_name("watchers.py")


class System:
    """One system: where its clients connect, how trading goes on, and how it goes off.

    `off` returns the instant (ns) right before the event was sent.
    """

    def __init__(self, where: str, on: Callable[[], None], off: Callable[[], int]) -> None:
        self.where, self.on, self.off = where, on, off


def stamped(step: Callable[[], object]) -> Callable[[], int]:
    def off() -> int:
        sent = time.monotonic_ns()
        step()
        return sent

    return off


@contextmanager
def etcd() -> Iterator[System]:
    from etcd_client import Client

    with servers.etcd() as where, Loop() as loop:
        channel = loop.run(lambda: Client([where]).connect().__aenter__())
        yield System(
            where,
            lambda: loop.run(lambda: channel.put(b"golive", b"on")),
            stamped(lambda: loop.run(lambda: channel.delete(b"golive"))),
        )


@contextmanager
def nats_kv() -> Iterator[System]:
    import nats

    with servers.nats() as where, Loop() as loop:
        connection = loop.run(lambda: nats.connect(where))
        bucket = loop.run(lambda: connection.jetstream().create_key_value(bucket="golive"))
        yield System(
            where,
            lambda: loop.run(lambda: bucket.put("active", b"on")),
            stamped(lambda: loop.run(lambda: bucket.delete("active"))),
        )
        loop.run(connection.close)


@contextmanager
def postgres() -> Iterator[System]:
    import psycopg

    with servers.postgres() as where, psycopg.connect(where, autocommit=True) as connection:
        yield System(
            where, lambda: None, stamped(lambda: connection.execute("NOTIFY golive, 'off'"))
        )


@contextmanager
def polling() -> Iterator[System]:
    with EmbeddedServer() as server:
        client = server.client()

        def on() -> None:
            client.set("polled", "on")
            time.sleep(1.0)  # everybody has seen it

        yield System(str(server.port), on, stamped(lambda: client.delete("polled")))


@contextmanager
def marker_file() -> Iterator[System]:
    with TemporaryDirectory(prefix="golive-marker-") as folder:
        path = Path(folder) / "GO_LIVE"
        yield System(str(path), path.touch, stamped(path.unlink))


@contextmanager
def smartswitch() -> Iterator[System]:
    with rival() as switch:
        halted: list[bool] = []

        def on() -> None:
            if halted:
                switch.vote("resume")
                time.sleep(2.5)  # two polls

        def off() -> int:
            halted.append(True)
            return votes(switch)

        yield System(json.dumps([switch.url, switch.token, switch.fleet]), on, off)


def votes(switch: Rival) -> int:
    sent = time.monotonic_ns()
    switch.vote("halt")
    return sent


class Loop:
    """An event loop for clients that have nothing else."""

    def __enter__(self) -> Loop:
        self._runner = asyncio.Runner()
        return self

    def run(self, step: Callable[[], Awaitable[Any]]) -> Any:
        async def awaited() -> Any:
            return await step()  # made in here, because some clients look for the loop at once

        return self._runner.run(awaited())

    def __exit__(self, *_: object) -> None:
        self._runner.close()


SYSTEMS = (etcd, nats_kv, postgres, polling, marker_file, smartswitch)


def measured(bare: Callable[[], list[float]], system: System, crew: Fleet, rounds: int) -> tuple:
    floor: Rounds = []
    theirs: Rounds = []
    for number in range(rounds + 1):
        system.on()
        crew.noted(0, 0)
        floor.append(bare())
        time.sleep(0.1 + number % 10 * 0.03)  # not in step with who polls
        sent = system.off()
        theirs.append(crew.noted(sent, COUNT))
    return floor[1:], theirs[1:]


def main() -> None:
    rounds = int(lab.option("--rounds") or 20)
    only = (lab.option("--only") or ",".join(["golive", *(s.__name__ for s in SYSTEMS)])).split(",")
    table: list[lab.Row] = []
    with ExitStack() as stack:
        switch = stack.enter_context(lab.switch(SLOWER))
        client = switch.server.client()
        port = str(switch.server.port)
        subscribers = stack.enter_context(fleet("subscribers", COUNT, port, "floor"))

        def bare() -> list[float]:
            sent = time.monotonic_ns()
            client.publish("floor", PAYLOAD)
            return subscribers.noted(sent, COUNT)

        for make in SYSTEMS:
            if make.__name__ not in only:
                continue
            with make() as system:
                role = make.__name__
                with fleet(role, COUNT, system.where, script=WATCHERS) as crew:
                    found = measured(bare, system, crew, rounds)
            table += rows(role, COUNT, *found, None)
        if "golive" in only:
            guards = stack.enter_context(fleet("guards", COUNT, str(switch.path)))
            sent = stack.enter_context(stamped_publish())

            def off() -> int:
                sent.clear()
                switch.revoke()
                return sent[0]

            found = measured(bare, System("", switch.activate, off), guards, rounds)
            table += rows("golive", COUNT, *found, None)
    lab.report(f"off -> {COUNT} clients know it (floor: bare redis-py subscribers)", table)


if __name__ == "__main__":
    main()
