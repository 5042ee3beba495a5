"""Which keyset may follow the one that a heartbeat uses, and what a reload leaves of its triggers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from golive_redis.checks.question import FleetSource, FleetValue, Question
from golive_redis.checks.trigger import TriggerSettings
from golive_redis.config import keyfile, load
from golive_redis.core.state import State
from golive_redis.errors import ConfigError
from golive_redis.heartbeat import setup
from golive_redis.heartbeat.triggers import Triggers, _Sampler
from golive_redis.records.envelope import KeySigner
from golive_redis.records.keyset import Keyset, encode_public, parse_keyset
from golive_redis.threads import Loop

PUBLIC = {
    name: encode_public(keyfile.generate().public_key())
    for name in ("alice", "bob", "carol", "other")
}
FILE = """\
environment: test
profiles:
  micro: {currency: USD, max_order_notional: "1", max_position_notional: "1",
    max_daily_loss: "1", max_orders_per_minute: 1}
store: {url: "redis://127.0.0.1:1"}
"""


def keyset(
    *names: str, version: int = 3, needed: int = 2, fleet: str = "a" * 32, **changes: Any
) -> Keyset:
    principals = {name: {"roles": ["approver"], "keys": [PUBLIC[name]]} for name in names}
    return parse_keyset(
        {
            "version": version,
            "fleet": fleet,
            "principals": {**principals, **changes},
            "thresholds": {"approver": needed},
        }
    )


OLD = keyset("alice", "bob")


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        keyset("alice", "bob", "carol"),
        keyset("alice", "bob", "carol", needed=3),
        keyset("alice", "carol", version=4),
        keyset("carol", version=9, needed=1),
    ],
)
def test_a_keyset_that_follows(new: Keyset) -> None:
    setup._succeed(OLD, new)


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (keyset("alice", "bob", version=2), "has version 2, the one in use has version 3"),
        (keyset("alice", "bob", fleet="b" * 32, version=4), "is of fleet bbbbbbbb"),
        (keyset("alice", "carol"), "takes away or changes keys of bob, and still has version 3"),
        (keyset("alice", "bob", needed=1), "lowers the threshold of approver, and still"),
        (
            keyset("alice", bob={"roles": ["approver"], "keys": [PUBLIC["other"]]}),
            "takes away or changes keys of bob",
        ),
        (
            keyset(
                "alice", "carol", bob={"roles": ["revoker", "approver"], "keys": [PUBLIC["bob"]]}
            ),
            "takes away or changes keys of bob",
        ),
    ],
)
def test_a_keyset_that_may_be_an_older_copy(new: Keyset, why: str) -> None:
    """Row 113."""
    with pytest.raises(ConfigError, match=why):
        setup._succeed(OLD, new)


class Watch:
    """Triggers with samplers of their own, which never get as far as a sample."""

    def __init__(self, path: Path, **every: str) -> None:
        config = load(path, environ={})
        self.triggers = Triggers(config, OLD, KeySigner("hb-1", keyfile.generate()), print)
        self.actions: Any = SimpleNamespace(say=print, share=lambda _: None)
        for name, often in every.items():
            wanted = msgspec.convert(
                {"preset": "workers_changed", "every": often}, TriggerSettings
            ).trigger()
            question = Question(fleet=FleetSource(value=FleetValue.CHANGED), at_most=0)
            self.triggers._samplers[name] = _Sampler(name, wanted, [question], config, self.actions)

    def loop(self, name: str) -> Loop:
        return self.triggers._loops[name]

    def sampler(self, name: str) -> _Sampler:
        return self.triggers._samplers[name]


def nothing_in_force() -> State | None:
    return None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "go_live.yaml"
    path.write_text(FILE)
    return path


def test_a_trigger_that_did_not_change_goes_on_and_a_changed_one_keeps_what_it_saw(
    path: Path,
) -> None:
    old = Watch(path, same="1h", changed="1h", dropped="1h")
    old.triggers.start(nothing_in_force)
    same, changed = old.sampler("same"), old.sampler("changed")
    same_memory, changed_memory = same._where.memory, changed._where.memory
    loops = {name: old.loop(name) for name in ("same", "changed", "dropped")}
    new = Watch(path, same="1h", changed="2h", fresh="1h")
    new.triggers.replace(old.triggers, nothing_in_force)
    try:
        assert new.triggers.names == ["same", "changed", "fresh"]
        assert new.sampler("same") is same
        assert new.loop("same") is loops["same"]
        assert same._actions is new.actions
        assert same._where.memory is same_memory
        assert new.sampler("changed") is not changed
        assert new.sampler("changed")._where.memory is changed_memory
        ended = {name: loop.closing.is_set() for name, loop in loops.items()}
        assert ended == {"same": False, "changed": True, "dropped": True}
        assert new.loop("fresh").is_alive()
    finally:
        new.triggers.stop()


def test_without_a_thread_for_a_new_trigger_the_old_ones_go_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Watch(path, same="1h", dropped="1h")
    old.triggers.start(nothing_in_force)
    new = Watch(path, same="1h", fresh="1h")
    monkeypatch.setattr(Loop, "start", lambda _: False)
    with pytest.raises(ConfigError, match="no thread"):
        new.triggers.replace(old.triggers, nothing_in_force)
    try:
        assert not any(loop.closing.is_set() for loop in old.triggers._loops.values())
        assert old.sampler("same")._actions is old.actions
        assert new.loop("fresh").closing.is_set()
    finally:
        old.triggers.stop()
