"""Names of hosts, looked up beside the clock (A9).

`getaddrinfo` cannot be bounded: with a nameserver that does not answer it takes over a minute, in which
a stop is not signed and a heartbeat does not end. So it runs in a thread of its own and is waited for
as long as there is time. The address that was connected last is remembered, also on disk where there is
a state folder, and is taken when no answer comes: the name was right before, and whoever answers there
must still show a certificate where there is TLS, and signed records in any case.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

Found = tuple[Any, Any, int, str, Any]  # as of getaddrinfo

FILE = "addresses.json"
# With an address at hand a lookup is waited for only so long; a healthy one takes some milliseconds.
FRESH_S = 0.1
# One that hangs is not waited for for ever by those who come later, and not without end beside it.
STALE_S = 2.0
MAX_AT_ONCE = 4
MAX_KNOWN = 64


class _Lookup:
    """One call of getaddrinfo, in its thread.

    Args:
        host: Asked for.
        port: Likewise.
        keep: Takes what it found, also when nobody waits for it any more.
    """

    def __init__(self, host: str, port: int, keep: Callable[[list[Found]], None]) -> None:
        self.began = time.monotonic()
        self.done = threading.Event()
        self.found: list[Found] = []
        self.problem: OSError | None = None
        self._where = (host, port)
        self._keep = keep

    def start(self) -> None:
        """Run in a thread; where none can be started, here, for not to ask would help nobody."""
        thread = threading.Thread(target=self.run, name="golive-names", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self.run()

    def run(self) -> None:
        """Ask."""
        try:
            self.found = socket.getaddrinfo(*self._where, type=socket.SOCK_STREAM)
            self._keep(self.found)
        except (OSError, ValueError) as error:  # a name that cannot be encoded is a ValueError
            self.problem = error if isinstance(error, OSError) else OSError(str(error))
        finally:
            self.done.set()


class Names:
    """What this process knows of names."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], list[_Lookup]] = {}
        self._found: dict[tuple[str, int], list[Found]] = {}
        self._good: dict[tuple[str, int], str] = {}

    def find(self, host: str, port: int, within_s: float, folder: Path | None) -> list[Found]:
        """Return where a host is.

        Args:
            host: Its name, or an address, which is not looked up.
            port: Of the service.
            within_s: Bound on the wait.
            folder: Where addresses are remembered between processes, or None.

        Raises:
            OSError: Nobody says so, or not in time, and nothing is remembered.
        """
        with suppress(OSError, ValueError):
            return _literal(host, port)
        lookup = self._lookup(host, port)
        known = self._found.get((host, port)) or _kept_for(host, port, folder)
        lookup.done.wait(min(within_s, FRESH_S) if known else within_s)
        # The newest there is: of this lookup, or of one that ended when nobody waited for it.
        found = self._found.get((host, port)) or known
        if found:
            return found
        if lookup.problem is not None:
            raise lookup.problem
        # No TimeoutError: redis-py would not say that it was the name.
        raise socket.gaierror(
            socket.EAI_AGAIN, f"no answer within {within_s * 1000:.0f} ms for the name {host}"
        )

    def connected(self, host: str, port: int, address: str, folder: Path | None) -> None:
        """Remember for other processes which address of a host was connected last."""
        key = (host, port)
        if host == address or self._good.get(key) == address:
            return
        with self._lock:
            self._good[key] = address
        if folder is not None:
            _keep(folder, f"{host}:{port}", address)

    def forget(self) -> None:
        """In a forked child: its parent's threads do not run here, and one may have held the lock."""
        self._lock = threading.Lock()
        self._running.clear()

    def _lookup(self, host: str, port: int) -> _Lookup:
        with self._lock:
            running = [
                item for item in self._running.get((host, port), []) if not item.done.is_set()
            ]
            fresh = running and time.monotonic() - running[-1].began < STALE_S
            if fresh or len(running) >= MAX_AT_ONCE:
                return running[-1]
            lookup = _Lookup(host, port, partial(self._found.__setitem__, (host, port)))
            self._running[host, port] = [*running, lookup]
        lookup.start()
        return lookup


def _literal(host: str, port: int) -> list[Found]:
    return socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    )


def _kept_for(host: str, port: int, folder: Path | None) -> list[Found]:
    good = _kept(folder).get(f"{host}:{port}") if folder is not None else None
    if good is not None:
        with suppress(OSError, ValueError):  # what a file holds may be anything
            return _literal(good, port)
    return []


def _kept(folder: Path) -> dict[str, str]:
    """Return what the file says; it is a convenience, and one that cannot be read is none."""
    try:
        value = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {name: text for name, text in value.items() if isinstance(text, str)}


def _keep(folder: Path, name: str, address: str) -> None:
    kept = _kept(folder)
    if kept.pop(name, None) == address:
        return
    newest = dict([*kept.items(), (name, address)][-MAX_KNOWN:])
    beside = folder / f".{FILE}.{os.getpid()}.{threading.get_ident()}"
    try:
        beside.write_text(json.dumps(newest))
        beside.replace(folder / FILE)
    except OSError:  # a full disk, or a folder that is not there: nothing depends on it
        with suppress(OSError):
            beside.unlink()


NAMES = Names()
os.register_at_fork(after_in_child=NAMES.forget)
