"""Grant, restrict, revoke, beat and append do what docs/explanation/protocol.md#scripts says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from golive_redis.delivery.append import append_once
from golive_redis.errors import StoreError
from golive_redis.records.ledger import GENESIS, Entry, extend, first_break
from golive_redis.store.link import StoreRefusedError
from golive_redis.store.replies import Audit, Caller, Status, Step
from golive_redis.store.store import Store
from golive_redis.testing import FLEET, START_MS, Signers
from kit import directives

TTL_MS = 24_000
HEARTBEAT = Caller("heartbeat", "hb-1", "1" * 32)
Deck = Any  # the `deck` fixture's class: test modules cannot import a conftest


def _id(record: bytes) -> str:
    return hashlib.sha256(record).hexdigest()


def _chain_holds(deck: Deck) -> bool:
    entries = [Entry(envelope, head) for envelope, head in deck.entries()]
    return first_break(entries) is None and entries[-1].head == deck.store.head()


# -- grant -----------------------------------------------------------------------------------------


def test_an_execution_is_entered_before_its_grant_and_stands_beside_it(deck: Deck) -> None:
    deck.activate(record=b"grant 1", execution=b"now")
    assert [envelope for envelope, _ in deck.entries()] == [b"now", b"grant 1"]
    assert _chain_holds(deck)
    assert deck.store.link.call("HGET", "golive:active", "execution") == b"now"
    _, told, _ = deck.attend(HEARTBEAT)
    assert told.execution == b"now"
    _, told, _ = deck.attend()
    assert told.execution is None, "a worker has no use for it"
    deck.change(record=b"grant 2")
    assert deck.store.link.call("HGET", "golive:active", "execution") is None
    assert _chain_holds(deck)


def test_an_activation_puts_the_grant_in_force_and_writes_it_to_the_ledger(deck: Deck) -> None:
    assert deck.activate() == Step(Status.OK)
    now = deck.store.snapshot()
    assert (now.grant, now.restrictions, now.origin) == (b"grant 1", {}, "run-1")
    assert TTL_MS - 5_000 < now.pttl_ms <= TTL_MS
    assert (now.epoch_hint, now.last, now.head) == (1, _id(b"grant 1"), deck.head)
    assert deck.entries() == [(b"grant 1", extend(GENESIS, b"grant 1"))]


def test_a_repeated_activation_is_recognised_and_changes_nothing(deck: Deck) -> None:
    """Row 50: the reply was lost, the operator runs it again."""
    deck.activate()
    before = deck.everything()
    repeat = {"term": 1, "prev": "", "head": GENESIS}
    assert deck.activate(1, **repeat).status is Status.SAME
    assert deck.everything() == before


def test_a_repeated_grant_is_recognised_after_a_halt_came_upon_it(deck: Deck) -> None:
    """Row 50."""
    deck.activate()
    deck.restrict()
    before = deck.everything()
    assert deck.activate(1, prev="", head=GENESIS).status is Status.SAME
    assert deck.everything() == before


def test_of_two_activations_one_wins_and_the_other_sees_which(deck: Deck) -> None:
    """Row 51."""
    other = deck.over(deck.store)
    deck.activate()
    before = deck.everything()
    step = other.activate(record=b"another grant 1")
    assert step == Step(Status.REFUSED, "active", "grant 1")
    assert deck.everything() == before


@pytest.mark.parametrize("epoch", [1, 4, 5])
def test_a_grant_at_or_below_the_tombstone_is_refused(deck: Deck, epoch: int) -> None:
    """Row 36: an old activation, replayed."""
    deck.revoke(5)
    before = deck.everything()
    assert deck.activate(epoch) == Step(Status.REFUSED, "revoked", "5")
    assert deck.everything() == before


def test_a_grant_at_or_below_a_used_number_is_refused(deck: Deck) -> None:
    """Row 36."""
    deck.activate(3)
    deck.store.delete_active()
    before = deck.everything()
    assert deck.activate(2) == Step(Status.REFUSED, "used", "3")
    assert deck.activate(3) == Step(Status.REFUSED, "used", "3")
    assert deck.everything() == before
    assert deck.activate(4).status is Status.OK


def test_numbers_up_to_the_largest_are_compared_exactly(deck: Deck) -> None:
    """Row 40: 2^53-1 is the last epoch; a comparison in halves of it must not round."""
    largest = 2**53 - 1
    deck.revoke(largest - 1)
    assert deck.activate(largest - 1).why == "revoked"
    assert deck.activate(largest).status is Status.OK
    assert deck.beat(term=largest).status is Status.OK
    assert deck.store.snapshot().epoch_hint == largest


def test_a_grant_of_the_term_needs_the_term_to_be_active(deck: Deck) -> None:
    assert deck.change(2) == Step(Status.REFUSED, "absent")
    deck.activate()
    assert deck.change(2, term=7) == Step(Status.REFUSED, "term", "1")


def test_a_grant_of_the_term_voids_the_restrictions_that_it_does_not_keep(deck: Deck) -> None:
    """Row 55: only the restrictions that the grant names stay."""
    deck.activate()
    deck.restrict()
    deck.restrict()
    assert deck.change(keeps=["r:3"]) == Step(Status.OK)
    now = deck.store.snapshot()
    assert (now.grant, now.restrictions) == (b"grant 4", {"r:3": b"halt 3"})
    assert _chain_holds(deck)
    assert len(deck.entries()) == 4


def test_a_grant_of_the_term_does_not_prolong_the_key(deck: Deck) -> None:
    """Row 9: only beats keep the term alive."""
    deck.activate()
    deck.store.link.call("PEXPIRE", "golive:active", 9_000)
    deck.change()
    assert 0 < deck.store.snapshot().pttl_ms <= 9_000


def test_a_grant_signed_before_somebody_elses_halt_is_a_conflict(deck: Deck) -> None:
    """Rows 51 and 55: an extension signed before the halt must not drop it."""
    deck.activate()
    late = deck.over(deck.store)
    deck.restrict()
    before = deck.everything()
    assert late.change() == Step(Status.CONFLICT, _id(b"halt 2"))
    assert deck.everything() == before


def test_a_grant_upon_another_ledger_head_is_refused(deck: Deck) -> None:
    """Row 19: no audit, no loosening."""
    deck.activate()
    deck.store.append(b"note", head=deck.head, head_after=(moved := extend(deck.head, b"note")))
    before = deck.everything()
    assert deck.change() == Step(Status.HEAD, moved)
    assert deck.everything() == before


@pytest.mark.parametrize("name", ["active", "beat", "revoked", "epoch", "last", "head", "audit"])
def test_a_grant_is_refused_while_any_key_has_a_wrong_type(deck: Deck, name: str) -> None:
    """Rows 17, 18 and 19: the reply names the key, and nothing changes."""
    deck.store.link.call("ZADD", f"golive:{name}", 1, "x")
    before = deck.everything()
    assert deck.activate() == Step(Status.REFUSED, "corrupt", f"golive:{name}")
    assert deck.everything() == before


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("HSET", "golive:revoked", "epoch", "abc"), "golive:revoked"),
        (("SET", "golive:epoch", "abc"), "golive:epoch"),
    ],
)
def test_a_grant_is_refused_while_a_number_is_none(
    deck: Deck, command: tuple[str, ...], key: str
) -> None:
    """Row 18."""
    deck.store.link.call(*command)
    before = deck.everything()
    assert deck.activate() == Step(Status.REFUSED, "corrupt", key)
    assert deck.everything() == before


def test_an_activation_inherits_no_beat_and_no_restriction(deck: Deck) -> None:
    """Row 36: yesterday's beats say nothing about today's term."""
    deck.store.link.call("HSET", "golive:beat", "hb-9", "old beat")
    assert deck.activate().status is Status.OK
    assert deck.store.snapshot().beats == {}
    assert deck.store.snapshot().restrictions == {}


def test_a_store_belongs_to_the_fleet_of_its_first_activation(deck: Deck) -> None:
    """Row 54: another fleet of the same name changes nothing in it."""
    deck.activate()
    ours = deck.store.snapshot().fleet
    assert ours == FLEET
    before = deck.everything()
    assert deck.change(fleet="e" * 32) == Step(Status.REFUSED, "fleet", ours)
    assert deck.everything() == before
    deck.revoke()
    before = deck.everything()
    assert deck.activate(fleet="e" * 32) == Step(Status.REFUSED, "fleet", ours)
    assert deck.everything() == before
    assert deck.activate().status is Status.OK


def test_a_stop_in_the_store_of_another_fleet_spares_all_but_what_is_active(deck: Deck) -> None:
    """Row 54: its tombstone stays where nothing came after it; else it takes one that refuses all."""
    deck.activate()
    deck.revoke()
    before = deck.everything()
    item = directives.revocation(b"theirs", _id(b"theirs"), epoch=9)
    stop = deck.store.revoke(item, spare=True)
    assert stop.status is Status.GONE and stop.unrecorded.startswith("another stop stands there")
    assert deck.everything() == before
    deck.activate()
    numbers = deck.store.snapshot()
    stop = deck.store.revoke(item, spare=True)
    assert (stop.status, stop.audit) == (Status.OK, Audit.NONE)
    now = deck.store.snapshot()
    assert (now.grant, now.revoked) == (None, b"theirs")
    assert (now.last, now.epoch_hint, now.head) == (
        numbers.last,
        numbers.epoch_hint,
        numbers.head,
    )
    assert deck.store.revoke(item, spare=True).status is Status.SAME


# -- restrict --------------------------------------------------------------------------------------


def test_a_restriction_joins_the_grant_and_the_ledger(deck: Deck) -> None:
    deck.activate()
    assert deck.restrict() == Step(Status.OK, "AUDITED")
    now = deck.store.snapshot()
    assert (now.grant, now.restrictions) == (b"grant 1", {"r:2": b"halt 2"})
    assert (now.epoch_hint, now.last) == (2, _id(b"halt 2"))
    assert _chain_holds(deck)
    assert [envelope for envelope, _ in deck.entries()] == [b"grant 1", b"halt 2"]


def test_a_repeated_restriction_is_recognised_and_changes_nothing(deck: Deck) -> None:
    """Row 50."""
    deck.activate()
    late = deck.over(deck.store)
    deck.restrict()
    before = deck.everything()
    assert late.restrict().status is Status.SAME
    assert deck.everything() == before


def test_two_halts_at_once_both_survive_the_retry_of_the_later_one(
    open_store: Callable[[], Store], deck: Deck
) -> None:
    """Row 51: each from an operator's own connection."""
    deck.activate()
    other = deck.over(open_store())
    assert deck.restrict(record=b"halt of A").status is Status.OK
    step = other.restrict(record=b"halt of B")
    assert step == Step(Status.CONFLICT, _id(b"halt of A"), "2")
    assert deck.store.snapshot().restrictions == {"r:2": b"halt of A"}

    other.last, other.epoch = step.why, int(step.detail)
    assert other.restrict(record=b"halt of B").status is Status.OK
    halts = {"r:2": b"halt of A", "r:3": b"halt of B"}
    assert deck.store.snapshot().restrictions == halts
    assert _chain_holds(deck)


def test_a_restriction_needs_its_term_to_be_active(deck: Deck) -> None:
    assert deck.restrict(2, term=1) == Step(Status.REFUSED, "absent")
    deck.activate()
    before = deck.everything()
    assert deck.restrict(term=7) == Step(Status.REFUSED, "term", "1")
    assert deck.everything() == before


def test_a_lost_restriction_that_is_asserted_again_comes_back(deck: Deck) -> None:
    """Row 56: a failover lost it; heartbeats hold the signed record."""
    deck.activate()
    before_halt = deck.over(deck.store)
    deck.restrict()
    deck.store.link.call("HDEL", "golive:active", "r:2")
    deck.store.link.call("HSET", "golive:active", "epoch", 1, "last", before_halt.last)
    step = before_halt.restrict(again=True, prev="x" * 64)
    assert step.status is Status.OK
    now = deck.store.snapshot()
    assert (now.restrictions, now.last) == ({"r:2": b"halt 2"}, _id(b"halt 2"))
    assert len(deck.entries()) == 2


def test_a_restriction_asserted_again_never_overwrites_the_one_that_took_its_number(
    deck: Deck,
) -> None:
    """Rows 51 and 56."""
    deck.activate()
    before = deck.over(deck.store)
    deck.restrict(record=b"halt of A")
    assert before.restrict(record=b"halt of B", again=True).status is Status.OK
    field = f"r:2:{_id(b'halt of B')}"
    halts = {"r:2": b"halt of A", field: b"halt of B"}
    assert deck.store.snapshot().restrictions == halts
    assert deck.store.snapshot().last == _id(b"halt of B")
    # Whoever knew the state by the identity of A's halt must not take it for unchanged.
    assert deck.attend(known_last=_id(b"halt of A"))[1].restrictions

    known = deck.everything()
    again = deck.over(deck.store)
    again.epoch = 1
    assert again.restrict(record=b"halt of B", again=True).status is Status.SAME
    assert deck.everything() == known


def test_one_restriction_put_back_twice_on_top_of_different_sets_makes_two_sets(
    deck: Deck,
) -> None:
    """Row 56: lost twice, with another halt in between. Who knows the one must be told the other."""
    deck.activate()
    first, second = deck.over(deck.store), deck.over(deck.store)
    assert first.restrict(record=b"halt of A", again=True) == Step(Status.OK, "NONE")
    known = deck.attend()[1].last
    assert deck.attend(known_last=known)[1].unchanged
    deck.store.link.call("HDEL", "golive:active", "r:2")
    deck.restrict(record=b"halt of B", prev=deck.store.snapshot().active_last)
    assert second.restrict(record=b"halt of A", again=True).status is Status.OK
    answer = deck.attend(known_last=known)[1]
    assert set(answer.restrictions) == {b"halt of A", b"halt of B"}


@pytest.mark.parametrize("name", ["head", "audit"])
def test_a_restriction_takes_effect_when_the_ledger_cannot_be_written(
    deck: Deck, name: str
) -> None:
    """Row 17."""
    deck.activate()
    link = deck.store.link
    link.call("DEL", f"golive:{name}")
    link.call("ZADD", f"golive:{name}", 1, "x")
    step = deck.restrict()
    assert (step.status, step.why) == (Status.OK, "FAILED")
    assert "WRONGTYPE" in step.detail
    assert deck.store.snapshot().restrictions == {"r:2": b"halt 2"}


@pytest.mark.parametrize("step", ["restrict", "revoke"])
def test_what_takes_permission_away_is_in_the_ledger_in_the_same_step(
    open_store: Callable[[], Store], deck: Deck, step: str
) -> None:
    """Row 50: others may write as much as they like; a client that dies then leaves nothing undone."""
    deck.activate()
    other = open_store()
    for number in range(3):
        record, head = f"note {number}".encode(), other.head()
        after = extend(head, record)
        assert other.append(record, head=head, head_after=after).status is Status.OK
    before = len(deck.entries())
    getattr(deck, step)(record=b"the stop")
    assert [envelope for envelope, _ in deck.entries()][before:] == [b"the stop"]
    assert _chain_holds(deck)


@pytest.mark.parametrize("step", ["restrict", "revoke"])
@pytest.mark.parametrize("head", ["", "0" * 64, "not a head", "x" * 500])
def test_an_entry_goes_on_from_whatever_head_is_there(deck: Deck, step: str, head: str) -> None:
    """Row 17: the head is computed in Redis, also from one of another length than ours."""
    deck.activate()
    deck.store.link.call("SET", "golive:head", head)
    getattr(deck, step)(record=b"the stop")
    (*_, (envelope, after)) = deck.entries()
    assert (envelope, after) == (b"the stop", extend(head, b"the stop"))
    assert deck.store.head() == after


@pytest.mark.parametrize("step", ["restrict", "revoke"])
def test_an_entry_that_cannot_be_written_moves_no_head(deck: Deck, step: str) -> None:
    """Row 17: the next entry goes on from what is there."""
    deck.activate()
    head = deck.store.head()
    deck.store.link.call("RENAME", "golive:audit", "elsewhere")
    deck.store.link.call("SET", "golive:audit", "x")
    getattr(deck, step)()
    assert deck.store.head() == head


def test_a_restriction_of_a_corrupt_state_is_refused_by_name(deck: Deck) -> None:
    """Row 17."""
    deck.store.link.call("SET", "golive:active", "x")
    step = deck.restrict(2, term=1)
    assert step == Step(Status.REFUSED, "corrupt", "golive:active")


@pytest.mark.parametrize("name", ["epoch", "last"])
def test_hints_of_a_wrong_type_do_not_hold_up_a_restriction(deck: Deck, name: str) -> None:
    """Row 17."""
    deck.activate()
    deck.store.link.call("DEL", f"golive:{name}")
    deck.store.link.call("ZADD", f"golive:{name}", 1, "x")
    assert deck.restrict() == Step(Status.OK, "AUDITED")
    assert deck.store.snapshot().corrupt == ()


def test_a_number_that_is_none_does_not_stop_a_restriction_half_way(deck: Deck) -> None:
    """Row 17: there is no rollback in Redis."""
    deck.activate()
    deck.store.link.call("HSET", "golive:active", "epoch", "abc")
    assert deck.restrict() == Step(Status.OK, "AUDITED")
    assert deck.store.snapshot().last == _id(b"halt 2")


# -- revoke ----------------------------------------------------------------------------------------


def test_a_revocation_ends_the_term_and_stays(deck: Deck) -> None:
    deck.activate()
    deck.beat()
    deck.restrict()
    stop = deck.revoke()
    assert stop.status is Status.OK
    assert (stop.grant, stop.restriction, stop.origin) == (b"grant 1", b"halt 2", "run-1")
    assert (stop.audit, stop.detail) == (Audit.AUDITED, "")
    now = deck.store.snapshot()
    assert (now.grant, now.restrictions, now.beats, now.pttl_ms) == (None, {}, {}, -2)
    assert (now.revoked, now.revoked_origin, now.epoch_hint) == (b"revocation 3", "run-1", 3)
    assert deck.store.snapshot().revoked == b"revocation 3"
    assert now.last == _id(b"revocation 3")
    assert _chain_holds(deck)
    assert [envelope for envelope, _ in deck.entries()][-1] == b"revocation 3"


def test_a_revocation_needs_nothing_to_be_there(deck: Deck) -> None:
    """Row 6: the server came back empty."""
    stop = deck.revoke(9)
    assert (stop.status, stop.grant, stop.restriction, stop.origin) == (Status.OK, None, None, None)
    assert deck.store.snapshot().revoked == b"revocation 9"


def test_a_repeat_deletes_what_came_back_and_writes_no_second_entry(deck: Deck) -> None:
    """Rows 21 and 50: the primary that rejoined brought the key back."""
    deck.activate()
    deck.revoke()
    link = deck.store.link
    link.call("HSET", "golive:active", "term", 1, "grant", "grant 1")
    again = deck.revoke(2, again=True)
    assert (again.status, again.audit) == (Status.SAME, Audit.NONE)
    assert deck.store.snapshot().grant is None
    link.call("DEL", "golive:revoked")
    assert deck.revoke(2, again=True).status is Status.OK
    assert deck.store.snapshot().revoked == b"revocation 2"
    assert [envelope for envelope, _ in deck.entries()] == [b"grant 1", b"revocation 2"]


def test_a_repeat_leaves_a_later_term_alone(deck: Deck) -> None:
    """Row 63: yesterday's spool meets today's activation."""
    deck.activate()
    deck.revoke()
    deck.activate()
    before = deck.everything()
    stop = deck.revoke(2, again=True)
    assert (stop.status, stop.grant, stop.origin) == (Status.LATER, b"grant 3", "run-1")
    assert deck.everything() == before


def test_a_repeat_covers_the_term_of_its_own_number(deck: Deck) -> None:
    """Row 63, at the edge: a revocation of epoch e covers every term up to e."""
    deck.activate(5)
    assert deck.revoke(5, again=True).status is Status.OK
    assert deck.store.snapshot().grant is None


def test_a_revocation_that_met_a_later_term_stops_it_and_hands_it_over(deck: Deck) -> None:
    """Row 60: the caller verifies what it got, and revokes again above it."""
    deck.activate(9)
    stop = deck.revoke(4)
    assert (stop.status, stop.grant) == (Status.OK, b"grant 9")
    assert deck.store.snapshot().grant is None
    assert deck.store.snapshot().epoch_hint == 9
    assert deck.revoke(10).status is Status.OK
    assert deck.store.snapshot().revoked == b"revocation 10"


def test_an_older_revocation_never_replaces_a_newer_tombstone(deck: Deck) -> None:
    """Rows 51 and 60: the stop that lost the race deletes, too, and says SAME."""
    deck.activate()
    late = deck.over(deck.store)
    deck.revoke(8)
    stop = late.revoke(5)
    assert stop.status is Status.SAME
    assert deck.store.snapshot().revoked == b"revocation 8"
    assert deck.store.snapshot().epoch_hint == 8


def test_of_two_revocations_of_one_epoch_the_first_stands_and_is_handed_over(deck: Deck) -> None:
    """Row 99."""
    deck.activate()
    assert deck.revoke(2, record=b"first").standing is None
    second = deck.revoke(2, record=b"second")
    assert (second.status, second.standing) == (Status.SAME, b"first")
    assert deck.store.snapshot().revoked == b"first"
    assert deck.revoke(2, record=b"first").standing is None, "its own repeat"
    assert deck.revoke(1, record=b"older").standing == b"first"
    newer = deck.revoke(3, record=b"newer")
    assert (newer.status, newer.standing) == (Status.OK, None)


def test_the_same_revocation_sent_twice_writes_one_entry(deck: Deck) -> None:
    """Row 50: the first reply was lost; same epoch, no second entry."""
    deck.activate()
    late = deck.over(deck.store)
    deck.revoke()
    before = deck.everything()
    stop = late.revoke()
    assert (stop.status, stop.audit) == (Status.SAME, Audit.NONE)
    assert deck.everything() == before


@pytest.mark.parametrize("name", ["head", "audit"])
def test_a_revocation_stops_everything_when_the_ledger_cannot_be_written(
    deck: Deck, name: str
) -> None:
    """Row 17."""
    deck.activate()
    deck.store.link.call("DEL", f"golive:{name}")
    deck.store.link.call("ZADD", f"golive:{name}", 1, "x")
    stop = deck.revoke()
    assert (stop.status, stop.audit) == (Status.OK, Audit.FAILED)
    assert "WRONGTYPE" in stop.detail
    assert deck.store.snapshot().grant is None
    assert deck.store.snapshot().revoked == b"revocation 2"


def test_a_revocation_that_may_have_an_entry_writes_no_other(deck: Deck) -> None:
    """Row 50: it was executed before, and only the tombstone has gone since."""
    deck.activate()
    deck.revoke()
    deck.store.link.call("DEL", "golive:revoked")
    stop = deck.revoke(2, entry=False)
    assert (stop.status, stop.audit) == (Status.OK, Audit.NONE)
    assert [envelope for envelope, _ in deck.entries()] == [b"grant 1", b"revocation 2"]


@pytest.mark.parametrize("name", ["active", "beat", "revoked", "epoch", "last"])
def test_a_revocation_repairs_keys_of_a_wrong_type(deck: Deck, name: str) -> None:
    """Row 18."""
    deck.activate()
    deck.store.link.call("DEL", f"golive:{name}")
    deck.store.link.call("ZADD", f"golive:{name}", 1, "x")
    stop = deck.revoke()
    assert (stop.status, stop.audit) == (Status.OK, Audit.AUDITED)
    now = deck.store.snapshot()
    assert (now.corrupt, now.grant, now.revoked) == ((), None, b"revocation 2")
    assert (now.epoch_hint, now.last) == (2, _id(b"revocation 2"))
    assert deck.activate().status is Status.OK


@pytest.mark.parametrize(
    "command",
    [
        ("SET", "golive:epoch", "abc"),
        ("HSET", "golive:revoked", "epoch", "abc", "record", "x"),
        ("HSET", "golive:revoked", "epoch", "99"),
        ("HSET", "golive:active", "term", "abc", "epoch", "abc"),
    ],
)
@pytest.mark.parametrize("again", [False, True])
def test_a_value_that_makes_no_sense_does_not_end_a_revocation_half_way(
    deck: Deck, command: tuple[str, ...], again: bool
) -> None:
    """Row 18: there is no rollback in Redis, so an error in the script would leave half a stop."""
    deck.activate()
    deck.store.link.call(*command)
    assert deck.revoke(again=again).status is Status.OK
    now = deck.store.snapshot()
    assert (now.grant, now.revoked, now.epoch_hint) == (None, b"revocation 2", 2)


def test_a_stop_is_confirmed_beside_its_own_tombstone_only(deck: Deck) -> None:
    """Row 60: word that one stop is complete must not be read as word about the next."""
    deck.activate()
    deck.revoke()
    assert deck.store.confirm(_id(b"revocation 1"), b"note") is False
    assert deck.store.snapshot().confirmed is None
    assert deck.store.confirm(_id(b"revocation 2"), b"note") is True
    assert deck.store.snapshot().confirmed == b"note"
    deck.revoke(2, again=True)
    assert deck.store.snapshot().confirmed == b"note"
    deck.revoke(3)
    assert deck.store.snapshot().confirmed is None


def test_the_last_resort_deletes_the_key_and_nothing_else(deck: Deck) -> None:
    """Row 24."""
    deck.activate()
    before = deck.everything()
    assert deck.store.delete_active() == 1
    del before["golive:active"]
    assert deck.everything() == before
    assert deck.store.delete_active() == 0


# -- beat ------------------------------------------------------------------------------------------


def test_a_beat_never_creates_the_active_key(deck: Deck) -> None:
    """Row 11."""
    assert deck.beat(term=1) == Step(Status.REFUSED, "absent")
    assert deck.everything() == {}
    deck.activate()
    deck.store.delete_active()
    before = deck.everything()
    assert deck.beat() == Step(Status.REFUSED, "absent")
    assert deck.everything() == before


def test_a_beat_of_another_term_is_refused(deck: Deck) -> None:
    """Row 11: the heartbeat woke in a later term."""
    deck.activate(3)
    before = deck.everything()
    assert deck.beat(term=2) == Step(Status.REFUSED, "term")
    assert deck.everything() == before


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_beat_under_a_tombstone_is_refused_although_the_key_is_back(
    deck: Deck, epoch: int
) -> None:
    """Rows 22 and 66; an epoch covers the term of the same number."""
    deck.activate()
    deck.revoke(epoch)
    deck.store.link.call("HSET", "golive:active", "term", 1, "grant", "grant 1")
    before = deck.everything()
    assert deck.beat() == Step(Status.REFUSED, "revoked")
    assert deck.everything() == before


@pytest.mark.parametrize(
    "command",
    [
        ("SET", "golive:active", "x"),
        ("SET", "golive:revoked", "x"),
        ("SET", "golive:beat", "x"),
        ("HSET", "golive:revoked", "epoch", "abc"),
    ],
)
def test_a_beat_upon_a_corrupt_key_is_refused(deck: Deck, command: tuple[str, ...]) -> None:
    """Row 18."""
    deck.activate()
    if command[0] == "SET":
        deck.store.link.call("DEL", command[1])
    deck.store.link.call(*command)
    before = deck.everything()
    assert deck.beat() == Step(Status.REFUSED, "corrupt")
    assert deck.everything() == before


def test_each_heartbeat_beats_in_a_field_of_its_own(deck: Deck) -> None:
    """Row 10."""
    deck.activate()
    deck.beat(1)
    deck.store.beat("hb-2", b"other", term=1, ttl_ms=TTL_MS)
    deck.beat(2)
    assert deck.store.snapshot().beats == {"hb-1": b"beat 2", "hb-2": b"other"}
    life = deck.store.link.call("PTTL", "golive:beat")
    assert 0 < life <= TTL_MS


@pytest.mark.parametrize(
    ("left_ms", "renewed"), [(1_000, True), (17_000, True), (19_000, False), (24_000, False)]
)
def test_a_beat_renews_the_key_only_under_three_quarters_of_its_life(
    deck: Deck, left_ms: int, renewed: bool
) -> None:
    """Each renewal is a push to the whole fleet; 18,000 ms are three quarters."""
    deck.activate()
    deck.store.link.call("PEXPIRE", "golive:active", left_ms)
    step = deck.beat()
    after = deck.store.snapshot().pttl_ms
    assert step.status is Status.OK
    assert after <= int(step.why)
    assert int(step.why) == TTL_MS if renewed else int(step.why) <= left_ms
    assert after > 22_000 if renewed else after <= left_ms


@pytest.mark.parametrize("left_ms", [None, 10 * TTL_MS])
def test_a_beat_leaves_a_tampered_life_alone(deck: Deck, left_ms: int | None) -> None:
    """Row 26: the guards close on it; a beat must not heal what somebody did on purpose."""
    deck.activate()
    if left_ms is None:
        deck.store.link.call("PERSIST", "golive:active")
    else:
        deck.store.link.call("PEXPIRE", "golive:active", left_ms)
    assert deck.beat().status is Status.OK
    after = deck.store.snapshot().pttl_ms
    assert after == -1 if left_ms is None else after > left_ms - 5_000


# -- append ----------------------------------------------------------------------------------------


def test_several_entries_are_appended_as_one_step_or_none_of_them(deck: Deck) -> None:
    """A directive and the note on it: who reads the one finds the other."""
    records = [b"one", b"two", b"three"]
    heads = [extend(GENESIS, b"one")]
    heads += [extend(heads[0], b"two")]
    heads += [extend(heads[1], b"three")]
    assert deck.store.append_all(records, head=GENESIS) == Step(Status.OK)
    assert deck.store.append_all(records, head=GENESIS) == Step(Status.SAME)
    assert deck.store.append_all([b"late"], head=heads[1]) == Step(Status.HEAD, heads[2])
    assert [(e.envelope, e.head) for e in deck.store.entries(9)] == list(
        zip(records, heads, strict=True)
    )
    assert deck.store.head() == heads[2]
    for number in (0, 17):
        with pytest.raises(ValueError, match=f"{number} records"):
            deck.store.append_all([b"x"] * number, head=heads[2])


def test_an_entry_is_appended_exactly_once_however_often_it_is_sent(deck: Deck) -> None:
    """Row 42: duplicated by a retry."""
    after = extend(GENESIS, b"note")
    assert deck.store.append(b"note", head=GENESIS, head_after=after) == Step(Status.OK)
    assert deck.store.append(b"note", head=GENESIS, head_after=after) == Step(Status.SAME)
    assert deck.entries() == [(b"note", after)]
    assert deck.store.head() == after


def test_an_entry_upon_another_head_is_refused_and_the_head_told(deck: Deck) -> None:
    first = extend(GENESIS, b"note")
    deck.store.append(b"note", head=GENESIS, head_after=first)
    late = extend(GENESIS, b"late")
    assert deck.store.append(b"late", head=GENESIS, head_after=late) == Step(Status.HEAD, first)
    assert len(deck.entries()) == 1


@pytest.mark.parametrize("name", ["head", "audit"])
def test_an_entry_upon_a_wrong_type_is_refused_and_changes_nothing(deck: Deck, name: str) -> None:
    """Row 17."""
    deck.store.link.call("ZADD", f"golive:{name}", 1, "x")
    before = deck.everything()
    with pytest.raises(StoreRefusedError) as refused:
        deck.store.append(b"note", head=GENESIS, head_after=extend(GENESIS, b"note"))
    assert "WRONGTYPE" in refused.value.message
    assert deck.everything() == before


def test_a_record_is_found_by_its_bytes(deck: Deck) -> None:
    """Row 50: the spool asks before it sends."""
    deck.activate()
    deck.restrict()
    for record in (b"halt 2", b"grant 1"):
        assert deck.store.recorded(record, 0) is True
        assert deck.store.recorded(record, 2**53 - 1) is True, "the newest page in any case"
    assert deck.store.recorded(b"grant", 0) is False


ISSUED_MS = START_MS
REVOCATION = Signers().revocation(issued_at_ms=ISSUED_MS)


def fill(deck: Deck, first_ms: int, *records: bytes, apart_ms: int = 100) -> None:
    """Write entries as a server would whose clock shows that time and goes on."""
    commands = [
        ("XADD", "golive:audit", f"{first_ms + number * apart_ms}-0", "r", record, "h", "0" * 64)
        for number, record in enumerate(records)
    ]
    deck.store.link.pipeline(commands)


OTHERS = [f"note {number}".encode() for number in range(2_010)]


@pytest.mark.parametrize("clock_ms", [0, -599_000, 86_400_000], ids=["right", "fast", "slow"])
def test_a_record_is_found_however_much_was_written_after_it(deck: Deck, clock_ms: int) -> None:
    """Row 50: of a stop ten thousand entries ago there is one entry, whoever sends it once more."""
    at_ms = ISSUED_MS + clock_ms  # of the server; the signer's clock was right, fast or slow
    fill(deck, at_ms, REVOCATION, *OTHERS)
    assert append_once(deck.store, REVOCATION) is False
    assert len(deck.entries()) == 2_011


def test_a_record_from_a_clock_far_ahead_is_looked_for_among_the_newest(deck: Deck) -> None:
    """Row 50: ten minutes back from the newest entry, not from a time that has not come."""
    fill(deck, ISSUED_MS - 86_400_000, REVOCATION, *OTHERS)
    assert append_once(deck.store, REVOCATION) is False


def test_a_record_is_not_looked_for_in_entries_from_before_it_was_issued(deck: Deck) -> None:
    """Row 50: the ledger of years costs one page."""
    fill(deck, ISSUED_MS - 90_000_000, *OTHERS, apart_ms=10_000)
    asked: list[object] = []
    call = deck.store.link.call
    deck.store.link.call = lambda *words: asked.append(words) or call(*words)
    assert append_once(deck.store, REVOCATION) is True
    assert len([words for words in asked if words[0] == "XREVRANGE"]) == 1
    assert append_once(deck.store, REVOCATION) is False


def test_whoever_has_no_time_to_look_any_further_appends_nothing(deck: Deck) -> None:
    """Row 50: a heartbeat looks at so many entries, and leaves the rest to somebody with more time."""
    fill(deck, ISSUED_MS, REVOCATION, *OTHERS)
    with pytest.raises(StoreError, match="more than 2000 entries since that record"):
        append_once(deck.store, REVOCATION, limit=2_000)
    assert append_once(deck.store, REVOCATION, limit=3_000) is False
    assert len(deck.entries()) == 2_011


# -- scripts ---------------------------------------------------------------------------------------


def test_every_step_works_at_the_moment_all_scripts_are_gone(deck: Deck) -> None:
    """Row 64: tombstone and ledger included."""

    def forget() -> None:
        deck.store.link.call("SCRIPT", "FLUSH")

    forget()
    assert deck.activate().status is Status.OK
    forget()
    assert deck.beat().status is Status.OK
    forget()
    assert deck.attend()[0] is Status.OK
    forget()
    assert deck.restrict().status is Status.OK
    forget()
    note = extend(deck.head, b"note")
    assert deck.store.append(b"note", head=deck.head, head_after=note).status is Status.OK
    deck.head = note
    forget()
    stop = deck.revoke()
    assert (stop.status, stop.audit) == (Status.OK, Audit.AUDITED)
    assert deck.store.snapshot().revoked == b"revocation 3"
    assert _chain_holds(deck)
    assert len(deck.entries()) == 4
