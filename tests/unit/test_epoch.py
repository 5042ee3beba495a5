"""The number of the next directive."""

from __future__ import annotations

import pytest

from golive_redis.errors import RefusedError
from golive_redis.records.epoch import next_epoch
from golive_redis.records.record import MAX_INT
from golive_redis.testing import Signers

SIGNERS = Signers()
STOP = SIGNERS.trust.revocation(SIGNERS.revocation(6))


@pytest.mark.parametrize(("hint", "expected"), [(0, 7), (3, 7), (6, 7), (8, 9)])
def test_the_next_number_is_above_every_signed_one_and_above_the_hint(
    hint: int, expected: int
) -> None:
    """S2: Redis may have lost or lowered its own count."""
    assert next_epoch(STOP, hint=hint) == expected


def test_the_first_number_is_one() -> None:
    assert next_epoch(None) == 1


def test_a_hint_far_above_every_signature_is_refused() -> None:
    with pytest.raises(RefusedError, match="far above"):
        next_epoch(STOP, hint=10**15)


def test_numbers_that_are_used_up_are_refused() -> None:
    last = SIGNERS.trust.revocation(SIGNERS.revocation(MAX_INT))
    with pytest.raises(RefusedError, match="used up"):
        next_epoch(last)
