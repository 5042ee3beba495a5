"""Checkpoints: the head of a log in three lines, and the proof of one entry that needs nothing else."""

from __future__ import annotations

import pytest

from golive_redis.errors import RecordError
from golive_redis.records.checkpoint import (
    Checkpoint,
    EntryProof,
    open_checkpoint,
    origin_of,
    parse_proof,
    parse_text,
)
from golive_redis.records.merkle import EMPTY, inclusion_path, leaf, prove
from golive_redis.records.signednote import parse, sign
from kit.notary import ORIGIN, WITNESS, entries, log_key, private, signed, witness_key

# The example of C2SP tlog-checkpoint v1.0.0.
EXAMPLE = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
LEAVES = entries(20)
HEAD = Checkpoint(ORIGIN, 20, EMPTY.extend(LEAVES).root())
NOTE = signed(LEAVES)
COSIGNED = (
    parse(NOTE)
    .with_lines([sign(HEAD.text(), witness_key(), private("w1").sign, time_s=5)])
    .encode()
)
PROOF = EntryProof(7, prove(inclusion_path(7, 20), LEAVES), COSIGNED)


def test_the_example_of_the_specification_is_read_and_written_the_same():
    head = parse_text(EXAMPLE)
    assert (head.origin, head.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert head.text() == EXAMPLE


def test_a_checkpoint_tells_its_log_and_the_witnesses_that_are_known():
    found = open_checkpoint(COSIGNED, [log_key()], [witness_key()])
    assert found.checkpoint == HEAD
    assert [each.verifier for each in found.logs] == [log_key()]
    assert [(each.verifier.name, each.time_s) for each in found.witnesses] == [(WITNESS, 5)]
    assert open_checkpoint(COSIGNED, [log_key()]).witnesses == ()


def test_a_cosignature_does_not_stand_in_for_the_logs_own_signature():
    alone = parse(COSIGNED)
    raw = type(alone)(alone.text, alone.signatures[1:]).encode()
    with pytest.raises(RecordError, match="no trusted key of its log"):
        open_checkpoint(raw, [log_key()], [witness_key()])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n",
        "origin\n5\n",
        EXAMPLE[:-1],
        EXAMPLE + "\n",
        "\n" + EXAMPLE,
        EXAMPLE.replace("20852163", "020852163"),
        EXAMPLE.replace("20852163", "+20852163"),
        EXAMPLE.replace("20852163", "20852163 "),
        EXAMPLE.replace("20852163", "-1"),
        EXAMPLE.replace("20852163", "\u0662"),
        EXAMPLE.replace("20852163", str(2**63)),
        EXAMPLE.replace("20852163", "9" * 5_000),
        EXAMPLE.replace("=", ""),
        EXAMPLE.replace("CsUY", ""),
        EXAMPLE + "extension\n\nafter an empty line\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text):
    with pytest.raises(RecordError):
        parse_text(text)


def test_extension_lines_are_kept_as_they_are():
    assert parse_text(EXAMPLE + "more\n").extensions == ("more",)


@pytest.mark.parametrize(
    "head",
    [
        Checkpoint("", 1, bytes(32)),
        Checkpoint("two\nlines", 1, bytes(32)),
        Checkpoint("o", -1, bytes(32)),
        Checkpoint("o", 1, bytes(31)),
        Checkpoint("o", 1, bytes(32), ("",)),
    ],
)
def test_a_checkpoint_that_would_be_read_otherwise_is_never_signed(head):
    with pytest.raises(RecordError):
        head.signed(log_key(), private("hb-1").sign)


def test_the_origin_follows_from_environment_and_namespace():
    assert origin_of("testnet", "golive") == "testnet.invalid/golive"
    assert origin_of("production", "{golive}") == "production.invalid/golive"
    with pytest.raises(RecordError):
        origin_of("a b", "golive")


def test_a_proof_file_shows_that_an_entry_is_in_the_log():
    raw = PROOF.encode()
    assert raw.startswith(b"c2sp.org/tlog-proof@v1\nindex 7\n")
    proof = parse_proof(raw)
    assert proof == PROOF
    found = open_checkpoint(proof.checkpoint, [log_key()])
    proof.verify(leaf(b"entry 7"), found)
    with pytest.raises(RecordError, match="does not show"):
        proof.verify(leaf(b"entry 8"), found)
    with pytest.raises(RecordError, match="another checkpoint"):
        proof.verify(leaf(b"entry 7"), open_checkpoint(NOTE, [log_key()]))


def test_a_proof_file_carries_bytes_for_whoever_wrote_it():
    for extra in (b"", b"which entry this is"):
        proof = EntryProof(7, PROOF.path, COSIGNED, extra)
        assert parse_proof(proof.encode()) == proof


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"@v1", b"@v2"),
        (b"index 7", b"index 07"),
        (b"index 7", b"index"),
        (b"index 7\n", b""),
        (b"index 7", b"extra AAAA\nextra AAAA\nindex 7"),
        (b"index 7", b"index 7\nextra AAAA"),
        (b"index 7\n", b"index 7\n" + b"\n".join([b"A" * 43 + b"="] * 64) + b"\n"),
        (b"index 7\n", b"index 7\nAAAA\n"),
        (b"index 7\n", b"index 7\n\n"),
        (b"index 7\n", b"index 7\n\xc3\xa9\n"),
        (b"\n20\n", b"\n20\n\n"),
    ],
)
def test_what_is_no_proof_file_is_refused(old, new):
    raw = PROOF.encode()
    assert old in raw
    with pytest.raises(RecordError):
        parse_proof(raw.replace(old, new, 1))


def test_a_proof_that_would_be_read_otherwise_is_never_written():
    for wrong in (
        EntryProof(-1, (), NOTE),
        EntryProof(1, (b"short",), NOTE),
        EntryProof(1, (), b"no checkpoint"),
    ):
        with pytest.raises(RecordError):
            wrong.encode()
