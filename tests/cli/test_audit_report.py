"""`golive audit report`: live, from a file and from an archive; what it writes, says and refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from golive_redis import clock
from golive_redis.testing.server import EmbeddedServer
from golive_redis.testing.signers import identity
from kit.ledgers import CLI, Book, day

Audited = Any  # the `audited` fixture's class: test modules cannot import a conftest


@pytest.fixture
def book(server: EmbeddedServer) -> Book:
    """A day in the ledger of the server."""
    made = day(CLI)
    with server.client() as client:
        made.put(client)
    return made


def answers(book: Book) -> list[bytes]:
    """Receipts for the last stop of a book, 40 and 90 ms after it."""
    stop = book.entries[-2]
    return [
        CLI.receipt(stop.envelope, instance=f"{n:032x}", at_ms=stop.at_ms - 5 + after_ms)
        for n, after_ms in enumerate((40, 90))
    ]


def with_receipts(server: EmbeddedServer, book: Book) -> None:
    """Put a ledger and its receipts into Redis, and what somebody has planted among them."""
    with server.client() as client:
        book.put(client)
        key = f"golive:receipt:{identity(book.entries[-2].envelope)}"
        for number, raw in enumerate([*answers(book), b"planted"]):
            client.hset(key, f"{number:032x}:latched", raw)


def written(audited: Audited, name: str = "out") -> tuple[Any, str]:
    folder: Path = audited.folder / name
    return json.loads((folder / "report.json").read_bytes()), (folder / "report.html").read_text()


def keyset(audited: Audited) -> Path:
    path: Path = audited.folder / "config" / "keyset.yaml"
    return path


def test_a_report_is_a_page_and_the_same_numbers_as_json(audited: Audited, book: Book):
    done = audited("audit", "report", "--out", "out")
    assert done.returncode == 0, done.stderr
    figures, page = written(audited)
    assert done.stdout.splitlines() == [
        f"CONSISTENT testnet (golive): {audited.folder}/out/report.html",
        f"the same numbers: {audited.folder}/out/report.json",
    ]
    assert figures["verdict"]["counted"] == len(book.entries) == figures["totals"]["entries"]
    assert [stop["epoch"] for stop in figures["stops"]] == [4, 7]
    assert figures["from_ms"] == book.entries[0].at_ms
    assert page.startswith("<!DOCTYPE html>")
    assert "Audit report: testnet (golive)" in page
    # The host remembers it from now on, as after `verify`.
    again = audited.json("audit", "report", "--out", "again")
    assert again["result"] == "VERIFIED"
    assert again["page"] == f"{audited.folder}/again/report.html"


def test_times_to_the_first_latch_come_from_the_receipts_in_redis(
    audited: Audited, server: EmbeddedServer
):
    book = day(CLI, clock.wall_ms() - 3_600_000)  # of now: a week later none would be kept
    with_receipts(server, book)
    assert audited("audit", "report", "--out", "out").returncode == 0
    *_, stop = written(audited)[0]["stops"]
    assert (stop["times_from"], stop["answers"]) == ("receipts", 2)
    assert (stop["first_ms"], stop["last_ms"]) == (40, 90)


def test_a_report_on_a_file_takes_its_receipts_along(audited: Audited, book: Book):
    (audited.folder / "receipts.jsonl").write_bytes(b"\n".join(answers(book)) + b"\n")
    assert audited("audit", "export", "--out", "ledger.jsonl").returncode == 0
    what = ("--file", audited.folder / "ledger.jsonl", "--keyset", keyset(audited))
    for name, more, times in [
        ("without", (), (None, None, "")),
        ("with", ("--receipts", audited.folder / "receipts.jsonl"), (40, 90, "receipts")),
    ]:
        out = audited.folder / name
        found = audited.json(
            "audit", "report", *what, *more, "--out", out, cwd="/",
            GOLIVE_REDIS_URL="redis://127.0.0.1:1/0",
        )  # fmt: skip
        assert found["result"] == "CONSISTENT"
        *_, last = written(audited, name)[0]["stops"]
        assert (last["first_ms"], last["last_ms"], last["times_from"]) == times
    assert "not in the ledger" in written(audited, "without")[1]


def test_a_ledger_that_does_not_verify_has_a_report_that_says_so_and_the_code_5(
    audited: Audited, server: EmbeddedServer
):
    book = day(CLI)
    book.add(book.entries[5].envelope, at_ms=book.at_ms + 1_000)  # told twice
    with server.client() as client:
        book.put(client)
    done = audited("audit", "report", "--out", "out")
    assert done.returncode == 5
    assert done.stdout.startswith("entry 13 was there before")
    assert "NOT VERIFIED testnet (golive)" in done.stdout
    figures, page = written(audited)
    assert (figures["verdict"]["result"], figures["verdict"]["counted"]) == ("NOT VERIFIED", 13)
    assert page.index('class="verdict bad"') < page.index("<main")


def test_a_report_replaces_nothing_and_a_day_is_in_it_as_a_whole(audited: Audited, book: Book):
    day_of = book.entries[0].at_ms // 86_400_000 * 86_400_000
    one = datetime.fromtimestamp(day_of / 1000, UTC).strftime("%Y-%m-%d")
    found = audited.json("audit", "report", "--from", one, "--to", one, "--out", "out")
    assert found["to_ms"] - found["from_ms"] == 86_400_000
    assert found["from_ms"] == day_of
    before = written(audited)
    done = audited("audit", "report", "--out", "out")
    assert done.returncode == 1
    assert "report.html exists; a report replaces nothing" in done.stderr
    assert written(audited) == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--incident", "99"), 1, "no stop and no restriction in the ledger has the epoch 99"),
        (("--from", "lately"), 2, "--from: 'lately' is no time"),
        (("--from", "2026-02-01", "--to", "2026-01-01"), 2, "--from is not before --to"),
        (("--from", "1960-01-01"), 2, "--from is before 1970"),
        (("--receipts", "r"), 2, "--receipts goes with --file"),
        (("--file", "l", "--archive", "d"), 2, "--file goes without --archive"),
        (("--file", "l", "--config", "c"), 2, "--file goes without --config"),
        (("--head", "x"), 2, "--head is no head"),
        (("--head", "0" * 64), 2, "every ledger has it"),
    ],
)
def test_what_cannot_be_reported_is_an_error_and_writes_nothing(
    audited: Audited, book: Book, words: tuple[str, ...], code: int, said: str
):
    done = audited("audit", "report", "--out", "out", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert not (audited.folder / "out").exists()


def test_an_incident_stands_first_on_the_page(audited: Audited, book: Book):
    assert audited("audit", "report", "--out", "out", "--incident", "4").returncode == 0
    figures, page = written(audited)
    assert figures["incident"]["epoch"] == 4
    assert page.index('id="incident"') < page.index('id="glance"')
    assert "Time limits of DORA" in page


def test_a_report_on_an_archive_is_that_on_its_ledger(audited: Audited, book: Book):
    done = audited("audit", "archive", "kept")
    assert done.returncode == 0, done.stderr
    assert audited("audit", "report", "--out", "live").returncode == 0
    found = audited("audit", "report", "--archive", "kept", "--out", "out")
    assert found.returncode == 0, found.stderr
    live, kept = written(audited, "live")[0], written(audited)[0]
    assert kept["source"] == "the archive kept"
    for name in ("totals", "days", "terms", "people", "keysets"):
        assert kept[name] == live[name], name


def test_an_archive_has_the_heads_that_its_receipts_have_seen(
    audited: Audited, server: EmbeddedServer
):
    """V12 from the receipts of the folder; of answers of its last minutes nothing is asked."""
    for name, minutes, seen, code in [
        ("good", 20, None, 0),
        ("young", 1, "e" * 64, 0),
        ("gone", 20, "e" * 64, 5),
    ]:
        book = day(CLI, clock.wall_ms() - 3_600_000)
        stop = book.entries[-2]
        book.at_ms += minutes * 60_000
        book.note()
        raw = CLI.receipt(
            stop.envelope, by="hb-1", worker=None, heartbeat="hb-1", at_ms=stop.at_ms,
            head=seen or book.entries[3].head,
        )  # fmt: skip
        with server.client() as client:
            client.flushall()
            book.put(client)
            client.hset(f"golive:receipt:{identity(stop.envelope)}", f"{'0' * 32}:latched", raw)
        assert audited("audit", "archive", name).returncode == 0
        found = audited.json("audit", "verify", "--archive", name, code=code)
        assert (found["broken"] or {}).get("rule") == ("V12" if code else None)
