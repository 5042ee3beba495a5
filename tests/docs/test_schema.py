"""The JSON Schema for editors is the one of the code, and the YAML on the pages is right.

`GOLIVE_WRITE_DOCS=1 pytest tests/docs/test_schema.py` writes it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from golive_cli.commands.init import config_text, schema_text
from golive_cli.schema import schema
from golive_redis.checks.conditions import Conditions
from golive_redis.config import config as configuration

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "config" / "go_live.schema.json"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
SECTIONS = ("checks", "triggers", "windows", "promotions")


def judge(value: object) -> None:
    jsonschema.Draft202012Validator(schema()).validate(value)


def examples() -> list[tuple[str, str]]:
    """The YAML blocks of all pages that begin with one of the sections about evidence."""
    found = []
    for page in PAGES:
        for number, block in enumerate(
            re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
        ):
            if block.startswith(tuple(f"{name}:" for name in SECTIONS)):
                found.append((f"{page.stem}-{number}", block))
    return found


def test_the_shipped_schema_is_the_one_of_the_code():
    if os.environ.get("GOLIVE_WRITE_DOCS") == "1":
        SHIPPED.write_text(schema_text())
    assert SHIPPED.read_text() == schema_text()


def test_the_example_fits_and_a_mistake_does_not():
    jsonschema.Draft202012Validator.check_schema(schema())
    example = yaml.safe_load((ROOT / "config" / "go_live.yaml").read_text())
    judge(example)
    for wrong in ({"activation_enable": True}, {"window_minutes": "12"}):
        with pytest.raises(jsonschema.ValidationError):
            judge(example | wrong)
    with pytest.raises(jsonschema.ValidationError):
        judge(example | {"checks": {"x": {"htp": {"url": "http://x"}}}})


@pytest.mark.parametrize(("name", "text"), examples(), ids=[name for name, _ in examples()])
def test_each_example_of_evidence_on_a_page_loads_and_fits(name, text, tmp_path):
    base = config_text("production", "redis://127.0.0.1:6379/0", "alice", "workers")
    path = tmp_path / "go_live.yaml"
    path.write_text(f"{base}\n{text}")
    Conditions.of(configuration.load(path, environ={}))
    judge(yaml.safe_load(path.read_text()))


def test_there_is_an_example_of_each_section():
    assert {key for _, text in examples() for key in yaml.safe_load(text)} >= set(SECTIONS)
