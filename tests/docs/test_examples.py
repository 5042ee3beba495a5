"""What pages show outside of sessions is what the program says, too."""

from __future__ import annotations

import json
import re

import pytest

from golive_cli.main import main

HOME = "/home/alice"


@pytest.fixture
def said(monkeypatch, capsys, tmp_path):
    """What a command prints in an empty home, as a reader of the page would see it."""
    monkeypatch.chdir(tmp_path)
    for name in ("GOLIVE_CONFIG", "GOLIVE_REDIS_URL", "GOLIVE_KEY"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str) -> str:
        assert main(list(words)) == 6
        streams = capsys.readouterr()
        return (streams.out or streams.err).replace(str(tmp_path.resolve()), HOME)

    return run


def json_blocks(docs, name: str) -> list[object]:
    (path,) = (path for path in docs.all if str(path).endswith(f"/{name}"))
    return [json.loads(block.text) for block in docs.blocks(path) if block.language == "json"]


def test_the_error_of_a_wrong_key_is_the_one_that_the_page_shows(docs, said, monkeypatch, tmp_path):
    text = docs.read("docs/reference/configuration.md")
    (shown,) = re.findall(r"(?m)^    (error: .*\n)    (hint: .*\n)", text)
    (line,) = re.findall(r"go_live\.yaml:(\d+)", shown[0])
    (key,) = re.findall(r"unknown key '(\w+)'", shown[0])
    (tmp_path / "config").mkdir()
    config = tmp_path / "config" / "go_live.yaml"
    config.write_text("# a comment\n" * (int(line) - 1) + f"{key}: true\n")
    monkeypatch.setenv("GOLIVE_CONFIG", "config/go_live.yaml")
    assert said("status") == "".join(shown)


def test_the_object_of_an_error_is_the_one_that_the_page_shows(docs, said):
    (shown,) = json_blocks(docs, "docs/reference/exit-codes.md")
    assert json.loads(said("status", "--json")) == shown


@pytest.mark.session
def test_the_object_of_a_refusal_is_the_one_that_the_page_shows(docs, every_command):
    assert every_command.said["error"] in json_blocks(docs, "docs/reference/json.md")
