"""What a kubelet is told by `golive heartbeat --listen`, and by a worker as the guide writes it."""

from __future__ import annotations

import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import pytest

from golive_redis.testing.freeze import freeze
from golive_redis.testing.server import EmbeddedServer, free_port
from kit.program import Program, Wait

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "how-to" / "guard-your-bot.md"
LISTEN = ("--listen", "127.0.0.1:0")
Start = Callable[..., Program]


class Kubelet:
    """Probes a process, as the kubelet does: one GET, and a time-out."""

    def __init__(self, port: int) -> None:
        self.port = port

    @classmethod
    def of(cls, heartbeat: Program) -> Kubelet:
        """Of a heartbeat, which says where it listens."""
        (line,) = [line for line in heartbeat.lines() if line.startswith("probes: ")]
        urls = [urlsplit(url) for url in line.removeprefix("probes: ").split(" and ")]
        assert [url.path for url in urls] == ["/live", "/ready"]
        assert urls[0].port
        return cls(urls[0].port)

    def get(self, path: str, timeout_s: float = 60) -> tuple[int, str]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            client.request("GET", path)
            answer = client.getresponse()
            return answer.status, answer.read().decode().strip()
        finally:
            client.close()


def test_redis_away_is_not_ready_and_live_all_the_while(
    fleet: Callable[..., Any], own_server: EmbeddedServer, program: Start, wait_for: Wait
) -> None:
    live = fleet(own_server)
    kubelet = Kubelet.of(program(live, *LISTEN))
    assert kubelet.get("/ready") == (200, "ready: nothing is active")
    live.go_live("w-1", heartbeats=())
    wait_for(lambda: kubelet.get("/ready") == (200, "ready: beating for term 1"), what="its beats")

    own_server.kill()
    wait_for(lambda: "cannot reach Redis" in kubelet.get("/ready")[1], what="it notices")
    status, why = kubelet.get("/ready")
    assert (status, why.startswith("not ready: ")) == (503, True), why
    ends = time.monotonic() + 3 * live.timers.beat_every_ms / 1000
    while time.monotonic() < ends:
        assert kubelet.get("/live")[0] == 200
    own_server.restart()
    wait_for(lambda: kubelet.get("/ready")[0] == 200, what="it beats again")


def test_a_heartbeat_whose_beats_are_refused_is_not_ready_until_one_succeeds(
    fleet: Callable[..., Any], any_server: EmbeddedServer, program: Start, wait_for: Wait
) -> None:
    """Somebody has written to a key of ours: no worker gets a beat, though Redis answers."""
    live = fleet(any_server)
    kubelet = Kubelet.of(program(live, *LISTEN))
    live.go_live("w-1", heartbeats=())
    wait_for(lambda: kubelet.get("/ready")[0] == 200, what="its beats")
    live.raw.hset("golive:revoked", "epoch", "999")
    refused = (503, "not ready: beat refused: revoked")
    wait_for(lambda: kubelet.get("/ready") == refused, what="it notices")
    ends = time.monotonic() + 3 * live.timers.beat_every_ms / 1000
    while time.monotonic() < ends:  # also while the next one is under way
        assert kubelet.get("/ready") == refused
    live.raw.hdel("golive:revoked", "epoch")
    wait_for(lambda: kubelet.get("/ready")[0] == 200, what="it beats again")


def test_many_who_connect_and_say_nothing_delay_neither_beats_nor_probes_nor_the_end(
    fleet: Callable[..., Any], any_server: EmbeddedServer, program: Start, wait_for: Wait
) -> None:
    live = fleet(any_server)
    heartbeat = program(live, *LISTEN)
    kubelet = Kubelet.of(heartbeat)
    live.go_live("w-1", heartbeats=())
    with ExitStack() as stack:
        for _ in range(50):
            address = ("127.0.0.1", kubelet.port)
            stack.enter_context(socket.create_connection(address, timeout=60))
        assert kubelet.get("/live")[0] == 200
        heartbeat.await_beats(wait_for)
        assert heartbeat.reload(wait_for).startswith("reloaded: ")
        assert kubelet.get("/ready") == (200, "ready: beating for term 1")
        heartbeat.process.send_signal(signal.SIGTERM)
        assert heartbeat.process.wait(60) == 0
    assert not live.raw.hkeys("golive:heartbeats")


def test_a_process_that_is_stopped_and_a_loop_that_hangs_are_not_live(
    fleet: Callable[..., Any], any_server: EmbeddedServer, program: Start, wait_for: Wait
) -> None:
    live = fleet(any_server)
    heartbeat = program(live, *LISTEN)
    kubelet = Kubelet.of(heartbeat)
    freeze(heartbeat.process.pid)
    with pytest.raises(TimeoutError):
        kubelet.get("/live", timeout_s=1)
    heartbeat.process.send_signal(signal.SIGCONT)
    wait_for(lambda: kubelet.get("/live")[0] == 200, what="it turns again")

    # A disk that hangs: the next write of its state waits for a reader who never comes.
    temporary = live.state_dir / "heartbeat-hb-1.0.tmp"
    temporary.unlink()
    os.mkfifo(temporary)
    live.activate(wait_s=0)
    wait_for(lambda: kubelet.get("/live")[0] == 503, what="it is found to hang")
    status, why = kubelet.get("/live")
    assert (status, why.startswith("hung: its last turn began ")) == (503, True), why
    assert why.endswith("ago, one is due every 0.2 s")
    assert kubelet.get("/ready") == (503, f"not ready: {kubelet.get('/live')[1]}")


def test_a_login_that_may_not_do_all_is_live_and_not_ready(
    fleet: Callable[..., Any], own_server: EmbeddedServer, program: Start, wait_for: Wait
) -> None:
    live = fleet(own_server)
    rules = ["on", "nopass", "~*", "&*", "+@all", "-publish"]
    live.raw.execute_command("ACL", "SETUSER", "beats", *rules)
    url = own_server.url.replace("redis://", "redis://beats:x@")
    kubelet = Kubelet.of(program(live, *LISTEN, GOLIVE_REDIS_URL=url))
    wait_for(lambda: kubelet.get("/ready")[0] == 503, what="it has tried its rights")
    status, why = kubelet.get("/ready")
    assert (status, why.startswith("not ready: its login may not: ")) == (503, True), why
    assert "PUBLISH" in why.upper()
    assert kubelet.get("/live")[0] == 200


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process with prlimit")
def test_without_descriptors_no_probe_is_answered_and_the_beats_go_on(
    fleet: Callable[..., Any], any_server: EmbeddedServer, program: Start, wait_for: Wait
) -> None:
    live = fleet(any_server)
    heartbeat = program(live, *LISTEN)
    kubelet = Kubelet.of(heartbeat)
    live.go_live("w-1", heartbeats=())
    pid, kind = heartbeat.process.pid, resource.RLIMIT_NOFILE
    limits = resource.prlimit(pid, kind, (3, resource.getrlimit(kind)[1]))
    with pytest.raises(TimeoutError):
        kubelet.get("/live", timeout_s=2)
    wait_for(lambda: "probes cannot be answered" in heartbeat.log.read_text(), what="its line")
    heartbeat.await_beats(wait_for)
    resource.prlimit(pid, kind, limits)
    assert kubelet.get("/live")[0] == 200
    assert kubelet.get("/ready") == (200, "ready: beating for term 1")
    assert heartbeat.log.read_text().count("probes cannot be answered") == 1


def test_a_port_that_is_taken_is_refused_and_leaves_nothing_behind(
    fleet: Callable[..., Any], any_server: EmbeddedServer, program: Start, wait_for: Wait
) -> None:
    live = fleet(any_server)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = Program(live, "--listen", where)
        assert refused.process.wait(60) == 6
    assert f"error: --listen {where}: Address already in use" in refused.log.read_text()
    assert not live.state_dir.exists()
    program(live)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[[Any], tuple[Kubelet, IO[str]]]]:
    """Runs the program of the guide; what is written to it then is done by it."""
    (text,) = re.findall(
        r"^```python\n(# probes\.py\n.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL
    )
    before, mark, _ = text.partition("    guard.wait_armed(")
    assert mark and before.count("8086") == 1
    made: list[subprocess.Popen[str]] = []

    def start(live: Any) -> tuple[Kubelet, IO[str]]:
        port = free_port()
        path = tmp_path / "probes.py"
        obey = "    for line in __import__('sys').stdin:\n        exec(line)\n"
        path.write_text(before.replace("8086", str(port)) + obey)
        environ = {**os.environ, "GOLIVE_CONFIG": str(live.path)}
        process = subprocess.Popen(
            [sys.executable, "-P", str(path)], env=environ, stdin=subprocess.PIPE, text=True
        )
        made.append(process)
        assert process.stdin is not None
        return Kubelet(port), process.stdin

    yield start
    for process in made:
        process.communicate(timeout=60)
        assert process.returncode == 0


def test_the_worker_of_the_guide_is_live_until_a_thread_has_died_and_ready_while_redis_answers(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    worker: Callable[[Any], tuple[Kubelet, IO[str]]],
    wait_for: Wait,
) -> None:
    kubelet, orders = worker(fleet(own_server))

    def is_ready() -> bool:
        try:
            return kubelet.get("/ready")[0] == 200
        except ConnectionRefusedError:  # it has only just started
            return False

    wait_for(is_ready, what="it is ready, with nothing active")
    assert json.loads(kubelet.get("/ready")[1])["armed"] is False
    assert kubelet.get("/live")[0] == 200
    assert kubelet.get("/")[0] == 404

    own_server.kill()
    wait_for(lambda: kubelet.get("/ready")[0] == 503, what="it notices")
    assert kubelet.get("/live")[0] == 200
    own_server.restart()
    wait_for(is_ready, what="Redis is back")

    orders.write("guard._attending.stopping.loop.end(60)\n")
    orders.flush()
    wait_for(lambda: kubelet.get("/live")[0] == 503, what="a thread has died")
    assert json.loads(kubelet.get("/live")[1])["threads"]["stop"] is False
