"""Writes tests/vectors/transparency.json with another implementation, so that it judges every Python.

Run by a Python that has aics-tlog (3.12 or newer): `python make_vectors.py FILE`. `make parties` runs it
too, and compares. Nothing of golive_redis is imported here.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import sys
from pathlib import Path

import aics_tlog
from aics_tlog import (
    Checkpoint,
    MerkleTree,
    Note,
    SignatureLine,
    cosignature_vkey,
    format_vkey,
    sign_checkpoint,
    sign_cosignature,
    vkey_from_ed25519,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MOST = 256
ORIGIN = "testnet.invalid/golive"
WITNESS = "witness.example.org/w1"
TIME_S = 1_790_000_000
SHOWN = [(1, 2), (3, 7), (4, 7), (6, 7), (41, 70), (128, 256), (255, 256)]


def private(seed: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())


def digest(proofs: list[list[bytes]]) -> str:
    """One hash over many proofs, each with its length, so that the file stays small."""
    whole = b"".join(len(proof).to_bytes(2, "big") + b"".join(proof) for proof in proofs)
    return hashlib.sha256(whole).hexdigest()


def trees() -> dict[str, object]:
    tree = MerkleTree(f"entry {index}".encode() for index in range(MOST))
    sizes = range(1, MOST + 1)
    return {
        "entries": "the text `entry N`, N from 0",
        "most": MOST,
        "roots": digest([[tree.root(size) for size in range(MOST + 1)]]),
        "inclusion": digest([tree.inclusion_proof(i, n) for n in sizes for i in range(n)]),
        "consistency": digest([tree.consistency_proof(m, n) for n in sizes for m in range(1, n)]),
        "shown": [
            {
                "old": old,
                "new": new,
                "old_root": tree.root(old).hex(),
                "new_root": tree.root(new).hex(),
                "proof": [each.hex() for each in tree.consistency_proof(old, new)],
            }
            for old, new in SHOWN
        ],
    }


def notes() -> list[dict[str, object]]:
    """Checkpoints with a log's signature and cosignatures; and what must become of each."""
    head = Checkpoint(ORIGIN, 20_852_163, hashlib.sha256(b"root").digest())
    log, witness = private("hb-1"), private("w1")
    note = sign_checkpoint(head, log, ORIGIN)
    _, cosigned = sign_cosignature(witness, WITNESS, TIME_S, head.origin, head.size, head.root)
    _, late = sign_cosignature(witness, WITNESS, TIME_S + 1, head.origin, head.size, head.root)
    stranger = SignatureLine("stranger.example", b"\1\2\3\4", bytes(64))
    post_quantum = SignatureLine(WITNESS, b"\6\6\6\6", bytes(2_428))
    shifted = SignatureLine(WITNESS, cosigned.key_id, late.signature[:8] + cosigned.signature[8:])
    forged = SignatureLine(ORIGIN, note.signatures[0].key_id, bytes(64))
    longer = Note(head.text() + "an extension\n", note.signatures)
    extended = Checkpoint(ORIGIN, 5, head.root, ("an extension",))
    signed = note.signatures
    cases = [
        ("signed by the log", Note(note.text, signed), 0),
        ("cosigned", Note(note.text, (*signed, cosigned)), TIME_S),
        (
            "cosigned by strangers too",
            Note(note.text, (stranger, *signed, post_quantum, cosigned)),
            TIME_S,
        ),
        ("with an extension line", sign_checkpoint(extended, log, ORIGIN), 0),
        ("the time of another cosignature", Note(note.text, (*signed, shifted)), None),
        ("a forged line of the log", Note(note.text, (forged, cosigned)), None),
        ("a line was added to the text", longer, None),
        ("nobody known has signed", Note(note.text, (stranger,)), None),
        ("the log has not signed", Note(note.text, (cosigned,)), None),
    ]
    return [
        {"name": name, "note": each.serialise(), "time_s": time_s, "good": time_s is not None}
        for name, each, time_s in cases
    ]


def keys() -> list[dict[str, object]]:
    """Verifier keys, and those that must be refused; by whom, the other implementation says."""
    good = [
        format_vkey(vkey_from_ed25519(ORIGIN, private("hb-1").public_key())),
        format_vkey(cosignature_vkey(WITNESS, private("w1").public_key())),
    ]
    found = []
    prime = 2**255 - 19
    weak = [0, 1, prime - 1, prime, prime + 1, 2**255 - 1]
    raws = [y.to_bytes(32, "little") for y in weak]
    raws += [(y | 1 << 255).to_bytes(32, "little") for y in (0, 1, prime - 1)]
    for raw in raws:
        for kind in (1, 4):
            key_id = aics_tlog.key_hash("weak.example", kind, raw)
            body = base64.b64encode(bytes([kind]) + raw).decode()
            found.append(f"weak.example+{key_id.hex()}+{body}")
    found += [good[0][:-1], good[0].replace("+", "+0", 1), good[0].replace("golive", "golivf")]
    return [{"vkey": text, "good": _reads(text)} for text in (*good, *found)]


def _reads(text: str) -> bool:
    try:
        aics_tlog.parse_vkey(text)
    except ValueError:
        return False
    return True


def main(path: Path) -> None:
    made = f"aics-tlog {importlib.metadata.version('aics-tlog')}"
    value = {"made_with": made, "trees": trees(), "keys": keys(), "notes": notes()}
    path.write_text(json.dumps(value, indent=1, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
