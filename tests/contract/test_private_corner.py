"""The one private corner of redis-py that is used: the socket of its connection.

These tests fail when a release moves it, before anybody wonders why listening got slower.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from golive_redis.store.link import RedisLink, timed_socket
from golive_redis.testing.server import EmbeddedServer

TIMEVAL = struct.Struct("ll")


def test_the_socket_of_a_connection_is_where_we_look_for_it(
    own_server: EmbeddedServer, connect: Callable[..., RedisLink]
) -> None:
    link = connect(own_server)
    assert timed_socket(link._connection) is None
    link.open()
    sock = timed_socket(link._connection)
    assert sock is not None
    assert sock.getpeername()[1] == own_server.port
    link.close()
    assert timed_socket(link._connection) is None


def test_while_listening_the_kernel_times_the_wait_and_a_question_has_its_own_bound_again(
    own_server: EmbeddedServer, connect: Callable[..., RedisLink]
) -> None:
    link = connect(own_server, timeout_ms=2_000)
    assert link.call("PING") == b"PONG"
    assert link.receive(200) is None
    sock = timed_socket(link._connection)
    assert sock is not None
    assert sock.gettimeout() is None
    limit = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TIMEVAL.size)
    assert TIMEVAL.unpack(limit) == (0, 200_000)  # a multiple of every tick that kernels have
    assert link.call("PING") == b"PONG"
    assert sock.gettimeout() == 2.0
    assert timed_socket(link._connection) is sock
