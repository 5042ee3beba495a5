"""Who must have signed what: one method per kind of record, one place to look."""

from __future__ import annotations

import msgspec

from golive_redis.errors import RecordError
from golive_redis.records.beat import Beat
from golive_redis.records.directive import Grant, Restriction, Revocation
from golive_redis.records.envelope import R, Verified, peek, verify
from golive_redis.records.keyset import Keyset, Role
from golive_redis.records.ledger import Note
from golive_redis.records.receipt import Receipt
from golive_redis.records.report import Report


class Trust(msgspec.Struct, frozen=True):
    """The pinned keyset together with the one namespace and environment it is used for.

    Every method takes an envelope as read and returns the verified record.

    Raises:
        RecordError: From every method; a refused record has no effect.
    """

    keyset: Keyset
    namespace: str
    environment: str

    def grant(self, raw: bytes) -> Verified[Grant]:
        """Verify a grant: approvers, by threshold, under a keyset no newer than ours."""
        return self._current(self._verify(raw, Grant, Role.APPROVER))  # S1

    def restriction(self, raw: bytes) -> Verified[Restriction]:
        """Verify a restriction: one revoker. Any keyset version, for it only takes away."""
        return self._verify(raw, Restriction, Role.REVOKER)

    def revocation(self, raw: bytes) -> Verified[Revocation]:
        """Verify a revocation: one revoker. Any keyset version, for it only takes away."""
        return self._verify(raw, Revocation, Role.REVOKER)

    def beat(self, raw: bytes) -> Verified[Beat]:
        """Verify a beat: that heartbeat's own key, under a keyset no newer than ours."""
        return self._current(self._verify(raw, Beat, Role.HEARTBEAT))

    def receipt(self, raw: bytes) -> Verified[Receipt]:
        """Verify a receipt: a worker key, or that heartbeat's own key."""
        # Whom it claims to answer for says which role must have signed the very same bytes.
        claims_worker = peek(raw, Receipt).worker is not None
        return self._verify(raw, Receipt, Role.WORKER if claims_worker else Role.HEARTBEAT)

    def note(self, raw: bytes, role: Role) -> Verified[Note]:
        """Verify a note of somebody in `role`."""
        return self._verify(raw, Note, role)

    def report(self, raw: bytes) -> Verified[Report]:
        """Verify a preflight report: one approver, whatever the threshold for grants."""
        keyset = msgspec.structs.replace(self.keyset, thresholds={})
        return verify(
            raw,
            Report,
            keyset,
            Role.APPROVER,
            namespace=self.namespace,
            environment=self.environment,
        )

    def _verify(self, raw: bytes, kind: type[R], role: Role) -> Verified[R]:
        return verify(
            raw, kind, self.keyset, role, namespace=self.namespace, environment=self.environment
        )

    def _current(self, verified: Verified[R]) -> Verified[R]:
        if verified.record.keyset_version > self.keyset.version:  # S1
            raise RecordError(
                f"signed under keyset version {verified.record.keyset_version}; "
                f"this host pins version {self.keyset.version}",
                hint="install the newer keyset file on this host",
            )
        return verified
