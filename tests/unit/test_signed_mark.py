"""`check_keys`, and so `golive doctor`, says whether roots decide on the next keyset."""

from __future__ import annotations

import pytest

from golive_redis.checks.builtin import check_keys
from golive_redis.testing import EVERYBODY, Signers


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        (EVERYBODY, "1, unsigned"),
        ({**EVERYBODY, "ruth": ("root",)}, "1, its roots sign what follows"),
    ],
)
def test_a_keyset_without_roots_is_called_unsigned(roles, said: str) -> None:
    assert check_keys(Signers(roles).keyset, 0, 0).facts["keyset"] == said
