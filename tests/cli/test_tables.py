"""Tables have the columns of --json and fit 80 columns, whoever is in them; nothing of a row is cut."""

from __future__ import annotations

import os
import pty
import re
import struct
import termios
import threading
import time
from fcntl import ioctl

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive_cli import fleetboard, results
from golive_cli.output import Output, Painted, laid_out
from golive_redis import Guard
from golive_redis.operator.fleet import HeartbeatStatus, WorkerStatus
from kit import zygote

HEARTBEAT = "heartbeat-eu-central-1a-000001"
WORKERS = [
    "trader-binance-7c9d8b6f5-x2x4q",
    "trader-binance-7c9d8b6f5-zz9ab",
    "worker-of-24-characters-",
]
WIDTH = 80
HEADS = {"worker": "id", "heartbeat": "name", "principal": "name"}
# What each command says in a table is this in its object.
SHAPES = {
    "status": [HeartbeatStatus, WorkerStatus],
    "workers": [WorkerStatus],
    "watch": [HeartbeatStatus, WorkerStatus],
    "activate": [results.Armed],
    "halt": [results.Applied],
    "reduce": [results.Applied],
    "demote": [results.Applied],
    "revoke": [results.RevokedHeartbeat, results.RevokedWorker],
    "keys": [results.Principal],
}
# Of what is in a list of its own, or has another name there.
INNER = {"keyid", "private"}


def text(line) -> str:
    return "".join(piece.text if isinstance(piece, Painted) else piece for piece in line)


def shown(headers, rows, width=WIDTH) -> list[str]:
    return [text(line) for line in laid_out(headers, rows, width)]


def row(name, reason="", permits="12"):
    return [name, "3f2a1b", Painted("armed", "green"), "7", "0", permits, "345", reason]


def test_a_table_that_fits_is_aligned_columns():
    assert shown(["worker", "state"], [["pod-1", "armed"], ["pod-22", ""]]) == [
        "worker  state",
        "pod-1   armed",
        "pod-22",
    ]


def test_a_name_that_is_too_long_stands_above_its_row():
    lines = shown(fleetboard.WORKER_HEADERS, [row(WORKERS[0]), row("pod-1", "no beat")])
    assert lines == [
        "worker  instance  state  term  in flight  permits  skipped  reason",
        "trader-binance-7c9d8b6f5-x2x4q",
        "        3f2a1b    armed  7     0          12       345",
        "pod-1   3f2a1b    armed  7     0          12       345      no beat",
    ]


def test_a_sentence_that_is_too_long_is_wrapped_or_below_its_row():
    reason = "not heard for 4.2 s; armed for term 7 before that"
    lines = shown(fleetboard.WORKER_HEADERS, [row(WORKERS[2], reason), row("pod-1")])
    assert max(map(len, lines)) <= WIDTH
    assert reason in " ".join(" ".join(lines).split())
    heads = ["heartbeat", "state", "reason"]
    assert shown(heads, [["hb-1", "silent", "one two three four five"]], 36) == [
        "heartbeat  state   reason",
        "hb-1       silent  one two three",
        "                   four five",
    ]


def test_without_a_width_each_row_is_one_line_for_programs():
    rows = [row(name, "a reason " * 20) for name in WORKERS]
    assert len(laid_out(fleetboard.WORKER_HEADERS, rows, None)) == len(rows) + 1


def test_a_pipe_has_a_line_for_each_row_and_columns_decides_where_it_is_set(monkeypatch, capsys):
    rows = [row(WORKERS[0], "a reason " * 20)]
    for columns, lines in (("", 2), ("0", 2), ("wide", 2), ("80", None)):
        monkeypatch.setenv("COLUMNS", columns)
        Output().table(fleetboard.WORKER_HEADERS, rows)
        said = capsys.readouterr().out.splitlines()
        assert len(said) == lines or (lines is None and max(map(len, said)) <= WIDTH)


NAMES = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,62}", fullmatch=True)
REASONS = st.lists(st.from_regex(r"[a-z]{1,14}", fullmatch=True), max_size=20).map(" ".join)


@given(st.lists(st.tuples(NAMES, REASONS, st.integers(0, 10**9)), min_size=1, max_size=6))
def test_no_line_is_longer_than_the_screen_and_no_word_is_lost(pods):
    rows = [row(name, reason, str(permits)) for name, reason, permits in pods]
    lines = shown(fleetboard.WORKER_HEADERS, rows)
    assert max(map(len, lines)) <= WIDTH
    said = " ".join(lines).split()
    for name, reason, permits in pods:
        assert {name, *reason.split(), str(permits)} <= set(said)


def test_names_on_a_screen_differ_as_they_do():
    short = fleetboard.shortened([*WORKERS, "pod-1"])
    assert len(set(short)) == len(short)
    assert short[0] == "trader-b...9d8b6f5-x2x4q"
    same = ["aaaaaaaa-1-aaaaaaaaaaaaaaaaaaaaa", "aaaaaaaa-2-aaaaaaaaaaaaaaaaaaaaa"]
    assert fleetboard.shortened(same) == same


class Screen:
    """Runs a command on a terminal of 80 columns, and in a pipe that $COLUMNS says as much of."""

    def __init__(self, golive, **environ: str) -> None:
        self.golive = golive
        self.environ = {**golive.environ, **environ, "TERM": "xterm", "NO_COLOR": "1"}
        self.environ.pop("COLUMNS", None)

    def terminal(self, *words: str) -> list[str]:
        ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
        said: list[bytes] = []

        def read() -> None:
            try:
                while piece := os.read(ours, 65536):
                    said.append(piece)
            except OSError:  # Linux: the other end is closed
                return

        reading = threading.Thread(target=read)
        reading.start()
        zygote.run(
            "golive_cli.main:main",
            *words,
            cwd=self.golive.folder,
            env=self.environ,
            stdout=theirs,
            text=True,
            timeout=120,
        )
        os.close(theirs)
        reading.join()
        os.close(ours)
        return b"".join(said).decode().replace("\r", "").splitlines()

    def pipe(self, *words: str) -> list[str]:
        return self.golive(*words, **{**self.environ, "COLUMNS": str(WIDTH)}).stdout.splitlines()


@pytest.fixture
def screen(golive, server, monkeypatch):
    """A fleet with the names that Kubernetes gives."""
    assert golive("init", "--operator", "alice", "--heartbeat", HEARTBEAT).returncode == 0
    config = golive.folder / "config" / "go_live.yaml"
    text = config.read_text().replace("activation_enabled: false", "activation_enabled: true")
    text = text.replace("allowed_profiles: [micro]", "allowed_profiles: [micro, small]")
    config.write_text(text)
    monkeypatch.setenv("GOLIVE_REDIS_URL", server.url)
    beating = golive.start("heartbeat", "--name", HEARTBEAT, GOLIVE_REDIS_URL=server.url)
    guards = [Guard.open(config, worker=name) for name in WORKERS]
    try:
        deadline = time.monotonic() + 60
        with server.client() as client:
            while client.zcard("golive:fleet") < len(WORKERS) or not client.hlen(
                "golive:heartbeats"
            ):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        for guard in guards:
            guard.allows(symbol="BTC/USDT:USDT", venue="binance-perpetual-futures")
        yield Screen(golive, GOLIVE_REDIS_URL=server.url)
    finally:
        for guard in guards:
            guard.close()
        beating.kill()
        beating.communicate()


def tables(lines: list[str]) -> dict[tuple[str, ...], list[str]]:
    """The tables among lines, by their headers; a line of a table has two blanks between columns."""
    found: dict[tuple[str, ...], list[str]] = {}
    for line in lines:
        if re.match(rf"({'|'.join(HEADS)})  +\S", line):
            rows = found[tuple(re.split("  +", line.strip()))] = [line]
        elif found and ("  " in line or line in (*WORKERS, HEARTBEAT)):
            rows.append(line)
    return found


def check(command: str, lines: list[str]) -> None:
    found = tables(lines)
    assert found or command in {"preflight", "doctor"}, lines
    for headers, rows in found.items():
        assert max(map(len, rows)) <= WIDTH, rows
        expected = {"worker": WORKERS, "heartbeat": [HEARTBEAT]}.get(headers[0], [HEARTBEAT])
        body = " ".join(rows).split()
        assert set(expected) <= set(body), rows
        fields = {
            name.removesuffix("_ms").replace("_", " ")
            for shape in SHAPES[command]
            for name in [field.name for field in msgspec.structs.fields(shape)]
        }
        fields |= INNER if command == "keys" else set()
        named = {HEADS.get(name, name) for name in headers}
        assert named <= fields, (command, named - fields)


@pytest.mark.parametrize("how", ["terminal", "pipe"])
def test_every_command_fits_eighty_columns_and_names_everybody_in_full(screen, how):
    run = getattr(screen, how)
    for line in (
        "keys list",
        "preflight",
        "activate --profile small --reason r --yes --wait 20",
        "status",
        "workers",
        "halt symbol=BTC/USDT:USDT --reason r --dry-run",
        "halt symbol=BTC/USDT:USDT venue=binance-perpetual-futures --reason r",
        "reduce --reason r",
        "status",
        "demote micro --reason r",
        "doctor",
        "revoke --reason r",
        "status",
        "workers",
    ):
        check(line.split()[0], run(*line.split()))


def test_the_screen_of_watch_tells_its_workers_apart():
    found = [
        WorkerStatus(
            name, "ab" * 16, True, "armed", "", 1, 0, 9, 9, "yes", {}, "1", "h", 1, 9, [], "own"
        )
        for name in WORKERS
    ]
    rows = fleetboard._tabled(fleetboard.WORKER_HEADERS, fleetboard.worker_rows(found))
    assert len({text(line)[:26] for line in rows}) == len(found) + 1
    lines = fleetboard._cut(rows[1], WIDTH)
    assert len(text(lines)) <= WIDTH
