"""Grants permit, restrictions only take away, a revocation ends."""

from __future__ import annotations

from typing import Any

import pytest

from golive_redis.core.directive import (
    Mode,
    Profile,
    Revocation,
    assemble,
    in_force,
    smallest,
    strictest,
)
from golive_redis.errors import RecordError
from golive_redis.testing import LIMITS, START_MS, Party, identity

PARTY = Party()
TRUST = PARTY.trust


def revocation(**fields: Any) -> Revocation:
    return TRUST.revocation(PARTY.revocation(**fields)).record


def test_the_order_of_strictness_is_the_words_order() -> None:
    assert strictest([Mode.LIVE, Mode.HALTED, Mode.REDUCE_ONLY]) is Mode.HALTED
    assert strictest([Mode.LIVE, Mode.REDUCE_ONLY]) is Mode.REDUCE_ONLY
    assert smallest([Profile.LARGE, Profile.SMALL, Profile.MEDIUM]) is Profile.SMALL


def test_a_state_is_its_grant_met_with_its_restrictions() -> None:
    state = PARTY.state(
        PARTY.grant(profile=Profile.LARGE),
        PARTY.restriction(2, "reduce"),
        PARTY.restriction(3, "demote", profile=Profile.SMALL),
        PARTY.restriction(4, labels={"symbol": "BTCUSDT"}),
    )
    assert (state.mode, state.profile) == (Mode.REDUCE_ONLY, Profile.SMALL)
    assert (state.term, state.epoch) == (1, 4)
    assert state.newest.identity == identity(PARTY.restriction(4, labels={"symbol": "BTCUSDT"}))


def test_a_halt_of_some_labels_does_not_halt_the_others() -> None:
    state = PARTY.state(PARTY.grant(), PARTY.restriction(labels={"venue": "x"}))
    assert state.mode is Mode.LIVE


def test_a_grant_below_its_own_restriction_stays_restricted() -> None:
    state = PARTY.state(PARTY.grant(mode=Mode.HALTED), PARTY.restriction(2, "reduce"))
    assert state.mode is Mode.HALTED


def test_a_bigger_profile_in_a_demotion_raises_nothing() -> None:
    """Row 55: a revoker key signs a bigger profile."""
    state = PARTY.state(PARTY.grant(), PARTY.restriction(2, "demote", profile=Profile.LARGE))
    assert state.profile is Profile.MICRO


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("halt", {"mode": Mode.LIVE}),
        ("reduce", {"mode": Mode.LIVE}),
        ("reduce", {"mode": Mode.HALTED}),
        ("demote", {"mode": Mode.LIVE}),
        ("halt", {"profile": Profile.LARGE}),
        ("demote", {"labels": {"venue": "x"}}),
        ("demote", {"profile": None}),
        ("demote", {"limits": None}),
        ("halt", {"limits": LIMITS}),
        ("halt", {"term": 2}),
        ("halt", {"term": 3}),
        ("halt", {"labels": {"colour": "red"}}),
        ("halt", {"labels": {"venue": ""}}),
    ],
)
def test_a_restriction_of_another_shape_cannot_be_signed(kind: str, fields: dict[str, Any]) -> None:
    """Row 55: a wider mode has no form in which to be signed."""
    with pytest.raises((RecordError, ValueError)):
        PARTY.restriction(2, kind, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"epoch": 3, "term": 2, "kind": "activate"},
        {"epoch": 2, "term": 2, "kind": "resume"},
        {"epoch": 2, "term": 3, "kind": "resume"},
        {"not_before_ms": START_MS, "not_after_ms": START_MS},
        {"max_ttl_ms": 0},
        {"max_ttl_ms": 3_600_001},
    ],
    ids=str,
)
def test_a_grant_that_contradicts_itself_cannot_be_signed(fields: dict[str, Any]) -> None:
    with pytest.raises((RecordError, ValueError)):
        PARTY.grant(**fields)


def test_a_restriction_holds_beside_older_grants_and_beside_those_that_keep_it() -> None:
    raw = PARTY.restriction(3)
    halt = TRUST.restriction(raw)
    older, newer = PARTY.grant(2, term=1), PARTY.grant(4, term=1)
    keeping = PARTY.grant(4, term=1, keeps=[identity(raw)])
    assert in_force(halt, TRUST.grant(older))
    assert not in_force(halt, TRUST.grant(newer))
    assert in_force(halt, TRUST.grant(keeping))


def test_a_restriction_of_another_term_never_holds() -> None:
    halt = TRUST.restriction(PARTY.restriction(9, term=2))
    assert not in_force(halt, TRUST.grant(PARTY.grant(1)))
    kept = TRUST.grant(PARTY.grant(1, keeps=[halt.identity]))
    assert not in_force(halt, kept)


def test_a_grant_whose_kept_restriction_is_missing_makes_no_state() -> None:
    """Row 55: dropping somebody's halt fails."""
    kept, other = PARTY.restriction(2), PARTY.restriction(3)
    grant = TRUST.grant(PARTY.grant(4, term=1, keeps=[identity(kept)]))
    assert assemble(grant, [TRUST.restriction(kept)]).mode is Mode.HALTED
    for at_hand in ([], [TRUST.restriction(other)]):
        with pytest.raises(RecordError, match="1 restriction"):
            assemble(grant, at_hand)


def test_the_digest_names_the_set_and_not_its_order() -> None:
    grant, a, b = PARTY.grant(), PARTY.restriction(2), PARTY.restriction(3, "reduce")
    assert PARTY.state(grant, a, b).digest == PARTY.state(grant, b, a).digest
    digests = {PARTY.state(grant, *some).digest for some in ((), (a,), (b,), (a, b))}
    assert len(digests) == 4


def test_a_revocation_covers_every_term_up_to_its_epoch_and_no_later_one() -> None:
    late = START_MS + 1
    assert revocation(epoch=5).covers(5, late)
    assert revocation(epoch=5).covers(1, late)
    assert not revocation(epoch=5).covers(6, 0)


def test_a_blind_revocation_also_covers_what_was_issued_before_it() -> None:
    blind = revocation(epoch=1, blind=True, issued_at_ms=START_MS)
    assert blind.covers(100, START_MS - 1)
    assert blind.covers(100, START_MS)  # the same ms: closed
    assert not blind.covers(100, START_MS + 1)
    assert blind.covers(1, START_MS + 1)
