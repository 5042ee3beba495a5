"""The fleet as an operator sees it: receipts as they arrive, and the roster they are held against."""

from __future__ import annotations

from collections.abc import Callable

from golive_redis.core.barrier import Collected, Pod, Roster
from golive_redis.errors import RecordError, StoreError
from golive_redis.records.keyset import Role
from golive_redis.records.receipt import Receipt
from golive_redis.records.trust import Trust
from golive_redis.store.link import Link
from golive_redis.store.store import Store

MAX_REFUSED = 1_000
LOOK_BACK = 2_000


class Receipts:
    """Collects the verified receipts for directives, from the channel and from the store.

    Args:
        trust: Verifies them.
        clock_ms: Steady clock; the arrival here is the only time that counts.
    """

    def __init__(self, trust: Trust, clock_ms: Callable[[], float]) -> None:
        self._trust = trust
        self._clock = clock_ms
        self._seen: set[bytes] = set()
        self.by_directive: dict[str, list[tuple[Receipt, float]]] = {}
        self.refused: list[str] = []

    def take(self, raw: bytes) -> Receipt | None:
        """Take in one envelope; None when it is refused or known."""
        if raw in self._seen:
            return None
        now = self._clock()
        try:
            receipt = self._trust.receipt(raw).record
        except RecordError as error:
            if len(self.refused) < MAX_REFUSED:
                self.refused.append(error.message)
            return None
        self._seen.add(raw)
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

    def read(self, store: Store, directive: str) -> None:
        """Take the stored receipts for a directive."""
        for raw in store.receipts(directive):
            self.take(raw)

    def collected(self, directives: list[str]) -> Collected:
        """Return the receipts for any of these directives, as the barrier wants them.

        A stop that had to be signed again is one stop: a pod that latched for the later directive
        has latched for the earlier.
        """
        out = Collected()
        for directive in directives:
            for receipt, at in self.by_directive.get(directive, ()):
                out.add(receipt, at)
        return out


def read_rosters(store: Store) -> Roster:
    """Read who is on the rosters.

    Raises:
        StoreError: They cannot be read. Fails closed: without a roster nothing is complete.
    """
    processes = read_heartbeats(store)
    workers = frozenset(Pod(item.name, item.instance) for item in store.workers())
    return Roster(frozenset(processes), workers, processes)


def read_heartbeats(store: Store) -> dict[str, str]:
    """Read which process of each heartbeat registered last.

    Raises:
        StoreError: The roster cannot be read.
    """
    return {item.name: item.instance for item in store.heartbeats()}


def farewells(store: Store, trust: Trust, names: frozenset[str], since_ms: int) -> frozenset[str]:
    """Return which of these heartbeats have left with a signed goodbye since then, and stayed away.

    A heartbeat that has said goodbye has given its term up on disk, so no stop waits for it, until it
    joins the term again: then it says so in the ledger before its first beat.

    Raises:
        StoreError: The ledger cannot be read. Fails closed: whoever is not known to have left is
            waited for.
    """
    last: dict[str, str] = {}
    for entry in store.entries(LOOK_BACK) if names else ():
        try:
            note = trust.note(entry.envelope, Role.HEARTBEAT).record
        except RecordError:
            continue
        if note.topic in {"goodbye", "joined"} and note.issued_at_ms >= since_ms:
            last[note.by] = note.topic
    return frozenset(name for name in names if last.get(name) == "goodbye")


def strike_silent(store: Store, roster: Roster, answered: set[Pod]) -> None:
    """After a completed stop, take workers off the roster that did not answer it.

    One that is only cut off registers again with its next question.
    """
    gone = roster.workers - answered
    try:
        store.strike([f"{pod.worker}:{pod.instance}" for pod in sorted(gone)])
    except StoreError:
        return  # they stay, and the next completed stop strikes them
