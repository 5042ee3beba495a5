"""Grants permit, restrictions only take away, a revocation ends."""

from __future__ import annotations

from typing import Any

import pytest

from golive_redis.core.state import assemble, in_force, let_go
from golive_redis.errors import RecordError
from golive_redis.records.directive import Mode, Profile, Revocation, smallest, strictest
from golive_redis.testing import LIMITS, START_MS, Signers, identity

SIGNERS = Signers()
TRUST = SIGNERS.trust


def revocation(**fields: Any) -> Revocation:
    return TRUST.revocation(SIGNERS.revocation(**fields)).record


def test_the_order_of_strictness_is_the_words_order() -> None:
    assert strictest([Mode.LIVE, Mode.HALTED, Mode.REDUCE_ONLY]) is Mode.HALTED
    assert strictest([Mode.LIVE, Mode.REDUCE_ONLY]) is Mode.REDUCE_ONLY
    assert smallest([Profile.LARGE, Profile.SMALL, Profile.MEDIUM]) is Profile.SMALL


def test_a_state_is_its_grant_met_with_its_restrictions() -> None:
    state = SIGNERS.state(
        SIGNERS.grant(profile=Profile.LARGE),
        SIGNERS.restriction(2, "reduce"),
        SIGNERS.restriction(3, "demote", profile=Profile.SMALL),
        SIGNERS.restriction(4, labels={"symbol": "BTCUSDT"}),
    )
    assert (state.mode, state.profile) == (Mode.REDUCE_ONLY, Profile.SMALL)
    assert (state.term, state.epoch) == (1, 4)
    assert state.newest.identity == identity(SIGNERS.restriction(4, labels={"symbol": "BTCUSDT"}))


def test_a_halt_of_some_labels_does_not_halt_the_others() -> None:
    state = SIGNERS.state(SIGNERS.grant(), SIGNERS.restriction(labels={"venue": "x"}))
    assert state.mode is Mode.LIVE


def test_a_grant_below_its_own_restriction_stays_restricted() -> None:
    state = SIGNERS.state(SIGNERS.grant(mode=Mode.HALTED), SIGNERS.restriction(2, "reduce"))
    assert state.mode is Mode.HALTED


def test_a_bigger_profile_in_a_demotion_raises_nothing() -> None:
    """Row 55: a revoker key signs a bigger profile."""
    state = SIGNERS.state(SIGNERS.grant(), SIGNERS.restriction(2, "demote", profile=Profile.LARGE))
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
        SIGNERS.restriction(2, kind, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"epoch": 3, "term": 2, "kind": "activate"},
        {"epoch": 2, "term": 2, "kind": "resume"},
        {"epoch": 2, "term": 3, "kind": "resume"},
        {"not_before_ms": START_MS, "not_after_ms": START_MS},
        {"max_ttl_ms": 0},
        {"max_ttl_ms": 3_600_001},
        {"activated_at_ms": START_MS + 1},
        {"drops_up_to": 1},
        {"drops": [f"{n:064x}" for n in range(65)]},
        {"heartbeats": []},
        {"heartbeats": ["hb-1", "hb-1"]},
        {"heartbeats": [f"hb-{n}" for n in range(17)]},
    ],
    ids=str,
)
def test_a_grant_that_contradicts_itself_cannot_be_signed(fields: dict[str, Any]) -> None:
    with pytest.raises((RecordError, ValueError)):
        SIGNERS.grant(**fields)


@pytest.mark.parametrize(
    ("fields", "holds"),
    [
        ({}, True),
        ({"drops": [identity(SIGNERS.restriction(2))]}, True),
        ({"drops": [identity(SIGNERS.restriction(3))]}, False),
        ({"drops_up_to": 2}, True),
        ({"drops_up_to": 3}, False),
        ({"drops_up_to": 3, "keeps": [identity(SIGNERS.restriction(3))]}, True),
    ],
    ids=str,
)
def test_only_what_a_grant_lets_go_ends_a_restriction(
    fields: dict[str, Any], *, holds: bool
) -> None:
    """Not its number: the grant's signers may never have seen the halt, for a failover had lost it."""
    halt = TRUST.restriction(SIGNERS.restriction(3))
    newer = TRUST.grant(SIGNERS.grant(4, term=1, **{"drops_up_to": 0, **fields}))
    assert in_force(halt, newer) is holds
    assert in_force(halt, TRUST.grant(SIGNERS.grant(2, term=1)))


def test_what_was_let_go_stays_let_go_for_the_whole_term() -> None:
    first, second = (TRUST.restriction(SIGNERS.restriction(epoch)) for epoch in (2, 4))
    resumed = SIGNERS.grant(
        3, term=1, **let_go(TRUST.grant(SIGNERS.grant(drops_up_to=0)).record, [first], 0)
    )
    again = SIGNERS.grant(5, term=1, **let_go(TRUST.grant(resumed).record, [second], 0))
    assert not in_force(first, TRUST.grant(again))
    assert not in_force(second, TRUST.grant(again))


@pytest.mark.parametrize(("many", "keeps"), [(64, 0), (65, 0), (500, 0), (3, 62), (1, 64)])
def test_more_than_a_grant_can_name_is_let_go_by_number(many: int, keeps: int) -> None:
    """A resume from five hundred halts is possible, and what comes later is named again."""
    halts = [TRUST.restriction(SIGNERS.restriction(epoch)) for epoch in range(2, many + 2)]
    before = TRUST.grant(SIGNERS.grant(drops_up_to=0)).record
    resumed = TRUST.grant(SIGNERS.grant(many + 2, term=1, **let_go(before, halts, keeps)))
    assert not any(in_force(halt, resumed) for halt in halts)
    assert len(resumed.record.drops) + keeps <= max(64, keeps)
    one = TRUST.restriction(SIGNERS.restriction(many + 3))
    later = TRUST.grant(SIGNERS.grant(many + 4, term=1, **let_go(resumed.record, [one], 0)))
    assert not any(in_force(halt, later) for halt in (*halts, one))
    assert later.record.drops[-1] == one.identity


def test_an_extension_lets_nothing_go_that_its_signer_did_not_see() -> None:
    names = [f"{n:064x}" for n in range(64)]
    before = TRUST.grant(SIGNERS.grant(70, term=1, drops=names, drops_up_to=0)).record
    assert let_go(before, [], 0) == {"drops": names, "drops_up_to": 0}
    assert let_go(before, [], 1) == {"drops": [], "drops_up_to": 70}


def test_a_restriction_of_another_term_never_holds() -> None:
    halt = TRUST.restriction(SIGNERS.restriction(9, term=2))
    assert not in_force(halt, TRUST.grant(SIGNERS.grant(1)))
    kept = TRUST.grant(SIGNERS.grant(1, keeps=[halt.identity]))
    assert not in_force(halt, kept)


def test_a_grant_whose_kept_restriction_is_missing_makes_no_state() -> None:
    """Row 55: dropping somebody's halt fails."""
    kept, other = SIGNERS.restriction(2), SIGNERS.restriction(3)
    grant = TRUST.grant(SIGNERS.grant(4, term=1, keeps=[identity(kept)]))
    assert assemble(grant, [TRUST.restriction(kept)]).mode is Mode.HALTED
    for at_hand in ([], [TRUST.restriction(other)]):
        with pytest.raises(RecordError, match="1 restriction"):
            assemble(grant, at_hand)


def test_the_digest_names_the_set_and_not_its_order() -> None:
    grant, a, b = SIGNERS.grant(), SIGNERS.restriction(2), SIGNERS.restriction(3, "reduce")
    assert SIGNERS.state(grant, a, b).digest == SIGNERS.state(grant, b, a).digest
    digests = {SIGNERS.state(grant, *some).digest for some in ((), (a,), (b,), (a, b))}
    assert len(digests) == 4


def test_a_revocation_covers_every_term_up_to_its_epoch_and_no_later_one() -> None:
    late = START_MS + 1
    assert revocation(epoch=5).covers(5, late)
    assert revocation(epoch=5).covers(1, late)
    assert not revocation(epoch=5).covers(6, 0)


def test_a_blind_revocation_also_covers_what_was_activated_before_it() -> None:
    blind = revocation(epoch=1, blind=True, issued_at_ms=START_MS)
    assert blind.covers(100, START_MS - 1)
    assert blind.covers(100, START_MS)  # the same ms: closed
    assert not blind.covers(100, START_MS + 1)
    assert blind.covers(1, START_MS + 1)


def test_a_blind_revocation_reaches_no_further_than_thirty_seconds_past_its_arrival() -> None:
    """Row 102: a clock that is a day fast."""
    day = 86_400_000
    fast = revocation(epoch=1, blind=True, issued_at_ms=START_MS + day)
    assert fast.covers(100, START_MS + 30_000, START_MS)
    assert not fast.covers(100, START_MS + 30_001, START_MS)
    assert fast.reach_ms(START_MS) == START_MS + 30_000
    assert fast.reach_ms() == START_MS + day  # of an arrival that is not known: as far as it says
    slow = revocation(epoch=1, blind=True, issued_at_ms=START_MS - day)
    assert slow.reach_ms(START_MS) == START_MS - day
    assert revocation(epoch=1, blind=False).reach_ms(START_MS) == 0
