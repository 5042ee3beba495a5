"""Directives: grants, restrictions and revocations.

All are numbered in one sequence, the epoch; a term is the epoch of its `activate`. A grant is the only
source of permission; a restriction or a revocation can only take away. Which state follows from them is
a rule: see `core.state`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec
from msgspec import UNSET, UnsetType

from golive_redis.records.limits import Limits
from golive_redis.records.record import (
    Count,
    Epoch,
    Identity,
    LabelValue,
    Ms,
    Name,
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

BLIND_TOLERANCE_MS = 30_000
"""How far the clock of whoever signs a blind revocation may be ahead of the one of who gets it (A13)."""

MAX_HEARTBEATS = 16
"""How many heartbeats a grant names: it has to fit in 8 KiB."""

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
        heartbeats: Those that may beat for the term, and that have to answer when it is stopped (A1).
            No other beat is believed; a later grant of the term names all of them again.
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
    heartbeats: Annotated[list[Name], msgspec.Meta(min_length=1, max_length=MAX_HEARTBEATS)]
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
        if len(self.keeps) + len(self.drops) > MAX_NAMED:
            raise ValueError(f"a grant names at most {MAX_NAMED} restrictions, kept and let go")
        if self.drops_up_to >= self.epoch:
            raise ValueError("a grant lets go of nothing that comes after it")
        if len(set(self.heartbeats)) != len(self.heartbeats):
            raise ValueError("a grant names each heartbeat once")


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
        blind: True when it was signed without having read the store; it then also covers what was
            activated before it, but nothing later than 30 s after its arrival (A13).
        until_ms: Of a stop card, which is signed in advance and played later: no term is covered that
            was activated at this Unix ms or later. Absent in a stop that was signed when it was called.
    """

    KIND: ClassVar[str] = "revocation"

    epoch: Epoch
    reason: Text
    ticket: Text
    blind: bool
    until_ms: Ms | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.until_ms is UNSET:
            return
        if self.blind:
            raise ValueError("a stop card is never blind")
        if self.until_ms <= self.issued_at_ms:
            raise ValueError("a stop card ends after it was issued")

    @property
    def is_card(self) -> bool:
        """True when it was signed in advance, to be played later."""
        return self.until_ms is not UNSET

    @property
    def before_ms(self) -> float:
        """Terms are covered that were activated before this Unix ms; without a bound but for a card."""
        return math.inf if self.until_ms is UNSET else self.until_ms

    def ends_all_up_to(self, now_ms: float) -> bool:
        """Tell whether its number alone decides of what was activated until now, by any good clock.

        Of a card that is at its end that is not so: a term that has begun since goes on.
        """
        return now_ms + BLIND_TOLERANCE_MS < self.before_ms

    def reach_ms(self, arrived_ms: float = math.inf) -> int:
        """Return up to which time of activation it ends terms, in Unix ms; 0 when it is not blind.

        Args:
            arrived_ms: When it came to whoever asks, Unix ms on that host; without a bound where that
                is not known.
        """
        # A13: by a clock that is a day fast it would also end all that is activated tomorrow.
        return int(min(self.issued_at_ms, arrived_ms + BLIND_TOLERANCE_MS)) if self.blind else 0

    def covers(self, term: int, activated_at_ms: int, arrived_ms: float = math.inf) -> bool:
        """Tell whether a term that was activated at that time is over; see `reach_ms`.

        Fails closed: a term activated in the same ms as a blind revocation is covered.
        """
        by_time = self.blind and activated_at_ms <= self.reach_ms(arrived_ms)
        return (term <= self.epoch and activated_at_ms < self.before_ms) or by_time  # S2
