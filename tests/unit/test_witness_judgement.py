"""What a witness answers: the first check that fails, in the order of the protocol."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from golive_redis.errors import RecordError
from golive_redis.records.merkle import consistency_path, prove
from golive_redis.records.signednote import parse, sign
from golive_redis.witness.judgement import (
    CLOCK_STEP_S,
    NOTHING,
    Evidence,
    RefusalError,
    require_continued,
    require_signed,
    time_to_sign,
)
from golive_redis.witness.protocol import (
    MAX_BODY_BYTES,
    Submission,
    decode_size,
    encode_size,
    encode_submission,
    parse_submission,
)
from kit.notary import entries, log_key, private, signed, witness_key

LEAVES = entries(64)
OTHERS = entries(64, "other")


def submitted(
    size: int, old: int, leaves: list[bytes] = LEAVES, *, proof: bool = True
) -> Submission:
    hashes = prove(consistency_path(old, size), leaves) if proof and 0 < old < size else ()
    return parse_submission(encode_submission(old, hashes, signed(leaves[:size])))


def refusal(submission: Submission, known: Submission | None) -> RefusalError:
    with pytest.raises(RefusalError) as caught:
        require_continued(submission, known.checkpoint if known else NOTHING)
    return caught.value


KNOWN = submitted(40, 0)


@pytest.mark.parametrize("old", [0, 1, 7, 39, 40])
@pytest.mark.parametrize("size", [40, 41, 63, 64])
def test_what_continues_the_known_checkpoint_is_taken(old: int, size: int) -> None:
    require_continued(submitted(size, old), submitted(old, 0).checkpoint)


@pytest.mark.parametrize(
    ("submission", "status", "evidence"),
    [
        (submitted(20, 40, proof=False), HTTPStatus.BAD_REQUEST, None),
        (submitted(64, 39), HTTPStatus.CONFLICT, None),
        (submitted(64, 0), HTTPStatus.CONFLICT, None),
        (submitted(40, 39), HTTPStatus.CONFLICT, None),
        (submitted(40, 0, OTHERS), HTTPStatus.CONFLICT, Evidence.FORK),
        (submitted(40, 40, OTHERS), HTTPStatus.UNPROCESSABLE_ENTITY, Evidence.FORK),
        (submitted(64, 40, OTHERS), HTTPStatus.UNPROCESSABLE_ENTITY, Evidence.UNPROVEN),
        (submitted(64, 40, proof=False), HTTPStatus.UNPROCESSABLE_ENTITY, Evidence.UNPROVEN),
    ],
)
def test_what_does_not_is_refused_and_kept_where_the_log_has_signed_it(
    submission: Submission, status: HTTPStatus, evidence: Evidence | None
) -> None:
    error = refusal(submission, KNOWN)
    assert (error.status, error.evidence) == (status, evidence)
    assert error.known == (40 if status is HTTPStatus.CONFLICT else None)


def test_the_first_checkpoint_of_a_log_comes_without_a_proof() -> None:
    first = submitted(40, 0)
    require_continued(first, NOTHING)
    proof = Submission(0, (LEAVES[0],), first.note, first.checkpoint)
    assert refusal(proof, None).status is HTTPStatus.UNPROCESSABLE_ENTITY
    assert refusal(submitted(40, 7), None).known == 0


def test_an_empty_log_has_the_root_of_nothing() -> None:
    empty = submitted(0, 0)
    require_continued(empty, NOTHING)
    require_continued(submitted(7, 0), empty.checkpoint)
    text = f"{empty.checkpoint.origin}\n0\n{'A' * 43}=\n"
    line = sign(text, log_key(), private("hb-1").sign)
    note = parse((text + "\n" + line.text).encode())
    wrong = parse_submission(encode_submission(0, (), note.encode()))
    assert refusal(wrong, None).status is HTTPStatus.UNPROCESSABLE_ENTITY


def test_a_checkpoint_counts_with_the_signatures_of_its_log_alone() -> None:
    submission = submitted(40, 0)
    other = sign(submission.note.text, witness_key(), private("w1").sign, time_s=1)
    noisy = Submission(0, (), submission.note.with_lines([other]), submission.checkpoint)
    taken = require_signed(noisy, [log_key(), log_key("hb-2")])
    assert taken.note == submission.note  # what strangers add is neither stored nor passed on


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ([], HTTPStatus.NOT_FOUND),
        ([log_key("hb-2")], HTTPStatus.FORBIDDEN),
        ([witness_key()], HTTPStatus.FORBIDDEN),
    ],
)
def test_a_log_that_is_not_known_or_has_not_signed_is_refused(keys, status) -> None:
    with pytest.raises(RefusalError) as caught:
        require_signed(submitted(40, 0), keys)
    assert (caught.value.status, caught.value.evidence) == (status, None)


def test_a_bad_line_of_a_trusted_key_refuses_what_another_has_signed() -> None:
    submission = submitted(40, 0)
    bad = parse(signed(OTHERS[:40], "hb-2")).signatures
    mixed = Submission(0, (), submission.note.with_lines(bad), submission.checkpoint)
    with pytest.raises(RefusalError, match="bad signature") as caught:
        require_signed(mixed, [log_key(), log_key("hb-2")])
    assert caught.value.status is HTTPStatus.FORBIDDEN


def test_no_time_before_the_last_is_signed() -> None:
    assert time_to_sign(1_000, 0) == 1_000
    assert time_to_sign(1_000, 1_000) == 1_000
    # A clock that is stepped by a second or two does not stop a witness.
    assert time_to_sign(1_000 - CLOCK_STEP_S, 1_000) == 1_000
    with pytest.raises(RefusalError, match="6 s behind") as caught:
        time_to_sign(1_000 - CLOCK_STEP_S - 1, 1_000)
    assert caught.value.status is HTTPStatus.SERVICE_UNAVAILABLE


def test_a_request_is_read_as_it_was_written() -> None:
    body = encode_submission(39, prove(consistency_path(39, 64), LEAVES), signed(LEAVES))
    submission = parse_submission(body)
    assert encode_submission(submission.old, submission.proof, submission.note.encode()) == body


NOTE = signed(LEAVES)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        NOTE,
        b"old 1\n" + NOTE,
        b"old -1\n\n" + NOTE,
        b"old 01\n\n" + NOTE,
        b"old 1 \n\n" + NOTE,
        b"Old 1\n\n" + NOTE,
        b"old 1\nAAAA\n\n" + NOTE,
        b"old 1\n!\n\n" + NOTE,
        b"old 1\n" + (b"A" * 43 + b"=\n") * 64 + b"\n" + NOTE,
        b"old 1\r\n\r\n" + NOTE,
        b"old \xc3\xa9\n\n" + NOTE,
        b"old 1\n\n\n" + NOTE,
        b"old 1\n\nno checkpoint\n\n" + NOTE.partition(b"\n\n")[2],
        b"old 1\n\n" + b"x" * MAX_BODY_BYTES,
    ],
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(RecordError):
        parse_submission(body)


def test_a_conflict_says_one_size() -> None:
    assert decode_size(encode_size(40)) == 40
    for body in (
        b"",
        b"40",
        b"40\n\n",
        b"040\n",
        b"-1\n",
        b"4 0\n",
        b"\xff\n",
        b"9" * 99_999 + b"\n",
    ):
        with pytest.raises(RecordError):
            decode_size(body)
