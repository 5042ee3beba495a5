"""docs/reference/commands.md quotes the help of every command, word for word.

After a change of a help text `GOLIVE_WRITE_DOCS=1 pytest tests/docs/test_commands.py` writes it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main

from golive_cli.app import COMMANDS, GROUPS, application
from golive_cli.main import main

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "commands.md"
HEAD = """# Commands

What `golive help COMMAND` says, or `golive COMMAND -h`. A test compares this page with the program.

`activate` asks you to type the environment's name, unless `--yes` is given; `approve`, `keys
sign` and `keys publish` ask for a number or a part of an id.
Shapes of `--json`: [json](json.md). How a command ends: [exit codes](exit-codes.md).

`golive --install-completion` makes Tab complete commands, options, and the values that are known
here: profiles and checks of the configuration, heartbeats of the keyset, and from Redis the
heartbeats and workers on the rosters (for `--heartbeat-dead` and `--worker-dead`), the labels that
workers have and have stated lately (`halt`, `reduce`), and those of what can be lifted (`resume`,
`restore`). Redis is asked for at most 300 ms: what is not known then is not offered, and nothing is
said. Neither is a value that a shell would not take as it stands, such as one with a blank or a
`$`.
"""


def commands() -> list[str]:
    """The program and every command of it, in the order of its own help."""
    return [name.strip() for name in below("", typer.main.get_command(application()))]


def below(name: str, command: object) -> list[str]:
    """A command and all below it."""
    inner = getattr(command, "commands", {}).items()
    return [name, *(each for word, one in inner for each in below(f"{name} {word}", one))]


@pytest.fixture
def helped(monkeypatch, capsys) -> Callable[[str], str]:
    """What a command says of itself, 80 columns wide."""
    for name, value in {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)

    def ask(command: str) -> str:
        assert main([*command.split(), "--help"]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        return said.out

    return ask


def quoted() -> dict[str, str]:
    """The help texts of the page, by command."""
    block = r"^## `golive ?([^`]*)`\n\n```text\n(.*?)```$"
    return dict(re.findall(block, PAGE.read_text(), re.MULTILINE | re.DOTALL))


def words(text: str) -> list[str]:
    """The words of a help text; how a version of Typer or argparse decorates them is its affair."""
    for brackets in (
        r"\[[^\[\]]*\]",
        r"\[[^\[\]]*\]",
        r"<[^<>\s]*>|<float range>|<int range>",
        r"\{[^{}]*\}",
    ):
        text = re.sub(brackets, " ", text)
    return text.split()


def test_the_page_quotes_the_help_of_every_command(helped):
    real = {command: helped(command) for command in commands()}
    if os.environ.get("GOLIVE_WRITE_DOCS") == "1":
        blocks = [
            f"\n## `{f'golive {name}'.strip()}`\n\n```text\n{text}```\n"
            for name, text in real.items()
        ]
        PAGE.write_text(HEAD + "".join(blocks))
    page = quoted()
    assert list(page) == list(real)
    assert {k: words(v) for k, v in page.items()} == {k: words(v) for k, v in real.items()}


def test_every_help_fits_80_columns_and_every_summary_is_whole(helped):
    for command in commands():
        text = helped(command)
        assert max(map(len, text.splitlines())) <= 80, command
        assert "..." not in re.sub(r"^(Usage|usage):.*|\[?[A-Z_]+(=[A-Z]+)?\]\.\.\.", "", text), (
            command
        )


def test_the_list_has_every_command_in_its_group_and_revoke_first(helped):
    text = helped("")
    listed = re.findall(r"^  ([a-z][a-z-]*)  +\S", text, re.MULTILINE)
    assert listed == list(COMMANDS)
    assert listed[0] == "revoke"
    assert re.findall(r"^(\S.*):$", text, re.MULTILINE) == [*GROUPS, "Options"]


@pytest.mark.parametrize("command", commands())
def test_all_ways_to_ask_for_help_say_the_same(helped, capsys, command):
    text = helped(command)
    for words in ([*command.split(), "-h"], ["help", *command.split()]):
        assert main(words) == 0
        assert capsys.readouterr() == (text, ""), words


def test_help_of_what_is_no_command_is_a_usage_error(capsys):
    assert main(["help", "revok"]) == 2
    assert capsys.readouterr().err.startswith("error: No such command 'revok'.")


def test_every_command_and_option_that_the_documents_use_exists(helped):
    real = {command: words(helped(command)) for command in commands()}
    checked = 0
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "docker-compose.yml"]:
        text = page.read_text()
        for used in re.findall(r"golive((?: +[a-z-]+)+)((?: [^`\n|#>]*)?)", text):
            spoken = used[0].split()
            names = (" ".join(spoken[:count]) for count in (3, 2, 1))
            name = next((n for n in names if n in real), None)
            if name is None:
                continue
            for option in re.findall(r"(?<!\S)--[a-z-]+", " ".join(spoken) + used[1]):
                assert option in real[name] or option == "--help", f"{page.name}: {name} {option}"
                checked += 1
    assert checked > 50  # the pattern still finds them
