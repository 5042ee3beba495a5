"""Where the ledger in Redis begins: at its first entry, or where a signed note says.

Old entries are taken out once they are archived (`trimmed`), and after entries were lost for good the
ledger begins anew (`generation`). Either is a note in the ledger itself that says what has to be known
to go on: how many entries there were, the head and the tree after them, and the directives that later
ones may name. Without such a note a ledger that begins anywhere else is broken.

A note stands far behind the beginning that it is about. `golive:begins` has a copy, so that nobody looks
through the ledger for it; it is believed no more than any other entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from golive_redis.audit.haste import Hasty, LastStop
from golive_redis.audit.history import Carry
from golive_redis.audit.opening import Keysets, Opened, opened
from golive_redis.errors import RecordError
from golive_redis.records.checkpoint import parse_size
from golive_redis.records.ledger import GENERATION, GENESIS, TRIMMED, Entry, Note, extend
from golive_redis.records.merkle import EMPTY, CompactRange
from golive_redis.records.record import MAX_INT
from golive_redis.store.store import Store

TOPICS = {TRIMMED, GENERATION}
NAMED = 21
"""Directives before the beginning that a note names at most."""
_IN_A_FACT = 7  # of 64 hex digits, with a comma: 512 characters
_FACT = 512
_STARTS = 30  # more than the daily limit of nearly all; the archive has all of them
_YES = "yes"
_HEAD = re.compile(r"[0-9a-f]{64}")
_LAST = re.compile(r"(?:[0-9]{1,15}-[0-9]{1,19})?")  # what Redis takes, in ms that JSON can hold


class Beginning(msgspec.Struct, frozen=True):
    """Where a ledger begins, and what is known of what stood before.

    Attributes:
        count: The index of its first entry.
        generation: From 1; each has indices of its own.
        head: Before that entry.
        last_id: Of the entry before it in the stream; "" when there was none.
        tree: Over the entries before it, of this generation.
        carry: To judge on from.
        by: Who has signed the note; empty when there is none.
        at_ms: When, Unix ms.
        note: Its envelope; empty likewise.
    """

    count: int = 0
    generation: int = 1
    head: str = GENESIS
    last_id: str = ""
    tree: CompactRange = EMPTY
    carry: Carry = Carry()
    by: tuple[str, ...] = ()
    at_ms: int = 0
    note: bytes = b""

    @property
    def start(self) -> str:
        """Where to read the stream from."""
        return f"({self.last_id}" if self.last_id else "-"

    def fits(self, entry: Entry) -> bool:
        """Tell whether this is its first entry."""
        if self.count == 0 and self.generation > 1 and entry.envelope != self.note:
            return False
        return extend(self.head, entry.envelope) == entry.head


def facts(
    carry: Carry, tree: CompactRange, *, generation: int, directives: Sequence[str], **more: str
) -> dict[str, str]:
    """Return the facts of a note about where the ledger begins.

    Args:
        carry: What is known of the entries before: count, head, last id, epochs, term, keyset.
        tree: Over them.
        generation: Of the ledger that begins.
        directives: Identities that later entries may name, oldest first.
        more: For people.

    Raises:
        RecordError: More directives than a note can name.
    """
    if len(directives) > NAMED:
        raise RecordError(f"{len(directives)} directives before it are named by later entries")
    out = {
        "entries": str(carry.count),
        "generation": str(generation),
        "head": carry.head,
        "last": carry.last_id,
        "root": tree.root().hex(),
        "epoch": str(carry.epoch),
        "revoked": str(carry.revoked),
        "term": str(carry.term),
        "keyset": str(carry.keyset),
        "step": str(carry.step),
        "late": str(carry.late),
        "executions": _YES if carry.executions else "no",
    }
    out |= _stops(carry.hasty)
    return out | more | _packed("tree", tree.encoded()) | _packed("directives", directives)


def _stops(known: Hasty) -> dict[str, str]:
    """Return what stands against haste: the last stop, as signed, and the starts before (V11)."""
    out = {"activated": ",".join(map(str, known.activated[-_STARTS:]))}
    if (stop := known.stop) is not None:
        raw = stop.envelope
        parts = [raw[at : at + _FACT] for at in range(0, len(raw), _FACT)]
        out |= {f"stop-{number}": part for number, part in enumerate(parts)}
        out |= {"stop-entered": str(stop.entered_ms), "stop-signers": ",".join(stop.signers)}
    return out


def _stopped(found: dict[str, str]) -> Hasty:
    activated = [_number(each) for each in found["activated"].split(",") if each]
    if "stop-0" not in found:
        return Hasty(activated=activated)
    numbers = range(len(found))
    stop = LastStop(
        envelope="".join(found.get(f"stop-{number}", "") for number in numbers),
        signers=found["stop-signers"].split(","),
        entered_ms=_number(found["stop-entered"]),
    )
    stop.verified()  # it can be read, or the note is none
    return Hasty(stop=stop, activated=activated)


def _number(text: str) -> int:
    """Return a number of a note; it has to fit where this host remembers it.

    Raises:
        RecordError: It does not, or is none.
    """
    if (number := parse_size(text)) > MAX_INT:
        raise RecordError(f"{text[:24]} is no number that can be remembered")
    return number


def _packed(name: str, values: Sequence[str]) -> dict[str, str]:
    pages = [values[at : at + _IN_A_FACT] for at in range(0, len(values), _IN_A_FACT)]
    return {f"{name}-{number}": ",".join(page) for number, page in enumerate(pages)}


def _unpacked(name: str, found: dict[str, str]) -> list[str]:
    out: list[str] = []
    for number in range(len(found)):
        if (page := found.get(f"{name}-{number}")) is None:
            break
        out += page.split(",")
    return out


def parse(item: Opened, raw: bytes) -> Beginning:
    """Return where a ledger begins by a verified note.

    Raises:
        RecordError: It is no such note, or does not say all. Fails closed: nothing begins there.
    """
    record = item.record
    if not isinstance(record, Note) or record.topic not in TOPICS or not item.judged:
        raise RecordError("that note does not say where a ledger begins")
    found = record.facts
    try:
        numbers = {
            name: _number(found[name])
            for name in (
                "entries",
                "generation",
                "epoch",
                "revoked",
                "term",
                "keyset",
                "step",
                "late",
            )
        }
        trimmed = record.topic == TRIMMED
        count = numbers["entries"] if trimmed else 0
        if trimmed and not (count and found["last"]):
            raise RecordError("nothing was trimmed")
        if not _HEAD.fullmatch(found["head"]) or not _LAST.fullmatch(found["last"]):
            raise RecordError("its last entry has no head or no id")
        tree = CompactRange.decoded(count, _unpacked("tree", found)) if trimmed else EMPTY
        if trimmed and tree.root().hex() != found["root"]:
            raise RecordError("its root is not that of its tree")
        carry = Carry(
            generation=numbers["generation"],
            first=count,
            count=count,
            head=found["head"],
            last_id=found["last"],
            epoch=numbers["epoch"],
            revoked=numbers["revoked"],
            term=numbers["term"],
            keyset=numbers["keyset"],
            step=numbers["step"],
            late=numbers["late"] if trimmed else 0,
            directives=_unpacked("directives", found),
            # That there was one: from then on each grant under a threshold needs it (V10).
            executions={"": ("", [])} if found["executions"] == _YES else {},
            hasty=_stopped(found),
        )
    except KeyError as error:
        raise RecordError(f"a note on {record.topic} without {error.args[0]}") from None
    return Beginning(
        count=count,
        generation=carry.generation,
        head=carry.head,
        last_id=carry.last_id,
        tree=tree,
        carry=carry,
        by=item.signers,
        at_ms=record.issued_at_ms,
        note=raw,
    )


def read(raw: bytes, keysets: Keysets) -> Beginning | None:
    """Return where a ledger begins by this envelope; None when it says nothing of it, or is refused.

    Either note takes as many approvers as a grant: who begins a ledger elsewhere hides what stood
    before, so no single person can. A `trimmed` by fewer is an entry as any other.
    """
    try:
        item = opened(raw, keysets)
        found = parse(item, raw)
        version = keysets.newest if item.borrowed else item.record.keyset_version
        trust = keysets.trust(version)
        if trust is not None:
            trust.generation(raw)
    except RecordError:
        return None
    return found if trust is not None else None


def follows_genesis(entry: Entry) -> bool:
    """Tell whether an entry is the first of all."""
    return extend(GENESIS, entry.envelope) == entry.head


def of_stream(store: Store, keysets: Keysets, *, look: bool = False) -> Beginning | None:
    """Return where the ledger in Redis begins.

    Args:
        store: A connected store.
        keysets: Those at hand.
        look: Look through the whole ledger for the note, whatever `golive:begins` says.

    Returns:
        None when it begins where no note says that it does: something was taken out.

    Raises:
        StoreError: Redis cannot be asked.
    """
    first = store.ledger_first()
    whole = first is None or follows_genesis(first)
    hint = None if look else store.begins()
    notes = _newest_first(store) if look or (hint is None and not whole) else iter([hint or b""])
    for note in notes:
        found = read(note, keysets)
        # What was to be trimmed and is all there is judged: it hides nothing that can be read.
        hides = found is not None and whole and found.count > 0
        if found is not None and not hides and _begins_there(store, found):
            return found
        if found is not None and hides and found.generation > 1 and not look:
            return of_stream(store, keysets, look=True)  # its own first entry may stand there still
    if whole:
        return Beginning()
    return None if look or hint is None else of_stream(store, keysets, look=True)


def _begins_there(store: Store, beginning: Beginning) -> bool:
    first = store.ledger_first(beginning.start)
    return first is not None and beginning.fits(first)


def _newest_first(store: Store) -> Iterator[bytes]:
    page = store.ledger_before()
    while page:
        yield from (entry.envelope for entry in page)
        page = store.ledger_before(f"({page[-1].id}")


def of_pages(pages: Iterable[Sequence[Entry]], keysets: Keysets) -> Beginning | None:
    """Return where a ledger begins that is read from a file; it is read to its end.

    Returns:
        None when it begins where no note in it says that it does.
    """
    first: Entry | None = None
    found = None
    for page in pages:
        for entry in page:
            first = first or entry
            if follows_genesis(first):
                return Beginning()
            begun = read(entry.envelope, keysets)
            if begun is not None and begun.fits(first):
                found = begun
    return Beginning() if first is None else found


def length(store: Store, beginning: Beginning) -> int | None:
    """Return how many entries the ledger has with those before its beginning.

    None while entries before it are still in Redis: they are being taken out, or of an older generation.
    """
    first = store.ledger_first()
    if first is not None and beginning.last_id and not beginning.fits(first):
        return None
    return beginning.count + store.ledger_length()


def entries_now(store: Store, beginning: Beginning) -> int:
    """Return how many entries the ledger has with those before its beginning, for people.

    What stands before its beginning in Redis is counted, which takes a while where that is much.
    """
    return beginning.count + store.ledger_length() - count_before(store, beginning)


def count_before(store: Store, beginning: Beginning) -> int:
    """Return how many entries stand in Redis before the beginning of the ledger."""
    others = 0
    page = store.ledger_before(beginning.last_id) if beginning.last_id else []
    while page:
        others += len(page)
        page = store.ledger_before(f"({page[-1].id}")
    return others


def place(name: str) -> tuple[int, int]:
    """Return an id of a stream as numbers, which have its order."""
    first, _, second = name.partition("-")
    return int(first or 0), int(second or 0)
