"""What a heartbeat says of what it puts back: what came of it, and never before it is done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from golive_redis.core.answer import Latch
from golive_redis.core.events import Change, Happening
from golive_redis.core.pulse import Pulse
from golive_redis.core.timing import TIMINGS
from golive_redis.errors import MaybeAppliedError, StoreError
from golive_redis.heartbeat.duties import Duties
from golive_redis.heartbeat.memory import HeartbeatMemory
from golive_redis.records.receipt import Durable
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import StoreRefusedError
from golive_redis.store.replies import Audit, Status, Step, Stop
from golive_redis.store.store import Store
from golive_redis.testing import Signers

SIGNERS = Signers()
STOP = SIGNERS.trust.revocation(SIGNERS.revocation(7))
HALT = SIGNERS.trust.restriction(SIGNERS.restriction(6, term=5))
NONE: Any = None


class Answering(Store):
    """A store whose two steps that put something back have one answer."""

    def __init__(self, answer: Any) -> None:
        super().__init__(NONE, Keyspace("golive"))
        self.answer = answer

    def restrict(self, *_: Any, **__: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    revoke = restrict


def stop(status: Status, detail: str = "") -> Stop:
    return Stop(status, None, None, None, Audit.NONE, detail)


def said_of(lost: Happening, *answers: Any) -> list[str]:
    """What it says of each answer in turn."""
    said: list[str] = []
    duties = Duties(
        pulse=Pulse(SIGNERS.trust, TIMINGS["standard"], "hb-1", Latch(), None, started_ms=0),
        trust=SIGNERS.trust,
        signer=NONE,
        memory=HeartbeatMemory(None, "hb-1", said.append),
        receipts=NONE,
        spool=None,
        say=said.append,
    )
    for answer in answers:
        try:
            duties.act([lost], lambda answer=answer: Answering(answer))
        except StoreError as error:
            said.append(f"raised {type(error).__name__}")
    return said


LOST = {
    "revocation 7": Happening(
        Change.LOST_REVOCATION, revocation=STOP, text="the store lost revocation 7"
    ),
    "halt 6": Happening(Change.LOST_RESTRICTION, restriction=HALT, text="the store lost halt 6"),
}


@pytest.mark.parametrize("what", LOST)
def test_what_the_store_lost_is_said_to_be_back_only_when_it_is(what: str) -> None:
    """Row 56: re-asserted, not re-asserted, or not known."""
    begins = f"the store lost {what}; "
    done = stop(Status.SAME) if "revocation" in what else Step(Status.SAME)
    assert said_of(LOST[what], done) == [f"{begins}re-asserted"]
    assert said_of(LOST[what], StoreRefusedError("NOPERM", "NOPERM no")) == [
        f"{begins}NOT re-asserted: Redis refused: NOPERM no",
        "raised StoreRefusedError",
    ]
    assert said_of(LOST[what], MaybeAppliedError("no answer from Redis")) == [
        f"{begins}not known if re-asserted: no answer from Redis",
        "raised MaybeAppliedError",
    ]


def test_what_a_script_refused_or_left_alone_is_said_so() -> None:
    """Row 56: an answer is not yet a success."""
    assert said_of(LOST["halt 6"], Step(Status.REFUSED, "absent")) == [
        "the store lost halt 6; NOT re-asserted: the store refused it: absent"
    ]
    gone = "the key is gone, and the stop is not recorded: OOM"
    assert said_of(LOST["revocation 7"], stop(Status.GONE, "OOM")) == [
        f"the store lost revocation 7; NOT re-asserted: {gone}",
        "raised StoreError",
    ]
    assert said_of(LOST["revocation 7"], stop(Status.LATER)) == [
        "the store lost revocation 7; a later term is active, and is left alone"
    ]


def test_of_a_stop_that_was_on_its_way_only_trouble_is_said() -> None:
    """Row 87: it was pushed a moment ago, and no store has lost it."""
    pushed = Happening(Change.LOST_REVOCATION, revocation=STOP)
    assert said_of(pushed, stop(Status.SAME)) == []
    assert said_of(pushed, StoreRefusedError("NOPERM", "NOPERM no"))[0] == (
        "revocation 7 was pushed and is not stored yet; NOT re-asserted: Redis refused: NOPERM no"
    )


def test_what_stays_as_it_is_is_said_once_although_it_is_tried_with_each_beat() -> None:
    """Row 87: a log that repeats itself each second is one that nobody reads."""
    later, back = stop(Status.LATER), stop(Status.SAME)
    begins = "the store lost revocation 7; "
    left = f"{begins}a later term is active, and is left alone"
    assert said_of(LOST["revocation 7"], later, later, later) == [left]
    assert said_of(LOST["revocation 7"], later, back, later) == [left, f"{begins}re-asserted", left]
    refused = StoreRefusedError("NOPERM", "NOPERM no")
    said = said_of(LOST["revocation 7"], refused, refused)
    assert [text for text in said if not text.startswith("raised")] == [
        f"{begins}NOT re-asserted: Redis refused: NOPERM no"
    ]


def test_a_stop_that_is_on_disk_only_now_is_answered_again() -> None:
    """Row 35: the first receipt said that it was not kept, so it did not count (S9)."""
    said: list[str] = []
    sent: list[Durable] = []
    memory: Any = SimpleNamespace(durable=Durable.FAILED, keep=lambda _: None, is_empty=False)
    receipts: Any = SimpleNamespace(send=lambda *_, durable, **__: sent.append(durable))
    duties = Duties(
        pulse=Pulse(SIGNERS.trust, TIMINGS["standard"], "hb-1", Latch(), None, started_ms=0),
        trust=SIGNERS.trust,
        signer=NONE,
        memory=memory,
        receipts=receipts,
        spool=None,
        say=said.append,
    )
    duties.act([Happening(Change.LATCHED, revocation=STOP)], NONE)
    duties.persist()
    assert sent == [Durable.FAILED]
    memory.durable = Durable.YES
    duties.persist()
    duties.persist()
    assert sent == [Durable.FAILED, Durable.YES]
    assert said == ["the stop of epoch 7 is on disk by now"]
