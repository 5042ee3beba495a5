"""Checkpoints of ledgers in tests, as heartbeats sign them and witnesses cosign."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from golive_redis.records.checkpoint import Checkpoint, origin_of
from golive_redis.records.keyset import raw_of
from golive_redis.records.ledger import Entry
from golive_redis.records.merkle import EMPTY, leaf
from golive_redis.records.signednote import KeyType, VerifierKey, parse, sign
from golive_redis.testing import Signers
from kit.ledgers import Book
from kit.notary import private, witness_key

WITNESSES = ("compliance", "backup")
WITNESSED_S = 1_795_700_000


def witness_vkeys() -> list[str]:
    """The verifier keys of the witnesses, for a configuration."""
    return [witness_key(name, name).text for name in WITNESSES]


def checkpoint(
    signers: Signers,
    entries: Sequence[Entry],
    *,
    by: str = "hb-1",
    witnesses: Sequence[str] = (),
    generation: int = 1,
) -> bytes:
    """The checkpoint of these entries by a heartbeat."""
    trust = signers.trust
    origin = origin_of(trust.environment, trust.namespace)
    if generation > 1:
        origin = f"{origin}/{generation}"
    root = EMPTY.extend(leaf(entry.envelope) for entry in entries).root()
    signer = signers.signers[by]
    key = VerifierKey(origin, KeyType.ED25519, raw_of(signer.public))
    raw = Checkpoint(origin, len(entries), root).signed(key, lambda text: signer.sign(text, 5.0))
    note = parse(raw)
    lines = [
        sign(note.text, witness_key(name, name), private(name).sign, time_s=WITNESSED_S)
        for name in witnesses
    ]
    return note.with_lines(lines).encode()


def long_book(signers: Signers, count: int) -> Book:
    """A ledger of at least so many entries: terms, halts and stops between the words of heartbeats."""
    book = Book(signers)
    while len(book.entries) < count:
        book.activate()
        for _ in range(20):
            book.note("joined", by="hb-2")
        book.halt(labels={"symbol": "BTCUSDT"})
        book.resume()
        for _ in range(20):
            book.note("goodbye")
        book.revoke()
    return book


def pem_keys(folder: Path, signers: Signers) -> None:
    """Put the private keys of signers into a folder that `golive init` has made."""
    for name, signer in signers.signers.items():
        path = folder / "config" / "keys" / f"{name}.pem"
        path.write_bytes(
            signer._private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        path.chmod(0o600)
