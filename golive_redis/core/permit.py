"""What a guard answers: a permit or a denial, each a value with its reason.

The vocabulary of the order path, as callers see it. Who decides is in `decision`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, Protocol

import msgspec

from golive_redis.records.amount import Amount, within
from golive_redis.records.directive import Mode, Profile
from golive_redis.records.limits import Limits


class Intent(StrEnum):
    """What the caller is about to do: add risk, take risk off, or withdraw an order."""

    OPEN = "open"
    REDUCE = "reduce"
    CANCEL = "cancel"


AnyIntent = Intent | Literal["open", "reduce", "cancel"]
"""How a caller says it: the member, or its word; a type checker refuses any other word."""

# Plain text, because callers pass text, and comparing two of a kind is twice as quick. Reading a
# member off its class costs 70 ns on Python 3.11, more than all else that a comparison does.
OPEN = Intent.OPEN.value
CANCEL = Intent.CANCEL.value
REDUCE = Intent.REDUCE.value
INTENTS = frozenset(intent.value for intent in Intent)


class Reason(StrEnum):
    """Why an order is denied: stable words, each with a section in docs/reference/reasons.md."""

    NOT_ACTIVATED = "not-activated"
    STORE_UNREACHABLE = "store-unreachable"
    NOT_ARMED = "not-armed"
    LAPSED = "lapsed"
    REVOKED = "revoked"
    HALTED = "halted"
    REDUCE_ONLY = "reduce-only"
    OUTSIDE_WINDOW = "outside-window"
    TTL_INVALID = "ttl-invalid"
    RECORD_REFUSED = "record-refused"
    STATE_BEHIND = "state-behind"
    KEYSET_BEHIND = "keyset-behind"
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
    Reason.STORE_UNREACHABLE: "GO-LIVE cannot reach Redis",
    Reason.NOT_ARMED: "GO-LIVE not armed yet: no heartbeat was seen to advance",
    Reason.LAPSED: "GO-LIVE lapsed: no recent answer from Redis, or no recent beat",
    Reason.REVOKED: "GO-LIVE revoked",
    Reason.HALTED: "GO-LIVE halted: cancels only",
    Reason.REDUCE_ONLY: "GO-LIVE reduce-only: no new risk",
    Reason.OUTSIDE_WINDOW: "GO-LIVE outside its signed window",
    Reason.TTL_INVALID: "GO-LIVE key has an invalid TTL: somebody changed it",
    Reason.RECORD_REFUSED: "GO-LIVE record refused: its signature or form is wrong",
    Reason.STATE_BEHIND: "GO-LIVE state is older than what a heartbeat has verified",
    Reason.KEYSET_BEHIND: "GO-LIVE keyset is older than the one in use, and the next cannot be taken",
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
    """State of a guard (`core.view` has the table of its transitions)."""

    COLD = "cold"
    ARMED = "armed"
    LAPSED = "lapsed"
    LATCHED = "latched"


class Revalidates(Protocol):
    """What issued a permit: it can judge it again, and tell people of its misuse."""

    def still(self, permit: Permit) -> bool:
        """Tell whether the permit would be given again now, in the same term."""
        ...

    def saw_float(self, value: float) -> None:
        """Say, once, that `fits` was asked about a float, which never fits."""
        ...


# Not tracked by the garbage collector (`gc=False`), which takes a twentieth off a question to the
# guard. A cycle needs somebody to keep a permit in what its guard reaches, and costs memory only.
class Permit(msgspec.Struct, frozen=True, gc=False):
    """The order may be sent. Truthy, where a denial is falsy.

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

    def __bool__(self) -> Literal[True]:
        return True

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

        Fails closed: False for a float (it was rounded already; the log says so once), NaN, infinity,
        a negative amount, and text that is no number. It never raises.
        """
        if self.intent == CANCEL:
            return True
        given: tuple[object, object] = (notional, position_notional)
        for value in given:
            if isinstance(value, float):  # not every bot is type-checked, and most count in floats
                self.source.saw_float(value)
        limits = self.limits
        if limits is None or not within(limits.max_order_notional, notional):
            return False
        if position_notional is None or self.intent == REDUCE:
            return True
        return within(limits.max_position_notional, position_notional)


class Denial(msgspec.Struct, frozen=True):
    """The order must not be sent. Falsy, so that `if guard.check(...)` does not send it.

    Attributes:
        reason: Stable word.
        intent: What was asked.
    """

    reason: Reason
    intent: str

    def __bool__(self) -> Literal[False]:
        return False

    def explain(self) -> str:
        """Return the sentence that the log line carries after its dash."""
        return EXPLAIN[self.reason]
