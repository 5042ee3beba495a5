"""`golive halt`, `resume`, `reduce`, `restore` and `extend`: one directive each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli.exits import UsageError
from golive_cli.options import AsJson, ConfigFile, KeyFiles, Reason, Ticket
from golive_cli.output import AUDIT, Output, Painted
from golive_cli.results import Applied, LoosenResult, RestrictResult

if TYPE_CHECKING:
    from pathlib import Path

    from golive_redis.operator.restrictions import Restricted
    from golive_redis.records.directive import Grant
    from golive_redis.records.envelope import Verified

LABELS = ("venue", "account", "desk", "strategy", "symbol", "worker", "client")
LabelArguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[LABEL=VALUE]...",
        help="venue, account, desk, strategy, symbol, worker or client; all must match.",
        show_default=False,
    ),
]
EveryHalt = Annotated[bool, typer.Option("--all", help="Lift all halts.")]
EveryReduction = Annotated[bool, typer.Option("--all", help="Lift all reductions.")]


def halt(
    reason: Reason,
    labels: LabelArguments = None,
    ticket: Ticket = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Cancels only, for the orders that match all labels; without labels for all. Never asks."""
    _restrict("halt", labels, reason, ticket, config, as_json=as_json)


def reduce(
    reason: Reason,
    labels: LabelArguments = None,
    ticket: Ticket = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """No new risk, for the orders that match all labels; without labels for all. Never asks."""
    _restrict("reduce", labels, reason, ticket, config, as_json=as_json)


def resume(
    reason: Reason,
    labels: LabelArguments = None,
    every: EveryHalt = False,
    keys: KeyFiles = None,
    ticket: Ticket = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Lift the halt with exactly these labels. Loosening takes the approvers' threshold."""
    _loosen("resume", labels, reason, ticket, keys, config, every=every, as_json=as_json)


def restore(
    reason: Reason,
    labels: LabelArguments = None,
    every: EveryReduction = False,
    keys: KeyFiles = None,
    ticket: Ticket = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Lift the reduction with exactly these labels. Loosening takes the approvers' threshold."""
    _loosen("restore", labels, reason, ticket, keys, config, every=every, as_json=as_json)


def extend(
    reason: Reason,
    minutes: Annotated[
        int,
        typer.Option("--minutes", min=1, max=44_640, help="New length of the window, from now."),
    ],
    keys: KeyFiles = None,
    ticket: Ticket = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Move the end of the window within the term. Takes the approvers' threshold."""
    _loosen("extend", None, reason, ticket, keys, config, minutes=minutes, as_json=as_json)


def _parsed(words: list[str] | None) -> dict[str, str]:
    labels: dict[str, str] = {}
    for word in words or ():
        name, sign, value = word.partition("=")
        if name not in LABELS:
            raise UsageError(f"{name!r} is no label", hint=f"labels are {', '.join(LABELS)}")
        if not sign or not value or name in labels:
            raise UsageError(f"{word!r} is not LABEL=VALUE, each label once", hint="symbol=BTCUSDT")
        labels[name] = value
    return labels


def _restrict(
    kind: str,
    words: list[str] | None,
    reason: str,
    ticket: str,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    from golive_redis import config as configuration
    from golive_redis.operator import restrictions
    from golive_redis.operator.session import Operator
    from golive_redis.records.directive import RestrictionKind

    labels = _parsed(words)
    out = Output(as_json=as_json)
    with Operator(configuration.load(config)) as operator:
        done = restrictions.restrict(
            operator,
            RestrictionKind(kind),
            reason=reason,
            ticket=ticket,
            labels=labels,
            say=out.note,
        )
    show_restricted(out, done, labels)


def show_restricted(out: Output, done: Restricted, labels: dict[str, str]) -> None:
    """Print a restriction in force and who has applied it."""
    record = done.restriction.record
    workers = [
        Applied(pod.worker, pod.instance, round(ms, 1)) for pod, ms in sorted(done.applied.items())
    ]
    workers += [Applied(pod.worker, pod.instance, None) for pod in done.silent]
    out.result(
        RestrictResult(
            record.kind, record.epoch, record.term, labels, record.profile, done.ledger, workers
        )
    )
    rows = [
        [
            row.id,
            row.instance[:6],
            "no answer" if row.applied_ms is None else f"{row.applied_ms:.0f} ms",
        ]
        for row in workers
    ]
    if rows:
        out.table(["worker", "instance", "applied"], rows)
    words = " ".join(f"{name}={value}" for name, value in labels.items()) or "all orders"
    what, whom = str(record.mode).upper(), f" {words}"
    if record.profile:  # a profile belongs to the whole fleet
        what, whom = f"DEMOTED to {record.profile}", ""
    out.line(
        Painted(what, "yellow"),
        f"{whom} (term {record.term}, epoch {record.epoch}, {AUDIT[done.ledger]}); "
        f"{len(done.applied)} of {len(workers)} worker(s) answered",
    )
    if done.silent:
        out.line("A worker that cannot reach Redis is off within its lease.")


def _loosen(
    kind: str,
    words: list[str] | None,
    reason: str,
    ticket: str,
    keys: list[Path] | None,
    config: Path | None,
    *,
    every: bool = False,
    minutes: int | None = None,
    as_json: bool,
) -> None:
    from golive_redis import config as configuration
    from golive_redis.operator import grants
    from golive_redis.operator.session import Operator
    from golive_redis.records.directive import GrantKind

    labels = _parsed(words)
    out = Output(as_json=as_json)
    with Operator(configuration.load(config)) as operator:
        grant = grants.loosen(
            operator,
            GrantKind(kind),
            reason=reason,
            ticket=ticket,
            labels=labels,
            every=every,
            keys=[str(path) for path in keys or ()],
            minutes=minutes,
            say=out.note,
        )
    _show_loosened(out, grant)


def _show_loosened(out: Output, grant: Verified[Grant]) -> None:
    record = grant.record
    signers = sorted(grant.signers)
    out.result(
        LoosenResult(
            record.kind, record.epoch, record.term, signers, len(record.keeps), record.not_after_ms
        )
    )
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.not_after_ms / 1000))
    out.line(
        Painted(record.kind.upper(), "green"),
        f" term {record.term}, epoch {record.epoch}, by {', '.join(signers)}; "
        f"{_remaining(len(record.keeps))}; until {until}",
    )


def _remaining(count: int) -> str:
    if not count:
        return "no halts or reductions remain"
    return "1 restriction remains" if count == 1 else f"{count} restrictions remain"
