"""Our client against witnesses that lie, hang, or answer with anything: a clear error, in time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from golive_redis.errors import ConfigError
from golive_redis.records.signednote import KeyType, VerifierKey, parse, sign
from golive_redis.witness.submit import (
    Submitter,
    WitnessRefusedError,
    WitnessUnavailableError,
)
from kit.notary import WITNESS, entries, log_key, private, signed, witness_key
from kit.witnesses import proving

LEAVES = entries(64)
PROVE = proving(LEAVES)
NOTE = signed(LEAVES)
Answers = Callable[..., str]


def http(status: int, body: bytes, kind: str = "text/plain") -> bytes:
    head = f"HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def conflict(size: int) -> bytes:
    return http(409, f"{size}\n".encode(), "text/x.tlog.size")


def cosignature(note: bytes = NOTE, seed: str = "w1", time_s: int = 7) -> bytes:
    line = sign(parse(note).text, witness_key(seed), private(seed).sign, time_s=time_s)
    return line.text.encode()


@pytest.fixture
def answers() -> Iterator[Answers]:
    """Listens on a port and answers each connection with the next bytes; returns the URL.

    `None` is no answer at all; a number of seconds between two bytes makes it slow.
    """
    ends = threading.Event()
    threads = []
    with contextlib.ExitStack() as stack:

        def listen(*said: bytes | None, every_s: float = 0.0) -> str:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            thread = threading.Thread(target=serve, args=(listener, said, every_s))
            thread.start()
            threads.append(thread)
            return f"http://127.0.0.1:{listener.getsockname()[1]}"

        def serve(listener: socket.socket, said: tuple[bytes | None, ...], every_s: float) -> None:
            listener.settimeout(0.05)
            for each in said:
                sock = None
                while sock is None and not ends.is_set():
                    with contextlib.suppress(TimeoutError):
                        sock, _ = listener.accept()
                if sock is None:
                    return
                with sock, contextlib.suppress(OSError):
                    sock.settimeout(60)
                    received = b""
                    while not received.endswith(NOTE):
                        received += sock.recv(65_536)
                    if each is None:
                        ends.wait(60)
                    elif every_s:
                        for byte in each:
                            sock.sendall(bytes([byte]))
                            if ends.wait(every_s):
                                break
                    else:
                        sock.sendall(each)

        yield listen
        ends.set()
        for thread in threads:
            thread.join(60)


def client(url: str, known: int = 0, timeout_s: float = 30) -> Submitter:
    return Submitter(url, witness_key(), known=known, timeout_s=timeout_s)


def test_the_lines_of_other_keys_are_left_out(answers: Answers) -> None:
    other = sign(parse(NOTE).text, witness_key("w2", "w2"), private("w2").sign, time_s=9)
    url = answers(http(200, other.text.encode() + cosignature()))
    found = client(url).submit(NOTE, PROVE)
    assert ([line.name for line in found.lines], found.time_s) == ([WITNESS], 7)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (http(200, b""), "no cosignature"),
        (http(200, b"OK\n"), "no cosignature"),
        (http(200, b"\xff\n"), "no cosignature"),
        (http(200, cosignature(signed(LEAVES[:9]))), "bad signature"),
        (http(200, cosignature(seed="w2")), "without a signature by"),
        (http(200, cosignature(time_s=0)), "without a time"),
        (http(200, b"x" * 70_000), "too much"),
        (http(409, b"7\n"), "409 without a size"),
        (http(409, b"seven\n", "text/x.tlog.size"), "no size"),
        (http(500, b"\x1b[2Jcannot\n"), "answered 500"),
        (http(503, b"later\n"), "answered 503: later"),
        (http(429, b"slow down\n"), "answered 429"),
        (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
        (b"", "closed connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", "no cosignature|not HTTP"),
    ],
)
def test_an_answer_that_cannot_be_used_is_no_cosignature(
    answers: Answers, said: bytes, why: str
) -> None:
    submitter = client(answers(said))
    with pytest.raises(WitnessUnavailableError, match=why):
        submitter.submit(NOTE, PROVE)
    assert (submitter.known, submitter.cosigned) == (0, 0)


@pytest.mark.parametrize("status", [301, 400, 403, 404, 422])
def test_a_refusal_is_told_with_what_the_witness_said(answers: Answers, status: int) -> None:
    with pytest.raises(WitnessRefusedError, match=f"answered {status}: because of this") as caught:
        client(answers(http(status, b"because\nof  this\n"))).submit(NOTE, PROVE)
    assert caught.value.status == status


def test_a_witness_that_knows_less_than_it_signed_is_told_and_served(answers: Answers) -> None:
    submitter = client(answers(conflict(7), http(200, cosignature())), known=40)
    found = submitter.submit(NOTE, PROVE)
    assert (found.fell_back, submitter.known, submitter.cosigned) == (7, 64, 64)


def test_a_witness_that_names_another_size_each_time_is_left(answers: Answers) -> None:
    url = answers(*(conflict(size) for size in (7, 9, 7, 9, 7)))
    with pytest.raises(WitnessUnavailableError, match="4 other sizes"):
        client(url).submit(NOTE, PROVE)


def test_a_witness_that_knows_our_size_and_refuses_all_the_same_is_left(answers: Answers) -> None:
    with pytest.raises(WitnessRefusedError, match="knows 64 entries, and refuses"):
        client(answers(conflict(64), conflict(64))).submit(NOTE, PROVE)


def test_a_wrong_size_blocks_no_later_submission(answers: Answers) -> None:
    """A 409 is signed by nobody: whoever sits on the line can name any size."""
    submitter = client(answers(conflict(10**9), http(200, cosignature())))
    with pytest.raises(WitnessRefusedError, match="has cosigned 1000000000 entries") as caught:
        submitter.submit(NOTE, PROVE)
    assert caught.value.known == 10**9
    assert submitter.submit(NOTE, PROVE).size == 64


@pytest.mark.parametrize(("said", "every_s"), [(None, 0.0), (http(200, cosignature()), 0.05)])
def test_a_witness_that_hangs_or_drips_is_given_up_at_the_deadline(
    answers: Answers, said: bytes | None, every_s: float
) -> None:
    """A byte now and then would hold up a client whose time-out counts from each packet."""
    url = answers(said, every_s=every_s)
    began = time.monotonic()
    with pytest.raises(WitnessUnavailableError, match="no answer in time"):
        client(url, timeout_s=0.5).submit(NOTE, PROVE)
    # The bytes alone would take over ten seconds; the machine may be slow, but not by so much.
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "url",
    [
        "witness.example.org",
        "ftp://witness.example.org",
        "http://",
        "http://u:secret@host/",
        "http://host/?a=secret",
        "http://host/#secret",
        "http://host:99999",
        "http://[::1",
    ],
)
def test_what_is_no_place_of_a_witness_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(ConfigError, match="witness ") as caught:
        client(url)
    assert "secret" not in str(caught.value)


def test_the_key_of_a_log_is_not_taken_for_a_witness() -> None:
    with pytest.raises(ConfigError, match="type is not 0x04"):
        Submitter("http://host", log_key())
    assert VerifierKey("w", KeyType.COSIGNATURE, log_key().public).kind is KeyType.COSIGNATURE


def test_a_prefix_is_part_of_the_place(answers: Answers) -> None:
    submitter = client(answers(http(200, cosignature())) + "/prefix/")
    assert submitter._path == "/prefix/add-checkpoint"
    assert submitter.submit(NOTE, PROVE).size == 64
