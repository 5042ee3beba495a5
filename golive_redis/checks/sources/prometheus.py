"""The `prometheus` source: an instant query against the HTTP API, version 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from golive_redis.checks.question import PrometheusSource
from golive_redis.checks.source import Fetched, Surroundings, UnansweredError
from golive_redis.checks.sources.http import exchange
from golive_redis.masking import without_login

MAX_SERIES = 1000


def fetch(source: PrometheusSource, where: Surroundings, deadline_ms: float) -> Fetched:
    """Run the query; no series is no value, several need `series`.

    A warning is no answer: with it come the series that are left when a store or shard is away, and
    those that are missing might be the bad ones.
    """
    reply = exchange(
        source,
        where,
        deadline_ms,
        path="/api/v1/query",
        # Prometheus gives up, too, when we no longer wait.
        params={"query": source.query, "timeout": f"{max(1, round(deadline_ms))}ms"},
    )
    place = without_login(source.url)
    answer = reply.json() if reply.is_good or reply.body else None
    if not isinstance(answer, dict) or answer.get("status") != "success":
        error = answer.get("error", "") if isinstance(answer, dict) else ""
        raise UnansweredError(f"{place} answered {reply.status}: {error}")
    try:
        series = _series(answer["data"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnansweredError(f"{place} does not answer as Prometheus does") from error
    if answer.get("warnings"):
        raise UnansweredError(f"{place} answered in part: {answer['warnings']}")
    facts = {"prometheus": place, "series": str(len(series))}
    if not series:
        raise UnansweredError("no series matches the query")
    if len(series) == 1:
        ((name, value),) = series.items()
        return Fetched(value, {**facts, "labels": name})
    if source.series is None:
        raise UnansweredError(f"{len(series)} series match: say `series: all` or `series: any`")
    if len(series) > MAX_SERIES:
        raise UnansweredError(f"{len(series)} series match, over {MAX_SERIES}")
    return Fetched(None, facts, series)


def _series(data: Mapping[str, Any]) -> dict[str, object]:
    if data["resultType"] == "scalar":
        return {"": float(data["result"][1])}
    if data["resultType"] != "vector":
        raise UnansweredError(f"the query answers with a {data['resultType']}, not with values")
    found: dict[str, object] = {
        _named(item["metric"]): float(item["value"][1]) for item in data["result"]
    }
    if len(found) != len(data["result"]):
        raise ValueError("two series of one name")
    return found


def _named(labels: Mapping[str, str]) -> str:
    """Write labels as PromQL does."""
    inside = ", ".join(
        f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "__name__"
    )
    return f"{labels.get('__name__', '')}{{{inside}}}"
