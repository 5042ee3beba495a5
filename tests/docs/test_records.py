"""docs/reference/records.md: enough to verify records in another language, and it is true."""

from __future__ import annotations

import base64
import hashlib
import json

import msgspec
import pytest

from golive_redis.records.beat import Beat
from golive_redis.records.directive import Grant, Restriction, Revocation
from golive_redis.records.envelope import MAX_ENVELOPE_BYTES, MAX_SIGNATURES, pae
from golive_redis.records.keyset import unsound
from golive_redis.records.ledger import GENESIS, Note, extend
from golive_redis.records.limits import Limits
from golive_redis.records.receipt import Receipt
from golive_redis.records.record import MAX_INT, Record
from golive_redis.records.report import Finding, Report
from golive_redis.testing import EVERYBODY, Signers
from kit.curve import NEUTRAL, encoded, small_order_points

PAGE = "docs/reference/records.md"
KINDS = (Grant, Restriction, Revocation, Beat, Receipt, Report, Note)


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


def test_the_page_lists_the_keys_under_which_anybody_can_sign(docs):
    """Row 69: also for whoever writes a verifier in another language."""
    listed = [row[1].strip("`") for row in docs.table(PAGE, "Public keys")]
    points = [encoded((0, y)) for y in {y for _, y in small_order_points()}]
    assert sorted(listed) == sorted(point.hex() for point in points)
    assert all(unsound(bytes.fromhex(key)) for key in listed)


def test_the_verifier_on_the_page_refuses_a_key_under_which_anybody_can_sign(docs, tmp_path):
    """Row 69: it trusts no file that lists one."""
    verifier = functions_of_the_verifier(docs)
    keyset, file = tmp_path / "keyset.json", Signers().keyset_file
    keyset.write_text(json.dumps(file))
    assert len(verifier["trusted"](keyset)) == len(EVERYBODY)
    key = "ed25519:" + base64.b64encode(encoded(NEUTRAL)).decode()
    file["principals"]["mallory"] = {"roles": ["approver"], "keys": [key]}
    keyset.write_text(json.dumps(file))
    with pytest.raises(SystemExit, match="mallory"):
        verifier["trusted"](keyset)


def functions_of_the_verifier(docs):
    """What the program on the page defines, without running it."""
    pages = [page for page in docs.all if page.name == "records.md"]
    (text,) = (b.text for b in docs.blocks(pages[0]) if b.text.startswith("# verify.py\n"))
    defined: dict[str, object] = {"__name__": "verify"}
    exec(text.split("\nurl, keyset = sys.argv")[0], defined)
    return defined


def test_the_examples_of_an_envelope_have_its_members(docs):
    block = next(b for p in docs.all if p.name == "records.md" for b in docs.blocks(p))
    example = json.loads(block.text)
    assert set(example) == {"payload", "payloadType", "signatures"}
    assert base64.b64decode(example["payload"].rstrip(".")).startswith(b'{"by":"alice"')


def test_the_verifier_on_the_page_follows_a_real_ledger(every_command):
    kinds = [line.split()[0] for line in every_command.verifier[:-1]]
    assert every_command.verifier[-1] == "the chain is whole: True"
    assert {"report", "grant", "restriction", "revocation", "note"} == set(kinds)
    assert "grant activate 1 alice" in every_command.verifier
    assert "restriction halt 2 alice" in every_command.verifier
