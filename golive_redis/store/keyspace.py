"""Names of the keys and channels of a namespace (docs/reference/redis-keys.md)."""

from __future__ import annotations

import msgspec

PRESENCE_MS = 10_000
RECEIPTS_MS = 7 * 24 * 3_600_000
MAX_RECEIPTS = 250_000
"""For one directive: two of each worker of the largest roster that is read, and room for restarts."""
GOODBYE_MS = 30 * 86_400_000
"""Longer than any term: a stop that is called in that time knows who had left."""
INVALIDATE = "__redis__:invalidate"


class Keyspace(msgspec.Struct, frozen=True):
    """The keys of one switch. `{golive}` as namespace keeps them in one slot of a Redis Cluster.

    Attributes:
        namespace: Of the switch; every key begins with it.
        db: Number of the database that the keys are in. Their names do not carry it, those of the
            channels do.
    """

    namespace: str
    db: int = 0

    @property
    def one_slot(self) -> bool:
        """True when a Redis Cluster keeps all keys of the switch on one node."""
        return self.namespace.startswith("{")

    @property
    def active(self) -> str:
        """The state in force."""
        return f"{self.namespace}:active"

    @property
    def beat(self) -> str:
        """Newest beat per heartbeat."""
        return f"{self.namespace}:beat"

    @property
    def revoked(self) -> str:
        """The tombstone."""
        return f"{self.namespace}:revoked"

    @property
    def epoch(self) -> str:
        """High-water mark of epochs."""
        return f"{self.namespace}:epoch"

    @property
    def last(self) -> str:
        """Identity of the last directive."""
        return f"{self.namespace}:last"

    @property
    def head(self) -> str:
        """Ledger head."""
        return f"{self.namespace}:head"

    @property
    def audit(self) -> str:
        """The ledger."""
        return f"{self.namespace}:audit"

    @property
    def fleet(self) -> str:
        """Roster of workers."""
        return f"{self.namespace}:fleet"

    @property
    def fleet_id(self) -> str:
        """Id of the fleet whose store this is."""
        return f"{self.namespace}:fleet-id"

    @property
    def heartbeats(self) -> str:
        """Roster of heartbeats."""
        return f"{self.namespace}:heartbeats"

    @property
    def proposals(self) -> str:
        """Which grants wait for further signatures, and until when."""
        return f"{self.namespace}:proposals"

    @property
    def keyset(self) -> str:
        """Signed keysets by number, each with the record that appoints it."""
        return f"{self.namespace}:keyset"

    @property
    def checkpoint(self) -> str:
        """The newest checkpoint of the ledger."""
        return f"{self.namespace}:checkpoint"

    @property
    def begins(self) -> str:
        """The note with which the ledger in Redis begins, once it was trimmed or begun anew."""
        return f"{self.namespace}:begins"

    @property
    def events(self) -> str:
        """Channel of directives."""
        return self._channel("events")

    @property
    def receipts(self) -> str:
        """Channel of receipts."""
        return self._channel("receipts")

    def _channel(self, name: str) -> str:
        # A11: pub/sub knows no databases. Without the number a halt in one would be taken over by the
        # heartbeats of another, where a switch of the same namespace and environment may live.
        return f"{self.namespace}:{name}@{self.db}" if self.db else f"{self.namespace}:{name}"

    def worker(self, worker: str, instance: str) -> str:
        """Key of a worker's presence."""
        return f"{self.namespace}:worker:{worker}:{instance}"

    def heartbeat(self, name: str, instance: str) -> str:
        """Key of a heartbeat's presence."""
        return f"{self.namespace}:heartbeat:{name}:{instance}"

    def goodbye(self, worker: str, instance: str) -> str:
        """Key of a worker's goodbye, or of the word that it is dead."""
        return f"{self.namespace}:left:{worker}:{instance}"

    def receipt(self, directive: str) -> str:
        """Key of the receipts for a directive."""
        return f"{self.namespace}:receipt:{directive}"

    def proposal(self, identity: str) -> str:
        """Key of a grant that waits, with its signatures so far."""
        return f"{self.namespace}:proposal:{identity}"
