"""Triggers: when failures amount to an action."""

import msgspec
import pytest

from golive_redis.checks.trigger import PRESETS, Action, Debounce, TriggerSettings
from golive_redis.records.report import Outcome

PASS, FAIL, UNKNOWN = Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN


def settings(**fields):
    given = {"check": "x", "every": "1s", "then": "halted", **fields}
    return msgspec.convert(given, TriggerSettings)


def fired(wanted, outcomes):
    """The numbers of the samples at which it fires."""
    debounce = Debounce(wanted.trigger())
    return [number for number, item in enumerate(outcomes, 1) if debounce.sample(item)]


def test_two_of_three_fires_at_the_second_failure_and_not_at_one():
    assert fired(settings(**{"for": "2 of 3"}), [FAIL, PASS, PASS, FAIL, PASS, FAIL]) == [6]


def test_it_goes_on_firing_while_the_failures_are_in_sight():
    """What it fires for may have failed: then the next sample tries again."""
    assert fired(settings(**{"for": "2 of 3"}), [FAIL, FAIL, PASS, PASS]) == [2, 3]


def test_failures_that_are_n_samples_old_count_no_more():
    assert fired(settings(**{"for": "2 of 3"}), [FAIL, PASS, PASS, FAIL]) == []


def test_unknown_fires_by_default_after_three_in_a_row():
    assert fired(settings(), [UNKNOWN, UNKNOWN, PASS, UNKNOWN, UNKNOWN, UNKNOWN]) == [6]


def test_unknown_never_fires_where_that_is_said():
    assert fired(settings(on_unknown="never"), [UNKNOWN] * 100) == []


def test_an_unknown_sample_does_not_hide_the_failures_before_it():
    assert fired(settings(**{"for": "2 of 3"}), [FAIL, UNKNOWN, UNKNOWN, FAIL]) == [4]


def test_after_a_restart_everything_counts_anew():
    debounce = Debounce(settings(**{"for": "2 of 2"}, on_unknown="after 2").trigger())
    debounce.sample(FAIL)
    debounce.sample(UNKNOWN)
    debounce.restart()
    assert not debounce.sample(FAIL)
    assert not debounce.sample(UNKNOWN)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"for": "3 of 2"}, "can never happen"),
        ({"for": "0 of 2"}, "regex"),
        ({"every": "50ms"}, "at least 100ms"),
        ({"every": "5"}, "regex"),
        ({"check": None}, "check or question"),
        ({"labels": {"symbol": "BTC"}, "then": "revoke"}, "no labels"),
        ({"labels": {"symbol": "BTC*USDT"}}, "at the end"),
        ({"labels": {"symbol": " "}}, "has a value"),
        ({"then": "panic"}, "enum"),
        ({"on_unknown": "after 0"}, "regex"),
        ({"then": None}, "every and then"),
        ({"preset": "nonsense"}, "preset is one of risk_state"),
        ({"preset": "drawdown", "check": None}, "check or question"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(fields, said):
    with pytest.raises(msgspec.ValidationError, match=said):
        settings(**fields)


def test_a_preset_says_everything_and_can_be_overridden():
    ess = msgspec.convert({"preset": "ess"}, TriggerSettings).trigger()
    assert (ess.check, ess.every_ms, ess.fails, ess.samples, ess.then) == (
        "check_ess",
        1_000,
        2,
        2,
        Action.REVOKE,
    )
    slower = msgspec.convert({"preset": "ess", "every": "9s"}, TriggerSettings).trigger()
    assert slower == msgspec.structs.replace(ess, every_ms=9_000)


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_makes_a_trigger_where_its_question_is_known(name):
    own = {"question": {"redis": {"key": "x"}, "at_most": 1}}
    given = {"preset": name} | ({} if PRESETS[name].check or PRESETS[name].question else own)
    assert msgspec.convert(given, TriggerSettings).trigger().every_ms >= 1_000
