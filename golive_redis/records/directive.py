"""Directives: grants, restrictions and revocations, and the state that follows from them.

The rules, all here:

1. A grant is the only source of permission; a restriction or revocation can only take away.
2. All directives are numbered in one sequence, the epoch. A term is the epoch of its `activate`.
3. The state of a term is its newest grant together with the restrictions in force: those of the term
   that no signer of a grant has let go. A grant names them in `drops`, for the whole term; a halt that
   its signers could not see, because a failover had lost it, is not among them and stays.
4. A grant whose `keeps` are not all at hand makes no state: something was lost.
5. The most restrictive mode, profile and limits win.
6. A revocation of epoch e covers every term <= e; a blind one also what was issued before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar

import msgspec

from golive_redis.errors import RecordError
from golive_redis.records.envelope import Verified
from golive_redis.records.limits import Limits
from golive_redis.records.record import (
    Count,
    Epoch,
    Identity,
    LabelValue,
    Ms,
    Record,
    Text,
    decodable,
)


class Mode(StrEnum):
    """What may be sent: everything, nothing that adds risk, or cancels only."""

    LIVE = "live"
    REDUCE_ONLY = "reduce_only"
    HALTED = "halted"


class Profile(StrEnum):
    """Capital profile, smallest first."""

    MICRO = "micro"
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


class Label(StrEnum):
    """The names by which orders are told apart."""

    VENUE = "venue"
    ACCOUNT = "account"
    DESK = "desk"
    STRATEGY = "strategy"
    SYMBOL = "symbol"
    WORKER = "worker"
    CLIENT = "client"


Labels = dict[Label, LabelValue]

MAX_NAMED = 64
"""How many restrictions a grant names, in `keeps` and `drops` together: it has to fit in 8 KiB."""

_STRICTNESS = {mode: rank for rank, mode in enumerate(Mode)}
_SIZE = {profile: rank for rank, profile in enumerate(Profile)}


def strictest(modes: Iterable[Mode]) -> Mode:
    """Return the most restrictive of the modes."""
    return max(modes, key=_STRICTNESS.__getitem__)


def smallest(profiles: Iterable[Profile]) -> Profile:
    """Return the smallest of the profiles."""
    return min(profiles, key=_SIZE.__getitem__)


class GrantKind(StrEnum):
    """Why a grant was issued."""

    ACTIVATE = "activate"
    RESUME = "resume"
    RESTORE = "restore"
    PROMOTE = "promote"
    EXTEND = "extend"


@decodable
class Grant(Record, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Approver-signed permission for a term.

    Attributes:
        activated_at_ms: Unix ms at which the term was activated, also in a later grant of the term.
        max_ttl_ms: A longer PTTL of the key than this is invalid (somebody tampered with it).
        keeps: Identities of the restrictions that stay in force; without them there is no state.
        drops: Identities of those that were let go, by this grant and by those before it in the term.
        drops_up_to: So were all others up to this epoch that are not in `keeps`: where the names
            would not fit. 0 for none.
        report: Identity of the preflight report, if there was one.
        policy: Digest of the policy under which it was issued (`Config.policy_digest`).
        prev: Identity of the directive before this one; None for the first.
    """

    KIND: ClassVar[str] = "grant"

    kind: GrantKind
    epoch: Epoch
    term: Epoch
    mode: Mode
    profile: Profile
    limits: Limits
    activated_at_ms: Ms
    not_before_ms: Ms
    not_after_ms: Ms
    max_ttl_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]
    keeps: Annotated[list[Identity], msgspec.Meta(max_length=MAX_NAMED)]
    drops: Annotated[list[Identity], msgspec.Meta(max_length=MAX_NAMED)]
    drops_up_to: Count
    reason: Text
    ticket: Text
    report: Identity | None
    policy: Identity
    prev: Identity | None

    def __post_init__(self) -> None:
        if (self.kind is GrantKind.ACTIVATE) != (self.term == self.epoch):
            raise ValueError("term equals epoch for an activate, and only for it")
        if self.term > self.epoch:
            raise ValueError("a grant cannot be older than its term")
        if self.not_before_ms >= self.not_after_ms:
            raise ValueError("the window is empty")
        if self.activated_at_ms > self.issued_at_ms:
            raise ValueError("a term is activated before it is changed")
        if self.drops_up_to >= self.epoch:
            raise ValueError("a grant lets go of nothing that comes after it")


class RestrictionKind(StrEnum):
    """What a restriction takes away."""

    HALT = "halt"
    REDUCE = "reduce"
    DEMOTE = "demote"


@decodable
class Restriction(Record, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Revoker-signed limit on a term: a mode or a profile cap, for the orders that match `labels`.

    Attributes:
        limits: Of the profile, for `demote`: a guard knows only those that it is told.
    """

    KIND: ClassVar[str] = "restriction"

    kind: RestrictionKind
    epoch: Epoch
    term: Epoch
    labels: Labels
    mode: Mode | None
    profile: Profile | None
    limits: Limits | None
    reason: Text
    ticket: Text
    prev: Identity | None

    def __post_init__(self) -> None:
        shape = {
            RestrictionKind.HALT: (Mode.HALTED, False),
            RestrictionKind.REDUCE: (Mode.REDUCE_ONLY, False),
            RestrictionKind.DEMOTE: (None, True),
        }[self.kind]
        if (self.mode, self.profile is not None) != shape or (self.limits is not None) != shape[1]:
            raise ValueError(
                f"a {self.kind} has mode {shape[0]}, and profile and limits only when it demotes"
            )
        if self.labels and self.kind is RestrictionKind.DEMOTE:
            raise ValueError("a profile belongs to the whole fleet, not to labels")
        if self.term >= self.epoch:
            raise ValueError("a restriction is younger than its term")


@decodable
class Revocation(Record, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Revoker-signed end of every term up to `epoch`; stays as the tombstone.

    Attributes:
        blind: True when it was signed without having read the store; it then also covers every
            activation issued before it.
    """

    KIND: ClassVar[str] = "revocation"

    epoch: Epoch
    reason: Text
    ticket: Text
    blind: bool

    def covers(self, term: int, activated_at_ms: int) -> bool:
        """Tell whether a term that was activated at that time is over.

        Fails closed: a term activated in the same ms as a blind revocation is covered.
        """
        return term <= self.epoch or (self.blind and activated_at_ms <= self.issued_at_ms)


class State(msgspec.Struct, frozen=True):
    """A term as it stands: the newest grant and the restrictions in force (rule 3)."""

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
        return smallest([self.grant.record.profile, *caps])

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
        known = {item.identity for item in self.restrictions}
        new = [item for item in extra if item.identity not in known and in_force(item, self.grant)]
        return State(self.grant, (*self.restrictions, *new)) if new else self


def in_force(restriction: Verified[Restriction], grant: Verified[Grant]) -> bool:
    """Tell whether a restriction holds beside that grant (rule 3)."""
    item, name, by = restriction.record, restriction.identity, grant.record
    if item.term != by.term:
        return False
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
        RecordError: A restriction that the grant keeps is missing (rule 4). Fails closed: no state.
    """
    held = tuple(item for item in restrictions if in_force(item, grant))
    missing = set(grant.record.keeps) - {item.identity for item in held}
    if missing:
        raise RecordError(f"{len(missing)} restriction(s) that the grant keeps are missing")
    return State(grant, held)
