"""Who holds which key: what it is good for, since which keyset, when it was used last, how long yet.

For the yearly review, and for the question who could do what on a day: with the steps in the ledger it
can be answered for any day since the first of them, and for the time before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from cryptography.exceptions import InvalidSignature

from golive_redis import clock
from golive_redis.delivery import keysets
from golive_redis.errors import RecordError, RefusedError
from golive_redis.operator.session import Operator
from golive_redis.records.directive import GrantKind
from golive_redis.records.envelope import Envelope, decode, pae, peek
from golive_redis.records.keyset import DAY_MS, Keyset, Role, TrustedKey
from golive_redis.records.ledger import Entry
from golive_redis.records.rotation import Rotation, accepts, digest_of, payload_of
from golive_redis.store.store import Store

MAX_LOOKED = 100_000
"""Entries of the ledger in which a last use is looked for: some seconds."""

SOON_DAYS = 30
IDLE_DAYS = 90
_WATCHED = frozenset({Role.APPROVER, Role.REVOKER, Role.ROOT, Role.HEARTBEAT})
"""Whose key leaves signatures in the ledger; those of workers are in receipts."""


class Holder(msgspec.Struct, frozen=True):
    """One key of one principal.

    Attributes:
        since: The first keyset, of those at hand one after the other, in which this key is as it is now.
        first: That is the oldest keyset at hand: it may have been so before.
        last_used_ms: Time of the newest entry in the ledger that it has signed, Unix ms; None for none
            among those that were looked at.
        last_use: What that was, a kind of record; "" for none.
        days_left: Whole days until it expires; negative when it has; None for no end.
    """

    name: str
    roles: list[str]
    keyid: str
    shared: bool
    authority: str | None
    since: int
    first: bool
    last_used_ms: int | None
    last_use: str
    expires: str | None
    days_left: int | None


class KeyStatus(msgspec.Struct, frozen=True):
    """The keyset of a moment, and who is in it.

    Attributes:
        version: Its number.
        as_of_ms: The moment, Unix ms.
        signed: Roots decide what follows it.
        expires: Its last day; None for no end.
        days_left: Whole days until then, likewise.
        published_ms: When the step to it was entered in the ledger; None when no such entry was found.
        thresholds: How many it takes, by role and kind of grant.
        looked: Entries of the ledger that were looked at, the newest first.
        whole: That was all of them.
        holders: By name.
        untaken: Why a keyset that stands in Redis was not taken; "" when there is none.
        review: What somebody should look into, in sentences.
    """

    version: int
    as_of_ms: int
    signed: bool
    expires: str | None
    days_left: int | None
    published_ms: int | None
    thresholds: dict[str, int]
    looked: int
    whole: bool
    holders: list[Holder]
    untaken: str
    review: list[str]


def status(operator: Operator, *, as_of_ms: int | None = None) -> KeyStatus:
    """Return who holds what.

    Args:
        operator: Connected.
        as_of_ms: The end of the day that is asked for, Unix ms; now when None.

    Raises:
        RefusedError: Which keyset was in use on that day is not known here.
        StoreError: Redis cannot be asked.
    """
    current, now = operator.trust.keyset, clock.wall_ms()
    until = min(now, as_of_ms or now)
    known = {current.version: current}
    known |= {item.version: item for item in keysets.past(operator.store, current)}
    asked = None if as_of_ms is None else _of_day(operator.store, known, until)
    keyset = current if asked is None else asked
    ledger = _Uses(keyset, known)
    ledger.look(operator.store, until)
    holders = [_holder(key, known, keyset, ledger, until) for key in _sorted(keyset)]
    found = KeyStatus(
        version=keyset.version,
        as_of_ms=until,
        signed=keyset.is_signed,
        expires=keyset.expires,
        days_left=_days(keyset.expires_ms, until),
        published_ms=ledger.published_ms,
        thresholds=_thresholds(keyset),
        looked=ledger.looked,
        whole=ledger.whole,
        holders=holders,
        untaken=operator.untaken,
        review=[],
    )
    return msgspec.structs.replace(found, review=list(review(keyset, found)))


def _sorted(keyset: Keyset) -> list[TrustedKey]:
    return sorted(keyset.keys.values(), key=lambda key: (key.principal, key.keyid))


def _thresholds(keyset: Keyset) -> dict[str, int]:
    found = {str(role): keyset.threshold(role) for role in (Role.APPROVER, Role.ROOT)}
    return found | {str(kind): keyset.approvals(kind) for kind in GrantKind}


def _days(end_ms: int | None, at_ms: int) -> int | None:
    return None if end_ms is None else (end_ms - at_ms) // DAY_MS


def _holder(
    key: TrustedKey, known: Mapping[int, Keyset], keyset: Keyset, ledger: _Uses, at_ms: int
) -> Holder:
    since = keyset.version
    while (before := known.get(since - 1)) is not None and _same(before.keys.get(key.keyid), key):
        since -= 1
    used_ms, use = ledger.last.get(key.keyid, (None, ""))
    return Holder(
        name=key.principal,
        roles=sorted(map(str, key.roles)),
        keyid=key.keyid,
        shared=key.shared,
        authority=None if key.authority is None else str(key.authority),
        since=since,
        first=since - 1 not in known,
        last_used_ms=used_ms,
        last_use=use,
        expires=key.expires,
        days_left=_days(key.expires_ms, at_ms),
    )


def _same(before: TrustedKey | None, key: TrustedKey) -> bool:
    return before is not None and (before.principal, before.roles) == (key.principal, key.roles)


# -- the ledger ------------------------------------------------------------------------------------


class _Uses:
    """When each key of a keyset was used last, by entries of the ledger whose signature is good."""

    def __init__(self, keyset: Keyset, known: Mapping[int, Keyset]) -> None:
        self._keyset = keyset
        self._known = known
        self.last: dict[str, tuple[int, str]] = {}
        self.published_ms: int | None = None
        self.looked = 0
        self.whole = True

    def look(self, store: Store, until_ms: int) -> None:
        wanted = len(self._keyset.keys)
        for entry in _newest_first(store, until_ms):
            if self.looked >= MAX_LOOKED:
                self.whole = False
                return
            self.looked += 1
            self._take(entry)
            if len(self.last) == wanted and self.published_ms is not None:
                return

    def _take(self, entry: Entry) -> None:
        try:
            envelope = decode(entry.envelope)
        except RecordError:
            return
        kind = envelope.payload_type.removeprefix("application/vnd.golive.").partition(".")[0]
        for keyid, signature in envelope.signatures:
            key = self._keyset.keys.get(keyid)
            if key is not None and keyid not in self.last and _good(key, envelope, signature):
                self.last[keyid] = entry.at_ms, kind
        if self.published_ms is None and _leads_to(entry, self._known) == self._keyset.version:
            self.published_ms = entry.at_ms


def _good(key: TrustedKey, envelope: Envelope, signature: bytes) -> bool:
    try:
        key.public.verify(signature, pae(envelope.payload_type, envelope.payload))
    except InvalidSignature:
        return False
    return True


def _newest_first(store: Store, until_ms: int) -> Iterator[Entry]:
    page = store.ledger_before(str(until_ms))
    while page:
        yield from page
        page = store.ledger_before(f"({page[-1].id}")


def _leads_to(entry: Entry, known: Mapping[int, Keyset]) -> int:
    """Return the number of the keyset at hand to which an entry is the step; 0 for none."""
    try:
        record = peek(entry.envelope, Rotation)
        keyset = known.get(record.number)
        if keyset is None or record.digest != digest_of(payload_of(keyset)):
            return 0
        accepts(entry.envelope, keyset)
    except RecordError:
        return 0
    return record.number


def _of_day(store: Store, known: Mapping[int, Keyset], until_ms: int) -> Keyset:
    """Return the keyset in use at a moment: by the last step before it, or the first after it."""
    before = 0
    for entry in _newest_first(store, clock.wall_ms()):
        number = _leads_to(entry, known)
        if number and entry.at_ms < until_ms:
            return known[number]
        before = number - 1 if number else before
        if before == min(known):
            break
    if before in known:
        return known[before]
    raise RefusedError(
        "which keyset was in use then is not known here",
        hint="golive keys status shows that of now; only published keysets are in the ledger",
    )


# -- the review ------------------------------------------------------------------------------------


def review(keyset: Keyset, found: KeyStatus) -> Iterator[str]:
    """Say what somebody should look into: what weakens four eyes, what runs out, what nobody uses."""
    if not found.signed:
        yield f"keyset {found.version} is unsigned: whoever can write its file decides who is trusted"
    elif found.expires is None:
        yield f"keyset {found.version} has no last day: a host that sees no newer one uses it for ever"
    if found.days_left is not None and found.days_left < SOON_DAYS:
        yield _runs_out(f"keyset {found.version}", found.days_left)
    if found.untaken:
        yield found.untaken
    if found.signed and keyset.threshold(Role.ROOT) < 2:  # noqa: PLR2004
        yield "one root alone decides who is trusted"
    alone = [str(kind) for kind in GrantKind if keyset.approvals(kind) < 2]  # noqa: PLR2004
    if alone:
        yield f"one approver alone may {', '.join(alone)}"
    for holder in found.holders:
        yield from _of_holder(holder, found)


def _of_holder(holder: Holder, found: KeyStatus) -> Iterator[str]:
    name, roles = f"{holder.name} ({holder.keyid[:12]})", set(holder.roles)
    if holder.days_left is not None and holder.days_left < SOON_DAYS:
        yield _runs_out(f"the key of {name}", holder.days_left)
    if Role.ROOT in roles and len(roles) > 1:
        yield f"{name} is root and also {', '.join(sorted(roles - {Role.ROOT}))}: roots do nothing else"
    if Role.HEARTBEAT in roles and Role.APPROVER in roles:
        yield f"{name} is heartbeat and approver: a machine that runs all day can turn trading on"
    if holder.shared:
        yield f"{name} answers for every worker without a key of its own"
    if not roles & _WATCHED:
        return
    if holder.last_used_ms is None and found.whole:
        yield f"{name} has signed nothing in the ledger"
    elif holder.last_used_ms is None:
        yield f"{name} has signed none of the newest {found.looked:,} entries"
    elif (idle := (found.as_of_ms - holder.last_used_ms) // DAY_MS) > IDLE_DAYS:
        yield f"{name} has signed nothing for {idle} days"


def _runs_out(what: str, days: int) -> str:
    return f"{what} has expired" if days < 0 else f"{what} expires in {days + 1} days"
