"""Exit codes are one table, documented, and every error of ours has a row in it."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import golive_cli
import golive_redis
from golive_cli import main as program
from golive_cli.commands import activate
from golive_cli.exits import TABLE, Exit, UsageError, code_of
from golive_cli.failure import report
from golive_cli.words import wants_json
from golive_redis.core.permit import Denial, Reason
from golive_redis.errors import (
    ConfigError,
    ConflictError,
    GoliveError,
    MaybeAppliedError,
    NotPermittedError,
    RecordError,
    RefusedError,
    StoreError,
    StoreUnavailableError,
)
from golive_redis.statefile import StateFileError
from golive_redis.store.link import StoreRefusedError
from golive_redis.testing.server import EmbeddedServerError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "exit-codes.md"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (RefusedError, 1),
        (ConflictError, 1),
        (NotPermittedError, 1),
        (EmbeddedServerError, 1),
        (GoliveError, 1),
        (UsageError, 2),
        (StoreError, 4),
        (StoreUnavailableError, 4),
        (StoreRefusedError, 4),
        (MaybeAppliedError, 4),
        (RecordError, 5),
        (ConfigError, 6),
        (StateFileError, 6),
        (ValueError, 70),
        (OSError, 70),
        (MemoryError, 70),
        (KeyboardInterrupt, 130),
    ],
)
def test_each_error_ends_with_its_code(kind, code):
    assert code_of(kind.__new__(kind)) == code


@pytest.mark.parametrize("kind", [*TABLE, MemoryError, StoreUnavailableError, MaybeAppliedError])
def test_revoke_answers_0_2_3_6_or_7_only(kind):
    assert code_of(kind.__new__(kind), "revoke") in {0, 2, 3, 6, 7}


def test_for_revoke_an_unreachable_store_a_defect_and_ctrl_c_mean_not_confirmed():
    for kind in (StoreUnavailableError, MaybeAppliedError, RecordError, ValueError):
        assert code_of(kind.__new__(kind), "revoke") == Exit.NOT_CONFIRMED
    assert code_of(KeyboardInterrupt(), "revoke") == Exit.NOT_CONFIRMED


def errors() -> set[type[GoliveError]]:
    for package in (golive_redis, golive_cli):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found: set[type[GoliveError]] = {UsageError}
    todo = [GoliveError]
    while todo:
        for kind in todo.pop().__subclasses__():
            # Subclasses that other tests define are none of ours.
            if kind.__module__.startswith(("golive_redis", "golive_cli")):
                found.add(kind)
                todo.append(kind)
    return found


def rows(heading: str) -> list[list[str]]:
    """The rows of the table of the page whose first column has that heading."""
    table = PAGE.read_text().split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    cells = [[c.strip().strip("`") for c in line.split("|")[1:-1]] for line in table.splitlines()]
    return cells[2:]


def test_the_page_lists_exactly_the_codes_there_are():
    assert [(int(code), name) for code, name, _ in rows("code")] == [
        (int(code), code.name) for code in Exit
    ]


def test_the_page_lists_the_code_of_every_reason():
    listed = {reason: int(code) for reason, code, _ in rows("reason")}
    assert listed.pop("internal") == Exit.INTERNAL
    assert listed.pop("interrupted") == Exit.INTERRUPTED
    assert listed == {kind.reason: code_of(kind.__new__(kind)) for kind in errors()}


def test_a_denial_is_told_with_its_reason(capsys):
    denial = Denial(next(iter(Reason)), "open")
    assert report(NotPermittedError(denial), ["activate"]) == 1
    assert denial.reason in capsys.readouterr().err


def test_an_error_is_a_line_and_a_hint_on_stderr(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where no configuration is
    assert report(ConfigError("no file", hint="make one"), ["status"]) == 6
    assert capsys.readouterr() == ("", "error: no file\nhint: make one\n")


def test_an_error_with_json_is_one_object_on_stdout(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert report(ConfigError("no file", hint="make one"), ["status", "--json"]) == 6
    out, err = capsys.readouterr()
    assert out == '{"error":{"reason":"config","message":"no file","hint":"make one"}}\n'
    assert err == ""


def test_json_after_two_dashes_is_no_option():
    assert wants_json(["keys", "new", "--json"])
    assert not wants_json(["keys", "new", "--", "--json"])


def test_a_defect_is_one_line_and_a_traceback_only_on_request(capsys, monkeypatch):
    monkeypatch.delenv("GOLIVE_DEBUG", raising=False)
    assert report(ValueError("oops"), ["status"]) == 70
    err = capsys.readouterr().err
    assert "ValueError: oops" in err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 2
    monkeypatch.setenv("GOLIVE_DEBUG", "1")
    try:
        raise ValueError("oops")
    except ValueError as error:
        report(error, ["status"])
    assert "Traceback" in capsys.readouterr().err


def test_whatever_ends_revoke_says_that_the_stop_is_not_confirmed(capsys):
    assert report(ValueError("oops"), ["revoke"]) == 3
    assert "the stop is not confirmed" in capsys.readouterr().err
    assert report(KeyboardInterrupt(), ["revoke"]) == 3
    assert "the stop is not confirmed" in capsys.readouterr().err


def test_a_message_cannot_move_the_cursor_of_the_terminal(capsys):
    report(RefusedError("halted by \x1b[2Jmallory\n\u202efine"), ["status"])
    assert capsys.readouterr().err == "error: halted by \\x1b[2Jmallory\\n\\u202efine\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 2),
        (("--help",), 0),
        (("--version",), 0),
        (("version",), 0),
        (("help",), 0),
        (("help", "keys", "new"), 0),
        (("help", "bogus"), 2),
        (("status", "-h"), 0),
        (("bogus",), 2),
        (("init", "--bogus"), 2),
        (("keys",), 2),
        (("keys", "new"), 2),
        (("keys", "new", "bob"), 2),
        (("keys", "new", "bob", "--role", "king"), 2),
        (("heartbeat",), 2),
        (("heartbeat", "--name", "hb-1"), 6),
        (("keys", "list"), 6),
        (("revoke", "--help"), 0),
        (("revoke", "--bogus"), 2),
        (("revoke", "--reason", "enough"), 6),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, tuple) else str(value),
)
def test_commands_in_an_empty_folder(golive, words, code):
    done = golive(*words)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert (code == 0) == (done.stderr == "")


def test_a_usage_error_with_json_is_an_object_and_2(golive):
    error = golive.json("keys", "new", "bob", "--rolle", "worker", code=2)["error"]
    assert error["reason"] == "usage"
    assert "--rolle" in error["message"]
    assert error["hint"] == "golive keys new --help"


def test_help_lists_revoke_beside_the_others(golive):
    text = golive("--help").stdout
    for command in ("init", "keys", "heartbeat", "revoke"):
        assert re.search(rf"^  {command}  +\S", text, re.MULTILINE)


def test_version_is_the_packages_version(golive):
    from golive_redis.version import VERSION  # noqa: PLC0415

    for words in ("--version", "version"):
        assert golive(words).stdout == f"golive {VERSION}\n"


@pytest.mark.parametrize(
    ("shell", "asked"),
    [
        ("bash", {"COMP_WORDS": "golive he", "COMP_CWORD": "1"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "golive he"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "golive he", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_shells_are_told_how_to_complete(golive, shell, asked):
    assert "heartbeat" in golive(_GOLIVE_COMPLETE=f"complete_{shell}", **asked).stdout


@pytest.mark.parametrize("words", [("--help",), ("init", "--json"), ("keys", "list")], ids=" ".join)
def test_a_reader_that_went_away_changes_neither_the_work_nor_the_code(golive, words):
    if words[0] == "keys":
        golive("init", "--operator", "alice")
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "golive_cli.main", *words],
        cwd=golive.folder,
        env=golive.environ,
        stdout=write,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, b"")
    assert (golive.folder / "config").exists() == (words[0] != "--help")


def test_a_terminal_that_knows_ascii_only_gets_escapes(golive):
    done = golive("keys", "show", "schlüssel.pem", LC_ALL="C", PYTHONIOENCODING="ascii")
    assert done.returncode == 6
    assert "schl\\xfcssel" in done.stderr


def test_a_result_that_cannot_be_written_is_an_error(golive):
    if not Path("/dev/full").exists():  # macOS; nothing else can be tested there
        return
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "golive_cli.main", "init", "--json"],
            cwd=golive.folder,
            env=golive.environ,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    assert done.returncode == 70


def test_ctrl_c_is_130_and_quiet(capsys, monkeypatch):
    def interrupted(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr("golive_cli.app.run", interrupted)
    assert program.main(["watch"]) == 130
    assert capsys.readouterr() == ("", "")


def test_an_unknown_label_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["halt", "color=red", "--reason", "x"]) == Exit.USAGE
    assert "labels are venue, account" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["symbol=", "symbol= ", "symbol=*", "symbol=B*C", "symbol"])
def test_a_label_that_a_halt_cannot_mean_is_a_usage_error(capsys, word: str) -> None:
    """Row 70: a halt for `*USDT` must not be taken and stop nothing."""
    assert program.main(["halt", word, "--reason", "x"]) == Exit.USAGE
    assert "symbol" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["demote", "smal"], ["activate", "--profile", "smal"]], ids=" ".join
)
def test_what_is_no_profile_is_called_that_with_those_there_are(capsys, words) -> None:
    assert program.main([*words, "--reason", "x"]) == Exit.USAGE
    assert capsys.readouterr().err == (
        "error: 'smal' is no profile\nhint: they are micro, small, medium, large\n"
    )


def test_a_mistyped_label_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["halt", "symbl=BTC", "--reason", "x"]) == Exit.USAGE
    assert "did you mean symbol?" in capsys.readouterr().err


@pytest.mark.parametrize("reason", ["", " ", "\t\n", "\u200b"])
@pytest.mark.parametrize(
    "line",
    [
        "activate --yes",
        "halt",
        "halt symbol=BTC --dry-run",
        "reduce --json",
        "resume --all",
        "restore symbol=BTC",
        "extend --minutes 10",
        "demote micro",
        "promote",
        "revoke",
        "revoke --wait 1",
    ],
)
def test_a_reason_that_says_nothing_is_refused_wherever_one_is_asked(
    capsys: pytest.CaptureFixture[str], line: str, reason: str
) -> None:
    for words in ([*line.split(), "--reason", reason], [*line.split(), f"--reason={reason}"]):
        assert program.main(words) == Exit.USAGE, words
        assert "--reason is empty" in "".join(capsys.readouterr())


def test_ctrl_c_at_the_question_of_an_activation_is_130_and_no_answer_is_2(monkeypatch, capsys):
    for pressed, kind in ((KeyboardInterrupt, KeyboardInterrupt), (EOFError, typer.Abort)):

        def prompt(*_, how=pressed, **__):
            raise how

        monkeypatch.setattr("typer._click.termui.visible_prompt_func", prompt)
        with pytest.raises(kind):
            activate._ask("testnet")
    # The error begins a line: nobody has typed the end of that of the question.
    assert capsys.readouterr().err.endswith("\n")
