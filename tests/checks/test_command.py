"""The `command` and `python` sources: real programs, and how they are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from golive_redis import programs
from golive_redis.checks.source import UnansweredError
from golive_redis.checks.sources import command
from golive_redis.records.report import Outcome

PATIENCE_S = 60  # what would hang does so for minutes

Asking = Any

FUNCTIONS = """
import ctypes, datetime, os, sys, time

def state(desk="none", **more):
    print("not a part of the answer")
    return {"desk": desk, **more}

def at():
    return datetime.datetime.now(datetime.timezone.utc)

def naive():
    return datetime.datetime(2026, 1, 1)

def thing():
    return object()

def wrong():
    raise RuntimeError("the desk is closed; key " + os.environ["DESK_TOKEN"])

def leave():
    sys.exit(0)

def hang():
    # sleep() of the C library, called so that the interpreter's lock stays held
    ctypes.PyDLL(None).sleep(600)

def keys():
    return [name for name in os.environ if name.startswith("GOLIVE_KEY")]
"""


def sh(script: str, **more: Any) -> dict[str, Any]:
    return {"argv": ["sh", "-c", script], **more}


def test_the_exit_code_is_the_value(asking: Asking) -> None:
    assert asking.value(command=sh("exit 3"), equals=0) == 3
    found = asking.finding({"command": sh("echo why >&2; exit 3"), "equals": 0})
    assert found.outcome is Outcome.FAIL
    assert found.facts == {"command": "sh", "exit": "3", "stderr": "why"}


def test_what_it_prints_is_the_value_when_it_exits_0(asking: Asking) -> None:
    assert asking.value(command=sh("echo ' OK '", stdout=True), equals="OK") == " OK "
    script = """echo '{"a": [1, {"b": 2.5}]}'"""
    assert asking.value(command=sh(script, json="/a/1/b"), equals=1) == 2.5
    for source in (sh("echo OK; exit 1", stdout=True), sh("echo 1; exit 1", json="")):
        with pytest.raises(UnansweredError, match="exited 1"):
            asking.value(command=source, equals="OK")
    for script, says in {"printf '{'": "not complete JSON", r"printf '\377'": "not UTF-8"}.items():
        with pytest.raises(UnansweredError, match=says):
            asking.value(command=sh(script, json=""), equals=1)


def test_what_a_program_complains_of_is_told_without_secrets(asking: Asking) -> None:
    asking.environ["DESK_TOKEN"] = "t0ken-" * 50
    script = "printf '%s' because; echo \" $DESK_TOKEN\" >&2; exit 1"
    found = asking.finding(
        {"command": sh(script), "equals": 0}, {"command": sh(script), "empty": True}
    )
    assert "t0ken" not in repr(found)
    found = asking.finding({"command": sh(script, stdout=True), "equals": "x"})
    assert found.explain == "sh exited 1: ***"
    found = asking.finding({"command": sh("echo $DESK_TOKEN", stdout=True), "equals": "x"})
    assert (found.value, found.explain) == ("***", "***, wanted x")


def test_there_is_no_shell_and_it_runs_beside_the_configuration(asking: Asking) -> None:
    source = {"argv": ["echo", "$HOME;", "*"], "stdout": True}
    assert asking.value(command=source, equals=1) == "$HOME; *"
    program = asking.folder / "check.sh"
    program.write_text("#!/bin/sh\npwd -P\n")
    program.chmod(0o755)
    source = {"argv": ["./check.sh"], "stdout": True}
    assert asking.value(command=source, equals=1) == os.path.realpath(asking.folder)


def test_it_reads_nothing_and_the_operators_key_is_withheld(asking: Asking) -> None:
    asking.environ |= {"GOLIVE_KEY": "pem", "GOLIVE_KEY_PASSPHRASE": "word", "DESK": "fx"}
    source = sh("cat; echo $DESK $GOLIVE_KEY $GOLIVE_KEY_PASSPHRASE", stdout=True)
    assert asking.value(command=source, equals=1) == "fx"


def test_what_cannot_be_started_or_dies_is_unknown(asking: Asking) -> None:
    (asking.folder / "plain").write_text("x")
    for source, says in (
        ({"argv": ["no-such-program"]}, "cannot be started: No such file"),
        ({"argv": ["./plain"]}, "cannot be started: Permission denied"),
        ({"argv": ["a\0b"]}, "cannot be started"),
        (sh("kill -9 $$"), "killed by SIGKILL"),
        (sh("kill -SEGV $$"), "killed by SIGSEGV"),
    ):
        with pytest.raises(UnansweredError, match=says):
            asking.value(command=source, equals=0)


@pytest.fixture
def sigchld_ignored() -> Iterator[None]:
    """As a supervisor may have left it: the kernel then keeps no exit status for anybody."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.usefixtures("sigchld_ignored")
def test_an_exit_status_that_nobody_could_collect_is_unknown(asking: Asking) -> None:
    """Row 79: subprocess says 0 then, and a failing command would pass."""
    for source in (sh("exit 3"), sh("exit 0"), sh("echo 0", stdout=True)):
        with pytest.raises(UnansweredError, match=r"sh ended, and how is not known.*SIGCHLD"):
            asking.value(command=source, equals=0)
        assert asking.finding({"command": source, "equals": 0}).outcome is Outcome.UNKNOWN


def test_a_flood_is_ended(asking: Asking) -> None:
    began = time.monotonic()
    for script in ("yes", "yes >&2"):
        found = asking.finding({"command": sh(script, stdout=True), "equals": 1, "deadline": "2s"})
        assert found.outcome is Outcome.UNKNOWN
    assert time.monotonic() - began < PATIENCE_S


@pytest.mark.parametrize("how", ["waits", "ignores", "leaves", "closes"])
def test_a_command_that_overruns_is_killed_with_its_children(asking: Asking, how: str) -> None:
    """Row 49: whether it waits for its child, ignores signals, leaves it behind, or says no more."""
    script = {
        "waits": "sleep 600 & echo $! > child; wait",
        "ignores": "trap '' TERM INT HUP; (trap '' TERM; sleep 600) & echo $! > child; wait",
        "leaves": "sleep 600 & echo $! > child; exit 0",
        "closes": "exec >&- 2>&-; sleep 600 & echo $! > child; wait",
    }[how]
    for deadline in ("500ms", "5s", "30s"):  # the script needs a turn before it is killed
        found = asking.finding({"command": sh(script), "equals": 0, "deadline": deadline})
        assert found.outcome is Outcome.UNKNOWN, found
        if (asking.folder / "child").exists() and (asking.folder / "child").read_text():
            break
    child = int((asking.folder / "child").read_text())
    assert gone(child), f"{child} is still there"


def gone(pid: int) -> bool:
    """Wait until a process is no more, or a zombie that nobody has buried."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return False


def test_what_an_ended_command_leaves_behind_is_ended(asking: Asking) -> None:
    script = "sleep 600 >/dev/null 2>&1 & echo $!"
    pid = asking.value(command=sh(script, stdout=True), equals=0)
    assert gone(int(str(pid)))


INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
from golive_redis.checks.ask import finding
from golive_redis.checks.source import Surroundings
from golive_redis.checks.question import CommandSource, Question
from golive_redis.store.connect import Address

def interrupt():
    while not os.path.exists("child"):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
script = "sleep 600 & echo $! > child.tmp; mv child.tmp child; wait"
source = CommandSource(argv=["sh", "-c", script])
where = Surroundings(Path("."), dict(os.environ), Address("redis://127.0.0.1:1"))
finding("x", [Question(command=source, equals=0, deadline="60s")], where)
"""


def test_an_operator_who_presses_ctrl_c_leaves_no_command_behind(asking: Asking) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", INTERRUPTED],
        cwd=asking.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "KeyboardInterrupt" in done.stderr
    assert gone(int((asking.folder / "child").read_text()))


# -- python ----------------------------------------------------------------------------------------


@pytest.fixture
def own(asking: Asking) -> Asking:
    """A package of a firm, installed as packages are, with functions under `golive.checks`."""
    about = asking.folder / "firm-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: firm\nVersion: 1.0\n")
    names = ("state", "at", "naive", "thing", "wrong", "leave", "hang", "keys", "missing")
    points = "".join(f"{name} = firm_checks:{name}\n" for name in names)
    (about / "entry_points.txt").write_text(f"[golive.checks]\n{points}")
    (asking.folder / "firm_checks.py").write_text(FUNCTIONS)
    asking.environ |= {"PYTHONPATH": str(asking.folder), "DESK_TOKEN": "t0ken-value"}
    return asking


def test_a_function_of_a_firms_own_gets_its_arguments(own: Asking) -> None:
    source = {"name": "state", "arguments": {"desk": "fx", "n": 1, "on": True, "x": 0.5}}
    assert own.value(python=source, empty=False) == source["arguments"]
    found = own.finding({"python": {"name": "state"}, "empty": False})
    assert found.outcome is Outcome.PASS
    assert found.facts == {"python": "firm_checks:state"}


def test_a_time_that_a_function_returns(own: Asking) -> None:
    assert own.finding({"python": {"name": "at"}, "newer_than": "1m"}).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("none", "0 entry points of golive.checks are named none; there are: at, hang"),
        ("missing", "AttributeError"),
        ("naive", "returned no value: datetime cannot be written as JSON"),
        ("thing", "returned no value: object cannot be written as JSON"),
        ("wrong", "RuntimeError: the desk is closed; key ***"),
        ("leave", "is not complete JSON"),
    ],
)
def test_a_function_that_brings_no_value_is_unknown(own: Asking, name: str, says: str) -> None:
    found = own.finding({"python": {"name": name}, "equals": 1})
    assert found.outcome is Outcome.UNKNOWN
    assert says in found.explain
    assert "t0ken" not in repr(found)


def test_a_function_does_not_get_the_operators_key(own: Asking) -> None:
    own.environ |= {"GOLIVE_KEY": "pem", "GOLIVE_KEY_PASSPHRASE": "word"}
    assert own.value(python={"name": "keys"}, empty=True) == []


def test_a_function_that_hangs_in_c_and_holds_the_interpreters_lock_stops_nobody(
    own: Asking,
) -> None:
    """Row 49: nothing can end a thread that does so; a process can be killed."""
    began = time.monotonic()
    question = {"python": {"name": "hang"}, "equals": 1, "deadline": "1500ms"}
    found = own.finding(question, {"command": sh("exit 0"), "equals": 0})
    assert found.outcome is Outcome.UNKNOWN
    assert found.explain.startswith(f"1 python: {sys.executable} has not answered within")
    assert found.facts["2 command"].startswith("0, wanted equals 0")
    assert time.monotonic() - began < PATIENCE_S


class _Lock:
    """A lock that says when somebody begins to wait for it with a bound."""

    def __init__(self) -> None:
        self._lock, self.waited_for = threading.Lock(), threading.Event()

    def acquire(self, *, timeout: float) -> bool:
        self.waited_for.set()
        return self._lock.acquire(timeout=timeout)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_a_program_that_is_being_started_at_the_end_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in between: started, and not yet on the list of those to be ended."""
    start, started, go_on = programs._start, threading.Event(), threading.Event()
    made: list[subprocess.Popen[bytes]] = []

    def slow(*args: Any) -> subprocess.Popen[bytes]:
        made.append(start(*args))
        started.set()
        assert go_on.wait(PATIENCE_S)
        return made[0]

    monkeypatch.setattr(programs, "_start", slow)
    starting = _Lock()
    monkeypatch.setattr(programs, "_starting", starting)
    where: Any = SimpleNamespace(folder=tmp_path, environ=dict(os.environ))

    def ask() -> None:
        with suppress(UnansweredError):
            command.run(["sleep", "600"], where, 600_000)

    asking, ending = threading.Thread(target=ask), threading.Thread(target=programs._end_all)
    asking.start()
    assert started.wait(PATIENCE_S)
    try:
        ending.start()
        while ending.is_alive() and not starting.waited_for.is_set():
            ending.join(0.01)
        go_on.set()
        ending.join(PATIENCE_S)
        asking.join(PATIENCE_S)  # it ends when its program does
        assert not asking.is_alive()
    finally:
        made[0].kill()
        asking.join(PATIENCE_S)
