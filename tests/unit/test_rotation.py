"""Which keyset may follow which: only N+1, by the roots of N and of N+1."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from golive_redis.errors import RecordError
from golive_redis.operator.keysets import differences
from golive_redis.records.directive import GrantKind
from golive_redis.records.envelope import KeySigner, decode, seal
from golive_redis.records.keyset import Keyset, Role, encode_public, parse_keyset
from golive_redis.records.rotation import (
    Rotation,
    Step,
    digest_of,
    draft,
    follow,
    is_draft_of,
    next_keyset,
    parse_payload,
    payload_of,
)
from golive_redis.testing import FLEET

WHERE = {"namespace": "golive", "environment": "test"}
ROOTS = ("ruth", "omar", "ines")


def signer(name: str) -> KeySigner:
    seed = hashlib.sha256(name.encode()).digest()
    return KeySigner(name, Ed25519PrivateKey.from_private_bytes(seed))


def keyset(version: int, roots: tuple[str, ...] = ROOTS, needed: int = 2, **changes: Any) -> Keyset:
    """A keyset with those roots; a name may be `ruth:2`, her second key."""
    principals: dict[str, Any] = {
        "alice": {"roles": ["approver"], "keys": [encode_public(signer("alice").public)]}
    }
    for root in roots:
        who = principals.setdefault(root.partition(":")[0], {"roles": ["root"], "keys": []})
        who["keys"].append(encode_public(signer(root).public))
    thresholds = {"root": needed} if roots else {}
    file = {"version": version, "fleet": FLEET, "thresholds": thresholds, "principals": principals}
    return parse_keyset(file | changes)


def heading(before: Keyset, by: str = "ruth") -> dict[str, Any]:
    return {
        **WHERE,
        "fleet": before.fleet,
        "keyset_version": before.version,
        "issued_at_ms": 1_700_000_000_000,
        "by": by,
    }


def step(old: Keyset, new: Keyset, *signed_by: str, by: str = "", **changes: Any) -> Step:
    record = draft(old, new, **heading(old, by or signed_by[0].partition(":")[0]))
    record = msgspec.structs.replace(record, **changes)
    return Step(payload_of(new), seal(record, *map(signer, signed_by)))


def take(current: Keyset, what: Step) -> Keyset:
    return next_keyset(current, what, **WHERE)


def test_the_next_keyset_is_taken_when_enough_roots_of_both_have_signed() -> None:
    one, two = keyset(1), keyset(2, ("ruth", "omar", "nora"))
    taken = take(one, step(one, two, "ruth", "omar"))
    assert payload_of(taken) == payload_of(two)
    assert (taken.version, taken.principals("root")) == (2, ["nora", "omar", "ruth"])


def test_all_roots_may_be_replaced_when_both_sides_sign() -> None:
    one, two = keyset(1), keyset(2, ("nora", "pete"))
    assert take(one, step(one, two, "ruth", "omar", "nora", "pete")).version == 2


REFUSED: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "one of the old roots": (ROOTS, ("ruth",), "1 of 2 root signatures"),
    "the new ones alone": (("nora", "pete"), ("nora", "pete"), "0 of 2 root signatures"),
    "one old, two new": (("nora", "pete"), ("ruth", "nora", "pete"), "1 of 2 root signatures"),
    "two old, one new": (("nora", "pete"), ("ruth", "omar", "nora"), "1 of 2 root signatures"),
    "two old, no new": (("nora", "pete"), ("ruth", "omar"), "0 of 2 root signatures"),
    "an approver": (ROOTS, ("ruth", "alice"), "1 of 2 root signatures"),
    "a stranger": (ROOTS, ("ruth", "mallory"), "1 of 2 root signatures"),
    "two keys of one root": (("ruth", "ruth:2", "omar"), ("ruth", "ruth:2"), "1 of 2"),
}


@pytest.mark.parametrize(("roots", "signed_by", "says"), REFUSED.values(), ids=REFUSED)
def test_fewer_roots_of_either_keyset_appoint_nobody(
    roots: tuple[str, ...], signed_by: tuple[str, ...], says: str
) -> None:
    old = ("ruth", "ruth:2", "omar") if "ruth:2" in signed_by else ROOTS
    by = next((name for name in signed_by if name in ROOTS), signed_by[0])
    one, two = keyset(1, old), keyset(2, roots)
    with pytest.raises(RecordError, match=says):
        take(one, step(one, two, *signed_by, by=by))


def test_the_old_threshold_counts_for_the_old_roots_and_the_new_for_the_new() -> None:
    one, two = keyset(1, needed=3), keyset(2, needed=1)
    with pytest.raises(RecordError, match="2 of 3 root signatures"):
        take(one, step(one, two, "ruth", "omar"))
    assert take(one, step(one, two, *ROOTS)).threshold("root") == 1
    more = keyset(2, needed=3)
    with pytest.raises(RecordError, match="2 of 3 root signatures"):
        take(keyset(1), step(keyset(1), more, "ruth", "omar"))


@pytest.mark.parametrize("version", [1, 2, 3, 5, 100])
def test_no_other_number_than_the_next_is_taken_whoever_signed(version: int) -> None:
    three, before = keyset(3), keyset(max(1, version - 1))
    new = keyset(version if version > 1 else 2)
    with pytest.raises(RecordError):
        take(three, step(before, new, *ROOTS, before=digest_of(payload_of(three))))


def test_a_record_that_names_another_version_before_it_is_refused() -> None:
    """Number and digests fit; a reader in another language may go by the version."""
    three, four = keyset(3), keyset(4)
    for version in (1, 2, 4):
        what = step(three, four, "ruth", "omar", keyset_version=version)
        with pytest.raises(RecordError, match=f"the record follows keyset {version}, not keyset 3"):
            take(three, what)


def test_a_step_is_not_taken_twice() -> None:
    one, two = keyset(1), keyset(2)
    first = step(one, two, "ruth", "omar")
    assert take(one, first).version == 2
    with pytest.raises(RecordError, match="keyset 2 does not follow keyset 2: the next is 3"):
        take(two, first)


def test_a_successor_of_another_keyset_of_that_number_is_refused() -> None:
    """Two hosts with two files of one version: what follows the one does not follow the other."""
    ours, theirs = keyset(1), keyset(1, ("ruth", "omar", "eve"))
    with pytest.raises(RecordError, match="was made to follow another keyset 1 than this host's"):
        take(ours, step(theirs, keyset(2), "ruth", "omar"))


def test_another_payload_than_the_one_that_was_signed_is_refused() -> None:
    one, two = keyset(1), keyset(2)
    signed = step(one, two, "ruth", "omar")
    other = msgspec.structs.replace(signed, payload=payload_of(keyset(2, ("ruth", "omar"))))
    with pytest.raises(RecordError, match="the record names another keyset 2 than this one"):
        take(one, other)


def test_record_and_keyset_say_the_same_number() -> None:
    one, two = keyset(1), keyset(2)
    with pytest.raises(RecordError, match="the record is for keyset 3, not for 2"):
        take(one, step(one, two, "ruth", "omar", number=3))


@pytest.mark.parametrize("field", ["namespace", "environment", "fleet"])
def test_a_step_of_another_switch_is_refused(field: str) -> None:
    one, two = keyset(1), keyset(2)
    other = "e" * 32 if field == "fleet" else "other"
    with pytest.raises(RecordError):
        take(one, step(one, two, "ruth", "omar", **{field: other}))


def test_neither_a_first_nor_a_last_keyset_is_without_roots() -> None:
    bare = keyset(1, ())
    with pytest.raises(RecordError, match="keyset 1 has no root, so nobody can sign"):
        draft(bare, keyset(2), **heading(bare))
    with pytest.raises(RecordError):
        take(bare, step(keyset(1), keyset(2), "ruth", "omar"))
    with pytest.raises(RecordError, match="keyset 2 has no root: nothing could ever follow it"):
        draft(keyset(1), keyset(2, ()), **heading(keyset(1)))
    with pytest.raises(RecordError, match="is of another fleet"):
        draft(keyset(1), keyset(2, fleet="e" * 32), **heading(keyset(1)))


def test_a_bad_signature_by_a_root_of_the_new_keyset_refuses_the_step() -> None:
    one, two = keyset(1), keyset(2, ("ruth", "omar", "nora"))
    good = step(one, two, "ruth", "omar", "nora")
    value = json.loads(good.record)
    nora = signer("nora").keyid
    for item in value["signatures"]:
        if item["keyid"] == nora:
            item["sig"] = value["signatures"][0]["sig"]
    with pytest.raises(RecordError, match="bad signature by nora"):
        take(one, Step(good.payload, json.dumps(value).encode()))


def test_several_steps_are_taken_one_by_one_and_one_that_lacks_ends_it() -> None:
    sets = [keyset(n, ("ruth", "omar", f"new-{n}")) for n in range(1, 6)]
    steps = [step(a, b, "ruth", "omar") for a, b in pairwise(sets)]
    taken = follow(sets[0], steps, **WHERE)
    assert [item.version for item in taken] == [2, 3, 4, 5]
    with pytest.raises(RecordError, match="does not follow"):
        follow(sets[0], [steps[0], *steps[2:]], **WHERE)
    assert follow(sets[0], [], **WHERE) == []


def test_a_keyset_has_one_digest_however_its_file_is_written() -> None:
    key = encode_public(signer("alice").public)
    raw = signer("alice").public
    file: dict[str, Any] = {
        "version": 1,
        "fleet": FLEET,
        "thresholds": {"approver": 1},
        "principals": {
            "zoe": {"roles": ["root", "auditor"], "keys": [encode_public(signer("zoe").public)]},
            "alice": {"roles": ["approver"], "keys": [key], "expires": "2031-01-31"},
        },
    }
    other = json.loads(json.dumps(file))
    other["thresholds"] = {}
    other["principals"] = dict(reversed(other["principals"].items()))
    other["principals"]["zoe"]["roles"] = ["auditor", "root", "root"]
    line = raw.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    other["principals"]["alice"]["keys"] = [f"{line} alice@laptop"]
    first, second = payload_of(parse_keyset(file)), payload_of(parse_keyset(other))
    assert first == second
    assert payload_of(parse_payload(first)) == first
    changed = payload_of(parse_keyset({**file, "version": 2}))
    assert digest_of(changed) != digest_of(first)


def test_a_payload_in_another_form_is_refused() -> None:
    payload = payload_of(keyset(1))
    for bad in (
        payload + b" ",
        b" " + payload,
        json.dumps(json.loads(payload)).encode(),
        b"",
        b"{}",
    ):
        with pytest.raises(RecordError):
            parse_payload(bad)


def test_a_draft_is_recognised_and_a_changed_one_is_not() -> None:
    one, two = keyset(1), keyset(2)
    record = draft(one, two, **heading(one))
    assert is_draft_of(record, one, two)
    assert not is_draft_of(msgspec.structs.replace(record, number=3), one, two)
    assert not is_draft_of(record, one, keyset(2, ("ruth", "omar")))
    assert not is_draft_of(record, keyset(1, ("ruth", "omar")), two)
    assert not is_draft_of(record, one, keyset(3))
    assert decode(seal(record, signer("ruth"))).payload_type == Rotation.payload_type()


TWO = {
    "alice": {"roles": ["approver"], "keys": [encode_public(signer("alice").public)]},
    "bob": {"roles": ["approver"], "keys": [encode_public(signer("bob").public)]},
    "ruth": {"roles": ["root"], "keys": [encode_public(signer("ruth").public)]},
}


@pytest.mark.parametrize(
    "thresholds",
    [
        {},
        {"approver": 2},
        {"extend": 2},
        {"approver": 2, "extend": 1},
        {"approver": 2, "resume": 2},
    ],
)
def test_what_each_kind_of_grant_takes_comes_through_a_step(thresholds: dict[str, int]) -> None:
    """Also where it takes fewer than the others do."""
    file = {"version": 2, "fleet": FLEET, "thresholds": thresholds, "principals": TWO}
    two, again = parse_keyset(file), parse_payload(payload_of(parse_keyset(file)))
    for kind in GrantKind:
        assert again.approvals(kind) == two.approvals(kind), kind
    for role in Role:
        assert again.threshold(role) == two.threshold(role), role


def test_signers_are_shown_every_change_of_what_it_takes_and_of_whose_word_counts() -> None:
    def made(thresholds: dict[str, int], **bob: str) -> Keyset:
        principals = {**TWO, "bob": {**TWO["bob"], **bob}}
        file = {"version": 2, "fleet": FLEET, "thresholds": thresholds, "principals": principals}
        return parse_keyset(file)

    assert differences(made({}), made({})) == []
    fewer = differences(made({"approver": 2}), made({"approver": 2, "extend": 1}))
    assert fewer == ["~ threshold of extend: 2 -> 1"]
    (risk,) = differences(made({}), made({}, authority="risk"))
    assert risk.startswith("~ bob: ") and "authority risk" in risk
