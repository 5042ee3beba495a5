"""A trading worker of the demo: wants to send an order every 20 ms, and asks its guard each time.

It notes each attempt as one line, `INSTANT OUTCOME [REASON]`, the instant on CLOCK_MONOTONIC in ns.
What it notes as denied was not sent; whether a sent order counts is for the venue to say.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TextIO

from golive_cli.demo.prices import PaperOrder, orders
from golive_cli.demo.verdict import DENIED
from golive_redis import Denial, Guard, config
from golive_redis.testing.venue_client import VenueClient, VenueError

SENT = "sent"
UNKNOWN = "unknown"
# The permit was good when the order was decided and no longer when it was about to leave.
WITHDRAWN = "withdrawn"


class Manner(StrEnum):
    """How a worker treats its guard."""

    ASKS = "asks"
    IGNORES = "ignores"  # the saboteur: has a guard, hears the denial, and sends all the same
    BARE = "bare"  # the control: has none


Trade = Callable[[PaperOrder], str]


class Worker:
    """Sends orders to the venue.

    Args:
        name: Its id, with the guard and at the venue.
        venue: Its connection.
    """

    def __init__(self, name: str, venue: VenueClient) -> None:
        self._name = name
        self._venue = venue

    def guarded(self, guard: Guard, *, obeys: bool) -> Trade:
        """Return how to trade with a guard."""

        def trade(order: PaperOrder) -> str:
            what = f"{order.side} {order.symbol} qty={order.qty}"
            # In flight until the venue has answered: a stop waits for that answer.
            with guard.order(what=what, symbol=order.symbol) as answer:
                if isinstance(answer, Denial):
                    return self.bare(order) if not obeys else f"{DENIED} {answer.reason}"
                if not answer.valid() and obeys:
                    return f"{DENIED} {WITHDRAWN}"
                return self._send(order, fence=answer.fence, until_ms=answer.until_ms)

        return trade

    def bare(self, order: PaperOrder) -> str:
        """Trade without asking anybody."""
        return self._send(order)

    def _send(
        self, order: PaperOrder, fence: int | None = None, until_ms: int | None = None
    ) -> str:
        try:
            self._venue.place(
                worker=self._name,
                symbol=order.symbol,
                side=order.side,
                qty=str(order.qty),
                price=str(order.price),
                fence=fence,
                until_ms=until_ms,
            )
        except VenueError:
            return UNKNOWN
        return SENT


def run(trade: Trade, notes: TextIO, *, rate_per_s: float, seed: int, most_usd: Decimal) -> None:
    """Trade at a fixed rate until the process is ended; what was missed is not made up for."""
    due = time.monotonic()
    for order in orders(seed, max_notional_usd=most_usd):
        began_ns = time.monotonic_ns()
        outcome = trade(order)
        notes.write(f"{began_ns} {outcome}\n")
        due = max(due + 1 / rate_per_s, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


def main() -> None:
    """Run `python -m golive_cli.demo.worker ...`, until somebody kills it."""
    parser = argparse.ArgumentParser(description="A worker of the golive demo.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--name", required=True, help="its id")
    parser.add_argument("--manner", type=Manner, required=True, help="asks, ignores or bare")
    parser.add_argument("--venue", type=int, required=True, help="the venue's port")
    parser.add_argument("--notes", type=Path, required=True, help="gets one line per attempt")
    parser.add_argument("--rate", type=float, required=True, help="orders a second")
    parser.add_argument("--seed", type=int, required=True, help="which orders")
    args = parser.parse_args()
    logging.basicConfig(format="%(levelname)s %(message)s")
    setup = config.load(args.config)
    limits = setup.policy.profiles[setup.policy.default_profile]
    worker = Worker(args.name, VenueClient(args.venue))
    with ExitStack() as stack:
        trade: Trade = worker.bare
        if args.manner is not Manner.BARE:
            guard = stack.enter_context(
                Guard.open(setup, worker=args.name, labels={"venue": "paper"})
            )
            trade = worker.guarded(guard, obeys=args.manner is Manner.ASKS)
        # Line-buffered: a line is in the file before the next attempt, even if we are killed.
        notes = stack.enter_context(args.notes.open("w", buffering=1))
        run(
            trade,
            notes,
            rate_per_s=args.rate,
            seed=args.seed,
            most_usd=Decimal(limits.max_order_notional),
        )


if __name__ == "__main__":
    main()
