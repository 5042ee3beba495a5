"""Findings: what several questions amount to, and that nothing which goes wrong in one spreads."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from importlib import import_module
from inspect import signature
from typing import Any

import msgspec
import pytest

from golive_redis.checks import ask, runner
from golive_redis.checks.parallel import MAX_HANGING
from golive_redis.checks.question import SOURCES
from golive_redis.checks.runner import Check, run
from golive_redis.records.report import Finding, Outcome, Report

PATIENCE_S = 60  # what would hang does so for minutes

Asking = Any
Site = Any


def prints(text: str) -> dict[str, Any]:
    return {"command": {"argv": ["echo", text], "stdout": True}}


PASSES = {**prints("1"), "equals": 1}
FAILS = {**prints("2"), "equals": 1}
UNKNOWN = {**prints("x"), "equals": 1}
WARNS = {**prints("8"), "at_most": 10, "warn_at": 8}


@pytest.mark.parametrize(
    ("questions", "outcome", "value", "explain"),
    [
        ([PASSES], "pass", "1", "1, wanted 1"),
        ([FAILS], "fail", "2", "2, wanted 1"),
        ([UNKNOWN], "unknown", "x", "x, wanted 1: another type"),
        ([PASSES, PASSES], "pass", "2 of 2", "2 of 2 questions pass"),
        ([PASSES, UNKNOWN], "unknown", "x", "2 command: x, wanted 1: another type"),
        (
            [UNKNOWN, FAILS],
            "fail",
            "2",
            "1 command: x, wanted 1: another type; 2 command: 2, wanted 1",
        ),
        ([PASSES, WARNS], "pass", "2 of 2", "2 command: 8, wanted at_most 10; warning at 8"),
        ([], "unknown", "", "no question is configured"),
    ],
)
def test_all_questions_of_a_check_must_pass(
    asking: Asking, questions: list[dict[str, Any]], outcome: str, value: str, explain: str
) -> None:
    found = asking.finding(*questions)
    assert (found.outcome, found.value, found.explain) == (outcome, value, explain)
    assert found.warning is (WARNS in questions)
    if len(questions) > 1:
        assert list(found.facts) == [f"{n} command" for n in range(1, len(questions) + 1)]


def test_the_questions_of_a_check_run_side_by_side_each_with_its_deadline(asking: Asking) -> None:
    """Each of five ends once all five have begun; the sixth would take ten minutes."""
    meets = "touch begun-$$; until [ $(ls begun-* | wc -l) -ge 5 ]; do sleep 0.05; done"
    meet = {"command": {"argv": ["sh", "-c", meets]}, "equals": 0, "deadline": "60s"}
    sleeps = {"command": {"argv": ["sleep", "600"]}, "equals": 0, "deadline": "200ms"}
    found = asking.finding(*[meet] * 5, sleeps)
    assert found.outcome is Outcome.UNKNOWN
    assert found.explain.startswith("6 command: ")
    assert found.facts["1 command"].startswith("0, wanted equals 0, ")


def test_a_finding_always_fits_its_record(asking: Asking) -> None:
    long = {**prints("x" * 500), "equals": "y" * 5000}
    found = asking.finding(*[long] * 32)
    assert found.outcome is Outcome.FAIL
    msgspec.convert(msgspec.to_builtins(found), Finding, strict=True)
    msgspec.convert(msgspec.to_builtins(asking.finding(long)), Finding, strict=True)
    assert Report  # which holds such findings


def test_control_characters_do_not_reach_a_terminal(asking: Asking) -> None:
    found = asking.finding({**prints("\x1b[2J\x1b[31mPASS"), "equals": "1"})
    assert "PASS" in found.value
    assert "\x1b" not in found.value + found.explain + "".join(found.facts.values())


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"fleet": {"value": "workers"}}, "cannot reach Redis"),
        ({"fleet": {"value": "policies"}}, "this host's policy is not known here"),
        ({"ledger": {"value": "quiet_days"}}, "the ledger is not read here"),
    ],
)
def test_what_cannot_be_asked_from_here_is_unknown(
    asking: Asking, source: dict[str, Any], says: str
) -> None:
    found = asking.finding({**source, "at_least": 0})
    assert found.outcome is Outcome.UNKNOWN
    assert found.explain.startswith(says)


def test_every_source_is_a_module_of_its_name_with_one_function_of_the_same_shape() -> None:
    for name in SOURCES:
        module = import_module(f"golive_redis.checks.sources.{name}")
        assert list(signature(module.fetch).parameters) == ["source", "where", "deadline_ms"]


SLOW_IMPORT = """
import builtins, sys, time
from pathlib import Path
from golive_redis.checks import ask
from golive_redis.checks.question import HttpSource, Question
from golive_redis.checks.source import Surroundings
from golive_redis.store.connect import Address

assert not {"httpx", "golive_redis.checks.sources.http"} & set(sys.modules)
real = __import__

def slow(name, *args, **kwargs):
    if name == "httpx" and name not in sys.modules:
        time.sleep(3.2)
    return real(name, *args, **kwargs)

builtins.__import__ = slow
where = Surroundings(Path("."), {}, Address("redis://127.0.0.1:1"))
question = Question(http=HttpSource(url="http://127.0.0.1:1"), equals=200, deadline="3s")
print(ask.finding("x", [question], where).explain)
"""


def test_a_library_is_imported_when_it_is_needed_and_before_a_deadline_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", SLOW_IMPORT],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "refused" in done.stdout


# -- the runner ------------------------------------------------------------------------------------


def passes(name: str = "any") -> Finding:
    return Finding(check=name, outcome=Outcome.PASS, explain="fine")


@pytest.fixture
def over() -> Any:
    """Set at the end of a test: what hangs waits for it."""
    event = threading.Event()
    yield event
    event.set()


def test_whatever_goes_wrong_in_a_check_is_unknown_and_concerns_no_other(
    over: threading.Event,
) -> None:
    """Row 49: hangs, raises, answers garbage, answers too late."""

    def hangs() -> Finding:
        over.wait()
        return passes()

    def raises() -> Finding:
        raise OSError("no such desk")

    def leaves() -> Finding:
        raise SystemExit(0)

    def late() -> Finding:
        time.sleep(3.2)
        return passes()

    checks = {
        "hangs": Check(hangs, 300),
        "raises": Check(raises),
        "garbage": Check(lambda: "pass"),  # type: ignore[arg-type,return-value]
        "nothing": Check(lambda: None),  # type: ignore[arg-type,return-value]
        "leaves": Check(leaves),
        "late": Check(late, 200),
        "fine": Check(passes),
    }
    names = ["missing", *checks, "fine"]
    began = time.monotonic()
    found = run(checks, names)
    assert time.monotonic() - began < PATIENCE_S
    assert [item.check for item in found] == names
    explained = {item.check: item.explain for item in found if item.outcome is Outcome.UNKNOWN}
    assert explained == {
        "missing": "no check of that name is configured (write it under `checks`)",
        "hangs": "no answer within 0.3 s",
        "raises": "OSError: no such desk",
        "garbage": "the check answered with a str",
        "nothing": "the check answered with a NoneType",
        "leaves": "SystemExit: 0",
        "late": "no answer within 0.2 s",
    }
    assert [item.outcome for item in found if item.check == "fine"] == [Outcome.PASS] * 2


def test_each_finding_is_told_as_it_ends_on_the_callers_thread(over: threading.Event) -> None:
    """`slow` ends once it has been told that `hangs` is too late."""
    told: list[tuple[str, str]] = []
    late = threading.Event()

    def slow() -> Finding:
        assert late.wait(PATIENCE_S)
        return passes()

    def tell(item: Finding) -> None:
        told.append((item.check, item.outcome))
        if item.check == "hangs":
            late.set()

    checks = {
        "slow": Check(slow, PATIENCE_S * 1000),
        "quick": Check(passes),
        "hangs": Check(over.wait, 1_500),  # type: ignore[arg-type]
    }
    found = run(checks, list(checks), tell)
    assert told == [("quick", "pass"), ("hangs", "unknown"), ("slow", "pass")]
    assert [item.check for item in found] == ["slow", "quick", "hangs"]
    assert found[0].took_ms >= 400


def test_what_hangs_each_time_does_not_pile_up(over: threading.Event) -> None:
    """A heartbeat asks for months: one check that hangs for good may not fill it with threads."""
    hangs = {"stuck": Check(over.wait, 20)}  # type: ignore[arg-type]
    said = [run(hangs, ["stuck"])[0].explain for _ in range(MAX_HANGING + 3)]
    assert said == ["no answer within 0.02 s"] * MAX_HANGING + ["earlier runs still hang"] * 3
    assert sum("stuck" in thread.name for thread in threading.enumerate()) == MAX_HANGING
    over.set()
    until = time.monotonic() + PATIENCE_S
    while run({"stuck": Check(passes)}, ["stuck"])[0].outcome is not Outcome.PASS:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_check_ends_after_the_longest_of_its_questions(asking: Asking) -> None:
    questions = [asking.question(**PASSES, deadline=text) for text in ("1s", "3s", "500ms")]
    check = ask.check("x", questions, asking.where)
    assert check.deadline_ms == 3000 + ask.GRACE_MS
    assert runner.run({"x": check}, ["x"])[0].outcome is Outcome.PASS


def test_half_a_secret_is_not_said_either(asking: Asking) -> None:
    """What is not a time is quoted, cut short: the secret goes before that."""
    secret = asking.environ["MY_TOKEN"] = "abcdefghijklmnopqrstuvwxyz0123456789"
    question = {**prints("0" * 60 + secret), "newer_than": "5s"}
    found = asking.finding(question)
    assert found.outcome is Outcome.UNKNOWN
    assert secret[:8] not in str(found)
