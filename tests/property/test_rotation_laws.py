"""Laws of keyset rotation, and the verdicts of python-tuf on the same roots and signatures."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization.json import CanonicalJSONSerializer

from golive_redis.errors import RecordError
from golive_redis.records.envelope import KeySigner, seal
from golive_redis.records.keyset import Keyset, encode_public, parse_keyset
from golive_redis.records.rotation import Step, draft, next_keyset, payload_of
from golive_redis.testing import FLEET

WHERE = {"namespace": "golive", "environment": "test"}
PEOPLE = ("a", "b", "c", "d", "e")
PRIVATE = {
    name: Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
    for name in PEOPLE
}
THEIRS = {name: CryptoSigner(private) for name, private in PRIVATE.items()}

groups = st.sets(st.sampled_from(PEOPLE), min_size=1)


@st.composite
def rooted(draw: st.DrawFn) -> tuple[frozenset[str], int]:
    """Roots, and how many of them are needed."""
    roots = frozenset(draw(groups))
    return roots, draw(st.integers(1, len(roots)))


def keyset(version: int, roots: frozenset[str], needed: int) -> Keyset:
    principals = {
        name: {"roles": ["root"], "keys": [encode_public(PRIVATE[name].public_key())]}
        for name in sorted(roots)
    }
    return parse_keyset(
        {
            "version": version,
            "fleet": FLEET,
            "thresholds": {"root": needed},
            "principals": principals,
        }
    )


def signed(before: Keyset, new: Keyset, signers: set[str], **changes: Any) -> Step:
    common = {"fleet": FLEET, "keyset_version": before.version, "issued_at_ms": 1}
    # A root of N says it where one signs: that is another rule than the thresholds.
    by = next(iter(sorted(signers & set(before.principals("root")))), min(signers))
    record = msgspec.structs.replace(draft(before, new, **WHERE, **common, by=by), **changes)
    return Step(payload_of(new), seal(record, *(KeySigner(n, PRIVATE[n]) for n in sorted(signers))))


def is_taken(current: Keyset, step: Step) -> bool:
    try:
        next_keyset(current, step, **WHERE)
    except RecordError:
        return False
    return True


def tuf_root(version: int, roots: frozenset[str], needed: int) -> Root:
    root = Root(version=version, expires=datetime(2099, 1, 1, tzinfo=UTC))
    for name in sorted(roots):
        root.add_key(THEIRS[name].public_key, "root")
    root.roles["root"].threshold = needed
    return root


def tuf_says(
    before: tuple[frozenset[str], int], new: tuple[frozenset[str], int], signers: set[str]
) -> bool:
    """Whether python-tuf takes version 2 after version 1 with these signatures."""
    one, two = tuf_root(1, *before), tuf_root(2, *new)
    metadata = Metadata(two)
    payload = CanonicalJSONSerializer().serialize(two)
    for name in sorted(signers):
        metadata.sign(THEIRS[name], append=True)
    result = two.get_root_verification_result(one, payload, metadata.signatures)
    return bool(result)


@given(before=rooted(), new=rooted(), signers=groups)
def test_python_tuf_comes_to_the_same_verdict(
    before: tuple[frozenset[str], int], new: tuple[frozenset[str], int], signers: set[str]
) -> None:
    one, two = keyset(1, *before), keyset(2, *new)
    assert is_taken(one, signed(one, two, signers)) == tuf_says(before, new, signers)


@given(before=rooted(), new=rooted(), signers=groups, more=groups)
def test_one_more_good_signature_never_refuses_a_step(
    before: tuple[frozenset[str], int],
    new: tuple[frozenset[str], int],
    signers: set[str],
    more: set[str],
) -> None:
    one, two = keyset(1, *before), keyset(2, *new)
    if is_taken(one, signed(one, two, signers)):
        assert is_taken(one, signed(one, two, signers | more))


@given(before=rooted(), new=rooted(), at=st.integers(1, 9), to=st.integers(2, 9))
def test_only_the_next_number_is_ever_taken(
    before: tuple[frozenset[str], int], new: tuple[frozenset[str], int], at: int, to: int
) -> None:
    everybody = set(PEOPLE)
    current, earlier, later = keyset(at, *before), keyset(to - 1, *before), keyset(to, *new)
    step = signed(earlier, later, everybody)
    assert is_taken(current, step) == (to == at + 1)


@given(
    roots=rooted(),
    at=st.integers(0, 10_000),
    bit=st.integers(0, 7),
    of_record=st.booleans(),
)
def test_no_flipped_bit_is_taken(
    roots: tuple[frozenset[str], int], at: int, bit: int, of_record: bool
) -> None:
    one, two = keyset(1, *roots), keyset(2, *roots)
    good = signed(one, two, set(roots[0]))
    assert is_taken(one, good)
    raw = bytearray(good.record if of_record else good.payload)
    raw[at % len(raw)] ^= 1 << bit
    field = "record" if of_record else "payload"
    changed = msgspec.structs.replace(good, **{field: bytes(raw)})
    try:
        taken = next_keyset(one, changed, **WHERE)
    except RecordError:
        return
    # Of a signature whose key id has changed nobody knows the key, and the others may be enough.
    assert of_record and roots[1] < len(roots[0])
    assert payload_of(taken) == good.payload
