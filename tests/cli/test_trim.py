"""`golive audit trim`: what it removes and asks for, and how a trimmed ledger is read and judged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from golive_redis.audit.beginning import facts, read
from golive_redis.audit.history import Carry
from golive_redis.audit.opening import Keysets
from golive_redis.records.envelope import decode, seal
from golive_redis.records.ledger import Entry, Note, extend
from golive_redis.records.merkle import EMPTY, leaf
from golive_redis.store.acl import Role, user_of
from golive_redis.store.keyspace import Keyspace
from golive_redis.testing import Signers
from golive_redis.testing.server import EmbeddedServer
from kit.archives import WITNESSES, checkpoint, long_book, pem_keys, witness_vkeys
from kit.ledgers import CLI, Book, chained, install, put

Audited = Any  # the `audited` fixture's class: test modules cannot import a conftest
LONG = long_book(CLI, 1_100)
ENTRIES = LONG.entries


@pytest.fixture
def trimmable(audited: Audited, server: EmbeddedServer) -> Audited:
    """A fleet whose 1,100 entries are old, archived and witnessed; alice may sign."""
    config = audited.folder / "config" / "go_live.yaml"
    lines = [f"    - {{vkey: '{vkey}', url: 'http://127.0.0.1:1'}}" for vkey in witness_vkeys()]
    config.write_text(config.read_text() + "\naudit:\n  witnesses:\n" + "\n".join(lines) + "\n")
    pem_keys(audited.folder, CLI)
    enter(server, ENTRIES, checkpoint(CLI, ENTRIES[:1_050], witnesses=WITNESSES))
    audited.json("audit", "archive", "a")
    return audited


def enter(server: EmbeddedServer, entries: list[Entry], checkpointed: bytes | None = None) -> None:
    with server.client() as client:
        put(client, entries)
        client.delete("golive:checkpoint", "golive:begins")
        if checkpointed is not None:
            client.set("golive:checkpoint", checkpointed)


def stream(server: EmbeddedServer) -> list[Entry]:
    with server.client() as client:
        return [
            Entry(fields[b"r"], fields[b"h"].decode(), name.decode())
            for name, fields in client.xrange("golive:audit")
        ]


def test_full_bundles_go_after_a_signed_note_and_the_ledger_is_judged_from_there(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    found = trimmable.json("audit", "trim", "a")
    assert found["first"] in {1_024, 768, 512, 256}
    assert found["removed"] == found["first"]
    left = stream(server)
    assert left[:-1] == ENTRIES[found["first"] :], "nothing else is gone or changed"
    note = json.loads(decode(left[-1].envelope).payload)
    assert (note["topic"], note["by"]) == ("trimmed", "alice")
    assert note["facts"]["entries"] == str(found["first"])
    assert decode(left[-1].envelope).identity == found["note"]
    done = trimmable.json("audit", "verify")
    assert (done["result"], done["broken"]) == ("VERIFIED", None), "the checkpoint remembers it"
    assert (done["begins"], done["entries"]) == (found["first"], len(ENTRIES) + 1)
    text = trimmable("audit", "verify").stdout
    assert f"entries 0 to {found['first'] - 1} were trimmed, says alice, " in text
    assert trimmable("audit", "verify", "--new").returncode == 0


def test_a_host_that_has_judged_the_ledger_goes_on_after_it_was_trimmed(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    assert trimmable.json("audit", "verify")["entries"] == len(ENTRIES)
    first = trimmable.json("audit", "trim", "a")["first"]
    new = trimmable.json("audit", "verify", "--new")
    assert (new["broken"], new["judged"], new["entries"]) == (None, 1, len(ENTRIES) + 1)
    whole = trimmable.json("audit", "verify")
    assert (whole["result"], whole["begins"]) == ("VERIFIED", first)
    assert whole["remembered_by"] == "this host"


def test_a_host_that_had_judged_less_says_what_it_cannot_see_any_more(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    enter(server, ENTRIES[:100])
    assert trimmable.json("audit", "verify")["entries"] == 100
    enter(server, ENTRIES, checkpoint(CLI, ENTRIES[:1_050], witnesses=WITNESSES))
    first = trimmable.json("audit", "trim", "a")["first"]
    done = trimmable("audit", "verify")
    assert done.returncode == 0, done.stdout
    assert (
        f"this host had judged entries up to 99; those up to {first - 1} are only in" in done.stdout
    )


def test_list_show_tail_and_export_keep_the_numbers_of_the_entries(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    before = trimmable.json("audit", "list", "-n", "500")["entries"]
    first = trimmable.json("audit", "trim", "a")["first"]
    after = trimmable.json("audit", "list", "-n", "500")["entries"]
    assert after[-1]["index"] == len(ENTRIES)
    kept = [entry for entry in before if entry["index"] >= first]
    assert after[:-1] == kept
    shown = trimmable.json("audit", "show", str(first))
    assert shown["entry"]["id"] == ENTRIES[first].id
    assert trimmable("audit", "show", str(first - 1)).returncode == 1
    done = trimmable.json("audit", "export", "--out", "ledger.jsonl")
    assert done["entries"] == len(ENTRIES) + 1 - first
    line = (trimmable.folder / "ledger.jsonl").read_text().splitlines()[0]
    assert json.loads(line)["index"] == first
    words = ("audit", "verify", "--file", "ledger.jsonl", "--keyset", "config/keyset.yaml")
    offline = trimmable.json(*words)
    assert (offline["begins"], offline["broken"]) == (first, None)


def test_a_trim_without_its_note_does_not_verify(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    with server.client() as client:
        client.xtrim("golive:audit", minid=ENTRIES[512].id, approximate=False)
    done = trimmable("audit", "verify")
    assert done.returncode == 5
    assert "what stood before it is not here" in done.stdout
    done = trimmable("audit", "archive", "b")
    assert (done.returncode, "no note by a trusted key" in done.stderr) == (5, True)


def test_a_trim_that_goes_further_than_its_note_does_not_verify(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    first = trimmable.json("audit", "trim", "a")["first"]
    with server.client() as client:
        client.xtrim("golive:audit", minid=ENTRIES[first + 1].id, approximate=False)
    assert trimmable("audit", "verify").returncode == 5


def test_the_hint_in_redis_is_only_one(trimmable: Audited, server: EmbeddedServer) -> None:
    first = trimmable.json("audit", "trim", "a")["first"]
    for value in (None, b"", b"no note", ENTRIES[3].envelope):
        with server.client() as client:
            if value is None:
                client.delete("golive:begins")
            else:
                client.set("golive:begins", value)
        done = trimmable.json("audit", "verify")
        assert (done["broken"], done["begins"]) == (None, first), value


def test_a_note_by_somebody_who_may_not_trim_begins_nothing(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    trimmable.json("audit", "trim", "a")
    left = stream(server)
    book = Book(CLI, at_ms=left[-1].at_ms)
    said = json.loads(decode(left[-1].envelope).payload)["facts"]
    book.note("trimmed", by="hb-1", facts=said)
    head = left[-2].head
    forged = Entry(book.entries[0].envelope, extend(head, book.entries[0].envelope), left[-1].id)
    with server.client() as client:
        put(client, [*left[:-1], forged])
        client.set("golive:begins", forged.envelope)
    assert trimmable("audit", "verify").returncode == 5


def test_an_old_note_does_not_hide_what_is_still_there(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    trimmable.json("audit", "trim", "a")
    note = stream(server)[-1]
    whole = chained([*ENTRIES[:400], *ENTRIES[401:], note])
    enter(server, whole)
    with server.client() as client:
        client.set("golive:begins", note.envelope)
    live = trimmable.json("audit", "verify")
    assert (live["begins"], live["entries"]) == (0, len(whole)), "it is judged from its first entry"


def as_note(signers: Signers, *by: str, **more: str) -> bytes:
    said = facts(
        Carry(count=2, head="a" * 64, last_id="1-1"),
        EMPTY.extend([leaf(b"a"), leaf(b"b")]),
        generation=1,
        directives=[],
    )
    heading = signers.trust.heading(by[0], 1_760_000_000_000)
    note = Note(**heading, topic="trimmed", text="as told", facts=said | more)
    return seal(note, *(signers.signers[name] for name in by))


def test_a_note_takes_as_many_approvers_as_a_grant() -> None:
    two = Signers(environment="testnet", approvals=2)
    keysets = Keysets.of([two.trust.keyset], two.trust.namespace, "testnet")
    assert read(as_note(two, "alice"), keysets) is None, "one hides nothing"
    found = read(as_note(two, "alice", "bob"), keysets)
    assert found is not None
    assert (found.count, found.by) == (2, ("alice", "bob"))


def test_where_two_approve_two_sign_the_note(audited: Audited, server: EmbeddedServer) -> None:
    two = Signers(environment="testnet", approvals=2)
    install(audited.folder, two)
    pem_keys(audited.folder, two)
    book = Book(two)
    book.activate(by=("alice", "bob"))
    for _ in range(300):
        book.note("goodbye")
    enter(server, book.entries)
    audited.json("audit", "archive", "a")
    words = ("audit", "trim", "a", "--unwitnessed")
    done = audited(*words)
    assert (done.returncode, "2 approver signature(s) needed, 1 given" in done.stderr) == (1, True)
    assert stream(server) == book.entries
    keys = (f"--key=config/keys/{name}.pem" for name in ("alice", "bob"))
    assert "by alice and bob says so" in audited(*words, *keys).stdout
    assert audited.json("audit", "verify")["begins"] == 256


@pytest.mark.parametrize(
    "more",
    [
        {"last": "abc"},
        {"last": "1-0-0"},
        {"last": "99999999999999999999999-0"},
        {"last": ""},
        {"head": "x"},
        {"entries": "0"},
        {"keyset": "9007199254740993"},
        {"activated": "9007199254740993"},
    ],
)
def test_a_note_that_nobody_can_read_on_from_begins_nothing(more: dict[str, str]) -> None:
    keysets = Keysets.of([CLI.trust.keyset], CLI.trust.namespace, "testnet")
    assert read(as_note(CLI, "alice"), keysets) is not None
    assert read(as_note(CLI, "alice", **more), keysets) is None


def test_a_note_that_says_trimmed_begins_no_generation_while_all_is_there(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    book = Book(CLI, at_ms=ENTRIES[-1].at_ms)
    book.entries = [*ENTRIES]
    raw = trimmed_note(book, len(ENTRIES), generation=2)
    enter(server, book.entries)
    with server.client() as client:
        client.set("golive:begins", raw)
    done = trimmable.json("audit", "verify")
    assert (done["begins"], done["generation"], done["entries"]) == (0, 1, len(book.entries))


@pytest.mark.parametrize("known", ["judged", "signed"])
def test_a_cut_behind_all_that_was_known_is_not_remembered_for_good(
    audited: Audited, server: EmbeddedServer, known: str
) -> None:
    pem_keys(audited.folder, CLI)
    if known == "judged":
        enter(server, ENTRIES[:100])
        assert audited.json("audit", "verify")["entries"] == 100
    enter(server, ENTRIES)
    audited.json("audit", "archive", "a")
    audited.json("audit", "trim", "a", "--unwitnessed")
    if known == "signed":
        with server.client() as client:
            client.set("golive:checkpoint", checkpoint(CLI, ENTRIES[:100]))
    for _ in range(2):
        done = audited("audit", "verify")
        assert "this host does not remember it" in done.stdout, done.stdout
        found = audited.json("audit", "verify")
        assert (found["result"], found["broken"]) == ("CONSISTENT", None)
    kept = audited.json("audit", "verify", "--head", found["head"])
    assert kept["result"] == "VERIFIED"
    assert audited.json("audit", "verify")["result"] == "VERIFIED", "now it is remembered"


# -- what it asks for --------------------------------------------------------------------------------


def refused(
    trimmable: Audited, server: EmbeddedServer, text: str, *words: str, code: int = 1
) -> None:
    before = stream(server)
    done = trimmable("audit", "trim", "a", *words)
    assert (done.returncode, text in done.stderr) == (code, True), done.stderr + done.stdout
    assert stream(server) == before


def test_what_is_young_stays(trimmable: Audited, server: EmbeddedServer) -> None:
    age_days = 40_000  # before any ledger of ours
    done = trimmable("audit", "trim", "a", "--keep", f"{age_days}d")
    assert (done.returncode, "nothing to trim" in done.stdout) == (0, True)
    assert stream(server) == ENTRIES
    assert trimmable("audit", "trim", "a", "--keep", "13d").returncode == 2


def test_a_checkpoint_that_too_few_have_cosigned_vouches_for_nothing(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    enter(server, ENTRIES, checkpoint(CLI, ENTRIES[:1_050], witnesses=WITNESSES[:1]))
    trimmable.json("audit", "archive", "b")
    done = trimmable("audit", "trim", "b")
    assert done.returncode == 1
    assert "is cosigned by compliance: audit.quorum asks for more" in done.stderr
    assert stream(server) == ENTRIES


def test_what_came_after_the_witnessed_checkpoint_stays(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    enter(server, ENTRIES, checkpoint(CLI, ENTRIES[:600], witnesses=WITNESSES))
    trimmable.json("audit", "archive", "b")
    assert trimmable.json("audit", "trim", "b")["first"] in {256, 512}


def test_without_witnesses_it_says_what_is_asked_and_takes_a_word_for_it(
    audited: Audited, server: EmbeddedServer
) -> None:
    pem_keys(audited.folder, CLI)
    enter(server, ENTRIES)
    audited.json("audit", "archive", "a")
    refused(audited, server, "no witnesses are configured")
    assert audited.json("audit", "trim", "a", "--unwitnessed")["first"] > 0
    assert audited("audit", "verify").returncode == 0


def test_where_witnesses_are_configured_nobody_trims_without(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    refused(trimmable, server, "--unwitnessed goes only where", "--unwitnessed", code=2)


def test_an_archive_with_another_byte_lets_nothing_go(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    path = trimmable.folder / "a" / "tile" / "entries" / "001"
    raw = path.read_bytes()
    path.write_bytes(raw[:500] + bytes([raw[500] ^ 1]) + raw[501:])
    before = stream(server)
    done = trimmable("audit", "trim", "a")
    assert done.returncode == 5
    assert f"{path.resolve()} was changed" in done.stderr
    assert stream(server) == before


def test_a_broken_ledger_is_not_trimmed(trimmable: Audited, server: EmbeddedServer) -> None:
    enter(server, [*ENTRIES[:-5], *ENTRIES[-4:]])
    refused(trimmable, server, "does not follow the entry before it", code=5)


def test_an_id_that_is_another_in_the_archive_is_found(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    moved = [*ENTRIES]
    at = moved[30]
    moved[30] = Entry(at.envelope, at.head, f"{at.id.partition('-')[0]}-77")
    enter(server, moved)
    refused(trimmable, server, "entry 30 in", code=5)


def test_only_the_archivist_may(trimmable: Audited, server: EmbeddedServer) -> None:
    lines = {
        role: user_of(role, Keyspace("golive"), more=("nopass",)).rules
        for role in (Role.ARCHIVIST, Role.OPERATOR)
    }
    with server.client() as client:
        for role, rules in lines.items():
            client.execute_command("ACL", "SETUSER", f"golive-{role}", *rules)
    config = trimmable.folder / "config" / "go_live.yaml"
    plain = config.read_text()

    def as_(role: Role) -> None:
        config.write_text(plain.replace("store:", f"store:\n  username: golive-{role}", 1))
        trimmable.environ["GOLIVE_REDIS_PASSWORD"] = "x"

    try:
        as_(Role.OPERATOR)
        done = trimmable("audit", "trim", "a")
        assert (done.returncode, "NOPERM" in done.stderr) == (4, True), done.stderr
        as_(Role.ARCHIVIST)
        assert trimmable("audit", "archive", "a").returncode == 0
        assert trimmable("audit", "trim", "a").returncode == 0
    finally:
        config.write_text(plain)
        trimmable.environ.pop("GOLIVE_REDIS_PASSWORD", None)
        with server.client() as client:
            for role in lines:
                client.execute_command("ACL", "DELUSER", f"golive-{role}")
    assert trimmable("audit", "verify").returncode == 0


# -- interrupted, repeated ---------------------------------------------------------------------------


def test_killed_again_and_again_the_ledger_can_be_read_at_each_point(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    with server.client() as client:
        whole = client.xlen("golive:audit")

        def noted() -> bool:
            return client.exists("golive:begins") > 0

        def cut() -> bool:
            return client.xlen("golive:audit") < whole

        def begun() -> bool:
            return any(item["name"].startswith("golive") for item in client.client_list())

        for reached in (begun, noted, cut):
            process = trimmable.start("audit", "trim", "a")
            while process.poll() is None and not reached():
                pass
            process.kill()
            process.communicate()
            done = trimmable.json("audit", "verify")
            assert done["broken"] is None
            listed = trimmable.json("audit", "list", "-n", "1")["entries"]
            assert listed[0]["index"] == done["entries"] - 1
    trimmable.json("audit", "trim", "a")
    done = trimmable.json("audit", "verify")
    assert (done["broken"], done["begins"] > 0) == (None, True)


@pytest.mark.parametrize("gone", [0, 300, 768])
def test_a_trim_that_was_killed_half_way_is_read_from_its_note_and_finished_by_the_next(
    trimmable: Audited, server: EmbeddedServer, gone: int
) -> None:
    first = trimmable.json("audit", "trim", "a")["first"]
    assert first > gone
    left = stream(server)
    with server.client() as client:
        begins = client.get("golive:begins")
        put(client, [*ENTRIES[gone:first], *left])
        client.set("golive:begins", begins)
    done = trimmable.json("audit", "verify")
    assert done["broken"] is None
    assert done["begins"] == (first if gone else 0)
    newest = trimmable.json("audit", "list", "-n", "1")["entries"][0]
    assert newest["index"] == len(ENTRIES)
    again = trimmable.json("audit", "trim", "a")
    assert again["first"] == first
    assert stream(server)[0] == ENTRIES[first]


def left_by_a_run_that_was_killed(
    server: EmbeddedServer, rest: list[Entry], left: list[Entry]
) -> None:
    with server.client() as client:
        begins = client.get("golive:begins")
        put(client, [*rest, *left])
        client.set("golive:begins", begins)


def test_the_next_run_says_how_many_it_has_removed_of_the_rest(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    first = trimmable.json("audit", "trim", "a")["first"]
    left_by_a_run_that_was_killed(server, ENTRIES[300:first], stream(server))
    done = trimmable("audit", "trim", "a", "--keep", "40000d")
    assert done.returncode == 0, done.stderr
    assert f"{first - 300} entries removed that an earlier run had left" in done.stdout
    assert stream(server)[0] == ENTRIES[first]


def test_what_stands_before_the_note_and_is_another_in_the_archive_stays(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    first = trimmable.json("audit", "trim", "a")["first"]
    left = stream(server)
    rest = ENTRIES[100:first]
    at = rest[50]
    rest[50] = Entry(at.envelope, at.head, f"{at.id.partition('-')[0]}-77")
    left_by_a_run_that_was_killed(server, rest, left)
    refused(trimmable, server, "has not that entry there: nothing is removed", code=5)


def test_what_a_false_note_calls_trimmed_and_no_archive_has_stays(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    book = Book(CLI, at_ms=ENTRIES[-1].at_ms)
    book.entries = [*ENTRIES]
    for _ in range(30):
        book.note("goodbye")
    trimmed_note(book, len(book.entries))
    enter(server, book.entries[1:])  # not whole, so the note counts
    with server.client() as client:
        client.set("golive:begins", book.entries[-1].envelope)
    refused(trimmable, server, "are still in Redis, and only 1050 are archived", code=5)


def trimmed_note(book: Book, count: int, *, generation: int = 1, **more: str) -> bytes:
    """Enter a note by alice that the first entries were trimmed, and return it."""
    last = book.entries[count - 1]
    carry = Carry(count=count, head=last.head, last_id=last.id)
    tree = EMPTY.extend(leaf(entry.envelope) for entry in book.entries[:count])
    said = facts(carry, tree, generation=generation, directives=[]) | more
    return book.note("trimmed", by="alice", facts=said)


def test_it_is_trimmed_again_later_and_the_archive_has_all_of_it(
    trimmable: Audited, server: EmbeddedServer
) -> None:
    enter(server, ENTRIES[:700], checkpoint(CLI, ENTRIES[:700], witnesses=WITNESSES))
    trimmable.json("audit", "archive", "b")
    once = trimmable.json("audit", "trim", "b")["first"]
    note = stream(server)[-1].envelope
    # As if that had been then: what follows the note is old, too.
    whole, head = ENTRIES[:700], ENTRIES[699].head
    placed = [(note, f"{ENTRIES[699].at_ms}-77"), *((e.envelope, e.id) for e in ENTRIES[700:])]
    for raw, name in placed:
        head = extend(head, raw)
        whole = [*whole, Entry(raw, head, name)]
    enter(server, whole[once:], checkpoint(CLI, whole, witnesses=WITNESSES))
    found = trimmable.json("audit", "archive", "b")
    assert (found["entries"], found["new"]) == (len(whole), len(whole) - 700)
    twice = trimmable.json("audit", "trim", "b")["first"]
    assert twice > 700 > once
    done = trimmable.json("audit", "verify")
    assert (done["broken"], done["begins"]) == (None, twice)
    held = trimmable.json("audit", "verify", "--archive", "b")
    assert (held["result"], held["entries"]) == ("VERIFIED", len(whole))


# -- ids ---------------------------------------------------------------------------------------------


def test_an_id_that_is_no_time_is_refused_and_not_remembered(
    audited: Audited, server: EmbeddedServer
) -> None:
    book = Book(CLI)
    book.activate()
    book.revoke(by="rita")
    stop = book.entries.pop()
    book.entries.append(Entry(stop.envelope, stop.head, f"{2**53}-0"))
    enter(server, book.entries)
    for _ in range(2):  # it had written a memory that it could not read
        broken = audited.json("audit", "verify", code=5)["broken"]
        assert (broken["rule"], broken["index"]) == ("V2", len(book.entries) - 1)
