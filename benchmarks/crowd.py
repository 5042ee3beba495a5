"""A crowd of guards as the server sees them: the product's own commands, on bare sockets.

One process cannot run 10,000 guards, but it can send what they send. Every command is made by the
product's `Store` and `Push`; only the threads and the verification are left out.
"""

from __future__ import annotations

import heapq
import random
import secrets
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from golive_redis.core.answer import Ask
from golive_redis.store import scripts
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.push import Push
from golive_redis.store.replies import Caller
from golive_redis.store.store import Store

KEYS = Keyspace("golive")
COUNTS_EVERY = 4  # a guard that trades tells its counts every two seconds: each fourth question
# What a guard tells when it connects.
FIRST = {
    "state": "armed",
    "reason": "",
    "term": "1",
    "epoch": "1",
    "in_flight": "0",
    "permits": "0",
    "skipped": "0",
    "durable": "yes",
    "directive": b"x" * 1_000,
    "labels": '{"venue": "paper", "worker": "pod-00000"}',
    "version": "0.1.0",
    "host": "some-host-name",
    "pid": "12345",
}


def packed(*words: object) -> bytes:
    """Return a command as it goes over the connection."""
    raw = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(raw) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in raw)


class RecordedCommandError(Exception):
    """Carries the command that a store was about to send."""


class RecordingLink:
    """A link that sends nothing: it raises the command instead."""

    functions = False

    def call(self, *words: Any) -> Any:
        raise RecordedCommandError(packed(*words))


def command_of(step: Callable[[Store], object]) -> bytes:
    """Return the bytes that a step of the store would send."""
    try:
        step(Store(RecordingLink(), KEYS))  # type: ignore[arg-type]
    except RecordedCommandError as command:
        return command.args[0]
    raise AssertionError("it sent nothing")


class SocketLink:
    """A link over a socket that the crowd goes on using."""

    functions = False

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._first = True

    def call(self, *words: Any) -> Any:
        self.send(*words)
        reply = self.socket.recv(65536)
        return int(reply[1:]) if reply[:1] == b":" else reply

    def send(self, *words: Any) -> None:
        self.socket.sendall(packed(*words))

    def close(self) -> None:
        self.socket.close()


class Crowd:
    """So many guards, of which some also take pushes.

    Args:
        port: Of the server.
        size: How many attend.
        known: Identities of the directive in force and of the tombstone, as a guard knows them.
        read_every_ms: Their timer.
        bare: Ask with one PEXPIRE instead, for the floor.
    """

    def __init__(
        self,
        port: int,
        size: int,
        known: tuple[str, str],
        read_every_ms: int,
        *,
        bare: bool = False,
    ) -> None:
        self._port = port
        self._period = read_every_ms / 1000
        self._poll = select.epoll()
        self._links: dict[int, SocketLink] = {}
        self._questions: list[tuple[SocketLink, list[bytes]]] = []
        self._due: list[tuple[float, int, int]] = []
        self.sent = 0
        for number in range(size):
            caller = Caller("worker", f"pod-{number:05}", secrets.token_hex(16))
            ask = Ask(secrets.token_hex(8), *known)
            key = KEYS.worker(caller.name, caller.instance)
            if bare:
                questions = [packed("PEXPIRE", key, 10_000)]
                first = packed("HSET", key, "state", "armed")
            else:
                quiet, counts, first = (
                    command_of(lambda store, f=fields, a=ask, c=caller: store.attend(a, c, f))
                    for fields in ({}, {"permits": "1234"}, FIRST)
                )
                questions = [quiet] * (COUNTS_EVERY - 1) + [counts]
            link = self._connect()
            link.socket.sendall(first)
            link.socket.recv(65536)
            self._schedule(link, questions)

    def _connect(self) -> SocketLink:
        link = SocketLink(self._port)
        self._links[link.socket.fileno()] = link
        self._poll.register(link.socket.fileno(), select.EPOLLIN)
        return link

    def _schedule(self, link: SocketLink, questions: list[bytes]) -> None:
        self._questions.append((link, questions))
        now = time.monotonic() + random.random() * self._period
        heapq.heappush(self._due, (now, len(self._questions) - 1, 0))

    def take_pushes(self, size: int) -> None:
        """Let so many of them subscribe and track, and ping."""
        for _ in range(size):
            push = Push(self._connect, KEYS, lambda: 0.0, 0.0)  # type: ignore[arg-type]
            push.open()
            self._schedule(push._subscriber, [packed("PING")])  # type: ignore[arg-type]

    def run(self, seconds: float) -> None:
        """Ask as the timers say, with a tenth of jitter."""
        now = time.monotonic()
        end = now + seconds
        while now < end:
            due, number, turn = self._due[0]
            if due <= now:
                link, questions = self._questions[number]
                link.socket.send(questions[turn % len(questions)])
                self.sent += 1
                later = due + self._period * random.uniform(0.9, 1.0)
                heapq.heapreplace(self._due, (max(later, now), number, turn + 1))
                if self.sent % 64:
                    continue
            for ready, _ in self._poll.poll(max(0.0, min(due - now, 0.01)), 256):
                self._links[ready].socket.recv(65536)
            now = time.monotonic()

    def close(self) -> None:
        for link in self._links.values():
            link.close()
        self._poll.close()


def load_script(client: Any) -> None:
    """Load `attend`, as the first guard's question does."""
    client.script_load(scripts.text("attend"))
