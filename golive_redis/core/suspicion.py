"""Whether a pushed revocation closes a guard before its signature is checked (S10, A14).

Closing first makes a stop as fast as it can be. Anybody who may publish can have that effect with bytes
that nobody signed, so after one such push the signature comes first, until a minute has passed without
another.
"""

from __future__ import annotations

import hashlib
import math

import msgspec

WARY_NS = 60 * 1_000_000_000
MAX_REFUSED = 64


class Heard(msgspec.Struct, frozen=True):
    """When a push came.

    Attributes:
        now_ns: On this host's steady clock; None when it is not known.
        wall_ms: In Unix ms; without a bound when it is not known.
    """

    now_ns: int | None = None
    wall_ms: float = math.inf


SOMETIME = Heard()


class Suspicion:
    """What one guard makes of pushes that it has not verified yet. Not thread-safe, as its view."""

    def __init__(self) -> None:
        self._pending = 0
        self._wary_until_ns = 0
        self._refused: dict[bytes, None] = {}

    @property
    def pending(self) -> bool:
        """True while a push that has closed the guard waits for its judgement."""
        return self._pending > 0

    def closes_first(self, heard: Heard) -> bool:
        """Tell whether a revocation closes before it is verified; begin to suspect it if so.

        Fails closed: it does where it is not known when the push came.
        """
        if heard.now_ns is not None and heard.now_ns < self._wary_until_ns:  # A14
            return False
        self._pending += 1
        return True

    def judged(self, *, suspected: bool) -> None:
        """Note that a push was verified or refused."""
        self._pending -= suspected  # S10

    def invalid(self, raw: bytes, heard: Heard) -> None:
        """Note a revocation that nobody has signed."""
        if heard.now_ns is not None:
            self._wary_until_ns = heard.now_ns + WARY_NS
        while len(self._refused) >= MAX_REFUSED:
            self._refused.pop(next(iter(self._refused)))
        self._refused[hashlib.sha256(raw).digest()] = None

    def repeats(self, raw: bytes) -> bool:
        """Tell whether these bytes were refused already: they are not verified again and again."""
        return bool(self._refused) and hashlib.sha256(raw).digest() in self._refused
