"""After Redis has lost entries: `golive audit restore` puts them back, or `generation` begins anew."""

from __future__ import annotations

import json
from typing import Any

import pytest

from golive_redis.records.envelope import decode
from golive_redis.records.ledger import Entry, extend
from golive_redis.testing import Signers
from golive_redis.testing.server import EmbeddedServer
from kit.archives import WITNESSES, checkpoint, long_book, pem_keys, witness_vkeys
from kit.ledgers import CLI, Book, chained, install, put

Audited = Any  # the `audited` fixture's class: test modules cannot import a conftest
LONG = long_book(CLI, 620)
ENTRIES = LONG.entries


@pytest.fixture
def archived(audited: Audited, server: EmbeddedServer) -> Audited:
    """A fleet whose ledger was archived and judged on this host; alice may sign."""
    pem_keys(audited.folder, CLI)
    enter(server, ENTRIES, checkpoint(CLI, ENTRIES[:600]))
    audited.json("audit", "archive", "a")
    assert audited("audit", "verify").returncode == 0
    return audited


def enter(server: EmbeddedServer, entries: list[Entry], checkpointed: bytes | None = None) -> None:
    with server.client() as client:
        client.flushall()
        if entries:
            put(client, entries)
        if checkpointed is not None:
            client.set("golive:checkpoint", checkpointed)


def stream(server: EmbeddedServer) -> list[Entry]:
    with server.client() as client:
        return [
            Entry(fields[b"r"], fields[b"h"].decode(), name.decode())
            for name, fields in client.xrange("golive:audit")
        ]


def say(server: EmbeddedServer, count: int = 1, signers: Signers = CLI) -> list[bytes]:
    """Heartbeats go on writing, as our scripts do; returns what they wrote."""
    book = Book(signers)
    with server.client() as client:
        book.at_ms = int(client.time()[0]) * 1000
        for _ in range(count):
            book.note("joined", by="hb-2")
        for entry in book.entries:
            head = extend((client.get("golive:head") or b"0" * 64).decode(), entry.envelope)
            client.xadd("golive:audit", {"r": entry.envelope, "h": head})
            client.set("golive:head", head)
    return [entry.envelope for entry in book.entries]


# -- restore -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [0, 1, 255, 256, 600, 619])
def test_what_was_lost_is_put_back_as_it_was(
    archived: Audited, server: EmbeddedServer, left: int
) -> None:
    enter(server, ENTRIES[:left])
    assert archived("audit", "verify").returncode == 5, "this host remembers more"
    found = archived.json("audit", "restore", "a")
    assert (found["first"], found["restored"]) == (left, len(ENTRIES) - left)
    assert stream(server) == ENTRIES
    with server.client() as client:
        assert client.get("golive:head").decode() == ENTRIES[-1].head
    done = archived.json("audit", "verify")
    assert (done["result"], done["remembered_by"]) == ("VERIFIED", "this host")
    assert archived.json("audit", "restore", "a")["restored"] == 0
    say(server)
    assert archived.json("audit", "verify")["entries"] == len(ENTRIES) + 1


def test_nothing_is_put_back_where_others_were_written_since(
    archived: Audited, server: EmbeddedServer
) -> None:
    enter(server, ENTRIES[:400])
    say(server)
    before = stream(server)
    done = archived("audit", "restore", "a")
    assert done.returncode == 5
    assert "Redis has another entry 400 than the archive" in done.stderr
    assert "golive audit generation" in done.stderr
    assert stream(server) == before


def test_a_changed_archive_puts_nothing_back(archived: Audited, server: EmbeddedServer) -> None:
    enter(server, ENTRIES[:400])
    path = archived.folder / "a" / "tile" / "entries" / "000"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    done = archived("audit", "restore", "a")
    assert (done.returncode, f"{path.resolve()} was changed" in done.stderr) == (5, True)
    assert stream(server) == ENTRIES[:400]


def test_the_archive_of_a_broken_ledger_puts_nothing_back(
    audited: Audited, server: EmbeddedServer
) -> None:
    at = next(n for n in range(300, 400) if "grant" in decode(ENTRIES[n].envelope).payload_type)
    enter(server, chained(ENTRIES[:at] + ENTRIES[at + 1 :]))
    audited.json("audit", "archive", "a")
    enter(server, [])
    done = audited("audit", "restore", "a")
    assert (done.returncode, stream(server)) == (5, [])


def test_after_a_trim_the_emptied_ledger_is_put_back_from_where_it_began(
    archived: Audited, server: EmbeddedServer
) -> None:
    first = archived.json("audit", "trim", "a", "--unwitnessed")["first"]
    whole = stream(server)
    assert archived.json("audit", "archive", "a", "--settled", "0s")["entries"] == len(ENTRIES) + 1
    enter(server, [])
    found = archived.json("audit", "restore", "a")
    assert (found["first"], found["entries"]) == (first, len(ENTRIES) + 1)
    assert stream(server) == whole
    done = archived.json("audit", "verify")
    assert (done["result"], done["begins"]) == ("VERIFIED", first)


# -- generation --------------------------------------------------------------------------------------

ANEW = ("audit", "generation", "--archive", "a", "--reason", "failover lost 220 entries")


def forked(archived: Audited, server: EmbeddedServer) -> list[Entry]:
    enter(server, ENTRIES[:400])
    say(server, 3)
    assert archived("audit", "verify").returncode == 5
    return stream(server)


def test_a_new_generation_begins_with_a_note_about_the_old_and_hosts_take_it_up(
    archived: Audited, server: EmbeddedServer
) -> None:
    before = forked(archived, server)
    found = archived.json(*ANEW)
    assert (found["generation"], found["signers"]) == (2, ["alice"])
    assert (found["before"], found["common"]) == (len(ENTRIES), 400)
    now = stream(server)
    assert now[:-1] == before, "nothing was removed"
    note = json.loads(decode(now[-1].envelope).payload)
    assert (note["topic"], note["text"]) == ("generation", "failover lost 220 entries")
    assert note["facts"]["archived"] == ENTRIES[-1].head
    assert note["facts"]["checkpoint"].startswith("testnet.invalid/golive 600 ")
    text = archived("audit", "verify")
    assert text.returncode == 0, text.stdout
    assert "generation 2 of the ledger, begun anew by alice" in text.stdout
    assert f"had judged {len(ENTRIES)} entries of generation 1, and takes up" in text.stdout
    say(server, 2)
    done = archived.json("audit", "verify", "--new")
    assert (done["generation"], done["entries"], done["broken"]) == (2, 3, None)
    assert archived.json("audit", "verify")["result"] == "VERIFIED"
    rows = archived.json("audit", "list")["entries"]
    assert [(row["index"], row["what"]) for row in rows] == [
        (0, "generation"),
        (1, "joined"),
        (2, "joined"),
    ]


def test_each_generation_has_an_archive_of_its_own_with_what_stood_before(
    archived: Audited, server: EmbeddedServer
) -> None:
    before = forked(archived, server)
    archived.json(*ANEW)
    say(server, 2)
    done = archived("audit", "archive", "a", "--settled", "0s")
    assert (done.returncode, "holds generation 1" in done.stderr) == (1, True)
    note = stream(server)[len(before) :]
    signed = checkpoint(CLI, note, generation=2)
    with server.client() as client:
        client.set("golive:checkpoint", signed)
    found = archived.json("audit", "archive", "b", "--settled", "0s")
    assert (found["generation"], found["entries"], found["checkpoint"]) == (2, 3, 3)
    lines = (archived.folder / "b" / "before.jsonl").read_text().splitlines()
    assert [json.loads(line)["h"] for line in lines] == [entry.head for entry in before]
    held = archived.json("audit", "verify", "--archive", "b")
    assert (held["result"], held["generation"], held["entries"]) == ("VERIFIED", 2, 3)


def test_epochs_and_stops_of_both_histories_bind_the_new_one(
    archived: Audited, server: EmbeddedServer
) -> None:
    forked(archived, server)
    archived.json(*ANEW)
    book = Book(CLI)
    with server.client() as client:
        book.at_ms = int(client.time()[0]) * 1000
        book.epoch = LONG.epoch - 3  # granted again what the lost entries have revoked
        book.activate()
        for entry in book.entries:
            head = extend(client.get("golive:head").decode(), entry.envelope)
            client.xadd("golive:audit", {"r": entry.envelope, "h": head})
            client.set("golive:head", head)
    done = archived.json("audit", "verify", code=5)
    assert done["broken"]["rule"] in {"V7", "V8"}
    assert done["broken"]["index"] == 2


def test_the_hint_in_redis_is_not_what_begins_a_generation(
    archived: Audited, server: EmbeddedServer
) -> None:
    forked(archived, server)
    archived.json(*ANEW)
    with server.client() as client:
        client.delete("golive:begins")
    assert archived.json("audit", "verify")["generation"] == 2


def test_a_host_that_has_seen_the_new_generation_refuses_the_old_one(
    archived: Audited, server: EmbeddedServer
) -> None:
    forked(archived, server)
    archived.json(*ANEW)
    assert archived("audit", "verify").returncode == 0
    enter(server, ENTRIES)
    done = archived.json("audit", "verify", code=5)
    assert done["broken"]["rule"] == "V14"
    assert "has seen generation 2" in done["broken"]["why"]


@pytest.mark.parametrize("lost", ["nothing", "only the end"])
def test_nobody_begins_anew_without_need(
    archived: Audited, server: EmbeddedServer, lost: str
) -> None:
    if lost != "nothing":
        enter(server, ENTRIES[:400])
    before = stream(server)
    done = archived(*ANEW)
    assert done.returncode == 1
    assert ("nothing is lost" if lost == "nothing" else "golive audit restore") in done.stderr
    assert stream(server) == before


def test_it_takes_as_many_approvers_as_an_activation(
    archived: Audited, server: EmbeddedServer
) -> None:
    two = Signers(environment="testnet", approvals=2)
    book = long_book(two, 300)
    install(archived.folder, two)
    enter(server, book.entries)
    archived.json("audit", "archive", "c")
    enter(server, book.entries[:200])
    say(server, signers=two)
    before = stream(server)
    words = ("audit", "generation", "--archive", "c", "--reason", "lost")
    done = archived(*words)
    assert (done.returncode, "2 approver signature(s) needed, 1 given" in done.stderr) == (1, True)
    assert stream(server) == before
    found = archived.json(*words, "--key", archived.folder / "config/keys/bob.pem")
    assert found["signers"] == ["alice", "bob"]
    assert archived.json("audit", "verify")["generation"] == 2


def test_a_note_that_one_approver_of_two_has_signed_begins_nothing(
    archived: Audited, server: EmbeddedServer
) -> None:
    forked(archived, server)
    archived.json(*ANEW)
    install(archived.folder, Signers(environment="testnet", approvals=2))
    done = archived("audit", "verify")
    assert done.returncode == 5, "alice alone was enough under the keyset before"


def test_witnesses_are_asked_for_the_log_of_the_generation(
    archived: Audited, server: EmbeddedServer
) -> None:
    config = archived.folder / "config" / "go_live.yaml"
    lines = [f"    - {{vkey: '{vkey}', url: 'http://127.0.0.1:1'}}" for vkey in witness_vkeys()]
    config.write_text(config.read_text() + "\naudit:\n  witnesses:\n" + "\n".join(lines) + "\n")
    before = forked(archived, server)
    archived.json(*ANEW)
    later = stream(server)[len(before) :]
    for number, code in ((1, 5), (2, 0)):
        signed = checkpoint(CLI, later, witnesses=WITNESSES, generation=number)
        with server.client() as client:
            client.set("golive:checkpoint", signed)
        done = archived("audit", "archive", "b", "--settled", "0s")
        assert done.returncode == code, done.stderr
