"""Vectors of ledgers: good ones, and every way in which somebody changes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from . import samples
from .form import (
    EVERYBODY,
    GENESIS,
    START_MS,
    WHERE,
    File,
    Vector,
    canonical,
    digest,
    envelope,
    given_bytes,
    head_after,
    identity,
    keyset,
    parts,
    refused,
)

Entry = tuple[str, bytes, str, tuple[str, ...]]
"""Id in the stream, envelope, head, names of further fields."""

KEYSETS = {
    "one": canonical(keyset()),
    "two": canonical(keyset(4, thresholds={"approver": 2, "root": 2})),
    "without bob": canonical(keyset(5, {n: p for n, p in EVERYBODY.items() if n != "bob"})),
}


class Book:
    """A ledger in the making: a second between two entries, each entered 5 ms after its issue."""

    def __init__(self, version: int = 3) -> None:
        self.version = version
        self.at_ms = START_MS
        self.entries: list[Entry] = []
        self.epoch = self.term = 0
        self.prev: str | None = None

    def add(self, raw: bytes, *, waited_ms: int = 5, others: tuple[str, ...] = ()) -> None:
        head = self.entries[-1][2] if self.entries else GENESIS
        stream_id = f"{self.at_ms + waited_ms}-0"
        self.entries.append((stream_id, raw, head_after(head, raw), others))
        self.at_ms += max(1_000, waited_ms + 1)

    def _heading(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {"issued_at_ms": self.at_ms, "keyset_version": self.version, **fields}

    def report(self, outcome: str = "pass", **fields: Any) -> str:
        record = samples.report(outcome, **self._heading(fields))
        self.add(envelope("report", record))
        return identity("report", record)

    def note(self, topic: str = "goodbye", *, by: str = "hb-1", **fields: Any) -> None:
        record = samples.note(topic, by=by, **self._heading(fields))
        self.add(envelope("note", record))

    def activate(self, **fields: Any) -> None:
        report = fields.pop("report", None) or self.report()
        self.grant(report=report, **{"term": self.epoch + 1, **fields})

    def grant(
        self,
        *names: str,
        waited_ms: int = 5,
        decide: Callable[..., None] | None = None,
        **fields: Any,
    ) -> None:
        self.epoch = fields.pop("epoch", self.epoch + 1)
        own = {
            "term": self.term,
            "prev": self.prev,
            "activated_at_ms": START_MS,
            "kind": "activate" if fields.get("term") == self.epoch else "resume",
        }
        record = samples.grant(self.epoch, **self._heading({**own, **fields}))
        if decide is not None:
            decide(self, identity("grant", record))
        self.term = record["term"]
        self._directive("grant", record, names, waited_ms)

    def halt(self, *, waited_ms: int = 5, **fields: Any) -> None:
        self.epoch = fields.pop("epoch", self.epoch + 1)
        own = {"term": self.term, "prev": self.prev}
        record = samples.restriction(self.epoch, **self._heading({**own, **fields}))
        self._directive("restriction", record, (), waited_ms)

    def revoke(self, *, waited_ms: int = 5, **fields: Any) -> None:
        self.epoch = fields.pop("epoch", self.epoch + 1)
        record = samples.revocation(self.epoch, **self._heading(fields))
        self._directive("revocation", record, (), waited_ms)

    def _directive(self, kind: str, record: Any, names: tuple[str, ...], waited_ms: int) -> None:
        self.add(envelope(kind, record, *names), waited_ms=waited_ms)
        self.prev = identity(kind, record)


def day() -> Book:
    """On, a halt, on again, off; on and off once more; with what else is told."""
    book = Book()
    book.activate()
    book.note("joined", by="hb-2")
    book.halt()
    book.grant()
    book.revoke()
    book.note("stop-confirmed", by="rita")
    book.report("fail")
    book.activate()
    book.halt(kind="reduce", mode="reduce_only")
    book.revoke()
    book.note()
    refusal = samples.refusal(issued_at_ms=book.at_ms)
    book.add(envelope("refusal", refusal))
    return book


def chained(entries: Iterable[Entry]) -> list[Entry]:
    """The same with every head computed anew, as an owner of Redis can."""
    head, out = GENESIS, []
    for stream_id, raw, _, others in entries:
        head = head_after(head, raw)
        out.append((stream_id, raw, head, others))
    return out


DAY = day().entries
END = DAY[-1][2]


class Ledgers:
    """The vectors, and the envelopes that they share."""

    def __init__(self) -> None:
        self.vectors: list[Vector] = []
        self.names: dict[bytes, str] = {}

    def add(
        self,
        name: str,
        entries: list[Entry],
        expect: dict[str, Any],
        why: str,
        keysets: Iterable[str] = ("one",),
        **more: Any,
    ) -> None:
        listed = [
            [at, self.names.setdefault(raw, f"e{len(self.names)}"), head, *others]
            for at, raw, head, others in entries
        ]
        given = {"entries": listed, "keysets": list(keysets), **WHERE, **more}
        self.vectors.append(Vector(name, "ledger", given, expect, why))

    def good(
        self,
        name: str,
        entries: list[Entry],
        why: str,
        *,
        remembered: int | None = None,
        **more: Any,
    ) -> None:
        found = {
            "verdict": "CONSISTENT" if remembered is None else "VERIFIED",
            "entries": len(entries),
            "head": entries[-1][2] if entries else GENESIS,
            "remembered": remembered,
        }
        self.add(name, entries, {"accept": found}, why, **more)

    def bad(
        self, name: str, entries: list[Entry], rule: str, at: int, why: str, **more: Any
    ) -> None:
        self.add(name, entries, refused(rule, at), why, **more)


def _attacks(out: Ledgers) -> None:
    """The nine ways in which an owner of Redis rewrites a ledger, and their kin."""
    good, end = DAY, len(DAY)
    edited = _edited(good[3])
    told_twice = ("1760000099000-0", good[2][1], "", ())
    moved = [*good]
    moved[9], moved[10] = (good[9][0], good[10][1], "", ()), (good[10][0], good[9][1], "", ())
    ids = [*good]
    ids[5] = (ids[4][0], *ids[5][1:])
    lower = [*good]
    lower[5] = (good[0][0], *lower[5][1:])
    flipped = [*good]
    flipped[4] = (*good[4][:2], "0" * 64, ())
    chained_flip = [*good[:3], (good[3][0], edited, "", ()), *good[4:]]
    add = out.bad
    add(
        "attack 1: an entry removed",
        [*good[:4], *good[5:]],
        "V2",
        4,
        "The next one does not follow.",
    )
    add(
        "attack 2: a directive removed, heads anew",
        chained([*good[:3], *good[4:]]),
        "V6",
        3,
        "The resume names a halt before it that is not here.",
    )
    add(
        "attack 3: the last three cut",
        good[:-3],
        "V14",
        end - 3,
        "Somebody remembers the end.",
        kept=END,
    )
    out.good(
        "attack 3: the last three cut, and nobody remembers", good[:-3], "Nothing in it shows that."
    )
    add("attack 4: the first five cut", good[5:], "V2", 0, "It begins with another head.")
    add(
        "attack 4: the first four cut, heads anew",
        chained(good[4:]),
        "V8",
        0,
        "It changes a term that never began.",
    )
    add(
        "attack 4: a whole term cut, heads anew",
        chained(good[5:]),
        "V14",
        end - 5,
        "Only somebody who remembers the end can tell.",
        kept=END,
    )
    out.good(
        "attack 4: a whole term cut, heads anew, and nobody remembers",
        chained(good[5:]),
        "Nothing in it shows that.",
    )
    add("attack 5: everything deleted", [], "V14", 0, "Somebody remembers the end.", kept=END)
    out.good("attack 5: everything deleted, and nobody remembers", [], "Nothing in it shows that.")
    add(
        "attack 6: an entry edited",
        [*good[:3], (good[3][0], edited, good[3][2], ()), *good[4:]],
        "V2",
        3,
        "Its head is of other bytes.",
    )
    add(
        "attack 6: an entry edited, heads anew",
        chained(chained_flip),
        "V3",
        3,
        "Its signature is bad.",
    )
    add(
        "attack 7: an entry told twice, heads anew",
        chained([*good, told_twice]),
        "V5",
        end,
        "Once is enough.",
    )
    add(
        "attack 8: a stop moved before its halt, heads anew",
        chained(moved),
        "V7",
        10,
        "The halt was entered when it was issued, and stands after its stop.",
    )
    add(
        "attack 9: a field added to an entry",
        [*good[:4], (*good[4][:3], ("x",)), *good[5:]],
        "V1",
        4,
        "Exactly two fields.",
    )
    add(
        "a note removed, heads anew",
        chained([*good[:2], *good[3:]]),
        "V14",
        end - 1,
        "Only somebody who remembers the end can tell.",
        kept=END,
    )
    out.good(
        "a note removed, heads anew, and nobody remembers",
        chained([*good[:2], *good[3:]]),
        "Nothing in it shows that.",
    )
    add("a head edited", flipped, "V2", 4, "It does not follow.")
    add("an entry has the id of the one before", ids, "V2", 5, "Ids rise.")
    add("an entry has a lower id", lower, "V2", 5, "Ids rise.")
    add(
        "an entry without its envelope",
        [*good[:4], (good[4][0], b"", good[4][2], ()), *good[5:]],
        "V1",
        4,
        "Both fields are there.",
    )
    add(
        "an entry without its head",
        [*good[:4], (*good[4][:2], "", ()), *good[5:]],
        "V1",
        4,
        "Both fields are there.",
    )
    add(
        "an entry that is no envelope",
        chained([*good, ("1760000099000-0", b"hello", "", ())]),
        "V3",
        end,
        "It is no record.",
    )
    add("an entry that is not UTF-8", chained([*good, ("1760000099000-0", b"\xff\xfe", "", ())]), "V3", end,
        "It is no record.")  # fmt: skip


def _edited(entry: Entry) -> bytes:
    return entry[1].replace(b'"sig":"', b'"sig":"AAAA', 1)[:-8] + entry[1][-4:]


def _remembered(out: Ledgers) -> None:
    out.good("a day", DAY, "Every rule holds.")
    out.good("a day whose end is remembered", DAY, "All is good.", remembered=len(DAY), kept=END)
    out.good("the middle is remembered", DAY, "All is good.", remembered=5, kept=DAY[4][2])
    out.good("the beginning is remembered", DAY, "All is good.", remembered=0, kept=GENESIS)
    out.good("nothing", [], "An empty ledger is good.")
    out.good("nothing, and the beginning is remembered", [], "Good.", remembered=0, kept=GENESIS)
    out.bad(
        "another ledger is remembered", DAY, "V14", len(DAY), "It was written anew.", kept="f" * 64
    )


def _signed(out: Ledgers) -> None:
    """V3 and V4: each entry by itself."""

    def one(name: str, kind: str, record: Any, why: str, *names: str) -> None:
        book = Book()
        book.activate()
        book.add(envelope(kind, record, *names))
        out.bad(name, book.entries, "V3", 2, why)

    at = {"issued_at_ms": START_MS + 2_000}
    one("a grant by a revoker", "grant", samples.grant(2, by="rita", **at), "Approvers grant.")
    one(
        "a note by another role",
        "note",
        samples.note("stop-confirmed", **at),
        "Revokers tell that.",
    )
    one(
        "a note on an unknown topic",
        "note",
        samples.note("weather", **at),
        "Nobody may write that.",
    )
    one("a beat", "beat", samples.beat(**at), "Beats are no entries.")
    one("a receipt", "receipt", samples.receipt(**at), "Receipts are no entries.")
    one("another environment", "note", samples.note(environment="prod", **at), "Of another place.")
    one("another fleet", "note", samples.note(fleet="e" * 32, **at), "Of another place.")
    one("an unknown key", "note", samples.note(**at), "Nobody known has signed it.", "mallory")
    one(
        "an expired approver's report",
        "report",
        samples.report(by="eve", **at),
        "Its key had expired.",
    )
    one("a field is missing", "note", {k: v for k, v in samples.note(**at).items() if k != "text"},
        "It is no record.")  # fmt: skip
    value = parts("note", samples.note(**at))
    value["signatures"] = [{**value["signatures"][0], "sig": "AA=="}]
    book = Book()
    book.activate()
    book.add(canonical(value).encode())
    out.bad("a short signature", book.entries, "V3", 2, "It is a bad one.")


def _order(out: Ledgers) -> None:
    """V6 to V9."""

    def built(*steps: Callable[[Book], None]) -> list[Entry]:
        book = Book()
        book.activate()
        for step in steps:
            step(book)
        return book.entries

    def late(waited_ms: int) -> list[Entry]:
        return built(
            lambda b: b.halt(epoch=3), lambda b: b.halt(epoch=2, prev=None, waited_ms=waited_ms)
        )

    def prev_comes(b: Book) -> None:
        halt = samples.restriction(2, issued_at_ms=b.at_ms, prev=b.prev)
        b.epoch, b.prev = 2, identity("restriction", halt)
        b.halt()
        b.add(envelope("restriction", halt), waited_ms=3_000)

    add = out.bad
    out.good("a halt that came late", late(1_000), "It was entered a second after its issue.")
    add("a halt that was moved", late(999), "V7", 3, "It was entered when it was issued.")
    out.good("a directive that is named before it comes", built(prev_comes), "It comes late.")
    out.good(
        "a revocation with an epoch that was used",
        built(lambda b: b.halt(epoch=3), lambda b: b.revoke(epoch=2)),
        "A stop may always come late.",
    )
    add(
        "a directive before the first names one",
        built(lambda b: b.halt(prev="ab" * 32)),
        "V6",
        2,
        "There is none of that identity.",
    )
    add(
        "a grant that was kept back",
        built(lambda b: b.halt(), lambda b: b.grant(waited_ms=600_001)),
        "V7",
        3,
        "More than ten minutes.",
    )
    out.good(
        "a grant after ten minutes",
        built(lambda b: b.halt(), lambda b: b.grant(waited_ms=600_000)),
        "Just in time.",
    )
    add(
        "a grant from the future",
        built(lambda b: b.halt(), lambda b: b.grant(issued_at_ms=b.at_ms + 600_006)),
        "V7",
        3,
        "More than ten minutes before its issue.",
    )
    add(
        "a grant with an epoch that was used",
        built(lambda b: b.halt(epoch=4), lambda b: b.grant(epoch=3)),
        "V7",
        3,
        "A grant never comes late.",
    )
    add(
        "a grant at the epoch of a stop",
        built(lambda b: b.revoke(epoch=7), lambda b: b.activate(epoch=7, term=7)),
        "V8",
        4,
        "It was revoked.",
    )
    add(
        "a grant at the epoch of a stop card that was played",
        built(
            lambda b: b.revoke(epoch=7, until_ms=b.at_ms + 60_000),
            lambda b: b.activate(epoch=7, term=7),
        ),
        "V8",
        4,
        "It was revoked.",
    )
    out.good(
        "a stop card that was played two days after its issue",
        built(lambda b: b.revoke(epoch=7, until_ms=b.at_ms + 604_800_000, waited_ms=172_800_000)),
        "A stop may always come late.",
    )
    add(
        "a grant under the epoch of a stop",
        built(lambda b: b.revoke(epoch=7), lambda b: b.activate(epoch=5, term=5)),
        "V8",
        4,
        "It was revoked.",
    )
    out.good(
        "a grant above the epoch of a stop",
        built(lambda b: b.revoke(epoch=7), lambda b: b.activate(epoch=8, term=8)),
        "It is a new term.",
    )
    add(
        "a resume of another term",
        built(lambda b: b.halt(), lambda b: b.activate(), lambda b: b.grant(term=1)),
        "V8",
        5,
        "Not the term that was activated last.",
    )
    add("an activation without a report", _bare(report=None), "V9", 1, "It rests on none.")
    add(
        "an activation on a report that is not here",
        _bare(report="ab" * 32),
        "V9",
        1,
        "It rests on none.",
    )
    add("an activation on a failed report", _on("fail"), "V9", 1, "It did not pass.")
    add("an activation on an unknown outcome", _on("unknown"), "V9", 1, "It did not pass.")
    add(
        "an activation under another policy",
        _on("pass", policy="1" * 64),
        "V9",
        1,
        "Of another policy.",
    )
    add("an activation before its report", _before(), "V9", 0, "The report stands before it.")
    add(
        "a promotion without a report",
        built(lambda b: b.grant(kind="promote")),
        "V9",
        2,
        "It rests on none.",
    )
    out.good(
        "an extension without a report", built(lambda b: b.grant(kind="extend")), "It needs none."
    )
    add("two rules are broken: the first in the ledger is named", built(
        lambda b: b.halt(prev="ab" * 32), lambda b: b.grant(kind="promote")), "V9", 3,
        "What is missing at the end is told only when all else is good.")  # fmt: skip


def _bare(**fields: Any) -> list[Entry]:
    book = Book()
    book.note()
    book.grant(term=1, **fields)
    return book.entries


def _on(outcome: str, **fields: Any) -> list[Entry]:
    book = Book()
    book.activate(report=book.report(outcome), **fields)
    return book.entries


def _before() -> list[Entry]:
    book = Book()
    book.activate()
    first, second = book.entries
    return chained([(first[0], second[1], "", ()), (second[0], first[1], "", ())])


# -- V10, and keysets that follow each other -----------------------------------------------------------


def _answers(book: Book, grant: str, *said: tuple[str, str]) -> list[str]:
    found = []
    for name, word in said:
        heading = {"issued_at_ms": book.at_ms, "keyset_version": book.version}
        record = samples.answer(word, by=name, proposal=grant, **heading)
        book.add(envelope("answer", record))
        found.append(identity("answer", record))
    return found


def _executed(book: Book, grant: str, answers: list[str], by: str = "bob") -> None:
    heading = {"issued_at_ms": book.at_ms, "keyset_version": book.version}
    record = samples.execution(by=by, directive=grant, answers=answers, **heading)
    book.add(envelope("execution", record))


BOTH = (("alice", "propose"), ("bob", "approve"))


def _four_eyes(decide: Callable[[Book, str], None] | None, *names: str) -> list[Entry]:
    book = Book(4)
    report = book.report()
    book.grant(*(names or ("alice", "bob")), term=1, report=report, decide=decide)
    return book.entries


def _consent(out: Ledgers) -> None:
    def no(name: str, decide: Callable[[Book, str], None], at: int, why: str) -> None:
        out.bad(name, _four_eyes(decide), "V10", at, why, keysets=["two"])

    def whole(book: Book, grant: str) -> None:
        _executed(book, grant, _answers(book, grant, *BOTH))

    def others(book: Book, grant: str) -> None:
        _executed(book, grant, _answers(book, "ab" * 32, *BOTH))

    def one(book: Book, grant: str) -> None:
        _executed(book, grant, _answers(book, grant, BOTH[0]))

    def same(book: Book, grant: str) -> None:
        _executed(book, grant, _answers(book, grant, BOTH[0], ("alice", "approve")))

    def rejects(book: Book, grant: str) -> None:
        _executed(book, grant, _answers(book, grant, BOTH[0], ("bob", "reject")))

    def stranger(book: Book, grant: str) -> None:
        _executed(book, grant, _answers(book, grant, BOTH[0], ("carol", "approve")))

    def unnamed(book: Book, grant: str) -> None:
        _executed(book, grant, _answers(book, grant, *BOTH)[:1])

    def by_carol(book: Book, grant: str) -> None:
        _executed(book, grant, _answers(book, grant, *BOTH), by="carol")

    def elsewhere(book: Book, grant: str) -> None:
        _executed(book, "ab" * 32, _answers(book, grant, *BOTH))

    def twice(book: Book, grant: str) -> None:
        answers = _answers(book, grant, *BOTH)
        _executed(book, grant, answers, by="carol")
        _executed(book, grant, answers)

    good = _four_eyes(whole)
    out.good("two propose, approve and execute", good, "Every rule holds.", keysets=["two"])
    out.good(
        "an execution by a stranger, then one by a signer",
        _four_eyes(twice),
        "The last one counts.",
        keysets=["two"],
    )
    out.good(
        "two have signed, and no execution was ever written",
        _four_eyes(None),
        "Asked for once the ledger has an execution.",
        keysets=["two"],
    )
    no("no execution of this grant", elsewhere, 4, "Another one was executed.")
    no("one answer of two", one, 3, "As many as the keyset asks for.")
    no("two answers of one", same, 4, "Distinct people.")
    no("an answer that rejects", rejects, 4, "It is no consent.")
    no("an answer of somebody who has not signed", stranger, 4, "One of its signers.")
    no("an answer that the execution does not name", unnamed, 4, "It names them.")
    no("answers to another proposal", others, 4, "They are to this grant.")
    no("executed by somebody who has not signed", by_carol, 4, "One of its signers.")
    out.bad("one signature of two", _four_eyes(whole, "alice"), "V3", 4, "Two have to sign.", keysets=["two"])  # fmt: skip


def _rotated(out: Ledgers) -> None:
    book = Book()
    book.activate()
    book.version = 5
    book.halt()
    out.good(
        "an entry under a newer keyset",
        book.entries,
        "Each under the one that it names.",
        keysets=["one", "without bob"],
    )
    out.bad("a keyset that is not at hand", book.entries, "V3", 2, "It was not judged.")
    out.bad(
        "the first of two keysets is not at hand",
        book.entries,
        "V3",
        0,
        "It was not judged.",
        keysets=["without bob"],
    )
    broken = chained([*book.entries, ("1760000099000-0", book.entries[0][1], "", ())])
    out.bad(
        "a keyset that is not at hand, and a later entry told twice",
        broken,
        "V5",
        3,
        "A broken rule is told before what was not judged.",
    )
    book.grant()
    old = len(book.entries)
    book.version = 3
    book.halt()
    book.grant("bob", by="bob")
    both = ["one", "without bob"]
    out.bad(
        "a grant under an older keyset by somebody who was taken out",
        book.entries,
        "V3",
        old + 1,
        "It has to be good under the newer one, too.",
        keysets=both,
    )
    again = Book(5)
    again.activate()
    again.version = 3
    again.halt(by="bob")
    out.good(
        "a halt under an older keyset by somebody who was taken out",
        again.entries,
        "What only takes away is judged by the keyset that it names.",
        keysets=both,
    )
    again.grant("alice", by="alice")
    out.good("a grant under an older keyset by somebody who is in both", again.entries,
             "Good under both.", keysets=both)  # fmt: skip


STEPS = {"one": 3, "two": 4, "without bob": 5}


def _step(book: Book, old: str, new: str, *names: str, **fields: Any) -> None:
    """A step from keyset to keyset, as an entry."""
    record = samples.rotation(
        issued_at_ms=book.at_ms,
        **{
            "keyset_version": STEPS[old],
            "number": STEPS[new],
            "digest": digest(KEYSETS[new]),
            "before": digest(KEYSETS[old]),
            **fields,
        },
    )
    book.add(envelope("keyset", record, *(names or ("omar", "ruth"))))


def _succession(out: Ledgers) -> None:
    def built(*steps: Callable[[Book], None]) -> list[Entry]:
        book = Book()
        book.activate()
        for step in steps:
            step(book)
        return book.entries

    def to(version: int) -> Callable[[Book], None]:
        return lambda b: setattr(b, "version", version)

    def first(b: Book) -> None:
        _step(b, "one", "two")

    def second(b: Book) -> None:
        _step(b, "two", "without bob")

    three = ["one", "two", "without bob"]
    note = Book.note

    def good(name: str, why: str, *steps: Callable[[Book], None]) -> None:
        out.good(f"steps: {name}", built(*steps), why, keysets=three)

    def bad(
        name: str, at: int, why: str, *steps: Callable[[Book], None], keysets: Any = three
    ) -> None:
        out.bad(f"steps: {name}", built(*steps), "V3", at, why, keysets=keysets)

    good(
        "two, and an entry under each",
        "Each leads to the next.",
        note,
        first,
        to(4),
        note,
        second,
        to(5),
        note,
    )
    good(
        "an entry under the older keyset comes later",
        "What only tells is judged by its own.",
        first,
        note,
    )
    good("a halt under the older keyset", "What only takes away, too.", first, Book.halt)
    good(
        "an `extend` under the newer one",
        "Two have signed it.",
        first,
        to(4),
        lambda b: b.grant("alice", "bob", kind="extend"),
    )
    bad("one is skipped", 2, "It leads from 3 to 5.", lambda b: _step(b, "one", "without bob"))
    bad(
        "one is not here",
        3,
        "From 3 to 4, and then from 5.",
        first,
        lambda b: _step(
            b, "without bob", "without bob", number=6, before=digest(KEYSETS["without bob"])
        ),
    )
    bad("told again", 3, "4 was in use.", first, lambda b: (_step(b, "one", "two"), None)[1])
    bad(
        "an entry under a keyset to which no step has led",
        3,
        "The step to 5 is not here.",
        first,
        to(5),
        note,
    )
    bad(
        "to a keyset that a grant has named before",
        3,
        "4 was in use.",
        to(4),
        lambda b: b.grant("alice", "bob", kind="extend"),
        first,
    )
    bad("by one root", 2, "Two have to sign.", lambda b: _step(b, "one", "two", "omar"))
    bad(
        "from another keyset 3",
        2,
        "Made to follow another.",
        lambda b: _step(b, "one", "two", before="ab" * 32),
    )
    bad(
        "to another keyset 4",
        2,
        "Another one is at hand.",
        lambda b: _step(b, "one", "two", digest="ab" * 32),
    )
    bad("the next keyset is not at hand", 2, "Its roots were not asked.", first, keysets=["one"])
    bad(
        "a grant under the older keyset by one",
        3,
        "Two have to sign now.",
        first,
        lambda b: b.grant(kind="extend"),
    )
    begun = built(lambda b: b.note("generation", by="alice"))
    out.bad("a note within the ledger that begins it anew", begun, "V2", 2, "It is the first of its own.")  # fmt: skip


def _risk(out: Ledgers) -> None:
    def stopped(*names: str, last: str = "carol") -> list[Entry]:
        book = Book()
        book.activate()
        book.revoke(by="carol")
        if last != "carol":
            book.revoke(by=last)
        report = book.report(by=names[0])
        term = book.epoch + 1
        book.grant(*names, by=names[0], term=term, report=report)
        return book.entries

    one = "After a stop by risk."
    out.bad("a start without risk after its stop", stopped("alice"), "V11", 4, "Risk has to sign.")
    out.good("a start with risk after its stop", stopped("alice", "carol"), one)
    out.good("a start by risk alone after its stop", stopped("carol"), one)
    out.good(
        "a start after a later stop by another",
        stopped("alice", last="rita"),
        "The last stop counts.",
    )
    late = Book()
    late.activate()
    late.revoke(epoch=7)
    late.revoke(epoch=3, by="carol", waited_ms=3_000)
    report = late.report()
    late.grant(epoch=8, term=8, report=report)
    out.good(
        "a stop by risk under the last one came late",
        late.entries,
        "The last stop has the highest epoch.",
    )


def ledgers_file() -> File:
    out = Ledgers()
    for part in (_remembered, _attacks, _signed, _order, _consent, _rotated, _succession, _risk):
        part(out)
    envelopes = {name: given_bytes(raw) for raw, name in out.names.items()}
    return File(
        "Ledgers: the verdict, or the first entry that breaks a rule.",
        out.vectors,
        KEYSETS,
        envelopes,
    )


FILES = {"ledgers": ledgers_file}
