"""`golive audit archive` and `verify --archive`: what is kept, how it goes on, and what it refuses."""

from __future__ import annotations

import fcntl
import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from golive_redis.records.envelope import decode
from golive_redis.records.ledger import Entry
from golive_redis.records.merkle import EMPTY, leaf
from golive_redis.records.tiles import unbundle
from golive_redis.testing import Signers
from golive_redis.testing.server import EmbeddedServer
from kit.archives import WITNESSES, checkpoint, long_book, witness_vkeys
from kit.ledgers import CLI, chained, day, install, put

Audited = Any  # the `audited` fixture's class: test modules cannot import a conftest
LONG = long_book(CLI, 800)


def enter(server: EmbeddedServer, entries: list[Entry], checkpointed: bytes | None = None) -> None:
    with server.client() as client:
        put(client, entries)
        client.delete("golive:checkpoint")
        if checkpointed is not None:
            client.set("golive:checkpoint", checkpointed)


def root(entries: list[Entry]) -> str:
    return EMPTY.extend(leaf(entry.envelope) for entry in entries).root().hex()


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_whole_ledger_is_in_the_folder_as_tlog_tiles_lays_it_out(
    audited: Audited, server: EmbeddedServer
) -> None:
    entries = LONG.entries[:700]
    enter(server, entries)
    found = audited.json("audit", "archive", "a")
    assert (found["entries"], found["new"], found["waiting"]) == (700, 700, 0)
    assert found["root"] == root(entries)
    assert (found["checkpoint"], found["cosigned"]) == (None, [])
    folder = audited.folder / "a"
    bundles = [
        unbundle((folder / "tile" / "entries" / name).read_bytes(), width)
        for name, width in (("000", 256), ("001", 256), ("002.p/188", 188))
    ]
    assert [each for page in bundles for each in page] == [entry.envelope for entry in entries]
    leaves = b"".join(leaf(entry.envelope) for entry in entries)
    assert (folder / "tile/0/000").read_bytes() == leaves[: 256 * 32]
    assert (folder / "tile/0/002.p/188").read_bytes() == leaves[512 * 32 :]
    assert len((folder / "tile/1/000.p/2").read_bytes()) == 64


def test_without_a_checkpoint_it_says_that_nobody_has_signed_its_end(
    audited: Audited, server: EmbeddedServer
) -> None:
    enter(server, day(CLI).entries)
    done = audited("audit", "archive", "a")
    assert done.returncode == 0, done.stderr
    assert "entries 0 to 12, 13 of them new" in done.stdout
    assert "nobody has signed where it ends" in done.stdout


def test_it_goes_on_where_it_ended_and_never_writes_a_file_twice(
    audited: Audited, server: EmbeddedServer
) -> None:
    folder, seen = audited.folder / "a", {}
    for size in (1, 200, 256, 257, 600, 600, len(LONG.entries)):
        enter(server, LONG.entries[:size])
        found = audited.json("audit", "archive", "a")
        assert (found["entries"], found["root"]) == (size, root(LONG.entries[:size]))
        now = files(folder)
        changed = {name for name in seen if now.get(name) != seen[name]}
        assert changed <= {"archive.json"}, "what was written once stays as it is"
        seen = now
    assert audited.json("audit", "verify", "--archive", "a")["entries"] == len(LONG.entries)


def test_an_archive_gets_the_verdict_of_the_live_ledger(
    audited: Audited, server: EmbeddedServer
) -> None:
    enter(server, LONG.entries)
    audited.json("audit", "archive", "a")
    live = audited.json("audit", "verify")
    held = audited.json("audit", "verify", "--archive", "a")
    same = ("result", "entries", "good", "keysets", "terms", "late", "head", "broken")
    assert {name: held[name] for name in same} == {name: live[name] for name in same}


def test_an_archive_of_a_broken_ledger_is_refused_by_the_same_rule(
    audited: Audited, server: EmbeddedServer
) -> None:
    at = next(
        n for n in range(300, 400) if "grant" in decode(LONG.entries[n].envelope).payload_type
    )
    entries = chained(LONG.entries[:at] + LONG.entries[at + 1 : 400])
    enter(server, entries)
    assert audited.json("audit", "archive", "a")["entries"] == 399
    live = audited.json("audit", "verify", code=5)
    held = audited.json("audit", "verify", "--archive", "a", code=5)
    assert live["broken"]["rule"] == held["broken"]["rule"]
    assert live["broken"]["index"] == held["broken"]["index"]


def test_a_chain_that_is_broken_is_not_archived_behind_the_break(
    audited: Audited, server: EmbeddedServer
) -> None:
    enter(server, LONG.entries[:300] + LONG.entries[301:])
    done = audited("audit", "archive", "a")
    assert done.returncode == 5
    assert "entry 300 does not follow the entry before it" in done.stderr


def test_with_the_keyset_files_alone_an_archive_needs_no_configuration(
    audited: Audited, server: EmbeddedServer, tmp_path: Path
) -> None:
    enter(server, LONG.entries, checkpoint(CLI, LONG.entries[:700]))
    audited.json("audit", "archive", "a")
    keyset = audited.folder / "config" / "keyset.yaml"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = audited(
        "audit", "verify", "--archive", audited.folder / "a", "--keyset", keyset, cwd=elsewhere
    )
    assert done.returncode == 0, done.stderr
    assert "VERIFIED testnet (golive), from" in done.stdout
    assert "up to entry 699, which the checkpoint of 700 entries by hb-1 remembers" in done.stdout


# -- checkpoints -------------------------------------------------------------------------------------


def test_the_checkpoint_is_held_against_the_archive_and_kept_with_its_partial_tiles(
    audited: Audited, server: EmbeddedServer
) -> None:
    signed = checkpoint(CLI, LONG.entries[:555])
    enter(server, LONG.entries, signed)
    found = audited.json("audit", "archive", "a")
    assert (found["checkpoint"], found["entries"]) == (555, len(LONG.entries))
    folder = audited.folder / "a"
    assert (folder / "checkpoint").read_bytes() == signed
    for name in ("tile/0/002.p/43", "tile/entries/002.p/43", "tile/1/000.p/2"):
        assert (folder / name).exists(), name


def test_a_checkpoint_of_another_tree_is_a_fork(audited: Audited, server: EmbeddedServer) -> None:
    enter(server, LONG.entries, checkpoint(CLI, LONG.entries[1:556]))
    done = audited("audit", "archive", "a")
    assert done.returncode == 5
    assert "the checkpoint of 555 entries is about another ledger" in done.stderr


def test_a_checkpoint_by_a_stranger_is_refused(audited: Audited, server: EmbeddedServer) -> None:
    enter(server, LONG.entries, checkpoint(CLI, LONG.entries[:555], by="rita"))
    done = audited("audit", "archive", "a")
    assert (done.returncode, "no trusted key" in done.stderr) == (5, True), done.stderr


def test_a_ledger_that_is_shorter_than_its_checkpoint_has_lost_entries(
    audited: Audited, server: EmbeddedServer
) -> None:
    enter(server, LONG.entries[:500], checkpoint(CLI, LONG.entries[:555]))
    done = audited("audit", "archive", "a")
    assert (done.returncode, "it has lost some" in done.stderr) == (5, True), done.stderr


def test_who_has_cosigned_is_told(audited: Audited, server: EmbeddedServer) -> None:
    config = audited.folder / "config" / "go_live.yaml"
    lines = [f"    - {{vkey: '{vkey}', url: 'http://127.0.0.1:1'}}" for vkey in witness_vkeys()]
    config.write_text(config.read_text() + "\naudit:\n  witnesses:\n" + "\n".join(lines) + "\n")
    enter(server, LONG.entries, checkpoint(CLI, LONG.entries[:555], witnesses=WITNESSES))
    done = audited("audit", "archive", "a")
    assert "by hb-1, cosigned by backup, compliance (2 of 2 witnesses)" in done.stdout, done.stderr


# -- what it refuses ---------------------------------------------------------------------------------


def test_entries_that_a_failover_may_lose_wait(audited: Audited, server: EmbeddedServer) -> None:
    book = day(CLI)
    with server.client() as client:
        put(client, book.entries)
        book.note()
        last = book.entries[-1]
        client.xadd("golive:audit", {"r": last.envelope, "h": last.head})
        client.set("golive:head", last.head)
    found = audited.json("audit", "archive", "a")
    assert (found["entries"], found["waiting"]) == (13, 1)
    found = audited.json("audit", "archive", "a", "--settled", "0s")
    assert (found["entries"], found["waiting"]) == (14, 0)


def test_the_archive_of_another_fleet_is_refused(audited: Audited, server: EmbeddedServer) -> None:
    enter(server, LONG.entries)
    audited.json("audit", "archive", "a")
    before = files(audited.folder / "a")
    other = Signers(environment="testnet", fleet="ab" * 16)
    install(audited.folder, other)
    enter(server, day(other).entries)
    done = audited("audit", "archive", "a")
    assert (done.returncode, "is the archive of another ledger" in done.stderr) == (1, True)
    assert files(audited.folder / "a") == before


def test_a_folder_that_is_none_is_refused(audited: Audited, server: EmbeddedServer) -> None:
    enter(server, day(CLI).entries)
    (audited.folder / "a").mkdir()
    (audited.folder / "a" / "mine.txt").write_text("mine")
    done = audited("audit", "archive", "a")
    assert (done.returncode, "mine.txt is in it" in done.stderr) == (1, True)
    done = audited("audit", "verify", "--archive", "a")
    assert (done.returncode, "is no archive" in done.stderr) == (6, True)


def test_two_at_once_do_not_write_one_archive(audited: Audited, server: EmbeddedServer) -> None:
    enter(server, day(CLI).entries)
    audited.json("audit", "archive", "a")
    handle = os.open(audited.folder / "a" / "archive.lock", os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        done = audited("audit", "archive", "a")
    finally:
        os.close(handle)
    assert (done.returncode, "another command writes this archive" in done.stderr) == (1, True)
    assert audited.json("audit", "archive", "a")["new"] == 0


def test_a_ledger_that_was_written_anew_is_a_fork(audited: Audited, server: EmbeddedServer) -> None:
    enter(server, LONG.entries[:700])
    audited.json("audit", "archive", "a")
    before = files(audited.folder / "a")
    enter(server, chained(LONG.entries[:400] + LONG.entries[450:]))
    done = audited("audit", "archive", "a")
    assert done.returncode == 5
    assert "Redis has another entry 400 than the archive" in done.stderr
    assert files(audited.folder / "a") == before


def test_a_ledger_that_lost_its_end_is_told_apart_from_one_that_was_written_anew(
    audited: Audited, server: EmbeddedServer
) -> None:
    enter(server, LONG.entries[:700])
    audited.json("audit", "archive", "a")
    enter(server, LONG.entries[:650])
    done = audited("audit", "archive", "a")
    assert done.returncode == 5
    assert "Redis has lost entries 650 to 699, which are archived" in done.stderr
    assert "golive audit restore" in done.stderr


KINDS = (
    "archive.json",
    "checkpoint",
    "tile/0/000",
    "tile/0/001",
    "tile/0/002.p/43",
    "tile/0/*.p/*",
    "tile/1/000.p/*",
    "tile/entries/000",
    "tile/entries/002.p/43",
    "tile/entries/*.p/*",
    "places/000",
    "places/*.p/*",
    "keysets/*",
    "receipts/*",
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_byte_is_found_in_each_kind_of_file_and_the_file_is_named(
    audited: Audited, server: EmbeddedServer, kind: str
) -> None:
    enter(server, LONG.entries, checkpoint(CLI, LONG.entries[:555]))
    stop = next(
        entry
        for entry in reversed(LONG.entries)
        if "revocation" in decode(entry.envelope).payload_type
    )
    with server.client() as client:
        client.hset(
            f"golive:receipt:{decode(stop.envelope).identity}", "pod-1", b'{"a": "receipt"}'
        )
    assert audited.json("audit", "archive", "a")["receipts"] == 1
    assert audited("audit", "verify", "--archive", "a").returncode == 0
    folder = audited.folder / "a"
    draw = random.Random(kind)
    for path in sorted(folder.glob(kind)):
        good = path.read_bytes()
        at = draw.randrange(len(good))
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        done = audited("audit", "verify", "--archive", "a")
        assert done.returncode == 5, (path, done.stdout)
        if kind != "checkpoint":  # it is a signed note: what is wrong with it is said of the note
            assert f"{path.resolve()} was changed" in done.stderr, (path, at)
        path.write_bytes(good[:-1])
        assert audited("audit", "verify", "--archive", "a").returncode == 5, path
        path.write_bytes(good)
    assert sorted(folder.glob(kind)), "there is such a file"
    assert audited("audit", "verify", "--archive", "a").returncode == 0


def test_a_file_that_is_missing_or_does_not_belong_there_is_named(
    audited: Audited, server: EmbeddedServer
) -> None:
    enter(server, LONG.entries)
    audited.json("audit", "archive", "a")
    folder = audited.folder / "a"
    for name in ("tile/0/001", "tile/entries/000", "places/001", "tile/1/000.p/3"):
        path = folder / name
        good = path.read_bytes()
        path.unlink()
        done = audited("audit", "verify", "--archive", "a")
        assert done.returncode == 5
        assert f"{path.resolve()} was changed: it is missing" in done.stdout + done.stderr
        path.write_bytes(good)
    (folder / "tile" / "0" / "mine").write_bytes(b"mine")
    done = audited("audit", "verify", "--archive", "a")
    assert (done.returncode, "it is no file of an archive" in done.stderr) == (5, True)


def test_what_was_changed_at_the_end_is_found_before_anything_is_written_behind_it(
    audited: Audited, server: EmbeddedServer
) -> None:
    enter(server, LONG.entries[:700])
    audited.json("audit", "archive", "a")
    path = audited.folder / "a" / "tile" / "entries" / "002.p" / "188"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    enter(server, LONG.entries)
    done = audited("audit", "archive", "a")
    assert (done.returncode, f"{path.resolve()} was changed" in done.stderr) == (5, True)


# -- interrupted -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tile/0/002", "places/002.p/188", "archive.json", "checkpoint"])
def test_a_full_disk_costs_nothing_that_was_archived(
    audited: Audited, server: EmbeddedServer, name: str
) -> None:
    enter(server, LONG.entries[:600], checkpoint(CLI, LONG.entries[:555]))
    audited.json("audit", "archive", "a")
    folder = audited.folder / "a"
    before = files(folder)
    size = 700 if name.startswith("places") else len(LONG.entries)
    enter(server, LONG.entries[:size], checkpoint(CLI, LONG.entries[:690]))
    full = folder / f"{name}.tmp"
    full.parent.mkdir(exist_ok=True)
    full.symlink_to("/dev/full")  # each write to it fails
    done = audited("audit", "archive", "a")
    assert (done.returncode, "No space left on device" in done.stderr) == (6, True), done.stderr
    now = files(folder)
    assert {path: now.get(path) for path in before} == before or name == "checkpoint"
    assert audited("audit", "verify", "--archive", "a").returncode == 0
    assert audited.json("audit", "archive", "a")["root"] == root(LONG.entries[:size])
    assert audited("audit", "verify", "--archive", "a").returncode == 0


def test_killed_again_and_again_it_loses_nothing_and_ends_as_if_it_had_not_been(
    audited: Audited, server: EmbeddedServer
) -> None:
    draw = random.Random(7)
    reached = killed = 0
    for round_ in range(16):
        size = (round_ + 1) * len(LONG.entries) // 16
        enter(server, LONG.entries[:size], checkpoint(CLI, LONG.entries[: size - 3]))
        process = audited.start("audit", "archive", "a")
        try:
            process.wait(timeout=draw.uniform(0.05, 0.6))
        except subprocess.TimeoutExpired:
            killed += 1
            process.kill()
        process.communicate()
        if (audited.folder / "a" / "archive.json").exists():
            found = audited.json("audit", "verify", "--archive", "a")
            assert reached <= found["entries"] <= size
            reached = found["entries"]
    assert killed, "some were killed"
    assert audited.json("audit", "archive", "a")["root"] == root(LONG.entries)
    assert audited.json("audit", "verify", "--archive", "a")["result"] == "VERIFIED"


def test_the_doctor_reads_the_end_of_the_archive_back(
    audited: Audited, server: EmbeddedServer
) -> None:
    config = audited.folder / "config" / "go_live.yaml"
    config.write_text(config.read_text() + "\naudit:\n  archive: ../a\n")

    def found() -> dict[str, str]:
        said = json.loads(audited("doctor", "--json").stdout)
        return next(item for item in said["diagnoses"] if item["name"] == "archive")

    enter(server, LONG.entries)
    assert (found()["level"], "is no archive" in found()["seen"]) == ("red", True)
    audited.json("audit", "archive", "a")
    assert (found()["level"], f"{len(LONG.entries)} entries in" in found()["seen"]) == ("ok", True)
    path = next((audited.folder / "a" / "tile" / "entries").glob("*.p/*"))
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert (found()["level"], f"{path.resolve()} was changed" in found()["seen"]) == ("red", True)
