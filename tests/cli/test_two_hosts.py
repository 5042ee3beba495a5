"""Two approvers at two hosts: each has a folder with their own key, and only the keyset in common."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from golive_cli.commands import approvals
from golive_cli.exits import Exit
from golive_redis import config as configuration
from golive_redis.errors import RefusedError
from golive_redis.operator import proposals
from golive_redis.operator.session import Operator
from golive_redis.testing.server import EmbeddedServer

Golive = Any  # the `golive` fixture's class: test modules cannot import a conftest


@pytest.fixture
def hosts(
    golive: Golive, server: EmbeddedServer, tmp_path: Path, wait_for: Callable[..., None]
) -> Iterator[tuple[Golive, Golive]]:
    """Alice's host, where a heartbeat runs, and bob's."""
    here = type(golive)(tmp_path / "alice")
    there = type(golive)(tmp_path / "bob")
    here.folder.mkdir()
    for host in (here, there):
        host.environ["GOLIVE_REDIS_URL"] = server.url
    assert here("init", "--environment", "testnet", "--operator", "alice").returncode == 0
    assert here("keys", "new", "bob", "--role", "approver", "--add").returncode == 0
    for name, old, new in [
        ("keyset.yaml", "approver: 1", "approver: 2"),
        ("go_live.yaml", "activation_enabled: false", "activation_enabled: true"),
    ]:
        path = here.folder / "config" / name
        path.write_text(path.read_text().replace(old, new))
    shutil.copytree(here.folder, there.folder)
    (there.folder / "config/keys/alice.pem").unlink()
    (here.folder / "config/keys/bob.pem").unlink()
    path = there.folder / "config/go_live.yaml"
    path.write_text(path.read_text().replace("keys/alice.pem", "keys/bob.pem"))
    beating = here.start("heartbeat", "--name", "hb-1")
    with server.client() as client:
        wait_for(lambda: client.hlen("golive:heartbeats") == 1, what="the heartbeat")
        yield here, there
    beating.terminate()
    beating.communicate(timeout=20)


def test_what_one_proposes_the_other_sees_signs_and_executes(hosts: tuple[Golive, Golive]) -> None:
    alice, bob = hosts
    refused = alice("activate", "--reason", "open", "--yes")
    assert refused.returncode == Exit.REFUSED
    assert "golive propose activate" in refused.stderr
    done = alice("propose", "activate", "--reason", "open", "--ticket", "OPS-1")
    assert done.returncode == Exit.DONE
    proposed, by = done.stdout.splitlines()[-2:]
    assert proposed.startswith("PROPOSED ")
    assert "signed by alice (1 of 2)" in proposed
    name = proposed.split()[1]
    assert by.endswith(f"bob: golive approve {name}")
    assert alice.json("status")["state"] == "off"
    (listed,) = bob.json("proposals")["proposals"]
    assert (listed["id"], listed["signed"], listed["needed"]) == (name, ["alice"], 2)
    assert name in bob("proposals").stdout
    done = bob("approve", name[:4], "--yes", name)
    assert done.returncode == Exit.DONE, done.stderr
    shown = done.stderr.splitlines()
    assert shown[0].startswith(f"proposal {name} by alice in testnet (golive)")
    assert "  now       off" in shown
    assert any(line.startswith("  limits    25 USD an order") for line in shown)
    assert any(line.endswith("keyset 1") for line in shown if line.startswith("  policy "))
    assert any(line.startswith("  checks    passed ") for line in shown)
    assert "ACTIVE in testnet (golive): term 1" in done.stdout
    assert bob.json("proposals")["proposals"] == []
    kinds = [item["kind"] for item in bob.json("audit", "list")["entries"]]
    assert kinds == ["refusal", "report", "answer", "report", "answer", "execution", "grant"]
    assert bob.json("audit", "verify")["result"] == "CONSISTENT"
    # Within the term: what would be lifted is named, and a no is a no.
    assert alice("halt", "symbol=BTC", "--reason", "odd").returncode == Exit.NO_MATCH
    lifted = alice.json("propose", "resume", "symbol=BTC", "--reason", "fine")["proposal"]["id"]
    done = bob("approve", lifted, "--yes", "wrong-id")
    assert done.returncode == Exit.USAGE
    assert any("lifts     halt 2 by alice (odd): symbol=BTC" in x for x in done.stderr.splitlines())
    assert "REJECTED" in bob("reject", lifted, "--reason", "not yet").stdout
    assert bob("approve", lifted, "--yes", lifted).returncode == Exit.REFUSED
    again = alice.json("propose", "resume", "symbol=BTC", "--reason", "fine")["proposal"]["id"]
    assert bob.json("approve", again, "--yes", again)["in_force"]
    extend = alice.json("propose", "extend", "--minutes", "900", "--reason", "late")["proposal"]
    assert "WITHDRAWN" in alice("withdraw", extend["id"]).stdout
    assert bob.json("audit", "verify")["broken"] is None


def test_nobody_signs_who_was_not_asked(hosts: tuple[Golive, Golive]) -> None:
    alice, bob = hosts
    name = alice.json("propose", "activate", "--reason", "open")["proposal"]["id"]
    done = bob("approve", name)  # no terminal, and no --yes
    assert done.returncode == Exit.USAGE
    assert f"--yes {name}" in done.stderr
    done = alice("approve", name, "--yes", name)
    assert done.returncode == Exit.REFUSED
    assert "alice has signed it already" in done.stderr
    assert bob("approve", "zzzz", "--yes", "zzzz").returncode == Exit.REFUSED
    assert bob("withdraw", name).returncode == Exit.REFUSED
    # A host that would run by other rules does not sign.
    path = bob.folder / "config/go_live.yaml"
    path.write_text(path.read_text().replace("window_minutes: 720", "window_minutes: 30"))
    done = bob("approve", name, "--yes", name)
    assert done.returncode == Exit.REFUSED
    assert "another policy" in done.stderr


def test_ctrl_c_while_waiting_says_that_the_proposal_may_still_wait(
    hosts: tuple[Golive, Golive],
) -> None:
    alice, bob = hosts
    waiting = alice.start("propose", "activate", "--reason", "open", "--wait")
    line = ""
    while not line.startswith("PROPOSED"):
        line = waiting.stdout.readline()
        assert line, waiting.stderr.read()
    name = line.split()[1]
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=60)
    assert waiting.returncode == Exit.INTERRUPTED
    assert f"the proposal {name} may still wait for signatures" in err
    assert f"golive withdraw {name}" in err
    assert [item["id"] for item in bob.json("proposals")["proposals"]] == [name]


@pytest.mark.parametrize(("typed", "taken"), [("half", True), ("whole", True), ("wrong", False)])
def test_the_question_takes_the_half_of_the_id_and_the_whole(
    hosts: tuple[Golive, Golive], monkeypatch: pytest.MonkeyPatch, typed: str, taken: bool
) -> None:
    alice, _ = hosts
    name = alice.json("propose", "activate", "--reason", "open")["proposal"]["id"]
    config = configuration.load(alice.folder / "config/go_live.yaml", environ=alice.environ)
    with Operator(config) as operator:
        proposal = proposals.named(operator, name)
    answer = {"half": name[:4], "whole": name, "wrong": "zzzz"}[typed]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(typer, "prompt", lambda *_, **__: answer)
    if taken:
        approvals._confirm(proposal, "")
        return
    with pytest.raises(RefusedError, match="nothing was signed"):
        approvals._confirm(proposal, "")


def test_whoever_waits_is_told_what_became_of_it(hosts: tuple[Golive, Golive]) -> None:
    alice, bob = hosts
    waiting = alice.start("propose", "activate", "--reason", "open", "--wait")
    name = ""
    while not name:
        found = bob.json("proposals")["proposals"]
        name = found[0]["id"] if found else ""
    assert bob("approve", name, "--yes", name).returncode == Exit.DONE
    out, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == Exit.DONE
    assert f"IN FORCE in testnet (golive): {name}, signed by alice, bob" in out
    assert bob("revoke", "--reason", "enough").returncode in {Exit.DONE, Exit.NOT_DRAINED}
    waiting = alice.start("propose", "activate", "--reason", "again", "--wait")
    while not (found := bob.json("proposals")["proposals"]):
        pass
    path = bob.folder / "config/keyset.yaml"
    path.write_text(path.read_text().replace("  bob:\n", "  bob:\n    authority: risk\n"))
    shown = bob("approve", found[0]["id"]).stderr  # no terminal: it is shown, and not signed
    assert "by bob (enough); so bob (risk) has to sign" in shown
    assert bob("reject", found[0]["id"], "--reason", "no").returncode == Exit.DONE
    _, err = waiting.communicate(timeout=60)
    assert waiting.returncode == Exit.REFUSED
    assert "is not in force" in err
