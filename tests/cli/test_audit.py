"""`golive audit list`, `show` and `tail`: what they print, for whom, and what they refuse."""

from __future__ import annotations

import json
import signal
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from golive_redis.audit import words
from golive_redis.records.envelope import seal
from golive_redis.records.ledger import Entry
from golive_redis.records.refusal import Attempt, Refusal
from golive_redis.testing import Signers
from golive_redis.testing.server import EmbeddedServer
from golive_redis.testing.signers import EVERYBODY, identity
from kit.ledgers import CLI, Book, chained, day, install, next_id
from kit.zygote import Forked

Audited = Any  # the `audited` fixture's class: test modules cannot import a conftest
ESCAPES = "\x1b[2J\x1b]0;owned\x07 not\u202e to be trusted"


@pytest.fixture
def book(server: EmbeddedServer) -> Book:
    """A day in the ledger of the server."""
    made = day(CLI)
    put(server, made)
    return made


def line(process: Forked, *, errors: bool = False) -> str:
    """The next line that a process prints; it is killed when none comes."""
    stream = process.stderr if errors else process.stdout
    assert stream is not None
    impatience = threading.Timer(60, process.kill)
    impatience.start()
    try:
        return stream.readline()
    finally:
        impatience.cancel()


def put(server: EmbeddedServer, book: Book) -> None:
    with server.client() as client:
        book.put(client)


def raw_entry(server: EmbeddedServer, **fields: bytes | str) -> None:
    """Somebody writes into the stream what no writer of ours would."""
    with server.client() as client:
        client.xadd("golive:audit", fields)


def refusal(book: Book, by: str = "bob", **fields: Any) -> bytes:
    what: dict[str, Any] = {
        "attempt": Attempt.ACTIVATE,
        "why": "cool-down",
        "check": None,
        "report": None,
        "proposal": None,
        "text": "cool-down: 41 s left",
    }
    heading = CLI.trust.heading(by, book.at_ms)
    raw = seal(Refusal(**heading, **(what | fields)), CLI.signers[by])
    book.add(raw)
    return raw


# -- list --------------------------------------------------------------------------------------------


def test_the_newest_stand_last_with_their_time_in_utc_and_who_signed(audited: Audited, book: Book):
    done = audited("audit", "list", "-n", "3")
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["n", "when", "(UTC)", "what", "by", "why"]
    assert [row.split()[0] for row in rows] == ["10", "11", "12"]
    assert words.utc(book.entries[10].at_ms) in rows[0]
    assert "reduce: all orders" in rows[0]
    assert "revoke: every term up to" in rows[1]
    assert rows[2].split()[-3:] == ["hb-1", "as", "told"]


def test_a_list_as_json_has_every_entry_with_its_place_identity_and_signers(
    audited: Audited, book: Book
):
    found = audited.json("audit", "list")
    assert (found["environment"], found["namespace"]) == ("testnet", "golive")
    assert [item["index"] for item in found["entries"]] == list(range(13))
    grant = found["entries"][1]
    assert grant["kind"] == "grant"
    assert grant["by"] == ["alice"]
    assert grant["verified"] is True
    assert grant["identity"] == identity(book.entries[1].envelope)
    assert grant["id"] == book.entries[1].id
    assert grant["at_ms"] == book.entries[1].at_ms


@pytest.mark.parametrize(
    ("asked", "indices"),
    [
        (("--kind", "revocation"), [5, 11]),
        (("--kind", "resume"), [4]),
        (("--kind", "grant"), [1, 4, 9]),
        (("--kind", "reduce"), [10]),
        (("--actor", "rita"), [3, 5, 6, 10, 11]),
        (("--actor", "nobody"), []),
        (("--topic", "goodbye"), [12]),
        (("symbol=btcusdt",), [3]),
        (("symbol=ETHUSDT",), []),
        (("--kind", "note", "-n", "1"), [12]),
        (("--kind", "note", "--actor", "hb-2"), [2]),
        (("--refused",), []),
    ],
)
def test_a_list_shows_what_was_asked_for(
    audited: Audited, book: Book, asked: tuple[str, ...], indices: list[int]
):
    found = audited.json("audit", "list", *asked)
    assert [item["index"] for item in found["entries"]] == indices
    if not indices:
        assert audited("audit", "list", *asked).stdout == "no entry fits\n"


def test_a_list_keeps_within_two_times(audited: Audited, book: Book):
    def at(index: int) -> str:
        moment = datetime.fromtimestamp(book.entries[index].at_ms / 1000, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{book.entries[index].at_ms % 1000:03d}"

    found = audited.json("audit", "list", "--since", at(3), "--until", at(6))
    assert [item["index"] for item in found["entries"]] == [3, 4, 5]
    assert audited.json("audit", "list", "--since", "1d")["entries"] == []
    assert len(audited.json("audit", "list", "--until", "today")["entries"]) == 13


def test_since_lists_all_and_not_the_newest_twenty_alone(audited: Audited, server: EmbeddedServer):
    book = Book(CLI)
    for _ in range(30):
        book.note()
    put(server, book)
    assert len(audited.json("audit", "list")["entries"]) == 20
    assert len(audited.json("audit", "list", "--since", "2020-01-01")["entries"]) == 30


@pytest.mark.parametrize(
    ("asked", "said", "hint"),
    [
        (("--since", "lately"), "--since: 'lately' is no time", "write 90m, 1d, today"),
        (("--until", "2026-13-01"), "--until: '2026-13-01' is no time", "write 90m"),
        (("--kind", "gremlin"), "'gremlin' is no kind of entry", "they are grant, restriction"),
        (
            ("--topic", "weather"),
            "'weather' is no topic of a note",
            "goodbye, heal, heartbeat-dead",
        ),
        (("colour=red",), "colour", ""),
        (("-n", "0"), "greater than or equal to 1", ""),
    ],
)
def test_what_no_entry_can_have_is_an_error_that_says_what_there_is(
    audited: Audited, book: Book, asked: tuple[str, ...], said: str, hint: str
):
    done = audited("audit", "list", *asked)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert hint in done.stderr


def test_refusals_are_listed_with_what_the_person_was_told(
    audited: Audited, server: EmbeddedServer
):
    book = day(CLI)
    refusal(book)
    refusal(book, by="hb-1", attempt=Attempt.KEYSET, why="expired", text="keyset 4 has expired")
    put(server, book)
    done = audited("audit", "list", "--refused")
    assert done.returncode == 0
    first, second = done.stdout.splitlines()[1:]
    assert "refused: activate" in first
    assert first.endswith("cool-down: 41 s left")
    assert " bob " in first
    assert "refused: keyset" in second
    found = audited.json("audit", "list", "--kind", "refusal", "--actor", "bob")
    assert [(item["kind"], item["by"]) for item in found["entries"]] == [("refusal", ["bob"])]


def test_an_entry_that_is_not_good_is_shown_as_such_and_makes_the_exit_code_5(
    audited: Audited, book: Book, server: EmbeddedServer
):
    raw_entry(server, r=b"\xff\xfe\x00 no text at all", h=b"\xff")
    raw_entry(server, note="hello")
    done = audited("audit", "list", "-n", "2")
    assert done.returncode == 5
    assert done.stdout.count("NOT GOOD") == 2
    found = audited.json("audit", "list", "-n", "2", code=5)
    assert all(item["refused"] for item in found["entries"])
    assert not any(item["verified"] or item["kind"] or item["by"] for item in found["entries"])


def test_a_reason_cannot_give_the_terminal_orders(audited: Audited, server: EmbeddedServer):
    book = Book(CLI)
    book.activate()
    book.halt(reason=ESCAPES)
    put(server, book)
    for asked in (("list",), ("show", "e2"), ("verify",)):
        done = audited("audit", *asked)
        assert done.returncode == 0
        assert "\x1b" not in done.stdout + done.stderr
        assert "\u202e" not in done.stdout + done.stderr
    assert r"\x1b[2J" in audited("audit", "list").stdout
    assert audited.json("audit", "show", "e2")["record"]["reason"] == ESCAPES


def test_a_time_that_no_calendar_has_is_shown_as_a_number(audited: Audited, server: EmbeddedServer):
    book = Book(CLI)
    book.note(issued_at_ms=2**53 - 1)
    book.add(book.entries[0].envelope, at_ms=2**60)
    put(server, book)
    done = audited("audit", "list")
    assert done.returncode == 0
    assert f"{2**60} ms" in done.stdout
    assert f"{2**53 - 1} ms" in audited("audit", "show", "0").stdout
    assert audited("audit", "verify").returncode == 5
    assert audited("audit", "export", "--out", "all.csv", "--format", "csv").returncode == 0


def test_without_redis_without_a_configuration_or_without_the_right_it_says_so(
    audited: Audited, book: Book, tmp_path
):
    assert audited("audit", "list", GOLIVE_REDIS_URL="redis://127.0.0.1:1/0").returncode == 4
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    assert audited("audit", "list", cwd=empty).returncode == 6
    error = audited.json("audit", "verify", code=4, GOLIVE_REDIS_URL="redis://127.0.0.1:1/0")
    assert error["error"]["reason"] == "store-unavailable"


# -- show --------------------------------------------------------------------------------------------


def test_an_entry_is_named_by_index_epoch_or_the_beginning_of_its_identity(
    audited: Audited, book: Book
):
    whole = identity(book.entries[4].envelope)
    for name in ("4", "e3", whole[:8], whole):
        found = audited.json("audit", "show", name)
        assert found["entry"]["index"] == 4
        assert found["record"]["kind"] == "resume"
        assert [item["principal"] for item in found["signatures"]] == ["alice"]
        assert found["head"] == book.entries[4].head
    lines = audited("audit", "show", "4").stdout
    assert lines.count("signed by") == 1
    assert f"id {book.entries[4].id}" in lines
    assert "UTC" in lines


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("99", "no entry is called 99"),
        ("e99", "no entry is called e99"),
        ("abcdef012345", "no entry is called abcdef012345"),
        ("xyz", "'xyz' names no entry"),
        ("abc", "'abc' names no entry"),
        ("-1x", ""),
    ],
)
def test_a_name_that_no_entry_has_is_refused(audited: Audited, book: Book, name: str, said: str):
    done = audited("audit", "show", name)
    assert done.returncode in {1, 2}
    assert done.stdout == ""
    assert said in done.stderr


def test_a_name_that_several_entries_have_is_refused_with_their_places(
    audited: Audited, server: EmbeddedServer
):
    book = day(CLI)
    copy = Entry(book.entries[3].envelope, "", next_id(book.entries, book.at_ms))
    book.entries = chained([*book.entries, copy])
    put(server, book)
    done = audited("audit", "show", "e2")
    assert done.returncode == 1
    assert "2 entries are called e2: 3, 13" in done.stderr
    assert "name one by its index" in done.stderr


def test_what_was_signed_under_an_older_keyset_is_verified_once_that_is_at_hand(
    audited: Audited, server: EmbeddedServer
):
    book = Book(CLI)
    book.activate()
    newer = Signers(
        {**{n: r for n, r in EVERYBODY.items() if n != "bob"}, "carol": ("approver",)},
        version=2,
        environment="testnet",
    )
    old = install(audited.folder, CLI).rename(audited.folder / "keyset-1.yaml")
    install(audited.folder, newer)
    put(server, book)
    found = audited.json("audit", "list")
    assert [item["verified"] for item in found["entries"]] == [False, False]
    assert "(not verified)" in audited("audit", "list").stdout
    assert "keyset version 1 is not at hand" in audited("audit", "show", "1").stdout
    found = audited.json("audit", "show", "1", "--keyset", old)
    assert [item["principal"] for item in found["signatures"]] == ["alice"]
    assert audited.json("audit", "list", "--keyset", old)["entries"][1]["verified"]
    done = audited("audit", "list", "--keyset", "nowhere.yaml")
    assert done.returncode == 6


# -- tail --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [False, True])
def test_tail_shows_entries_as_they_come_until_ctrl_c(
    audited: Audited, book: Book, server: EmbeddedServer, as_json: bool
):
    process = audited.start("audit", "tail", "-n", "1", *(["--json"] if as_json else []))
    try:
        first = line(process)
        book.halt(reason="seen at once")
        put_last(server, book)
        second = line(process)
    finally:
        process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=60)
    assert (process.returncode, rest, err) == (0, "", "")
    if as_json:
        assert json.loads(first)["entry"]["index"] == 12
        assert json.loads(second)["entry"]["why"] == "seen at once"
        assert json.loads(second)["entry"]["index"] == 13
    else:
        assert first.startswith("12  ")
        assert second.startswith("13  ")
        assert "seen at once" in second


def put_last(server: EmbeddedServer, book: Book) -> None:
    entry = book.entries[-1]
    with server.client() as client:
        client.xadd("golive:audit", {"r": entry.envelope, "h": entry.head}, id=entry.id)
        client.set("golive:head", entry.head)


def test_tail_of_an_empty_ledger_begins_with_the_first_entry(
    audited: Audited, server: EmbeddedServer
):
    process = audited.start("audit", "tail", "--json", "-n", "1")
    try:
        book = Book(CLI)
        book.note()
        put_last(server, book)
        assert json.loads(line(process))["entry"]["index"] == 0
    finally:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_tail_says_when_the_ledger_became_shorter(
    audited: Audited, book: Book, server: EmbeddedServer
):
    process = audited.start("audit", "tail", "-n", "1")
    try:
        line(process)
        with server.client() as client:
            client.xdel("golive:audit", book.entries[0].id)
        assert "shorter than it was: 12 entries, and 13 were there" in line(process, errors=True)
    finally:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_tail_ends_with_4_when_redis_goes_away(audited: Audited):
    with EmbeddedServer() as own:
        process = audited.start("audit", "tail", "-n", "1", GOLIVE_REDIS_URL=own.url)
        put(own, day(CLI))
        assert line(process)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert err.startswith("error: ")


def test_a_ledger_or_a_head_of_a_wrong_type_is_named(
    audited: Audited, book: Book, server: EmbeddedServer
):
    with server.client() as client:
        client.rename("golive:audit", "golive:aside")
        client.set("golive:audit", "oops")
    for asked in (("list",), ("show", "1"), ("verify",), ("export", "--out", "x"), ("tail",)):
        done = audited("audit", *asked)
        assert (done.returncode, done.stdout) == (4, "")
        assert "golive:audit" in done.stderr or "WRONGTYPE" in done.stderr
    with server.client() as client:
        client.delete("golive:audit", "golive:head")
        client.rename("golive:aside", "golive:audit")
        client.hset("golive:head", "a", "b")
    assert audited("audit", "verify").returncode == 4
