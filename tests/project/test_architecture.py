"""The page of the architecture says what the contracts and the code say."""

import ast
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "architecture.md"
MAKER = PAGE.with_name("floors.py")


@pytest.fixture(scope="module")
def made():
    """What the script that makes parts of the page can do."""
    return runpy.run_path(str(MAKER))


def drawn(page: str) -> list[list[str]]:
    """The rooms of each floor as the picture shows them, the highest first."""
    rows = re.findall(r"^ (\d) \| (.*) \|$", page, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(len(rows), 0, -1))
    return [[cell.strip() for cell in re.split(r"\| \|", row)] for _, row in rows]


def read(path: str, name: str) -> int:
    """How many lines that piece has; the whole file without a name."""
    text = (ROOT / path).read_text()
    if not name:
        return len(text.splitlines())
    body: list[ast.stmt] = ast.parse(text).body
    for part in name.split("."):
        found = [node for node in body if getattr(node, "name", None) == part]
        assert found, f"{path} has no {name}"
        (node,) = found
        body = getattr(node, "body", [])
    return (node.end_lineno or 0) - node.lineno + 1


def test_the_made_parts_of_the_page_are_what_the_code_makes_of_them(made):
    page = PAGE.read_text()
    assert made["page"](page) == page, "python docs/explanation/floors.py makes it anew"


def test_the_picture_has_the_floors_of_the_contracts(made):
    floors = [[room.removeprefix("golive_redis.") for room in floor] for floor in made["floors"]()]
    assert len(floors) > 5
    shown = [[re.sub(r"/$|\.py$", "", room) for room in floor] for floor in drawn(PAGE.read_text())]
    assert shown == floors


def test_each_package_says_what_belongs_there_and_where_to_begin(made):
    names = {"golive_redis", *made["packages"]()}
    assert {"golive_redis.core", "golive_redis.checks.sources", "golive_cli.commands"} <= names
    for name in names:
        text = " ".join(made["docstring"](name).split())
        assert len(text.split()) > 20, name
        assert re.search(r"\b(belongs?|reads)\b", text), f"{name}: what belongs there?"
        first = re.search(r"\bStart with `([\w.]+)`", text)
        assert first, f"{name}: where to start?"
        home, module = made["home"](name), first[1].replace(".", "/")
        paths = [home / module, home.parent / module]
        assert any(p.with_suffix(".py").is_file() for p in paths), f"{name}: {module}"


def test_what_the_page_tells_to_read_exists_and_is_about_900_lines():
    section = PAGE.read_text().split("\n## Reading it\n")[1].split("\n## ")[0]
    lines = 0
    for cell in re.findall(r"^\| \d+ \| ([^|]*) \|", section, re.MULTILINE):
        first, *others = re.findall(r"`([^`]+)`", cell)
        path, _, name = first.partition(": ")
        lines += sum(read(path, part) for part in (name, *others))
    assert 800 < lines < 1_000, lines


def test_each_file_and_folder_that_the_page_names_exists():
    page = PAGE.read_text().split("\n## How data goes\n")[1]
    page = re.sub(r"<!-- made by .*?<!-- end -->", "", page, flags=re.DOTALL)
    named = set(re.findall(r"`((?:[\w-]+/)+[\w.-]*)`", page))
    assert len(named) > 10
    for name in named:
        homes = [ROOT / name, ROOT / "golive_redis" / name]
        assert any(home.exists() for home in homes), name
    modules = re.findall(r"`((?:[a-z_]+\.)+[a-z_]+)`", page)
    assert len(modules) > 10
    for module in modules:
        path = (ROOT / "golive_redis").joinpath(*module.split("."))
        assert path.with_suffix(".py").exists(), module
