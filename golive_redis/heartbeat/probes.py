"""The HTTP endpoint of a heartbeat: `/live` and `/ready` for the probes of Kubernetes and the like.

One thread, which waits for no client: it reads and writes what its sockets take just now. The server of
the standard library waits for each client in turn, so that one who says nothing keeps the others from
being answered, or takes a thread for each, which a host at its limit does not have.
"""

from __future__ import annotations

import errno
import os
import re
import selectors
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus

from golive_redis import clock
from golive_redis.clock import Throttle
from golive_redis.errors import ConfigError
from golive_redis.heartbeat.health import Health
from golive_redis.logs import Log
from golive_redis.masking import printable
from golive_redis.threads import Backoff, Loop

MAX_CLIENTS = 8
"""At once; one more takes the place of the oldest."""
CLIENT_MS = 2_000.0
"""So long a client may take to ask, and to read the answer."""
MAX_HEAD = 8 * 1024  # bytes of a request that are read
LOOK_S = 0.5  # how often clients that take too long are looked for, and the end
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0

Page = Callable[[], tuple[HTTPStatus, str]]
_WHERE = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})")

logger = Log("golive_redis.heartbeat")


def pages(health: Callable[[], Health]) -> dict[str, Page]:
    """Return what a heartbeat answers, by path."""

    def page(of: Callable[[Health], tuple[bool, str]]) -> Page:
        def ask() -> tuple[HTTPStatus, str]:
            well, text = of(health())
            return (HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE), printable(text)

        return ask

    return {"/live": page(Health.live), "/ready": page(Health.ready)}


class Probes:
    """Listens at once, and answers from `start` on.

    Args:
        where: `HOST:PORT`, an IPv6 address in brackets. The host says from where it can be asked, so it
            is never left out; port 0 takes one that is free.

    Attributes:
        url: Where it is asked.

    Raises:
        ConfigError: That is no address, or it cannot be listened on.
    """

    def __init__(self, where: str) -> None:
        self._listener = _listen(where)
        host, port = self._listener.getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._listener.setblocking(False)
        self._pages: Mapping[str, Page] = {}
        self._clients: dict[socket.socket, _Client] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._said = Throttle()
        pauses = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._loop = Loop(
            "probes", self._turn, failed=self._failed, ended=self._end, backoff=pauses
        )

    def start(self, pages: Mapping[str, Page]) -> None:
        """Begin to answer.

        Args:
            pages: What is answered, by path; asked on a thread of ours, and at once.

        Raises:
            ConfigError: No thread could be started.
        """
        self._pages = pages
        if not self._loop.start():
            raise ConfigError(
                "no thread could be started for the probes",
                hint="this host has no more threads for this user: see ulimit -u",
            )

    def close(self) -> None:
        """Answer no more. Returns at once; the thread ends by itself."""
        self._loop.closing.set()
        if not self._loop.is_alive():
            self._end()

    # -- its thread ------------------------------------------------------------------------------

    def _turn(self) -> None:
        ready = self._selector.select(LOOK_S)
        self._loop.check()  # a forked child would tell how its parent was
        for key, _ in ready:
            client = self._clients.get(key.fileobj)  # type: ignore[call-overload]
            if client is None:
                self._accept()
            elif not client.goes_on():
                self._drop(client)
        late = clock.now_ms() - CLIENT_MS
        for client in [each for each in self._clients.values() if each.since_ms < late]:
            self._drop(client)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # gone already
        if len(self._clients) >= MAX_CLIENTS:
            self._drop(next(iter(self._clients.values())))
        client = _Client(sock, self._pages, self._selector)
        self._clients[sock] = client

    def _drop(self, client: _Client) -> None:
        del self._clients[client.sock]
        self._selector.unregister(client.sock)
        client.sock.close()

    def _failed(self, error: Exception) -> None:
        if self._said.due(repr(error)):
            defect = None if isinstance(error, OSError) else error
            text = "the heartbeat goes on, but probes cannot be answered: %s"
            logger.error(text, str(error), exc_info=defect)

    def _end(self) -> None:
        for client in list(self._clients.values()):
            self._drop(client)
        self._selector.close()
        self._listener.close()


class _Client:
    """One connection: a request, its answer, and the end."""

    def __init__(
        self, sock: socket.socket, pages: Mapping[str, Page], selector: selectors.BaseSelector
    ) -> None:
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ)
        self.sock = sock
        self.since_ms = clock.now_ms()
        self._pages = pages
        self._selector = selector
        self._head = b""
        self._answer: bytes | None = None

    def goes_on(self) -> bool:
        """Read or write what can be now; False when that was the last."""
        try:
            return self._write() if self._answer else self._read()
        except BlockingIOError:
            return True
        except OSError:
            return False  # it has gone, which is its affair

    def _read(self) -> bool:
        data = self.sock.recv(MAX_HEAD)
        if self._answer is not None:
            # A body, say. Closing before it is read would reset the connection, answer and all.
            return bool(data)
        self._head += data
        whole = b"\r\n\r\n" in self._head or b"\n\n" in self._head
        if not whole and len(self._head) < MAX_HEAD:
            return bool(data)
        self._answer = _answer(self._head, self._pages, whole=whole)
        return self._write()

    def _write(self) -> bool:
        assert self._answer is not None  # noqa: S101  (for the type checker)
        self._selector.modify(self.sock, selectors.EVENT_WRITE)
        self._answer = self._answer[self.sock.send(self._answer) :]
        if not self._answer:
            self.sock.shutdown(socket.SHUT_WR)
            self._selector.modify(self.sock, selectors.EVENT_READ)
        return True


def _answer(head: bytes, pages: Mapping[str, Page], *, whole: bool) -> bytes:
    """Return the response to a request, of which only the first line matters."""
    words = head.partition(b"\n")[0].decode("latin-1").split()
    more = ""
    if not whole:
        status, text = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"over {MAX_HEAD} bytes"
    elif len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004  (method, path, version)
        status, text = HTTPStatus.BAD_REQUEST, "not HTTP/1.1"
    elif (page := pages.get(words[1].partition("?")[0])) is None:
        status, text = HTTPStatus.NOT_FOUND, f"there are {' and '.join(pages)}"
    elif words[0] != "GET":
        status, text, more = HTTPStatus.METHOD_NOT_ALLOWED, "only GET", "Allow: GET\r\n"
    else:
        status, text = page()
    body = f"{text}\n".encode()
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n{more}"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    ).encode() + body


def _listen(where: str) -> socket.socket:
    match = _WHERE.fullmatch(where)
    if match is None or int(match["port"]) > 65_535:  # noqa: PLR2004  (the highest port)
        raise ConfigError(
            f"--listen {where}: not HOST:PORT",
            hint="127.0.0.1:8086 is asked from this host only, 0.0.0.0:8086 or [::]:8086 from others",
        )
    host = match["six"] or match["host"]
    try:
        found = socket.getaddrinfo(
            host, int(match["port"]), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        # Where all addresses of this host are meant, those of IPv4, too.
        dual = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address[:2], family=family, backlog=64, dualstack_ipv6=dual)
    except (OSError, UnicodeError) as error:
        number = error.errno if isinstance(error, OSError) else None
        taken = number == errno.EADDRINUSE
        known = number is not None and number in errno.errorcode
        raise ConfigError(
            f"--listen {where}: {os.strerror(number) if known and number else error}",
            hint="end the process that has this port, or take another port"
            if taken
            else "HOST is an address of this host, such as 127.0.0.1, 0.0.0.0 or [::]",
        ) from error
