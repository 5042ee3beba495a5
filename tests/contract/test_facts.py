"""What a step says it did is what is in force afterwards, whichever of its commands is refused (A7).

Every script is run once with every right, under MONITOR; then again for each command and key that it
touched, by a user who lacks exactly that right, then out of memory, then with each key of a wrong type.
Real servers only: fakeredis knows no ACL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import redis

from golive_redis.errors import StoreError
from golive_redis.records.ledger import GENESIS, extend
from golive_redis.store import scripts
from golive_redis.store.link import StoreRefusedError
from golive_redis.store.replies import Caller, Status, Step, Stop
from golive_redis.testing.server import EmbeddedServer
from kit.logins import EVENTS, KEYS, STATE, monitored, without

Deck = Any  # the `deck` fixture's class: test modules cannot import a conftest
World = dict[str, Any]
HEARTBEAT = Caller("heartbeat", "hb-1", "1" * 32)


HIDING = "X-"  # before the name of a command that an operator has renamed


class Scene(NamedTuple):
    """One way through a script."""

    script: str
    prepare: Callable[[Deck, redis.Redis], object]
    step: Callable[[Deck], Any]


def _live(deck: Deck, _: redis.Redis) -> None:
    deck.activate()


def _halted(deck: Deck, _: redis.Redis) -> None:
    deck.activate()
    deck.restrict()


def _stopped(deck: Deck, _: redis.Redis) -> None:
    deck.activate()
    deck.revoke()
    deck.epoch += 1


def _late(deck: Deck, client: redis.Redis) -> None:
    deck.activate()
    deck.beat()
    client.pexpire("golive:active", 5_000)


def _attended(deck: Deck, _: redis.Redis) -> None:
    deck.activate()
    deck.restrict()
    deck.beat()
    deck.attend()
    deck.attend(HEARTBEAT)


def _attested_dead(deck: Deck, client: redis.Redis) -> None:
    deck.activate()
    word = b'{"payloadType":"application/vnd.golive.note.v1+json"}'
    client.set(deck.store.keys.goodbye("pod-7", "0" * 32), word)


def _nothing(deck: Deck, _: redis.Redis) -> None:
    del deck


def _append(deck: Deck) -> Step:
    step: Step = deck.store.append(b"note", head=deck.head, head_after=extend(deck.head, b"note"))
    return step


SCENES = {
    "activate": Scene("grant", _nothing, lambda deck: deck.activate(record=b"mine")),
    "activate with an execution": Scene(
        "grant", _nothing, lambda deck: deck.activate(record=b"mine", execution=b"now")
    ),
    "activate after a stop": Scene("grant", _stopped, lambda deck: deck.activate(record=b"mine")),
    "resume": Scene("grant", _halted, lambda deck: deck.change(record=b"mine")),
    "halt": Scene("restrict", _live, lambda deck: deck.restrict(record=b"mine")),
    "halt again": Scene(
        "restrict", _halted, lambda deck: deck.restrict(record=b"mine", again=True)
    ),
    "revoke": Scene("revoke", _halted, lambda deck: deck.revoke(record=b"mine")),
    "revoke nothing": Scene("revoke", _nothing, lambda deck: deck.revoke(record=b"mine")),
    "revoke above a stop": Scene("revoke", _stopped, lambda deck: deck.revoke(record=b"mine")),
    "append": Scene("append", _live, _append),
    "append first": Scene("append", _nothing, _append),
    "beat": Scene("beat", _late, lambda deck: deck.beat(2)),
    "register a worker": Scene("attend", _live, lambda deck: deck.attend()),
    "register one that is said to be dead": Scene(
        "attend", _attested_dead, lambda deck: deck.attend()
    ),
    "register a heartbeat": Scene("attend", _live, lambda deck: deck.attend(HEARTBEAT)),
    "renew a worker": Scene("attend", _attended, lambda deck: deck.attend(new=False)),
    "renew a heartbeat": Scene("attend", _attended, lambda deck: deck.attend(HEARTBEAT, new=False)),
}


class Ran(NamedTuple):
    """A step that was taken: what it said, and how things were before and are after it."""

    outcome: Any
    before: World
    after: World
    heard: bool


class Bench:
    """Takes the step of a scene on an empty store, as one user or another."""

    def __init__(
        self,
        scene: Scene,
        server: EmbeddedServer,
        deck_on: Callable[..., Deck],
        hidden: str = "",
    ) -> None:
        self.scene = scene
        self.hidden = hidden
        self.client = server.client()
        self.deck_on = deck_on
        self.server = server
        self.eye = deck_on(server).store.link
        self.ear = self.client.pubsub(ignore_subscribe_messages=True)
        self.ear.subscribe(EVENTS)

    def close(self) -> None:
        """Let go of the server."""
        self.ear.close()
        self.client.close()

    def run(self, trouble: Callable[[], None], **login: Any) -> Ran:
        """Prepare, make trouble, take the step and look."""
        self.client.flushall()
        deck = self.deck_on(self.server)
        self.scene.prepare(deck, self.client)
        self.heard()
        trouble()
        before = self.world()
        try:
            outcome = self.scene.step(deck.over(self.deck_on(self.server, **login).store))
        except StoreError as error:
            outcome = error
        return Ran(outcome, before, self.world(), self.heard())

    def heard(self) -> bool:
        """Tell whether the directive was pushed: all that was published before the mark has come."""
        self.call("PUBLISH", EVENTS, "mark")
        said = []
        while not said or said[-1] != b"mark":
            message = self.ear.get_message(timeout=5)
            if message is not None:
                said.append(message["data"])
        return b"mine" in said

    def touched(self) -> list[tuple[str, str]]:
        """Return what the script does with every right: each command with a key or channel of it."""
        found: dict[tuple[str, str], None] = {}
        for in_script, words in monitored(self.client, lambda: self.run(self.mark)):
            if words[0].upper() == "ECHO":
                found.clear()  # what came before was preparation
            elif in_script:
                targets = [word for word in words[1:] if word in {*KEYS, EVENTS}] or [""]
                found.update({(words[0].upper(), target): None for target in targets})
        return list(found)

    def call(self, name: str, *words: str | int) -> Any:
        """Ask the server by hand; a command that is renamed goes by the name that it has there."""
        return self.eye.call(HIDING + name if name == self.hidden else name, *words)

    def world(self) -> World:
        """Every key with its value and how long it lives; of a stream the entries' fields."""
        look: dict[bytes, Callable[[str], Any]] = {
            b"string": lambda key: self.call("GET", key),
            b"hash": lambda key: _pairs(self.call("HGETALL", key)),
            b"zset": lambda key: self.call("ZRANGE", key, 0, -1),
            b"list": lambda key: self.call("LRANGE", key, 0, -1),
            b"stream": lambda key: [
                (fields[1], fields[3].decode()) for _, fields in self.call("XRANGE", key, "-", "+")
            ],
        }
        return {
            key.decode(): (
                look[self.call("TYPE", key)](key.decode()),
                _life(self.call("PTTL", key)),
            )
            for key in sorted(self.call("KEYS", "golive:*"))
        }

    def mark(self) -> None:
        self.client.echo("prepared")

    def full(self) -> None:
        self.client.config_set("maxmemory", 1)


def _life(pttl: int) -> str:
    """Return "" for ever, else whether it is of a presence or of a renewed term (`TTL_MS`, 24 s)."""
    return "" if pttl < 0 else "long" if pttl > 12_000 else "short"


# -- the judge -------------------------------------------------------------------------------------


def judge(scene: Scene, ran: Ran, whole: Ran, why: str) -> None:
    """Compare what was said with what is in force.

    Args:
        whole: The same step with every right.
        why: What was refused, for the message.
    """
    _chained(ran.after, why)
    step = ran.outcome
    if scene.script == "attend":
        _has_asked(ran, whole, why)
    elif isinstance(step, StoreRefusedError) or step.status is Status.REFUSED:
        # The beats of a term that is over are nothing that anybody counts on.
        assert _but(ran.after, "beat") == _but(ran.before, "beat"), why
        assert not ran.heard, why
    elif scene.script == "beat":
        assert _same(ran, whole, "beat", alive=False), why
        assert _same(ran, whole, "beat", "active") or step.detail, why
    elif scene.script == "append":
        assert _same(ran, whole, "head", "audit"), why
    elif scene.script == "grant":
        assert step.status is Status.OK, why
        assert _same(ran, whole, *STATE), why
        assert ran.heard is not bool(step.unpushed), why
    else:
        _has_stopped(ran, whole, why)


def _same(ran: Ran, whole: Ran, *names: str, alive: bool = True) -> bool:
    """Tell whether those keys are as they should be; not `alive`: however long they live."""
    keys = [f"golive:{name}" for name in names]
    found, wanted = ([of.after.get(key) for key in keys] for of in (ran, whole))
    if alive:
        return found == wanted
    return [item and item[0] for item in found] == [item and item[0] for item in wanted]


def _but(found: World, *names: str) -> World:
    return {key: value for key, value in found.items() if key.split(":")[1] not in names}


def _has_stopped(ran: Ran, whole: Ran, why: str) -> None:
    """A halt or a stop is in force as it was said, with or without its push and its entry."""
    step = ran.outcome
    audit = step.audit if isinstance(step, Stop) else step.why
    assert step.status in {Status.OK, Status.GONE}, why
    assert ran.heard is not bool(step.unpushed), why
    entries = ran.after.get("golive:audit", ([],))[0]
    assert ((b"mine" in dict(entries)) if _readable(entries) else False) is (audit == "AUDITED"), (
        why
    )
    if isinstance(step, Step):
        assert _same(ran, whole, "active"), why
        return
    assert "golive:active" not in ran.after, why
    stone = ran.after.get("golive:revoked", ({},))[0]
    assert (isinstance(stone, dict) and stone.get(b"record") == b"mine") is not bool(
        step.unrecorded
    ), why


def _has_asked(ran: Ran, whole: Ran, why: str) -> None:
    """Who got no answer may be listed, and then has to answer a stop; its presence ends by itself."""
    assert all(ran.after[key][1] for key in KEYS[-2:] if key in ran.after), why
    if isinstance(ran.outcome, StoreRefusedError):
        assert all(ran.after.get(key) == ran.before.get(key) for key in KEYS[:-4]), why
        return
    status, answer, _ = ran.outcome
    if status is Status.OK and answer.corrupt is None:
        assert _same(ran, whole, "fleet", "heartbeats"), why
        assert {key: ran.after.get(key) for key in KEYS[-2:]} == {
            key: whole.after.get(key) for key in KEYS[-2:]
        }, why


def _readable(entries: Any) -> bool:
    return all(isinstance(entry, tuple) for entry in entries)


def _chained(after: World, why: str) -> None:
    """Whatever was refused, each entry follows from the one before, and the head is the last one's."""
    entries, said = after.get("golive:audit", ([],))[0], after.get("golive:head", (b"",))[0]
    if not _readable(entries) or not isinstance(said, bytes):
        return  # a key of another type, which nobody goes on from
    head = GENESIS
    for record, next_head in entries:
        head = extend(head, record)
        assert next_head == head, why
    assert (said.decode() or GENESIS) == head, why


# -- the tests -------------------------------------------------------------------------------------


@pytest.fixture(params=SCENES)
def bench(
    request: pytest.FixtureRequest, own_server: EmbeddedServer, deck_on: Callable[..., Deck]
) -> Iterator[Bench]:
    """The scene under test, on a server of its own."""
    made = Bench(SCENES[request.param], own_server, deck_on)
    yield made
    made.close()


def test_whichever_command_is_refused_what_a_step_says_is_what_is_in_force(bench: Bench) -> None:
    """Row 78."""
    whole = bench.run(lambda: None)
    touched = bench.touched()
    assert touched
    for command, target in touched:
        rules = without(command, target)
        bench.client.execute_command("ACL", "SETUSER", "limited", *rules)
        ran = bench.run(lambda: None, username="limited", password="x")
        judge(bench.scene, ran, whole, f"{command} {target}: {ran.outcome}")


def test_out_of_memory_what_a_step_says_is_what_is_in_force(bench: Bench) -> None:
    """Rows 13 and 78."""
    whole = bench.run(lambda: None)
    ran = bench.run(bench.full)
    bench.client.config_set("maxmemory", 0)
    judge(bench.scene, ran, whole, f"OOM: {ran.outcome}")


def _overwrite(client: redis.Redis, key: str) -> None:
    client.delete(key)
    if key == "golive:head":
        client.hset(key, "x", "x")
    else:
        client.rpush(key, "x")


def test_with_a_key_of_a_wrong_type_what_a_step_says_is_what_is_in_force(bench: Bench) -> None:
    """Rows 17, 18 and 78."""
    whole = bench.run(lambda: None)
    for name in STATE:
        ran = bench.run(lambda: _overwrite(bench.client, f"golive:{name}"))  # noqa: B023
        judge(bench.scene, ran, whole, f"wrong type of {name}: {ran.outcome}")


def _commands(script: str) -> set[str]:
    return set(re.findall(r"redis\.p?call\('([A-Z]+)'", scripts.text(script)))


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


FIRST = {name: scene for name, scene in SCENES.items() if scene.prepare is _nothing}


@pytest.mark.parametrize(
    "command", sorted(set().union(*(_commands(s.script) for s in FIRST.values())))
)
def test_without_a_command_what_a_step_says_is_what_is_in_force(
    own_server: EmbeddedServer,
    make_server: Callable[..., EmbeddedServer],
    deck_on: Callable[..., Deck],
    command: str,
) -> None:
    """Row 78: a managed Redis lacks commands, and operators rename some."""
    poorer = make_server({"rename-command": f"{command} {HIDING}{command}"})
    for name, scene in FIRST.items():
        benches = Bench(scene, own_server, deck_on), Bench(scene, poorer, deck_on, command)
        whole, ran = (bench.run(lambda: None) for bench in benches)
        judge(scene, ran, whole, f"{name} without {command}: {ran.outcome}")
        for bench in benches:
            bench.close()


def test_every_command_of_every_script_is_refused_once_in_these_scenes(
    own_server: EmbeddedServer, deck_on: Callable[..., Deck]
) -> None:
    """Or a command that somebody adds would be tried by nobody."""
    tried: dict[str, set[str]] = {}
    for scene in SCENES.values():
        bench = Bench(scene, own_server, deck_on)
        tried.setdefault(scene.script, set()).update(name for name, _ in bench.touched())
        bench.close()
    for script, names in tried.items():
        assert _commands(script) <= names, script


# -- steps without a script --------------------------------------------------------------------------

WORKER = Caller("worker", "pod-7", "0" * 32)
RECEIPT, LEFT = "golive:receipt:d1", f"golive:left:{WORKER.member}"
PRESENCES = {
    "worker": f"golive:worker:{WORKER.member}",
    "heartbeat": f"golive:heartbeat:hb-1:{'1' * 32}",
}


@pytest.mark.parametrize(
    ("step", "refused", "told", "holds"),
    [
        (
            lambda store: store.deliver("d1", "a:latched", b"x"),
            [("PUBLISH", "golive:receipts")],
            (True, "stored, and not published: "),
            lambda client: client.hget(RECEIPT, "a:latched") == b"x",
        ),
        (
            lambda store: store.deliver("d1", "a:latched", b"x"),
            [("HSET", RECEIPT)],
            (False, "published, and not stored: "),
            lambda client: not client.exists(RECEIPT),
        ),
        (
            lambda store: store.deliver("d1", "a:latched", b"x"),
            [("HSET", RECEIPT), ("PUBLISH", "golive:receipts")],
            None,
            lambda client: not client.exists(RECEIPT),
        ),
        (
            lambda store: store.keep_goodbye(WORKER, b"x"),
            [("DEL", PRESENCES["worker"])],
            (),
            lambda client: client.get(LEFT) == b"x",
        ),
        (
            lambda store: store.keep_goodbye(WORKER, b"x"),
            [("SET", LEFT)],
            None,
            lambda client: not client.exists(LEFT),
        ),
        (
            lambda store: store.leave(HEARTBEAT),
            [("DEL", PRESENCES["heartbeat"])],
            (),
            lambda client: not client.exists("golive:heartbeats"),
        ),
        (
            lambda store: store.leave(HEARTBEAT),
            [("HDEL", "golive:heartbeats")],
            None,
            lambda client: client.exists("golive:heartbeats"),
        ),
        (
            lambda store: store.strike([WORKER.member]),
            [("ZREM", "golive:fleet")],
            None,
            lambda client: client.zcard("golive:fleet") == 1,
        ),
    ],
)
def test_of_a_step_without_a_script_too_what_is_told_is_so(
    shared_server: EmbeddedServer,
    deck_on: Callable[..., Deck],
    step: Callable[[Any], Any],
    refused: list[tuple[str, str]],
    told: tuple[Any, ...] | None,
    holds: Callable[[redis.Redis], bool],
) -> None:
    """Row 78: raised where it was refused, done where it was done, and each half by its name."""
    owner = deck_on(shared_server)
    owner.attend(WORKER)
    owner.attend(HEARTBEAT)
    keys = (*KEYS, RECEIPT, LEFT)
    rules = [rule for right in refused for rule in without(*right, keys)[6:]]
    with shared_server.client() as client:
        all_else = ["reset", "on", ">x", "~*", "&*", "+@all"]
        client.execute_command("ACL", "SETUSER", "limited", *all_else, *rules)
        try:
            store = deck_on(shared_server, username="limited", password="x").store
            try:
                said = step(store) or ()
            except StoreRefusedError:
                said = None
            assert (said is None) is (told is None)
            assert not told or (said[0] is told[0] and said[1].startswith(told[1]))
        finally:
            client.execute_command("ACL", "DELUSER", "limited")
        assert holds(client)
