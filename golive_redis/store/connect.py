"""Connections: one socket, one question at a time, no hidden retries, every wait bounded.

redis-py's defaults are unfit here: eleven attempts of 5 s each, and a retried write that is applied
twice (DESIGN.md section 9). So its connection objects are used one at a time, without a pool and
without retries, and its exceptions become ours in this file only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from redis.retry import Retry

from golive_redis.config import Config
from golive_redis.errors import (
    ConfigError,
    MaybeAppliedError,
    StoreError,
    StoreUnavailableError,
)

Reply = Any
_SENTINEL = "redis+sentinel"

# redis-py takes the code off the message of errors that have a class of their own.
_CODES: tuple[tuple[type[RedisError], str], ...] = (
    (NoScriptError, "NOSCRIPT"),
    (NoPermissionError, "NOPERM"),
    (OutOfMemoryError, "OOM"),
    (ReadOnlyError, "READONLY"),
    (BusyLoadingError, "LOADING"),
    (AuthenticationError, "NOAUTH"),
)


# A command that the ACL denies inside a script comes back as a plain ERR: Valkey's words, Redis's.
_DENIED_INSIDE = ("ACL failure in script", "The user executing the script can't")


class StoreRefusedError(StoreError):
    """Redis answered with an error; the command was not applied.

    Attributes:
        code: First word of the error: OOM, MISCONF, READONLY, NOREPLICAS, NOPERM, WRONGTYPE ...
    """

    reason = "store-refused"

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"Redis refused: {text}", hint=_HINTS.get(code, ""))
        self.code = code


_HINTS = {
    "OOM": "Redis has reached maxmemory; free memory or raise the limit",
    "LOADING": "Redis is still reading its data; try again in a moment",
    "MISCONF": "Redis cannot save to disk; see its log",
    "READONLY": "this is a replica; connect to the primary, or through Sentinel",
    "NOREPLICAS": "too few replicas are connected for min-replicas-to-write",
    "NOPERM": "the ACL user lacks a permission; see docs/how-to/acl.md",
    "NOAUTH": "set store.username and store.password_env",
    "WRONGTYPE": "a key of this namespace was overwritten; see docs/how-to/troubleshoot.md",
}


class Link(Protocol):
    """One connection: ask and read, or send and read separately."""

    @property
    def closed(self) -> bool:
        """True while it is not connected: the next command may find another server."""
        ...

    def call(self, *args: str | bytes | int) -> Reply:
        """Send a command and return its reply."""
        ...

    def send(self, *args: str | bytes | int) -> None:
        """Send a command without reading its reply."""
        ...

    def pipeline(self, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Reply]:
        """Send several commands at once; an error reply stands in its place as an exception."""
        ...

    def receive(self, timeout_ms: float) -> Reply | None:
        """Return the next reply, or None when none came in time."""
        ...

    def close(self) -> None:
        """Close the socket; never raises."""
        ...


class RedisLink:
    """A `Link` over one redis-py connection.

    Raises:
        StoreUnavailableError: Not connected and not connectable; the command did not leave.
        MaybeAppliedError: The command left and no answer came; the connection is closed.
        StoreRefusedError: Redis answered with an error.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def closed(self) -> bool:
        """True while it is not connected: the next command may find another server."""
        return not self._connection.is_connected

    def open(self) -> None:
        """Connect and log in now rather than at the first command."""
        with _unavailable():
            self._connection.connect()

    def call(self, *args: str | bytes | int) -> Reply:
        """Send a command and return its reply."""
        self.send(*args)
        return self._read()

    def send(self, *args: str | bytes | int) -> None:
        """Send a command without reading its reply."""
        self.open()
        with self._maybe_applied():
            self._connection.send_command(*args)

    def pipeline(self, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Reply]:
        """Send several commands at once; an error reply stands in its place as an exception."""
        self.open()
        with self._maybe_applied():
            packed = self._connection.pack_commands(commands)
            self._connection.send_packed_command(packed)
        replies: list[Reply] = []
        for _ in commands:
            try:
                replies.append(self._read())
            except StoreRefusedError as error:
                replies.append(error)
        return replies

    def receive(self, timeout_ms: float) -> Reply | None:
        """Return the next reply, or None when none came in time; never reconnects."""
        if not self._connection.is_connected:
            # redis-py would connect anew: a socket without the subscriptions of the old one.
            raise StoreUnavailableError("the connection is closed")
        with self._maybe_applied():
            if not self._connection.can_read(timeout=timeout_ms / 1000):
                return None
        return self._read()

    def _read(self) -> Reply:
        with self._maybe_applied():
            try:
                # Said explicitly: on a Sentinel connection redis-py's default is to keep it open
                # after a timeout, and the late reply would answer the next command.
                return self._connection.read_response(disconnect_on_error=True)
            except (ResponseError, AuthenticationError, BusyLoadingError) as error:
                raise _refused(error) from error
            except RedisConnectionError as error:
                # A Sentinel connection turns READONLY into a lost connection.
                if isinstance(error.__context__, ReadOnlyError):
                    raise _refused(error.__context__) from error
                raise

    @contextmanager
    def _maybe_applied(self) -> Iterator[None]:
        try:
            yield
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            self.close()  # redis-py leaves it open in some cases; a late reply must find nobody
            raise MaybeAppliedError(f"no answer from Redis: {error}") from error
        except RedisError as error:
            self.close()
            raise MaybeAppliedError(f"no usable answer from Redis: {error}") from error

    def close(self) -> None:
        """Close the socket. In a forked child this leaves the parent's connection alone."""
        try:  # noqa: SIM105  (contextlib.suppress would hide what is meant: closing never fails)
            self._connection.disconnect()
        except Exception:  # noqa: BLE001, S110
            pass


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except (AuthenticationError, NoPermissionError) as error:
        hint = "check store.username and the variable that store.password_env names"
        raise StoreUnavailableError(f"Redis refused the login: {error}", hint=hint) from error
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        hint = "is it running? store.url, or $GOLIVE_REDIS_URL, says where"
        raise StoreUnavailableError(f"cannot reach Redis: {error}", hint=hint) from error
    except RedisError as error:
        raise StoreUnavailableError(f"Redis does not serve us: {error}") from error


def _refused(error: RedisError) -> StoreRefusedError:
    text = str(error)
    code = getattr(error, "status_code", None)
    for kind, name in _CODES:
        if not code and isinstance(error, kind):
            code = name
    if code:
        text = f"{code} {text}"
    if any(words in text for words in _DENIED_INSIDE):
        return StoreRefusedError("NOPERM", text)
    return StoreRefusedError(text.partition(" ")[0], text)


class Address(msgspec.Struct, frozen=True):
    """Where Redis is and how to log in.

    Attributes:
        url: `redis://`, `rediss://`, `unix://` or `redis+sentinel://host:port,host:port/service[/db]`.
        ca: PEM file of the authority that must have signed the server's certificate.
        cert: Our certificate, where the server asks for one.
        key: Its key.
    """

    url: str
    username: str | None = None
    password: str | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    @classmethod
    def of(cls, config: Config) -> Address:
        """Return where the store of a configuration is, with the login from the environment."""
        store = config.policy.store
        files = {
            name: str(config.resolve(value))
            for name in ("ca", "cert", "key")
            if (value := getattr(store.tls, name, None)) is not None
        }
        return cls(config.url, store.username, config.password, **files)

    def link(
        self, *, timeout_ms: float, connect_timeout_ms: float | None = None, name: str = "golive"
    ) -> RedisLink:
        """Return a new, not yet connected link.

        Args:
            timeout_ms: Bound on each read and write.
            connect_timeout_ms: Bound on connecting; the same when None.
            name: Client name, as `CLIENT LIST` shows it.

        Raises:
            ConfigError: The URL is none of ours.
        """
        options: dict[str, Any] = {
            "socket_timeout": timeout_ms / 1000,
            "socket_connect_timeout": (connect_timeout_ms or timeout_ms) / 1000,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "client_name": name,
            "driver_info": None,
            "health_check_interval": 0,
        }
        if self.username is not None:
            options["username"] = self.username
        if self.password is not None:
            options["password"] = self.password
        if self.ca or self.cert:
            options |= {"ssl_ca_certs": self.ca, "ssl_certfile": self.cert, "ssl_keyfile": self.key}
        try:
            if self.url.startswith(f"{_SENTINEL}://"):
                pool = self._sentinel(options)
            else:
                pool = ConnectionPool.from_url(self.url, **options)
            return RedisLink(pool.make_connection())
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"store.url {self.shown!r}: {error}",
                hint="redis://host:6379/0, rediss://..., unix:///path, "
                "or redis+sentinel://host:26379,host:26379/service",
            ) from error

    def _sentinel(self, options: dict[str, Any]) -> Any:
        from redis.sentinel import (  # noqa: PLC0415  (a few ms that only Sentinel pays)
            Sentinel,
            SentinelConnectionPool,
        )

        parts = urlsplit(self.url)
        service, _, db = parts.path.strip("/").partition("/")
        if not service:
            raise ValueError("the path names no service")
        hosts = parts.netloc.rpartition("@")[2].split(",")
        nodes = [
            (host.strip("[]"), int(port or 26379))
            for host, _, port in (
                item.rpartition(":") if ":" in item else (item, "", "") for item in hosts
            )
        ]
        if parts.username:
            options.setdefault("username", unquote(parts.username))
        if parts.password:
            options.setdefault("password", unquote(parts.password))
        query = parse_qs(parts.query)
        keep = ("socket_timeout", "socket_connect_timeout", "retry", "protocol")
        make: Any = Sentinel  # redis-py leaves these two without types
        sentinel = make(nodes, sentinel_kwargs={name: options[name] for name in keep})
        options["ssl"] = query.get("ssl", ["false"])[0] == "true"
        if not options["ssl"]:
            options.pop("ssl")
        pool: Any = SentinelConnectionPool
        return pool(service, sentinel, db=int(db or 0), **options)

    @property
    def shown(self) -> str:
        """The URL without its password."""
        head, at, tail = self.url.rpartition("@")
        if not at:
            return self.url
        scheme, sep, login = head.partition("://")
        return f"{scheme}{sep}{login.partition(':')[0]}:***@{tail}"


def assert_user(link: Link, username: str | None) -> None:
    """Refuse a connection that is not logged in as the configured user.

    One bad ACL token makes a whole SETUSER fail and can leave a client `default`.

    Raises:
        StoreUnavailableError: Redis says that we are somebody else.
    """
    if username is None:
        return
    whoami = link.call("ACL", "WHOAMI")
    if whoami != username.encode():
        raise StoreUnavailableError(
            f"logged in as {whoami.decode()!r}, not as {username!r}",
            hint="check the ACL users on the server",
        )
