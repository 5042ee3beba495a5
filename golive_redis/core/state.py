"""The state of a term: what follows from its directives.

A grant is the only source of permission, and a restriction can only take away. So the state is the
newest grant together with the restrictions in force: those of its term that no signer of a grant has
let go. A grant names them in `drops`, for the whole term; a halt that its signers could not see,
because a failover had lost it, is not among them and stays. The most restrictive mode, profile and
limits win.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from golive_redis.errors import RecordError
from golive_redis.records.directive import (
    MAX_NAMED,
    Grant,
    Mode,
    Profile,
    Restriction,
    smallest,
    strictest,
)
from golive_redis.records.envelope import Verified
from golive_redis.records.limits import Limits


class State(msgspec.Struct, frozen=True):
    """A term as it stands: its newest grant and the restrictions in force."""

    grant: Verified[Grant]
    restrictions: tuple[Verified[Restriction], ...]

    @property
    def term(self) -> int:
        """Epoch of the activation that began the live period."""
        return self.grant.record.term

    @property
    def newest(self) -> Verified[Grant] | Verified[Restriction]:
        """The directive with the highest epoch."""
        newest: Verified[Grant] | Verified[Restriction] = self.grant
        for item in self.restrictions:
            if item.record.epoch > newest.record.epoch:
                newest = item
        return newest

    @property
    def epoch(self) -> int:
        """Highest epoch in force."""
        return self.newest.record.epoch

    @property
    def digest(self) -> str:
        """Digest over the identities in force, which beats repeat (S4)."""
        identities = sorted((self.grant.identity, *(item.identity for item in self.restrictions)))
        return hashlib.sha256("\n".join(identities).encode()).hexdigest()

    @property
    def mode(self) -> Mode:
        """Mode for an order that no label concerns."""
        caps = [
            item.record.mode
            for item in self.restrictions
            if item.record.mode is not None and not item.record.labels
        ]
        return strictest([self.grant.record.mode, *caps])

    @property
    def profile(self) -> Profile:
        """Capital profile, after every cap."""
        caps = [
            item.record.profile for item in self.restrictions if item.record.profile is not None
        ]
        return smallest([self.grant.record.profile, *caps])  # S3

    @property
    def limits(self) -> Limits:
        """What the profile allows: the grant's limits, lowered by every demotion."""
        limits = self.grant.record.limits
        # In one order, so that every guard ends with the same, in whichever order they came.
        for item in sorted(self.restrictions, key=lambda item: (item.record.epoch, item.identity)):
            if item.record.limits is not None:
                limits = limits.met(item.record.limits)
        return limits

    def up_to(self, epoch: int) -> State:
        """Return this state without the restrictions that are younger than that."""
        if epoch >= self.epoch:
            return self
        held = tuple(item for item in self.restrictions if item.record.epoch <= epoch)
        return State(self.grant, held)

    def restricted(self, extra: Iterable[Verified[Restriction]]) -> State:
        """Return this state met with further restrictions of the term; never a looser one."""
        known = {item.identity for item in self.restrictions}  # S3
        new = [item for item in extra if item.identity not in known and in_force(item, self.grant)]
        return State(self.grant, (*self.restrictions, *new)) if new else self


def in_force(restriction: Verified[Restriction], grant: Verified[Grant]) -> bool:
    """Tell whether a restriction holds beside that grant: same term, and no signer let it go."""
    item, name, by = restriction.record, restriction.identity, grant.record
    if item.term != by.term:
        return False
    # S3: by name, because a number would also let go of a halt that no signer could see.
    return name in by.keeps or (item.epoch > by.drops_up_to and name not in by.drops)


def let_go(before: Grant, dropped: Sequence[Verified[Restriction]], keeps: int) -> dict[str, Any]:
    """Return `drops` and `drops_up_to` of the grant that follows `before` in its term.

    Where the names of all that was let go in the term do not fit, those of before are covered by a
    number instead, and when even the new ones do not fit, these too.

    Args:
        before: The grant in force.
        dropped: What its successor lets go.
        keeps: How many restrictions that one keeps.
    """
    new, room = [item.identity for item in dropped], MAX_NAMED - keeps
    named = [*before.drops, *new]
    if len(named) <= room:
        return {"drops": named, "drops_up_to": before.drops_up_to}
    if not new or len(new) <= room:
        return {"drops": new, "drops_up_to": before.epoch}
    return {"drops": [], "drops_up_to": max(before.epoch, *(i.record.epoch for i in dropped))}


def assemble(grant: Verified[Grant], restrictions: Iterable[Verified[Restriction]]) -> State:
    """Build the state of a term from verified records.

    Raises:
        RecordError: A restriction that the grant keeps is missing, so something was lost. Fails
            closed: no state.
    """
    held = tuple(item for item in restrictions if in_force(item, grant))
    missing = set(grant.record.keeps) - {item.identity for item in held}
    if missing:  # S4: something was lost
        raise RecordError(f"{len(missing)} restriction(s) that the grant keeps are missing")
    return State(grant, held)
