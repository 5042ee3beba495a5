"""Stop cards: a stop that is signed in advance, for somebody who shall be able to stop and nothing else.

A card is a revocation with an end (`until_ms`). Each one that is issued is a note in the ledger, so that
everybody can see which there are; without the ledger none is issued. What a card still covers follows
from its number, its end and the keyset in force.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import msgspec

from golive_redis import clock
from golive_redis.delivery.append import append
from golive_redis.errors import ConfigError, RecordError, RefusedError
from golive_redis.operator.session import Operator, Reading
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import Signer, Verified, decode, identity_of, peek, seal
from golive_redis.records.epoch import next_epoch
from golive_redis.records.keyset import Role
from golive_redis.records.ledger import Entry, Note
from golive_redis.records.record import MAX_INT, wording
from golive_redis.records.trust import Trust
from golive_redis.store import cards
from golive_redis.store.replies import number
from golive_redis.store.store import Store

TOPIC = "card"
MAX_EPOCHS = 100_000
MAX_DAYS = 400
DAY_MS = 86_400_000
MAX_FILE_BYTES = 4 * cards.MAX_CARD_BYTES
_IDENTITY = re.compile("[0-9a-f]{64}")
_NOTE = Note.payload_type().encode()
_REVOCATION = Revocation.payload_type().encode()


class CardState(StrEnum):
    """What a card can still do."""

    LIVE = "live"
    PLAYED = "played"
    USED_UP = "used up"
    EXPIRED = "expired"
    VOID = "void"


class IssuedCard(msgspec.Struct, frozen=True):
    """A card as the ledger knows it.

    Attributes:
        identity: Of the revocation.
        epoch: It covers terms up to this one,
        until_ms: that were activated before this Unix ms.
        by: Whose key has signed it.
        holder: Who has it, in words.
        issued_at_ms: When it was signed, Unix ms of its signer's clock.
        state: What it can still do.
        played_at_ms: When Redis took it, Unix ms; None when it is in no ledger.
    """

    identity: str
    epoch: int
    until_ms: int
    by: str
    holder: str
    issued_at_ms: int
    state: CardState
    played_at_ms: int | None = None


class Coverage(msgspec.Struct, frozen=True):
    """What a card would do if it were played now.

    Attributes:
        state: As for `IssuedCard`; of a card at hand `played` is not said.
        term: The term in force, or None.
        ends: It ends that term for good.
        why: In words.
    """

    state: CardState
    term: int | None
    ends: bool
    why: str


# -- issuing -------------------------------------------------------------------------------------


def issue(
    operator: Operator,
    signer: Signer,
    *,
    epochs: int,
    until_ms: int,
    holder: str,
    reason: str,
    ticket: str = "",
) -> Verified[Revocation]:
    """Sign a card and enter that in the ledger.

    Args:
        operator: At work, connected.
        signer: A revoker.
        epochs: It covers so many numbers above the largest that was used.
        until_ms: And terms that are activated before this Unix ms.
        holder: Who will have it, in words.
        reason: For the record, when it is played.
        ticket: Likewise.

    Raises:
        RefusedError: A bound is wrong, or the signer may not stop.
        StoreError: The ledger cannot be read or written; then there is no card.
    """
    trust, now = operator.trust, clock.wall_ms()
    _refuse_bounds(epochs, until_ms, now)
    if signer.principal not in trust.keyset.principals(Role.REVOKER):
        raise RefusedError(
            f"{signer.principal} may not stop, so no pod would take a card of theirs",
            hint="`golive keys new card-risk --role revoker` makes a key for cards alone",
        )
    reading = operator.read()
    if reading.refused:
        raise RecordError("; ".join(reading.refused), hint="`golive doctor` examines the server")
    epoch = next_epoch(reading.newest, hint=reading.snapshot.epoch_hint) - 1 + epochs
    record = Revocation(
        **trust.heading(signer.principal, now),
        epoch=epoch,
        reason=wording(reason),
        ticket=wording(ticket),
        blind=False,
        until_ms=until_ms,
    )
    raw = seal(record, signer)
    item = Verified(record, identity_of(record), raw, frozenset({signer.principal}))
    append(operator.store, _note(trust, signer, item, holder))
    return item


def _refuse_bounds(epochs: int, until_ms: int, now: int) -> None:
    if not 1 <= epochs <= MAX_EPOCHS:
        raise RefusedError(
            f"a card for {epochs} epochs", hint=f"--epochs is a number from 1 to {MAX_EPOCHS}"
        )
    if not now < until_ms <= now + MAX_DAYS * DAY_MS:
        raise RefusedError(
            "a card ends in the future, and at most "
            f"{MAX_DAYS} days from now: a forgotten one must not be good for ever",
            hint="--until 2027-01-31, or --until 30d",
        )


def _note(trust: Trust, signer: Signer, item: Verified[Revocation], holder: str) -> bytes:
    record = item.record
    note = Note(
        **trust.heading(signer.principal, record.issued_at_ms),
        topic=TOPIC,
        text=wording(f"stop card for {holder}: terms up to {record.epoch}"),
        facts={
            "directive": item.identity,
            "epoch": str(record.epoch),
            "until_ms": str(record.until_ms),
            "holder": wording(holder),
        },
    )
    return seal(note, signer)


# -- the cards that there are --------------------------------------------------------------------


def issued(operator: Operator) -> list[IssuedCard]:
    """Return the cards that were issued in the last 400 days, newest first: none is good for longer.

    A note whose signer the keyset in force does not know is listed as void, unverified.

    Raises:
        StoreError: The ledger cannot be read.
    """
    reading, now = operator.read(), clock.wall_ms()
    played: dict[str, int] = {}
    notes: list[tuple[Note, bool]] = []
    for entry in _recent(operator.store, now - (MAX_DAYS + 1) * DAY_MS):
        if _REVOCATION in entry.envelope:
            identity = _played(entry.envelope, operator.trust)
            played.update({identity: entry.at_ms} if identity else {})
        elif _NOTE in entry.envelope and (found := _noted(entry.envelope, operator.trust)):
            notes.append(found)
    if reading.revocation is not None:
        played.setdefault(reading.revocation.identity, now)
    cards_ = [_card(note, good, played, reading, now) for note, good in notes]
    return [card for card in cards_ if card is not None]


def played_at(operator: Operator, item: Verified[Revocation]) -> int | None:
    """Return when Redis took a card into the ledger, Unix ms; None when it is not there.

    Raises:
        StoreError: The ledger cannot be read.
    """
    for entry in _recent(operator.store, item.record.issued_at_ms - DAY_MS):
        if entry.envelope == item.raw:
            return entry.at_ms
    return None


def _recent(store: Store, since_ms: int) -> Iterator[Entry]:
    """Yield the entries of the ledger since that time, newest first, and the rest of their page."""
    page = store.ledger_before()
    while page:
        yield from page
        if page[-1].at_ms < since_ms:
            return
        page = store.ledger_before(f"({page[-1].id}")


def _played(raw: bytes, trust: Trust) -> str:
    try:
        claimed = peek(raw, Revocation)
    except RecordError:
        return ""
    return decode(raw).identity if claimed.is_card and trust.is_about(claimed) else ""


def _noted(raw: bytes, trust: Trust) -> tuple[Note, bool] | None:
    """Return a note about a card, and whether the keyset in force knows who signed it."""
    try:
        claimed = peek(raw, Note)
    except RecordError:
        return None
    if claimed.topic != TOPIC or not trust.is_about(claimed):
        return None
    try:
        return trust.note(raw, Role.REVOKER).record, True
    except RecordError:
        return claimed, False


def _card(
    note: Note, good: bool, played: dict[str, int], reading: Reading, now: int
) -> IssuedCard | None:
    facts = note.facts
    epoch, until_ms = (number(facts.get(name, "").encode()) for name in ("epoch", "until_ms"))
    identity, holder = facts.get("directive", ""), wording(facts.get("holder", ""))
    if not (0 < epoch <= MAX_INT and 0 < until_ms <= MAX_INT and _IDENTITY.fullmatch(identity)):
        return None  # it is none that we have written
    state = _state(epoch, until_ms, reading, now)
    if identity in played:
        state = CardState.PLAYED
    if not good:
        state = CardState.VOID
    at_ms = played.get(identity)
    return IssuedCard(identity, epoch, until_ms, note.by, holder, note.issued_at_ms, state, at_ms)


def _state(epoch: int, until_ms: int, reading: Reading, now: int) -> CardState:
    if reading.state is not None:
        term, at_ms = reading.state.term, reading.state.grant.record.activated_at_ms
        if term <= epoch and at_ms < until_ms:
            return CardState.LIVE
    if now >= until_ms:
        return CardState.EXPIRED
    used = max(reading.newest.record.epoch if reading.newest else 0, reading.snapshot.epoch_hint)
    return CardState.USED_UP if used >= epoch else CardState.LIVE


# -- a card at hand ------------------------------------------------------------------------------


def read(path: Path) -> bytes:
    """Return the envelope in a card: a folder, or its `card.redis`.

    Raises:
        ConfigError: It cannot be read.
        RecordError: It is no card.
    """
    file = path / "card.redis" if path.is_dir() else path
    try:
        with file.open("rb") as opened:
            text = opened.read(MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
    try:
        return cards.envelope_in(text)
    except RecordError as error:
        raise RecordError(f"{file} is no stop card: {error.message}") from error


def verified(trust: Trust, raw: bytes) -> Verified[Revocation]:
    """Return a card that would count, verified under the keyset of this host.

    Raises:
        RecordError: No pod would take it: it was changed, is of another fleet, or is void.
    """
    try:
        item = trust.revocation(raw)
    except RecordError as error:
        raise RecordError(
            f"no pod would take this card: {error.message}",
            hint="it is void when its signer is no longer in the keyset; `golive revoke` stops",
        ) from error
    if not item.record.is_card:
        raise RecordError("it is a stop, and not a card", hint="`golive revoke` stops")
    return item


def coverage(item: Verified[Revocation], reading: Reading) -> Coverage:
    """Tell what a card would do if it were played now."""
    record, now = item.record, clock.wall_ms()
    assert isinstance(record.until_ms, int)  # noqa: S101  (`verified` refuses others)
    state = _state(record.epoch, record.until_ms, reading, now)
    if reading.state is None:
        text = {
            CardState.LIVE: "nothing is active; it would keep what is numbered up to "
            f"{record.epoch} from being activated",
            CardState.EXPIRED: "it is expired, and nothing is active that began before",
        }.get(state, f"it is used up: epochs up to {record.epoch} were used")
        return Coverage(state, None, ends=False, why=text)
    term = reading.state.term
    if state is CardState.LIVE and record.covers(term, reading.state.grant.record.activated_at_ms):
        return Coverage(state, term, ends=True, why=f"it ends term {term} for good")
    why = (
        f"it is used up: term {term} is above its epoch {record.epoch}"
        if term > record.epoch
        else f"it is expired: term {term} was activated after its end"
    )
    why += "; played with redis-cli it deletes the key, and ends nothing for good"
    return Coverage(
        CardState.USED_UP if term > record.epoch else CardState.EXPIRED, term, False, why
    )
