"""Strange inputs made from good ones: bytes bent, JSON and replies rebuilt. Seeded, so it replays."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from random import Random
from typing import Any

TOKENS = [
    *(
        b"\x00",
        b"\xff",
        b"\xed\xa0\x80",
        b'"',
        b"\\",
        b"\\ud800",
        b"\\u0000",
        b"{",
        b"}",
        b"[",
        b"]",
    ),
    *(
        b"null",
        b"true",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"-1",
        b"0.5",
        b"9" * 25,
        b"=",
        b"====",
        b",",
    ),
    *(
        b":",
        b": ",
        b"\n",
        b"\r\n",
        b"\t",
        b"- ",
        b"&a ",
        b"*a",
        b"!!int ",
        b"<<: ",
        b"~",
        b"@",
        b"/",
    ),
]
VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2**53 - 1,
        2**53,
        2**64,
        10**30,
        0.5,
        float("nan"),
        float("inf"),
    ),
    *("", "x", "a b", "\x00", "\ud800", "golive", "{golive}", "live", "9" * 25, "1.5", "x" * 600),
    *([], {}, [None], {"": ""}, ["x"] * 20, [[[[[[[[[[]]]]]]]]]], {"a": {"b": {"c": {"d": 1}}}}),
]
WIRE: list[Any] = [
    *(None, 0, 1, -1, -2, 24_000, 2**63, b"", b"0", b"-1", b"OK", b"SAME", b"REGISTER", b"CORRUPT"),
    *(
        b"\xff\xfe",
        b"x" * 100,
        b"1" * 400,
        b"{}",
        [],
        [[]],
        [None],
        [b"x"],
        [b"x", b"y"],
        [1, 2, 3],
    ),
]


class Mutator:
    """Bends whatever it is given.

    Args:
        seed: The same one makes the same inputs.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def bent(self, raw: bytes, others: Sequence[bytes]) -> bytes:
        """Return `raw` after one to four changes of its bytes."""
        out = bytearray(raw)
        for _ in range(self.random.choice((1, 1, 1, 2, 4))):
            self._bend(out, others)
        return bytes(out)

    def _bend(self, out: bytearray, others: Sequence[bytes]) -> None:
        random = self.random
        at = random.randrange(len(out) + 1)
        until = min(len(out), at + random.choice((1, 1, 2, 8, 64)))
        match random.randrange(7):
            case 0 if out:
                out[at - 1] ^= 1 << random.randrange(8)
            case 1:
                out[at:until] = random.choice(TOKENS)
            case 2:
                out[at:at] = random.choice(TOKENS)
            case 3:
                del out[at:until]
            case 4:
                out[at:at] = out[at:until] * random.choice((1, 2, 30))
            case 5:
                del out[at:]
            case _:
                other = random.choice(others)
                start = random.randrange(len(other) + 1)
                out[at:until] = other[start : start + until - at + 1]

    def json(self, value: Any) -> bytes:
        """Return a JSON document with one to three of its nodes replaced, dropped or added."""
        document = copy.deepcopy(value)
        for _ in range(self.random.choice((1, 1, 2, 3))):
            document = self._rebuilt(document, VALUES)
        return json.dumps(document).encode()

    def reply(self, value: Any) -> Any:
        """Return a reply of Redis with one to three of its parts replaced, dropped or added."""
        reply = copy.deepcopy(value)
        for _ in range(self.random.choice((1, 1, 2, 3))):
            reply = self._rebuilt(reply, WIRE)
        return reply

    def _rebuilt(self, value: Any, values: list[Any]) -> Any:
        random = self.random
        if not isinstance(value, dict | list) or not value or random.random() < 0.1:
            return copy.deepcopy(random.choice(values))
        key = (
            random.choice(list(value)) if isinstance(value, dict) else random.randrange(len(value))
        )
        match random.randrange(6):
            case 0:
                del value[key]
            case 1 if isinstance(value, dict):
                added = copy.deepcopy(random.choice(values))  # or the next change is made to all
                value[random.choice(("", "x", "by", "epoch", "kind"))] = added
            case 1:
                value.insert(key, copy.deepcopy(random.choice(values)))
            case _:
                value[key] = self._rebuilt(value[key], values)
        return value
