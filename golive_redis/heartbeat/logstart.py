"""By whose keys a heartbeat signs checkpoints, and where the log begins that they are of.

A ledger that was trimmed begins behind its first entry, and one that was begun anew is another log.
Whoever counted what stands in Redis from 0 would sign a fork. So where it begins is asked of the signed
note (`golive_redis.audit.beginning`), whenever Redis names another one.
"""

from __future__ import annotations

import msgspec

from golive_redis.audit.beginning import Beginning, of_stream
from golive_redis.audit.opening import Keysets
from golive_redis.config.auditing import LogSettings
from golive_redis.core.follower import InconsistentLogError, Mark
from golive_redis.heartbeat.logmemory import ANEW, LogMemory
from golive_redis.records.envelope import Signer
from golive_redis.records.keyset import raw_of
from golive_redis.records.logpolicy import Judged, Policy
from golive_redis.records.trust import Trust
from golive_redis.store.store import Store


class LogKeys(msgspec.Struct, frozen=True):
    """By whose keys a heartbeat signs and judges; it may change while it runs.

    Attributes:
        trust: Keyset, namespace and environment.
        signer: The heartbeat's key.
        settings: Of the log.
        policy: By which the checkpoints of others are judged.
    """

    trust: Trust
    signer: Signer
    settings: LogSettings
    policy: Policy

    @classmethod
    def of(cls, trust: Trust, signer: Signer, settings: LogSettings) -> LogKeys:
        """Return them for a keyset and the section `audit`."""
        return cls(trust, signer, settings, settings.policy([trust.keyset]))

    def who(self, judged: Judged) -> str:
        """Return the names of the heartbeats that have signed a checkpoint."""
        signed = {each.verifier.public for each in judged.opened.logs}
        keys = self.trust.keyset.keys.values()
        return ", ".join(sorted({key.principal for key in keys if raw_of(key.public) in signed}))


class LogStart:
    """Where the log begins, as this heartbeat has taken it up."""

    def __init__(self) -> None:
        self._named: bytes | None = None
        self._begun: Beginning | None = None
        self._keys: tuple[LogKeys, LogKeys] | None = None

    def keys(self, store: Store, keys: LogKeys, memory: LogMemory) -> LogKeys:
        """Return by which keys to sign: those of the generation that the ledger is in.

        Args:
            store: A connected store.
            keys: As configured.
            memory: Is told where the log begins.

        Raises:
            InconsistentLogError: No note by a trusted key says why it begins there, it is of an older
                generation than before, or of something else than was signed for.
            StateFileError: The memory cannot be read.
            StoreError: Redis cannot be asked.
        """
        named = store.begins()
        if self._begun is None or named != self._named:
            self._take(store, keys, memory, named)
        generation = self._begun.generation if self._begun is not None else 1
        if generation == 1:
            return keys
        if self._keys is None or self._keys[0] is not keys:
            settings = keys.settings.of_generation(generation)
            self._keys = keys, LogKeys.of(keys.trust, keys.signer, settings)
        return self._keys[1]

    def _take(self, store: Store, keys: LogKeys, memory: LogMemory, named: bytes | None) -> None:
        trust = keys.trust
        keysets = Keysets(
            {trust.keyset.version: trust.keyset}, trust.namespace, trust.environment, True
        )
        begun = of_stream(store, keysets)
        if begun is None:
            raise InconsistentLogError(
                "the ledger does not begin with its first entry, and no note by a trusted key says why",
                hint="golive audit verify",
            )
        if memory.generation(keys.settings.origin) > begun.generation:
            raise InconsistentLogError(
                f"the ledger is of generation {begun.generation}, and a later one was signed for here",
                hint="golive audit verify",
            )
        known = memory.generation(keys.settings.origin)
        if begun.count and begun.generation > known and not (known == 1 and memory.blank):
            # A generation begins with a note of its own. One that was trimmed since has none here.
            raise InconsistentLogError(
                f"the ledger is of generation {begun.generation} by a note that it was trimmed, and "
                f"generation {known} was signed for here",
                hint=f"golive audit verify --archive DIR; if it is, {ANEW}",
            )
        first = Mark(
            size=begun.count,
            nodes=list(begun.tree.encoded()),
            last_id=begun.last_id,
            head=begun.head,
            told=bool(begun.note),
        )
        memory.begin(keys.settings.of_generation(begun.generation).origin, first)
        self._named, self._begun, self._keys = named, begun, None
