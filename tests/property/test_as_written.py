"""The quick way to read what we wrote decides as the strict parser does, on every byte string."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from golive_redis.audit.opening import KINDS
from golive_redis.errors import RecordError
from golive_redis.records.beat import Beat
from golive_redis.records.envelope import MAX_ENVELOPE_BYTES, _Json, decode
from golive_redis.records.receipt import Receipt
from golive_redis.records.record import Record, as_written, convert, parse_json
from golive_redis.testing import Signers
from kit.ledgers import Book

LIMIT = MAX_ENVELOPE_BYTES


def written() -> list[tuple[bytes, type[Any]]]:
    """Payloads and envelopes of every kind, as the product writes them."""
    book = Book(Signers())
    book.activate()
    book.halt(reason='"quoted" \u20ac \\ \t \x1f', labels={"symbol": "BTC"})
    book.resume()
    book.revoke()
    book.note(facts={"a": "1", "b": "\u0000"})
    out: list[tuple[bytes, type[Any]]] = []
    for entry in book.entries:
        envelope = decode(entry.envelope)
        out += [(entry.envelope, _Json), (envelope.payload, KINDS[envelope.payload_type])]
    return out


WRITTEN = written()


def strictly(raw: bytes, kind: type[Any]) -> Any:
    try:
        return convert(parse_json(raw, LIMIT), kind)
    except RecordError:
        return None


@pytest.mark.parametrize(("raw", "kind"), WRITTEN)
def test_what_we_write_is_read_the_quick_way(raw: bytes, kind: type[Any]) -> None:
    assert as_written(raw, kind, LIMIT) is not None
    assert as_written(raw, kind, LIMIT) == strictly(raw, kind)
    assert as_written(raw, kind, len(raw) - 1) is None


@pytest.mark.parametrize("kind", [*KINDS.values(), Beat, Receipt])
def test_no_field_of_a_record_takes_whatever_it_is_given(kind: type[Record]) -> None:
    """A field without a type could nest deeper than the strict parser goes."""
    hints = " ".join(str(hint) for hint in kind.__annotations__.values())
    assert "Any" not in hints.replace("Annotated", "").split()


STRANGE = [
    ('"facts":{"a":"1"', '"facts":{"a":"1","a":"1"'),
    ('"keyset_version":1', '"keyset_version":1.0'),
    ('"keyset_version":1', '"keyset_version":1e0'),
    ('"keyset_version":1', '"keyset_version":-0'),
    ('"keyset_version":1', '"keyset_version":9007199254740993'),
    ('"keyset_version":1', '"keyset_version":"1"'),
    ('"keyset_version":1', '"keyset_version":true'),
    ('"by":"', '"by" :"'),
    ('"by":"', '"b\\u0079":"'),
    ('"by":"', '"extra":1,"by":"'),
    ('"text":"', '"text":"\\ud800'),
    ('"text":"', '"text":"\\u0041'),
    ('"text":"', '"text":"\\/'),
    ('"facts":{', '"facts":{"z":{"z":{}},'),
]


@pytest.mark.parametrize(("old", "new"), STRANGE)
def test_what_we_never_write_is_left_to_the_strict_parser(old: str, new: str) -> None:
    raw, kind = next((raw, kind) for raw, kind in reversed(WRITTEN) if kind.__name__ == "Note")
    assert old.encode() in raw
    changed = raw.replace(old.encode(), new.encode(), 1)
    assert as_written(changed, kind, LIMIT) is None


@given(
    which=st.integers(0, len(WRITTEN) - 1),
    at=st.floats(0, 1),
    cut=st.integers(0, 3),
    put=st.binary(max_size=4)
    | st.sampled_from([b'"', b"\\", b",", b"0", b".0", b"\xff", b"{}", b" "]),
)
@example(which=0, at=1.0, cut=0, put=b"\n")
def test_a_changed_byte_is_judged_alike(which: int, at: float, cut: int, put: bytes) -> None:
    raw, kind = WRITTEN[which]
    place = int(at * len(raw))
    changed = raw[:place] + put + raw[place + cut :]
    quick = as_written(changed, kind, LIMIT)
    if quick is not None:
        assert quick == strictly(changed, kind)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_other_json_is_judged_alike(value: Any) -> None:
    raw = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    for kind in {kind for _, kind in WRITTEN}:
        quick = as_written(raw, kind, LIMIT)
        assert quick is None or quick == strictly(raw, kind)
