"""Ten thousand changes to a real ledger, drawn and made one at a time: none passes for the ledger.

Without anybody who remembers its end, a change that leaves every head as it was is named with its very
entry. With somebody who does, nothing that differs from the ledger verifies, whoever computes the heads.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import Any

import pytest

from golive_redis.audit import verifying
from golive_redis.audit.history import open_all
from golive_redis.audit.opening import Keysets, Opened
from golive_redis.audit.verifying import Anchor, Judge, Verdict, judged
from golive_redis.core.timing import Haste
from golive_redis.records.keyset import parse_keyset
from golive_redis.records.ledger import Entry
from golive_redis.testing import Signers
from kit.ledgers import Book, chained

SIGNERS = Signers(approvals=2)
KEYSETS = Keysets.of([SIGNERS.keyset], "golive", "test")
ROUNDS = 10_000
HEARTBEATS = {"hb-1": ("heartbeat",)}

Entries = list[Entry]
Change = Callable[[random.Random, Entries], None]


def ledger() -> Entries:
    book = Book(SIGNERS)
    for _ in range(3):
        book.activate()
        book.note("joined", by="hb-2")
        book.halt(labels={"symbol": "BTCUSDT"})
        book.halt(kind="reduce")
        book.resume()
        book.report(passed=False)
        book.revoke()
        book.note("stop-confirmed", by="rita")
    return book.entries


GOOD = ledger()
END = Anchor(GOOD[-1].head, len(GOOD), "the auditor")


@lru_cache(maxsize=4_096)
def _open(raw: bytes) -> Opened | str:
    return open_all([raw], KEYSETS)[0]


@pytest.fixture(autouse=True)
def signatures_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An envelope that a change has left alone is judged once."""
    monkeypatch.setattr(verifying, "open_all", lambda raws, _: [_open(raw) for raw in raws])


def verdict(entries: Entries, *anchors: Anchor) -> Verdict:
    return judged(Judge(KEYSETS, anchors=anchors), [entries], KEYSETS)


# -- changes ------------------------------------------------------------------------------------


def _flip(draw: random.Random, entries: Entries) -> None:
    at = draw.randrange(len(entries))
    raw = bytearray(entries[at].envelope)
    raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
    entries[at] = Entry(bytes(raw), entries[at].head, entries[at].id)


def _flip_head(draw: random.Random, entries: Entries) -> None:
    at = draw.randrange(len(entries))
    head = list(entries[at].head)
    place = draw.randrange(64)
    head[place] = "0" if head[place] != "0" else "1"
    entries[at] = Entry(entries[at].envelope, "".join(head), entries[at].id)


def _delete(draw: random.Random, entries: Entries) -> None:
    at = draw.randrange(len(entries) - 1)
    del entries[at]


def _cut_the_beginning(draw: random.Random, entries: Entries) -> None:
    del entries[: draw.randrange(1, len(entries))]


def _insert(draw: random.Random, entries: Entries) -> None:
    at, other = draw.randrange(len(entries)), draw.choice(GOOD)
    entries.insert(at, Entry(other.envelope, other.head, entries[at].id))


def _swap(draw: random.Random, entries: Entries) -> None:
    one, other = sorted(draw.sample(range(len(entries)), 2))
    first, second = entries[one], entries[other]
    entries[one] = Entry(second.envelope, second.head, first.id)
    entries[other] = Entry(first.envelope, first.head, second.id)


def _edited(edit: Callable[[random.Random, dict[str, Any]], None]) -> Change:
    """A change to the JSON of one envelope."""

    def change(draw: random.Random, entries: Entries) -> None:
        at = draw.randrange(len(entries))
        before = entries[at].envelope
        try:
            value = json.loads(before)
            edit(draw, value)
        except (ValueError, LookupError, TypeError, AttributeError):
            return  # an earlier change has left no envelope there
        raw = json.dumps(value, separators=(",", ":")).encode()
        entries[at] = Entry(raw, entries[at].head, entries[at].id)

    change.__name__ = edit.__name__
    return change


@_edited
def _another_key(draw: random.Random, value: dict[str, Any]) -> None:
    signature = draw.choice(value["signatures"])
    other = SIGNERS.signers[draw.choice(list(SIGNERS.signers))]
    pick = draw.randrange(3)
    if pick == 0:
        signature["keyid"] = other.keyid
    elif pick == 1:
        signature["sig"] = base64.b64encode(other.sign(b"something else")).decode()
    else:
        value["signatures"].remove(signature)


@_edited
def _another_type(draw: random.Random, value: dict[str, Any]) -> None:
    value["payloadType"] = json.loads(draw.choice(GOOD).envelope)["payloadType"]


@_edited
def _another_payload(draw: random.Random, value: dict[str, Any]) -> None:
    payload = json.loads(base64.b64decode(value["payload"]))
    field = draw.choice(sorted(payload))
    payload[field] = draw.choice([0, 1, 7, "", "other", None, [], "f" * 64])
    text = json.dumps(payload, separators=(",", ":"))
    value["payload"] = base64.b64encode(text.encode()).decode()


def _add_a_field(draw: random.Random, entries: Entries) -> None:
    at = draw.randrange(len(entries))
    entries[at] = Entry(entries[at].envelope, entries[at].head, entries[at].id, ("x",))


CHANGES: Sequence[Change] = (
    _flip,
    _flip_head,
    _delete,
    _cut_the_beginning,
    _insert,
    _swap,
    _another_key,
    _another_type,
    _another_payload,
    _add_a_field,
)


def test_every_change_that_leaves_the_heads_is_named_with_its_entry() -> None:
    draw = random.Random(1)
    made = 0
    while made < ROUNDS // 2:
        change, entries = draw.choice(CHANGES), list(GOOD)
        change(draw, entries)
        if entries == GOOD:
            continue
        pairs = enumerate(zip_longest(entries, GOOD))
        first = next(at for at, (item, good) in pairs if item != good)
        made += 1
        found = verdict(entries).broken
        assert found is not None, change.__name__
        assert found.index == first, (change.__name__, found.message)
        assert not verdict(entries, END).verified


def test_no_change_passes_where_somebody_remembers_the_end_whoever_computes_the_heads() -> None:
    draw = random.Random(2)
    made = 0
    while made < ROUNDS // 2:
        entries = list(GOOD)
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            if len(entries) > 2:
                draw.choice(CHANGES)(draw, entries)
        entries = chained(entries)
        cut = entries[: draw.randrange(1, len(entries) + 1)] if draw.random() < 0.1 else entries
        if [item.envelope for item in cut] == [item.envelope for item in GOOD]:
            continue
        made += 1
        found = verdict(cut, END)
        assert not found.verified
        assert found.broken is not None


def test_what_is_broken_does_not_become_good_by_another_change() -> None:
    draw = random.Random(3)
    for _ in range(1_000):
        entries = list(GOOD)
        draw.choice(CHANGES)(draw, entries)
        if entries == GOOD or verdict(entries, END).verified:
            continue
        for _ in range(2):
            if len(entries) > 2:
                draw.choice(CHANGES)(draw, entries)
        same = [(e.envelope, e.others) for e in entries] == [(e.envelope, e.others) for e in GOOD]
        assert same or not verdict(chained(entries), END).verified


# -- starts and stops, drawn ----------------------------------------------------------------------

CREW = Signers({"alice": ("approver",), "bob": ("approver",), "rita": ("approver",), **HEARTBEATS})
ALLOWED = Haste(cool_down_ms=60_000, daily=4)
RISK = "rita"


def _crew() -> Keysets:
    file = {**CREW.keyset_file, "principals": dict(CREW.keyset_file["principals"])}
    file["principals"][RISK] = {**file["principals"][RISK], "authority": "risk"}
    return Keysets.of([parse_keyset(file)], "golive", "test")


def _against_the_rules(
    at_ms: int, by: tuple[str, ...], stop: tuple[int, str] | None, starts: Sequence[int]
) -> bool:
    """The rules once more, as an auditor would read them from the protocol."""
    if stop is not None and stop[1] == RISK and RISK not in by:
        return True
    if len(by) > 1:
        return False
    too_soon = stop is not None and at_ms < stop[0] + ALLOWED.cool_down_ms
    return too_soon or sum(at_ms - start < 86_400_000 for start in starts) >= ALLOWED.daily


def test_v11_names_the_first_start_against_the_rules_in_any_order_of_starts_and_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verifying, "open_all", open_all)  # by the keyset of this crew
    draw, crew = random.Random(4), _crew()
    named = good = 0
    for _ in range(300):
        book, starts, stop, first = Book(CREW), [], None, None
        for _ in range(draw.randrange(3, 9)):
            if stop is not None or starts:
                book.at_ms += draw.choice((500, 58_000, 59_500, 61_000, 3_600_000, 9 * 3_600_000))
            by = draw.choice((("alice",), ("bob",), ("rita",), ("alice", "bob"), ("bob", "rita")))
            book.activate(by=by)
            issued_ms = book.entries[-1].at_ms - 5
            if _against_the_rules(issued_ms, by, stop, starts):
                first = len(book.entries) - 1
                break
            starts.append(issued_ms)
            if draw.random() < 0.8:
                book.revoke(by=(who := draw.choice(("alice", "rita"))))
                stop = book.entries[-1].at_ms - 5, who
        judge = Judge(crew, policies={"0" * 64: ALLOWED})
        found = judged(judge, [book.entries], crew).broken
        assert (found and (found.index, found.rule)) == (first and (first, "V11"))
        named, good = named + (found is not None), good + (found is None)
    assert named > 50
    assert good > 30


def test_v12_a_head_that_was_seen_and_is_gone_is_named_whatever_was_changed() -> None:
    """Each head that a receipt could have seen, against ledgers that were changed and chained anew."""
    draw = random.Random(5)
    made = 0
    while made < 500:
        entries = list(GOOD)
        draw.choice(CHANGES)(draw, entries)
        entries = chained(entries)
        seen = draw.choice(GOOD).head
        gone = seen not in {entry.head for entry in entries}
        judge = Judge(KEYSETS, heads={seen: "hb-1"})
        found = judged(judge, [entries], KEYSETS).broken
        if not gone:
            assert found is None or found.rule != "V12"
            continue
        made += 1
        assert found is not None


def test_the_ledger_itself_verifies() -> None:
    assert verdict(GOOD, END).verified
