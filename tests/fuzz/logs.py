"""Fuzzed: what logs and witnesses exchange. It is read as it would be written, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from golive_redis.errors import RecordError
from golive_redis.records.checkpoint import EntryProof, open_checkpoint, parse_proof, parse_text
from golive_redis.records.logpolicy import parse_policy
from golive_redis.records.merkle import consistency_path, inclusion_path, prove
from golive_redis.records.signednote import parse, parse_vkey, sign
from golive_redis.witness.protocol import encode_submission, parse_submission
from kit.notary import entries, log_key, private, signed, witness_key

from .mutator import Mutator

LEAVES = entries(20)
LOG, WITNESS = log_key(), witness_key()
BARE = signed(LEAVES)
TEXT = parse(BARE).text
COSIGNED = (
    parse(BARE).with_lines([sign(TEXT, WITNESS, private("w1").sign, time_s=1_790_000_000)]).encode()
)
NOTES = [BARE, COSIGNED, signed(LEAVES[:7], "hb-2")]
PATH = prove(inclusion_path(7, 20), LEAVES)
PROOF = EntryProof(7, PATH, COSIGNED, b"extra").encode()
POLICY = (
    f"# one\nlog {LOG.text} https://log.example\nwitness A {WITNESS.text}\n"
    f"witness B {witness_key('w2', 'w2').text}\ngroup G any A B\nquorum G\n"
).encode()
REQUEST = encode_submission(7, prove(consistency_path(7, 20), LEAVES), COSIGNED)


def _submission(raw: bytes) -> bytes:
    found = parse_submission(raw)
    return encode_submission(found.old, found.proof, found.note.encode())


def _text(raw: bytes) -> str:
    # What gets this far has been decoded: a note that is no UTF-8 is refused as a whole.
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise RecordError("not UTF-8") from error


# By a good input: reads it, and writes what was read. A policy has freedoms (spaces, comments), and is
# compared by what is read of it again.
FORMATS: dict[bytes, Callable[[bytes], Any]] = {
    **{raw: lambda raw: parse(raw).encode() for raw in NOTES},
    TEXT.encode(): lambda raw: parse_text(_text(raw)).text().encode(),
    PROOF: lambda raw: parse_proof(raw).encode(),
    REQUEST: _submission,
    LOG.text.encode(): lambda raw: parse_vkey(_text(raw)).text.encode(),
}


def format_(mutate: Mutator) -> bool:
    """Of everything but a policy there is one way to write it: what is read is written the same."""
    raw = mutate.random.choice([*FORMATS, POLICY])
    strange = mutate.bent(raw, [*FORMATS, POLICY])
    try:
        if raw == POLICY:
            policy = parse_policy(strange)
            assert parse_policy(policy.encode()) == policy, strange
            return True
        written = FORMATS[raw](strange)
    except RecordError:
        return False
    assert written == strange, strange
    return True


def note(mutate: Mutator) -> bool:
    """Whatever is done to a signed checkpoint or a proof, it says what was signed, or nothing."""
    raw = mutate.random.choice([COSIGNED, PROOF])
    strange = mutate.bent(raw, [*NOTES, PROOF])
    try:
        checkpoint = parse_proof(strange).checkpoint if raw == PROOF else strange
        found = open_checkpoint(checkpoint, [LOG], [WITNESS])
        if raw == PROOF:
            parse_proof(strange).verify(LEAVES[7], found)
    except RecordError:
        return False
    assert found.note.text == TEXT, strange
    assert {each.time_s for each in found.witnesses} <= {1_790_000_000}, strange
    return True
