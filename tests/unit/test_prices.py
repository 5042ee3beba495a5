"""The demo's orders are small, real in price, and the same for the same seed."""

from __future__ import annotations

from decimal import Decimal
from itertools import islice

import pytest

from golive_cli.demo.prices import LOT, TICK, Close, PaperOrder, closes, orders


def test_the_series_is_the_real_one_that_its_note_describes() -> None:
    series = closes()
    assert series[0] == Close("2012-11-05", "AAPL", Decimal("584.6211"))
    assert series[-1] == Close("2013-03-01", "MSFT", Decimal("27.95"))
    assert {close.symbol for close in series} == {"AAPL", "FB", "GOOG", "IBM", "MSFT"}
    assert len(series) == 80 * 5
    assert [close.date for close in series] == sorted(close.date for close in series)


@pytest.mark.parametrize("seed", range(7))
def test_every_order_is_micro_and_on_the_grid(seed: int) -> None:
    for order in islice(orders(seed), 2_000):
        assert Decimal(4) < order.notional <= Decimal(25)
        assert order.qty > 0
        assert order.qty % LOT == 0
        assert order.price % TICK == 0


def test_the_limit_can_be_set() -> None:
    placed = list(islice(orders(1, max_notional_usd=Decimal(10)), 500))
    assert Decimal(9) < max(order.notional for order in placed) <= Decimal(10)


def test_one_seed_is_one_stream_in_every_python() -> None:
    first = next(orders(7))
    assert first == PaperOrder("AAPL", "SELL", Decimal("0.0470"), Decimal("519.33"))
    assert list(islice(orders(7), 100)) == list(islice(orders(7), 100))
    assert list(islice(orders(7), 100)) != list(islice(orders(8), 100))


def test_both_sides_and_all_symbols_are_traded() -> None:
    placed = list(islice(orders(3), 500))
    assert {order.side for order in placed} == {"BUY", "SELL"}
    assert len({order.symbol for order in placed}) == 5
