"""Vectors of ledgers: approvals by several, steps from keyset to keyset, and starts after a stop by risk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import samples
from .books import KEYSETS, Book, Entry, Ledgers, chained
from .form import (
    digest,
    envelope,
    identity,
)


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


def consent(out: Ledgers) -> None:
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


def rotated(out: Ledgers) -> None:
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


def succession(out: Ledgers) -> None:
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


def risk(out: Ledgers) -> None:
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
