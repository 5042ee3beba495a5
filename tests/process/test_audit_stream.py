"""A ledger is judged while others write to it, and what somebody does to it meanwhile is found."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from golive_redis.audit.memory import LedgerMemory
from golive_redis.audit.opening import Keysets
from golive_redis.audit.stream import Stream
from golive_redis.records.ledger import Entry
from golive_redis.store.connect import Address
from golive_redis.store.store import Store
from golive_redis.testing import Signers
from golive_redis.testing.server import EmbeddedServer
from kit.ledgers import Book, day

SIGNERS = Signers()
KEYSETS = Keysets.of([SIGNERS.keyset], "golive", "test")


@pytest.fixture
def store(any_server: EmbeddedServer) -> Iterator[Store]:
    address = Address(any_server.url)
    link = address.connect(timeout_ms=5_000, name="audit")
    try:
        yield Store(link, address.keyspace)
    finally:
        link.close()


def stream(store: Store, state: Path | None = None) -> Stream:
    return Stream(store, KEYSETS, LedgerMemory(state, SIGNERS.trust))


def write(server: EmbeddedServer, book: Book, entry: Entry) -> None:
    """Entry and head in one step, as our scripts do."""
    with server.client() as client, client.pipeline() as pipe:
        pipe.xadd("golive:audit", {"r": entry.envelope, "h": entry.head}, id=entry.id)
        pipe.set("golive:head", entry.head)
        pipe.execute()


def test_a_ledger_that_others_write_to_all_the_time_is_never_called_broken(
    store: Store, any_server: EmbeddedServer, tmp_path: Path
) -> None:
    book = day(SIGNERS)
    with any_server.client() as client:
        book.put(client)
    enough = threading.Event()

    def writes() -> None:
        while not enough.is_set():
            book.note()
            write(any_server, book, book.entries[-1])

    writer = threading.Thread(target=writes)
    writer.start()
    try:
        seen = 0
        for number in range(30):
            watched = stream(store, tmp_path)
            verdict = watched.what_is_new() if number % 3 else watched.whole_ledger()
            assert verdict.broken is None, verdict.broken
            assert verdict.entries >= seen
            seen = verdict.entries
    finally:
        enough.set()
        writer.join()
    verdict = stream(store, tmp_path).what_is_new()
    assert (verdict.broken, verdict.entries) == (None, len(book.entries))


def test_an_entry_that_somebody_added_beside_the_head_is_found(
    store: Store, any_server: EmbeddedServer
) -> None:
    book = day(SIGNERS)
    with any_server.client() as client:
        book.put(client)
        book.note()
        last = book.entries[-1]
        client.xadd("golive:audit", {"r": last.envelope, "h": last.head}, id=last.id)
    found = stream(store).whole_ledger().broken
    assert found is not None
    assert (found.index, found.rule) == (14, "V2")
    assert "golive:head has another end" in found.message


def test_entries_that_were_taken_out_before_what_a_host_remembers_are_found(
    store: Store, any_server: EmbeddedServer, tmp_path: Path
) -> None:
    book = day(SIGNERS)
    with any_server.client() as client:
        book.put(client)
        assert stream(store, tmp_path).whole_ledger().broken is None
        client.xdel("golive:audit", book.entries[4].id)
        found = stream(store, tmp_path).what_is_new().broken
        assert found is not None
        assert found.rule == "V14"
        assert "12 entries now, and had 13" in found.message
        client.xtrim("golive:audit", maxlen=0)
        found = stream(store, tmp_path).what_is_new().broken
        assert found is not None
        assert (found.index, found.rule) == (12, "V14")
        assert "only if Redis was emptied on purpose" in found.hint


def test_what_is_in_force_may_have_its_entry_a_moment_later(
    store: Store, any_server: EmbeddedServer
) -> None:
    """V13: whoever sent a stop writes its entry after it is in force."""
    book = day(SIGNERS)
    with any_server.client() as client:
        book.put(client)
        book.revoke()
        last = book.entries[-1]
        client.hset("golive:revoked", "record", last.envelope)
        watched = stream(store)
        asked = threading.Event()
        length = store.ledger_length

        def late() -> int:
            asked.set()
            return length()

        store.ledger_length = late  # type: ignore[method-assign]  (it tells when it is asked)

        def enters() -> None:
            assert asked.wait(60)
            write(any_server, book, last)

        writer = threading.Thread(target=enters)
        writer.start()
        verdict = watched.whole_ledger()
        writer.join()
    assert (verdict.broken, verdict.entries) == (None, 14)


def test_a_host_that_could_not_judge_all_judges_all_once_it_can(
    store: Store, any_server: EmbeddedServer, tmp_path: Path
) -> None:
    older = Signers(version=3)
    book = Book(older)
    book.activate()
    book.signers = SIGNERS
    book.note()
    with any_server.client() as client:
        book.put(client)
    memory = LedgerMemory(tmp_path, SIGNERS.trust)
    lenient = Keysets({1: SIGNERS.keyset}, "golive", "test", lenient=True)
    assert Stream(store, lenient, memory).what_is_new().broken is None
    found = Stream(store, KEYSETS, memory).what_is_new().broken
    assert found is not None
    assert (found.index, found.rule) == (0, "V3")
    both = Keysets.of([SIGNERS.keyset, older.keyset], "golive", "test")
    verdict = Stream(store, both, memory).what_is_new()
    assert (verdict.broken, verdict.first, verdict.entries) == (None, 0, 3)
    assert Stream(store, both, memory).what_is_new().first == 3
