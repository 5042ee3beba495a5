"""A ledger with something of everything that a report counts, over several days."""

from __future__ import annotations

import random
from typing import Any

from golive_redis.records.envelope import seal
from golive_redis.records.refusal import Attempt, Refusal
from golive_redis.records.report import Finding, Outcome, Report
from golive_redis.testing import Signers
from golive_redis.testing.signers import EVERYBODY
from kit.ledgers import POLICY, Book

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
BEGIN_MS = 1_767_225_600_000  # 2026-01-01, midnight in UTC
NASTY = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)> & 'quotes'",
    "\x1b[31mred\x1b[0m \u202egnp.exe\u2028",
    "w" * 500,
    "עצור עכשיו",
    "spread",
)
CREW = {**EVERYBODY, "carol": ("approver",)}


def refusal(book: Book, by: str, why: str, attempt: str = "activate", check: str = "") -> None:
    """An attempt that a rule has denied."""
    record = Refusal(
        **book.signers.trust.heading(by, book.at_ms),
        attempt=Attempt(attempt),
        why=why,
        check=check or None,
        report=None,
        proposal=None,
        text="no",
    )
    book.add(seal(record, book.signers.signers[by]))


def preflight(book: Book, **outcomes: str) -> None:
    """A preflight's report with these outcomes by check."""
    findings = [
        Finding(check=check, outcome=Outcome(outcome), explain="as seen")
        for check, outcome in outcomes.items()
    ]
    heading = book.signers.trust.heading("alice", book.at_ms)
    record = Report(**heading, policy=POLICY, findings=findings)
    book.add(seal(record, book.signers.signers["alice"]))


def confirmed(book: Book, result: str, by: str = "receipts") -> None:
    """What the last stop came to."""
    facts: dict[str, Any] = {"directive": book.prev, "by": by, "result": result}
    book.note("stop-confirmed", by="rita", facts=facts)


def busy_days(days: int, *, seed: int = 1, notes: int = 0) -> Book:
    """Days of a fleet, drawn: starts, halts of all and of some, stops, refusals, triggers."""
    draw = random.Random(seed)
    book = Book(Signers(CREW, environment="production"), BEGIN_MS)
    for day in range(days):
        book.at_ms = BEGIN_MS + day * DAY_MS + 6 * HOUR_MS + draw.randrange(HOUR_MS)
        if draw.random() < 0.4:
            why, check = draw.choice([("haste", ""), ("preflight-failed", "risk"), ("refused", "")])
            refusal(
                book,
                draw.choice(["alice", "bob"]),
                why,
                draw.choice(["activate", "approve"]),
                check,
            )
        if draw.random() < 0.3:
            preflight(book, redis="pass", risk=draw.choice(["fail", "unknown"]))
        if day % 7 > 4:
            continue
        until_ms = book.at_ms + draw.choice([2, 12, 30]) * HOUR_MS
        reason = draw.choice(NASTY)
        book.activate(
            by=draw.choice(["alice", "bob", "carol"]), reason=reason, not_after_ms=until_ms
        )
        for _ in range(notes):
            book.note(draw.choice(["joined", "goodbye"]))
        if draw.random() < 0.6:
            labels = draw.choice([{}, {"symbol": "BTCUSDT"}])
            kind = draw.choice(["halt", "reduce"])
            book.at_ms += draw.randrange(HOUR_MS)
            book.halt(kind=kind, labels=labels, reason=draw.choice(NASTY))
            book.at_ms += draw.randrange(HOUR_MS)
            if draw.random() < 0.7:
                book.resume(not_after_ms=until_ms)
        if draw.random() < 0.3:
            book.note("trigger", text="daily-loss fired (halt): loss 51 > 50")
        ends = draw.random()
        if ends < 0.7:
            book.at_ms += draw.randrange(9 * HOUR_MS)
            book.revoke(reason=draw.choice(NASTY))
            confirmed(book, draw.choice(["COMPLETE", "COMPLETE", "STOPPED"]))
        elif ends < 0.8:
            book.at_ms += draw.randrange(HOUR_MS)
            book.note("out-of-band", text=f"term {book.term} was removed without a stop")
    return book
