"""What a trigger counts from the first look at a term begins with the term."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from golive_redis.checks.question import FleetSource, FleetValue, Question
from golive_redis.checks.trigger import TriggerSettings
from golive_redis.config import load
from golive_redis.heartbeat import triggers
from golive_redis.heartbeat.triggers import _Sampler

FILE = """\
environment: test
profiles:
  micro: {currency: USD, max_order_notional: "1", max_position_notional: "1",
    max_daily_loss: "1", max_orders_per_minute: 1}
store: {url: "redis://127.0.0.1:1"}
"""


def test_a_new_term_begins_anew_also_when_no_sample_saw_the_pause(tmp_path: Path) -> None:
    path = tmp_path / "go_live.yaml"
    path.write_text(FILE)
    question = Question(fleet=FleetSource(value=FleetValue.CHANGED), at_most=0)
    wanted = msgspec.convert({"preset": "workers_changed"}, TriggerSettings).trigger()
    actions: Any = SimpleNamespace(say=lambda _: None)
    config = load(path, environ={})
    sampler = _Sampler("changed", wanted, [question], config, actions)
    memories = []
    for term, grant in [(1, "a"), (1, "b"), (2, "c"), (2, "d")]:
        state: Any = SimpleNamespace(term=term, grant=SimpleNamespace(identity=grant))
        sampler._turn(state)
        memories.append(sampler._where.memory)
    assert memories[0] is memories[1]
    assert memories[1] is not memories[2]
    assert memories[2] is memories[3]


def test_a_trigger_goes_on_although_neither_its_log_nor_its_line_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "go_live.yaml"
    path.write_text(FILE)
    turns: list[int] = []

    def broken(*_: object, **__: object) -> None:
        raise OSError("broken on purpose")

    def state() -> None:
        turns.append(len(turns))
        if len(turns) == 3:
            loop.closing.set()
        broken()

    monkeypatch.setattr(triggers.logger, "error", broken)
    wanted = msgspec.convert({"preset": "workers_changed"}, TriggerSettings).trigger()
    wanted = msgspec.structs.replace(wanted, every_ms=1)
    actions: Any = SimpleNamespace(say=broken)
    sampler = _Sampler("changed", wanted, [], load(path, environ={}), actions)
    loop = sampler.loop("changed", state)
    loop.run()
    assert len(turns) == 3
