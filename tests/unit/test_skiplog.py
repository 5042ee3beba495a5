"""Skipped orders: every one is counted, few are written."""

from __future__ import annotations

import logging
import threading

import pytest

from golive_redis.guard.skiplog import MAX_LINES, SkipLog
from golive_redis.logs import ASIDE

ORDERS, THREADS, FLUSHES = 100_000, 8, 10


def written(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines so far: they are written on a thread of their own."""
    assert ASIDE.flush(60)
    return [record.getMessage() for record in caplog.records]


def test_a_hundred_thousand_skipped_orders_make_few_lines_and_an_exact_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 53."""
    skips = SkipLog()

    def trade(orders: int) -> None:
        for _ in range(orders):
            skips.skipped("BUY BTC", "revoked", "the term was revoked")

    with caplog.at_level(logging.WARNING, logger="golive_redis.guard"):
        for number in range(FLUSHES):  # as often as a guard reads in five seconds
            share = ORDERS // FLUSHES // THREADS
            threads = [threading.Thread(target=trade, args=(share,)) for _ in range(THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            skips.flush(last=number == FLUSHES - 1)
        assert skips.counts.total() == {"revoked": ORDERS}
        lines = written(caplog)
        assert len(lines) <= MAX_LINES + 1
        shown = sum("BUY BTC" in line for line in lines)
        told = sum(int(line.split()[1]) for line in lines if "more orders" in line)
        assert shown + told == ORDERS, "the lines account for every order, too"
        skips.flush(last=True)
        assert written(caplog) == lines, "nothing is written twice"


def test_a_closed_worker_that_asks_all_day_writes_a_few_megabytes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 88. An hour of it here: 100 orders a second, and a look twice a second."""
    now = [0.0]
    skips = SkipLog(lambda: now[0])
    with caplog.at_level(logging.WARNING, logger="golive_redis.guard"):
        for _ in range(2 * 3600):
            for _ in range(50):
                skips.skipped("BUY BTCUSDT qty=0.001", "revoked", "GO-LIVE revoked")
            now[0] += 500.0
            skips.flush()
            if not now[0] % 30_000:
                written(caplog)
        skips.skipped("BUY BTCUSDT qty=0.001", "halted", "GO-LIVE halted: cancels only")
        skips.flush(last=True)
        lines = written(caplog)
    assert 24 * sum(len(line) + 80 for line in lines) < 8_000_000
    assert sum("GO-LIVE halted" in line for line in lines) == 1, "another reason is told at once"
    told = sum(int(line.split()[1]) for line in lines if "more orders" in line)
    assert told + sum("BUY" in line for line in lines) == 50 * 2 * 3600 + 1


def test_of_each_directive_the_first_skipped_order_has_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 88: an earlier stop of this minute has used up its lines."""
    skips = SkipLog(lambda: 0.0)
    with caplog.at_level(logging.WARNING, logger="golive_redis.guard"):
        for epoch in (2, 4):
            for _ in range(2 * MAX_LINES):
                skips.skipped(f"BUY after {epoch}", "revoked", "GO-LIVE revoked", epoch)
                skips.flush()
        lines = written(caplog)
    assert [sum(f"after {epoch} " in line for line in lines) for epoch in (2, 4)] == [MAX_LINES] * 2
