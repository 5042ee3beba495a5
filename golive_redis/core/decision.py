"""`decide`: the one function that says whether an order may be sent.

Laws, each a property test:

- With the same verdict, waiting never turns a denial into a permit.
- `cancel` is always permitted; everything that is unknown (intent, label, phase) is not.
- A label that a halt names and the order does not state is unknown, so the halt applies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Protocol

import msgspec

from golive_redis.records.amount import Amount, within
from golive_redis.records.directive import Mode, Profile, Restriction, strictest
from golive_redis.records.envelope import Verified
from golive_redis.records.limits import Limits
from golive_redis.records.record import MAX_INT


class Intent(StrEnum):
    """What the caller is about to do: add risk, take risk off, or withdraw an order."""

    OPEN = "open"
    REDUCE = "reduce"
    CANCEL = "cancel"


class Reason(StrEnum):
    """Why an order is denied: stable words, each with a section in docs/reference/reasons.md."""

    NOT_ACTIVATED = "not-activated"
    NOT_ARMED = "not-armed"
    LAPSED = "lapsed"
    REVOKED = "revoked"
    HALTED = "halted"
    REDUCE_ONLY = "reduce-only"
    OUTSIDE_WINDOW = "outside-window"
    TTL_INVALID = "ttl-invalid"
    RECORD_REFUSED = "record-refused"
    STATE_BEHIND = "state-behind"
    STORE_CORRUPT = "store-corrupt"
    ANSWER_MISMATCH = "answer-mismatch"
    CLOCK_ANOMALY = "clock-anomaly"
    STATE_FILE = "state-file"
    KILLED = "killed"
    FORKED = "forked"
    CLOSED = "closed"
    UNKNOWN_INTENT = "unknown-intent"
    DEFECT = "defect"


EXPLAIN: dict[Reason, str] = {
    Reason.NOT_ACTIVATED: "GO-LIVE not activated",
    Reason.NOT_ARMED: "GO-LIVE not armed yet: no heartbeat was seen to advance",
    Reason.LAPSED: "GO-LIVE lapsed: no fresh word from Redis or from a heartbeat",
    Reason.REVOKED: "GO-LIVE revoked",
    Reason.HALTED: "GO-LIVE halted: cancels only",
    Reason.REDUCE_ONLY: "GO-LIVE reduce-only: no new risk",
    Reason.OUTSIDE_WINDOW: "GO-LIVE outside its signed window",
    Reason.TTL_INVALID: "GO-LIVE key has an invalid TTL: somebody changed it",
    Reason.RECORD_REFUSED: "GO-LIVE record refused: its signature or form is wrong",
    Reason.STATE_BEHIND: "GO-LIVE state is older than what a heartbeat has verified",
    Reason.STORE_CORRUPT: "GO-LIVE keys in Redis have a wrong type",
    Reason.ANSWER_MISMATCH: "GO-LIVE answer did not match its question",
    Reason.CLOCK_ANOMALY: "GO-LIVE clock anomaly on this host",
    Reason.STATE_FILE: "GO-LIVE state file cannot be read or written",
    Reason.KILLED: "GO-LIVE stopped locally",
    Reason.FORKED: "GO-LIVE closed in a forked process: open a guard of its own",
    Reason.CLOSED: "GO-LIVE guard is closed",
    Reason.DEFECT: "GO-LIVE could not judge the order or its own state: a defect",
    Reason.UNKNOWN_INTENT: "GO-LIVE knows the intents open, reduce and cancel only",
}


class Phase(StrEnum):
    """State of a guard (DESIGN.md section 6)."""

    COLD = "cold"
    ARMED = "armed"
    LAPSED = "lapsed"
    LATCHED = "latched"


class Revalidates(Protocol):
    """Whoever issued a permit and can judge it again."""

    def still(self, permit: Permit) -> bool:
        """Tell whether the permit would be given again now, in the same term."""
        ...


class Permit(msgspec.Struct, frozen=True):
    """The order may be sent.

    Attributes:
        fence: Highest epoch in force; an acceptor refuses a lower one than it has seen.
        until_ms: Unix ms after which an acceptor should refuse the order.
        mode: Mode in force for this order.
        profile: Capital profile, or None for a cancel while nothing is in force.
        limits: What the profile allows, or None likewise.
        term: The live period; a permit never outlives it.
        intent: What was asked.
        labels: The labels of this call.
    """

    fence: int
    until_ms: int
    mode: Mode
    profile: Profile | None
    limits: Limits | None
    term: int
    intent: str
    labels: Mapping[str, str]
    source: Revalidates

    def valid(self) -> bool:
        """Judge again, right before the send: True when the guard would still give this permit.

        Fails closed: False after any stop, even when a new term has begun since.
        """
        return self.source.still(self)

    def fits(self, *, notional: Amount, position_notional: Amount | None = None) -> bool:
        """Tell whether one order is within the limits of the profile; about 1 µs.

        A cancel always fits. An order that reduces is judged by its own size only: the position it
        leaves may still be above a limit that was lowered meanwhile.

        Args:
            notional: Of the order, in `limits.currency`.
            position_notional: What the position would be with it, whatever its direction.

        Fails closed: False for a float (it was rounded already), NaN, infinity, a negative amount,
        and text that is no number. It never raises.
        """
        if self.intent == _CANCEL:
            return True
        limits = self.limits
        if limits is None or not within(limits.max_order_notional, notional):
            return False
        if position_notional is None or self.intent == _REDUCE:
            return True
        return within(limits.max_position_notional, position_notional)


class Denial(msgspec.Struct, frozen=True):
    """The order must not be sent.

    Attributes:
        reason: Stable word.
        intent: What was asked.
    """

    reason: Reason
    intent: str

    def explain(self) -> str:
        """Return the sentence that the log line carries after its dash."""
        return EXPLAIN[self.reason]


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
                self.base = strictest((self.base, item.mode))
        self._names = tuple(sorted({name for rest, _ in self._rests for name in rest}))
        self._tables: dict[tuple[str, ...], _Tables] = {}
        self.watches = self._watched()

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
        for name, own, named in self.watches:
            value = labels.get(name, own)
            # Only plain text can be looked up as it is. What is not stated is unknown.
            if value.__class__ is not str or value in named:
                return self._look_up(labels)
        return self.base

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
            table[values] = strictest((table.get(values, Mode.LIVE), mode))
        return tuple(tables.items())


_Tables = tuple[tuple[tuple[str, ...], dict[tuple[str, ...], Mode]], ...]


Clear = tuple[int, str, str | None, frozenset[str], tuple[Watch, ...]]
"""A deadline (0: never), the first watch, and the other ones: flat, for the order path unpacks it."""

NOT_CLEAR: Clear = (0, "", None, frozenset(), ())


class Verdict(msgspec.Struct, frozen=True):
    """What a guard holds in memory between two answers; all that `decide` needs.

    Attributes:
        reason: Why it is closed; used while `deadline_ns` is 0 or over.
        deadline_ns: Instant on the guard's clock up to which it permits; 0 when closed.
        until_ms: The same instant as Unix ms, for acceptors.
    """

    phase: Phase
    reason: Reason
    deadline_ns: int
    until_ms: int
    term: int
    epoch: int
    profile: Profile | None
    limits: Limits | None
    index: RestrictionIndex

    @property
    def open_until_ns(self) -> int:
        """Deadline of an `open` order whatever its labels; 0 when the labels must be looked at."""
        plain = self.index.base is Mode.LIVE and not self.index.watches
        return self.deadline_ns if plain else 0

    @property
    def clear(self) -> Clear:
        """When, and by which labels, an `open` order is clear of all restrictions with labels."""
        watches = self.index.watches
        if self.index.base is not Mode.LIVE or not watches:
            return NOT_CLEAR
        return (self.deadline_ns, *watches[0], watches[1:])


def closed(phase: Phase, reason: Reason, *, term: int = 0, epoch: int = 0) -> Verdict:
    """Return a verdict that permits nothing but cancels."""
    return Verdict(phase, reason, 0, 0, term, epoch, None, None, _NOTHING)


_NOTHING = RestrictionIndex(Mode.HALTED)
_PERMITTED = {
    Mode.LIVE: frozenset(Intent),
    Mode.REDUCE_ONLY: frozenset({Intent.REDUCE, Intent.CANCEL}),
    Mode.HALTED: frozenset({Intent.CANCEL}),
}
# Plain text, because callers pass text, and comparing two of a kind is twice as quick. Reading a
# member off its class costs 70 ns on Python 3.11, more than all else that a comparison does.
_INTENTS = frozenset(intent.value for intent in Intent)
_CANCEL = Intent.CANCEL.value
_REDUCE = Intent.REDUCE.value
_LIVE, _HALTED = Mode.LIVE, Mode.HALTED


def decide(
    verdict: Verdict, intent: str, labels: Mapping[str, str], now_ns: int, source: Revalidates
) -> Permit | Denial:
    """Decide about one order.

    Args:
        verdict: What the guard holds.
        intent: `open`, `reduce` or `cancel`.
        labels: Labels of the order, on top of the guard's own.
        now_ns: The guard's clock, in ns.
        source: Who will judge the permit again in `Permit.valid`.

    Returns:
        A permit, or a denial with its reason; never raises for text input.

    Fails closed:
        An intent that is not one of the three is denied.
    """
    if intent == _CANCEL:
        # A cancel only takes risk off the book, so it needs no fresh word from anybody.
        return Permit(
            verdict.epoch,
            MAX_INT,
            _HALTED,
            verdict.profile,
            verdict.limits,
            verdict.term,
            intent,
            labels,
            source,
        )
    if intent not in _INTENTS:
        return Denial(Reason.UNKNOWN_INTENT, str(intent))
    if now_ns >= verdict.deadline_ns:
        late = verdict.deadline_ns > 0
        return Denial(Reason.LAPSED if late else verdict.reason, intent)
    index = verdict.index
    mode = index.mode_for(labels) if index.watches else index.base
    if mode is not _LIVE and intent not in _PERMITTED[mode]:
        return Denial(Reason.HALTED if mode is _HALTED else Reason.REDUCE_ONLY, intent)
    return Permit(
        verdict.epoch,
        verdict.until_ms,
        mode,
        verdict.profile,
        verdict.limits,
        verdict.term,
        intent,
        labels,
        source,
    )


def with_labels(restrictions: Iterable[Verified[Restriction]]) -> list[Restriction]:
    """Return the records of those restrictions that name labels."""
    return [item.record for item in restrictions if item.record.labels]
