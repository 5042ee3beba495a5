"""`golive audit` with the login of the documented auditor, and with one that lacks a right."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from golive_redis.testing.server import EmbeddedServer
from kit.ledgers import CLI, day, install

Golive = Any  # the `made` fixture's class: test modules cannot import a conftest
ACL = Path(__file__).parents[2] / "docs" / "reference" / "acl.txt"
LINE = next(
    line for line in ACL.read_text().splitlines() if line.startswith("user golive-auditor ")
)
NEEDS = ("xrange", "xrevrange", "xlen", "get", "hgetall")
EVERY = (("list",), ("show", "3"), ("verify",), ("verify", "--new"), ("export", "--out", "a.jsonl"))


@pytest.fixture
def guarded() -> Iterator[EmbeddedServer]:
    """A server with a ledger, the auditor's user, and a `default` that is off."""
    with EmbeddedServer() as server:
        with server.client() as client:
            day(CLI).put(client)
            client.execute_command("ACL", "SETUSER", *LINE.split()[1:], ">secret")
        yield server


@pytest.fixture
def auditor(made: Golive, guarded: EmbeddedServer) -> Golive:
    """`golive` on a host of the auditor: no private key at all, and that login."""
    install(made.folder, CLI)
    config = made.folder / "config" / "go_live.yaml"
    text = config.read_text().replace("  # username: golive  ", "  username: golive-auditor  ")
    text = text.replace("  # password_env: GOLIVE_REDIS_PASSWORD  ", "  password_env: AUDIT  ")
    config.write_text(text)
    for key in (made.folder / "config" / "keys").glob("*.pem"):
        key.unlink()
    made.environ |= {"GOLIVE_REDIS_URL": guarded.url, "AUDIT": "secret"}
    return made


def test_the_documented_auditor_can_run_every_command_without_any_key(auditor: Golive):
    for words in EVERY:
        done = auditor("audit", *words)
        assert (done.returncode, done.stderr) == (0, ""), words
    assert "VERIFIED" in auditor("audit", "verify").stdout
    process = auditor.start("audit", "tail", "-n", "1")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("12  ")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0


def test_they_write_nothing_and_need_what_the_page_says(auditor: Golive, guarded: EmbeddedServer):
    with guarded.client() as client:
        before = client.dbsize(), client.xlen("golive:audit"), client.get("golive:head")
        client.config_resetstat()
        for words in EVERY:
            auditor("audit", *words)
        used = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
        assert (client.dbsize(), client.xlen("golive:audit"), client.get("golive:head")) == before
    page = (ACL.parent / "redis-keys.md").read_text()
    (said,) = re.findall(r"`golive audit` reads with (.*?), and", page, re.DOTALL)
    needs = {word.lower() for word in re.findall(r"`([A-Z]+)`", said)}
    around = {"acl|whoami", "client|setname", "client|setinfo", "hello", "select", "ping", "auth",
              "dbsize", "info", "config|resetstat"}  # fmt: skip
    assert used - around == needs


@pytest.mark.parametrize("right", NEEDS)
def test_a_login_that_may_not_read_the_ledger_is_told_which_right_it_lacks(
    auditor: Golive, guarded: EmbeddedServer, right: str
):
    with guarded.client() as client:
        client.execute_command("ACL", "SETUSER", "golive-auditor", f"-{right}")
    done = auditor("audit", "list" if right == "xrevrange" else "verify")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("error: ")
    assert right.upper() in done.stderr.upper()
