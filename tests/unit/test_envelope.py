"""An envelope is exactly what we would have written, or it is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from golive_redis.errors import RecordError
from golive_redis.records.directive import Grant, Restriction, Revocation
from golive_redis.records.envelope import decode, pae, peek, seal
from golive_redis.testing import Signers

SIGNERS = Signers(approvals=2)
GRANT = SIGNERS.grant()

Edit = Callable[[dict[str, Any]], Any]


def edited(edit: Edit, raw: bytes = GRANT) -> bytes:
    """The envelope after `edit` changed its JSON, or replaced it by what `edit` returns."""
    value = json.loads(raw)
    replaced = edit(value)
    return json.dumps(value if replaced is None else replaced).encode()


def resigned(edit: Edit) -> bytes:
    """A grant whose payload was edited and signed anew by both approvers: only its form is bad."""
    payload = json.loads(decode(GRANT).payload)
    edit(payload)
    return signed(json.dumps(payload).encode())


def signed(payload: bytes, payload_type: str = Grant.payload_type()) -> bytes:
    signers = [SIGNERS.signers["alice"], SIGNERS.signers["bob"]]
    return json.dumps(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": payload_type,
            "signatures": [
                {
                    "keyid": signer.keyid,
                    "sig": base64.b64encode(signer.sign(pae(payload_type, payload), 1.0)).decode(),
                }
                for signer in signers
            ],
        }
    ).encode()


def padded(text: str) -> str:
    """The same base64 with a trailing bit set that decoding drops."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    body = text.rstrip("=")
    assert body != text
    return body[:-1] + alphabet[alphabet.index(body[-1]) + 1] + text[len(body) :]


def sig(value: dict[str, Any], make: Callable[[str], Any]) -> None:
    value["signatures"][0]["sig"] = make(value["signatures"][0]["sig"])


MALFORMED: dict[str, Edit] = {
    "no signature": lambda v: v.update(signatures=[]),
    "17 signatures": lambda v: v["signatures"].extend(
        {"keyid": f"k{i}", "sig": "AAAA"} for i in range(15)
    ),
    "a repeated signature": lambda v: v["signatures"].append(v["signatures"][0]),
    "one key twice with other signatures": lambda v: v["signatures"].append(
        {"keyid": v["signatures"][0]["keyid"], "sig": "AAAA"}
    ),
    "an extra field": lambda v: v.update(extra=1),
    "an extra field in a signature": lambda v: v["signatures"][0].update(alg="none"),
    "a missing field": lambda v: v.pop("payloadType") and None,
    "an empty key id": lambda v: v["signatures"][0].update(keyid=""),
    "null for a signature": lambda v: sig(v, lambda _: None),
    "url-safe base64": lambda v: sig(v, lambda s: "-_" + s[2:]),
    "base64 without padding": lambda v: sig(v, lambda s: s.rstrip("=")),
    "base64 with a line break": lambda v: sig(v, lambda s: s[:8] + "\n" + s[8:]),
    "base64 with trailing bits": lambda v: sig(v, padded),
    "base64 that is not ASCII": lambda v: sig(v, lambda s: "é" + s[1:]),
    "a short signature": lambda v: sig(v, lambda _: "AAAA"),
    "an empty signature": lambda v: sig(v, lambda _: ""),
    "a list": lambda v: [v],
    "text": lambda _: "text",
    "null": lambda _: "null",
}


@pytest.mark.parametrize("edit", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_envelope_is_refused(edit: Edit) -> None:
    """Row 38: bad base64, 17 signatures, none, extra field."""
    SIGNERS.trust.grant(edited(lambda _: None))
    with pytest.raises(RecordError):
        SIGNERS.trust.grant(edited(edit))


BAD_PAYLOADS: dict[str, Edit] = {
    "an extra field": lambda p: p.update(extra=1),
    "a missing field": lambda p: p.pop("max_ttl_ms"),
    "text for a number": lambda p: p.update(epoch="1"),
    "a bool for a number": lambda p: p.update(epoch=True),
    "a float for a number": lambda p: p.update(epoch=1.0),
    "an unknown mode": lambda p: p.update(mode="turbo"),
    "an amount as a number": lambda p: p["limits"].update(max_daily_loss=1),
    "a negative amount": lambda p: p["limits"].update(max_daily_loss="-1"),
    "an amount with a line break": lambda p: p["limits"].update(max_daily_loss="1\n"),
    "an amount that is NaN": lambda p: p["limits"].update(max_daily_loss="NaN"),
    "an empty window": lambda p: p.update(not_after_ms=p["not_before_ms"]),
    "a term of another epoch": lambda p: p.update(term=2, epoch=3),
    "65 keeps": lambda p: p.update(keeps=["0" * 64] * 65),
}


@pytest.mark.parametrize("edit", BAD_PAYLOADS.values(), ids=BAD_PAYLOADS)
def test_a_malformed_payload_is_refused_even_when_rightly_signed(edit: Edit) -> None:
    """Row 38: wrong type, extra field, float."""
    SIGNERS.trust.grant(resigned(lambda _: None))
    with pytest.raises(RecordError):
        SIGNERS.trust.grant(resigned(edit))


@pytest.mark.parametrize(
    "payload",
    [
        decode(GRANT).payload.replace(b'"epoch":1', b'"epoch":1,"epoch":1'),
        decode(GRANT).payload.replace(b'"epoch":1', b'"epoch":NaN'),
        decode(GRANT).payload + b"{}",
        b"[]",
        b"",
    ],
    ids=["duplicate key", "NaN", "trailing object", "list", "empty"],
)
def test_a_signed_payload_that_is_not_strict_json_is_refused(payload: bytes) -> None:
    """Row 38: duplicate JSON key, NaN."""
    with pytest.raises(RecordError):
        SIGNERS.trust.grant(signed(payload))


@pytest.mark.parametrize(
    "payload_type",
    [
        Restriction.payload_type(),
        Grant.payload_type().upper(),
        Grant.payload_type() + " ",
        "application/vnd.in-toto+json",
        "",
    ],
)
def test_a_payload_of_another_type_is_refused_even_when_rightly_signed(payload_type: str) -> None:
    """Row 38: wrong type."""
    with pytest.raises(RecordError, match="payload type"):
        SIGNERS.trust.grant(signed(decode(GRANT).payload, payload_type))


def test_a_retyped_payload_fails_its_signature() -> None:
    """Row 38: a signature for one kind of record is none for another."""
    raw = edited(
        lambda v: v.update(payloadType=Revocation.payload_type()), SIGNERS.revocation(by="alice")
    )
    SIGNERS.trust.revocation(raw)
    retyped = edited(lambda v: v.update(payloadType=Grant.payload_type()), raw)
    with pytest.raises(RecordError, match="bad signature"):
        SIGNERS.trust.grant(retyped)


def test_the_same_approver_does_not_count_twice() -> None:
    """Row 37: one approver signs twice."""
    alice = SIGNERS.signers["alice"]
    with pytest.raises(RecordError, match="twice"):
        SIGNERS.trust.grant(seal(peek(SIGNERS.grant(), Grant), alice, alice))


def test_peeking_reads_a_record_that_nobody_we_trust_signed() -> None:
    stranger = Signers({"eve": ["approver", "revoker"]})
    raw = stranger.revocation(7, by="eve")
    assert peek(raw, Revocation).epoch == 7
    with pytest.raises(RecordError, match="payload type"):
        peek(raw, Grant)
    with pytest.raises(RecordError):
        SIGNERS.trust.revocation(raw)
