"""What a service tells systemd, over the socket it is given (sd_notify(3)).

Without systemd nothing happens. Nothing here raises, and every wait has a bound: a service manager
that does not listen must not stop the heartbeat.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

US_PER_MS = 1000


class Systemd:
    """The service manager, if there is one.

    Args:
        environ: Where `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` are.

    Attributes:
        ping_every_ms: How often the watchdog wants to hear from us: twice per its limit; None when
            it does not watch this process.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL byte of Linux's abstract sockets.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address[:1] in {"/", "@"}:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            # With a timeout, a manager that does not read would keep us spinning in sendto.
            self._socket.setblocking(False)
        self.ping_every_ms = _ping_every_ms(environ) if self._socket else None

    def tell(self, *states: str) -> None:
        """Send assignments such as `READY=1` or `STATUS=beating`."""
        if self._socket is None:
            return
        with contextlib.suppress(OSError):
            self._socket.sendto("\n".join(states).encode(), self._address)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()


def _ping_every_ms(environ: Mapping[str, str]) -> float | None:
    limit_us = environ.get("WATCHDOG_USEC", "")
    if not limit_us.isdecimal() or int(limit_us) == 0:
        return None
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # inherited from a parent; it is the one that is watched
    return int(limit_us) / US_PER_MS / 2
