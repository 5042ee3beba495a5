"""The keyset file: one key, one principal; one person can stop; thresholds that can be met."""

from __future__ import annotations

import base64
import copy
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from golive_redis.errors import ConfigError
from golive_redis.records.directive import Grant
from golive_redis.records.envelope import peek, seal
from golive_redis.records.keyset import (
    Role,
    TrustedKey,
    decode_public,
    encode_public,
    key_id,
    parse_keyset,
)
from golive_redis.testing import Signers
from kit.curve import NEUTRAL, PRIME, encoded, small_order_points

FILE = Signers().keyset_file
ALICE = FILE["principals"]["alice"]["keys"][0]


def changed(**changes: Any) -> dict[str, Any]:
    """The file with principals (or top-level fields) added or replaced."""
    value = copy.deepcopy(FILE)
    for name, change in changes.items():
        target = value if name in {"version", "thresholds", "extra"} else value["principals"]
        target[name.replace("_", "-")] = change
    return value


def test_a_good_keyset_tells_who_holds_what() -> None:
    keyset = parse_keyset(changed(thresholds={"approver": 2}))
    assert keyset.principals(Role.APPROVER) == ["alice", "bob"]
    assert keyset.principals(Role.HEARTBEAT) == ["hb-1", "hb-2"]
    assert keyset.threshold(Role.APPROVER) == 2
    assert keyset.threshold(Role.REVOKER) == 1


def test_an_approver_may_always_stop() -> None:
    assert parse_keyset(FILE).principals(Role.REVOKER) == ["alice", "bob", "rita"]


def test_a_key_id_is_the_hash_of_the_raw_key() -> None:
    key = Ed25519PrivateKey.generate().public_key()
    raw = decode_public(encode_public(key))
    assert raw == key.public_bytes_raw()
    assert len(key_id(raw)) == 64


def test_one_key_under_two_principals_is_refused() -> None:
    """Row 37: one key under two ids."""
    with pytest.raises(ConfigError, match="the key of mallory is already listed for alice"):
        parse_keyset(changed(mallory={"roles": ["approver"], "keys": [ALICE]}))


def test_one_key_twice_under_one_principal_is_refused() -> None:
    """Row 37: approver also listed twice."""
    with pytest.raises(ConfigError, match="already listed"):
        parse_keyset(changed(alice={"roles": ["approver"], "keys": [ALICE, ALICE]}))


def test_one_key_in_two_spellings_is_still_one_key() -> None:
    """Row 37: base64 whose unused bits differ decodes to the same key, which has the same id."""
    body = ALICE.removeprefix("ed25519:").rstrip("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = f"ed25519:{body[:-1]}{alphabet[alphabet.index(body[-1]) + 1]}="
    assert decode_public(other) == decode_public(ALICE)
    with pytest.raises(ConfigError, match="already listed"):
        parse_keyset(changed(mallory={"roles": ["approver"], "keys": [other]}))


@pytest.mark.parametrize("role", [role for role in Role if role not in {Role.APPROVER, Role.ROOT}])
def test_only_approvers_act_together(role: Role) -> None:
    everyone = {"alice": {"roles": list(Role), "keys": [ALICE]}}
    parse_keyset({**FILE, "principals": everyone, "thresholds": {role.value: 1}})
    with pytest.raises(ConfigError, match=f"threshold for {role}") as caught:
        parse_keyset({**FILE, "principals": everyone, "thresholds": {role.value: 2}})
    assert "one person must always be able to stop" in caught.value.hint


def test_a_threshold_that_nobody_can_meet_is_refused() -> None:
    with pytest.raises(ConfigError, match="approver needs 3 principals and only 2"):
        parse_keyset(changed(thresholds={"approver": 3}))


def test_two_keys_of_one_person_do_not_make_two_people() -> None:
    """Row 37: the threshold counts principals."""
    second = encode_public(Ed25519PrivateKey.generate().public_key())
    file = {
        **FILE,
        "thresholds": {"approver": 2},
        "principals": {"alice": {"roles": ["approver"], "keys": [ALICE, second]}},
    }
    with pytest.raises(ConfigError, match="needs 2 principals and only 1"):
        parse_keyset(file)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ed25519:",
        ALICE.removeprefix("ed25519:"),
        ALICE.replace("ed25519", "rsa"),
        ALICE.rstrip("="),
        "ed25519:" + base64.b64encode(bytes(31)).decode(),
        "ed25519:" + base64.b64encode(bytes(33)).decode(),
        "ed25519:é" + ALICE[9:],
    ],
)
def test_a_text_that_is_no_ed25519_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="not an Ed25519 key") as caught:
        parse_keyset(changed(alice={"roles": ["approver"], "keys": [key]}))
    assert "golive keys show" in caught.value.hint


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        changed(extra=1),
        changed(version=0),
        changed(version=1.0),
        changed(version=float("nan")),
        changed(version=2**70),
        changed(thresholds={"approver": 0}),
        changed(thresholds={"boss": 1}),
        changed(carol={"roles": [], "keys": [ALICE]}),
        changed(carol={"roles": ["approver"], "keys": []}),
        changed(carol={"roles": ["boss"], "keys": [ALICE]}),
        changed(carol={"roles": ["approver"], "keys": [ALICE], "note": "hi"}),
        {**FILE, "principals": {}},
        {**FILE, "principals": {1: {"roles": ["approver"], "keys": [ALICE]}}},
        {**FILE, "principals": {"a b": {"roles": ["approver"], "keys": [ALICE]}}},
        *({**FILE, "fleet": fleet} for fleet in (None, "", 7, "f" * 31, "F" * 32, "f" * 32 + "\n")),
    ],
    ids=lambda value: str(value)[-60:],
)
def test_a_malformed_keyset_trusts_nobody(value: object) -> None:
    with pytest.raises(ConfigError, match="keyset"):
        parse_keyset(value)


def test_who_answers_for_a_worker() -> None:
    """Row 95: its own principal, or where there is none a shared one."""
    key = encode_public(Ed25519PrivateKey.generate().public_key())
    shared = {"roles": ["worker"], "keys": [key], "shared": True}
    keyset = parse_keyset(changed(pods=shared))
    assert keyset.answers_for("pod-77") == {"pods"}
    assert keyset.answers_for("pods") == {"pods"}
    assert keyset.answers_for("alice") == frozenset(), "a principal of that name that is no worker"
    assert parse_keyset(changed(pods={**shared, "shared": False})).answers_for("x") == frozenset()
    with pytest.raises(ConfigError, match="pods is shared and no worker"):
        parse_keyset(changed(pods={**shared, "roles": ["auditor"]}))


FORGED = encoded(NEUTRAL) + bytes(32)
"""R is the neutral point and S is 0: nobody needs a private key to write that."""


class _Nobody:
    """Signs without a private key, in the name of whoever handed in that public key."""

    max_message: int | None = None

    def __init__(self, principal: str, raw: bytes) -> None:
        self.principal = principal
        self.public = Ed25519PublicKey.from_public_bytes(raw)
        self.keyid = key_id(raw)

    def sign(self, message: bytes, timeout_s: float) -> bytes:
        del message, timeout_s
        return FORGED


def listed(raw: bytes) -> dict[str, Any]:
    """The keyset file with that key for mallory, an approver."""
    text = "ed25519:" + base64.b64encode(raw).decode()
    return changed(mallory={"roles": ["approver"], "keys": [text]})


def test_a_grant_that_nobody_signed_would_verify_under_a_key_of_small_order() -> None:
    """Row 69: why the keyset refuses such keys. The library that verifies signatures does not."""
    raw, signers = encoded(NEUTRAL), Signers()
    record = msgspec.structs.replace(peek(signers.grant(), Grant), by="mallory")
    grant = seal(record, _Nobody("mallory", raw))
    key = TrustedKey(
        key_id(raw),
        "mallory",
        frozenset({Role.APPROVER}),
        Ed25519PublicKey.from_public_bytes(raw),
    )
    keyset = msgspec.structs.replace(signers.keyset, keys={key.keyid: key})
    trust = msgspec.structs.replace(signers.trust, keyset=keyset)
    assert trust.grant(grant).signers == {"mallory"}
    with pytest.raises(ConfigError):
        parse_keyset(listed(raw))


def small_order_keys() -> list[bytes]:
    """Every encoding that OpenSSL may read as one of the eight points: with either sign of x."""
    points = small_order_points()
    assert len(points) == 8
    keys = {y + sign * 2**255 for _, y in points for sign in (0, 1)}
    assert len(keys) == 10
    return [key.to_bytes(32, "little") for key in sorted(keys)]


@pytest.mark.parametrize("raw", small_order_keys(), ids=lambda raw: raw.hex()[:8])
def test_a_key_of_small_order_is_refused_with_the_name_of_its_principal(raw: bytes) -> None:
    """Row 69: anybody can sign under it, so a grant would need one approver less."""
    with pytest.raises(ConfigError, match="a key of mallory is of small order: anybody can sign"):
        parse_keyset(listed(raw))


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", range(PRIME, 2**255))
def test_a_key_that_is_not_written_canonically_is_refused(y: int, sign: int) -> None:
    """Row 69: two spellings of a point would be two keys; the first two are of small order, too."""
    with pytest.raises(ConfigError, match="a key of mallory is not written canonically"):
        parse_keyset(listed((y + sign * 2**255).to_bytes(32, "little")))
