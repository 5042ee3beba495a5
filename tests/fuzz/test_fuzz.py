"""What every parser does with strange inputs, in short; `make fuzz` gives them a million."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive_redis.config import config
from golive_redis.core.answer import Ask
from golive_redis.core.permit import Permit
from golive_redis.errors import ConfigError, RecordError, StoreError
from golive_redis.records.beat import Beat
from golive_redis.records.directive import Grant
from golive_redis.records.envelope import MAX_ENVELOPE_BYTES, decode
from golive_redis.records.record import parse_record
from golive_redis.stop.inbox import Receipts
from golive_redis.store.store import Store
from golive_redis.testing import Harness

from .mutator import Mutator
from .run import Tally
from .targets import (
    BEAT,
    CALLER,
    CONFIG,
    GRANT,
    KEYS,
    PAYLOADS,
    QUESTIONS,
    READERS,
    RECEIPTS,
    SIGNERS,
    TARGETS,
    Replies,
)

KIB, MIB = 1024, 1024 * 1024
WIRE = st.recursive(
    st.none() | st.integers(-(2**63), 2**63) | st.binary(max_size=40) | st.just(GRANT),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=20,
)


@pytest.mark.parametrize("name", TARGETS)
def test_strange_inputs_are_refused_with_an_error_of_ours(name: str) -> None:
    """Row 38. And some are accepted, or the mutator is only making noise."""
    target, share = TARGETS[name]
    tally = Tally(name)
    tally.run(target, seed=7, count=max(400, 100 * share))
    assert not tally.strange, tally.strange[0]
    assert not tally.vacuous


def test_the_same_seed_makes_the_same_inputs() -> None:
    def made(seed: int) -> list[Any]:
        mutate = Mutator(seed)
        return [
            (mutate.bent(GRANT, [BEAT]), mutate.json({"a": [1]}), repr(mutate.reply([b"a", [1]])))
            for _ in range(200)
        ]

    assert made(1) == made(1) != made(2)


@given(reply=WIRE)
def test_a_store_that_answers_anything_at_all_opens_nobody_and_crashes_nobody(reply: Any) -> None:
    """Rows 7, 8 and 38."""
    guard = Harness(SIGNERS)
    nonce = guard.ask()
    try:
        _, found, _ = Store(Replies(reply), KEYS).attend(Ask(nonce, "", ""), CALLER, {})
    except StoreError:
        return
    guard.view.answer(found, now_ns=guard.clock.now_ns())
    assert not isinstance(guard.decide(), Permit)


@given(replies=st.lists(WIRE, min_size=7, max_size=7), which=st.sampled_from(range(len(QUESTIONS))))
def test_every_question_is_answered_by_a_value_or_a_store_error(
    replies: list[Any], which: int
) -> None:
    ask, _ = QUESTIONS[which]
    try:
        ask(Store(Replies(*replies), KEYS))
    except StoreError:
        return


@given(message=WIRE | st.lists(st.sampled_from([b"message", b"golive:receipts", RECEIPTS[0], 1])))
def test_whatever_is_published_is_a_receipt_or_nothing(message: Any) -> None:
    receipts = Receipts(SIGNERS.trust, lambda: 0.0)
    receipts.listen(Replies(message), 1)
    assert all(len(found) == 1 for found in receipts.by_directive.values())


# -- what they may allocate ------------------------------------------------------------------------


def peak_bytes(act: Callable[[], Any], error: type[Exception]) -> int:
    """Return how much more memory was in use at most while it was refused."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        with pytest.raises(error):
            act()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


OVERSIZED = {
    "letters": b"x" * (4 * MIB),
    "lists": b"[" * (4 * MIB),
    "digits": b'{"epoch":' + b"9" * (4 * MIB) + b"}",
    "names": b"{" + b",".join(b'"k%d":1' % n for n in range(400_000)) + b"}",
    "signatures": GRANT[:-2] + b",{}" * MIB + b"]}",
    "padding": GRANT + b" " * (4 * MIB),
}


@pytest.mark.parametrize("name", OVERSIZED)
def test_what_is_too_large_is_refused_before_anything_is_made_of_it(name: str) -> None:
    """Row 38: a record of megabytes costs next to nothing."""
    raw = OVERSIZED[name]
    readers = [
        decode,
        *READERS.values(),
        *(lambda r, k=k: parse_record(r, k, MAX_ENVELOPE_BYTES) for k, _ in PAYLOADS),
    ]
    for read in readers:
        assert peak_bytes(lambda read=read: read(raw), RecordError) < 64 * KIB


AT_THE_LIMIT = {
    "lists": b"[" * 8_000,
    "pairs": b"[" + b"[]," * 2_700 + b"[]]",
    "objects": b"[" + b"{}," * 2_700 + b"{}]",
    "names": b"{" + b",".join(b'"%d":1' % n for n in range(900)) + b"}",
    "integers": b"[" + b"1234567," * 1_000 + b"1]",
    "surrogates": b'"' + b"\\ud800" * 1_300 + b'"',
    "digits": b'{"n":' + b"9" * 8_000 + b"}",
}


@pytest.mark.parametrize("name", AT_THE_LIMIT)
def test_the_worst_of_the_allowed_size_costs_less_than_a_mebibyte(name: str) -> None:
    raw = AT_THE_LIMIT[name]
    assert len(raw) <= MAX_ENVELOPE_BYTES
    for kind in (Grant, Beat):
        refused = peak_bytes(
            lambda kind=kind: parse_record(raw, kind, MAX_ENVELOPE_BYTES), RecordError
        )
        assert refused < MIB
    assert peak_bytes(lambda: decode(raw), RecordError) < MIB


def test_an_answer_of_megabytes_is_refused_at_the_cost_of_its_own_size() -> None:
    """Redis has sent it, so it is in memory; nothing is made of it."""
    guard = Harness(SIGNERS)
    huge = b"x" * (4 * MIB)
    nonce = guard.ask()
    reply = [
        nonce.encode(),
        b"OK",
        None,
        b"0" * 64,
        24_000,
        huge,
        [huge],
        [b"hb-1", huge],
        huge,
        huge,
        huge,
    ]
    gc.collect()
    tracemalloc.start()
    _, found, _ = Store(Replies(reply), KEYS).attend(Ask(nonce, "", ""), CALLER, {})
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    guard.view.answer(found, now_ns=guard.clock.now_ns())
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < MIB
    assert not isinstance(guard.decide(), Permit)


LAUGHS = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (letter, letter, b", ".join([b"*%c" % (letter - 1)] * 9))
    for letter in range(ord("b"), ord("k"))
)
FILES = {
    "over the limit": (b"# " + b"x" * (2 * MIB), 2 * MIB),
    "aliases that unfold": (LAUGHS, 64 * MIB),
    "a line of lists": (b"[" * 2_000, 16 * MIB),
    "names without end": (b"".join(b"k%06d: 1\n" % n for n in range(100_000)), 192 * MIB),
    "one long word": (b"environment: " + b"x" * (MIB - 100), 16 * MIB),
}


@pytest.mark.parametrize("name", FILES)
def test_a_configuration_of_any_size_is_refused_within_a_bound(tmp_path: Path, name: str) -> None:
    """Row 48: a file is the owner's, so the bound is generous; but there is one."""
    raw, bound = FILES[name]
    path = tmp_path / "go_live.yaml"
    for text in (raw, CONFIG + raw):
        path.write_bytes(text)
        peak = peak_bytes(lambda: config.load(path, environ={}), ConfigError)
        assert peak < bound, f"{peak / MIB:.1f} MiB"
