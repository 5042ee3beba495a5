"""Attending, rosters, receipts and the operator's reads, on every backend."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from golive_redis.core.answer import Answer, Ask
from golive_redis.errors import StoreError
from golive_redis.records.ledger import GENESIS
from golive_redis.store import rosters
from golive_redis.store.keyspace import GOODBYE_MS, Keyspace
from golive_redis.store.link import StoreRefusedError
from golive_redis.store.replies import Caller, Status
from golive_redis.store.store import Store
from kit import directives

TTL_MS = 24_000
WORKER = Caller("worker", "pod-7", "0" * 32)
HEARTBEAT = Caller("heartbeat", "hb-1", "1" * 32)
Deck = Any  # the `deck` fixture's class: test modules cannot import a conftest


def _id(record: bytes) -> str:
    return hashlib.sha256(record).hexdigest()


NOTHING = Answer("nonce", None, None, -2, None, (), False, {}, None, False)


# -- words of a death ------------------------------------------------------------------------------


def test_a_worker_that_registers_ends_the_word_that_it_is_dead(deck: Deck) -> None:
    """Row 119: one that reads on changes nothing, and its place runs out as it would have."""
    store, other = deck.store, Caller("worker", "pod-7", "2" * 32)
    pods = [(pod.name, pod.instance) for pod in (WORKER, other)]
    place = store.keys.goodbye(*pods[0])
    deck.attend()
    assert store.link.call("EXISTS", place) == 0, "no word is made"
    dead = b'{"payloadType":"application/vnd.golive.note.v1+json"}'
    for pod in pods:
        store.link.call("SET", store.keys.goodbye(*pod), dead, "PX", GOODBYE_MS)
    deck.attend(new=False)
    assert store.goodbyes(pods) == [dead, dead]
    deck.attend()
    assert store.goodbyes(pods) == [dead], "the word about the other process stands"
    assert store.link.call("GET", place) == b""
    assert GOODBYE_MS - 60_000 < store.link.call("PTTL", place) <= GOODBYE_MS
    # A question that it gave up on may be carried out after its own goodbye.
    goodbye = b'{"payloadType":"application/vnd.golive.receipt.v1+json"}'
    store.link.call("SET", place, goodbye)
    deck.attend()
    assert store.link.call("GET", place) == goodbye
    store.link.call("SET", f"{store.keys.namespace}:left:{HEARTBEAT.member}", dead)
    deck.attend(HEARTBEAT)
    assert store.link.call("GET", f"{store.keys.namespace}:left:{HEARTBEAT.member}") == dead


# -- attend ----------------------------------------------------------------------------------------


def test_an_empty_store_answers_off_with_the_nonce_of_the_question(deck: Deck) -> None:
    """Row 8."""
    assert deck.attend() == (Status.OK, NOTHING, "")


def test_an_answer_holds_everything_in_force(deck: Deck) -> None:
    deck.activate()
    deck.restrict()
    deck.restrict()
    deck.beat()
    assert deck.attend(HEARTBEAT)[2] == deck.head
    status, answer, head = deck.attend()
    assert (status, head) == (Status.OK, "")  # a worker writes nothing to the ledger
    assert (answer.grant, sorted(answer.restrictions)) == (b"grant 1", [b"halt 2", b"halt 3"])
    assert (answer.beats, answer.last) == ({"hb-1": b"beat 1"}, _id(b"halt 3"))
    assert TTL_MS - 5_000 < answer.pttl_ms <= TTL_MS
    assert (answer.active, answer.unchanged, answer.revoked) == (True, False, None)


def test_an_answer_leaves_out_the_state_that_the_caller_knows_but_not_its_life_and_beats(
    deck: Deck,
) -> None:
    deck.activate()
    deck.restrict()
    deck.beat(2)
    _, answer, _ = deck.attend(known_last=deck.last)
    assert (answer.unchanged, answer.active, answer.grant) == (True, True, None)
    assert answer.restrictions == ()
    assert answer.beats == {"hb-1": b"beat 2"}
    assert answer.pttl_ms > 0


def test_an_answer_shows_the_state_again_as_soon_as_it_moved(deck: Deck) -> None:
    deck.activate()
    known = deck.last
    deck.restrict()
    _, answer, _ = deck.attend(known_last=known)
    assert (answer.unchanged, answer.restrictions) == (False, (b"halt 2",))


def test_an_answer_after_the_stop_is_off_although_the_caller_knows_the_state(deck: Deck) -> None:
    """Row 2: 'the same as you know' is never said of a key that is gone."""
    deck.activate()
    known = deck.last
    deck.revoke()
    _, answer, _ = deck.attend(known_last=known)
    assert (answer.active, answer.pttl_ms, answer.revoked) == (False, -2, b"revocation 2")


def test_an_answer_leaves_out_the_tombstone_that_the_caller_knows(deck: Deck) -> None:
    deck.revoke(4)
    _, answer, _ = deck.attend(known_revoked=_id(b"revocation 4"))
    assert (answer.revoked, answer.revoked_unchanged) == (None, True)
    deck.revoke(5)
    _, answer, _ = deck.attend(known_revoked=_id(b"revocation 4"))
    assert (answer.revoked, answer.revoked_unchanged) == (b"revocation 5", False)


def test_an_answer_tells_a_key_without_end_as_it_is(deck: Deck) -> None:
    """Row 26."""
    deck.activate()
    deck.store.link.call("PERSIST", "golive:active")
    assert deck.attend()[1].pttl_ms == -1


@pytest.mark.parametrize("caller", [WORKER, HEARTBEAT])
def test_a_caller_that_is_not_registered_is_told_so_and_told_nothing_else(
    deck: Deck, caller: Caller
) -> None:
    """Row 65: nobody is armed who is not on the roster."""
    deck.activate()
    assert deck.attend(caller, new=False) == (Status.REGISTER, NOTHING, "")
    assert deck.attend(caller)[0] is Status.OK
    status, answer, _ = deck.attend(caller, new=False)
    assert (status, answer.active) == (Status.OK, True)


@pytest.mark.parametrize("caller", [WORKER, HEARTBEAT])
@pytest.mark.parametrize("gone", ["presence", "roster"])
def test_whose_presence_or_roster_entry_is_gone_must_register_again(
    deck: Deck, caller: Caller, gone: str
) -> None:
    """Row 65."""
    deck.activate()
    deck.attend(caller)
    keys = deck.store.keys
    worker = caller.role == "worker"
    presence = keys.worker("pod-7", "0" * 32) if worker else keys.heartbeat("hb-1", "1" * 32)
    roster = keys.fleet if worker else keys.heartbeats
    assert deck.store.link.call("DEL", presence if gone == "presence" else roster) == 1
    assert deck.attend(caller, new=False) == (Status.REGISTER, NOTHING, "")


def test_presence_lives_ten_seconds_from_the_last_attend(deck: Deck) -> None:
    deck.attend()
    key = deck.store.keys.worker("pod-7", "0" * 32)
    assert 5_000 < deck.store.link.call("PTTL", key) <= 10_000
    deck.store.link.call("PEXPIRE", key, 1_000)
    deck.attend(new=False)
    assert 5_000 < deck.store.link.call("PTTL", key) <= 10_000


def test_the_roster_remembers_when_an_instance_was_first_seen(deck: Deck) -> None:
    deck.attend()
    deck.store.link.call("ZADD", "golive:fleet", 5, WORKER.member)
    deck.attend()
    assert float(deck.store.link.call("ZSCORE", "golive:fleet", WORKER.member)) == 5


@pytest.mark.parametrize("name", ["active", "beat", "revoked"])
def test_a_state_key_of_a_wrong_type_is_named_and_answers_off(deck: Deck, name: str) -> None:
    """Rows 17 and 18."""
    deck.activate()
    deck.store.link.call("DEL", f"golive:{name}")
    deck.store.link.call("ZADD", f"golive:{name}", 1, "x")
    _, answer, _ = deck.attend()
    assert answer.corrupt == f"golive:{name}"
    assert (answer.active, answer.beats) == (False, {})


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("caller", [WORKER, HEARTBEAT])
def test_a_roster_of_a_wrong_type_is_named_and_answers_off(
    deck: Deck, caller: Caller, new: bool
) -> None:
    """Row 65: who cannot be counted must not trade."""
    deck.activate()
    deck.attend(caller)
    roster = "golive:fleet" if caller.role == "worker" else "golive:heartbeats"
    deck.store.link.call("DEL", roster)
    deck.store.link.call("SET", roster, "x")
    _, answer, _ = deck.attend(caller, new=new)
    assert (answer.corrupt, answer.active) == (roster, False)


def test_a_ledger_head_of_a_wrong_type_does_not_close_the_fleet(deck: Deck) -> None:
    """Row 17: the ledger gates loosening only."""
    deck.activate()
    deck.store.link.call("DEL", "golive:head")
    deck.store.link.call("ZADD", "golive:head", 1, "x")
    _, answer, head = deck.attend(HEARTBEAT)
    assert (answer.corrupt, answer.active, head) == (None, True, "")


def test_a_presence_key_of_a_wrong_type_is_an_error_and_no_answer(deck: Deck) -> None:
    deck.activate()
    deck.store.link.call("SET", deck.store.keys.worker("pod-7", "0" * 32), "x")
    with pytest.raises(StoreRefusedError, match="WRONGTYPE"):
        deck.attend()


@pytest.mark.parametrize("reply", [b"OK", 7, None, [], [b"nonce", b"OK"], [b"x"] * 10])
def test_a_reply_of_another_shape_is_no_answer_of_any_step(reply: Any) -> None:
    """Row 8: off by one, or from something that is not Redis."""

    class Parrot:
        """A link that says one thing whatever it is asked."""

        functions = False

        def call(self, *_: Any) -> Any:
            return reply

    store = Store(Parrot(), Keyspace("golive"))  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        store.attend(Ask("nonce", "", ""), WORKER, {})
    with pytest.raises(StoreError):
        store.revoke(directives.revocation(b"r", "i", epoch=1))
    with pytest.raises(StoreError):
        store.beat("hb-1", b"b", term=1, ttl_ms=TTL_MS)


# -- rosters ---------------------------------------------------------------------------------------


def test_two_instances_of_one_worker_are_two_roster_entries(deck: Deck) -> None:
    """Row 61."""
    deck.attend(Caller("worker", "pod-7", "a" * 32))
    deck.attend(Caller("worker", "pod-7", "b" * 32))
    found = {(pod.name, pod.instance): pod.alive for pod in deck.store.workers()}
    assert found == {("pod-7", "a" * 32): True, ("pod-7", "b" * 32): True}


FOREIGN = [
    b"",
    b"pod-7",
    b"pod-7:",
    b":" + b"a" * 32,
    b"pod-7:" + b"a" * 31,
    b"pod-7:" + b"a" * 33,
    b"pod-7:" + b"A" * 32,
    b"pod-7:" + b"z" * 600,
    b"pod-7:x " + b"a" * 32,
    b"pod-7:x:" + b"a" * 32,
    b"pod\xff-7:" + b"a" * 32,
    b"pod-7:" + b"a" * 32 + b"\n",
    b"--config=x:" + b"a" * 32,
    b"p" * 65 + b":" + b"a" * 32,
]


def test_what_no_guard_has_written_is_nobody_and_is_struck_by_its_bytes(deck: Deck) -> None:
    """Row 94: a worker's login may ZADD anything; a guard writes its name and 32 hex digits."""
    longest = Caller("worker", "P" + "._-9" * 15 + "end", "0123456789abcdef" * 2)
    for each in (longest, WORKER):
        deck.attend(each)
    for member in FOREIGN:
        deck.store.link.call("ZADD", deck.store.keys.fleet, 5, member)
    found, whole, foreign = deck.store.fleet()
    mine = {(each.name, each.instance) for each in (longest, WORKER)}
    cut = {member[: rosters.LONGEST + 1] for member in FOREIGN}
    assert (set(found), whole, set(foreign)) == (mine, True, cut)
    assert {(pod.name, pod.instance) for pod in deck.store.workers()} == mine
    deck.store.strike(foreign)
    assert set(deck.store.fleet().pods) == mine and not deck.store.fleet().foreign
    assert deck.store.link.call("ZCARD", deck.store.keys.fleet) == 2


def test_an_entry_longer_than_any_guard_writes_is_never_sent_and_goes(
    deck: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 94: one of 400 MB took longer than a stop waits for an answer, at each look."""
    deck.attend()
    huge = b"x" * 1_000_000 + b":" + b"a" * 32
    for number in range(3):
        deck.store.link.call("ZADD", deck.store.keys.fleet, 0, b"%d" % number + huge)
    real, sent = deck.store.link.call, []

    def call(*command: Any) -> Any:
        sent.append(real(*command))
        return sent[-1]

    monkeypatch.setattr(deck.store.link, "call", call)
    pods, whole, foreign = deck.store.fleet()
    assert (pods, whole, len(foreign)) == ([(WORKER.name, WORKER.instance)], True, 3)
    assert max(len(member) for page in sent for member in page) == rosters.LONGEST + 1
    assert deck.store.fleet() == (pods, True, ())
    assert deck.store.told_directives() == []


def test_where_it_may_not_be_struck_a_cut_entry_between_two_pages_makes_no_whole_roster(
    deck: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that are cut look the same: whether entries were skipped is not known (A4)."""
    monkeypatch.setattr(rosters, "POD_PAGE", 10)
    cut = b"x" * (rosters.LONGEST + 1)
    members = [b"pod-%d:" % number + b"0" * 32 for number in range(15)]

    def page(first: int, last: int) -> list[bytes]:
        return [*members[:10], cut, *members[10:]][first : last + 1]

    monkeypatch.setattr(deck.store, "fleet_page", page)
    assert not deck.store.fleet().whole
    monkeypatch.setattr(rosters, "POD_PAGE", 20)
    assert deck.store.fleet().whole and len(deck.store.fleet().pods) == 15


def test_a_heartbeat_under_what_is_no_name_is_nobody_and_a_spoilt_instance_stays(
    deck: Deck,
) -> None:
    """Without its entry a receipt of any process of that name would do: it fails closed."""
    for name in (b"", b"--config=x", b"hb 1", b"hb\xff", b"h" * 65):
        deck.store.link.call("HSET", deck.store.keys.heartbeats, name, "1" * 32)
    deck.store.link.call("HSET", deck.store.keys.heartbeats, "hb-1", "spoilt")
    assert [(item.name, item.instance) for item in deck.store.heartbeats()] == [("hb-1", "spoilt")]


def test_a_silent_pod_stays_on_the_roster_without_being_alive(deck: Deck) -> None:
    """Row 65: who fell silent is not forgotten."""
    deck.attend()
    deck.attend(HEARTBEAT)
    keys = deck.store.keys
    deck.store.link.call("DEL", keys.worker("pod-7", "0" * 32), keys.heartbeat("hb-1", "1" * 32))
    [worker], [heartbeat] = deck.store.workers(), deck.store.heartbeats()
    assert (worker.name, worker.alive) == ("pod-7", False)
    assert (heartbeat.name, heartbeat.alive) == ("hb-1", False)


def test_a_heartbeat_that_restarts_keeps_its_one_roster_entry(deck: Deck) -> None:
    """Row 62: names are stable, instances are not."""
    deck.attend(HEARTBEAT)
    deck.attend(Caller("heartbeat", "hb-1", "2" * 32))
    assert [(pod.name, pod.instance) for pod in deck.store.heartbeats()] == [("hb-1", "2" * 32)]


OTHERS = [Caller("worker", "pod-8", "8" * 32), Caller("heartbeat", "hb-2", "9" * 32)]


def test_a_heartbeat_that_leaves_is_off_the_roster_and_nobody_else(deck: Deck) -> None:
    for each in (*OTHERS, HEARTBEAT):
        deck.attend(each)
    deck.store.leave(HEARTBEAT)
    left = [(pod.name, pod.alive) for pod in deck.store.workers() + deck.store.heartbeats()]
    assert left == [("pod-8", True), ("hb-2", True)]
    assert deck.attend(HEARTBEAT, new=False)[0] is Status.REGISTER


def test_a_goodbye_of_a_worker_is_kept_and_its_roster_entry_too(deck: Deck) -> None:
    """Row 97: only who has verified it may strike the entry off."""
    for each in (*OTHERS, WORKER):
        deck.attend(each)
    deck.store.keep_goodbye(WORKER, b"goodbye")
    pods = {pod.name: pod.alive for pod in deck.store.workers()}
    assert pods == {"pod-7": False, "pod-8": True}
    asked = [(each.name, each.instance) for each in (OTHERS[0], WORKER)]
    assert deck.store.goodbyes(asked) == [b"goodbye"]
    assert deck.store.goodbyes([]) == []
    key = deck.store.keys.goodbye(WORKER.name, WORKER.instance)
    assert 0 < deck.store.link.call("PTTL", key) <= GOODBYE_MS


def test_a_roster_of_any_length_is_read_to_its_end(
    deck: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 98: page by page, and again when entries were struck between two pages."""
    monkeypatch.setattr(rosters, "POD_PAGE", 10)
    for size in (0, 1, 10, 11, 21, 35):
        deck.store.link.call("DEL", deck.store.keys.fleet)
        for number in range(size):
            deck.store.link.call("ZADD", deck.store.keys.fleet, 5, f"pod-{number:03}:{'0' * 32}")
        expected = [(f"pod-{number:03}", "0" * 32) for number in range(size)]
        assert deck.store.fleet() == (expected, True, ())
    monkeypatch.setattr(rosters, "MAX_FLEET", 30)
    assert deck.store.fleet() == (expected[:30], False, ())


def test_an_entry_that_is_struck_while_the_roster_is_read_hides_no_other(
    deck: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rosters, "POD_PAGE", 10)
    members = [f"pod-{number:03}:{'0' * 32}" for number in range(25)]
    for member in members:
        deck.store.link.call("ZADD", deck.store.keys.fleet, 5, member)
    real, calls = deck.store.link.call, []

    def call(*command: Any) -> Any:
        calls.append(command)
        if len(calls) == 2:
            real("ZREM", deck.store.keys.fleet, members[0])
        return real(*command)

    monkeypatch.setattr(deck.store.link, "call", call)
    found, whole, _ = deck.store.fleet()
    assert whole
    assert [f"{name}:{instance}" for name, instance in found] == members[1:]


def test_workers_are_struck_from_the_roster_by_member(deck: Deck) -> None:
    deck.attend()
    deck.attend(Caller("worker", "pod-8", "8" * 32))
    deck.store.strike([])
    deck.store.strike([WORKER.member])
    assert [pod.name for pod in deck.store.workers()] == ["pod-8"]


def test_a_presence_key_of_a_wrong_type_reads_as_silent(deck: Deck) -> None:
    deck.attend()
    key = deck.store.keys.worker("pod-7", "0" * 32)
    deck.store.link.call("DEL", key)
    deck.store.link.call("SET", key, "x")
    assert [pod.alive for pod in deck.store.workers()] == [False]


def test_every_pod_on_a_roster_is_asked_for_the_directive_it_has_verified(deck: Deck) -> None:
    """Row 6: after a loss of the server's data the next epoch is counted from what pods tell."""
    ask = Ask("nonce", "", "")
    assert deck.store.told_directives() == []
    deck.store.attend(ask, WORKER, {"state": b"cold", "directive": b"one"})
    deck.store.attend(ask, HEARTBEAT, {"state": b"silent", "directive": b"two"})
    deck.store.attend(ask, Caller("worker", "pod-8", "8" * 32), {"state": "COLD"})
    deck.store.link.call("ZADD", "golive:fleet", 1, "gone:" + "9" * 32)
    assert sorted(deck.store.told_directives()) == [b"one", b"two"]


def test_changes_alone_make_no_presence_where_none_is(deck: Deck) -> None:
    """Row 109: after a FLUSHALL a closed guard has only counts to tell, and would be without version."""
    ask = Ask("n", "", "")
    for caller in (WORKER, HEARTBEAT):
        status, *_ = deck.store.attend(ask, caller, {"skipped": b"7"})
        assert status is Status.REGISTER
        assert deck.everything() == {}
        deck.store.attend(ask, caller, {"state": b"cold", "version": b"1", "skipped": b"7"})
        status, *_ = deck.store.attend(ask, caller, {"skipped": b"8"})
        assert status is Status.OK
        deck.store.link.call("FLUSHALL")


# -- receipts and reads ----------------------------------------------------------------------------


def test_stored_receipts_come_back_for_their_directive_only(deck: Deck) -> None:
    deck.store.deliver("d1", "a:latched", b"one")
    deck.store.deliver("d1", "a:drained", b"two")
    deck.store.deliver("d1", "a:drained", b"two")
    deck.store.deliver("d2", "a:latched", b"three")
    assert sorted(deck.store.receipts("d1")[0]) == [b"one", b"two"]
    assert deck.store.receipts("d3") == ([], True)


def test_an_empty_store_reads_as_off_at_genesis(deck: Deck) -> None:
    now = deck.store.snapshot()
    assert (now.grant, now.restrictions, now.beats, now.revoked) == (None, {}, {}, None)
    assert (now.pttl_ms, now.epoch_hint, now.last, now.head) == (-2, 0, "", GENESIS)
    assert (now.corrupt, deck.store.head(), deck.store.snapshot().revoked) == ((), GENESIS, None)
    assert (deck.store.workers(), deck.store.heartbeats()) == ([], [])


@pytest.mark.parametrize("name", ["active", "beat", "revoked", "epoch", "last", "head"])
def test_a_snapshot_names_the_keys_of_a_wrong_type_and_reads_the_others(
    deck: Deck, name: str
) -> None:
    """Rows 17 and 18: `status` must still work."""
    deck.activate()
    deck.beat()
    deck.store.link.call("DEL", f"golive:{name}")
    deck.store.link.call("ZADD", f"golive:{name}", 1, "x")
    now = deck.store.snapshot()
    assert now.corrupt == (f"golive:{name}",)
    assert now.grant == (None if name == "active" else b"grant 1")
    assert now.beats == ({} if name == "beat" else {"hb-1": b"beat 1"})
    assert now.head == (GENESIS if name == "head" else deck.head)


# -- the checkpoint --------------------------------------------------------------------------------


def test_a_checkpoint_takes_the_place_of_the_one_that_was_read_and_of_no_other(deck: Deck) -> None:
    """Two heartbeats that sign at once: the second one looks again, and repeats do no harm."""
    store = deck.store
    assert store.checkpoint() == b""
    assert store.replace_checkpoint(b"one", read=b"").status is Status.OK
    assert store.replace_checkpoint(b"one", read=b"").status is Status.SAME
    assert store.replace_checkpoint(b"two", read=b"").status is Status.CONFLICT
    assert store.checkpoint() == b"one"
    assert store.replace_checkpoint(b"two", read=b"one").status is Status.OK
    assert store.checkpoint() == b"two"


def test_a_checkpoint_of_a_wrong_type_counts_as_none_and_is_replaced(deck: Deck) -> None:
    deck.store.link.call("ZADD", "golive:checkpoint", 1, "x")
    assert deck.store.checkpoint() == b""
    assert deck.store.replace_checkpoint(b"one", read=b"").status is Status.OK
    assert deck.store.checkpoint() == b"one"


def test_a_page_of_the_ledger_ends_where_it_is_told(deck: Deck) -> None:
    for number in (1, 2, 3):
        deck.store.link.call("XADD", "golive:audit", f"{number}-0", "r", "x", "h", str(number))
    assert [entry.head for entry in deck.store.ledger_from("1-0", "2")] == ["1", "2"]
    assert [entry.head for entry in deck.store.ledger_from("(1-0", "2-0")] == ["2"]
    assert deck.store.ledger_from("(3-0", "9") == []
