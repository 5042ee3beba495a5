"""A log and its witnesses for tests: keys from names, a naive tree by the book, signed checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from golive_redis.records.checkpoint import Checkpoint
from golive_redis.records.merkle import EMPTY, leaf
from golive_redis.records.signednote import KeyType, VerifierKey

ORIGIN = "testnet.invalid/golive"
WITNESS = "witness.example.org/w1"


def private(seed: str) -> Ed25519PrivateKey:
    """A key derived from a word, so that a failing test replays byte for byte."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())


def log_key(seed: str = "hb-1", name: str = ORIGIN) -> VerifierKey:
    """The public half of a log's key."""
    return VerifierKey(name, KeyType.ED25519, private(seed).public_key().public_bytes_raw())


def witness_key(seed: str = "w1", name: str = WITNESS) -> VerifierKey:
    """The public half of a witness's key."""
    return VerifierKey(name, KeyType.COSIGNATURE, private(seed).public_key().public_bytes_raw())


def entries(count: int, word: str = "entry") -> list[bytes]:
    """The leaf hashes of so many entries."""
    return [leaf(f"{word} {index}".encode()) for index in range(count)]


def signed(leaves: Sequence[bytes], seed: str = "hb-1", origin: str = ORIGIN) -> bytes:
    """A checkpoint of these leaves as its log signs it."""
    head = Checkpoint(origin, len(leaves), EMPTY.extend(leaves).root())
    return head.signed(log_key(seed, origin), private(seed).sign)


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH(D[n]) of RFC 6962 section 2.1, word by word, over leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = _split(len(leaves))
    return hashlib.sha256(
        b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:])
    ).digest()


def naive_inclusion(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n]) of RFC 6962 section 2.1.1, word by word."""
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*naive_inclusion(index, leaves[:split]), naive_root(leaves[split:])]
    return [*naive_inclusion(index - split, leaves[split:]), naive_root(leaves[:split])]


def naive_consistency(old: int, leaves: Sequence[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF(m, D[n], b) of RFC 6962 section 2.1.2, word by word."""
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    split = _split(len(leaves))
    if old <= split:
        return [
            *naive_consistency(old, leaves[:split], whole=whole),
            naive_root(leaves[split:]),
        ]
    return [
        *naive_consistency(old - split, leaves[split:], whole=False),
        naive_root(leaves[:split]),
    ]


def _split(size: int) -> int:
    split = 1
    while split * 2 < size:
        split *= 2
    return split
