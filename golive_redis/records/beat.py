"""The beat: a heartbeat's signed word that a term is still good."""

from __future__ import annotations

from typing import ClassVar

from golive_redis.records.record import Count, Epoch, Identity, Name, Record, decodable

ISSUED_TOLERANCE_MS = 30_000
"""How far a beat's `issued_at_ms` may be from the reader's wall clock (S6)."""


@decodable
class Beat(Record, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Heartbeat-signed word that a term is still good.

    Attributes:
        heartbeat: Name of the heartbeat; each counts its own `n`.
        epoch: Highest directive it has verified.
        set: Digest over the identities in force at that epoch (`State.digest`).
        n: Counts upwards, never back.
    """

    KIND: ClassVar[str] = "beat"

    heartbeat: Name
    term: Epoch
    epoch: Epoch
    set: Identity
    n: Count

    def __post_init__(self) -> None:
        if self.heartbeat != self.by:
            raise ValueError("a heartbeat beats in its own name only")
        if self.epoch < self.term:
            raise ValueError("a beat's epoch is not below its term")
