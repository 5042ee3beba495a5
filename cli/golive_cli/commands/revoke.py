"""`golive revoke`: the kill path. Parsed with argparse, because Typer alone takes 10 ms to import.

It never asks. It answers 0 (complete), 2 (usage), 3 (not confirmed), 6 (configuration) or
7 (stopped, not drained or drain unknown), and nothing else.
"""

from __future__ import annotations

import argparse
import time
from typing import NoReturn

from golive_cli.exits import Exit, UsageError
from golive_cli.output import AUDIT, Output, Painted
from golive_cli.results import RevokedHeartbeat, RevokedWorker, RevokeResult
from golive_redis.clock import wall_ms
from golive_redis.config import load
from golive_redis.core.barrier import HeartbeatRow, Outcome, Result, WorkerRow
from golive_redis.stop.progress import LedgerState, StopReport
from golive_redis.stop.revoke import Revoke

CODES = {
    Result.COMPLETE: Exit.DONE,
    Result.STOPPED: Exit.NOT_DRAINED,
    Result.NOT_CONFIRMED: Exit.NOT_CONFIRMED,
}
MAX_WAIT_S = 86_400
MOST_NAMED = 10
COLOURS = {
    Result.COMPLETE: "green",
    Result.STOPPED: "yellow",
    Result.NOT_CONFIRMED: "red",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint="golive revoke --help")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    out = _Parser(
        prog="golive revoke",
        description="Stop all trading now, everywhere, and collect a receipt from every pod. "
        "Never asks. Running it again finishes a stop that was not confirmed.",
        allow_abbrev=False,
    )
    out.add_argument("--reason", required=True, help="why; goes into the ledger")
    out.add_argument("--ticket", default="", help="reference for the ledger")
    out.add_argument(
        "--heartbeat-dead",
        action="append",
        default=[],
        metavar="NAME",
        help="attest, with your signature, that this heartbeat is dead and stays dead",
    )
    out.add_argument(
        "--worker-dead",
        action="append",
        default=[],
        metavar="NAME",
        help="likewise, that this worker is dead: its id means each of its processes that has not "
        "drained, ID:INSTANCE the one that begins so",
    )
    out.add_argument(
        "--wait",
        type=_seconds,
        metavar="SECONDS",
        help="how long to collect receipts (default: beat_ms + 2 s, and once every heartbeat has "
        "answered until no worker can have a permit)",
    )
    out.add_argument("--key", metavar="FILE", help="sign with this key instead of keys.operator")
    out.add_argument("--config", metavar="FILE", help="configuration file")
    out.add_argument("--json", action="store_true", help="print one JSON object")
    return out


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= MAX_WAIT_S:  # NaN too
        raise ValueError(text)
    return value


def run(argv: list[str]) -> int:
    """Run the command and return its exit code.

    Raises:
        UsageError: The options are wrong.
        ConfigError: Configuration or keyset cannot be used.
    """
    options = parser().parse_args(argv)
    output = Output(as_json=options.json)
    report = Revoke(
        load(options.config),
        reason=options.reason,
        ticket=options.ticket,
        dead=frozenset(options.heartbeat_dead),
        dead_workers=frozenset(options.worker_dead),
        wait_ms=None if options.wait is None else options.wait * 1000,
        key=options.key,
        say=output.note,
    ).run()
    output.result(as_json(report))
    if not options.json:
        show(report, output)
    return CODES[report.outcome.result]


def as_json(report: StopReport) -> RevokeResult:
    """Return the report in the shape of docs/reference/json.md."""
    outcome = report.outcome
    return RevokeResult(
        outcome.result,
        outcome.by,
        report.epoch,
        report.term,
        _rounded(report.in_redis_ms),
        report.ledger,
        [
            RevokedHeartbeat(row.name, _rounded(row.latched_ms), row.durable, row.attested_dead)
            for row in outcome.heartbeats
        ],
        [
            RevokedWorker(
                row.pod.worker,
                row.pod.instance,
                _rounded(row.latched_ms),
                row.in_flight,
                _rounded(row.drained_ms),
                row.left,
                row.durable,
                None if row.off_by is None else report.at(row.off_by),
                row.attested_dead,
                row.signed_by,
                _rounded(row.goodbye_ms),
            )
            for row in outcome.workers
        ],
        outcome.drain_unknown,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def show(report: StopReport, output: Output) -> None:
    """Print the report for people: a row per pod, then the verdict."""
    outcome = report.outcome
    headers = ["pod", "latched", "in flight", "drained", "left", "durable"]
    rows = [_heartbeat(row, report) for row in outcome.heartbeats]
    rows += [_worker(row, report) for row in outcome.workers]
    if rows:
        output.table(headers, rows)
    verdict = Painted(outcome.result, COLOURS[outcome.result])
    facts = [f"term {report.term}"] if report.term else []
    facts += [f"epoch {report.epoch}", AUDIT[report.ledger]]
    if shared := sum(row.shared_key for row in outcome.workers):
        facts.append(f"{shared} with a shared key")  # A6
    said = f" by {outcome.by}" if outcome.by else ""
    if _drain_unknown(outcome):
        said, facts = (
            f", drain unknown: {_listed(outcome.drain_unknown)}",
            [f"by {outcome.by}", *facts],
        )
    output.line(verdict, f"{said} ({', '.join(facts)})")
    for line in _advice(report):
        output.line(line)


def _drain_unknown(outcome: Outcome) -> bool:
    """Tell whether everything is off, and of somebody it is not known what was still in flight."""
    unknown = outcome.drain_unknown or not outcome.workers or not outcome.whole
    return outcome.result is Result.STOPPED and bool(unknown)


def _listed(names: list[str]) -> str:
    if not names:
        return "no worker is on the roster"
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _heartbeat(row: HeartbeatRow, report: StopReport) -> list[str]:
    if row.latched_ms is None:
        said = "attested dead" if row.attested_dead else f"no answer; {_bound(report)}"
        return [f"heartbeat {row.name}", said, "", "", "", ""]
    return [f"heartbeat {row.name}", f"{row.latched_ms:.0f} ms", "", "", "", str(row.durable)]


def _worker(row: WorkerRow, report: StopReport) -> list[str]:
    name = f"{row.pod.worker} {row.pod.instance[:6]}"
    if row.latched_ms is None:
        if row.attested_dead or row.goodbye_ms is not None:
            return [name, "attested dead" if row.attested_dead else "has left", "", "", "", ""]
        said = f"no answer; {_off(row, report)}"
        return [name, said, "", "drain unknown", "", ""]
    drained = "not yet" if row.drained_ms is None else f"{row.drained_ms:.0f} ms"
    if row.drain_unknown and report.outcome.settled:
        drained = "drain unknown"
    if row.left is None and row.settled:
        drained = "attested dead" if row.attested_dead else "has left"
    left = "" if row.left is None else str(row.left)
    return [name, f"{row.latched_ms:.0f} ms", str(row.in_flight), drained, left, str(row.durable)]


def _bound(report: StopReport) -> str:
    if report.bound_ms is None:
        return "no bound is known"
    return f"off by {_when(report.bound_ms)} at the latest"


def _off(row: WorkerRow, report: StopReport) -> str:
    """Say by when a worker that has not answered is off."""
    if row.off_by is not None:
        return f"off by {_when(report.at(row.off_by))}"
    if report.cut_off_ms is None:
        return _bound(report)
    end_ms = int(report.wall_ms + report.cut_off_ms)
    word = "since" if end_ms <= wall_ms() else "by"
    return f"off {word} {_when(end_ms)} if it cannot reach Redis; otherwise {_bound(report)}"


def _advice(report: StopReport) -> list[str]:
    outcome = report.outcome
    lines = []
    if not report.epoch:
        lines.append(
            "Nothing could be signed, so no pod can answer. Fix the key, or name another with "
            "--key FILE, and run it again."
        )
    elif outcome.result is Result.NOT_CONFIRMED:
        silent = [row.name for row in outcome.heartbeats if not row.answered]
        if silent:
            lines.append(
                f"Silent heartbeat(s): {', '.join(silent)}. If one is certainly dead, run again "
                f"with --heartbeat-dead NAME; until then {_bound(report)}."
            )
        elif not outcome.heartbeats:
            lines.append(f"No heartbeat is known, so nothing can be confirmed; {_bound(report)}.")
        lines.append("A worker that cannot reach Redis is off within its lease. Run it again.")
    if outcome.result is Result.STOPPED:
        lines += _not_drained(outcome)
    if report.ledger is LedgerState.FAILED:
        lines.append(
            "AUDIT FAILED: the entry is neither in Redis nor on this host; write down what you did."
        )
    return lines


def _not_drained(outcome: Outcome) -> list[str]:
    lines = []
    left = sum(row.left or 0 for row in outcome.workers)
    if left:
        lines.append(f"{left} order(s) were still working when the drain ended: look at the venue.")
    if outcome.drain_unknown:
        lines.append(
            "No worker can get a permit any more, but what these held may still be sent, and what they "
            f"sent is not known: {_listed(outcome.drain_unknown)}. Look at the venue. When one is "
            "certainly dead, run it again with --worker-dead NAME."
        )
    elif not outcome.workers:
        lines.append("No worker is on the roster, so nobody has said what was in flight.")
    if not outcome.whole:
        lines.append(
            "The roster of workers is longer than what was read, so others may be missing."
        )
    return lines


def _when(unix_ms: int) -> str:
    """Return an instant for people; with its date when that is not today."""
    at, now = time.localtime(unix_ms / 1000), time.localtime(wall_ms() / 1000)
    return time.strftime("%H:%M:%S" if at[:3] == now[:3] else "%Y-%m-%d %H:%M:%S", at)
