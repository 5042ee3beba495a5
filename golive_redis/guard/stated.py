"""Which label values the orders of a guard have stated lately: so an operator sees what a halt meets.

The order path takes no lock and must not become slower. So a value is written down when it was not seen
before; and where calls are so many that looking for it would be felt, one turn notes its first calls and
`REST_TURNS` turns do not: those calls go the short way.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping

from golive_redis.core.restrictions import Clears
from golive_redis.records.directive import Label

MAX_VALUES = 64
"""How many values are kept for each label, newest first."""
MAX_VALUE = 128
"""Characters of one that are kept: as many as a restriction can name."""
MAX_BYTES = 8_192
"""Of all of them together, as told."""
NOTED_CALLS = 1_000
"""Calls of one turn that are noted; after a turn with more, `REST_TURNS` follow without."""
REST_TURNS = 20
REFRESH_TURNS = 20
"""After so many turns what was seen is looked at again: so the newest come first."""

_NAMES = frozenset(str(label) for label in Label)


class Stated:
    """The values, as noted by any number of threads and told by one.

    Attributes:
        on: Calls are to be noted. Changes in `turn` alone.
        told: The values as JSON, label to list, newest first; "" before the first call.
    """

    def __init__(self) -> None:
        self.on = True
        self.told = ""
        self._asked = False
        self._left = NOTED_CALLS
        self._resting = 0
        self._turns = 0
        self._seen: set[tuple[str, object]] = set()
        # Between the threads that ask and the one that tells: appending to it is atomic.
        self._fresh: deque[tuple[str, str]] = deque(maxlen=NOTED_CALLS)
        self._values: dict[str, dict[str, None]] = {}

    # -- the order path --------------------------------------------------------------------------

    def note(self, labels: Mapping[str, object]) -> None:
        """Note the values of a call, whatever they are; never raises."""
        if self._left <= 0:
            return
        self._left -= 1  # threads may lose some of each other's: it is a measure, no account
        self._asked = True
        try:
            for item in labels.items():
                if item not in self._seen:
                    self._see(*item)
        except Exception:  # noqa: BLE001  (a value without hash or text: `decide` answers for it)
            return

    def _see(self, name: str, value: object) -> None:
        if name not in _NAMES or value is None:
            return
        whole = value if isinstance(value, str) else str(value)
        # Half a character (a lone surrogate) cannot be told.
        text = whole.strip()[:MAX_VALUE].encode(errors="replace").decode()
        if not text:
            return
        if whole is value and len(whole) <= MAX_VALUE:  # nothing that holds more than it shows
            if len(self._seen) >= NOTED_CALLS:
                self._seen.clear()
            self._seen.add((name, value))
        self._fresh.append((name, text))

    def noting(self, clear: Clears) -> Clears:
        """Return what answers as `clear` does, and notes what it is asked about."""
        note = self.note

        def noted(labels: Mapping[str, object]) -> bool:
            note(labels)
            return clear(labels)

        return noted

    # -- the attending thread --------------------------------------------------------------------

    def turn(self) -> None:
        """Take in what was noted since the last turn, and say whether the next one notes."""
        crowded = self.on and self._left <= 0
        self._resting = REST_TURNS if crowded else max(0, self._resting - 1)
        self.on = not self._resting
        self._left = NOTED_CALLS if self.on else 0
        self._turns += 1
        if self._turns % REFRESH_TURNS == 0:
            self._seen.clear()
        news = self._asked and not self.told
        while self._fresh:
            news |= self._keep(*self._fresh.popleft())
        if news:
            self.told = self._told()

    def _keep(self, name: str, text: str) -> bool:
        """Put a value first; tell whether it is a new one."""
        values = self._values.setdefault(name, {})
        new = text not in values
        values.pop(text, None)
        values[text] = None
        if len(values) > MAX_VALUES:
            del values[next(iter(values))]
        return new

    def _told(self) -> str:
        told: dict[str, list[str]] = {}
        left = MAX_BYTES
        newest = {name: list(reversed(values)) for name, values in sorted(self._values.items())}
        # One of each label after the other, so that long values of one leave room for the rest.
        for at in range(MAX_VALUES):
            for name, values in newest.items():
                if at < len(values):
                    left -= len(json.dumps(values[at], ensure_ascii=False).encode()) + 1
                    if left < 0:
                        return _written(told)
                    told.setdefault(name, []).append(values[at])
        return _written(told)


def _written(told: Mapping[str, list[str]]) -> str:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))
