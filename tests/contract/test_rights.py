"""The preflight's try of every right: it names what is missing, covers what is used, changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from golive_redis.checks.builtin import check_database_redis
from golive_redis.delivery import outbox
from golive_redis.delivery.outbox import Outbox
from golive_redis.delivery.receipts import Receipts
from golive_redis.errors import StoreError
from golive_redis.records.receipt import Durable, Stage
from golive_redis.records.report import Outcome
from golive_redis.records.rotation import Step
from golive_redis.store import rights
from golive_redis.store.connect import Address
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import RedisLink
from golive_redis.store.replies import Caller
from golive_redis.testing import Signers
from golive_redis.testing.server import EmbeddedServer
from kit.logins import KEYS, monitored, without

Deck = Any  # the `deck` fixture's class: test modules cannot import a conftest
WORKER = Caller("worker", "pod-7", "0" * 32)
HEARTBEAT = Caller("heartbeat", "hb-1", "1" * 32)
KEYSPACE = Keyspace("golive")
LISTED = rights.of_operator(KEYSPACE)
OTHERS = {word for command in LISTED for word in command[1:] if ":" in str(word)}
POD = re.compile(r"golive:(worker|heartbeat|receipt|left|proposal):.*")


def _targets(words: list[str]) -> list[str]:
    return [POD.sub(r"golive:\1:", w) for w in words[1:] if w.startswith("golive:")] or [""]


def _pairs(commands: list[list[str]]) -> set[tuple[str, str]]:
    return {(words[0].upper(), target) for words in commands for target in _targets(words)}


def _operators_day(deck: Deck, owner: Deck) -> None:
    store = deck.store
    deck.activate()
    deck.restrict()
    deck.change()
    deck.revoke()
    deck.revoke()
    store.snapshot(), store.told_directives(), store.workers(), store.heartbeats()
    store.receipts("d1"), store.head(), store.entries(3), store.server()
    store.goodbyes([(WORKER.name, WORKER.instance)])
    store.ledger_length(), store.checkpoint(), store.ledger_first(), store.begins()
    store.replicated(0, 1)
    store.confirm(deck.last, b"note")
    store.append(b"n", head=deck.head, head_after="a" * 64)
    store.publish("golive:events", b"x")
    store.delete_active()
    store.drop_tombstone()
    store.strike([WORKER.member])
    for number in (3, 4):
        step = Step(b"{}", b"record %d" % number)
        store.publish_keyset(number, step, before=b"{}", head=store.head())
    store.keyset_step(2), store.keyset_numbers()
    store.propose("d1", 9_000_000_000_000, 1)
    store.sign_proposal("d1", "alice", b"grant", b"answer", 9_000_000_000_000)
    store.open_proposals(), store.server_ms()
    store.close_proposal("d1")
    store.drop_proposals()
    store.forget(WORKER.name, WORKER.instance, b"dead")
    store.link.call("HDEL", "golive:heartbeats", "hb-1")
    store.link.call("SUBSCRIBE", "golive:receipts")


def _workers_day(deck: Deck, owner: Deck) -> None:
    store = deck.store
    for new in (True, False):
        deck.attend(WORKER, new=new)
    store.deliver("d1", "a:latched", b"x")
    assert store.keyset_step(2)
    store.keep_goodbye(WORKER, b"x")
    store.link.call("SUBSCRIBE", "golive:events")


def _heartbeats_day(deck: Deck, owner: Deck) -> None:
    store = deck.store
    for new in (True, False):
        deck.attend(HEARTBEAT, new=new)
    store.server()
    deck.term, deck.epoch = owner.term, owner.epoch
    store.beat("hb-1", b"x", term=owner.term, ttl_ms=24_000)
    deck.restrict()
    deck.revoke()
    store.deliver("d1", "a:latched", b"x")
    store.recorded(b"x", 1)
    store.ledger_from(), store.incidents(), store.receipts_kept("d1"), store.taking_away()
    assert store.keyset_step(2)
    store.told_directives(), store.workers(), store.heartbeats(), store.receipts("d1")
    store.goodbyes([(WORKER.name, WORKER.instance)])
    store.replicated(0, 1)
    store.append(b"n", head=deck.head, head_after="a" * 64)
    store.ledger_from(), store.server_ms(), store.begins()
    store.replace_checkpoint(b"n", read=store.checkpoint())
    store.append_all([b"n", b"m"], head="a" * 64)
    store.leave(HEARTBEAT)
    for channel in ("events", "receipts"):
        store.link.call("SUBSCRIBE", f"golive:{channel}")


ROLES = {
    "operator": (_operators_day, LISTED),
    "worker": (_workers_day, rights.of_worker(KEYSPACE, WORKER.name, WORKER.instance)),
    "heartbeat": (
        _heartbeats_day,
        rights.of_heartbeat(KEYSPACE, HEARTBEAT.name, HEARTBEAT.instance),
    ),
}


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_gives_to_redis_is_what_it_tries(
    own_server: EmbeddedServer, deck_on: Callable[..., Deck], role: str
) -> None:
    """Row 80: a command that somebody adds to a step is tried before the next activation."""
    day, commands = ROLES[role]
    owner, deck = deck_on(own_server), deck_on(own_server)
    deck.store.link.open()
    owner.store.link.open()
    with own_server.client() as client:
        client.echo("connected")

        def whole() -> None:
            if role == "operator":
                owner.attend()
                owner.attend(HEARTBEAT)
            else:
                owner.activate()
                step = Step(b"{}", b"record")
                owner.store.publish_keyset(2, step, before=b"{}", head=owner.store.head())
            client.echo("begin")
            day(deck, owner)

        seen = [words for _, words in monitored(client, whole)]
    begin = next(n for n, words in enumerate(seen) if words == ["ECHO", "begin"])
    used = _pairs([w for w in seen[begin + 1 :] if not w[0].upper().startswith("EVAL")])
    listed = _pairs([[str(word) for word in command] for command in commands])
    assert used <= listed
    assert {name for name, _ in listed} - {name for name, _ in used} == {"EVAL", "EVALSHA"}


@pytest.mark.parametrize("command", LISTED, ids=lambda command: " ".join(map(str, command))[:60])
def test_a_right_that_is_missing_is_named_and_nothing_is_changed(
    shared_server: EmbeddedServer,
    deck_on: Callable[..., Deck],
    connect: Callable[..., RedisLink],
    command: rights.Command,
) -> None:
    """Row 80."""
    owner = deck_on(shared_server)
    owner.activate()
    before = owner.everything()
    target = next((str(word) for word in command[1:] if ":" in str(word)), "")
    keys = [
        *KEYS,
        *(str(word) for word in OTHERS if not str(word).endswith(("events", "receipts"))),
    ]
    with shared_server.client() as client:
        client.execute_command("ACL", "SETUSER", "limited", *without(str(command[0]), target, keys))
        try:
            link = connect(shared_server, username="limited", password="x")
            missing = rights.lacking(link, LISTED)
        finally:
            client.execute_command("ACL", "DELUSER", "limited")
    assert missing
    assert all(text.startswith(f"{command[0]} ") or text == command[0] for text in missing)
    assert all(POD.sub(r"golive:\1:*", target) in text for text in missing)
    assert owner.everything() == before


def test_with_every_right_nothing_is_missing_and_nothing_is_changed(
    shared_server: EmbeddedServer, deck_on: Callable[..., Deck], heard: Callable[..., Any]
) -> None:
    """Row 80."""
    deck = deck_on(shared_server)
    deck.activate()
    before, message = deck.everything(), heard(shared_server, "golive:events")
    assert rights.lacking(deck.store.link, LISTED) == []
    assert deck.everything() == before
    deck.store.publish("golive:events", b"mark")
    assert message() == b"mark"


@pytest.mark.parametrize("word", ["multi", "discard"])
def test_where_no_right_can_be_tried_none_is_used(
    guarded_server: EmbeddedServer, deck_on: Callable[..., Deck], word: str
) -> None:
    """Row 80: a login that may not MULTI would carry out what follows."""
    owner = deck_on(guarded_server)
    owner.activate()
    before = owner.everything()
    with guarded_server.client() as client:
        client.execute_command("ACL", "SETUSER", "golive-operator", f"-{word}")
    deck = deck_on(guarded_server, username="golive-operator", password="golive-operator")
    with pytest.raises(StoreError):
        rights.lacking(deck.store.link, LISTED)
    assert deck.store.link.closed is (word == "discard"), "only what is queued must go"
    assert owner.everything() == before


def test_the_preflight_fails_for_a_right_that_is_missing(
    guarded_server: EmbeddedServer, acl_lines: dict[str, str]
) -> None:
    """Row 80: the right to push, say, without which a halt takes as long as the next read."""
    user = "golive-operator"
    line = acl_lines[user].replace("(&golive:events +publish)", "")
    assert line != acl_lines[user]
    with guarded_server.client() as client:
        client.execute_command("ACL", "SETUSER", *line.split()[1:], f">{user}")
        client.execute_command("ACL", "SETUSER", *acl_lines["default"].split()[1:])
    found = check_database_redis(
        Address(guarded_server.url, username=user, password=user), KEYSPACE
    )
    assert found.outcome is Outcome.FAIL
    assert (
        found.explain == "our login may not: PUBLISH golive:events; its ACL user needs these rights"
    )
    assert found.facts["rights"] == f"{len(LISTED) - 1} of {len(LISTED)}"


PODS = rights.of_worker(KEYSPACE, WORKER.name, WORKER.instance)


def limit(server: EmbeddedServer, *rules: str) -> None:
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "limited", "reset", "on", ">x", "~*", "&*", "+@all", *rules
        )


@pytest.fixture
def sending(
    own_server: EmbeddedServer, connect: Callable[..., RedisLink], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Outbox]:
    """An outbox that logs in as `limited`, and gives a sign of life all the time."""
    monkeypatch.setattr(outbox, "KEEP_S", 0.02)
    limit(own_server)
    login = {"username": "limited", "password": "x"}
    made = Outbox(lambda: connect(own_server, **login), KEYSPACE, 0.02, PODS)
    yield made
    made.close(60)


def test_a_right_that_is_given_back_is_seen_without_a_new_connection(
    own_server: EmbeddedServer,
    sending: Outbox,
    wait_for: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 80: what was repaired holds up no activation."""
    # A right that changes in the midst of a try costs the connection, and a minute until the next.
    monkeypatch.setattr(outbox, "RIGHTS_EVERY_MS", 50.0)
    limit(own_server, "-publish")
    sending.loop.start()
    wait_for(lambda: sending.lacks == "PUBLISH golive:receipts", what="it is missing")
    limit(own_server, "-multi")
    wait_for(lambda: sending.lacks.startswith("try its rights (Redis refused"), what="unknown")
    limit(own_server)
    wait_for(lambda: not sending.lacks, what="nothing is missing")


def test_a_memory_that_is_full_is_no_right_that_is_missing(
    own_server: EmbeddedServer,
    sending: Outbox,
    wait_for: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 80: it passes by itself, and the preflight looks at it."""
    monkeypatch.setattr(outbox, "RIGHTS_EVERY_MS", 50.0)
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
        sending.loop.start()

        def tried() -> int:
            return int(client.info("commandstats").get("cmdstat_multi", {"calls": 0})["calls"])

        wait_for(lambda: tried() >= 3, what="three tries")
        assert sending.lacks == ""
        limit(own_server, "-publish")
        client.config_set("maxmemory", 0)
        wait_for(lambda: sending.lacks == "PUBLISH golive:receipts", what="what is missing")


def test_a_receipt_that_is_owed_goes_before_any_right_is_tried(
    own_server: EmbeddedServer, sending: Outbox, wait_for: Callable[..., None]
) -> None:
    """Row 80: a stop comes first, also over a connection that was only just made."""
    signers = Signers()
    receipts = Receipts(
        signers.trust, signers.signers["pod-1"], sending, instance=WORKER.instance, worker="pod-1"
    )
    stop = signers.trust.revocation(signers.revocation(2))
    with own_server.client() as client:

        def answer() -> None:
            receipts.send(stop, Stage.LATCHED, term=1, durable=Durable.NONE)
            sending.loop.start()
            wait_for(lambda: client.exists(KEYSPACE.receipt(stop.identity)), what="the receipt")
            wait_for(lambda: client.info("commandstats").get("cmdstat_multi"), what="the try")

        said = [words[0].upper() for _, words in monitored(client, answer)]
    assert said.index("PUBLISH") < said.index("MULTI")


def test_where_a_transaction_cannot_be_ended_one_connection_is_spent_on_it_and_receipts_leave(
    own_server: EmbeddedServer, sending: Outbox, wait_for: Callable[..., None]
) -> None:
    """Row 80: what is only a look into the login may not keep a pod from answering."""
    limit(own_server, "-discard")
    sending.loop.start()
    wait_for(lambda: sending.lacks.startswith("try its rights ("), what="it is told")
    wait_for(lambda: sending.problem is None, what="it is connected again")
    with own_server.client() as client:
        made = client.info("stats")["total_connections_received"]
        pings = client.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"]
        wait_for(
            lambda: (
                client.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"] > pings + 5
            ),
            what="signs of life",
        )
        assert client.info("stats")["total_connections_received"] == made
