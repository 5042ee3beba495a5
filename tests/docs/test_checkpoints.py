"""docs/reference/checkpoints.md: its verifier runs as it stands, and agrees with ours."""

from __future__ import annotations

import subprocess
import sys

import pytest

from golive_redis.records.checkpoint import EntryProof
from golive_redis.records.merkle import inclusion_path, prove
from golive_redis.records.signednote import parse, sign
from kit.notary import ORIGIN, WITNESS, entries, log_key, private, signed, witness_key

PAGE = "docs/reference/checkpoints.md"
LEAVES = entries(20)
KEYS = f"{log_key().text},{witness_key().text}"


@pytest.fixture
def check(docs, tmp_path):
    """Run the verifier of the page."""
    (path,) = (each for each in docs.all if str(each).endswith(PAGE))
    (block,) = (each for each in docs.blocks(path) if each.language == "python")
    (tmp_path / "check.py").write_text(block.text)

    def run(keys: str, proof: bytes, entry: bytes) -> subprocess.CompletedProcess[str]:
        (tmp_path / "proof").write_bytes(proof)
        (tmp_path / "entry").write_bytes(entry)
        words = [sys.executable, "check.py", keys, "proof", "entry"]
        return subprocess.run(
            words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def proof(index: int = 7, by: str = "hb-1") -> bytes:
    note = parse(signed(LEAVES, by))
    line = sign(note.text, witness_key(), private("w1").sign, time_s=1_790_000_000)
    path = prove(inclusion_path(index, len(LEAVES)), LEAVES)
    return EntryProof(index, path, note.with_lines([line]).encode(), b"extra").encode()


@pytest.mark.parametrize("index", [0, 7, 16, 19])
def test_the_verifier_of_the_page_accepts_what_ours_writes(check, index):
    done = check(KEYS, proof(index), f"entry {index}".encode())
    assert done.stdout.splitlines() == [
        f"entry {index} of 20 in {ORIGIN}",
        f"cosigned by {WITNESS} at 1790000000",
    ], done.stderr


def test_a_witness_that_is_not_named_is_not_told_of(check):
    done = check(log_key().text, proof(), b"entry 7")
    assert done.stdout.splitlines() == [f"entry 7 of 20 in {ORIGIN}"], done.stderr


@pytest.mark.parametrize(
    ("keys", "raw", "entry"),
    [
        (KEYS, proof(), b"entry 8"),
        (KEYS, proof().replace(b"index 7", b"index 6"), b"entry 7"),
        (KEYS, proof(by="hb-2"), b"entry 7"),
        (KEYS, proof().replace(b"\n20\n", b"\n21\n"), b"entry 7"),
        (witness_key().text, proof(), b"entry 7"),
    ],
)
def test_the_verifier_of_the_page_refuses_what_is_not_so(check, keys, raw, entry):
    done = check(keys, raw, entry)
    assert done.returncode != 0
    assert done.stdout == ""
