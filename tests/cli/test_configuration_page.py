"""docs/reference/configuration.md describes every setting there is, with its default."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
import yaml

from golive_redis.config import yamlfile
from golive_redis.config.auditing import AuditSettings, WitnessSettings
from golive_redis.config.policy import (
    KeySettings,
    Policy,
    SentinelSettings,
    StoreSettings,
    TlsSettings,
)
from golive_redis.core.timing import TIMINGS, Timing
from golive_redis.records.keyset import parse_keyset
from golive_redis.records.limits import Limits

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "configuration.md").read_text()
GROUPS = {
    "": Policy,
    "store.": StoreSettings,
    "store.tls.": TlsSettings,
    "store.sentinel.": SentinelSettings,
    "keys.": KeySettings,
    "profiles.NAME.": Limits,
    "audit.": AuditSettings,
    "audit.witnesses[].": WitnessSettings,
}
SECTIONS = {"store", "keys", "store.tls", "store.sentinel", "audit", "audit.witnesses"}


def settings() -> dict[str, str]:
    """Every setting of the code with its default as the page writes it."""
    found = {}
    for prefix, kind in GROUPS.items():
        for field in msgspec.structs.fields(kind):
            if prefix + field.name not in SECTIONS:
                found[prefix + field.name] = shown(field)
    return found


def shown(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "-"
    default = field.default
    if default is msgspec.NODEFAULT:
        default = field.default_factory()
    if default is None:
        return "none"
    if isinstance(default, list):
        return f"`[{', '.join(default)}]`"
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`"


def rows() -> dict[str, list[str]]:
    """The rows of the page's tables of `go_live.yaml`, by setting."""
    part = PAGE.split("\n## `go_live.yaml`", 1)[1].split("\n## ", 1)[0]
    lines = re.findall(r"^\| `([^`]+)` \| (.*) \|$", part, re.MULTILINE)
    assert len({name for name, _ in lines}) == len(lines)
    return {name: rest.split(" | ") for name, rest in lines}


def test_the_page_has_every_setting_and_its_default():
    described = {k: v[0] for k, v in rows().items() if not k.startswith("timing.")}
    assert described == settings()


def test_the_page_has_the_timers_of_both_names():
    described = {k: v[:2] for k, v in rows().items() if k.startswith("timing.")}
    assert described == {
        f"timing.{name}": [str(getattr(TIMINGS[which], name)) for which in ("standard", "tight")]
        for name in Timing.__struct_fields__
    }


def test_the_page_names_every_variable_that_is_read():
    code = "".join(
        path.read_text()
        for folder in ("golive_redis", "cli")
        for path in (ROOT / folder).rglob("*.py")
    )
    read = set(re.findall(r'"(GOLIVE_[A-Z_]+)"', code))
    assert read <= set(re.findall(r"`(GOLIVE_[A-Z_]+)`", PAGE))


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_on_the_page_are_valid(block, tmp_path):
    value = yaml.safe_load(block)
    if "principals" in value:
        assert parse_keyset(value).threshold("approver") == 2
    else:
        base = yaml.safe_load((ROOT / "config" / "go_live.yaml").read_text())
        lines: dict[str, int] = {}
        yamlfile.validate({**base, **value}, Policy, tmp_path, lines)
