"""The documents are programs: their `$` lines run for real, and print what the page shows.

A fenced `console` block is a piece of a session: a line that begins with `$ ` is typed into bash,
what follows is what it prints. A fenced block whose first line is `# NAME.py` or `# NAME.yaml` is that
file of the session. All blocks of a page share one shell, one folder and one server.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import pytest

from golive_redis.records.ledger import extend
from golive_redis.store import acl
from golive_redis.store.keyspace import Keyspace
from golive_redis.testing.server import EmbeddedServer

from . import pages
from .pages import ROOT, Block, Step, blocks, steps
from .terminal import Terminal

# A file of the session that stands on another page: one home for each.
BORROWED = re.compile(r"^<!-- (\S+) of (\S+) -->$", re.MULTILINE)


def play(terminal: Terminal, page: Path) -> int:
    """Do what a page says, from its first block to its last; return how many commands ran."""
    count = 0
    for name, source in BORROWED.findall(page.read_text()):
        (text,) = (b.text for b in blocks(ROOT / source) if b.text.startswith(f"# {name}\n"))
        terminal.write(name, text)
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


VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
AUDIT = r"audit: {checkpoint_lag: 11s, checkpoint_every: 1s}\n"
PROMOTIONS = r"promotions:\n  small:\n    - {ledger: {value: active_days}, at_least: 1}\n"
COMMANDS = (
    "golive init --environment demo --operator alice",
    "golive keys new hb-2 --role heartbeat --add",
    "golive keys list",
    "golive keys show config/keys/alice.pem",
    "golive acl --role worker",
    "golive acl check --role auditor",
    "golive keys new bob --role approver --add",
    "golive keys new carol --role approver --add",
    "golive keys new ruth --role root --add",
    "golive keys draft next.yaml",
    "golive keys sign keyset-2.json --key config/keys/ruth.pem --yes",
    "golive keys take keyset-2.json",
    "golive keys rotate bob --new ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo= --out r.json",
    "golive keys remove hb-2",
    "golive keys sign keyset-3.json --key config/keys/ruth.pem --yes",
    "golive keys publish keyset-3.json --yes",
    "golive keys status",
    "golive store install",
    "golive store status",
    "golive stop-card --epochs 500 --until 30d --out card",
    "golive stop-card list",
    "golive stop-card check card",
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
    "golive proposals",
    "golive promote --reason test",
    "golive demote micro --reason test",
    "golive revoke --reason test",
    "golive stop-card play card",
    "golive audit witness init ./w --name w.example",
    f"golive audit witness add-log ./w {VKEY}",
    "golive audit witness status ./w",
    "golive audit list",
    "golive audit show e1",
    "golive audit tail",
    "golive audit verify",
    "golive audit export --out ledger.jsonl",
    "golive audit archive ./archive --settled 0s",
    "golive audit trim ./archive --unwitnessed",
    "golive audit restore ./archive",
    "golive audit report --out report",
    "golive audit policy",
    "golive audit prove e1 --out e1.tlog-proof",
)
FOLLOWS = {"golive watch": "}", "golive audit tail": "stop-confirmed"}
"""Commands that go on until they are ended, and what they have printed once they can be."""


PROPOSE = "golive propose activate --reason test --over-unconfirmed --json"


def _propose(terminal: Terminal, said: dict[str, object]) -> None:
    """Propose an activation, which takes three from now on, and have a second sign it."""
    terminal.type(
        "python -c \"import yaml; k = yaml.safe_load(open('config/keyset.yaml')); "
        "k |= {'version': 4, 'thresholds': {'approver': 3}}; "
        "yaml.safe_dump(k, open('config/keyset.yaml', 'w'))\""
    )
    proposed = json.loads(terminal.type(f"{PROPOSE} 2>/dev/null")[0])
    assert "proposal" in proposed, proposed
    name = proposed["proposal"]["id"]
    second = f"golive approve {name} --yes {name} --key config/keys/bob.pem --json 2>/dev/null"
    said["golive propose"] = proposed
    said["golive approve"] = json.loads(terminal.type(second)[0])


def _begin_anew(terminal: Terminal, server: EmbeddedServer, said: dict[str, object]) -> None:
    """Lose the end of the ledger and write another one; then begin it anew, which takes three."""
    terminal.type("golive audit archive ./archive --settled 0s > archive.log")
    with server.client() as client:
        # Several: the heartbeat may have written since.
        *lost, (_, before) = client.xrevrange("golive:audit", count=5)
        client.xdel("golive:audit", *(name for name, _ in lost))
        head = extend(before[b"h"].decode(), before[b"r"])
        client.xadd("golive:audit", {"r": before[b"r"], "h": head})
        client.set("golive:head", head)
    archived = terminal.type("golive audit archive ./archive --settled 0s 2>&1")
    assert "Redis has another entry" in archived[0], archived
    keys = "--key config/keys/bob.pem --key config/keys/carol.pem"
    words = f"golive audit generation --archive ./archive --reason test {keys} --json 2>/dev/null"
    said["golive audit generation"] = json.loads(terminal.type(words)[0])


def watch_fleet(terminal: Terminal, server: EmbeddedServer) -> Fleet:
    """Run every command with --json against a fleet of one heartbeat and one worker."""
    said: dict[str, object] = {}
    keys: dict[str, tuple[str, int, set[str]]] = {}

    def run(command: str) -> None:
        lines = terminal.type(f"{command} --json 2>/dev/null")
        assert len(lines) == 1, f"{command}: {lines}"
        words = re.split(
            r" -| \S+[=/]| hb-2| pod-2| card$| micro| bob| carol| keyset-3| ruth| next| keyset-2"
            r"| e1",
            command,
        )[0]
        said[words] = json.loads(lines[0])

    def look() -> None:
        with server.client() as client:
            for key in map(bytes.decode, client.keys("*")):
                kind = client.type(key).decode()
                if kind == "none":
                    continue  # its time was over between the two questions
                fields = {f.decode() for f in client.hkeys(key)} if kind == "hash" else set()
                before = keys[key][2] if key in keys else set()
                keys[key] = kind, client.pttl(key), fields | before

    for command in COMMANDS:
        if command in FOLLOWS:
            terminal.type(f"{command} --json > watch.log & WATCH=$!")
            terminal.await_text("watch.log", FOLLOWS[command])
            terminal.type("kill $WATCH")
            said[command] = json.loads(terminal.type("head -n 1 watch.log")[0])
            continue
        if command.startswith("golive acl check"):
            with server.client() as client:
                user = acl.user_of(acl.Role.AUDITOR, Keyspace("golive"))
                client.execute_command("ACL", "SETUSER", user.user, *user.rules)
        if command == "golive keys draft next.yaml":
            terminal.type("sed 's/^version: 1/version: 2/' config/keyset.yaml > next.yaml")
        if command == "golive preflight":
            allowed = "s/^activation_enabled: false/activation_enabled: true/"
            profiles = "s/^allowed_profiles: .*/allowed_profiles: [micro, small]/"
            terminal.type(f"sed -i.bak '{allowed};{profiles}' config/go_live.yaml")
            terminal.type(f"printf '{PROMOTIONS}{AUDIT}' >> config/go_live.yaml")
            terminal.type("golive heartbeat --name hb-1 --json > hb-1.log 2>&1 &")
            terminal.write("worker.py", (ROOT / "examples" / "worker.py").read_text())
            terminal.type("python worker.py pod-1 > pod-1.log 2>&1 & WORKER=$!")
            terminal.await_text("hb-1.log", "nothing is active")
            terminal.await_text("pod-1.log", "skips")
            terminal.await_said("golive workers", "workers: 1 ")
        if command.startswith("golive audit prove"):
            terminal.await_said("golive audit prove e1 --out waited.tlog-proof", "PROVED")
        run(command)
        look()
    terminal.type("kill $WORKER; wait $WORKER")
    look()  # it has left a goodbye
    terminal.type("python worker.py pod-2 > pod-2.log 2>&1 & WORKER=$!")
    terminal.await_said("golive workers", "workers: 1 ")
    terminal.type("kill -KILL $WORKER")
    terminal.await_said("golive workers", "1 gone")
    run("golive workers forget pod-2 --reason test")
    _propose(terminal, said)
    look()
    for word in ("withdraw", "reject"):
        name = json.loads(terminal.type(f"{PROPOSE} 2>/dev/null")[0])["proposal"]["id"]
        answer = f"golive {word} {name} --reason test --json 2>/dev/null"
        said[f"golive {word}"] = json.loads(terminal.type(answer)[0])
    witness = "golive audit witness serve"
    terminal.type(f"{witness} ./w --listen 127.0.0.1:0 --json > w.log & WITNESS=$!")
    terminal.await_text("w.log", "its key")
    terminal.type("kill $WITNESS")
    said[witness] = json.loads(terminal.type("head -n 1 w.log")[0])
    said["golive heartbeat"] = json.loads(terminal.type("head -n 1 hb-1.log")[0])
    said["error"] = json.loads(terminal.type("golive halt --reason test --json")[0])
    page = ROOT / "docs" / "reference" / "records.md"
    for block in blocks(page):
        if block.text.startswith("# verify.py\n"):
            terminal.write("verify.py", block.text)
    verifier = terminal.type(f"python verify.py {server.url} config/keyset.yaml")
    _begin_anew(terminal, server, said)
    look()
    return Fleet(said, keys, verifier)


SESSIONS = {  # page -> whether it starts its own server
    "README.md": True,
    "docs/tutorial/first-fleet.md": True,
    "docs/OPERATOR_MANUAL.md": False,
    "docs/GO_LIVE_ROLLBACK.md": False,
    "docs/how-to/operate.md": False,
    "docs/how-to/guard-your-bot.md": False,
    "docs/how-to/troubleshoot.md": False,
    "docs/how-to/audit.md": False,
    "docs/how-to/report.md": False,
}


@contextmanager
def opened(server: EmbeddedServer | None = None) -> Iterator[Terminal]:
    """Open a terminal with a folder of its own; what was started in it ends with it."""
    # Under a short path: Unix sockets allow about 100 bytes.
    name = tempfile.mkdtemp(prefix="golive-docs-")
    terminal = Terminal(Path(name).resolve(), server)
    try:
        yield terminal
    finally:
        terminal.close()
        shutil.rmtree(name, ignore_errors=True)


@pytest.fixture
def session() -> Callable[[str], int]:
    """Plays a page from its first command to its last; returns how many ran."""

    def run(page: str) -> int:
        own = nullcontext() if SESSIONS[page] else EmbeddedServer()
        with own as server, opened(server) as terminal:
            return play(terminal, ROOT / page)

    return run


@pytest.fixture(scope="session")
def every_command() -> Fleet:
    """A fleet that ran every command once."""
    with EmbeddedServer() as server, opened(server) as terminal:
        return watch_fleet(terminal, server)


@pytest.fixture(scope="session")
def session_pages() -> list[str]:
    """The pages whose commands run."""
    return list(SESSIONS)


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
        return pages.table(self.read(name), heading)


@pytest.fixture(scope="session")
def docs() -> Pages:
    """All documents."""
    return Pages(pages.pages())
