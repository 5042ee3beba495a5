"""A stop card as commands: what anybody who can reach Redis plays with redis-cli, or without.

Two commands, one on a line, each word in double quotes: what redis-cli reads from its standard input and
what Redis itself takes from a bare connection are the same bytes. PUBLISH comes first, for it works even
where writes are refused: guards and heartbeats that hear it latch. Then the script that every stop runs:
key, tombstone, push and ledger entry are one step. It is EVAL also where scripts are functions: a card
must not depend on a library that is loaded by somebody, of a version that is not known when it is made.
"""

from __future__ import annotations

import re

from golive_redis.errors import RecordError
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import Verified, decode
from golive_redis.store import scripts
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.replies import text
from golive_redis.store.store import revoke_words

MAX_CARD_BYTES = 64 * 1024
"""The most that Redis takes as one line of a bare connection (PROTO_INLINE_MAX_SIZE)."""

_PUBLISHED = re.compile(rb'^"PUBLISH" "[^"\\\n]{1,128}" "((?:[^"\\\n]|\\["\\])+)"$', re.MULTILINE)


def commands(keys: Keyspace, item: Verified[Revocation]) -> list[tuple[str, ...]]:
    """Return what plays a card, in its order.

    Args:
        keys: Of the switch.
        item: The card.
    """
    names, args = revoke_words(keys, item)
    script = scripts.text("revoke")
    return [
        *([("SELECT", str(keys.db))] if keys.db else []),
        ("PUBLISH", keys.events, item.raw.decode()),
        ("EVAL", script, str(len(names)), *names, *map(text, args), "1"),
    ]


def lines(keys: Keyspace, item: Verified[Revocation]) -> str:
    """Return the commands as text: a line each."""
    return "".join(f"{' '.join(map(_quoted, words))}\n" for words in commands(keys, item))


def envelope_in(content: bytes) -> bytes:
    """Return the card that such text plays, not verified.

    Raises:
        RecordError: There is none, or more than one.
    """
    found = _PUBLISHED.findall(content[: 4 * MAX_CARD_BYTES])
    if len(found) != 1:
        raise RecordError(f"it publishes {len(found)} records, and a card publishes one")
    raw = re.sub(rb'\\(["\\])', rb"\1", found[0])
    decode(raw)
    return raw


def _quoted(word: str) -> str:
    """Return a word as redis-cli and Redis read it: in double quotes, with what is special escaped."""
    if not word.isascii() or re.search(r"[^\n\x20-\x7e]", word):
        raise RecordError("a card has printable ASCII only")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
