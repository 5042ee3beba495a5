"""The HTTP endpoint of a heartbeat, asked over real sockets; and what makes one live and ready."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http import HTTPStatus
from typing import Any

import msgspec
import pytest

from golive_redis.errors import ConfigError
from golive_redis.heartbeat import probes
from golive_redis.heartbeat.health import Health
from golive_redis.heartbeat.probes import MAX_CLIENTS, Probes, pages
from golive_redis.records.receipt import Durable

GOOD = Health(
    turn_age_ms=400.0,
    beat_every_ms=1000.0,
    term=5,
    waiting_for="",
    lacks="",
    durable=Durable.YES,
    stopping=False,
)
OFF = {"term": None, "waiting_for": "nothing is active"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "ready: beating for term 5"),
        ({"durable": Durable.NONE}, "ready: beating for term 5"),
        (OFF, "ready: nothing is active"),
        ({"term": None}, "not ready: it does not beat"),
        ({"waiting_for": "nothing is active"}, "not ready: nothing is active"),
        ({"waiting_for": "cannot reach Redis"}, "not ready: cannot reach Redis"),
        (
            {"term": None, "waiting_for": "term 5 is over for this heartbeat"},
            "not ready: term 5 is over for this heartbeat",
        ),
        ({"durable": Durable.FAILED}, "not ready: its state file cannot be written"),
        ({**OFF, "lacks": "PUBLISH"}, "not ready: its login may not: PUBLISH"),
        ({**OFF, "stopping": True}, "not ready: it is stopping"),
        (
            {"turn_age_ms": 3001.0},
            "not ready: hung: its last turn began 3 s ago, one is due every 1 s",
        ),
    ],
)
def test_ready_is_who_beats_or_would_and_the_answer_says_why_not(
    changes: dict[str, Any], said: str
) -> None:
    health = msgspec.structs.replace(GOOD, **changes)
    assert health.ready() == (said.startswith("ready: "), said)


@pytest.mark.parametrize(
    "changes",
    [
        {"term": None, "waiting_for": "cannot reach Redis"},
        {"durable": Durable.FAILED, "lacks": "PUBLISH"},
        {"stopping": True},
        {"turn_age_ms": 3000.0},
    ],
)
def test_live_is_whose_loop_turns_whatever_redis_does(changes: dict[str, Any]) -> None:
    lives, said = msgspec.structs.replace(GOOD, **changes).live()
    assert lives
    assert said.startswith("live: its last turn began ")


def test_a_loop_that_has_missed_three_turns_is_hung_and_a_watchdog_may_wait_longer() -> None:
    late = msgspec.structs.replace(GOOD, turn_age_ms=3001.0)
    assert late.live() == (False, "hung: its last turn began 3 s ago, one is due every 1 s")
    assert not late.turns()
    assert not late.turns(2000.0)
    assert late.turns(5000.0)


@pytest.fixture
def serve() -> Iterator[Callable[..., Probes]]:
    """Serves one page, `/live`, unless others are given."""
    made: list[Probes] = []

    def start(where: str = "127.0.0.1:0", **more: probes.Page) -> Probes:
        served = Probes(where)
        made.append(served)
        served.start(more or pages(lambda: GOOD))
        return served

    yield start
    for served in made:
        served.close()
        served._loop.join(60)


def port(served: Probes) -> int:
    return int(served.url.rpartition(":")[2])


def ask(served: Probes, path: str, method: str = "GET", **how: Any) -> tuple[int, str]:
    client = http.client.HTTPConnection("127.0.0.1", port(served), timeout=60)
    client.request(method, path, **how)
    answer = client.getresponse()
    assert answer.getheader("Content-Type") == "text/plain; charset=utf-8"
    assert answer.getheader("Cache-Control") == "no-store"
    assert answer.getheader("Allow") == ("GET" if answer.status == 405 else None)
    body = answer.read().decode()
    assert body.endswith("\n") and body.count("\n") == 1
    return answer.status, body.rstrip("\n")


def raw(served: Probes, *parts: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port(served)), timeout=60) as sock:
        for part in parts:
            sock.sendall(part)
        said = b""
        while data := sock.recv(65_536):
            said += data
        return said


def test_a_get_of_a_page_is_answered_and_nothing_else(serve: Callable[..., Probes]) -> None:
    served = serve()
    assert ask(served, "/live") == (200, "live: its last turn began 0.4 s ago")
    assert ask(served, "/ready?verbose=1") == (200, "ready: beating for term 5")
    for path in ("/", "/live/", "/metrics", "*"):
        assert ask(served, path) == (404, "there are /live and /ready")
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(served, "/live", method, body=b"x" * 100_000) == (405, "only GET")


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([b"GET /live HTTP/1.0\r\n\r\n"], b"200 OK"),
        ([b"GET /live HTTP/1.1\n\n"], b"200 OK"),
        ([b"G", b"ET /live", b" HTTP/1.1\r\nHost: x\r", b"\n\r", b"\n"], b"200 OK"),
        ([b"GET /live HTTP/1.1\r\n\r\nGET /live HTTP/1.1\r\n\r\n"], b"200 OK"),
        ([b"\r\n\r\n"], b"400 Bad Request"),
        ([b"GET /live\r\n\r\n"], b"400 Bad Request"),
        ([b"GET /live HTTP/2.0\r\n\r\n"], b"400 Bad Request"),
        ([b"\x16\x03\x01\x02\x00\r\n\r\n"], b"400 Bad Request"),  # TLS, say
        ([b"GET /live HTTP/1.1\r\nX: " + b"x" * 9_000], b"431 Request Header Fields Too Large"),
    ],
)
def test_one_request_is_answered_on_a_connection_whatever_it_looks_like(
    serve: Callable[..., Probes], parts: list[bytes], status: bytes
) -> None:
    said = raw(serve(), *parts)
    assert said.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert said.count(b"HTTP/1.1 ") == 1


def test_a_body_that_comes_after_the_answer_does_not_take_it_away(
    serve: Callable[..., Probes],
) -> None:
    with socket.create_connection(("127.0.0.1", port(serve())), timeout=60) as client:
        client.sendall(b"POST /live HTTP/1.1\r\nContent-Length: 30000\r\n\r\n")
        assert client.recv(1, socket.MSG_PEEK)  # the answer is here
        for _ in range(3):
            client.sendall(b"x" * 10_000)
            threading.Event().wait(0.05)
        assert client.recv(65_536).startswith(b"HTTP/1.1 405 ")


def test_an_answer_is_one_line_whatever_the_reason_holds(serve: Callable[..., Probes]) -> None:
    forged = msgspec.structs.replace(GOOD, waiting_for="a\r\nb\x1b[2J")
    served = serve(**pages(lambda: forged))
    assert ask(served, "/ready") == (503, r"not ready: a\r\nb\x1b[2J")


def test_a_client_who_takes_too_long_is_dropped(
    serve: Callable[..., Probes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "CLIENT_MS", 100.0)
    served = serve()
    assert raw(served, b"GET /live HTTP/1.1\r\n") == b""  # returns when the other side ends it


def test_many_who_say_nothing_keep_nobody_from_being_answered(
    serve: Callable[..., Probes], monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., None]
) -> None:
    monkeypatch.setattr(probes, "CLIENT_MS", 600_000.0)  # no time-out helps
    served = serve()
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(socket.create_connection(("127.0.0.1", port(served)), timeout=60))
        assert ask(served, "/live")[0] == 200
        wait_for(lambda: len(served._clients) <= MAX_CLIENTS, what="the oldest have given way")


def test_an_answer_that_its_client_is_slow_to_read_holds_up_nobody(
    serve: Callable[..., Probes],
) -> None:
    large = "x" * 10_000_000
    served = serve(
        **{"/large": lambda: (HTTPStatus.OK, large), "/small": lambda: (HTTPStatus.OK, "")}
    )
    with socket.create_connection(("127.0.0.1", port(served)), timeout=60) as slow:
        slow.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        assert slow.recv(8) == b"HTTP/1.1"
        assert ask(served, "/small") == (200, "")
        left = 0
        while data := slow.recv(1_000_000):
            left += len(data)
        assert left > len(large)


def test_a_page_that_fails_ends_neither_the_endpoint_nor_goes_untold(
    serve: Callable[..., Probes], caplog: pytest.LogCaptureFixture, wait_for: Callable[..., None]
) -> None:
    def fail() -> tuple[HTTPStatus, str]:
        raise ValueError("told to fail")

    served = serve(**{"/bad": fail, "/good": lambda: (HTTPStatus.OK, "well")})
    with socket.create_connection(("127.0.0.1", port(served)), timeout=60) as client:
        client.sendall(b"GET /bad HTTP/1.1\r\n\r\n")
        assert ask(served, "/good") == (200, "well")
    wait_for(lambda: "probes cannot be answered: told to fail" in caplog.text, what="its line")


@pytest.mark.parametrize(
    ("where", "url"),
    [("127.0.0.1:0", "http://127.0.0.1:"), ("0.0.0.0:0", "http://0.0.0.0:")],
)
def test_it_says_where_it_is_asked(serve: Callable[..., Probes], where: str, url: str) -> None:
    assert serve(where).url.startswith(url)


def test_all_addresses_are_those_of_both_kinds(serve: Callable[..., Probes]) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 on this machine")
    served = serve("[::]:0")
    assert served.url.startswith("http://[::]:")
    assert ask(served, "/live")[0] == 200  # by IPv4


@pytest.mark.parametrize(
    "where", ["", "8086", ":8086", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "h:70000", "::1:80"]
)
def test_what_is_no_host_and_port_is_refused(where: str) -> None:
    with pytest.raises(ConfigError, match=r"not HOST:PORT") as refused:
        Probes(where)
    assert "127.0.0.1:8086 is asked from this host only" in refused.value.hint


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 70, "192.0.2.1"])
def test_what_is_no_address_of_this_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=rf"--listen {host}:0: \S") as refused:
        Probes(f"{host}:0")
    assert "HOST is an address of this host" in refused.value.hint


def test_a_port_that_is_taken_is_refused_with_its_address(serve: Callable[..., Probes]) -> None:
    where = f"127.0.0.1:{port(serve())}"
    with pytest.raises(ConfigError, match=f"--listen {where}: Address already in use") as refused:
        Probes(where)
    assert "end the process that has this port" in refused.value.hint


def test_without_a_thread_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    served = Probes("127.0.0.1:0")
    with pytest.raises(ConfigError, match="no thread could be started for the probes"):
        served.start({})
    served.close()
    assert served._listener.fileno() == -1
