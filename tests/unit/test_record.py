"""Strict JSON: whatever two parsers might read differently is refused, with one class of error."""

from __future__ import annotations

import tracemalloc

import pytest

from golive_redis.errors import RecordError
from golive_redis.records.envelope import MAX_ENVELOPE_BYTES, identity_of, seal
from golive_redis.records.record import MAX_INT, parse_json
from golive_redis.testing import Signers

SIGNERS = Signers()

UNUSUAL = {
    "nothing": b"",
    "two values": b"1 2",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "not UTF-8": b'"\xff"',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a duplicate key": b'{"a":1,"a":1}',
    "a duplicate key, spelled differently": b'{"a":1,"\\u0061":1}',
    "a duplicate key deep inside": b'[{"x":{"a":1,"a":2}}]',
    "a float": b"1.0",
    "an exponent": b"1e2",
    "NaN": b"NaN",
    "infinity": b"[-Infinity]",
    "2^53": str(MAX_INT + 1).encode(),
    "-2^53": str(-MAX_INT - 1).encode(),
    "8,000 digits": b"9" * 8_000,
    "a lone surrogate": b'"\\ud800"',
    "a lone surrogate as key": b'{"\\udfff":1}',
    "a control character in text": b'"\n"',
    "a comment": b"1 // one",
    "single quotes": b"'a'",
    "nesting without end": b"[" * 8_000,
    "nesting with an end": b"[" * 4_000 + b"]" * 4_000,
    "nested objects": b'{"a":' * 1_500 + b"1" + b"}" * 1_500,
}


@pytest.mark.parametrize("raw", UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_json_is_refused_with_the_one_error(raw: bytes) -> None:
    """Row 38: duplicate JSON key, NaN, float, huge int."""
    with pytest.raises(RecordError):
        parse_json(raw, MAX_ENVELOPE_BYTES)


@pytest.mark.parametrize("value", [MAX_INT, -MAX_INT, 0])
def test_integers_up_to_2_to_the_53_minus_1_are_read(value: int) -> None:
    assert parse_json(str(value).encode(), MAX_ENVELOPE_BYTES) == value


def test_a_megabyte_is_refused_without_being_looked_at() -> None:
    """Row 38: a 1 MiB record costs neither memory nor time."""
    raws = [b"[" * 2**20, b"9" * 2**20, b'"' + b"a" * 2**20 + b'"']
    tracemalloc.start()
    for raw in raws:
        with pytest.raises(RecordError, match="exceed the limit"):
            SIGNERS.trust.grant(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize(
    "fields",
    [
        {"reason": "x" * 501},
        {"reason": "\ud800"},
        {"epoch": MAX_INT + 1},
        {"epoch": 2**80},
        {"epoch": 0},
        {"epoch": 1.5},
        {"blind": 1},
        {"issued_at_ms": -1},
        {"environment": ""},
        {"environment": "test\n"},
        {"namespace": "Golive"},
    ],
    ids=str,
)
def test_what_we_would_refuse_to_read_is_never_signed(fields: dict[str, object]) -> None:
    with pytest.raises(RecordError):
        SIGNERS.revocation(**fields)


def test_a_record_keeps_its_identity_whatever_keys_sign_it() -> None:
    one = SIGNERS.trust.revocation(SIGNERS.revocation())
    two = seal(one.record, SIGNERS.signers["rita"], SIGNERS.signers["alice"])
    assert SIGNERS.trust.revocation(two).identity == one.identity == identity_of(one.record)
