"""What passes between a pod and the store: the question, the answer, and the latch that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from golive_redis.records.record import Epoch, Ms, Strict


class Answer(msgspec.Struct, frozen=True):
    """One reply of the `attend` script, parsed but not verified.

    Attributes:
        nonce: Repeats the question's.
        corrupt: Name of a key of the wrong type, or None.
        last: Name of the set of directives that the store holds, as it claims: with the same name it
            holds the same. None when nothing is active.
        pttl_ms: Remaining life of the active key; negative when it has none.
        grant: Envelope, or None when nothing is active or when `unchanged`.
        restrictions: Envelopes.
        unchanged: The store says that the state is the one whose `last` the question named.
        beats: Envelope by heartbeat name.
        revoked: Envelope of the tombstone; None when there is none or when `revoked_unchanged`.
        execution: Envelope of the word that the grant takes effect, for heartbeats; None when there is
            none or when `unchanged`.
    """

    nonce: str
    corrupt: str | None
    last: str | None
    pttl_ms: int
    grant: bytes | None
    restrictions: tuple[bytes, ...]
    unchanged: bool
    beats: Mapping[str, bytes]
    revoked: bytes | None
    revoked_unchanged: bool
    execution: bytes | None = None

    @property
    def active(self) -> bool:
        """True when the store holds a grant."""
        return self.unchanged or self.grant is not None


class Ask(msgspec.Struct, frozen=True):
    """What the next question says that the guard knows already, so that it is left out."""

    nonce: str
    known_last: str
    known_revoked: str


class Request(msgspec.Struct, frozen=True):
    """A question as it was sent, for its answer to be held against."""

    nonce: str
    sent_ns: int
    wall_sent_ms: float
    known_last: str


MAX_CARDS = 8
"""How many stop cards a latch tells apart; those that are more are taken together, which covers more."""

Card = tuple[Epoch, Ms]
"""What a stop card ends: every term up to that epoch which was activated before that Unix ms."""


class Latch(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The durable memory of a stop: no term it covers will ever arm again.

    Attributes:
        epoch: Every term up to this one is over.
        blind_before_ms: So is every term that was activated up to this Unix ms.
        term: The newest term that was known here and is over; 0 for none. Receipts name it (A2).
        cards: So is every term that one of these covers.
    """

    epoch: Annotated[int, msgspec.Meta(ge=0)] = 0
    blind_before_ms: Ms = 0
    term: Annotated[int, msgspec.Meta(ge=0)] = 0
    cards: tuple[Card, ...] = ()

    def covers(self, term: int, activated_at_ms: int) -> bool:
        """Tell whether that term is over."""
        by_card = any(
            term <= epoch and activated_at_ms < before_ms for epoch, before_ms in self.cards
        )
        return term <= self.epoch or activated_at_ms <= self.blind_before_ms or by_card  # S2

    def may_cover(self, term: int) -> bool:
        """Tell whether a term may be over of which only the number is known. Fails closed."""
        return term <= max([self.epoch, *(epoch for epoch, _ in self.cards)])

    def joined(self, other: Latch) -> Latch:
        """Return what ends whatever either of them ends."""
        epoch = max(self.epoch, other.epoch)  # S2
        return Latch(
            epoch=epoch,
            blind_before_ms=max(self.blind_before_ms, other.blind_before_ms),
            term=max(self.term, other.term),  # A2
            cards=_told_apart(epoch, {*self.cards, *other.cards}),
        )


def _told_apart(epoch: int, cards: set[Card]) -> tuple[Card, ...]:
    """Return the cards that end more than the number does, and more than another of them."""
    kept: list[Card] = []
    for card in sorted(cards, reverse=True):  # the highest number first: what follows ends later
        if card[0] > epoch and card[1] > max((before_ms for _, before_ms in kept), default=0):
            kept.append(card)
    while len(kept) > MAX_CARDS:
        # The two lowest numbers become one card: it may end more than both, and never less.
        (high, _), (_, later) = kept[-2:]
        kept[-2:] = [(high, later)]
    return tuple(kept)
