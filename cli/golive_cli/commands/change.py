"""`golive halt`, `resume`, `reduce`, `restore` and `extend`; `app` declares their options."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from golive_cli.exits import UsageError
from golive_cli.output import AUDIT, Output, Painted
from golive_cli.results import Applied, LoosenResult, RestrictResult

if TYPE_CHECKING:
    from pathlib import Path

    from golive_redis.operator.restrictions import Restricted
    from golive_redis.records.directive import Grant
    from golive_redis.records.envelope import Verified

LABELS = ("venue", "account", "desk", "strategy", "symbol", "worker", "client")


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


def restrict(
    kind: str,
    words: list[str] | None,
    reason: str,
    ticket: str,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    """Put a halt or a reduction in force and print who has applied it."""
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


def loosen(
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
    """Lift restrictions or move the end of the window, and print what is in force now."""
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
            record.kind,
            record.epoch,
            record.term,
            signers,
            len(record.keeps),
            list(record.heartbeats),
            record.not_after_ms,
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
