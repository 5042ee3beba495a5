"""V11: what stands against haste is kept, by the rules that the heartbeats ask (`core.adoption`).

An activation is judged at the time of its decision: when it was issued or, where it waited for a second
person, executed. That is its signers' word, so it counts for no later than the entry by the server's
clock and what clocks may differ. `cool_down` and `activations_per_day` are known to those who have the
policy whose digest the grant names; without it only the signature of risk is judged, which needs the
keyset alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from golive_redis.audit.opening import Keysets, Opened
from golive_redis.core.adoption import DAY_MS, Before, haste_refused
from golive_redis.core.timing import Haste
from golive_redis.records.beat import ISSUED_TOLERANCE_MS
from golive_redis.records.directive import Grant, Revocation
from golive_redis.records.envelope import Verified, decode, peek
from golive_redis.records.keyset import Authority
from golive_redis.records.ledger import Entry
from golive_redis.records.record import Identity, Ms, Strict, decodable

KEPT = 256  # executions that a later grant may have
MOST_A_DAY = 10_000  # as many as a policy can allow


@decodable
class LastStop(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The newest revocation, as a carry keeps it.

    Attributes:
        envelope: As signed.
        signers: Whose signatures count.
        entered_ms: When it was entered, Unix ms of the server's clock.
    """

    envelope: str
    signers: list[str]
    entered_ms: Ms

    def verified(self) -> Verified[Revocation]:
        """Return it as the rules take it; its signatures were checked when it was entered."""
        raw = self.envelope.encode()
        record = peek(raw, Revocation)
        return Verified(record, decode(raw).identity, raw, frozenset(self.signers))


@decodable
class Hasty(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known of stops and starts after some entries, to go on from there.

    Attributes:
        stop: The revocation with the highest epoch; None before the first.
        activated: When the last activations were issued, Unix ms.
        executed: By directive, who has executed it and when.
    """

    stop: LastStop | None = None
    activated: list[Ms] = []
    executed: dict[Identity, tuple[str, Ms]] = {}


class Starts:
    """Judges activations by what came before them.

    Args:
        keysets: Those at hand.
        policies: What is allowed, by the digest of the policy; for digests that are not here, the
            cool-down and the daily limit are not judged.
        known: Where to go on.
    """

    def __init__(
        self, keysets: Keysets, policies: Mapping[str, Haste], known: Hasty | None = None
    ) -> None:
        state = known or Hasty()
        self._keysets = keysets
        self._policies = policies
        self._stop = state.stop
        self._activated = deque(state.activated, MOST_A_DAY)
        self._executed = dict(state.executed)

    def known(self) -> Hasty:
        """Return what is known now."""
        return Hasty(
            stop=self._stop, activated=list(self._activated), executed=dict(self._executed)
        )

    def stopped(self, entry: Entry, found: Opened, record: Revocation) -> None:
        """Note a revocation: the last stop is the one with the highest epoch, as for a heartbeat."""
        last = self._stop
        if last is None or record.epoch > last.verified().record.epoch:
            self._stop = LastStop(
                envelope=entry.envelope.decode(),
                signers=list(found.signers),
                entered_ms=entry.at_ms,
            )

    def executed(self, directive: str, by: str, at_ms: int) -> None:
        """Note that somebody has decided on a grant that waited for its signatures."""
        while len(self._executed) >= KEPT:
            del self._executed[next(iter(self._executed))]
        self._executed[directive] = by, at_ms

    def refused(self, entry: Entry, found: Opened, record: Grant) -> str:
        """Return which rule against haste an activation breaks, in words; "" for none.

        Fails open where nothing can be known: a grant that is not judged (V3), a policy not at hand.
        """
        trust = self._keysets.trust(record.keyset_version)
        self._forget(record.issued_at_ms)
        why = ""
        if trust is not None and found.judged:
            haste = self._policies.get(record.policy)
            why = haste_refused(  # D2, D3, D4
                frozenset(found.signers),
                trust.keyset.approvals(record.kind),
                trust.keyset.with_authority(Authority.RISK),
                haste or Haste(),
                self._before(whole=haste is not None),
                self._decided_ms(entry, found, record),
            )
        self._activated.append(record.issued_at_ms)
        return why

    def _before(self, *, whole: bool) -> Before:
        """Return what came before: all of it, or only whose stop it was."""
        if self._stop is None:
            return Before(adopted_ms=list(self._activated) if whole else ())
        stop = self._stop.verified()
        if not whole:
            return Before(stop, stopped_ms=0)  # so long ago that no cool-down is running
        return Before(stop, self._stop.entered_ms, list(self._activated))

    def _decided_ms(self, entry: Entry, found: Opened, record: Grant) -> int:
        by, at_ms = self._executed.get(found.identity, ("", 0))
        decided_ms = at_ms if by in found.signers else record.issued_at_ms
        return min(decided_ms, entry.at_ms + ISSUED_TOLERANCE_MS)

    def _forget(self, at_ms: int) -> None:
        while self._activated and self._activated[0] < at_ms - 2 * DAY_MS:
            self._activated.popleft()
