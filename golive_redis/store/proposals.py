"""The steps on proposals: grants that wait for further signatures. Part of `store.Store`.

Whoever owns Redis can drop a proposal or plant one; what counts of it are its signatures, which the
caller verifies. So it needs no script: a field is written once, and nothing follows from it alone.
"""

from __future__ import annotations

from typing import NamedTuple

from golive_redis.errors import RefusedError
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import Link, usable
from golive_redis.store.replies import all_bytes, pairs, text

MAX_OPEN = 20
KEEP_MS = 60_000
"""So much longer than it waits a proposal is kept, for whoever looks what became of it."""

GRANT, ANSWER = "grant:", "answer:"


class Stored(NamedTuple):
    """A proposal as it is stored, unverified.

    Attributes:
        identity: By which it is kept: that of the grant.
        grants: The grant, signed by its maker and one more each.
        answers: What they have said.
    """

    identity: str
    grants: tuple[bytes, ...]
    answers: tuple[bytes, ...]


class Proposals:
    """What is done to proposals, over the link of the store."""

    link: Link
    keys: Keyspace

    @usable("propose", wrote=True)
    def propose(self, identity: str, until_ms: int, now_ms: int) -> None:
        """Open a proposal; `sign_proposal` then puts the first signature to it.

        Args:
            identity: Of the proposed grant.
            until_ms: Until when it waits, Unix ms.
            now_ms: Unix ms.

        Raises:
            RefusedError: 20 are open.
        """
        self.link.call("ZREMRANGEBYSCORE", self.keys.proposals, "-inf", now_ms)
        self.link.call("ZADD", self.keys.proposals, until_ms, identity)
        # Counted when it is in: of two that come at once neither can push the other out of sight.
        if int(self.link.call("ZCARD", self.keys.proposals)) > MAX_OPEN:
            self.link.call("ZREM", self.keys.proposals, identity)
            raise RefusedError(
                f"{MAX_OPEN} proposals are open",
                hint="`golive proposals` shows them; withdraw some",
            )
        self.link.call("PEXPIREAT", self.keys.proposals, until_ms + KEEP_MS)

    @usable("sign_proposal", wrote=True)
    def sign_proposal(
        self, identity: str, principal: str, grant: bytes, answer: bytes, until_ms: int
    ) -> None:
        """Put a signature to a proposal, with what its signer says; each signs once."""
        key = self.keys.proposal(identity)
        if grant:
            self.link.call("HSETNX", key, GRANT + principal, grant)
        self.link.call("HSETNX", key, ANSWER + principal, answer)
        self.link.call("PEXPIREAT", key, until_ms + KEEP_MS)

    def close_proposal(self, identity: str) -> None:
        """Take a proposal away that is decided; what was said to it is in the ledger."""
        self.link.call("ZREM", self.keys.proposals, identity)
        self.link.call("DEL", self.keys.proposal(identity))

    def drop_proposals(self) -> bool:
        """Let no proposal wait any longer; tell whether one did. What was signed runs out by itself."""
        return bool(self.link.call("DEL", self.keys.proposals))

    @usable("proposals")
    def open_proposals(self) -> list[Stored]:
        """Return the proposals that are kept, those that end first in front; at most 20."""
        names = all_bytes(self.link.call("ZRANGE", self.keys.proposals, 0, MAX_OPEN - 1))
        return [self._proposal(text(name)) for name in names]

    def _proposal(self, identity: str) -> Stored:
        fields = pairs(self.link.call("HGETALL", self.keys.proposal(identity)))
        return Stored(
            identity,
            tuple(raw for name, raw in sorted(fields.items()) if name.startswith(GRANT)),
            tuple(raw for name, raw in sorted(fields.items()) if name.startswith(ANSWER)),
        )
