"""A witness as a process: asked by the book, killed in mid-request, raced, robbed of its memory."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from golive_redis.records.checkpoint import open_checkpoint
from golive_redis.records.signednote import parse, parse_lines, verified
from golive_redis.witness.protocol import ADD_PATH, MAX_BODY_BYTES, checkpoint_path
from golive_redis.witness.server import MAX_CONNECTIONS
from golive_redis.witness.submit import WitnessRefusedError, WitnessUnavailableError
from kit.notary import ORIGIN, WITNESS, entries, log_key, signed, witness_key
from kit.witnesses import Wait, WitnessProcess, golive, make_witness, proving

LEAVES = entries(64)
OTHERS = entries(64, "another story")
PROVE = proving(LEAVES)
Start = Callable[..., WitnessProcess]


@pytest.fixture
def start(tmp_path: Path, wait_for: Wait) -> Iterator[Start]:
    """Starts the witness of the folder `w`, or of another; made where there is none."""
    started: list[WitnessProcess] = []

    def run(folder: Path | None = None, **how) -> WitnessProcess:
        folder = folder or tmp_path / "w"
        if not folder.exists():
            make_witness(folder)
        started.append(WitnessProcess(folder, wait_for, **how))
        return started[-1]

    yield run
    for each in started:
        each.kill()


def size_known(witness: WitnessProcess) -> int:
    """Which size the witness says it knows, asked with one that it cannot know."""
    status, kind, body = witness.add(60, PROVE(60, 64), signed(LEAVES))
    assert (status, kind) == (409, "text/x.tlog.size")
    return int(body)


def test_it_cosigns_what_continues_a_log_and_shows_it(start: Start) -> None:
    witness = start()
    status, kind, body = witness.add(0, (), signed(LEAVES[:7]))
    assert (status, kind) == (200, "text/plain; charset=utf-8")
    note = parse(signed(LEAVES[:7])).with_lines(parse_lines(body.decode()))
    (cosigned,) = verified(note, [witness_key()])
    assert abs((cosigned.time_s or 0) - time.time()) < 120

    status, _, body = witness.add(7, PROVE(7, 40), signed(LEAVES[:40]))
    assert status == 200
    shown = witness.ask("GET", checkpoint_path(ORIGIN))
    assert shown[0] == 200
    found = open_checkpoint(shown[2], [log_key()], [witness_key()])
    assert found.checkpoint.size == 40
    assert (len(found.logs), len(found.witnesses)) == (1, 1)
    # The same checkpoint once more: a submitter that got no answer asks again.
    assert witness.add(40, (), signed(LEAVES[:40]))[0] == 200


def test_each_status_is_that_of_the_protocol(start: Start) -> None:
    witness = start()
    assert witness.ask("GET", checkpoint_path(ORIGIN))[0] == 404  # nothing is cosigned yet
    assert witness.add(0, (), signed([]))[0] == 200  # a log may begin empty
    assert witness.add(0, (), signed(LEAVES[:40]))[0] == 200
    good = signed(LEAVES)
    unknown = signed(LEAVES, "hb-1", "unknown.invalid/log")
    forked = signed([*OTHERS[:40], *LEAVES[40:]])
    cases = [
        (404, 40, PROVE(40, 64), unknown),
        (403, 40, PROVE(40, 64), signed(LEAVES, "hb-2")),  # its origin, but a key nobody listed
        (400, 65, (), good),
        (409, 39, PROVE(39, 64), good),
        (409, 0, (), good),
        (409, 64, (), good),
        (422, 40, (), good),
        (422, 40, PROVE(40, 64)[:-1], good),
        (422, 40, PROVE(40, 64), forked),
        (422, 40, (), signed(OTHERS[:40])),  # as many entries, and others
        (422, 40, PROVE(40, 64), signed(LEAVES[:40])),  # nothing to prove
        (400, 40, (), signed(LEAVES[:20])),  # older than what it knows
        (400, 40, (LEAVES[0],) * 64, good),
        (400, 40, (b"short",), good),
        (400, 40, (), b"no note"),
        (400, 40, (), good[:-1]),
        (400, 40, (), b""),
    ]
    for wanted, old, proof, note in cases:
        status, kind, body = witness.add(old, proof, note)
        assert status == wanted, (old, body)
        if status == 409:
            assert (kind, body) == ("text/x.tlog.size", b"40\n")
    for body in (b"", b"old\n\n" + good, b"old 040\n\n" + good, b"new 40\n\n" + good, b"\xff"):
        assert witness.ask("POST", ADD_PATH, body)[0] == 400
    assert size_known(witness) == 40  # nothing of all that has moved it
    assert witness.add(40, PROVE(40, 64), good)[0] == 200


def test_a_bad_signature_of_a_trusted_key_is_forbidden_though_another_has_signed(
    start: Start, tmp_path: Path
) -> None:
    make_witness(tmp_path / "w")
    second = log_key("hb-2")
    assert golive("audit", "witness", "add-log", str(tmp_path / "w"), second.text)[0] == 0
    witness = start(tmp_path / "w")
    one, two = parse(signed(LEAVES)), parse(signed(LEAVES[:63], "hb-2"))
    assert witness.add(0, (), one.with_lines(two.signatures).encode())[0] == 403
    both = one.with_lines(parse(signed(LEAVES, "hb-2")).signatures)
    assert witness.add(0, (), both.encode())[0] == 200
    shown = witness.ask("GET", checkpoint_path(ORIGIN))[2]
    assert len(open_checkpoint(shown, [log_key(), second]).logs) == 2


def test_what_is_no_request_of_the_protocol_is_answered_and_the_witness_goes_on(
    start: Start,
) -> None:
    witness = start()
    assert witness.ask("GET", "/")[0] == 404
    assert witness.ask("GET", "/0123/checkpoint")[0] == 404
    assert witness.ask("POST", "/elsewhere", b"x")[0] == 404
    assert witness.ask("PUT", ADD_PATH, b"x")[0] == 501
    assert witness.ask("POST", ADD_PATH, b"x" * (MAX_BODY_BYTES + 1))[0] == 413
    for length in ("-1", "x", "9" * 100, "1, 1"):
        status = raw(witness, f"POST {ADD_PATH} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n")
        assert status in {b"411", b"413"}
    chunked = f"POST {ADD_PATH} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert raw(witness, chunked) == b"411"
    assert raw(witness, "GET / nonsense\r\n\r\n") == b"400"
    assert witness.add(0, (), signed(LEAVES))[0] == 200


def raw(witness: WitnessProcess, text: str) -> bytes:
    """Send bytes, and return the status of the answer."""
    where = urlsplit(witness.url)
    assert where.hostname
    with socket.create_connection((where.hostname, where.port or 0), timeout=60) as sock:
        sock.sendall(text.encode())
        return sock.recv(4096).split(b" ", 2)[1]


def test_a_connection_takes_several_requests(start: Start) -> None:
    connection = http.client.HTTPConnection(urlsplit(start().url).netloc, timeout=60)
    connection.connect()
    sock = connection.sock
    for _ in range(3):
        connection.request("GET", checkpoint_path(ORIGIN))
        with connection.getresponse() as answer:
            assert (answer.status, answer.read()) == (404, b"nothing is cosigned for this log\n")
        assert connection.sock is sock
    connection.close()


def test_who_connects_and_asks_nothing_gives_way_to_who_asks(start: Start) -> None:
    witness = start()
    ask = f"GET {checkpoint_path(ORIGIN)} HTTP/1.1\r\nHost: w\r\n\r\n".encode()
    with ExitStack() as stack:
        silent = [connected(witness, stack) for _ in range(2 * MAX_CONNECTIONS)]
        assert silent[0].recv(1) == b""  # ended for one of the others
        assert witness.ask("GET", checkpoint_path(ORIGIN))[0] == 404
        silent[-1].sendall(ask)
        assert silent[-1].recv(4096).startswith(b"HTTP/1.1 404 ")


def test_where_all_are_being_answered_one_more_is_closed(start: Start) -> None:
    witness = start()
    head = f"POST {ADD_PATH} HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n".encode()
    with ExitStack() as stack:
        busy = [connected(witness, stack) for _ in range(MAX_CONNECTIONS)]
        for sock in busy:
            sock.sendall(head)
        for sock in busy:
            assert sock.recv(4096).startswith(b"HTTP/1.1 100 ")  # it waits for the body
        assert connected(witness, stack).recv(1) == b""
        busy[0].sendall(b"old 1\n\nx\n")
        assert busy[0].recv(4096).startswith(b"HTTP/1.1 400 ")


def connected(witness: WitnessProcess, stack: ExitStack) -> socket.socket:
    where = urlsplit(witness.url)
    assert where.hostname
    address = where.hostname, where.port or 0
    return stack.enter_context(socket.create_connection(address, timeout=60))


def test_a_client_that_sends_a_byte_now_and_then_is_cut_off(start: Start) -> None:
    """Ten seconds for a request to come whole; each byte used to start them anew in such servers."""
    witness = start()
    where = urlsplit(witness.url)
    assert where.hostname
    with socket.create_connection((where.hostname, where.port or 0), timeout=1) as sock:
        sock.sendall(f"POST {ADD_PATH} HTTP/1.1\r\nContent-Length: 100\r\n\r\n".encode())
        ends = time.monotonic() + 60
        closed = False
        while not closed and time.monotonic() < ends:
            try:
                sock.sendall(b"x")
                closed = sock.recv(4096) == b""
            except TimeoutError:
                continue  # no answer yet: the next byte
            except OSError:
                closed = True
        assert closed
    assert witness.add(0, (), signed(LEAVES))[0] == 200


def test_our_client_moves_the_known_size_up_and_down(start: Start) -> None:
    """A client that was ahead of its witness was stuck for ever (trillian-tessera #799)."""
    witness = start()
    one, other = witness.submitter(), witness.submitter(known=64)
    assert one.submit(signed(LEAVES[:7]), PROVE).size == 7
    assert one.submit(signed(LEAVES[:40]), PROVE).size == 40
    assert other.cosigned == 64
    answer = other.submit(signed(LEAVES), PROVE)  # it believes 64, the witness knows 40
    assert (answer.size, other.known, answer.fell_back) == (64, 64, 40)
    late = witness.submitter()
    assert late.submit(signed(LEAVES), PROVE).size == 64  # 0, told of 64: nothing to prove
    with pytest.raises(WitnessRefusedError, match="has cosigned 64 entries") as caught:
        late.submit(signed(LEAVES[:40]), PROVE)
    assert (caught.value.status, caught.value.known) == (409, 64)
    note = parse(signed(LEAVES)).with_lines(answer.lines).encode()
    found = open_checkpoint(note, [log_key()], [witness_key()])
    assert [each.time_s for each in found.witnesses] == [answer.time_s]


def test_our_client_says_why_a_witness_does_not_sign(start: Start) -> None:
    witness = start()
    client = witness.submitter()
    client.submit(signed(LEAVES[:40]), PROVE)
    with pytest.raises(WitnessRefusedError, match="answered 422: the proof does not show"):
        client.submit(signed([*OTHERS[:40], *LEAVES[40:]]), PROVE)
    with pytest.raises(WitnessRefusedError, match="answered 403"):
        client.submit(signed(LEAVES, "hb-2"), PROVE)
    with pytest.raises(WitnessRefusedError, match="answered 404"):
        client.submit(signed(LEAVES, "hb-1", "unknown.invalid/log"), PROVE)
    with pytest.raises(WitnessUnavailableError, match=r"without a signature by w2"):
        witness.submitter(seed="w2", name="w2").submit(signed(LEAVES[:40]), PROVE)
    witness.kill()
    with pytest.raises(WitnessUnavailableError, match="Connection refused"):
        client.submit(signed(LEAVES), PROVE)


@pytest.mark.parametrize("dies", ["checked", "recorded"])
def test_a_witness_that_is_killed_between_check_and_answer_signs_no_second_story(
    start: Start, dies: str
) -> None:
    witness = start()
    witness.submitter().submit(signed(LEAVES[:7]), PROVE)
    witness.kill()
    dying = start(dies=dies)
    with pytest.raises(WitnessUnavailableError):
        dying.submitter(known=7).submit(signed(LEAVES[:40]), PROVE)
    assert dying.process.wait(60) == -9
    again = start()
    assert size_known(again) == (7 if dies == "checked" else 40)
    # The client that got no answer goes on, whichever of the two it was; a fork does not.
    if dies == "recorded":
        other = [*LEAVES[:7], *OTHERS[7:40]]
        with pytest.raises(WitnessRefusedError):
            again.submitter(known=7).submit(signed(other), proving(other))
    answer = again.submitter(known=7).submit(signed(LEAVES[:40]), PROVE)
    assert (answer.size, size_known(again)) == (40, 40)


def test_killed_at_any_moment_it_remembers_all_that_it_has_answered(start: Start) -> None:
    made = 0
    for _ in range(5):
        witness = start()
        client = witness.submitter(known=made)
        answered = threading.Event()

        def submit(client=client, witness=witness, answered=answered) -> None:
            for size in range(client.known + 1, 65):
                try:
                    client.submit(signed(LEAVES[:size]), PROVE)
                except WitnessUnavailableError:
                    return
                answered.set()

        thread = threading.Thread(target=submit)
        thread.start()
        answered.wait(60)
        witness.kill()
        thread.join(60)
        again = start()
        known = size_known(again)
        assert client.cosigned <= known <= client.cosigned + 1
        again.kill()
        made = known
    assert made >= 5


def test_of_two_submitters_at_once_none_rolls_the_other_back(start: Start) -> None:
    """Two heartbeats with one log; and two writers of two histories, of which one is signed."""
    witness = start()
    sizes: list[int] = []
    faster: list[bool] = []

    def submit(step: int) -> None:
        client = witness.submitter()
        for size in range(step, 65, 2):
            try:
                sizes.append(client.submit(signed(LEAVES[:size]), PROVE).size)
            except WitnessRefusedError as error:
                faster.append((error.known or 0) > size)

    threads = [threading.Thread(target=submit, args=(step,)) for step in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert size_known(witness) == 64
    assert 64 in sizes
    assert all(faster)

    forks = [[*LEAVES, *entries(3, word)] for word in ("one", "other")]
    found: list[object] = []
    gate = threading.Barrier(2)

    def race(leaves: list[bytes]) -> None:
        client = witness.submitter(known=64)
        gate.wait(60)
        try:
            found.append(client.submit(signed(leaves), proving(leaves)))
        except WitnessRefusedError as error:
            found.append(error)

    threads = [threading.Thread(target=race, args=(leaves,)) for leaves in forks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(type(each).__name__ for each in found) == ["Cosigned", "WitnessRefusedError"]


def test_a_witness_never_starts_without_the_memory_that_its_key_belongs_to(
    start: Start, tmp_path: Path
) -> None:
    witness = start()
    witness.submitter().submit(signed(LEAVES), PROVE)
    assert witness.stop() == 0
    folder = witness.folder
    lost, other = tmp_path / "lost", tmp_path / "other"
    shutil.copytree(folder, lost)
    for each in lost.glob("witness.db*"):
        each.unlink()
    make_witness(other, "w2", "w2.example")
    words = ("audit", "witness", "serve")
    code, _, err = golive(*words, str(lost), "--listen", "127.0.0.1:0")
    assert (code, "must never sign again" in err) == (6, True), err
    assert not (lost / "witness.db").exists()
    code, _, err = golive("audit", "witness", "init", str(lost), "--name", "w")
    assert (code, "exists" in err) == (1, True), err
    shutil.copy(other / "witness.db", lost / "witness.db")
    code, _, err = golive(*words, str(lost), "--listen", "127.0.0.1:0")
    assert (code, "the memory of another key" in err) == (6, True), err
    (lost / "witness.db").write_bytes(b"")
    code, _, err = golive(*words, str(lost), "--listen", "127.0.0.1:0")
    assert (code, "not a witness's database" in err) == (6, True), err
    (lost / "witness.db").write_bytes(b"nonsense" * 1000)
    code, _, err = golive(*words, str(lost), "--listen", "127.0.0.1:0")
    assert (code, "not the database of a witness" in err) == (6, True), err
    (lost / "witness.pem").unlink()
    code, _, err = golive(*words, str(lost), "--listen", "127.0.0.1:0")
    assert (code, "no witness.pem" in err) == (6, True), err


def test_a_witness_whose_memory_goes_while_it_runs_signs_no_more(
    start: Start, wait_for: Wait
) -> None:
    """Somebody empties the file under it; what it says then is an error, not a signature."""
    witness = start()
    witness.submitter().submit(signed(LEAVES[:7]), PROVE)
    with sqlite3.connect(witness.folder / "witness.db") as connection:
        connection.execute("DROP TABLE newest")
    connection.close()
    with pytest.raises(WitnessUnavailableError, match="answered 500"):
        witness.submitter(known=7).submit(signed(LEAVES), PROVE)
    wait_for(lambda: "NOT ANSWERED" in witness.said(), what="it says so")


def test_a_fork_is_kept_as_evidence_whole_and_survives_the_process(
    start: Start, tmp_path: Path
) -> None:
    """A root and a size alone show a fork and prove nothing (torchwood #72)."""
    witness = start()
    client = witness.submitter()
    client.submit(signed(LEAVES[:40]), PROVE)
    fork = signed(OTHERS[:40])
    for _ in range(3):  # kept once, however often it is sent
        assert witness.add(40, (), fork)[0] == 422
    assert witness.add(0, (), fork)[0] == 409  # a fork, too, though the old size is wrong
    assert witness.add(40, (), signed(LEAVES))[0] == 422
    assert witness.add(40, (), signed(OTHERS, "hb-2"))[0] == 403  # nobody of the log signed it
    witness.kill()
    file = tmp_path / "evidence.jsonl"
    words = ("audit", "witness", "status", str(witness.folder))
    code, out, err = golive(*words, "--evidence", str(file), COLUMNS="200")
    assert (code, "FORKED: 1 checkpoint(s)" in out) == (5, True), out + err
    code, out, _ = golive(*words, "--json")
    (log,) = json.loads(out)["logs"]
    assert (log["size"], log["forks"], log["unproven"]) == (40, 1, 1)
    one, two = map(json.loads, file.read_text().splitlines())
    assert (one["kind"], two["kind"]) == ("fork", "unproven")
    # Both halves of the proof, each signed by the log, and by the witness what it had signed.
    refused = open_checkpoint(one["refused"].encode(), [log_key()])
    known = open_checkpoint(one["known"].encode(), [log_key()], [witness_key()])
    assert refused.checkpoint.size == known.checkpoint.size == 40
    assert refused.checkpoint.root != known.checkpoint.root
    assert known.witnesses
    assert one["request"].startswith("old 40\n")


def test_a_log_that_goes_on_is_signed_though_it_once_forked(start: Start) -> None:
    witness = start()
    client = witness.submitter()
    client.submit(signed(LEAVES[:40]), PROVE)
    assert witness.add(40, (), signed(OTHERS[:40]))[0] == 422
    assert client.submit(signed(LEAVES), PROVE).size == 64


def test_a_witness_never_signs_a_time_before_its_last(
    start: Start, need_program: Callable[..., str], tmp_path: Path
) -> None:
    """The clock of its host is set back by an hour; and forward again."""
    faketime = need_program("faketime")
    program = (sys.executable, "-m", "golive_cli.main")
    witness = start()
    first = witness.submitter().submit(signed(LEAVES[:7]), PROVE)
    witness.kill()
    behind = start(wrapped=(faketime, "-f", "-1h", *program))
    with pytest.raises(WitnessUnavailableError, match=r"answered 503: the clock of this witness"):
        behind.submitter(known=7).submit(signed(LEAVES[:40]), PROVE)
    assert size_known(behind) == 7
    behind.kill()
    again = start()
    second = again.submitter(known=7).submit(signed(LEAVES[:40]), PROVE)
    assert second.time_s >= first.time_s


def test_a_new_log_is_taken_while_the_witness_runs(start: Start, wait_for: Wait) -> None:
    witness = start()
    other = log_key("hb-9", "other.invalid/golive")
    note = signed(LEAVES, "hb-9", other.name)
    assert witness.add(0, (), note)[0] == 404
    code, out, err = golive("audit", "witness", "add-log", str(witness.folder), other.text)
    assert (code, "Added" in out) == (0, True), err
    assert witness.add(0, (), note)[0] == 200
    said = "other.invalid/golive: cosigned 64 entries"
    wait_for(lambda: said in witness.said(), what="it says so")


def test_a_witness_is_made_and_read_from_the_command_line(tmp_path: Path, start: Start) -> None:
    folder = tmp_path / "w"
    code, out, err = golive("audit", "witness", "init", str(folder), "--name", WITNESS)
    assert code == 0, err
    vkey = out.splitlines()[-1].strip()
    assert (folder / "witness.pem").stat().st_mode & 0o777 == 0o600
    assert (folder / "witness.db").stat().st_mode & 0o777 == 0o600
    assert golive("audit", "witness", "status", str(folder))[0] == 0
    words = ("audit", "witness", "add-log", str(folder))
    assert golive(*words, log_key().text)[0] == 0
    assert "Known already" in golive(*words, log_key().text)[1]
    code, _, err = golive(*words, vkey.replace("+", "+0", 1))
    assert (code, "its id is" in err) == (2, True), err
    witness = start(folder)
    code, out, _ = golive("audit", "witness", "status", str(folder), "--json")
    (log,) = json.loads(out)["logs"]
    assert (log["size"], log["path"]) == (None, checkpoint_path(ORIGIN))
    assert witness.add(0, (), signed(LEAVES))[0] == 200
    code, out, _ = golive("audit", "witness", "status", str(folder), "--json")
    (log,) = json.loads(out)["logs"]
    assert (log["size"], log["forks"]) == (64, 0)
    assert base64.b64decode(log["root"])
    code, _, err = golive("audit", "witness", "init", str(folder), "--name", WITNESS)
    assert (code, "configuration:" in err) == (1, False), err
    assert witness.stop() == 0
