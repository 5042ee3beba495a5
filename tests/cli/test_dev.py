"""`golive dev`: one command until Ctrl-C, which stops all that it started, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from golive_redis import Guard
from golive_redis import config as configuration
from kit.zygote import Forked

PATIENCE_S = 120


class Dev:
    """A running `golive dev` and what it said when it was up."""

    def __init__(self, process: Forked, folder: Path) -> None:
        self.process = process
        self.folder = folder
        assert process.stdout
        line = process.stdout.readline()
        assert line, process.communicate()
        self.said = json.loads(line)

    @property
    def port(self) -> int:
        return int(self.said["url"].rpartition(":")[2])

    def children(self) -> dict[str, int]:
        """The server and the heartbeat, by a word of their command lines."""
        pid = self.process.pid
        kids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        lines = {kid: Path(f"/proc/{kid}/cmdline").read_text() for kid in kids}
        words = {f"127.0.0.1:{self.port}": "server", "heartbeat": "heartbeat"}
        return {
            name: int(kid)
            for kid, line in lines.items()
            for word, name in words.items()
            if word in line
        }

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Ask it to stop; return its exit code and what it still said."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.wait(PATIENCE_S), out + err


@pytest.fixture
def dev(golive) -> Iterator[Callable[..., Dev]]:
    started: list[Forked] = []

    def start(folder: str = "fleet", **environ: str) -> Dev:
        process = golive.start("dev", "--json", "--dir", folder, **environ)
        started.append(process)
        return Dev(process, golive.folder / folder)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def gone(pid: int) -> bool:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_it_makes_a_setup_that_can_be_activated_and_a_worker_arms_with_its_lines(golive, dev):
    running = dev()
    assert running.said["environment"] == "dev"
    activated = golive.json(
        "activate", "--reason", "r", "--yes", "--config", running.said["config"]
    )
    assert activated["environment"] == "dev"
    setup = configuration.load(running.said["config"], environ={})
    with Guard.open(setup, worker="pod-1") as guard:
        until = time.monotonic() + PATIENCE_S
        while not guard.allows():
            assert time.monotonic() < until, guard.health()
            time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_it_started_it_stops(dev, number):
    running = dev()
    started = running.children()
    assert set(started) == {"server", "heartbeat"}
    assert running.end(number) == (0, "")
    assert all(gone(pid) for pid in started.values())
    assert "asked to stop" in (running.folder / "hb-1.log").read_text()  # it said goodbye


@pytest.mark.parametrize("dead", ["server", "heartbeat"])
def test_when_one_of_them_ends_it_says_so_stops_the_other_and_fails(dev, dead):
    running = dev()
    started = running.children()
    os.kill(started[dead], signal.SIGKILL)
    out, err = running.process.communicate(timeout=PATIENCE_S)
    assert err.endswith("Everything that was started is stopped.\n")
    error = json.loads(out)["error"]
    assert running.process.wait(PATIENCE_S) == 1
    named = {"server": "the server", "heartbeat": "hb-1"}[dead]
    assert (error["reason"], named in error["message"]) == ("process", True)
    assert all(gone(pid) for pid in started.values())


def test_a_second_time_it_goes_on_with_what_is_there(golive, dev):
    first = dev()
    golive.json("activate", "--reason", "r", "--yes", "--config", first.said["config"])
    keyset = (first.folder / "config" / "keyset.yaml").read_bytes()
    assert first.end()[0] == 0
    second = dev()
    assert second.said == first.said
    assert (first.folder / "config" / "keyset.yaml").read_bytes() == keyset
    with redis.Redis.from_url(second.said["url"]) as client:
        assert client.exists("golive:fleet-id")  # written by the activation, for good


def test_while_one_runs_another_in_the_same_folder_is_refused_and_disturbs_nothing(golive, dev):
    running = dev()
    started = running.children()
    done = golive("dev", "--dir", "fleet")
    assert done.returncode == 1
    assert f"golive dev is already running in {running.folder.resolve()}" in done.stderr
    assert running.children() == started


def test_after_a_crash_nothing_is_left_running_and_it_starts_again(dev):
    first = dev()
    started = first.children()
    first.process.kill()
    assert all(gone(pid) for pid in started.values())
    assert dev().said == first.said


def test_a_folder_of_another_environment_is_refused_before_anything_happens(made):
    before = sorted(made.folder.rglob("*"))
    done = made("dev")
    assert done.returncode == 1
    assert "is for testnet on redis://127.0.0.1:6379/0" in done.stderr
    assert sorted(made.folder.rglob("*")) == before


def test_a_port_that_another_program_has_taken_is_named(golive, dev):
    first = dev()
    assert first.end()[0] == 0
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", first.port))
        other.listen()
        done = golive("dev", "--dir", "fleet")
    assert done.returncode == 1
    assert f"is port {first.port} in use by another program?" in done.stderr


def test_without_the_extra_it_says_what_to_install_and_makes_nothing(golive):
    done = golive("dev", "--dir", "fleet", "--server", "/no/such/program")
    assert done.returncode == 1
    assert "no server program at /no/such/program" in done.stderr
    assert not (golive.folder / "fleet").exists()


def test_settings_of_another_fleet_in_this_shell_are_not_used_and_named(golive):
    elsewhere = {"GOLIVE_REDIS_URL": "redis://127.0.0.1:1", "GOLIVE_KEY": "no key"}
    process = golive.start("dev", **elsewhere)
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if "golive activate" in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.wait(PATIENCE_S) == 0, err
    assert "  unset GOLIVE_REDIS_URL GOLIVE_KEY  # set in this shell, for something else\n" in said
    assert said[0] == f"dev (golive) runs in {golive.folder.resolve()}; Ctrl-C stops it\n"
    assert out == "Stopped. A worker that is still running is off within 2.5 s.\n"
    worker = "".join(line.strip(" ") for line in said[4:7])
    compile(worker.replace("\\n", "\n"), "worker.py", "exec")
