"""Down the capital profiles at once and with one key; up one step, when its criteria pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from golive_cli.exits import Exit
from golive_cli.main import main
from golive_redis import config as configuration
from golive_redis.errors import RefusedError
from golive_redis.operator import promotion, restrictions
from golive_redis.operator.session import Operator
from golive_redis.records.directive import Grant, GrantKind, Mode, Profile, RestrictionKind
from golive_redis.records.envelope import Verified, peek
from golive_redis.records.report import Outcome, Report
from golive_redis.testing.server import EmbeddedServer
from kit.fleet import LIMITS


def limits(factor: int) -> dict[str, Any]:
    money = ("max_order_notional", "max_position_notional", "max_daily_loss")
    return LIMITS | {name: str(int(LIMITS[name]) * factor) for name in money}


PROFILES = {"micro": LIMITS, "small": limits(10), "medium": limits(100)}
CRITERIA = {
    "small": [
        {"redis": {"key": "trades", "count": True}, "at_least": 3},
        {"file": {"path": "days.json", "value": "/active"}, "at_least": 5},
    ],
    "medium": [{"file": {"path": "days.json", "value": "/active"}, "at_least": 20}],
}


@pytest.fixture
def live(fleet: Callable[..., Any], any_server: EmbeddedServer) -> Any:
    """A fleet of one worker at micro, which may grow to medium; two approvers."""
    made = fleet(
        any_server,
        approvals=2,
        profiles=PROFILES,
        allowed_profiles=["micro", "small", "medium"],
        promotions=CRITERIA,
    )
    days(made, 5)
    made.raw.rpush("trades", "1", "2", "3")
    made.start_heartbeat()
    made.start_worker("pod-1")
    made.activate(keys=[bob(made)])
    made.wait_all_armed()
    return made


def bob(live: Any) -> str:
    return str(live.folder / "bob.pem")


def days(live: Any, active: object) -> None:
    (live.folder / "days.json").write_text(json.dumps({"active": active}))


def in_force(live: Any) -> tuple[str, str, str]:
    """What the worker goes by: profile, largest order; and the mode."""
    answer = live.workers["pod-1"].ask("profile")
    return answer["profile"], answer["max_order_notional"], answer["mode"]


def demote(live: Any, profile: str) -> restrictions.Restricted:
    with Operator(live.config) as operator:
        return restrictions.restrict(
            operator, RestrictionKind.DEMOTE, reason="test", profile=Profile(profile)
        )


def promote(live: Any, **options: Any) -> Verified[Grant]:
    with Operator(options.pop("config", live.config)) as operator:
        _, grant = promotion.promote(operator, reason="test", **{"keys": [bob(live)], **options})
    return grant


def wait_profile(live: Any, profile: str, wait_for: Callable[..., None]) -> tuple[str, str, str]:
    wait_for(lambda: in_force(live)[0] == profile)
    return in_force(live)


def test_a_fleet_grows_step_by_step_and_shrinks_at_once(
    live: Any, wait_for: Callable[..., None]
) -> None:
    assert in_force(live) == ("micro", "25", "live")
    grant = promote(live).record
    assert (grant.kind, grant.profile, grant.term) == (GrantKind.PROMOTE, Profile.SMALL, 1)
    assert wait_profile(live, "small", wait_for) == ("small", "250", "live")
    with pytest.raises(promotion.CriteriaFailedError, match="not promoted to medium"):
        promote(live)
    days(live, 20)
    promote(live)
    assert wait_profile(live, "medium", wait_for) == ("medium", "2500", "live")
    done = demote(live, "micro")
    assert not done.silent
    assert in_force(live) == ("micro", "25", "live")  # applied before its receipt came
    assert live.status().active.limits.max_order_notional == "25"
    assert live.status().active.profile == "micro"


def test_a_promotion_ends_demotions_below_it_and_keeps_halts_and_the_end_of_the_term(
    live: Any, wait_for: Callable[..., None]
) -> None:
    before = promote(live).record
    wait_profile(live, "small", wait_for)
    demote(live, "micro")
    live.halt("of one symbol", symbol="ETH")
    with Operator(live.config) as operator:
        restrictions.restrict(operator, RestrictionKind.REDUCE, reason="test")
    grant = promote(live).record
    assert (grant.profile, len(grant.keeps)) == (Profile.SMALL, 2)
    assert grant.not_after_ms == before.not_after_ms
    assert wait_profile(live, "small", wait_for) == ("small", "250", "reduce_only")
    assert live.workers["pod-1"].check("reduce", symbol="ETH")["reason"] == "halted"
    assert {item.kind for item in live.status().active.restrictions} == {"halt", "reduce"}


def test_the_report_of_a_promotion_stands_in_the_ledger_and_its_digest_in_the_grant(
    live: Any,
) -> None:
    grant = promote(live).record
    assert grant.report in live.records("report")
    assert grant.policy == live.config.policy_digest
    entries = [fields[b"r"] for _, fields in live.raw.xrange("golive:audit")]
    reports = [peek(raw, Report) for raw in entries if b"vnd.golive.report" in raw]
    assert [item.check for item in reports[-1].findings] == ["small-1", "small-2"]


def test_a_plan_shows_what_is_missing_and_changes_nothing(live: Any) -> None:
    live.raw.delete("trades")
    (live.folder / "days.json").unlink()
    ledger = live.raw.xlen("golive:audit")
    with Operator(live.config) as operator:
        plan = promotion.plan(operator)
    assert (plan.before, plan.after, plan.passed) == (Profile.MICRO, Profile.SMALL, False)
    assert [item.outcome for item in plan.findings] == [Outcome.FAIL, Outcome.UNKNOWN]
    assert live.raw.xlen("golive:audit") == ledger
    with pytest.raises(promotion.CriteriaFailedError, match="small-1: 0, wanted") as caught:
        promote(live)
    assert caught.value.findings == plan.findings or len(caught.value.findings) == 2
    assert live.raw.xlen("golive:audit") == ledger + 1, "the refusal alone"
    assert in_force(live)[0] == "micro"


def test_what_our_own_ledger_tells_can_be_a_criterion(live: Any) -> None:
    """The fleet was activated today, so there is one active day and no quiet one yet."""
    for value, at_least, passes in (("active_days", 1, True), ("quiet_days", 1, False)):
        criteria = {"small": [{"ledger": {"value": value}, "at_least": at_least}]}
        other = configuration.load(live.write_config(promotions=criteria), environ={})
        with Operator(other) as operator:
            assert promotion.plan(operator).passed is passes


def test_one_approver_alone_promotes_nothing(live: Any) -> None:
    with pytest.raises(RefusedError, match=r"2 approver signature\(s\) needed, 1 given"):
        promote(live, keys=[])
    assert in_force(live)[0] == "micro"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"allowed_profiles": ["micro", "medium"]}, "small is not in allowed_profiles"),
        ({"promotions": {"medium": CRITERIA["medium"]}}, "has no criteria for small"),
        ({"activation_enabled": False}, "activation_enabled is false"),
    ],
)
def test_a_step_that_the_policy_does_not_allow_is_refused(
    live: Any, changes: dict[str, Any], says: str
) -> None:
    """Micro first: a step is neither left out nor taken without criteria."""
    closed = configuration.load(live.write_config(**changes), environ={})
    with pytest.raises(RefusedError, match=says) as caught:
        promote(live, config=closed)
    assert caught.value.hint
    assert in_force(live)[0] == "micro"


def test_the_next_activation_begins_at_its_own_profile_again(
    live: Any, wait_for: Callable[..., None]
) -> None:
    promote(live)
    live.revoke()
    assert live.activate(keys=[bob(live)]).grant.record.profile is Profile.MICRO
    live.wait_all_armed()
    assert in_force(live)[0] == "micro"


def test_a_demotion_that_is_none_is_refused(live: Any) -> None:
    for profile, says in (("micro", "micro is not smaller"), ("large", "large is not smaller")):
        with pytest.raises(RefusedError, match=says):
            demote(live, profile)


def test_a_demotion_to_another_currency_leaves_no_order_that_fits(
    live: Any, wait_for: Callable[..., None]
) -> None:
    promote(live)
    wait_profile(live, "small", wait_for)
    euros = PROFILES | {"micro": LIMITS | {"currency": "EUR"}}
    other = configuration.load(live.write_config(profiles=euros), environ={})
    told: list[str] = []
    with Operator(other) as operator:
        restrictions.restrict(
            operator,
            RestrictionKind.DEMOTE,
            reason="test",
            profile=Profile.MICRO,
            say=told.append,
        )
    assert "amounts cannot be compared" in told[0]
    assert in_force(live) == ("micro", "0", "live")
    assert live.workers["pod-1"].ask("profile")["fits_1"] is False


def test_the_worker_judges_an_order_by_what_is_in_force(live: Any) -> None:
    answer = live.workers["pod-1"].ask("profile")
    assert answer["fits_1"] is True
    assert answer["fits_26"] is False
    assert answer["mode"] == Mode.LIVE


def test_the_commands_say_what_they_did(live: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def golive(*words: str) -> tuple[int, str]:
        code = main([*words, "--config", str(live.path)])
        return code, "".join(capsys.readouterr())

    code, said = golive("promote", "--plan")
    assert (code, "CRITERIA in test (golive): 2 passed, 0 failed" in said) == (Exit.DONE, True)
    assert "would go from micro to small" in said
    days(live, 4)
    code, said = golive("promote", "--plan")
    assert (code, "CRITERIA in test (golive): 1 passed, 1 failed" in said, "FAIL" in said) == (
        Exit.REFUSED,
        True,
        True,
    )
    code, said = golive("promote", "--reason", "test", "--key", bob(live))
    assert (code, "error: not promoted to small: small-2: 4" in said) == (Exit.REFUSED, True)
    days(live, 5)
    code, said = golive("promote", "--reason", "test", "--key", bob(live))
    assert code == Exit.DONE
    assert (
        "PROMOTED to small from micro in test (golive): term 1, epoch 2, by alice, bob: at most"
        in said
    )
    code, said = golive("demote", "micro", "--reason", "test")
    assert code == Exit.DONE
    assert "DEMOTED to micro in test (golive): term 1, epoch 3, audit entry written; 1 of 1" in said
    assert "profile micro: at most 25 USD an order, 100 USD a position" in golive("status")[1]
    assert golive("promote")[0] == Exit.USAGE
    assert golive("demote", "tiny", "--reason", "test")[0] == Exit.USAGE
