"""A store over a connection that comes and goes."""

from __future__ import annotations

from collections.abc import Callable

from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import Link
from golive_redis.store.store import Store


def _nothing(_: Store) -> None:
    return


class Reconnecting:
    """Makes its one connection when it is first needed, and anew after it was dropped.

    It belongs to one thread, which alone drops it. redis-py does not survive a connection that another
    thread closes in the middle of a command: it raises AttributeError or ValueError, by luck.

    Args:
        connect: Opens a link and logs in.
        keyspace: Names of the keys.
        connected: Called with each new connection's store before anything else is asked on it. What it
            raises is raised by `store`, and the connection is closed.
    """

    def __init__(
        self,
        connect: Callable[[], Link],
        keyspace: Keyspace,
        connected: Callable[[Store], None] = _nothing,
    ) -> None:
        self._connect = connect
        self._keyspace = keyspace
        self._connected = connected
        self._link: Link | None = None

    def store(self) -> Store:
        """Return the store, connected.

        Raises:
            StoreError: Redis cannot be reached.
        """
        if self._link is not None and self._link.closed:
            self.drop()  # it would connect by itself, and we would not learn that it is another one
        if self._link is None:
            link = self._connect()
            try:
                self._connected(Store(link, self._keyspace))
            except Exception:
                link.close()
                raise
            self._link = link
        return Store(self._link, self._keyspace)

    @property
    def is_open(self) -> bool:
        """True while there is a connection, as far as is known."""
        return self._link is not None and not self._link.closed

    def drop(self) -> None:
        """Close the connection, if there is one; never raises."""
        link, self._link = self._link, None
        if link is not None:
            link.close()
