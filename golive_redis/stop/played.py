"""Playing a stop card with golive: the stop is signed already, and the receipts are collected.

What redis-cli does with `card.redis` comes first and is the same: PUBLISH, then the script. All that
follows needs no key: nobody has to be able to sign on this host.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from golive_redis.config import Config
from golive_redis.core.barrier import Outcome, Result
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import KeySigner, Signer, Verified
from golive_redis.stop.before import read_before
from golive_redis.stop.confirmation import Confirmation
from golive_redis.stop.journal import Journal
from golive_redis.stop.progress import Waiting
from golive_redis.stop.revoke import Revoke


class PlayCard(Revoke):
    """One run of `golive stop-card play`.

    Args:
        config: The configuration.
        item: The card, verified.
        wait_ms: As for `Revoke`.
        say: Told in a sentence what happens as it happens.
        waiting: Told again and again what it waits for.
    """

    def __init__(
        self,
        config: Config,
        item: Verified[Revocation],
        *,
        wait_ms: float | None = None,
        say: Callable[[str], None] = lambda _: None,
        waiting: Callable[[Waiting], None] = lambda _: None,
    ) -> None:
        record = item.record
        super().__init__(
            config,
            reason=record.reason,
            ticket=record.ticket,
            wait_ms=wait_ms,
            say=say,
            waiting=waiting,
        )
        self._item = item

    def _signer(self) -> Signer | None:
        # Nothing is signed, and what this one signed nobody would believe.
        return KeySigner(self._item.record.by, Ed25519PrivateKey.generate())

    def _number_and_sign(self, signer: Signer) -> bool:
        self._operator = signer
        self._before = read_before(
            self._connections, self._progress, self._memory, self._trust, self._met
        )
        self._progress.signed.append(self._item)
        return True

    def _sign(self, epoch: int, *, blind: bool) -> bool:
        """Sign nothing: what the card does not cover takes a stop by somebody with a key."""
        del blind
        self._connections.problem(
            f"epoch {epoch - 1} is above the card; `golive revoke --reason ...` stops that, too"
        )
        return False

    def _confirm(self, confirmation: Confirmation) -> Outcome:
        outcome = super()._confirm(confirmation)
        if self._ends_it():
            return outcome
        return msgspec.structs.replace(outcome, result=Result.NOT_CONFIRMED, by=None)

    def _ends_it(self) -> bool:
        """Tell whether the card ends whatever was in force then, as far as is known (S2)."""
        record, progress, grant = self._item.record, self._progress, self._progress.grant
        if grant is not None and not record.covers(grant.term, grant.activated_at_ms):
            return False
        met = max(progress.term, progress.claimed)
        return record.ends_all_up_to(progress.wall_ms) and met <= record.epoch

    def _confirmed(self, journal: Journal, signer: Signer, outcome: Outcome) -> None:
        """Leave unsigned what it came to: a following `golive revoke` signs that."""
