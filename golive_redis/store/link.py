"""Connections: one socket, one question at a time, no hidden retries, every wait bounded.

redis-py's defaults are unfit here: eleven attempts of 5 s each, and a retried write that is applied
twice (docs/explanation/protocol.md#redis-as-it-is). So its connection objects are used one at a time,
without a pool and without retries, and its exceptions become ours in this file only.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

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

from golive_redis.errors import (
    GoliveError,
    MaybeAppliedError,
    StoreError,
    StoreUnavailableError,
)
from golive_redis.store import locate
from golive_redis.store.sockets import TimedSocket, TimedTls

Reply = Any

# redis-py takes the code off the message of errors that have a class of their own.
_CODES: tuple[tuple[type[RedisError], str], ...] = (
    (NoScriptError, "NOSCRIPT"),
    (NoPermissionError, "NOPERM"),
    (OutOfMemoryError, "OOM"),
    (ReadOnlyError, "READONLY"),
    (BusyLoadingError, "LOADING"),
    (AuthenticationError, "NOAUTH"),
)


DEFAULT_USER = "default"
"""Whom Redis takes everybody for who does not log in."""
UNREACHED = "is it running at"
"""How the hint begins where a server does not answer."""

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
    "NOFUNCTION": "an administrator installs it: `golive store install`; or set store.scripts: eval",
    "OOM": "Redis has reached maxmemory; free memory or raise the limit",
    "LOADING": "Redis is still reading its data; try again in a moment",
    "MISCONF": "Redis cannot save to disk; see its log",
    "READONLY": "this is a replica; connect to the primary, or through Sentinel",
    "NOREPLICAS": "too few replicas are connected for min-replicas-to-write",
    "NOPERM": "is this the right login? `redis-cli ACL LOG 5` names user, command and key",
    "NOAUTH": "set store.username and store.password_env",
    "WRONGTYPE": "a key was overwritten: `golive revoke` repairs its own; DEL a roster, RENAME a ledger",
    "MOVED": "this is one node of a Redis Cluster; write store.url as redis+cluster://host:6379,...",
    "CROSSSLOT": 'a Redis Cluster needs the namespace in braces: namespace: "{golive}"',
    "CLUSTERDOWN": "the cluster has no primary for this namespace; see CLUSTER INFO on its nodes",
}
# A server that says so is not the primary: where that is has to be asked again.
FOLLOW_S = 2.0  # a thousand guards ask three Sentinels some hundred times a second each
_ELSEWHERE = frozenset({"READONLY", "MOVED", "ASK", "CLUSTERDOWN"})


class Link(Protocol):
    """One connection: ask and read, or send and read separately."""

    @property
    def functions(self) -> bool:
        """True where the scripts are run as functions of a library, and not by EVAL."""
        ...

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

    def answers_within(self, timeout_ms: float) -> None:
        """Wait so long for each answer from now on."""
        ...

    def close(self) -> None:
        """Close the socket; never raises."""
        ...


class RedisLink:
    """A `Link` over one redis-py connection.

    Args:
        connection: Not yet connected.
        finder: Says where the primary is, asked at every connect and now and then; None when the
            address is fixed.
        user: Who we must be after each connect, also one that a command makes by itself; None when
            no user is configured, or when it does not matter.
        functions: The scripts are run as functions of a library.
        default_user: False refuses a connection that is logged in as `default`, whatever is configured.

    Raises:
        StoreUnavailableError: Not connected and not connectable; the command did not leave.
        MaybeAppliedError: The command left and no answer came; the connection is closed.
        StoreRefusedError: Redis answered with an error.
    """

    def __init__(
        self,
        connection: Any,
        finder: locate.Finder | None = None,
        user: str | None = None,
        *,
        functions: bool = False,
        default_user: bool = True,
    ) -> None:
        self._connection = connection
        self._pid = os.getpid()
        self._user = user
        self._default_user = default_user
        self.functions = functions
        self._waits_ms: float | None = None  # while listening: how long the kernel waits
        self._finder = finder
        self._here = ("", 0)
        self._follow_at = 0.0

    @property
    def closed(self) -> bool:
        """True while it is not connected: the next command may find another server."""
        return not self._connection.is_connected

    def answers_within(self, timeout_ms: float) -> None:
        """Wait so long for each answer from now on, over this connection and those that follow."""
        if self._connection.socket_timeout != timeout_ms / 1000:
            self._connection.socket_timeout = timeout_ms / 1000
            if (sock := timed_socket(self._connection)) is not None:
                sock.settimeout(timeout_ms / 1000)

    def open(self) -> None:
        """Connect, log in and see who we are, now rather than at the first command.

        Not in a forked child: what a greenlet goes on with there would be said for the parent.
        """
        if self._pid != os.getpid():
            raise StoreUnavailableError("the connection is that of the process before the fork")
        with _unavailable(self._connection):
            if self._finder is not None:
                self._follow(self._finder)
            if self._connection.is_connected:
                return
            try:
                self._connection.connect()
            except BaseException:
                self.close()  # redis-py leaves it open, not logged in, after what it does not expect
                raise
        if self._user is not None or not self._default_user:
            try:
                self._assert_user(self._user)
            except StoreError:
                self.close()  # or the next command would find it open, and not ask who we are
                raise

    def _assert_user(self, user: str | None) -> None:
        """Refuse a connection that is not logged in as the configured user, or as one it may not be.

        One bad ACL token makes a whole SETUSER fail and can leave a client `default`.

        Raises:
            StoreUnavailableError: Redis says that we are somebody else, or says nothing.
        """
        try:
            with usable("ACL WHOAMI"):
                whoami = self.call("ACL", "WHOAMI").decode()
        except MaybeAppliedError as error:
            # It only asks: what the caller wanted has not left yet, and must not count as "maybe".
            raise StoreUnavailableError(error.message) from error
        if user is not None and whoami != user:
            raise StoreUnavailableError(
                f"logged in as {whoami!r}, not as {user!r}",
                hint="check the ACL users on the server",
            )
        if whoami == DEFAULT_USER and not self._default_user:
            raise StoreUnavailableError(
                "logged in as the Redis user 'default', who may do everything: not allowed in this "
                "environment",
                hint="make users for the roles with `golive acl --role ROLE` and name one under "
                "store.username; or set store.allow_default_user: true",
            )

    def _follow(self, finder: locate.Finder) -> None:
        """Find the primary before connecting; once connected, look now and then if it has moved."""
        now = time.monotonic()
        if self._connection.is_connected:
            if now < self._follow_at:
                return
            if finder.moved(self._here):
                self.close()
                raise StoreUnavailableError("another server is the primary by now")
        else:
            self._here = finder.find()
            self._connection.host, self._connection.port = self._here
        self._follow_at = now + FOLLOW_S

    def call(self, *args: str | bytes | int) -> Reply:
        """Send a command and return its reply."""
        self.send(*args)  # it begins the step that ends with the answer
        try:
            return self._read()
        except StoreRefusedError as error:
            self._leave(error)
            raise

    def _leave(self, error: StoreRefusedError) -> None:
        """Close the connection to a server that is not the primary: the next one asks where it is."""
        if self._finder is not None and error.code in _ELSEWHERE:
            self.close()

    def send(self, *args: str | bytes | int) -> None:
        """Send a command without reading its reply."""
        self._ask()
        with self._maybe_applied():
            self._connection.send_command(*args)

    def pipeline(self, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Reply]:
        """Send several commands at once; an error reply stands in its place as an exception."""
        self._ask()
        with self._maybe_applied():
            packed = self._connection.pack_commands(commands)
            self._connection.send_packed_command(packed)
        replies: list[Reply] = []
        for _ in commands:
            try:
                replies.append(self._read())
            except StoreRefusedError as error:
                replies.append(error)
        for reply in replies:
            if isinstance(reply, StoreRefusedError):
                self._leave(reply)
        return replies

    def receive(self, timeout_ms: float) -> Reply | None:
        """Return the next reply, or None when none came in time; never reconnects."""
        if not self._connection.is_connected:
            # redis-py would connect anew: a socket without the subscriptions of the old one.
            raise StoreUnavailableError("the connection is closed")
        with self._maybe_applied():
            if not self._listens(timeout_ms):
                # What is read goes on with the time-out of questions, when a piece of it is there.
                self._begin(timeout_ms / 1000 + (self._connection.socket_timeout or 0.0))
                if not self._connection.can_read(timeout_ms / 1000):
                    return None
        return self._read()

    def _listens(self, timeout_ms: float) -> bool:
        """Let the kernel time the wait; False where it cannot: TLS, gevent, eventlet, no wait at all.

        Python's own timeout and redis-py's give the interpreter away three times for one message
        (poll, recv, settimeout). With a busy thread beside us each of them costs a switch interval,
        5 ms, until we have it back. A blocking recv gives it away once.
        """
        sock = timed_socket(self._connection)
        if not isinstance(sock, TimedSocket) or not sock.BLOCKS or timeout_ms <= 0:
            self._waits_ms = None  # redis-py is about to set its own timeout
            return False
        if timeout_ms != self._waits_ms:
            seconds, microseconds = divmod(max(1, int(timeout_ms * 1_000)), 1_000_000)
            limit = struct.pack("ll", seconds, microseconds)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            sock.settimeout(None)
            self._waits_ms = timeout_ms
        sock.begin(timeout_ms / 1000, most=1)  # A9: a message in pieces is waited for no longer
        return True

    def _read(self) -> Reply | None:
        with self._maybe_applied():
            try:
                # Said explicitly: left open after a timeout, its late reply would answer the next
                # command. While listening it is kept, for there a timeout says that nothing came.
                keep = self._waits_ms is not None
                return self._connection.read_response(disconnect_on_error=not keep)
            except (ResponseError, AuthenticationError, BusyLoadingError) as error:
                raise _refused(error) from error
            except RedisConnectionError as error:
                if self._waits_ms is not None and isinstance(error.__context__, BlockingIOError):
                    return None
                raise

    def _ask(self) -> None:
        """Be connected, with the timeout of questions in force instead of a listener's."""
        self.open()
        sock = timed_socket(self._connection)
        if sock is None:
            return
        if self._waits_ms is not None:
            self._waits_ms = None
            sock.settimeout(self._connection.socket_timeout)
        self._begin(self._connection.socket_timeout)

    def _begin(self, total_s: float) -> None:
        """Begin a step, whose waits all end together (A9)."""
        sock = timed_socket(self._connection)
        if sock is not None:
            sock.begin(total_s)

    @contextmanager
    def _maybe_applied(self) -> Iterator[None]:
        try:
            yield
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            self.close()  # redis-py leaves it open in some cases: a late reply would be the next one's
            raise MaybeAppliedError(f"no answer from Redis: {error}") from error
        except RedisError as error:
            self.close()
            raise MaybeAppliedError(f"no usable answer from Redis: {error}") from error
        except StoreError:
            raise  # an answer, judged already
        except Exception as error:
            # redis-py raises whatever a garbled reply leads to: a bare ValueError, a RecursionError.
            # What it has read of it is unknown, so nothing that comes over this connection means
            # anything any more.
            self.close()
            raise MaybeAppliedError(f"no readable answer from Redis: {error!r}") from error

    def close(self) -> None:
        """Close the socket. In a forked child this leaves the parent's connection alone."""
        self._waits_ms = None
        try:  # noqa: SIM105  (contextlib.suppress would hide what is meant: closing never fails)
            self._connection.disconnect()
        except Exception:  # noqa: BLE001, S110
            pass


def timed_socket(connection: Any) -> TimedSocket | TimedTls | None:
    """Return the socket of a connection; None while it is not connected.

    redis-py offers no way to it, so this is a private corner, taken here and nowhere else; the upper
    bound on redis-py in pyproject.toml and tests/contract/test_private_corner.py belong to it. Were it
    to move, each wait would be bounded and not all of a step, and listening would be slower.
    """
    sock = getattr(connection, "_sock", None)
    return sock if isinstance(sock, TimedSocket | TimedTls) else None


@contextmanager
def usable(question: str, *, wrote: bool = False) -> Iterator[None]:
    """Turn whatever a reply of the wrong shape leads to into a `StoreError`.

    A proxy or a foreign server may answer anything, and no caller of the store expects that. And a
    question that only reads leaves no doubt when its answer is lost: nothing was applied.

    Args:
        question: What was asked, for the message.
        wrote: It changes something, so that nobody knows what has happened now: `MaybeAppliedError`.
    """
    try:
        yield
    except MaybeAppliedError as error:
        if wrote:
            raise
        raise StoreUnavailableError(error.message, hint=error.hint) from error
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        kind = MaybeAppliedError if wrote else StoreError
        raise kind(f"unusable reply of {question}: {error}") from error


@contextmanager
def _unavailable(connection: Any) -> Iterator[None]:
    try:
        yield
    except (AuthenticationError, NoPermissionError) as error:
        hint = "check store.username and the variable that store.password_env names"
        raise StoreUnavailableError(f"Redis refused the login: {error}", hint=hint) from error
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        # Now: where Sentinel or the cluster has led us is not in the URL.
        unix = getattr(connection, "path", None)
        where = unix or f"{connection.host}:{connection.port}"
        hint = f"{UNREACHED} {where}? store.url, or $GOLIVE_REDIS_URL, says where"
        raise StoreUnavailableError(f"cannot reach Redis: {error}", hint=hint) from error
    except RedisError as error:
        raise StoreUnavailableError(f"Redis refuses the connection: {error}") from error
    except GoliveError:
        raise
    except Exception as error:  # what a garbled greeting, a certificate or a resolver may lead to
        raise StoreUnavailableError(f"Redis did not answer as Redis does: {error!r}") from error


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
