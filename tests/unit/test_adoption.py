"""The door: what a heartbeat asks of an activation before it beats for it (S13, D1 to D4)."""

from __future__ import annotations

from typing import Any

import pytest

from golive_redis.core.adoption import DAY_MS, FRESH_MS, Before, executes, is_fresh, refused
from golive_redis.core.answer import Latch
from golive_redis.core.pulse import Pulse
from golive_redis.core.timing import TIMINGS, Haste
from golive_redis.errors import ConfigError, RecordError
from golive_redis.records.approval import APPROVE_WITHIN_MS, Execution
from golive_redis.records.directive import Grant, Revocation
from golive_redis.records.envelope import Verified, seal
from golive_redis.records.keyset import parse_keyset
from golive_redis.records.trust import Trust
from golive_redis.testing import Signers, answer
from golive_redis.testing.signers import EVERYBODY, START_MS

SIGNERS = Signers({**EVERYBODY, "carol": ("approver",), "risk": ("approver",)}, approvals=2)
NOW = START_MS + 1_000
HASTE = Haste(60_000, 3)


def with_risk() -> Trust:
    file = {**SIGNERS.keyset_file, "principals": dict(SIGNERS.keyset_file["principals"])}
    file["principals"]["risk"] = {**file["principals"]["risk"], "authority": "risk"}
    return Trust(parse_keyset(file), "golive", "test")


TRUST = with_risk()


def grant(*by: str, **fields: Any) -> Verified[Grant]:
    return TRUST.grant(SIGNERS.grant(9, by=by or ("alice", "bob"), **fields))


def execution(
    of: Verified[Grant], at_ms: int, by: str = "bob", **fields: Any
) -> Verified[Execution]:
    what = {"directive": of.identity, "report": None, "answers": []} | fields
    record = Execution(**SIGNERS.trust.heading(by, at_ms), **what)
    return TRUST.execution(seal(record, SIGNERS.signers[by]))


def stop(by: str = "rita", at_ms: int = NOW - 59_000) -> Verified[Revocation]:
    return TRUST.revocation(SIGNERS.revocation(8, by=by, issued_at_ms=at_ms))


def why(item: Verified[Grant], before: Before, *, wall_ms: int = NOW, haste: Haste = HASTE) -> str:
    return refused(item, TRUST, haste, before, wall_ms)


# -- fresh ---------------------------------------------------------------------------------------


def test_a_grant_of_this_minute_is_fresh_and_one_that_has_waited_takes_an_execution() -> None:
    item = grant()
    assert is_fresh(item, None, START_MS + FRESH_MS - 1)
    assert not is_fresh(item, None, START_MS + FRESH_MS)
    assert not is_fresh(item, None, START_MS - FRESH_MS)
    later = START_MS + 9 * 60_000
    assert is_fresh(item, execution(item, later), later + FRESH_MS - 1)
    assert not is_fresh(item, execution(item, later), later + FRESH_MS)


def test_an_execution_follows_its_grant_within_ten_minutes() -> None:
    """What two have signed in the morning one of them does not execute in the afternoon."""
    item = grant()
    at = START_MS + APPROVE_WITHIN_MS
    assert executes(execution(item, at), item)
    assert not executes(execution(item, at + 1), item)
    assert executes(execution(item, START_MS - 30_000), item)  # by clocks that differ
    assert not executes(execution(item, START_MS - 30_001), item)


def test_an_execution_is_of_that_grant_and_by_one_of_its_signers() -> None:
    item, other = grant(), grant("alice", "carol", reason="another")
    at = START_MS + 90_000
    assert not is_fresh(item, execution(other, at), at)
    assert not is_fresh(item, execution(item, at, by="carol"), at)
    assert is_fresh(item, execution(item, at, by="alice"), at)


# -- D1 to D4 ------------------------------------------------------------------------------------


def test_d1_keys_that_have_expired_since_are_not_adopted() -> None:
    file = {**SIGNERS.keyset_file, "principals": dict(SIGNERS.keyset_file["principals"])}
    file["principals"]["bob"] = {**file["principals"]["bob"], "expires": "2025-10-09"}
    trust = Trust(parse_keyset(file), "golive", "test")
    item = trust.grant(SIGNERS.grant(9))
    assert "expired" in refused(item, trust, Haste(), Before(), START_MS + DAY_MS)
    assert refused(item, trust, Haste(), Before(), START_MS) == ""


def test_d2_after_a_stop_there_is_a_pause_and_one_signature_more_lifts_it() -> None:
    before = Before(stop())
    assert "1 s left" in why(grant(), before)
    assert why(grant(), before, wall_ms=NOW + 1_000) == ""
    assert why(grant("alice", "bob", "carol"), before) == ""
    assert why(grant(), before, haste=Haste(0, 0)) == ""


def test_d2_counts_from_the_earlier_of_what_the_stop_says_and_when_it_was_heard() -> None:
    fast = stop(at_ms=NOW + 3_600_000)  # signed by a clock that is an hour ahead
    assert "left" in why(grant(), Before(fast))
    assert why(grant(), Before(fast, stopped_ms=NOW - 60_000)) == ""
    assert "left" in why(grant(), Before(fast, stopped_ms=NOW - 59_000))
    # A clock that went back makes it longer, not shorter.
    assert "left" in why(grant(), Before(stop(at_ms=NOW - 10)), wall_ms=NOW - 5_000)


def test_d3_only_so_many_activations_a_day() -> None:
    lately = [NOW - 1_000, NOW - 2_000, NOW - DAY_MS + 1]
    assert "3 activations in the last 24 h" in why(grant(), Before(adopted_ms=lately))
    assert why(grant("alice", "bob", "carol"), Before(adopted_ms=lately)) == ""
    assert why(grant(), Before(adopted_ms=[*lately[:2], NOW - DAY_MS])) == ""
    assert why(grant(), Before(adopted_ms=lately), haste=Haste(0, 0)) == ""


def test_d4_after_a_stop_by_risk_risk_signs_and_no_number_of_others_lifts_that() -> None:
    before = Before(stop(by="risk", at_ms=NOW - 3_600_000))
    assert "risk has to sign" in why(grant(), before)
    assert "risk has to sign" in why(grant("alice", "bob", "carol"), before)
    assert why(grant("alice", "risk"), before) == ""
    assert why(grant(), Before(stop(at_ms=NOW - 3_600_000))) == ""


def test_d2_d4_a_later_stop_by_others_that_is_dated_back_lifts_nothing() -> None:
    timing = TIMINGS["standard"]
    pulse = Pulse(TRUST, timing, "hb-1", Latch(), None, started_ms=START_MS, haste=HASTE)
    pulse.revoked(stop("risk", NOW - 5_000), NOW - 5_000, stands=True)
    later = SIGNERS.revocation(9, by="rita", issued_at_ms=NOW - 3_600_000)
    pulse.revoked(TRUST.revocation(later), NOW - 1_000, stands=True)

    def after(*by: str) -> str:
        before = Before(pulse.revocation, pulse.stopped_ms, (), pulse.paused_ms, pulse.risk)
        return why(grant(*by), before)

    assert pulse.revocation is not None
    assert pulse.revocation.record.by == "rita"
    assert "55 s left" in after("alice", "risk")
    assert "risk has to sign" in after("alice", "bob", "carol")
    assert after("alice", "bob", "risk") == ""


def test_d4_once_a_term_was_adopted_since_a_stop_by_others_does_not_ask_risk() -> None:
    timing = TIMINGS["standard"]
    pulse = Pulse(TRUST, timing, "hb-1", Latch(), None, started_ms=START_MS, haste=Haste())
    pulse.revoked(stop("risk", NOW - 5_000), NOW - 5_000, stands=True)
    for raw in (None, SIGNERS.grant(9, by=("alice", "risk"))):
        pulse.answer(answer("n", raw), now=1_000, wall_ms=NOW)
    assert pulse.term == 9
    pulse.revoked(TRUST.revocation(SIGNERS.revocation(10, issued_at_ms=NOW)), NOW)
    assert pulse.risk is None
    assert pulse.paused_ms is None


# -- the keyset ----------------------------------------------------------------------------------


def changed(**fields: Any) -> dict[str, Any]:
    return {**SIGNERS.keyset_file, **fields}


def test_a_threshold_may_be_of_one_kind_of_grant() -> None:
    keyset = parse_keyset(changed(thresholds={"approver": 2, "extend": 1, "activate": 3}))
    trust = Trust(keyset, "golive", "test")
    extend = SIGNERS.grant(9, by="alice", term=1, kind="extend")
    assert trust.grant(extend).signers == {"alice"}
    with pytest.raises(RecordError, match="2 of 3 approver signatures"):
        trust.grant(SIGNERS.grant(9))
    with pytest.raises(RecordError, match="1 of 2 approver signatures"):
        trust.grant(SIGNERS.grant(9, by="alice", term=1))


@pytest.mark.parametrize("name", ["revoke", "halt", "revoker", "heartbeat", "boss"])
def test_no_threshold_may_make_a_stop_wait_for_a_second_person(name: str) -> None:
    with pytest.raises(ConfigError):
        parse_keyset(changed(thresholds={name: 2}))


def test_risk_without_an_approver_would_keep_a_fleet_off_for_ever() -> None:
    principals = dict(SIGNERS.keyset_file["principals"])
    principals["rita"] = {**principals["rita"], "authority": "risk"}
    with pytest.raises(ConfigError, match="no approver has it"):
        parse_keyset(changed(principals=principals))
