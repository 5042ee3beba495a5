"""`golive status` and `golive workers`; `app` declares their options, and `watch` is beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from golive_cli import fleetboard
from golive_cli.exits import Exit
from golive_cli.output import Output

if TYPE_CHECKING:
    from golive_redis.operator.fleet import FleetStatus


def status(config: Path | None = None, *, as_json: bool = False) -> int:
    """Show what is in force, verified; exits 5 when something in Redis does not verify."""
    from golive_redis import config as configuration
    from golive_redis.operator import status as reading
    from golive_redis.operator.session import Operator, send_spool

    out = Output(as_json=as_json)
    with Operator(configuration.load(config)) as operator:
        send_spool(operator, out.note)
        found = reading.read(operator)
    out.result(found)
    show(out, found)
    return Exit.VERIFICATION if found.refused else Exit.DONE


def workers(config: Path | None = None, *, as_json: bool = False) -> None:
    """Show every worker on the roster."""
    from golive_redis import config as configuration
    from golive_redis.operator import status as reading
    from golive_redis.operator.fleet import Workers
    from golive_redis.operator.session import Operator, send_spool

    out = Output(as_json=as_json)
    with Operator(configuration.load(config)) as operator:
        send_spool(operator, out.note)
        trust, found = operator.trust, reading.workers(operator)
    out.result(Workers(trust.environment, trust.namespace, found))
    if found:
        out.table(fleetboard.WORKER_HEADERS, fleetboard.worker_rows(found))
    place = f"{trust.environment} ({trust.namespace})"
    out.line(f"{place}; workers: {fleetboard.counts(found)}")


def show(out: Output, found: FleetStatus) -> None:
    """Print a status for people."""
    for line in (
        *fleetboard.head(found),
        *fleetboard.problems(found),
        *fleetboard.details(found),
    ):
        out.line(*line)
    if found.heartbeats:
        out.table(fleetboard.HEARTBEAT_HEADERS, fleetboard.heartbeat_rows(found.heartbeats))
    if found.workers:
        out.table(fleetboard.WORKER_HEADERS, fleetboard.worker_rows(found.workers))
        shared = sum(item.answers_with != "own" for item in found.workers)
        if shared:  # A6
            armed = f"{found.armed} of {len(found.workers)} worker(s) armed"
            out.line(f"{armed}, {shared} with a shared key")
