"""The sections of the configuration about evidence: refused with the line and the nearest name."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from golive_redis.checks.conditions import Conditions
from golive_redis.config import Config, load
from golive_redis.errors import ConfigError

GOOD = """\
environment: test
profiles:
  micro:
    currency: USD
    max_order_notional: "25"
    max_position_notional: "100"
    max_daily_loss: "50"
    max_orders_per_minute: 600
checks:
  check_health_endpoints:
    - http: {url: https://desk.example/health}
      equals: 200
    - http: {url: https://risk.example/health}
      equals: 200
  check_risk_system:
    http: {url: https://risk.example/state, json: /state}
  check_stress_scenarios:
    file:
      path: stress.json
      value: /passed
    equals: true
triggers:
  ess:
    check: check_risk_system
    every: 1s
    then: revoke
  drawdown:
    question:
      prometheus: {url: http://metrics.example, query: drawdown}
      at_most: 5
    every: 10s
    then: reduce_only
windows:
  desk: {time_zone: Europe/Berlin, from: "09:00", to: "17:30"}
promotions:
  small:
    - sql: {url_env: TRADES, query: select count(*) from trades}
      at_least: 100
"""


def loaded(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "go_live.yaml"
    path.write_text(text)
    return load(path, environ={})


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Conditions.of(loaded(tmp_path, text))
    name = str(tmp_path / "go_live.yaml")
    assert caught.value.message.startswith(name)
    return caught.value.message.removeprefix(name) + (
        f" ({caught.value.hint})" if caught.value.hint else ""
    )


def test_good_sections_are_read(tmp_path: Path) -> None:
    found = Conditions.of(loaded(tmp_path, GOOD))
    assert isinstance(found, Conditions)
    assert set(found.checks) == {
        "check_health_endpoints",
        "check_risk_system",
        "check_stress_scenarios",
    }
    assert set(found.triggers) == {"ess", "drawdown"}
    assert set(found.promotions) == {"small"}


def test_no_sections_are_no_mistake(tmp_path: Path) -> None:
    found = Conditions.of(loaded(tmp_path, GOOD[: GOOD.index("checks:")]))
    assert found.checks == found.triggers == found.windows == found.promotions == {}


def line_of(text: str) -> int:
    return GOOD[: GOOD.index(text)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        (
            "equals: true",
            "equal: true",
            "equals: true",
            "unknown key 'equal' (did you mean equals?)",
        ),
        (
            "value: /passed",
            "valeu: /passed",
            "value: /p",
            "unknown key 'valeu' (did you mean value?)",
        ),
        ("    file:", "    fil:", "    file:", "unknown key 'fil' (did you mean file?)"),
        (
            "value: /passed",
            "value: passed",
            "value: /p",
            "checks.check_stress_scenarios.file.value: ",
        ),
        (
            "url: https://risk.example/health",
            "url: risk:80",
            "https://risk.example/health",
            "url beg",
        ),
        ("    equals: true\n", "", "check_stress", "checks.check_stress_scenarios: say what the"),
        ("equals: true", "matches: (", "equals: true", "checks.check_stress_scenarios: matches: "),
        (
            "    every: 10s",
            "    evry: 10s",
            "every: 10s",
            "unknown key 'evry' (did you mean every?)",
        ),
        ("    every: 10s", "    every: 10ms", "every: 10s", "every is at least 100ms"),
        ("then: reduce_only", "then: stop", "then: reduce", "triggers.drawdown.then: Invalid enum"),
        (
            "at_most: 5",
            "at_most: five",
            "at_most: 5",
            "triggers.drawdown.question.at_most: Expected",
        ),
        ("      at_most: 5\n", "", "drawdown:", "triggers.drawdown: say what the value must be"),
        (
            "check: check_risk",
            "check: check_rsk",
            "ess:",
            "triggers.ess: names the check check_rsk",
        ),
        ("time_zone:", "timezone:", "desk: {", "unknown key 'timezone' (did you mean time_zone?)"),
        ('from: "09:00"', 'from: "9:00"', "desk: {", "windows.desk.from: Expected"),
        (
            "  small:",
            "  micro:",
            "  small:",
            "promotions.micro: micro is the smallest profile",
        ),
        ("  small:", "  tiny:", "promotions:", "Invalid enum value 'tiny'"),
        (
            "at_least: 100",
            "at_leats: 100",
            "at_least",
            "unknown key 'at_leats' (did you mean at_least?)",
        ),
        (
            "  small:\n    - ",
            "  small: []\n  medium:\n    - ",
            "  small:",
            "promotions.small: Expected",
        ),
    ],
    ids=lambda value: value[:24],
)
def test_a_mistake_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, at: str, says: str
) -> None:
    assert GOOD.count(old) == 1
    said = refusal(tmp_path, GOOD.replace(old, new))
    assert says in said
    assert said.startswith(f":{line_of(at)}: ")


FLEET = "    question: {fleet: {value: unpermitted}, at_most: 0}\n"


@pytest.mark.parametrize(
    "asks",
    [
        FLEET,
        "    check: check_workers\n",
        "    check: check_counts\n",
        "    preset: unpermitted\n",
        "    preset: mismatch\n",
    ],
)
def test_no_trigger_revokes_on_what_nothing_signs_unless_that_is_said(
    tmp_path: Path, asks: str
) -> None:
    """Row 107: whoever may write one presence could end the term."""
    checks = "checks:\n  check_counts:\n" + FLEET.replace("    question:", "    - fleet:", 1)
    checks = checks.replace("{fleet: {value: unpermitted}, at_most: 0}", "{value: unpermitted}")
    counts = checks + "      at_most: 0\n"
    text = GOOD.replace("checks:\n", counts).replace("    check: check_risk_system\n", asks)
    assert "triggers.ess: would revoke on what pods say of themselves" in refusal(tmp_path, text)
    for more in ("unsigned: true\n    then: revoke", "then: halted", "then: reduce_only"):
        found = Conditions.of(loaded(tmp_path, text.replace("then: revoke", more)))
        assert found.triggers["ess"].trigger().then == more.rpartition(" ")[2]


OWN = "    question: {redis: {key: 'golive:worker:pod-1:a', field: sent}, equals: 0}\n"


def test_no_trigger_revokes_on_a_key_of_the_switch_unless_that_is_said(tmp_path: Path) -> None:
    """Row 107: pods write those keys, and nothing signs most of them."""
    text = GOOD.replace("    check: check_risk_system\n", OWN)
    said = refusal(tmp_path, text)
    assert said.startswith(
        f":{line_of('  ess:')}: triggers.ess: would revoke on golive:worker:pod-1:a"
    )
    elsewhere = OWN.replace("field: sent", "field: sent, url_env: OTHER")
    for good in (OWN + "    unsigned: true\n", OWN.replace("golive:", "risk:"), elsewhere):
        Conditions.of(loaded(tmp_path, text.replace(OWN, good)))
    Conditions.of(loaded(tmp_path, text.replace("then: revoke", "then: halted")))


def test_a_question_in_a_list_is_found(tmp_path: Path) -> None:
    second = "    - http: {url: https://risk.example/health}\n      equals: 200\n"
    said = refusal(tmp_path, GOOD.replace(second, second.replace("equals", "eqals")))
    assert said == f":{line_of(second) + 1}: unknown key 'eqals' (did you mean equals?)"


def test_a_mistake_keeps_nobody_from_loading_the_rest(tmp_path: Path) -> None:
    """`golive revoke` reads the same file."""
    config = loaded(tmp_path, GOOD.replace("equals: true", "equal: true"))
    assert config.policy.environment == "test"


def test_what_is_no_mapping_is_refused_with_its_line(tmp_path: Path) -> None:
    for value in ("[]", "text", "7"):
        text = GOOD.replace("checks:\n", f"checks: {value}\nother:\n", 1)
        with pytest.raises(ConfigError, match=":9: "):
            Conditions.of(loaded(tmp_path, text[: text.index("other:")]))
    said = refusal(
        tmp_path,
        GOOD[: GOOD.index("checks:")]
        + dedent("""\
            checks:
              check_a: text
            """),
    )
    assert said.startswith(":10: checks.check_a: Expected")


@pytest.mark.parametrize("section", ["checks", "triggers", "windows", "promotions"])
@pytest.mark.parametrize("wrong", ["", "[]", "none", "{1: {}}", "{1: {}, a: {}}"])
def test_a_section_that_is_none_keeps_nobody_from_revoking(
    tmp_path: Path, section: str, wrong: str
) -> None:
    """Whoever has commented out all of its entries has such a file, and `golive revoke` loads it."""
    head = GOOD.partition("checks:")[0]
    found = loaded(tmp_path, f"{head}{section}: {wrong}\n")
    with pytest.raises(ConfigError, match=f"go_live.yaml:9: {section}: Expected"):
        Conditions.of(found)


def test_a_name_that_is_no_text_is_a_mistake_in_the_file_for_a_worker_too(tmp_path: Path) -> None:
    found = loaded(tmp_path, GOOD.replace("checks:", "checks:\n  2: {2026-01-01: 1, a: 1}"))
    with pytest.raises(ConfigError):
        Conditions.of(found)
    assert len(found.policy_digest) == 64


def test_a_time_that_yaml_took_for_a_number_is_to_be_quoted(tmp_path: Path) -> None:
    said = refusal(tmp_path, GOOD.replace('to: "17:30"', "to: 17:30"))
    assert said.endswith("(write it in quotes)")
