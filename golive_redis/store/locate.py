"""Where the primary is: asked of Sentinels, or of the nodes of a Redis Cluster, at every connect.

All keys of a switch are in one slot, so of a whole cluster only the owner of that slot matters. Who
is asked may be cut off from the others and know an old state only, so the order is random: the next
try asks another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from redis.exceptions import AuthenticationError, NoPermissionError

from golive_redis.errors import StoreUnavailableError
from golive_redis.jitter import JITTER
from golive_redis.store.dial import Tcp, Tls
from golive_redis.store.place import CLUSTER, SENTINEL, Place


class Finder:
    """Finds the primary.

    redis-py's own Sentinel client would do for one half; but it keeps an idle socket at a Sentinel
    for every link, of which a thousand guards have thousands.

    Args:
        seeds: Whom to ask; of a cluster not all nodes, but enough that one of them is up.
        namespace: Of the switch; every key that begins with it is in one slot.
        options: Of the connections to those who are asked: bounds, login, certificates. `open_s` is also
            the bound on asking all of them (A9).
        tls: Whether they are spoken to by TLS.
    """

    def __init__(
        self, seeds: Place, namespace: str, options: Mapping[str, Any], *, tls: bool
    ) -> None:
        self._seeds = seeds
        self._options = options
        self._kind: Any = Tls if tls else Tcp
        if seeds.scheme == SENTINEL:
            self._question: tuple[str, ...] = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", seeds.service)
            self._nothing = f"knows no service {seeds.service!r}"
            self._read: Callable[[Any], tuple[str, int] | None] = _primary
        else:
            slot = _slot(namespace)
            self._question = ("CLUSTER", "SLOTS")
            self._nothing, self._read = f"no node owns slot {slot}", partial(_owner, slot)

    def find(self) -> tuple[str, int]:
        """Return host and port of the primary.

        Raises:
            StoreUnavailableError: It was not found.
        """
        return self._find(self._ends())

    def _find(self, ends: float) -> tuple[str, int]:
        nodes, scheme = self._seeds.nodes, self._seeds.scheme
        problems, hint = [], _HINTS[scheme]
        for host, port in JITTER.sample(nodes, len(nodes)):
            try:
                found = self._asked(host, port, ends)
            except Exception as error:  # noqa: BLE001  (whoever answers there may answer anything)
                problems.append(f"{host}:{port}: {error}")
                if isinstance(error, AuthenticationError | NoPermissionError):
                    hint = _LOGIN_HINTS[scheme]
                continue
            if found is not None:
                return found
            problems.append(f"{host}:{port}: {self._nothing}")
        raise StoreUnavailableError(f"the primary was not found: {'; '.join(problems)}", hint=hint)

    def moved(self, here: tuple[str, int]) -> bool:
        """Tell whether most of the Sentinels lead elsewhere by now.

        Sentinel tells a deposed primary that is alive only after some 8 s. Until then it serves
        its connections, and a stop on the new one does not reach them. The nodes of a cluster
        notice by themselves. One Sentinel that is cut off and knows an old state changes nothing.
        """
        if self._seeds.scheme != SENTINEL:
            return False
        ends = self._ends()
        try:
            if self._find(ends) == here:
                return False
        except StoreUnavailableError:
            return False
        elsewhere = 0
        for host, port in self._seeds.nodes:
            with suppress(Exception):
                elsewhere += self._asked(host, port, ends) not in {None, here}
        return 2 * elsewhere > len(self._seeds.nodes)

    def _ends(self) -> float:
        return time.monotonic() + float(self._options["open_s"])

    def _asked(self, host: str, port: int, ends: float) -> tuple[str, int] | None:
        left_s = ends - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("no time was left to ask")
        asked = self._kind(host=host, port=port, **{**self._options, "open_s": left_s})
        try:
            asked.send_command(*self._question)
            found = self._read(asked.read_response(disconnect_on_error=True))
        finally:
            asked.disconnect()
        # A node that does not know its own address leaves it out: it is where we asked.
        return None if found is None else (found[0] or host, found[1])


_HINTS = {
    SENTINEL: "is a Sentinel running there, and does it know that service? store.url, or "
    "$GOLIVE_REDIS_URL, says where",
    CLUSTER: "store.url, or $GOLIVE_REDIS_URL, lists nodes of the cluster; one has to be up",
}
_LOGIN_HINTS = {
    SENTINEL: "check store.sentinel.username and the variable that "
    "store.sentinel.password_env names",
    CLUSTER: "check store.username and the variable that store.password_env names",
}


def _slot(namespace: str) -> int:
    from redis.crc import key_slot  # noqa: PLC0415  (only a cluster has slots)

    return int(key_slot(namespace.encode()))


def _primary(reply: Any) -> tuple[str, int] | None:
    return None if reply is None else (reply[0].decode(), int(reply[1]))


def _owner(slot: int, ranges: Any) -> tuple[str, int] | None:
    for first, last, primary, *_ in ranges:
        if int(first) <= slot <= int(last):
            return (primary[0] or b"").decode(), int(primary[1])
    return None
