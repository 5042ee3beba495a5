"""What a guard and a heartbeat learn in the same way: what they verified, remember, and have latched.

Both are told by the store's answers, which may be old, and by pushes, which may be forged. So both
verify what they are told, meet it with what they hold, and latch on what ends a term. What follows for
orders is in `view`, and for beats in `pulse`.
"""

from __future__ import annotations

from collections.abc import Mapping

from golive_redis.core.answer import Answer, Ask, Latch
from golive_redis.core.state import State, assemble
from golive_redis.errors import RecordError
from golive_redis.records.beat import ISSUED_TOLERANCE_MS, Beat
from golive_redis.records.directive import Grant, Restriction, Revocation
from golive_redis.records.envelope import Verified, decode, peek
from golive_redis.records.record import Record
from golive_redis.records.trust import Trust

MAX_REMEMBERED = 256
"""How many revocations are recognised as told already; an older one is a stop of its own again."""

AHEAD_MS = 600_000
"""A change of a term that is dated further ahead is not followed. The ledger refuses it by V7."""


class Knowledge:
    """Directives of one switch as one process knows them.

    Args:
        trust: Keyset, namespace and environment.
        latch: What the state file remembered.
        state: What had been verified of the term before a restart, likewise.

    Attributes:
        latch: Which terms are over. It only ever grows.
        stored: The state as the store last told it; None while it shows none.
        state: The same, met with what was pushed; what is restricted outlives what the store shows.
        last: The store's name for `stored`, so that it need not be told again; "" for nothing.
        revoked: Identity of the tombstone as last read; "" for none.
        newest: Envelope of the highest directive verified, for presence.
    """

    def __init__(self, trust: Trust, latch: Latch, state: State | None = None) -> None:
        self.trust = trust
        self.latch = latch
        self.stored: State | None = None
        self.state = state
        self.last = ""
        self.revoked = ""
        self.newest: bytes | None = None
        self._newest_epoch = 0
        # Verified once, and then recognised by their bytes: most answers show nothing new.
        self._grant: Verified[Grant] | None = None
        self._restrictions: dict[bytes, Verified[Restriction]] = {}
        self._beats: dict[str, Verified[Beat]] = {}
        self._handled: dict[str, None] = {}
        if state is not None:
            self.saw(state.newest)

    def rely_on(self, trust: Trust, state: State | None) -> None:
        """Go on under another keyset.

        What the store shows is verified anew. What has stopped a term stays stopped.

        Args:
            trust: The other keyset.
            state: What is held, verified under it.
        """
        self.trust, self.state = trust, state
        self._grant, self._restrictions, self._beats = None, {}, {}
        self.untold()

    def held_under(self, trust: Trust) -> State | None:
        """Return what is held, verified under another keyset.

        Raises:
            RecordError: Something of it is refused under it.
        """
        held = self.state
        if held is None:
            return None
        restrictions = [trust.restriction(item.raw) for item in held.restrictions]
        return assemble(trust.grant(held.grant.raw), restrictions)

    # -- what the store says ---------------------------------------------------------------------

    def ask(self, nonce: str) -> Ask:
        """Return the next question; it names what need not be told again."""
        return Ask(nonce, self.last, self.revoked)

    def outdated(self, answer: Answer) -> int:
        """Return the highest keyset version that an answer names, where that is above ours; else 0.

        Nobody's signature is checked: who may be fooled by it is closed for it, and no more (K2).
        """
        claims: list[tuple[bytes | None, type[Record]]] = [
            (answer.grant, Grant),
            (answer.revoked, Revocation),
            *((raw, Restriction) for raw in answer.restrictions),
            *((raw, Beat) for raw in answer.beats.values()),
        ]
        newest = 0
        for raw, kind in claims:
            try:
                record = peek(raw, kind) if raw is not None else None
            except RecordError:
                continue
            if record is not None and self.trust.is_about(record):
                newest = max(newest, record.keyset_version)
        behind = newest > self.trust.keyset.version
        # Without roots there is nothing to take: people replace the file, and such a record is refused.
        return newest if behind and self.trust.keyset.is_signed else 0

    def tombstone(self, answer: Answer) -> Verified[Revocation] | None:
        """Return the tombstone when an answer tells it anew.

        Raises:
            RecordError: It is refused. What was known stays known.
        """
        if answer.revoked is None:
            if not answer.revoked_unchanged:
                self.revoked = ""
            return None
        item = self.trust.revocation(answer.revoked)
        self.revoked = item.identity
        return item

    def read(self, answer: Answer) -> State:
        """Return the state that an answer shows, verified.

        Raises:
            RecordError: A record is refused, or a restriction that its grant keeps is missing.
        """
        if answer.unchanged and answer.last == self.last and self.stored is not None:  # S4
            return self.stored
        if answer.grant is None:
            raise RecordError("Redis sent an incomplete answer after reconnecting; asking again")
        if self._grant is None or self._grant.raw != answer.grant:
            self._grant = self.trust.grant(answer.grant)  # S1
        known = self._restrictions
        self._restrictions = {
            raw: known.get(raw) or self.trust.restriction(raw) for raw in answer.restrictions
        }
        return assemble(self._grant, self._restrictions.values())

    def told(self, stored: State, answer: Answer) -> None:
        """Note that the store shows this state now."""
        self.stored, self.last = stored, answer.last or ""

    def untold(self) -> None:
        """Forget what the store showed; what is restricted in the term is remembered (S3)."""
        self.stored, self.last = None, ""

    def beat(self, name: str, raw: bytes) -> Beat:
        """Return the beat in the field of that heartbeat, verified.

        Raises:
            RecordError: It is refused, or another heartbeat's.
        """
        cached = self._beats.get(name)
        if cached is not None and cached.raw == raw:
            return cached.record
        verified = self.trust.beat(raw)
        if verified.record.heartbeat != name:  # S6
            raise RecordError(f"it is {verified.record.heartbeat!r}'s")
        self._beats[name] = verified
        return verified.record

    # -- what is pushed --------------------------------------------------------------------------

    def pushed(
        self, raw: bytes
    ) -> tuple[Verified[Revocation] | None, Verified[Restriction] | None]:
        """Return the revocation or the restriction that was pushed; a grant is neither (S10).

        Raises:
            RecordError: It is refused.
        """
        kind = decode(raw).payload_type
        if kind == Revocation.payload_type():
            return self.trust.revocation(raw), None
        if kind == Restriction.payload_type():
            return None, self.trust.restriction(raw)
        return None, None  # S10

    # -- what is held ----------------------------------------------------------------------------

    def went_back(self, stored: State) -> bool:
        """Tell whether the store shows an older grant than is held, of this term or one before."""
        return self.state is not None and self.state.grant.record.epoch > stored.grant.record.epoch

    def change_refused(self, stored: State, beats: Mapping[str, bytes], wall_ms: float) -> str:
        """Return why a newer grant of the running term is not followed, in words; "" when it is.

        A change is held to what was asked when the term began: signers choose `issued_at_ms`, so a key
        that has expired could be dated back, and they write `activated_at_ms`, so a term could be moved
        out of the reach of stop cards and blind stops. Asked once, when the grant is first seen: what
        is held already is not asked again when a key expires.

        Args:
            stored: What the store shows.
            beats: Envelope by heartbeat, of the same answer.
            wall_ms: Now, Unix ms on this host.
        """
        held = self.state
        if held is None or held.term != stored.term or held.grant.raw == stored.grant.raw:
            return ""
        grant, before = stored.grant.record, held.grant.record
        what = f"grant {grant.epoch} of term {grant.term}"
        if grant.activated_at_ms != before.activated_at_ms:  # S2
            return f"{what} says another time of its activation than the grant before it"
        if grant.issued_at_ms - wall_ms > AHEAD_MS:  # S13
            return f"{what} is issued over {AHEAD_MS // 60_000} min ahead of this host's clock"
        good = self.trust.is_good_now(stored.grant, wall_ms)  # S1, D1
        if good or self._vouched(stored, beats, wall_ms):
            return ""
        return f"{what} is refused: the keyset or a key that signed it has expired"

    def _vouched(self, stored: State, beats: Mapping[str, bytes], wall_ms: float) -> bool:
        """Tell whether another heartbeat has followed that grant, when its keys were good."""
        for name, raw in beats.items():
            try:
                beat = self.beat(name, raw)
            except RecordError:
                continue
            fresh = abs(beat.issued_at_ms - wall_ms) <= ISSUED_TOLERANCE_MS  # S6
            named = self.state is not None and name in self.state.grant.record.heartbeats  # A1
            newest = stored.grant.record.epoch
            if beat.term == stored.term and beat.epoch >= newest and fresh and named:
                return True
        return False

    def met(self, stored: State) -> State:
        """Return what the store shows, met with the restrictions that are held (S3)."""
        return stored.restricted(self.state.restrictions if self.state is not None else ())

    def hold(self, state: State) -> None:
        """Take that state for the one in force."""
        self.state = state
        self.saw(state.newest)

    def over(self, stored: State) -> bool:
        """Tell whether the latch covers that term: yesterday's activation came back (S1, S2)."""
        return self.latch.covers(stored.term, stored.grant.record.activated_at_ms)  # S1, S2

    # -- what ends -------------------------------------------------------------------------------

    def repeated(self, item: Verified[Revocation]) -> bool:
        """Tell whether this very revocation was acted upon already."""
        return item.identity in self._handled

    def acted(self, item: Verified[Revocation]) -> None:
        """Remember that this revocation was acted upon."""
        while len(self._handled) >= MAX_REMEMBERED:
            self._handled.pop(next(iter(self._handled)))
        self._handled[item.identity] = None

    def concerns(self, record: Revocation, arrived_ms: float) -> bool:
        """Tell whether a revocation that came at that time may end the term that is known here.

        Fails closed: True while no term is known.
        """
        state = self.state or self.stored
        if state is None:
            return True
        return record.covers(state.term, state.grant.record.activated_at_ms, arrived_ms)

    def may_end(self, raw: bytes, arrived_ms: float) -> bool:
        """Tell whether pushed bytes are a revocation that may concern this process, not verified."""
        try:
            record = peek(raw, Revocation)
        except RecordError:
            return False
        return self.trust.is_about(record) and self.concerns(record, arrived_ms)

    def ended(self, item: Verified[Revocation], arrived_ms: float) -> bool:
        """Latch for whatever a verified revocation covers; tell whether it concerns this process.

        Args:
            item: The revocation.
            arrived_ms: When it came, Unix ms on this host.
        """
        record, state = item.record, self.state or self.stored
        self.saw(item)
        concerns = self.concerns(record, arrived_ms)
        # A blind one may be numbered below the term that it ends, and a card far above it.
        term = state.term if state is not None and concerns else 0  # S2
        if isinstance(record.until_ms, int):
            self._latch(Latch(epoch=term, term=term, cards=((record.epoch, record.until_ms),)))
        else:
            reach_ms = record.reach_ms(arrived_ms)  # A13
            epoch = max(record.epoch, term)  # S2
            self._latch(Latch(epoch=epoch, blind_before_ms=reach_ms, term=term))
        return concerns

    def end(self, term: int) -> None:
        """Latch for every term up to that one, which was known here (S2)."""
        self._latch(Latch(epoch=term, term=term))

    def _latch(self, more: Latch) -> None:
        self.latch = self.latch.joined(more)  # S2

    def saw(self, item: Verified[Grant] | Verified[Restriction] | Verified[Revocation]) -> None:
        """Note a verified directive: the next one is numbered on from the highest."""
        if item.record.epoch > self._newest_epoch:
            self._newest_epoch, self.newest = item.record.epoch, item.raw
