"""A key with a last day: what permits does not count after it, what takes away always does."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from golive_redis.checks.builtin import AHEAD_MS, check_keys
from golive_redis.core.answer import Latch
from golive_redis.core.events import Change
from golive_redis.core.pulse import Pulse
from golive_redis.core.timing import TIMINGS
from golive_redis.errors import ConfigError, RecordError
from golive_redis.records.envelope import seal
from golive_redis.records.keyset import Keyset, parse_keyset
from golive_redis.records.report import Finding, Outcome, Report
from golive_redis.records.trust import Trust
from golive_redis.testing import START_MS, Signers, answer

SIGNERS = Signers(approvals=2)
DAY_MS = 86_400_000
TODAY = datetime.fromtimestamp(START_MS / 1000, UTC).date()
TOMORROW_MS = (START_MS // DAY_MS + 1) * DAY_MS
"""The first instant at which a key whose last day is today has expired."""


def day(days: int) -> str:
    """A date so many days from today."""
    return (TODAY + timedelta(days=days)).isoformat()


def dated(signers: Signers = SIGNERS, **days: int) -> Keyset:
    """The keyset, in which the keys of some are good until so many days from today."""
    file = copy.deepcopy(signers.keyset_file)
    for name, number in days.items():
        file["principals"][name.replace("_", "-")]["expires"] = day(number)
    return parse_keyset(file)


def trusting(**days: int) -> Trust:
    return msgspec.structs.replace(SIGNERS.trust, keyset=dated(**days))


def test_a_key_is_good_until_the_end_of_its_last_day() -> None:
    key = next(key for key in dated(bob=0).keys.values() if key.principal == "bob")
    assert (key.expires, key.expires_ms) == (TODAY.isoformat(), TOMORROW_MS)
    assert not key.expired(TOMORROW_MS - 1)
    assert key.expired(TOMORROW_MS)


@pytest.mark.parametrize(
    "last",
    ["2027-02-29", "2100-02-29", "2027-13-01", "2027-00-10", "2027-04-31", "1969-12-31", "31.1.27"],
)
def test_a_day_that_is_none_is_refused_with_its_principal(last: str) -> None:
    """Row 48."""
    file = copy.deepcopy(SIGNERS.keyset_file)
    file["principals"]["bob"]["expires"] = last
    with pytest.raises(ConfigError, match=f"expires of bob is '{last}'"):
        parse_keyset(file)


@pytest.mark.parametrize(
    "first", ["1970-01-01", "1999-12-28", "2000-02-27", "2026-12-30", "2100-02-27"]
)
def test_the_end_of_a_day_is_that_of_the_calendar(first: str) -> None:
    start = datetime.fromisoformat(first).replace(tzinfo=UTC)
    for days in range(70):
        last = start + timedelta(days=days)
        file = copy.deepcopy(SIGNERS.keyset_file)
        file["principals"]["bob"]["expires"] = last.date().isoformat()
        (key,) = [key for key in parse_keyset(file).keys.values() if key.principal == "bob"]
        assert key.expires_ms == int((last + timedelta(days=1)).timestamp()) * 1000


def test_a_grant_counts_no_key_that_had_expired_when_it_was_issued() -> None:
    """Row 41: also on a worker, which has no operator to look at the dates."""
    trust = trusting(bob=0)
    assert trust.grant(SIGNERS.grant(issued_at_ms=TOMORROW_MS - 1)).signers == {"alice", "bob"}
    with pytest.raises(RecordError, match=rf"1 of 2 approvers .*expired: bob \({TODAY}\)"):
        trust.grant(SIGNERS.grant(issued_at_ms=TOMORROW_MS))


def test_enough_other_keys_are_enough_and_the_issuer_is_one_of_them() -> None:
    """Row 41."""
    three = Signers(
        {"alice": ["approver"], "bob": ["approver"], "carol": ["approver"]}, approvals=2
    )
    trust = msgspec.structs.replace(three.trust, keyset=dated(three, carol=-1))
    all_three = ("alice", "bob", "carol")
    assert trust.grant(three.grant(by=all_three)).signers == {"alice", "bob"}
    with pytest.raises(RecordError, match="expired: carol"):
        trust.grant(three.grant(by=("carol", "alice", "bob")))


def test_no_running_term_dies_of_a_key_that_expires_in_it() -> None:
    """Row 41: the grant is as good as when it was issued, a day and a year later."""
    grant = SIGNERS.grant(issued_at_ms=START_MS)
    assert trusting(alice=0, bob=0).grant(grant).signers == {"alice", "bob"}


def test_what_takes_away_and_what_answers_never_expires() -> None:
    """Row 41: a stop by an old key is a stop."""
    trust = trusting(alice=-900, bob=-900, rita=-900, hb_1=-900, pod_1=-900)
    assert trust.revocation(SIGNERS.revocation()).signers == {"rita"}
    assert trust.revocation(SIGNERS.revocation(by="alice")).signers == {"alice"}
    assert trust.restriction(SIGNERS.restriction()).signers == {"rita"}
    assert trust.beat(SIGNERS.beat()).signers == {"hb-1"}
    assert trust.receipt(SIGNERS.receipt(SIGNERS.revocation())).signers == {"pod-1"}


def test_a_report_by_an_expired_key_proves_nothing() -> None:
    """Row 41."""
    findings = [Finding(check="x", outcome=Outcome.PASS, explain="")]
    heading = SIGNERS.trust.heading("alice", START_MS)
    raw = seal(Report(**heading, policy="0" * 64, findings=findings), SIGNERS.signers["alice"])
    assert trusting(bob=-1).report(raw).signers == {"alice"}
    with pytest.raises(RecordError, match="expired: alice"):
        trusting(alice=-1).report(raw)


def read_by_a_heartbeat(trust: Trust, now_ms: int) -> tuple[Pulse, list[Change]]:
    """A heartbeat that sees an activation happen which was signed a moment before midnight."""
    grant = SIGNERS.grant(issued_at_ms=TOMORROW_MS - 1)
    pulse = Pulse(trust, TIMINGS["standard"], "hb-1", Latch(), None, started_ms=0)
    pulse.answer(answer("n", None), now=1_000.0, wall_ms=now_ms)
    happened = pulse.answer(answer("n", grant), now=2_000.0, wall_ms=now_ms)
    return pulse, [item.change for item in happened]


def test_a_heartbeat_takes_up_no_term_by_a_key_that_has_expired_since() -> None:
    """Row 41: `issued_at_ms` is the signer's own word."""
    pulse, happened = read_by_a_heartbeat(trusting(bob=0), TOMORROW_MS)
    assert happened == [Change.SECURITY] and pulse.term is None
    assert "has expired" in pulse.waiting_for
    pulse, happened = read_by_a_heartbeat(trusting(bob=0), TOMORROW_MS - 1)
    assert Change.ADOPTED in happened and pulse.term == 1


WINDOW_MS = DAY_MS


def checked(**days: int) -> Finding:
    return check_keys(dated(**days), START_MS, WINDOW_MS)


def test_keys_without_dates_pass() -> None:
    assert checked().outcome is Outcome.PASS and not checked().warning
    assert "none expires soon" in checked().explain


@pytest.mark.parametrize("who", ["rita", "pod_1", "hb_1"])
def test_a_key_that_the_term_does_not_need_is_warned_of(who: str) -> None:
    """Row 41: an auditor's or a revoker's key that ends next week holds up no activation."""
    for days in (-900, 0, 7):
        found = checked(**{who: days})
        assert found.outcome is Outcome.PASS and found.warning
        assert who.replace("_", "-") in found.explain
    assert not checked(**{who: AHEAD_MS // DAY_MS + 2}).warning


def test_a_term_needs_its_approvers_and_a_heartbeat_until_it_ends() -> None:
    """Row 41."""
    found = checked(bob=-1)
    assert found.outcome is Outcome.FAIL
    assert "only 1 of 2 approvers have a good key; expired: bob" in found.explain
    assert checked(bob=0).outcome is Outcome.FAIL, "it ends within the window"
    assert checked(bob=1).outcome is Outcome.PASS
    assert "0 of 1 heartbeats" in checked(hb_1=-1, hb_2=-1).explain
    assert checked(hb_1=-1, hb_2=-1).outcome is Outcome.FAIL
