"""The Merkle tree: roots and proofs are those of RFC 6962, and no other proof verifies."""

from __future__ import annotations

import hashlib

import pytest

from golive_redis.errors import RecordError
from golive_redis.records.merkle import (
    EMPTY,
    EMPTY_ROOT,
    MAX_PROOF,
    MAX_SIZE,
    CompactRange,
    Span,
    consistency_path,
    inclusion_path,
    leaf,
    node,
    prove,
    verify_consistency,
    verify_inclusion,
)
from kit.notary import entries, naive_consistency, naive_inclusion, naive_root

MOST = 70
LEAVES = entries(MOST)
ROOTS = [naive_root(LEAVES[:size]) for size in range(MOST + 1)]

# The leaves and roots that the first implementation of Certificate Transparency was tested with, and
# every one since (google/certificate-transparency, merkletree).
KNOWN_LEAVES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    bytes(range(0x60, 0x70)).hex(),
]
KNOWN_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_the_roots_are_those_that_every_implementation_of_rfc_6962_is_tested_with():
    assert EMPTY.root() == EMPTY_ROOT == hashlib.sha256(b"").digest()
    tree = EMPTY
    for data, root in zip(KNOWN_LEAVES, KNOWN_ROOTS, strict=True):
        tree = tree.append(leaf(bytes.fromhex(data)))
        assert tree.root().hex() == root


def test_the_proofs_are_those_of_the_example_in_rfc_6962():
    """Section 2.1.3: seven entries d0 to d6, under the nodes a to l."""
    a, b, c, d, e, f, j = (Span(i, i + 1) for i in range(7))
    g, h, i, k, l = Span(0, 2), Span(2, 4), Span(4, 6), Span(0, 4), Span(4, 7)  # noqa: E741
    del a, e
    assert inclusion_path(0, 7) == (b, h, l)
    assert inclusion_path(3, 7) == (c, g, l)
    assert inclusion_path(4, 7) == (f, j, k)
    assert inclusion_path(6, 7) == (i, k)
    assert consistency_path(3, 7) == (c, d, g, l)
    assert consistency_path(4, 7) == (l,)
    assert consistency_path(6, 7) == (i, j, k)


def test_an_entry_cannot_pass_for_a_node():
    assert leaf(LEAVES[0] + LEAVES[1]) != node(LEAVES[0], LEAVES[1])


@pytest.mark.parametrize("new", range(MOST + 1))
def test_proofs_between_all_sizes_are_those_of_the_book_and_verify(new):
    grown = EMPTY.extend(LEAVES[:new])
    assert grown.root() == ROOTS[new]
    for old in range(new + 1):
        before = EMPTY.extend(LEAVES[:old])
        assert before.extend(LEAVES[old:new]) == grown
        proof = prove(consistency_path(old, new), LEAVES)
        assert list(proof) == (naive_consistency(old, LEAVES[:new]) if old else [])
        # The tree of the old size and the new entries are enough.
        assert prove(consistency_path(old, new), LEAVES[old:new], after=before) == proof
        verify_consistency(old, new, ROOTS[old], ROOTS[new], proof)
        if old < new:
            proof = prove(inclusion_path(old, new), LEAVES)
            assert list(proof) == naive_inclusion(old, LEAVES[:new])
            verify_inclusion(LEAVES[old], old, new, proof, ROOTS[new])


@pytest.mark.parametrize("new", range(2, 34))
def test_no_proof_verifies_for_another_tree_or_place(new):
    """Another size is refused by the signature: a root does not say of how many leaves it is."""
    for old in range(1, new):
        proof = prove(consistency_path(old, new), LEAVES)
        others = [
            (old, new, ROOTS[old - 1], ROOTS[new], proof),
            (old, new, ROOTS[old], ROOTS[new + 1], proof),
            (old, new, ROOTS[new], ROOTS[old], proof),
            (old, new, ROOTS[old], ROOTS[new], proof[:-1]),
            (old, new, ROOTS[old], ROOTS[new], proof[1:]),
            (old, new, ROOTS[old], ROOTS[new], (*proof, ROOTS[new])),
            (old, new, ROOTS[old], ROOTS[new], (ROOTS[old], *proof)),
            (old, new, ROOTS[old], ROOTS[new], ()),
        ]
        for other in others:
            with pytest.raises(RecordError):
                verify_consistency(*other)
    for index in range(new):
        proof = prove(inclusion_path(index, new), LEAVES)
        for case in [
            (LEAVES[index], (index + 1) % new, new, proof, ROOTS[new]),
            (LEAVES[index + 1], index, new, proof, ROOTS[new]),
            (LEAVES[index], index, new, proof[:-1], ROOTS[new]),
            (LEAVES[index], index, new, (*proof, ROOTS[new]), ROOTS[new]),
            (LEAVES[index], index, new, proof, ROOTS[new - 1]),
            (LEAVES[index], new, new, proof, ROOTS[new]),
            (LEAVES[index], -1, new, proof, ROOTS[new]),
        ]:
            with pytest.raises(RecordError):
                verify_inclusion(*case)


def test_a_proof_of_another_length_is_refused_though_its_hashes_fit():
    """Made to fit: an inner node shown as an entry, and trees that claim another size."""
    a, b, c, d = LEAVES[:4]
    left, right = node(a, b), node(c, d)
    with pytest.raises(RecordError, match="too short"):
        verify_inclusion(ROOTS[8], 0, 8, (), ROOTS[8])
    with pytest.raises(RecordError, match="too short"):
        verify_inclusion(left, 0, 4, (right,), node(left, right))
    with pytest.raises(RecordError, match="too long"):
        verify_inclusion(b, 0, 1, (a,), left)
    with pytest.raises(RecordError, match="too short"):
        verify_consistency(4, 8, ROOTS[4], ROOTS[4], ())
    proof = prove(consistency_path(3, 4), LEAVES)
    with pytest.raises(RecordError, match="too long"):
        verify_consistency(3, 4, node(a, ROOTS[3]), node(a, ROOTS[4]), (*proof, a))


def test_a_log_without_entries_is_the_beginning_of_every_log_by_no_proof():
    """As tlog-witness v1.0.0 has it; and two heads of size 0 agree only in the hash of nothing."""
    verify_consistency(0, 5, EMPTY_ROOT, ROOTS[5], ())
    verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, ())
    for case in [
        (0, 5, ROOTS[1], ROOTS[5], ()),
        (0, 5, EMPTY_ROOT, ROOTS[5], (ROOTS[1],)),
        (0, 0, ROOTS[1], ROOTS[1], ()),
        (0, 0, EMPTY_ROOT, ROOTS[1], ()),
        (0, 0, EMPTY_ROOT, EMPTY_ROOT, (ROOTS[1],)),
    ]:
        with pytest.raises(RecordError):
            verify_consistency(*case)


def test_two_logs_of_one_length_are_one_or_a_fork():
    verify_consistency(5, 5, ROOTS[5], ROOTS[5], ())
    with pytest.raises(RecordError, match="fork"):
        verify_consistency(5, 5, ROOTS[5], ROOTS[6], ())
    with pytest.raises(RecordError, match="nothing to prove"):
        verify_consistency(5, 5, ROOTS[5], ROOTS[5], (ROOTS[1],))


@pytest.mark.parametrize("wrong", [b"", b"\0" * 31, b"\0" * 33])
def test_what_is_not_32_bytes_is_no_hash(wrong):
    with pytest.raises(RecordError, match="32 bytes"):
        verify_inclusion(wrong, 0, 1, (), ROOTS[1])
    with pytest.raises(RecordError, match="32 bytes"):
        verify_consistency(1, 2, ROOTS[1], ROOTS[2], (wrong,))


def test_a_tree_of_any_size_is_kept_in_a_few_lines_and_goes_on_from_them():
    tree = EMPTY.extend(LEAVES[:41])
    assert len(tree.encoded()) == 3  # 32 + 8 + 1
    again = CompactRange.decoded(41, tree.encoded())
    assert again == tree
    assert again.extend(LEAVES[41:]).root() == ROOTS[MOST]


@pytest.mark.parametrize(
    ("size", "nodes"),
    [
        (3, ["0" * 64]),
        (2, ["0" * 64, "0" * 64]),
        (1, ["0" * 63]),
        (1, ["0" * 63 + "G"]),
        (1, ["AB" * 32]),
        (1, ["0" * 64 + "\n"]),
        (-1, []),
        (MAX_SIZE + 1, ["0" * 64]),
    ],
)
def test_a_kept_tree_that_is_none_is_refused(size, nodes):
    with pytest.raises(RecordError):
        CompactRange.decoded(size, nodes)


def test_the_longest_log_has_a_proof_that_fits_and_none_is_longer():
    assert len(consistency_path(MAX_SIZE - 1, MAX_SIZE)) <= MAX_PROOF
    assert len(inclusion_path(0, MAX_SIZE)) == MAX_PROOF
    with pytest.raises(RecordError):
        inclusion_path(0, MAX_SIZE + 1)


def test_the_longest_log_takes_no_further_entry():
    full = CompactRange(MAX_SIZE, tuple(LEAVES[:63]))
    with pytest.raises(RecordError, match="more than a checkpoint"):
        full.append(LEAVES[0])


def test_a_proof_is_refused_where_its_entries_are_not_at_hand():
    with pytest.raises(RecordError, match="ends before"):
        prove(consistency_path(5, 9), LEAVES[:8])
    with pytest.raises(RecordError, match="before what is known"):
        prove(inclusion_path(1, 9), LEAVES[8:], after=EMPTY.extend(LEAVES[:8]))
    with pytest.raises(RecordError):
        consistency_path(9, 8)
    with pytest.raises(RecordError):
        inclusion_path(8, 8)


def test_a_proof_takes_no_more_entries_than_it_needs():
    source = iter(LEAVES)
    prove(consistency_path(3, 8), source)
    assert list(source) == LEAVES[8:]
