"""Where the primary is: asked of Sentinels, or of the nodes of a Redis Cluster, at every connect.

All keys of a switch are in one slot, so of a whole cluster only the owner of that slot matters. Who
is asked may be cut off from the others and know an old state only, so the order is random: the next
try asks somebody else.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from redis.connection import Connection, SSLConnection
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from golive_redis.errors import StoreUnavailableError

SENTINEL = "redis+sentinel"
CLUSTER = "redis+cluster"
_PORTS = {SENTINEL: 26379, CLUSTER: 6379}

Find = Callable[[], tuple[str, int]]


class Seeds(msgspec.Struct, frozen=True):
    """Whom to ask, from a URL `redis+sentinel://a:1,b:2/service/db` or `redis+cluster://a:1,b:2`.

    Attributes:
        scheme: `redis+sentinel` or `redis+cluster`.
        nodes: Host and port of each.
        service: Name of the primary, as the Sentinels know it; empty for a cluster.
        db: Database number.
        ssl: True when the primary is spoken to by TLS (`?ssl=true`).
        login: Username and password of the primary, where the URL has them.
    """

    scheme: str
    nodes: tuple[tuple[str, int], ...]
    service: str
    db: int
    ssl: bool
    login: Mapping[str, str]


def is_located(url: str) -> bool:
    """Tell whether somebody has to be asked where the primary is."""
    return url.startswith(tuple(f"{scheme}://" for scheme in _PORTS))


def parse(url: str) -> Seeds:
    """Read a URL of either kind.

    Raises:
        ValueError: A port that is none, no service, or a path that a cluster cannot have.
    """
    parts = urlsplit(url)
    service, _, db = parts.path.strip("/").partition("/")
    if parts.scheme == SENTINEL and not service:
        raise ValueError("the path names no service")
    if parts.scheme == CLUSTER and service:
        raise ValueError("a cluster has neither service nor database; leave the path out")
    login = {"username": parts.username, "password": parts.password}
    return Seeds(
        scheme=parts.scheme,
        nodes=tuple(
            _node(item, _PORTS[parts.scheme]) for item in parts.netloc.rpartition("@")[2].split(",")
        ),
        service=service,
        db=int(db or 0),
        ssl=parse_qs(parts.query).get("ssl", ["false"])[0] == "true",
        login={name: unquote(value) for name, value in login.items() if value},
    )


def _node(text: str, default: int) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if ":" in text else (text, "", "")
    return host.strip("[]"), int(port or default)


def finder(seeds: Seeds, namespace: str, options: Mapping[str, Any], *, tls: bool) -> Find:
    """Return how to find the primary.

    redis-py's own Sentinel client would do for one half; but it keeps an idle socket at a Sentinel
    for every link, of which a thousand guards have thousands.

    Args:
        seeds: Whom to ask; of a cluster not all nodes, but enough that one of them is up.
        namespace: Of the switch; every key that begins with it is in one slot.
        options: Of redis-py's connections to those who are asked: timeouts, login, certificates.
        tls: Whether they are spoken to by TLS.
    """
    kind: Any = SSLConnection if tls else Connection
    if seeds.scheme == SENTINEL:
        question: tuple[str, ...] = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", seeds.service)
        nothing = f"knows no service {seeds.service!r}"
        read: Callable[[Any], tuple[str, int] | None] = _primary
    else:
        slot = _slot(namespace)
        question = ("CLUSTER", "SLOTS")
        nothing, read = f"nobody owns slot {slot}", partial(_owner, slot)

    def find() -> tuple[str, int]:
        problems, hint = [], _HINTS[seeds.scheme]
        for host, port in random.sample(seeds.nodes, len(seeds.nodes)):
            asked = kind(host=host, port=port, **options)
            try:
                asked.send_command(*question)
                found = read(asked.read_response(disconnect_on_error=True))
            except (RedisError, OSError) as error:
                problems.append(f"{host}:{port}: {error}")
                if isinstance(error, AuthenticationError | NoPermissionError):
                    hint = _LOGIN_HINTS[seeds.scheme]
                continue
            finally:
                asked.disconnect()
            if found is not None:
                # A node that does not know its own address leaves it out: it is where we asked.
                return found[0] or host, found[1]
            problems.append(f"{host}:{port}: {nothing}")
        raise StoreUnavailableError(
            f"nobody says where the primary is: {'; '.join(problems)}", hint=hint
        )

    return find


_HINTS = {
    SENTINEL: "is a Sentinel running at store.url, and does it know that service?",
    CLUSTER: "store.url lists nodes of the cluster; one of them has to be up",
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
