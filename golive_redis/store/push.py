"""The push path: directives by pub/sub, and invalidations of the keys by client tracking.

redis-py drops the invalidations of RESP3, so this is the RESP2 way: a second connection switches
tracking on and redirects to the subscriber. Either connection can die silently; the subscriber is
asked for a PONG, the tracker whether its redirect still stands, and both are made anew when not.

Source: https://redis.io/docs/latest/develop/reference/client-side-caching/ (two-connection mode).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from golive_redis.errors import StoreError, StoreUnavailableError
from golive_redis.store.connect import Link, Reply, StoreRefusedError, usable
from golive_redis.store.keyspace import INVALIDATE, Keyspace


class Pushed(msgspec.Struct, frozen=True):
    """What came: a directive's envelope, or word that the keys changed or may have changed."""

    directive: bytes | None = None


CHANGED = Pushed()


class Push:
    """One subscriber and its tracker.

    Args:
        connect: Opens a link.
        keyspace: Names of the keys and channels.
        clock_ms: Steady clock.
        ping_ms: Pause between two pings; silence of twice that is a dead connection.
    """

    def __init__(
        self,
        connect: Callable[[], Link],
        keyspace: Keyspace,
        clock_ms: Callable[[], float],
        ping_ms: float,
    ) -> None:
        self._connect = connect
        self._keys = keyspace
        self._clock = clock_ms
        self._ping_ms = ping_ms
        self._subscriber: Link | None = None
        self._tracker: Link | None = None
        self._heard = 0.0
        self._pinged = 0.0

    def open(self) -> None:
        """Subscribe and pin the tracking redirect.

        Raises:
            StoreError: It did not work; nothing stays open.
        """
        self.close()
        try:
            self._subscriber = self._connect()
            ident = self._subscriber.call("CLIENT", "ID")
            self._subscriber.send("SUBSCRIBE", self._keys.events, INVALIDATE)
            self._tracker = self._connect()
            self._tracker.call(
                "CLIENT",
                "TRACKING",
                "ON",
                "REDIRECT",
                ident,
                "BCAST",
                "PREFIX",
                self._keys.active,
                "PREFIX",
                self._keys.revoked,
            )
        except StoreError:
            self.close()
            raise
        self._heard = self._pinged = self._clock()

    def wait(self, timeout_ms: float) -> Pushed | None:
        """Return the next push, or None when none came in time.

        Raises:
            StoreError: A connection is lost or silent; `open` again.
        """
        if self._subscriber is None:
            raise StoreUnavailableError("not subscribed")
        now = self._clock()
        if now - self._pinged >= self._ping_ms:
            self._pinged = now
            self._subscriber.send("PING")
            self._check_tracker()
        if now - self._heard > 2 * self._ping_ms:
            raise StoreUnavailableError("the subscription fell silent")
        try:
            message = self._subscriber.receive(min(timeout_ms, self._ping_ms))
        except StoreRefusedError as error:
            if error.code != "MISCONF":
                raise
            message = []  # Redis that cannot save refuses even PING: an answer, and no loss
        if message is None:
            return None
        self._heard = self._clock()
        return self._parse(message)

    def _parse(self, message: Reply) -> Pushed | None:
        if not isinstance(message, list) or len(message) < 3:  # noqa: PLR2004  (a PONG has two)
            return None
        kind, channel, data = message[0], message[1], message[2]
        if kind == b"subscribe":
            return CHANGED  # whatever happened before it was missed: read
        if kind != b"message":
            return None
        if channel == INVALIDATE.encode():
            return CHANGED
        return Pushed(data) if isinstance(data, bytes) else None

    def _check_tracker(self) -> None:
        assert self._tracker is not None  # noqa: S101  (open sets both)
        if self._keys.one_slot:
            # A node of a cluster that has lost our slot says so here, and only here: it would go on
            # answering pings and never push again.
            self._tracker.call("PTTL", self._keys.active)
        info = self._tracker.call("CLIENT", "TRACKINGINFO")
        with usable("CLIENT TRACKINGINFO"):
            flags = info[info.index(b"flags") + 1]
            followed = b"on" in flags and b"broken_redirect" not in flags
        if not followed:
            raise StoreUnavailableError("tracking lost its redirect")

    def close(self) -> None:
        """Close both connections; never raises."""
        for link in (self._subscriber, self._tracker):
            if link is not None:
                link.close()
        self._subscriber = self._tracker = None
