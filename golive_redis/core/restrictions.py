"""Which mode the restrictions leave to one order, found by lookup instead of by scan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet

from golive_redis.records.directive import Mode, Restriction, strictest
from golive_redis.records.envelope import Verified

Clears = Callable[[Mapping[str, object]], bool]
"""Answers about the labels of an order; False for whatever it cannot tell."""

Watch = tuple[str, str | None, frozenset[str]]
"""A label name, the guard's own value for it, and the values of it that restrictions name."""


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
        # As text, like the labels of a call: a halt for account "7" concerns a guard of account 7.
        self._fixed = {key: str(value) for key, value in (fixed or {}).items()}
        self.base = base
        self._rests: list[tuple[dict[str, str], Mode]] = []
        for item in restrictions:
            if item.mode is None:
                continue
            # Plain text for the names: a member of an enum takes three times as long to look up.
            rest = {str(k): v for k, v in item.labels.items() if self._fixed.get(k) != v}
            if rest:
                self._rests.append((rest, item.mode))
            else:
                self.base = strictest((self.base, item.mode))  # S3
        self._names = tuple(sorted({name for rest, _ in self._rests for name in rest}))
        self._tables: dict[tuple[str, ...], _Tables] = {}
        self.watches = self._watched()
        self.apart = _apart(self.watches)
        self.clear: Clears = self.apart if self.base is Mode.LIVE else _never

    def _watched(self) -> tuple[Watch, ...]:
        """Choose the watched names: each time the one that most of the others have in common."""
        watches: list[Watch] = []
        left = [rest for rest, _ in self._rests]
        while left:
            name = max(self._names, key=lambda name: sum(name in rest for rest in left))
            named = frozenset(rest[name] for rest in left if name in rest)
            watches.append((name, self._fixed.get(name), named))
            left = [rest for rest in left if name not in rest]
        return tuple(watches)

    def mode_for(self, labels: Mapping[str, object]) -> Mode:
        """Return the mode for an order with these labels, on top of the fixed ones."""
        return self.base if self.apart(labels) else self._look_up(labels)

    def _look_up(self, labels: Mapping[str, object]) -> Mode:
        # An account number may come as an int; a label that is not text is compared as text.
        # Text stays itself: str() of a member of `class Symbol(str, Enum)` is not its value.
        stated = {
            name: value if isinstance(value, str) else str(value)
            for name in self._names
            if (value := labels.get(name)) is not None
        }
        shape = tuple(stated)
        tables = self._tables.get(shape)
        if tables is None:
            # One scan for each set of labels that orders state; there are few, and at most 128.
            tables = self._tables[shape] = self._built(stated.keys())
        mode = self.base
        for names, table in tables:
            hit = table.get(tuple([stated[name] for name in names]))
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
            names = tuple(name for name in self._names if name in rest and name in stated)
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

        def apart(labels: Mapping[str, object]) -> bool:
            value = labels.get(name, own)
            # Only plain text can be looked up as it is. What is not stated is unknown.
            return value.__class__ is str and value not in named  # S3

        return apart

    def apart_from_all(labels: Mapping[str, object]) -> bool:
        for name, own, named in watches:
            value = labels.get(name, own)
            if value.__class__ is not str or value in named:
                return False
        return True

    return apart_from_all


def _never(_: Mapping[str, object]) -> bool:
    return False


def with_labels(restrictions: Iterable[Verified[Restriction]]) -> list[Restriction]:
    """Return the records of those restrictions that name labels."""
    return [item.record for item in restrictions if item.record.labels]
