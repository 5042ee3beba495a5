"""Whom a restriction meets, in words: beside the answer of each worker, and as a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from golive_cli.output import Output, Painted
from golive_redis.operator.lookalikes import foreign
from golive_redis.operator.matching import Match, Matching, Meets

if TYPE_CHECKING:
    from collections.abc import Collection

    from golive_redis.core.barrier import Pod

SHOWN = 3
CELLS = {
    Meets.OTHER: "no",
    Meets.UNKNOWN: "not known: no order yet",
    Meets.UNSTATED: "all: it states no such label",
}


def named(labels: Mapping[str, str]) -> str:
    """Return labels as they are typed."""
    return " ".join(f"{name}={value}" for name, value in labels.items()) or "all orders"


def cell(match: Match | None) -> str:
    """Return what of a worker matches."""
    if match is None:
        return "not known"
    return CELLS.get(match.meets) or _some(match.values)


def _some(values: Mapping[str, Sequence[str]]) -> str:
    return " ".join(
        f"{name}={','.join(each[:SHOWN])}"
        + (f" and {len(each) - SHOWN} more" * (len(each) > SHOWN))
        for name, each in values.items()
    )


def count(matching: Matching) -> str:
    """Return how many workers match, and with which values."""
    what = _some(matching.values)
    return f"{len(matching.concerned)} of {len(matching.workers)} worker(s) match" + (
        f": {what}" if what else ""
    )


def warn(
    out: Output, labels: Mapping[str, str], matching: Matching | None, answered: Collection[Pod]
) -> None:
    """Say first that a restriction is not known to stop anything."""
    if matching is None:
        what, why = "NOT KNOWN", "whom it concerns: the workers could not be read"
    elif not matching.workers:
        what, why = "NO WORKER", "is there: nothing is known to be stopped by it"
    elif not matching.concerned:
        what, why = "NO WORKER MATCHES", f"{named(labels)}: {_unmatched(matching)}"
    elif matching.concerned.isdisjoint(answered):
        what = "NO ANSWER"
        why = f"from the {len(matching.concerned)} worker(s) that it concerns"
    else:
        return
    out.line(Painted(what, "red"), f" {why}")


def _unmatched(matching: Matching) -> str:
    silent = sum(match.meets is Meets.UNKNOWN for match in matching.workers)
    others = len(matching.workers) - silent
    parts = [f"{others} worker(s) have stated other values"] * bool(others)
    parts += [f"{silent} have stated none yet"] * bool(silent)
    return ", ".join(parts)


def advise(out: Output, labels: Mapping[str, str], matching: Matching | None) -> None:
    """Name what may have been meant instead, and what is not on every keyboard."""
    if matching is None:
        return
    missed = not matching.concerned
    for name, values in matching.near.items():
        close = ", ".join(f"{name}={value}" for value in values)
        out.line(f"did you mean {close}?" if missed else f"not concerned, though near: {close}")
    if missed or matching.near:
        for name, value in labels.items():
            for char in foreign(value):
                out.line(f"{name}={value} has {char}")
