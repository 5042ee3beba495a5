"""Receipts beside the ledger: who has answered a directive and when, and which head they had seen (V12).

They are kept in Redis for a week, outside of the chain. What is not signed by the pod that it names is
left out: anybody who may write there could have put it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from golive_redis.audit.beginning import Beginning
from golive_redis.audit.opening import Keysets
from golive_redis.audit.selection import newest_first
from golive_redis.errors import ConfigError, RecordError
from golive_redis.records.directive import Restriction, Revocation
from golive_redis.records.envelope import MAX_ENVELOPE_BYTES, Verified, decode, peek
from golive_redis.records.ledger import GENESIS
from golive_redis.records.receipt import Receipt
from golive_redis.store.keyspace import RECEIPTS_MS
from golive_redis.store.store import Store

MOST_DIRECTIVES = 256
LOOK_AT = 10_000
_ANSWERED = {Restriction.payload_type(), Revocation.payload_type()}


def recent_directives(store: Store, now_ms: int) -> list[str]:
    """Return the identities of the newest directives whose receipts may still be kept, newest first.

    Args:
        store: A connected store.
        now_ms: Unix ms.

    Raises:
        StoreError: Redis cannot be asked.
    """
    found: list[str] = []
    for looked, (_, entry) in enumerate(newest_first(store, Beginning())):
        old = entry.at_ms < now_ms - 2 * RECEIPTS_MS  # repeated receipts are kept from then on
        if old or looked >= LOOK_AT or len(found) >= MOST_DIRECTIVES:
            break
        try:
            envelope = decode(entry.envelope)
        except RecordError:
            continue
        if envelope.payload_type in _ANSWERED:
            found.append(envelope.identity)
    return found


def kept_receipts(store: Store, directive: str) -> list[bytes]:
    """Return the receipts that Redis keeps for a directive, as they were signed.

    Raises:
        StoreError: Redis cannot be asked.
    """
    return store.receipts(directive)[0]


def verified_receipts(raws: Iterable[bytes], keysets: Keysets) -> Iterator[Verified[Receipt]]:
    """Yield those that their pods have signed, by the keysets that they name."""
    for raw in raws:
        try:
            trust = keysets.trust(peek(raw, Receipt).keyset_version)
            if trust is not None:
                yield trust.receipt(raw)
        except RecordError:
            continue


def claimed_heads(
    raws: Iterable[bytes], keysets: Keysets, *, above: int = 0, until_ms: float = math.inf
) -> dict[str, str]:
    """Return the heads that heartbeats say in receipts to have seen, each with whose word that is.

    A worker reads no ledger, so what its receipt says of one is nobody's word: the weakest key in a
    fleet could make an honest ledger look cut off.

    Args:
        raws: Receipts, as they were signed.
        keysets: Those at hand.
        above: An epoch: answers to directives up to it are left out.
        until_ms: So are answers of later than that, Unix ms: what they have seen may not be here yet.
    """
    claims = (raw for raw in raws if _has_head(raw))
    heads: dict[str, str] = {}
    for item in verified_receipts(claims, keysets):
        record = item.record
        asked = (record.epoch is None or record.epoch > above) and record.at_ms <= until_ms
        if record.heartbeat and record.head is not None and record.head != GENESIS and asked:
            who = f"heartbeat {record.heartbeat}, in its receipt for directive {record.epoch},"
            heads.setdefault(record.head, who)
    return heads


def _has_head(raw: bytes) -> bool:
    """Tell whether a receipt claims a head; most do not, and their signatures are not looked at."""
    try:
        return peek(raw, Receipt).head is not None
    except RecordError:
        return False


def receipts_of_file(path: Path) -> list[bytes]:
    """Return the receipts of a file that `golive audit export --receipts` has written: one a line.

    Raises:
        ConfigError: The file cannot be read.
        RecordError: A line is no envelope of a receipt.
    """
    raws = []
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_ENVELOPE_BYTES + 2):
                raws.append(line.rstrip(b"\n"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="is the path right?") from error
    for number, raw in enumerate(raws, 1):
        try:
            peek(raw, Receipt)
        except RecordError as error:
            raise RecordError(
                f"{path}, line {number}: no receipt: {error.message}",
                hint="`golive audit export --receipts FILE` writes such a file",
            ) from error
    return raws
