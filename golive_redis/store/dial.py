"""Dialling: redis-py's connections, with our own way to a socket.

redis-py looks names up without a bound, has one time-out for each wait and none for the whole, and
trusts the system's authorities beside the configured one. What it does on a socket stays its own.
"""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path
from typing import Any

from redis.connection import Connection, UnixDomainSocketConnection

from golive_redis.store.names import NAMES
from golive_redis.store.sockets import TimedSocket, TimedTls

# Of redis-py's own types half is untyped, and the other half says what does not hold.
_Tcp: Any = Connection
_Unix: Any = UnixDomainSocketConnection


class Tcp(_Tcp):  # type: ignore[misc]
    """A connection by TCP.

    Args:
        open_s: Bound on connecting and logging in, all of it.
        folder: Where addresses are remembered, or None.
        options: Of redis-py.
    """

    def __init__(self, *, open_s: float, folder: Path | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.open_s = open_s
        self._folder = folder

    def _connect(self) -> Any:
        return self._dial(time.monotonic())

    def _dial(self, since: float) -> TimedSocket:
        problem: OSError = OSError(f"{self.host} has no address")
        for family, kind, proto, _, address in NAMES.find(
            self.host, self.port, self._left(since), self._folder
        ):
            sock = TimedSocket(family, kind, proto)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                for option, value in self.socket_keepalive_options.items():
                    sock.setsockopt(socket.IPPROTO_TCP, option, value)
                sock.settimeout(self._left(since))
                sock.connect(address)
            except OSError as error:
                sock.close()
                problem = error
                continue
            NAMES.connected(self.host, self.port, address[0], self._folder)
            sock.settimeout(self.socket_timeout)
            sock.begin(self.open_s, since=since, most=1)  # A9
            return sock
        raise problem

    def _left(self, since: float) -> float:
        """Return how long the next wait on the way may take.

        Raises:
            TimeoutError: The time to connect is over.
        """
        left: float = min(self.socket_connect_timeout, since + self.open_s - time.monotonic())
        if left <= 0:
            raise TimeoutError("connecting took too long")
        return left


class Tls(Tcp):
    """A connection by TLS: certificate and host name are verified, always.

    Args:
        ca: PEM file of the only authority that may have signed the certificate; None takes those of the
            system.
        cert: PEM file of our certificate, or None.
        key: Of its key, or None.
        options: As `Tcp`.
    """

    def __init__(
        self, *, ca: str | None, cert: str | None, key: str | None, **options: Any
    ) -> None:
        super().__init__(**options)
        self._files = (ca, cert, key)

    def _connect(self) -> Any:
        since = time.monotonic()
        # Made anew each time: certificates are renewed while daemons run.
        ca, cert, key = self._files
        context = ssl.create_default_context(cafile=ca)
        context.keylog_filename = None  # type: ignore[assignment]  # a variable of the environment would write the keys down
        context.sslsocket_class = TimedTls
        if cert is not None:
            context.load_cert_chain(cert, key)
        sock = self._dial(since)
        # The handshake as a whole ends with the time-out of the socket.
        sock.settimeout(
            min(max(self.socket_timeout, self.socket_connect_timeout), self._left(since))
        )
        try:
            tls: Any = context.wrap_socket(sock, server_hostname=self.host)
        except (OSError, ValueError):
            sock.close()
            raise
        if not isinstance(tls, TimedTls):
            tls.__class__ = TimedTls  # a context of eventlet makes its own, whatever it is told
        tls.settimeout(self.socket_timeout)
        tls.begin(self.open_s, since=since, most=1)
        return tls


class Unix(_Unix):  # type: ignore[misc]
    """A connection by a socket file.

    Args:
        open_s: As `Tcp`.
        options: Of redis-py.
    """

    def __init__(self, *, open_s: float, **options: Any) -> None:
        super().__init__(**options)
        self.open_s = open_s

    def _connect(self) -> Any:
        sock = TimedSocket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.begin(self.open_s, most=1)
        try:
            sock.settimeout(min(self.socket_connect_timeout, self.open_s))
            sock.connect(self.path)
        except OSError:
            sock.close()
            raise
        sock.settimeout(self.socket_timeout)
        return sock
