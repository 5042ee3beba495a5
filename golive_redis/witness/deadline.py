"""A socket with one deadline for everything: whoever sends a byte a second gets no second more.

The time-outs of `socket` count from each call anew, and so do those of `http.client` and `http.server`.
"""

from __future__ import annotations

import io
import socket
from typing import Any

from golive_redis import clock


class Deadline:
    """A moment on the steady clock.

    Args:
        within_s: From now.
    """

    def __init__(self, within_s: float) -> None:
        self._at_ms = clock.now_ms() + within_s * 1000

    def left_s(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: None are.
        """
        left_s = (self._at_ms - clock.now_ms()) / 1000
        if left_s <= 0:
            raise TimeoutError("timed out")
        return left_s


class TimedReader(io.RawIOBase):
    """What comes from a socket, until its deadline.

    Args:
        sock: May be closed before the reader is: it goes once both are.
        deadline: May be replaced by a later one between two requests.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self.deadline = deadline

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read what is there; 0 at the end.

        Raises:
            OSError: The connection broke, or the deadline has passed (TimeoutError).
        """
        self._sock.settimeout(self.deadline.left_s())
        return self._raw.readinto(buffer) or 0

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()


class TimedSocket:
    """As much of a socket as `http.client` uses, until a deadline.

    Args:
        sock: Connected.
        deadline: For all that follows.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a reader; `mode` is `rb`."""
        del mode
        return io.BufferedReader(TimedReader(self._sock, self._deadline))

    def sendall(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            OSError: The connection broke, or the deadline has passed (TimeoutError).
        """
        self._sock.settimeout(self._deadline.left_s())  # for the whole call
        self._sock.sendall(data)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()
