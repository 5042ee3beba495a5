"""A server that answers drop by drop: each wait of a client ends in time, and all of them never do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

DRIPS_S = 60.0
EVERY_S = 0.02

# What came, to what is answered at once and what drips after it.
Answers = Callable[[bytes], tuple[bytes, bytes]]


class DrippingServer:
    """Accepts everybody; `where` is HOST:PORT. A context manager."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.where = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> DrippingServer:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._listener.close()
        for peer in self._open:
            peer.close()

    def _serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                peer, _ = self._listener.accept()
                self._open.append(peer)
                threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        with suppress(OSError):  # the client gave up
            while data := peer.recv(65_536):
                whole, drips = self._answers(data)
                peer.sendall(whole)
                until = time.monotonic() + DRIPS_S
                while drips and time.monotonic() < until and not self._ended.wait(EVERY_S):
                    peer.sendall(drips)
