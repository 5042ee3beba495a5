"""`golive` on a host whose nameserver does not answer."""

from __future__ import annotations

import socket
import threading
from typing import Any

from golive_cli import main as golive


def main() -> Any:
    """Run the command; a lookup never ends."""
    real = socket.getaddrinfo

    def hangs(host: Any, *args: Any, **options: Any) -> Any:
        if options.get("flags", 0) & socket.AI_NUMERICHOST:
            return real(host, *args, **options)
        threading.Event().wait()
        return []

    socket.getaddrinfo = hangs
    return golive.main()
