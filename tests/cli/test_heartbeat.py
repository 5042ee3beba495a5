"""`golive heartbeat`: starts only as itself and once, and says goodbye."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import threading

import pytest

from golive_cli.writer import Writer
from kit.zygote import Forked


def ended(process: Forked) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_goodbye_leaves_the_roster_and_exits_0(beating, shared_server, number):
    process = beating(GOLIVE_REDIS_URL=shared_server.url)
    with shared_server.client() as client:
        assert client.hkeys("golive:heartbeats") == [b"hb-1"]
        process.send_signal(number)
        code, out, err = ended(process)
        assert (code, err) == (0, "")
        assert re.fullmatch(r"(\d\d:\d\d:\d\d \S.*\n)+", out)
        assert client.hkeys("golive:heartbeats") == []


def test_it_stops_at_once_when_redis_was_never_there(made):
    process = made.start("heartbeat", "--name", "hb-1", GOLIVE_REDIS_URL="redis://127.0.0.1:1/0")
    assert process.stdout is not None
    assert "hb-1 started" in process.stdout.readline()
    assert "silent: cannot reach Redis" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0


def test_its_lines_are_objects_with_json(beating):
    process = beating("hb-1", "--json")
    process.send_signal(signal.SIGTERM)
    code, out, err = ended(process)
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines
    assert {line["heartbeat"] for line in lines} == {"hb-1"}


def test_a_second_process_of_the_name_on_the_same_state_is_refused(made, beating, server):
    first = beating()
    second = made("heartbeat", "--name", "hb-1", GOLIVE_REDIS_URL=server.url)
    assert second.returncode == 6
    assert "another live process holds it" in second.stderr
    assert first.poll() is None


def test_two_heartbeats_of_one_configuration_run_side_by_side(made, beating):
    made("keys", "new", "hb-2", "--role", "heartbeat", "--add")
    processes = [beating("hb-1"), beating("hb-2")]
    assert [process.poll() for process in processes] == [None, None]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hb-9", "'hb-9' is not a heartbeat in the keyset"),
        ("alice", "'alice' is not a heartbeat in the keyset"),
        ("../keys/hb-1", "is not a heartbeat in the keyset"),
        ("", "is not a heartbeat in the keyset"),
    ],
)
def test_a_name_that_is_no_heartbeat_is_refused_with_those_there_are(made, name, said):
    done = made("heartbeat", "--name", name)
    assert done.returncode == 6
    assert said in done.stderr
    assert "hint: it has hb-1" in done.stderr
    assert done.stdout == ""


def test_the_key_of_another_heartbeat_is_refused(made):
    made("keys", "new", "hb-2", "--role", "heartbeat", "--add")
    pem = (made.folder / "config" / "keys" / "hb-1.pem").read_text()
    done = made("heartbeat", "--name", "hb-2", GOLIVE_KEY=pem)
    assert done.returncode == 6
    assert "the heartbeat key is hb-1's, not hb-2's" in done.stderr


@pytest.mark.parametrize("setting", ["keys/{other}.pem", "keys/{name!r}.pem", "keys/{}.pem"])
def test_only_the_name_is_put_into_the_path_of_the_key(made, setting):
    path = made.folder / "config" / "go_live.yaml"
    path.write_text(path.read_text().replace("keys/{name}.pem", setting))
    done = made("heartbeat", "--name", "hb-1")
    assert done.returncode == 6
    assert f"{setting}: No such file" in done.stderr


def test_a_missing_key_a_broken_state_file_and_a_missing_setting_are_refused(made):
    (made.folder / "state").mkdir()
    state = made.folder / "state" / "heartbeat-hb-1.0.json"
    state.write_text("torn")
    done = made("heartbeat", "--name", "hb-1")
    assert (done.returncode, "not a state file" in done.stderr) == (6, True)
    state.unlink()
    (made.folder / "config" / "keys" / "hb-1.pem").unlink()
    done = made("heartbeat", "--name", "hb-1")
    assert (done.returncode, "hb-1.pem: No such file" in done.stderr) == (6, True)
    path = made.folder / "config" / "go_live.yaml"
    path.write_text(path.read_text().replace("  heartbeat:", "  # heartbeat:"))
    done = made("heartbeat", "--name", "hb-1")
    assert (done.returncode, "keys.heartbeat is not set" in done.stderr) == (6, True)


def test_it_goes_on_when_nobody_reads_its_lines(beating, wait_for, server):
    process = beating()
    assert process.stdout is not None
    process.stdout.close()
    with server.client() as client:
        client.set("golive:active", "of the wrong type")  # which it must tell somebody
        (presence,) = client.keys("golive:heartbeat:hb-1:*")
        client.delete(presence, "golive:active")
        wait_for(lambda: client.exists(presence), what="it registers itself anew")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 0


# -- the writer ------------------------------------------------------------------------------------


def test_a_line_that_cannot_be_written_does_not_hold_up_who_says_it(wait_for):
    blocked, gate, written = threading.Event(), threading.Event(), []

    def write(at_ms, text):
        blocked.set()
        gate.wait(60)
        written.append(text)

    writer = Writer(write)
    writer.say("first")
    assert blocked.wait(60)
    for number in range(3_000):
        writer.say(str(number))
    writer.close(within_s=0.01)
    assert written == []
    gate.set()
    wait_for(lambda: len(written) >= 1_001)
    writer.say("the next")
    writer.close()
    assert [text for text in written if "lines lost" in text]
    assert written[-1] == "the next"


def test_a_full_disk_under_the_log_costs_one_line():
    written = []

    def write(at_ms, text):
        if text == "lost":
            raise OSError("no space left on device")
        written.append(text)

    writer = Writer(write)
    for text in ("one", "lost", "two"):
        writer.say(text)
    writer.close()
    assert written == ["one", "two"]


# -- systemd ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, pytest.param(True, marks=pytest.mark.skipif(
    sys.platform != "linux", reason="abstract sockets exist on Linux only"))])  # fmt: skip
def test_systemd_hears_ready_status_watchdog_and_stopping(beating, tmp_path, abstract):
    name = f"@golive-{tmp_path.name}" if abstract else str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(60)
        process = beating("hb-1", NOTIFY_SOCKET=name, WATCHDOG_USEC="1000000")
        heard: list[str] = []

        def hear(what: str) -> None:
            while what not in heard:
                heard.append(manager.recv(4096).decode())

        hear("READY=1")
        hear("STATUS=silent: nothing is active")
        hear("WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        hear("STOPPING=1")
        assert ended(process)[0] == 0


def test_a_watchdog_of_another_process_is_not_fed(beating, tmp_path):
    path = tmp_path / "n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(60)
        process = beating(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="1000", WATCHDOG_PID="1")
        heard = [manager.recv(4096).decode() for _ in range(3)]
        process.send_signal(signal.SIGTERM)
        while "STOPPING=1" not in heard:
            heard.append(manager.recv(4096).decode())
        ended(process)
    assert "READY=1" in heard
    assert "WATCHDOG=1" not in heard


def test_a_service_manager_that_is_gone_stops_nothing(beating, tmp_path):
    process = beating(NOTIFY_SOCKET=str(tmp_path / "nobody"), WATCHDOG_USEC="1000000")
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0
