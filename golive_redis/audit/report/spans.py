"""For how long a term was in force, and under which mode: from its directives and the notes on its end.

What the ledger proves is permission: a term is in force from the entry of its activation until it is
stopped, replaced, gone or over. Whether workers used it, and a silence of every heartbeat, is not in it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence

import msgspec

from golive_redis.core.state import in_force
from golive_redis.records.directive import (
    Grant,
    GrantKind,
    Mode,
    Restriction,
    Revocation,
    strictest,
)
from golive_redis.records.envelope import Verified

_GONE = re.compile(r"(?:every trading window is closed: no more beats for )?term ([0-9]{1,16})\b")


class Change(msgspec.Struct, frozen=True):
    """A directive, or a note that a term is gone.

    Attributes:
        at_ms: From when it counts, Unix ms: a grant from its entry, what takes away from its issue or
            its entry, whichever is earlier.
        index: Of the entry.
        item: The directive; None for a note.
        ended: The term that a note says to be over.
        why: What ended it, in words.
    """

    at_ms: int
    index: int
    item: Verified[Grant] | Verified[Restriction] | Verified[Revocation] | None
    ended: int = 0
    why: str = ""


class Span(msgspec.Struct, frozen=True):
    """A time in which a term was in force without a change of its mode; the end is not in it."""

    begin_ms: int
    end_ms: int
    mode: Mode


class Term(msgspec.Struct, frozen=True):
    """A term as the ledger tells it.

    Attributes:
        grant: Its activation.
        index: Of that entry.
        began_ms: When it was entered.
        ended_ms: When it was over; None while nothing says so.
        ended_by: What ended it, in words; "" while nothing has.
        ended_at: The entry that ended it; None where it was none, or while it runs.
        spans: Its time up to the end of what is looked at, by mode.
    """

    grant: Verified[Grant]
    index: int
    began_ms: int
    ended_ms: int | None
    ended_by: str
    ended_at: int | None
    spans: tuple[Span, ...]


def gone_term(text: str) -> int:
    """Return the term that a note of a heartbeat says to be over; 0 when it names none."""
    found = _GONE.match(text)
    return int(found[1]) if found else 0


def terms(changes: Iterable[Change], end_ms: int) -> list[Term]:
    """Return the terms of a ledger, in the order of their activations.

    Args:
        changes: All directives and notes on ends, from the beginning of the ledger.
        end_ms: Until when a term that runs is looked at, Unix ms.
    """
    in_order = sorted(changes, key=lambda item: item.index)
    begins = [item for item in in_order if _activates(item)]
    stops = _Stops(in_order)
    of_term: dict[int, list[Change]] = {}
    for item in sorted(in_order, key=lambda item: item.at_ms):
        record = item.item.record if item.item is not None else None
        if isinstance(record, Grant | Restriction):
            of_term.setdefault(record.term, []).append(item)
    out = []
    for number, begin in enumerate(begins):
        following = begins[number + 1] if number + 1 < len(begins) else None
        own = of_term[_grant(begin).record.term]
        out.append(_term(begin, own, stops.first(begin), following, end_ms))
    return out


class _Stops:
    """What ends terms, in the order of the ledger.

    By place and not by time, because the clock of who stops may differ from the server's; and a stop
    that came late, from a spool, has ended the term before one that was entered before it.
    """

    def __init__(self, changes: Iterable[Change]) -> None:
        self._all = [
            item
            for item in changes
            if item.ended or (item.item is not None and isinstance(item.item.record, Revocation))
        ]
        self._places = [item.index for item in self._all]
        self._least = [0] * len(self._all)  # the earliest time from there on
        least = 1 << 62
        for at in range(len(self._all) - 1, -1, -1):
            least = self._least[at] = min(least, self._all[at].at_ms)

    def first(self, begin: Change) -> Change | None:
        """Return what ended a term first, or None."""
        found: Change | None = None
        for at in range(bisect_left(self._places, begin.index), len(self._all)):
            if found is not None and self._least[at] >= found.at_ms:
                break
            item = self._all[at]
            if _ends(item, begin) and (found is None or item.at_ms < found.at_ms):
                found = item
        return found


def _activates(change: Change) -> bool:
    record = change.item.record if change.item is not None else None
    return isinstance(record, Grant) and record.kind is GrantKind.ACTIVATE


def _grant(change: Change) -> Verified[Grant]:
    item = change.item
    assert item is not None  # noqa: S101  (chosen by `_activates`)
    assert isinstance(item.record, Grant)  # noqa: S101  (likewise)
    return Verified(item.record, item.identity, item.raw, item.signers)


def _term(
    begin: Change,
    own: Sequence[Change],
    stop: Change | None,
    following: Change | None,
    end_ms: int,
) -> Term:
    ended_ms, why = _window(own)
    at: int | None = None
    for item in (stop, following):
        if item is not None and item.at_ms < ended_ms:
            ended_ms, at = item.at_ms, item.index
            why = item.why or f"term {_grant(item).record.term} followed"
    ended_ms = max(ended_ms, begin.at_ms)
    spans = _spans(begin, own, min(ended_ms, end_ms))
    if ended_ms > end_ms:
        return Term(_grant(begin), begin.index, begin.at_ms, None, "", None, spans)
    return Term(_grant(begin), begin.index, begin.at_ms, ended_ms, why, at, spans)


def _window(own: Sequence[Change]) -> tuple[int, str]:
    """Return when the window of a term is over, by the last grant that came before that."""
    grants = [item for item in own if item.item is not None and isinstance(item.item.record, Grant)]
    until_ms = 0
    for item in grants:
        record = item.item.record if item.item is not None else None
        if isinstance(record, Grant) and (not until_ms or item.at_ms < until_ms):
            until_ms = record.not_after_ms
    return until_ms, "its window was over"


def _ends(stop: Change, begin: Change) -> bool:
    grant = _grant(begin).record
    record = stop.item.record if stop.item is not None else None
    if isinstance(record, Revocation):
        return record.covers(grant.term, grant.activated_at_ms, stop.at_ms)
    return stop.ended == grant.term


def _spans(begin: Change, own: Sequence[Change], end_ms: int) -> tuple[Span, ...]:
    out: list[Span] = []
    grant, held = _grant(begin), list[Verified[Restriction]]()
    at_ms, mode = begin.at_ms, grant.record.mode
    for item in own:
        if item.index == begin.index or item.item is None:
            continue
        record = item.item.record
        if isinstance(record, Grant):
            grant = Verified(record, item.item.identity, item.item.raw, item.item.signers)
        elif isinstance(record, Restriction) and record.mode is not None and not record.labels:
            held.append(Verified(record, item.item.identity, item.item.raw, item.item.signers))
        else:
            continue
        caps = [r.record.mode for r in held if r.record.mode is not None and in_force(r, grant)]
        now = strictest([grant.record.mode, *caps])
        if now is not mode:
            edge = min(max(item.at_ms, at_ms), end_ms)
            out.append(Span(at_ms, edge, mode))
            at_ms, mode = edge, now
    out.append(Span(at_ms, max(at_ms, end_ms), mode))
    return tuple(span for span in out if span.end_ms > span.begin_ms)
