"""The preflight and its signed report: what an activation rests on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from golive_redis import clock
from golive_redis import config as configuration
from golive_redis.checks.conditions import Conditions
from golive_redis.errors import RecordError, RefusedError
from golive_redis.operator import preflight
from golive_redis.operator.activation import Activation
from golive_redis.operator.session import Operator
from golive_redis.records.envelope import KeySigner, decode, pae, seal
from golive_redis.records.report import Finding, Outcome, Report
from golive_redis.testing.server import EmbeddedServer

MINUTE = 60_000


@pytest.fixture
def live(fleet: Callable[..., Any], any_server: EmbeddedServer) -> Any:
    made = fleet(
        any_server,
        checks={
            "check_own": {"file": {"path": "own.json", "value": "/ok"}, "equals": True},
            "check_spare": {"file": {"path": "spare.json", "value": "/ok"}, "equals": True},
        },
        required_preflight=["check_own", "check_database_redis"],
    )
    (made.folder / "own.json").write_text('{"ok": true}')
    return made


def report_of(live: Any, **changes: Any) -> bytes:
    """A signed report that is good, but for the changes."""
    with Operator(live.config) as operator:
        signer = changes.pop("signer", operator.signers(())[0])
        good = preflight.signed(operator, operator.signers(())[0], preflight.run(operator)).record
        return seal(msgspec.structs.replace(good, by=signer.principal, **changes), signer)


def test_what_is_required_is_run_in_its_order_and_told_as_it_comes(live: Any) -> None:
    told: list[str] = []
    with Operator(live.config) as operator:
        found = preflight.run(operator, told=lambda item: told.append(item.check))
    names = ["check_own", "check_database_redis", "check_workers", "check_keys"]
    assert [item.check for item in found] == names
    assert sorted(told) == sorted(names)
    assert all(item.outcome is Outcome.PASS for item in found), found


def test_only_runs_what_is_named_and_names_what_there_is(live: Any) -> None:
    with Operator(live.config) as operator:
        found = preflight.run(operator, only=["check_spare"])
        assert [(item.check, item.outcome) for item in found] == [("check_spare", "unknown")]
        assert "check_spare" in preflight.known(operator.config)
        with pytest.raises(RefusedError, match="no check is called 'check_sparse'") as refused:
            preflight.run(operator, only=["check_sparse"])
    assert "check_spare" in refused.value.hint


def test_an_activation_rests_on_a_report_and_the_ledger_has_it(live: Any) -> None:
    live.start_heartbeat()
    raw = report_of(live)
    (live.folder / "own.json").unlink()  # it was true when the report was made
    activated = live.activate(report=raw, wait_s=0)
    with Operator(live.config) as operator:
        identity = operator.trust.report(raw).identity
    assert activated.grant.record.report == identity
    assert live.records("report") == [identity]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"issued_at_ms": -6 * MINUTE}, "s old; preflight_max_age is 5m"),
        ({"issued_at_ms": 6 * MINUTE}, "s old; preflight_max_age is 5m"),
        ({"policy": "0" * 64}, "under another policy"),
        ({"findings": "fewer"}, "the report lacks check_database_redis"),
        ({"findings": "failed"}, "preflight failed: check_own"),
    ],
    ids=["old", "of tomorrow", "another policy", "a check missing", "failed"],
)
def test_a_report_that_is_not_good_enough_is_refused(
    live: Any, changes: dict[str, Any], said: str
) -> None:
    good = report_of(live)
    with Operator(live.config) as operator:
        findings = operator.trust.report(good).record.findings
    if "issued_at_ms" in changes:
        changes = {"issued_at_ms": clock.wall_ms() + changes["issued_at_ms"]}
    elif changes.get("findings") == "fewer":
        changes = {"findings": [item for item in findings if item.check != "check_database_redis"]}
    elif changes.get("findings") == "failed":
        bad = msgspec.structs.replace(findings[0], outcome=Outcome.UNKNOWN)
        changes = {"findings": [bad, *findings[1:]]}
    with Operator(live.config) as operator, pytest.raises(RefusedError, match=said):
        preflight.accepted(operator, report_of(live, **changes))
    live.start_heartbeat()
    with pytest.raises(RefusedError, match=said):
        live.activate(report=report_of(live, **changes))
    assert not live.raw.exists("golive:active")


def test_a_report_of_somebody_who_may_not_approve_is_refused(live: Any) -> None:
    heartbeat = live.config.signer("heartbeat", live.config.keyset(), name="hb-1")
    live.start_heartbeat()
    with pytest.raises(RecordError):
        live.activate(report=report_of(live, signer=heartbeat))


def test_a_report_that_is_too_long_for_an_envelope_loses_words_and_no_verdict(live: Any) -> None:
    many = [
        Finding(
            check=f"check_{number}",
            outcome=Outcome.PASS,
            explain="x" * 500,
            facts={"fact": "y" * 250},
        )
        for number in range(40)
    ]
    with Operator(live.config) as operator:
        record: Report = preflight.signed(operator, operator.signers(())[0], many).record
    assert [(item.check, item.outcome) for item in record.findings] == [
        (item.check, item.outcome) for item in many
    ]


def test_a_report_is_shortened_to_what_its_signer_takes(live: Any) -> None:
    """As AWS KMS, which signs 4,096 bytes at most."""
    many = [
        Finding(check=f"check_{number}", outcome=Outcome.PASS, explain="x" * 300)
        for number in range(12)
    ]
    with Operator(live.config) as operator:
        signer = operator.signers(())[0]
        assert isinstance(signer, KeySigner)
        whole = preflight.signed(operator, signer, many)
        assert whole.record.findings[0].explain == "x" * 300
        signer.max_message = 4096
        report = preflight.signed(operator, signer, many)
        envelope = decode(report.raw)
        assert len(pae(envelope.payload_type, envelope.payload)) <= 4096
        assert len(report.record.findings) == 12
        signer.max_message = 400
        with pytest.raises(RecordError, match=r"the key of alice signs at most 400 bytes"):
            preflight.signed(operator, signer, many)


def test_a_worker_with_another_policy_fails_the_check(live: Any) -> None:
    live.start_worker("w-1", config={"window_minutes": 700})
    while not live.status().workers:
        time.sleep(0.01)
    with Operator(live.config) as operator:
        found = preflight.run(operator, only=["check_workers"])[0]
    assert found.outcome is Outcome.FAIL
    assert found.explain == "2 fleet policies: 1, wanted at_most 0 (another policy: w-1)"


def test_a_heartbeat_with_another_policy_fails_the_check(live: Any) -> None:
    """One that was not started again since somebody added a trigger watches over nothing."""
    live.start_heartbeat("hb-1")
    live.start_heartbeat("hb-2", config={"triggers": {}, "preflight_max_age": "4m"})
    with pytest.raises(RefusedError, match="another policy: hb-2"):
        live.activate(wait_s=0)


def test_the_policy_digest_leaves_out_what_differs_by_host(live: Any) -> None:
    def digest(**changes: Any) -> str:
        return configuration.load(live.write_config(**changes), environ={}).policy_digest

    assert digest(state_dir="elsewhere") == live.config.policy_digest
    assert digest(url="redis://other:6379/0") == live.config.policy_digest
    assert digest(activation_enabled=False) == live.config.policy_digest
    assert digest(window_minutes=700) != live.config.policy_digest
    assert digest(checks={}) != live.config.policy_digest


def test_the_check_of_the_keys_reads_the_keyset_of_this_host(live: Any) -> None:
    live.principals["bob"]["expires"] = "2020-01-31"
    live.principals["hb-1"]["expires"] = "2999-12-31"
    live.write_keyset()
    with Operator(live.config) as operator:
        found = preflight.run(operator, only=["check_keys"])[0]
    assert found.outcome is Outcome.PASS and found.warning  # alice is enough
    assert "expired: bob" in found.explain
    assert "hb-1" not in found.explain


def test_a_mistake_in_the_evidence_stops_an_activation_and_no_revoke(live: Any) -> None:
    live.go_live("w-1")
    text = live.path.read_text() + json.dumps({"triggers": {"t": {"preset": "nonsense"}}})[1:-1]
    live.path.write_text(text)
    live.config = configuration.load(live.path, environ={})
    report = live.revoke()
    assert report.outcome.result == "COMPLETE"
    with pytest.raises(Exception, match="preset is one of"):
        live.activate()


def test_no_report_outlives_a_stop(live: Any) -> None:
    """Whatever somebody stopped for, the report from before does not know about it."""
    live.start_heartbeat()
    raw = report_of(live)
    live.activate(report=raw, wait_s=0)
    assert live.revoke().outcome.settled
    with pytest.raises(RefusedError, match="the report is older than the last stop"):
        live.activate(report=raw, wait_s=0)
    live.activate(report=report_of(live), wait_s=0)


def test_who_confirms_too_late_runs_the_checks_again(
    live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.start_heartbeat()
    with Operator(live.config) as operator:
        activation = Activation(operator, reason="test")
        reading = activation.prepare()
        right = clock.wall_ms
        monkeypatch.setattr(clock, "wall_ms", lambda: right() + 6 * MINUTE)
        with pytest.raises(RefusedError, match="360 s old; preflight_max_age is 5m"):
            activation.commit(reading)
        assert operator.read().state is None


def test_a_name_that_nobody_configured_is_unknown_and_the_nearest_is_told(live: Any) -> None:
    live.path = live.write_config(required_preflight=["check_ovn"])
    with Operator(configuration.load(live.path, environ={})) as operator:
        found = preflight.run(operator)[0]
    assert found.outcome is Outcome.UNKNOWN
    assert "did you mean check_own?" in found.explain


def test_a_closed_window_fails_the_preflight_and_says_when_the_next_one_opens(live: Any) -> None:
    tomorrow = time.strftime("%a", time.gmtime(time.time() + 86_400)).lower()
    window = {"time_zone": "UTC", "weekdays": [tomorrow], "from": "00:00", "to": "23:59"}
    live.path = live.write_config(windows={"later": window})
    with Operator(configuration.load(live.path, environ={})) as operator:
        found = {item.check: item for item in preflight.run(operator)}["check_window"]
    assert found.outcome is Outcome.FAIL
    assert "the next one, later, opens on" in found.explain


def test_status_says_off_once_the_window_of_the_term_is_over(
    live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.start_heartbeat()
    grant = live.activate(wait_s=0).grant.record
    assert live.status().state == "live"
    monkeypatch.setattr(clock, "wall_ms", lambda: grant.not_after_ms)
    assert live.status().state == "off"
    assert live.status().active is not None  # what it was, and until when


def test_a_report_from_before_there_were_windows_is_not_enough(live: Any) -> None:
    raw = report_of(live)
    window = {"time_zone": "UTC", "from": "00:00", "to": "00:00"}
    live.path = live.write_config(windows={"always": window})
    with Operator(configuration.load(live.path, environ={})) as operator:
        assert "check_window" in preflight.required(operator.policy, Conditions.of(operator.config))
        with pytest.raises(RefusedError, match="another policy"):
            preflight.accepted(operator, raw)
