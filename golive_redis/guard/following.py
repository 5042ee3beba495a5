"""How a guard goes over to the next signed keyset: fetched, verified, on the disk, and then used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from golive_redis import clock
from golive_redis.errors import GoliveError, StoreUnavailableError
from golive_redis.records.envelope import Signer
from golive_redis.records.keyset import Keyset
from golive_redis.records.trust import Trust
from golive_redis.store.store import Store

if TYPE_CHECKING:
    from golive_redis.config.taken import Succession

AGAIN_MS = 1_000.0
"""Between two tries: a guard that could not take one is closed, and a fleet asks a server at once."""


class Following:
    """Follows the roots for one guard.

    Args:
        succession: Makes what keeps the steps; asked when there is one to keep.
        reopen: Opens the guard's key as another keyset knows it.
    """

    def __init__(
        self,
        succession: Callable[[], Succession],
        reopen: Callable[[Keyset], Signer],
    ) -> None:
        self._succession = succession
        self._reopen = reopen
        self._tried_ms = -AGAIN_MS

    def take(self, store: Store, trust: Trust) -> tuple[Trust, Signer] | str:
        """Return the newest keyset that can be taken, with the key to sign under it; or why none can.

        Raises:
            StoreUnavailableError: Redis does not answer.

        Fails closed: with a reason the guard stays on the keyset that it has, and is closed.
        """
        now = clock.now_ms()
        if now - self._tried_ms < AGAIN_MS:
            return ""
        self._tried_ms = now
        # Imported when it is needed for the first time: most guards never see another keyset.
        from golive_redis.delivery.keysets import follow  # noqa: PLC0415

        try:
            succession = self._succession()
            # Another process of this host may have taken it, and Redis may have lost it since.
            kept = max(trust.keyset, succession.newest(), key=lambda keyset: keyset.version)
            followed = follow(store, msgspec.structs.replace(trust, keyset=kept), succession.keep)
            if followed.trust.keyset.version == trust.keyset.version:
                return followed.problem or f"Redis has no keyset {trust.keyset.version + 1}"
            return followed.trust, self._reopen(followed.trust.keyset)
        except StoreUnavailableError:
            raise
        except GoliveError as error:
            return error.message
