"""The order path by itself: what its answers are worth, and what it says of misuse."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

import msgspec
import pytest

from golive_redis import clock, logs
from golive_redis.core.permit import Denial, Permit, Reason
from golive_redis.errors import NotPermittedError
from golive_redis.guard.gate import Gate
from golive_redis.testing import Harness, Signers

SIGNERS = Signers()
HOUR_NS = 3_600 * 10**9


def armed(*restrictions: bytes) -> Gate:
    """Return the order path of a guard that is armed for an hour."""
    harness, gate = Harness(SIGNERS), Gate()
    harness.arm(SIGNERS.grant(), *restrictions)
    verdict = harness.view.verdict
    gate.publish(msgspec.structs.replace(verdict, deadline_ns=clock.now_ns() + HOUR_NS))
    return gate


def test_a_denial_is_falsy_and_a_permit_truthy_whoever_forgets_to_look_closer() -> None:
    gate = armed(SIGNERS.restriction(labels={"symbol": "HALTED"}))
    sent = [symbol for symbol in ("BTC", "HALTED") if gate.check(symbol=symbol)]
    assert sent == ["BTC"]
    gate.shut(Reason.CLOSED)
    assert not gate.check(symbol="BTC")
    assert gate.check("cancel")
    with gate.order(symbol="BTC") as answer:
        assert not answer


@pytest.mark.parametrize(
    "amounts", [{"notional": 10.0}, {"notional": 10, "position_notional": 10.0}]
)
def test_a_float_that_never_fits_is_said_once_in_the_log(
    amounts: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    permit = armed().require()
    assert isinstance(permit, Permit)
    with caplog.at_level(logging.ERROR):
        assert [permit.fits(**amounts) for _ in range(3)] == [False] * 3
        assert permit.fits(notional=10, position_notional="10")
        assert logs.ASIDE.flush(60)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("Permit.fits was given the float 10.0: a float never fits")


class Interrupted(BaseException):
    """What a signal handler raises, as it is in the middle of anything."""


def interrupted_at(step: int, run: Callable[[], object]) -> bool:
    """Run something and raise at that step of its bytecode; False when it has fewer steps."""
    left = step

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        file = frame.f_code.co_filename
        if "golive_redis" not in file and file != __file__:
            return None  # pytest's and the like, which a destructor may run
        frame.f_trace_opcodes = True
        if event in {"call", "opcode", "return"}:
            left -= 1
            if left == 0:
                raise Interrupted
        return trace

    before = sys.gettrace()
    gc.disable()  # or what another test has left behind is destroyed, and interrupted, in here
    try:
        sys.settrace(trace)
        try:
            run()
        finally:
            sys.settrace(before)
            gc.enable()
    except Interrupted:
        return True
    return False


def ordered(gate: Gate) -> None:
    with gate.order(symbol="BTC") as answer:
        assert answer or answer.reason


def ordered_by_name(gate: Gate) -> None:
    order = gate.order(symbol="BTC")
    with order as answer:
        if answer:
            order.sent()


def ordered_in_a_generator(gate: Gate) -> None:
    def orders() -> Iterator[Permit | Denial]:
        with gate.order(symbol="BTC") as answer:
            yield answer

    abandoned = orders()
    next(abandoned)
    abandoned.close()


def ordered_in_a_coroutine(gate: Gate) -> None:
    async def trade() -> None:
        async with gate.order(symbol="BTC"):
            pass

    with suppress(StopIteration):
        trade().send(None)


def asked(gate: Gate) -> None:
    gate.allows(symbol="BTC")
    gate.check(symbol="BTC")
    with suppress(NotPermittedError):
        gate.require(symbol="BTC")


@pytest.mark.parametrize(
    "run", [ordered, ordered_by_name, ordered_in_a_generator, ordered_in_a_coroutine, asked]
)
@pytest.mark.parametrize("denied", [False, True])
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # it was interrupted before
def test_whatever_is_raised_at_any_step_of_an_order_leaves_nothing_in_flight(
    run: Callable[[Gate], None], denied: bool
) -> None:
    """Row 117: of each instruction of the order path and of its caller, as a signal handler would."""
    gate = armed()
    if denied:
        gate.shut(Reason.KILLED)
    steps = 1
    while interrupted_at(steps, lambda: run(gate)):
        assert gate.in_flight() == 0, f"after {steps} steps"
        steps += 1
    assert steps > 50, "it was interrupted, and in the end it was not"
    assert gate.in_flight() == 0


def test_an_order_is_in_flight_for_as_long_as_its_block_runs() -> None:
    gate = armed()
    with gate.order(symbol="BTC"), gate.order(symbol="ETH"):
        assert gate.in_flight() == 2
    assert gate.in_flight() == 0
    with pytest.raises(RuntimeError), gate.order():
        raise RuntimeError
    order = gate.order()
    for _ in range(2):  # kept, and used again
        with order:
            gc.collect()
            assert gate.in_flight() == 1
        assert gate.in_flight() == 0


def test_every_permit_is_counted_and_no_denial() -> None:
    gate = armed(SIGNERS.restriction(labels={"symbol": "HALTED"}))
    for symbol in ("BTC", "HALTED"):
        gate.check(symbol=symbol)
        with suppress(NotPermittedError):
            gate.require(symbol=symbol)
        with gate.order(symbol=symbol):
            pass
        gate.allows(symbol=symbol)  # gives nobody a permit
    gate.require(symbol="BTC").valid()  # asks about the one that was given
    assert gate.permits.total() == 4


def test_a_guarded_function_runs_in_flight_or_not_at_all() -> None:
    gate = armed(SIGNERS.restriction(labels={"symbol": "HALTED"}))

    @gate.guarded(symbol="BTC")
    def buy(quantity: int) -> tuple[int, int]:
        """Buy."""
        return quantity, gate.in_flight()

    @gate.guarded(symbol="BTC")
    async def sell() -> int:
        await asyncio.sleep(0)
        return gate.in_flight()

    @gate.guarded(symbol="HALTED")
    def never() -> None:
        raise AssertionError

    assert buy(3) == (3, 1)
    assert (buy.__name__, buy.__doc__) == ("buy", "Buy.")
    assert asyncio.run(sell()) == 1
    assert inspect.iscoroutinefunction(sell)
    with pytest.raises(NotPermittedError, match="halted"):
        never()
    gate.shut(Reason.CLOSED)
    with pytest.raises(NotPermittedError) as denied:
        asyncio.run(sell())
    assert denied.value.denial.reason is Reason.CLOSED
    assert gate.in_flight() == 0


def test_a_generator_cannot_be_guarded_for_it_would_send_after_the_order_has_ended() -> None:
    with pytest.raises(TypeError, match="is a generator"):

        @armed().guarded()
        def orders() -> Iterator[int]:
            yield 1


def test_an_order_may_be_a_block_of_a_coroutine() -> None:
    async def trade() -> tuple[bool, int]:
        async with gate.order(symbol="BTC") as answer:
            await asyncio.sleep(0)
            return bool(answer), gate.in_flight()

    gate = armed()
    assert asyncio.run(trade()) == (True, 1)
    assert gate.in_flight() == 0


def test_a_coroutine_waits_until_the_guard_is_armed_and_keeps_nobody_waiting() -> None:
    live = armed().verdict

    async def wait() -> list[bool]:
        gate, waited = Gate(), []
        waiting = asyncio.create_task(gate.wait_armed_async(60))
        for _ in range(3):
            await asyncio.sleep(0)
        waited.append(waiting.done())
        gate.publish(live)
        waited.append(await waiting)
        waited.append(await Gate().wait_armed_async(0))
        return waited

    assert asyncio.run(wait()) == [False, True, False]
