"""The simulation's Redis is Redis: the model against the real scripts on real servers, step by step."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any

import pytest

from golive_redis.core.answer import Answer, Ask
from golive_redis.records.ledger import GENESIS, extend
from golive_redis.store.connect import Address
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.replies import Caller, Snapshot, Step
from golive_redis.store.store import Store
from golive_redis.testing import FLEET
from golive_redis.testing.server import EmbeddedServer
from kit import directives

from .model import Server
from .wire import SimStore

TTL_MS = 3_000_000  # so long that nothing expires by itself: virtual time stands still
STEPS = 250
PODS = (
    Caller("worker", "w0", "0" * 32),
    Caller("worker", "w1", "1" * 32),
    Caller("heartbeat", "hb-1", "2" * 32),
    Caller("heartbeat", "hb-2", "3" * 32),
)


def _of(asked: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: asked[name] for name in names}


class Pair:
    """The same step on the model and on the server; both must say the same."""

    def __init__(self, server: EmbeddedServer, seed: int) -> None:
        self.random = random.Random(seed)
        self.link = Address(server.url).link(timeout_ms=2_000)
        self.real = Store(self.link, Keyspace("golive"))
        self.model = Server("p1")
        self.number = 0
        self.said: list[str] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def same(self, what: str, real: object, model: object) -> None:
        assert real == model, (what, self.said[-6:])
        self.said.append(f"{what}: {real}")

    # -- what a client would send, right or a little wrong ---------------------------------------

    def record(self) -> tuple[bytes, str]:
        self.number += 1
        raw = f"record {self.number}".encode()
        return raw, hashlib.sha256(raw).hexdigest()

    def epoch(self) -> int:
        return max(1, self.model.data.epoch + self.random.choice((1, 1, 1, 1, 1, 2, 0, -1)))

    def head(self, raw: bytes) -> dict[str, str]:
        head = self.random.choice((self.model.data.head,) * 5 + (GENESIS, "f" * 64, ""))
        return {"head": head, "head_after": extend(head, raw)}

    def term(self) -> int:
        active = self.model.data.active
        return (active.term if active else 1) + self.random.choice((0,) * 8 + (1, -1))

    # -- steps -----------------------------------------------------------------------------------

    def grant(self, **fixed: Any) -> None:
        raw, identity = self.record()
        activates = self.random.random() < (0.1 if self.model.data.active else 0.9)
        epoch = self.epoch()
        held = list(self.model.data.active.restrictions) if self.model.data.active else []
        asked = {
            "activates": activates,
            "term": epoch if activates else self.term(),
            "epoch": epoch,
            "record": raw,
            "identity": identity,
            "prev": self.random.choice((self.model.data.last,) * 6 + ("", "other")),
            "ttl_ms": TTL_MS,
            "origin": "p1",
            "fleet": "e" * 32 if self.number % 13 == 0 else FLEET,
            **self.head(raw),
            "keeps": tuple(name for name in held if self.random.random() < 0.5),
            **fixed,
        }
        raw, identity = asked["record"], asked["identity"]
        self.sent.append(("grant", asked))
        item = directives.grant(
            raw, identity, **_of(asked, "activates", "term", "epoch", "prev", "fleet")
        )
        step = self.real.grant(item, **_of(asked, "ttl_ms", "origin", "head", "keeps"))
        self.same("grant", step, self.model.grant(**asked, now=0.0))

    def restrict(self, **fixed: Any) -> None:
        raw, identity = self.record()
        active = self.model.data.active
        asked = {
            "term": self.term(),
            "epoch": self.epoch(),
            "record": raw,
            "identity": identity,
            "prev": self.random.choice((active.last if active else "",) * 6 + ("other",)),
            "again": self.random.random() < 0.2,
            **fixed,
        }
        raw, identity = asked["record"], asked["identity"]
        self.sent.append(("restrict", asked))
        item = directives.restriction(raw, identity, **_of(asked, "term", "epoch", "prev"))
        step = self.real.restrict(item, **_of(asked, "again"))
        self.same("restrict", step, self.model.restrict(**asked, now=0.0))

    def revoke(self, **fixed: Any) -> None:
        raw, identity = self.record()
        asked = {
            "epoch": self.epoch(),
            "record": raw,
            "identity": identity,
            "entry": self.random.random() < 0.8,
            "again": self.random.random() < 0.4,
            **fixed,
        }
        raw, identity = asked["record"], asked["identity"]
        self.sent.append(("revoke", asked))
        item = directives.revocation(raw, identity, epoch=asked["epoch"])
        stop = self.real.revoke(item, **_of(asked, "entry", "again"))
        self.same("revoke", stop, self.model.revoke(**asked, now=0.0))

    def repeat(self) -> None:
        """Send something once more, as a caller without an answer does, or one that re-asserts."""
        if self.sent:
            name, asked = self.random.choice(self.sent[-8:])
            again = {"again": self.random.random() < 0.5} if name != "grant" else {}
            getattr(self, name)(**{**asked, **again})

    def beat(self) -> None:
        name, (raw, _), term = self.random.choice(("hb-1", "hb-2")), self.record(), self.term()
        real = self.real.beat(name, raw, term=term, ttl_ms=TTL_MS)
        self.same(
            "beat", without_life(real), without_life(self.model.beat(name, raw, term, TTL_MS, 0.0))
        )

    def attend(self) -> None:
        caller, data = self.random.choice(PODS), self.model.data
        last = data.active.set if data.active else ""
        stone = data.revoked.identity if data.revoked else ""
        pick = self.random.choice
        ask = Ask(f"{self.number:016x}", pick((last, "", "other")), pick((stone, "", "other")))
        fields = pick(({}, {"state": "armed", "directive": f"d{self.number}".encode()}))
        status, answer, head = self.real.attend(ask, caller, fields)
        said, shown, top = self.model.attend(ask, caller, fields, 0.0)
        self.same("attend", (status, in_order(answer), head), (said, in_order(shown), top))

    def append(self) -> None:
        raw, _ = self.record()
        asked = self.head(raw)
        real = self.real.append(raw, **asked)
        self.same("append", real, self.model.append(raw, asked["head"], asked["head_after"]))

    def confirm(self) -> None:
        stone = self.model.data.revoked
        identity = self.random.choice((stone.identity if stone else "none", "other"))
        self.same(
            "confirm", self.real.confirm(identity, b"note"), self.model.confirm(identity, b"note")
        )

    def leave(self) -> None:
        caller = self.random.choice(PODS)
        if caller.role == "heartbeat":
            self.real.leave(caller)
            self.model.leave(caller)
        else:
            self.real.keep_goodbye(caller, b"goodbye")
            self.model.keep_goodbye(caller, b"goodbye")
        other = self.random.choice([pod for pod in PODS if pod.role == "worker"])
        word = (other.name, other.instance, b"golive.note.: dead")
        self.same("forget", self.real.forget(*word), self.model.forget(*word, 0.0))
        pods = [(pod.name, pod.instance) for pod in PODS if pod.role == "worker"]
        self.same("goodbyes", self.real.goodbyes(pods), self.model.kept_goodbyes(pods))

    def expire(self) -> None:
        """The active key runs out, or somebody deletes it: the beats stay."""
        self.link.call("DEL", "golive:active")
        self.model.data.active = None

    def persist(self) -> None:
        """Somebody takes the TTL off."""
        self.link.call("PERSIST", "golive:active")
        if self.model.data.active is not None:
            self.model.data.active.expires_ms = None

    def shorten(self) -> None:
        """Somebody shortens the TTL below where a beat renews it."""
        self.link.call("PEXPIRE", "golive:active", TTL_MS // 2)
        if self.model.data.active is not None:
            self.model.data.active.expires_ms = TTL_MS / 2

    def gone(self) -> None:
        """A pod is silent for so long that its presence runs out."""
        caller = self.random.choice(PODS)
        keys = Keyspace("golive")
        name = keys.worker if caller.role == "worker" else keys.heartbeat
        self.link.call("DEL", name(caller.name, caller.instance))
        self.model.data.presence.pop(f"{caller.role}:{caller.name}:{caller.instance}", None)

    def read(self) -> None:
        real, model = self.real, self.model
        self.same("snapshot", in_view(real.snapshot()), in_view(model.snapshot(0.0)))
        told = sorted(real.told_directives()), sorted(model.told_directives(0.0))
        self.same("told", *told)
        for role, read in (("worker", real.workers), ("heartbeat", real.heartbeats)):
            seen = {(pod.name, pod.instance, pod.alive) for pod in read()}
            self.same(role, seen, {(p.name, p.instance, p.alive) for p in model.pods(role, 0.0)})
        self.same("ledger", [item.envelope for item in real.entries(10_000)], model.data.ledger)


def without_life(step: Step) -> Step:
    """A beat's answer tells how long the key lives, in ms of real time; what counts is renewed or not."""
    if not step.why.lstrip("-").isdigit():
        return step
    return Step(step.status, lives(int(step.why)), step.detail)


def lives(pttl_ms: int) -> str:
    """The life of the key, as coarse as the two clocks allow."""
    if pttl_ms < 0:
        return {-1: "for ever", -2: "absent"}[pttl_ms]
    return "long" if pttl_ms > 0.75 * TTL_MS else "short"


def in_order(answer: Answer) -> object:
    """An answer with its unordered parts in order."""
    return (
        answer.nonce,
        answer.corrupt,
        answer.last,
        lives(answer.pttl_ms),
        answer.grant,
        sorted(answer.restrictions),
        answer.unchanged,
        sorted(answer.beats.items()),
        answer.revoked,
        answer.revoked_unchanged,
    )


def in_view(snapshot: Snapshot) -> object:
    """A snapshot without the exact life of the key."""
    names = [name for name in Snapshot.__struct_fields__ if name != "pttl_ms"]
    return [getattr(snapshot, name) for name in names] + [lives(snapshot.pttl_ms)]


STEP_SHARES: tuple[tuple[Callable[[Pair], None], int], ...] = (
    (Pair.grant, 8),
    (Pair.restrict, 6),
    (Pair.revoke, 4),
    (Pair.repeat, 3),
    (Pair.beat, 6),
    (Pair.attend, 10),
    (Pair.append, 2),
    (Pair.confirm, 1),
    (Pair.leave, 1),
    (Pair.expire, 1),
    (Pair.persist, 1),
    (Pair.shorten, 1),
    (Pair.gone, 1),
    (Pair.read, 4),
)


@pytest.mark.parametrize("seed", range(6))
def test_the_model_answers_every_step_as_the_scripts_do(
    shared_server: EmbeddedServer, seed: int
) -> None:
    pair = Pair(shared_server, seed)
    steps = [step for step, share in STEP_SHARES for _ in range(share)]
    for _ in range(STEPS):
        pair.random.choice(steps)(pair)
    pair.read()
    kinds = {line.split(":")[0] for line in pair.said}
    assert {"grant", "restrict", "revoke", "beat", "attend", "append", "snapshot"} <= kinds
    words = " ".join(pair.said)
    for word in ("'OK'", "'SAME'", "'REFUSED'", "'CONFLICT'", "'HEAD'", "'REGISTER'", "revoked"):
        assert word in words, word
    pair.link.close()


def test_the_simulated_store_has_every_step_of_the_real_one() -> None:
    real = {name for name in vars(Store) if not name.startswith("_")}
    assert real <= set(vars(SimStore))
