"""Connecting: where Redis is and how to log in, in one call that also asks who we are then."""

from __future__ import annotations

from typing import Any, ClassVar

from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection
from redis.retry import Retry

from golive_redis.errors import ConfigError
from golive_redis.masking import Masked, is_unclear, without_password
from golive_redis.store import locate
from golive_redis.store.link import RedisLink


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
            timeout_ms: Bound on each read and write.
            connect_timeout_ms: Bound on connecting; the same when None.
            name: Client name, as `CLIENT LIST` shows it.
            any_user: Do not ask after each connect whether we are the configured user. Only a stop may
                leave that out.

        Raises:
            ConfigError: The URL is none of ours.
        """
        user = None if any_user else self.username
        bounds: dict[str, Any] = {
            "socket_timeout": timeout_ms / 1000,
            "socket_connect_timeout": (connect_timeout_ms or timeout_ms) / 1000,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "driver_info": None,
        }
        options = {**bounds, "client_name": name, "health_check_interval": 0}
        options |= _login(self.username, self.password)
        try:
            if locate.is_located(self.url):
                return self._located(locate.parse(self.url), bounds, options, user)
            pool = ConnectionPool.from_url(self.url, **options, **self._tls())
            return RedisLink(pool.make_connection(), user=user)
        except (ValueError, TypeError) as error:
            # An unreadable port may be a piece of a password with / in it, and so may the cause.
            unclear = is_unclear(self.url)
            why = "it cannot be read; in a password / is %2F and @ is %40" if unclear else error
            raise ConfigError(
                f"store.url {self.shown!r}: {why}",
                hint="redis://host:6379/0, rediss://..., unix:///path, "
                "redis+sentinel://host:26379,host:26379/service "
                "or redis+cluster://host:6379,host:6379",
            ) from (None if unclear else error)

    def _located(
        self,
        seeds: locate.Seeds,
        bounds: dict[str, Any],
        options: dict[str, Any],
        user: str | None,
    ) -> RedisLink:
        options = {**seeds.login, **options}
        if seeds.ssl or not self.sentinel_tls:
            options |= self._tls()
        asking, tls = options, seeds.ssl
        if seeds.scheme == locate.SENTINEL:  # they have users of their own
            asking = bounds | _login(self.sentinel_username, self.sentinel_password)
            asking |= self._tls() if self.sentinel_tls else {}
            tls = self.sentinel_tls
        finder = locate.Finder(seeds, self.namespace, asking, tls=tls)
        kind: Any = SSLConnection if seeds.ssl else Connection
        return RedisLink(kind(db=seeds.db, **options), finder, user)

    def _tls(self) -> dict[str, Any]:
        if not self.ca and not self.cert:
            return {}
        return {"ssl_ca_certs": self.ca, "ssl_certfile": self.cert, "ssl_keyfile": self.key}

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return without_password(self.url)


def _login(username: str | None, password: str | None) -> dict[str, str]:
    given = {"username": username, "password": password}
    return {name: value for name, value in given.items() if value is not None}
