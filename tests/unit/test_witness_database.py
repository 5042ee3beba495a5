"""The memory of a witness: bounded, one transaction for check and record, and only for its own key."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from golive_redis.errors import ConfigError, RecordError, RefusedError
from golive_redis.records.checkpoint import open_checkpoint
from golive_redis.records.merkle import consistency_path, prove
from golive_redis.records.signednote import parse_lines, verified
from golive_redis.witness import database as module
from golive_redis.witness.database import Database, WitnessDatabaseError
from golive_redis.witness.judgement import Evidence, RefusalError, require_signed
from golive_redis.witness.protocol import encode_submission, origin_hash, parse_submission
from kit.notary import ORIGIN, entries, log_key, private, signed, witness_key

LEAVES = entries(64)
SIGN = private("w1").sign
NOW_S = 1_790_000_000


@pytest.fixture
def memory(tmp_path: Path):
    database = Database.create(tmp_path / "w.db", witness_key())
    database.add_log(ORIGIN, log_key())
    yield database
    database.close()


def add(memory: Database, leaves: list[bytes], old: int, *, now_s: int = NOW_S, by=SIGN) -> bytes:
    proof = prove(consistency_path(old, len(leaves)), leaves) if 0 < old < len(leaves) else ()
    body = encode_submission(old, proof, signed(leaves))
    submission = parse_submission(body)
    accepted = require_signed(submission, memory.keys_of(ORIGIN))
    return memory.cosign(submission, accepted, body, by=by, now_s=now_s)


def size_of(memory: Database) -> int | None:
    (log,) = memory.logs()
    return log.newest.size if log.newest else None


def test_what_is_cosigned_is_kept_whole(memory: Database) -> None:
    line = add(memory, LEAVES[:40], 0)
    note = memory.newest(origin_hash(ORIGIN))
    assert note is not None
    found = open_checkpoint(note, [log_key()], [witness_key()])
    assert (found.checkpoint.size, found.witnesses[0].time_s) == (40, NOW_S)
    assert parse_lines(line.decode()) == (found.witnesses[0].line,)
    assert memory.newest(origin_hash("other")) is None


def test_another_process_sees_it(memory: Database) -> None:
    add(memory, LEAVES[:40], 0)
    other = Database(memory.path, witness_key().public)
    assert size_of(other) == 40
    add(other, LEAVES, 40)
    other.close()
    assert size_of(memory) == 64


def test_a_signer_of_another_key_records_nothing(memory: Database) -> None:
    with pytest.raises(RecordError, match="bad signature"):
        add(memory, LEAVES, 0, by=private("w2").sign)
    assert size_of(memory) is None
    add(memory, LEAVES, 0)


def test_no_time_before_the_last_is_signed_for_any_log(memory: Database) -> None:
    other = log_key("hb-9", "other.invalid/golive")
    memory.add_log(other.name, other)
    add(memory, LEAVES[:40], 0)
    body = encode_submission(0, (), signed(LEAVES, "hb-9", other.name))
    submission = parse_submission(body)
    accepted = require_signed(submission, [other])
    with pytest.raises(RefusalError, match="behind its last cosignature"):
        memory.cosign(submission, accepted, body, by=SIGN, now_s=NOW_S - 6)
    line = memory.cosign(submission, accepted, body, by=SIGN, now_s=NOW_S - 5)
    (found,) = verified(submission.note.with_lines(parse_lines(line.decode())), [witness_key()])
    assert found.time_s == NOW_S


def test_evidence_is_bounded_and_the_first_stays(
    memory: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_EVIDENCE", 3)
    add(memory, LEAVES[:40], 0)
    forks = [entries(40, f"story {number}") for number in range(5)]
    for fork in [*forks, forks[0]]:
        with pytest.raises(RefusalError):
            add(memory, fork, 40)
    with pytest.raises(RefusalError):
        add(memory, entries(50, "longer"), 40)  # of the other kind, for which there is room
    kept = memory.evidence()
    assert [each.kind for each in kept] == [Evidence.FORK] * 3 + [Evidence.UNPROVEN]
    assert [each.refused for each in kept[:3]] == [signed(fork) for fork in forks[:3]]
    assert {each.received_s for each in kept} == {NOW_S}
    (log,) = memory.logs()
    assert (log.forks, log.unproven) == (3, 1)


def test_what_is_refused_for_another_reason_is_not_kept(memory: Database) -> None:
    add(memory, LEAVES[:40], 0)
    for leaves, old in ((LEAVES, 39), (LEAVES[:20], 40), (LEAVES[:20], 0)):
        with pytest.raises(RefusalError):
            add(memory, leaves, old)
    assert memory.evidence() == []


def test_a_witness_knows_so_many_logs_and_no_more(
    memory: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LOGS", 2)
    assert memory.add_log("b", log_key("b", "b"))
    with pytest.raises(RefusedError, match="knows 2 logs"):
        memory.add_log("c", log_key("c", "c"))
    assert not memory.add_log(ORIGIN, log_key())
    monkeypatch.setattr(module, "MAX_KEYS", 2)
    assert memory.add_log(ORIGIN, log_key("hb-2"))
    with pytest.raises(RefusedError, match="2 keys of this one"):
        memory.add_log(ORIGIN, log_key("hb-3"))


def test_a_log_may_have_several_keys(memory: Database) -> None:
    assert memory.add_log(ORIGIN, log_key("hb-2"))
    assert memory.keys_of(ORIGIN) == (log_key(), log_key("hb-2"))
    assert memory.keys_of("unknown") == ()


def test_a_file_that_another_holds_for_writing_gives_an_error_and_no_signature(
    memory: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BUSY_S", 0.05)
    waiting = Database(memory.path, witness_key().public)
    blocker = sqlite3.connect(memory.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(WitnessDatabaseError, match="locked"):
        add(waiting, LEAVES, 0)
    blocker.execute("ROLLBACK")
    blocker.close()
    add(waiting, LEAVES, 0)  # it goes on by itself
    waiting.close()


def test_of_many_at_once_each_continues_the_one_before(memory: Database) -> None:
    """Threads of one process, and two processes with one file."""
    refused = []
    other = Database(memory.path, witness_key().public)

    def grow(step: int) -> None:
        mine = memory if step % 2 else other
        for size in range(step, 65, 4):
            try:
                known = size_of(mine) or 0
                add(mine, LEAVES[:size], min(known, size))
            except (RefusalError, WitnessDatabaseError) as error:
                refused.append(getattr(error, "status", error))

    threads = [threading.Thread(target=grow, args=(step,)) for step in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    other.close()
    assert set(refused) <= {409}
    assert memory.evidence() == []
    known = size_of(memory)
    assert known is not None
    add(memory, LEAVES, known)


def test_a_database_is_never_replaced_and_only_opened_by_its_key(
    memory: Database, tmp_path: Path
) -> None:
    with pytest.raises(RefusedError, match="never replaced"):
        Database.create(memory.path, witness_key("w2"))
    with pytest.raises(ConfigError, match="another key"):
        Database(memory.path, witness_key("w2").public)
    with pytest.raises(ConfigError, match="is gone"):
        Database(tmp_path / "nothing.db", witness_key().public)
    assert not (tmp_path / "nothing.db").exists()


def test_a_database_of_another_version_is_refused(memory: Database) -> None:
    memory.close()
    with sqlite3.connect(memory.path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(ConfigError, match="not a witness's database of version 1"):
        Database(memory.path, witness_key().public)


def test_a_commit_is_on_disk_before_it_returns(memory: Database) -> None:
    add(memory, LEAVES[:40], 0)
    assert memory._open is not None
    mode = memory._open.execute("PRAGMA journal_mode").fetchone()[0]
    full = memory._open.execute("PRAGMA synchronous").fetchone()[0]
    assert (mode, full) == ("wal", 2)
