"""docs/reference/vectors.md: whoever writes a verifier finds every question and every rule on it."""

from __future__ import annotations

import json
import re

from kit.vectors import judge
from kit.vectors.files import FILES, FOLDER

PAGE = "docs/reference/vectors.md"


def kept():
    """Every vector, as it is kept."""
    for name in FILES:
        yield from json.loads((FOLDER / f"{name}.json").read_text())["vectors"]


def spread(text):
    """The names in a cell: `note-1` to `note-5` are five."""
    names = re.findall(r"`([^`]+)`", text)
    if " to " not in text:
        return set(names)
    (word, first), (_, last) = (re.fullmatch(r"(\D+)(\d+)", name).groups() for name in names)
    return {f"{word}{number}" for number in range(int(first), int(last) + 1)}


def test_the_page_has_every_question_and_what_is_given_with_it(docs):
    rows = {row[0].strip("`"): row for row in docs.table(PAGE, "What is asked")}
    assert set(rows) == set(judge.OPS)
    for vector in kept():
        _, given, accepted = rows[vector["op"]]
        assert set(vector["given"]) <= spread(given) | {"entries"}, vector["name"]
        if "accept" in vector["expect"]:
            assert set(vector["expect"]["accept"]) <= spread(accepted), vector["name"]


def test_the_page_has_every_rule(docs):
    written = set().union(*(spread(row[0]) for row in docs.table(PAGE, "The rules")))
    refused = {v["expect"]["refuse"] for v in kept() if "refuse" in v["expect"]}
    assert written - {f"V{n}" for n in (4, 12, 13)} == refused


def test_the_lists_that_rules_are_named_by_have_so_many_numbers(docs):
    def last(page, heading):
        section = docs.read(page).split(f"\n## {heading}\n")[1].split("\n#")[0]
        return max(map(int, re.findall(r"(?m)^(\d+)\. ", section)))

    assert last("docs/reference/records.md", "What a verifier refuses") == 13
    assert last("docs/reference/checkpoints.md", "A note") == 5
    assert last("docs/reference/records.md", "Keysets") == 7
