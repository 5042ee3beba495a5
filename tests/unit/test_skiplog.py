"""Skipped orders: every one is counted, few are written."""

from __future__ import annotations

import logging
import threading

import pytest

from golive_redis.guard.skiplog import MAX_LINES_PER_FLUSH, SkipLog

ORDERS, THREADS, FLUSHES = 100_000, 8, 10


def test_a_hundred_thousand_skipped_orders_make_few_lines_and_an_exact_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 53."""
    skips = SkipLog()

    def trade(orders: int) -> None:
        for _ in range(orders):
            skips.skipped("BUY BTC", "revoked", "the term was revoked")

    with caplog.at_level(logging.WARNING, logger="golive_redis.guard"):
        for _ in range(FLUSHES):  # as often as a guard reads in five seconds
            share = ORDERS // FLUSHES // THREADS
            threads = [threading.Thread(target=trade, args=(share,)) for _ in range(THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            skips.flush()
    assert skips.counts.total() == {"revoked": ORDERS}
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) <= FLUSHES * (MAX_LINES_PER_FLUSH + 1)
    shown = sum("BUY BTC" in line for line in lines)
    told = sum(int(line.split()[1]) for line in lines if "more orders" in line)
    assert shown + told == ORDERS, "the lines account for every order, too"
    skips.flush()
    assert len(caplog.records) == len(lines), "nothing is written twice"
