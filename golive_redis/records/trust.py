"""Who must have signed what: one method per kind of record, one place to look."""

from __future__ import annotations

from typing import TypedDict

import msgspec

from golive_redis.errors import RecordError
from golive_redis.records.approval import Answer, Execution
from golive_redis.records.beat import Beat
from golive_redis.records.directive import Grant, Restriction, Revocation
from golive_redis.records.envelope import R, Verified, decode, peek, verify
from golive_redis.records.keyset import Keyset, Role
from golive_redis.records.ledger import Note
from golive_redis.records.receipt import Receipt
from golive_redis.records.record import Record
from golive_redis.records.refusal import Refusal
from golive_redis.records.report import Report


class Heading(TypedDict):
    """The fields that every record carries."""

    namespace: str
    environment: str
    fleet: str
    keyset_version: int
    issued_at_ms: int
    by: str


class Trust(msgspec.Struct, frozen=True):
    """The pinned keyset together with the one namespace and environment it is used for.

    Every method takes an envelope as read and returns the verified record.

    Raises:
        RecordError: From every method; a refused record has no effect.
    """

    keyset: Keyset
    namespace: str
    environment: str

    def heading(self, by: str, issued_at_ms: int) -> Heading:
        """Return what a record of this switch begins with.

        Args:
            by: Principal who issues it.
            issued_at_ms: Unix time in ms on the signer's wall clock.
        """
        return Heading(
            namespace=self.namespace,
            environment=self.environment,
            fleet=self.keyset.fleet,
            keyset_version=self.keyset.version,
            issued_at_ms=issued_at_ms,
            by=by,
        )

    def is_about(self, record: Record) -> bool:
        """Tell whether a record claims to be of this switch; its signature is not checked."""
        theirs = record.namespace, record.environment, record.fleet
        return theirs == (self.namespace, self.environment, self.keyset.fleet)

    def another_fleet(self, fleet: str) -> str:
        """Say that a store belongs to another fleet; "" when it is ours or nobody's.

        Args:
            fleet: What the store says whose it is, unsigned.
        """
        ours = self.keyset.fleet
        if fleet in {"", ours}:  # A12
            return ""
        return f"this store belongs to fleet {fleet[:8]}..., and this keyset to fleet {ours[:8]}..."

    def grant(self, raw: bytes) -> Verified[Grant]:
        """Verify a grant: approvers, by threshold, under a keyset no newer than ours.

        A key that had expired when the grant was issued does not count. One that expires later does:
        no running term dies of it, and what only takes away never expires.
        """
        needed = self._approvals(raw)
        item = self._current(self._verify(raw, Grant, Role.APPROVER, needed))  # S1
        return self._unexpired(item, item.record.issued_at_ms, needed)  # S1

    def proposed(self, raw: bytes) -> Verified[Grant]:
        """Verify a grant that waits for further signatures: one approver is enough to look at it.

        It permits nothing: only what `grant` returns does.
        """
        item = self._current(self._verify(raw, Grant, Role.APPROVER))
        return self._unexpired(item, item.record.issued_at_ms, 1)

    def _approvals(self, raw: bytes) -> int:
        """Return how many must sign, by the kind that a grant claims to be in the very same bytes."""
        try:
            return self.keyset.approvals(peek(raw, Grant).kind)
        except RecordError:  # no grant, which is for `verify` to say
            return self.keyset.threshold(Role.APPROVER)

    def is_good_now(self, item: Verified[Grant], now_ms: float) -> bool:
        """Tell whether keyset and keys behind a verified grant have not expired since, as far as needed.

        Asked once, before a term is taken up: `issued_at_ms` is the signers' word.
        """
        try:
            self._unexpired(item, now_ms, self.keyset.approvals(item.record.kind))
        except RecordError:
            return False
        return True

    def _unexpired(self, item: Verified[R], at_ms: float, needed: int) -> Verified[R]:
        """Return a verified record with those of its signers whose keys were good at that time."""
        if self.keyset.expired(at_ms):  # S1
            raise RecordError(
                f"keyset {self.keyset.version} was good until {self.keyset.expires}, and nothing new "
                "is taken under it",
                hint="its roots sign the next one: `golive keys draft`",
            )
        known = (self.keyset.keys.get(keyid) for keyid, _ in decode(item.raw).signatures)
        keys = [key for key in known if key is not None and key.principal in item.signers]
        good = frozenset(key.principal for key in keys if not key.expired(at_ms))
        if item.record.by not in good or len(good) < needed:
            late = sorted({f"{k.principal} ({k.expires})" for k in keys if k.expired(at_ms)})
            raise RecordError(
                f"{len(good)} of {needed} approvers with a key that was good then; "
                f"expired: {', '.join(late)}",
                hint="raise `version` and give them new keys: `golive keys new`",
            )
        return msgspec.structs.replace(item, signers=good)

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
        """Verify a receipt: its pod's own key, or for a worker that has none a shared one."""
        # Whom it claims to answer for says which role must have signed the very same bytes.
        worker = peek(raw, Receipt).worker
        if worker is None:
            return self._verify(raw, Receipt, Role.HEARTBEAT)
        verified = self._verify(raw, Receipt, Role.WORKER)
        if verified.record.by not in self.keyset.answers_for(worker):  # A6
            raise RecordError(f"{verified.record.by} may not answer for {worker}")
        return verified

    def is_newer(self, raw: bytes, kind: type[Record]) -> bool:
        """Tell whether a record says that it was signed under a newer keyset than ours.

        Nobody's signature is checked: for being more careful, never for permission.
        """
        try:
            return peek(raw, kind).keyset_version > self.keyset.version
        except RecordError:
            return False

    def note(self, raw: bytes, role: Role) -> Verified[Note]:
        """Verify a note of somebody in `role`."""
        return self._verify(raw, Note, role)

    def generation(self, raw: bytes) -> Verified[Note]:
        """Verify a note about where the ledger begins: as many approvers as a grant takes.

        What stood before it is not judged after it, so no single person can.
        """
        needed = self.keyset.threshold(Role.APPROVER)
        item = self._current(self._verify(raw, Note, Role.APPROVER, needed))
        return self._unexpired(item, item.record.issued_at_ms, needed)

    def refusal(self, raw: bytes) -> Verified[Refusal]:
        """Verify a refusal: whoever tried, in whatever role; it tells, and has no effect."""
        by = peek(raw, Refusal).by
        keys = self.keyset.keys.values()
        roles = sorted({role for key in keys if key.principal == by for role in key.roles})
        # For a stranger any role will do: it verifies for none.
        return self._verify(raw, Refusal, roles[0] if roles else Role.AUDITOR)

    def answer(self, raw: bytes) -> Verified[Answer]:
        """Verify an answer to a proposal: one approver, with a key that was good then."""
        item = self._current(self._verify(raw, Answer, Role.APPROVER))
        return self._unexpired(item, item.record.issued_at_ms, 1)

    def execution(self, raw: bytes) -> Verified[Execution]:
        """Verify an execution: one approver, with a key that was good then.

        Whether that is one who has signed the grant is for who has both: `core.adoption`.
        """
        item = self._current(self._verify(raw, Execution, Role.APPROVER))
        return self._unexpired(item, item.record.issued_at_ms, 1)

    def report(self, raw: bytes) -> Verified[Report]:
        """Verify a preflight report: one approver, whatever the threshold for grants.

        As for a grant, a key that had expired when it was issued does not count.
        """
        item = self._verify(raw, Report, Role.APPROVER)
        return self._unexpired(item, item.record.issued_at_ms, 1)

    def _verify(self, raw: bytes, kind: type[R], role: Role, needed: int = 1) -> Verified[R]:
        names = {"namespace": self.namespace, "environment": self.environment}
        return verify(raw, kind, self.keyset, role, needed=needed, **names)

    def _current(self, verified: Verified[R]) -> Verified[R]:
        if verified.record.keyset_version > self.keyset.version:  # S1
            raise RecordError(
                f"signed under keyset version {verified.record.keyset_version}; "
                f"this host pins version {self.keyset.version}",
                hint="install the newer keyset file on this host",
            )
        return verified
