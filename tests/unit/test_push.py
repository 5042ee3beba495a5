"""What an invalidation is about."""

from __future__ import annotations

from typing import Any

import pytest

from golive_redis.store.keyspace import Keyspace
from golive_redis.store.push import CHANGED, Push


class Line:
    """A link that answers every command, and brings one message."""

    def __init__(self, message: Any) -> None:
        self._message = message

    def call(self, *_: object) -> int:
        return 1

    def send(self, *_: object) -> None:
        return

    def receive(self, _: float) -> Any:
        return self._message

    def close(self) -> None:
        return


@pytest.mark.parametrize(
    ("names", "reads"),
    [
        ([b"golive:active"], True),
        ([b"golive:other", b"golive:revoked"], True),
        (None, True),  # FLUSHALL names none
        ([b"golive:active-of-another"], False),
        ([b"golive:revoked2"], False),
        ([], False),
    ],
    ids=str,
)
def test_only_a_change_of_our_keys_orders_a_read(names: list[bytes] | None, *, reads: bool) -> None:
    line: Any = Line([b"message", b"__redis__:invalidate", names])
    push = Push(lambda: line, Keyspace("golive"), lambda: 0.0, 500)
    push.open()
    assert push.wait(1) == (CHANGED if reads else None)
