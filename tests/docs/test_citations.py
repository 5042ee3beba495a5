"""What code, tests, model and pages cite exists in this repository: rules, pages, sections, rows."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = ROOT / "docs" / "explanation" / "protocol.md"
FAULTS = ROOT / "docs" / "explanation" / "faults.md"
THIS = Path("tests/docs/test_citations.py")
TEXT = {".py", ".md", ".lua", ".tla", ".toml", ".yaml", ".yml", ".json", ".patch", ".txt"}
# S15 to S19 are no rules yet and would be found; S101 and its like are rules of ruff.
RULE = re.compile(r"(?<![\w-])S(1?[0-9])(?![\w.-])")
PAGE = re.compile(r"(?<![\w/.-])((?:[\w-]+/)*[\w-]+\.md)(?:#([\w-]+))?(?![\w/])")
ROW = re.compile(r"(?<![\w-])[Rr]ows? ((?:\d+(?:, | and | to )?)+)")


def tracked() -> Iterator[tuple[Path, str]]:
    """Path, from the root, and text of each file that somebody wrote."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=120
    ).stdout
    for name in filter(None, names.decode().split("\0")):
        path = ROOT / name
        if path.exists() and (path.suffix in TEXT or path.name == "Makefile"):
            yield Path(name), path.read_text()


@cache
def rules() -> dict[str, str]:
    """Number and statement of each rule of the protocol, in the order of the page."""
    return dict(re.findall(r"^### (S\d+) (.+)$", PROTOCOL.read_text(), re.MULTILINE))


def rows() -> set[int]:
    """Numbers of the fault table."""
    return {int(n) for n in re.findall(r"^\| (\d+) \|", FAULTS.read_text(), re.MULTILINE)}


@cache
def homes(page: str) -> list[Path]:
    """Where a page may be that is cited by its path from the root, or by its name alone."""
    return [path for path in (ROOT / page, *ROOT.glob(f"docs/**/{page}")) if path.is_file()]


@cache
def anchors(page: Path) -> set[str]:
    """What a page can be linked at, as GitHub makes it of the headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    }


def unknown_rules(text: str) -> set[str]:
    """Rules that a text cites and the protocol does not have."""
    return {f"S{number}" for number in RULE.findall(text)} - set(rules())


def unknown_pages(name: Path, text: str) -> set[str]:
    """Pages and sections that a text of code cites and that do not exist."""
    missing = set()
    for page, section in PAGE.findall(text):
        beside = (ROOT / name).parent / page
        found = [*homes(page), beside] if beside.is_file() else homes(page)
        if not found or (section and not any(section in anchors(home) for home in found)):
            missing.add(f"{page}#{section}" if section else page)
    return missing


def test_the_protocol_has_the_rules_1_to_14_each_with_its_reason():
    page = PROTOCOL.read_text()
    assert list(rules()) == [f"S{number}" for number in range(1, 15)]
    for number, statement in rules().items():
        section = page.split(f"### {number} {statement}\n", 1)[1]
        assert "\n*Why:* " in re.split(r"^##", section, maxsplit=1, flags=re.MULTILINE)[0], number


def test_each_rule_that_is_cited_exists():
    cited: dict[str, int] = {}
    for name, text in tracked():
        if name == THIS:
            continue
        assert not unknown_rules(text), name
        for number in RULE.findall(text):
            cited[f"S{number}"] = cited.get(f"S{number}", 0) + 1
    assert set(cited) == set(rules())  # and each is cited somewhere


def test_each_page_and_section_that_code_cites_exists():
    sections = 0
    for name, text in tracked():
        if name.suffix != ".md" and name != THIS:
            assert not unknown_pages(name, text), name
            sections += sum(bool(section) for _, section in PAGE.findall(text))
    assert sections >= 5


def test_each_row_of_the_fault_table_that_a_docstring_cites_exists():
    known, count = rows(), 0
    assert known == set(range(1, len(known) + 1))
    for name, text in tracked():
        if name.parts[0] in {"tests", "golive_redis", "cli"} and name.suffix == ".py":
            for listed in ROW.findall(text):
                numbers = {int(number) for number in re.findall(r"\d+", listed)}
                assert numbers <= known, f"{name}: {listed}"
                count += len(numbers)
    assert count > 200


def test_each_numbered_rule_of_a_module_that_it_cites_stands_in_its_docstring():
    count = 0
    for name, text in tracked():
        if name.parts[0] != "golive_redis" or name.suffix != ".py":
            continue
        listed = set(re.findall(r"^(\d+)\. ", text, re.MULTILINE))
        for cited in re.findall(r"\(rules? (\d[^)]*)\)", text):
            assert set(re.findall(r"\d+", cited)) <= listed, f"{name}: rules {cited}"
            count += 1
    assert count


@pytest.mark.parametrize("text", ["# S15", "as S0 says", "(S5, S16)"])
def test_a_rule_that_does_not_exist_is_found(text):
    assert unknown_rules(text)


@pytest.mark.parametrize("text", ["# S5", "S101", "S1-2", "AS5", "TLS1", "S3cret"])
def test_what_is_no_citation_of_a_missing_rule_is_left_alone(text):
    assert not unknown_rules(text)


@pytest.mark.parametrize(
    "text", ["DESIGN.md section 5", "docs/explanation/protocol.md#no-such", "docs/how-to/none.md"]
)
def test_a_page_that_does_not_exist_is_found(text):
    assert unknown_pages(Path("golive_redis/errors.py"), text)


@pytest.mark.parametrize("text", ["docs/explanation/protocol.md#timers", "README.md", "records.md"])
def test_a_page_that_exists_is_left_alone(text):
    assert not unknown_pages(Path("golive_redis/errors.py"), text)


def test_each_file_and_module_of_ours_that_is_named_exists():
    names = {name.as_posix() for name, _ in tracked()}
    modules = {
        name.removesuffix(".py").removesuffix("/__init__").removeprefix("cli/").replace("/", ".")
        for name in names
        if name.endswith(".py")
    }
    count = 0
    for name, text in tracked():
        if name == Path("CHANGELOG.md"):  # it tells of the past, too
            continue
        for path in re.findall(r"(?<![\w/.-])((?:golive_redis|cli/golive_cli)/[\w./]*\w)", text):
            assert (ROOT / path).exists(), f"{name}: {path}"
            count += 1
        for dotted in re.findall(r"`((?:golive_redis|golive_cli)(?:\.\w+)+)`", text):
            parts = dotted.split(".")
            if parts[1][0].isupper():  # what `golive_redis` itself hands on
                continue
            # A module, or something in one: a class of it, a method of that.
            assert modules & {".".join(parts[:end]) for end in range(2, len(parts) + 1)}, (
                f"{name}: {dotted}"
            )
            count += 1
    assert count > 60
