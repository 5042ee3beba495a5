"""The ways in which people run Python workers: each arms, stops, and leaves with a goodbye at SIGTERM.

Each is run as its page has it: docs/how-to/run-workers.md.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from golive_cli.fleetboard import worker_rows
from golive_redis.testing.server import EmbeddedServer

from ..docs.pages import BLOCK, ROOT, table

PAGE = ROOT / "docs" / "how-to" / "run-workers.md"
# Of these two processes have a guard, of the others one.
POOLS = {"fork", "spawn", "ProcessPoolExecutor", "Celery"}
# What the page leaves to whoever runs it.
CHOSEN = {"BROKER": "memory://", "GUNICORN_CMD_ARGS": "-b 127.0.0.1:0", "UVICORN_PORT": "0"}
# To be signalled, a process has to be named without a shell.
BIN = Path(sys.executable).parent


class Way(NamedTuple):
    """How the page says to run a worker: the files, and the command."""

    files: dict[str, str]
    command: str

    def count(self, name: str) -> int:
        """Return how many processes have a guard."""
        return 2 if name in POOLS or name.startswith("gunicorn") else 1


def ways() -> dict[str, Way]:
    """Read the page: below a heading, the files and a command for each way that it names."""
    found: dict[str, Way] = {}
    heads = list(re.finditer(r"^## (.+)$", BLOCK.sub(_blank, PAGE.read_text()), re.MULTILINE))
    text = PAGE.read_text()
    for head, after in zip(heads, [*(head.start() for head in heads[1:]), len(text)], strict=True):
        files: dict[str, str] = {}
        commands: list[str] = []
        for block in BLOCK.finditer(text, head.end(), after):
            if block[2] == "sh":
                commands += block[3].splitlines()
            else:
                files[block[3].splitlines()[0].removeprefix("# ")] = block[3]
        for name, command in zip(head[1].split(", "), commands, strict=True):
            found[name] = Way(files, command)
    return found


def _blank(block: re.Match[str]) -> str:
    return " " * len(block[0])  # a comment in Python looks like a heading


WAYS = ways()


class Run:
    """A worker that was started, and what it has logged."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def states(self, live: Any) -> list[str]:
        """What the workers on the roster say of themselves."""
        assert self.process.poll() is None, self.log()
        return [row.state for row in live.status().workers if row.alive]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[[Way, Path], Run]]:
    """Start a worker in a folder of its own; all of its processes are killed in the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(way: Way, config: Path) -> Run:
        for name, text in way.files.items():
            (tmp_path / name).write_text(text)
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                shlex.split(way.command),
                cwd=tmp_path,
                env={**os.environ, **CHOSEN, "GOLIVE_CONFIG": str(config), "PATH": path},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        started.append(process)
        return Run(process, tmp_path / "log")

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        assert process.stdin is not None
        process.stdin.close()


def test_the_matrix_of_the_page_has_a_row_for_each_way_and_each_is_run() -> None:
    rows = table(PAGE.read_text(), "Run workers")
    assert [row[0] for row in rows] == list(WAYS)
    assert len(WAYS) == 13
    assert {tuple(row[1:4]) for row in rows} == {("yes", "yes", "yes")}
    assert {row[0] for row in rows if row[4] == "denied and reported"} == set(MISTAKES)


@pytest.mark.parametrize("name", WAYS)
def test_a_worker_arms_stops_and_leaves(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
    begin: Callable[[Way, Path], Run],
    name: str,
) -> None:
    """Each as the page has it."""
    way, live = WAYS[name], fleet(own_server)
    count = way.count(name)
    live.start_heartbeat("hb-1", wait=False)
    run = begin(way, live.path)
    wait_for(lambda: len(run.states(live)) == count, what="they register")
    live.activate()
    wait_for(lambda: run.states(live) == ["armed"] * count, what="they are armed")
    report = live.revoke(config=live.patient)
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")
    assert len(report.outcome.workers) == count
    live.activate()
    wait_for(lambda: run.states(live) == ["armed"] * count, what="they are armed again")
    run.process.terminate()
    run.process.wait(60)
    wait_for(lambda: not live.status().workers, what="all have said goodbye")
    report = live.revoke(config=live.patient)
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts"), "none is missed"


# What people write by mistake: the guard is opened before the fork, and each child asks it twice.
ASKS = "assert guard.check().reason == guard.check().reason == 'forked'"
OPENED = "from golive_redis import Guard\nguard = Guard.open(worker='pod-1')\n"
MISTAKES = {
    "fork": Way(
        {
            "bot.py": f"""
import os, time
{OPENED}
for _ in range(2):
    if os.fork() == 0:
        {ASKS}
        time.sleep(600)
time.sleep(600)
"""
        },
        "python bot.py",
    ),
    "ProcessPoolExecutor": Way(
        {
            "bot.py": f"""
import multiprocessing, time
from concurrent.futures import ProcessPoolExecutor
{OPENED}
def begin():
    {ASKS}
pool = ProcessPoolExecutor(2, multiprocessing.get_context("fork"), begin)
for _ in range(2):
    pool.submit(time.sleep, 600)
time.sleep(600)
"""
        },
        "python bot.py",
    ),
    "gunicorn --preload": Way(
        {
            "app.py": f"{OPENED}\ndef app(environ, start_response): ...",
            "gunicorn.conf.py": f"def post_worker_init(worker):\n    from app import guard\n    {ASKS}",
        },
        "gunicorn -w 2 --preload app:app",
    ),
    **{
        name: Way(
            {
                "bot.py": f"""
import {name}
{patch}
import os
{OPENED}
for _ in range(2):
    if os.fork() == 0:
        {ASKS}
        {name}.sleep(600)
{name}.sleep(600)
"""
            },
            "python bot.py",
        )
        for name, patch in {
            "gevent": "from gevent import monkey; monkey.patch_all()",
            "eventlet": "eventlet.monkey_patch()",
        }.items()
    },
    "Celery": Way(
        {
            "tasks.py": f"""
from celery import Celery
from celery.signals import worker_process_init
{OPENED}
app = Celery("tasks", broker="memory://")
@worker_process_init.connect(weak=False)
def begin(**_):
    {ASKS}
"""
        },
        "celery -A tasks worker -P prefork -c 2",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_child_that_asks_the_guard_of_its_parent_is_denied_and_reported(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
    begin: Callable[[Way, Path], Run],
    name: str,
) -> None:
    """Rows 32 and 118. Its parent looks well, and nothing would be traded."""
    live = fleet(own_server)
    receipts = live.raw.pubsub()
    receipts.subscribe("golive:receipts")
    run = begin(MISTAKES[name], live.path)

    def forked() -> list[int]:
        run.states(live)  # it lives
        return [row.forked for row in live.status().workers]

    wait_for(lambda: forked() == [2], what="both children are reported")
    said = "the guard of pod-1 was opened in process"
    wait_for(lambda: run.log().count(said) == 2, what="each has said so")
    told = "2 forked children were denied, for the guard of pod-1 is their parent's"
    found = live.status()
    assert [line for line in found.problems if line.startswith(told)], found
    assert worker_rows(found.workers)[0][-1].endswith("forked children denied: 2")
    wait_for(lambda: forked() == [2], what="they are counted once")
    assert run.log().count(said) == 2, "once each, though each has asked twice"
    heard = iter(receipts.get_message, None)
    assert [item["type"] for item in heard] == ["subscribe"], "no goodbye in the parent's name"
    receipts.close()
