"""The ways in which people run Python workers: each arms, stops, and leaves with a goodbye at SIGTERM.

A page has the same rows: docs/how-to/run-workers.md.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from golive_redis.testing.server import EmbeddedServer

PLAIN = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
"""
TRADE = """
def trade(guard):
    while True:
        guard.allows(symbol="BTC")
        time.sleep(0.01)
"""
WEB = """
from golive_redis import Guard

guard = None

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"yes" if guard.allows() else b"no"]
"""
HOOKS = """
def post_fork(server, worker):
    import app
    from golive_redis import Guard
    app.guard = Guard.open(worker="pod-1")

def worker_exit(server, worker):
    import app
    app.guard.close()
"""
ASGI = """
import asyncio
from contextlib import asynccontextmanager
from golive_redis import Guard

async def app(scope, receive, send):
    if scope["type"] != "lifespan":
        return
    await receive()
    guard = await asyncio.to_thread(Guard.open, worker="pod-1")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.to_thread(guard.close)
    await send({"type": "lifespan.shutdown.complete"})
"""
CELERY = """
from celery import Celery
from celery.signals import worker_process_init, worker_process_shutdown
from golive_redis import Guard

app = Celery("tasks", broker="memory://")
guard = None

@worker_process_init.connect(weak=False)
def begin(**_):
    global guard
    guard = Guard.open(worker="pod-1")

@worker_process_shutdown.connect(weak=False)
def end(**_):
    guard.close()
"""
GREEN = """
import {name}
{patch}
import signal, sys
from golive_redis import Guard

with Guard.open(worker="pod-1") as guard:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    while True:
        guard.allows(symbol="BTC")
        {name}.sleep(0.01)
"""
PYTHON = [sys.executable]
BIN = Path(sys.executable).parent
GUNICORN = [str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", "-b", "127.0.0.1:0", "app:app"]

# The files, the command, and how many processes are guarded.
WAYS: dict[str, tuple[dict[str, str], list[str], int]] = {
    "threads": (
        {
            "bot.py": PLAIN
            + TRADE
            + """
import threading
from golive_redis import Guard
guard = Guard.open(worker="pod-1")
for _ in range(4):
    threading.Thread(target=trade, args=(guard,), daemon=True).start()
time.sleep(600)
"""
        },
        [*PYTHON, "bot.py"],
        1,
    ),
    "asyncio": (
        {
            "bot.py": """
import asyncio, signal
from contextlib import suppress
from golive_redis import Guard

async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    guard = await asyncio.to_thread(Guard.open, worker="pod-1")
    try:
        while True:
            guard.allows(symbol="BTC")
            await asyncio.sleep(0.01)
    finally:
        await asyncio.to_thread(guard.close)

with suppress(asyncio.CancelledError):
    asyncio.run(main())
"""
        },
        [*PYTHON, "bot.py"],
        1,
    ),
    **{
        way: (
            {
                "bot.py": TRADE
                + f"""
import multiprocessing, signal, sys, time
from golive_redis import Guard

def work():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    trade(Guard.open(worker="pod-1"))

if __name__ == "__main__":
    children = [multiprocessing.get_context("{way}").Process(target=work) for _ in range(2)]
    def end(*_):
        for child in children:
            child.terminate()
    for child in children:
        child.start()
    signal.signal(signal.SIGTERM, end)
    for child in children:
        child.join()
"""
            },
            [*PYTHON, "bot.py"],
            2,
        )
        for way in ("fork", "spawn")
    },
    "ProcessPoolExecutor": (
        {
            "bot.py": """
import signal, sys, time
from concurrent.futures import ProcessPoolExecutor
from golive_redis import Guard

def begin():
    global guard
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the pool ends its processes
    guard = Guard.open(worker="pod-1")

def task(_):
    time.sleep(0.2)
    return guard.allows()

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with ProcessPoolExecutor(2, initializer=begin) as pool:
        while True:
            list(pool.map(task, range(2)))
"""
        },
        [*PYTHON, "bot.py"],
        2,
    ),
    "gunicorn": ({"app.py": WEB, "gunicorn.conf.py": HOOKS}, [*GUNICORN, "-w", "2"], 2),
    "gunicorn --preload": (
        {"app.py": WEB, "gunicorn.conf.py": HOOKS},
        [*GUNICORN, "-w", "2", "--preload"],
        2,
    ),
    "uvicorn": ({"app.py": ASGI}, [str(BIN / "uvicorn"), "--port", "0", "app:app"], 1),
    "celery": (
        {"tasks.py": CELERY},
        [str(BIN / "celery"), "-A", "tasks", "worker", "-P", "prefork", "-c", "2"],
        2,
    ),
    "gevent": (
        {
            "bot.py": GREEN.format(
                name="gevent", patch="from gevent import monkey; monkey.patch_all()"
            )
        },
        [*PYTHON, "bot.py"],
        1,
    ),
    "eventlet": (
        {"bot.py": GREEN.format(name="eventlet", patch="eventlet.monkey_patch()")},
        [*PYTHON, "bot.py"],
        1,
    ),
    "REPL": (
        {
            "startup.py": PLAIN
            + """
from golive_redis import Guard
guard = Guard.open(worker="pod-1")
"""
        },
        [*PYTHON, "-i", "startup.py"],
        1,
    ),
}


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a program in a folder of its own; its group is killed in the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(way: str, config: Path) -> subprocess.Popen[bytes]:
        files, command, _ = WAYS[way]
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=tmp_path,
                env={**os.environ, "GOLIVE_CONFIG": str(config), "PYTHONPATH": str(tmp_path)},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait(60)
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_worker_arms_stops_and_leaves(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
    begin: Callable[..., subprocess.Popen[bytes]],
    tmp_path: Path,
    way: str,
) -> None:
    """Each as the page has it."""
    live = fleet(own_server)
    live.start_heartbeat("hb-1")
    process, count = begin(way, live.path), WAYS[way][2]

    def states() -> list[str]:
        if process.poll() is not None:
            pytest.fail((tmp_path / "log").read_text("utf-8", "replace"))
        return [row.state for row in live.status().workers if row.alive]

    wait_for(lambda: len(states()) == count, what="they register")
    live.activate()
    wait_for(lambda: states() == ["armed"] * count, what="they are armed")
    report = live.revoke(config=live.patient)
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")
    live.activate()
    wait_for(lambda: states() == ["armed"] * count, what="they are armed again")
    process.terminate()
    process.wait(60)
    wait_for(lambda: not live.status().workers, what="all have said goodbye")
    report = live.revoke(config=live.patient)
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")
