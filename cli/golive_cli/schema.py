"""The JSON Schema of `go_live.yaml`, for editors: made from the types that validate it."""

from __future__ import annotations

from typing import Any

import msgspec

from golive_redis.checks.conditions import Conditions
from golive_redis.config.auditing import AuditSettings
from golive_redis.config.policy import Policy


def schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12).

    It knows names, types and choices. Rules between settings, such as the timers' inequalities, are
    checked by `golive` alone.
    """
    (policy, evidence, audit), definitions = msgspec.json.schema_components(
        [Policy, Conditions, AuditSettings], ref_template="#/$defs/{name}"
    )
    whole = definitions.pop(_name(policy))
    sections = definitions.pop(_name(evidence))["properties"]
    whole["properties"].update(sections, audit=audit)
    whole |= {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "golive-redis: go_live.yaml",
        "$defs": definitions,
    }
    return dict(_ecmascript(whole))


def _name(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _ecmascript(value: Any) -> Any:
    """Write patterns as JSON Schema has them (ECMA-262), where the end is `$`."""
    if isinstance(value, list):
        return [_ecmascript(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: item.replace(r"\Z", "$") if key == "pattern" else _ecmascript(item)
        for key, item in value.items()
    }
