"""The gate: the order path of a guard, and the memory it answers from.

At the call it reads one clock and memory, takes no lock and does no I/O. The threads that keep the
memory up to date (`golive_redis.guard.attending`) replace the verdict as a whole. Nothing in here
raises but `require`: a call that cannot be judged is denied.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import wraps
from time import clock_gettime_ns
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast
from weakref import ref

from golive_redis.clock import CLOCK, now_ns
from golive_redis.core.decision import Verdict, closed, decide
from golive_redis.core.permit import AnyIntent, Denial, Permit, Phase, Reason
from golive_redis.core.restrictions import Clears
from golive_redis.errors import NotPermittedError
from golive_redis.guard.skiplog import Count, SkipLog, Tally
from golive_redis.guard.stated import Stated
from golive_redis.logs import Log

P = ParamSpec("P")
R = TypeVar("R")

LOOK_S = 0.02
_CLOSED = closed(Phase.COLD, Reason.NOT_ACTIVATED)
_SHUT = (0, _CLOSED.index.clear)

logger = Log("golive_redis.guard")


class Gate:
    """Decides about orders and counts them.

    Attributes:
        verdict: What is in force; replaced by `publish`.
        skips: Skipped orders, counted and logged.
        permits: Permits that `check`, `require` and `order` have given, counted.
        outcomes: What became of orders, as their callers say: `sent`, `rejected`.
        flying: Orders in flight, each by a weak reference.
        stated: Label values that orders have stated lately.
    """

    def __init__(self) -> None:
        self.verdict: Verdict = _CLOSED
        self.skips = SkipLog()
        self.permits = Count()
        self._permitted = self.permits.counter
        self.outcomes = Tally()
        self.stated = Stated()
        self._open_until = 0
        self._clear: tuple[int, Clears] = _SHUT
        self._final: Reason | None = None
        self._armed = threading.Event()
        self._float_told = False
        self.flying: set[ref[Order]] = set()

    # -- the order path --------------------------------------------------------------------------

    def allows(self, intent: AnyIntent = "open", **labels: str) -> bool:
        """Tell whether an order may be sent now.

        Args:
            intent: `open` (adds risk), `reduce` (takes risk off) or `cancel`.
            **labels: What the order is about (`symbol="BTCUSDT"`), on top of the guard's own.

        Fails closed: False for whatever is unknown. `allows("cancel")` is always True.
        """
        now = clock_gettime_ns(CLOCK)
        if now < self._open_until and intent == "open":  # S7
            return True
        # While something is restricted, by the index that `decide` asks, too: without this an answer
        # beside halts costs 2.5 times one without, and with it 1.4 times (`make bench`). One tuple,
        # because another thread may publish between two readings.
        until, clear = self._clear
        if now < until and intent == "open" and clear(labels):  # S7
            return True
        return self.judge(intent, labels, "", now, False).__class__ is Permit

    def check(
        self, intent: AnyIntent = "open", *, what: str = "", **labels: str
    ) -> Permit | Denial:
        """Decide about an order, with a reason.

        Args:
            intent: As in `allows`.
            what: The order in words, for the log line when it is skipped.
            **labels: As in `allows`.
        """
        return self.judge(intent, labels, what, clock_gettime_ns(CLOCK))

    def require(self, intent: AnyIntent = "open", *, what: str = "", **labels: str) -> Permit:
        """Return a permit, or raise.

        Raises:
            NotPermittedError: The order must not be sent; it carries the denial.
        """
        answer = self.judge(intent, labels, what, clock_gettime_ns(CLOCK))
        if isinstance(answer, Denial):
            raise NotPermittedError(answer)
        return answer

    def order(self, intent: AnyIntent = "open", *, what: str = "", **labels: str) -> Order:
        """Return a context manager, `with` or `async with`, that yields a permit or denial.

        The order is in flight from before the decision until the block ends; a stop waits for it. That
        holds however it ends, also by what a signal handler or a time-out raises at any point of it.
        """
        return Order(self, intent, what, labels)

    def guarded(
        self, intent: AnyIntent = "open", *, what: str = "", **labels: str
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Return a decorator for a function, plain or `async`, that sends an order.

        Each call is as in a block of `order`: it is in flight until the function has returned, or has
        been awaited, and a denied one raises and does not reach the function. Labels that differ from
        call to call need `order` itself.

        Args:
            intent: As in `allows`.
            what: As in `check`; by default the name of the function.
            **labels: As in `allows`, of every call.

        Raises:
            NotPermittedError: From the decorated function: the order must not be sent.
            TypeError: It decorates a generator, which would send after the block has ended.
        """
        from inspect import (  # noqa: PLC0415  (slow to import, and no other call needs it)
            isasyncgenfunction,
            iscoroutinefunction,
            isgeneratorfunction,
        )

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            if isgeneratorfunction(function) or isasyncgenfunction(function):
                raise TypeError(
                    f"guarded: {function!r} is a generator; use `guard.order` inside it"
                )
            name = what or getattr(function, "__qualname__", repr(function))

            def admitted(answer: Permit | Denial) -> None:
                if isinstance(answer, Denial):
                    raise NotPermittedError(answer)

            if iscoroutinefunction(function):

                @wraps(function)
                async def waiting(*args: P.args, **kwargs: P.kwargs) -> Any:
                    with self.order(intent, what=name, **labels) as answer:
                        admitted(answer)
                        return await function(*args, **kwargs)

                return cast("Callable[P, R]", waiting)  # `R` is its coroutine

            @wraps(function)
            def calling(*args: P.args, **kwargs: P.kwargs) -> R:
                with self.order(intent, what=name, **labels) as answer:
                    admitted(answer)
                    return function(*args, **kwargs)

            return calling

        return decorate

    def judge(
        self,
        intent: str,
        labels: Mapping[str, Any],
        what: str,
        now_ns: int,
        counted: bool = True,  # noqa: FBT002  (by name it would be slower)
    ) -> Permit | Denial:
        """Decide, count a permit and note a skipped order; never raises.

        The instant is the caller's, so that a call reads the clock once on every path. The permit of
        `allows` is not counted: nobody gets it, and its shortest way has no time to count.
        """
        try:
            if self.stated.on:
                self.stated.note(labels)
            answer = decide(self.verdict, intent, labels, now_ns, self)
            if answer.__class__ is Denial:
                what = what or _described(labels)
                self.skips.skipped(what, answer.reason, answer.explain(), self.verdict.epoch)
            elif counted:
                next(self._permitted)
        except Exception:  # noqa: BLE001  (an intent or label that cannot even be compared)
            self.skips.counts.add(Reason.DEFECT)
            return Denial(Reason.DEFECT, "open")
        return answer

    def still(self, permit: Permit) -> bool:
        """Judge a permit again (see `Permit.valid`): same term, and it would be given now."""
        verdict = self.verdict
        if permit.intent == "cancel":
            return True
        answer = decide(verdict, permit.intent, permit.labels, clock_gettime_ns(CLOCK), self)
        return isinstance(answer, Permit) and answer.term == permit.term

    def saw_float(self, value: float) -> None:
        """Say that `Permit.fits` was asked about a float; once, for it is the same code each time."""
        if not self._float_told:
            self._float_told = True
            logger.error(
                "Permit.fits was given the float %r: a float never fits, because it was rounded "
                "already; pass a Decimal, an int or text (this is said once)",
                value,
            )

    def in_flight(self) -> int:
        """Return how many orders are in flight."""
        flights = tuple(self.flying)
        gone = [flight for flight in flights if flight() is None]  # see `Order`
        self.flying.difference_update(gone)
        return len(flights) - len(gone)

    def wait_armed(self, timeout: float) -> bool:
        """Wait until the guard is armed; False when `timeout` seconds were not enough."""
        return self._armed.wait(timeout) and now_ns() < self.verdict.deadline_ns

    async def wait_armed_async(self, timeout: float) -> bool:  # noqa: ASYNC109  (as `wait_armed`)
        """As `wait_armed`, for a coroutine of asyncio; keeps no thread, and may be cancelled."""
        import asyncio  # noqa: PLC0415  (slow to import, and whoever awaits this has it)

        until_ns = now_ns() + int(timeout * 1e9)
        while now_ns() >= self.verdict.deadline_ns:
            if now_ns() >= until_ns:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    # -- the memory ------------------------------------------------------------------------------

    def publish(self, verdict: Verdict) -> None:
        """Put a verdict in force; once shut, a gate only takes the reason."""
        self._open_until = 0  # between the writes a call takes the slow path, which is right
        self._clear = _SHUT
        if self._final is not None:
            verdict = closed(Phase.COLD, self._final)
        self.verdict = verdict
        clear = verdict.index.clear
        if self.stated.on:
            # Through the index, which says the same: the shortest way looks at no label.
            self._clear = (verdict.deadline_ns, self.stated.noting(clear))
        else:
            self._clear = (verdict.deadline_ns, clear)
            self._open_until = verdict.open_until_ns
        if self._final is not None and verdict.deadline_ns:
            self.shut(self._final)  # on another thread, between the question above and here
        if self.verdict.deadline_ns:
            self._armed.set()
        else:
            self._armed.clear()

    def shut(self, reason: Reason) -> None:
        """Close for good, whatever is published afterwards. Takes no lock: a forked child may call."""
        self._final = reason
        self._open_until = 0
        self._clear = _SHUT
        self.verdict = closed(Phase.COLD, reason)


class Order:
    """One order in flight; use as `with guard.order(...) as answer:`.

    What is raised by a signal handler, or into this thread, may arrive in the middle of `__enter__`, or
    before the first step of `__exit__`, and neither is called again. So an order flies by a weak
    reference: the `with` statement keeps the order alive, and with the last trace of it the flight ends.
    """

    __slots__ = ("__weakref__", "_flight", "_gate", "_intent", "_labels", "_what")

    def __init__(self, gate: Gate, intent: str, what: str, labels: Mapping[str, str]) -> None:
        self._gate = gate
        self._intent = intent
        self._what = what
        self._labels = labels

    def sent(self) -> None:
        """Count the order as handed to the venue.

        More orders sent than permitted, or many rejected, can end the term: docs/reference/triggers.md.
        """
        self._gate.outcomes.add("sent")

    def rejected(self) -> None:
        """Count the order as rejected by the venue."""
        self._gate.outcomes.add("rejected")

    def __enter__(self) -> Permit | Denial:
        gate, flying = self._gate, self._gate.flying
        self._flight = flight = ref(self)
        try:
            # In flight before the decision: a stop that comes in between then waits for it.
            flying.add(flight)
            answer = gate.judge(self._intent, self._labels, self._what, clock_gettime_ns(CLOCK))
            if answer.__class__ is Denial:
                flying.discard(flight)
        except BaseException:  # not an error of ours: `judge` has none
            flying.discard(flight)
            raise
        return answer

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._gate.flying.discard(self._flight)

    async def __aenter__(self) -> Permit | Denial:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._gate.flying.discard(self._flight)


def _described(labels: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in labels.items()) or "order"
