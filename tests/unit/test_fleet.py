"""A heartbeat that has said goodbye is not waited for, until it comes back."""

from __future__ import annotations

from typing import Any

import pytest

from golive_redis.records.envelope import seal
from golive_redis.records.ledger import Entry, Note
from golive_redis.stop.roster import farewells, named_in_ledger
from golive_redis.testing import START_MS, Signers

SIGNERS = Signers()
NAMES = frozenset({"hb-1", "hb-2"})


def note(topic: str, by: str = "hb-1", at_ms: int = START_MS) -> bytes:
    record = Note(
        **SIGNERS.trust.heading(by, at_ms),
        topic=topic,
        text="",
        facts={},
    )
    return seal(record, SIGNERS.signers[by])


class Ledger:
    """A store's ledger."""

    def __init__(self, *entries: bytes) -> None:
        self._entries = [Entry(entry, "") for entry in entries]

    def entries(self, limit: int) -> list[Entry]:
        return self._entries[-limit:]


@pytest.mark.parametrize(
    ("entries", "left"),
    [
        ((), set()),
        ((note("goodbye"),), {"hb-1"}),
        ((note("goodbye"), note("joined")), set()),
        ((note("joined"), note("goodbye")), {"hb-1"}),
        ((note("goodbye"), note("joined", "hb-2")), {"hb-1"}),
        ((note("goodbye"), note("out-of-band")), {"hb-1"}),
        ((note("goodbye", at_ms=START_MS - 1),), set()),
        ((note("goodbye", "pod-1"), b"junk"), set()),
    ],
    ids=[
        "silent",
        "left",
        "back again",
        "left after all",
        "another is back",
        "other words",
        "before the term",
        "no heartbeat",
    ],
)
def test_the_last_word_of_a_heartbeat_says_whether_it_has_left(
    entries: tuple[bytes, ...], left: set[str]
) -> None:
    store: Any = Ledger(*entries)
    assert farewells(store, SIGNERS.trust, NAMES, START_MS) == left


def test_whom_the_last_term_names_is_read_from_the_ledger() -> None:
    """Row 101: where nothing is active any more, and this host was not there at the activation."""
    store: Any = Ledger(
        SIGNERS.grant(1, heartbeats=["hb-9"]),
        SIGNERS.grant(4, heartbeats=["hb-1"], issued_at_ms=START_MS + 5),
        b"junk",
        SIGNERS.grant(
            5, term=4, kind="extend", heartbeats=["hb-1", "hb-2"], activated_at_ms=START_MS
        ),
        SIGNERS.revocation(6),
        SIGNERS.grant(7, heartbeats=["hb-9"]),
    )
    assert named_in_ledger(store, SIGNERS.trust, 6) == (NAMES, START_MS)
    nothing: Any = Ledger()
    assert named_in_ledger(nothing, SIGNERS.trust, 6) == (frozenset(), 0)
