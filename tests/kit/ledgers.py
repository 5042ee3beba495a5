"""Ledgers as the product writes them: signed, chained, with the server's time in their ids."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from golive_redis.records.approval import Answer, Execution, Said
from golive_redis.records.envelope import decode, issued_at, seal
from golive_redis.records.ledger import GENESIS, Entry, Note, extend
from golive_redis.records.report import Finding, Outcome, Report
from golive_redis.testing.signers import START_MS, Signers, identity

POLICY = "0" * 64
CLI = Signers(environment="testnet")
"""Who signs what the command reads, in the folder that `golive init` makes."""


class Book:
    """A ledger in the making: each step signs what the product would sign, a second after the last.

    Args:
        signers: Who signs.
        at_ms: When it begins.
    """

    def __init__(self, signers: Signers, at_ms: int = START_MS) -> None:
        self.signers = signers
        self.at_ms = at_ms
        self.entries: list[Entry] = []
        self.epoch = 0
        self.term = 0
        self.prev: str | None = None

    # -- steps -----------------------------------------------------------------------------------

    def activate(self, **fields: Any) -> bytes:
        """A preflight that passed, and the grant that rests on it."""
        by = fields.get("by", "alice")
        report = self.report(by=by if isinstance(by, str) else by[0])
        return self._grant(report=report, term=self.epoch + 1, **fields)

    def resume(self, **fields: Any) -> bytes:
        return self._grant(term=self.term, **fields)

    def halt(self, **fields: Any) -> bytes:
        self.epoch += 1
        fields = {"term": self.term, "prev": self.prev, "issued_at_ms": self._now()} | fields
        return self._directive(self.signers.restriction(self.epoch, **fields))

    def revoke(self, **fields: Any) -> bytes:
        self.epoch += 1
        fields = {"issued_at_ms": self._now()} | fields
        return self._directive(self.signers.revocation(self.epoch, **fields))

    def report(self, *, passed: bool = True, policy: str = POLICY, by: str = "alice") -> str:
        """A preflight's signed report; returns its identity."""
        outcome = Outcome.PASS if passed else Outcome.FAIL
        finding = Finding(check="redis", outcome=outcome, explain="as seen")
        heading = self.signers.trust.heading(by, self._now())
        raw = seal(Report(**heading, policy=policy, findings=[finding]), self.signers.signers[by])
        self.add(raw)
        return identity(raw)

    def note(self, topic: str = "goodbye", by: str = "hb-1", **fields: Any) -> bytes:
        heading = self.signers.trust.heading(by, fields.pop("issued_at_ms", self._now()))
        what: dict[str, Any] = {"topic": topic, "text": "as told", "facts": {}}
        raw = seal(Note(**heading, **(what | fields)), self.signers.signers[by])
        self.add(raw)
        return raw

    # -- entries ---------------------------------------------------------------------------------

    def add(self, raw: bytes, *, at_ms: int | None = None) -> None:
        """Enter an envelope 5 ms after its issue, or at that time."""
        at = self.at_ms + 5 if at_ms is None else at_ms
        head = self.entries[-1].head if self.entries else GENESIS
        self.entries.append(Entry(raw, extend(head, raw), next_id(self.entries, at)))
        self.at_ms = max(self.at_ms, at) + 1_000

    def put(self, client: Any, namespace: str = "golive") -> None:
        """Write it into a Redis, in place of the ledger that is there."""
        put(client, self.entries, namespace)

    def _now(self) -> int:
        return self.at_ms

    def _grant(self, **fields: Any) -> bytes:
        self.epoch += 1
        self.term = fields["term"]
        now = fields.setdefault("issued_at_ms", self._now())
        window = {"not_before_ms": now - 30_000, "not_after_ms": now + 3_600_000}
        fields = {"prev": self.prev, "policy": POLICY} | window | fields
        raw = self.signers.grant(self.epoch, **fields)
        if self.signers.approvals > 1:
            self._decide(raw, now)
        return self._directive(raw)

    def _decide(self, grant: bytes, now: int) -> None:
        """What each of its signers says, and the execution by the last of them."""
        keys = {signer.keyid: name for name, signer in self.signers.signers.items()}
        names = [keys[keyid] for keyid, _ in decode(grant).signatures]
        answers = []
        for at, name in enumerate(names):
            raw = seal(
                Answer(
                    **self.signers.trust.heading(name, now + at),
                    proposal=identity(grant),
                    answer=Said.APPROVE if at else Said.PROPOSE,
                    approve_by_ms=now + 600_000,
                    reason="",
                ),
                self.signers.signers[name],
            )
            self.add(raw)
            answers.append(identity(raw))
        execution = Execution(
            **self.signers.trust.heading(names[-1], self._now()),
            directive=identity(grant),
            report=None,
            answers=answers,
        )
        self.add(seal(execution, self.signers.signers[names[-1]]))

    def _directive(self, raw: bytes) -> bytes:
        self.at_ms = max(self.at_ms, issued_at(raw))
        self.add(raw, at_ms=max(self.at_ms, issued_at(raw)) + 5)
        self.prev = identity(raw)
        return raw


def day(signers: Signers, at_ms: int = START_MS) -> Book:
    """A day: on, a halt, on again, off, on, off for good, with what heartbeats tell."""
    book = Book(signers, at_ms)
    book.activate()
    book.note("joined", by="hb-2")
    book.halt(labels={"symbol": "BTCUSDT"})
    book.resume()
    book.revoke()
    book.note("stop-confirmed", by="rita")
    book.report(passed=False)
    book.activate()
    book.halt(kind="reduce")
    book.revoke()
    book.note("goodbye")
    return book


def install(folder: Path, signers: Signers) -> Path:
    """Make signers the keyset of a folder that `golive init` has made; returns the file."""
    path = folder / "config" / "keyset.yaml"
    path.write_text(json.dumps(signers.keyset_file))
    return path


def next_id(entries: list[Entry], at_ms: int) -> str:
    """The id that Redis gives an entry at that time."""
    if not entries:
        return f"{at_ms}-0"
    last, count = map(int, entries[-1].id.split("-"))
    return f"{at_ms}-0" if at_ms > last else f"{last}-{count + 1}"


def chained(entries: Iterable[Entry]) -> list[Entry]:
    """The same entries with every head computed anew, as an owner of Redis can."""
    head, out = GENESIS, []
    for entry in entries:
        head = extend(head, entry.envelope)
        out.append(Entry(entry.envelope, head, entry.id, entry.others))
    return out


def put(client: Any, entries: list[Entry], namespace: str = "golive") -> None:
    """Write entries into a Redis, with the head after the last."""
    client.delete(f"{namespace}:audit", f"{namespace}:head")
    pipe = client.pipeline(transaction=False)
    for entry in entries:
        fields = {"r": entry.envelope, "h": entry.head} | dict.fromkeys(entry.others, "x")
        pipe.xadd(f"{namespace}:audit", fields, id=entry.id)
    pipe.set(f"{namespace}:head", entries[-1].head if entries else GENESIS)
    pipe.execute()
