"""The HTTP side of a witness: bodies in, statuses out; what is answered is decided by `judgement`.

A thread for each connection, and a bound for each thing: connections, the bytes of a request, the
seconds that it may take. A witness that is reachable from the internet stands behind a proxy that speaks
TLS.
"""

from __future__ import annotations

import errno
import io
import os
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from golive_redis import clock
from golive_redis.errors import ConfigError, GoliveError, RecordError
from golive_redis.logs import Log
from golive_redis.records.signednote import Sign
from golive_redis.version import VERSION
from golive_redis.witness.database import Database
from golive_redis.witness.deadline import Deadline, TimedReader
from golive_redis.witness.judgement import RefusalError, require_signed
from golive_redis.witness.protocol import (
    ADD_PATH,
    MAX_BODY_BYTES,
    SIZE_TYPE,
    TEXT_TYPE,
    encode_size,
    parse_submission,
)

MAX_CONNECTIONS = 64
REQUEST_S = 10.0
"""For a request to come whole, counted from the end of the one before; a connection may idle as long."""
PLACE_S = 2.0
"""So long a new connection waits for the place of one that was ended for it."""
_PORT_MAX = 65_535
_MS_PER_S = 1000
_WHERE = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})")
_SHOWN = re.compile(r"/([0-9a-f]{64})/checkpoint")

logger = Log("golive_redis.witness")


class Answer(Exception):  # noqa: N818  (no error: how a request ends)
    """What a request gets instead of a cosignature."""

    def __init__(
        self, status: HTTPStatus, body: bytes, kind: str = TEXT_TYPE, *, close: bool = False
    ) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.kind = kind
        self.close = close


class WitnessServer:
    """Listens at once, and answers from `serve` on.

    Args:
        where: `HOST:PORT`, an IPv6 address in brackets; port 0 takes one that is free.
        database: What this witness remembers.
        by: Signs with the key that the database belongs to.
        say: Told in a sentence what was cosigned and what was refused; must not wait.
        wall_ms: The clock whose time is signed, Unix ms.

    Attributes:
        url: Where it is asked.

    Raises:
        ConfigError: That is no address, or it cannot be listened on.
    """

    def __init__(
        self,
        where: str,
        database: Database,
        by: Sign,
        *,
        say: Callable[[str], object] = logger.info,
        wall_ms: Callable[[], int] = clock.wall_ms,
    ) -> None:
        self._database = database
        self._by = by
        self._say = say
        self._wall_ms = wall_ms
        self._server = _Server(_address(where), self)
        host, port = self._server.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        self.url = f"http://{shown}:{port}"

    def serve(self) -> None:
        """Answer until `close` is called from another thread."""
        self._server.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """Answer no more, and let go of the port; `serve` has been called, or is about to be.

        A request that is under way may still get its answer.
        """
        self._server.shutdown()
        self._server.server_close()

    def add(self, body: bytes) -> bytes:
        """Return the cosignature line for a checkpoint that continues what is known.

        Raises:
            Answer: What else is said.
        """
        try:
            submission = parse_submission(body)
        except RecordError as error:
            raise Answer(HTTPStatus.BAD_REQUEST, _line(error.message)) from error
        origin = submission.checkpoint.origin
        try:
            accepted = require_signed(submission, self._database.keys_of(origin))
            line = self._database.cosign(
                submission, accepted, body, by=self._by, now_s=self._wall_ms() // _MS_PER_S
            )
        except RefusalError as error:
            self._say(f"{origin}: refused ({error.status:d}): {error.message}")
            if error.known is not None:
                raise Answer(error.status, encode_size(error.known), SIZE_TYPE) from error
            raise Answer(error.status, _line(error.message)) from error
        except GoliveError as error:
            self._say(f"{origin}: NOT ANSWERED: {error.message}")
            said = "this witness cannot remember anything now"
            raise Answer(HTTPStatus.INTERNAL_SERVER_ERROR, _line(said)) from error
        self._say(f"{origin}: cosigned {submission.checkpoint.size} entries")
        return line

    def shown(self, path: str) -> bytes:
        """Return the newest cosigned checkpoint that is asked for.

        Raises:
            Answer: There is none, or the database failed.
        """
        asked = _SHOWN.fullmatch(path)
        try:
            note = self._database.newest(asked[1]) if asked else None
        except GoliveError as error:
            self._say(f"NOT ANSWERED: {error.message}")
            said = "this witness cannot read its memory now"
            raise Answer(HTTPStatus.INTERNAL_SERVER_ERROR, _line(said)) from error
        if note is None:
            said = "there are POST /add-checkpoint and GET /SHA256-OF-ORIGIN/checkpoint"
            said = "nothing is cosigned for this log" if asked else said
            raise Answer(HTTPStatus.NOT_FOUND, _line(said))
        return note


def _line(text: str) -> bytes:
    return f"{text}\n".encode(errors="replace")


class _Server(ThreadingMixIn, TCPServer):
    """Accepts connections, so many at once."""

    allow_reuse_address = True
    request_queue_size = MAX_CONNECTIONS
    daemon_threads = True
    block_on_close = False

    def __init__(
        self, found: tuple[socket.AddressFamily, tuple[Any, ...]], witness: WitnessServer
    ) -> None:
        self.witness = witness
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._lock = threading.Lock()
        self._waiting: dict[socket.socket, None] = {}
        self.address_family, (host, port, *_) = found
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise ConfigError(
                f"--listen {host}:{port}: {os.strerror(error.errno or 0)}",
                hint="end the process that has this port, or take another port"
                if taken
                else "HOST is an address of this host, such as 127.0.0.1, 0.0.0.0 or [::]",
            ) from error

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer on a thread; where all are taken, in the place of who has waited longest.

        A client that connects and asks nothing must not keep others from being answered.
        """
        if not self._places.acquire(blocking=False):
            self._end_oldest()
            if not self._places.acquire(timeout=PLACE_S):
                self.shutdown_request(request)
                return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the host has no more threads for this user
            self._places.release()
            self.shutdown_request(request)

    def _end_oldest(self) -> None:
        with self._lock:
            oldest = next(iter(self._waiting), None)
        if oldest is not None:
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)  # its thread reads the end, and goes

    def waits(self, connection: socket.socket) -> None:
        """Note that this connection has no request under way."""
        with self._lock:
            self._waiting[connection] = None

    def asks(self, connection: socket.socket) -> None:
        """Note that it has, or that it has ended."""
        with self._lock:
            self._waiting.pop(connection, None)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, on a thread of its own."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.asks(request)
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what no request should do to us; the witness goes on."""
        del request, client_address
        logger.exception("a request has failed")  # noqa: LOG004  (called while it is handled)


class _Handler(BaseHTTPRequestHandler):
    """One connection: request after request, until one takes too long."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: between two, a kernel waits for an acknowledgement
    server_version = f"golive/{VERSION}"
    sys_version = ""
    server: _Server

    def setup(self) -> None:
        """Read with one deadline for each request, instead of one for each packet."""
        super().setup()
        self._reader = TimedReader(self.connection, Deadline(REQUEST_S))
        self.rfile = io.BufferedReader(self._reader)

    def handle_one_request(self) -> None:
        """Answer one request."""
        self._reader.deadline = Deadline(REQUEST_S)
        self.server.waits(self.connection)
        try:
            super().handle_one_request()  # ends the connection by itself at a TimeoutError
        except OSError:
            self.close_connection = True  # the client has gone, which is its affair

    def handle_expect_100(self) -> bool:
        """Tell the client to send its body, now and not with the answer."""
        self.server.asks(self.connection)
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def do_POST(self) -> None:
        """Take a checkpoint."""
        self._answer(lambda: self.server.witness.add(self._body()))

    def do_GET(self) -> None:
        """Show a checkpoint."""
        self._answer(lambda: self.server.witness.shown(self.path))

    def _answer(self, of: Callable[[], bytes]) -> None:
        self.server.asks(self.connection)
        try:
            said = Answer(HTTPStatus.OK, of())
        except Answer as answer:
            said = answer
        self._send(said)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request of the protocol in plain text, and end the connection."""
        del explain
        self.request_version = self.protocol_version  # or a line that is no HTTP gets no status
        status = HTTPStatus(code)
        self._send(Answer(status, _line(message or status.phrase), close=True))

    def _send(self, said: Answer) -> None:
        self.connection.settimeout(self._reader.deadline.left_s())
        self.send_response(said.status)
        self.send_header("Content-Type", said.kind)
        self.send_header("Content-Length", str(len(said.body)))
        self.send_header("Cache-Control", "no-store")
        if said.close:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(said.body)

    def _body(self) -> bytes:
        """Return the body of the request.

        Raises:
            Answer: It is not for us, or its length is not said, or too much. The connection ends then:
                what follows on it would be read as the next request.
        """
        if self.path != ADD_PATH:
            raise Answer(HTTPStatus.NOT_FOUND, _line(f"there is POST {ADD_PATH}"), close=True)
        said = self.headers.get_all("Content-Length", [])
        if len(said) != 1 or "Transfer-Encoding" in self.headers or not said[0].isdecimal():
            text = "a request says its Content-Length, once"
            raise Answer(HTTPStatus.LENGTH_REQUIRED, _line(text), close=True)
        if len(said[0]) > len(str(MAX_BODY_BYTES)) or int(said[0]) > MAX_BODY_BYTES:
            text = f"{MAX_BODY_BYTES} bytes are the most"
            raise Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _line(text), close=True)
        body = self.rfile.read(int(said[0]))
        if len(body) < int(said[0]):
            raise Answer(HTTPStatus.BAD_REQUEST, _line("the request was cut off"), close=True)
        return body

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (http.server's name)
        """Log nothing: what matters has been logged with the log's name."""


def _address(where: str) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    match = _WHERE.fullmatch(where)
    if match is None or int(match["port"]) > _PORT_MAX:
        raise ConfigError(
            f"--listen {where}: not HOST:PORT",
            hint="127.0.0.1:7380 is asked from this host only, 0.0.0.0:7380 or [::]:7380 from others",
        )
    try:
        found = socket.getaddrinfo(
            match["six"] or match["host"],
            int(match["port"]),
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"--listen {where}: {error}",
            hint="HOST is an address of this host, such as 127.0.0.1, 0.0.0.0 or [::]",
        ) from error
    family, _, _, _, address = found[0]
    return family, address
