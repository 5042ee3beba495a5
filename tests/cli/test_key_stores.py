"""Keys on the command line: from an agent, a descriptor or a terminal, and never to be seen."""

from __future__ import annotations

import base64
import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from golive_cli.exits import Exit
from golive_redis.config import keyfile
from kit.keystores import RealAgent, running_agent, script

GOLIVE = [sys.executable, "-P", "-c", "from golive_cli.main import main; raise SystemExit(main())"]
WORD = "correct-horse-4711"
PATIENCE_S = 60.0


@pytest.fixture
def agent(wait_for: Callable[..., None]) -> Iterator[RealAgent]:
    with running_agent(wait_for) as agent:
        yield agent


def key_file(made: Any, name: str = "alice") -> Path:
    return made.folder / "config" / "keys" / f"{name}.pem"


def use(made: Any, **keys: str) -> None:
    """Write other settings under `keys`."""
    path = made.folder / "config" / "go_live.yaml"
    text = path.read_text()
    for name, setting in keys.items():
        text, count = re.subn(rf"(?m)^(\s+{name}:) .*$", rf'\1 "{setting}"', text)
        assert count == 1, name
    path.write_text(text)


# -- keys show -------------------------------------------------------------------------------------


def test_show_prints_what_the_agent_holds_as_lines_for_the_keyset(made, agent):
    agent.add("of alice", keyfile.read(key_file(made), {}))
    stranger = keyfile.generate()
    agent.add("a stranger's", stranger)
    result = made.json("keys", "show", "agent:", **agent.environ)
    found = {key["label"]: key for key in result["more"]}
    found["first"] = result
    assert sorted(str(key["principal"]) for key in found.values()) == ["None", "alice"]
    public = base64.b64encode(stranger.public_key().public_bytes_raw()).decode()
    assert f"ed25519:{public}" in {key["public"] for key in found.values()}
    text = made("keys", "show", "agent:", **agent.environ).stdout
    assert f"public     ed25519:{public}\n" in text and "label      of alice\n" in text
    assert "principal  alice (approver)\n" in text and "principal  none: not in the keyset" in text


def test_show_takes_the_public_file_that_somebody_sent(made, tmp_path):
    path = tmp_path / "id"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bob@laptop", "-f", path],
        check=True,
        timeout=60,
    )
    shown = made.json("keys", "show", str(path.with_suffix(".pub")))
    assert shown == {**made.json("keys", "show", str(path)), "file": str(path.with_suffix(".pub"))}
    assert shown["principal"] is None


def test_show_says_why_a_program_and_an_absent_agent_show_nothing(made):
    assert made("keys", "show", "exec:alice:sign").returncode == Exit.USAGE
    done = made("keys", "show", "agent:", SSH_AUTH_SOCK="")
    assert done.returncode == Exit.CONFIG
    assert "SSH_AUTH_SOCK is not set" in done.stderr


def test_list_says_that_the_agent_has_the_key(made, agent):
    agent.add("a", keyfile.read(key_file(made), {}))
    use(made, operator="agent:")
    result = made.json("keys", "list", **agent.environ)
    assert next((k["setting"], k["file"], k["principal"]) for k in result["private"]) == (
        "operator",
        "agent:",
        "alice",
    )
    gone = made.json("keys", "list", SSH_AUTH_SOCK="")["private"][0]
    assert "there is no ssh-agent" in gone["problem"]


def test_a_new_key_gets_the_passphrase_of_its_own_name(made):
    words = {"GOLIVE_KEY_PASSPHRASE_HB_2": WORD, "GOLIVE_KEY_PASSPHRASE": "another"}
    made("keys", "new", "hb-2", "--role", "heartbeat", **words)
    path = str(key_file(made, "hb-2"))
    shown = made("keys", "show", path, GOLIVE_KEY_PASSPHRASE_HB_2=WORD)
    assert shown.returncode == 0, shown.stderr
    assert made("keys", "show", path, GOLIVE_KEY_PASSPHRASE="another").returncode == Exit.CONFIG


# -- a stop ----------------------------------------------------------------------------------------


def test_revoke_signs_with_the_key_in_the_agent(made, agent, server, beating):
    beating()
    agent.add("a", keyfile.read(key_file(made), {}))
    use(made, operator="agent:")
    key_file(made).unlink()
    environ = {"GOLIVE_REDIS_URL": server.url, **agent.environ}
    result = made.json("revoke", "--reason", "r", "--wait", "2", code=3, **environ)
    assert (result["epoch"], result["ledger"]) == (1, "written"), result
    assert result["heartbeats"][0]["latched_ms"] is not None, "it verified the signature"


def test_revoke_says_on_the_screen_that_it_is_off_without_a_signature(made, server):
    script(made.folder / "config" / "sign", "time.sleep(2)\nsys.exit(1)")
    with server.client() as client:
        client.hset("golive:active", "term", "1")
        done = made(
            *("revoke", "--reason", "r", "--key", "exec:alice:./sign"),
            GOLIVE_REDIS_URL=server.url,
        )
        assert not client.exists("golive:active")
    assert done.returncode == Exit.NOT_CONFIRMED
    said = done.stderr
    assert "the key has not signed yet; turning off without a signature meanwhile" in said
    assert re.search(r"the key is gone after \d+ ms, without a signature", said)
    assert "the stop is not signed: the program ./sign exited 1" in said
    assert "Nothing could be signed, so no pod can answer." in done.stdout


# -- descriptors and terminals ---------------------------------------------------------------------


def run_with(descriptors: dict[str, bytes], made: Any, *words: str, **environ: str) -> Any:
    """Run the program with each variable naming a pipe that holds those bytes."""
    numbers = {}
    for name, content in descriptors.items():
        out, into = os.pipe()
        os.write(into, content)
        os.close(into)
        numbers[name] = out
    try:
        return subprocess.run(
            [*GOLIVE, *words],
            cwd=made.folder,
            env={**made.environ, **environ, **{k: str(v) for k, v in numbers.items()}},
            pass_fds=tuple(numbers.values()),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    finally:
        for number in numbers.values():
            os.close(number)


def test_a_key_and_its_passphrase_come_through_descriptors(made, server):
    private = keyfile.read(key_file(made), {})
    key_file(made).unlink()
    given = {
        "GOLIVE_KEY_FD": keyfile.to_pem(private, WORD),
        "GOLIVE_KEY_PASSPHRASE_FD": f"{WORD}\n".encode(),
    }
    words = ("revoke", "--reason", "r", "--wait", "0")
    done = run_with(given, made, *words, GOLIVE_REDIS_URL=server.url)
    assert "no usable key" not in done.stderr, done.stderr
    with server.client() as client:
        assert client.exists("golive:revoked")
    assert WORD not in done.stdout + done.stderr
    wrong = {**given, "GOLIVE_KEY_PASSPHRASE_FD": b"wrong"}
    done = run_with(wrong, made, *words, GOLIVE_REDIS_URL=server.url)
    assert "tried what came from $GOLIVE_KEY_PASSPHRASE_FD" in done.stderr


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("99", "descriptor 99: Bad file descriptor"),
        ("0", "GOLIVE_KEY_FD is '0', and must be the number"),
        ("x", "GOLIVE_KEY_FD is 'x', and must be the number"),
    ],
)
def test_a_descriptor_that_is_none_is_said_so(made, server, value, says):
    environ = {"GOLIVE_KEY_FD": value, "GOLIVE_REDIS_URL": server.url}
    done = made("preflight", "--out", "r.json", **environ)
    assert done.returncode == Exit.CONFIG and says in done.stderr, done.stderr


def test_an_empty_pipe_is_said_so(made):
    done = run_with({"GOLIVE_KEY_FD": b""}, made, "preflight", "--out", "r.json")
    assert done.returncode in {Exit.CONFIG, Exit.STORE}


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, made: Any, *words: str, **environ: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*GOLIVE, *words],
            cwd=made.folder,
            env={**made.environ, "TERM": "dumb", **environ},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def until(self, text: str) -> None:
        """Read until the screen shows it."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if not select.select([self._ours], [], [], 1.0)[0]:
                continue
            self._read()

    def _read(self) -> None:
        try:
            self.seen += os.read(self._ours, 65_536).decode(errors="replace")
        except OSError as error:  # nobody writes there any more
            raise AssertionError(self.seen) from error

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> int:
        with contextlib.suppress(AssertionError):
            while True:
                self._read()
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(made) -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def start(*words: str, **environ: str) -> Terminal:
        started.append(Terminal(made, *words, **environ))
        return started[-1]

    yield start
    for item in started:
        item.close()


def locked(made: Any) -> Path:
    """Encrypt the operator's key file."""
    path = key_file(made)
    private = keyfile.read(path, {})
    path.unlink()
    keyfile.write(path, private, WORD)
    return path


def test_a_terminal_is_asked_for_the_passphrase_of_a_file_and_does_not_show_it(made, terminal):
    path = locked(made)
    screen = terminal("keys", "show", str(path))
    screen.until(f"passphrase of key file {path}: ")
    screen.type(f"{WORD}\n")
    assert screen.end() == 0, screen.seen
    assert "principal  alice (approver)" in screen.seen
    assert WORD not in screen.seen


def test_nobody_is_asked_where_there_is_no_terminal(made):
    done = made("keys", "show", str(locked(made)))
    assert done.returncode == Exit.CONFIG
    assert "needs a passphrase" in done.stderr and "passphrase of" not in done.stderr


def test_a_stop_waits_for_no_passphrase_and_is_signed_when_it_is_typed(
    made, terminal, server, beating, wait_for
):
    beating()
    path = locked(made)
    with server.client() as client:
        client.hset("golive:active", "term", "1")
        screen = terminal("revoke", "--reason", "r", GOLIVE_REDIS_URL=server.url)
        screen.until(f"passphrase of key file {path}: ")
        screen.until("without a signature; the signed stop follows")
        assert not client.exists("golive:active", "golive:revoked")
        screen.type(f"{WORD}\n")
        assert screen.end() == Exit.NOT_DRAINED, screen.seen  # without workers nobody has drained
        assert client.exists("golive:revoked")
    assert re.search(r"hb-1 +\d+ ms +yes", screen.seen), "its receipt came with the signed stop"
    assert "by time, epoch 1, audit entry written" in screen.seen and WORD not in screen.seen


def test_the_terminal_shows_again_what_is_typed_after_an_interrupt(made, terminal, server):
    locked(made)
    screen = terminal("revoke", "--reason", "r", GOLIVE_REDIS_URL=server.url)
    screen.until("passphrase of key file")
    echo = termios.tcgetattr(screen._ours)[3] & termios.ECHO
    assert not echo
    screen.process.send_signal(signal.SIGINT)
    screen.process.wait(PATIENCE_S)
    assert termios.tcgetattr(screen._ours)[3] & termios.ECHO


# -- what nobody may see ---------------------------------------------------------------------------


def limits(pid: int) -> str:
    return Path(f"/proc/{pid}/limits").read_text()


def test_a_heartbeat_that_holds_a_key_leaves_no_core_and_shows_it_nowhere(made, server, wait_for):
    """Everything that another process of this host, or a reader of its output, could look at."""
    private = keyfile.read(key_file(made, "hb-1"), {})
    key_file(made, "hb-1").unlink()
    pem = keyfile.to_pem(private, WORD)
    out, into = os.pipe()
    os.write(into, pem)
    os.close(into)
    log = made.folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*GOLIVE, "heartbeat", "--name", "hb-1"],
            cwd=made.folder,
            env={
                **made.environ,
                "GOLIVE_REDIS_URL": server.url,
                "GOLIVE_KEY_FD": str(out),
                "GOLIVE_KEY_PASSPHRASE_HB_1": WORD,
            },
            pass_fds=(out,),
            stdout=file,
            stderr=file,
        )
    os.close(out)
    try:
        wait_for(lambda: "nothing is active" in log.read_text(), what="its first reading")
        process.send_signal(signal.SIGHUP)  # it opens its key once more: the pipe is empty
        wait_for(lambda: "reloaded: " in log.read_text(), what="its answer to SIGHUP")
        folder = Path(f"/proc/{process.pid}")
        assert re.search(r"Max core file size +0 ", limits(process.pid))
        seen = (folder / "cmdline").read_bytes() + (folder / "comm").read_bytes()
        body = pem.splitlines()[1]
        assert body not in (folder / "environ").read_bytes()
        with server.client() as client:
            for key in client.scan_iter():
                seen += client.dump(key) or b""
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
    seen += log.read_bytes()
    for path in made.folder.rglob("*"):
        if path.is_file() and path.suffix != ".pem":
            seen += path.read_bytes()
    raw = private.private_bytes_raw()
    for secret in (body, raw, raw.hex().encode(), base64.b64encode(raw), WORD.encode()):
        assert secret not in seen


def test_doctor_warns_of_a_key_in_the_environment_and_not_of_one_in_a_descriptor(made, server):
    pem = key_file(made).read_text()
    result = made.json("doctor", GOLIVE_KEY=pem, GOLIVE_REDIS_URL=server.url)
    (keys,) = [item for item in result["findings"] if item["check"] == "check_keys"]
    assert keys["outcome"] == "pass" and keys["warning"]
    assert "/proc/PID/environ" in keys["explain"] and "GOLIVE_KEY_FD" in keys["explain"]
    done = run_with({"GOLIVE_KEY_FD": pem.encode()}, made, "doctor", GOLIVE_REDIS_URL=server.url)
    assert "/proc/PID/environ" not in done.stdout
