"""Values that are easily taken for each other: what a person meant who typed one that nobody states.

Only for words on a screen. What concerns an order is decided by `core.labels`, and there a Cyrillic
letter is another letter.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from itertools import islice
from operator import itemgetter

MAX_NEAR = 5
SHORTEST = 3
"""Characters that two values must share to be near, where one begins as the other."""
LONGEST = 32
"""Characters of a value in which slips of the hand are looked for; in four of them may be one."""
MAX_LOOKED_AT = 2_000
"""Values that are looked at: anybody may tell of any number, and a person waits."""

# Letters that look like a Latin one, as printed: Cyrillic, then Greek; capitals apart, because some look
# otherwise when they are small. And the two digits that are typed for letters.
_LOOKS = str.maketrans(
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0405\u0406\u0408"
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0455\u0456\u0458"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
    "\u03b1\u03b2\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7"
    "01",
    "abekmhopctyxsij" + "abekmhopctyxsij" + "abezhikmnoptyx" + "abeikvoptux" + "ol",
)


def skeleton(value: str) -> str:
    """Return what two values have in common that look alike: letters by their looks, and no signs."""
    text = unicodedata.normalize("NFKD", value).translate(_LOOKS).casefold()
    return "".join(char for char in text if char.isalnum())


def near(value: str, others: Iterable[str], *, missed: bool) -> tuple[str, ...]:
    """Return the others that may have been meant, the most alike first; five at most.

    Args:
        value: As it was typed.
        others: Values that do not match it.
        missed: Nothing matches, so a slip of the hand is likely.
    """
    bones = skeleton(value)
    found: list[tuple[float, str]] = []
    for other in sorted(islice(dict.fromkeys(others), MAX_LOOKED_AT)):
        theirs = skeleton(other)
        short, long = sorted((bones, theirs), key=len)
        if bones == theirs:
            found.append((0.0, other))
        elif len(short) >= SHORTEST and long.startswith(short):
            found.append((1.0 - len(short) / len(long), other))
        elif missed and len(long) <= LONGEST and slips(short, long) <= len(long) // 4:
            found.append((2.0, other))
    ranked = sorted(found, key=itemgetter(0))
    # Beside one that only looks or begins the same, a slip of the hand is unlikely.
    best = [other for far, other in ranked if far < 1.0]
    return tuple((best or [other for _, other in ranked])[:MAX_NEAR])


def slips(one: str, other: str) -> int:
    """Return how many characters are put in, left out, changed or swapped between two texts.

    Source: Damerau, "A technique for computer detection and correction of spelling errors" (1964).
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, char in enumerate(one, 1):
        above, row, older = row, [at], before
        for to, theirs in enumerate(other, 1):
            fewest = min(above[to - 1] + (char != theirs), above[to] + 1, row[to - 1] + 1)
            if at > 1 and to > 1 and char == other[to - 2] and one[at - 2] == theirs:
                fewest = min(fewest, older[to - 2] + 1)
            row.append(fewest)
        before = above
    return row[-1]


def foreign(value: str) -> tuple[str, ...]:
    """Return each character of a value that is not on every keyboard, by its name in Unicode."""
    return tuple(
        f"U+{ord(char):04X} {unicodedata.name(char, '')}".rstrip()
        for char in dict.fromkeys(value)
        if not char.isascii()
    )
