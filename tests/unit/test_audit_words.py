"""Entries of the ledger in words."""

from __future__ import annotations

import pytest

from golive_redis.audit import words
from golive_redis.audit.opening import Opened
from golive_redis.records.directive import Grant
from golive_redis.records.envelope import peek
from golive_redis.testing import Signers


@pytest.mark.parametrize(
    ("drops", "up_to", "said"),
    [
        (0, 0, ""),
        (1, 0, ", lifted so far: 1"),
        (3, 1, ", lifted so far: 3"),  # a number before the term names nothing of it
        (1, 7, ", lifted so far: 1 and others up to 7"),
        (0, 7, ", lifted so far: others up to 7"),
    ],
)
def test_what_a_resumption_names_is_said_of_its_term_and_not_of_itself(
    drops: int, up_to: int, said: str
) -> None:
    """The third of three repeats what the two before it lifted: it did not lift three."""
    names = [f"{i:064x}" for i in range(drops)]
    raw = Signers().grant(9, term=2, drops=names, drops_up_to=up_to)
    shown = words.line(Opened(peek(raw, Grant), "0" * 64, ()))
    assert shown.what == f"resume: term 2{said}"
