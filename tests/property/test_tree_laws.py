"""Laws of the tree and of notes: what is appended to stays provable, and no flipped bit passes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive_redis.errors import RecordError
from golive_redis.records.checkpoint import (
    Checkpoint,
    EntryProof,
    open_checkpoint,
    parse_proof,
    parse_text,
)
from golive_redis.records.logpolicy import parse_policy
from golive_redis.records.merkle import (
    EMPTY,
    CompactRange,
    consistency_path,
    inclusion_path,
    prove,
    verify_consistency,
    verify_inclusion,
)
from golive_redis.records.signednote import parse, parse_lines, parse_vkey, sign, verified
from kit.notary import entries, log_key, naive_root, private, signed, witness_key

LEAVES = entries(1_000)
NOTE = signed(LEAVES[:300])
COSIGNED = (
    parse(NOTE)
    .with_lines([sign(parse(NOTE).text, witness_key(), private("w1").sign, time_s=1_790_000_000)])
    .encode()
)
PROOF = EntryProof(7, prove(inclusion_path(7, 300), LEAVES), COSIGNED, b"where it is kept").encode()
SIZES = st.integers(0, len(LEAVES))


@given(st.lists(SIZES, min_size=1, max_size=8).map(sorted))
def test_however_a_log_grows_its_tree_is_that_of_its_entries(sizes: list[int]) -> None:
    tree, done = EMPTY, 0
    for size in sizes:
        tree = CompactRange.decoded(tree.size, tree.encoded()).extend(LEAVES[done:size])
        done = size
    assert tree.root() == naive_root(LEAVES[: sizes[-1]])


@given(st.tuples(SIZES, SIZES).map(sorted), st.data())
def test_a_flipped_bit_or_a_moved_hash_refuses_a_consistency_proof(
    sizes: list[int], data: st.DataObject
) -> None:
    old, new = sizes
    roots = [EMPTY.extend(LEAVES[:size]).root() for size in sizes]
    proof = list(prove(consistency_path(old, new), LEAVES))
    verify_consistency(old, new, roots[0], roots[1], proof)
    whole = [*roots, *proof]
    edited = data.draw(_edited(whole))
    if edited != whole:
        with pytest.raises(RecordError):
            verify_consistency(old, new, edited[0], edited[1], edited[2:])


@given(st.integers(0, 999), st.integers(1, 1_000), st.data())
def test_a_flipped_bit_or_a_moved_hash_refuses_an_inclusion_proof(
    index: int, size: int, data: st.DataObject
) -> None:
    index %= size
    root = EMPTY.extend(LEAVES[:size]).root()
    whole = [LEAVES[index], root, *prove(inclusion_path(index, size), LEAVES)]
    verify_inclusion(whole[0], index, size, whole[2:], whole[1])
    edited = data.draw(_edited(whole))
    if edited != whole:
        with pytest.raises(RecordError):
            verify_inclusion(edited[0], index, size, edited[2:], edited[1])


@st.composite
def _edited(draw: st.DrawFn, whole: list[bytes]) -> list[bytes]:
    """The hashes with one bit flipped, one left out, one told twice, or two in each other's place."""
    edited = list(whole)
    at = draw(st.integers(0, len(edited) - 1))
    other = draw(st.integers(0, len(edited) - 1))
    kind = draw(st.sampled_from(["flip", "drop", "double", "swap"]))
    if kind == "flip":
        bit = draw(st.integers(0, 255))
        raw = bytearray(edited[at])
        raw[bit // 8] ^= 1 << bit % 8
        edited[at] = bytes(raw)
    elif kind == "drop" and at > 1:
        del edited[at]
    elif kind == "double":
        edited.append(edited[at])
    elif kind == "swap":
        edited[at], edited[other] = edited[other], edited[at]
    return edited


@given(st.integers(0, len(COSIGNED) * 8 - 1))
def test_no_flipped_bit_of_a_note_changes_what_it_says_and_leaves_it_signed(bit: int) -> None:
    """In a name or a key id it makes the line one of an unknown key, which is ignored."""
    raw = bytearray(COSIGNED)
    raw[bit // 8] ^= 1 << bit % 8
    try:
        found = open_checkpoint(bytes(raw), [log_key()], [witness_key()])
    except RecordError:
        return
    assert found.note.text == parse(NOTE).text
    assert len(found.logs) == 1
    assert not found.witnesses  # the flip is in the line of the witness, which then is unknown


@given(st.integers(0, len(PROOF) * 8 - 1))
def test_no_flipped_bit_of_a_proof_file_shows_another_entry(bit: int) -> None:
    raw = bytearray(PROOF)
    raw[bit // 8] ^= 1 << bit % 8
    with suppress(RecordError):
        proof = parse_proof(bytes(raw))
        proof.verify(LEAVES[7], open_checkpoint(proof.checkpoint, [log_key()]))
        assert (proof.index, proof.path) == (7, parse_proof(PROOF).path)


@given(
    st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode(errors="replace"))
)
def test_whatever_bytes_arrive_nothing_but_a_record_error_comes_out(raw: bytes) -> None:
    text = raw.decode(errors="surrogateescape")
    for read in (
        lambda: parse(raw),
        lambda: parse_proof(raw),
        lambda: parse_policy(raw),
        lambda: parse_lines(text),
        lambda: parse_vkey(text),
        lambda: parse_text(text),
        lambda: parse_text(f"origin\n{text}\n"),
        lambda: parse_vkey(f"name+{text}"),
        lambda: parse_policy(b"log " + raw + b"\nquorum none\n"),
        lambda: parse_proof(b"c2sp.org/tlog-proof@v1\nindex 0\n" + raw),
        lambda: verified(parse(raw), [log_key()]),
    ):
        with suppress(RecordError):
            read()


@given(st.text(max_size=40), st.integers(-1, 2**64), st.binary(min_size=30, max_size=33))
def test_a_checkpoint_is_read_as_it_was_written_or_never_written(
    origin: str, size: int, root: bytes
) -> None:
    head = Checkpoint(origin, size, root)
    with suppress(RecordError):
        assert parse_text(head.text()) == head
