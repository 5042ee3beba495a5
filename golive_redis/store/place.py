"""Where Redis is: a URL, read by us and refused where it says anything that we do not know.

redis-py takes every setting of a connection from behind the `?` and lets it win over ours: a longer
time-out, no certificate, another protocol. So it is handed no URL. Few parameters are known, and an
unknown one is an error with the nearest known name: whoever wrote `tls=true` meant TLS, and must not
be connected without it.
"""

from __future__ import annotations

import re
from typing import ClassVar
from urllib.parse import parse_qsl, unquote

from golive_redis.masking import Masked

PLAIN, TLS, UNIX = "redis", "rediss", "unix"
SENTINEL, CLUSTER = "redis+sentinel", "redis+cluster"
SCHEMES = (
    "redis://host:6379/0, rediss://host:6379/0, unix:///path, "
    "redis+sentinel://host:26379,host:26379/service or redis+cluster://host:6379,host:6379"
)
WHICH_STORE = (
    "is store.url, or $GOLIVE_REDIS_URL, the fleet's? What is said here is said of that Redis"
)
# What may stand behind the `?`. Nothing here loosens a bound or switches a protection off.
_KNOWN = {
    PLAIN: ("db",),
    TLS: ("db",),
    UNIX: ("db",),
    SENTINEL: ("ssl",),
    CLUSTER: ("ssl",),
}
_PORTS = {PLAIN: 6379, TLS: 6379, SENTINEL: 26379, CLUSTER: 6379}
_MEANT = {"tls": "ssl", "secure": "ssl", "database": "db"}
_ELSEWHERE = (
    ("ssl", "certificate and host name are always verified, and files are under store.tls"),
    ("password", "a password is in the variable that store.password_env names"),
    ("username", "a user is under store.username"),
    ("timeout", "every wait has its own bound, from `timing`"),
    ("retry", "nothing is sent again unseen"),
)
_NODE = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s]+)(?::([0-9]{1,5}))?")
_NUMBER = re.compile(r"[0-9]{1,9}")
_NAME = re.compile(r"[A-Za-z_]{1,32}")
_MAX_PORT = 65_535


class Place(Masked, frozen=True):
    """What a URL says.

    Attributes:
        scheme: One of the five.
        nodes: Host and port of each: the server, or whom to ask where it is; empty for a socket file.
        path: Of the socket file; empty for the others.
        service: Name of the primary, as the Sentinels know it; empty for the others.
        db: Database number.
        tls: True when the server that has the keys is spoken to by TLS.
        username: From the URL, or None.
        password: Likewise.
    """

    MASKED: ClassVar[frozenset[str]] = frozenset({"password"})

    scheme: str
    nodes: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    tls: bool = False
    username: str | None = None
    password: str | None = None

    @property
    def is_located(self) -> bool:
        """True when somebody has to be asked where the primary is."""
        return self.scheme in {SENTINEL, CLUSTER}


def read_place(url: str) -> Place:
    """Read a URL.

    Raises:
        ValueError: It is none of ours, in words that repeat nothing but the name of a parameter: any
            other part of it may be a piece of a password. Fails closed: nothing is guessed.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in _KNOWN or not rest:
        raise ValueError(f"it begins with {', '.join(f'{name}://' for name in _KNOWN)}")
    if "#" in rest:
        raise ValueError("a # has no meaning in it; in a password it is %23")
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    login, _, where = authority.rpartition("@")
    username, _, password = login.partition(":")
    service = ""
    if scheme == SENTINEL:
        service, slash, path = path.partition("/")
        if not service:
            raise ValueError("the path names no service")
    given = _parameters(scheme, query)
    db = given.get("db", "0")
    if scheme in {PLAIN, TLS, SENTINEL} and path:
        if "db" in given:
            raise ValueError("the database is given twice")
        db = path
    if not _NUMBER.fullmatch(db):
        raise ValueError("the database is a number, such as 0")
    return Place(
        scheme,
        _nodes(scheme, where, path),
        f"{slash}{unquote(path)}" if scheme == UNIX else "",
        service,
        int(db),
        scheme == TLS or given.get("ssl") == "true",
        unquote(username) or None,
        unquote(password) or None,
    )


def without_login(url: str) -> str:
    """Return a URL that `read_place` takes, without user and password."""
    scheme, _, rest = url.partition("://")
    rest, mark, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}{mark}{query}"


def _nodes(scheme: str, where: str, path: str) -> tuple[tuple[str, int], ...]:
    if scheme == UNIX:
        if where or not path or not unquote(path).isprintable():
            raise ValueError("a socket file has a path from the root, as in unix:///run/redis.sock")
        return ()
    if scheme == CLUSTER and path:
        raise ValueError("a cluster has neither service nor database; leave the path out")
    nodes = where.split(",")
    if scheme in {PLAIN, TLS} and len(nodes) > 1:
        raise ValueError("one server has one address; several are for Sentinel or a cluster")
    return tuple(_node(item, _PORTS[scheme]) for item in nodes)


def _node(text: str, default: int) -> tuple[str, int]:
    found = _NODE.fullmatch(text)
    if found is None:
        raise ValueError("each address is a host, or host:port with a port that is a number")
    port = int(found[2] or default)
    if not 0 < port <= _MAX_PORT:
        raise ValueError(f"a port is a number from 1 to {_MAX_PORT}")
    host = unquote(found[1].strip("[]"))
    if not host.isprintable():
        raise ValueError("a host has letters, digits, dots and dashes")
    return host, port


def _parameters(scheme: str, query: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _KNOWN[scheme]:
            raise ValueError(_unknown(scheme, name, shown=f"{name}=" in query))
        if name in given:
            raise ValueError(f"{name} is given twice")
        if name == "ssl" and value not in {"true", "false"}:
            raise ValueError("ssl is true or false; write ?ssl=true for TLS")
        given[name] = value
    return given


def _unknown(scheme: str, name: str, *, shown: bool) -> str:
    """Say that a parameter is not known, and what is.

    Args:
        scheme: Of the URL.
        name: Of the parameter.
        shown: False when it may be a piece of a password, as in `?word`.
    """
    import difflib  # noqa: PLC0415  (only for whoever mistyped; a stop does not wait for it)

    known = _KNOWN[scheme]
    if not shown or not _NAME.fullmatch(name):
        return f"behind the ? only {known[0]}=... is known"
    meant = _MEANT.get(name.lower(), name.lower())
    if meant == "ssl" and scheme in {PLAIN, TLS}:
        return f"the parameter {name} is not known; TLS is the scheme rediss://"
    close = difflib.get_close_matches(meant, known, 1)
    instead = f"; did you mean {close[0]}?" if close else f"; only {known[0]} is"
    for word, text in _ELSEWHERE:
        if not close and word in meant:
            instead = f": {text}"
            break
    return f"the parameter {name} is not known{instead}"
