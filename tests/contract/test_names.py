"""Names: a lookup that hangs holds nobody up, and the last good address stands in (A9, row 93)."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from golive_redis.errors import StoreUnavailableError
from golive_redis.store import names as names_module
from golive_redis.store.connect import Address
from golive_redis.store.names import FILE, MAX_AT_ONCE, Names
from golive_redis.testing.server import EmbeddedServer

PATIENCE_S = 40.0


class Resolver:
    """What `socket.getaddrinfo` is here: knows one name, or hangs, or fails."""

    def __init__(self, real: Callable[..., Any]) -> None:
        self.real = real
        self.hangs = threading.Event()  # set: does not answer
        self.goes_on = threading.Event()
        self.fails = False
        self.asked = 0
        self.leads_to = "127.0.0.1"

    def __call__(self, host: str, port: int, *args: Any, **options: Any) -> Any:
        if options.get("flags", 0) & socket.AI_NUMERICHOST:
            return self.real(host, port, *args, **options)
        self.asked += 1
        if self.hangs.is_set():
            self.goes_on.wait(1.5 * PATIENCE_S)
        if self.fails or host != "redis.test":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self.real(self.leads_to, port, *args, **options)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    found = Resolver(socket.getaddrinfo)
    monkeypatch.setattr(socket, "getaddrinfo", found)
    # Nothing that other tests have learnt, and nothing for them.
    monkeypatch.setattr("golive_redis.store.dial.NAMES", Names())
    yield found
    found.goes_on.set()


def test_a_lookup_that_hangs_ends_in_time_and_says_so(resolver: Resolver) -> None:
    resolver.hangs.set()
    link = Address("redis://redis.test:1").link(timeout_ms=100)
    began = time.monotonic()
    with pytest.raises(
        StoreUnavailableError, match=r"no answer within 100 ms for the name redis\.test"
    ):
        link.open()
    assert time.monotonic() - began < PATIENCE_S


def test_the_address_that_was_good_stands_in(
    own_server: EmbeddedServer, resolver: Resolver
) -> None:
    link = Address(f"redis://redis.test:{own_server.port}").link(timeout_ms=2_000)
    assert link.call("PING") == b"PONG"
    for trouble in ("hangs", "fails"):
        link.close()
        if trouble == "hangs":
            resolver.hangs.set()
        else:
            resolver.hangs.clear()
            resolver.goes_on.set()
            resolver.fails = True
        assert link.call("PING") == b"PONG"
    link.close()


def test_another_process_finds_it_in_the_state_folder(
    own_server: EmbeddedServer,
    resolver: Resolver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`golive revoke` is a new process each time, and a stop must not wait for a nameserver."""
    address = Address(f"redis://redis.test:{own_server.port}", addresses=tmp_path)
    link = address.link(timeout_ms=2_000)
    assert link.call("PING") == b"PONG"
    link.close()
    resolver.hangs.set()
    monkeypatch.setattr("golive_redis.store.dial.NAMES", Names())
    link = address.link(timeout_ms=2_000)
    assert link.call("PING") == b"PONG"
    link.close()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"redis.test:1": 5}', '{"redis.test:1": "x y"}'])
def test_a_file_of_addresses_that_is_none_is_passed_over(
    resolver: Resolver, tmp_path: Path, text: str
) -> None:
    (tmp_path / FILE).write_text(text)
    resolver.fails = True
    with pytest.raises(OSError, match="Temporary failure"):
        Names().find("redis.test", 1, PATIENCE_S, tmp_path)
    Names().connected("redis.test", 1, "127.0.0.2", tmp_path)
    assert Names().find("redis.test", 1, PATIENCE_S, tmp_path)[0][4] == ("127.0.0.2", 1)
    Names().connected("redis.test", 1, "127.0.0.3", tmp_path / "not there")


def test_an_answer_that_comes_too_late_is_taken_the_next_time(
    resolver: Resolver, wait_for: Callable[..., None]
) -> None:
    """The name leads elsewhere since a failover, and its lookup always takes longer than we wait."""
    names = Names()
    assert names.find("redis.test", 1, PATIENCE_S, None)[0][4] == ("127.0.0.1", 1)
    resolver.hangs.set()
    assert names.find("redis.test", 1, PATIENCE_S, None)[0][4] == ("127.0.0.1", 1)
    resolver.leads_to = "127.0.0.2"
    resolver.hangs.clear()
    resolver.goes_on.set()
    wait_for(
        lambda: names.find("redis.test", 1, PATIENCE_S, None)[0][4] == ("127.0.0.2", 1),
        what="the address after the failover",
    )


def test_lookups_that_hang_do_not_pile_up(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names_module, "STALE_S", 0.0)
    resolver.hangs.set()
    names = Names()
    for _ in range(3 * MAX_AT_ONCE):
        with pytest.raises(OSError, match="no answer"):
            names.find("redis.test", 1, 0.001, None)
    assert resolver.asked <= MAX_AT_ONCE
    resolver.hangs.clear()
    resolver.goes_on.set()
    assert names.find("redis.test", 1, PATIENCE_S, None)[0][4] == ("127.0.0.1", 1)


def test_where_no_thread_can_be_started_the_name_is_asked_for_all_the_same(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert Names().find("redis.test", 1, PATIENCE_S, None)[0][4] == ("127.0.0.1", 1)


def test_a_forked_child_does_not_wait_for_its_parent(resolver: Resolver) -> None:
    """A thread of the parent may have held the lock, and its lookups never end in the child."""
    resolver.hangs.set()
    names = Names()
    with pytest.raises(OSError, match="no answer"):
        names.find("redis.test", 1, 0.001, None)
    resolver.hangs.clear()
    with names._lock:
        names.forget()
        assert names.find("redis.test", 1, PATIENCE_S, None)[0][4] == ("127.0.0.1", 1)


def test_a_name_that_cannot_be_one_is_unavailable(resolver: Resolver) -> None:
    resolver.real = lambda *_, **__: "a..b".encode("idna")
    with pytest.raises(OSError, match="label"):
        Names().find("redis.test", 1, PATIENCE_S, None)


HANGS = """
import os, socket, sys, threading
real = socket.getaddrinfo
def hangs(host, *args, **options):
    if options.get("flags", 0) & socket.AI_NUMERICHOST:
        return real(host, *args, **options)
    threading.Event().wait()
socket.getaddrinfo = hangs
"""


def test_a_process_ends_although_its_lookup_hangs() -> None:
    """The thread of a lookup holds no process back."""
    program = HANGS + (
        "from golive_redis.store.connect import Address\n"
        "try:\n"
        "    Address('redis://redis.test').link(timeout_ms=100).open()\n"
        "except Exception as error:\n"
        "    print(type(error).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "StoreUnavailableError\n"), done.stderr
