"""A fleet for people: what is true for orders first, then what is wrong, then everything else.

`golive status` prints all of it. `golive watch` has one screen for it: there the head and the counts are
always shown, problems come first, and what does not fit is counted.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from golive_cli.output import Painted, Piece, plain_rows, when
from golive_redis.core.timing import in_words
from golive_redis.masking import printable

if TYPE_CHECKING:
    from golive_redis.operator.fleet import (
        Active,
        FleetStatus,
        HeartbeatStatus,
        LedgerStatus,
        WorkerStatus,
    )
    from golive_redis.records.limits import Limits

_Pod = TypeVar("_Pod", "HeartbeatStatus", "WorkerStatus")
Line = Sequence[Piece]

COLOURS = {
    "armed": "green",
    "beating": "green",
    "unknown": "yellow",
    "silent": "yellow",
    "lapsed": "yellow",
    "latched": "red",
    "gone": "red",
}
# Whoever is not as they should be comes first.
_ORDER = ("gone", "silent", "unknown", "lapsed", "cold", "latched", "armed", "beating")
WORKER_HEADERS = [
    "worker",
    "instance",
    "state",
    "term",
    "in flight",
    "permits",
    "skipped",
    "reason",
]
HEARTBEAT_HEADERS = ["heartbeat", "state", "term", "durable", "reason"]
MAX_PROBLEMS = 5
MAX_DETAILS = 6
MAX_HEARTBEATS = 3
NAME_WIDTH = 24
MOST_NAME = 64  # of a name; a longer one was written by no pod


class Size(NamedTuple):
    """Of a screen, in characters."""

    width: int
    height: int


def head(found: FleetStatus) -> list[Line]:
    """Return what is always shown: what is true for orders, where, when, and the counts."""
    place = f"{found.environment} ({found.namespace}) at {when(found.at_ms)}"
    counted = f"workers: {counts(found.workers)}; heartbeats: {counts(found.heartbeats)}"
    return [[Painted(found.headline, _colour(found))], [f"{place}; {counted}"]]


def _colour(found: FleetStatus) -> str:
    if found.state in {"refused", "unknown"}:
        return "red"
    if found.active is None or found.state == "off":
        return "red" if found.armed else "bold"
    if not found.armed:
        return "red"
    return "yellow" if found.problems or found.state != "live" else "green"


def counts(pods: Sequence[HeartbeatStatus] | Sequence[WorkerStatus]) -> str:
    """Count pods by their state, those first that are not as they should be."""
    found = Counter(item.state for item in pods)
    known = [state for state in _ORDER if found[state]]
    known += sorted(set(found) - set(_ORDER))
    return ", ".join(f"{found[state]} {state}" for state in known) or "none"


def problems(found: FleetStatus) -> list[Line]:
    """Return what is not as it should be, the worst first."""
    return [[Painted("! ", "red"), text] for text in found.problems]


def details(found: FleetStatus) -> list[Line]:
    """Return what is in force, and what ended the term before."""
    out = [] if found.active is None else _active(found.active)
    stop = found.revoked
    if stop is not None:
        word = f"confirmed {stop.result}" if stop.confirmed else stop.result
        by = f"epoch {stop.epoch} by {stop.by} at {when(stop.issued_at_ms)}"
        if stop.until_ms is not None:
            by = f"epoch {stop.epoch} by a stop card of {stop.by}"
        if stop.workers_answered is not None:
            word += (
                f" (answered: {stop.workers_answered} worker(s), "
                f"{stop.heartbeats_answered} heartbeat(s); `golive revoke` confirms)"
            )
        out.append([f"last stop: {by}, {word}: {stop.reason}"])
    signed: Piece = (
        "its roots sign what follows" if found.keyset.signed else Painted("unsigned", "yellow")
    )
    ends = f", until {found.keyset.expires}" if found.keyset.expires is not None else ""
    out.append([f"keyset {found.keyset.version}, ", signed, ends])
    if found.ledger is not None:
        out.append(_ledger(found.ledger, found.at_ms))
    return out


def _ledger(ledger: LedgerStatus, now_ms: int) -> Line:
    """Say how many entries there are, and what protects them."""
    entries = f"ledger {ledger.entries:,} {'entry' if ledger.entries == 1 else 'entries'}"
    if ledger.checkpoint is None:
        said = f"{entries}, no checkpoint yet"
    elif not ledger.witnesses:
        said = f"{entries}, checkpoint {ledger.checkpoint:,} by {ledger.by}"
    else:
        said = (
            f"{entries}, checkpoint {ledger.checkpoint:,}, witnessed {len(ledger.cosigned)} of "
            f"{ledger.witnesses}"
        )
    if ledger.time_s is not None and ledger.witnesses:
        said += f", {in_words(max(0, now_ms - ledger.time_s * 1000))} ago"
    return [Painted(said, "red")] if ledger.problems else [said]


def _began(known_ms: int | None, word: str, proposed_ms: int) -> str:
    """Say when something took effect, or only when it was proposed."""
    return f"proposed at {when(proposed_ms)}" if known_ms is None else f"{word} {when(known_ms)}"


def _active(active: Active) -> list[Line]:
    began = active.activation
    by = f" by {', '.join(began.by)}" if began is not None else ""
    why = f": {began.reason}" if began is not None else ""
    since = _began(active.since_ms, "since", active.activated_at_ms)
    until = when(active.not_after_ms)
    out: list[Line] = [[f"term {active.term}{by} {since}, until {until}{why}"]]
    if active.issued_at_ms != active.activated_at_ms:
        at = _began(active.changed_ms, "at", active.issued_at_ms)
        changed = f"{active.kind} by {', '.join(active.by)} {at}"
        out.append([f"{changed}: {active.reason}"])
    for item in active.restrictions:
        labels = " ".join(f"{k}={v}" for k, v in item.labels.items()) or "all orders"
        out.append(
            [
                Painted(f"{item.kind} ", "yellow"),
                f"{labels}, by {item.by} at {when(item.issued_at_ms)}: {item.reason}",
            ]
        )
    out.append([f"epoch {active.epoch}, profile {active.profile}: {said(active.limits)}"])
    return out


def said(limits: Limits) -> str:
    """Say limits in a sentence."""
    money = limits.currency
    own = "".join(f", {name} {text}" for name, text in limits.extra.items())
    return (
        f"at most {limits.max_order_notional} {money} an order, "
        f"{limits.max_position_notional} {money} a position, {limits.max_daily_loss} {money} "
        f"lost in a day, {limits.max_orders_per_minute} orders a minute{own}"
    )


def ordered(pods: Sequence[_Pod], name: Callable[[_Pod], str]) -> list[_Pod]:
    """Return pods with those first that are not as they should be."""
    rank = {state: place for place, state in enumerate(_ORDER)}
    return sorted(pods, key=lambda item: (rank.get(item.state, -1), name(item)))


def heartbeat_rows(found: Sequence[HeartbeatStatus]) -> list[Line]:
    """Return a row for each heartbeat."""
    return [
        [item.name, painted(item.state), number(item.term), item.durable, item.reason]
        for item in ordered(found, lambda item: item.name)
    ]


def worker_rows(found: Sequence[WorkerStatus]) -> list[Line]:
    """Return a row for each worker."""
    return [
        [
            item.id,
            item.instance[:6],
            painted(item.state),
            number(item.term),
            number(item.in_flight),
            number(item.permits),
            number(item.skipped),
            _why(item),
        ]
        for item in ordered(found, lambda item: item.id)
    ]


def _why(worker: WorkerStatus) -> str:
    children = f"forked children denied: {worker.forked}" if worker.forked else ""
    return "; ".join(filter(None, (worker.reason, children)))


def number(value: int | None) -> str:
    """Return a number for a table; a dash where it is not known."""
    return "-" if value is None else str(value)


def painted(state: str) -> Piece:
    """Return the name of a state in its colour."""
    return Painted(state, COLOURS[state]) if state in COLOURS else state


# -- one screen --------------------------------------------------------------------------------------


def screen(found: FleetStatus, size: Size, above: Sequence[Line] = ()) -> list[Line]:
    """Return the lines that fit on a screen.

    Args:
        found: The fleet.
        size: Of the screen.
        above: Shown in place of the head: why this is not how the fleet is now.
    """
    out = _wrapped(above or head(found), size.width)
    out += _most(_wrapped(problems(found), size.width), MAX_PROBLEMS, "lines of problems")
    out += _most(details(found), MAX_DETAILS, "lines")
    beating = _tabled(HEARTBEAT_HEADERS, heartbeat_rows(found.heartbeats))
    beats = ordered(found.heartbeats, lambda item: item.name)
    out += _table(beating, beats, MAX_HEARTBEATS, "heartbeat")
    room = max(1, size.height - len(out) - 1)  # less the headers
    pods = ordered(found.workers, lambda item: item.id)
    out += _table(_tabled(WORKER_HEADERS, worker_rows(found.workers)), pods, room, "worker")
    return [_cut(line, size.width) for line in out[: size.height]]


def _table(
    lines: list[Line],
    pods: Sequence[HeartbeatStatus] | Sequence[WorkerStatus],
    room: int,
    word: str,
) -> list[Line]:
    """Return a table cut to so many rows; the last of them counts the others."""
    if not pods:
        return []
    if len(pods) <= room:
        return lines
    rest = pods[room - 1 :]
    more = f"{len(rest)} more {word}s: {counts(rest)}"
    return [*lines[:room], [more]]


def _most(lines: list[Line], room: int, what: str) -> list[Line]:
    if len(lines) <= room:
        return lines
    more = len(lines) - room + 1
    return [*lines[: room - 1], [f"{more} more {what}"]]


def _tabled(headers: list[str], rows: list[Line]) -> list[Line]:
    names = shortened([printable(str(row[0])) for row in rows])
    return list(plain_rows(headers, [[n, *row[1:]] for n, row in zip(names, rows, strict=True)]))


def shortened(names: Sequence[str]) -> list[str]:
    """Return names for a line each, shortened in the middle: most differ at an end.

    Those that would be the same then stay as they are; what follows them is cut instead.
    """
    short = [name if len(name) <= NAME_WIDTH else f"{name[:8]}...{name[-13:]}" for name in names]
    same = {each for each, count in Counter(short).items() if count > 1}
    return [
        name if each in same and len(name) <= MOST_NAME else each
        for name, each in zip(names, short, strict=True)
    ]


def _cut(line: Line, width: int) -> Line:
    """Return a line that is no longer than the screen is wide."""
    out: list[Piece] = []
    left = width
    for piece in line:
        text = printable(piece if isinstance(piece, str) else piece.text)
        if len(text) > left:
            text = text[: max(0, left - 3)] + "..."[:left]
        left -= len(text)
        out.append(Painted(text, piece.colour) if isinstance(piece, Painted) else text)
    return out


def _wrapped(lines: Sequence[Line], width: int) -> list[Line]:
    """Return lines broken where the screen ends; a broken one has the colour of its first piece."""
    out: list[Line] = []
    for line in lines:
        text = printable("".join(piece if isinstance(piece, str) else piece.text for piece in line))
        if len(text) <= width:
            out.append(line)
            continue
        first = line[0]
        parts = textwrap.wrap(text, width, subsequent_indent="  ")
        out += [[Painted(p, first.colour) if isinstance(first, Painted) else p] for p in parts]
    return out
