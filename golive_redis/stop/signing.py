"""Who signs a stop, and how long the fleet waits for that: a second, in all.

A key in a file signs at once. An agent that asks somebody, a token that wants to be touched, a program
that calls a cloud and a person who types a passphrase may take minutes. Then the key in Redis is
deleted first, unsigned, and the signed revocation follows when it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from golive_redis import clock
from golive_redis.config import Config
from golive_redis.config.keyfile import PassphraseNeededError
from golive_redis.config.signing import on_terminal
from golive_redis.errors import ConfigError, SignerError
from golive_redis.records.envelope import SIGN_TIMEOUT_S, Signer, seal
from golive_redis.records.keyset import Keyset, Role
from golive_redis.records.record import Record

T = TypeVar("T")

PATIENCE_MS = 1_000.0
# Its own limits come first, and say what it is that has not answered.
SPARE_S = 15.0


class StopSigning:
    """Opens the key that signs a stop, and signs with it.

    Args:
        config: Names the key.
        key: What takes the place of the configured key, or None.
        late: Called once, when a second has been waited in all and nothing is signed.

    Attributes:
        is_late: It was called.
        may_wait: The key may take its time, as one that asks somebody does.
    """

    def __init__(self, config: Config, key: str | None, late: Callable[[], None]) -> None:
        self._config = config
        self._key = key
        self._late = late
        self._left_ms = PATIENCE_MS
        self.is_late = False
        self.may_wait = config.stop_may_wait(key)
        self._signer: Signer | None = None

    @property
    def waited_ms(self) -> float:
        """How long it has waited for a key, up to a second."""
        return PATIENCE_MS - self._left_ms

    def open(self, keyset: Keyset) -> Signer:
        """Return the signer.

        Raises:
            ConfigError: There is none, or no pod would take what it signs.
        """
        signer = self._opened(keyset)
        if signer.principal not in keyset.principals(Role.REVOKER):
            raise ConfigError(f"every pod would refuse one that {signer.principal} signs")
        self._signer = signer
        return signer

    def _opened(self, keyset: Keyset) -> Signer:
        config, key = self._config, self._key
        if self.may_wait:
            return self._patiently(lambda: config.stop_signer(keyset, key, on_terminal))
        try:
            return config.stop_signer(keyset, key)
        except PassphraseNeededError:  # somebody may type it
            return self._patiently(lambda: config.stop_signer(keyset, key, on_terminal))

    def seal(self, record: Record) -> bytes:
        """Sign a record.

        Raises:
            ConfigError: It was not signed.
            RecordError: It is more than the signer takes.
        """
        assert self._signer is not None  # noqa: S101  (opened first)
        signer = self._signer
        return (
            self._patiently(lambda: seal(record, signer)) if self.may_wait else seal(record, signer)
        )

    def _patiently(self, step: Callable[[], T]) -> T:
        from golive_redis.signers.asked import Asked  # noqa: PLC0415  (not for a key in a file)

        began = clock.now_ms()
        asked = Asked(step)
        if not asked.is_answered(self._left_ms / 1000) and not self.is_late:
            self.is_late = True
            self._late()
        if not asked.is_answered(SIGN_TIMEOUT_S + SPARE_S):
            raise SignerError(f"nothing was signed within {SIGN_TIMEOUT_S + SPARE_S:.0f} s")
        self._left_ms = max(0.0, self._left_ms - (clock.now_ms() - began))
        return asked.answer()
