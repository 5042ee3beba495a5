"""Who must have signed what, and where it holds."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from golive_redis.errors import RecordError
from golive_redis.records.beat import Beat
from golive_redis.records.directive import Grant, Restriction, Revocation
from golive_redis.records.envelope import KeySigner, decode, pae, peek, seal
from golive_redis.records.keyset import Role, TrustedKey
from golive_redis.records.ledger import Note
from golive_redis.records.record import Record
from golive_redis.records.report import Finding, Outcome, Report
from golive_redis.testing import EVERYBODY, START_MS, Signers

SIGNERS = Signers(approvals=2)
HALT = SIGNERS.restriction()
STRANGERS = Signers({"eve": ["approver", "revoker", "heartbeat", "worker"]})


def break_signature(raw: bytes, position: int) -> bytes:
    value = json.loads(raw)
    sig = value["signatures"][position]["sig"]
    value["signatures"][position]["sig"] = ("B" if sig[0] == "A" else "A") + sig[1:]
    return json.dumps(value).encode()


def test_two_approvers_make_a_grant() -> None:
    assert SIGNERS.trust.grant(SIGNERS.grant()).signers == {"alice", "bob"}


@pytest.mark.parametrize("by", [("alice",), ("alice", "rita"), ("alice", "hb-1", "pod-1")])
def test_fewer_than_two_approvers_make_none(by: tuple[str, ...]) -> None:
    """Row 37: the threshold counts approvers only."""
    with pytest.raises(RecordError, match="1 of 2 approver signatures: alice signed"):
        SIGNERS.trust.grant(SIGNERS.grant(by=by))


def test_an_unknown_key_adds_nothing_and_spoils_nothing() -> None:
    """Row 38: unknown key."""
    eve, record = STRANGERS.signers["eve"], peek(SIGNERS.grant(), Grant)
    assert SIGNERS.trust.grant(
        seal(record, *(SIGNERS.signers[name] for name in ("alice", "bob")), eve)
    ).signers == {"alice", "bob"}
    with pytest.raises(RecordError, match="1 of 2"):
        SIGNERS.trust.grant(seal(record, SIGNERS.signers["alice"], eve))
    with pytest.raises(RecordError, match="no known key"):
        SIGNERS.trust.revocation(STRANGERS.revocation(by="eve"))


@pytest.mark.parametrize("position", [0, 1, 2])
def test_one_bad_signature_of_a_known_key_refuses_the_whole_envelope(position: int) -> None:
    raw = SIGNERS.grant(by=("alice", "bob", "rita"))
    SIGNERS.trust.grant(raw)
    with pytest.raises(RecordError, match="bad signature by"):
        SIGNERS.trust.grant(break_signature(raw, position))


@pytest.mark.parametrize("by", ["alice", "bob", "rita"])
def test_one_revoker_or_one_approver_is_always_enough_to_stop(by: str) -> None:
    assert SIGNERS.trust.revocation(SIGNERS.revocation(by=by)).signers == {by}
    assert SIGNERS.trust.restriction(SIGNERS.restriction(by=by)).signers == {by}


@pytest.mark.parametrize("by", ["hb-1", "pod-1"])
def test_a_heartbeat_or_worker_key_cannot_grant_restrict_or_revoke(by: str) -> None:
    """Row 46 (the signature's part): no valid signature for the role."""
    for verify, raw in [
        (SIGNERS.trust.grant, SIGNERS.grant(by=by)),
        (SIGNERS.trust.restriction, SIGNERS.restriction(by=by)),
        (SIGNERS.trust.revocation, SIGNERS.revocation(by=by)),
    ]:
        with pytest.raises(RecordError, match="0 of"):
            verify(raw)


def test_a_revoker_key_cannot_grant() -> None:
    """Row 55: a revoker key signs permission."""
    with pytest.raises(RecordError):
        Signers().trust.grant(Signers().grant(by="rita"))


def test_the_principal_who_issued_a_record_must_have_signed_it() -> None:
    raw = SIGNERS.revocation(by="rita")
    record = SIGNERS.trust.revocation(raw).record
    with pytest.raises(RecordError, match="did not sign it as revoker"):
        SIGNERS.trust.revocation(seal(record, SIGNERS.signers["alice"]))


OTHER_ENVIRONMENT = Signers(approvals=2, environment="production")
OTHER_NAMESPACE = Signers(approvals=2, namespace="other")


@pytest.mark.parametrize("other", [OTHER_ENVIRONMENT, OTHER_NAMESPACE], ids=["env", "namespace"])
@pytest.mark.parametrize("kind", ["grant", "restriction", "revocation", "beat"])
def test_a_record_of_another_environment_or_namespace_is_refused(other: Signers, kind: str) -> None:
    """Row 54: both are inside every signature, even when the same keys signed."""
    raw = getattr(other, kind)()
    getattr(other.trust, kind)(raw)
    with pytest.raises(RecordError, match=f"{kind} is for"):
        getattr(SIGNERS.trust, kind)(raw)


@pytest.mark.parametrize("kind", ["grant", "beat"])
def test_permission_under_a_newer_keyset_than_ours_is_refused(kind: str) -> None:
    """Row 41: keyset older than the one in force."""
    with pytest.raises(RecordError, match="signed under keyset version 2") as caught:
        getattr(SIGNERS.trust, kind)(getattr(SIGNERS, kind)(keyset_version=2))
    assert "install the newer keyset" in caught.value.hint


@pytest.mark.parametrize("kind", ["restriction", "revocation"])
def test_a_stop_under_a_newer_keyset_than_ours_holds(kind: str) -> None:
    getattr(SIGNERS.trust, kind)(getattr(SIGNERS, kind)(keyset_version=2))


def test_a_heartbeat_beats_in_its_own_name_only() -> None:
    with pytest.raises(ValueError, match="in its own name"):
        SIGNERS.beat(heartbeat="hb-2")
    with pytest.raises(RecordError, match="did not sign it"):
        SIGNERS.trust.beat(SIGNERS.beat(name="hb-2", by="hb-1"))


def test_the_key_of_a_worker_answers_for_no_other() -> None:
    """Row 95: whoever runs on one pod could otherwise say of each other that it has stopped."""
    assert SIGNERS.trust.receipt(SIGNERS.receipt(HALT)).record.worker == "pod-1"
    for other in ("pod-2", "pod-77", "alice"):
        with pytest.raises(RecordError, match=f"pod-1 may not answer for {other}"):
            SIGNERS.trust.receipt(SIGNERS.receipt(HALT, worker=other))


def test_a_shared_key_answers_for_the_workers_that_have_none_of_their_own() -> None:
    roles = {**EVERYBODY, "pods": ("worker",)}
    signers = Signers(roles, shared=("pods",))
    shared = signers.receipt(HALT, by="pods", worker="pod-77")
    assert signers.trust.receipt(shared).record.worker == "pod-77"
    with pytest.raises(RecordError, match="pods may not answer for pod-1"):
        signers.trust.receipt(signers.receipt(HALT, by="pods", worker="pod-1"))
    with pytest.raises(RecordError, match="may not answer for alice"):
        signers.trust.receipt(signers.receipt(HALT, by="pods", worker="alice"))


def test_a_heartbeat_key_answers_for_itself() -> None:
    own = SIGNERS.receipt(HALT, by="hb-1", worker=None, heartbeat="hb-1")
    assert SIGNERS.trust.receipt(own).record.heartbeat == "hb-1"


@pytest.mark.parametrize(
    "make",
    [
        lambda p: p.receipt(HALT, by="hb-1"),
        lambda p: p.receipt(HALT, by="pod-1", worker=None, heartbeat="pod-1"),
        lambda p: p.receipt(HALT, by="rita"),
        lambda p: p.receipt(HALT, by="alice", worker=None, heartbeat="alice"),
    ],
    ids=["heartbeat for worker", "worker as heartbeat", "revoker", "approver as heartbeat"],
)
def test_nobody_answers_for_another_kind_of_pod(make: Callable[[Signers], bytes]) -> None:
    with pytest.raises(RecordError, match="0 of 1"):
        SIGNERS.trust.receipt(make(SIGNERS))


def test_a_principal_who_is_worker_and_heartbeat_answers_as_either() -> None:
    both = Signers({**EVERYBODY, "all-in-one": ["worker", "heartbeat"]})
    both.trust.receipt(both.receipt(HALT, by="all-in-one"))
    both.trust.receipt(both.receipt(HALT, by="all-in-one", worker=None, heartbeat="all-in-one"))


@pytest.mark.parametrize(
    "fields",
    [
        {"heartbeat": "hb-1"},
        {"worker": None},
        {"left": 0},
        {"stage": "drained", "left": None},
        {"worker": None, "heartbeat": "hb-1", "by": ("pod-1",)},
        {"instance": "0" * 31},
    ],
    ids=str,
)
def test_a_receipt_that_contradicts_itself_cannot_be_signed(fields: dict[str, Any]) -> None:
    with pytest.raises((RecordError, ValueError)):
        SIGNERS.receipt(HALT, **fields)


@pytest.mark.parametrize("kind", ["grant", "restriction", "revocation", "beat"])
def test_a_record_of_another_fleet_is_refused_whoever_signed_it(kind: str) -> None:
    """Row 54: two fleets of one name that share a key, also one for a halt or a stop."""
    theirs = Signers(approvals=2, fleet="e" * 32)
    with pytest.raises(RecordError, match=r"another fleet \(eeeeeeee\.\.\.\).*f1ee7000"):
        getattr(SIGNERS.trust, kind)(getattr(theirs, kind)())
    with pytest.raises(RecordError, match="another fleet"):
        SIGNERS.trust.receipt(theirs.receipt(HALT))


@pytest.mark.parametrize("kind", ["grant", "restriction", "revocation", "beat"])
def test_a_record_that_names_no_fleet_is_refused(kind: str) -> None:
    """Row 54: it was signed before fleets had ids."""
    kinds: dict[str, type[Record]] = {k.KIND: k for k in (Grant, Restriction, Revocation, Beat)}
    raw = getattr(SIGNERS, kind)()
    value = json.loads(decode(raw).payload)
    del value["fleet"]
    by = [SIGNERS.signers[name] for name in getattr(SIGNERS.trust, kind)(raw).signers]
    payload, payload_type = json.dumps(value).encode(), kinds[kind].payload_type()
    signatures = [
        {
            "keyid": signer.keyid,
            "sig": base64.b64encode(signer.sign(pae(payload_type, payload), 1.0)).decode(),
        }
        for signer in by
    ]
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": signatures,
    }
    with pytest.raises(RecordError, match="missing required field `fleet`"):
        getattr(SIGNERS.trust, kind)(json.dumps(envelope).encode())


def test_a_report_needs_one_approver_whatever_the_threshold() -> None:
    passed = Finding(check="redis", outcome=Outcome.PASS, explain="")
    unknown = Finding(check="disk", outcome=Outcome.UNKNOWN, explain="no answer")
    report = Report(
        **SIGNERS.trust.heading("alice", START_MS), policy="0" * 64, findings=[passed, unknown]
    )
    verified = SIGNERS.trust.report(seal(report, SIGNERS.signers["alice"])).record
    assert not verified.passed  # unknown counts as fail
    with pytest.raises(RecordError):
        SIGNERS.trust.report(seal(report, SIGNERS.signers["rita"]))
    note = Note(**SIGNERS.trust.heading("hb-1", START_MS), topic="out-of-band", text="", facts={})
    raw = seal(note, SIGNERS.signers["hb-1"])
    assert SIGNERS.trust.note(raw, Role.HEARTBEAT).record.topic == "out-of-band"
    with pytest.raises(RecordError):
        SIGNERS.trust.note(raw, Role.REVOKER)


def test_two_keys_of_one_approver_are_one_approver() -> None:
    """Row 37: a laptop and a token in one hand are one person."""
    token = KeySigner("alice", Ed25519PrivateKey.generate())
    keyset = SIGNERS.trust.keyset
    key = TrustedKey(token.keyid, "alice", frozenset({Role.APPROVER}), token.public)
    trust = msgspec.structs.replace(
        SIGNERS.trust, keyset=msgspec.structs.replace(keyset, keys={**keyset.keys, key.keyid: key})
    )
    record, alice, bob = (
        peek(SIGNERS.grant(), Grant),
        SIGNERS.signers["alice"],
        SIGNERS.signers["bob"],
    )
    assert trust.grant(seal(record, alice, token, bob)).signers == {"alice", "bob"}
    with pytest.raises(RecordError, match="1 of 2 approver signatures: alice signed"):
        trust.grant(seal(record, alice, token))
