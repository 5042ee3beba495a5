"""Paper orders of a few dollars each, sized and priced from a real price series.

Source and licence of the series are in `PRICES.md` beside this file.
"""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Side = Literal["BUY", "SELL"]

TICK = Decimal("0.01")
LOT = Decimal("0.0001")
MAX_NOTIONAL_USD = Decimal(25)


@dataclass(frozen=True, slots=True)
class Close:
    """What one share cost at the end of one trading day, in US dollars."""

    date: str
    symbol: str
    price: Decimal


@dataclass(frozen=True, slots=True)
class PaperOrder:
    """An order as the paper venue takes it, before a worker adds its name and its permit."""

    symbol: str
    side: Side
    qty: Decimal
    price: Decimal

    @property
    def notional(self) -> Decimal:
        """What the order is worth, in US dollars."""
        return self.qty * self.price


@cache
def closes() -> tuple[Close, ...]:
    """Return the whole series, oldest day first and by symbol within a day."""
    text = resources.files("golive_cli.demo").joinpath("prices.csv").read_text("ascii")
    return tuple(
        Close(row["date"], symbol, Decimal(price))
        for row in csv.DictReader(text.splitlines())
        for symbol, price in row.items()
        if symbol != "date"
    )


def orders(seed: int, *, max_notional_usd: Decimal = MAX_NOTIONAL_USD) -> Iterator[PaperOrder]:
    """Yield orders without end, the same ones for the same seed on every machine.

    They walk through the days in order from a place that the seed picks, so the prices move as
    the real ones did. Each is worth between a fifth of `max_notional_usd` and all of it, never
    more.
    """
    # Only randrange: its results are the same in every Python version that we support.
    chance = random.Random(seed)
    series = closes()
    at = chance.randrange(len(series))
    least, most = int(max_notional_usd / 5 / TICK), int(max_notional_usd / TICK)
    while True:
        price = series[at].price.quantize(TICK)
        notional = TICK * chance.randrange(least, most + 1)
        side: Side = "BUY" if chance.randrange(2) else "SELL"
        # The quantity is rounded down from the rounded price, so the limit holds exactly.
        yield PaperOrder(
            series[at].symbol, side, (notional / price).quantize(LOT, ROUND_DOWN), price
        )
        at = (at + 1 + chance.randrange(5)) % len(series)
