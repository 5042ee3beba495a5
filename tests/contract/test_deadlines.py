"""Total deadlines: a step ends in time, however slowly somebody answers (A9, row 92).

The servers here drip for a minute; each step has to end long before that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from golive_redis.errors import MaybeAppliedError, StoreUnavailableError
from golive_redis.store.connect import Address
from golive_redis.store.link import RedisLink
from golive_redis.testing.server import EmbeddedServer
from kit.dripping import Answers, DrippingServer

PATIENCE_S = 40.0
TIMEOUT_MS = 250.0


@contextmanager
def _in_time() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < PATIENCE_S


@pytest.fixture
def dripping() -> Iterator[Callable[[Answers], str]]:
    """Starts a server that answers by rule; returns HOST:PORT."""
    with ExitStack() as stack:
        yield lambda answers: stack.enter_context(DrippingServer(answers)).where


def _ok_then(drips: bytes, *, whole: bytes = b"") -> Answers:
    """Let in whoever logs in, and drip at the first question."""

    def answer(data: bytes) -> tuple[bytes, bytes]:
        if b"SETNAME" in data:
            return b"+OK\r\n", b""
        return whole, drips

    return answer


def _link(where: str, scheme: str = "redis", path: str = "", **login: str) -> RedisLink:
    return Address(f"{scheme}://{where}{path}", **login).link(timeout_ms=TIMEOUT_MS)  # type: ignore[arg-type]


def test_an_answer_that_drips_is_no_answer(dripping: Callable[[Answers], str]) -> None:
    link = _link(dripping(_ok_then(b"x", whole=b"+")))
    with _in_time(), pytest.raises(MaybeAppliedError):
        link.call("GET", "golive:active")
    assert link.closed


def test_many_answers_of_which_each_comes_in_time_end_together(
    dripping: Callable[[Answers], str],
) -> None:
    """Ten thousand pods, each of which is answered just in time, were forty minutes."""
    link = _link(dripping(_ok_then(b"+x\r\n")))
    with _in_time(), pytest.raises(MaybeAppliedError):
        link.pipeline([("HGET", f"pod-{number}", "directive") for number in range(10_000)])


def test_a_login_that_drips_is_none(dripping: Callable[[Answers], str]) -> None:
    link = _link(dripping(lambda _: (b"+", b"x")), password="x")
    with _in_time(), pytest.raises(StoreUnavailableError):
        link.open()
    assert link.closed


def test_a_handshake_that_drips_is_none(dripping: Callable[[Answers], str]) -> None:
    # A record of the handshake, 16 KiB long: it takes five minutes.
    link = _link(dripping(lambda _: (b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"x")), "rediss")
    with _in_time(), pytest.raises(StoreUnavailableError):
        link.open()


def test_a_sentinel_that_drips_says_nothing(dripping: Callable[[Answers], str]) -> None:
    where = dripping(lambda _: (b"+", b"x"))
    link = _link(f"{where},{where},{where}", "redis+sentinel", "/fleet")
    with _in_time(), pytest.raises(StoreUnavailableError, match="the primary was not found"):
        link.open()


def test_a_message_that_drips_is_none_and_its_listener_gets_the_word_back(
    dripping: Callable[[Answers], str],
) -> None:
    link = _link(dripping(_ok_then(b"x", whole=b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$99999\r\n")))
    link.send("SUBSCRIBE", "c")
    with _in_time():
        assert [link.receive(100) for _ in range(3)] == [None] * 3


def test_a_long_answer_that_keeps_coming_has_the_time_it_takes(
    dripping: Callable[[Answers], str],
) -> None:
    """The receipts of a large fleet over a slow line: two seconds, where a question has one."""
    size = 4_000_000
    link = Address(
        f"redis://{dripping(_ok_then(b'x' * 40_000, whole=f'${size}'.encode() + b'%c%c' % (13, 10)))}"
    ).link(timeout_ms=1_000)
    began = time.monotonic()
    # The last drip overshoots: what is behind the answer, where its end is due, is not looked at.
    assert len(link.call("HGETALL", "golive:receipt:x")) == size
    assert time.monotonic() - began > 1.0
    link.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b":x\r\n",
        b"$x\r\n",
        b"*x\r\n",
        b"*1\r\n" * 5_000,
        b"?\r\n",
        b"$-5\r\n",
        b"\r\n",
        b"HTTP/1.1 400\r\n",
    ],
)
def test_what_no_parser_expects_is_an_error_of_ours_and_closes(
    dripping: Callable[[Answers], str], garbage: bytes
) -> None:
    """A bare ValueError ended the thread that met it."""
    link = _link(dripping(_ok_then(b"", whole=garbage)))
    with _in_time(), pytest.raises(MaybeAppliedError):
        link.call("PING")
    assert link.closed
    login = _link(dripping(lambda _: (garbage, b"")), password="x")
    with _in_time(), pytest.raises(StoreUnavailableError):
        login.call("PING")
    assert login.closed


def test_an_answer_that_was_there_before_we_looked_is_one(own_server: EmbeddedServer) -> None:
    """A process that was stalled between its question and its look finds it in the buffer."""
    link = Address(own_server.url).link(timeout_ms=100)
    for number in range(2):
        link.send("ECHO", str(number))
        time.sleep(0.3)
        assert link._read() == str(number).encode()
    link.close()
