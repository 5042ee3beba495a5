"""Programs that the operator configured: what they are given, and how much they may say."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from golive_redis.programs import Ended, ProgramError, run

MUCH = b"x" * 1_000_000  # more than any pipe holds

Run = Callable[..., Ended]


@pytest.fixture
def ran(tmp_path: Path) -> Run:
    def go(script: str, *, given: bytes = b"", most: int = 1_000) -> Ended:
        return run(
            ["sh", "-c", script],
            folder=tmp_path,
            environ=dict(os.environ),
            deadline_ms=60_000,
            most=most,
            given=given,
        )

    return go


def test_it_is_given_more_than_a_pipe_holds_and_may_answer_while_it_reads(ran: Run) -> None:
    assert ran("cat", given=MUCH, most=len(MUCH)).out == MUCH
    assert ran("wc -c", given=MUCH).out.strip() == b"1000000"


def test_one_that_does_not_read_is_heard_all_the_same(ran: Run) -> None:
    assert ran("echo hi", given=MUCH).out == b"hi\n"
    assert ran("exec <&-; echo hi; sleep 0.1; exit 3", given=MUCH) == Ended(3, b"hi\n", "")


def test_what_is_too_much_and_what_is_only_long_is_told_apart(ran: Run) -> None:
    assert ran("cat", given=b"x" * 1_000).out == b"x" * 1_000
    with pytest.raises(ProgramError, match="printed over 1000 bytes and was killed"):
        ran("cat", given=b"x" * 1_001)
    assert ran("cat >&2; exit 1", given=MUCH).complaint == "x" * 4_096
