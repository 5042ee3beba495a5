"""`golive audit verify` and `export`: the verdict, live and from a file, and what a host remembers."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from golive_redis.records.ledger import GENESIS, Entry
from golive_redis.testing import Signers
from golive_redis.testing.server import EmbeddedServer
from golive_redis.testing.signers import identity
from kit.ledgers import CLI, Book, chained, day, install, next_id
from kit.ledgers import put as put_entries

Audited = Any  # the `audited` fixture's class: test modules cannot import a conftest
FORMULA = '=HYPERLINK("http://evil")'


@pytest.fixture
def book(server: EmbeddedServer) -> Book:
    """A day in the ledger of the server."""
    made = day(CLI)
    put(server, made)
    return made


def put(server: EmbeddedServer, book: Book) -> None:
    with server.client() as client:
        book.put(client)


def keyset(audited: Audited) -> Path:
    return audited.folder / "config" / "keyset.yaml"


def exported(audited: Audited, name: str = "ledger.jsonl", *more: str) -> Path:
    done = audited("audit", "export", "--out", name, *more)
    assert done.returncode == 0, done.stderr
    return audited.folder / name


def offline(audited: Audited, file: Path, *more: str | Path, code: int = 0) -> Any:
    """The verdict on a file, where there is no Redis and no configuration."""
    return audited.json(
        "audit", "verify", "--file", file, "--keyset", keyset(audited), *more,
        code=code, cwd="/", GOLIVE_REDIS_URL="redis://127.0.0.1:1/0",
    )  # fmt: skip


def edited(file: Path, number: int, **fields: Any) -> None:
    """Change a line of an export."""
    lines = file.read_text().splitlines()
    lines[number] = json.dumps(json.loads(lines[number]) | fields)
    file.write_text("\n".join(lines) + "\n")


# -- the verdict -------------------------------------------------------------------------------------


def test_the_first_time_nobody_remembers_the_end_and_the_second_time_this_host_does(
    audited: Audited, book: Book, server: EmbeddedServer
):
    done = audited("audit", "verify")
    assert (done.returncode, done.stderr) == (0, "")
    verdict = "CONSISTENT testnet (golive), not protected: nobody remembers its end"
    assert done.stdout.splitlines() == [
        "13 entries · keyset 1 · 2 terms",
        f"{verdict}; this host does from now on",
        f"keep this head outside of Redis: {book.entries[-1].head}",
    ]
    book.note()
    put(server, book)
    done = audited("audit", "verify")
    assert done.stdout.splitlines()[1] == (
        "VERIFIED testnet (golive) up to entry 12, which this host remembers; "
        "1 newer: chained and signed"
    )
    found = audited.json("audit", "verify")
    assert found["result"] == "VERIFIED"
    assert (found["entries"], found["judged"], found["good"]) == (14, 14, 14)
    assert (found["anchored"], found["remembered_by"]) == (14, "this host")
    assert (found["keysets"], found["terms"], found["late"]) == ([1, 1], 2, 0)
    assert (found["broken"], found["forgotten"]) == (None, "")


def test_an_empty_ledger_says_that_it_is_empty(audited: Audited):
    done = audited("audit", "verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "the ledger is empty",
        "CONSISTENT testnet (golive), not protected: nobody remembers its end",
    ]
    assert audited("audit", "verify", "--new").stdout == done.stdout
    found = audited.json("audit", "verify")
    assert (found["result"], found["entries"], found["head"]) == ("CONSISTENT", 0, GENESIS)
    assert audited("audit", "list").stdout == "no entry fits\n"
    assert "EXPORTED the empty ledger" in audited("audit", "export", "--out", "e.jsonl").stdout
    done = audited("audit", "verify", "--file", "e.jsonl", "--keyset", keyset(audited))
    assert (done.returncode, done.stdout) == (5, "")
    assert "is empty: it shows nothing" in done.stderr


def test_what_came_since_is_judged_alone_and_nothing_new_is_said_as_such(
    audited: Audited, book: Book, server: EmbeddedServer
):
    audited("audit", "verify", "--new")
    done = audited("audit", "verify", "--new")
    assert done.stdout.splitlines()[:2] == [
        "nothing new: this host has judged all 13 entries before",
        "VERIFIED testnet (golive) up to entry 12, which this host remembers",
    ]
    book.activate()
    put(server, book)
    done = audited("audit", "verify", "--new")
    assert done.stdout.startswith("2 new entries of 15 · keyset 1 · 1 term\n")
    found = audited.json("audit", "verify", "--new")
    assert (found["judged"], found["entries"], found["keysets"], found["terms"]) == (0, 15, [], 0)


def test_the_first_entry_that_is_not_good_is_named_with_its_rule(
    audited: Audited, book: Book, server: EmbeddedServer
):
    with server.client() as client:
        put_entries(client, chained([*book.entries[:3], *book.entries[4:]]))
    done = audited("audit", "verify")
    assert done.returncode == 5
    gone = identity(book.entries[3].envelope)[:8]
    assert done.stdout.splitlines() == [
        f"entry 3 names a directive before it that is not here ({gone}...) (V6)",
        "NOT VERIFIED testnet (golive): entries 0 to 2 are good",
    ]
    found = audited.json("audit", "verify", code=5)
    assert found["result"] == "NOT VERIFIED"
    assert (found["broken"]["index"], found["broken"]["rule"], found["good"]) == (3, "V6", 3)
    with server.client() as client:
        put_entries(client, [*book.entries[:4], *book.entries[5:]])
    said = audited("audit", "verify").stdout
    assert said.startswith("entry 4 (revocation 4 by rita, 2")
    assert "does not follow the entry before it (V2)" in said


def test_an_entry_that_is_no_text_is_named(audited: Audited, book: Book, server: EmbeddedServer):
    with server.client() as client:
        raw = Entry(b"\xff\xfe\x00", "", next_id(book.entries, book.at_ms))
        put_entries(client, chained([*book.entries, raw]))
    found = audited.json("audit", "verify", code=5)
    assert (found["broken"]["index"], found["broken"]["rule"]) == (13, "V3")
    file = exported(audited)
    assert json.loads(file.read_text().splitlines()[-1])["raw"] == "//4A"
    assert offline(audited, file, code=5)["broken"] == found["broken"]


def test_a_head_that_was_kept_protects_what_came_before_it(
    audited: Audited, book: Book, server: EmbeddedServer
):
    kept = book.entries[7].head
    done = audited("audit", "verify", "--head", kept)
    assert "VERIFIED testnet (golive) up to entry 7, which the head that you kept" in done.stdout
    with server.client() as client:
        put_entries(client, book.entries[:7])
    file = exported(audited)
    for found in (
        offline(audited, file, "--head", kept, code=5),
        audited.json("audit", "verify", "--head", kept, code=5),
    ):
        assert found["broken"]["rule"] == "V14"
        assert found["broken"]["index"] == 7
        why = "no entry has the head that you kept: it is mistyped or of another ledger, or the end"
        assert why in found["broken"]["why"]
    assert offline(audited, file)["result"] == "CONSISTENT"  # and without the head nobody knows


def test_a_ledger_whose_head_says_more_than_is_there_is_not_verified(
    audited: Audited, book: Book, server: EmbeddedServer
):
    with server.client() as client:
        put_entries(client, book.entries[:9])
        client.set("golive:head", book.entries[-1].head)
    found = audited.json("audit", "verify", code=5)
    assert (found["broken"]["index"], found["broken"]["rule"]) == (9, "V2")
    assert found["good"] == 9


def test_a_directive_in_force_that_is_not_in_the_ledger_is_named(
    audited: Audited, book: Book, server: EmbeddedServer
):
    with server.client() as client:
        client.hset("golive:revoked", "record", CLI.revocation(99))
    found = audited.json("audit", "verify", code=5)
    assert (found["broken"]["index"], found["broken"]["rule"]) == (13, "V13")
    assert "revocation 99 by rita" in found["broken"]["why"]


def test_an_entry_under_a_keyset_that_is_not_at_hand_names_the_file_wanted(
    audited: Audited, server: EmbeddedServer
):
    newer = Signers(version=2, environment="testnet")
    book = Book(newer)
    book.activate()
    book.signers = CLI
    put(server, book)
    done = audited("audit", "verify")
    assert done.returncode == 5
    assert "entry 0 was signed under keyset version 2, which is not at hand (V3)" in done.stdout
    assert "--keyset FILE, the keyset of version 2" in done.stderr
    other = audited.folder / "keyset-2.yaml"
    other.write_text(json.dumps(newer.keyset_file))
    assert audited("audit", "verify", "--keyset", other).returncode == 0
    assert audited("audit", "verify", "--new").returncode == 0  # which has nothing to judge


def test_what_breaks_later_does_not_make_good_what_was_not_judged(
    audited: Audited, server: EmbeddedServer
):
    book = Book(Signers(version=2, environment="testnet"))
    book.note()
    book.note()
    book.signers = CLI
    book.note()
    book.add(b"no record")
    put(server, book)
    found = audited.json("audit", "verify", code=5)
    assert (found["broken"]["index"], found["good"]) == (3, 0)
    assert "entry 0 and others were not judged" in found["broken"]["hint"]


# -- bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (("--head", "abc"), 2, "--head is no head"),
        (("--head", "0" * 64), 2, "that of an empty ledger"),
        (("--file", "/dev/null", "--keyset", "k"), 2, "/dev/null is no regular file"),
        (("--file", "ledger.jsonl"), 2, "--file takes the keysets, too"),
        (("--file", "ledger.jsonl", "--new", "--keyset", "k"), 2, "--file goes without --new"),
        (("--head", "1" * 64, "--new"), 2, "--head goes without --new"),
        (("--jobs", "0"), 2, "greater than or equal to 1"),
        (("--keyset", "nowhere.yaml"), 6, "nowhere.yaml"),
        (("--file", "nowhere.jsonl", "--keyset", "config/keyset.yaml"), 6, "No such file"),
        (("--file", "ledger.jsonl", "--keyset", "config/go_live.yaml"), 6, "go_live.yaml"),
    ],
)
def test_what_cannot_be_asked_is_an_error(
    audited: Audited, book: Book, asked: tuple[str, ...], code: int, said: str
):
    exported(audited)
    done = audited("audit", "verify", *asked)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_an_export_replaces_no_file_and_leaves_none_behind(audited: Audited, book: Book):
    (audited.folder / "there.csv").write_text("mine")
    for asked, code, said in [
        (("--out", "there.csv"), 1, "there.csv exists"),
        (("--out", "no/folder/x.csv"), 6, "No such file or directory"),
        (("--out", "x", "--format", "pdf"), 2, "'pdf' is no format"),
    ]:
        done = audited("audit", "export", *asked)
        assert (done.returncode, done.stdout) == (code, "")
        assert said in done.stderr
    assert (audited.folder / "there.csv").read_text() == "mine"
    done = audited("audit", "export", "--out", "x", GOLIVE_REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 4
    left = {path.name for path in audited.folder.iterdir()} - {"state"}
    assert left == {"config", "there.csv"}


def test_two_exports_to_one_file_make_one_file_and_one_error(audited: Audited, book: Book):
    both = [audited.start("audit", "export", "--out", "one.jsonl") for _ in range(2)]
    said = [process.communicate(timeout=60) for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    assert sum("one.jsonl exists" in err for _, err in said) == 1
    assert offline(audited, audited.folder / "one.jsonl")["entries"] == 13
    assert not list(audited.folder.glob(".one*"))


# -- export ------------------------------------------------------------------------------------------


def test_an_export_gives_offline_the_verdict_of_the_live_ledger(audited: Audited, book: Book):
    live = audited.json("audit", "verify")
    file = exported(audited)
    there = offline(audited, file)
    for name in ("result", "entries", "good", "keysets", "terms", "late", "head", "broken"):
        assert there[name] == live[name]
    assert (there["environment"], there["namespace"]) == ("testnet", "golive")
    done = audited(
        "audit", "verify", "--file", file, "--keyset", keyset(audited),
        "--head", book.entries[-1].head, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0
    assert f"VERIFIED testnet (golive), from {file} up to entry 12" in done.stdout


def test_a_torn_edited_or_foreign_file_is_not_verified_and_the_entry_is_named(
    audited: Audited, book: Book
):
    file = exported(audited)
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)

    file.write_bytes(whole[: -len(lines[-1]) // 2 - 1])
    torn = offline(audited, file, code=5)
    assert (torn["broken"]["index"], torn["broken"]["rule"]) == (12, "V1")
    assert "line 13: no line of an export" in torn["broken"]["why"]

    file.write_bytes(whole)
    record = json.loads(lines[3])["record"]
    edited(file, 3, record={**record, "reason": "another"})
    clear = offline(audited, file, code=5)
    assert (clear["broken"]["index"], clear["good"], clear["broken"]["entry"]) == (3, 3, "")
    assert "what it shows in clear is not what was signed" in clear["broken"]["why"]

    for fields, said in [
        ({"by": "mallory"}, "not what was signed"),
        ({"at": "2020-01-01 00:00:00.000"}, "not what was signed"),
        ({"id": "²-0"}, "no id of a stream"),
        ({"id": "9" * 20 + "-0"}, "not what was signed"),
        ({"index": 7}, "entry 7 where 3 was expected"),
        ({"raw": "AAAA"}, "exactly one of r and raw"),
        ({"surprise": 1}, "no line of an export"),
    ]:
        file.write_bytes(whole)
        edited(file, 3, **fields)
        found = offline(audited, file, code=5)
        assert found["broken"]["index"] == 3
        assert said in found["broken"]["why"]

    file.write_bytes(b"".join([*lines[:4], *lines[5:]]))
    assert offline(audited, file, code=5)["broken"]["index"] == 4
    file.write_bytes(b"".join(lines[1:]))
    found = offline(audited, file, code=5)
    assert (found["broken"]["index"], found["broken"]["rule"]) == (0, "V2")


def test_an_export_of_another_fleet_is_not_verified(audited: Audited, server: EmbeddedServer):
    put(server, day(Signers(environment="testnet", fleet="a" * 32)))
    file = exported(audited)
    found = offline(audited, file, code=5)
    assert (found["broken"]["index"], found["broken"]["rule"]) == (0, "V3")
    assert "another fleet" in found["broken"]["why"]


def test_a_cell_that_a_table_program_would_run_is_text(audited: Audited, server: EmbeddedServer):
    book = Book(CLI)
    book.activate()
    book.halt(reason=FORMULA)
    book.halt(reason='two\nlines, and a "quote"')
    put(server, book)
    file = exported(audited, "all.csv", "--format", "csv")
    with file.open(newline="", encoding="utf-8") as text:
        head, *rows = csv.reader(text)
    assert head[:7] == ["index", "id", "at", "kind", "what", "by", "why"]
    assert rows[2][6] == f"'{FORMULA}"
    assert rows[3][6] == 'two\nlines, and a "quote"'
    assert not [cell for row in rows for cell in row if cell.startswith(tuple("=+-@\t\r"))]
    assert [row[head.index("h")] for row in rows] == [entry.head for entry in book.entries]


def test_a_parquet_file_is_read_back_with_types(audited: Audited, book: Book):
    file = exported(audited, "all.parquet", "--format", "parquet")
    table = pyarrow.parquet.read_table(file).to_pylist()
    assert [row["index"] for row in table] == list(range(13))
    assert [row["r"].encode() for row in table] == [entry.envelope for entry in book.entries]
    assert table[1]["verified"] is True
    assert round(table[3]["at"].timestamp() * 1000) == book.entries[3].at_ms


def test_without_pyarrow_the_hint_says_what_to_install(audited: Audited, book: Book):
    fake = audited.folder / "nothing"
    fake.mkdir()
    (fake / "pyarrow.py").write_text("raise ImportError('not here')")
    script = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); sys.argv[0] = 'golive';"
        "from golive_cli.main import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(fake), "audit", "export", "--out", "x", "--format",
         "parquet"],
        cwd=audited.folder, env=audited.environ, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 6
    assert "pyarrow, which is not installed" in done.stderr
    assert "pip install 'golive-redis[parquet]'" in done.stderr
    assert not (audited.folder / "x").exists()


# -- several processes -------------------------------------------------------------------------------


def long_book(entries: int = 2_500) -> Book:
    book = Book(CLI)
    book.activate()
    while len(book.entries) < entries:
        book.note()
    return book


def test_several_processes_come_to_the_verdict_of_one(audited: Audited, server: EmbeddedServer):
    book = long_book()
    for entries in (
        book.entries,
        chained([*book.entries[:1_700], Entry(b"?", "", book.entries[1_700].id)]),
        [*book.entries[:2_100], *book.entries[2_101:]],
    ):
        with server.client() as client:
            put_entries(client, entries)
        code = 0 if entries is book.entries else 5
        environ = {"GOLIVE_STATE": "none"}
        one = audited.json("audit", "verify", "--jobs", "1", code=code, **environ)
        two = audited.json("audit", "verify", "--jobs", "2", code=code, **environ)
        for name in ("good", "entries", "head", "broken", "terms"):
            assert one[name] == two[name]
        forget(audited)
    file = exported(audited)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:1_234]) + lines[1_234][:40])
    assert offline(audited, file, "--jobs", "2", code=5)["broken"]["index"] == 1_234
    assert offline(audited, file, "--jobs", "1", code=5)["broken"]["index"] == 1_234


def test_a_process_that_is_killed_leaves_no_verdict(audited: Audited, server: EmbeddedServer):
    put(server, long_book(12_000))
    process = audited.start("audit", "verify", "--jobs", "2", "--json")
    killed = _kill_a_child(process.pid)
    out, err = process.communicate(timeout=120)
    assert killed
    assert process.returncode == 1, out + err
    assert json.loads(out)["error"]["reason"] == "process"
    assert "no verdict" in json.loads(out)["error"]["message"]
    assert not list((audited.folder / "state").glob("*.json"))


def test_ctrl_c_ends_all_processes_without_a_traceback(audited: Audited, server: EmbeddedServer):
    put(server, long_book(12_000))
    process = audited.start("audit", "verify", "--jobs", "2")
    children = _children(process.pid)
    assert len(children) >= 2
    for pid in (process.pid, *children):
        os.kill(pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (130, "", "")
    assert not [pid for pid in children if Path(f"/proc/{pid}/cmdline").exists()]


def test_no_process_stays_behind_when_the_first_is_killed(audited: Audited, server: EmbeddedServer):
    put(server, long_book(12_000))
    process = audited.start("audit", "verify", "--jobs", "2")
    children = _children(process.pid)
    assert len(children) >= 2
    process.kill()
    process.communicate(timeout=60)
    pause = threading.Event()
    for _ in range(600):
        left = [pid for pid in children if _runs(pid)]
        if not left:
            return
        pause.wait(0.05)
    raise AssertionError(f"{left} go on")


def _runs(pid: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _children(pid: int, wanted: int = 2) -> list[int]:
    """The processes that check signatures, once so many are there."""
    until = threading.Event()
    for _ in range(600):
        found = [
            int(child)
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]
        if len(found) >= wanted:
            return found
        until.wait(0.05)
    return []


def _kill_a_child(pid: int) -> bool:
    found = _children(pid)
    if found:
        os.kill(found[0], signal.SIGKILL)
    return bool(found)


# -- what this host remembers ------------------------------------------------------------------------


def memory(audited: Audited) -> Path:
    (file,) = (audited.folder / "state").glob("ledger-*.json")
    return file


def seen(audited: Audited) -> Path:
    (file,) = (audited.folder / "state").glob("ledger-*.seen")
    return file


def forget(audited: Audited) -> None:
    for file in (audited.folder / "state").glob("ledger-*"):
        file.unlink()


def test_a_ledger_that_was_emptied_on_purpose_is_begun_anew_by_moving_the_memory_away(
    audited: Audited, book: Book, server: EmbeddedServer
):
    audited("audit", "verify")
    with server.client() as client:
        client.flushall()
    done = audited("audit", "verify")
    assert done.returncode == 5
    assert "entry 0 is missing: the ledger ends here, and this host has seen 13" in done.stdout
    assert "only if Redis was emptied on purpose: move the `ledger-` files" in done.stderr
    done = audited("audit", "verify", "--new")
    assert done.returncode == 5
    assert "NOT VERIFIED testnet (golive): no entry is known to be good" in done.stdout
    assert audited.json("audit", "verify", "--new", code=5)["good"] == 0
    forget(audited)
    assert audited("audit", "verify").returncode == 0


def test_a_memory_that_is_torn_or_open_to_others_is_an_error_and_not_an_absent_one(
    audited: Audited, book: Book
):
    audited("audit", "verify")
    file, whole = memory(audited), memory(audited).read_bytes()
    file.write_bytes(whole[:100])
    done = audited("audit", "verify")
    assert (done.returncode, done.stdout) == (6, "")
    assert "not a state file" in done.stderr
    assert "move the `ledger-` files of this switch" in done.stderr
    file.write_bytes(whole)
    file.chmod(0o666)
    done = audited("audit", "verify")
    assert done.returncode == 6
    assert "others may write it" in done.stderr
    file.chmod(0o600)
    beside = seen(audited)
    beside.write_bytes(b"\0" * beside.stat().st_size)
    done = audited("audit", "verify", "--new")
    assert done.returncode == 6
    assert "is not what belongs to" in done.stderr
    beside.unlink()
    assert audited("audit", "verify").returncode == 6


def test_a_memory_is_good_after_a_kill_between_its_two_files(
    audited: Audited, book: Book, server: EmbeddedServer
):
    audited("audit", "verify")
    before = memory(audited).read_bytes()
    book.note()
    put(server, book)
    audited("audit", "verify")
    memory(audited).write_bytes(before)  # and what is beside it is newer
    assert audited.json("audit", "verify", "--new")["judged"] == 1


def test_another_fleet_and_another_environment_have_memories_of_their_own(
    audited: Audited, book: Book, server: EmbeddedServer
):
    audited("audit", "verify")
    other = Signers(environment="testnet", fleet="b" * 32)
    install(audited.folder, other)
    put(server, day(other))
    assert audited.json("audit", "verify")["result"] == "CONSISTENT"
    install(audited.folder, CLI)
    put(server, book)
    assert audited.json("audit", "verify")["result"] == "VERIFIED"
    first, second = sorted((audited.folder / "state").glob("ledger-*.json"))
    second.write_bytes(first.read_bytes())
    done = audited("audit", "verify")
    codes = {done.returncode}
    install(audited.folder, other)
    put(server, day(other))
    done = audited("audit", "verify")
    codes.add(done.returncode)
    assert codes == {0, 6}


def test_two_commands_at_once_come_to_the_same_verdict(audited: Audited, book: Book):
    both = [audited.start("audit", "verify", "--json") for _ in range(4)]
    said = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    assert [process.returncode for process in both] == [0] * 4
    assert {item["entries"] for item in said} == {13}
    assert audited.json("audit", "verify")["result"] == "VERIFIED"


def test_a_full_disk_costs_the_memory_and_not_the_verdict(audited: Audited, book: Book):
    # No file of this process can be longer than that: what is written fails, as on a full disk.
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50)); sys.argv[0] = 'golive';"
        "from golive_cli.main import main; sys.exit(main())"
    )

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script, "audit", "verify", *more],
            cwd=audited.folder, env=audited.environ, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip

    done = run()
    assert done.returncode == 0, done.stderr
    assert "CONSISTENT testnet (golive), not protected: nobody remembers its end\n" in done.stdout
    assert "this host does not remember it: " in done.stderr
    assert "File too large" in done.stderr
    assert "File too large" in json.loads(run("--json").stdout)["forgotten"]


def test_without_a_state_folder_it_says_that_nothing_is_remembered(audited: Audited, book: Book):
    file = audited.folder / "config" / "go_live.yaml"
    file.write_text(file.read_text().replace("state_dir: ../state", ""))
    done = audited("audit", "verify")
    assert done.returncode == 0
    assert "nobody remembers its end\n" in done.stdout
    assert done.stderr == "this host does not remember it: no state_dir is configured\n"


def test_the_memory_of_this_host_can_be_read_by_it_alone(audited: Audited, book: Book):
    audited("audit", "verify")
    for file in (memory(audited), seen(audited)):
        assert file.stat().st_mode & 0o777 == 0o600
    assert seen(audited).stat().st_size == 8 * 13
