"""The steps on signed keysets: read the next one, publish one. Part of `store.Store`.

Whoever owns Redis can hide a step or plant one; what counts of it are its signatures, which the caller
verifies. The steps stay for as long as the switch: a host that was off takes them one by one.
"""

from __future__ import annotations

from golive_redis.errors import RecordError
from golive_redis.records.ledger import extend
from golive_redis.records.rotation import MAX_STEP_BYTES, Step
from golive_redis.store import replies, scripts
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import Link, StoreRefusedError, usable

MAX_KEPT = 4_096
"""Steps of one switch: one each day for eleven years."""


class KeysetSteps:
    """What is done to signed keysets, over the link of the store."""

    link: Link
    keys: Keyspace

    @usable("keyset_step")
    def keyset_step(self, number: int) -> bytes | None:
        """Return the step to the keyset of that number, unverified; None when there is none.

        Raises:
            RecordError: What stands there is larger than any step, or the key is of another type; it is
                not read.
        """
        try:
            size = int(self.link.call("HSTRLEN", self.keys.keyset, number))
        except StoreRefusedError as error:
            if error.code != "WRONGTYPE":
                raise
            raise RecordError(
                f"{self.keys.keyset} is no hash: somebody has overwritten it"
            ) from error
        if size > MAX_STEP_BYTES:
            raise RecordError(
                f"what Redis keeps as keyset {number} has {size:,} bytes, and a step at most "
                f"{MAX_STEP_BYTES:,}"
            )
        if not size:
            return None
        return replies.or_none(self.link.call("HGET", self.keys.keyset, number))

    @usable("keyset_numbers")
    def keyset_numbers(self) -> list[int]:
        """Return the numbers of the steps that are kept, ascending; at most `MAX_KEPT`."""
        if int(self.link.call("HLEN", self.keys.keyset)) > MAX_KEPT:
            raise RecordError(f"Redis keeps more than {MAX_KEPT:,} keysets: somebody planted some")
        fields = replies.all_bytes(self.link.call("HKEYS", self.keys.keyset))
        return sorted(found for name in fields if (found := replies.number(name)))

    def publish_keyset(
        self,
        number: int,
        step: Step,
        *,
        before: bytes,
        head: str,
        planted: tuple[bytes, bytes] = (b"", b""),
    ) -> replies.Step:
        """Put a step and its ledger entry there, if nobody has put one of that number there.

        Args:
            number: Of the new keyset.
            step: It, with its record; the caller has verified both.
            before: Payload of the keyset before it. With the first step it is kept, too, without a
                record: nobody takes it, and whoever judges the ledger later has it.
            head: Ledger head as last read.
            planted: What the caller has read in the place of the step and of the keyset before it, and
                seen to be nothing of theirs; it is replaced if it still stands. What is larger than any
                step is replaced unread.
        """
        keys = self.keys
        reply = scripts.run(
            self.link,
            "keyset",
            (keys.keyset, keys.head, keys.audit),
            number,
            number - 1,
            step.packed(),
            head,
            extend(head, step.record),
            step.record,
            MAX_STEP_BYTES,
            Step(before, b"").packed(),
            *planted,
        )
        return replies.parse_step(reply)
