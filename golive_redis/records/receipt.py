"""Receipts: a pod's signed answer to a directive."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec

from golive_redis.records.record import Count, Epoch, Identity, Ms, Name, Record, decodable

Instance = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
"""128 random bits in hex, one per guard or heartbeat process."""

RunId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{40}\Z")]
"""What a server process calls itself; another after each restart."""

MAX_SERVERS = 8


class Stage(StrEnum):
    """How far a pod is.

    `latched` is closed and on record, `applied` restricted, `drained` closed with what is left in
    flight; `left` is a worker's goodbye: nothing is in flight, and this process will never trade again.
    """

    LATCHED = "latched"
    APPLIED = "applied"
    DRAINED = "drained"
    LEFT = "left"


class Durable(StrEnum):
    """Whether the latch would survive a restart. `failed` does not count as a receipt."""

    YES = "yes"
    NONE = "none"
    FAILED = "failed"


@decodable
class Receipt(Record, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Signed answer to a directive.

    Attributes:
        worker: Id of the worker, or None when a heartbeat answers.
        heartbeat: Name of the heartbeat, or None when a worker answers.
        instance: Which process; two may share a worker id.
        directive: Identity of the directive answered; None in a goodbye, which answers none.
        epoch: Its epoch; likewise.
        term: The newest term that this process has known and that is over for it (A2), or None when it
            has known none; of a restriction, the term that it restricts.
        at_ms: Unix ms on the pod's wall clock, for people; never used in a decision.
        in_flight: Orders in flight at the latch.
        left: Orders still in flight when drained (0 is clean), or None before that.
        head: Ledger head the pod has seen, or None.
        beat_on: Servers on which this heartbeat may have beaten for the term that ends, or for one
            before; None for a worker, and where a heartbeat does not remember.
    """

    KIND: ClassVar[str] = "receipt"

    worker: Name | None
    heartbeat: Name | None
    instance: Instance
    directive: Identity | None
    epoch: Epoch | None
    term: Epoch | None
    stage: Stage
    at_ms: Ms
    in_flight: Count
    left: Count | None
    durable: Durable
    head: Identity | None
    beat_on: Annotated[list[RunId], msgspec.Meta(max_length=MAX_SERVERS)] | None

    def __post_init__(self) -> None:
        if (self.worker is None) == (self.heartbeat is None):
            raise ValueError("a receipt is a worker's or a heartbeat's")
        if (self.left is None) == (self.stage is Stage.DRAINED):
            raise ValueError("`left` is told when drained, and only then")
        if self.term is None and self.stage is Stage.APPLIED:
            raise ValueError("a restriction is of a term")
        goodbye = self.stage is Stage.LEFT
        if (self.directive is None) != goodbye or (self.epoch is None) != goodbye:
            raise ValueError("every receipt but a goodbye answers a directive")
        if goodbye and (self.in_flight or self.worker is None):
            raise ValueError("a worker says goodbye when nothing is in flight")
        if self.heartbeat is not None and self.heartbeat != self.by:
            raise ValueError("a heartbeat answers in its own name only")
        if self.worker is not None and self.beat_on is not None:
            raise ValueError("a worker beats nowhere")
