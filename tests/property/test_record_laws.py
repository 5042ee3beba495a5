"""Laws of records and envelopes: valid as a whole, or refused as a whole, with one error."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from golive_redis.errors import RecordError
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import decode, peek
from golive_redis.records.record import MAX_INT, parse_json
from golive_redis.testing import Signers

SIGNERS = Signers(approvals=2)
GRANT = SIGNERS.grant()
RECORD = SIGNERS.trust.grant(GRANT).record
READERS = [
    decode,
    lambda raw: peek(raw, Revocation),
    SIGNERS.trust.grant,
    SIGNERS.trust.restriction,
    SIGNERS.trust.revocation,
    SIGNERS.trust.beat,
    SIGNERS.trust.receipt,
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["payload", "payloadType", "signatures"]
ENVELOPES = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)).map(
    lambda value: json.dumps(value).encode()
)


@given(st.binary(max_size=400) | JSON.map(lambda v: json.dumps(v).encode()) | ENVELOPES)
@example(b'{"payload":"","payloadType":"\\ud800","signatures":[{"keyid":"x","sig":""}]}')
def test_whatever_bytes_arrive_nothing_but_a_record_error_comes_out(raw: bytes) -> None:
    """Row 38."""
    for read in READERS:
        with suppress(RecordError):
            read(raw)


@given(st.integers(0, len(GRANT) - 1), st.integers(1, 255))
def test_any_changed_byte_refuses_an_envelope(position: int, change: int) -> None:
    """Row 38: a flipped byte anywhere, in payload, type, key id or signature."""
    raw = bytearray(GRANT)
    raw[position] ^= change
    with pytest.raises(RecordError):
        SIGNERS.trust.grant(bytes(raw))


@given(st.integers(0, len(GRANT) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_any_inserted_or_cut_bytes_leave_the_record_as_it_was_or_refuse_it(
    position: int, put: bytes, cut: int
) -> None:
    """Spaces between JSON tokens are the only freedom an envelope has."""
    raw = GRANT[:position] + put + GRANT[position + cut :]
    try:
        verified = SIGNERS.trust.grant(raw)
    except RecordError:
        return
    assert verified.record == RECORD


@given(st.data())
def test_no_choice_of_fewer_or_repeated_signatures_meets_the_threshold(data: st.DataObject) -> None:
    """Row 37, 38: dropped and repeated signatures."""
    value = json.loads(GRANT)
    whole = value["signatures"]
    value["signatures"] = data.draw(st.lists(st.sampled_from(whole), max_size=17))
    keyids = [item["keyid"] for item in value["signatures"]]
    raw = json.dumps(value).encode()
    if sorted(keyids) == sorted(item["keyid"] for item in whole):
        assert SIGNERS.trust.grant(raw).record == RECORD
        return
    with pytest.raises(RecordError):
        SIGNERS.trust.grant(raw)


def acceptable(value: Any) -> bool:
    """What strict JSON may hold, written naively."""
    match value:
        case bool() | None:
            return True
        case int():
            return abs(value) <= MAX_INT
        case float():
            return False
        case str():
            return not any("\ud800" <= char <= "\udfff" for char in value)
        case list():
            return all(acceptable(item) for item in value)
        case dict():
            return all(acceptable(key) and acceptable(item) for key, item in value.items())
    raise AssertionError(value)


@given(JSON)
def test_strict_json_reads_back_what_is_acceptable_and_refuses_the_rest(value: Any) -> None:
    """Row 38: floats, NaN, huge ints, lone surrogates, wherever they are."""
    raw = json.dumps(value).encode()
    if acceptable(value):
        assert parse_json(raw, 2**20) == value
        return
    with pytest.raises(RecordError):
        parse_json(raw, 2**20)


@given(st.text(max_size=600), st.integers(), st.integers(-1, 2**54))
def test_what_is_sealed_can_be_read(reason: str, epoch: int, issued_at_ms: int) -> None:
    try:
        raw = SIGNERS.revocation(epoch, reason=reason, issued_at_ms=issued_at_ms)
    except RecordError:
        return
    record = SIGNERS.trust.revocation(raw).record
    assert (record.reason, record.epoch, record.issued_at_ms) == (reason, epoch, issued_at_ms)
