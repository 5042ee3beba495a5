"""`golive dev`: one command until Ctrl-C, which stops all that it started, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from golive_cli.exits import Exit
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
    same = ("environment", "namespace", "config", "url", "heartbeat")
    assert [second.said[name] for name in same] == [first.said[name] for name in same]
    assert (first.said["new"], second.said["new"]) == (True, False)
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
    second = dev()
    assert second.said == first.said | {"new": False}
    assert (first.said["state"], first.said["headline"]) == ("off", "OFF: nothing is active")


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


class Told:
    """A running `golive dev` for people, and what it has said up to its last command."""

    def __init__(self, golive, *, folder: str = "fleet", **environ: str) -> None:
        self.process = golive.start("dev", "--dir", folder, **environ)
        self.folder = golive.folder.resolve() / folder
        self.said: list[str] = []

    def until(self, last: str) -> list[str]:
        assert self.process.stdout
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith(f"  golive {last}"):
                return self.said
        raise AssertionError((self.said, self.process.communicate()))

    def end(self, number: int = signal.SIGINT) -> str:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.wait(PATIENCE_S) == (0 if number == signal.SIGINT else -number), err
        return out


def activated(golive, folder: str = "fleet") -> int:
    config = golive.folder / folder / "config" / "go_live.yaml"
    return int(golive.json("activate", "--reason", "r", "--yes", "--config", config)["term"])


def test_a_term_that_goes_on_after_a_crash_is_said_with_what_stops_it(golive):
    first = Told(golive)
    said = first.until("activate")
    assert said[1] == f"  new setup in {first.folder}/config\n"
    assert "OFF: nothing is active. Turn it on, in another terminal:\n" in said
    term = activated(golive)
    first.end(signal.SIGKILL)
    second = Told(golive)
    said = second.until("revoke")
    assert said[1] == f"  goes on with the setup in {second.folder}/config\n"
    assert said[-3:] == [
        (
            f"LIVE, but nobody can trade: no worker is there. Term {term} of before goes on. "
            "Stop it, in another terminal:\n"
        ),
        f"  cd {second.folder}\n",
        '  golive revoke --reason "enough"\n',
    ]
    second.end()


def test_a_term_that_nobody_beats_for_has_to_be_stopped_before_another(golive):
    first = Told(golive)
    first.until("activate")
    term = activated(golive)
    first.end()  # its heartbeat leaves with a goodbye, and beats for that term no more
    second = Told(golive)
    said = second.until("activate")
    assert f"No heartbeat beats for term {term}: stop it, then turn it on" in said[-4]
    assert said[-2:] == [
        '  golive revoke --reason "enough"\n',
        '  golive activate --reason "try it"\n',
    ]
    config = second.folder / "config" / "go_live.yaml"
    golive("revoke", "--reason", "enough", "--config", config)
    assert activated(golive) > term
    second.end()


def test_where_its_server_is_away_every_command_says_what_starts_it(golive):
    running = Told(golive)
    running.until("activate")
    running.end()
    config = running.folder / "config" / "go_live.yaml"
    starts = f"; `golive dev --dir {running.folder}` starts it\n"
    assert golive("status", "--config", config).stderr.endswith(starts)
    elsewhere = golive("status", "--config", config, GOLIVE_REDIS_URL="redis://127.0.0.1:1")
    assert "is it running at 127.0.0.1:1?" in elsewhere.stderr
    assert "golive dev" not in elsewhere.stderr
    (running.folder / "redis").rename(running.folder / "other")
    assert "golive dev" not in golive("status", "--config", config).stderr


def test_a_file_where_the_folder_should_be_is_named_and_left(golive):
    bot = golive.folder / "bot.py"
    bot.write_text("pass\n")
    done = golive("dev", "--dir", "bot.py")
    assert done.returncode == Exit.USAGE
    assert done.stderr == (
        f"error: --dir {bot.resolve()} is no folder\nhint: golive dev --dir NEW_FOLDER\n"
    )
    assert bot.read_text() == "pass\n"


def test_its_worker_sends_counts_and_leaves_with_a_goodbye(golive):
    running = Told(golive)
    said = "".join(running.until("activate"))
    lines = said.partition("A worker:\n")[2].partition("\nOFF")[0]
    (golive.folder / "bot.py").write_text(textwrap.dedent(lines))
    activated(golive)
    bot = subprocess.Popen(
        [sys.executable, "bot.py"], cwd=golive.folder, env=golive.environ, stdout=subprocess.PIPE
    )
    try:
        assert bot.stdout
        assert bot.stdout.readline() == b"sent\n"
        config = running.folder / "config" / "go_live.yaml"
        until = time.monotonic() + PATIENCE_S
        while not golive.json("workers", "--config", config)["workers"][0]["permits"]:
            assert time.monotonic() < until
        bot.terminate()
        assert bot.wait(PATIENCE_S) == 0
        stopped = golive.json("revoke", "--reason", "r", "--config", config)  # exits 0: COMPLETE
        assert stopped["result"] == "COMPLETE"
    finally:
        bot.kill()
        bot.communicate()
    running.end()


def test_settings_of_another_fleet_in_this_shell_are_not_used_and_named(golive):
    elsewhere = {"GOLIVE_REDIS_URL": "redis://127.0.0.1:1", "GOLIVE_KEY": "no key"}
    running = Told(golive, folder=".", **elsewhere)
    said = running.until("activate")
    out = running.end()
    assert "  unset GOLIVE_REDIS_URL GOLIVE_KEY  # set in this shell, for something else\n" in said
    assert said[0] == f"dev (golive) runs in {golive.folder.resolve()}; Ctrl-C stops it\n"
    assert out == "Stopped. A worker that is still running is off within 2.5 s.\n"
