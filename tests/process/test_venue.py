"""The paper venue, as the process that it is: an independent witness with a clock."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from golive_cli.demo.prices import PaperOrder, orders
from golive_redis.testing.freeze import freeze
from golive_redis.testing.venue_client import VenueClient, VenueError
from kit import zygote
from kit.zygote import Forked

GOOD: dict[str, Any] = {
    "worker": "w-1",
    "symbol": "AAPL",
    "side": "BUY",
    "qty": "0.05",
    "price": "430.47",
    "fence": 3,
    "until_ms": 1_700_000_000_000,
}


@dataclass
class Venue:
    port: int
    process: Forked
    journal: Path

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body)
        reply = connection.getresponse()
        answer = json.loads(reply.read())
        connection.close()
        return reply.status, answer

    def raw(self, sent: bytes) -> bytes:
        """Everything that the venue says until it ends the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(sent)
            return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.fixture
def venue(tmp_path: Path, wait_for: Callable[..., None]) -> Iterator[Venue]:
    port_file, journal = tmp_path / "port", tmp_path / "journal"
    files = ["--port-file", port_file, "--journal", journal]
    process = zygote.start("golive_redis.testing.venue:main", *files)
    try:
        wait_for(port_file.exists, what="the venue is open")
        yield Venue(int(port_file.read_text()), process, journal)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def client(venue: Venue) -> Iterator[VenueClient]:
    client = VenueClient(venue.port)
    yield client
    client.close()


def test_an_accepted_order_is_stamped_between_sending_and_answer(
    venue: Venue, client: VenueClient
) -> None:
    before_ns, before_ms = time.monotonic_ns(), time.time_ns() // 1_000_000
    assert client.place(**GOOD)
    after_ns, after_ms = time.monotonic_ns(), time.time_ns() // 1_000_000
    (accept,) = client.journal()
    assert before_ns <= accept.pop("at_ns") <= after_ns
    assert before_ms <= accept.pop("at_ms") <= after_ms
    assert accept == {"order": 1, **GOOD}


def test_an_order_without_a_permit_is_accepted_too(client: VenueClient) -> None:
    assert client.place(**{**GOOD, "fence": None, "until_ms": None})
    assert client.accepted() == {"w-1": 1}


@pytest.mark.parametrize(
    "change",
    [
        *({"qty": bad} for bad in ("0", "0.000", "-1", "1e3", "NaN", "", "1.", ".5", "1 ", "1\n")),
        *({"qty": bad} for bad in (0.05, 1, None, True, "٣", "1" * 13)),
        {"price": "0.0"},
        {"price": 430.47},
        {"side": "buy"},
        {"worker": ""},
        {"worker": "w 1"},
        {"worker": None},
        {"symbol": "A" * 65},
        {"fence": True},
        {"fence": -1},
        {"fence": "3"},
        {"until_ms": 1.5},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_malformed_order_is_refused_and_not_counted(
    venue: Venue, client: VenueClient, change: dict[str, Any]
) -> None:
    status, answer = venue.ask("POST", "/orders", json.dumps({**GOOD, **change}).encode())
    assert (status, list(answer)) == (400, ["error"])
    assert client.accepted() == {}


def test_a_missing_field_or_no_object_is_refused(venue: Venue) -> None:
    for field in GOOD:
        rest = {name: value for name, value in GOOD.items() if name != field}
        assert venue.ask("POST", "/orders", json.dumps(rest).encode())[0] == 400
    for body in (b"", b"[]", b"null", b"{", b"\xff", b"[" * 4_000):
        assert venue.ask("POST", "/orders", body)[0] == 400
    assert venue.ask("GET", "/health") == (200, {"ok": True, "accepted": 0})


def test_the_client_says_refused_for_a_malformed_order(client: VenueClient) -> None:
    assert client.place(**{**GOOD, "qty": "0"}) is False
    assert client.place(**GOOD) is True


def test_counts_and_journal_are_by_worker_and_since_an_instant(
    venue: Venue, client: VenueClient
) -> None:
    for worker in ("a", "b", "a"):
        client.place(**{**GOOD, "worker": worker})
    middle = time.monotonic_ns()
    client.place(**{**GOOD, "worker": "b"})
    assert client.accepted() == {"a": 2, "b": 2}
    assert client.accepted(worker="a") == {"a": 2}
    assert client.accepted(since_ns=middle) == {"b": 1}
    assert [a["order"] for a in client.journal(since_ns=middle)] == [4]
    assert venue.ask("GET", "/accepted?worker=nobody") == (200, {"total": 0, "workers": {}})
    assert venue.ask("GET", "/accepted?who=a")[0] == 400
    assert venue.ask("GET", "/accepted?since_ns=-1")[0] == 400


def test_unknown_paths_and_methods_are_refused(venue: Venue) -> None:
    assert venue.ask("GET", "/nothing")[0] == 404
    assert venue.ask("GET", "/orders")[0] == 405
    assert venue.ask("POST", "/journal")[0] == 405


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET /health HTTP/1.0\r\n\r\n",
        b"GET http://elsewhere/ HTTP/1.1\r\n\r\n",
        b"POST /orders HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /orders HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /orders HTTP/1.1\r\nContent-Length: 5000\r\n\r\n",
        b"GET /health HTTP/1.1\r\nX: " + b"x" * 10_000 + b"\r\n\r\n",
    ],
    ids=lambda sent: sent[:20].decode(),
)
def test_what_is_not_plain_http_ends_the_connection_and_not_the_venue(
    venue: Venue, sent: bytes
) -> None:
    assert venue.raw(sent).startswith(b"HTTP/1.1 400 ")
    assert venue.ask("GET", "/health")[0] == 200


def test_requests_sent_in_one_piece_or_byte_by_byte_are_all_answered(venue: Venue) -> None:
    body = json.dumps(GOOD).encode()
    order = b"POST /orders HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    last = b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n"
    said = venue.raw(order * 3 + last)
    assert said.count(b"HTTP/1.1 201 ") == 3
    assert said.endswith(b'{"ok": true, "accepted": 3}')
    with socket.create_connection(("127.0.0.1", venue.port), timeout=60) as connection:
        for byte in order:
            connection.sendall(bytes([byte]))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 201 ")


def test_an_order_whose_sender_dies_half_way_is_not_accepted(venue: Venue) -> None:
    body = json.dumps(GOOD).encode()
    with socket.create_connection(("127.0.0.1", venue.port), timeout=60) as connection:
        connection.sendall(b"POST /orders HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body))
        connection.sendall(body[:-1])
    assert venue.ask("GET", "/health")[1]["accepted"] == 0


def test_the_journal_file_has_each_accept_even_after_a_kill(
    venue: Venue, client: VenueClient
) -> None:
    for _ in range(5):
        client.place(**GOOD)
    told = client.journal()
    venue.process.kill()
    venue.process.wait()
    assert [json.loads(line) for line in venue.journal.read_text().splitlines()] == told


def test_sigterm_ends_the_venue_cleanly_with_clients_connected(
    venue: Venue, client: VenueClient
) -> None:
    client.place(**GOOD)
    venue.process.send_signal(signal.SIGTERM)
    assert venue.process.wait(60) == 0


def test_a_frozen_venue_is_an_unknown_outcome_and_nothing_is_sent_twice(
    venue: Venue,
) -> None:
    client = VenueClient(venue.port, timeout_ms=200)
    client.place(**GOOD)
    freeze(venue.process.pid)
    with pytest.raises(VenueError):
        client.place(**{**GOOD, "symbol": "MSFT"})
    venue.process.send_signal(signal.SIGCONT)
    assert client.place(**{**GOOD, "symbol": "IBM"})
    symbols = [accept["symbol"] for accept in client.journal()]
    client.close()
    assert symbols.count("MSFT") <= 1
    assert symbols.count("IBM") == 1


def test_a_dead_venue_is_an_error(venue: Venue, client: VenueClient) -> None:
    client.place(**GOOD)
    venue.process.kill()
    venue.process.wait()
    with pytest.raises(VenueError):
        client.place(**GOOD)


def test_seven_workers_at_fifty_orders_a_second_are_all_served(
    venue: Venue, client: VenueClient
) -> None:
    """The demo's load, for two seconds."""

    def work(number: int) -> None:
        own, start = VenueClient(venue.port), time.monotonic()
        for count, order in enumerate(islice(orders(number), 100)):
            time.sleep(max(0.0, start + count / 50 - time.monotonic()))
            assert own.place(worker=f"w-{number}", **_wire(order))
        own.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert client.accepted() == {f"w-{number}": 100 for number in range(7)}


def _wire(order: PaperOrder) -> dict[str, Any]:
    return {
        "symbol": order.symbol,
        "side": order.side,
        "qty": str(order.qty),
        "price": str(order.price),
    }
