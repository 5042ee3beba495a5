"""Questions: one source, one expectation, and settings that cannot be meant are refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from golive_redis.checks.question import SOURCES, Question

URL = "https://risk.example/state"


def question(**parts: Any) -> Question:
    return msgspec.convert(parts, Question)


GOOD: dict[str, dict[str, Any]] = {
    "http": {"url": URL},
    "redis": {"key": "risk"},
    "prometheus": {"url": URL, "query": "up"},
    "sql": {"url": "sqlite:///x.db", "query": "select 1"},
    "file": {"path": "report.json"},
    "command": {"argv": ["true"]},
    "python": {"name": "risk"},
    "fleet": {"value": "workers"},
    "ledger": {"value": "active_days"},
}


def test_each_source_is_known_by_its_name() -> None:
    assert tuple(GOOD) == SOURCES
    for name, settings in GOOD.items():
        found = question(**{name: settings}, equals=1)
        assert found.kind == name
        assert found.source is getattr(found, name)
        assert found.deadline_ms == 5000
    assert question(http=GOOD["http"], deadline="250ms").deadline_ms == 250


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"equals": 1}, "a question has one source: http, redis,"),
        ({"http": GOOD["http"], "redis": GOOD["redis"]}, "a question has one source"),
        ({"htpt": GOOD["http"]}, "unknown field `htpt`"),
        ({"http": {"url": URL, "jsn": ""}}, "unknown field `jsn`"),
        ({"http": GOOD["http"], "deadline": "5"}, "matching regex"),
        ({"http": GOOD["http"], "deadline": "0s"}, "at least 10ms and at most 10m"),
        ({"http": GOOD["http"], "deadline": "11m"}, "at least 10ms and at most 10m"),
        ({"http": {"url": "ftp://x"}}, "url begins with"),
        ({"http": {"url": URL, "method": "POST"}}, "Invalid enum value"),
        ({"http": {"url": URL, "method": "HEAD", "json": ""}}, "HEAD has no body"),
        ({"http": {"url": URL, "method": "HEAD", "clock": "/t"}}, "HEAD has no body"),
        ({"http": {"url": URL, "json": "/a", "latency": True}}, "http takes one of"),
        ({"http": {"url": URL, "json": "a/b"}}, "matching regex"),
        ({"http": {"url": URL, "json": "/a~2"}}, "matching regex"),
        ({"http": {"url": URL, "bearer_env": "a b"}}, "matching regex"),
        ({"redis": {"key": ""}}, "length >= 1"),
        ({"redis": {"key": "a", "count": True, "newest": True}}, "redis takes one of"),
        ({"redis": {"key": "a", "url": "redis://x", "url_env": "X"}}, "url or url_env"),
        ({"prometheus": {"url": "prom:9090", "query": "up"}}, "url begins with"),
        ({"prometheus": {"url": URL, "query": "up", "series": "most"}}, "Invalid enum value"),
        ({"sql": {"query": "select 1"}}, "sql takes url or url_env"),
        ({"sql": {"query": "select 1", "url": "a", "url_env": "B"}}, "sql takes url or url_env"),
        ({"file": {"path": "x", "rows": True, "modified": True}}, "file takes one of"),
        ({"file": {"path": "x", "format": "xml"}}, "Invalid enum value"),
        ({"command": {"argv": []}}, "length >= 1"),
        ({"command": {"argv": "rm -rf /"}}, "Expected `array`"),
        ({"command": {"argv": ["x"], "stdout": True, "json": ""}}, "stdout or json"),
        ({"python": {"name": "x", "arguments": {"a": [1]}}}, "Expected `"),
        ({"fleet": {"value": "mood"}}, "Invalid enum value"),
        ({"ledger": {"value": "active_days", "profile": "tiny"}}, "Invalid enum value"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_refused(parts: dict[str, Any], says: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        question(**parts)
    assert says in str(caught.value)
