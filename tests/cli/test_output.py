"""Results on stdout, notes on stderr, one object with --json, no colour where none is wanted."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from golive_cli.output import Output, Painted
from golive_redis.masking import printable

ROWS = [["pod-1", Painted("ARMED", "green")], ["a-long-name", "[bold]\x1b[2J"]]
DRAW = (
    "from golive_cli.output import Output, Painted\n"
    "out = Output()\n"
    "out.line(Painted('COMPLETE', 'green'), ' by receipts')\n"
    "out.table(['pod', 'state'], [['pod-1', Painted('ARMED', 'green')], ['[bold]', 'x']])\n"
    "import sys; print('rich' in sys.modules)\n"
)


def on_terminal(**environ: str) -> str:
    """What DRAW prints on a terminal."""
    ours, theirs = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"} | environ
    done = subprocess.run([sys.executable, "-P", "-c", DRAW], env=env, stdout=theirs, check=True)
    os.close(theirs)
    assert done.returncode == 0
    text = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if not piece:
            break
        text += piece
    os.close(ours)
    return text.decode().replace("\r", "")


def test_a_terminal_gets_the_same_table_with_colours():
    text = on_terminal()
    assert "\x1b[32mCOMPLETE\x1b[0m by receipts\n" in text
    assert "pod     state\npod-1   \x1b[32mARMED\x1b[0m\n[bold]  x\n" in text
    assert text.endswith("False\n")


def test_no_color_means_no_escape_sequence_of_colour():
    text = on_terminal(NO_COLOR="1")
    assert "COMPLETE by receipts" in text
    assert "[32m" not in text


def test_a_terminal_that_can_do_nothing_gets_plain_text():
    text = on_terminal(TERM="dumb")
    assert "\x1b" not in text
    assert text.endswith("False\n")


def test_brackets_are_text_and_no_markup():
    assert "[bold]" in on_terminal()


def test_elsewhere_a_table_is_aligned_text_and_rich_is_not_imported():
    env = {**os.environ, "TERM": "xterm"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", DRAW], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "COMPLETE by receipts\npod     state\npod-1   ARMED\n[bold]  x\nFalse\n"


def test_control_characters_in_cells_are_escaped(capsys):
    Output().table(["pod", "state"], ROWS)
    assert capsys.readouterr().out.splitlines()[2] == "a-long-name  [bold]\\x1b[2J"


def test_with_json_only_the_object_goes_to_stdout(capsys):
    out = Output(as_json=True)
    out.line("for people")
    out.table(["pod"], [["pod-1"]])
    out.note("still waiting")
    out.result({"a": 1})
    assert capsys.readouterr() == ('{"a":1}\n', "still waiting\n")


def test_without_json_the_object_is_not_printed(capsys):
    out = Output()
    out.result({"a": 1})
    out.line("done")
    assert capsys.readouterr() == ("done\n", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢 🙂", "plain é 漢 🙂"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("two\nlines\t", "two\\nlines\\t"),
        ("\x9b2J", "\\x9b2J"),
        ("right\u202eleft", "right\\u202eleft"),
        ("\ud800", "\\ud800"),
    ],
)
def test_everything_but_printable_characters_is_escaped(text, shown):
    assert printable(text) == shown


def test_a_process_without_stdout_still_ends_as_it_should(golive):
    done = subprocess.run(
        f"{sys.executable} -P -m golive_cli.main init >&-",
        shell=True,
        cwd=golive.folder,
        env=golive.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (golive.folder / "config" / "go_live.yaml").exists()
