"""`golive revoke`: the kill path. Parsed with argparse, because Typer alone takes 10 ms to import.

It never asks. It answers 0 (complete), 2 (usage), 3 (not confirmed), 6 (configuration) or
7 (stopped, not drained or drain unknown), and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import shlex
from pathlib import Path
from typing import Any, NoReturn

from golive_cli.exits import Exit, UsageError, require_reason
from golive_cli.output import AUDIT, Output, Painted, place, when
from golive_cli.results import RevokedHeartbeat, RevokedWorker, RevokeResult
from golive_cli.waiting import WaitingLine
from golive_redis.clock import wall_ms
from golive_redis.config.config import DEFAULT_PATH, NO_CONFIG, load
from golive_redis.core.barrier import HeartbeatRow, Outcome, Result, WorkerRow
from golive_redis.core.timing import bound_in_words
from golive_redis.errors import ConfigError
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


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= MAX_WAIT_S:  # NaN too
        raise ValueError(text)
    return value


_VALUE = {"action": "store"}
FLAG = {"action": "store_true"}
_REPEATED = {"action": "append", "default": [], "metavar": "NAME"}
# As argparse takes them; the completion of a shell reads them, too.
OPTIONS: dict[str, dict[str, Any]] = {
    "--reason": {**_VALUE, "required": True, "help": "why; goes into the ledger"},
    "--ticket": {**_VALUE, "default": "", "help": "reference for the ledger"},
    "--heartbeat-dead": {
        **_REPEATED,
        "help": "attest, with your signature, that this heartbeat is dead and stays dead",
    },
    "--worker-dead": {
        **_REPEATED,
        "help": "attest the same of a worker: its id means all of its processes that have not drained, "
        "ID:INSTANCE means one of them",
    },
    "--wait": {
        **_VALUE,
        "type": _seconds,
        "metavar": "SECONDS",
        "help": "how long to collect receipts (default: beat_ms + 2 s, and once every heartbeat has "
        "answered until no worker can have a permit)",
    },
    "--key": {**_VALUE, "metavar": "KEY", "help": "sign with this key instead of keys.operator"},
    "--config": {**_VALUE, "metavar": "FILE", "help": "configuration file"},
    "--json": {**FLAG, "help": "print one JSON object"},
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"NOTHING WAS STOPPED: {message}", hint="golive revoke --help")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    out = _Parser(
        prog="golive revoke",
        description="Stop all trading now, everywhere, and collect a receipt from every pod. "
        "Waits for nobody: a key that has not signed after a second signs later. "
        "Running it again finishes a stop that was not confirmed.",
        allow_abbrev=False,
    )
    for name, settings in OPTIONS.items():
        out.add_argument(name, **settings)
    return out


def run(argv: list[str]) -> int:
    """Run the command and return its exit code.

    Raises:
        UsageError: The options are wrong.
        ConfigError: Configuration or keyset cannot be used.
    """
    options = parser().parse_args(argv)
    try:
        require_reason(options.reason)
    except UsageError as error:
        raise UsageError(f"NOTHING WAS STOPPED: {error.message}", hint=error.hint) from error
    output = Output(as_json=options.json)
    with WaitingLine(output) as line:
        report = _prepared(options, line).run()
    output.result(as_json(report))
    if not options.json:
        show(report, output)
    return CODES[report.outcome.result]


def _prepared(options: argparse.Namespace, line: WaitingLine) -> Revoke:
    """Return the stop; where it cannot be prepared, say what stops a fleet all the same.

    Raises:
        ConfigError: Configuration or keyset cannot be used. Its hint is what helps in an emergency.
    """
    try:
        return Revoke(
            load(options.config),
            reason=options.reason,
            ticket=options.ticket,
            dead=frozenset(options.heartbeat_dead),
            dead_workers=frozenset(options.worker_dead),
            wait_ms=None if options.wait is None else options.wait * 1000,
            key=options.key,
            say=line.note,
            waiting=line.tell,
        )
    except ConfigError as error:
        raise ConfigError(
            f"NOTHING WAS STOPPED: {error.message}", hint=_emergency(error)
        ) from error


def _emergency(error: ConfigError) -> str:
    """Say what to type when the configuration cannot be used."""
    above = None
    with contextlib.suppress(OSError):  # the folder we are in was deleted
        around = (at / DEFAULT_PATH for at in Path.cwd().parents)
        above = next((path for path in around if path.is_file()), None)
    name = shlex.quote(str(above)) if above is not None else "FILE"
    mend = f"{error.hint}; or " if error.hint and error.hint != NO_CONFIG else ""
    return (
        f"{mend}name another: golive revoke --config {name} --reason ... . Without any: "
        "redis-cli -u URL DEL NAMESPACE:active (golive:active by default) turns the fleet off at once; "
        "or stop every heartbeat on its host, and the fleet is off within seconds of the last beat"
    )


def as_json(report: StopReport) -> RevokeResult:
    """Return the report in the shape of docs/reference/json.md."""
    outcome = report.outcome
    return RevokeResult(
        report.environment,
        report.namespace,
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
    if outcome.heartbeats:
        output.table(
            ["heartbeat", "latched", "durable"], [_heartbeat(r, report) for r in outcome.heartbeats]
        )
    if outcome.workers:
        _workers(report, output)
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
    where = place(report.environment, report.namespace)
    output.line(verdict, f"{said} in {where}: {', '.join(facts)}")
    for line in _advice(report):
        output.line(line)


def _workers(report: StopReport, output: Output) -> None:
    headers = ["worker", "instance", "latched", "in flight", "drained", "left", "durable", "off by"]
    rows = [_worker(row, report) for row in report.outcome.workers]
    if not any(row[-1] for row in rows):  # everybody has answered
        headers, rows = headers[:-1], [row[:-1] for row in rows]
    output.table(headers, rows)


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
        silent = "does not count" if row.name in report.uncounted else "no answer"
        said = "attested dead" if row.attested_dead else silent
        return [row.name, said, ""]
    return [row.name, f"{row.latched_ms:.0f} ms", str(row.durable)]


def _worker(row: WorkerRow, report: StopReport) -> list[str]:
    name = [row.pod.worker, row.pod.instance[:6]]
    if row.latched_ms is None:
        if row.attested_dead or row.goodbye_ms is not None:
            said = "attested dead" if row.attested_dead else "has left"
            return [*name, said, "", "", "", "", ""]
        return [*name, "no answer", "", "unknown", "", "", _off(row, report)]
    drained = "not yet" if row.drained_ms is None else f"{row.drained_ms:.0f} ms"
    if row.drain_unknown and report.outcome.settled:
        drained = "unknown"
    if row.left is None and row.settled:
        drained = "attested dead" if row.attested_dead else "has left"
    left = "" if row.left is None else str(row.left)
    latched = f"{row.latched_ms:.0f} ms"
    return [*name, latched, str(row.in_flight), drained, left, str(row.durable), ""]


def _at_the_latest(report: StopReport, whom: str) -> str:
    """Say when it is over whatever happens: with the end of the window, which is far away."""
    if report.bound_ms is None:
        return f"{whom} has no bound that is known on this host."
    left_ms = report.bound_ms - wall_ms()
    if left_ms <= 0:
        return f"{whom} is off: the window ended at {when(report.bound_ms)}."
    return (
        f"{whom} is off at the latest by {_instant(report.bound_ms)} "
        f"(in {bound_in_words(left_ms)}), when the window ends."
    )


def _instant(bound_ms: float) -> str:
    """Return the end of a bound for people: the next whole second, for before it is not over."""
    return when(math.ceil(bound_ms / 1000) * 1000)


def _off(row: WorkerRow, report: StopReport) -> str:
    """Say by when a worker that has not answered is off."""
    return "" if row.off_by is None else _instant(report.at(row.off_by))


def _cut_off(report: StopReport) -> str:
    """Say when a worker is off that cannot reach Redis: a duration first."""
    within = bound_in_words(report.timing.lease_ms)
    since = "" if report.cut_off_ms is None else " of the stop"
    return f"A worker that cannot reach Redis is off within {within}{since}, by itself."


def _uncounted(report: StopReport, named: list[str]) -> list[str]:
    """Say why answers do not confirm a stop that was signed without a look at Redis (A2)."""
    have = "has" if len(named) == 1 else "have"
    why = (
        f"{_listed(named)} {have} answered, and that does not count: the stop was signed without a look "
        "at Redis, and neither this host nor the answer knows of a term. One that nobody here has heard "
        "of could be left."
    )
    stands = (
        "The stop stands, and nothing was active when Redis was read. Running it again does not confirm "
        "it. When it is to trade again: golive activate --over-unconfirmed --reason ...; a stop of that "
        "term is confirmed as always."
    )
    return [why, stands, _cut_off(report), _at_the_latest(report, "Any other")]


def _stood(report: StopReport) -> list[str]:
    """Say what is so when a stop stands that this run could not send again."""
    first = (
        f"The stop of epoch {report.epoch} stood in Redis when it was read, and nothing was active. It "
        "could not be sent again from here, so nobody was asked to answer."
    )
    return [
        first,
        _cut_off(report),
        "Run this with a login that may stop: `golive acl --role operator` prints the line for it.",
        _at_the_latest(report, "The fleet"),
    ]


def _unreached(report: StopReport) -> list[str]:
    """Say what is so when Redis has not taken the stop, and what to do about that."""
    if report.stood:
        return _stood(report)
    beat = bound_in_words(report.timing.beat_ms)
    way_out = (
        "One that reaches Redis may trade on. Run this where Redis can be reached, or stop every "
        f"heartbeat on its host: then all are off within {beat} of the last beat."
    )
    kept = ""
    if report.ledger is LedgerState.SPOOLED:
        kept = (
            " It is kept on this host, and sent when a command or a heartbeat here reaches Redis."
        )
    return [
        f"The stop is not in Redis: no pod is known to have been told.{kept}",
        _cut_off(report),
        way_out,
        _at_the_latest(report, "The fleet"),
    ]


def _unconfirmed(report: StopReport) -> list[str]:
    """Say what is missing, until when it matters, and what to do about that."""
    if report.in_redis_ms is None:
        return _unreached(report)
    outcome = report.outcome
    silent = [row.name for row in outcome.heartbeats if not row.answered]
    if heard := [name for name in silent if name in report.uncounted]:
        return _uncounted(report, heard)  # nor would an answer of the others count
    off_by = next((row.off_by for row in outcome.workers if row.off_by is not None), None)
    if silent:
        dead = " ".join(f"--heartbeat-dead {name}" for name in silent[:MOST_NAMED])
        named = f"No answer from heartbeat {_listed(silent)}"
        start = f"Start {_listed(silent)}, and run this again."
        return [
            f"{named}: it may keep workers alive that have not heard of the stop.",
            _cut_off(report),
            _at_the_latest(report, "Any other"),
            f"{start} Only for a heartbeat that is dead and stays dead: {dead}.",
        ]
    if not outcome.heartbeats:
        return [
            "No heartbeat is on the roster, so nobody can confirm the stop.",
            "Start the heartbeats: each registers, sees the stop and answers. Then run it again.",
            _cut_off(report),
            _at_the_latest(report, "Any other"),
        ]
    if off_by is not None:
        at_ms = report.at(off_by)
        left = bound_in_words(max(0.0, at_ms - wall_ms()))
        stopped = (
            f"Every heartbeat has stopped: all workers are off within {left}, by {_instant(at_ms)}."
        )
        return [f"{stopped} Run it again to see that confirmed."]
    return [_cut_off(report), "Not everybody has answered yet. Run it again."]


def _elsewhere(report: StopReport) -> list[str]:
    """Say what a stop in the Redis of another fleet is: whoever is silent there is not ours to name."""
    here = report.another_fleet
    first = (
        f"{here[0].upper()}{here[1:]}: your own fleet was not stopped by this, unless it is there. Name "
        "its Redis in store.url or $GOLIVE_REDIS_URL, and run this again."
    )
    then = (
        "What traded there is off, until its own people start it again; its ledger and a stop of its "
        "own are as they were."
    )
    return [first] if report.in_redis_ms is None else [first, then]


def _advice(report: StopReport) -> list[str]:
    outcome = report.outcome
    lines = []
    if not report.epoch:
        lines.append(
            "Nothing could be signed, so no pod can answer. Fix the key, or name another with "
            "--key FILE, and run it again."
        )
    elif report.another_fleet:
        lines += _elsewhere(report)
    elif outcome.result is Result.NOT_CONFIRMED:
        lines += _unconfirmed(report)
    if outcome.result is Result.STOPPED:
        lines += _not_drained(outcome)
    answers = [row.latched_ms for row in outcome.heartbeats]
    answers += [row.latched_ms for row in outcome.workers]
    none = not any(at is not None for at in answers)
    if report.behind is not None and none and not report.another_fleet:
        lacks = report.behind.in_words()
        lines.append(f"If this is not the fleet's Redis, the fleet was not stopped: {lacks}.")
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
