"""What the ledger has already: followed entry by entry, so that nothing is written twice.

Whoever is about to write looks here after having read the head, and writes on top of that head alone. An
entry that came in between has moved it, so two heartbeats never write about one fact.
"""

from __future__ import annotations

from golive_redis.core.accounts import Told, keys_in
from golive_redis.core.incidents import What
from golive_redis.errors import RecordError
from golive_redis.records.directive import Restriction, Revocation
from golive_redis.records.envelope import Verified, decode, peek
from golive_redis.records.ledger import GENESIS, Entry, Note, extend
from golive_redis.store.ledgersteps import LOOK_BACK_MS
from golive_redis.store.store import Store

WARNED_MS = 900_000
"""An early warning of one trigger is noted once in that time, whichever heartbeat samples it."""
REFUSED_MS = 60_000
"""Of what was refused there is one note of each kind in that time."""
AHEAD_MS = 30_000
"""So far clocks may differ: nothing that a note tells has happened later than so long after it."""

KEPT_MS = 172_800_000
"""What is older than two days is forgotten: by then a fact is noted or no longer to be noted."""

_NOTE = Note.payload_type()
_DIRECTIVES = {Restriction.payload_type(), Revocation.payload_type()}
_BEGINS = (b"vnd.golive.note.", b"vnd.golive.restriction.", b"vnd.golive.revocation.")


Directive = Verified[Revocation] | Verified[Restriction]


class Noted:
    """The facts that notes in the ledger are about, and the directives that are entered.

    Attributes:
        head: After the last entry that was looked at.
    """

    def __init__(self) -> None:
        self.head = ""
        self._forget(None)

    def _forget(self, from_ms: int | None) -> None:
        self._from_ms = from_ms
        self._last_id = self._tail = ""
        self._keys: set[str] = set()
        self._directives: set[str] = set()
        self._refused: dict[str, tuple[int, int]] = {}
        self._warned: dict[str, int] = {}

    # -- following -------------------------------------------------------------------------------

    def follow(self, store: Store, head: str, since_ms: int) -> bool:
        """Take in what the ledger has since then, up to the head that was read before.

        Args:
            store: A connected store.
            head: As just read.
            since_ms: The oldest fact that is to be looked for, Unix ms.

        Returns:
            Whether it is the ledger that was followed. False when entries were lost: then all that was
            known is forgotten, and what is in force has to be looked for anew.

        Raises:
            StoreError: The ledger cannot be read. What was taken in counts.
        """
        whole, begin_ms = True, max(0, since_ms - LOOK_BACK_MS)
        known_ms = self._from_ms
        if known_ms is None or not begin_ms - KEPT_MS < known_ms <= begin_ms:
            self._forget(begin_ms)
        elif head not in {self.head, self._tail} and not self._goes_on(store, known_ms):
            self._forget(begin_ms)
            whole = False
        for page in store.ledger(self._start(begin_ms)):
            for entry in page:
                self._take(entry)
        self.head = head
        return whole

    def _start(self, from_ms: int) -> str:
        return f"({self._last_id}" if self._last_id else str(from_ms)

    def _goes_on(self, store: Store, from_ms: int) -> bool:
        """Tell whether the next entry follows the last one that was looked at."""
        page = store.ledger_from(self._start(from_ms))
        return bool(page) and page[0].head == extend(self._tail or self.head, page[0].envelope)

    def _take(self, entry: Entry) -> None:
        self._last_id, self._tail = entry.id, entry.head
        raw = entry.envelope
        if not _may_be(raw, _BEGINS):
            return
        try:
            envelope = decode(raw)
            if envelope.payload_type in _DIRECTIVES:
                self._directives.add(envelope.identity)
            elif envelope.payload_type == _NOTE:
                self._note(peek(raw, Note), entry.at_ms + AHEAD_MS)
        except RecordError:
            return  # for `golive audit verify` to name; it is no note of ours

    def _note(self, note: Note, latest_ms: int) -> None:
        """Take up a note; whatever it says of times, it was not issued after it was entered."""
        self._keys.update(keys_in(note))
        facts, issued_ms = note.facts, min(note.issued_at_ms, latest_ms)
        if note.topic == What.SECURITY:
            # Else one process that states a time to come would keep all others from being noted.
            last_ms = min(_number(facts.get("last_ms", "")), issued_ms + AHEAD_MS)
            more = _number(facts.get("processes", "")) > len(keys_in(note))
            covered = self._refused.get(facts.get("kind", ""), (0, 0))[1]
            self._refused[facts.get("kind", "")] = (
                issued_ms,
                max(covered, last_ms) if more else covered,
            )
        elif note.topic == What.EARLY_WARNING:
            for line in facts.values():
                parts = line.split(" ", 5)
                if len(parts) >= 5:  # noqa: PLR2004  (name, process, number, time, trigger)
                    at_ms = min(_number(parts[3]), issued_ms + AHEAD_MS)
                    self._warned[parts[4]] = max(self._warned.get(parts[4], 0), at_ms)

    # -- asking ----------------------------------------------------------------------------------

    def has(self, key: str) -> bool:
        """Tell whether there is a note about that."""
        return key in self._keys

    def has_told(self, told: Told) -> bool:
        """Tell whether there is a note about an incident, or one that stands for it."""
        item = told.incident
        if told.key in self._keys:
            return True
        if item.what is What.SECURITY:
            return item.at_ms <= self._refused.get(item.why, (0, 0))[1]
        warned_ms = self._warned.get(item.why)
        is_warning = item.what is What.EARLY_WARNING and warned_ms is not None
        return is_warning and abs(item.at_ms - (warned_ms or 0)) < WARNED_MS

    def refused_ms(self, kind: str) -> int:
        """Return when the last note of that kind of refusal was issued, 0 when there is none."""
        return self._refused.get(kind, (0, 0))[0]

    def entered(self, identity: str) -> bool:
        """Tell whether a directive is among the entries that were looked at."""
        return identity in self._directives


def entered_since(store: Store, item: Directive) -> bool:
    """Tell whether a directive was entered since it was issued, as far as clocks agree.

    Raises:
        StoreError: The ledger cannot be read.
    """
    begin = str(max(0, item.record.issued_at_ms - LOOK_BACK_MS))
    return any(_is(entry, item) for page in store.ledger(begin) for entry in page)


def entered_anywhere(store: Store, item: Directive) -> bool | None:
    """Tell whether a directive is in the ledger at all: by a clock that was wrong it can be anywhere.

    Returns:
        None when that cannot be known: the ledger has lost its beginning, and the directive is older
        than what is left.

    Raises:
        StoreError: The ledger cannot be read.
    """
    first: Entry | None = None
    for page in store.ledger():
        first = first or page[0]
        if any(_is(entry, item) for entry in page):
            return True
    begins = first is None or first.head == extend(GENESIS, first.envelope)
    if not begins and first is not None and item.record.issued_at_ms - LOOK_BACK_MS < first.at_ms:
        return None
    return False


def _is(entry: Entry, item: Directive) -> bool:
    if entry.envelope == item.raw:
        return True
    if not _may_be(entry.envelope, _BEGINS[1:]):
        return False
    try:
        return decode(entry.envelope).identity == item.identity
    except RecordError:
        return False


def _may_be(raw: bytes, kinds: tuple[bytes, ...]) -> bool:
    """Tell whether an envelope can be of one of these kinds; it is not parsed for that."""
    return b"\\" in raw or any(kind in raw for kind in kinds)  # JSON may spell a letter otherwise


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 17 else 0  # noqa: PLR2004
