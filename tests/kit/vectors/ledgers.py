"""Vectors of ledgers: good ones, and every way in which somebody changes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import samples
from .books import DAY, END, KEYSETS, Book, Entry, Ledgers, chained
from .form import (
    GENESIS,
    START_MS,
    File,
    canonical,
    envelope,
    given_bytes,
    identity,
    parts,
)
from .successions import consent, risk, rotated, succession


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


def ledgers_file() -> File:
    out = Ledgers()
    for part in (_remembered, _attacks, _signed, _order, consent, rotated, succession, risk):
        part(out)
    envelopes = {name: given_bytes(raw) for raw, name in out.names.items()}
    return File(
        "Ledgers: the verdict, or the first entry that breaks a rule.",
        out.vectors,
        KEYSETS,
        envelopes,
    )


FILES = {"ledgers": ledgers_file}
