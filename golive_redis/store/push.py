"""The push path: directives by pub/sub, and invalidations of the keys by client tracking.

redis-py drops the invalidations of RESP3, so this is the RESP2 way: tracking redirects them to a
subscriber. That is the same connection here, switched on before it subscribes, so there is no second
one that can die by itself and leave a subscription without messages. It can still die silently; so
it is asked for a PONG, and made anew when none comes.

`Push` is one subscription; `PushListener` is the thread that keeps one, in a guard and in a heartbeat.

Source: https://redis.io/docs/latest/develop/reference/client-side-caching/ (its RESP2 mode).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from golive_redis import clock
from golive_redis.errors import StoreError, StoreUnavailableError
from golive_redis.store.keyspace import INVALIDATE, Keyspace
from golive_redis.store.link import Link, Reply, StoreRefusedError
from golive_redis.threads import Backoff, Loop, in_order

LONGEST_PAUSE = 4  # times `every_ms`: between tries to subscribe at a server that does not serve us


class Pushes(StrEnum):
    """What is pushed to us: directives and changes of the keys, directives only, or nothing."""

    TRACKING = "tracking"
    PUBSUB = "pubsub"
    NONE = "none"


class Pushed(msgspec.Struct, frozen=True):
    """What came: a directive's envelope, or word that the keys changed or may have changed."""

    directive: bytes | None = None


CHANGED = Pushed()


class Push:
    """One subscription.

    Args:
        connect: Opens a link.
        keyspace: Names of the keys and channels.
        clock_ms: Steady clock.
        ping_ms: Pause between two pings; silence of twice that is a dead connection.

    Attributes:
        arrives: What is pushed, as confirmed by the server.
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
        self._owner: Link | None = None  # of a cluster: the node that holds our slot
        self._heard = 0.0
        self._pinged = 0.0
        self._tracks = False
        self.arrives = Pushes.NONE

    def open(self) -> None:
        """Track the keys and subscribe.

        A server that refuses tracking, or to us, pushes directives all the same.

        Raises:
            StoreError: It did not work; nothing stays open.
        """
        self.close()
        try:
            if self._keys.one_slot:
                # First, so that a slot which moves in between is noticed: this one is left behind.
                self._owner = self._connect()
            self._subscriber = self._connect()
            self._tracks = self._track(self._subscriber)
            changes = (INVALIDATE,) if self._tracks else ()
            self._subscriber.send("SUBSCRIBE", self._keys.events, *changes)
        except StoreError:
            self.close()
            raise
        self._heard = self._pinged = self._clock()

    def _track(self, link: Link) -> bool:
        """Have changes of the keys sent to this very connection; False where that is refused."""
        prefixes = ("PREFIX", self._keys.active, "PREFIX", self._keys.revoked)
        try:
            ident = link.call("CLIENT", "ID")
            link.call("CLIENT", "TRACKING", "ON", "REDIRECT", ident, "BCAST", *prefixes)
        except StoreRefusedError:
            return False
        return True

    def wait(self, timeout_ms: float) -> Pushed | None:
        """Return the next push, or None when none came in time.

        Raises:
            StoreError: The connection is lost or silent; `open` again.
        """
        if self._subscriber is None:
            raise StoreUnavailableError("not subscribed")
        now = self._clock()
        if now - self._pinged >= self._ping_ms:
            self._pinged = now
            self._subscriber.send("PING")
            if self._owner is not None:
                # A node of a cluster that has lost our slot says so to a command with a key, and
                # only then: to its subscriber it would answer pings and never push again.
                self._owner.call("PTTL", self._keys.active)
        try:
            message = self._subscriber.receive(min(timeout_ms, self._ping_ms))
        except StoreRefusedError as error:
            if error.code != "MISCONF":
                raise
            message = []  # Redis that cannot save refuses even PING: an answer, and no loss
        if message is None:
            # Only now: what came while this thread did not run is in the buffer, and no silence.
            if self._clock() - self._heard > 2 * self._ping_ms:
                raise StoreUnavailableError("the subscription fell silent")
            return None
        self._heard = self._clock()
        return self._parse(message)

    def _parse(self, message: Reply) -> Pushed | None:
        if not isinstance(message, list) or len(message) < 3:  # noqa: PLR2004  (a PONG has two)
            return None
        kind, channel, data = message[0], message[1], message[2]
        if kind == b"subscribe":
            self.arrives = Pushes.TRACKING if self._tracks else Pushes.PUBSUB
            return CHANGED  # whatever happened before it was missed: read
        if kind != b"message":
            return None
        if channel == INVALIDATE.encode():
            return CHANGED if self._ours(data) else None
        return Pushed(data) if isinstance(data, bytes) else None

    def _ours(self, changed: Reply) -> bool:
        """Tell whether an invalidation is about our keys.

        Redis tracks by prefix, so those of another switch may begin likewise; and anybody who may
        publish can send one. Fails closed: a message without names, as after FLUSHALL, may mean ours.
        """
        if not isinstance(changed, list):
            return True
        ours = {self._keys.active.encode(), self._keys.revoked.encode()}
        return any(name in ours for name in changed if isinstance(name, bytes))

    def close(self) -> None:
        """Close what is open; never raises."""
        for link in (self._subscriber, self._owner):
            if link is not None:
                link.close()
        self._subscriber = self._owner = None
        self.arrives = Pushes.NONE


class PushListener:
    """A thread that keeps a subscription: hands on what comes, and subscribes anew when it is lost.

    Only this thread uses and closes the subscription's connection. Whatever goes wrong is a lost
    subscription, also an unexpected error: the thread says so, orders a read and goes on.

    Args:
        connect: Opens a link.
        keyspace: Names of the keys and channels.
        every_ms: Longest wait for a message, and longest pause before it first subscribes again.
        take: Called with each pushed directive's envelope, unverified.
        read: Called when a read is due: the keys changed, or pushes may have been missed (S10).
        failed: Told each error.

    Attributes:
        loop: Its thread.
        subscription: What it listens to.
        connected: True while it is subscribed.
        gaps: How often a subscription was lost.
    """

    def __init__(
        self,
        connect: Callable[[], Link],
        keyspace: Keyspace,
        every_ms: float,
        *,
        take: Callable[[bytes], None],
        read: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.subscription = Push(connect, keyspace, clock.now_ms, every_ms)
        self.connected = False
        self.gaps = 0
        self._every_ms = every_ms
        self._take = take
        self._read = read
        self._failed = failed
        # Jitter: a fleet that lost the same server does not come back in one instant.
        pauses = Backoff(every_ms / 1000, LONGEST_PAUSE * every_ms / 1000)
        self.loop = Loop(
            "push", self._turn, failed=self._lost, ended=self.subscription.close, backoff=pauses
        )

    @property
    def arrives(self) -> Pushes:
        """What is pushed to us."""
        return self.subscription.arrives

    def close(self, within_s: float) -> None:
        """Ask the thread to end and wait so long for it; it closes its connection itself."""
        self.loop.end(within_s)

    def abandon(self) -> None:
        """In a forked child, where the thread does not run: let go of the parent's connection."""
        self.subscription.close()

    def _turn(self) -> None:
        """Hear one message; subscribe before, when that is due."""
        if not self.connected:
            self.subscription.open()
            self.connected = True
        message = self.subscription.wait(self._every_ms)
        if message is None:
            return
        if message.directive is not None:
            self._take(message.directive)
        else:
            self._read()

    def _lost(self, error: Exception) -> None:
        """What is pushed from now on is lost: read now, and subscribe again a little later."""
        self.gaps += self.connected
        self.connected = False
        in_order([lambda: self._failed(error), self.subscription.close, self._read])
