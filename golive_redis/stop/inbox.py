"""Receipts as they arrive at an operator, verified and by directive; the outbox is the other end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from golive_redis.core.barrier import Collected, Pod, counts
from golive_redis.errors import RecordError
from golive_redis.records.directive import Restriction, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.records.receipt import Receipt
from golive_redis.records.trust import Trust
from golive_redis.stop.attestation import attested
from golive_redis.store.link import Link
from golive_redis.store.store import Store

MAX_REFUSED = 1_000


class Receipts:
    """Collects the verified receipts for directives, from the channel and from the store.

    Args:
        trust: Verifies them.
        clock_ms: Steady clock; the arrival here is the only time that counts.

    Attributes:
        by_directive: The verified ones, each with its arrival.
        refused: Why others were refused.
        newer: One of those says that it was signed under a newer keyset than ours.
        dead: Workers of whom a stored word says that they are dead.
    """

    def __init__(self, trust: Trust, clock_ms: Callable[[], float]) -> None:
        self._trust = trust
        self._clock = clock_ms
        self._seen: set[bytes] = set()
        self._goodbyes: list[tuple[Receipt, float]] = []
        self.by_directive: dict[str, list[tuple[Receipt, float]]] = {}
        self.refused: list[str] = []
        self.newer = False
        self.dead: set[Pod] = set()

    def take(self, raw: bytes) -> Receipt | None:
        """Take in one envelope; None when it is refused or known."""
        if raw in self._seen:
            return None
        now = self._clock()
        try:
            receipt = self._trust.receipt(raw).record
        except RecordError as error:
            self.newer = self.newer or self._trust.is_newer(raw, Receipt)
            if len(self.refused) < MAX_REFUSED:
                self.refused.append(error.message)
            return None
        self._seen.add(raw)
        if receipt.directive is None:
            self._goodbyes.append((receipt, now))
        else:
            self.by_directive.setdefault(receipt.directive, []).append((receipt, now))
        return receipt

    def listen(self, link: Link, timeout_ms: float) -> bool:
        """Take what the subscribed link has to say within that time; True when something came."""
        message = link.receive(timeout_ms)
        if message is None:
            return False
        kind, *rest = message if isinstance(message, list) and message else [None]
        if kind == b"message" and rest and isinstance(rest[-1], bytes):
            self.take(rest[-1])
        return True

    def read(self, store: Store, directive: str) -> bool:
        """Take the stored receipts for a directive; False when there are more than are read."""
        stored, whole = store.receipts(directive)
        for raw in stored:
            self.take(raw)
        return whole

    def read_goodbyes(self, store: Store, pods: Iterable[Pod]) -> None:
        """Take the goodbyes that those workers have left (A4), and words that they are dead (A5)."""
        for raw in store.goodbyes([(pod.worker, pod.instance) for pod in sorted(pods)]):
            if dead := attested(self._trust, raw):
                self.dead |= dead
            else:
                self.take(raw)

    def collected(
        self, signed: Sequence[Verified[Revocation] | Verified[Restriction]], term: int
    ) -> Collected:
        """Return the receipts for any of these directives that count for that term.

        A stop that had to be signed again is one stop: a pod that latched for the later directive
        has latched for the earlier.
        """
        out = Collected()
        for item in signed:
            for receipt, at in self.by_directive.get(item.identity, ()):
                if counts(receipt, item.record, term):  # A2
                    out.add(receipt, at)
        for receipt, at in self._goodbyes:
            out.add(receipt, at)
        return out

    def uncounted(self, item: Verified[Revocation], term: int) -> frozenset[str]:
        """Return the heartbeats whose answers to that revocation do not count for that term (A2)."""
        found = self.by_directive.get(item.identity, ())
        return frozenset(
            receipt.heartbeat
            for receipt, _ in found
            if receipt.heartbeat is not None and not counts(receipt, item.record, term)
        )
