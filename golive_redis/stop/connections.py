"""The connections of a stop, one for commands and one that hears receipts, and what goes wrong on them.

A failure is a sentence for the operator and never an exception: no part of a stop that comes later
may hold up one that comes earlier.
"""

from __future__ import annotations

from collections.abc import Callable

from golive_redis.errors import StoreError
from golive_redis.store.connect import Address
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import RedisLink, StoreRefusedError
from golive_redis.store.store import Store

CONNECT_TIMEOUT_MS = 1_000.0
TIMEOUT_MS = 250.0
PATIENT_MS = 1_000.0
"""Once a server has passed the stop on, over this connection and those that follow: one that a whole
fleet asks at that moment answers late, and to connect anew would lose receipts that come meanwhile."""


def listening(link: RedisLink, keys: Keyspace, problem: Callable[[str], None]) -> RedisLink | None:
    """Subscribe a new link to receipts; None when it cannot be, which holds up no stop."""
    try:
        link.send("SUBSCRIBE", keys.receipts)
    except StoreError as error:
        problem(f"cannot listen for receipts: {error.message}")
        return None
    return link


class Connections:
    """Connects when somebody needs it, and again after a failure.

    Args:
        address: Where Redis is.
        say: Told in a sentence what happens as it happens.

    Attributes:
        keys: Names of the keys and channels.
        place: The URL, without a password.
        problems: What went wrong, each once.
        channel: The connection that hears receipts, or None.
        number: Counts the connections for commands: what one server has shown is not true of another.
    """

    def __init__(self, address: Address, say: Callable[[str], None]) -> None:
        self.keys = address.keyspace
        self.place = address.shown
        self.say = say
        self.problems: list[str] = []
        self.channel: RedisLink | None = None
        self.number = 0
        self._address = address
        self._link: RedisLink | None = None
        self._timeout_ms = TIMEOUT_MS
        self._said: set[str] = set()

    def connect(self) -> None:
        """Open both.

        Raises:
            StoreError: Redis cannot be reached.
        """
        self._open()
        self.subscribe()

    def _open(self) -> None:
        self.number += 1
        self._link = self._new_link()
        self._link.open()

    def subscribe(self) -> None:
        """Listen for receipts; without that they can still be read from the store."""
        self.channel = listening(self._new_link(), self.keys, self.problem)

    def _new_link(self) -> RedisLink:
        # The user is not asserted: a stop is tried with any login, and costs no round trip more.
        # A user that may not stop is refused at the first command, and that is told.
        return self._address.link(
            timeout_ms=self._timeout_ms,
            connect_timeout_ms=CONNECT_TIMEOUT_MS,
            name="golive-revoke",
            any_user=True,
        )

    def store(self) -> Store:
        """Return the store.

        Raises:
            StoreError: Redis cannot be reached.
        """
        if self._link is None:
            self.connect()
        elif self._link.closed:
            self._open()
        assert self._link is not None  # noqa: S101  (just connected)
        return Store(self._link, self.keys)

    def published(self) -> None:
        """Note that the server has passed the stop on: what else it is asked for has more time."""
        self._timeout_ms = PATIENT_MS
        if self._link is not None:
            self._link.answers_within(PATIENT_MS)

    def attempt(self, step: Callable[[], object]) -> None:
        """Take a step that may fail."""
        try:
            step()
        except StoreRefusedError as error:
            # An answer: the connections are good, and receipts are arriving on one of them.
            self.problem(error.message)
            if error.code == "READONLY" and self._link is not None:
                self._link.close()  # a replica by now; what it showed as a primary is over
        except StoreError as error:
            self.problem(error.message)
            self.close()

    def say_once(self, text: str) -> None:
        """Say it, unless it was said before."""
        if text not in self._said:
            self._said.add(text)
            self.say(text)

    def problem(self, text: str) -> None:
        """Note what went wrong, and say it when it is new."""
        if text not in self.problems:
            self.problems.append(text)
            self.say(text)

    def close(self) -> None:
        """Close both; the next step connects anew."""
        for link in (self._link, self.channel):
            if link is not None:
                link.close()
        self._link = self.channel = None
