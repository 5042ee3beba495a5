"""Which mode the restrictions leave to one order, found by lookup instead of by scan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import product

from golive_redis.core.labels import Named, folded, wanted
from golive_redis.records.directive import Mode, Restriction, strictest
from golive_redis.records.envelope import Verified

Clears = Callable[[Mapping[str, object]], bool]
"""Answers about the labels of an order; False for whatever it cannot tell."""

Watch = tuple[str, str | None, Named]
"""A label name, the guard's own value for it, and the values of it that restrictions name."""

MAX_CLEARED = 1_024
MAX_CLEARED_TEXT = 128
"""How many values an index remembers as clear, and how long they may be: see `_cleared`."""


class RestrictionIndex:
    """Which mode the restrictions leave to an order, found by lookup instead of by scan.

    Most orders are of no concern to any restriction, and that costs one lookup for all of them: every
    restriction is watched by one of its labels, so an order is clear when it states the watched labels
    (`symbol`, mostly) with values that no restriction names.

    Args:
        base: Mode for every order.
        restrictions: Those with labels, in force.
        fixed: Labels that every order of this guard has.

    Attributes:
        base: Mode of an order that no restriction with labels concerns.
        watches: As few label names as watch every restriction; empty when there is none.
        apart: Tells whether an order with these labels is of no concern to any of them.
        clear: Tells whether nothing at all restricts an order with these labels: it is apart, and the
            base is live. The order path asks this alone.
    """

    def __init__(
        self,
        base: Mode,
        restrictions: Iterable[Restriction] = (),
        fixed: Mapping[str, str] | None = None,
    ) -> None:
        # A blank one says nothing, and so is left out.
        self._fixed = {key: own for key, value in (fixed or {}).items() if (own := folded(value))}
        self.base = base
        self._rests: list[tuple[dict[str, str], Mode]] = []
        for item in restrictions:
            if item.mode is None:
                continue
            # Plain text for the names: a member of an enum takes three times as long to look up.
            rest = {str(name): wanted(value) for name, value in item.labels.items()}
            rest = {name: value for name, value in rest.items() if not self._own(name, value)}
            if rest:
                self._rests.append((rest, item.mode))
            else:
                self.base = strictest((self.base, item.mode))  # S3
        names = sorted({name for rest, _ in self._rests for name in rest})
        self._named = {
            name: Named(rest[name] for rest, _ in self._rests if name in rest) for name in names
        }
        self._tables: dict[tuple[str, ...], _Tables] = {}
        self.watches = self._watched()
        self.apart = _apart(self.watches)
        self.clear: Clears = self.apart if self.base is Mode.LIVE else _never

    def _own(self, name: str, value: str) -> bool:
        """Tell whether the guard's own label is what a restriction names."""
        return name in self._fixed and bool(Named([value]).hits(self._fixed[name]))

    def _watched(self) -> tuple[Watch, ...]:
        """Choose the watched names: each time the one that most of the others have in common."""
        watches: list[Watch] = []
        left = [rest for rest, _ in self._rests]
        while left:
            name = max(self._named, key=lambda name: sum(name in rest for rest in left))
            named = Named(rest[name] for rest in left if name in rest)
            watches.append((name, self._fixed.get(name), named))
            left = [rest for rest in left if name not in rest]
        return tuple(watches)

    def mode_for(self, labels: Mapping[str, object]) -> Mode:
        """Return the mode for an order with these labels, on top of the fixed ones."""
        return self.base if self.apart(labels) else self._look_up(labels)

    def _look_up(self, labels: Mapping[str, object]) -> Mode:
        # What is blank is not stated.
        stated = {
            name: text
            for name in self._named
            if (value := labels.get(name)) is not None and (text := folded(value))
        }
        shape = tuple(stated)
        tables = self._tables.get(shape)
        if tables is None:
            # One scan for each set of labels that orders state; there are few, and at most 128.
            tables = self._tables[shape] = self._built(stated.keys())
        hits = {name: self._named[name].hits(text) for name, text in stated.items()}
        mode = self.base
        for names, table in tables:
            # One value concerns an order in most cases, and more only where beginnings are named.
            for values in product(*[hits[name] for name in names]):
                hit = table.get(values)
                if hit is not None:
                    mode = strictest((mode, hit))
        return mode

    def _built(self, stated: AbstractSet[str]) -> _Tables:
        """Return, for orders that state just these labels, what must be equal for which mode."""
        tables: dict[tuple[str, ...], dict[tuple[str, ...], Mode]] = {}
        for rest, mode in self._rests:
            # A label nobody stated is unknown and may be any value, unless the guard has fixed it to
            # another one: fixed labels that match were taken out when the index was built.
            if any(name in self._fixed for name in rest.keys() - stated):
                continue
            names = tuple(name for name in self._named if name in rest and name in stated)
            table = tables.setdefault(names, {})
            values = tuple(rest[name] for name in names)
            table[values] = strictest((table.get(values, Mode.LIVE), mode))  # S3
        return tuple(tables.items())


_Tables = tuple[tuple[tuple[str, ...], dict[tuple[str, ...], Mode]], ...]


def _apart(watches: tuple[Watch, ...]) -> Clears:
    """Return what tells an order that those watches do not concern.

    A function made for its watches and not a method that reads them: on the order path that is a
    fifth of the cost of an answer while there are halts (`make bench`).
    """
    if len(watches) == 1:
        ((name, own, named),) = watches
        clear: set[str] = set()

        def apart(labels: Mapping[str, object]) -> bool:
            value = labels.get(name, own)
            # S3: only plain text can be looked up as it is. What is not stated is unknown.
            return value.__class__ is str and (value in clear or _cleared(value, named, clear))

        return apart

    each: list[tuple[str, str | None, Named, set[str]]] = [(*watch, set()) for watch in watches]

    def apart_from_all(labels: Mapping[str, object]) -> bool:
        for name, own, named, clear in each:
            value = labels.get(name, own)
            if value.__class__ is not str:
                return False
            if value not in clear and not _cleared(value, named, clear):
                return False
        return True

    return apart_from_all


def _cleared(value: object, named: Named, clear: set[str]) -> bool:
    """Tell whether no restriction names the value, and remember it where that is so.

    An order states one of a few values, as the bot writes it. Folding one costs three times what it
    costs to find it among those that were folded before.
    """
    text = folded(value)
    if not text or named.hits(text):  # S3
        return False
    if isinstance(value, str) and len(value) <= MAX_CLEARED_TEXT:
        if len(clear) >= MAX_CLEARED:
            clear.clear()
        clear.add(value)
    return True


def _never(_: Mapping[str, object]) -> bool:
    return False


def with_labels(restrictions: Iterable[Verified[Restriction]]) -> list[Restriction]:
    """Return the records of those restrictions that name labels."""
    return [item.record for item in restrictions if item.record.labels]
