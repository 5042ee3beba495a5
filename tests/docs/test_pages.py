"""Links lead somewhere, and code in the documents is code."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from golive_redis.config import yamlfile
from golive_redis.config.policy import Policy
from golive_redis.records.keyset import Role, parse_keyset

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """The text of a page without its fenced blocks."""
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """What a page can be linked at, as GitHub makes it of the headings."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return found


def links(page: Path) -> list[str]:
    """The targets of all links of a page."""
    return re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(page))


def test_every_link_between_documents_leads_somewhere(docs):
    checked = 0
    for page in docs.all:
        for link in links(page):
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme == "https"
                continue
            target = (page.parent / parts.path).resolve() if parts.path else page
            assert target.exists(), f"{page.name}: {link}"
            assert target.is_relative_to(ROOT)
            if parts.fragment:
                assert parts.fragment in anchors(target), f"{page.name}: {link}"
            checked += 1
    assert checked > 50


def test_every_document_can_be_reached_from_the_readme(docs):
    found: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in found or page.suffix != ".md" or not page.exists():
            continue
        found.add(page)
        for link in links(page):
            parts = urlsplit(link)
            if not parts.scheme and parts.path:
                todo.append((page.parent / parts.path).resolve())
    assert {page for page in docs.all if page.parent != ROOT} <= found


def test_pages_that_messages_of_the_code_name_exist():
    named = set()
    for folder in ("golive_redis", "cli", "config"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".yaml", ".lua", ".md"}:
                named |= set(re.findall(r"docs/[\w/-]+\.(?:md|txt)", path.read_text()))
    assert named
    for name in named:
        assert (ROOT / name).exists(), name


def test_python_in_the_documents_compiles(docs):
    count = 0
    for page in docs.all:
        for block in docs.blocks(page):
            if block.language == "python":
                compile(block.text, f"{page.name}:{block.line}", "exec")
                count += 1
    assert count > 10


def test_shell_in_the_documents_parses(docs):
    bash = shutil.which("bash")
    assert bash
    for page in docs.all:
        for block in docs.blocks(page):
            if block.language == "sh":
                subprocess.run([bash, "-n"], input=block.text, text=True, check=True, timeout=120)


def test_every_block_says_what_it_is(docs):
    for page in docs.all:
        for block in docs.blocks(page):
            where = f"{page.name}:{block.line}"
            assert block.language in {"console", "json", "python", "sh", "text", "yaml"}, where


def test_the_keyset_of_the_readme_takes_two_to_start_and_one_to_stop(docs):
    (block,) = (b for b in docs.blocks(ROOT / "README.md") if b.language == "yaml")
    keyset = parse_keyset(yaml.safe_load(block.text))
    assert keyset.threshold(Role.APPROVER) == 2
    assert keyset.threshold(Role.REVOKER) == 1
    example = yaml.safe_load((ROOT / "config" / "keyset.yaml").read_text())
    for name, principal in yaml.safe_load(block.text)["principals"].items():
        assert example["principals"][name] == principal


def test_yaml_in_the_documents_is_configuration_that_loads(docs, tmp_path):
    base = yaml.safe_load((ROOT / "config" / "go_live.yaml").read_text())
    count = 0
    for page in docs.all:
        for block in docs.blocks(page):
            if block.language != "yaml":
                continue
            value = yaml.safe_load(block.text)
            if "spec" in value:  # a pod of Kubernetes
                continue
            if "principals" in value:
                parse_keyset(value)
            else:
                yamlfile.validate({**base, **value}, Policy, tmp_path, {})
            count += 1
    assert count >= 3


def test_a_page_waits_for_the_next_order_of_its_worker_before_it_looks_at_the_log():
    """A worker of the pages asks once a second: what its log ends with may be of before the command."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    early = [
        f"{page.name}: {line}"
        for page in pages
        for line in page.read_text().splitlines()
        if "tail -n 1 pod-" in line and "sleep" not in line
    ]
    assert not early
