"""`golive halt`, `resume`, `reduce`, `restore` and `extend`; `app` declares their options."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

from golive_cli import meeting
from golive_cli.exits import Exit, UsageError, require_reason
from golive_cli.output import AUDIT, Output, Painted, place
from golive_cli.results import Applied, Lifted, LoosenResult, RestrictResult
from golive_redis.core.labels import unusable
from golive_redis.core.timing import bound_in_words
from golive_redis.operator.lookalikes import near
from golive_redis.operator.matching import Match, Meets
from golive_redis.store.presence import listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from golive_redis.core.barrier import Pod
    from golive_redis.operator.grants import Loosened, Loosening
    from golive_redis.operator.restrictions import Foreseen, Restricted
    from golive_redis.records.directive import Profile, Restriction
    from golive_redis.records.envelope import Verified
    from golive_redis.records.trust import Trust

LIFTS = {"halt": "resume", "reduce": "restore"}
LABELS = ("venue", "account", "desk", "strategy", "symbol", "worker", "client")


def parsed(words: list[str] | None, *, restricts: bool) -> dict[str, str]:
    """Return LABEL=VALUE words as labels.

    Raises:
        UsageError: One is none, or cannot restrict anything.
    """
    labels: dict[str, str] = {}
    for word in words or ():
        name, sign, value = word.partition("=")
        if name not in LABELS:
            meant = "".join(f"; did you mean {each}?" for each in near(name, LABELS, missed=True))
            raise UsageError(f"{name!r} is no label{meant}", hint=f"labels are {', '.join(LABELS)}")
        if not sign or not value or name in labels:
            raise UsageError(f"{word!r} is not LABEL=VALUE, each label once", hint="symbol=BTCUSDT")
        if restricts and (problem := unusable(value)):
            raise UsageError(f"{word!r}: {problem}", hint="symbol=BTCUSDT or symbol=BTC*")
        labels[name] = value.strip()
    return labels


def restrict(
    kind: str,
    words: list[str] | None,
    reason: str,
    ticket: str,
    config: Path | None,
    *,
    dry_run: bool = False,
    as_json: bool,
) -> int:
    """Put a halt or a reduction in force and print whom it meets and who has applied it."""
    require_reason(reason)
    labels = parsed(words, restricts=True)
    return put(kind, labels, None, reason, ticket, config, dry_run=dry_run, as_json=as_json)


def put(
    kind: str,
    labels: dict[str, str],
    profile: Profile | None,
    reason: str,
    ticket: str,
    config: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Put a restriction in force, or say what it would do."""
    from golive_redis import config as configuration
    from golive_redis.operator import restrictions
    from golive_redis.operator.session import Operator, send_spool
    from golive_redis.records.directive import RestrictionKind

    out, what = Output(as_json=as_json), RestrictionKind(kind)
    with Operator(configuration.load(config), takes_away=True) as operator:
        if dry_run:
            foreseen = restrictions.foresee(
                operator, what, labels=labels, profile=profile, say=out.note
            )
            return _show_foreseen(out, operator.trust, what, labels, profile, foreseen)
        done = restrictions.restrict(
            operator,
            what,
            reason=reason,
            ticket=ticket,
            labels=labels,
            profile=profile,
            say=out.note,
        )
        lease_ms = operator.timing.lease_ms
        send_spool(operator, out.note)  # after it: it does not wait for the ledger
    return _show_restricted(out, done, labels, lease_ms)


def _show_foreseen(
    out: Output,
    trust: Trust,
    kind: str,
    labels: dict[str, str],
    profile: Profile | None,
    foreseen: Foreseen,
) -> Exit:
    found = foreseen.matching
    workers = [
        Applied(match.pod.worker, match.pod.instance, None, match.meets, match.values)
        for match in found.workers
    ]
    out.result(
        RestrictResult(
            trust.environment,
            trust.namespace,
            kind,
            0,
            foreseen.term,
            labels,
            profile,
            "",
            workers,
            len(found.concerned),
            found.near,
            dry_run=True,
        )
    )
    if labels and found.workers:
        rows = [[m.pod.worker, m.pod.instance[:6], meeting.cell(m)] for m in found.workers]
        out.table(["worker", "instance", "matches"], rows)
    meeting.warn(out, labels, found, found.concerned)
    whom = f"to {profile}" if profile else meeting.named(labels)
    out.line(
        Painted("DRY RUN", "yellow"),
        f" {kind} {whom} in {place(trust.environment, trust.namespace)}: term {foreseen.term}, "
        f"{meeting.count(found)}; nothing was changed",
    )
    meeting.advise(out, labels, found)
    return Exit.DONE if found.concerned else Exit.NO_MATCH


def _show_restricted(out: Output, done: Restricted, labels: dict[str, str], lease_ms: int) -> Exit:
    record, found = done.restriction.record, done.matching
    matches = {match.pod: match for match in found.workers} if found is not None else {}
    times: dict[Pod, float | None] = {**dict(sorted(done.applied.items()))}
    times |= dict.fromkeys(done.silent)
    workers = [
        Applied(
            pod.worker,
            pod.instance,
            None if ms is None else round(ms, 1),
            matches[pod].meets if pod in matches else Meets.UNKNOWN,
            matches[pod].values if pod in matches else {},
        )
        for pod, ms in times.items()
    ]
    out.result(
        RestrictResult(
            record.environment,
            record.namespace,
            record.kind,
            record.epoch,
            record.term,
            labels,
            record.profile,
            done.ledger,
            workers,
            None if found is None else len(found.concerned),
            {} if found is None else found.near,
            dry_run=False,
        )
    )
    _table(out, times, matches, labelled=bool(labels))
    meeting.warn(out, labels, found, done.applied)
    what, whom = str(record.mode).upper(), f" {meeting.named(labels)}"
    if record.profile:  # a profile belongs to the whole fleet
        what, whom = f"DEMOTED to {record.profile}", ""
    out.line(
        Painted(what, "yellow"),
        f"{whom} in {place(record.environment, record.namespace)}: term {record.term}, epoch "
        f"{record.epoch}, {AUDIT[done.ledger]}; "
        f"{len(done.applied)} of {len(workers)} worker(s) answered",
    )
    if labels and found is not None and found.concerned:
        out.line(meeting.count(found))
    meeting.advise(out, labels, found)
    if done.silent:
        names = listed({pod.worker for pod in done.silent})
        within = bound_in_words(lease_ms)
        out.line(
            f"No answer from {names}: a worker that cannot reach Redis is off within {within}."
        )
        out.line("What a frozen one holds may still be sent: look at the venue.")
    if done.effective:
        return Exit.DONE
    if record.kind in LIFTS:
        words = [LIFTS[record.kind], *(f"{name}={value}" for name, value in labels.items())]
        out.line(f"It stays in force; golive {shlex.join(words)} --reason ... lifts it.")
    return Exit.NO_MATCH


def _table(
    out: Output, times: Mapping[Pod, float | None], matches: Mapping[Pod, Match], *, labelled: bool
) -> None:
    if not times:
        return
    headers = ["worker", "instance", "applied", *(["matches"] if labelled else [])]
    rows = [
        [
            pod.worker,
            pod.instance[:6],
            "no answer" if ms is None else f"{ms:.0f} ms",
            *([meeting.cell(matches.get(pod))] if labelled else []),
        ]
        for pod, ms in times.items()
    ]
    out.table(headers, rows)


def loosen(
    kind: str,
    words: list[str] | None,
    reason: str,
    ticket: str,
    keys: list[str] | None,
    config: Path | None,
    *,
    every: bool = False,
    minutes: int | None = None,
    dry_run: bool = False,
    as_json: bool,
) -> None:
    """Lift restrictions or move the end of the window, and print what is in force now."""
    from golive_redis import config as configuration
    from golive_redis.operator import grants
    from golive_redis.operator.session import Operator
    from golive_redis.records.directive import GrantKind

    require_reason(reason)
    if every and words:
        raise UsageError("--all or labels, not both")
    labels = parsed(words, restricts=False)
    out, what, files = Output(as_json=as_json), GrantKind(kind), list(keys or ())
    with Operator(configuration.load(config)) as operator:
        if dry_run:
            planned = grants.foresee(operator, what, labels=labels, every=every, keys=files)
            _show_planned(out, what, planned)
            return
        done = grants.loosen(
            operator,
            what,
            reason=reason,
            ticket=ticket,
            labels=labels,
            every=every,
            keys=files,
            minutes=minutes,
            say=out.note,
        )
    _show_loosened(out, done)


def _lifted(dropped: Sequence[Verified[Restriction]]) -> list[Lifted]:
    return [
        Lifted(
            item.record.epoch,
            item.record.kind,
            {str(name): value for name, value in item.record.labels.items()},
            item.record.by,
            item.record.reason,
        )
        for item in dropped
    ]


def _show_planned(out: Output, kind: str, planned: Loosening) -> None:
    state, lifts = planned.state, _lifted(planned.dropped)
    record = state.grant.record
    out.result(
        LoosenResult(
            record.environment,
            record.namespace,
            kind,
            0,
            state.term,
            [],
            len(planned.kept),
            list(record.heartbeats),
            record.not_after_ms,
            lifts,
            dry_run=True,
        )
    )
    for item in lifts:
        out.line(
            f"would lift {item.kind} {item.epoch} for {meeting.named(item.labels)}, by {item.by}: "
            f"{item.reason}"
        )
    out.line(
        Painted("DRY RUN", "yellow"),
        f" {kind} in {place(record.environment, record.namespace)}: term {state.term}, "
        f"{_remaining(len(planned.kept))}; nothing was changed",
    )


def _show_loosened(out: Output, done: Loosened) -> None:
    grant = done.grant
    record = grant.record
    signers = sorted(grant.signers)
    out.result(
        LoosenResult(
            record.environment,
            record.namespace,
            record.kind,
            record.epoch,
            record.term,
            signers,
            len(record.keeps),
            list(record.heartbeats),
            record.not_after_ms,
            _lifted(done.dropped),
            dry_run=False,
        )
    )
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.not_after_ms / 1000))
    out.line(
        Painted(record.kind.upper(), "green"),
        f" in {place(record.environment, record.namespace)}: term {record.term}, epoch "
        f"{record.epoch}, by {', '.join(signers)}; "
        f"{_remaining(len(record.keeps))}; until {until}",
    )


def _remaining(count: int) -> str:
    if not count:
        return "no halts or reductions remain"
    return "1 restriction remains" if count == 1 else f"{count} restrictions remain"
