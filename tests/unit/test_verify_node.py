"""The verifier in Node decides every vector like our Python, and is what its page says."""

from __future__ import annotations

import json
import re

import pytest

from golive_redis.records.ledger import TOPICS
from golive_redis.records.record import Record
from kit import nodejs
from kit.vectors.files import FILES, FOLDER


@pytest.mark.parametrize("name", FILES)
def test_node_decides_each_vector_as_it_is_expected(node, name):
    done = nodejs.run(node, "vectors.mjs", FOLDER / f"{name}.json")
    count = len(json.loads((FOLDER / f"{name}.json").read_text())["vectors"])
    assert done.stdout == f"{count} vectors, 0 decided otherwise\n", done.stdout + done.stderr
    assert done.returncode == 0


def test_a_vector_that_is_decided_otherwise_is_named(node, tmp_path):
    file = json.loads((FOLDER / "json.json").read_text())
    file["vectors"][0]["expect"] = {"refuse": "envelope-1"}
    path = tmp_path / "json.json"
    path.write_text(json.dumps(file))
    done = nodejs.run(node, "vectors.mjs", path)
    assert done.returncode == 1
    assert file["vectors"][0]["name"] in done.stdout
    assert ", 1 decided otherwise" in done.stdout
    assert nodejs.run(node, "vectors.mjs").returncode == 1  # nothing was asked: nothing is shown


def test_it_stands_on_the_standard_library_alone():
    """A reader of an audit looks at what it loads first."""
    found = set()
    for path in nodejs.FOLDER.rglob("*.mjs"):
        found |= set(re.findall(r'from "([^"]+)"', path.read_text()))
    assert {name for name in found if not name.startswith("./")} == {
        "node:crypto",
        "node:fs",
        "node:readline",
        "node:util",
    }
    assert not list(nodejs.FOLDER.rglob("package*.json"))


def test_it_knows_every_kind_of_record_and_every_topic():
    """Also where there is no Node to run it."""
    text = (nodejs.FOLDER / "lib" / "records.mjs").read_text()
    kinds, topics = text.split("export const KINDS")[1], text.split("export const TOPICS")[1]
    assert set(re.findall(r"(?m)^  (\w+): \{$", kinds)) == {
        kind.KIND for kind in Record.__subclasses__()
    }
    written = re.findall(r'(?m)^  "?([a-z-]+)"?: "(\w+)",$', topics.split("};")[0])
    assert dict(written) == {topic: str(role) for topic, role in TOPICS.items()}


def test_every_file_of_it_is_on_its_page():
    page = (nodejs.FOLDER / "README.md").read_text()
    for path in nodejs.FOLDER.rglob("*.mjs"):
        assert path.name in page
        assert len(path.read_text().splitlines()) < 400
