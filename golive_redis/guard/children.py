"""Forked children that ask a guard of their parent: told to the parent by a page of memory they share.

Such a child trades nothing, and its parent looks armed. It has no connection and no thread to say so
to others, and is not to open any: most children run another program. So it leaves its process id in a
page that both see, and the parent tells how many have.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress

WORD = 4
MOST = mmap.PAGESIZE // WORD


class Children:
    """The children of one guard that have asked it, counted once each."""

    def __init__(self) -> None:
        self._page: mmap.mmap | None = None
        self._seen = b""
        self._number = 0

    def share(self) -> None:
        """Make the page, before the first fork: a process that never forks pays for none."""
        if self._page is None:
            with suppress(OSError, ValueError):  # no memory: nobody is told, and the fork goes on
                self._page = mmap.mmap(-1, mmap.PAGESIZE)

    def asked(self) -> None:
        """Note, in a child, that it has asked. Takes no lock; of two in one place the later counts."""
        if self._page is not None:
            pid = os.getpid()
            at = pid % MOST * WORD
            self._page[at : at + WORD] = pid.to_bytes(WORD, "big")

    def number(self) -> int:
        """Return how many have asked: exact up to some, and never more than there were."""
        if self._page is None:
            return 0
        seen = self._page[:]
        if seen != self._seen:
            words = memoryview(seen).cast("I")
            self._number, self._seen = sum(map(bool, words)), seen
        return self._number
