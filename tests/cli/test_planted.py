"""What somebody has planted in Redis: commands that only read still say what they know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from golive_redis import clock
from golive_redis.records.envelope import seal
from golive_redis.records.ledger import Note
from golive_redis.records.record import MAX_INT
from golive_redis.testing import Signers
from golive_redis.testing.server import EmbeddedServer
from golive_redis.testing.signers import identity
from kit.archives import pem_keys
from kit.ledgers import Book, install

FLEET = Signers(environment="testnet")
STRANGER = Signers({"mallory": ("revoker",)}, environment="testnet")


def book() -> tuple[Book, str]:
    """A day, and the identity of its stop."""
    made = Book(FLEET, clock.wall_ms() - 3_600_000)
    made.activate()
    made.revoke(by="rita")
    stop = identity(made.entries[-1].envelope)
    made.note("goodbye")
    return made, stop


def receipt_of(stop: str) -> str:
    return f"golive:receipt:{stop}"


PLANTS: dict[str, Callable[[Any, str], Any]] = {
    "begins": lambda client, _: client.rpush("golive:begins", "x"),
    "receipts": lambda client, stop: client.set(receipt_of(stop), "x"),
    "keysets": lambda client, _: client.set("golive:keyset", "x"),
}


@pytest.mark.parametrize("planted", list(PLANTS))
def test_a_key_of_another_type_is_none(audited: Any, server: EmbeddedServer, planted: str) -> None:
    """Anybody who owns Redis can put it there, and nothing that it is about counts unverified."""
    install(audited.folder, FLEET)
    pem_keys(audited.folder, FLEET)
    made, stop = book()
    with server.client() as client:
        client.flushall()
        made.put(client)
        PLANTS[planted](client, stop)
    for words in (
        ("audit", "verify"),
        ("audit", "list"),
        ("keys", "status"),
        ("stop-card", "list"),
    ):
        done = audited(*words)
        assert done.returncode == 0, (words, done.stdout + done.stderr)


@pytest.mark.parametrize("signers", [FLEET, STRANGER], ids=["revoker", "stranger"])
def test_a_note_of_a_card_with_numbers_that_no_card_has(
    audited: Any, server: EmbeddedServer, signers: Signers
) -> None:
    install(audited.folder, FLEET)
    pem_keys(audited.folder, FLEET)
    made, _ = book()
    by = "rita" if signers is FLEET else "mallory"
    for epoch, until_ms in (
        ("9" * 500, "9" * 500),
        ("9", str(MAX_INT + 1)),
        ("9", str(MAX_INT)),
        ("-1", "x"),
    ):
        facts = {"directive": "f" * 64, "epoch": epoch, "until_ms": until_ms, "holder": "\x1b[31m"}
        heading = FLEET.trust.heading("rita", made.at_ms)
        made.add(seal(Note(**heading, topic="card", text="x", facts=facts), signers.signers[by]))
    with server.client() as client:
        client.flushall()
        made.put(client)
    listed = audited("stop-card", "list")
    assert listed.returncode == 0, listed.stderr
    assert "\x1b" not in listed.stdout
    (row,) = audited.json("stop-card", "list")["cards"]
    assert row["until_ms"] == MAX_INT
    assert (row["state"] == "void") is (signers is STRANGER)
    assert audited("keys", "status").returncode == 0


def test_the_word_of_a_worker_about_a_head_makes_no_ledger_broken(
    audited: Any, server: EmbeddedServer
) -> None:
    """V12: a worker reads no ledger. The word of a heartbeat counts, and is named as that."""
    install(audited.folder, FLEET)
    pem_keys(audited.folder, FLEET)
    made, stop = book()
    raw = made.entries[1].envelope
    claim = {"head": "f" * 64, "issued_at_ms": clock.wall_ms(), "at_ms": clock.wall_ms()}
    worker = FLEET.receipt(raw, by="pod-1", worker="pod-1", heartbeat=None, **claim)
    beating = FLEET.receipt(raw, by="hb-1", worker=None, heartbeat="hb-1", **claim)
    with server.client() as client:
        client.flushall()
        made.put(client)
        client.hset(receipt_of(stop), "w", worker)
        assert audited("audit", "verify").returncode == 0
        client.hset(receipt_of(stop), "h", beating)
    done = audited("audit", "verify")
    assert done.returncode != 0
    assert "by the word of heartbeat hb-1" in done.stdout + done.stderr
