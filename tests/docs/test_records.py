"""docs/reference/records.md: enough to verify records in another language, and it is true."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from types import SimpleNamespace

import msgspec
import pytest

from golive_redis.audit import history
from golive_redis.errors import RecordError
from golive_redis.records.approval import Answer, Execution
from golive_redis.records.beat import Beat
from golive_redis.records.directive import Grant, Label, Restriction, Revocation
from golive_redis.records.envelope import MAX_ENVELOPE_BYTES, MAX_SIGNATURES, pae, peek, seal
from golive_redis.records.keyset import unsound
from golive_redis.records.ledger import GENESIS, Note, extend
from golive_redis.records.limits import Limits
from golive_redis.records.receipt import Receipt
from golive_redis.records.record import MAX_INT, Record, encode_record
from golive_redis.records.refusal import Refusal
from golive_redis.records.report import Finding, Report
from golive_redis.records.rotation import Rotation
from golive_redis.testing import EVERYBODY, FLEET, START_MS, Signers, identity
from kit.curve import NEUTRAL, encoded, small_order_points

PAGE = "docs/reference/records.md"
KINDS = (
    Grant, Restriction, Revocation, Beat, Receipt, Report, Note, Rotation, Refusal, Answer, Execution
)  # fmt: skip


def fields(kind: type[msgspec.Struct]) -> list[str]:
    """The fields of a record that are its own."""
    common = Record.__struct_fields__
    return [name for name in kind.__struct_fields__ if kind is Record or name not in common]


def test_every_kind_has_its_fields_and_its_payload_type(docs):
    assert set(KINDS) == set(Record.__subclasses__())
    text = docs.read(PAGE)
    tables = {"Common": Record, "limits": Limits, "finding": Finding}
    tables |= {kind.KIND: kind for kind in KINDS}
    for heading, kind in tables.items():
        assert [row[0].strip("`") for row in docs.table(PAGE, heading)] == fields(kind), heading
    for kind in KINDS:
        assert f"\n### {kind.KIND}\n\n`{kind.payload_type()}`\n" in text


def test_the_page_says_which_fields_may_be_null_or_missing(docs):
    tables = {"Common": Record, "limits": Limits, "finding": Finding}
    tables |= {kind.KIND: kind for kind in KINDS}
    for heading, kind in tables.items():
        rows = {row[0].strip("`"): row[1] for row in docs.table(PAGE, heading)}
        for field in msgspec.structs.fields(kind):
            if field.name in rows:
                nullable = type(None) in getattr(field.type, "__args__", ())
                assert nullable == rows[field.name].endswith("or null"), (heading, field.name)
                assert (not field.required) == ("may be missing" in rows[field.name])


def test_the_limits_on_the_page_are_those_of_the_code(docs):
    text = docs.read(PAGE)
    assert f"More than {MAX_ENVELOPE_BYTES} bytes" in text
    assert f"more than {MAX_SIGNATURES}," in text
    assert MAX_INT == 2**53 - 1
    assert len(GENESIS) == 64


def test_the_formulas_on_the_page_give_what_the_code_gives():
    kind, payload = "application/vnd.golive.note.v1+json", b'{"by":"x"}'
    written = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    assert pae(kind, payload) == written
    body = hashlib.sha256(b"envelope").hexdigest()
    head = hashlib.sha256(f"golive-ledger-v1\n{GENESIS}\n{body}".encode()).hexdigest()
    assert extend(GENESIS, b"envelope") == head


def test_the_page_has_the_rules_of_the_ledger_that_the_code_judges(docs):
    written = [row[0] for row in docs.table(PAGE, "The rules of the ledger")]
    assert written == re.findall(r"^\| (V\d+) \|", history.__doc__, re.MULTILINE)


def test_the_page_lists_the_keys_under_which_anybody_can_sign(docs):
    """Row 69: also for whoever writes a verifier in another language."""
    listed = [row[1].strip("`") for row in docs.table(PAGE, "Public keys")]
    points = [encoded((0, y)) for y in {y for _, y in small_order_points()}]
    assert sorted(listed) == sorted(point.hex() for point in points)
    assert all(unsound(bytes.fromhex(key)) for key in listed)


def verifier_of(docs):
    """What the program on the page defines, without running it."""
    (page,) = (page for page in docs.all if page.name == "records.md")
    (text,) = (b.text for b in docs.blocks(page) if b.text.startswith("# verify.py\n"))
    assert len(text.splitlines()) <= 100
    defined = {"__name__": "verify"}
    exec(text, defined)
    return SimpleNamespace(**defined)


@pytest.fixture(scope="module")
def verifier(docs):
    """The program on the page."""
    return verifier_of(docs)


def test_the_verifier_on_the_page_refuses_a_key_under_which_anybody_can_sign(verifier, tmp_path):
    """Row 69: it trusts no file that lists one."""
    keyset, file = tmp_path / "keyset.json", Signers().keyset_file
    keyset.write_text(json.dumps(file))
    fleet, keys = verifier.trusted(keyset)
    assert fleet == FLEET and len(keys) == len(EVERYBODY)
    key = "ed25519:" + base64.b64encode(encoded(NEUTRAL)).decode()
    file["principals"]["mallory"] = {"roles": ["approver"], "keys": [key]}
    keyset.write_text(json.dumps(file))
    with pytest.raises(SystemExit, match="mallory"):
        verifier.trusted(keyset)


SIGNERS = Signers()


def note(text, **changes):
    """A heartbeat's note."""
    heading = {**SIGNERS.trust.heading("hb-1", START_MS), **changes}
    return seal(Note(**heading, topic="goodbye", text=text, facts={}), SIGNERS.signers["hb-1"])


def a_ledger():
    """Two terms, with what comes in between."""
    grant = SIGNERS.grant(1)
    halt = SIGNERS.restriction(2, prev=identity(grant))
    resume = SIGNERS.grant(3, term=1, prev=identity(halt))
    later = SIGNERS.restriction(4, prev=identity(resume), issued_at_ms=START_MS + 1)
    stop = SIGNERS.revocation(5)
    again = SIGNERS.grant(6, prev=identity(stop), issued_at_ms=START_MS + 2)
    return [grant, note("one"), halt, resume, note("two"), later, stop, note("three"), again]


def chained(records, start=GENESIS):
    """The entries, each with the head after it."""
    head, entries = start, []
    for raw in records:
        head = extend(head, raw)
        entries.append({b"r": raw, b"h": head.encode()})
    return entries


GOOD = chained(a_ledger())
KEPT = GOOD[-1][b"h"].decode()


def said_of(verifier, entries, kept=None, end=None):
    """Everything that the verifier says, or its refusal."""
    keys = {key.keyid: (key.principal, key.public) for key in SIGNERS.keyset.keys.values()}
    newest = end or (entries[-1][b"h"].decode() if entries else GENESIS)
    try:
        return "\n".join(verifier.audit(entries, newest, FLEET, keys, *([kept] if kept else [])))
    except SystemExit as refused:
        return str(refused)


def test_the_verifier_on_the_page_believes_a_ledger_that_is_as_it_was_written(verifier):
    said = said_of(verifier, GOOD).splitlines()
    assert said[:3] == ["grant activate 1 alice", "note hb-1", "restriction halt 2 rita"]
    assert said[-2:] == [
        "9 entries, 0 came late. CONSISTENT, and nobody remembers its end",
        f"keep this head: {KEPT}",
    ]
    middle = GOOD[4][b"h"].decode()
    assert "VERIFIED up to entry 5" in said_of(verifier, GOOD, middle)
    assert "0 entries" in said_of(verifier, [])
    assert "0 entries" in said_of(verifier, [], GENESIS)


def without(*places):
    """The records but for some of them, with all heads computed anew."""
    return chained(raw for place, raw in enumerate(a_ledger()) if place not in places)


def with_reason(text):
    """The halt with another reason, and its old signature."""
    records = a_ledger()
    value = json.loads(records[2])
    payload = base64.b64decode(value["payload"]).replace(b'"reason":"test"', text)
    value["payload"] = base64.b64encode(payload).decode()
    records[2] = json.dumps(value).encode()
    return chained(records)


ATTACKS = {
    "an entry was edited": (
        with_reason(b'"reason":"fine"'),
        "entry 2 is no record, or was changed",
    ),
    "a head was edited": (
        [*GOOD[:3], {**GOOD[3], b"h": b"0" * 64}, *GOOD[4:]],
        "entry 3 does not follow",
    ),
    "an entry was deleted": ([*GOOD[:4], *GOOD[5:]], "entry 4 does not follow"),
    "a halt was deleted, heads anew": (
        without(2),
        "entry 2 names a directive before it that is not here",
    ),
    "the beginning was cut": (GOOD[3:], "entry 0 does not follow"),
    "the beginning was cut, heads anew": (
        without(0, 1, 2),
        "entry 0 names a directive before it that is not here",
    ),
    "the end was cut": (GOOD[:-3], None),
    "everything was deleted": ([], None),
    "an entry is there twice": (
        chained([*a_ledger()[:3], a_ledger()[2], *a_ledger()[3:]]),
        "entry 3 was there before",
    ),
    "a field was added": (
        [*GOOD[:2], {**GOOD[2], b"x": b"1"}, *GOOD[3:]],
        "entry 2 has other fields",
    ),
    "an old grant was played back": (
        chained([*a_ledger(), SIGNERS.grant(4, reason="mine")]),
        "entry 9 grants epoch 4 after epoch 6",
    ),
    "a record of another fleet": (
        chained([*a_ledger(), Signers(fleet="e" * 32).revocation(7)]),
        "entry 9 was not signed by its issuer, or by another fleet",
    ),
    "a note was deleted, heads anew": (without(4), None),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_verifier_on_the_page_finds_what_somebody_did_to_the_ledger(verifier, attack):
    """Row 42: what only a kept head shows is found with one."""
    entries, found = ATTACKS[attack]
    said = said_of(verifier, entries)
    if found is None:
        assert "CONSISTENT, and nobody remembers its end" in said
    else:
        assert said.startswith("NOT VERIFIED") and found in said
    assert said_of(verifier, entries, KEPT).startswith("NOT VERIFIED")


def test_the_verifier_on_the_page_shows_what_came_late(verifier):
    """Row 42: a restriction that waited in a spool, or was moved there: a kept head tells which."""
    records = a_ledger()
    moved = chained([*records[:5], records[6], records[5], *records[7:]])
    said = said_of(verifier, moved)
    assert "restriction halt 4 rita (late)" in said and "1 came late" in said
    assert said_of(verifier, moved, KEPT).startswith("NOT VERIFIED")


def test_the_verifier_on_the_page_compares_the_newest_head(verifier):
    """Row 42: entries were cut, and `golive:head` forgotten."""
    assert "golive:head is not the head" in said_of(verifier, GOOD[:-2], end=KEPT)


ANY = "\N{OCTAGONAL SIGN}"  # four bytes in UTF-8
FITS = {
    "grant": lambda s: [
        s.grant(5, by=("alice", "bob"), keeps=ids(64), reason="x" * 300),
        s.grant(5, by=("alice", "bob"), keeps=ids(48), reason="x" * 500, ticket="x" * 500),
    ],
    "restriction": lambda s: [
        s.restriction(2, labels=dict.fromkeys(Label, "x" * 128), reason="x" * 500, ticket="x" * 500)
    ],
    "revocation": lambda s: [s.revocation(2, reason=ANY * 500, ticket=ANY * 500)],
    "note": lambda s: [
        seal(
            Note(
                **s.trust.heading("hb-1", START_MS),
                topic="trigger",
                text="x" * 500,
                facts={f"{n:064}": "x" * 512 for n in range(8)},
            ),
            s.signers["hb-1"],
        )
    ],
}


def ids(count):
    """So many identities."""
    return [f"{number:064x}" for number in range(count)]


def test_what_the_page_says_fits_does(docs):
    rows = [row[0].strip("`") for row in docs.table(PAGE, "What fits")]
    assert set(rows) == {*FITS, "report"}  # the report: tests/process/test_preflight.py
    for build in FITS.values():
        assert all(len(raw) <= MAX_ENVELOPE_BYTES for raw in build(SIGNERS))
    with pytest.raises(RecordError):
        SIGNERS.grant(5, by=("alice", "bob"), keeps=ids(64), reason="x" * 500, ticket="x" * 500)
    with pytest.raises(ValueError, match="at most 64 restrictions"):
        SIGNERS.grant(5, keeps=ids(64), drops=["f" * 64])
    small = peek(SIGNERS.grant(5, keeps=ids(36), reason="x" * 100, ticket="x" * 20), Grant)
    assert len(pae(Grant.payload_type(), encode_record(small))) <= 4_096


def test_the_examples_of_an_envelope_have_its_members(docs):
    block = next(b for p in docs.all if p.name == "records.md" for b in docs.blocks(p))
    example = json.loads(block.text)
    assert set(example) == {"payload", "payloadType", "signatures"}
    assert base64.b64decode(example["payload"].rstrip(".")).startswith(b'{"by":"alice"')


@pytest.mark.session
def test_the_verifier_on_the_page_follows_a_real_ledger(every_command):
    *entries, known, _ = every_command.verifier
    assert {"report", "grant", "restriction", "revocation", "note", "answer", "keyset"} == {
        e.split()[0] for e in entries
    }
    assert known == f"{len(entries)} entries, 0 came late. CONSISTENT, and nobody remembers its end"
    assert "grant activate 1 alice" in every_command.verifier
    assert "restriction halt 2 alice" in every_command.verifier
