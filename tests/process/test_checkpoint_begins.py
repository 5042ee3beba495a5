"""Heartbeats sign for the log that the ledger is, also where it was trimmed or begun anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from golive_redis import clock
from golive_redis.audit.beginning import facts
from golive_redis.audit.history import Carry
from golive_redis.records.checkpoint import Checkpoint, parse_text
from golive_redis.records.envelope import seal
from golive_redis.records.ledger import GENERATION, GENESIS, TRIMMED, Note, extend
from golive_redis.records.merkle import EMPTY, leaf
from golive_redis.records.signednote import parse
from golive_redis.testing.server import EmbeddedServer
from kit.fleet import Fleet
from kit.notary import naive_root
from kit.program import Wait

ORIGIN = "test.invalid/golive"
CUT = 256


class Log:
    """A ledger in a real Redis, and all that was ever in it."""

    def __init__(self, live: Fleet) -> None:
        self.live = live
        self.records: list[bytes] = []
        self.ids: list[str] = []
        self.heads = [GENESIS]

    def add(self, *records: bytes) -> None:
        """Append, as the scripts do."""
        for record in records:
            head = extend(self.heads[-1], record)
            name = self.live.raw.xadd("golive:audit", {"r": record, "h": head})
            self.live.raw.set("golive:head", head)
            self.records.append(record)
            self.ids.append(name.decode())
            self.heads.append(head)

    def note(self, topic: str, count: int, generation: int = 1) -> None:
        """A note about where the ledger begins, by an approver, and the hint to it."""
        trust = self.live.config.trust()
        signer = self.live.config.signer("operator", trust.keyset)
        before = count if topic == TRIMMED else len(self.records)
        carry = Carry(count=count, head=self.heads[before], last_id=self.ids[before - 1])
        tree = EMPTY.extend(map(leaf, self.records[:count]))
        said = facts(carry, tree, generation=generation, directives=[])
        heading = trust.heading(signer.principal, clock.wall_ms())
        raw = seal(Note(**heading, topic=topic, text="as told", facts=said), signer)
        self.add(raw)
        self.live.raw.set("golive:begins", raw)

    def trim(self, count: int) -> None:
        self.live.raw.xtrim("golive:audit", minid=self.ids[count], approximate=False)


@pytest.fixture
def log(fleet: Callable[..., Fleet], own_server: EmbeddedServer) -> Log:
    """A fleet whose heartbeats sign each second what is a second old, and its ledger."""
    live = fleet(
        own_server,
        timing={"failover_ms": 500},
        audit={"checkpoint_lag": "1s", "checkpoint_every": "1s"},
    )
    made = Log(live)
    made.add(*(f"entry {number}".encode() for number in range(300)))
    return made


def covered(log: Log, wait_for: Wait, records: list[bytes], origin: str = ORIGIN) -> None:
    """Wait for a checkpoint of these entries in that log."""
    found: list[Checkpoint] = []

    def there() -> bool:
        raw: Any = log.live.raw.get("golive:checkpoint")
        found[:] = [] if raw is None else [parse_text(parse(raw).text)]
        return bool(found) and (found[0].origin, found[0].size) == (origin, len(records))

    wait_for(there, what="a checkpoint of all entries")
    assert found[0].root == naive_root([leaf(record) for record in records])


def test_one_without_a_memory_counts_a_trimmed_ledger_from_its_first_entry_of_all(
    log: Log, wait_for: Wait
) -> None:
    log.note(TRIMMED, CUT)
    log.trim(CUT)
    log.live.start_heartbeat("hb-1")
    covered(log, wait_for, log.records)
    log.add(b"more")
    covered(log, wait_for, log.records)


def test_one_that_runs_goes_on_while_the_ledger_is_trimmed(log: Log, wait_for: Wait) -> None:
    log.live.start_heartbeat("hb-1")
    covered(log, wait_for, log.records)
    log.note(TRIMMED, CUT)
    log.trim(CUT)
    covered(log, wait_for, log.records)


def test_a_note_beyond_all_that_was_signed_for_makes_nobody_sign_a_fork(
    log: Log, wait_for: Wait
) -> None:
    beating = log.live.start_heartbeat("hb-1")
    covered(log, wait_for, log.records)
    log.live.raw.xtrim("golive:audit", maxlen=0, approximate=False)
    log.live.raw.delete("golive:checkpoint")
    # 400 entries that nobody has ever written, and a note by an approver that they were trimmed.
    log.records, log.heads = [b"never written"] * 400, [GENESIS]
    for record in log.records:
        log.heads.append(extend(log.heads[-1], record))
    log.ids = [log.ids[-1]] * 400
    log.note(TRIMMED, 400)
    said = beating.wait_said("SECURITY: no checkpoint is signed", within_ms=60_000)["text"]
    assert "what was signed for here ends at 300" in said
    assert log.live.raw.get("golive:checkpoint") is None


def test_a_note_that_says_trimmed_begins_no_generation(log: Log, wait_for: Wait) -> None:
    beating = log.live.start_heartbeat("hb-1")
    covered(log, wait_for, log.records)
    log.trim(1)  # so that it is not whole
    log.note(TRIMMED, 300, generation=7)
    said = beating.wait_said("SECURITY: no checkpoint is signed", within_ms=60_000)["text"]
    assert "generation 1 was signed for here" in said


def test_without_the_note_nothing_is_signed(log: Log, wait_for: Wait) -> None:
    log.trim(CUT)
    beating = log.live.start_heartbeat("hb-1")
    said = beating.wait_said("SECURITY: no checkpoint is signed", within_ms=60_000)["text"]
    assert "no note by a trusted key says why" in said
    assert log.live.raw.get("golive:checkpoint") is None


def test_a_generation_is_another_log_and_nobody_signs_for_the_old_one_again(
    log: Log, wait_for: Wait
) -> None:
    log.live.start_heartbeat("hb-1")
    covered(log, wait_for, log.records)
    log.note(GENERATION, 300, generation=2)
    log.add(b"after it")
    covered(log, wait_for, log.records[300:], f"{ORIGIN}/2")
    log.live.heartbeats["hb-1"].kill()
    log.live.raw.delete("golive:begins", "golive:checkpoint")
    for _ in range(2):
        log.live.raw.xdel("golive:audit", log.ids.pop())
    beating = log.live.start_heartbeat("hb-1")
    said = beating.wait_said("SECURITY: no checkpoint is signed", within_ms=60_000)["text"]
    assert "a later one was signed for here" in said
    assert log.live.raw.get("golive:checkpoint") is None
