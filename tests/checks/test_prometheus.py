"""The `prometheus` source against Debian's Prometheus, which scrapes two small targets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from golive_redis.records.report import Outcome

Asking = Any
Site = Any


def question(url: str, query: str, **more: Any) -> dict[str, Any]:
    series = {"series": more.pop("series")} if "series" in more else {}
    return {"prometheus": {"url": url, "query": query, **series}, **more}


def test_one_series_and_a_scalar(asking: Asking, prometheus: str) -> None:
    assert asking.value(**question(prometheus, 'drawdown_percent{job="one"}', at_most=5)) == 1.5
    assert asking.value(**question(prometheus, "scalar(sum(up))", at_most=5)) == 2
    found = asking.finding(question(prometheus + "/", "max(drawdown_percent)", at_most=5))
    assert (found.outcome, found.value, found.expected) == (Outcome.FAIL, "7.0", "at_most 5")
    assert found.facts == {"prometheus": prometheus + "/", "series": "1", "labels": "{}"}


def test_several_series_need_to_be_told_apart(asking: Asking, prometheus: str) -> None:
    query = "drawdown_percent"
    found = asking.finding(question(prometheus, query, at_most=5))
    assert found.outcome is Outcome.UNKNOWN
    assert "2 series match: say `series: all` or `series: any`" in found.explain
    for series, limit, outcome, shown in (
        ("all", 5, "fail", "7.0"),
        ("all", 10, "pass", None),
        ("any", 5, "pass", "1.5"),
        ("any", 1, "fail", None),
    ):
        found = asking.finding(question(prometheus, query, series=series, at_most=limit))
        assert found.outcome == outcome
        if shown:
            assert found.value == shown
            name = "two" if shown == "7.0" else "one"
            assert 'drawdown_percent{instance="127.0.0.1:' in found.explain
            assert f'job="{name}"}}' in found.explain


def test_a_nan_among_several_is_unknown_unless_another_decides(
    asking: Asking, prometheus: str
) -> None:
    query = 'drawdown_percent{job="one"} or label_replace(vector(NaN), "job", "x", "", "")'
    for series, limit, outcome in (
        ("all", 5, "unknown"),
        ("all", 1, "fail"),
        ("any", 5, "pass"),
        ("any", 1, "unknown"),
    ):
        found = asking.finding(question(prometheus, query, series=series, at_most=limit))
        assert found.outcome == outcome, (series, limit)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("no_such_metric", "no series matches"),
        ('latency_ms{job="one"}', "nan is not a number"),
        ("vector(1) / 0", "inf is not a number"),
        ("drawdown_percent[1m]", "answers with a matrix"),
        ('"text"', "answers with a string"),
        ("sum(", "answered 400: invalid parameter"),
    ],
)
def test_what_is_no_value_is_unknown(
    asking: Asking, prometheus: str, query: str, says: str
) -> None:
    found = asking.finding(question(prometheus, query, at_most=5))
    assert found.outcome is Outcome.UNKNOWN
    assert says in found.explain


def test_an_age_by_the_time_of_a_series(asking: Asking, prometheus: str) -> None:
    query = 'timestamp(drawdown_percent{job="one"})'
    assert asking.finding(question(prometheus, query, newer_than="30s")).outcome is Outcome.PASS
    found = asking.finding(question(prometheus, "vector(time() - 3600)", newer_than="30s"))
    assert found.outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("<html>Login</html>", 200),
        ("{}", 200),
        ("[]", 200),
        ('{"status": "success"}', 200),
        ('{"status": "success", "data": {"resultType": "vector", "result": [{}]}}', 200),
        ('{"status": "success", "data": {"resultType": "vector", "result": 7}}', 200),
        ('{"status": "success", "data": {"resultType": "scalar", "result": [1, "x"]}}', 200),
        ('{"status": "error", "error": "not ready"}', 503),
        ("Service Unavailable", 503),
        ("", 500),
    ],
)
def test_what_does_not_answer_as_prometheus_does_is_unknown(
    asking: Asking, site: Site, body: str, status: int
) -> None:
    site.page("/api/v1/query", body, status)
    found = asking.finding(question(site.url, "up", equals=1))
    assert found.outcome is Outcome.UNKNOWN
    assert found.explain


def test_a_token_is_sent_to_it(asking: Asking, site: Site) -> None:
    site.page("/api/v1/query", "{}")
    asking.environ["METRICS"] = "t0ken"
    source = {"url": site.url, "query": "up", "bearer_env": "METRICS"}
    asking.finding({"prometheus": source, "equals": 1})
    method, path, headers = site.seen[0]
    assert (method, headers["Authorization"]) == ("GET", "Bearer t0ken")
    assert path.startswith("/api/v1/query?query=up&timeout=")


def test_an_answer_with_warnings_is_unknown(asking: Asking, site: Site) -> None:
    """A store behind it was away: what is left out may be what matters."""
    series = [{"metric": {"job": "one"}, "value": [1, "1.5"]}]
    answer = {
        "status": "success",
        "data": {"resultType": "vector", "result": series},
        "warnings": ["No StoreAPIs matched for this query"],
    }
    site.page("/api/v1/query", json.dumps(answer))
    found = asking.finding(question(site.url, "drawdown_percent", at_most=5))
    assert found.outcome is Outcome.UNKNOWN
    assert "answered in part: ['No StoreAPIs matched" in found.explain
