"""The documents are programs: their `$` lines run for real, and print what the page shows.

A fenced `console` block is a piece of a session: a line that begins with `$ ` is typed into bash,
what follows is what it prints. A fenced block whose first line is `# NAME.py` or `# NAME.yaml` is that
file of the session. All blocks of a page share one shell, one folder and one server.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from golive_redis.testing.server import EmbeddedServer, find_binary, free_port

ROOT = Path(__file__).resolve().parents[2]
PORT = "6379"  # as the pages write it
HOME = "/home/alice"
COMMAND_S = 60.0
# What only looks is asked again until it shows what the page shows: it may be a moment too early.
LOOKS = ("golive status", "golive workers", "tail ", "cat ", "grep ")
PATIENCE_S = 20.0
QUESTION = re.compile(r"Type (\S+) to go on: ")
# What bash says of a job that was killed, where no terminal is.
NOISE = re.compile(r"^\S*bash: line \d+: .*(Killed|Terminated) .*\n?", re.MULTILINE)
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
NOT_RUN = "<!-- not run -->"

# `redis-cli -p PORT COMMAND...`, for machines that have a server in a wheel and no client.
REDIS_CLI = """
import sys, redis
reply = redis.Redis(port=int(sys.argv[2])).execute_command(*sys.argv[3:])
print("OK" if reply is True else reply.decode() if isinstance(reply, bytes) else reply)
"""

# What differs from run to run, made equal.
VARIES = [
    # Whether a time is today, and so has no date, depends on when one looks.
    (r"(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d(\.\d)?", "TIME"),
    (r"\d{4}-\d\d-\d\d", "DATE"),
    (r"\d+(\.\d+)? ms", "N ms"),
    (r"ed25519:[A-Za-z0-9+/=]{44}", "PUBLIC"),
    (r"\b(?=[a-f]*\d)[0-9a-f]{12,64}\b", "HEX"),
    (r"^(\S+) +[0-9a-f]{6}\b", r"\1 INSTANCE"),
    # state, term, in flight; permits and skipped grow while one looks
    (r"\b(armed|cold|lapsed|latched) +(\d+) +(\d+) +\d+ +\d+", r"\1 \2 \3 COUNT COUNT"),
    (r" +", " "),
]


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str
    line: int
    run: bool


class Step(NamedTuple):
    """A command of a page and the lines it should print."""

    command: str
    shown: list[str]
    line: int


def pages() -> list[Path]:
    """Every document that people read."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text()
    found = []
    for match in BLOCK.finditer(text):
        before = text[: match.start()].rstrip()
        line = text.count("\n", 0, match.start()) + 2
        body = textwrap.dedent(match[3])
        found.append(Block(match[2], body, line, not before.endswith(NOT_RUN)))
    return found


def steps(block: Block) -> list[Step]:
    """The commands of a console block."""
    found: list[Step] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            found.append(Step(line[2:], [], number))
        elif found and found[-1].command.endswith("\\") and line.startswith("> "):
            found[-1] = found[-1]._replace(command=f"{found[-1].command[:-1]}{line[2:]}")
        else:
            assert found, f"line {number} comes before a command"
            found[-1].shown.append(line)
    return found


def same(line: str) -> str:
    """Return a line with everything that varies replaced."""
    for pattern, replacement in VARIES:
        line = re.sub(pattern, replacement, line)
    return line.strip()


def fits(shown: list[str], said: list[str]) -> bool:
    """Tell whether output is what the page shows; a line `...` stands for any lines."""
    if not shown:
        return not said
    if shown[0] == "...":
        return any(fits(shown[1:], said[start:]) for start in range(len(said) + 1))
    return bool(said) and shown[0] == said[0] and fits(shown[1:], said[1:])


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

    def cwd(self) -> Path:
        """Where the shell is."""
        return Path(self.type("pwd -P")[0])

    def type(self, command: str, answer: str = "") -> list[str]:
        """Run a command and return the lines it printed; `$?` and `$!` stay as it left them."""
        shell = self._shell
        assert shell.stdin
        assert shell.stdout
        self._marks += 1
        mark = f"@@{self._marks}@@"
        stdin = f"<<<'{answer}'" if answer else "</dev/null"
        text = f"(exit $code)\n{{ {command}\n}} {stdin}\ncode=$?; printf '\\n{mark}\\n'\n"
        shell.stdin.write(text.encode())
        shell.stdin.flush()
        os.set_blocking(shell.stdout.fileno(), False)
        said, deadline = b"", time.monotonic() + COMMAND_S
        while not said.endswith(f"\n{mark}\n".encode()):
            if time.monotonic() > deadline:
                pytest.fail(f"`{command}` did not end within {COMMAND_S:.0f} s: {said!r}")
            said += shell.stdout.read() or b""
            time.sleep(0.005)
        text = self._seen(said.decode()[: -len(mark) - 2], answer).rstrip("\n")
        return text.split("\n") if text else []

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
            if not command.startswith(LOOKS) or time.monotonic() > deadline:
                text = "\n".join(said)
                pytest.fail(
                    f"line {step.line}: $ {step.command}\n{text}\n-- the page shows --\n"
                    + "\n".join(step.shown)
                )
            time.sleep(0.2)
        started = re.search(r"> (\S+) .*& [A-Z0-9]+=\$!$", step.command)
        if started:  # whoever reads the page is slower than this test
            self._await(started[1])

    def _await(self, name: str) -> None:
        path, deadline = self.cwd() / name, time.monotonic() + PATIENCE_S
        path = Path(str(path).replace(HOME, str(self.home)))
        while time.monotonic() < deadline:
            if path.exists() and path.stat().st_size:
                return
            time.sleep(0.05)
        pytest.fail(f"nothing was written to {name}")

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
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.communicate()


def play(terminal: Terminal, page: Path) -> int:
    """Do what a page says, from its first block to its last; return how many commands ran."""
    count = 0
    for block in blocks(page):
        named = re.match(r"# (\S+\.(?:py|yaml))\n", block.text)
        if not block.run:
            continue
        if block.language == "console":
            for step in steps(block):
                terminal.run(step)
                count += 1
        elif named:
            terminal.write(named[1], block.text)
    return count


class Fleet(NamedTuple):
    """What one run of every command with --json printed, and what was in Redis meanwhile.

    Attributes:
        said: The object of each command, by its words up to the first option.
        keys: Of each key: its type, its TTL in ms (-1 for none), and its fields if it is a hash.
        verifier: What the verifier of records.md printed.
    """

    said: dict[str, object]
    keys: dict[str, tuple[str, int, set[str]]]
    verifier: list[str]


PROMOTIONS = r"promotions:\n  small:\n    - {ledger: {value: active_days}, at_least: 1}\n"
COMMANDS = (
    "golive init --environment demo --operator alice",
    "golive keys new hb-2 --role heartbeat --add",
    "golive keys list",
    "golive keys show config/keys/alice.pem",
    "golive preflight",
    "golive doctor",
    "golive activate --reason test --yes",
    "golive halt symbol=ETHUSDT --reason test",
    "golive reduce --reason test",
    "golive status",
    "golive workers",
    "golive watch",
    "golive restore --all --reason test",
    "golive resume symbol=ETHUSDT --reason test",
    "golive extend --minutes 800 --reason test",
    "golive promote --plan",
    "golive promote --reason test",
    "golive demote micro --reason test",
    "golive revoke --reason test",
)


def watch_fleet(terminal: Terminal, server: EmbeddedServer) -> Fleet:
    """Run every command with --json against a fleet of one heartbeat and one worker."""
    said: dict[str, object] = {}
    keys: dict[str, tuple[str, int, set[str]]] = {}

    def run(command: str) -> None:
        lines = terminal.type(f"{command} --json 2>/dev/null")
        assert len(lines) == 1, f"{command}: {lines}"
        words = re.split(r" -| \S+[=/]| hb-2| micro", command)[0]
        said[words] = json.loads(lines[0])

    def look() -> None:
        with server.client() as client:
            for key in map(bytes.decode, client.keys("*")):
                kind = client.type(key).decode()
                fields = {f.decode() for f in client.hkeys(key)} if kind == "hash" else set()
                before = keys[key][2] if key in keys else set()
                keys[key] = kind, client.pttl(key), fields | before

    for command in COMMANDS:
        if command == "golive watch":
            terminal.type(f"{command} --json > watch.log & WATCH=$!")
            terminal.await_text("watch.log", "}")
            terminal.type("kill $WATCH")
            said[command] = json.loads(terminal.type("head -n 1 watch.log")[0])
            continue
        if command == "golive preflight":
            allowed = "s/^activation_enabled: false/activation_enabled: true/"
            profiles = "s/^allowed_profiles: .*/allowed_profiles: [micro, small]/"
            terminal.type(f"sed -i.bak '{allowed};{profiles}' config/go_live.yaml")
            terminal.type(f"printf '{PROMOTIONS}' >> config/go_live.yaml")
            terminal.type("golive heartbeat --name hb-1 --json > hb-1.log 2>&1 &")
            terminal.write("worker.py", (ROOT / "examples" / "worker.py").read_text())
            terminal.type("python worker.py pod-1 > pod-1.log 2>&1 &")
            terminal.await_text("hb-1.log", "nothing is active")
            terminal.await_text("pod-1.log", "skips")
            terminal.await_said("golive workers", "1 worker")
        run(command)
        look()
    said["golive heartbeat"] = json.loads(terminal.type("head -n 1 hb-1.log")[0])
    said["error"] = json.loads(terminal.type("golive halt --reason test --json")[0])
    page = ROOT / "docs" / "reference" / "records.md"
    for block in blocks(page):
        if block.text.startswith("# verify.py\n"):
            terminal.write("verify.py", block.text)
    verifier = terminal.type(f"python verify.py {server.url} config/keyset.yaml")
    return Fleet(said, keys, verifier)


SESSIONS = {  # page -> whether it starts its own server
    "README.md": True,
    "docs/tutorial/first-fleet.md": True,
    "docs/OPERATOR_MANUAL.md": False,
    "docs/GO_LIVE_ROLLBACK.md": False,
    "docs/how-to/operate.md": False,
    "docs/how-to/guard-your-bot.md": False,
    "docs/how-to/troubleshoot.md": False,
}


class Running(NamedTuple):
    """The sessions of all pages, and the fleet, all at once: they mostly wait."""

    pages: dict[str, Future[int]]
    fleet: Future[Fleet]


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    """Start everything; whoever needs a result waits for it."""
    with ExitStack() as stack:

        def opened(*, own: bool) -> tuple[Terminal, EmbeddedServer | None]:
            # Under a short path: Unix sockets allow about 100 bytes.
            name = tempfile.mkdtemp(prefix="golive-docs-")
            stack.callback(shutil.rmtree, name, ignore_errors=True)
            server = None if own else stack.enter_context(EmbeddedServer())
            terminal = Terminal(Path(name).resolve(), server)
            stack.callback(terminal.close)
            return terminal, server

        # What waits longest first.
        order = sorted(SESSIONS, key=lambda page: page != "docs/how-to/operate.md")
        pool = ThreadPoolExecutor(len(SESSIONS) + 1, thread_name_prefix="docs")
        stack.callback(pool.shutdown, cancel_futures=True)
        pages = {
            page: pool.submit(play, opened(own=SESSIONS[page])[0], ROOT / page) for page in order
        }
        terminal, server = opened(own=False)
        assert server
        yield Running(pages, pool.submit(watch_fleet, terminal, server))


@pytest.fixture(scope="session")
def fleet(running: Running) -> Fleet:
    """A fleet that ran every command once."""
    return running.fleet.result(timeout=240)


@pytest.fixture(scope="session")
def session_pages() -> list[str]:
    """The pages whose commands run."""
    return list(SESSIONS)


def table(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading of a page."""
    text = BLOCK.sub("", text)  # a comment in Python looks like a heading
    part = re.split(rf"^#+ {re.escape(heading)}$", text, maxsplit=1, flags=re.MULTILINE)[1]
    part = re.split(r"^#+ ", part, maxsplit=1, flags=re.MULTILINE)[0]
    rows = re.search(r"^\|.*\n\|[ -|]*\n((?:\|.*\n?)*)", part, re.MULTILINE)
    assert rows, f"no table below {heading}"
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows[1].splitlines()]


class Pages(NamedTuple):
    """Reading documents: what test modules would import if they could import this file."""

    all: list[Path]

    def read(self, name: str) -> str:
        """The text of a page, by its path in the repository."""
        return (ROOT / name).read_text()

    def blocks(self, page: Path) -> list[Block]:
        """The fenced blocks of a page."""
        return blocks(page)

    def steps(self, block: Block) -> list[Step]:
        """The commands of a console block."""
        return steps(block)

    def table(self, name: str, heading: str) -> list[list[str]]:
        """The rows of the first table below a heading of a page."""
        return table(self.read(name), heading)


@pytest.fixture(scope="session")
def docs() -> Pages:
    """All documents."""
    return Pages(pages())
