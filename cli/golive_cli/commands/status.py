"""`golive status`, `golive workers` and `golive watch`; `app` declares their options."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from golive_cli.exits import Exit
from golive_cli.output import Output, Painted, Piece, gone

if TYPE_CHECKING:
    from golive_redis.operator.session import Operator
    from golive_redis.operator.status import FleetStatus, HeartbeatStatus, WorkerStatus
    from golive_redis.records.limits import Limits

COLOURS = {
    "live": "green",
    "armed": "green",
    "beating": "green",
    "reduce_only": "yellow",
    "halted": "yellow",
    "lapsed": "yellow",
    "off": "bold",
    "refused": "red",
    "latched": "red",
    "gone": "red",
}


def status(config: Path | None = None, *, as_json: bool = False) -> int:
    """Show what is in force, verified; exits 5 when something in Redis does not verify."""
    from golive_redis import config as configuration
    from golive_redis.operator import status as reading
    from golive_redis.operator.session import Operator

    out = Output(as_json=as_json)
    with Operator(configuration.load(config)) as operator:
        found = reading.read(operator)
    out.result(found)
    show(out, found)
    return Exit.VERIFICATION if found.refused else Exit.DONE


def workers(config: Path | None = None, *, as_json: bool = False) -> None:
    """Show every worker on the roster."""
    from golive_redis import config as configuration
    from golive_redis.operator import status as reading
    from golive_redis.operator.session import Operator

    out = Output(as_json=as_json)
    with Operator(configuration.load(config)) as operator:
        found = reading.workers(operator)
    out.result({"workers": found})
    out.table(WORKER_HEADERS, [_worker(item) for item in found])
    out.line(f"{len(found)} worker(s)")


def watch(every: float = 1.0, config: Path | None = None, *, as_json: bool = False) -> None:
    """Show the fleet live until Ctrl-C; with --json one object per look."""
    from golive_redis import config as configuration

    setup = configuration.load(config)
    out = Output(as_json=as_json)
    try:
        while not gone:
            _look(out, setup, every)
    except KeyboardInterrupt:
        return


def _look(out: Output, setup: object, every: float) -> None:
    """Show one connection's worth of looks; a lost connection is shown, and tried again."""
    from golive_redis.errors import StoreError
    from golive_redis.operator.session import Operator

    try:
        with Operator(setup) as operator:  # type: ignore[arg-type]
            if out.terminal and not out.as_json:
                _live(operator, every)
            else:
                _follow(out, operator, every)
    except StoreError as error:
        out.fail(error.reason, error.message, error.hint)
        time.sleep(every)


def _follow(out: Output, operator: Operator, every: float) -> None:
    from golive_redis.operator import status as reading

    while not gone:
        found = reading.read(operator)
        out.result(found)
        show(out, found)
        time.sleep(every)


def _live(operator: Operator, every: float) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from golive_redis.operator import status as reading

    with Live(console=Console(), screen=True, auto_refresh=False) as live:
        while True:
            page = _Page()
            show(page, reading.read(operator))
            live.update(Text.from_ansi(page.text), refresh=True)
            time.sleep(every)


class _Page(Output):
    """Collects what is shown, so that a screen changes all at once."""

    def __init__(self) -> None:
        super().__init__()
        self.terminal = False
        self.text = ""

    def line(self, *pieces: Piece) -> None:
        self.text += "".join(map(self._shown, pieces)) + "\n"

    def table(self, headers: list[str], rows: list[list[Piece]]) -> None:  # type: ignore[override]
        from golive_cli.output import plain

        self.text += plain(headers, rows)


def show(out: Output, found: FleetStatus) -> None:
    """Print a status for people."""
    state = Painted(found.state.upper(), COLOURS.get(found.state, "bold"))
    out.line(state, f" {found.environment} ({found.namespace}) at {_time(found.at_ms)}")
    active = found.active
    if active is not None:
        out.line(
            f"term {active.term}, epoch {active.epoch}, profile {active.profile}, by "
            f"{', '.join(active.by)} since {_time(active.issued_at_ms)}, until "
            f"{_time(active.not_after_ms)}: {active.reason}"
        )
        out.line(f"profile {active.profile}: {said(active.limits)}")
        for item in active.restrictions:
            labels = " ".join(f"{k}={v}" for k, v in item.labels.items()) or "all orders"
            out.line(Painted(f"  {item.kind}", "yellow"), f" {labels}, by {item.by}: {item.reason}")
    if found.revoked is not None:
        item_ = found.revoked
        word = "confirmed" if item_.confirmed else "NOT CONFIRMED"
        out.line(
            f"last stop: epoch {item_.epoch} by {item_.by} at {_time(item_.issued_at_ms)}, {word}: "
            f"{item_.reason}"
        )
    for text in found.refused:
        out.line(Painted("REFUSED ", "red"), text)
    if found.heartbeats:
        out.table(
            ["heartbeat", "state", "term", "durable", "why"], [_beat(h) for h in found.heartbeats]
        )
    if found.workers:
        out.table(WORKER_HEADERS, [_worker(item) for item in found.workers])
    armed = sum(item.state == "armed" for item in found.workers)
    shared = sum(item.answers_with != "own" for item in found.workers)
    keys = f", {shared} with a shared key" if shared else ""  # A6
    out.line(f"{armed} of {len(found.workers)} worker(s) armed{keys}")


WORKER_HEADERS = ["worker", "instance", "state", "term", "in flight", "permits", "skipped", "why"]


def _beat(item: HeartbeatStatus) -> list[Piece]:
    state = item.state if item.alive else "gone"
    return [item.name, _painted(state), str(item.term), item.durable, item.reason]


def _worker(item: WorkerStatus) -> list[Piece]:
    return [
        item.id,
        item.instance[:6],
        _painted(item.state if item.alive else "gone"),
        str(item.term),
        str(item.in_flight),
        str(item.permits),
        str(item.skipped),
        item.reason,
    ]


def _painted(state: str) -> Piece:
    return Painted(state, COLOURS[state]) if state in COLOURS else state


def _time(unix_ms: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(unix_ms / 1000))


def said(limits: Limits) -> str:
    """Say limits in a sentence."""
    money = limits.currency
    own = "".join(f", {name} {text}" for name, text in limits.extra.items())
    return (
        f"at most {limits.max_order_notional} {money} an order, "
        f"{limits.max_position_notional} {money} a position, {limits.max_daily_loss} {money} "
        f"lost in a day, {limits.max_orders_per_minute} orders a minute{own}"
    )
