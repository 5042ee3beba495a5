"""The scripts as functions of one library: nobody needs EVAL, and a stop does not need the library.

That each step does the same in both ways is in the other modules: they run the contract both ways.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from golive_redis.records.ledger import Entry
from golive_redis.records.rotation import Step
from golive_redis.store import acl, library, rights, scripts
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import StoreRefusedError
from golive_redis.store.replies import Caller, Status
from golive_redis.testing.server import EmbeddedServer
from kit.logins import monitored

Deck = Any  # the `deck` fixture's class: test modules cannot import a conftest
WORKER = Caller("worker", "pod-7", "0" * 32)
NO_EVAL = ("~*", "&*", "+@all", "-eval", "-evalsha", "-eval_ro", "-evalsha_ro")


@pytest.fixture
def without_eval(own_server: EmbeddedServer, deck_on: Callable[..., Deck]) -> Callable[[], Deck]:
    """A client that runs functions, and whose login may do everything but EVAL."""

    def login() -> Deck:
        with own_server.client() as client:
            client.execute_command("ACL", "SETUSER", "none", "reset", "on", ">x", *NO_EVAL)
        return deck_on(own_server, username="none", password="x", functions=True)

    return login


def test_no_step_needs_eval_where_the_library_is(
    own_server: EmbeddedServer, without_eval: Callable[[], Deck], deck_on: Callable[..., Deck]
) -> None:
    library.install(deck_on(own_server).store.link)
    deck = without_eval()
    deck.store.link.open()
    with own_server.client() as client:
        client.echo("connected")
        seen = [words for inner, words in monitored(client, lambda: _day(deck)) if not inner]
    called = {words[1] for words in seen if words[0].upper() == "FCALL"}
    assert called == {scripts.function(name) for name in scripts.names()}
    assert not [words for words in seen if words[0].upper().startswith("EVAL")]


def _day(deck: Deck) -> None:
    store = deck.store
    assert deck.activate().status is Status.OK
    assert deck.attend()[0] is Status.OK
    assert deck.beat().status is Status.OK
    assert deck.restrict().status is Status.OK
    assert deck.revoke().status is Status.OK
    assert store.append(b"n", head=deck.head, head_after="a" * 64).status is Status.OK
    old = Entry(b"m", "b" * 64, "1-1")
    assert store.put_back([old], head="c" * 64).status is Status.HEAD
    step = Step(b"keyset 2", b"signed")
    assert store.publish_keyset(2, step, before=b"keyset 1", head="a" * 64).status is Status.OK
    assert store.replace_checkpoint(b"c", read=b"").status is Status.OK
    assert store.fleet().pods == [(WORKER.name, WORKER.instance)]
    store.link.call("DEL", store.keys.worker(WORKER.name, WORKER.instance))
    assert store.forget(WORKER.name, WORKER.instance, b"dead")


def _said(step: Callable[[], Any]) -> Any:
    """What a step returns, or its refusal."""
    try:
        return step()
    except StoreRefusedError as error:
        return error


def test_without_the_library_nothing_is_done_and_the_command_that_installs_it_is_named(
    own_server: EmbeddedServer, deck_on: Callable[..., Deck], without_eval: Callable[[], Deck]
) -> None:
    deck_on(own_server).activate()
    deck = deck_on(own_server, functions=True)
    for step in (deck.attend, deck.restrict, lambda: deck.activate(9)):
        with pytest.raises(StoreRefusedError) as refused:
            step()
        assert refused.value.code == scripts.MISSING
        assert scripts.library() in refused.value.message
        assert "golive store install" in refused.value.hint
    # A stop goes by its text then, and so does what it reads: whose login may not is told.
    assert _said(lambda: deck.store.fleet().pods) == []
    with pytest.raises(StoreRefusedError) as refused:
        without_eval().revoke(9)
    assert refused.value.code == "NOPERM"
    assert _said(lambda: deck.revoke(9).status) is Status.OK
    library.install(deck.store.link)
    assert deck.attend()[0] is Status.OK, "over the same connection"


def test_two_versions_live_beside_each_other_and_one_that_was_changed_is_seen(
    own_server: EmbeddedServer, deck_on: Callable[..., Deck]
) -> None:
    link = deck_on(own_server).store.link
    own, other = scripts.library(), "golive_0123456789ab"
    assert library.look(link) == library.Installed(own, False, False, ())
    link.call("FUNCTION", "LOAD", scripts.code().replace(own, other))
    library.install(link)
    library.install(link)
    assert library.look(link) == library.Installed(own, True, False, (other,))
    assert library.look(link).usable
    changed = scripts.code().replace("XADD", "XDEL")
    link.call("FUNCTION", "LOAD", "REPLACE", changed)
    assert library.look(link) == library.Installed(own, True, True, (other,))
    assert not library.look(link).usable
    library.install(link)
    library.remove(link, other)
    assert library.look(link) == library.Installed(own, True, False, ())


def test_a_foreign_library_is_none_of_ours(
    own_server: EmbeddedServer, deck_on: Callable[..., Deck]
) -> None:
    link = deck_on(own_server).store.link
    foreign = "#!lua name=mine\nredis.register_function('f', function() return 1 end)"
    link.call("FUNCTION", "LOAD", foreign)
    library.install(link)
    assert library.look(link).others == ()
    assert link.call("FCALL", "f", 0) == 1


@pytest.mark.parametrize("role", ["worker", "operator", "heartbeat"])
def test_the_rights_that_are_tried_are_those_that_are_used(
    own_server: EmbeddedServer, deck_on: Callable[..., Deck], role: str
) -> None:
    """Row 80: a login without FCALL lacks it, and nobody misses EVAL."""
    keys = Keyspace("golive")
    wanted = {
        "worker": rights.of_worker(keys, "pod-7", "0"),
        "operator": rights.of_operator(keys),
        "heartbeat": rights.of_heartbeat(keys, "hb-1", "0"),
    }[role]
    user = acl.user_of(acl.Role(role), keys, functions=True, more=(">x",))
    login = {"username": user.user, "password": "x", "functions": True}
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", user.user, *user.rules)
        assert rights.lacking(deck_on(own_server, **login).store.link, wanted) == []
        client.execute_command("ACL", "SETUSER", user.user, "-fcall")
        missing = rights.lacking(deck_on(own_server, **login).store.link, wanted)
    assert missing
    assert all(text.startswith("FCALL golive:") for text in missing)


def test_a_worker_has_no_eval_and_no_other_role_more_than_a_stop_needs() -> None:
    scripting = {
        role: sorted(
            word
            for word in acl.user_of(role, Keyspace("golive"), functions=True).rules
            if re.match(r"\+(eval|fcall|script|function)", word)
        )
        for role in acl.Role
    }
    assert scripting == {
        "worker": ["+fcall"],
        "heartbeat": ["+eval", "+fcall"],
        "operator": ["+eval", "+fcall", "+function|list"],
        "auditor": [],
        "archivist": ["+fcall"],
        "card": ["+eval", "+fcall"],
    }
