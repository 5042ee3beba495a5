"""A shell in which the documents are typed, with `golive` on its path."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from golive_redis.testing.server import EmbeddedServer, find_binary, free_port
from kit import zygote

from .pages import Step, fits, same

PORT = "6379"  # as the pages write it
HOME = "/home/alice"
COMMAND_S = 300.0
# What only looks is asked again until it shows what the page shows: it may be a moment too early.
LOOKS = re.compile(r"(sleep \d+; )?(golive (status|workers|doctor|preflight)|tail|cat|grep)\b")
PATIENCE_S = 120.0
# Whoever reads a page is done long before a term runs out without a beat; a busy machine need not be.
TTL_MS = 24_000
QUESTION = re.compile(r"Type (\S+) to go on: ")
# What bash says of a job that was killed, where no terminal is; and what a stop says on its way when
# a machine is too busy to answer in 250 ms.
NOISE = re.compile(
    r"^\S*bash: line \d+: .*(Killed|Terminated) .*\n?"
    r"|^cannot reach Redis: Timeout (reading from|connecting to).*\n?"
    # What a stop waits for is said from its first second on, and in which second that is varies.
    r"|^waiting for .* more; .*(no answer yet from|Redis has not taken the stop|answered).*\n?",
    re.MULTILINE,
)
# A call of golive in which bash has nothing to do but to say where output goes.
PLAIN = re.compile(r"golive ([^|&;<>()$`\\*?\[\]#~{}!%\n]+?)( > \S+)?( 2> ?\S+| 2>&1)?")

# `redis-cli -p PORT COMMAND...`, for machines that have a server in a wheel and no client.
REDIS_CLI = """
import sys, redis
reply = redis.Redis(port=int(sys.argv[2])).execute_command(*sys.argv[3:])
print("OK" if reply is True else reply.decode() if isinstance(reply, bytes) else reply)
"""


class Terminal:
    """A bash in an empty home, with `golive`, `python` and `redis-server` on its path."""

    def __init__(self, folder: Path, server: EmbeddedServer | None = None) -> None:
        self.home = folder / "home"
        self.port = server.port if server else free_port()
        tools = folder / "bin"
        for path in (self.home, tools):
            path.mkdir()
        (folder / "redis_cli.py").write_text(REDIS_CLI)
        programs = {
            "golive": f"{sys.executable} -P -m golive_cli.main",
            "python": sys.executable,
            "redis-cli": f"{sys.executable} {folder / 'redis_cli.py'}",
        }
        for name, program in programs.items():
            (tools / name).write_text(f'#!/bin/sh\nexec {program} "$@"\n')
            (tools / name).chmod(0o755)
        (tools / "redis-server").symlink_to(find_binary())
        environ = {k: v for k, v in os.environ.items() if not k.startswith("GOLIVE_")}
        environ |= {"HOME": str(self.home), "PATH": f"{tools}:{environ['PATH']}", "LC_ALL": "C"}
        environ["COLUMNS"] = "80"
        environ["PYTHONUNBUFFERED"] = "1"  # as on a terminal: what is printed first comes first
        environ["GOLIVE_REDIS_URL"] = f"redis://127.0.0.1:{self.port}/0"  # the default, moved
        bash = shutil.which("bash")
        assert bash
        self._shell = subprocess.Popen(
            [bash, "--noprofile", "--norc"],
            cwd=self.home,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that `close` ends everything that was started in it
        )
        self._marks = 0
        self._early = b""  # what was printed behind the last mark
        # Without redis-py's retries, which go on for seconds after the page has stopped its server.
        self._redis = redis.Redis(port=self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0))
        self._closing = threading.Event()
        self._keeping = threading.Thread(target=self._keep_term)
        self._keeping.start()

    def cwd(self) -> Path:
        """Where the shell is."""
        return Path(self.type("pwd -P")[0])

    def type(self, command: str, answer: str = "") -> list[str]:
        """Run a command and return the lines it printed; `$?` and `$!` stay as it left them.

        What bash would only hand on to `golive` goes to the zygote, with the folder and the
        environment of the shell.
        """
        if plain := PLAIN.fullmatch(command):
            text = self._fork(shlex.split(plain[1]), answer, plain[2] or "", plain[3] or "")
        else:
            stdin = f"<<<'{answer}'" if answer else "</dev/null"
            text = self._bash(f"(exit $code)\n{{ {command}\n}} {stdin}\ncode=$?", command)
        text = self._seen(text, answer).rstrip("\n")
        return text.split("\n") if text else []

    def _fork(self, words: list[str], answer: str, out: str, err: str) -> str:
        cwd, _, environ = self._bash("pwd -P; env -0", "pwd -P; env -0").partition("\n")
        with ExitStack() as stack:

            def opened(redirection: str) -> IO[bytes]:
                path = Path(cwd, redirection.partition(">")[2].strip())
                return stack.enter_context(path.open("wb"))

            if err and not err.endswith("&1"):
                stderr: int | IO[bytes] = opened(err)
            else:  # together with stdout, whose order is theirs, unless that alone goes elsewhere
                stderr = subprocess.PIPE if out and not err else subprocess.STDOUT
            done = zygote.run(
                "golive_cli.main:main",
                *words,
                cwd=cwd,
                env=dict(item.split("=", 1) for item in environ.split("\0") if "=" in item),
                input=f"{answer}\n" if answer else "",
                stdout=opened(out) if out else subprocess.PIPE,
                stderr=stderr,
                text=True,
                timeout=COMMAND_S,
            )
        self._bash(f"code={done.returncode}", "")
        return (done.stdout or "") + (done.stderr or "")

    def _bash(self, text: str, command: str) -> str:
        """Have bash run some lines, and return what they print."""
        shell = self._shell
        assert shell.stdin
        assert shell.stdout
        self._marks += 1
        mark = f"@@{self._marks}@@"
        shell.stdin.write(f"{text}; printf '\\n{mark}\\n'\n".encode())
        shell.stdin.flush()
        os.set_blocking(shell.stdout.fileno(), False)
        # Not "ends with": bash may say behind it that a job of the background was killed.
        end, said, deadline = f"\n{mark}\n".encode(), self._early, time.monotonic() + COMMAND_S
        while end not in said:
            if time.monotonic() > deadline:
                pytest.fail(f"`{command}` did not end within {COMMAND_S:.0f} s: {said!r}")
            said += shell.stdout.read() or b""
            time.sleep(0.005)
        said, _, self._early = said.partition(end)
        return said.decode()

    def _seen(self, text: str, answer: str) -> str:
        """Return the output as the reader of the page would see it."""
        text = text.replace(str(self.home.resolve()), HOME).replace(str(self.home), HOME)
        # On a terminal the typed answer and its Enter would be on the screen, too.
        text = QUESTION.sub(lambda asked: f"{asked[0]}{answer}\n", text)
        return NOISE.sub("", text.replace(str(self.port), PORT))

    def run(self, step: Step) -> None:
        """Run a step of a page and compare what it prints."""
        shown = [same(line) for line in step.shown]
        asked = QUESTION.search("\n".join(step.shown))
        deadline = time.monotonic() + PATIENCE_S
        command = step.command.replace(PORT, str(self.port))
        while True:
            said = self.type(command, asked[1] if asked else "")
            if fits(shown, [same(line) for line in said]):
                break
            if not LOOKS.match(command) or time.monotonic() > deadline:
                text = "\n".join(said)
                pytest.fail(
                    f"line {step.line}: $ {step.command}\n{text}\n-- the page shows --\n"
                    + "\n".join(step.shown)
                )
            time.sleep(0.2)
        started = re.search(r"> (\S+) .*& ([A-Z0-9]+)=\$!$", step.command)
        if started:  # a reader of the page is slower than this test
            self._await(started[1])
            if re.match(r"golive heartbeat|python \S+ pod-\d", step.command):
                self._await_present(self.type(f"echo ${started[2]}")[0])

    def _await(self, name: str) -> None:
        path, deadline = self.cwd() / name, time.monotonic() + PATIENCE_S
        path = Path(str(path).replace(HOME, str(self.home)))
        while time.monotonic() < deadline:
            if path.exists() and path.stat().st_size:
                return
            time.sleep(0.05)
        pytest.fail(f"nothing was written to {name}")

    def _await_present(self, pid: str) -> None:
        """Return when the process has told Redis that it is there."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            keys = [*self._redis.scan_iter("*:worker:*"), *self._redis.scan_iter("*:heartbeat:*")]
            if pid.encode() in [self._redis.hget(key, "pid") for key in keys]:
                return
            assert time.monotonic() < deadline, f"process {pid} has not registered"
            time.sleep(0.05)

    def _keep_term(self) -> None:
        while not self._closing.wait(1):
            with suppress(redis.RedisError):
                self._redis.pexpire("golive:active", TTL_MS)

    def await_text(self, name: str, text: str) -> None:
        """Return when that text is in a file."""
        self.await_said(f"cat {name}", text)

    def await_said(self, command: str, text: str) -> None:
        """Return when the command prints that text."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in (said := "\n".join(self.type(command))):
            assert time.monotonic() < deadline, f"`{command}` never said {text!r}: {said}"
            time.sleep(0.2)

    def write(self, name: str, text: str) -> None:
        """Put a file of the page into the folder the shell is in."""
        folder = Path(str(self.cwd()).replace(HOME, str(self.home)))
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(PORT, str(self.port)))

    def close(self) -> None:
        """End the shell and whatever is left of what was started in it."""
        self._closing.set()
        self._keeping.join()
        self._redis.close()
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.communicate()
