"""Stop cards on fleets of real processes, played with redis-cli, with Python alone, and with golive."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from golive_cli.main import main
from golive_redis import clock
from golive_redis import config as configuration
from golive_redis.errors import RecordError, RefusedError, StoreError
from golive_redis.operator import cardfiles, cards
from golive_redis.operator.activation import HasteError
from golive_redis.operator.session import Operator
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import Verified
from golive_redis.store import acl
from golive_redis.store.keyspace import Keyspace
from golive_redis.testing.server import EmbeddedServer
from kit.fleet import Fleet

DAY_MS = 86_400_000


class Card:
    """A card in a folder, and the ways to play it."""

    def __init__(self, live: Fleet, folder: Path, item: Verified[Revocation]) -> None:
        self.live, self.folder, self.item = live, folder, item

    @property
    def file(self) -> Path:
        return self.folder / cardfiles.COMMANDS

    def shell(self, command: str, **environ: str) -> str:
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def play(self) -> list[str]:
        """With redis-cli, as card.txt says; returns the lines of its answer."""
        command = cardfiles.with_redis_cli(self.live.config.address())
        assert command in (self.folder / cardfiles.WORDS).read_text()
        return self.shell(command.replace(" --pipe", "")).splitlines()

    def pipe(self, **environ: str) -> str:
        """With redis-cli --pipe, to the letter as card.txt says it."""
        done = subprocess.run(
            cardfiles.with_redis_cli(self.live.config.address()),
            shell=True,
            cwd=self.folder,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout + done.stderr


def issued(
    live: Fleet, *, epochs: int = 50, ms: int = DAY_MS, key: str = "alice", **more: Any
) -> Card:
    folder = live.folder / f"card-{clock.now_ns()}"
    with Operator(live.config) as operator:
        signer = live.config.signer_from(str(live.folder / f"{key}.pem"), operator.trust.keyset)
        item = cards.issue(
            operator,
            signer,
            epochs=epochs,
            until_ms=clock.wall_ms() + ms,
            holder="the risk officer",
            reason="card",
            **more,
        )
        cardfiles.write(folder, operator.address, item, "the risk officer")
    return Card(live, folder, item)


def listed(live: Fleet) -> list[cards.IssuedCard]:
    with Operator(live.config) as operator:
        return cards.issued(operator)


def states(live: Fleet) -> list[str]:
    return [card.state.value for card in listed(live)]


def receipts(live: Fleet, card: Card) -> set[str]:
    """Whose receipts for it are in Redis, and of which stage."""
    return {name.decode() for name in live.raw.hkeys(f"golive:receipt:{card.item.identity}")}


def revoked(worker: Any) -> bool:
    """Asked, and asked again: what a worker has told before may be of another moment."""
    return bool(worker.check().get("reason") == "revoked")


def golive(live: Fleet, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = main([*words, "--json", "--config", str(live.path)])
    return code, json.loads(capsys.readouterr().out)


def test_a_card_played_with_redis_cli_stops_a_fleet_and_everybody_answers(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Key, tombstone, push and ledger; receipts, COMPLETE by a following revoke; and on again."""
    live = fleet(own_server)
    card = issued(live)
    live.go_live("pod-1", "pod-2", heartbeats=("hb-1", "hb-2"))
    assert golive(live, capsys, "stop-card", "check", str(card.folder))[0] == 0
    assert states(live) == ["live"]
    said = card.pipe()
    assert "errors: 0, replies: 2" in said, said
    for worker in live.workers.values():
        wait_for(lambda: revoked(worker), what="it has latched")  # noqa: B023
    assert live.raw.exists("golive:active") == 0
    assert live.records("revocation") == [card.item.identity]
    wait_for(lambda: len(receipts(live, card)) >= 6, what="six receipts: two of each worker")
    seen = live.status()
    assert (seen.state, seen.revoked.epoch, seen.revoked.until_ms) == (
        "off",
        card.item.record.epoch,
        card.item.record.until_ms,
    )
    assert (seen.revoked.workers_answered, seen.revoked.heartbeats_answered) == (2, 2)
    assert states(live) == ["played"]

    again = card.play()
    assert again[1] == "SAME", again
    assert live.records("revocation") == [card.item.identity], "played again, it is one stop"

    report = live.revoke(config=live.patient)
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")
    assert report.epoch == card.item.record.epoch
    term = live.activate().grant.record.term
    assert term == card.item.record.epoch + 1
    live.wait_all_armed()
    assert golive(live, capsys, "audit", "verify")[0] == 0
    code, found = golive(live, capsys, "audit", "list")
    assert code == 0
    words = [entry["what"] for entry in found["entries"]]
    assert any(word.startswith("stop card: terms up to ") for word in words), words
    assert "card" in words

    # And once more on the next term, which is above it: the key goes, and nothing is latched.
    assert card.play()[1] == "SAME"
    wait_for(lambda: not any(w.check()["permit"] for w in live.workers.values()), what="off")
    assert {worker.check()["reason"] for worker in live.workers.values()} != {"revoked"}
    assert golive(live, capsys, "audit", "verify")[0] == 0


def test_without_redis_cli_one_line_of_python_plays_it(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    live = fleet(own_server)
    live.go_live("pod-1")
    card = issued(live)
    line = cardfiles.with_python(live.config.address())
    assert line in (card.folder / cardfiles.WORDS).read_text()
    assert "\n" not in line
    said = card.shell(line)
    assert "$2\r\nOK\r\n" in said or "$2\nOK\n" in said, said
    wait_for(lambda: revoked(live.workers["pod-1"]), what="it has latched")
    assert live.raw.hget("golive:revoked", "id").decode() == card.item.identity


def test_golive_plays_it_without_a_key_and_says_complete(
    fleet: Callable[..., Any], own_server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    live = fleet(own_server)
    live.go_live("pod-1")
    card = issued(live)
    keyless = json.loads(json.dumps(live.settings["keys"]))
    del keyless["operator"]
    path = live.write_config(keys=keyless)
    capsys.readouterr()
    code = main(["stop-card", "play", str(card.file), "--json", "--config", str(path)])
    said = json.loads(capsys.readouterr().out)
    assert (code, said["result"], said["epoch"]) == (0, "COMPLETE", card.item.record.epoch)
    assert said["ledger"] == "written"
    assert live.records("revocation") == [card.item.identity]


def test_a_card_is_played_although_what_was_taken_of_keysets_is_torn(
    fleet: Callable[..., Any], own_server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    live = fleet(own_server)
    live.add_principal("ruth", "root")
    live.write_keyset()
    live.config = configuration.load(live.path, environ={})
    live.go_live("pod-1")
    card = issued(live)
    live.state_dir.joinpath("keyset-golive@test-f1ee7000.0.json").write_text("torn")
    code, found = golive(live, capsys, "stop-card", "play", str(card.folder))
    assert (code, found["result"]) == (0, "COMPLETE"), found


def test_a_card_that_is_played_late_spares_for_good_what_began_after_its_end(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """PUBLISH alone changes nothing; the script deletes the key, and a stop goes on top of it."""
    live = fleet(own_server)
    card = issued(live, ms=1_500)
    wait_for(lambda: clock.wall_ms() > card.item.record.before_ms, what="its end")
    live.go_live("pod-1")
    assert states(live) == ["expired"]
    code, found = golive(live, capsys, "stop-card", "check", str(card.folder))
    assert (code, found["state"], found["ends"]) == (1, "expired", False)
    live.raw.publish("golive:events", card.item.raw)
    live.heartbeats["hb-1"].wait_said("does not cover term")
    assert live.workers["pod-1"].check()["permit"]
    assert live.raw.hget("golive:revoked", "id") is None

    assert card.play()[1] == "OK"
    live.workers["pod-1"].wait_denied()
    report = live.revoke(config=live.patient)
    assert report.outcome.result == "COMPLETE", report.problems
    assert report.epoch == card.item.record.epoch + 1, "signed on top of it"
    live.activate()
    live.wait_all_armed()
    assert golive(live, capsys, "audit", "verify")[0] == 0


def test_a_card_above_whose_epochs_the_fleet_is_ends_nothing_for_good(
    fleet: Callable[..., Any], own_server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    live = fleet(own_server)
    card = issued(live, epochs=1)
    live.go_live("pod-1")
    live.revoke()
    live.activate()
    live.wait_all_armed()
    assert states(live) == ["used up"]
    code, found = golive(live, capsys, "stop-card", "check", str(card.folder))
    assert (code, found["state"], found["term"]) == (1, "used up", 3)
    live.raw.publish("golive:events", card.item.raw)
    assert live.workers["pod-1"].check()["permit"]
    code, found = golive(live, capsys, "stop-card", "play", str(card.folder))
    assert (code, found["result"]) == (3, "NOT CONFIRMED")
    assert live.raw.hget("golive:revoked", "epoch") == b"2"


def test_a_step_of_the_keyset_makes_a_card_void(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    live = fleet(own_server)
    live.add_principal("card-risk", "revoker")
    live.write_keyset()
    live.config = configuration.load(live.path, environ={})
    card = issued(live, key="card-risk")
    assert [c.by for c in listed(live)] == ["card-risk"]
    live.write_keyset(without=["card-risk"])
    live.config = configuration.load(live.path, environ={})
    live.go_live("pod-1")
    assert states(live) == ["void"]
    with pytest.raises(RecordError, match="no pod would take this card"):
        cards.verified(live.config.trust(), cards.read(card.folder))
    worker = live.workers["pod-1"]
    for _ in range(3):
        live.raw.publish("golive:events", card.item.raw)
    live.heartbeats["hb-1"].wait_said("pushed directive refused")
    worker.wait_permit()
    card.play()
    # Also the push closes it for a moment, until its signature is refused.
    wait_for(lambda: worker.check().get("reason", "revoked") != "revoked", what="off, not latched")
    report = live.revoke(config=live.patient)
    assert report.outcome.result == "COMPLETE", report.problems
    assert report.epoch > 1
    live.activate()
    live.wait_all_armed()


@pytest.mark.parametrize("what", ["another namespace", "another fleet", "a flipped byte"])
def test_a_card_of_another_switch_or_that_was_changed_leaves_a_fleet_alone(
    fleet: Callable[..., Any], own_server: EmbeddedServer, what: str
) -> None:
    live = fleet(own_server)
    live.go_live("pod-1")
    other = {"another namespace": {"namespace": "other"}}.get(what, {})
    theirs = fleet(own_server, **other)
    if what == "another fleet":
        theirs.fleet_id = "f" * 32
        theirs.write_keyset()
        theirs.config = configuration.load(theirs.path, environ={})
    worker = live.workers["pod-1"]
    if what == "another fleet":
        # A fleet of its own, on a Redis of its own; its card is played on ours.
        with EmbeddedServer() as server, server.client():
            theirs.config = configuration.load(theirs.write_config(url=server.url), environ={})
            card = issued(theirs)
        (card.folder / "here").symlink_to(card.folder)
        card.live = live
        said = card.pipe()
        assert "FLEET nothing was stopped" in said, said
        assert "errors: 1, replies: 2" in said, said
    else:
        card = issued(theirs if what == "another namespace" else live)
        if what == "a flipped byte":
            text = card.file.read_bytes()
            at = text.index(b'\\"sig\\":\\"') + 20
            card.file.write_bytes(
                text[:at] + (b"A" if text[at : at + 1] != b"A" else b"B") + text[at + 1 :]
            )
            with pytest.raises(RecordError, match="no pod would take this card"):
                cards.verified(live.config.trust(), cards.read(card.folder))
            live.raw.publish("golive:events", cards.read(card.folder))
        else:
            assert card.play()[1] == "OK"
    worker.wait_permit()
    assert live.raw.exists("golive:active") == 1
    assert live.raw.exists("golive:revoked") == 0


def test_publish_and_del_alone_are_put_into_redis_and_the_ledger_by_a_heartbeat(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    live = fleet(own_server)
    live.go_live("pod-1")
    card = issued(live)
    live.raw.publish("golive:events", card.item.raw)
    live.raw.delete("golive:active")
    wait_for(lambda: revoked(live.workers["pod-1"]), what="it has latched")
    wait_for(lambda: live.records("revocation") == [card.item.identity], what="it is in the ledger")
    assert live.raw.hget("golive:revoked", "id").decode() == card.item.identity
    assert live.raw.get("golive:epoch") == str(card.item.record.epoch).encode()


def test_the_login_of_a_card_plays_it_and_can_do_little_else(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    wait_for: Callable[..., None],
) -> None:
    live = fleet(own_server)
    live.go_live("pod-1")
    user = acl.user_of(acl.Role.CARD, Keyspace("golive"), more=(">secret",))
    live.raw.execute_command("ACL", "SETUSER", user.user, *user.rules)
    monkeypatch.setenv("PASSWORD_OF_OPERATOR", "operator")
    operator = acl.user_of(acl.Role.OPERATOR, Keyspace("golive"), more=(">operator",))
    live.raw.execute_command("ACL", "SETUSER", operator.user, *operator.rules)
    login = {"username": operator.user, "password_env": "PASSWORD_OF_OPERATOR"}
    path = live.write_config(store={"url": own_server.url, **login})
    live.config = configuration.load(path)
    card = issued(live)
    address = live.config.address()
    words = (card.folder / cardfiles.WORDS).read_text()
    assert "REDISCLI_AUTH" in words
    assert not re.search(r"secret|PASSWORD_OF", words + card.file.read_text())
    refused = card.shell(
        cardfiles.with_redis_cli(address).replace(
            f"--pipe < {cardfiles.COMMANDS}", "SET golive:keyset x"
        ),
        REDISCLI_AUTH="secret",
    )
    assert "NOPERM" in refused
    said = card.pipe(REDISCLI_AUTH="secret")
    assert "errors: 0, replies: 2" in said, said
    assert live.records("revocation") == [card.item.identity]
    wait_for(lambda: revoked(live.workers["pod-1"]), what="it has latched")
    said = card.shell(cardfiles.with_python(address), REDISCLI_AUTH="secret")
    assert "SAME" in said, said


def test_a_card_is_private_holds_no_secret_and_replaces_nothing(
    fleet: Callable[..., Any], any_server: EmbeddedServer
) -> None:
    live = fleet(any_server)
    card = issued(live)
    assert stat.S_IMODE(card.folder.stat().st_mode) == 0o700
    for name in (cardfiles.WORDS, cardfiles.COMMANDS):
        assert stat.S_IMODE((card.folder / name).stat().st_mode) == 0o600
    assert len(card.file.read_bytes()) < 64 * 1024
    with pytest.raises(RefusedError, match="is not empty"):
        cardfiles.require_new(card.folder)
    assert cards.read(card.file) == card.item.raw


def test_without_redis_no_card_is_issued_for_nobody_could_list_it(
    fleet: Callable[..., Any], own_server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    live = fleet(own_server)
    path = live.write_config(url="redis://127.0.0.1:1/0")
    out = live.folder / "never"
    capsys.readouterr()
    words = ["--epochs", "5", "--until", "30d", "--out", str(out), "--config", str(path)]
    assert main(["stop-card", *words]) == 4
    assert not out.exists()
    # A ledger that takes no entry: signed, and thrown away.
    live.raw.set("golive:audit", "x")
    with pytest.raises(StoreError):
        issued(live)
    assert not list(live.folder.glob("card-*"))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--epochs", "0", "--until", "30d"], "a card for 0 epochs"),
        (["--epochs", "5", "--until", "2020-01-01"], "ends in the future"),
        (["--epochs", "5", "--until", "401d"], "at most 400 days"),
        (["--epochs", "5", "--until", "soon"], "is no date"),
        (["--epochs", "5"], "--epochs, --until and --out"),
    ],
)
def test_a_card_without_a_bound_is_refused(
    fleet: Callable[..., Any],
    any_server: EmbeddedServer,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    why: str,
) -> None:
    live = fleet(any_server)
    out = live.folder / "card"
    capsys.readouterr()
    assert main(["stop-card", *words, "--out", str(out), "--config", str(live.path)]) in {1, 2}
    assert why in capsys.readouterr().err
    assert not out.exists()
    assert live.raw.xlen("golive:audit") == 0


def test_the_cool_down_after_a_card_begins_when_it_is_played(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    live = fleet(own_server, cool_down="60s")
    live.go_live("pod-1")
    card = issued(live)
    card.play()
    live.revoke()
    with pytest.raises(HasteError, match="cool-down after the stop"):
        live.activate()
