"""Connecting: where Redis is and how to log in, in one call that also asks who we are then."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from msgspec import structs
from redis.backoff import NoBackoff
from redis.retry import Retry

from golive_redis.errors import ConfigError
from golive_redis.masking import Masked, is_unclear, without_password
from golive_redis.store.dial import Tcp, Tls, Unix
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import RedisLink
from golive_redis.store.locate import Finder
from golive_redis.store.place import (
    CLUSTER,
    SCHEMES,
    SENTINEL,
    UNIX,
    Place,
    read_place,
    without_login,
)

LOGIN_STEPS = 3  # AUTH, CLIENT SETNAME, SELECT


class Address(Masked, frozen=True):
    """Where Redis is and how to log in.

    Attributes:
        url: `redis://`, `rediss://`, `unix://`, `redis+sentinel://host:port,host:port/service[/db]`
            or `redis+cluster://host:port,host:port`.
        ca: PEM file of the authority that must have signed the server's certificate.
        cert: Our certificate, where the server asks for one.
        key: Its key.
        namespace: Of the switch: its slot decides which node of a cluster is ours.
        sentinel_username: Login at the Sentinels, which have users of their own.
        sentinel_password: Likewise.
        sentinel_tls: True when the Sentinels are spoken to by TLS, with the files above.
        addresses: Folder in which the addresses of names are remembered, or None.
        said_in: Where the URL comes from, for messages about it.
        functions: The scripts are run as functions of a library.
        default_user: Being logged in as the Redis user `default` is no reason to refuse a connection.
    """

    MASKED: ClassVar[frozenset[str]] = frozenset({"password", "sentinel_password"})
    URLS: ClassVar[frozenset[str]] = frozenset({"url"})

    url: str
    username: str | None = None
    password: str | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    namespace: str = "golive"
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    sentinel_tls: bool = False
    addresses: Path | None = None
    said_in: str = "store.url"
    functions: bool = False
    default_user: bool = True

    def connect(
        self, *, timeout_ms: float, connect_timeout_ms: float | None = None, name: str = "golive"
    ) -> RedisLink:
        """Return a new link that is connected, logged in, and known to be the configured user's.

        Args:
            timeout_ms: As `link`.
            connect_timeout_ms: As `link`.
            name: As `link`.

        Raises:
            StoreError: It did not work; nothing stays open.
            ConfigError: The URL is none of ours.
        """
        link = self.link(timeout_ms=timeout_ms, connect_timeout_ms=connect_timeout_ms, name=name)
        link.open()  # closes itself when it fails
        return link

    def link(
        self,
        *,
        timeout_ms: float,
        connect_timeout_ms: float | None = None,
        name: str = "golive",
        any_user: bool = False,
    ) -> RedisLink:
        """Return a new link that connects at its first command.

        Args:
            timeout_ms: Bound on each question, from its first byte to the last of its answer; a long
                answer that keeps coming has up to eight times as long.
            connect_timeout_ms: Bound on each wait while connecting; the same when None. All of them
                and the login together take at most three time-outs more.
            name: Client name, as `CLIENT LIST` shows it.
            any_user: Do not ask after each connect who we are. Only a stop may leave that out, and what
                makes the users.

        Raises:
            ConfigError: The URL is none of ours.
        """
        found = self.place()
        connect_ms = connect_timeout_ms or timeout_ms
        bounds: dict[str, Any] = {
            "socket_timeout": timeout_ms / 1000,
            "socket_connect_timeout": connect_ms / 1000,
            "open_s": (connect_ms + LOGIN_STEPS * timeout_ms) / 1000,  # A9
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "driver_info": None,
        }
        options = {**bounds, "client_name": name, "health_check_interval": 0, "db": found.db}
        options |= _login(self.username or found.username, self._password(found))
        # Who we are is asked where somebody is expected, or one is not.
        who: dict[str, Any] = {"user": self.username, "default_user": self.default_user}
        who = {"functions": self.functions, **({} if any_user else who)}
        if found.scheme == UNIX:
            return RedisLink(Unix(path=found.path, **options), **who)
        bounds["folder"] = options["folder"] = self.addresses
        options |= self._tls() if found.tls else {}
        kind = Tls if found.tls else Tcp
        if found.is_located:
            return RedisLink(kind(**options), self._finder(found, bounds, options), **who)
        host, port = found.nodes[0]
        return RedisLink(kind(host=host, port=port, **options), **who)

    def place(self) -> Place:
        """Return what the URL says.

        Raises:
            ConfigError: The URL is none of ours, or contradicts the settings beside it.
        """
        try:
            found = read_place(self.url)
            self._refuse_contradictions(found)
        except ValueError as error:
            # An unreadable port may be a piece of a password with / in it, and so may the cause.
            unclear = is_unclear(self.url)
            why = "it cannot be read; in a password / is %2F and @ is %40" if unclear else error
            raise ConfigError(f"{self.said_in} {self.shown!r}: {why}", hint=SCHEMES) from (
                None if unclear else error
            )
        return found

    def _refuse_contradictions(self, found: Place) -> None:
        for setting, ours, theirs in (
            ("store.username", self.username, found.username),
            ("store.password_env", self.password, found.password),
        ):
            if ours is not None and theirs is not None and ours != theirs:
                raise ValueError(f"its login is not that of {setting}; leave one of them out")
        tls = found.tls or (self.sentinel_tls and found.scheme == SENTINEL)
        if (self.ca or self.cert) and not tls:
            # Never in the clear where the configuration speaks of TLS.
            raise ValueError(
                "store.tls is set, and the URL is one without TLS; write rediss://, or ?ssl=true "
                "behind redis+sentinel:// and redis+cluster://"
            )

    def logged_in_as(self, username: str | None, password: str | None) -> Address:
        """Return the same place for another login, None for nobody's; the URL's login is left out.

        Raises:
            ConfigError: As `place`.
        """
        self.place()
        return structs.replace(
            self, url=without_login(self.url), username=username, password=password
        )

    @property
    def keyspace(self) -> Keyspace:
        """Names of the keys and channels of the switch, in the database that the URL names.

        Raises:
            ConfigError: As `place`.
        """
        return Keyspace(self.namespace, self.place().db)

    def _password(self, found: Place) -> str | None:
        return found.password if self.password is None else self.password

    def _finder(self, found: Place, bounds: dict[str, Any], options: dict[str, Any]) -> Finder:
        if found.scheme == CLUSTER:
            return Finder(found, self.namespace, options, tls=found.tls)
        # Sentinels have users of their own.
        asking = bounds | _login(self.sentinel_username, self.sentinel_password)
        asking |= self._tls() if self.sentinel_tls else {}
        return Finder(found, self.namespace, asking, tls=self.sentinel_tls)

    def _tls(self) -> dict[str, Any]:
        return {"ca": self.ca, "cert": self.cert, "key": self.key}

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return without_password(self.url)


def _login(username: str | None, password: str | None) -> dict[str, str]:
    given = {"username": username, "password": password}
    return {name: value for name, value in given.items() if value is not None}
