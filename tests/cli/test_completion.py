"""Tab, as a shell presses it: the real program gets the real variables, with and without a server."""

from __future__ import annotations

import os
import pty
import select
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from golive_cli import completion
from golive_cli.app import COMMANDS
from golive_redis import Guard
from golive_redis.records.directive import Label
from golive_redis.testing.server import free_port

BREAKS = "=:"  # as COMP_WORDBREAKS of bash has them


def bash_words(line: str) -> list[str]:
    """A line as bash hands it over: broken at each of its breaks."""
    words = []
    for word in line.split(" "):
        part = ""
        for char in word:
            if char in BREAKS:
                words += [part] * bool(part) + [char]
                part = ""
            else:
                part += char
        words += [part] * (bool(part) or not word)
    return words


class Tab:
    """Presses Tab behind a line, in bash or in zsh."""

    def __init__(self, golive, url: str) -> None:
        self.golive = golive
        self.environ = {"GOLIVE_REDIS_URL": url}
        self.took_s = 0.0

    def __call__(self, line: str, *, shell: str = "bash", **environ: str) -> list[str]:
        words = bash_words(f"golive {line}")
        asked = (
            {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
            if shell == "bash"
            else {"_TYPER_COMPLETE_ARGS": f"golive {line}"}
        )
        begun = time.monotonic()
        done = self.golive(_GOLIVE_COMPLETE=f"complete_{shell}", **asked, **self.environ, **environ)
        self.took_s = time.monotonic() - begun
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout.split()


@pytest.fixture
def tab(made, server) -> Tab:
    """Presses Tab where a server is."""
    return Tab(made, server.url)


@pytest.fixture
def fleet(made, server, monkeypatch):
    """A worker that has asked about orders; returns when Redis knows of what."""
    monkeypatch.setenv("GOLIVE_REDIS_URL", server.url)
    path = made.folder / "config" / "go_live.yaml"
    with Guard.open(path, worker="pod-1", labels={"venue": "binance", "desk": "a b"}) as guard:
        guard.allows(symbol="BTC/USDT:USDT", account="$(touch${IFS}x)")
        guard.allows(symbol="ETHUSDT", strategy="mm")
        deadline = time.monotonic() + 30
        with server.client() as client:
            while b"ETHUSDT" not in (
                client.hget(f"golive:worker:pod-1:{guard.instance}", "stated") or b""
            ):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield guard


def test_commands_options_and_commands_of_help_are_completed(tab):
    assert sorted(tab("")) == sorted(COMMANDS)
    assert tab("rev") == ["revoke"]
    assert tab("help re") == [name for name in COMMANDS if name.startswith("re")]
    assert "--reason" in tab("halt --")


@pytest.mark.parametrize(
    "line", ["revoke ", "revoke --", "revoke --reason because --", "revoke --js"]
)
def test_the_options_of_revoke_are_completed_although_argparse_has_them(tab, line):
    found = tab(line)
    shown = tab.golive("revoke", "--help").stdout
    options = set(shlex.split(shown.replace("[", " ").replace("]", " ").partition("\n\n")[0]))
    options = {word for word in options if word.startswith("--")} | {"--help"}
    assert set(found) == ({"--json"} if line.endswith("--js") else options)


def test_profiles_are_those_of_the_configuration(tab):
    path = tab.golive.folder / "config" / "go_live.yaml"
    text = path.read_text()
    assert "\nallowed_profiles: [micro]" in text
    path.write_text(
        text.replace("\nallowed_profiles: [micro]", "\nallowed_profiles: [micro, small]")
    )
    for line in ("demote ", "activate --profile "):
        assert tab(line) == ["micro", "small"]
        assert tab(f"{line}sm") == ["small"]
        assert tab(line, GOLIVE_CONFIG="nowhere.yaml") == ["micro", "small", "medium", "large"]


def test_checks_and_heartbeats_are_those_of_configuration_and_keyset(tab):
    assert {"check_keys", "check_database_redis"} <= set(tab("preflight --only "))
    assert tab("heartbeat --name ") == ["hb-1"]
    assert tab("revoke --heartbeat-dead ") == ["hb-1"]
    assert tab("heartbeat --name x") == []


def test_another_configuration_on_the_line_is_the_one_that_counts(tab, tmp_path_factory):
    config = tab.golive.folder / "config"
    other = tab.golive.folder / "other"
    config.rename(other)
    assert tab("heartbeat --name ") == []
    assert tab("heartbeat --config other/go_live.yaml --name ") == ["hb-1"]
    assert tab("revoke --heartbeat-dead ") == []
    assert tab("revoke --config other/go_live.yaml --heartbeat-dead ") == ["hb-1"]


@pytest.mark.parametrize("command", ["halt", "reduce"])
def test_labels_are_those_that_workers_have_and_have_stated(tab, fleet, command):
    rest = ["account=", "client=", "desk="]
    known = ["strategy=mm", "symbol=BTC/USDT:USDT", "symbol=ETHUSDT", "venue=binance"]
    assert sorted(tab(f"{command} ")) == sorted([*known, "worker=pod-1", *rest])
    assert tab(f"{command} symbol=") == ["BTC/USDT:USDT", "ETHUSDT"]
    assert tab(f"{command} symbol=B") == ["BTC/USDT:USDT"]
    assert tab(f"{command} symbol=BTC/USDT:") == []
    assert tab(f"{command} symbol=BTC/USDT:US") == ["USDT"]
    assert tab(f"{command} venue=binance symbol=E") == ["ETHUSDT"]
    assert tab(f"{command} --reason r venue=binance sy") == [
        "symbol=BTC/USDT:USDT",
        "symbol=ETHUSDT",
    ]
    assert tab(f"{command} worker=") == ["pod-1"]
    assert "symbol=ETHUSDT" in tab(f"{command} symbol=E", shell="zsh")[-1]


def test_nothing_is_offered_that_a_shell_would_run_or_break(tab, fleet):
    for line in ("halt ", "halt account=", "halt desk="):
        assert not {char for word in tab(line) for char in word} & set("$(){}` ")


def test_a_label_without_a_value_is_never_the_only_offer(tab):
    assert tab("halt ") == [f"{name}=" for name in Label]
    assert tab("halt s") == ["strategy=", "symbol="]
    assert tab("halt sy") == []


def test_the_worker_and_the_heartbeat_of_an_attestation_are_those_on_the_rosters(
    tab, fleet, server
):
    with server.client() as client:
        client.hset("golive:heartbeats", "hb-old", "0" * 16)
    assert tab("revoke --worker-dead ") == ["pod-1"]
    assert tab("revoke --reason because --worker-dead po") == ["pod-1"]
    assert tab("revoke --worker-dead=po") == ["pod-1"]
    assert tab("workers forget ") == []
    with server.client() as client:
        client.zadd("golive:fleet", {f"pod-2:{'2' * 32}": 1})
    assert tab("workers forget ") == ["pod-2"], "who is silent"
    assert tab("revoke --heartbeat-dead ") == ["hb-1", "hb-old"]


def test_no_roster_puts_an_option_or_what_a_shell_expands_on_a_command_line(tab, fleet, server):
    """Row 94: whoever may register may plant any entry, and Tab would put it behind `revoke`."""
    planted = ("--config=/tmp/x.yaml", "-k/tmp/k.pem", "=ls", "%1", "~root", "a/b", "a@b")
    with server.client() as client:
        client.zadd("golive:fleet", {f"{word}:{'3' * 32}": 1 for word in planted})
        client.hset("golive:heartbeats", mapping=dict.fromkeys(planted, "3" * 32))
    assert tab("workers forget ") == []
    assert tab("revoke --worker-dead ") == ["pod-1"]
    assert tab("revoke --heartbeat-dead ") == ["hb-1"]
    assert completion._offered([*planted, "$(x)", "a"], "") == ["a", "a/b", "a@b"]


def test_what_resume_and_restore_complete_is_what_they_can_lift(tab, beating, fleet):
    path = tab.golive.folder / "config" / "go_live.yaml"
    path.write_text(
        path.read_text().replace("activation_enabled: false", "activation_enabled: true")
    )
    beating()
    for words in (
        ("activate", "--reason", "r", "--yes", "--wait", "0"),
        ("halt", "symbol=SOLUSDT", "--reason", "r"),
        ("reduce", "venue=kraken", "--reason", "r"),
    ):
        done = tab.golive(*words, **tab.environ)
        assert done.returncode in {0, 8}, done.stderr
    assert "symbol=SOLUSDT" in tab("resume ")
    assert tab("resume symbol=") == ["SOLUSDT"]
    assert tab("resume venue=") == []
    assert tab("restore venue=") == ["kraken"]


LINES = [
    "",
    "halt ",
    "halt symbol=",
    "resume ",
    "revoke --worker-dead ",
    "revoke --heartbeat-dead ",
    "activate --profile ",
    "preflight --only ",
]


@pytest.mark.parametrize("line", LINES)
def test_without_a_server_a_configuration_or_either_nothing_is_said(made, line):
    nowhere = Tab(made, f"redis://127.0.0.1:{free_port()}/0")
    nowhere(line)
    nowhere(line, GOLIVE_CONFIG="nowhere.yaml")
    assert made(_GOLIVE_COMPLETE="complete_bash").stderr == ""  # without a line
    (made.folder / "config" / "go_live.yaml").write_text("store: [")
    nowhere(line)


@pytest.mark.parametrize("line", ["halt symbol=", "revoke --worker-dead ", "restore "])
def test_a_server_that_does_not_answer_is_not_waited_for(made, line):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tab = Tab(made, f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        tab(line)
        slow = tab.took_s
    refusing = Tab(made, f"redis://127.0.0.1:{free_port()}/0")
    refusing(line)
    assert slow < refusing.took_s + completion.WITHIN_S + 1.0


def test_the_wait_has_a_bound_whatever_the_network_does(made, monkeypatch):
    hung = completion._loaded(made.folder / "config" / "go_live.yaml")
    begun = time.monotonic()
    assert completion._asked(hung, lambda _: time.sleep(30) or ["late"]) == []
    assert time.monotonic() - begun < completion.WITHIN_S + 2
    page = Path(__file__).parents[2] / "docs" / "reference" / "commands.md"
    assert f"at most {completion.WITHIN_S * 1000:.0f} ms" in page.read_text()


def test_completion_writes_nothing(tab, fleet):
    before = sorted(tab.golive.folder.rglob("*"))
    for line in LINES:
        tab(line)
    assert sorted(tab.golive.folder.rglob("*")) == before


TYPED = {
    "golive rev": "golive revoke ",
    "golive demote mi": "golive demote micro ",
    "golive halt sy": "golive halt symbol=BTC/USDT:USDT ",
    "golive halt symbol=": "golive halt symbol=BTC/USDT:USDT ",
    "golive halt symbol=BTC/USDT:U": "golive halt symbol=BTC/USDT:USDT ",
    "golive halt venue=binance wor": "golive halt venue=binance worker=pod-1 ",
    "golive revoke --worker-dead po": "golive revoke --worker-dead pod-1 ",
    "golive revoke --worker-dead=po": "golive revoke --worker-dead=pod-1 ",
}


class Bash:
    """An interactive bash on a terminal, with the script that `--show-completion` prints."""

    def __init__(self, tab: Tab) -> None:
        bin_folder = tab.golive.folder / "bin"
        bin_folder.mkdir()
        program = bin_folder / "golive"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m golive_cli.main "$@"\n')
        program.chmod(0o755)
        environ = {**tab.golive.environ, **tab.environ, "PS1": "> ", "TERM": "dumb"}
        environ |= {"PATH": f"{bin_folder}:{os.environ['PATH']}", "LC_ALL": "C"}
        shown = tab.golive(
            "--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
        )
        (tab.golive.folder / "golive.bash").write_text(shown.stdout)
        self._ours, theirs = pty.openpty()
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environ,
            cwd=tab.golive.folder,
            start_new_session=True,
        )
        os.close(theirs)
        self.type("source ./golive.bash; stty cols 200; echo rea''dy\n", "ready\r\n")

    def type(self, text: str, awaited: str) -> str:
        """Type, and return what is on the screen once the awaited text is there."""
        os.write(self._ours, text.encode())
        said, deadline = "", time.monotonic() + 60
        while awaited not in said:
            assert time.monotonic() < deadline, said
            if select.select([self._ours], [], [], 0.1)[0]:
                said += os.read(self._ours, 65536).decode()
        return said

    def close(self) -> None:
        self._bash.kill()
        self._bash.wait()
        os.close(self._ours)


def test_a_real_bash_has_on_its_line_what_was_meant(tab, fleet, server):
    with server.client() as client:  # one symbol, so that there is one way to go on
        key = f"golive:worker:pod-1:{fleet.instance}"
        client.hset(key, "stated", '{"symbol":["BTC/USDT:USDT"]}')
    bash = Bash(tab)
    try:
        for typed, meant in TYPED.items():
            assert meant in bash.type(f"{typed}\t", meant)
            bash.type("\x15echo do''ne\n", "done\r\n")
    finally:
        bash.close()
