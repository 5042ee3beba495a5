"""Expectations: what each accepts, and that whatever cannot be judged is unknown."""

from __future__ import annotations

import math
import sys
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive_redis.checks.expectation import Expectation, judge, number, shown
from golive_redis.checks.pattern import MAX_MATCHED
from golive_redis.records.report import Outcome

NOW_MS = 1_795_000_000_000
NAN, INF = float("nan"), float("inf")


def wanted(**parts: Any) -> Expectation:
    return msgspec.convert(parts, Expectation)


def outcome(value: object, **parts: Any) -> str:
    return str(judge(wanted(**parts), value, now_ms=NOW_MS).outcome)


# expectation: what passes, what fails, what is unknown
CASES: list[tuple[dict[str, Any], list[Any], list[Any], list[Any]]] = [
    ({"equals": "OK"}, ["OK"], ["ok", "", " OK"], [0, True, None, ["OK"], {}, NAN]),
    ({"equals": 0}, [0, 0.0, "0", "-0", "0.0", Decimal(0)], [1, "1"], [False, "", None, "x", NAN]),
    ({"equals": 1.5}, [1.5, "1.5", "1.50", Decimal("1.5")], [1, 2], ["1,5", True, "1.5 ", INF]),
    ({"equals": True}, [True], [False], [1, "true", "1", None]),
    ({"equals": False}, [False], [True], [0, "", "false", None, []]),
    ({"one_of": ["OK", "WARN", 7]}, ["OK", "WARN", 7, "7"], ["BAD", 8], [None, True, NAN, []]),
    ({"one_of": [True, "on"]}, [True, "on"], [False, "off"], [1, None]),
    ({"at_least": 3}, [3, 4, "3", "3.0", 1e300, Decimal(3)], [2, "2.9", -1e300], [None, True, "x"]),
    ({"at_most": "0.2"}, [0.2, 0, "0.20", -5], [0.21, "0.2000001"], [NAN, INF, -INF, "", "NaN"]),
    ({"between": [-1, 1]}, [-1, 0, 1, "0.5"], [-1.01, 2], [False, None, "1e0", "٣", "1_0"]),
    ({"matches": "v[0-9]+"}, ["v1", "v10"], ["v", "v1 ", "xv1", "v1\n"], [1, None, ["v1"], True]),
    ({"matches": "(?i)ok|größe"}, ["OK", "größe", "GRÖßE"], ["O", "ok "], ["\ud800", b"ok", 0]),
    ({"starts_with": "v1."}, ["v1.", "v1.9"], ["", "V1.9", " v1.9", "v1"], [1.9, None, ["v1."]]),
    ({"ends_with": "-rc"}, ["-rc", "2-rc"], ["", "2-RC", "2-rc\n"], [None, b"-rc", {"-rc": 1}]),
    ({"contains": "a.c"}, ["a.c", "xa.cx"], ["", "abc", "A.C"], [None, ["a.c"], {"a.c": 1}, True]),
    (
        {"newer_than": "10s"},
        [NOW_MS, NOW_MS - 10_000, NOW_MS + 30_000, str(NOW_MS), float(NOW_MS)],
        [NOW_MS - 10_001, 0, -5],
        [NOW_MS + 30_001, None, True, "soon", NAN, 1e300],
    ),
    ({"empty": True}, ["", [], {}, b""], ["x", [0], {"a": 1}], [0, None, False, 1.5]),
    ({"empty": False}, ["x", [None], {"a": 1}], ["", [], {}], [0, None, True]),
]


@pytest.mark.parametrize(("parts", "passes", "fails", "unknown"), CASES, ids=lambda x: str(x)[:24])
def test_what_passes_what_fails_and_what_is_unknown(
    parts: dict[str, Any], passes: list[Any], fails: list[Any], unknown: list[Any]
) -> None:
    for word, values in {"pass": passes, "fail": fails, "unknown": unknown}.items():
        assert {repr(value): outcome(value, **parts) for value in values} == {
            repr(value): word for value in values
        }


def test_nothing_that_is_expected_of_nothing_passes() -> None:
    assert outcome(1) == "unknown"
    assert outcome(None, equals=0) == "unknown"


def test_numbers_are_compared_as_written_and_not_as_rounded() -> None:
    assert outcome("0.30000000000000004", equals=0.3) == "fail"
    assert outcome(0.1 + 0.2, equals="0.3") == "unknown"  # text is wanted, and this is none
    assert outcome("100000000000000000000000000001", at_most="100000000000000000000000000000") == (
        "fail"
    )
    assert outcome(2**53 + 1, equals=2**53) == "fail"


@pytest.mark.parametrize(
    "value",
    [10**30, -(10**30), 10**5000, "9" * 31, "1" + "0" * 5000, Decimal("NaN")],
    ids=["31 digits", "below 0", "5001 digits", "text", "long text", "decimal NaN"],
)
def test_a_number_that_nobody_can_mean_is_unknown(value: object) -> None:
    assert outcome(value, at_least=0) == "unknown"
    assert len(judge(wanted(at_least=0), value, now_ms=NOW_MS).explain) < 200


def test_a_warning_comes_before_the_limit_and_never_beside_a_failure() -> None:
    for value, passes, warns in ((7, True, False), (8, True, True), (10, True, True), (11, 0, 0)):
        found = judge(wanted(at_most=10, warn_at=8), value, now_ms=NOW_MS)
        assert ((found.outcome is Outcome.PASS), found.warning) == (passes, warns)
    for value, warns in ((5, True), (6, True), (7, False), (4, False)):
        assert judge(wanted(at_least=5, warn_at=6), value, now_ms=NOW_MS).warning is warns
    found = judge(wanted(at_most=10, warn_at=8), 9, now_ms=NOW_MS)
    assert found.explain == "9, wanted at_most 10; warning at 8"


def test_text_that_is_too_long_to_match_is_unknown() -> None:
    assert outcome("x" * MAX_MATCHED, matches="x*") == "pass"
    assert outcome("x" * (MAX_MATCHED + 1), matches="x*") == "unknown"


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"equals": 1, "at_most": 2}, "one expectation, not equals and at_most"),
        ({"equals": NAN}, "nan is not a number"),
        ({"one_of": [1, INF]}, "inf is not a number"),
        ({"equals": 10**30}, "not a number that can be compared"),
        ({"one_of": []}, "length >= 1"),
        ({"at_least": NAN}, "nan is not a number"),
        ({"at_most": True}, "Expected `int | float | str"),
        ({"at_most": "ten"}, "matching regex"),
        ({"at_most": "1e3"}, "matching regex"),
        ({"between": [2, 1]}, "the lower end comes first"),
        ({"between": [1]}, "length 2"),
        ({"between": [1, INF]}, "inf is not a number"),
        ({"warn_at": 1}, "warn_at belongs to"),
        ({"equals": 1, "warn_at": 1}, "warn_at belongs to"),
        ({"at_most": 10, "warn_at": 11}, "warn_at 11 is beyond the limit"),
        ({"at_least": 10, "warn_at": 9}, "warn_at 9 is beyond the limit"),
        ({"matches": "("}, "matches: "),
        ({"matches": ""}, "length >= 1"),
        ({"matches": r"(a)\1"}, r"matches: invalid escape sequence: \1"),
        ({"matches": "a(?=b)"}, "matches: invalid perl operator: (?="),
        ({"matches": "(?<!a)b"}, "matches: invalid perl operator: (?<"),
        ({"matches": "(?>a|aa)b"}, "matches: invalid perl operator: (?>"),
        ({"matches": "a++"}, "matches: bad repetition operator: ++"),
        ({"matches": "a{1001}"}, "matches: invalid repetition size: {1001}"),
        ({"matches": r"(?:\pL?\pN?){500}"}, "matches: pattern too large"),
        ({"matches": "\ud800"}, "matches: not valid Unicode"),
        ({"matches": "a" * 513}, "length <= 512"),
        ({"starts_with": ""}, "length >= 1"),
        ({"contains": 5}, "Expected `str"),
        ({"ends_with": "a", "contains": "b"}, "one expectation, not ends_with and contains"),
        ({"newer_than": "soon"}, "matching regex"),
        ({"newer_than": 5}, "Expected `str"),
        ({"empty": 1}, "Expected `bool"),
    ],
    ids=str,
)
def test_an_expectation_that_means_nothing_is_refused(parts: dict[str, Any], says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=None) as caught:
        wanted(**parts)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(?:[a-z]*?)*!", "(a{2,}){3,}b", r"(\w+\s?)+!", "(?:a|aa)+b", "(x+x+)+y"]
)
def test_a_pattern_on_which_re_never_ends_is_matched_at_once(pattern: str) -> None:
    # Backtracking would take longer than the universe; a machine that is a thousand times too slow
    # still ends here.
    for text in ("a" * MAX_MATCHED, "x" * MAX_MATCHED):
        assert outcome(text, matches=pattern) == "fail"


def test_a_pattern_without_re2_is_refused_and_the_rest_needs_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)  # what `import` sees where it is not installed
    with pytest.raises(msgspec.ValidationError) as caught:
        wanted(matches="a")
    assert "pip install 'golive-redis[patterns]'" in str(caught.value)
    assert outcome("v1.2", starts_with="v1.") == "pass"


def test_expectations_are_said_as_they_are_written() -> None:
    for parts, text in {
        (("equals", "OK"),): "equals OK",
        (("equals", False),): "equals false",
        (("one_of", (True, "on", 1)),): "one_of true, on, 1",
        (("between", (-1, "2.5")),): "between -1 and 2.5",
        (("newer_than", "5m"),): "newer_than 5m",
        (("at_most", "0.20"), ("warn_at", 0.1)): "at_most 0.20",
        (): "",
    }.items():
        assert str(wanted(**dict(parts))) == text
    assert len(str(wanted(equals="x" * 500))) == 80
    assert len(str(wanted(one_of=["x" * 20] * 20))) == 80


def test_values_are_shown_short_and_on_one_line() -> None:
    for value, text in {
        True: "true",
        None: "None",
        "a\nb\x1b[31m": "a b [31m",
        1.5: "1.5",
        10**40: "a number of over 30 digits",
    }.items():
        assert shown(value) == text
    assert shown([1, [2, 3]]) == "a list of 2"
    assert shown({"a": 1}) == "an object of 1"
    assert shown("x" * 81) == "x" * 77 + "..."


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(max_size=40),
    st.binary(max_size=8),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.none(), max_size=3),
    st.datetimes(),
)


@given(value=VALUES, at=st.sampled_from(range(len(CASES))))
def test_judging_never_raises_and_never_passes_what_is_no_value(value: object, at: int) -> None:
    found = judge(wanted(**CASES[at][0]), value, now_ms=NOW_MS)
    assert isinstance(found.outcome, Outcome)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        assert found.outcome is Outcome.UNKNOWN


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_float_is_the_number_that_it_shows(value: float) -> None:
    assert number(value) == Decimal(repr(value))


def test_options_that_look_the_same_are_told_once():
    wanted = Expectation(one_of=[False, "false", "0"])
    assert judge(wanted, "ACTIVE", now_ms=0).explain == "ACTIVE, wanted false or 0"
