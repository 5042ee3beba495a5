"""docs/reference/checks.md has every source with its settings, every expectation, an example of each."""

from __future__ import annotations

import msgspec
import pytest
import yaml

from golive_redis.checks import question
from golive_redis.checks.conditions import Questions
from golive_redis.checks.expectation import EXPECTATIONS, MAX_AHEAD_MS
from golive_redis.checks.pattern import MAX_MATCHED
from golive_redis.checks.question import SOURCES, Question
from golive_redis.checks.source import MAX_BYTES
from golive_redis.checks.sources.file import MAX_CSV_BYTES

PAGE = "docs/reference/checks.md"


@pytest.fixture
def questions(docs) -> list[Question]:
    """Every question of every example on the page."""
    page = next(page for page in docs.all if str(page).endswith(PAGE))
    found: list[Question] = []
    for block in docs.blocks(page):
        if block.language == "yaml":
            for value in yaml.safe_load(block.text)["checks"].values():
                asked = msgspec.convert(value, Questions)
                found += [asked] if isinstance(asked, Question) else asked
    return found


def test_there_is_an_example_of_each_source_and_each_expectation(questions):
    assert {item.kind for item in questions} == set(SOURCES)
    assert {name for item in questions for name in item.stated} == set(EXPECTATIONS)
    assert any(item.warn_at is not None for item in questions)
    # What a check must be, its example says; only three take it from the policy.
    assert all(item.stated for item in questions)


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_has_its_settings_and_its_defaults(docs, source):
    kind = next(
        struct
        for name, struct in vars(question).items()
        if name.lower() == f"{source}source" and issubclass(struct, msgspec.Struct)
    )
    rows = docs.table(PAGE, f"`{source}`")
    assert [row[0].strip("`") for row in rows] == list(kind.__struct_fields__)
    for field, row in zip(msgspec.structs.fields(kind), rows, strict=True):
        assert (row[1] == "-") == field.required, field.name
        if isinstance(field.default, bool | str):
            shown = str(field.default)
            assert row[1] == f"`{shown.lower() if isinstance(field.default, bool) else shown}`"


def test_each_expectation_is_in_the_table(docs):
    rows = docs.table(PAGE, "Expectations")
    assert [row[0].strip("`") for row in rows] == [*EXPECTATIONS, "warn_at"]


def test_the_numbers_on_the_page_are_those_of_the_code(docs):
    text = " ".join(docs.read(PAGE).split())
    assert (MAX_BYTES, MAX_CSV_BYTES) == (1024**2, 64 * 1024**2)
    assert "at most 1 MiB, a CSV of at most 64 MiB" in text
    assert f"over {MAX_MATCHED} characters" in text
    assert f"over {MAX_AHEAD_MS // 1000} s in the future" in text
    default = next(f.default for f in msgspec.structs.fields(Question) if f.name == "deadline")
    assert f"(`{default}` unless" in text
    assert (question.MIN_DEADLINE_MS, question.MAX_DEADLINE_MS) == (10, 600_000)
    assert "from `10ms` to `10m`" in text
