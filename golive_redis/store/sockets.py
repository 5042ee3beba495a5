"""Sockets with a total deadline: a step ends in time, whatever the other side sends, and how slowly.

A time-out of the kernel bounds one wait. A server that sends a byte now and then passes it for ever,
and whoever owns Redis could so hold up a stop before it was signed. Here all waits of a step end
together (A9).
"""

from __future__ import annotations

import errno
import socket
import ssl
import time
from functools import partial
from types import MethodDescriptorType
from typing import Any

# A long reply that keeps coming has more time: what its bytes take at 2 Mbit/s, at most eight times.
BYTES_PER_S = 250_000
MOST = 8
# By so much a step may be late: a deadline nearer than that costs no call of its own.
SLACK_S = 0.005


class Timed:
    """What sockets with and without TLS share: `begin` a step, and every wait in it ends with it."""

    _until: float | None = None
    _more_s = 0.0
    _moved = 0
    _looked = False

    def begin(self, total_s: float, *, since: float | None = None, most: int = MOST) -> None:
        """Begin a step; what is sent and received from now on belongs to it.

        Args:
            total_s: Bound on all its waits together.
            since: When it began, on `time.monotonic`; None is now.
            most: By how many times that may grow for a long reply that keeps coming.
        """
        self._until = (time.monotonic() if since is None else since) + total_s
        self._more_s = total_s * (most - 1)
        self._moved, self._looked = 0, False

    def _within(self, wait: Any, *args: Any) -> Any:
        """Wait no longer than is left of the step; the first wait of a step is only bounded by itself.

        When nothing is left, one more look is taken at what has come meanwhile: this process may have
        been stalled, and the answer be there.

        Raises:
            TimeoutError: Nothing is left, and nothing is there.
            BlockingIOError: Likewise, where the kernel times the waits of a listener.
        """
        if self._until is None:
            return wait(*args)
        more_s = min(self._moved / BYTES_PER_S, self._more_s)
        left_s = self._until + more_s - time.monotonic()
        each_s: float | None = self.gettimeout()  # type: ignore[attr-defined]
        if each_s is None:
            if left_s <= 0 and self._moved:
                raise BlockingIOError(errno.EWOULDBLOCK, "the message did not end in time")
            return wait(*args)
        if left_s >= each_s - SLACK_S or not each_s or not self._moved:
            return wait(*args)
        if left_s <= 0 and self._looked:
            raise TimeoutError("the step took too long")  # A9
        self._looked = left_s <= 0
        self.settimeout(max(0.0, left_s))  # type: ignore[attr-defined]
        try:
            return wait(*args)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            raise TimeoutError("the step took too long") from error  # A9
        finally:
            self.settimeout(each_s)  # type: ignore[attr-defined]

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive, within the step."""
        data: bytes = self._within(super().recv, buflen, flags)  # type: ignore[misc]
        self._moved += len(data)
        return data


class TimedSocket(Timed, socket.socket):
    """A socket without TLS.

    Attributes:
        BLOCKS: Whether a receive waits in the kernel, and so by SO_RCVTIMEO. Those of gevent and
            eventlet never block there: without a time-out of their own they wait for ever.
    """

    BLOCKS = isinstance(socket.socket.recv, MethodDescriptorType)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of it, within the step."""
        self._within(super().sendall, data, flags)
        self._moved += len(data)


class TimedTls(Timed, ssl.SSLSocket):
    """One with TLS, whose `sendall` is made of `send`."""

    def send(self, data: Any, flags: int = 0, **more: Any) -> int:
        """Send some of it, within the step; gevent says how long in an argument of its own."""
        sent: int = self._within(partial(super().send, **more), data, flags)
        self._moved += sent
        return sent


def patched_since() -> bool:
    """Tell whether the sockets of Python have been replaced since this was imported."""
    return not issubclass(TimedSocket, socket.socket)
