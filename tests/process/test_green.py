"""gevent and eventlet: threads that are none, on sockets that never wait in the kernel.

A page has what to write: docs/how-to/run-workers.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from golive_redis import clock
from golive_redis.testing.server import EmbeddedServer

from ..contract.certificates import issue

PATCHES = {
    "gevent": "import gevent; from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
# Tells each change, with the instant of the newest permit before it.
BOT = """
import json, sys
from golive_redis import Guard
from golive_redis.clock import now_ns

with Guard.open(worker="pod-1") as guard:
    before, permit_ns = None, 0
    while True:
        at_ns = now_ns()
        allowed = guard.allows(symbol="BTCUSDT")
        if allowed != before:
            before = allowed
            print(json.dumps([allowed, permit_ns]), flush=True)
        permit_ns = at_ns if allowed else permit_ns
        {name}.sleep(0.002)
"""


class Green:
    """A worker of that library, and what it has told."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._folder = folder

    def states(self) -> list[tuple[bool, int]]:
        """Every change so far: whether it permits orders, and the instant of the newest permit."""
        assert self._process.poll() is None, (self._folder / "log").read_text("utf-8")
        lines = (self._folder / "states").read_text("utf-8").splitlines(keepends=True)
        return [tuple(json.loads(line)) for line in lines if line.endswith("\n")]

    def permits(self) -> bool:
        states = self.states()
        return bool(states) and states[-1][0]


@contextmanager
def bot(name: str, config: Path, folder: Path) -> Iterator[Green]:
    """Run one."""
    program = folder / "bot.py"
    program.write_text(PATCHES[name] + BOT.format(name=name))
    with (folder / "states").open("wb") as out, (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(program)],
            env={**os.environ, "GOLIVE_CONFIG": str(config)},
            stdout=out,
            stderr=log,
        )
    try:
        yield Green(process, folder)
    finally:
        process.kill()
        process.wait(60)


@pytest.mark.parametrize("name", PATCHES)
def test_a_silent_network_is_noticed_and_connected_anew(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    proxy: Callable[..., Any],
    wait_for: Callable[..., None],
    tmp_path: Path,
    name: str,
) -> None:
    """Row 118. No packet says that the connection is gone, and SO_RCVTIMEO bounds nothing there."""
    live, network = fleet(own_server), proxy(own_server)
    live.start_heartbeat("hb-1")
    config = live.write_config(url=network.url)
    with bot(name, config, tmp_path) as green:
        wait_for(green.states, what="it runs")
        live.activate()
        wait_for(green.permits, what="it is armed")

        network.set("deaf")  # of the subscription alone: the reads go on
        before = network.counts()
        wait_for(lambda: network.counts().get("swallowed", 0) > 2, what="no PONG comes through")
        wait_for(
            lambda: network.counts()["accepted"] > before["accepted"], what="it subscribes anew"
        )
        network.set("pass")
        wait_for(lambda: pushed(live), what="it hears pushes again")

        network.set("blackhole")
        silent_ns = clock.now_ns()
        wait_for(lambda: not green.permits(), what="it is closed")
        late_ms = (green.states()[-1][1] - silent_ns) / clock.NS_PER_MS
        assert late_ms <= live.timers.lease_ms
        before = network.counts()
        wait_for(
            lambda: network.counts()["accepted"] >= before["accepted"] + 3,
            what="each of its three connections is made anew",
        )
        network.set("pass")
        wait_for(green.permits, what="it is armed again")
        wait_for(lambda: pushed(live), what="it hears pushes once more")
        report = live.revoke(config=live.patient)
        assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")
        wait_for(lambda: not green.permits(), what="it has told its denial")


@pytest.mark.parametrize("name", PATCHES)
def test_a_program_that_patches_too_late_is_refused(
    fleet: Callable[..., Any], own_server: EmbeddedServer, name: str
) -> None:
    """Half of the threads would wait in the kernel, and the whole process with them, for ever."""
    live = fleet(own_server)
    late = f"import golive_redis.guard.guard\n{PATCHES[name]}\n"
    done = run(f"{late}golive_redis.Guard.open({str(live.path)!r}, worker='pod-1')")
    assert done.returncode == 1
    assert "ConfigError: the standard library was patched (by gevent or eventlet)" in done.stderr


# A listener's wait, of which the mutants would otherwise wait for a minute.
LISTENER = """
from golive_redis.store.connect import Address
from golive_redis.store.link import timed_socket
from golive_redis.store.sockets import TimedSocket

assert not TimedSocket.BLOCKS, "it would wait for ever"
link = Address({url!r}, ca={ca!r}).link(timeout_ms=10_000)
assert link.call("PING") == b"PONG"
assert timed_socket(link._connection) is not None, "a step would have no deadline"
assert link.receive(100) is None
assert link.call("PING") == b"PONG"
link.close()
"""


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("name", PATCHES)
def test_a_listener_waits_no_longer_than_it_is_told(
    own_server: EmbeddedServer, proxy: Callable[..., Any], tmp_path: Path, name: str, tls: bool
) -> None:
    """Row 118. And the next question finds no late answer; the same over TLS."""
    url, ca = own_server.url, None
    if tls:
        authority = issue("ca", None)
        ca, _ = authority.write(tmp_path, "ca")
        pair = issue("redis", authority, hosts=("127.0.0.1",))
        url = proxy(own_server, *pair.write(tmp_path, "redis")).url
    done = run(f"{PATCHES[name]}\n{LISTENER.format(url=url, ca=ca)}")
    assert done.returncode == 0, done.stderr


def run(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, also one in which no other thread gets a turn."""
    argv = [sys.executable, "-c", f"import signal; signal.alarm(30)\n{program}"]
    return subprocess.run(argv, stderr=subprocess.PIPE, text=True, check=False, timeout=120)


def pushed(live: Any) -> bool:
    """Tell whether the worker is subscribed, as its presence says."""
    return [row.push for row in live.status().workers if row.alive] == ["tracking"]
