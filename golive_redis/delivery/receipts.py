"""Receipts of one process: signed, remembered, sent, and sent again to those who ask."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from golive_redis import clock
from golive_redis.delivery.outbox import Outbox
from golive_redis.records.directive import Restriction, Revocation
from golive_redis.records.envelope import Signer, Verified, seal
from golive_redis.records.receipt import Durable, Receipt, Stage
from golive_redis.records.trust import Trust

REPEAT_MS = 500.0
REMEMBERED = 64


class Receipts:
    """Answers directives in the name of one worker or one heartbeat.

    Args:
        trust: Namespace, environment and keyset version.
        signer: Its key.
        outbox: Sends them.
        instance: Which process.
        worker: Id of the worker; None for a heartbeat.
        heartbeat: Name of the heartbeat; None for a worker.
    """

    def __init__(
        self,
        trust: Trust,
        signer: Signer,
        outbox: Outbox,
        *,
        instance: str,
        worker: str | None = None,
        heartbeat: str | None = None,
    ) -> None:
        self.outbox = outbox
        self._as = (trust, signer)  # one value: another thread may sign while they change
        self._instance = instance
        self._worker = worker
        self._heartbeat = heartbeat
        self._lock = (
            threading.Lock()
        )  # two stops may be answered at once, while a third is repeated
        self._sent: dict[str, dict[Stage, tuple[Receipt, bytes]]] = {}
        self._repeated_at: dict[str, float] = {}

    def sign_as(self, trust: Trust, signer: Signer) -> None:
        """Sign from now on under that keyset."""
        self._as = (trust, signer)

    def send(
        self,
        directive: Verified[Revocation] | Verified[Restriction],
        stage: Stage,
        *,
        term: int,
        durable: Durable,
        in_flight: int = 0,
        left: int | None = None,
        head: str | None = None,
        beat_on: Sequence[str] | None = None,
    ) -> None:
        """Sign a receipt and send it until it is in.

        Args:
            directive: What is answered.
            stage: How far it has been carried out.
            term: The newest term that is over for this process, or the one restricted; 0 for none.
            durable: Whether the latch would survive a restart; on disk before this is called (S9).
            in_flight: Orders in flight when it came.
            left: Orders left after the drain; None before.
            head: Ledger head that a heartbeat has seen last.
            beat_on: Run ids of the servers on which a heartbeat may have beaten for the term.
        """
        trust, signer = self._as
        receipt = self._receipt(
            trust,
            signer,
            directive=directive.identity,
            epoch=directive.record.epoch,
            term=term or None,
            stage=stage,
            in_flight=in_flight,
            left=left,
            durable=durable,
            head=head,
            beat_on=list(beat_on) if beat_on is not None else None,
        )
        raw = seal(receipt, signer)
        with self._lock:
            while directive.identity not in self._sent and len(self._sent) >= REMEMBERED:
                oldest = next(iter(self._sent))
                del self._sent[oldest]
                self._repeated_at.pop(oldest, None)
            self._sent.setdefault(directive.identity, {})[stage] = (receipt, raw)
        self.outbox.send(receipt, raw)

    def goodbye(self, durable: Durable) -> bytes:
        """Sign that nothing is in flight and that this process never trades again (A4)."""
        trust, signer = self._as
        receipt = self._receipt(
            trust,
            signer,
            directive=None,
            epoch=None,
            term=None,
            stage=Stage.LEFT,
            in_flight=0,
            left=None,
            durable=durable,
            head=None,
            beat_on=None,
        )
        return seal(receipt, signer)

    def _receipt(self, trust: Trust, signer: Signer, **fields: Any) -> Receipt:
        now_ms = clock.wall_ms()
        return Receipt(
            **trust.heading(signer.principal, now_ms),
            worker=self._worker,
            heartbeat=self._heartbeat,
            instance=self._instance,
            at_ms=now_ms,
            **fields,
        )

    def repeat(self, identity: str) -> None:
        """Send the receipts for a directive again: it is repeated for want of them.

        Twice a second at most, and not what Redis keeps: whoever repeats a stop reads that there, and
        wants to hear of those only who are missing. Five hundred guards that all answered each repeat
        would keep the server from the few that have not answered yet.
        """
        now = clock.now_ms()
        with self._lock:
            if now - self._repeated_at.get(identity, -REPEAT_MS) < REPEAT_MS:
                return
            sent = list(self._sent.get(identity, {}).values())
            if sent:
                self._repeated_at[identity] = now
        for receipt, raw in sent:
            if not self.outbox.has_kept(raw):
                self.outbox.send(receipt, raw)
