"""Ledgers in the making, and the vectors that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from . import samples
from .form import (
    EVERYBODY,
    GENESIS,
    START_MS,
    WHERE,
    Vector,
    canonical,
    envelope,
    head_after,
    identity,
    keyset,
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
