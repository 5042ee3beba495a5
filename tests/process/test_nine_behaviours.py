"""What the switch of one host promised, by the names of its tests, kept by the switch of a fleet.

That one was a marker file, tested before each order; its risk state, emergency stop and trade history
were stubs. Here they are a file and keys that are really read.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from golive_redis import config as configuration
from golive_redis.checks.conditions import Conditions
from golive_redis.core.permit import Denial
from golive_redis.errors import RefusedError
from golive_redis.guard.guard import Guard
from golive_redis.logs import ASIDE
from golive_redis.operator import grants, restrictions
from golive_redis.operator.session import Operator
from golive_redis.records.directive import GrantKind, Profile, RestrictionKind
from golive_redis.testing.server import EmbeddedServer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def live(fleet: Callable[..., Any], own_server: EmbeddedServer) -> Any:
    """A fleet with a risk system (a file), an emergency stop and a trade history (keys)."""
    made = fleet(
        own_server,
        require_risk_state="OK",
        require_ess_inactive=True,
        require_testnet_history=True,
        min_testnet_trades=3,
        checks={
            "check_risk_system": {"file": {"path": "risk.json", "value": "/state"}},
            "check_ess": {"redis": {"key": "ess:state"}},
            "check_testnet_history": {"redis": {"key": "testnet:trades", "count": True}},
        },
    )
    (made.folder / "risk.json").write_text(json.dumps({"state": "OK"}))
    made.raw.set("ess:state", "inactive")
    made.raw.rpush("testnet:trades", "1", "2", "3")
    made.start_heartbeat()
    return made


def active(live: Any) -> bool:
    return bool(live.raw.exists("golive:active"))


def test_activation_disabled(live: Any) -> None:
    closed = configuration.load(live.write_config(activation_enabled=False), environ={})
    with pytest.raises(RefusedError, match="activation_enabled is false"):
        live.activate(config=closed)
    assert not active(live)


def test_activation_disabled_refuses_whatever_turns_more_on_and_nothing_that_stops(
    live: Any,
) -> None:
    live.activate()
    closed = configuration.load(live.write_config(activation_enabled=False), environ={})
    with Operator(closed) as operator:
        restrictions.restrict(operator, RestrictionKind.HALT, reason="switched off")
        for kind, options in (
            (GrantKind.RESUME, {"every": True}),
            (GrantKind.EXTEND, {"minutes": 5}),
        ):
            with pytest.raises(RefusedError, match="activation_enabled is false"):
                grants.loosen(operator, kind, reason="r", **options)
    assert live.revoke(config=closed, wait_ms=200).in_redis_ms is not None
    assert not active(live)


def test_activation_enabled_but_risk_state_bad(live: Any) -> None:
    (live.folder / "risk.json").write_text(json.dumps({"state": "WARNING"}))
    with pytest.raises(RefusedError, match=r"check_risk_system: .*WARNING"):
        live.activate()
    assert not active(live)


def test_activation_enabled_and_all_good_creates_the_key(live: Any) -> None:
    activated = live.activate(wait_s=0)
    assert active(live)
    names = {item.check for item in activated.findings}
    assert {"check_risk_system", "check_ess", "check_testnet_history"} <= names
    assert all(item.outcome == "pass" for item in activated.findings)


@pytest.mark.parametrize("wrong", ["ess", "trades", "missing", "garbage"])
def test_preflight_failure_prevents_activation(live: Any, wrong: str) -> None:
    match wrong:
        case "ess":
            live.raw.set("ess:state", "active")
        case "trades":
            live.raw.lpop("testnet:trades")
        case "missing":
            (live.folder / "risk.json").unlink()
        case "garbage":
            (live.folder / "risk.json").write_text('{"state": "OK"')
    with pytest.raises(RefusedError, match="preflight failed"):
        live.activate()
    assert not active(live)


def test_execution_skips_the_order_when_the_key_is_missing(
    live: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with Guard.open(live.config, worker="w-1") as guard, caplog.at_level(logging.INFO):
        assert isinstance(guard.check(what="BUY BTCUSDT qty=0.001"), Denial)
        assert guard.skips.counts.total() == {"not-activated": 1}
        guard.skips.flush()
        assert ASIDE.flush(60)
    assert any(
        "[ORDER_SKIPPED] BUY BTCUSDT qty=0.001 - GO-LIVE not activated" in line
        for line in caplog.messages
    )


def test_execution_allows_it_when_present(live: Any) -> None:
    with Guard.open(live.config, worker="w-1") as guard:
        live.activate()
        assert guard.wait_armed(10)
        assert guard.allows()


def test_config_structure() -> None:
    shipped = configuration.load(ROOT / "config" / "go_live.yaml", environ={})
    policy, evidence = shipped.policy, Conditions.of(shipped)
    assert policy.activation_enabled is False
    assert policy.environment
    known = {*evidence.checks, "check_database_redis"}
    assert set(policy.required_preflight) <= known
    assert {
        "check_health_endpoints",
        "check_risk_system",
        "check_exchange_connectivity",
        "check_observability",
        "check_stress_scenarios",
        "check_ess",
        "check_testnet_history",
    } <= known
    assert policy.min_testnet_trades == 3


def test_key_content(live: Any) -> None:
    """Signature, operator, time, environment, profile and its limits, and what it rests on."""
    live.activate(wait_s=0, reason="open for the day")
    with Operator(live.config) as operator:
        state = operator.read().state
    assert state is not None
    grant = state.grant
    assert grant.signers == {"alice"}
    assert (grant.record.by, grant.record.kind) == ("alice", GrantKind.ACTIVATE)
    assert (grant.record.environment, grant.record.reason) == ("test", "open for the day")
    assert grant.record.issued_at_ms < grant.record.not_after_ms
    assert grant.record.profile is Profile.MICRO
    assert grant.record.limits.max_order_notional == "25"
    assert grant.record.policy == live.config.policy_digest
    assert [grant.record.report] == live.records("report")


def test_default_profile_is_micro(live: Any) -> None:
    assert live.config.policy.default_profile is Profile.MICRO
    assert live.config.policy.allowed_profiles == [Profile.MICRO]
    assert live.activate(wait_s=0).grant.record.profile is Profile.MICRO
