"""Trees, keys and notes that another implementation made: ours says of each what that one says.

tests/witness_party/make_vectors.py writes them, with a Python that the other implementation takes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from golive_redis.errors import RecordError
from golive_redis.records.checkpoint import open_checkpoint
from golive_redis.records.merkle import (
    EMPTY,
    consistency_path,
    inclusion_path,
    prove,
    verify_consistency,
)
from golive_redis.records.signednote import parse_vkey
from kit.notary import entries, log_key, witness_key

VECTORS = json.loads(
    (Path(__file__).resolve().parents[1] / "vectors" / "transparency.json").read_text()
)
TREES = VECTORS["trees"]
MOST = TREES["most"]


def digest(proofs):
    whole = b"".join(len(proof).to_bytes(2, "big") + b"".join(proof) for proof in proofs)
    return hashlib.sha256(whole).hexdigest()


def test_all_roots_and_proofs_up_to_256_entries_are_those_of_another_implementation():
    leaves = entries(MOST)
    sizes = range(1, MOST + 1)
    trees = [EMPTY]
    for each in leaves:
        trees.append(trees[-1].append(each))
    assert digest([[tree.root() for tree in trees]]) == TREES["roots"]
    paths = [inclusion_path(index, size) for size in sizes for index in range(size)]
    known = spans(leaves)
    assert digest([[known(span) for span in path] for path in paths]) == TREES["inclusion"]
    paths = [consistency_path(old, new) for new in sizes for old in range(1, new)]
    assert digest([[known(span) for span in path] for path in paths]) == TREES["consistency"]


def spans(leaves):
    """Roots of spans by number, each made once: `prove` would take minutes for 65,536 proofs."""
    made = {}

    def root(span):
        if span not in made:
            made[span] = EMPTY.extend(leaves[span.start : span.end]).root()
        return made[span]

    return root


@pytest.mark.parametrize("case", TREES["shown"], ids=lambda case: f"{case['old']}-{case['new']}")
def test_the_proofs_of_another_implementation_verify_and_are_ours(case):
    roots = [bytes.fromhex(case[name]) for name in ("old_root", "new_root")]
    proof = tuple(map(bytes.fromhex, case["proof"]))
    verify_consistency(case["old"], case["new"], *roots, proof)
    assert prove(consistency_path(case["old"], case["new"]), entries(MOST)) == proof


@pytest.mark.parametrize("case", VECTORS["keys"], ids=lambda case: case["vkey"][:40])
def test_a_key_is_taken_or_refused_as_by_another_implementation(case):
    if case["good"]:
        assert parse_vkey(case["vkey"]) in {log_key(), witness_key()}
    else:
        with pytest.raises(RecordError):
            parse_vkey(case["vkey"])


@pytest.mark.parametrize("case", VECTORS["notes"], ids=lambda case: case["name"])
def test_a_note_that_another_implementation_signed_is_accepted_or_refused(case):
    raw = case["note"].encode()
    if not case["good"]:
        with pytest.raises(RecordError):
            open_checkpoint(raw, [log_key()], [witness_key()])
        return
    found = open_checkpoint(raw, [log_key()], [witness_key()])
    assert [each.time_s for each in found.witnesses] == [case["time_s"]] * bool(case["time_s"])
    assert found.note.encode() == raw


def test_the_vectors_have_both_kinds_of_each():
    for kind in ("keys", "notes"):
        assert {case["good"] for case in VECTORS[kind]} == {True, False}
