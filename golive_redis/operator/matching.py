"""Which workers a restriction meets, as far as they tell: what stands beside HALTED.

A halt for a value that nobody uses is in force, and stops nothing. Workers tell in their presence which
values their orders have stated lately; that is unsigned and a little old, so it is shown to people and
decides about no order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec

from golive_redis.core.barrier import Pod
from golive_redis.core.labels import Named, folded, wanted
from golive_redis.errors import RecordError
from golive_redis.operator.lookalikes import near
from golive_redis.records.directive import Label, Labels
from golive_redis.records.record import convert, parse_json
from golive_redis.store.presence import Presence

MAX_TOLD = 16_384
_Value = Annotated[str, msgspec.Meta(max_length=128)]
_Stated = dict[Label, Annotated[list[_Value], msgspec.Meta(max_length=64)]]
_Kind = TypeVar("_Kind")


class Meets(StrEnum):
    """What is known of a worker and a restriction. Of several labels the first of these decides."""

    OTHER = "other"
    UNKNOWN = "unknown"
    UNSTATED = "unstated"
    MATCHES = "matches"

    @property
    def concerned(self) -> bool:
        """Whether orders of the worker are known to be concerned."""
        return self in {Meets.MATCHES, Meets.UNSTATED}


class Match(msgspec.Struct, frozen=True):
    """One worker and a restriction.

    Attributes:
        meets: `matches`: it has or has stated what the restriction names, each label by itself.
            `unstated`: its orders do not state a label, so all of them are concerned. `other`: it has
            stated other values only. `unknown`: it has asked about no order, or does not tell.
        values: By label, those of its values that match.
    """

    pod: Pod
    meets: Meets
    values: dict[str, list[str]]


class Matching(msgspec.Struct, frozen=True):
    """A restriction and the fleet.

    Attributes:
        workers: By name, also those that fell silent without a goodbye.
        near: By label, values of the fleet that do not match and may have been meant.
    """

    workers: tuple[Match, ...]
    near: dict[str, list[str]]

    @property
    def concerned(self) -> frozenset[Pod]:
        """The workers that are known to be concerned."""
        return frozenset(match.pod for match in self.workers if match.meets.concerned)

    @property
    def values(self) -> dict[str, list[str]]:
        """By label, every value that matches."""
        out: dict[str, list[str]] = {}
        for match in self.workers:
            for name, values in match.values.items():
                known = out.setdefault(name, [])
                known += [value for value in values if value not in known]
        return {name: sorted(values) for name, values in out.items()}


def stated(presence: Presence) -> dict[Label, list[str]] | None:
    """Return the label values that a worker's orders have stated lately, newest first.

    Returns:
        None when it has asked about no order yet, does not tell, or tells something else than that.
    """
    return _parsed(presence.fields.get("stated", ""), _Stated)


def own(presence: Presence) -> dict[Label, str]:
    """Return the labels of a worker's guard, as far as it tells."""
    return _parsed(presence.fields.get("labels", ""), Labels) or {}


def _parsed(text: str, kind: type[_Kind]) -> _Kind | None:
    try:
        return convert(parse_json(text.encode(), MAX_TOLD), kind)
    except RecordError:
        return None


def matching(labels: Mapping[Label, str], workers: Iterable[Presence]) -> Matching:
    """Hold a restriction against what workers tell of themselves.

    Args:
        labels: Of the restriction; none means that every worker is concerned.
        workers: Their presence; of those that are gone nothing is known.
    """
    fleet = [_Told(item) for item in workers]
    found = tuple(sorted((told.match(labels) for told in fleet), key=lambda match: match.pod))
    missed = not any(match.meets.concerned for match in found)
    alike = {}
    for name, value in labels.items():
        hits = Named([wanted(value)]).hits
        others = (other for told in fleet for other in told.values(name) if not hits(folded(other)))
        if meant := near(value, others, missed=missed):
            alike[str(name)] = list(meant)
    return Matching(found, alike)


class _Told:
    """What one worker tells of itself, parsed once."""

    def __init__(self, item: Presence) -> None:
        self._pod = Pod(item.name, item.instance)
        self._own = own(item)
        self._stated = stated(item)

    def values(self, name: Label) -> list[str]:
        """Return its values of one label, the guard's own first."""
        mine = self._own.get(name)
        values = (self._stated or {}).get(name, [])
        return values if mine is None else [mine, *values]

    def match(self, labels: Mapping[Label, str]) -> Match:
        """Hold a restriction against it."""
        met: dict[str, list[str]] = {}
        meets = {Meets.MATCHES}
        for name, value in labels.items():
            hits, values = Named([wanted(value)]).hits, self.values(name)
            found = [each for each in dict.fromkeys(values) if hits(folded(each))]
            if found:
                met[str(name)] = found
            elif values:
                meets.add(Meets.OTHER)
            else:
                meets.add(Meets.UNKNOWN if self._stated is None else Meets.UNSTATED)
        decides = next(each for each in Meets if each in meets)
        return Match(self._pod, decides, met if decides.concerned else {})
