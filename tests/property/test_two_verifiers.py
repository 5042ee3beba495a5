"""Our Python and the verifier in Node decide alike what nobody has thought of: strange inputs, drawn.

Each round changes something good: bytes of an envelope, a record that is signed again after the change,
the order of a ledger, a line of an export, a note, a policy. What one accepts the other accepts, with
the same value; a ledger breaks the same rule at the same entry. `GOLIVE_DIFFERENTIAL=20000` plays so
many rounds of each, as `make fuzz` does; the same seed draws the same inputs.
"""

from __future__ import annotations

import base64
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fuzz.mutator import Mutator
from golive_redis.audit.reading import write_line
from golive_redis.records.ledger import Entry
from kit import nodejs
from kit.vectors import books, judge, samples
from kit.vectors.files import FILES, FOLDER
from kit.vectors.form import WHERE, dump, envelope, given_bytes

ROUNDS = int(os.environ.get("GOLIVE_DIFFERENTIAL", "200"))
SEED = int(os.environ.get("GOLIVE_DIFFERENTIAL_SEED", "1"))

Question = dict[str, Any]
KEPT = {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in FILES}


def good(name: str, op: str) -> list[Question]:
    return [v for v in KEPT[name]["vectors"] if v["op"] == op and "accept" in v["expect"]]


def bent(mutate: Mutator, question: Question, field: str, others: list[bytes]) -> Question:
    """A question in which the bytes of one thing that is given have been changed."""
    raw = judge.raw_of(question["given"][field])
    if mutate.random.random() < 0.95:  # the rest is left as it is: both verdicts have to be met
        raw = mutate.bent(raw, others)
    return {"op": question["op"], "given": {**question["given"], field: given_bytes(raw)}}


def of_bytes(*sources: tuple[str, str, str]) -> Callable[[Mutator], Question]:
    """Draws from vectors of these files, ops and fields."""
    found = [(question, field) for name, op, field in sources for question in good(name, op)]
    # The largest of the notes is for the limit of 256 KiB, and slow to bend a thousand times.
    found = [(q, field) for q, field in found if len(judge.raw_of(q["given"][field])) < 20_000]
    others = [judge.raw_of(question["given"][field]) for question, field in found]

    def draw(mutate: Mutator) -> Question:
        question, field = mutate.random.choice(found)
        return bent(mutate, question, field, others)

    return draw


RECORDS = [(kind, make(), signers) for kind, (make, signers, _) in samples.KINDS.items()]
PAYLOADS = [dump(record).encode() for _, record, _ in RECORDS]


def signed_again(mutate: Mutator) -> Question:
    """A changed record, signed by those who may: only its own rules are in its way."""
    kind, record, signers = mutate.random.choice(RECORDS)
    way = mutate.random.randrange(4)
    if way == 0:
        payload = mutate.bent(dump(record).encode(), PAYLOADS)
    elif way == 1:
        payload = mutate.json(record)
    else:  # fields of another record, or another value that some field has somewhere
        value = dict(record)
        _, other, _ = mutate.random.choice(RECORDS)
        for _ in range(way - 1):
            field = mutate.random.choice(sorted(value))
            source = other if mutate.random.random() < 0.5 else record
            value[field] = source[mutate.random.choice(sorted(source))]
        payload = dump(value).encode()
    raw = envelope(kind, payload, *signers)
    return {"op": "envelope", "given": {"envelope": given_bytes(raw), "keyset": "one", **WHERE}}


BOOKS = [
    list(vector["given"]["entries"])
    for vector in good("ledgers", "ledger")
    if len(vector["given"]["entries"]) > 3
]
NAMES = sorted(KEPT["ledgers"]["envelopes"])
SHARED_RAW = {name: judge.raw_of(raw) for name, raw in KEPT["ledgers"]["envelopes"].items()}


def _rewrite(draw: random.Random, entries: list[Any]) -> None:
    at, other = draw.randrange(len(entries)), draw.randrange(len(entries))
    match draw.randrange(7):
        case 0 if len(entries) > 1:
            del entries[at]
        case 1:
            entries[at][1], entries[other][1] = entries[other][1], entries[at][1]
        case 2:
            entries.insert(at, [entries[other][0], entries[other][1], entries[other][2]])
        case 3:
            entries[at][1] = draw.choice(NAMES)
        case 4:
            ms = int(entries[at][0].split("-")[0]) + draw.choice((-600_006, -999, 1, 995, 600_000))
            entries[at][0] = f"{ms}-{draw.randrange(3)}"
        case 5:
            entries[at].append("x")
        case _:
            entries[at][2] = entries[other][2]


def rewritten(mutate: Mutator) -> Question:
    """A ledger that somebody has rewritten, mostly with heads computed anew and ids that rise."""
    draw = mutate.random
    before = draw.choice(BOOKS)
    entries = [list(entry) for entry in before]
    for _ in range(draw.choice((1, 1, 2, 3))):
        _rewrite(draw, entries)
    if draw.random() < 0.5:
        ids = sorted(int(entry[0].split("-")[0]) for entry in entries)
        for number, (entry, at) in enumerate(zip(entries, ids, strict=True)):
            entry[0] = f"{at}-{number}"
    if draw.random() < 0.8:
        chain = books.chained((e[0], SHARED_RAW[e[1]], "", ()) for e in entries)
        for entry, (_, _, head, _) in zip(entries, chain, strict=True):
            entry[2] = head
    keysets = draw.choice((["one"], ["two"], ["one", "without bob"], ["one", "two"]))
    given = {"entries": entries, "keysets": keysets, **WHERE}
    if draw.random() < 0.3:
        given["kept"] = draw.choice(before)[2]
    return {"op": "ledger", "given": given}


LINES = [
    write_line(index, Entry(raw, head, at)) for index, (at, raw, head, _) in enumerate(books.DAY)
]


def torn(mutate: Mutator) -> Question:
    """An export in which a line was changed, moved or lost."""
    draw = mutate.random
    lines = list(LINES)
    at = draw.randrange(len(lines))
    match draw.randrange(5):
        case 0:
            del lines[at]
        case 1:
            lines[at] = mutate.json(json.loads(lines[at])) + b"\n"
        case 2:
            lines.insert(at, lines[draw.randrange(len(lines))])
        case _:
            lines[at] = mutate.bent(lines[at], LINES)
    given = {"export": given_bytes(b"".join(lines)), "keysets": ["one"], **WHERE}
    return {"op": "ledger", "given": given}


ENVELOPES = KEPT["envelopes"]["keysets"]
KINDS: dict[str, tuple[Callable[[Mutator], Question], dict[str, Any]]] = {
    "json": (of_bytes(("json", "json", "json")), {}),
    "envelopes": (
        of_bytes(("envelopes", "envelope", "envelope"), ("records", "envelope", "envelope")),
        {"keysets": ENVELOPES},
    ),
    "records": (signed_again, {"keysets": ENVELOPES}),
    "keysets": (of_bytes(("keysets", "keyset", "keyset"), ("keysets", "payload", "payload")), {}),
    "ledgers": (rewritten, KEPT["ledgers"]),
    "exports": (torn, KEPT["ledgers"]),
    "notes": (
        of_bytes(("notes", "note", "note"), ("checkpoints", "checkpoint", "note")),
        {},
    ),
    "policies": (of_bytes(("checkpoints", "policy", "policy")), {}),
    "proofs": (of_bytes(("checkpoints", "proof", "proof")), {}),
}


def ours(question: Question, shared: dict[str, Any], file: Path) -> dict[str, Any]:
    """Our verdict; of a refusal only that it is one, but for a ledger."""
    if "export" in question["given"]:
        file.write_bytes(judge.raw_of(question["given"]["export"]))
        question = {**question, "given": {**question["given"], "file": str(file)}}
    try:
        return judge.decide(question, shared)
    except judge.UnnamedRuleError:
        return {"refuse": ""}


def told(verdict: dict[str, Any], op: str) -> str:
    """What has to be the same."""
    if "refuse" in verdict and op != "ledger":
        return "refused"
    return json.dumps(verdict, sort_keys=True)  # where true is not 1


@pytest.mark.parametrize("kind", KINDS)
def test_both_decide_alike_whatever_is_drawn(node, kind, tmp_path):
    draw, shared = KINDS[kind]
    mutate = Mutator(SEED)
    questions = [draw(mutate) for _ in range(ROUNDS)]
    theirs = nodejs.decided(node, questions, shared)
    accepted = 0
    for number, (question, their) in enumerate(zip(questions, theirs, strict=True)):
        op = question["op"]
        our = ours(question, shared, tmp_path / "export.jsonl")
        assert told(our, op) == told(their, op), f"round {number}: {dump(question)[:6_000]}"
        accepted += "accept" in our
    # Both are met, or nothing is shown by their agreement.
    assert 0 < accepted < ROUNDS


def test_what_is_drawn_replays():
    for draw, _ in KINDS.values():
        one, other = Mutator(7), Mutator(7)
        assert [draw(one) for _ in range(20)] == [draw(other) for _ in range(20)]


def test_a_question_that_is_decided_otherwise_is_found(node, tmp_path):
    """By two that differ in what they know: one has the keyset in which two have to sign."""
    raw = base64.b64encode(envelope("grant", samples.grant())).decode()
    given = {"envelope": {"base64": raw}, "keyset": "one", **WHERE}
    question = {"op": "envelope", "given": given}
    (their,) = nodejs.decided(node, [question], {"keysets": {"one": ENVELOPES["two"]}})
    our = ours(question, {"keysets": ENVELOPES}, tmp_path / "none")
    assert told(our, "envelope") != told(their, "envelope") == "refused"
